//! UploadPart and UploadPartCopy.

use cairn_core::Timestamp;
use cairn_store::BlobId;
use cairn_wire::{Body, Call, Reply};
use serde_json::{Map, Value, json};

use super::checksum::Claim;
use super::condition::ByteRange;
use super::content::{PUT_SIZE_BYTES_MAX, Stored};
use super::copy::CopySource;
use super::error::{Failure, invalid_argument, invalid_request};
use super::garbage::discard;
use super::multipart::UploadName;
use super::params::Params;
use super::put::quoted;
use super::state::{BLOB_USES, Bucket, Mark, Part, UPLOAD_PARTS, Upload, blob_key, part_key};
use super::{S3, attributes};
use crate::Caller;

/// The highest part number.
pub(super) const PART_NUMBER_MAX: i64 = 10_000;

impl S3 {
    pub(super) async fn upload_part(&self, caller: &Caller, mut call: Call) -> Result<Reply, Failure> {
        let body = call.body.take().unwrap_or_else(|| Body::from_bytes(bytes::Bytes::new()));
        let params = Params(&call.params);
        attributes::check_settings(params)?;
        let number = part_number(params)?;
        let claim = Claim::of(params, &call.request.headers)?;
        let at = UploadName::of(params);
        let (bucket, upload) = self.find_upload(&at).await?;
        check_algorithm(&upload, &claim)?;
        let key = self.key_for(caller, &bucket, &upload.encryption).await?;
        let stored = self.store(body, &claim, upload.part_algorithm(), key.as_ref()).await?;
        let part = self.place_part(at, number, stored, caller.now).await?;
        let mut reply = shown(&part, &upload);
        upload.encryption.show(&mut reply);
        Ok(Reply::of(&reply))
    }

    pub(super) async fn upload_part_copy(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        attributes::check_settings(params)?;
        let number = part_number(params)?;
        let source = CopySource::parse(params.required("CopySource"))?;
        let at = UploadName::of(params);
        let (bucket, upload) = self.find_upload(&at).await?;
        let opened = self.open_source(caller, &source, params).await?;
        let size_bytes = opened.found.object.size_bytes;
        let range = match params.text("CopySourceRange") {
            Some(header) => copied_range(header, size_bytes)?,
            None => ByteRange { offset_bytes: 0, length_bytes: size_bytes },
        };
        if range.length_bytes > PUT_SIZE_BYTES_MAX {
            return Err(invalid_request(format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: \
                 {PUT_SIZE_BYTES_MAX}"
            )));
        }
        let source_id = opened.found.shown_id().map(str::to_owned);
        let from = self.key_for(caller, &opened.found.bucket, &opened.found.object.encryption).await?;
        let to = self.key_for(caller, &bucket, &upload.encryption).await?;
        let body = self.body_of(opened, range.offset_bytes, range.length_bytes, from);
        let claim = Claim { algorithm: None, value: None };
        let stored = self.store(body, &claim, upload.part_algorithm(), to.as_ref()).await?;
        let part = self.place_part(at, number, stored, caller.now).await?;
        let mut result = shown(&part, &upload);
        result.insert("LastModified".into(), part.modified_at.seconds().into());
        let mut reply = json!({ "CopyPartResult": result });
        if let Some(reply) = reply.as_object_mut() {
            upload.encryption.show(reply);
        }
        if let Some(id) = source_id {
            reply["CopySourceVersionId"] = id.into();
        }
        Ok(Reply::of(&reply))
    }

    async fn find_upload(&self, at: &UploadName) -> Result<(Bucket, Upload), Failure> {
        let at = at.clone();
        self.catalog.read(move |tx| at.find(tx)).await
    }

    /// Makes stored bytes a part of an upload; a part of the same number is replaced.
    async fn place_part(
        &self,
        at: UploadName,
        number: u32,
        stored: Stored,
        now: Timestamp,
    ) -> Result<Part, Failure> {
        let part = Part {
            number,
            size_bytes: stored.size_bytes,
            modified_at: now.floor(std::time::Duration::from_secs(1)),
            etag: stored.md5,
            blob: stored.blob.clone(),
            checksum: stored.checksum,
        };
        let new = part.clone();
        let placed = self
            .catalog
            .write(move |tx| {
                at.find(tx)?;
                let row = part_key(&at.bucket, &at.key, &at.id, number);
                let replaced = UPLOAD_PARTS.get(tx, row.bytes())?;
                UPLOAD_PARTS.put(tx, row.bytes(), &new)?;
                if let Some(blob) = &new.blob {
                    BLOB_USES.put(tx, blob_key(blob).bytes(), &Mark {})?;
                }
                let freed: Vec<BlobId> = replaced.and_then(|part| part.blob).into_iter().collect();
                discard(tx, &freed)?;
                Ok::<_, Failure>(freed)
            })
            .await;
        match placed {
            Ok(freed) => {
                self.remove_freed(freed).await;
                Ok(part)
            }
            Err(failure) => {
                self.remove_unnamed(stored.blob).await;
                Err(failure)
            }
        }
    }
}

fn shown(part: &Part, upload: &Upload) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("ETag".into(), quoted(&part.etag).into());
    shown.insert(upload.part_algorithm().member().into(), part.checksum.as_str().into());
    shown
}

fn part_number(params: Params<'_>) -> Result<u32, Failure> {
    let number = params.number("PartNumber").unwrap_or_default();
    match u32::try_from(number) {
        Ok(valid) if (1..=PART_NUMBER_MAX).contains(&number) => Ok(valid),
        _ => Err(invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            &number.to_string(),
        )),
    }
}

/// The parts of an upload that was begun with a checksum have that one.
fn check_algorithm(upload: &Upload, claim: &Claim) -> Result<(), Failure> {
    match (upload.algorithm, claim.algorithm) {
        (Some(expected), Some(actual)) if expected != actual => Err(invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            expected.name().to_ascii_lowercase(),
            actual.name().to_ascii_lowercase()
        ))),
        _ => Ok(()),
    }
}

/// A copied range must be spelt out and lie within the source.
fn copied_range(header: &str, size_bytes: u64) -> Result<ByteRange, Failure> {
    let bounds = header.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let bounds =
        bounds.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match bounds {
        Some((first, last)) if first <= last && last < size_bytes => {
            Ok(ByteRange { offset_bytes: first, length_bytes: last - first + 1 })
        }
        Some((first, last)) if first <= last => Err(invalid_argument(
            &format!("Range specified is not valid for source object of size: {size_bytes}"),
            "x-amz-copy-source-range",
            header,
        )),
        _ => Err(invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            header,
        )),
    }
}
