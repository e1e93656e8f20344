//! The newest entries in memory, so that consumers that keep up never touch the disk.

use std::collections::VecDeque;

use super::{Entry, LogPosition};

/// What one entry costs beside its payload.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// A run of the newest durable entries, held to a number of bytes.
#[derive(Debug)]
pub(super) struct Recent {
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    /// Nothing yet; the next entry has position `end`.
    pub(super) fn new(end: u64, bytes_max: usize) -> Self {
        Self { first: end, entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the next entry and lets go of the oldest.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= cost(&oldest);
            self.first += 1;
        }
    }

    /// Entries from `from` on, within the limits of [`super::EventLog::read`]; none where `from` is not held.
    pub(super) fn read(
        &self,
        from: u64,
        entries_max: usize,
        bytes_max: usize,
    ) -> Option<Vec<(LogPosition, Entry)>> {
        let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let mut found: Vec<(LogPosition, Entry)> = Vec::new();
        let mut bytes = 0;
        for (entry, position) in self.entries.range(skip.min(self.entries.len())..).zip(from..) {
            if found.len() == entries_max.max(1) || (bytes >= bytes_max && !found.is_empty()) {
                break;
            }
            bytes += entry.payload.len();
            found.push((LogPosition(position), entry.clone()));
        }
        (!found.is_empty()).then_some(found)
    }
}

fn cost(entry: &Entry) -> usize {
    entry.payload.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cairn_core::Timestamp;

    use super::*;
    use crate::log::EntryKind;

    fn entry(text: &'static str) -> Entry {
        Entry {
            kind: EntryKind::Event,
            recorded_at: Timestamp::EPOCH,
            payload: Bytes::from_static(text.as_bytes()),
        }
    }

    #[test]
    fn the_oldest_entries_make_room_for_the_newest() {
        let mut recent = Recent::new(10, 2 * (ENTRY_OVERHEAD_BYTES + 1));
        for text in ["a", "b", "c"] {
            recent.push(entry(text));
        }
        assert_eq!(recent.read(10, 9, 9), None);
        assert_eq!(
            recent.read(11, 9, 9),
            Some(vec![(LogPosition(11), entry("b")), (LogPosition(12), entry("c"))])
        );
        assert_eq!(recent.read(11, 1, 9), Some(vec![(LogPosition(11), entry("b"))]));
        assert_eq!(recent.read(11, 9, 0), Some(vec![(LogPosition(11), entry("b"))]));
        assert_eq!(recent.read(13, 9, 9), None);
    }
}
