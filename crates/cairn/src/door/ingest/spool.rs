//! A body that is put aside until its signature can be verified: in memory while there is room, else in a file.
//!
//! Invariants: the memory that all bodies take together is held to [`MEMORY_BYTES_MAX`]; the file has no name any more
//! once it is open, so that nothing is left of it whatever happens.

use std::collections::VecDeque;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use cairn_wire::{AwsError, Body};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body_error;

/// Bytes of all bodies that are put aside in memory.
pub(in super::super) const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Smaller pieces of a body are joined: each that is kept by itself holds the buffer that it came in.
const PIECE_BYTES_MIN: usize = 16 * 1024;
/// Bytes that are joined, and that are read from a file or written to it at once.
const PIECE_BYTES: usize = 256 * 1024;
/// The largest body that is put aside, in bytes.
const SPOOLED_SIZE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A body in the making.
pub(super) struct Spool {
    path: PathBuf,
    room: Arc<Semaphore>,
    memory: Pieces,
    joined: Vec<u8>,
    file: Option<File>,
    hash: digest::Context,
    size_bytes: u64,
}

/// The pieces of a body in memory, and their place there.
#[derive(Default)]
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    held: Option<OwnedSemaphorePermit>,
}

impl Pieces {
    /// Takes room for so many more bytes; false where there is none.
    fn make_room(&mut self, room: &Arc<Semaphore>, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(place) = Arc::clone(room).try_acquire_many_owned(bytes) else { return false };
        match &mut self.held {
            Some(held) => held.merge(place),
            None => self.held = Some(place),
        }
        true
    }
}

impl Spool {
    /// Nothing yet; the body's bytes take their place in `room`, and `path` is where a file is made where that is full.
    pub(super) fn new(path: PathBuf, room: Arc<Semaphore>) -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        let (memory, joined) = (Pieces::default(), Vec::new());
        Self { path, room, memory, joined, file: None, hash, size_bytes: 0 }
    }

    /// Adds a piece.
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), AwsError> {
        self.size_bytes += piece.len() as u64;
        if self.size_bytes > SPOOLED_SIZE_BYTES_MAX {
            let message =
                format!("The body is larger than {SPOOLED_SIZE_BYTES_MAX} bytes. Send it in parts.");
            return Err(AwsError::with_status(413, "EntityTooLarge", message));
        }
        self.hash.update(&piece);
        if self.file.is_none() && !self.memory.make_room(&self.room, piece.len()) {
            self.file = Some(nameless(&self.path).await.map_err(AwsError::internal)?);
        }
        if piece.len() < PIECE_BYTES_MIN {
            self.joined.extend_from_slice(&piece);
            if self.joined.len() < PIECE_BYTES {
                return Ok(());
            }
        }
        self.end_joined();
        if piece.len() >= PIECE_BYTES_MIN {
            self.memory.pieces.push_back(piece);
        }
        self.write_out().await
    }

    fn end_joined(&mut self) {
        if !self.joined.is_empty() {
            self.memory.pieces.push_back(std::mem::take(&mut self.joined).into());
        }
    }

    /// Moves what is in memory to the file, where there is one.
    async fn write_out(&mut self) -> Result<(), AwsError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        while let Some(piece) = self.memory.pieces.pop_front() {
            file.write_all(&piece).await.map_err(AwsError::internal)?;
        }
        self.memory.held = None;
        Ok(())
    }

    /// The body from its beginning, and its SHA-256 in hex.
    pub(super) async fn finish(mut self) -> Result<(Source, String), AwsError> {
        self.end_joined();
        self.write_out().await?;
        let hash = hex::encode(self.hash.finish());
        let Some(mut file) = self.file else { return Ok((Source::Memory(self.memory), hash)) };
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
    Memory(Pieces),
    /// From a file.
    File(File),
}

impl Source {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, AwsError> {
        match self {
            Self::Stream(body) => body.next().await.transpose().map_err(body_error),
            Self::Memory(memory) => Ok(memory.pieces.pop_front()),
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
        const ROOM_BYTES: usize = 1024 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let room = Arc::new(Semaphore::new(ROOM_BYTES));
        for size_bytes in [0, 1, PIECE_BYTES + 1, ROOM_BYTES, 3 * ROOM_BYTES + 7] {
            for step in [1000, PIECE_BYTES_MIN, 100_000] {
                let body: Vec<u8> = (0..size_bytes).map(|at| at as u8).collect();
                let mut spool = Spool::new(folder.path().join("b"), Arc::clone(&room));
                for piece in body.chunks(step) {
                    spool.write(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                let (mut source, hash) = spool.finish().await.unwrap();
                assert_eq!(matches!(source, Source::File(_)), size_bytes > ROOM_BYTES, "{size_bytes} bytes");
                assert_eq!(hash, hex::encode(digest::digest(&digest::SHA256, &body)));
                let mut found = Vec::new();
                while let Some(piece) = source.next().await.unwrap() {
                    found.extend_from_slice(&piece);
                }
                assert!(found == body, "{size_bytes} bytes by {step}");
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
                drop(source);
                assert_eq!(room.available_permits(), ROOM_BYTES);
            }
        }
    }

    #[tokio::test]
    async fn bodies_share_the_memory_and_one_that_finds_none_left_goes_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let room = Arc::new(Semaphore::new(100_000));
        let mut spools = ["a", "b"].map(|name| Spool::new(folder.path().join(name), Arc::clone(&room)));
        for spool in &mut spools {
            spool.write(vec![b'x'; 60_000].into()).await.unwrap();
        }
        let [first, second] = spools;
        assert!(matches!(first.finish().await.unwrap().0, Source::Memory(_)));
        assert!(matches!(second.finish().await.unwrap().0, Source::File(_)));
    }
}
