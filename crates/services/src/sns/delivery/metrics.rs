//! What the delivery tells of itself.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::super::state::Protocol;

/// What a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Failed,
    Refused,
}

/// The metrics.
pub(super) struct Metrics {
    attempts: IntCounterVec,
    dead_letters: IntCounterVec,
    given_up: IntCounterVec,
    pub(super) owed: IntGauge,
    pub(super) oldest_seconds: IntGauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            attempts: counter(
                "cairn_sns_attempts_total",
                "attempts to deliver what topics owe, by protocol and outcome: delivered, failed (tried again), refused",
                &["protocol", "outcome"],
            )?,
            dead_letters: counter(
                "cairn_sns_dead_letters_total",
                "messages that went to a subscription's dead-letter queue, by protocol",
                &["protocol"],
            )?,
            given_up: counter(
                "cairn_sns_given_up_total",
                "messages that could not be delivered and had no dead-letter queue to go to, by protocol",
                &["protocol"],
            )?,
            owed: gauge("cairn_sns_owed", "deliveries owed to subscribers, up to 100,000")?,
            oldest_seconds: gauge(
                "cairn_sns_oldest_owed_seconds",
                "for how long the oldest delivery is owed",
            )?,
        })
    }

    pub(super) fn attempted(&self, protocol: Protocol, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
        };
        self.attempts.with_label_values(&[protocol.name(), outcome]).inc();
    }

    pub(super) fn dead_lettered(&self, protocol: Protocol) {
        self.dead_letters.with_label_values(&[protocol.name()]).inc();
    }

    pub(super) fn gave_up(&self, protocol: Protocol) {
        self.given_up.with_label_values(&[protocol.name()]).inc();
    }
}
