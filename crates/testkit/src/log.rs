//! An event log in memory, for tests that need one and do not test it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cairn_store::log::{Entry, EventLog, LogError, LogPosition};
use tokio::sync::watch;

/// An empty event log in memory.
#[must_use]
pub fn memory_log() -> Arc<dyn EventLog> {
    Arc::new(MemoryLog { entries: Mutex::default(), end: watch::Sender::new(LogPosition(0)) })
}

struct MemoryLog {
    entries: Mutex<Entries>,
    end: watch::Sender<LogPosition>,
}

#[derive(Default)]
struct Entries {
    start: u64,
    kept: Vec<Entry>,
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        let mut held = self.entries.lock().expect("no panic while the entries are held");
        let first = held.start + held.kept.len() as u64;
        self.end.send_replace(LogPosition(first + entries.len() as u64));
        held.kept.extend(entries);
        Ok(LogPosition(first))
    }

    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        let held = self.entries.lock().expect("no panic while the entries are held");
        let start = LogPosition(held.start);
        let skipped = from.0.checked_sub(held.start).ok_or(LogError::Trimmed { from, start })?;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let room = |entry: &&Entry| {
            let had_room = bytes < bytes_max;
            bytes += entry.payload.len();
            had_room
        };
        let read = held.kept.iter().skip(skipped).take(entries_max).take_while(room).cloned();
        Ok((from.0..).map(LogPosition).zip(read).collect())
    }

    fn end(&self) -> LogPosition {
        *self.end.borrow()
    }

    fn start(&self) -> LogPosition {
        LogPosition(self.entries.lock().expect("no panic while the entries are held").start)
    }

    async fn wait_past(&self, position: LogPosition) {
        let mut ends = self.end.subscribe();
        ends.wait_for(|end| *end > position).await.expect("the log holds the sender");
    }

    async fn trim(&self, position: LogPosition) -> Result<(), LogError> {
        let mut held = self.entries.lock().expect("no panic while the entries are held");
        let dropped = usize::try_from(position.0.saturating_sub(held.start)).unwrap_or(usize::MAX);
        let dropped = dropped.min(held.kept.len());
        held.kept.drain(..dropped);
        held.start += dropped as u64;
        Ok(())
    }
}
