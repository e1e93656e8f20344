//! Multipart uploads: begin, give up, list uploads and parts.

use cairn_core::Principal;
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{BlobId, CatalogError, Tx};
use cairn_wire::{Call, Reply};
use serde_json::{Map, Value, json};

use super::S3;
use super::bucket::canonical_id;
use super::checksum::{Algorithm, ChecksumKind};
use super::encryption::Asked;
use super::error::{Failure, invalid_request, no_such_upload};
use super::garbage::discard;
use super::lifecycle;
use super::list::shown_groups;
use super::params::Params;
use super::put::quoted;
use super::state::{Bucket, Part, UPLOAD_PARTS, UPLOADS, Upload, part_key, upload_key};
use super::walk::{Query, Step, encodes, page_size, shown, walk};
use super::{attributes, name, version};
use crate::Caller;

/// Random characters of an upload id, behind sixteen that sort by time.
const UPLOAD_RANDOM_LENGTH: usize = 48;
/// How many parts are dropped at once.
const DROP_PAGE: usize = 1000;

impl S3 {
    pub(super) async fn create_upload(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        name::check_key(params.key())?;
        let algorithm = params.text("ChecksumAlgorithm").map(Algorithm::named).transpose()?;
        if algorithm.is_none() && params.has("ChecksumType") {
            return Err(invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            ));
        }
        let kind = match algorithm {
            Some(algorithm) => algorithm.kind(params.text("ChecksumType"))?,
            None => ChecksumKind::FullObject,
        };
        let random = self
            .entropy
            .text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", UPLOAD_RANDOM_LENGTH);
        let key = self.new_key(caller, params.bucket(), params.key(), Asked::of(params)?).await?;
        let upload = Upload {
            key: params.key().to_owned(),
            id: format!("{:016x}{random}", caller.now.millis()),
            initiated_at: caller.now.floor(std::time::Duration::from_secs(1)),
            initiator: (caller.account.clone(), initiator_id(caller)),
            algorithm,
            kind,
            attributes: attributes::of_new_object(params, &caller.account, caller.now)?,
            encryption: key.encryption,
        };
        let (bucket, now) = (params.bucket().to_owned(), caller.now);
        let mut reply = json!({"Bucket": bucket, "Key": upload.key, "UploadId": upload.id});
        if let Some(reply) = reply.as_object_mut() {
            upload.encryption.show(reply);
        }
        if let Some(algorithm) = algorithm {
            reply["ChecksumAlgorithm"] = algorithm.name().into();
            reply["ChecksumType"] = kind.name().into();
        }
        let day = self.lifecycle.day();
        let abort = self
            .catalog
            .write(move |tx| {
                // The default retention begins when the upload is complete.
                upload.attributes.clone().settle(&version::bucket(tx, &bucket)?, now)?;
                let row = upload_key(&bucket, &upload.key, &upload.id);
                UPLOADS.put(tx, row.bytes(), &upload)?;
                Ok::<_, Failure>(lifecycle::abort_at(tx, &bucket, &upload, day)?)
            })
            .await?;
        lifecycle::show_abort(abort.as_ref(), &mut reply);
        Ok(Reply::of(&reply))
    }

    pub(super) async fn abort_upload(&self, call: &Call) -> Result<Reply, Failure> {
        let at = UploadName::of(Params(&call.params));
        let freed = self
            .catalog
            .write(move |tx| {
                at.find(tx)?;
                UPLOADS.delete(tx, at.row().bytes())?;
                let blobs = drop_parts(tx, &at.row())?;
                discard(tx, &blobs)?;
                Ok::<_, Failure>(blobs)
            })
            .await?;
        self.remove_freed(freed).await;
        Ok(Reply::empty())
    }

    pub(super) async fn list_parts(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let limit = page_size(params, "MaxParts", "max-parts")?;
        let marker = params.number("PartNumberMarker").unwrap_or_default().max(0);
        let at = UploadName::of(params);
        let first = u32::try_from(marker).unwrap_or(u32::MAX).saturating_add(1);
        let day = self.lifecycle.day();
        let (bucket, upload, mut parts, abort) = self
            .catalog
            .read(move |tx| {
                let (bucket, upload) = at.find(tx)?;
                let from = part_key(&at.bucket, &at.key, &at.id, first);
                let end = prefix_end(at.row().bytes());
                let parts = UPLOAD_PARTS.scan(tx, from.bytes(), end.as_deref(), limit + 1)?;
                let abort = lifecycle::abort_at(tx, &bucket.name, &upload, day)?;
                Ok::<_, Failure>((bucket, upload, parts, abort))
            })
            .await?;
        let truncated = parts.len() > limit;
        parts.truncate(limit);
        let owner = json!({"ID": canonical_id(&bucket.owner)});
        let mut reply = json!({
            "Bucket": bucket.name,
            "Key": upload.key,
            "UploadId": upload.id,
            "PartNumberMarker": marker,
            "NextPartNumberMarker": parts.last().map_or(0, |(_, part)| part.number),
            "MaxParts": limit,
            "IsTruncated": truncated,
            "Initiator": initiator(&upload),
            "Owner": owner,
            "StorageClass": upload.attributes.storage_class.name(),
        });
        show_algorithm(&upload, &mut reply);
        lifecycle::show_abort(abort.as_ref(), &mut reply);
        if !parts.is_empty() {
            reply["Parts"] = parts.iter().map(|(_, part)| shown_part(part, &upload)).collect();
        }
        Ok(Reply::of(&reply))
    }

    pub(super) async fn list_uploads(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let encoded = encodes(params)?;
        let key_marker = params.text("KeyMarker").unwrap_or_default();
        // Without a key marker an upload-id marker is ignored.
        let id_marker = params.text("UploadIdMarker").filter(|_| !key_marker.is_empty()).unwrap_or_default();
        let query = Query::of(params, page_size(params, "MaxUploads", "max-uploads")?, key_marker);
        let limit = query.limit;
        let marker = id_marker.to_owned();
        let (bucket, page) = self
            .catalog
            .read(move |tx| {
                let bucket = version::bucket(tx, &query.bucket)?;
                Ok::<_, Failure>((bucket, read_uploads(tx, &query, &marker)?))
            })
            .await?;
        let mut reply = page.shown(&bucket, encoded);
        reply.insert("KeyMarker".into(), shown(key_marker, encoded).into());
        reply.insert("UploadIdMarker".into(), id_marker.into());
        reply.insert("MaxUploads".into(), limit.into());
        for member in ["Prefix", "Delimiter"] {
            if let Some(text) = params.text(member) {
                reply.insert(member.into(), shown(text, encoded).into());
            }
        }
        if encoded {
            reply.insert("EncodingType".into(), "url".into());
        }
        Ok(Reply::of(&reply))
    }
}

/// Who is shown as the initiator: a user by ARN, an account by its canonical id.
fn initiator_id(caller: &Caller) -> String {
    match &caller.principal {
        Principal::Root { .. } => canonical_id(&caller.account),
        principal => principal.arn().unwrap_or_else(|| canonical_id(&caller.account)),
    }
}

fn initiator(upload: &Upload) -> Value {
    let (account, id) = &upload.initiator;
    let name = id.rsplit_once('/').map_or(account.as_str(), |(_, user)| user);
    json!({"ID": id, "DisplayName": name})
}

fn show_algorithm(upload: &Upload, reply: &mut Value) {
    if let Some(algorithm) = upload.algorithm {
        reply["ChecksumAlgorithm"] = algorithm.name().into();
        reply["ChecksumType"] = upload.kind.name().into();
    }
}

fn shown_part(part: &Part, upload: &Upload) -> Value {
    let mut shown = json!({
        "PartNumber": part.number,
        "LastModified": part.modified_at.seconds(),
        "ETag": quoted(&part.etag),
        "Size": part.size_bytes,
    });
    if let Some(algorithm) = upload.algorithm {
        shown[algorithm.member()] = part.checksum.as_str().into();
    }
    shown
}

/// The bucket, key and id that name an upload.
#[derive(Clone, Debug)]
pub(super) struct UploadName {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) id: String,
}

impl UploadName {
    pub(super) fn of(params: Params<'_>) -> Self {
        Self {
            bucket: params.bucket().to_owned(),
            key: params.key().to_owned(),
            id: params.required("UploadId").to_owned(),
        }
    }

    /// The upload's row, which is also the prefix of its parts' rows.
    pub(super) fn row(&self) -> Key {
        upload_key(&self.bucket, &self.key, &self.id)
    }

    pub(super) fn find(&self, tx: &mut dyn Tx) -> Result<(Bucket, Upload), Failure> {
        let bucket = version::bucket(tx, &self.bucket)?;
        let upload = UPLOADS.get(tx, self.row().bytes())?.ok_or_else(|| no_such_upload(&self.id))?;
        Ok((bucket, upload))
    }
}

/// Removes the rows of all parts under `prefix`; returns their blobs.
pub(super) fn drop_parts(tx: &mut dyn Tx, prefix: &Key) -> Result<Vec<BlobId>, CatalogError> {
    let end = prefix_end(prefix.bytes());
    let mut blobs = Vec::new();
    loop {
        let page = UPLOAD_PARTS.scan(tx, prefix.bytes(), end.as_deref(), DROP_PAGE)?;
        if page.is_empty() {
            return Ok(blobs);
        }
        for (row, part) in page {
            UPLOAD_PARTS.delete(tx, &row)?;
            blobs.extend(part.blob);
        }
    }
}

/// Removes all uploads of a bucket; returns the blobs that are named no longer.
pub(super) fn remove_all(tx: &mut dyn Tx, bucket: &str) -> Result<Vec<BlobId>, Failure> {
    let prefix = Key::new().text(bucket);
    for (row, _) in UPLOADS.scan_prefix(tx, prefix.bytes())? {
        UPLOADS.delete(tx, &row)?;
    }
    let blobs = drop_parts(tx, &prefix)?;
    discard(tx, &blobs)?;
    Ok(blobs)
}

/// One page of uploads.
#[derive(Clone, Debug, Default)]
struct Page {
    uploads: Vec<Upload>,
    groups: Vec<String>,
    last: Option<(String, String)>,
    truncated: bool,
}

fn read_uploads(tx: &mut dyn Tx, query: &Query, id_marker: &str) -> Result<Page, CatalogError> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let from = if id_marker.is_empty() {
        query.start()
    } else {
        prefix_end(upload_key(&query.bucket, &query.after, id_marker).bytes()).unwrap_or_default()
    };
    walk(tx, &UPLOADS, query, from, |upload, group| {
        if page.uploads.len() + page.groups.len() == query.limit {
            page.truncated = true;
            return Step::Stop;
        }
        if let Some(group) = group {
            page.last = Some((group.clone(), String::new()));
            page.groups.push(group);
            return Step::SkipGroup;
        }
        page.last = Some((upload.key.clone(), upload.id.clone()));
        page.uploads.push(upload);
        Step::Next
    })?;
    Ok(page)
}

impl Page {
    fn shown(&self, bucket: &Bucket, encoded: bool) -> Map<String, Value> {
        let owner = json!({"ID": canonical_id(&bucket.owner)});
        let mut reply = Map::new();
        reply.insert("Bucket".into(), bucket.name.as_str().into());
        reply.insert("IsTruncated".into(), self.truncated.into());
        if let (true, Some((key, id))) = (self.truncated, &self.last) {
            reply.insert("NextKeyMarker".into(), shown(key, encoded).into());
            reply.insert("NextUploadIdMarker".into(), id.as_str().into());
        }
        let uploads: Vec<Value> = self
            .uploads
            .iter()
            .map(|upload| {
                let mut entry = json!({
                    "UploadId": upload.id,
                    "Key": shown(&upload.key, encoded),
                    "Initiated": upload.initiated_at.seconds(),
                    "StorageClass": upload.attributes.storage_class.name(),
                    "Owner": owner,
                    "Initiator": initiator(upload),
                });
                show_algorithm(upload, &mut entry);
                entry
            })
            .collect();
        if !uploads.is_empty() {
            reply.insert("Uploads".into(), uploads.into());
        }
        if !self.groups.is_empty() {
            reply.insert("CommonPrefixes".into(), shown_groups(&self.groups, encoded));
        }
        reply
    }
}
