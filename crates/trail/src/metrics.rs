//! How the stages count what they do: metrics on the registry that the wiring hands in.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// A counter on `registry`.
pub(crate) fn counter(registry: &Registry, name: &str, about: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, about)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// A histogram of durations on `registry`, from 1 ms to half a minute.
pub(crate) fn seconds(registry: &Registry, name: &str, about: &str) -> Result<Histogram, prometheus::Error> {
    let bounds = prometheus::exponential_buckets(0.001, 2.0, 16)?;
    let histogram = Histogram::with_opts(HistogramOpts::new(name, about).buckets(bounds))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// A gauge on `registry`.
pub(crate) fn gauge(registry: &Registry, name: &str, about: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, about)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}
