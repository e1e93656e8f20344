//! The event log: ordered, durable, the one source of truth.

mod embedded;
mod frame;
mod metrics;
mod recent;
mod segment;
mod writer;

pub use embedded::{LogSettings, SegmentLog};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The place of an entry in the log: 0 for the first entry ever appended, then one more each. Never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPosition(pub u64);

/// What an entry's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The JSON of one CloudTrail event, of a call that this server recorded.
    Event,
    /// The JSON of one CloudTrail event that a producer sent; its eventID is the producer's.
    Ingested,
    /// What is about to be done, written down before it is: no consumer's business but that of whoever settles it.
    Intent,
    /// A record of a journal, which is a log of its own: of queues, log lines, streams. In an event log it is nobody's
    /// business.
    Journal,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the payload is.
    pub kind: EntryKind,
    /// When the entry was appended, by the clock of the server.
    pub recorded_at: Timestamp,
    /// The payload.
    pub payload: Bytes,
}

/// Why the log could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A read or write of a log file failed. After a failed write or sync the log takes no further entry.
    #[error("the event log could not {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// There is no room for another segment. Nothing of what was refused was written; the log takes entries again when
    /// there is room.
    #[error("the event log has no room for another segment")]
    Full(#[source] std::io::Error),
    /// An earlier write failed; what is on disk is not known, so nothing more is accepted until a restart.
    #[error("the event log stopped after a failed write")]
    Poisoned,
    /// Bytes inside the log (not at its torn end) are not what was written.
    #[error("the event log is corrupt in {segment} at byte {offset_bytes}")]
    Corrupt {
        /// The segment's file name.
        segment: String,
        /// Where in it.
        offset_bytes: u64,
    },
    /// The entry is larger than the log takes.
    #[error("an entry of {size_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// The entry's size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The entries asked for were trimmed away.
    #[error("position {from:?} was trimmed, the log starts at {start:?}")]
    Trimmed {
        /// What was asked for.
        from: LogPosition,
        /// The first position still there.
        start: LogPosition,
    },
    /// A segment was written by a newer program.
    #[error("segment {segment} of the event log has version {found}, newer than {known}")]
    Version {
        /// The segment's file name.
        segment: String,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// Another process has the log open.
    #[error("the event log is in use by another process")]
    Locked,
}

/// An ordered, durable log of entries.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends `entries` in order and returns the first one's position once all are durable. They become visible all at
    /// once, or, where this fails, now or after a crash, none of them does; after an I/O error that shows at the next
    /// opening.
    async fn append(&self, entries: Vec<Entry>) -> Result<LogPosition, LogError>;

    /// Reads entries from `from` on, in order: at most `entries_max` of them and about `bytes_max` of payload, but
    /// at least one where there is one. Empty at the end of the log. Only durable entries are seen.
    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError>;

    /// The position that the next entry will get: one past the last durable entry.
    fn end(&self) -> LogPosition;

    /// The first position still kept.
    fn start(&self) -> LogPosition;

    /// Returns once [`EventLog::end`] is past `position`.
    async fn wait_past(&self, position: LogPosition);

    /// Lets go of entries before `position`. Whole segments are dropped, so some of them may stay.
    async fn trim(&self, position: LogPosition) -> Result<(), LogError>;
}
