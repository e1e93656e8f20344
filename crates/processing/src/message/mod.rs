//! What a message of the queue says: which log files were delivered.
//!
//! On the road: between the queue and the download. Pure. Four forms are understood, in this order, as the Java
//! CloudTrail Processing Library (2.0.1) has them: SNS's envelope around CloudTrail's `{"s3Bucket":…,"s3ObjectKey":[…]}`, SNS's
//! envelope around an S3 event, an S3 event, and SNS's envelope around CloudTrail's validation message. With SNS's raw
//! message delivery there is no envelope; that is understood as well.

mod key;

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

pub use key::FileKind;

/// What CloudTrail announces when a trail gets its topic.
const VALIDATION_MESSAGE: &str = "CloudTrail validation message.";
/// What the name of S3's event begins with when an object was put.
const OBJECT_CREATED: &str = "ObjectCreated:";
/// What S3 sends when a bucket gets its notifications.
const S3_TEST_EVENT: &str = "s3:TestEvent";

/// A message as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The id that the queue gave it.
    pub id: String,
    /// What it says.
    pub body: String,
    /// What it is deleted by.
    pub receipt_handle: String,
    /// The queue's attributes of it: `SentTimestamp`, `ApproximateReceiveCount`, `SenderId`, …
    pub attributes: BTreeMap<String, String>,
}

impl Message {
    /// A message, for message sources of your own.
    #[must_use]
    pub fn new(id: impl Into<String>, receipt_handle: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            body: body.into(),
            receipt_handle: receipt_handle.into(),
            attributes: BTreeMap::new(),
        }
    }

    /// The how manieth time it is received, where the queue says so.
    #[must_use]
    pub fn receive_count(&self) -> Option<u32> {
        self.attributes.get("ApproximateReceiveCount")?.parse().ok()
    }
}

/// An object of a bucket that a message names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFile {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

impl LogFile {
    /// What its key says that it is.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        FileKind::of(&self.key)
    }

    /// The account whose events it holds: what its name begins with.
    ///
    /// ```
    /// use cairn_processing::LogFile;
    ///
    /// let key = "AWSLogs/111122223333/CloudTrail/us-east-2/2015/08/17/111122223333_CloudTrail_us-east-2_20150817T1445Z_9nYN7gp2eWAJHIfT.json.gz";
    /// let file = LogFile { bucket: "logs".to_owned(), key: key.to_owned() };
    /// assert_eq!(file.account_id(), Some("111122223333"));
    /// ```
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        let name = self.key.rsplit('/').next()?;
        name.split_once('_').map(|(account, _)| account)
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// Objects were put.
    Files(Vec<LogFile>),
    /// A trail got its topic, or a bucket its notifications: nothing to do.
    Validation,
    /// An S3 event of something else than a put.
    OtherEvents,
    /// Nothing that is understood.
    Unrecognized,
}

impl Notification {
    /// Reads a message's body.
    ///
    /// ```
    /// use cairn_processing::{LogFile, Notification};
    ///
    /// let body = r#"{"Type":"Notification","Message":"{\"s3Bucket\":\"logs\",\"s3ObjectKey\":[\"a/b.json.gz\"]}"}"#;
    /// let file = LogFile { bucket: "logs".to_owned(), key: "a/b.json.gz".to_owned() };
    /// assert_eq!(Notification::parse(body), Notification::Files(vec![file]));
    /// ```
    #[must_use]
    pub fn parse(body: &str) -> Self {
        let Ok(outer) = serde_json::from_str::<Form>(body) else { return Self::of_text(body) };
        match outer.message {
            Some(message) => {
                serde_json::from_str(&message).map_or_else(|_| Self::of_text(&message), Form::read)
            }
            None => outer.read(),
        }
    }

    fn of_text(text: &str) -> Self {
        if text == VALIDATION_MESSAGE { Self::Validation } else { Self::Unrecognized }
    }
}

/// All forms in one: what they hold is told by which members are there.
#[derive(Deserialize)]
struct Form {
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "s3Bucket")]
    bucket: Option<String>,
    #[serde(rename = "s3ObjectKey")]
    keys: Option<Vec<String>>,
    #[serde(rename = "Records")]
    records: Option<Vec<S3Record>>,
    #[serde(rename = "Event")]
    event: Option<String>,
}

#[derive(Deserialize)]
struct S3Record {
    #[serde(rename = "eventName")]
    event_name: Option<String>,
    s3: Option<S3Entity>,
}

#[derive(Deserialize)]
struct S3Entity {
    bucket: S3Bucket,
    object: S3Object,
}

#[derive(Deserialize)]
struct S3Bucket {
    name: String,
}

#[derive(Deserialize)]
struct S3Object {
    key: String,
}

impl Form {
    fn read(self) -> Notification {
        if let (Some(bucket), Some(keys)) = (self.bucket, self.keys) {
            let files = keys.into_iter().map(|key| LogFile { bucket: bucket.clone(), key });
            return Notification::Files(files.collect());
        }
        if self.event.as_deref() == Some(S3_TEST_EVENT) {
            return Notification::Validation;
        }
        let Some(records) = self.records else { return Notification::Unrecognized };
        if records.iter().any(|record| record.event_name.is_none() || record.s3.is_none()) {
            return Notification::Unrecognized;
        }
        let created = records
            .into_iter()
            .filter(|record| record.event_name.as_ref().is_some_and(|name| name.starts_with(OBJECT_CREATED)));
        let files: Vec<LogFile> = created
            .filter_map(|record| record.s3)
            .map(|s3| LogFile { bucket: s3.bucket.name, key: decoded(&s3.object.key) })
            .collect();
        if files.is_empty() { Notification::OtherEvents } else { Notification::Files(files) }
    }
}

/// The key as it is: S3 writes it in its events as a form would, with `+` for a space.
fn decoded(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map_or_else(|_| spaced.clone(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn files(names: &[(&str, &str)]) -> Notification {
        let file = |(bucket, key): &(&str, &str)| LogFile { bucket: (*bucket).into(), key: (*key).into() };
        Notification::Files(names.iter().map(file).collect())
    }

    fn s3_event(names: &[(&str, &str)]) -> Value {
        let record = |(event, key): &(&str, &str)| {
            json!({"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": event,
                   "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "b", "arn": "arn:aws:s3:::b"},
                          "object": {"key": key, "size": 1, "eTag": "e", "sequencer": "0"}}})
        };
        json!({"Records": names.iter().map(record).collect::<Vec<_>>()})
    }

    fn envelope(message: &str) -> String {
        json!({"Type": "Notification", "MessageId": "i", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": message,
               "Timestamp": "2026-11-20T17:24:26.000Z", "SignatureVersion": "1", "Signature": "s",
               "SigningCertURL": "u", "UnsubscribeURL": "u"})
        .to_string()
    }

    #[test]
    fn the_four_forms_are_understood_with_and_without_an_envelope() {
        let trail = r#"{"s3Bucket":"b","s3ObjectKey":["k1","k+2"],"other":"x"}"#;
        let created =
            s3_event(&[("ObjectCreated:Put", "a%2Fb+c%C3%A9"), ("ObjectCreated:Copy", "d")]).to_string();
        for (form, expected) in [
            (trail, files(&[("b", "k1"), ("b", "k+2")])),
            (created.as_str(), files(&[("b", "a/b cé"), ("b", "d")])),
            (VALIDATION_MESSAGE, Notification::Validation),
            (
                r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"t","Bucket":"b"}"#,
                Notification::Validation,
            ),
        ] {
            assert_eq!(Notification::parse(&envelope(form)), expected, "in an envelope: {form}");
            assert_eq!(Notification::parse(form), expected, "bare: {form}");
            let least = json!({"Message": form}).to_string();
            assert_eq!(Notification::parse(&least), expected, "in the least envelope: {form}");
        }
    }

    #[test]
    fn only_puts_count_of_s3s_events() {
        let mixed = s3_event(&[("ObjectRemoved:Delete", "a"), ("ObjectCreated:Put", "b")]);
        assert_eq!(Notification::parse(&mixed.to_string()), files(&[("b", "b")]));
        let removed = s3_event(&[("ObjectRemoved:Delete", "a"), ("s3:ObjectCreated:Put", "b")]);
        assert_eq!(Notification::parse(&removed.to_string()), Notification::OtherEvents);
    }

    #[test]
    fn anything_else_is_not_recognised() {
        for body in [
            "",
            "hello",
            "{}",
            "[]",
            "null",
            r#"{"Message":1}"#,
            r#"{"Message":"hello"}"#,
            r#"{"Message":"{}"}"#,
            r#"{"s3Bucket":"b"}"#,
            r#"{"s3Bucket":"b","s3ObjectKey":"k"}"#,
            r#"{"Records":{}}"#,
            r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#,
            r#"{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}"#,
            r#"{"Message":"{\"Message\":\"CloudTrail validation message.\"}"}"#,
            "CloudTrail validation message",
        ] {
            assert_eq!(Notification::parse(body), Notification::Unrecognized, "{body}");
        }
    }
}
