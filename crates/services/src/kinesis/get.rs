//! GetRecords, and the reading of a shard that Firehose and subscriptions share with it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use cairn_store::streams::{Stored, StreamError};
use serde_json::{Value, json};

use super::error::{Failure, invalid, of_kms, of_store, too_fast};
use super::iterator::{Iterator, expired_iterator};
use super::name::StreamName;
use super::state::{Mode, Shard, Stream};
use super::{DATA_KEY_REUSE, Shared, asker, views};
use crate::Caller;
use crate::at_rest::take_part;
use crate::kms::Asker;

/// The most that one call gives.
const RECORDS_MAX: u64 = 10_000;
pub(super) const READ_SIZE_BYTES_MAX: usize = 10 << 20;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadRecord {
    pub(super) position: u64,
    pub(super) arrived_at: Timestamp,
    pub(super) partition_key: String,
    pub(super) data: Vec<u8>,
}

/// A part of a shard.
pub(super) struct Page {
    pub(super) records: Vec<ReadRecord>,
    /// Where the next page begins.
    pub(super) next: u64,
    /// Whether that is past the last record of a shard that is closed.
    pub(super) is_over: bool,
    pub(super) behind: Duration,
}

impl Shared {
    pub(super) async fn get_records(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let iterator = self.open_iterator(caller, params).await?;
        let stream = self.iterated(caller, params, &iterator)?;
        let shard = stream.shard(iterator.shard);
        let shard = shard
            .ok_or_else(|| super::error::no_shard(&super::state::shard_id(iterator.shard), &stream.name))?;
        let live = self.live(&stream.name)?;
        let is_limited = stream.mode == Mode::Provisioned;
        if is_limited && !live.meter.gives(shard.number, caller.now) {
            return Err(too_fast(&shard.id(), &stream.name));
        }
        let limit = params.get("Limit").and_then(Value::as_u64).unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let asker = asker(caller, &stream);
        let page =
            self.read_shard(&asker, (&stream, shard), iterator.position, limit, READ_SIZE_BYTES_MAX).await?;
        if is_limited {
            let size_bytes: usize = page.records.iter().map(|record| record.data.len()).sum();
            live.meter.gave(shard.number, size_bytes as u64, caller.now);
        }
        self.metrics.got.inc_by(page.records.len() as u64);
        let records: Vec<Value> = page.records.iter().map(|record| shown(&stream, shard, record)).collect();
        let behind = u64::try_from(page.behind.as_millis()).unwrap_or(u64::MAX);
        let mut reply = json!({"Records": records, "MillisBehindLatest": behind});
        if page.is_over {
            reply["ChildShards"] = views::children(&stream, shard.number).into();
        } else {
            let next = self.seal_iterator(caller, (&stream, shard.number), page.next).await?;
            reply["NextShardIterator"] = next.into();
        }
        Ok(reply)
    }

    /// The stream that an iterator is of, which must be good still.
    fn iterated(&self, caller: &Caller, params: &Value, iterator: &Iterator) -> Result<Arc<Stream>, Failure> {
        let name = StreamName::of_arn(&iterator.arn).ok_or_else(|| invalid("Invalid ShardIterator."))?;
        let named = params.get("StreamARN").and_then(Value::as_str);
        if named.is_some_and(|named| named != iterator.arn) {
            return Err(invalid("The ShardIterator is not of the stream that StreamARN names."));
        }
        let stream = self.stream(&name)?;
        if stream.id != iterator.stream_id {
            return Err(super::no_stream(&name));
        }
        if iterator.is_expired(caller.now) {
            return Err(expired_iterator(iterator, caller.now));
        }
        Ok(stream)
    }

    /// Reads a shard from a position on. Records over the retention are passed over.
    pub(super) async fn read_shard(
        &self,
        asker: &Asker,
        (stream, shard): (&Stream, &Shard),
        from: u64,
        records_max: usize,
        size_bytes_max: usize,
    ) -> Result<Page, Failure> {
        let now = self.clock.now();
        let end = shard.closed.map(|closed| closed.end);
        if end.is_some_and(|end| from >= end) {
            return Ok(Page { records: Vec::new(), next: from, is_over: true, behind: Duration::ZERO });
        }
        let key = stream.store_key(shard.number);
        let stored = self.stored(stream, shard, from, records_max, size_bytes_max).await.map_err(of_store)?;
        let next = stored.last().map_or(from, |last| last.position + 1);
        let tip = self.store.bounds(&key).map_err(of_store)?.1;
        let behind = match stored.last() {
            Some(last) if next < tip => now.since(last.arrived_at),
            _ => Duration::ZERO,
        };
        let mut records = Vec::with_capacity(stored.len());
        for stored in stored {
            records.push(self.opened(asker, key.as_str(), &stored).await?);
        }
        Ok(Page { records, next, is_over: end.is_some_and(|end| next >= end), behind })
    }

    async fn stored(
        &self,
        stream: &Stream,
        shard: &Shard,
        from: u64,
        records_max: usize,
        size_bytes_max: usize,
    ) -> Result<Vec<Stored>, StreamError> {
        let (key, kept_since) = (stream.store_key(shard.number), self.kept_since(stream));
        let read = self.store.read(&key, from, records_max, size_bytes_max).await?;
        if read.first().is_none_or(|first| first.arrived_at >= kept_since) {
            return Ok(read);
        }
        let from = self.store.position_at(&key, kept_since).await?.max(from);
        self.store.read(&key, from, records_max, size_bytes_max).await
    }

    /// What arrived earlier is not there any more.
    pub(super) fn kept_since(&self, stream: &Stream) -> Timestamp {
        self.clock.now().minus(Duration::from_secs(u64::from(stream.retention_h) * 3600))
    }

    async fn opened(&self, asker: &Asker, key: &str, stored: &Stored) -> Result<ReadRecord, Failure> {
        let opened = self.cipher.open(asker, key.as_bytes(), &stored.payload, DATA_KEY_REUSE).await;
        let plaintext = opened.map_err(of_kms)?;
        let (partition_key, data) = take_part(&plaintext)?;
        Ok(ReadRecord {
            position: stored.position,
            arrived_at: stored.arrived_at,
            partition_key: String::from_utf8(partition_key.to_vec()).map_err(super::internal)?,
            data: data.to_vec(),
        })
    }
}

/// A record as replies show it.
pub(super) fn shown(stream: &Stream, shard: &Shard, record: &ReadRecord) -> Value {
    let mut shown = json!({
        "SequenceNumber": shard.sequence(record.position, record.arrived_at).to_string(),
        "ApproximateArrivalTimestamp": views::time(record.arrived_at),
        "Data": STANDARD.encode(&record.data),
        "PartitionKey": record.partition_key,
    });
    if stream.kms_key.is_some() {
        shown["EncryptionType"] = "KMS".into();
    }
    shown
}
