//! Messages' payloads, which the journal has: the newest in its memory, others in what was read last, or on disk.
//!
//! On the road: a receive knows where its messages lie, and asks here for the rest of them.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::record::{MessageRecord, Record};
use crate::log::{Entry, EventLog, LogError, LogPosition, SegmentLog};

/// How much is read at once, for the next receives as well: old messages are mostly received in their order.
const READ_ENTRIES_MAX: usize = 256;
const READ_SIZE_BYTES_MAX: usize = 256 << 10;
/// How many reads are remembered. Each holds about as much as is read at once, or one large message.
const READS_MAX: usize = 16;

type Page = Vec<(LogPosition, Entry)>;

/// The last reads from disk.
#[derive(Debug, Default)]
pub(super) struct Payloads(Mutex<VecDeque<Page>>);

impl Payloads {
    /// The message whose record is at `position`.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] where it is elsewhere by now.
    pub(super) async fn find(
        &self,
        log: &SegmentLog,
        position: u64,
        on_disk: impl FnOnce(),
    ) -> Result<Option<MessageRecord>, LogError> {
        let position = LogPosition(position);
        if let Some(entry) = log.read_recent(position).or_else(|| self.remembered(position)) {
            return Ok(message(&entry));
        }
        on_disk();
        let page = log.read(position, READ_ENTRIES_MAX, READ_SIZE_BYTES_MAX).await?;
        let found = page.first().and_then(|(_, entry)| message(entry));
        let mut reads = self.0.lock().expect("no panic while the reads are held");
        if reads.len() == READS_MAX {
            reads.pop_front();
        }
        reads.push_back(page);
        Ok(found)
    }

    fn remembered(&self, position: LogPosition) -> Option<Entry> {
        let reads = self.0.lock().expect("no panic while the reads are held");
        reads.iter().rev().find_map(|page| {
            let at = usize::try_from(position.0.checked_sub(page.first()?.0.0)?).ok()?;
            page.get(at).map(|(_, entry)| entry.clone())
        })
    }
}

fn message(entry: &Entry) -> Option<MessageRecord> {
    match Record::decode(&entry.payload) {
        Ok(Record::Message(message)) => Some(*message),
        _ => None,
    }
}
