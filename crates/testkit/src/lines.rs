//! Log lines in memory, for tests that need a store of them and do not test it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_store::LogPosition;
use cairn_store::lines::{Batch, Found, GroupId, Kept, LineId, Lines, LinesError, Page, Query, StreamId};
use tokio::sync::watch;

/// No lines yet, in memory. What it keeps is never too much for it.
#[must_use]
pub fn memory_lines() -> Arc<dyn Lines> {
    Arc::new(MemoryLines { held: Mutex::default(), end: watch::Sender::new(LogPosition(0)) })
}

struct MemoryLines {
    held: Mutex<Held>,
    end: watch::Sender<LogPosition>,
}

#[derive(Default)]
struct Held {
    /// All that was appended.
    batches: Vec<Batch>,
    groups: BTreeMap<GroupId, BTreeMap<LineId, Found>>,
}

impl MemoryLines {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while the lines are held")
    }

    fn kept(&self, group: GroupId, is_counted: impl Fn(&Found) -> bool) -> Kept {
        let held = self.held();
        let mut kept = Kept::default();
        for found in
            held.groups.get(&group).into_iter().flat_map(BTreeMap::values).filter(|line| is_counted(line))
        {
            kept.text_bytes += found.message.len() as u64;
            kept.first_ms = kept.first_ms.or(Some(found.id.timestamp_ms));
            kept.last_ms = Some(found.id.timestamp_ms);
            kept.last_ingested_at = kept.last_ingested_at.max(Some(found.ingested_at));
        }
        kept
    }
}

#[async_trait]
impl Lines for MemoryLines {
    async fn append(&self, batches: Vec<Batch>) -> Result<LogPosition, LinesError> {
        let mut held = self.held();
        let first = LogPosition(held.batches.len() as u64);
        for (batch, position) in batches.iter().zip(first.0..) {
            let group = held.groups.entry(batch.group).or_default();
            for (line, index) in batch.lines.iter().zip(0..) {
                let id = LineId { timestamp_ms: line.timestamp_ms, position: LogPosition(position), index };
                let (stream, ingested_at) = (batch.stream, batch.ingested_at);
                group.insert(id, Found { id, stream, ingested_at, message: line.message.clone() });
            }
        }
        held.batches.extend(batches);
        self.end.send_replace(LogPosition(held.batches.len() as u64));
        Ok(first)
    }

    async fn read(&self, query: Query) -> Result<Page, LinesError> {
        let held = self.held();
        let is_asked = |found: &&Found| {
            let is_after = query
                .after
                .is_none_or(|after| if query.backwards { found.id < after } else { found.id > after });
            query.times_ms.contains(&found.id.timestamp_ms) && is_after
        };
        let mut lines: Vec<&Found> =
            held.groups.get(&query.group).into_iter().flat_map(BTreeMap::values).filter(is_asked).collect();
        if query.backwards {
            lines.reverse();
        }
        let mut page = Page::default();
        let (mut found_bytes, mut scanned_bytes) = (0, 0);
        let mut rest = lines.into_iter();
        for found in rest.by_ref() {
            let is_of_stream = query.streams.as_ref().is_none_or(|streams| streams.contains(&found.stream));
            page.looked_up_to = Some(found.id);
            scanned_bytes += found.message.len() as u64;
            if is_of_stream && query.wanted.as_ref().is_none_or(|wanted| wanted(&found.message)) {
                found_bytes += found.message.len();
                page.lines.push(found.clone());
            }
            let is_full = page.lines.len() >= query.lines_max || found_bytes >= query.found_bytes_max;
            if is_full || scanned_bytes >= query.scanned_bytes_max {
                break;
            }
        }
        page.is_complete = rest.next().is_none();
        Ok(page)
    }

    fn kept_of_group(&self, group: GroupId) -> Kept {
        self.kept(group, |_| true)
    }

    fn kept_of_stream(&self, group: GroupId, stream: StreamId) -> Kept {
        self.kept(group, |found| found.stream == stream)
    }

    async fn forget(&self, group: GroupId, stream: Option<StreamId>) -> Result<(), LinesError> {
        let mut held = self.held();
        match stream {
            None => drop(held.groups.remove(&group)),
            Some(stream) => {
                held.groups.entry(group).or_default().retain(|_, found| found.stream != stream);
            }
        }
        Ok(())
    }

    async fn expire(&self, group: GroupId, before_ms: i64) -> Result<(), LinesError> {
        self.held().groups.entry(group).or_default().retain(|id, _| id.timestamp_ms >= before_ms);
        Ok(())
    }

    async fn appended(
        &self,
        from: LogPosition,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Batch)>, LinesError> {
        let held = self.held();
        let mut bytes = 0;
        let has_room = |batch: &&Batch| {
            let had_room = bytes < bytes_max.max(1);
            bytes += batch.lines.iter().map(|line| line.message.len().max(1)).sum::<usize>();
            had_room
        };
        let skipped = usize::try_from(from.0).unwrap_or(usize::MAX);
        let batches = held.batches.iter().skip(skipped).take_while(has_room).cloned();
        Ok((from.0..).map(LogPosition).zip(batches).collect())
    }

    fn end(&self) -> LogPosition {
        *self.end.borrow()
    }

    async fn wait_past(&self, position: LogPosition) {
        let mut ends = self.end.subscribe();
        ends.wait_for(|end| *end > position).await.expect("the store holds the sender");
    }

    async fn maintain(&self, _now: Timestamp, _needed_from: LogPosition) -> Result<(), LinesError> {
        Ok(())
    }
}
