//! The size of the history as metrics.

use prometheus::{Error, IntGauge, Registry};

use super::HistorySize;

/// Gauges, brought up to date after each change.
pub(super) struct Metrics {
    segments: IntGauge,
    segments_unreadable: IntGauge,
    segment_events: IntGauge,
    segment_size_bytes: IntGauge,
    tail_events: IntGauge,
    tail_size_bytes: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let gauge = |name, about| IntGauge::new(name, about).expect("the names are constants in good form");
        Self {
            segments: gauge("cairn_history_segments", "Segment files of the event history"),
            segments_unreadable: gauge(
                "cairn_history_segments_unreadable",
                "Segment files that could not be opened, whose events are not found",
            ),
            segment_events: gauge("cairn_history_segment_events", "Events in segment files"),
            segment_size_bytes: gauge("cairn_history_segment_bytes", "Bytes of segment files"),
            tail_events: gauge("cairn_history_tail_events", "Events of the history in memory"),
            tail_size_bytes: gauge("cairn_history_tail_bytes", "Memory of the history's events in memory"),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), Error> {
        self.all().into_iter().try_for_each(|gauge| registry.register(Box::new(gauge.clone())))
    }

    pub(super) fn note(&self, size: &HistorySize) {
        let numbers = [
            size.segments as u64,
            size.segments_unreadable as u64,
            size.segment_events,
            size.segment_size_bytes,
            size.tail_events as u64,
            size.tail_size_bytes as u64,
        ];
        for (gauge, number) in self.all().into_iter().zip(numbers) {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// In the order of [`Metrics::note`].
    fn all(&self) -> [&IntGauge; 6] {
        [
            &self.segments,
            &self.segments_unreadable,
            &self.segment_events,
            &self.segment_size_bytes,
            &self.tail_events,
            &self.tail_size_bytes,
        ]
    }
}
