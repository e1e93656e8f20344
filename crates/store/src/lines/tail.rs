//! The newest lines, in memory until they are in a file: sorted, by group.
//!
//! A tail only grows, until it is written to a file and let go of; who reads it meanwhile keeps it.

use std::collections::BTreeMap;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use cairn_core::Timestamp;

use super::{Batch, Found, GroupId, Kept, LineId, StreamId};
use crate::log::LogPosition;

/// What a line takes beside its text.
const LINE_OVERHEAD_BYTES: usize = 128;

/// Lines of groups, in their order.
pub(super) type Groups = BTreeMap<GroupId, BTreeMap<LineId, Found>>;

/// Lines in memory.
#[derive(Debug, Default)]
pub(super) struct Tail(RwLock<Inner>);

/// What a tail holds.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) groups: Groups,
    pub(super) kept: BTreeMap<(GroupId, StreamId), Kept>,
    /// When the first of it came.
    pub(super) oldest: Option<Timestamp>,
    size_bytes: usize,
}

impl Tail {
    pub(super) fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().expect("no panic while a tail is held")
    }

    fn inner_mut(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().expect("no panic while a tail is held")
    }

    /// Adds a batch.
    pub(super) fn insert(&self, position: LogPosition, batch: &Batch) {
        let mut inner = self.inner_mut();
        let inner = &mut *inner;
        inner.oldest = inner.oldest.into_iter().chain([batch.ingested_at]).min();
        let group = inner.groups.entry(batch.group).or_default();
        let kept = inner.kept.entry((batch.group, batch.stream)).or_default();
        kept.last_ingested_at = kept.last_ingested_at.max(Some(batch.ingested_at));
        for (line, index) in batch.lines.iter().zip(0..) {
            let id = LineId { timestamp_ms: line.timestamp_ms, position, index };
            let (stream, ingested_at, message) = (batch.stream, batch.ingested_at, line.message.clone());
            inner.size_bytes += message.len() + LINE_OVERHEAD_BYTES;
            kept.add(message.len() as u64, line.timestamp_ms);
            group.insert(id, Found { id, stream, ingested_at, message });
        }
    }

    /// About the memory that it takes.
    pub(super) fn size_bytes(&self) -> usize {
        self.inner().size_bytes
    }

    /// Whether nothing came yet.
    pub(super) fn is_empty(&self) -> bool {
        self.inner().oldest.is_none()
    }

    /// The first lines of a group with ids in a range, or the last ones, from the last back.
    pub(super) fn chunk(
        &self,
        group: GroupId,
        (from, until): (LineId, LineId),
        backwards: bool,
        lines_max: usize,
    ) -> Vec<Found> {
        let inner = self.inner();
        let Some(lines) = inner.groups.get(&group).filter(|_| from <= until) else { return Vec::new() };
        let range = lines.range(from..=until).map(|(_, found)| found.clone());
        if backwards { range.rev().take(lines_max).collect() } else { range.take(lines_max).collect() }
    }

    /// Changes what is kept of streams; a stream is forgotten where `keep` says no.
    pub(super) fn retain_kept(&self, mut keep: impl FnMut((GroupId, StreamId), &mut Kept) -> bool) {
        self.inner_mut().kept.retain(|of, kept| keep(*of, kept));
    }
}

impl Kept {
    /// Counts a line.
    pub(super) fn add(&mut self, text_bytes: u64, timestamp_ms: i64) {
        self.text_bytes += text_bytes;
        self.first_ms = self.first_ms.into_iter().chain([timestamp_ms]).min();
        self.last_ms = self.last_ms.max(Some(timestamp_ms));
    }

    /// Counts what `other` does too.
    pub(super) fn join(&mut self, other: &Self) {
        self.text_bytes += other.text_bytes;
        self.first_ms = self.first_ms.into_iter().chain(other.first_ms).min();
        self.last_ms = self.last_ms.max(other.last_ms);
        self.last_ingested_at = self.last_ingested_at.max(other.last_ingested_at);
    }

    /// Lines from before that time are no longer there.
    pub(super) fn expire(&mut self, before_ms: i64) {
        if self.last_ms.is_some_and(|last| last < before_ms) {
            (self.first_ms, self.last_ms) = (None, None);
        }
        self.first_ms = self.first_ms.map(|first| first.max(before_ms));
    }

    /// As it is told: where no line is left, neither is text, though files may still hold some.
    pub(super) fn shown(mut self) -> Self {
        if self.last_ms.is_none() {
            self.text_bytes = 0;
        }
        self
    }
}
