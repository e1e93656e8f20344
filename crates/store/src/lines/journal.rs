//! The journal of batches: a [`SegmentLog`] of its own, whose entries are sealed records.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use cairn_core::Timestamp;

use super::cipher::StoreKey;
use super::record::{self, RecordError, RecordOpener};
use super::settings::LinesSettings;
use super::varint::Damaged;
use super::{Batch, LinesError};
use crate::disk::Disk;
use crate::log::{Entry, EntryKind, EventLog, LogError, LogPosition, LogSettings, SegmentLog};
use crate::space::SpaceWatch;

/// The name of the journal's metrics.
const JOURNAL_NAME: &str = "lines_log";
/// How much is read at once when the journal is opened.
pub(super) const OPEN_SIZE_BYTES: usize = 4 << 20;
/// What a record may have beside its batch: its head, and what does not compress.
const RECORD_OVERHEAD_BYTES: usize = 64 << 10;
/// How much of the journal is kept in memory as it is on disk: stages have the batches themselves.
const RECENT_SIZE_BYTES_MAX: usize = 64 << 10;

/// What is wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("the journal in {dir} cannot be opened")]
    Open {
        dir: String,
        #[source]
        source: LogError,
    },
    #[error("the journal cannot be read")]
    Read(#[source] LogError),
    #[error("the journal cannot be written")]
    Write(#[source] LogError),
    #[error("the journal cannot be trimmed")]
    Trim(#[source] LogError),
    #[error("the record at position {position} cannot be read")]
    Record {
        position: u64,
        #[source]
        source: RecordError,
    },
    #[error("the journal is needed from {from:?}, and starts at {start:?}")]
    Missing { from: LogPosition, start: LogPosition },
}

impl From<JournalError> for LinesError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Write(LogError::Full(source)) => Self::Full(source),
            error => Self::Journal(Box::new(error)),
        }
    }
}

/// The journal.
pub(super) struct Journal {
    log: SegmentLog,
    is_driven: bool,
}

impl Journal {
    /// Opens it; where it is not driven, whoever waits for an append writes it.
    pub(super) fn open(
        is_driven: bool,
        (disk, dir): (&Arc<dyn Disk>, &Path),
        settings: &LinesSettings,
        space: Option<Arc<SpaceWatch>>,
        registry: &prometheus::Registry,
    ) -> Result<Self, JournalError> {
        let log_settings = LogSettings {
            segment_size_bytes: settings.segment_size_bytes,
            entry_size_bytes_max: settings.batch_size_bytes_max + RECORD_OVERHEAD_BYTES,
            recent_size_bytes_max: RECENT_SIZE_BYTES_MAX,
        };
        let opened = if is_driven {
            SegmentLog::open_named(JOURNAL_NAME, disk, dir, log_settings, registry)
        } else {
            SegmentLog::open_undriven(disk, dir, log_settings, registry)
        };
        let log = opened.map_err(|source| JournalError::Open { dir: dir.display().to_string(), source })?;
        let log = match space {
            Some(space) => log.watched_by(space),
            None => log,
        };
        Ok(Self { log, is_driven })
    }

    pub(super) fn is_driven(&self) -> bool {
        self.is_driven
    }

    /// Whether a write failed, so that what the journal has is known only at the next opening.
    pub(super) fn is_poisoned(&self) -> bool {
        self.log.is_poisoned()
    }

    pub(super) fn start(&self) -> LogPosition {
        self.log.start()
    }

    pub(super) fn end(&self) -> LogPosition {
        self.log.end()
    }

    pub(super) async fn wait_past(&self, position: LogPosition) {
        self.log.wait_past(position).await;
    }

    /// Makes records durable: all or none.
    pub(super) async fn append(&self, records: Vec<Bytes>) -> Result<LogPosition, JournalError> {
        let entry = |payload| Entry { kind: EntryKind::Journal, recorded_at: Timestamp::EPOCH, payload };
        let mut append = self.log.append(records.into_iter().map(entry).collect());
        let appended = poll_fn(|context| {
            if let Poll::Ready(first) = append.as_mut().poll(context) {
                return Poll::Ready(first);
            }
            // In a simulation nobody else lets the log write.
            self.log.write_queued();
            append.as_mut().poll(context)
        });
        appended.await.map_err(JournalError::Write)
    }

    /// Batches from `from` on: about `bytes_max` of text, but one where there is one.
    pub(super) async fn read(
        &self,
        from: LogPosition,
        bytes_max: usize,
        key: &StoreKey,
    ) -> Result<Vec<(LogPosition, Batch)>, LinesError> {
        let mut opener = RecordOpener::new(key);
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, from);
        while bytes < bytes_max || found.is_empty() {
            // Records are compressed: about so much of them may be wanted.
            let wanted = bytes_max.saturating_sub(bytes) / 8;
            let entries = self.log.read(next, usize::MAX, wanted).await.map_err(JournalError::Read)?;
            if entries.is_empty() {
                break;
            }
            for (position, entry) in entries {
                if bytes >= bytes_max && !found.is_empty() {
                    break;
                }
                let batch = open_record(&mut opener, &entry)
                    .map_err(|source| JournalError::Record { position: position.0, source })?;
                bytes += super::recent::text_bytes(&batch).max(1);
                next = LogPosition(position.0 + 1);
                found.push((position, batch));
            }
        }
        Ok(found)
    }

    pub(super) async fn trim(&self, position: LogPosition) -> Result<(), LinesError> {
        Ok(self.log.trim(position).await.map_err(JournalError::Trim)?)
    }
}

fn open_record(opener: &mut RecordOpener, entry: &Entry) -> Result<Batch, RecordError> {
    if entry.kind != EntryKind::Journal {
        return Err(Damaged.into());
    }
    Ok(record::batch_of(&opener.open(&entry.payload)?)?)
}
