//! GetObject and HeadObject.

use cairn_core::{Principal, Timestamp};
use cairn_wire::{Body, Call, Reply};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::condition::{ByteRange, ReadConditions};
use super::content::Found;
use super::error::{Failure, fail, invalid_request};
use super::params::Params;
use super::put::quoted;
use super::{S3, builtin};
use crate::Caller;

const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Members of a read that replace a header of the reply, and which.
const OVERRIDES: [(&str, &str); 6] = [
    ("ResponseCacheControl", "CacheControl"),
    ("ResponseContentDisposition", "ContentDisposition"),
    ("ResponseContentEncoding", "ContentEncoding"),
    ("ResponseContentLanguage", "ContentLanguage"),
    ("ResponseContentType", "ContentType"),
    ("ResponseExpires", "Expires"),
];

impl S3 {
    pub(super) async fn get_object(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        if builtin::is_builtin(params.bucket()) {
            return builtin_object(caller, params, true);
        }
        check_read(caller, params)?;
        let opened = self.open(params.bucket(), params.key(), params.version_id()).await?;
        let answer = answer(&opened.found, params, caller.now)?;
        let found = &opened.found;
        let key = self.key_for(caller, &found.bucket, &found.object.encryption).await?;
        let body = self.body_of(opened, answer.range.offset_bytes, answer.range.length_bytes, key);
        Ok(Reply { result: answer.result, body: Some(body), status: answer.status, ..Reply::default() })
    }

    pub(super) async fn head_object(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        if builtin::is_builtin(params.bucket()) {
            return builtin_object(caller, params, false);
        }
        check_read(caller, params)?;
        let with_pieces = params.has("PartNumber");
        let found = self.look_up(params.bucket(), params.key(), params.version_id(), with_pieces).await?;
        let answer = answer(&found, params, caller.now)?;
        Ok(Reply { result: answer.result, status: answer.status, ..Reply::default() })
    }
}

fn check_read(caller: &Caller, params: Params<'_>) -> Result<(), Failure> {
    if params.has("SSECustomerAlgorithm") || params.has("SSECustomerKey") {
        return Err(invalid_request("The encryption parameters are not applicable to this object."));
    }
    let overrides = OVERRIDES.iter().any(|(member, _)| params.has(member));
    if overrides && matches!(caller.principal, Principal::Anonymous) {
        return Err(invalid_request(
            "Request specific response headers cannot be used for anonymous GET requests.",
        ));
    }
    if params.has("Range") && params.has("PartNumber") {
        return Err(invalid_request("Cannot specify both Range header and partNumber query parameter"));
    }
    Ok(())
}

/// What a read answers, besides the bytes.
struct Answer {
    result: Value,
    status: Option<u16>,
    range: ByteRange,
}

fn answer(found: &Found, params: Params<'_>, now: Timestamp) -> Result<Answer, Failure> {
    let object = &found.object;
    let modified_at = found.version.modified_at.seconds();
    ReadConditions::of_read(params).check(&object.etag, modified_at, now.seconds())?;
    let asked = match (params.text("Range"), params.number("PartNumber")) {
        (Some(header), _) => ByteRange::parse(header, object.size_bytes)?,
        (None, Some(number)) => Some(range_of_part(found, number)?),
        (None, None) => None,
    };
    let whole = ByteRange { offset_bytes: 0, length_bytes: object.size_bytes };
    let range = asked.unwrap_or(whole);
    let mut reply = Map::new();
    reply.insert("AcceptRanges".into(), "bytes".into());
    reply.insert("LastModified".into(), modified_at.into());
    reply.insert("ContentLength".into(), range.length_bytes.into());
    reply.insert("ETag".into(), quoted(&object.etag).into());
    if params.text("ChecksumMode") == Some("ENABLED") && range == whole {
        object.checksum.show(&mut reply);
    }
    if let Some(id) = found.shown_id() {
        reply.insert("VersionId".into(), id.into());
    }
    if asked.is_some() && object.size_bytes > 0 {
        reply.insert("ContentRange".into(), range.content_range(object.size_bytes).into());
    }
    for (member, value) in &object.attributes.headers {
        reply.insert(member.clone(), value.as_str().into());
    }
    apply_overrides(params, &mut reply);
    object.encryption.show(&mut reply);
    let metadata =
        object.attributes.metadata.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    reply.insert("Metadata".into(), Value::Object(metadata.collect()));
    if let (Some(parts), true) = (object.parts, params.has("PartNumber")) {
        reply.insert("PartsCount".into(), parts.into());
    }
    if !object.attributes.tags.is_empty() {
        reply.insert("TagCount".into(), object.attributes.tags.len().into());
    }
    object.attributes.hold.show(&mut reply);
    object.attributes.storage_class.show(&mut reply);
    if let Some(expiration) = &found.expiration {
        reply.insert("Expiration".into(), expiration.as_str().into());
    }
    Ok(Answer { result: Value::Object(reply), status: asked.is_some().then_some(206), range })
}

fn range_of_part(found: &Found, number: i64) -> Result<ByteRange, Failure> {
    let mut offset_bytes = 0;
    for (at, piece) in (1_i64..).zip(&found.pieces) {
        if at == number {
            return Ok(ByteRange { offset_bytes, length_bytes: piece.size_bytes });
        }
        offset_bytes += piece.size_bytes;
    }
    Err(fail(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
        .with("PartNumberRequested", number.to_string())
        .with("ActualPartCount", found.pieces.len().to_string()))
}

fn apply_overrides(params: Params<'_>, reply: &mut Map<String, Value>) {
    for (member, header) in OVERRIDES {
        let value = match member {
            "ResponseExpires" => params.number(member).and_then(http_date),
            _ => params.text(member).map(str::to_owned),
        };
        if let Some(value) = value {
            reply.insert(header.into(), value.into());
        }
    }
}

pub(super) fn http_date(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(HTTP_DATE).ok()
}

fn builtin_object(caller: &Caller, params: Params<'_>, with_body: bool) -> Result<Reply, Failure> {
    let template = builtin::template(params)?;
    let etag = hex::encode(<md5::Md5 as md5::Digest>::digest(&template.body));
    let modified_at = template.modified_at().seconds();
    ReadConditions::of_read(params).check(&etag, modified_at, caller.now.seconds())?;
    let size_bytes = template.body.len() as u64;
    let range =
        params.text("Range").map(|header| ByteRange::parse(header, size_bytes)).transpose()?.flatten();
    let mut result = json!({
        "AcceptRanges": "bytes",
        "LastModified": modified_at,
        "ContentLength": range.map_or(size_bytes, |range| range.length_bytes),
        "ETag": quoted(&etag),
        "ContentType": "application/json",
        "ServerSideEncryption": "AES256",
        "Metadata": {},
    });
    let mut bytes = bytes::Bytes::from(template.body);
    if let Some(range) = range {
        result["ContentRange"] = range.content_range(size_bytes).into();
        let start = usize::try_from(range.offset_bytes).unwrap_or_default();
        bytes = bytes.slice(start..start + usize::try_from(range.length_bytes).unwrap_or_default());
    }
    let body = with_body.then(|| Body::from_bytes(bytes));
    Ok(Reply { result, body, status: range.map(|_| 206), ..Reply::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_does() {
        assert_eq!(http_date(784_111_777).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}
