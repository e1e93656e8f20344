//! What streams count.

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use crate::metrics;

#[derive(Clone)]
pub(super) struct StreamMetrics {
    pub(super) streams: IntGauge,
    pub(super) records: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) append_seconds: Histogram,
    pub(super) failures: IntCounter,
}

impl StreamMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name, about| metrics::counter(registry, name, about);
        Self {
            streams: metrics::gauge(registry, "cairn_streams", "Streams of records."),
            records: counter("cairn_streams_appended_records_total", "Records made durable."),
            bytes: counter("cairn_streams_appended_bytes_total", "Bytes of records made durable."),
            append_seconds: metrics::seconds(
                registry,
                "cairn_streams_append_seconds",
                "How long it took to make an append durable.",
            ),
            failures: counter("cairn_streams_failures_total", "Appends that could not be made durable."),
        }
    }
}
