//! What is counted of lines that come and go.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The counters.
pub(super) struct Metrics {
    pub(super) accepted: IntCounter,
    pub(super) accepted_bytes: IntCounter,
    rejected: IntCounterVec,
    pub(super) unreadable: IntCounter,
    pub(super) uncounted: IntCounter,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            accepted: IntCounter::new("cairn_logs_lines_total", "lines that log streams took")?,
            accepted_bytes: IntCounter::new(
                "cairn_logs_lines_bytes_total",
                "text of the lines that log streams took, in bytes",
            )?,
            rejected: IntCounterVec::new(
                Opts::new("cairn_logs_rejected_lines_total", "lines that were too old, expired or too new"),
                &["reason"],
            )?,
            unreadable: IntCounter::new(
                "cairn_logs_unreadable_lines_total",
                "stored lines that could not be opened when they were read",
            )?,
            uncounted: IntCounter::new(
                "cairn_logs_uncounted_metrics_total",
                "batches of lines whose embedded metrics could not be counted",
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.accepted.clone()))?;
        registry.register(Box::new(self.accepted_bytes.clone()))?;
        registry.register(Box::new(self.rejected.clone()))?;
        registry.register(Box::new(self.unreadable.clone()))?;
        registry.register(Box::new(self.uncounted.clone()))
    }

    pub(super) fn reject(&self, reason: &str, count: usize) {
        self.rejected.with_label_values(&[reason]).inc_by(count as u64);
    }
}
