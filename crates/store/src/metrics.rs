//! How the stores count what they do: metrics on the registry that the wiring hands in.

use prometheus::core::Collector;
use prometheus::{Error, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// A counter on `registry`.
pub(crate) fn counter(registry: &Registry, name: &str, about: &str) -> IntCounter {
    let metric = IntCounter::with_opts(Opts::new(name, about)).expect("the names are constants in good form");
    register(registry, &metric);
    metric
}

/// A gauge on `registry`.
pub(crate) fn gauge(registry: &Registry, name: &str, about: &str) -> IntGauge {
    let metric = IntGauge::with_opts(Opts::new(name, about)).expect("the names are constants in good form");
    register(registry, &metric);
    metric
}

/// A histogram of sizes on `registry`, with buckets of powers of `base`.
pub(crate) fn sizes(registry: &Registry, name: &str, about: &str, base: f64, buckets: usize) -> Histogram {
    let bounds = prometheus::exponential_buckets(1.0, base, buckets).expect("base above one, some buckets");
    let options = HistogramOpts::new(name, about).buckets(bounds);
    let metric = Histogram::with_opts(options).expect("the names are constants in good form");
    register(registry, &metric);
    metric
}

/// A histogram of durations on `registry`, from 0.1 ms to 3 s. Its timer reads the clock inside the metrics library, the
/// only such reading in the stores: nothing but the metric depends on it.
pub(crate) fn seconds(registry: &Registry, name: &str, about: &str) -> Histogram {
    let bounds = prometheus::exponential_buckets(0.0001, 2.0, 16).expect("base above one, some buckets");
    let options = HistogramOpts::new(name, about).buckets(bounds);
    let metric = Histogram::with_opts(options).expect("the names are constants in good form");
    register(registry, &metric);
    metric
}

/// Puts `metric` on `registry`. A store that is opened again in one process takes the place of the one before.
fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: &C) {
    let outcome = match registry.register(Box::new(metric.clone())) {
        Err(Error::AlreadyReg) => registry
            .unregister(Box::new(metric.clone()))
            .and_then(|()| registry.register(Box::new(metric.clone()))),
        outcome => outcome,
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, "a metric is counted but not shown");
    }
}
