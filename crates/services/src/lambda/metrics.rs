//! What Lambda counts. Not by function: there may be any number of them.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::runner::{Ran, RunFailure};

/// The service's metrics.
pub(super) struct Metrics {
    /// By outcome: ok, error, failed.
    invocations: IntCounterVec,
    pub(super) throttled: IntCounter,
    pub(super) queued: IntCounter,
    pub(super) retried: IntCounter,
    /// Events that were given up, by reason.
    pub(super) given_up: IntCounterVec,
    pub(super) results_sent: IntCounter,
    pub(super) results_failed: IntCounter,
    pub(super) results_dropped: IntCounter,
    pub(super) running: IntGauge,
    pub(super) waiting: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let by = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            invocations: by(
                "cairn_lambda_invocations_total",
                "invocations that ended, by outcome",
                "outcome",
            )?,
            throttled: counter("cairn_lambda_throttled_total", "invocations refused for want of a place")?,
            queued: counter("cairn_lambda_events_total", "asynchronous invocations that were taken")?,
            retried: counter("cairn_lambda_retries_total", "asynchronous invocations that are tried again")?,
            given_up: by(
                "cairn_lambda_given_up_total",
                "asynchronous invocations that are not tried any more, by reason",
                "reason",
            )?,
            results_sent: counter("cairn_lambda_results_total", "outcomes that a destination took")?,
            results_failed: counter(
                "cairn_lambda_result_failures_total",
                "attempts to send an outcome that failed and are made again",
            )?,
            results_dropped: counter(
                "cairn_lambda_results_dropped_total",
                "outcomes that a destination refused for good",
            )?,
            running: gauge("cairn_lambda_running", "functions that run")?,
            waiting: gauge("cairn_lambda_waiting", "asynchronous invocations that wait or run")?,
        })
    }

    /// Counts what an invocation came to.
    pub(super) fn count(&self, ran: &Result<Ran, RunFailure>) {
        let outcome = match ran {
            Ok(ran) if ran.is_error => "error",
            Ok(_) => "ok",
            Err(_) => "failed",
        };
        self.invocations.with_label_values(&[outcome]).inc();
    }
}
