//! What the digest stage counts.

use prometheus::{IntCounter, Registry};

use crate::metrics::counter;

pub(crate) struct Metrics {
    pub(crate) digests: IntCounter,
    pub(crate) failures: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            digests: counter(registry, "cairn_digest_files_total", "Digest files delivered.")?,
            failures: counter(registry, "cairn_digest_failures_total", "Attempts that a bucket refused.")?,
        })
    }
}
