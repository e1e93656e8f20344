//! What a client says of a new object besides its bytes: headers, user metadata, tags, and the settings of which only
//! the default is built.

use cairn_core::{AccountId, Timestamp};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::acl::ObjectAcl;
use super::error::{Failure, fail, invalid_argument, not_implemented};
use super::object_lock::Hold;
use super::params::Params;
use super::state::Attributes;
use super::storage_class::StorageClass;

/// Limit of user metadata: names and values together, in bytes.
const METADATA_SIZE_BYTES_MAX: usize = 2 * 1024;
/// Tags of one object.
pub(super) const OBJECT_TAGS_MAX: usize = 10;
/// Tags of one bucket.
pub(super) const BUCKET_TAGS_MAX: usize = 50;
/// Longest tag key, in characters.
const TAG_KEY_LENGTH_MAX: usize = 128;
/// Longest tag value, in characters.
const TAG_VALUE_LENGTH_MAX: usize = 256;

/// The headers that are kept with an object, by member name.
const KEPT_HEADERS: [&str; 7] = [
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "WebsiteRedirectLocation",
];

/// What S3 answers for an object that was put without a content type.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// Settings that are known and not built, with their headers.
const NOT_BUILT: [(&str, &str); 6] = [
    ("SSECustomerAlgorithm", "x-amz-server-side-encryption-customer-algorithm"),
    ("SSECustomerKey", "x-amz-server-side-encryption-customer-key"),
    ("CopySourceSSECustomerAlgorithm", "x-amz-copy-source-server-side-encryption-customer-algorithm"),
    ("CopySourceSSECustomerKey", "x-amz-copy-source-server-side-encryption-customer-key"),
    ("WriteOffsetBytes", "x-amz-write-offset-bytes"),
    ("MFA", "x-amz-mfa"),
];

/// The attributes of a new object, after all checks.
pub(super) fn of_new_object(
    params: Params<'_>,
    writer: &AccountId,
    now: Timestamp,
) -> Result<Attributes, Failure> {
    check_settings(params)?;
    Ok(Attributes {
        headers: headers(params),
        metadata: metadata(params)?,
        tags: header_tags(params)?,
        hold: Hold::requested(params, now)?,
        acl: Some(ObjectAcl::requested(params, writer)?),
        storage_class: StorageClass::requested(params)?,
    })
}

/// Refuses settings that are not built, so that nothing is silently left out.
pub(super) fn check_settings(params: Params<'_>) -> Result<(), Failure> {
    if let Some((_, header)) = NOT_BUILT.iter().find(|(member, _)| params.has(member)) {
        return Err(not_implemented(header));
    }
    match params.text("ServerSideEncryption") {
        None | Some("AES256" | "aws:kms") => {}
        Some("aws:kms:dsse" | "aws:fsx") => {
            return Err(not_implemented("x-amz-server-side-encryption"));
        }
        Some(other) => {
            return Err(fail(
                400,
                "InvalidEncryptionAlgorithmError",
                "The encryption request you specified is not valid. Supported value: AES256.",
            )
            .with("ArgumentName", "x-amz-server-side-encryption")
            .with("ArgumentValue", other));
        }
    }
    Ok(())
}

fn headers(params: Params<'_>) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for member in KEPT_HEADERS {
        let given = params.text(member).filter(|value| !value.is_empty()).map(str::to_owned);
        let value = match member {
            "ContentEncoding" => given.and_then(|value| without_chunking(&value)),
            "ContentType" => Some(given.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())),
            _ => given,
        };
        kept.extend(value.map(|value| (member.to_owned(), value)));
    }
    kept
}

/// `aws-chunked` says how the request was sent, not what the object is.
fn without_chunking(encodings: &str) -> Option<String> {
    let kept: Vec<&str> = encodings
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

fn metadata(params: Params<'_>) -> Result<Vec<(String, String)>, Failure> {
    let given = params.0.get("Metadata").and_then(Value::as_object);
    let metadata: Vec<(String, String)> = given
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let size_bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size_bytes > METADATA_SIZE_BYTES_MAX {
        return Err(fail(
            400,
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
        )
        .with("Size", size_bytes.to_string())
        .with("MaxSizeAllowed", METADATA_SIZE_BYTES_MAX.to_string()));
    }
    Ok(metadata)
}

/// The tags of the `x-amz-tagging` header, which is a query string.
pub(super) fn header_tags(params: Params<'_>) -> Result<Vec<(String, String)>, Failure> {
    let Some(header) = params.text("Tagging") else { return Ok(Vec::new()) };
    let malformed = || {
        invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag \
             name duplicates.",
            "x-amz-tagging",
            header,
        )
    };
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).map_err(|_| malformed())
    };
    let mut tags: Vec<(String, String)> = Vec::new();
    for pair in header.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let tag = (decode(key)?, decode(value)?);
        if tags.iter().any(|(key, _)| *key == tag.0) {
            return Err(malformed());
        }
        tags.push(tag);
    }
    check_tags(&tags, OBJECT_TAGS_MAX)?;
    Ok(tags)
}

/// The tags of a `TagSet` or list of tags.
pub(super) fn listed_tags(tags: &[Value], count_max: usize) -> Result<Vec<(String, String)>, Failure> {
    let tags: Vec<(String, String)> = tags
        .iter()
        .map(|tag| (Params(tag).required("Key").to_owned(), Params(tag).required("Value").to_owned()))
        .collect();
    check_tags(&tags, count_max)?;
    Ok(tags)
}

fn check_tags(tags: &[(String, String)], count_max: usize) -> Result<(), Failure> {
    if tags.len() > count_max {
        let of = if count_max == OBJECT_TAGS_MAX { "Object" } else { "Bucket" };
        return Err(fail(400, "BadRequest", format!("{of} tags cannot be greater than {count_max}")));
    }
    let invalid = |message: &str, key: &str| fail(400, "InvalidTag", message).with("TagKey", key);
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > TAG_KEY_LENGTH_MAX || !key.chars().all(is_tag_character) {
            return Err(invalid("The TagKey you have provided is invalid", key));
        }
        if value.chars().count() > TAG_VALUE_LENGTH_MAX || !value.chars().all(is_tag_character) {
            return Err(invalid("The TagValue you have provided is invalid", key));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("System tags cannot be added/updated by requester", key));
        }
        if tags[..at].iter().any(|(other, _)| other == key) {
            return Err(invalid("Cannot provide multiple Tags with the same key", key));
        }
    }
    Ok(())
}

/// Letters, spaces and numbers of any script, and `+ - = . _ : / @`.
fn is_tag_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, ' ' | '+' | '-' | '=' | '.' | '_' | ':' | '/' | '@')
}

/// A `TagSet`.
pub(super) fn tag_set(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| serde_json::json!({"Key": key, "Value": value})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers_and_tags(params: &Value) -> Result<Attributes, Failure> {
        let writer = "123456789012".parse().unwrap();
        of_new_object(Params(params), &writer, Timestamp::from_seconds(1_000_000))
    }

    #[test]
    fn headers_lose_their_chunking_and_gain_a_content_type() {
        let params = json!({"ContentEncoding": "aws-chunked, gzip", "CacheControl": "no-cache"});
        let attributes = headers_and_tags(&params).unwrap();
        let shown: Vec<String> =
            attributes.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            shown,
            ["CacheControl=no-cache", "ContentEncoding=gzip", "ContentType=binary/octet-stream"]
        );
        let only_chunked = json!({"ContentEncoding": "aws-chunked"});
        assert_eq!(headers_and_tags(&only_chunked).unwrap().headers.len(), 1);
    }

    #[test]
    fn what_is_not_built_is_refused_and_not_ignored() {
        let code = |params: Value| headers_and_tags(&params).unwrap_err().0.code.into_owned();
        assert_eq!(code(json!({"ServerSideEncryption": "aws:kms:dsse"})), "NotImplemented");
        assert_eq!(code(json!({"StorageClass": "OUTPOSTS"})), "NotImplemented");
        assert_eq!(code(json!({"StorageClass": "ICE"})), "InvalidStorageClass");
        assert_eq!(code(json!({"ACL": "public"})), "InvalidArgument");
        assert_eq!(code(json!({"GrantRead": "id=1"})), "NotImplemented");
        assert_eq!(code(json!({"SSECustomerAlgorithm": "AES256"})), "NotImplemented");
        assert_eq!(code(json!({"ObjectLockMode": "GOVERNANCE"})), "InvalidArgument");
        assert_eq!(
            code(json!({"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": 1_000_000})),
            "InvalidArgument"
        );
        assert_eq!(code(json!({"ObjectLockLegalHoldStatus": "on"})), "InvalidArgument");
        assert_eq!(code(json!({"Metadata": {"a": "x".repeat(2048)}})), "MetadataTooLarge");
        assert_eq!(code(json!({"Tagging": "a=1&a=2"})), "InvalidArgument");
        assert_eq!(code(json!({"Tagging": "aws%3Aa=1"})), "InvalidTag");
    }

    #[test]
    fn tags_of_a_header_are_decoded() {
        let params = json!({"Tagging": "project=a%2Bb&empty=&the+owner=x"});
        let tags = headers_and_tags(&params).unwrap().tags;
        let expected = [("project", "a+b"), ("empty", ""), ("the owner", "x")];
        assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
