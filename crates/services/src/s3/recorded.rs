//! What a record shows of a call to S3, which is closer to the HTTP request than for any other service.
//!
//! Source: events delivered by CloudTrail: bucketName, Host, key, the query by its names (sub-resources as empty
//! texts), `x-amz-*` headers, and the XML or JSON body under its root's name.

use cairn_wire::Call;
use serde_json::{Map, Value, json};

use super::notify::configuration;
use super::params::Params;
use crate::service::Operation;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// What AWS writes in place of a secret.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Headers that speak of the signature or of the transfer.
const LEFT_OUT: [&str; 8] = [
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
    "x-amz-user-agent",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
    "x-amz-te",
    "x-amz-expected-bucket-owner",
];

/// Bodies that are shown: the member, the root's name, and the list in it with its element's name.
const BODIES: [(&str, Option<(&str, &str)>); 8] = [
    ("CreateBucketConfiguration", None),
    ("VersioningConfiguration", None),
    ("PublicAccessBlockConfiguration", None),
    ("Tagging", Some(("TagSet", "Tag"))),
    ("ServerSideEncryptionConfiguration", Some(("", "Rule"))),
    ("OwnershipControls", Some(("", "Rule"))),
    ("LifecycleConfiguration", Some(("", "Rule"))),
    ("AccessControlPolicy", Some(("Grants", "Grant"))),
];

/// Members of results that records of object writes show, by their headers' names.
const SHOWN_HEADERS: [(&str, &str); 5] = [
    ("ServerSideEncryption", "x-amz-server-side-encryption"),
    ("Expiration", "x-amz-expiration"),
    ("VersionId", "x-amz-version-id"),
    ("CopySourceVersionId", "x-amz-copy-source-version-id"),
    ("DeleteMarker", "x-amz-delete-marker"),
];

/// `requestParameters`.
pub(super) fn request(call: &Call) -> Value {
    let params = Params(&call.params);
    let mut shown = Map::new();
    if let Some(bucket) = params.text("Bucket") {
        shown.insert("bucketName".into(), bucket.into());
    }
    shown.insert("Host".into(), call.request.host.as_str().into());
    if let Some(policy) = params.text("Policy") {
        let document = serde_json::from_str(policy).unwrap_or_else(|_| Value::String(policy.to_owned()));
        shown.insert("bucketPolicy".into(), document);
    }
    for (member, list) in BODIES {
        if let Some(body) = params.part(member) {
            shown.insert(member.into(), shown_body(body, list));
        }
    }
    if let Some(configuration) = params.part("NotificationConfiguration") {
        let mut body = Map::new();
        body.insert("xmlns".into(), NAMESPACE.into());
        body.extend(configuration::recorded(configuration));
        shown.insert("NotificationConfiguration".into(), Value::Object(body));
    }
    if let Some(key) = params.text("Key") {
        shown.insert("key".into(), key.into());
    }
    for (name, value) in &call.request.query {
        if !name.to_ascii_lowercase().starts_with("x-amz-") {
            // A query that says `key` or `bucketName` must not hide what was really asked for.
            shown.entry(name.clone()).or_insert_with(|| value.as_str().into());
        }
    }
    for (name, value) in &call.request.headers {
        if !name.starts_with("x-amz-") || LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let secret = name.ends_with("encryption-customer-key");
        let value = if secret { HIDDEN } else { value.as_str() };
        shown.insert(name.clone(), value.into());
    }
    Value::Object(shown)
}

/// A body as its XML would read: attributes and elements by name, a list of one as its only element.
fn shown_body(body: Params<'_>, list: Option<(&str, &str)>) -> Value {
    let mut shown = Map::new();
    shown.insert("xmlns".into(), NAMESPACE.into());
    for (name, value) in body.0.as_object().into_iter().flatten() {
        match (list, value.as_array()) {
            (Some((wrapper, element)), Some(items)) => {
                let items = match items.as_slice() {
                    [only] => only.clone(),
                    _ => value.clone(),
                };
                if wrapper.is_empty() {
                    shown.insert(element.into(), items);
                } else {
                    shown.insert(name.clone(), json!({element: items}));
                }
            }
            _ => {
                let name = if name == "MFADelete" { "MfaDelete" } else { name };
                shown.insert(name.into(), value.clone());
            }
        }
    }
    Value::Object(shown)
}

/// `responseElements`: nothing for buckets, a few headers for objects.
pub(super) fn reply(operation: &Operation, result: &Value) -> Value {
    let multipart = match operation.name {
        "CreateMultipartUpload" => &["UploadId"][..],
        "CompleteMultipartUpload" => &["Location"][..],
        _ => &[][..],
    };
    let mut shown = Map::new();
    if operation.kind == crate::EventKind::Data {
        for (member, header) in SHOWN_HEADERS {
            let value = match result.get(member) {
                Some(Value::Bool(flag)) => Value::String(flag.to_string()),
                Some(value) => value.clone(),
                None => continue,
            };
            shown.insert(header.into(), value);
        }
        for member in multipart {
            if let Some(value) = result.get(*member) {
                let name = if *member == "UploadId" { "uploadId" } else { "location" };
                shown.insert(name.into(), value.clone());
            }
        }
    }
    if shown.is_empty() { Value::Null } else { Value::Object(shown) }
}
