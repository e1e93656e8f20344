//! What the event log counts.

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use crate::metrics;

/// What the writer counts.
#[derive(Clone)]
pub(super) struct LogMetrics {
    pub(super) appended_entries: IntCounter,
    pub(super) appended_bytes: IntCounter,
    pub(super) syncs: IntCounter,
    pub(super) sync_seconds: Histogram,
    pub(super) group_entries: Histogram,
    pub(super) queue_depth: IntGauge,
    pub(super) segments: IntGauge,
}

impl LogMetrics {
    /// The metrics of the log with this name: `cairn_log_syncs_total`.
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        let name = |metric: &str| format!("cairn_{name}_{metric}");
        Self {
            appended_entries: metrics::counter(
                registry,
                &name("appended_entries_total"),
                "Entries made durable.",
            ),
            appended_bytes: metrics::counter(registry, &name("appended_bytes_total"), "Bytes made durable."),
            syncs: metrics::counter(registry, &name("syncs_total"), "Syncs of log files."),
            sync_seconds: metrics::seconds(registry, &name("sync_seconds"), "How long a group's sync took."),
            group_entries: metrics::sizes(registry, &name("group_entries"), "Entries per sync.", 2.0, 13),
            queue_depth: metrics::gauge(registry, &name("queue_appends"), "Appends waiting for the writer."),
            segments: metrics::gauge(registry, &name("segments"), "Segment files."),
        }
    }
}
