//! What the digest stage counts.

use prometheus::{IntCounter, Registry};

pub(crate) struct Metrics {
    pub(crate) digests: IntCounter,
    pub(crate) failures: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            digests: counter("cairn_digest_files_total", "Digest files delivered.")?,
            failures: counter("cairn_digest_failures_total", "Attempts that a bucket refused.")?,
        })
    }
}
