//! The fresh end of the history, in memory: events that are in the event log but not yet in a segment file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::order::{PartitionKey, Place, Window, size_bytes};
use super::{Attribute, HistoryEvent};
use crate::log::LogPosition;

/// Events in memory, in the order in which a segment keeps them.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// By key, in ascending order.
    partitions: Vec<(PartitionKey, BTreeMap<Place, Arc<HistoryEvent>>)>,
    events: usize,
    size_bytes: usize,
}

impl Tail {
    pub(super) fn insert(&mut self, event: Arc<HistoryEvent>) {
        let size_bytes = size_bytes(&event);
        let at = self.partitions.binary_search_by(|(key, _)| key.cmp_of(&event)).unwrap_or_else(|at| {
            self.partitions.insert(at, (PartitionKey::of(&event), BTreeMap::new()));
            at
        });
        if self.partitions[at].1.insert(Place::of(&event), event).is_none() {
            self.events += 1;
            self.size_bytes += size_bytes;
        }
    }

    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Up to `limit` events of `partition` in `window` with `attribute`, newest first.
    pub(super) fn search(
        &self,
        partition: &PartitionKey,
        window: &Window,
        attribute: Option<&(Attribute, String)>,
        limit: usize,
    ) -> Vec<Arc<HistoryEvent>> {
        let Ok(at) = self.partitions.binary_search_by(|(key, _)| key.cmp(partition)) else {
            return Vec::new();
        };
        let events = &self.partitions[at].1;
        if window.oldest > window.newest {
            return Vec::new();
        }
        let first = Place { time: window.oldest, position: LogPosition(0) };
        let last = Place { time: window.newest, position: LogPosition(u64::MAX) };
        events
            .range(first..=last)
            .rev()
            .filter(|(place, event)| {
                window.admits(**place) && attribute.is_none_or(|wanted| event.attributes.contains(wanted))
            })
            .take(limit)
            .map(|(_, event)| Arc::clone(event))
            .collect()
    }

    /// All events, in the order of a segment's rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Arc<HistoryEvent>> {
        self.partitions.iter().flat_map(|(_, events)| events.values())
    }
}
