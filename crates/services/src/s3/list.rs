//! ListObjects, both versions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_store::Tx;
use cairn_wire::{Call, Reply};
use serde_json::{Map, Value, json};

use super::S3;
use super::bucket::canonical_id;
use super::error::{Failure, invalid_argument};
use super::params::Params;
use super::put::quoted;
use super::state::{Bucket, VERSIONS, Version};
use super::version;
use super::walk::{Query, Step, encodes, page_size, shown, walk};

/// One page of a listing.
#[derive(Clone, Debug, Default)]
struct Page {
    objects: Vec<Version>,
    groups: Vec<String>,
    /// The last key or group on the page.
    last: Option<String>,
    truncated: bool,
}

impl S3 {
    pub(super) async fn list_objects(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let encoded = encodes(params)?;
        let marker = params.text("Marker").unwrap_or_default();
        let query = Query::of(params, page_size(params, "MaxKeys", "max-keys")?, marker);
        let with_delimiter = query.delimiter.is_some();
        let (bucket, page) = self.page_of(query).await?;
        let owner = Some(canonical_id(&bucket.owner));
        let mut reply = common(&page, params, encoded, owner.as_deref())?;
        reply.insert("Marker".into(), shown(marker, encoded).into());
        // Without a delimiter clients take the last key.
        if let (true, true, Some(last)) = (page.truncated, with_delimiter, &page.last) {
            reply.insert("NextMarker".into(), shown(last, encoded).into());
        }
        Ok(Reply::of(&reply))
    }

    pub(super) async fn list_objects_v2(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let encoded = encodes(params)?;
        let start_after = params.text("StartAfter").unwrap_or_default();
        let token = params.text("ContinuationToken");
        let after = match token {
            Some(token) => decode_token(token)?,
            None => start_after.to_owned(),
        };
        let query = Query::of(params, page_size(params, "MaxKeys", "max-keys")?, &after);
        let (bucket, page) = self.page_of(query).await?;
        let owner = params.flag("FetchOwner").then(|| canonical_id(&bucket.owner));
        let mut reply = common(&page, params, encoded, owner.as_deref())?;
        reply.insert("KeyCount".into(), (page.objects.len() + page.groups.len()).into());
        if let Some(token) = token {
            reply.insert("ContinuationToken".into(), token.into());
        }
        if !start_after.is_empty() {
            reply.insert("StartAfter".into(), shown(start_after, encoded).into());
        }
        if let (true, Some(last)) = (page.truncated, &page.last) {
            reply.insert("NextContinuationToken".into(), encode_token(last).into());
        }
        Ok(Reply::of(&reply))
    }

    async fn page_of(&self, query: Query) -> Result<(Bucket, Page), Failure> {
        self.catalog
            .read(move |tx| {
                let bucket = version::bucket(tx, &query.bucket)?;
                Ok((bucket, read_page(tx, &query)?))
            })
            .await
    }
}

fn read_page(tx: &mut dyn Tx, query: &Query) -> Result<Page, Failure> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    // Every row that is shown is its key's newest, because the rest of the key is skipped.
    walk(tx, &VERSIONS, query, query.start(), |newest, group| {
        if newest.object.is_none() {
            return Step::SkipKey;
        }
        if page.objects.len() + page.groups.len() == query.limit {
            page.truncated = true;
            return Step::Stop;
        }
        page.last = Some(group.clone().unwrap_or_else(|| newest.key.clone()));
        match group {
            Some(group) => {
                page.groups.push(group);
                Step::SkipGroup
            }
            None => {
                page.objects.push(newest);
                Step::SkipKey
            }
        }
    })?;
    Ok(page)
}

/// What both versions of the listing answer.
fn common(
    page: &Page,
    params: Params<'_>,
    encoded: bool,
    owner: Option<&str>,
) -> Result<Map<String, Value>, Failure> {
    let mut reply = Map::new();
    reply.insert("IsTruncated".into(), page.truncated.into());
    reply.insert("Name".into(), params.bucket().into());
    reply.insert("Prefix".into(), shown(params.text("Prefix").unwrap_or_default(), encoded).into());
    if let Some(delimiter) = params.text("Delimiter").filter(|delimiter| !delimiter.is_empty()) {
        reply.insert("Delimiter".into(), shown(delimiter, encoded).into());
    }
    reply.insert("MaxKeys".into(), page_size(params, "MaxKeys", "max-keys")?.into());
    if encoded {
        reply.insert("EncodingType".into(), "url".into());
    }
    let contents: Vec<Value> =
        page.objects.iter().filter_map(|version| shown_object(version, encoded, owner)).collect();
    if !contents.is_empty() {
        reply.insert("Contents".into(), contents.into());
    }
    if !page.groups.is_empty() {
        reply.insert("CommonPrefixes".into(), shown_groups(&page.groups, encoded));
    }
    Ok(reply)
}

/// `CommonPrefixes`.
pub(super) fn shown_groups(groups: &[String], encoded: bool) -> Value {
    groups.iter().map(|group| json!({"Prefix": shown(group, encoded)})).collect()
}

/// An entry of `Contents`, and most of one of `Versions`; none for a delete marker.
pub(super) fn shown_object(version: &Version, encoded: bool, owner: Option<&str>) -> Option<Value> {
    let object = version.object.as_ref()?;
    let mut entry = json!({
        "Key": shown(&version.key, encoded),
        "LastModified": version.modified_at.seconds(),
        "ETag": quoted(&object.etag),
        "ChecksumAlgorithm": [object.checksum.algorithm.name()],
        "ChecksumType": object.checksum.kind.name(),
        "Size": object.size_bytes,
        "StorageClass": object.attributes.storage_class.name(),
    });
    if let Some(owner) = owner {
        entry["Owner"] = json!({"ID": owner});
    }
    Some(entry)
}

/// A token holds the last key or group that was shown.
fn encode_token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("1{last}"))
}

fn decode_token(token: &str) -> Result<String, Failure> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.strip_prefix('1').map(str::to_owned))
        .ok_or_else(|| {
            invalid_argument("The continuation token provided is incorrect", "continuation-token", token)
        })
}
