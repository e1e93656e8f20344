//! The stage that lets go of records whose retention period is over, and of closed shards with them.

use std::sync::Arc;

use cairn_wire::AwsError;

use super::error::{Failure, of_store};
use super::state::Stream;
use super::{Kinesis, Shared};

impl Kinesis {
    /// Lets go of what is over the retention period.
    ///
    /// # Errors
    /// Where the catalog or the store fails; what is due stays due.
    pub async fn maintain(&self) -> Result<(), AwsError> {
        for stream in self.all() {
            self.trim(&stream).await?;
        }
        Ok(())
    }
}

impl Shared {
    async fn trim(&self, stream: &Arc<Stream>) -> Result<(), Failure> {
        let kept_since = self.kept_since(stream);
        let mut is_any_over = false;
        for shard in stream.shards.iter().filter(|shard| shard.has_records()) {
            let key = stream.store_key(shard.number);
            // A stream that is deleted meanwhile has nothing left to trim.
            let Ok(position) = self.store.position_at(&key, kept_since).await else { continue };
            self.store.trim(&key, position).await.map_err(of_store)?;
        }
        for shard in &stream.shards {
            is_any_over |= shard.closed.is_some_and(|closed| closed.at < kept_since);
        }
        if is_any_over { self.forget_shards(stream).await } else { Ok(()) }
    }

    async fn forget_shards(&self, stream: &Arc<Stream>) -> Result<(), Failure> {
        let kept_since = self.kept_since(stream);
        let over = self
            .change(&stream.name, |stream| {
                let is_over =
                    |shard: &super::state::Shard| shard.closed.is_some_and(|closed| closed.at < kept_since);
                let (over, kept) = std::mem::take(&mut stream.shards).into_iter().partition(is_over);
                stream.shards = kept;
                Ok::<Vec<_>, Failure>(over)
            })
            .await?;
        for shard in over {
            self.store.remove(&stream.store_key(shard.number)).await.map_err(of_store)?;
        }
        Ok(())
    }
}
