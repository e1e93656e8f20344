//! What delivery counts.

use prometheus::{Histogram, IntCounter, Registry};

use crate::metrics::{counter, seconds};

pub(crate) struct Metrics {
    pub(crate) files: IntCounter,
    pub(crate) events: IntCounter,
    pub(crate) bytes: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) undecodable: IntCounter,
    pub(crate) given_up: IntCounter,
    pub(crate) seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, about| counter(registry, name, about);
        Ok(Self {
            files: counter("cairn_delivery_files_total", "Log files delivered.")?,
            events: counter("cairn_delivery_events_total", "Events in delivered log files.")?,
            bytes: counter("cairn_delivery_bytes_total", "Compressed bytes of delivered log files.")?,
            failures: counter("cairn_delivery_failures_total", "Attempts that a bucket refused.")?,
            undecodable: counter("cairn_delivery_undecodable_total", "Log entries set aside as no events.")?,
            given_up: counter(
                "cairn_delivery_given_up_total",
                "Log files given up after 30 days of failures.",
            )?,
            seconds: seconds(
                registry,
                "cairn_delivery_seconds",
                "From a range of the log, cut, to its files in the bucket and the commit.",
            )?,
        })
    }
}
