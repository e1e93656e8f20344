//! A CloudTrail event: its typed members, and its text as it stands in the log file.
//!
//! On the road: made from each record of a file, judged by the event filter, handed to the handler. Invariant: nothing
//! of a record is lost; what is not known here is kept under its name, and the text of the whole is there byte for byte.
//!
//! Source: the AWS user guide's "CloudTrail record contents", eventVersion 1.11.

mod identity;
pub(crate) mod object;
mod parts;

use std::ops::Deref;
use std::sync::Arc;

use cairn_core::Timestamp;

use crate::message::{LogFile, Message};

pub use identity::{
    OnBehalfOf, SessionAttributes, SessionContext, SessionIssuer, UserIdentity, WebIdFederationData,
};
use object::object;
pub use object::{Json, Members};
pub use parts::{
    Addendum, EdgeDeviceDetails, InsightAttribution, InsightAverage, InsightContext, InsightDetails,
    InsightStatistics, InsightValue, Resource, TlsDetails,
};

object! {
    /// The members of an event. Every one is optional: Insights and aggregated events lack what API calls have.
    Record {
        /// The version of the record's format: `1.11`.
        event_version: String = "eventVersion",
        /// Who made the call.
        user_identity: UserIdentity = "userIdentity",
        /// When, in AWS's text form; see [`Record::time`].
        event_time: String = "eventTime",
        /// The service: `s3.amazonaws.com`.
        event_source: String = "eventSource",
        /// The call.
        event_name: String = "eventName",
        /// The region of the call.
        aws_region: String = "awsRegion",
        /// Where the call came from: an address or a service's name.
        source_ip_address: String = "sourceIPAddress",
        /// The program that made the call.
        user_agent: String = "userAgent",
        /// The error that the caller got.
        error_code: String = "errorCode",
        /// Its description.
        error_message: String = "errorMessage",
        /// What the call asked for.
        request_parameters: Json = "requestParameters",
        /// What a changing call answered.
        response_elements: Json = "responseElements",
        /// What belongs to neither.
        additional_event_data: Json = "additionalEventData",
        /// The id of the request.
        request_id: String = "requestID",
        /// The id of the event: what tells an event that came twice.
        event_id: String = "eventID",
        /// Whether the call only read.
        read_only: bool = "readOnly",
        /// The resources that the call touched.
        resources: Vec<Resource> = "resources",
        /// `AwsApiCall`, `AwsServiceEvent`, `AwsConsoleSignIn`, `AwsCloudTrailInsight`, …
        event_type: String = "eventType",
        /// The version of the service's API.
        api_version: String = "apiVersion",
        /// Whether it is a management event.
        management_event: bool = "managementEvent",
        /// The account that received the event.
        recipient_account_id: String = "recipientAccountId",
        /// What a service did by itself.
        service_event_details: Json = "serviceEventDetails",
        /// What events of one call in several accounts, and of one Insight, share.
        shared_event_id: String = "sharedEventID",
        /// The VPC endpoint of the call.
        vpc_endpoint_id: String = "vpcEndpointId",
        /// The account of the VPC endpoint.
        vpc_endpoint_account_id: String = "vpcEndpointAccountId",
        /// `Management`, `Data`, `NetworkActivity`, `Insight`, `Aggregated`.
        event_category: String = "eventCategory",
        /// Why the event came late, or what of it was changed.
        addendum: Addendum = "addendum",
        /// `"true"` where the credentials came from a console session.
        session_credential_from_console: String = "sessionCredentialFromConsole",
        /// The edge device that was targeted.
        edge_device_details: EdgeDeviceDetails = "edgeDeviceDetails",
        /// How the connection was encrypted.
        tls_details: TlsDetails = "tlsDetails",
        /// What was unusual, of an Insights event.
        insight_details: InsightDetails = "insightDetails",
    }
}

impl Record {
    /// When the call was made.
    ///
    /// ```
    /// # fn main() -> Result<(), cairn_processing::event::EventError> {
    /// let event = cairn_processing::Event::parse(r#"{"eventTime":"2026-11-20T17:24:26Z"}"#)?;
    /// assert_eq!(event.time().map(|time| time.seconds()), Some(1_795_195_466));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.event_time.as_deref().and_then(Timestamp::parse_iso)
    }
}

/// Why a record is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The record's bytes are no UTF-8.
    #[error("the record is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// The record is not a JSON object.
    #[error("the record is not a JSON object")]
    Json(#[source] serde_json::Error),
}

/// Where an event came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The log file.
    pub file: LogFile,
    /// The message that announced it.
    pub message: Arc<Message>,
    /// What a [`DigestCheck`](crate::DigestCheck) found of the file; none without one.
    pub verification: Option<crate::Verification>,
}

/// An event as it is handed to a handler: its members (it derefs to [`Record`]), its text, and where it came from.
///
/// ```
/// # fn main() -> Result<(), cairn_processing::event::EventError> {
/// use cairn_processing::Event;
///
/// let event = Event::parse(r#"{"eventName":"GetObject","readOnly":true,"future":{"a":1}}"#)?;
/// assert_eq!(event.event_name.as_deref(), Some("GetObject"));
/// assert_eq!(event.read_only, Some(true));
/// assert_eq!(event.other["future"].text(), r#"{"a":1}"#);
/// assert!(event.text().starts_with(r#"{"eventName":"#));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    record: Record,
    text: Box<str>,
    origin: Arc<Origin>,
    index: u64,
}

impl Event {
    /// Reads an event outside of a log file: of a test, of another transport.
    ///
    /// # Errors
    /// Where the text is not a JSON object. Members of strange types are no error: they are in
    /// [`other`](Record::other).
    pub fn parse(text: &str) -> Result<Self, EventError> {
        Self::of(text.as_bytes(), &Arc::default(), 0)
    }

    pub(crate) fn of(record: &[u8], origin: &Arc<Origin>, index: u64) -> Result<Self, EventError> {
        let text = std::str::from_utf8(record).map_err(EventError::NotUtf8)?;
        let record = match serde_json::from_str(text) {
            Ok(record) => record,
            Err(_) => Record::lenient(serde_json::from_str(text).map_err(EventError::Json)?),
        };
        Ok(Self { record, text: text.into(), origin: Arc::clone(origin), index })
    }

    /// The event's JSON as it stands in the log file, byte for byte.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its place in its log file, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl Deref for Event {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event::parse(text).unwrap()
    }

    #[test]
    fn every_documented_member_is_typed_and_nothing_else_is_lost() {
        let text = r#"{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/r/s","sessionContext":{"sessionIssuer":{"type":"Role","userName":"r","new":1},"webIdFederationData":{"federatedProvider":"p","attributes":{"a":"b"}},"attributes":{"creationDate":"2026-11-20T17:24:26Z","mfaAuthenticated":"false"},"sourceIdentity":"x","ec2RoleDelivery":"2.0","assumedRoot":true},"onBehalfOf":{"userId":"u","identityStoreArn":"i"},"inScopeOf":{"issuerType":"t"},"invokedByDelegate":{"accountId":"2"}},"eventTime":"2026-11-20T17:24:26Z","requestParameters":null,"responseElements":{"a" : [1]},"resources":[{"ARN":"arn","type":"AWS::S3::Object","accountId":"1"},{"ARNPrefix":"p"}],"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"c","clientProvidedHostHeader":"h","keyExchange":"k"},"addendum":{"reason":"UPDATED_DATA","updatedFields":"f","originalRequestID":"r","originalEventID":"e"},"edgeDeviceDetails":{"type":"SNOW","jobId":"j"},"eventContext":{"tagContext":{}}}"#;
        let event = event(text);
        let identity = event.user_identity.as_ref().unwrap();
        let session = identity.session_context.as_ref().unwrap();
        let issuer = session.session_issuer.as_ref().unwrap();
        assert_eq!(issuer.kind.as_deref(), Some("Role"));
        assert_eq!(issuer.other["new"].text(), "1");
        let attributes = session.attributes.as_ref().unwrap();
        assert_eq!(attributes.mfa_authenticated.as_deref(), Some("false"));
        assert_eq!(session.assumed_root.as_ref().unwrap().text(), "true");
        assert_eq!(
            session.web_id_federation_data.as_ref().unwrap().attributes.as_ref().unwrap().to_value()["a"],
            "b"
        );
        assert_eq!(identity.on_behalf_of.as_ref().unwrap().user_id.as_deref(), Some("u"));
        assert_eq!(identity.other["invokedByDelegate"].text(), r#"{"accountId":"2"}"#);
        assert_eq!(event.request_parameters, None);
        assert_eq!(event.response_elements.as_ref().unwrap().text(), r#"{"a" : [1]}"#);
        assert_eq!(event.resources.as_ref().unwrap()[1].arn_prefix.as_deref(), Some("p"));
        assert_eq!(event.tls_details.as_ref().unwrap().key_exchange.as_deref(), Some("k"));
        assert_eq!(event.addendum.as_ref().unwrap().original_event_id.as_deref(), Some("e"));
        assert_eq!(event.edge_device_details.as_ref().unwrap().job_id.as_deref(), Some("j"));
        assert_eq!(event.other.keys().collect::<Vec<_>>(), ["eventContext"]);
        assert_eq!(event.text(), text);
    }

    #[test]
    fn an_insights_event_is_typed() {
        let event = event(
            r#"{"eventType":"AwsCloudTrailInsight","insightDetails":{"state":"Start","insightType":"ApiCallRateInsight","insightContext":{"statistics":{"baseline":{"average":0.5},"insight":{"average":12},"insightDuration":3,"baselineDuration":11459},"attributions":[{"attribute":"userAgent","insight":[{"value":"cli","average":12.0}],"baseline":[]}]}}}"#,
        );
        let details = event.insight_details.as_ref().unwrap();
        let context = details.insight_context.as_ref().unwrap();
        let statistics = context.statistics.as_ref().unwrap();
        assert_eq!(statistics.insight.as_ref().unwrap().average, Some(12.0));
        assert_eq!(statistics.baseline_duration, Some(11459.0));
        let attribution = &context.attributions.as_ref().unwrap()[0];
        assert_eq!(attribution.insight.as_ref().unwrap()[0].value.as_deref(), Some("cli"));
    }

    #[test]
    fn a_member_of_another_type_is_kept_as_it_stands_and_the_rest_is_typed() {
        let event = event(
            r#"{"eventName":"A","readOnly":"true","userIdentity":{"type":"Root","sessionContext":"none","arn":null},"tlsDetails":[],"resources":[{"ARN":1},{"ARN":"b"}],"eventID":"i"}"#,
        );
        assert_eq!(event.event_name.as_deref(), Some("A"));
        assert_eq!(event.read_only, None);
        assert_eq!(event.other["readOnly"].text(), r#""true""#);
        let identity = event.user_identity.as_ref().unwrap();
        assert_eq!(identity.kind.as_deref(), Some("Root"));
        assert_eq!(identity.other["sessionContext"].text(), r#""none""#);
        assert_eq!(identity.other.len(), 1);
        assert_eq!(event.other["tlsDetails"].text(), "[]");
        let resources = event.resources.as_ref().unwrap();
        assert_eq!(resources[0].other["ARN"].text(), "1");
        assert_eq!(resources[1].arn.as_deref(), Some("b"));
        assert_eq!(event.event_id.as_deref(), Some("i"));
        assert_eq!(event.time(), None);
    }

    #[test]
    fn what_is_no_object_is_no_event() {
        for text in ["", "1", "[]", "{", "{\"a\":}", "{\"a\":1,\"a\"}"] {
            assert!(matches!(Event::parse(text), Err(EventError::Json(_))), "{text}");
        }
        let error = Event::of(b"{\"a\":\"\xff\"}", &Arc::default(), 0).unwrap_err();
        assert_eq!(error.to_string(), "the record is not UTF-8");
    }

    #[test]
    fn real_records_have_every_member_where_it_belongs() {
        let Some(folder) = cairn_testkit::fixtures("events/invictus") else { return };
        let mut events = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text).unwrap();
            let file: serde_json::Value = serde_json::from_str(&text).unwrap();
            for record in file["Records"].as_array().unwrap() {
                let event = event(&record.to_string());
                assert_eq!(event.event_id.as_deref(), record["eventID"].as_str());
                assert_eq!(event.event_name.as_deref(), record["eventName"].as_str());
                assert!(event.time().is_some());
                assert!(event.user_identity.is_some());
                assert_eq!(event.other.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "{record}");
                events += 1;
            }
        }
        assert_eq!(events, 1780);
    }
}
