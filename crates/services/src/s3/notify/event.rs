//! The messages: an event as S3 writes it, and the test event.
//!
//! Invariant: a message is a pure function of its row, so that one that is sent twice is sent twice the same.

use cairn_core::{AccountId, EventId, Region, Timestamp};
use cairn_wire::Exchange;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Happening, Kind, Origin};
use crate::s3::state::Bucket;
use crate::sinks::BusEvent;

/// The ETag of nothing, which a delete marker's event shows.
const ETAG_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// What a key is written with in messages: as a form's value, but with its slashes.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// An event that is owed to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OwedEvent {
    pub(super) bucket: String,
    pub(super) owner: AccountId,
    region: Region,
    /// The id of the configuration that asks for it.
    configuration: String,
    pub(super) name: String,
    version: String,
    pub(super) at: Timestamp,
    pub(super) key: String,
    size_bytes: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<u64>,
    /// The storage class that a lifecycle rule moved the object to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
    origin: Origin,
}

impl OwedEvent {
    pub(super) fn of(bucket: &Bucket, configuration: &str, what: &Happening<'_>, sequence: u64) -> Self {
        let shows_size = what.kind.is_ordered();
        let etag = match (what.kind, what.object) {
            (Kind::DeleteMarkerCreated | Kind::LifecycleDeleteMarkerCreated, _) => Some(ETAG_OF_NOTHING),
            (_, object) => object.map(|object| object.etag.as_str()),
        };
        Self {
            bucket: bucket.name.clone(),
            owner: bucket.owner.clone(),
            region: bucket.region.clone(),
            configuration: configuration.to_owned(),
            name: what.kind.name().to_owned(),
            version: what.kind.version().to_owned(),
            at: what.at,
            key: what.key.to_owned(),
            size_bytes: what.object.filter(|_| shows_size).map(|object| object.size_bytes),
            etag: etag.map(str::to_owned),
            version_id: what.version_id.map(str::to_owned),
            sequencer: what.kind.is_ordered().then_some(sequence),
            moved_to: (what.kind == Kind::LifecycleTransition)
                .then(|| what.object.map(|object| object.attributes.storage_class.name().to_owned()))
                .flatten(),
            origin: what.origin.clone(),
        }
    }

    pub(super) fn trace_header(&self) -> Option<&str> {
        self.origin.trace_header.as_deref()
    }

    /// The text of the message.
    pub(super) fn message(&self) -> String {
        let owner = customer_id(&self.owner);
        let caused_by = self.origin.principal_id.as_deref().unwrap_or(&owner);
        let mut object = Map::new();
        object.insert("key".into(), encoded_key(&self.key).into());
        if let Some(size) = self.size_bytes {
            object.insert("size".into(), size.into());
        }
        for (member, text) in [("eTag", &self.etag), ("versionId", &self.version_id)] {
            if let Some(text) = text {
                object.insert(member.into(), text.as_str().into());
            }
        }
        if let Some(sequencer) = self.sequencer {
            object.insert("sequencer".into(), format!("00{sequencer:016X}").into());
        }
        let mut record = json!({
            "eventVersion": self.version,
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": self.at.iso_millis(),
            "eventName": self.name,
            "userIdentity": {"principalId": caused_by},
            "requestParameters": {"sourceIPAddress": self.origin.source},
            "responseElements": {
                "x-amz-request-id": Exchange::s3_request_id_text(&self.origin.request_id),
                "x-amz-id-2": Exchange::host_id_text(&self.origin.request_id),
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.configuration,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": owner},
                    "arn": format!("arn:aws:s3:::{}", self.bucket),
                },
                "object": Value::Object(object),
            },
        });
        if let Some(class) = &self.moved_to {
            record["lifecycleEventData"] = json!({"transitionEventData": {"destinationStorageClass": class}});
        }
        json!({"Records": [record]}).to_string()
    }
}

/// An event bus's name of an event, why it happened, and of deletions which kind.
fn bus_names(name: &str) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    const GONE: Option<&str> = Some("Permanently Deleted");
    const MARKED: Option<&str> = Some("Delete Marker Created");
    const EXPIRED: Option<&str> = Some("Lifecycle Expiration");
    match name {
        "ObjectCreated:Copy" => ("Object Created", Some("CopyObject"), None),
        "ObjectCreated:CompleteMultipartUpload" => ("Object Created", Some("CompleteMultipartUpload"), None),
        "ObjectRemoved:Delete" => ("Object Deleted", Some("DeleteObject"), GONE),
        "ObjectRemoved:DeleteMarkerCreated" => ("Object Deleted", Some("DeleteObject"), MARKED),
        "LifecycleExpiration:Delete" => ("Object Deleted", EXPIRED, GONE),
        "LifecycleExpiration:DeleteMarkerCreated" => ("Object Deleted", EXPIRED, MARKED),
        "LifecycleTransition" => ("Object Storage Class Changed", None, None),
        "ObjectTagging:Put" => ("Object Tags Added", None, None),
        "ObjectTagging:Delete" => ("Object Tags Deleted", None, None),
        "ObjectAcl:Put" => ("Object ACL Updated", None, None),
        _ => ("Object Created", Some("PutObject"), None),
    }
}

impl OwedEvent {
    /// The event as event buses have it. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
    pub(super) fn bus_event(&self) -> BusEvent {
        let (detail_type, reason, deletion_type) = bus_names(&self.name);
        let mut object = Map::new();
        object.insert("key".into(), self.key.as_str().into());
        object.extend(self.size_bytes.map(|size| ("size".to_owned(), size.into())));
        for (member, text) in [("etag", &self.etag), ("version-id", &self.version_id)] {
            object.extend(text.as_ref().map(|text| (member.to_owned(), text.as_str().into())));
        }
        let sequencer = self.sequencer.map(|sequencer| format!("00{sequencer:016X}"));
        object.extend(sequencer.map(|text| ("sequencer".to_owned(), text.into())));
        // A service that acts of itself stands where an address would.
        let is_service = self.origin.source.ends_with(".amazonaws.com");
        let requester = if is_service { self.origin.source.clone() } else { self.owner.to_string() };
        let mut detail = json!({
            "version": "0",
            "bucket": {"name": self.bucket},
            "object": Value::Object(object),
            "request-id": Exchange::s3_request_id_text(&self.origin.request_id),
            "requester": requester,
        });
        let optional = [
            ("source-ip-address", Some(self.origin.source.as_str()).filter(|_| !is_service)),
            ("reason", reason),
            ("deletion-type", deletion_type),
            ("destination-storage-class", self.moved_to.as_deref()),
        ];
        for (member, text) in optional {
            if let Some(text) = text {
                detail[member] = text.into();
            }
        }
        BusEvent {
            id: self.bus_event_id().to_string(),
            source: "aws.s3".to_owned(),
            detail_type: detail_type.to_owned(),
            account: self.owner.clone(),
            region: self.region.clone(),
            time: self.at,
            resources: vec![format!("arn:aws:s3:::{}", self.bucket)],
            detail: detail.to_string(),
        }
    }

    /// The same of the same event.
    fn bus_event_id(&self) -> EventId {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.message().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        EventId::from_random(bytes)
    }
}

/// The message that a destination gets when it is put into a configuration.
pub(super) fn test_message(bucket: &str, at: Timestamp, request_id: &EventId) -> String {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": at.iso_millis(),
        "Bucket": bucket,
        "RequestId": Exchange::s3_request_id_text(request_id),
        "HostId": Exchange::host_id_text(request_id),
    })
    .to_string()
}

fn encoded_key(key: &str) -> String {
    utf8_percent_encode(key, ENCODED).to_string().replace(' ', "+")
}

/// The id of an account as an Amazon customer: 14 characters that stand for it, the same for ever.
fn customer_id(account: &AccountId) -> String {
    const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, account.as_str().as_bytes());
    let characters = hash.as_ref().iter().take(13).map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    std::iter::once('A').chain(characters.map(char::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_encoded_as_a_forms_value_with_its_slashes() {
        for (key, encoded) in [
            ("a@b", "a%40b"),
            ("a b/c+d", "a+b/c%2Bd"),
            ("dt=2026/é~(1).json.gz", "dt%3D2026/%C3%A9%7E%281%29.json.gz"),
            (
                "AWSLogs/1/CloudTrail/us-east-1/x_20261121T0000Z_y.json.gz",
                "AWSLogs/1/CloudTrail/us-east-1/x_20261121T0000Z_y.json.gz",
            ),
        ] {
            assert_eq!(encoded_key(key), encoded);
        }
    }

    #[test]
    fn a_message_is_what_s3_sends() {
        let event: OwedEvent = serde_json::from_str(
            r#"{"bucket":"logs","owner":"123456789012","region":"eu-west-1","configuration":"id","name":"ObjectCreated:Put","version":"2.1","at":1795281866042,"key":"a b","size_bytes":9,"etag":"437b930db84b8079c2dd804a71936b5f","version_id":null,"sequencer":1838368630784000,"origin":{"principal_id":"AWS:AIDAEXAMPLE","source":"10.0.0.1","request_id":"07070707-0707-4707-8707-070707070707"}}"#,
        )
        .unwrap();
        insta::assert_snapshot!(event.message(), @r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventTime":"2026-11-21T17:24:26.042Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AWS:AIDAEXAMPLE"},"requestParameters":{"sourceIPAddress":"10.0.0.1"},"responseElements":{"x-amz-request-id":"0707070707074707","x-amz-id-2":"BHan7I/IRUDn2kjeYDYh50J4FDuqxcF08wDENZn6J+sPy5J7I1UeGsyFAnqjxhhN"},"s3":{"s3SchemaVersion":"1.0","configurationId":"id","bucket":{"name":"logs","ownerIdentity":{"principalId":"A6FGEIOYUUBEOO"},"arn":"arn:aws:s3:::logs"},"object":{"key":"a+b","size":9,"eTag":"437b930db84b8079c2dd804a71936b5f","sequencer":"00000687FC8D344000"}}}]}"#);
    }

    #[test]
    fn an_event_bus_gets_what_s3_puts_there() {
        let event: OwedEvent = serde_json::from_str(
            r#"{"bucket":"logs","owner":"123456789012","region":"eu-west-1","configuration":"EventBridge","name":"ObjectRemoved:Delete","version":"2.1","at":1795281866042,"key":"a b","size_bytes":null,"etag":null,"version_id":null,"sequencer":1838368630784000,"origin":{"principal_id":"AWS:AIDAEXAMPLE","source":"10.0.0.1","request_id":"07070707-0707-4707-8707-070707070707"}}"#,
        )
        .unwrap();
        let made = event.bus_event();
        assert_eq!((made.source.as_str(), made.detail_type.as_str()), ("aws.s3", "Object Deleted"));
        assert_eq!(made.resources, ["arn:aws:s3:::logs"]);
        assert_eq!(
            made.detail,
            r#"{"version":"0","bucket":{"name":"logs"},"object":{"key":"a b","sequencer":"00000687FC8D344000"},"request-id":"0707070707074707","requester":"123456789012","source-ip-address":"10.0.0.1","reason":"DeleteObject","deletion-type":"Permanently Deleted"}"#
        );
        assert_eq!(made, event.bus_event());
    }

    #[test]
    fn an_account_is_one_customer() {
        let id = customer_id(&"123456789012".parse().unwrap());
        assert_eq!((id.len(), id.as_bytes()[0]), (14, b'A'));
        assert_ne!(id, customer_id(&"123456789013".parse().unwrap()));
    }
}
