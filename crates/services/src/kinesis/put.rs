//! PutRecord and PutRecords.
//!
//! On the road: a record's hash key finds its shard; it is sealed, and appended to the shard in the store; the reply
//! follows when it is durable. The records of one call go to their shards side by side, so each has a result of its own.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_wire::AwsError;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, invalid, of_store, too_fast};
use super::hash_key::HashKey;
use super::name::StreamName;
use super::state::{Mode, Shard, Stream, shard_id};
use super::streams::parse;
use super::{Live, Shared, asker, views};
use crate::Caller;
use crate::at_rest::{SealingKey, put_part, tag_bytes};
use crate::kms::Asker;

/// The largest record: its data and its partition key.
pub(super) const RECORD_SIZE_BYTES_MAX: usize = 1 << 20;
/// The largest call of PutRecords.
const CALL_SIZE_BYTES_MAX: usize = 5 << 20;

/// A record to put.
#[derive(Clone, Debug)]
pub(super) struct NewRecord {
    pub(super) partition_key: String,
    pub(super) explicit_hash_key: Option<String>,
    pub(super) data: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    partition_key: String,
    explicit_hash_key: Option<String>,
    data: String,
}

impl Entry {
    fn record(self) -> Result<NewRecord, Failure> {
        let data = STANDARD.decode(self.data).map_err(|_| invalid("The data is not base64."))?;
        let Self { partition_key, explicit_hash_key, .. } = self;
        Ok(NewRecord { partition_key, explicit_hash_key, data: data.into() })
    }
}

/// Where a record was put.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    shard_id: String,
    sequence: String,
}

impl Shared {
    pub(super) async fn put_record(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let live = self.live(&StreamName::of_params(caller, params)?)?;
        let record = parse::<Entry>(params)?.record()?;
        check_size(&record)?;
        let asker = asker(caller, &live.stream);
        let mut outcomes = self.put_all(&live, &asker, vec![record]).await?;
        let placed = outcomes.pop().unwrap_or_else(|| Err(super::internal("no record was put")))?;
        let mut shown = json!({"ShardId": placed.shard_id, "SequenceNumber": placed.sequence});
        shown["EncryptionType"] = views::encryption(&live.stream).into();
        Ok(shown)
    }

    pub(super) async fn put_records(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let live = self.live(&StreamName::of_params(caller, params)?)?;
        let entries = params.get("Records").map(parse::<Vec<Entry>>).transpose()?.unwrap_or_default();
        let records = entries.into_iter().map(Entry::record).collect::<Result<Vec<_>, _>>()?;
        records.iter().try_for_each(check_size)?;
        if records.iter().map(NewRecord::size_bytes).sum::<usize>() > CALL_SIZE_BYTES_MAX {
            return Err(invalid("Records size exceeds 5 MB limit"));
        }
        let outcomes = self.put_all(&live, &asker(caller, &live.stream), records).await?;
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        let shown: Vec<Value> = outcomes.into_iter().map(shown).collect();
        Ok(json!({
            "FailedRecordCount": failed,
            "Records": shown,
            "EncryptionType": views::encryption(&live.stream),
        }))
    }

    /// Puts records into their shards: a result for each, in their order.
    pub(super) async fn put_all(
        &self,
        live: &Live,
        asker: &Asker,
        records: Vec<NewRecord>,
    ) -> Result<Vec<Result<Placed, Failure>>, Failure> {
        // No shard is closed from here until the records are durable.
        let _open = live.gate.read().await;
        let stream = self.stream(&live.stream.name)?;
        if stream.id != live.stream.id {
            return Err(super::no_stream(&stream.name));
        }
        let sealing = self.sealing_key(asker, &stream).await?;
        let now = self.clock.now();
        let mut outcomes: Vec<Option<Result<Placed, Failure>>> = Vec::with_capacity(records.len());
        let mut by_shard: BTreeMap<u32, Batch> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            outcomes.push(None);
            match take(live, &stream, &sealing, record, now) {
                Ok((shard, sealed)) => {
                    let batch = by_shard.entry(shard.number).or_default();
                    batch.places.push(at);
                    batch.sealed.push(sealed);
                }
                Err(failure) => outcomes[at] = Some(Err(failure)),
            }
        }
        let appends = by_shard.into_iter().map(|(shard, batch)| self.append(&stream, shard, batch, now));
        for (at, outcome) in join_all(appends).await.into_iter().flatten() {
            outcomes[at] = Some(outcome);
        }
        self.arrivals.send_modify(|times| *times += 1);
        let outcomes = outcomes.into_iter();
        let outcomes: Vec<_> = outcomes.map(|outcome| outcome.unwrap_or_else(|| Err(lost()))).collect();
        self.count(&outcomes);
        Ok(outcomes)
    }

    async fn append(
        &self,
        stream: &Stream,
        number: u32,
        batch: Batch,
        now: Timestamp,
    ) -> Vec<(usize, Result<Placed, Failure>)> {
        let appended = self.store.append(&stream.store_key(number), batch.sealed, now).await;
        let Some(shard) = stream.shard(number) else { return Vec::new() };
        match appended {
            Ok(first) => {
                let placed = |position| {
                    let sequence = shard.sequence(position, now).to_string();
                    Ok(Placed { shard_id: shard_id(number), sequence })
                };
                batch.places.into_iter().zip(first..).map(|(at, position)| (at, placed(position))).collect()
            }
            Err(error) => {
                let error = AwsError::from(of_store(error));
                tracing::error!(%error, shard = number, stream = stream.name.arn(), "records were not kept");
                let same = || AwsError::with_status(error.status, error.code.clone(), error.message.clone());
                batch.places.into_iter().map(|at| (at, Err(same().into()))).collect()
            }
        }
    }

    fn count(&self, outcomes: &[Result<Placed, Failure>]) {
        let put = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.metrics.put.inc_by(put as u64);
        for failure in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            let Failure::Refused(error) = failure else { continue };
            self.metrics.refused.with_label_values(&[&*error.code]).inc();
        }
    }
}

/// Records for one shard, with their places in the call.
#[derive(Default)]
struct Batch {
    places: Vec<usize>,
    sealed: Vec<Bytes>,
}

impl NewRecord {
    pub(super) fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

fn lost() -> Failure {
    super::internal("a record has no result")
}

/// The shard that takes the record, and the record as it is kept.
fn take<'a>(
    live: &Live,
    stream: &'a Stream,
    sealing: &SealingKey,
    record: &NewRecord,
    now: Timestamp,
) -> Result<(&'a Shard, Bytes), Failure> {
    let key = match &record.explicit_hash_key {
        None => HashKey::of_partition(&record.partition_key),
        Some(text) => HashKey::parse(text).ok_or_else(|| {
            invalid(format!("Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"))
        })?,
    };
    let shard = stream.shard_for(key).ok_or_else(|| super::internal("no shard takes the hash key"))?;
    if stream.mode == Mode::Provisioned && !live.meter.takes(shard.number, record.size_bytes(), now) {
        return Err(too_fast(&shard.id(), &stream.name));
    }
    let mut plaintext = Vec::with_capacity(4 + record.size_bytes() + tag_bytes());
    put_part(&mut plaintext, record.partition_key.as_bytes())?;
    plaintext.extend_from_slice(&record.data);
    Ok((shard, sealing.seal(stream.store_key(shard.number).as_str().as_bytes(), plaintext)?))
}

pub(super) fn check_size(record: &NewRecord) -> Result<(), Failure> {
    if record.size_bytes() > RECORD_SIZE_BYTES_MAX {
        return Err(invalid(format!(
            "Record size {} bytes exceeds the maximum of {RECORD_SIZE_BYTES_MAX} bytes.",
            record.size_bytes()
        )));
    }
    Ok(())
}

fn shown(outcome: Result<Placed, Failure>) -> Value {
    match outcome {
        Ok(placed) => json!({"ShardId": placed.shard_id, "SequenceNumber": placed.sequence}),
        Err(failure) => {
            let error = AwsError::from(failure);
            let code = if error.status >= 500 { "InternalFailure" } else { &*error.code };
            json!({"ErrorCode": code, "ErrorMessage": error.message})
        }
    }
}
