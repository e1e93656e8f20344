//! What the store of lines counts, beside what its journal counts as a log.

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use crate::metrics;

/// What the store counts.
#[derive(Clone)]
pub(super) struct LinesMetrics {
    pub(super) tail_bytes: IntGauge,
    pub(super) journal_behind: IntGauge,
    pub(super) files: IntGauge,
    pub(super) file_bytes: IntGauge,
    pub(super) files_unreadable: IntGauge,
    pub(super) flush_seconds: Histogram,
    pub(super) flush_failures: IntCounter,
    pub(super) merges: IntCounter,
    pub(super) merge_failures: IntCounter,
    pub(super) merged_bytes: IntCounter,
    pub(super) scanned_bytes: IntCounter,
    pub(super) appended_lines: IntCounter,
}

impl LinesMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, about| metrics::gauge(registry, name, about);
        let counter = |name, about| metrics::counter(registry, name, about);
        Self {
            tail_bytes: gauge(
                "cairn_lines_tail_bytes",
                "What log lines take in memory until they are in files.",
            ),
            journal_behind: gauge(
                "cairn_lines_unflushed_batches",
                "Batches of log lines that only the journal has on disk.",
            ),
            files: gauge("cairn_lines_files", "Files of log lines."),
            file_bytes: gauge("cairn_lines_file_bytes", "The size of all files of log lines."),
            files_unreadable: gauge(
                "cairn_lines_files_unreadable",
                "Files of log lines that are missing or damaged.",
            ),
            flush_seconds: metrics::seconds(
                registry,
                "cairn_lines_flush_seconds",
                "How long it took to write the lines in memory to a file.",
            ),
            flush_failures: counter(
                "cairn_lines_flush_failures_total",
                "Files of new log lines that could not be written.",
            ),
            merges: counter("cairn_lines_merges_total", "Merges of files of log lines."),
            merge_failures: counter("cairn_lines_merge_failures_total", "Merges of files that failed."),
            merged_bytes: counter("cairn_lines_merged_bytes_total", "Text that was written again by merges."),
            scanned_bytes: counter("cairn_lines_scanned_bytes_total", "Text that reads looked at."),
            appended_lines: counter("cairn_lines_appended_total", "Log lines that were taken in."),
        }
    }
}

/// A gauge's value.
pub(super) fn value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
