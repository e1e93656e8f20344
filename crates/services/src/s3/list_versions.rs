//! ListObjectVersions.

use cairn_store::Tx;
use cairn_wire::{Call, Reply};
use serde_json::{Map, Value, json};

use super::S3;
use super::bucket::canonical_id;
use super::error::{Failure, invalid_argument};
use super::list::{shown_groups, shown_object};
use super::params::Params;
use super::state::{Bucket, NULL_VERSION, VERSIONS, Version, version_key};
use super::version;
use super::walk::{Query, Step, encodes, page_size, shown, walk};

/// One page: versions and delete markers in their order, each with whether it is its key's newest.
#[derive(Clone, Debug, Default)]
struct Page {
    versions: Vec<(Version, bool)>,
    groups: Vec<String>,
    /// The last key or group on the page, and the version's id where it was a version.
    last: Option<(String, Option<String>)>,
    truncated: bool,
}

impl S3 {
    pub(super) async fn list_object_versions(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let encoded = encodes(params)?;
        let key_marker = params.text("KeyMarker").unwrap_or_default();
        let version_marker = params.text("VersionIdMarker").unwrap_or_default();
        if key_marker.is_empty() && !version_marker.is_empty() {
            return Err(invalid_argument(
                "A version-id marker cannot be specified without a key marker.",
                "version-id-marker",
                version_marker,
            ));
        }
        let query = Query::of(params, page_size(params, "MaxKeys", "max-keys")?, key_marker);
        let limit = query.limit;
        let marker = version_marker.to_owned();
        let (bucket, page) = self
            .catalog
            .read(move |tx| {
                let bucket = version::bucket(tx, &query.bucket)?;
                let page = read_page(tx, &query, &marker)?;
                Ok::<_, Failure>((bucket, page))
            })
            .await?;
        let mut reply = shown_page(&bucket, &page, encoded);
        reply.insert("Prefix".into(), shown(params.text("Prefix").unwrap_or_default(), encoded).into());
        if let Some(delimiter) = params.text("Delimiter").filter(|delimiter| !delimiter.is_empty()) {
            reply.insert("Delimiter".into(), shown(delimiter, encoded).into());
        }
        reply.insert("KeyMarker".into(), shown(key_marker, encoded).into());
        reply.insert("VersionIdMarker".into(), version_marker.into());
        reply.insert("MaxKeys".into(), limit.into());
        if encoded {
            reply.insert("EncodingType".into(), "url".into());
        }
        Ok(Reply::of(&reply))
    }
}

fn read_page(tx: &mut dyn Tx, query: &Query, version_marker: &str) -> Result<Page, Failure> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let (from, newest_of_marker) = start(tx, query, version_marker)?;
    let mut previous_key: Option<String> = None;
    walk(tx, &VERSIONS, query, from, |version, group| {
        if page.versions.len() + page.groups.len() == query.limit {
            page.truncated = true;
            return Step::Stop;
        }
        if let Some(group) = group {
            page.last = Some((group.clone(), None));
            page.groups.push(group);
            return Step::SkipGroup;
        }
        let newest = if version.key == query.after {
            newest_of_marker == Some(version.sequence)
        } else {
            previous_key.as_ref() != Some(&version.key)
        };
        previous_key = Some(version.key.clone());
        page.last = Some((version.key.clone(), Some(version.id_text().to_owned())));
        page.versions.push((version, newest));
        Step::Next
    })?;
    Ok(page)
}

/// Where the walk begins, and which version of the marker's key is its newest.
fn start(tx: &mut dyn Tx, query: &Query, version_marker: &str) -> Result<(Vec<u8>, Option<u64>), Failure> {
    if version_marker.is_empty() {
        return Ok((query.start(), None));
    }
    let sequence = if version_marker == NULL_VERSION {
        version::null_version(tx, &query.bucket, &query.after)?.map(|version| version.sequence)
    } else {
        let sequence = version::sequence_of(version_marker);
        Some(sequence.ok_or_else(|| {
            invalid_argument("Invalid version id specified", "version-id-marker", version_marker)
        })?)
    };
    let Some(sequence) = sequence else { return Ok((query.start(), None)) };
    let row = version_key(&query.bucket, &query.after, sequence);
    let newest = version::latest(tx, &query.bucket, &query.after)?;
    Ok(([row.bytes(), &[0]].concat(), newest.map(|version| version.sequence)))
}

fn shown_page(bucket: &Bucket, page: &Page, encoded: bool) -> Map<String, Value> {
    let owner = canonical_id(&bucket.owner);
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for (version, newest) in &page.versions {
        match shown_object(version, encoded, Some(&owner)) {
            Some(mut entry) => {
                entry["VersionId"] = version.id_text().into();
                entry["IsLatest"] = (*newest).into();
                versions.push(entry);
            }
            None => markers.push(json!({
                "Key": shown(&version.key, encoded),
                "VersionId": version.id_text(),
                "IsLatest": newest,
                "LastModified": version.modified_at.seconds(),
                "Owner": {"ID": owner},
            })),
        }
    }
    let mut reply = Map::new();
    reply.insert("IsTruncated".into(), page.truncated.into());
    reply.insert("Name".into(), bucket.name.as_str().into());
    for (member, list) in [("Versions", versions), ("DeleteMarkers", markers)] {
        if !list.is_empty() {
            reply.insert(member.into(), list.into());
        }
    }
    if !page.groups.is_empty() {
        reply.insert("CommonPrefixes".into(), shown_groups(&page.groups, encoded));
    }
    if let (true, Some((key, id))) = (page.truncated, &page.last) {
        reply.insert("NextKeyMarker".into(), shown(key, encoded).into());
        if let Some(id) = id {
            reply.insert("NextVersionIdMarker".into(), id.as_str().into());
        }
    }
    reply
}
