//! What is counted of publishes and their fan-out.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::state::Protocol;

/// The counters.
pub(super) struct Metrics {
    pub(super) published: IntCounter,
    pub(super) filtered: IntCounter,
    fanned_out: IntCounterVec,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            published: IntCounter::new("cairn_sns_published_total", "messages published to topics")?,
            filtered: IntCounter::new(
                "cairn_sns_filtered_total",
                "messages that a subscription's filter policy kept from it",
            )?,
            fanned_out: IntCounterVec::new(
                Opts::new("cairn_sns_fanned_out_total", "messages for subscriptions: sent, owed or refused"),
                &["protocol", "outcome"],
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.published.clone()))?;
        registry.register(Box::new(self.filtered.clone()))?;
        registry.register(Box::new(self.fanned_out.clone()))
    }

    pub(super) fn count(&self, protocol: Protocol, outcome: &str, count: usize) {
        self.fanned_out.with_label_values(&[protocol.name(), outcome]).inc_by(count as u64);
    }
}
