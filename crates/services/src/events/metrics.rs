//! What EventBridge tells of itself.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::target_check::Kind;

/// Seconds from an event's arrival to its delivery.
const LAG_BUCKETS_S: [f64; 9] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0, 3600.0];

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Failed,
    Refused,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The metrics.
pub(super) struct Metrics {
    pub(super) arrived: IntCounter,
    pub(super) matched: IntCounter,
    attempts: IntCounterVec,
    dead_letters: IntCounterVec,
    given_up: IntCounterVec,
    pub(super) lag_seconds: Histogram,
    pub(super) too_large: IntCounter,
    pub(super) cloudtrail_position: IntGauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let lag = HistogramOpts::new("cairn_events_lag_seconds", "from an event's arrival to its delivery");
        let lag_seconds = Histogram::with_opts(lag.buckets(LAG_BUCKETS_S.to_vec()))?;
        registry.register(Box::new(lag_seconds.clone()))?;
        let cloudtrail_position =
            IntGauge::new("cairn_events_log_position", "up to where the event log was put on event buses")?;
        registry.register(Box::new(cloudtrail_position.clone()))?;
        Ok(Self {
            arrived: counter("cairn_events_arrived_total", "events that came to a bus")?,
            matched: counter("cairn_events_matched_total", "events that a rule took, once for each rule")?,
            attempts: counters(
                "cairn_events_attempts_total",
                "attempts to send to a target, by its kind and outcome: delivered, failed (tried again), refused",
                &["kind", "outcome"],
            )?,
            dead_letters: counters(
                "cairn_events_dead_letters_total",
                "events that went to a target's dead-letter queue, by the target's kind",
                &["kind"],
            )?,
            given_up: counters(
                "cairn_events_given_up_total",
                "events that a target did not take and no dead-letter queue either, by the target's kind",
                &["kind"],
            )?,
            lag_seconds,
            too_large: counter(
                "cairn_events_too_large_total",
                "events of CloudTrail over 256 KB, which event buses do not take",
            )?,
            cloudtrail_position,
        })
    }

    pub(super) fn attempted(&self, kind: Kind, outcome: Outcome) {
        self.attempts.with_label_values(&[kind.name(), outcome.name()]).inc();
    }

    pub(super) fn dead_lettered(&self, kind: Kind) {
        self.dead_letters.with_label_values(&[kind.name()]).inc();
    }

    pub(super) fn gave_up(&self, kind: Kind) {
        self.given_up.with_label_values(&[kind.name()]).inc();
    }
}
