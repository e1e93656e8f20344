//! The embedded store of lines, as others hold it.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::Timestamp;

use super::store::{LinesGround, Store, failed};
use super::{Batch, GroupId, Kept, Lines, LinesError, Page, Query, StreamId};
use crate::log::LogPosition;

/// The embedded store of log lines: a journal, a tail in memory, and files.
pub struct SegmentLines {
    store: Arc<Store>,
    is_driven: bool,
}

impl SegmentLines {
    /// Opens the store, and finishes what a crash left over. Needs tokio's runtime.
    ///
    /// # Errors
    /// Where another process has it open, where the journal is damaged inside, or a newer program wrote it.
    pub async fn open(ground: LinesGround) -> Result<Self, LinesError> {
        Ok(Self { store: Arc::new(Store::open(ground, true).await?), is_driven: true })
    }

    /// As [`SegmentLines::open`], without any task or thread: whoever waits for something does it. For simulations, where
    /// nothing may happen by itself.
    ///
    /// # Errors
    /// As [`SegmentLines::open`].
    pub async fn open_undriven(ground: LinesGround) -> Result<Self, LinesError> {
        Ok(Self { store: Arc::new(Store::open(ground, false).await?), is_driven: false })
    }

    /// Lets what is under way end. What is in memory is in the journal, too, and is found at the next opening.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Runs `change` to its end also where its caller is dropped before: a batch that is in the journal and not in memory
    /// would be found only after the next opening.
    async fn to_the_end<T: Send + 'static>(
        &self,
        action: &'static str,
        change: impl Future<Output = Result<T, LinesError>> + Send + 'static,
    ) -> Result<T, LinesError> {
        if !self.is_driven {
            return change.await;
        }
        tokio::spawn(change).await.map_err(failed(action))?
    }
}

#[async_trait]
impl Lines for SegmentLines {
    async fn append(&self, batches: Vec<Batch>) -> Result<LogPosition, LinesError> {
        let store = Arc::clone(&self.store);
        self.to_the_end("be appended to", async move { store.append(batches).await }).await
    }

    async fn read(&self, query: Query) -> Result<Page, LinesError> {
        self.store.read(query).await
    }

    fn kept_of_group(&self, group: GroupId) -> Kept {
        self.store.kept(group, None)
    }

    fn kept_of_stream(&self, group: GroupId, stream: StreamId) -> Kept {
        self.store.kept(group, Some(stream))
    }

    async fn forget(&self, group: GroupId, stream: Option<StreamId>) -> Result<(), LinesError> {
        let store = Arc::clone(&self.store);
        self.to_the_end("be forgotten", async move { store.forget(group, stream).await }).await
    }

    async fn expire(&self, group: GroupId, before_ms: i64) -> Result<(), LinesError> {
        let store = Arc::clone(&self.store);
        self.to_the_end("be hidden", async move { store.expire(group, before_ms).await }).await
    }

    async fn appended(
        &self,
        from: LogPosition,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Batch)>, LinesError> {
        self.store.appended(from, bytes_max).await
    }

    fn end(&self) -> LogPosition {
        self.store.journal.end()
    }

    async fn wait_past(&self, position: LogPosition) {
        self.store.journal.wait_past(position).await;
    }

    async fn maintain(&self, now: Timestamp, needed_from: LogPosition) -> Result<(), LinesError> {
        let store = Arc::clone(&self.store);
        self.to_the_end("be maintained", async move { store.maintain(now, needed_from).await }).await
    }
}
