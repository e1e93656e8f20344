//! Bytes in and out: a body into a blob, hashed on the way, and blobs into a body. Memory holds one piece at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_store::blobs::{BlobError, BlobReader, BlobWriter};
use cairn_store::{BlobId, Blobs};
use cairn_wire::{Body, BodyError, BodySource};
use md5::{Digest, Md5};

use super::S3;
use super::checksum::{Algorithm, Claim, Hasher};
use super::cipher::{BlobRange, DataKey, Decrypting, Encrypting};
use super::error::{Failure, entity_too_large, method_not_allowed, no_such_key};
use super::garbage::Held;
use super::lifecycle;
use super::state::{Bucket, NULL_VERSION, Object, PIECES, Piece, VERSIONS, Version, Versioning, version_key};
use super::version;

/// The largest object that one call may put, and the largest part, in bytes.
pub(super) const PUT_SIZE_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// A body that was stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// None for no bytes.
    pub(super) blob: Option<BlobId>,
    pub(super) size_bytes: u64,
    /// The MD5 in hexadecimal: the ETag of an object put in one go.
    pub(super) md5: String,
    pub(super) algorithm: Algorithm,
    /// In base64.
    pub(super) checksum: String,
}

impl S3 {
    /// Stores a body as a durable blob that nothing names yet, with its checksum by `algorithm`. Verified to its end
    /// and against the client's claim, or nothing is left of it.
    pub(super) async fn store(
        &self,
        mut body: Body,
        claim: &Claim,
        algorithm: Algorithm,
        key: Option<&DataKey>,
    ) -> Result<Stored, Failure> {
        if let Some(length_bytes) = body.length_bytes().filter(|length| *length > PUT_SIZE_BYTES_MAX) {
            return Err(entity_too_large(length_bytes, PUT_SIZE_BYTES_MAX));
        }
        let (mut md5, mut hasher) = (Md5::new(), Hasher::new(algorithm));
        let other = claim.algorithm.filter(|claimed| *claimed != algorithm);
        let mut claimed = other.map(Hasher::new);
        let mut size_bytes = 0_u64;
        let mut writer: Option<Writer> = None;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            size_bytes += piece.len() as u64;
            if size_bytes > PUT_SIZE_BYTES_MAX {
                return Err(entity_too_large(size_bytes, PUT_SIZE_BYTES_MAX));
            }
            if piece.is_empty() {
                continue;
            }
            md5.update(&piece);
            hasher.update(&piece);
            if let Some(claimed) = &mut claimed {
                claimed.update(&piece);
            }
            let open = match &mut writer {
                Some(open) => open,
                None => writer.insert(Writer::new(self.blobs.create().await?, key)),
            };
            open.write(piece).await?;
        }
        let checksum = hasher.finish();
        match (other, claimed) {
            (Some(other), Some(claimed)) => claim.verify(&claimed.finish(), other, body.trailers())?,
            _ => claim.verify(&checksum, algorithm, body.trailers())?,
        }
        let blob = match writer {
            Some(writer) => Some(writer.finish().await?),
            None => None,
        };
        Ok(Stored { blob, size_bytes, md5: hex::encode(md5.finalize()), algorithm, checksum })
    }

    /// Finds an object and holds its blobs, so that they can be read even if it is replaced meanwhile.
    pub(super) async fn open(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<Opened, Failure> {
        loop {
            let found = self.look_up(bucket, key, version_id, true).await?;
            let blobs = found.pieces.iter().filter_map(|piece| piece.blob.clone()).collect();
            let held = self.pins.hold(blobs);
            // Whoever removes the version from now on sees that its blobs are held; whoever did before is seen here.
            let row = version_key(bucket, key, found.version.sequence);
            let still_there =
                self.catalog.read(move |tx| Ok::<_, Failure>(VERSIONS.get(tx, row.bytes())?)).await?;
            if still_there.is_some_and(|version| version == found.version) {
                return Ok(Opened { found, held });
            }
        }
    }

    /// Finds an object: its bucket, version and, where asked for, its pieces. A delete marker is not found.
    pub(super) async fn look_up(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        with_pieces: bool,
    ) -> Result<Found, Failure> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let (version_id, day) = (version_id.map(str::to_owned), self.lifecycle.day());
        self.catalog
            .read(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                let version = version::find(tx, &bucket.name, &key, version_id.as_deref())?;
                let Some(object) = version.object.clone() else {
                    return Err(match &version_id {
                        None => no_such_key(&key),
                        Some(_) => method_not_allowed("GET"),
                    });
                };
                let pieces = match object.parts {
                    Some(_) if with_pieces => {
                        let row = version_key(&bucket.name, &key, version.sequence);
                        PIECES.get(tx, row.bytes())?.unwrap_or_default()
                    }
                    Some(_) => Vec::new(),
                    None => vec![single_piece(&object)],
                };
                let expiration = match version_id {
                    None => lifecycle::expiration(tx, &bucket.name, &version, day)?,
                    Some(_) => None,
                };
                Ok(Found { bucket, version, object, pieces, expiration })
            })
            .await
    }

    /// A body of `length_bytes` bytes from `offset_bytes` on.
    pub(super) fn body_of(
        &self,
        opened: Opened,
        offset_bytes: u64,
        length_bytes: u64,
        key: Option<DataKey>,
    ) -> Body {
        let mut ranges = VecDeque::new();
        let (mut start, end) = (0, offset_bytes + length_bytes);
        for piece in opened.found.pieces {
            let (from, to) = (start.max(offset_bytes), (start + piece.size_bytes).min(end));
            if let (Some(blob), true) = (piece.blob, from < to) {
                ranges.push_back(BlobRange {
                    blob,
                    offset_bytes: from - start,
                    length_bytes: to - from,
                    blob_size_bytes: piece.size_bytes,
                });
            }
            start += piece.size_bytes;
        }
        let source =
            Content { blobs: Arc::clone(&self.blobs), ranges, key, reader: None, _held: opened.held };
        Body::new(source, Some(length_bytes))
    }
}

fn single_piece(object: &Object) -> Piece {
    Piece {
        number: 1,
        size_bytes: object.size_bytes,
        blob: object.blob.clone(),
        checksum: object.checksum.value.clone(),
    }
}

/// An object that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bucket: Bucket,
    pub(super) version: Version,
    pub(super) object: Object,
    pub(super) pieces: Vec<Piece>,
    /// When lifecycle rules let it expire, as the header says it; none where a version was asked for.
    pub(super) expiration: Option<String>,
}

impl Found {
    /// The version id to show: none in a bucket that never had versions.
    pub(super) fn shown_id(&self) -> Option<&str> {
        match (self.bucket.versioning, &self.version.id) {
            (_, Some(id)) => Some(id),
            (Versioning::Never, None) => None,
            (_, None) => Some(NULL_VERSION),
        }
    }
}

/// An object that was found and whose bytes stay until it is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) found: Found,
    held: Held,
}

/// A blob being written, encrypted where there is a key.
enum Writer {
    Clear(Box<dyn BlobWriter>),
    Sealed(Box<Encrypting>),
}

impl Writer {
    fn new(inner: Box<dyn BlobWriter>, key: Option<&DataKey>) -> Self {
        match key {
            None => Self::Clear(inner),
            Some(key) => Self::Sealed(Box::new(Encrypting::new(inner, key))),
        }
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        match self {
            Self::Clear(inner) => inner.write(piece).await,
            Self::Sealed(inner) => inner.write(piece).await,
        }
    }

    async fn finish(self) -> Result<BlobId, BlobError> {
        match self {
            Self::Clear(inner) => inner.finish().await,
            Self::Sealed(inner) => inner.finish().await,
        }
    }
}

/// A range of a blob being read.
enum Reader {
    Clear(Box<dyn BlobReader>),
    Sealed(Box<Decrypting>),
}

impl Reader {
    async fn open(
        blobs: &Arc<dyn Blobs>,
        range: &BlobRange,
        key: Option<&DataKey>,
    ) -> Result<Self, BlobError> {
        Ok(match key {
            None => Self::Clear(blobs.read(&range.blob, range.offset_bytes, range.length_bytes).await?),
            Some(key) => Self::Sealed(Box::new(Decrypting::open(blobs, range, key).await?)),
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        match self {
            Self::Clear(inner) => inner.next().await,
            Self::Sealed(inner) => inner.next().await,
        }
    }
}

/// Ranges of blobs, one after the other.
struct Content {
    blobs: Arc<dyn Blobs>,
    ranges: VecDeque<BlobRange>,
    key: Option<DataKey>,
    reader: Option<Reader>,
    _held: Held,
}

#[async_trait]
impl BodySource for Content {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next().await {
                    Some(piece) => return Some(piece.map_err(|source| BodyError::Storage(source.into()))),
                    None => self.reader = None,
                }
            }
            let range = self.ranges.pop_front()?;
            match Reader::open(&self.blobs, &range, self.key.as_ref()).await {
                Ok(reader) => self.reader = Some(reader),
                Err(source) => return Some(Err(BodyError::Storage(source.into()))),
            }
        }
    }
}
