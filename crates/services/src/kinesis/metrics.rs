//! What Kinesis counts. Not by stream: there may be any number of them.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The service's metrics.
pub(super) struct Metrics {
    pub(super) put: IntCounter,
    pub(super) got: IntCounter,
    /// Records that were not taken, by code.
    pub(super) refused: IntCounterVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let refused = IntCounterVec::new(
            Opts::new("cairn_kinesis_refused_total", "records that a stream did not take, by code"),
            &["code"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            put: counter("cairn_kinesis_put_records_total", "records put into streams of Kinesis")?,
            got: counter("cairn_kinesis_got_records_total", "records read from streams of Kinesis")?,
            refused,
        })
    }
}
