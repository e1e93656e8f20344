//! Streams of records: each an ordered run that only grows at its end and is let go of from its beginning.
//!
//! On the road: below the shards of Kinesis and the buffers of Firehose. Must not know: the names of AWS, nor what a
//! record says; it is the sender's own, sealed.
//!
//! A stream is a [`SegmentLog`](crate::log::SegmentLog) of its own. One journal for all would share syncs, and would have
//! to write again whatever the longest retention keeps among what all others let go of, and be read past by every reader
//! of one stream. So each costs a folder, a segment's room and a sleeping thread, and there is a limit on their number.
//!
//! Invariants: what was acknowledged is read at its position, unchanged, until it is trimmed; positions count from 0 and
//! are never given twice.

mod folders;
mod metrics;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;

use crate::log::LogError;

pub use folders::{FolderStreams, StreamSettings};

/// The longest name of a stream.
const KEY_CHARS_MAX: usize = 200;

/// The name of a stream in the store, chosen by its owner: letters, digits, `-` and `_`. One that is made anew under the
/// same name goes on where that left off, so an owner who wants another takes another name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(String);

impl StreamKey {
    /// A stream's name; none where it cannot be one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = !name.is_empty() && name.len() <= KEY_CHARS_MAX && name.bytes().all(is_sound);
        fits.then_some(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the stream.
    pub position: u64,
    /// When it was appended.
    pub arrived_at: Timestamp,
    /// What it says.
    pub payload: Bytes,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No such stream.
    #[error("there is no stream {0}")]
    Missing(StreamKey),
    /// There are as many streams as the store takes.
    #[error("there are {limit} streams, the most that there can be")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// There is no room on the disk. Nothing of what was refused was kept.
    #[error("there is no room for more records")]
    Full(#[source] std::io::Error),
    /// The folder of streams cannot be used.
    #[error("the folder of streams could not {action}")]
    Folder {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A stream's journal failed.
    #[error("the journal of stream {stream} failed")]
    Journal {
        /// Which.
        stream: StreamKey,
        /// Why.
        #[source]
        source: LogError,
    },
}

/// Streams of records.
#[async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Makes a stream, if it is not there. Durable on return.
    async fn create(&self, stream: &StreamKey) -> Result<(), StreamError>;

    /// Removes a stream with all its records. One whose removal failed or was cut short by a crash may be there again.
    async fn remove(&self, stream: &StreamKey) -> Result<(), StreamError>;

    /// All streams.
    fn names(&self) -> Vec<StreamKey>;

    /// Appends records in their order, and returns the first one's position once all are durable.
    async fn append(
        &self,
        stream: &StreamKey,
        records: Vec<Bytes>,
        now: Timestamp,
    ) -> Result<u64, StreamError>;

    /// Reads records from `from` on, or from the first that is still there: at most `records_max` and about
    /// `size_bytes_max`, but at least one where there is one.
    async fn read(
        &self,
        stream: &StreamKey,
        from: u64,
        records_max: usize,
        size_bytes_max: usize,
    ) -> Result<Vec<Stored>, StreamError>;

    /// The position of the first record that is there, and that of the next one.
    fn bounds(&self, stream: &StreamKey) -> Result<(u64, u64), StreamError>;

    /// The position of the first record that is there and arrived at `time` or later; that of the next where none did.
    /// Records whose times are out of order, because the clock was set, may be taken for their neighbours.
    async fn position_at(&self, stream: &StreamKey, time: Timestamp) -> Result<u64, StreamError>;

    /// Returns once a record at `position` is there, at once where there is no such stream. Of a stream that is removed
    /// meanwhile no record ever comes: who waits sets a time.
    async fn wait_for(&self, stream: &StreamKey, position: u64);

    /// Lets go of records before `position`. Some of them may stay for a while.
    async fn trim(&self, stream: &StreamKey, position: u64) -> Result<(), StreamError>;
}
