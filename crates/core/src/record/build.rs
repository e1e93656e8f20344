//! Makes the record of one call: members in AWS's order, fields held to their limits.
//!
//! Source: the AWS user guide's record-contents page (eventVersion 1.11); order as in delivered log files.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Category, RECORD_SIZE_BYTES_MAX, Record};
use crate::{AccountId, EventId, Region, Timestamp};

/// The version that records are written in.
pub const EVENT_VERSION: &str = "1.11";
/// Limit of userAgent, errorCode, errorMessage and requestID, in bytes; longer ones are cut.
pub const TEXT_SIZE_BYTES_MAX: usize = 1024;
/// Limit of requestParameters, responseElements and serviceEventDetails, in bytes; larger ones are left out whole.
pub const ELEMENTS_SIZE_BYTES_MAX: usize = 100 * 1024;
/// Limit of additionalEventData and edgeDeviceDetails, in bytes; larger ones are left out whole.
pub const ADDITIONAL_DATA_SIZE_BYTES_MAX: usize = 28 * 1024;

/// Everything that the record of a call says.
#[derive(Clone, Debug)]
pub struct CallEvent {
    /// The `userIdentity` element.
    pub user_identity: Value,
    /// When the call arrived.
    pub time: Timestamp,
    /// `s3.amazonaws.com`.
    pub event_source: String,
    /// `CreateBucket`.
    pub event_name: String,
    /// The region the call was made in.
    pub region: Region,
    /// The caller's address, or the name of a calling service.
    pub source_ip_address: String,
    /// The caller's user agent.
    pub user_agent: Option<String>,
    /// The error's code and message, where the call failed.
    pub error: Option<(String, String)>,
    /// The parameters as the record shows them; null where there are none.
    pub request_parameters: Value,
    /// The response as the record shows it; null on reads and failures.
    pub response_elements: Value,
    /// What the service adds.
    pub additional_event_data: Option<Value>,
    /// The id in the reply's request-id header.
    pub request_id: Option<String>,
    /// The event's own id.
    pub event_id: EventId,
    /// Whether the operation changes nothing.
    pub read_only: bool,
    /// What the call acts on: elements of `resources`.
    pub resources: Vec<Value>,
    /// Management or data.
    pub category: Category,
    /// Whose event it is.
    pub recipient: AccountId,
    /// What the records of one call in several accounts have in common.
    pub shared_event_id: Option<EventId>,
    /// The `tlsDetails` element.
    pub tls_details: Option<Value>,
}

impl CallEvent {
    /// The event's record. Members over their limit are cut or left out; should all of them together still be over
    /// the limit of a record, responseElements, then requestParameters, then additionalEventData go.
    #[must_use]
    pub fn into_record(self) -> Record {
        let mut event = self.members();
        for member in ["responseElements", "requestParameters", "additionalEventData", "resources"] {
            if serialized_size(&event) <= RECORD_SIZE_BYTES_MAX {
                break;
            }
            if let Some(value) = event.get_mut(member) {
                *value = Value::Null;
            }
        }
        let json = serde_json::to_vec(&event).expect("a JSON map serialises");
        Record::trusted(Bytes::from(json))
    }

    /// The same event, as it is for as long as nothing is known of the call's outcome, with the reason for that.
    #[must_use]
    pub fn with_unknown_outcome(mut self, reason: &str) -> Self {
        let mut data = match self.additional_event_data {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        data.insert("recordingOutcome".into(), Value::String("unknown".into()));
        data.insert("reason".into(), Value::String(reason.into()));
        self.additional_event_data = Some(Value::Object(data));
        self.response_elements = Value::Null;
        self.error = None;
        self
    }

    fn members(self) -> Map<String, Value> {
        let management = self.category != Category::Data;
        let (error_code, error_message) = self.error.unzip();
        let mut event = Members(Map::new());
        event.text("eventVersion", EVENT_VERSION);
        event.put("userIdentity", self.user_identity);
        event.text("eventTime", &self.time.iso());
        event.text("eventSource", &self.event_source);
        event.text("eventName", &self.event_name);
        event.text("awsRegion", self.region.as_str());
        event.text("sourceIPAddress", &self.source_ip_address);
        event.optional_text("userAgent", self.user_agent.as_deref());
        event.optional_text("errorCode", error_code.as_deref());
        event.optional_text("errorMessage", error_message.as_deref());
        event.put("requestParameters", within(self.request_parameters, ELEMENTS_SIZE_BYTES_MAX));
        event.put("responseElements", within(self.response_elements, ELEMENTS_SIZE_BYTES_MAX));
        if let Some(data) = self.additional_event_data {
            event.put("additionalEventData", within(data, ADDITIONAL_DATA_SIZE_BYTES_MAX));
        }
        event.optional_text("requestID", self.request_id.as_deref());
        event.text("eventID", self.event_id.as_str());
        event.put("readOnly", Value::Bool(self.read_only));
        if !self.resources.is_empty() {
            event.put("resources", Value::Array(self.resources));
        }
        event.text("eventType", "AwsApiCall");
        event.put("managementEvent", Value::Bool(management));
        event.text("recipientAccountId", self.recipient.as_str());
        event.optional_text("sharedEventID", self.shared_event_id.as_ref().map(EventId::as_str));
        event.text("eventCategory", if management { "Management" } else { "Data" });
        if let Some(details) = self.tls_details {
            event.put("tlsDetails", details);
        }
        event.0
    }
}

struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.put(name, Value::String(cut(text, TEXT_SIZE_BYTES_MAX).to_owned()));
    }

    fn optional_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }
}

/// `text`, cut to at most `size_bytes_max` bytes at a character's boundary.
fn cut(text: &str, size_bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(size_bytes_max)]
}

fn within(value: Value, size_bytes_max: usize) -> Value {
    if serialized_size(&value) <= size_bytes_max { value } else { Value::Null }
}

/// The size of a value's JSON, without making it.
fn serialized_size(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("counting cannot fail");
    count.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> CallEvent {
        CallEvent {
            user_identity: json!({"type": "Root"}),
            time: Timestamp::from_seconds(1_700_000_000),
            event_source: "s3.amazonaws.com".into(),
            event_name: "CreateBucket".into(),
            region: "us-east-1".parse().unwrap(),
            source_ip_address: "127.0.0.1".into(),
            user_agent: Some("aws-cli".into()),
            error: Some(("BucketAlreadyExists".into(), "The requested bucket name is not available.".into())),
            request_parameters: json!({"bucketName": "b"}),
            response_elements: Value::Null,
            additional_event_data: Some(json!({"bytesTransferredIn": 0})),
            request_id: Some("REQ".into()),
            event_id: EventId::from_random([7; 16]),
            read_only: false,
            resources: vec![json!({"type": "AWS::S3::Bucket"})],
            category: Category::Management,
            recipient: "123456789012".parse().unwrap(),
            shared_event_id: Some(EventId::from_random([8; 16])),
            tls_details: Some(json!({"clientProvidedHostHeader": "localhost"})),
        }
    }

    #[test]
    fn members_stand_in_the_order_of_delivered_files() {
        let record = event().into_record();
        let value: Map<String, Value> = serde_json::from_slice(record.json()).unwrap();
        let names: Vec<_> = value.keys().map(String::as_str).collect();
        assert_eq!(
            names.join(" "),
            "eventVersion userIdentity eventTime eventSource eventName awsRegion sourceIPAddress userAgent \
             errorCode errorMessage requestParameters responseElements additionalEventData requestID eventID \
             readOnly resources eventType managementEvent recipientAccountId sharedEventID eventCategory \
             tlsDetails"
        );
        assert!(Record::from_json(record.json().clone()).is_ok());
    }

    #[test]
    fn an_event_of_unknown_outcome_says_so_beside_what_the_service_adds() {
        let mut event = event();
        event.response_elements = json!({"location": "/b"});
        let record = event.with_unknown_outcome("cut short").into_record();
        let value: Value = serde_json::from_slice(record.json()).unwrap();
        let data = json!({"bytesTransferredIn": 0, "recordingOutcome": "unknown", "reason": "cut short"});
        assert_eq!(value["additionalEventData"], data);
        assert_eq!(value["responseElements"], Value::Null);
        assert_eq!(value.get("errorCode"), None);
    }

    #[test]
    fn texts_are_cut_and_elements_left_out_at_their_limits() {
        let mut large = event();
        large.user_agent = Some("é".repeat(1000));
        large.request_parameters = json!({"text": "x".repeat(ELEMENTS_SIZE_BYTES_MAX)});
        let record = large.into_record();
        let value: Value = serde_json::from_slice(record.json()).unwrap();
        assert_eq!(value["userAgent"].as_str().map(str::len), Some(1024));
        assert_eq!(value["requestParameters"], Value::Null);
    }

    #[test]
    fn a_record_is_never_over_the_limit_of_an_event() {
        let mut large = event();
        large.resources = vec![json!("x".repeat(90_000)); 3];
        large.request_parameters = json!("x".repeat(90_000));
        large.response_elements = json!("x".repeat(90_000));
        assert!(large.into_record().json().len() <= RECORD_SIZE_BYTES_MAX);
    }
}
