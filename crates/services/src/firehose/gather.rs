//! What waits to be delivered, read from where it lies: the delivery stream's own records, or a stream of Kinesis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_wire::AwsError;

use super::state::{DeliveryStream, Progress};
use super::{Firehose, PRINCIPAL, of_store};
use crate::Caller;
use crate::failure::Failure;
use crate::kms::Asker;
use crate::sinks::{AsRole, Sender, SinkFailure, Source};

/// How much is read at a time.
const PAGE_SIZE_BYTES: usize = 4 << 20;
/// For how long a data key is used again.
pub(super) const DATA_KEY_REUSE: Duration = Duration::from_secs(300);

/// What the stage knows of a delivery stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    /// Up to where each shard was looked through.
    pub(super) scanned: BTreeMap<u32, u64>,
    pub(super) size_bytes: usize,
    /// When the first record arrived that is not delivered.
    pub(super) oldest: Option<Timestamp>,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Timestamp>,
}

/// A record to deliver.
pub(super) struct Gathering {
    pub(super) position: u64,
    pub(super) arrived_at: Timestamp,
    pub(super) data: Vec<u8>,
}

impl Firehose {
    /// Whoever acts for a delivery stream as a role.
    pub(super) async fn as_role(
        &self,
        stream: &DeliveryStream,
        role_arn: &str,
    ) -> Result<Sender, SinkFailure> {
        let (arn, account) = (stream.name.arn(), stream.name.account.clone());
        let role = AsRole {
            role_arn: role_arn.to_owned(),
            session_name: "AWSFirehoseDelivery".to_owned(),
            source: Source { service: PRINCIPAL.to_owned(), arn, account },
            region: stream.name.region.clone(),
        };
        Ok(Sender::Role(Arc::new(self.deps.switchboard.roles()?.assume(&role).await?)))
    }

    /// The shards that can be read now, each from where on.
    pub(super) async fn shards(
        &self,
        stream: &DeliveryStream,
        cursors: &BTreeMap<u32, u64>,
    ) -> Result<BTreeMap<u32, u64>, SinkFailure> {
        let Some(source) = &stream.source else {
            return Ok(BTreeMap::from([(0, cursors.get(&0).copied().unwrap_or_default())]));
        };
        let sender = self.as_role(stream, &source.role_arn).await?;
        let (_, shards) = self.deps.kinesis.source_shards(&sender, &source.stream_arn)?;
        // The children of a shard come after all that it had.
        let is_read = |number: &u32| {
            let parent = shards.iter().find(|shard| shard.number == *number);
            parent.is_none_or(|parent| cursors.get(number).copied().unwrap_or_default() >= parent.end)
        };
        let readable = shards.iter().filter(|shard| shard.parents.iter().all(is_read));
        Ok(readable
            .map(|shard| (shard.number, cursors.get(&shard.number).copied().unwrap_or_default()))
            .collect())
    }

    /// Records of a shard from a position on.
    pub(super) async fn read(
        &self,
        stream: &DeliveryStream,
        shard: u32,
        from: u64,
    ) -> Result<Vec<Gathering>, SinkFailure> {
        if let Some(source) = &stream.source {
            let sender = self.as_role(stream, &source.role_arn).await?;
            let place = (source.stream_arn.as_str(), shard);
            let records = self.deps.kinesis.source_records(&sender, place, from, PAGE_SIZE_BYTES).await?;
            let gathering = |record: crate::kinesis::SourceRecord| Gathering {
                position: record.position,
                arrived_at: record.arrived_at,
                data: record.data.to_vec(),
            };
            return Ok(records.into_iter().map(gathering).collect());
        }
        self.read_own(stream, from).await.map_err(|failure| AwsError::from(failure).into())
    }

    async fn read_own(&self, stream: &DeliveryStream, from: u64) -> Result<Vec<Gathering>, Failure> {
        let key = stream.store_key();
        let stored =
            self.deps.streams.read(&key, from, usize::MAX, PAGE_SIZE_BYTES).await.map_err(of_store)?;
        let asker = self.asker(stream);
        let mut found = Vec::with_capacity(stored.len());
        for stored in stored {
            let opened =
                self.cipher.open(&asker, key.as_str().as_bytes(), &stored.payload, DATA_KEY_REUSE).await?;
            found.push(Gathering { position: stored.position, arrived_at: stored.arrived_at, data: opened });
        }
        Ok(found)
    }

    /// Firehose itself, where KMS is asked for a delivery stream's records.
    pub(super) fn asker(&self, stream: &DeliveryStream) -> Asker {
        let (account, region) = (stream.name.account.clone(), stream.name.region.clone());
        let source =
            Source { service: PRINCIPAL.to_owned(), arn: stream.name.arn(), account: account.clone() };
        let id = self.deps.entropy.event_id();
        let caller = Caller::of_service(PRINCIPAL, (account, region), self.deps.clock.now(), id);
        Asker::for_source("firehose", caller, &source)
    }

    /// Looks through what came since the last time, until there is enough for an object.
    pub(super) async fn gather(
        &self,
        stream: &DeliveryStream,
        progress: &Progress,
        gathered: &mut Gathered,
    ) -> Result<(), SinkFailure> {
        let enough = usize::try_from(stream.destination.buffering_hints.size_mib << 20).unwrap_or(usize::MAX);
        for (shard, cursor) in self.shards(stream, &progress.cursors).await? {
            loop {
                let from = gathered.scanned.get(&shard).copied().unwrap_or(cursor).max(cursor);
                if gathered.size_bytes >= enough {
                    return Ok(());
                }
                let page = self.read(stream, shard, from).await?;
                let Some(last) = page.last() else { break };
                let mut next = last.position + 1;
                for record in &page {
                    if gathered.size_bytes >= enough {
                        next = record.position;
                        break;
                    }
                    gathered.size_bytes += record.data.len();
                    let oldest = gathered.oldest.get_or_insert(record.arrived_at);
                    *oldest = (*oldest).min(record.arrived_at);
                }
                gathered.scanned.insert(shard, next);
            }
        }
        Ok(())
    }
}
