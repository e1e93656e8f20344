//! Blobs: immutable byte strings by id. What they mean is the catalog's business.

mod files;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use files::FileBlobs;

/// The name of a blob: 32 lower-case hexadecimal digits, chosen at random by the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(pub String);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a blob could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("blob {0} does not exist")]
    Missing(BlobId),
    /// Storage refused or failed.
    #[error("the blob store could not {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// A blob being written. Dropped before [`BlobWriter::finish`], it leaves nothing behind.
#[async_trait]
pub trait BlobWriter: Send {
    /// Adds `piece` to the end.
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError>;

    /// Makes the blob durable and returns its id.
    async fn finish(self: Box<Self>) -> Result<BlobId, BlobError>;
}

/// A blob being read, piece by piece.
#[async_trait]
pub trait BlobReader: Send {
    /// The next piece, `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, BlobError>>;
}

/// A store of blobs.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Begins a new blob.
    async fn create(&self) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Reads `length_bytes` bytes of a blob from `offset_bytes` on; the range must lie inside the blob.
    async fn read(
        &self,
        id: &BlobId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<Box<dyn BlobReader>, BlobError>;

    /// Removes a blob; no error where it is gone already.
    async fn delete(&self, id: &BlobId) -> Result<(), BlobError>;
}
