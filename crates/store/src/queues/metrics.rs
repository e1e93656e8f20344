//! What the queues count, beside what their journal counts as a log.

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use crate::metrics;

/// What the committer counts.
#[derive(Clone)]
pub(super) struct QueueMetrics {
    pub(super) messages: IntGauge,
    pub(super) live_bytes: IntGauge,
    pub(super) journal_bytes: IntGauge,
    pub(super) staged: IntGauge,
    pub(super) commit_seconds: Histogram,
    pub(super) failures: IntCounter,
    pub(super) rewritten_records: IntCounter,
    pub(super) trims: IntCounter,
    pub(super) cold_reads: IntCounter,
}

impl QueueMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, about| metrics::gauge(registry, name, about);
        let counter = |name, about| metrics::counter(registry, name, about);
        Self {
            messages: gauge("cairn_queues_messages", "Messages in all queues."),
            live_bytes: gauge("cairn_queues_live_bytes", "What the journal needs for what is there, about."),
            journal_bytes: gauge("cairn_queues_journal_bytes", "The size of the journal's segments."),
            staged: gauge("cairn_queues_staged_operations", "Operations that the last commit left waiting."),
            commit_seconds: metrics::seconds(
                registry,
                "cairn_queues_commit_seconds",
                "How long it took to make a group of operations durable.",
            ),
            failures: counter("cairn_queues_failures_total", "Groups that could not be made durable."),
            rewritten_records: counter(
                "cairn_queues_rewritten_records_total",
                "Records written again so that old segments could go.",
            ),
            trims: counter("cairn_queues_trims_total", "Times that old segments were let go of."),
            cold_reads: counter(
                "cairn_queues_cold_reads_total",
                "Reads of payloads that were not in memory.",
            ),
        }
    }
}

/// A gauge's value.
pub(super) fn value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
