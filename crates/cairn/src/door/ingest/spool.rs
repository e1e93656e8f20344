//! A body that is put aside until its signature can be verified: in memory while it is small, else in a file.
//!
//! Invariants: the memory it takes is held to [`MEMORY_BYTES_MAX`]; the file has no name any more once it is open, so
//! that nothing is left of it whatever happens.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use bytes::Bytes;
use cairn_wire::{AwsError, Body};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::body_error;

/// Bytes of a body that are kept in memory.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are read from the file at once.
const PIECE_BYTES: usize = 256 * 1024;
/// The largest body that is put aside, in bytes.
const SPOOLED_SIZE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A body in the making.
pub(super) struct Spool {
    path: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    hash: digest::Context,
    size_bytes: u64,
}

impl Spool {
    /// Nothing yet; `path` is where a file is made should it be needed.
    pub(super) fn new(path: PathBuf) -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        Self { path, memory: Vec::new(), file: None, hash, size_bytes: 0 }
    }

    /// Adds a piece.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), AwsError> {
        self.size_bytes += piece.len() as u64;
        if self.size_bytes > SPOOLED_SIZE_BYTES_MAX {
            let message =
                format!("The body is larger than {SPOOLED_SIZE_BYTES_MAX} bytes. Send it in parts.");
            return Err(AwsError::with_status(413, "EntityTooLarge", message));
        }
        self.hash.update(piece);
        if !self.memory.is_empty() && self.memory.len() + piece.len() > MEMORY_BYTES_MAX {
            if self.file.is_none() {
                self.file = Some(nameless(&self.path).await.map_err(AwsError::internal)?);
            }
            if let Some(file) = &mut self.file {
                file.write_all(&self.memory).await.map_err(AwsError::internal)?;
            }
            self.memory.clear();
        }
        self.memory.extend_from_slice(piece);
        Ok(())
    }

    /// The body from its beginning, and its SHA-256 in hex.
    pub(super) async fn finish(self) -> Result<(Source, String), AwsError> {
        let Self { memory, file, hash, .. } = self;
        let hash = hex::encode(hash.finish());
        let Some(mut file) = file else { return Ok((Source::Memory(memory.into()), hash)) };
        file.write_all(&memory).await.map_err(AwsError::internal)?;
        file.flush().await.map_err(AwsError::internal)?;
        file.seek(SeekFrom::Start(0)).await.map_err(AwsError::internal)?;
        Ok((Source::File(file), hash))
    }
}

async fn nameless(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).await?;
    tokio::fs::remove_file(path).await?;
    Ok(file)
}

/// Where the pieces of a body come from.
pub(super) enum Source {
    /// From the client.
    Stream(Body),
    /// From memory.
    Memory(Bytes),
    /// From a file.
    File(File),
}

impl Source {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, AwsError> {
        match self {
            Self::Stream(body) => body.next().await.transpose().map_err(body_error),
            Self::Memory(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Self::File(file) => {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.read(&mut piece).await.map_err(AwsError::internal)?;
                piece.truncate(read);
                Ok(Some(Bytes::from(piece)).filter(|piece| !piece.is_empty()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_back_as_it_was_put_aside_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for size_bytes in [0, 1, PIECE_BYTES + 1, MEMORY_BYTES_MAX, 3 * MEMORY_BYTES_MAX + 7] {
            let body: Vec<u8> = (0..size_bytes).map(|at| at as u8).collect();
            let mut spool = Spool::new(folder.path().join("b"));
            for piece in body.chunks(100_000) {
                spool.write(piece).await.unwrap();
            }
            let (mut source, hash) = spool.finish().await.unwrap();
            assert_eq!(hash, hex::encode(digest::digest(&digest::SHA256, &body)));
            let mut found = Vec::new();
            while let Some(piece) = source.next().await.unwrap() {
                found.extend_from_slice(&piece);
            }
            assert!(found == body, "{size_bytes} bytes");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
