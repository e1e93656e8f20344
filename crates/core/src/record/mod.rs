//! A CloudTrail event: its bytes, which never change once made, and the facts that stages read from them.
//!
//! On the road: [`build`] makes a record from a call, the event log keeps its bytes, every consumer reads them
//! through [`Facts`]. Invariant: the bytes that go in are the bytes that are delivered, member for member; nothing
//! re-prints a record.
//!
//! Source: the AWS user guide's record-contents page, eventVersion 1.11.

pub mod build;
pub mod resources;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{AccountId, Region, Timestamp};

/// The largest event that is accepted, in bytes (AWS: 256 KB).
pub const RECORD_SIZE_BYTES_MAX: usize = 256 * 1024;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Larger than [`RECORD_SIZE_BYTES_MAX`].
    #[error("the record has {size_bytes} bytes, the limit is {RECORD_SIZE_BYTES_MAX}")]
    TooLarge {
        /// The size found.
        size_bytes: usize,
    },
    /// Not UTF-8. The parser looks only at the members that are read; a consumer of log files looks at all of it.
    #[error("the record is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// Not the JSON of an event.
    #[error("the record is not the JSON object of an event")]
    Json(#[source] serde_json::Error),
    /// A member that every stage needs is missing or malformed.
    #[error("the record's member {member} is missing or malformed")]
    Member {
        /// The member's name.
        member: &'static str,
    },
}

/// One event, as JSON text exactly as it will be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    json: Bytes,
}

impl Record {
    /// Takes an event as it came, after checking that every stage can read it.
    ///
    /// # Errors
    /// Where the bytes are too large, not UTF-8, not JSON, or lack eventTime, eventID, awsRegion or an account.
    pub fn from_json(json: Bytes) -> Result<Self, RecordError> {
        if json.len() > RECORD_SIZE_BYTES_MAX {
            return Err(RecordError::TooLarge { size_bytes: json.len() });
        }
        std::str::from_utf8(&json).map_err(RecordError::NotUtf8)?;
        let record = Self { json };
        let facts = record.facts()?;
        facts.time().ok_or(RecordError::Member { member: "eventTime" })?;
        facts.region().ok_or(RecordError::Member { member: "awsRegion" })?;
        facts.account().ok_or(RecordError::Member { member: "recipientAccountId" })?;
        Ok(record)
    }

    /// Takes bytes that were checked before, as they come from the event log.
    #[must_use]
    pub fn trusted(json: Bytes) -> Self {
        Self { json }
    }

    /// The event's JSON text.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The members that selectors, history and delivery look at.
    ///
    /// # Errors
    /// [`RecordError::Json`] where the bytes are not the JSON of an event.
    pub fn facts(&self) -> Result<Facts<'_>, RecordError> {
        serde_json::from_slice(&self.json).map_err(RecordError::Json)
    }
}

/// The members of a record that Cairn itself reads, borrowed from the record's bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the members are AWS's, documented on the record-contents page")]
pub struct Facts<'a> {
    #[serde(borrow)]
    pub event_time: Cow<'a, str>,
    #[serde(rename = "eventID", borrow)]
    pub event_id: Cow<'a, str>,
    #[serde(default, borrow)]
    pub event_source: Cow<'a, str>,
    #[serde(default, borrow)]
    pub event_name: Cow<'a, str>,
    #[serde(borrow)]
    pub aws_region: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub event_type: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub event_category: Option<Cow<'a, str>>,
    #[serde(default)]
    pub management_event: Option<bool>,
    #[serde(default)]
    pub read_only: Option<bool>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub error_code: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub recipient_account_id: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub vpc_endpoint_id: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub session_credential_from_console: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub user_identity: Option<IdentityFacts<'a>>,
    #[serde(default, borrow)]
    pub resources: Option<Vec<ResourceFacts<'a>>>,
    #[serde(default, borrow)]
    pub request_parameters: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub response_elements: Option<&'a RawValue>,
}

/// The members of `userIdentity` that Cairn itself reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the members are AWS's, documented on the userIdentity page")]
pub struct IdentityFacts<'a> {
    #[serde(rename = "type", default, borrow, deserialize_with = "optional_text")]
    pub kind: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub arn: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub account_id: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub access_key_id: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub user_name: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub principal_id: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "optional_text")]
    pub invoked_by: Option<Cow<'a, str>>,
}

/// One element of `resources`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the members are AWS's, documented on the record-contents page")]
pub struct ResourceFacts<'a> {
    #[serde(rename = "type", default, borrow, deserialize_with = "optional_text")]
    pub kind: Option<Cow<'a, str>>,
    #[serde(rename = "ARN", default, borrow, deserialize_with = "optional_text")]
    pub arn: Option<Cow<'a, str>>,
    #[serde(rename = "ARNPrefix", default, borrow, deserialize_with = "optional_text")]
    pub arn_prefix: Option<Cow<'a, str>>,
    #[serde(rename = "accountId", default, borrow, deserialize_with = "optional_text")]
    pub account_id: Option<Cow<'a, str>>,
}

/// What kind of event a record is, as selectors and the history tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are AWS's values of eventCategory")]
pub enum Category {
    Management,
    Data,
    NetworkActivity,
    Insight,
    Aggregated,
}

/// A text or null. Serde's own way makes a `Cow` inside an `Option` a copy, for every member of every event.
fn optional_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct Text<'a>(Cow<'a, str>);
    impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
        fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            input.deserialize_str(TextVisitor).map(Text)
        }
    }
    Ok(Option::<Text<'de>>::deserialize(input)?.map(|text| text.0))
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl Facts<'_> {
    /// The event's time; none where the text is not AWS's form.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        Timestamp::parse_iso(&self.event_time)
    }

    /// The region that the event happened in.
    #[must_use]
    pub fn region(&self) -> Option<Region> {
        self.aws_region.parse().ok()
    }

    /// The account that the event is delivered to: recipientAccountId, the caller's account where that is absent.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        let caller = || self.user_identity.as_ref().and_then(|identity| identity.account_id.as_deref());
        self.recipient_account_id.as_deref().or_else(caller)?.parse().ok()
    }

    /// The event's category. Records older than version 1.07 have none and are told by `managementEvent`; still
    /// older ones are management events.
    #[must_use]
    pub fn category(&self) -> Category {
        match self.event_category.as_deref() {
            Some("Data") => Category::Data,
            Some("NetworkActivity") => Category::NetworkActivity,
            Some("Insight") => Category::Insight,
            Some("Aggregated") => Category::Aggregated,
            Some(_) => Category::Management,
            None if self.management_event == Some(false) => Category::Data,
            None => Category::Management,
        }
    }

    /// The name that `LookupEvents` finds the event by as `Username`: the user name, else the name of a session,
    /// else `root`.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        let identity = self.user_identity.as_ref()?;
        if let Some(name) = identity.user_name.as_deref() {
            return Some(name);
        }
        match identity.kind.as_deref()? {
            "Root" => Some("root"),
            "AssumedRole" | "FederatedUser" => identity.arn.as_deref()?.rsplit('/').next(),
            "AWSService" => identity.invoked_by.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_without_touching_the_bytes() {
        let text = r#"{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/Admin/bob"},"eventTime":"2023-07-10T12:00:23Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","requestParameters":{"b":1,"a":"\u00e9"},"eventID":"68c99c97-c191-4329-b210-82ca8631066d","readOnly":true,"managementEvent":false,"recipientAccountId":"123456789012"}"#;
        let record = Record::from_json(Bytes::from_static(text.as_bytes())).unwrap();
        let facts = record.facts().unwrap();
        assert_eq!(facts.category(), Category::Data);
        assert_eq!(facts.username(), Some("bob"));
        assert_eq!(facts.account().unwrap().as_str(), "123456789012");
        assert_eq!(facts.request_parameters.unwrap().get(), r#"{"b":1,"a":"\u00e9"}"#);
        assert_eq!(record.json(), text.as_bytes());
        assert!(matches!(facts.recipient_account_id, Some(Cow::Borrowed(_))));
        let arn = facts.user_identity.unwrap().arn;
        assert!(matches!(arn, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn a_record_that_no_stage_could_place_is_refused() {
        let refused = |text: &'static str| {
            Record::from_json(Bytes::from_static(text.as_bytes())).unwrap_err().to_string()
        };
        assert_eq!(refused("[]"), "the record is not the JSON object of an event");
        let not_utf8 = b"{\"sourceIPAddress\":\"\xfb\"}";
        let error = Record::from_json(Bytes::from_static(not_utf8)).unwrap_err();
        assert_eq!(error.to_string(), "the record is not UTF-8");
        assert_eq!(
            refused(r#"{"eventTime":"yesterday","eventID":"x","awsRegion":"us-east-1"}"#),
            "the record's member eventTime is missing or malformed"
        );
        assert_eq!(
            refused(r#"{"eventTime":"2023-07-10T12:00:23Z","eventID":"x","awsRegion":"us-east-1"}"#),
            "the record's member recipientAccountId is missing or malformed"
        );
    }
}
