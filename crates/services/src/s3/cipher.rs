//! Blobs at rest: AES-256-GCM in chunks, so that a range is read without the rest.
//!
//! A blob begins with 16 random bytes, from which and from the data key its own key is derived; then come chunks of
//! 64 KiB, each with its tag, their numbers as nonces. Chunks that are swapped, altered or left out do not open; how
//! many there are follows from the size that the catalog has.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use bytes::{Bytes, BytesMut};
use cairn_store::blobs::{BlobError, BlobReader, BlobWriter};
use cairn_store::{BlobId, Blobs};

use crate::kms::DATA_KEY_BYTES;

/// Plaintext of a chunk, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
/// What a blob begins with, in bytes.
const SALT_BYTES: usize = 16;

/// A data key. Without Debug: it is a secret.
pub(super) type DataKey = [u8; DATA_KEY_BYTES];

/// The key of one blob.
struct BlobKey(LessSafeKey);

impl BlobKey {
    fn new(data_key: &DataKey, salt: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, data_key), salt);
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("SHA-256 has AES-256's length");
        Self(LessSafeKey::new(key))
    }

    fn nonce(chunk: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&chunk.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals `plaintext` as that chunk, at the end of `out`.
    fn seal(&self, chunk: u64, plaintext: &[u8], out: &mut BytesMut) {
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .0
            .seal_in_place_separate_tag(Self::nonce(chunk), Aad::empty(), &mut out[start..])
            .expect("a chunk is within AES-GCM's limit");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens a chunk in place; its plaintext is what comes before the tag.
    fn open(&self, chunk: u64, sealed: &mut [u8]) -> Result<usize, BlobError> {
        let opened = self.0.open_in_place(Self::nonce(chunk), Aad::empty(), sealed);
        opened.map(|plaintext| plaintext.len()).map_err(|_| damaged("a chunk does not open"))
    }
}

fn damaged(what: &'static str) -> BlobError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    BlobError::Io { action: "decrypt a blob", source }
}

/// Encrypts on the way into a blob.
pub(super) struct Encrypting {
    inner: Box<dyn BlobWriter>,
    key: BlobKey,
    salt: Option<[u8; SALT_BYTES]>,
    pending: BytesMut,
    chunk: u64,
}

impl Encrypting {
    /// A writer of a new blob under the data key.
    pub(super) fn new(inner: Box<dyn BlobWriter>, data_key: &DataKey) -> Self {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).expect("the system gives random bytes");
        let key = BlobKey::new(data_key, &salt);
        Self { inner, key, salt: Some(salt), pending: BytesMut::new(), chunk: 0 }
    }

    /// Adds `piece` to the end.
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let whole = (self.pending.len() + piece.len()) / CHUNK_BYTES;
        let mut out = BytesMut::with_capacity(SALT_BYTES + whole * (CHUNK_BYTES + TAG_BYTES));
        if let Some(salt) = self.salt.take() {
            out.extend_from_slice(&salt);
        }
        let mut rest = &piece[..];
        while self.pending.len() + rest.len() >= CHUNK_BYTES {
            let (now, later) = rest.split_at(CHUNK_BYTES - self.pending.len());
            if self.pending.is_empty() {
                self.key.seal(self.chunk, now, &mut out);
            } else {
                self.pending.extend_from_slice(now);
                self.key.seal(self.chunk, &self.pending, &mut out);
                self.pending.clear();
            }
            self.chunk += 1;
            rest = later;
        }
        self.pending.extend_from_slice(rest);
        if out.is_empty() { Ok(()) } else { self.inner.write(out.freeze()).await }
    }

    /// Makes the blob durable and returns its id.
    pub(super) async fn finish(mut self) -> Result<BlobId, BlobError> {
        if !self.pending.is_empty() {
            let mut out = BytesMut::with_capacity(self.pending.len() + TAG_BYTES);
            self.key.seal(self.chunk, &self.pending, &mut out);
            self.inner.write(out.freeze()).await?;
        }
        self.inner.finish().await
    }
}

/// A range of a blob, of its plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlobRange {
    pub(super) blob: BlobId,
    pub(super) offset_bytes: u64,
    /// More than nothing.
    pub(super) length_bytes: u64,
    /// The whole blob's plaintext.
    pub(super) blob_size_bytes: u64,
}

/// Decrypts a range of a blob.
pub(super) struct Decrypting {
    inner: Box<dyn BlobReader>,
    key: BlobKey,
    pending: BytesMut,
    chunk: u64,
    /// Plaintext to leave out at the beginning.
    skip: usize,
    /// Plaintext still to come.
    left_bytes: u64,
}

impl Decrypting {
    /// Opens the range.
    pub(super) async fn open(
        blobs: &Arc<dyn Blobs>,
        range: &BlobRange,
        data_key: &DataKey,
    ) -> Result<Self, BlobError> {
        let salt = read_all(blobs.read(&range.blob, 0, SALT_BYTES as u64).await?).await?;
        let (chunk_bytes, sealed_bytes) = (CHUNK_BYTES as u64, (CHUNK_BYTES + TAG_BYTES) as u64);
        let first = range.offset_bytes / chunk_bytes;
        let after_last = (range.offset_bytes + range.length_bytes).div_ceil(chunk_bytes);
        let chunks = range.blob_size_bytes.div_ceil(chunk_bytes);
        let end_of_blob = range.blob_size_bytes + chunks * TAG_BYTES as u64;
        let (from, until) = (first * sealed_bytes, (after_last * sealed_bytes).min(end_of_blob));
        let inner = blobs.read(&range.blob, SALT_BYTES as u64 + from, until - from).await?;
        let skip = usize::try_from(range.offset_bytes % chunk_bytes).expect("less than a chunk");
        let key = BlobKey::new(data_key, &salt);
        let left_bytes = range.length_bytes;
        Ok(Self { inner, key, pending: BytesMut::new(), chunk: first, skip, left_bytes })
    }

    /// The next piece of plaintext, `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        while self.left_bytes > 0 {
            let (at_end, piece) = match self.inner.next().await {
                Some(Ok(piece)) => (false, piece),
                Some(Err(error)) => return Some(Err(error)),
                None => (true, Bytes::new()),
            };
            self.pending.extend_from_slice(&piece);
            match self.open_pending(at_end) {
                Ok(opened) if opened.is_empty() && at_end => return Some(Err(damaged("chunks are missing"))),
                Ok(opened) if opened.is_empty() => {}
                Ok(opened) => return Some(Ok(opened)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    fn open_pending(&mut self, at_end: bool) -> Result<Bytes, BlobError> {
        let mut out = BytesMut::with_capacity(self.pending.len());
        loop {
            let sealed_bytes = (CHUNK_BYTES + TAG_BYTES).min(self.pending.len());
            if sealed_bytes == 0 || (sealed_bytes < CHUNK_BYTES + TAG_BYTES && !at_end) {
                return Ok(out.freeze());
            }
            let mut sealed = self.pending.split_to(sealed_bytes);
            let size_bytes = self.key.open(self.chunk, &mut sealed)?;
            self.chunk += 1;
            let wanted = &sealed[self.skip.min(size_bytes)..size_bytes];
            self.skip = 0;
            let taken = wanted.len().min(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
            out.extend_from_slice(&wanted[..taken]);
            self.left_bytes -= taken as u64;
        }
    }
}

async fn read_all(mut reader: Box<dyn BlobReader>) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// One blob in memory.
    #[derive(Clone, Default)]
    struct OneBlob(Arc<Mutex<Vec<u8>>>);

    struct Rest(Option<Bytes>);

    #[async_trait]
    impl BlobWriter for OneBlob {
        async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
            self.0.lock().unwrap().extend_from_slice(&piece);
            Ok(())
        }

        async fn finish(self: Box<Self>) -> Result<BlobId, BlobError> {
            Ok(BlobId("b".into()))
        }
    }

    #[async_trait]
    impl BlobReader for Rest {
        async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
            let mut bytes = self.0.take().filter(|bytes| !bytes.is_empty())?;
            let piece = bytes.split_to(bytes.len().min(50_000));
            self.0 = Some(bytes);
            Some(Ok(piece))
        }
    }

    #[async_trait]
    impl Blobs for OneBlob {
        async fn create(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
            Ok(Box::new(self.clone()))
        }

        async fn read(&self, _: &BlobId, offset: u64, length: u64) -> Result<Box<dyn BlobReader>, BlobError> {
            let bytes = self.0.lock().unwrap();
            let (from, length) = (usize::try_from(offset).unwrap(), usize::try_from(length).unwrap());
            let until = (from + length).min(bytes.len());
            Ok(Box::new(Rest(Some(Bytes::copy_from_slice(&bytes[from..until])))))
        }

        async fn delete(&self, _: &BlobId) -> Result<(), BlobError> {
            Ok(())
        }
    }

    fn text(size_bytes: usize) -> Vec<u8> {
        (0..size_bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    async fn read(blob: &OneBlob, size: usize, offset: usize, length: usize) -> Result<Vec<u8>, BlobError> {
        let range = BlobRange {
            blob: BlobId("b".into()),
            offset_bytes: offset as u64,
            length_bytes: length as u64,
            blob_size_bytes: size as u64,
        };
        let blobs: Arc<dyn Blobs> = Arc::new(blob.clone());
        let mut reader = Decrypting::open(&blobs, &range, &[7; DATA_KEY_BYTES]).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn every_range_of_every_size_reads_as_it_was_written() {
        for size in [1, 15, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 200_000] {
            let (blob, content) = (OneBlob::default(), text(size));
            let mut writer = Encrypting::new(Box::new(blob.clone()), &[7; DATA_KEY_BYTES]);
            for piece in content.chunks(40_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            writer.finish().await.unwrap();
            let stored = blob.0.lock().unwrap().clone();
            assert_eq!(stored.len(), SALT_BYTES + size + size.div_ceil(CHUNK_BYTES) * TAG_BYTES);
            let offsets = [0, 1, size / 2, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, size - 1];
            for offset in offsets.into_iter().filter(|offset| *offset < size) {
                for length in [1, size - offset, (size - offset).div_ceil(2)] {
                    let found = read(&blob, size, offset, length).await.unwrap();
                    assert!(found == content[offset..offset + length], "{size} {offset} {length}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_was_altered_cut_or_swapped_does_not_read() {
        let (blob, size) = (OneBlob::default(), 3 * CHUNK_BYTES);
        let mut writer = Encrypting::new(Box::new(blob.clone()), &[7; DATA_KEY_BYTES]);
        writer.write(Bytes::from(text(size))).await.unwrap();
        writer.finish().await.unwrap();
        let whole = blob.0.lock().unwrap().clone();
        for at in [0, SALT_BYTES, SALT_BYTES + CHUNK_BYTES, whole.len() - 1] {
            blob.0.lock().unwrap()[at] ^= 1;
            assert!(read(&blob, size, 0, size).await.is_err(), "byte {at}");
            blob.0.lock().unwrap().clone_from(&whole);
        }
        blob.0.lock().unwrap().truncate(SALT_BYTES + 2 * (CHUNK_BYTES + TAG_BYTES));
        assert!(read(&blob, size, 0, size).await.is_err(), "a chunk is missing");
        let sealed = CHUNK_BYTES + TAG_BYTES;
        let mut swapped = whole[..SALT_BYTES].to_vec();
        for chunk in [1, 0, 2] {
            let from = SALT_BYTES + chunk * sealed;
            swapped.extend_from_slice(&whole[from..from + sealed]);
        }
        *blob.0.lock().unwrap() = swapped;
        assert!(read(&blob, size, 0, size).await.is_err(), "chunks are swapped");
    }
}
