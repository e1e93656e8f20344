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
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            appended_entries: metrics::counter(
                registry,
                "cairn_log_appended_entries_total",
                "Entries made durable.",
            ),
            appended_bytes: metrics::counter(
                registry,
                "cairn_log_appended_bytes_total",
                "Bytes made durable.",
            ),
            syncs: metrics::counter(registry, "cairn_log_syncs_total", "Syncs of log files."),
            sync_seconds: metrics::seconds(
                registry,
                "cairn_log_sync_seconds",
                "How long a group's sync took.",
            ),
            group_entries: metrics::sizes(registry, "cairn_log_group_entries", "Entries per sync.", 2.0, 13),
            queue_depth: metrics::gauge(
                registry,
                "cairn_log_queue_appends",
                "Appends waiting for the writer.",
            ),
            segments: metrics::gauge(registry, "cairn_log_segments", "Segment files."),
        }
    }
}
