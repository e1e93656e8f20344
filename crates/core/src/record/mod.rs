//! A CloudTrail event: its bytes, which never change once made, and the facts that stages read from them.
//!
//! On the road: [`build`] makes a record from a call, the event log keeps its bytes, every consumer reads them
//! through [`Facts`]. Invariant: the bytes that go in are the bytes that are delivered, member for member; nothing
//! re-prints a record.
//!
//! Source: the AWS user guide's record-contents page, eventVersion 1.11.

pub mod build;
mod facts;
mod members;
pub mod resources;
mod scan;

use bytes::Bytes;

pub use facts::{Category, Facts, IdentityFacts, ResourceFacts};
pub use members::FactSpans;
pub use scan::ScanError;

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
    Json(#[source] ScanError),
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
    /// [`RecordError::Json`] where the bytes are not the JSON of an event, [`RecordError::NotUtf8`] where they are no text.
    pub fn facts(&self) -> Result<Facts<'_>, RecordError> {
        let text = std::str::from_utf8(&self.json).map_err(RecordError::NotUtf8)?;
        FactSpans::of(text).map_err(RecordError::Json).map(|spans| spans.facts(text))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn facts_are_read_without_touching_the_bytes() {
        let text = r#"{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/Admin/bob"},"eventTime":"2023-07-10T12:00:23Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","requestParameters":{"b":1,"a":"\u00e9"},"eventID":"68c99c97-c191-4329-b210-82ca8631066d","readOnly":true,"managementEvent":false,"recipientAccountId":"123456789012"}"#;
        let record = Record::from_json(Bytes::from_static(text.as_bytes())).unwrap();
        let facts = record.facts().unwrap();
        assert_eq!(facts.category(), Category::Data);
        assert_eq!(facts.username(), Some("bob"));
        assert_eq!(facts.account().unwrap().as_str(), "123456789012");
        assert_eq!(facts.request_parameters.unwrap(), r#"{"b":1,"a":"\u00e9"}"#);
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
