//! What is counted of filters, and of what they owe.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub(super) struct Metrics {
    lag: IntGauge,
    matched: IntCounterVec,
    pub(super) owed: IntCounter,
    pub(super) sent: IntCounter,
    pub(super) retried: IntCounter,
    dropped: IntCounterVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lag: IntGauge::new(
                "cairn_logs_filter_lag_batches",
                "batches of lines that filters have not seen yet",
            )?,
            matched: IntCounterVec::new(
                Opts::new("cairn_logs_filter_matches_total", "lines that matched a filter"),
                &["kind"],
            )?,
            owed: IntCounter::new(
                "cairn_logs_subscription_parcels_total",
                "parcels of lines that subscription filters came to owe",
            )?,
            sent: IntCounter::new(
                "cairn_logs_subscription_sent_total",
                "parcels of lines that their destination took",
            )?,
            retried: IntCounter::new(
                "cairn_logs_subscription_failures_total",
                "parcels of lines that their destination did not take, and that are sent again",
            )?,
            dropped: IntCounterVec::new(
                Opts::new(
                    "cairn_logs_subscription_dropped_total",
                    "parcels and lines that are not sent at all",
                ),
                &["reason"],
            )?,
        };
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.matched.clone()))?;
        registry.register(Box::new(metrics.owed.clone()))?;
        registry.register(Box::new(metrics.sent.clone()))?;
        registry.register(Box::new(metrics.retried.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        Ok(metrics)
    }

    pub(super) fn lag(&self, batches: u64) {
        self.lag.set(i64::try_from(batches).unwrap_or(i64::MAX));
    }

    pub(super) fn matched(&self, kind: &str, lines: usize) {
        self.matched.with_label_values(&[kind]).inc_by(lines as u64);
    }

    pub(super) fn count_dropped(&self, reason: &str, count: u64) {
        self.dropped.with_label_values(&[reason]).inc_by(count);
    }
}
