//! The embedded event history: a fresh tail in memory and immutable segment files.
//!
//! Ingested events can be found at once, in the tail. A full or old tail is frozen, written to a file, and only then
//! let go, so lookups never wait for a write. The file is durable before the catalog names it; one transaction names
//! it and moves the durable position.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{Clock, Timestamp};

use super::settings::SegmentSettings;
use super::store::{Store, failed};
use super::{History, HistoryError, HistoryEvent, Lookup, LookupPage};
use crate::catalog::Catalog;
use crate::log::LogPosition;

/// The embedded history, a handle that is cheap to clone.
#[derive(Clone)]
pub struct SegmentHistory(Arc<Store>);

/// How much the history holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Segment files.
    pub segments: usize,
    /// Events in segment files.
    pub segment_events: u64,
    /// Bytes of segment files.
    pub segment_size_bytes: u64,
    /// Segment files that the registry names but that could not be opened; their events are not found.
    pub segments_unreadable: usize,
    /// Events in memory.
    pub tail_events: usize,
    /// About the memory that these take, in bytes.
    pub tail_size_bytes: usize,
}

impl SegmentHistory {
    /// Opens the history in `directory`, which is made where it is missing, and removes what a crash left there.
    ///
    /// # Errors
    /// Where the directory or the catalog cannot be read. A single segment that cannot be read is reported in the
    /// log and by [`SegmentHistory::size`], and left out.
    pub async fn open(
        directory: &Path,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        settings: SegmentSettings,
    ) -> Result<Self, HistoryError> {
        Ok(Self(Arc::new(Store::open(directory, catalog, clock, settings).await?)))
    }

    /// How much is held at this moment.
    #[must_use]
    pub fn size(&self) -> HistorySize {
        self.0.size()
    }

    /// Shows the history's size on `registry`.
    ///
    /// # Errors
    /// Where metrics of these names are there already.
    pub fn register(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        self.0.metrics.register(registry)
    }

    /// Writes all that is in memory to a segment file, as before a stop of the server.
    ///
    /// # Errors
    /// Where the file or the registry cannot be written. Nothing is lost then; the next call tries again.
    pub async fn flush(&self) -> Result<(), HistoryError> {
        let store = Arc::clone(&self.0);
        to_the_end("write a segment", async move { store.flush().await }).await
    }
}

#[async_trait]
impl History for SegmentHistory {
    async fn durable_position(&self) -> Result<LogPosition, HistoryError> {
        Ok(self.0.durable_position())
    }

    async fn ingest(&self, events: Vec<HistoryEvent>, up_to: LogPosition) -> Result<(), HistoryError> {
        let store = Arc::clone(&self.0);
        to_the_end("take events", async move { store.ingest(events, up_to).await }).await
    }

    async fn maintain(&self, now: Timestamp) -> Result<(), HistoryError> {
        let store = Arc::clone(&self.0);
        to_the_end("be maintained", async move { store.maintain(now).await }).await
    }

    async fn lookup(&self, query: Lookup) -> Result<LookupPage, HistoryError> {
        self.0.lookup(query).await
    }
}

/// Runs `change` to its end also where its caller is dropped before: a change that stopped between the registry and
/// the state would leave the two apart.
async fn to_the_end(
    action: &'static str,
    change: impl Future<Output = Result<(), HistoryError>> + Send + 'static,
) -> Result<(), HistoryError> {
    tokio::spawn(change).await.map_err(failed(action))?
}
