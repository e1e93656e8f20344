//! CompleteMultipartUpload: the parts become an object in one transaction; no byte is moved.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_store::catalog::prefix_end;
use cairn_store::{BlobId, Tx};
use cairn_wire::{Call, Reply};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::S3;
use super::checksum::{self, Claim};
use super::condition::WriteConditions;
use super::error::{Failure, bad_digest, entity_too_large, fail, invalid_request, malformed_xml};
use super::garbage::discard;
use super::lifecycle;
use super::multipart::UploadName;
use super::notify::debt::{self, Owed};
use super::notify::{Cause, Kind, Origin};
use super::params::Params;
use super::parts::PART_NUMBER_MAX;
use super::put::quoted;
use super::state::{Checksum, Object, Part, Piece, UPLOAD_PARTS, UPLOADS, Upload};
use super::version::{self, NewVersion, Placed};
use crate::Caller;

/// The smallest part that is not the last, in bytes.
const PART_SIZE_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// The largest object, in bytes.
const OBJECT_SIZE_BYTES_MAX: u64 = 50 * 1024 * 1024 * 1024 * 1024;

/// What the request says of one part.
#[derive(Clone, Debug)]
struct Named {
    number: u32,
    etag: String,
    checksum: Option<String>,
}

/// What the request says of the whole.
#[derive(Clone, Debug)]
struct Wanted {
    at: UploadName,
    parts: Vec<Value>,
    claim: Claim,
    size_bytes: Option<u64>,
    kind: Option<String>,
    conditions: WriteConditions,
    random: String,
    cause: Cause,
    /// How long the days of lifecycle rules are.
    day: Duration,
}

impl S3 {
    pub(super) async fn complete_upload(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let at = UploadName::of(params);
        let listed = params.part("MultipartUpload").map_or(&[][..], |upload| upload.list("Parts"));
        if listed.is_empty() {
            return Err(malformed_xml());
        }
        let wanted = Wanted {
            at: at.clone(),
            parts: listed.to_vec(),
            claim: Claim::of(params, &[])?,
            size_bytes: params.number("MpuObjectSize").and_then(|size| u64::try_from(size).ok()),
            kind: params.text("ChecksumType").map(str::to_owned),
            conditions: WriteConditions::of(params)?,
            random: self.random_id(),
            cause: Cause {
                kind: Kind::CompleteMultipartUpload,
                at: caller.now,
                origin: Origin::of(caller, call),
            },
            day: self.lifecycle.day(),
        };
        let (placed, freed, owed) = self.catalog.write(move |tx| complete(tx, &wanted)).await?;
        self.events.announce(owed);
        self.remove_freed(freed).await;
        let host = call.request.host.as_str();
        let mut reply = json!({
            "Location": format!("http://{host}/{}/{}", at.bucket, super::walk::shown(&at.key, true)),
            "Bucket": at.bucket,
            "Key": at.key,
        });
        if let (Some(object), Some(reply)) = (&placed.version.object, reply.as_object_mut()) {
            reply.insert("ETag".into(), quoted(&object.etag).into());
            object.checksum.show(reply);
            object.encryption.show(reply);
        }
        if let Some(id) = placed.shown_id {
            reply["VersionId"] = id.into();
        }
        if let Some(expiration) = placed.expiration {
            reply["Expiration"] = expiration.into();
        }
        Ok(Reply::of(&reply))
    }
}

fn complete(tx: &mut dyn Tx, wanted: &Wanted) -> Result<(Placed, Vec<BlobId>, Owed), Failure> {
    let at = &wanted.at;
    let (bucket, upload) = at.find(tx)?;
    if wanted.kind.as_ref().is_some_and(|kind| kind != upload.kind.name()) {
        return Err(invalid_request(
            "The upload was created using a different checksum type. The complete request must use the same one.",
        ));
    }
    let mut uploaded = uploaded_parts(tx, at)?;
    let parts = chosen_parts(wanted, &upload, &mut uploaded)?;
    wanted.conditions.check(&at.key, version::latest(tx, &bucket.name, &at.key)?.as_ref())?;
    let mut object = object_of(&parts, &upload, wanted)?;
    object.attributes.settle(&bucket, wanted.cause.at)?;
    let pieces = parts
        .into_iter()
        .map(|part| Piece {
            number: part.number,
            size_bytes: part.size_bytes,
            blob: part.blob,
            checksum: part.checksum,
        })
        .collect();
    UPLOADS.delete(tx, at.row().bytes())?;
    super::multipart::drop_parts(tx, &at.row())?;
    let unused: Vec<BlobId> = uploaded.into_values().filter_map(|part| part.blob).collect();
    discard(tx, &unused)?;
    let new = NewVersion {
        key: at.key.clone(),
        at: wanted.cause.at,
        random: wanted.random.clone(),
        object: Some(object),
        pieces: Some(pieces),
    };
    let mut placed = version::place(tx, &bucket, &new)?;
    placed.expiration = lifecycle::expiration(tx, &bucket.name, &placed.version, wanted.day)?;
    let freed = unused.into_iter().chain(placed.freed.clone()).collect();
    let owed = debt::owe(tx, &bucket, &wanted.cause.of_version(&bucket, &placed.version))?;
    Ok((placed, freed, owed))
}

fn uploaded_parts(tx: &mut dyn Tx, at: &UploadName) -> Result<BTreeMap<u32, Part>, Failure> {
    let row = at.row();
    let limit = usize::try_from(PART_NUMBER_MAX).unwrap_or(usize::MAX);
    let parts = UPLOAD_PARTS.scan(tx, row.bytes(), prefix_end(row.bytes()).as_deref(), limit)?;
    Ok(parts.into_iter().map(|(_, part)| (part.number, part)).collect())
}

/// Takes the parts that the request names, in its order, out of the uploaded ones.
fn chosen_parts(
    wanted: &Wanted,
    upload: &Upload,
    uploaded: &mut BTreeMap<u32, Part>,
) -> Result<Vec<Part>, Failure> {
    let mut chosen: Vec<Part> = Vec::with_capacity(wanted.parts.len());
    for listed in &wanted.parts {
        let named = named_part(Params(listed), upload)?;
        if chosen.last().is_some_and(|last| last.number >= named.number) {
            return Err(fail(
                400,
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            )
            .with("UploadId", wanted.at.id.as_str()));
        }
        let invalid = || {
            fail(
                400,
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
                 specified entity tag may not match the part's entity tag.",
            )
            .with("UploadId", wanted.at.id.as_str())
            .with("PartNumber", named.number.to_string())
            .with("ETag", named.etag.as_str())
        };
        let part = uploaded.remove(&named.number).ok_or_else(invalid)?;
        let same_checksum = named.checksum.as_ref().is_none_or(|checksum| *checksum == part.checksum);
        if part.etag != named.etag || !same_checksum {
            return Err(invalid());
        }
        chosen.push(part);
    }
    let before_last = chosen.len().saturating_sub(1);
    if let Some(small) = chosen[..before_last].iter().find(|part| part.size_bytes < PART_SIZE_BYTES_MIN) {
        return Err(fail(
            400,
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed size",
        )
        .with("ProposedSize", small.size_bytes.to_string())
        .with("MinSizeAllowed", PART_SIZE_BYTES_MIN.to_string())
        .with("PartNumber", small.number.to_string())
        .with("ETag", small.etag.as_str()));
    }
    Ok(chosen)
}

fn named_part(listed: Params<'_>, upload: &Upload) -> Result<Named, Failure> {
    let claim = Claim::of(listed, &[])?;
    let number = listed.number("PartNumber").filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    Ok(Named {
        number: number.and_then(|number| u32::try_from(number).ok()).ok_or_else(malformed_xml)?,
        etag: listed.required("ETag").trim_matches('"').to_owned(),
        checksum: claim.value.filter(|_| claim.algorithm == Some(upload.part_algorithm())),
    })
}

fn object_of(parts: &[Part], upload: &Upload, wanted: &Wanted) -> Result<Object, Failure> {
    let size_bytes = parts.iter().map(|part| part.size_bytes).sum();
    if size_bytes > OBJECT_SIZE_BYTES_MAX {
        return Err(entity_too_large(size_bytes, OBJECT_SIZE_BYTES_MAX));
    }
    if wanted.size_bytes.is_some_and(|expected| expected != size_bytes) {
        return Err(invalid_request(
            "The provided 'x-amz-mp-object-size' header value does not match what was computed.",
        ));
    }
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex::decode(&part.etag).unwrap_or_default());
    }
    let algorithm = upload.part_algorithm();
    let checksums: Vec<(&str, u64)> =
        parts.iter().map(|part| (part.checksum.as_str(), part.size_bytes)).collect();
    let value = checksum::of_parts(algorithm, upload.kind, &checksums)?;
    // Clients give a composite checksum with or without the number of parts.
    let claimed = wanted.claim.value.as_ref().filter(|_| wanted.claim.algorithm == Some(algorithm));
    let base = value.split('-').next().unwrap_or_default();
    if claimed.is_some_and(|claimed| *claimed != value && claimed != base) {
        return Err(bad_digest(algorithm.name()));
    }
    Ok(Object {
        size_bytes,
        etag: format!("{}-{}", hex::encode(md5.finalize()), parts.len()),
        checksum: Checksum { algorithm, kind: upload.kind, value },
        blob: None,
        parts: Some(u32::try_from(parts.len()).unwrap_or(u32::MAX)),
        attributes: upload.attributes.clone(),
        encryption: upload.encryption.clone(),
    })
}
