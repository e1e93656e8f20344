//! CopyObject, and finding the source that UploadPartCopy shares. The bytes are copied: no two objects name one blob.

use cairn_wire::{Call, Reply};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::attributes::{self, header_tags};
use super::checksum::{Algorithm, Claim};
use super::condition::{ReadConditions, WriteConditions};
use super::content::{Found, Opened, PUT_SIZE_BYTES_MAX};
use super::encryption::Asked;
use super::error::{Failure, access_denied, fail, invalid_argument, invalid_request};
use super::notify::{Cause, Kind, Origin};
use super::params::Params;
use super::put::{quoted, simple_object};
use super::state::Attributes;
use super::{S3, name};
use crate::Caller;

/// Where a copy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopySource {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version_id: Option<String>,
}

impl CopySource {
    /// Reads `x-amz-copy-source`: `[/]bucket/key[?versionId=id]`, percent-encoded.
    pub(super) fn parse(header: &str) -> Result<Self, Failure> {
        let invalid = || {
            invalid_argument(
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                "x-amz-copy-source",
                header,
            )
        };
        let (path, version_id) = match header.rsplit_once("?versionId=") {
            Some((path, id)) => (path, Some(id.to_owned())),
            None => (header, None),
        };
        let path = percent_decode_str(path).decode_utf8().map_err(|_| invalid())?;
        let (bucket, key) = path.trim_start_matches('/').split_once('/').ok_or_else(invalid)?;
        if bucket.is_empty() || key.is_empty() {
            return Err(invalid());
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version_id })
    }
}

impl S3 {
    pub(super) async fn copy_object(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        name::check_key(params.key())?;
        attributes::check_settings(params)?;
        let conditions = WriteConditions::of(params)?;
        let source = CopySource::parse(params.required("CopySource"))?;
        check_same_object(&source, params)?;
        let given = attributes::of_new_object(params, &caller.account, caller.now)?;
        self.check_write(params.bucket(), params.key(), &conditions, &given).await?;
        let opened = self.open_source(caller, &source, params).await?;
        let found = &opened.found;
        if found.object.size_bytes > PUT_SIZE_BYTES_MAX {
            return Err(invalid_request(format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: \
                 {PUT_SIZE_BYTES_MAX}"
            )));
        }
        let attributes = copied_attributes(found, given, params)?;
        let algorithm = match params.text("ChecksumAlgorithm") {
            Some(name) => Algorithm::named(name)?,
            None => found.object.checksum.algorithm,
        };
        let source_id = found.shown_id().map(str::to_owned);
        let size_bytes = found.object.size_bytes;
        let claim = Claim { algorithm: None, value: None };
        let from = self.key_for(caller, &found.bucket, &found.object.encryption).await?;
        let to = self.new_key(caller, params.bucket(), params.key(), Asked::of(params)?).await?;
        let body = self.body_of(opened, 0, size_bytes, from);
        let stored = self.store(body, &claim, algorithm, Some(&to.key)).await?;
        let object = simple_object(&stored, attributes, to.encryption);
        let cause = Cause { kind: Kind::Copy, at: caller.now, origin: Origin::of(caller, call) };
        let placed = self.place_object(params.bucket(), params.key(), object, conditions, cause).await?;
        let mut result = Map::new();
        result.insert("LastModified".into(), placed.version.modified_at.seconds().into());
        if let Some(object) = &placed.version.object {
            result.insert("ETag".into(), quoted(&object.etag).into());
            object.checksum.show(&mut result);
        }
        let mut reply = json!({ "CopyObjectResult": result });
        if let (Some(object), Some(reply)) = (&placed.version.object, reply.as_object_mut()) {
            object.encryption.show(reply);
        }
        if let Some(id) = source_id {
            reply["CopySourceVersionId"] = id.into();
        }
        if let Some(id) = placed.shown_id {
            reply["VersionId"] = id.into();
        }
        if let Some(expiration) = placed.expiration {
            reply["Expiration"] = expiration.into();
        }
        Ok(Reply::of(&reply))
    }

    /// Opens the source of a copy, where its conditions hold.
    pub(super) async fn open_source(
        &self,
        caller: &Caller,
        source: &CopySource,
        params: Params<'_>,
    ) -> Result<Opened, Failure> {
        let opened = self.open(&source.bucket, &source.key, source.version_id.as_deref()).await?;
        let found = &opened.found;
        if params.text("ExpectedSourceBucketOwner").is_some_and(|owner| owner != found.bucket.owner.as_str())
        {
            return Err(access_denied());
        }
        let modified_at = found.version.modified_at.seconds();
        ReadConditions::of_copy(params).check(&found.object.etag, modified_at, caller.now.seconds())?;
        Ok(opened)
    }
}

/// A copy onto itself must change something.
fn check_same_object(source: &CopySource, params: Params<'_>) -> Result<(), Failure> {
    let same = source.bucket == params.bucket() && source.key == params.key() && source.version_id.is_none();
    let changes = params.text("MetadataDirective") == Some("REPLACE")
        || ["StorageClass", "WebsiteRedirectLocation", "ServerSideEncryption", "ChecksumAlgorithm"]
            .iter()
            .any(|member| params.has(member));
    if same && !changes {
        return Err(invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    Ok(())
}

/// What a copy says of itself: what its source said, or what the request says, as the directives want it.
fn copied_attributes(found: &Found, given: Attributes, params: Params<'_>) -> Result<Attributes, Failure> {
    let source = &found.object.attributes;
    let replaces = |directive: &str| match params.text(directive) {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => {
            Err(fail(400, "InvalidArgument", format!("Unknown {directive}.")).with("ArgumentValue", other))
        }
    };
    let (headers, metadata) = if replaces("MetadataDirective")? {
        (given.headers, given.metadata)
    } else {
        (source.headers.clone(), source.metadata.clone())
    };
    let tags = if replaces("TaggingDirective")? { header_tags(params)? } else { source.tags.clone() };
    // A copy is held, shared and stored as it asks for itself, not as its source is.
    Ok(Attributes { headers, metadata, tags, ..given })
}

impl CopySource {
    /// The source that a call names, if it is a copy; `None` where it cannot be read, which the handler will say.
    pub(super) fn of(params: Params<'_>) -> Option<Self> {
        params.0.get("CopySource").and_then(Value::as_str).and_then(|header| Self::parse(header).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_source_is_decoded_and_keeps_its_version() {
        let parse = |text: &str| {
            let source = CopySource::parse(text).unwrap();
            (source.bucket, source.key, source.version_id)
        };
        let expected = |key: &str, id: Option<&str>| ("b".to_owned(), key.to_owned(), id.map(str::to_owned));
        assert_eq!(parse("/b/a%20b/c+d"), expected("a b/c+d", None));
        assert_eq!(parse("b/k%3FversionId%3Dx?versionId=v1"), expected("k?versionId=x", Some("v1")));
        assert!(CopySource::parse("b").is_err());
        assert!(CopySource::parse("b/").is_err());
    }
}
