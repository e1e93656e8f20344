//! What is counted of events, owed, sent and dropped.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The counts; they are on a registry once [`Counts::register`] put them there.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) sent: IntCounter,
    pub(super) dropped: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) owed: IntGauge,
    pub(super) lag_seconds: Histogram,
}

impl Counts {
    pub(super) fn new() -> Self {
        let counter = |name: &str, about: &str| IntCounter::new(name, about).expect("the name is valid");
        let bounds = prometheus::exponential_buckets(0.001, 2.0, 16).expect("the bounds grow");
        let lag = HistogramOpts::new(
            "cairn_s3_event_lag_seconds",
            "time from what happened to a bucket's object until a destination had its event",
        );
        Self {
            sent: counter("cairn_s3_events_sent_total", "events of buckets that a queue or topic took"),
            dropped: counter(
                "cairn_s3_events_dropped_total",
                "events of buckets that no destination took in time, or of which one was owed too many",
            ),
            failures: counter(
                "cairn_s3_event_failures_total",
                "attempts to send a bucket's events that failed and are made again",
            ),
            owed: IntGauge::new("cairn_s3_events_owed", "events of buckets that are yet to be sent")
                .expect("the name is valid"),
            lag_seconds: Histogram::with_opts(lag.buckets(bounds)).expect("the options are valid"),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.sent.clone()))?;
        registry.register(Box::new(self.dropped.clone()))?;
        registry.register(Box::new(self.failures.clone()))?;
        registry.register(Box::new(self.owed.clone()))?;
        registry.register(Box::new(self.lag_seconds.clone()))
    }
}
