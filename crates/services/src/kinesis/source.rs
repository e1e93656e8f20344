//! Kinesis as those read it that act for their own resources: Firehose for a delivery stream, as a role.

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_wire::AwsError;

use super::Kinesis;
use super::error::{Failure, no_shard, of_store};
use super::state::shard_id;
use crate::sinks::{Sender, SinkFailure};

/// A shard of a stream that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceShard {
    /// Its number.
    pub number: u32,
    /// The next record's position; where it is closed, one past the last.
    pub end: u64,
    /// Those that must be read to their end before.
    pub parents: Vec<u32>,
    /// Whether no further record comes.
    pub is_closed: bool,
}

/// A record of a stream that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its place in the shard.
    pub position: u64,
    /// When it was put.
    pub arrived_at: Timestamp,
    /// What it says.
    pub data: Bytes,
}

impl Kinesis {
    /// The stream's id and shards, where `sender` may read it.
    ///
    /// # Errors
    /// `AccessDeniedException`, `ResourceNotFoundException`.
    pub fn source_shards(
        &self,
        sender: &Sender,
        stream_arn: &str,
    ) -> Result<(String, Vec<SourceShard>), SinkFailure> {
        let live = self.open_to(sender, "kinesis:GetRecords", stream_arn).map_err(told)?;
        let stream = live.stream;
        let mut shards = Vec::with_capacity(stream.shards.len());
        for shard in &stream.shards {
            let end = match shard.closed {
                Some(closed) => closed.end,
                None => {
                    let bounds = self.store.bounds(&stream.store_key(shard.number));
                    bounds.map_err(of_store).map_err(told)?.1
                }
            };
            let parents = [shard.parent, shard.adjacent_parent].into_iter().flatten().collect();
            shards.push(SourceShard {
                number: shard.number,
                end,
                parents,
                is_closed: shard.closed.is_some(),
            });
        }
        Ok((stream.id.clone(), shards))
    }

    /// Reads records of a shard from a position on, about `size_bytes_max`, but at least one where there is one.
    ///
    /// # Errors
    /// As [`Kinesis::source_shards`], and KMS's refusals.
    pub async fn source_records(
        &self,
        sender: &Sender,
        (stream_arn, shard): (&str, u32),
        from: u64,
        size_bytes_max: usize,
    ) -> Result<Vec<SourceRecord>, SinkFailure> {
        let live = self.open_to(sender, "kinesis:GetRecords", stream_arn).map_err(told)?;
        let found = live.stream.shard(shard);
        let found = found.ok_or_else(|| told(no_shard(&shard_id(shard), &live.stream.name)))?;
        let asker = self.asker_for(sender, &live.stream);
        let page = self.read_shard(&asker, (&live.stream, found), from, usize::MAX, size_bytes_max).await;
        let record = |record: super::get::ReadRecord| SourceRecord {
            position: record.position,
            arrived_at: record.arrived_at,
            data: record.data.into(),
        };
        Ok(page.map_err(told)?.records.into_iter().map(record).collect())
    }

    /// Counts the times that records were put; wakes those who read.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        *self.arrivals.borrow()
    }

    /// Returns once records were put since `seen`, of [`Kinesis::arrivals`].
    pub async fn wait_past(&self, seen: u64) {
        let mut arrivals = self.arrivals.subscribe();
        if arrivals.wait_for(|arrivals| *arrivals > seen).await.is_err() {
            tracing::debug!("streams went while somebody waited for their records");
        }
    }
}

fn told(failure: Failure) -> SinkFailure {
    AwsError::from(failure).into()
}
