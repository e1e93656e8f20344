//! Reads of a segment file at given places, which many lookups may do at once. (The reader that the parquet crate has
//! for files shares one cursor among all its copies.)

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// How much is read ahead where a reader goes on through the file, in bytes: a page header is some 50 bytes.
const READ_AHEAD_BYTES: usize = 512;

/// An open segment file. It stays readable while it is open, also after it was removed.
#[derive(Clone, Debug)]
pub(super) struct SegmentFile {
    file: Arc<File>,
    size_bytes: u64,
}

impl SegmentFile {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), size_bytes })
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Length for SegmentFile {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for SegmentFile {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let from = ReadFrom { file: Arc::clone(&self.file), at: start };
        Ok(BufReader::with_capacity(READ_AHEAD_BYTES, from))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.size_bytes);
        if end.is_none() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are past the file's {} bytes",
                self.size_bytes
            )));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place of a file.
#[derive(Debug)]
pub(super) struct ReadFrom {
    file: Arc<File>,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
