//! Log lines: what log groups hold, appended durably and read back by time.
//!
//! On the road: below CloudWatch Logs. Must not know: the names of AWS, nor what a line says. Groups and streams are
//! numbers that their owner chose and never uses twice, so one that is made anew has nothing of its predecessor.
//!
//! Invariants: what was acknowledged is found until it is forgotten or expires, also after a crash; a batch is kept whole
//! or not at all; lines are read in the order of their [`LineId`], whichever of memory and files they come from; a read
//! of a time range does not open what lies outside of it.

mod block;
mod changes;
mod cipher;
mod compression;
mod file;
mod file_writer;
mod flush;
mod hidden;
mod index;
mod index_cache;
mod journal;
mod merging;
mod metrics;
mod reading;
mod recent;
mod record;
mod registry;
mod segment_lines;
mod settings;
mod store;
mod tail;
mod varint;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::log::LogPosition;

pub use segment_lines::SegmentLines;
pub use settings::LinesSettings;
pub use store::LinesGround;

/// A log group, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u64);

/// A log stream: unique among all groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub u64);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it happened, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The text, or what its owner made of it.
    pub message: Bytes,
}

/// Lines that are appended together, to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The group.
    pub group: GroupId,
    /// The stream.
    pub stream: StreamId,
    /// When they arrived.
    pub ingested_at: Timestamp,
    /// The lines.
    pub lines: Vec<Line>,
}

/// The place of a line: lines are read in this order. Unique, and the same at every reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LineId {
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The batch's place in the journal.
    pub position: LogPosition,
    /// Its place in the batch.
    pub index: u32,
}

/// A line as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place.
    pub id: LineId,
    /// Its stream.
    pub stream: StreamId,
    /// When it arrived.
    pub ingested_at: Timestamp,
    /// Its text.
    pub message: Bytes,
}

/// Whether a line is wanted, by its text. Asked of each line of the range, so it must be quick.
pub type Wanted = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What to read of a group.
#[derive(Clone)]
pub struct Query {
    /// The group.
    pub group: GroupId,
    /// Of these streams alone; of all where none are given.
    pub streams: Option<Vec<StreamId>>,
    /// Which times, in milliseconds since 1970.
    pub times_ms: Range<i64>,
    /// Begin behind this line, in the direction of reading.
    pub after: Option<LineId>,
    /// Whether from the latest to the earliest.
    pub backwards: bool,
    /// Which lines; all where it is not said.
    pub wanted: Option<Wanted>,
    /// The most lines.
    pub lines_max: usize,
    /// About the most text found, in bytes; at least one line is found where there is one.
    pub found_bytes_max: usize,
    /// About the most text looked at, in bytes, before the read stops to be continued.
    pub scanned_bytes_max: u64,
}

/// What a read came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The lines, in the direction of reading.
    pub lines: Vec<Found>,
    /// The last line that was looked at: where to go on. None where nothing was looked at.
    pub looked_up_to: Option<LineId>,
    /// Whether all of the range was looked at.
    pub is_complete: bool,
}

/// What is kept of a group or stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes of text.
    pub text_bytes: u64,
    /// The earliest and latest time of a line, in milliseconds since 1970.
    pub first_ms: Option<i64>,
    /// See `first_ms`.
    pub last_ms: Option<i64>,
    /// When the last batch arrived.
    pub last_ingested_at: Option<Timestamp>,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// There is no room on the disk. Nothing of what was refused was kept.
    #[error("there is no room for more log lines")]
    Full(#[source] std::io::Error),
    /// The journal failed.
    #[error("the journal of log lines failed")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of lines could not be written or read, or is not what was written.
    #[error("a file of log lines could not {action}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The store of log lines.
#[async_trait]
pub trait Lines: Send + Sync + 'static {
    /// Appends batches: durable on return, all or, where this fails, none. They can be read from then on. Gives the first
    /// one's position; each further batch has the next.
    async fn append(&self, batches: Vec<Batch>) -> Result<LogPosition, LinesError>;

    /// Reads lines of a group.
    async fn read(&self, query: Query) -> Result<Page, LinesError>;

    /// What is kept of a group.
    fn kept_of_group(&self, group: GroupId) -> Kept;

    /// What is kept of a stream.
    fn kept_of_stream(&self, group: GroupId, stream: StreamId) -> Kept;

    /// Forgets a stream, or, where none is given, a whole group: durable on return; the room is given back later.
    async fn forget(&self, group: GroupId, stream: Option<StreamId>) -> Result<(), LinesError>;

    /// Forgets lines of a group from before that time, in milliseconds since 1970. They are not found from then on.
    async fn expire(&self, group: GroupId, before_ms: i64) -> Result<(), LinesError>;

    /// Batches as they were appended, from `from` on, in order: about `bytes_max` of text, but at least one where there is
    /// one. For stages that look at everything that arrives; each with its position.
    async fn appended(
        &self,
        from: LogPosition,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Batch)>, LinesError>;

    /// The position that the next batch will get.
    fn end(&self) -> LogPosition;

    /// Returns once [`Lines::end`] is past `position`.
    async fn wait_past(&self, position: LogPosition);

    /// Writes what is in memory to files where it is time to, merges them, gives room back; the journal is kept from
    /// `needed_from` on, which is what [`Lines::appended`] is still asked for.
    async fn maintain(&self, now: Timestamp, needed_from: LogPosition) -> Result<(), LinesError>;
}
