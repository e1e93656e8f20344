//! SubscribeToShard: records as they come, for five minutes.

use std::time::Duration;

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_wire::event_stream::{Event, Events};
use cairn_wire::{AwsError, Reply};
use serde_json::{Value, json};

use super::consumers::{consumed_stream, named_consumer};
use super::error::{Failure, no_shard};
use super::get::{READ_SIZE_BYTES_MAX, shown};
use super::name::StreamName;
use super::{Kinesis, asker, views};
use crate::Caller;

/// How long a subscription lasts.
const LASTS: Duration = Duration::from_secs(300);
/// How often something is said where no record comes.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The most records of an event.
const EVENT_RECORDS_MAX: usize = 10_000;

/// A subscription under way.
struct Subscription {
    kinesis: Kinesis,
    caller: Caller,
    name: StreamName,
    stream_id: String,
    shard: u32,
    position: u64,
    until: Timestamp,
    is_over: bool,
    is_first: bool,
}

impl Kinesis {
    pub(super) async fn subscribe(&self, caller: &Caller, params: &Value) -> Result<Reply, Failure> {
        let stream = self.stream(&consumed_stream(params)?)?;
        named_consumer(&stream, params)?;
        let shard_id = params.get("ShardId").and_then(Value::as_str).unwrap_or_default();
        let shard = stream.shard_named(shard_id).ok_or_else(|| no_shard(shard_id, &stream.name))?;
        let start = params.get("StartingPosition").unwrap_or(&Value::Null);
        let text = |member: &str| start.get(member).and_then(Value::as_str);
        let kind = text("Type").unwrap_or_default();
        let sequence = text("SequenceNumber");
        let position =
            self.starting_position(caller, (&stream, shard), kind, sequence, start.get("Timestamp")).await?;
        let subscription = Subscription {
            kinesis: self.clone(),
            caller: caller.clone(),
            name: stream.name.clone(),
            stream_id: stream.id.clone(),
            shard: shard.number,
            position,
            until: caller.now.plus(LASTS),
            is_over: false,
            is_first: true,
        };
        Ok(Reply { result: json!({}), events: Some(Box::new(subscription)), ..Reply::default() })
    }
}

impl Subscription {
    async fn event(&mut self) -> Result<Event, Failure> {
        let stream = self.kinesis.stream(&self.name)?;
        let found = stream.shard(self.shard).filter(|_| stream.id == self.stream_id);
        let shard = found.ok_or_else(|| no_shard(&super::state::shard_id(self.shard), &self.name))?;
        let caller = Caller { now: self.kinesis.clock.now(), ..self.caller.clone() };
        let asker = asker(&caller, &stream);
        let from = self.position;
        let page = self
            .kinesis
            .read_shard(&asker, (&stream, shard), from, EVENT_RECORDS_MAX, READ_SIZE_BYTES_MAX)
            .await?;
        let last = page.records.last().map(|record| shard.sequence(record.position, record.arrived_at));
        let continuation = last.unwrap_or_else(|| match from.checked_sub(1) {
            Some(before) => shard.sequence(before, shard.created),
            None => super::sequence::Sequence::of_start(shard.number, shard.created),
        });
        self.position = page.next;
        self.is_over = page.is_over;
        self.kinesis.metrics.got.inc_by(page.records.len() as u64);
        let records: Vec<Value> = page.records.iter().map(|record| shown(&stream, shard, record)).collect();
        let mut value = json!({
            "Records": records,
            "ContinuationSequenceNumber": continuation.to_string(),
            "MillisBehindLatest": u64::try_from(page.behind.as_millis()).unwrap_or(u64::MAX),
        });
        if page.is_over {
            value["ChildShards"] = views::children(&stream, self.shard).into();
        }
        Ok(Event { name: "SubscribeToShardEvent", value })
    }

    /// Waits for a record, or until it is time to say something all the same. Whether it is worth it.
    async fn wait(&self) -> bool {
        let beat = self.kinesis.clock.now().plus(HEARTBEAT).min(self.until);
        loop {
            let seen = self.kinesis.arrivals();
            let is_there = self.kinesis.stream(&self.name).is_ok_and(|stream| {
                let bounds = self.kinesis.store.bounds(&stream.store_key(self.shard));
                let is_closed = stream.shard(self.shard).is_none_or(|shard| shard.closed.is_some());
                is_closed || bounds.is_ok_and(|(_, end)| end > self.position)
            });
            if is_there || self.kinesis.clock.now() >= beat || self.kinesis.pause.is_in_vain() {
                return !self.kinesis.pause.is_in_vain();
            }
            tokio::select! {
                () = self.kinesis.wait_past(seen) => {}
                () = self.kinesis.pause.until(beat) => {}
            }
        }
    }
}

#[async_trait]
impl Events for Subscription {
    async fn next(&mut self) -> Option<Result<Event, AwsError>> {
        if self.is_over || self.kinesis.clock.now() >= self.until {
            return None;
        }
        if !std::mem::take(&mut self.is_first) && !self.wait().await {
            return None;
        }
        let event = self.event().await.map_err(AwsError::from);
        self.is_over |= event.is_err();
        Some(event)
    }
}
