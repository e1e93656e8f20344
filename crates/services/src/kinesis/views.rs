//! Streams, shards and times as replies show them.

use cairn_core::Timestamp;
use serde_json::{Map, Value, json};

use super::sequence::Sequence;
use super::state::{Shard, Stream, shard_id};

/// A time, in seconds and parts of them.
pub(super) fn time(time: Timestamp) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of the epoch have 41 bits")]
    if time.millis() % 1000 == 0 { time.seconds().into() } else { (time.millis() as f64 / 1000.0).into() }
}

/// A time of a request: seconds, perhaps with parts of them.
pub(super) fn timestamp(value: &Value) -> Option<Timestamp> {
    match value.as_i64() {
        Some(seconds) => Some(Timestamp::from_seconds(seconds)),
        #[allow(clippy::cast_possible_truncation, reason = "Rust's casts of floats stop at the limits")]
        None => value.as_f64().map(|seconds| Timestamp::from_millis((seconds * 1000.0).round() as i64)),
    }
}

pub(super) fn hash_key_range(shard: &Shard) -> Value {
    json!({"StartingHashKey": shard.first.to_string(), "EndingHashKey": shard.last.to_string()})
}

pub(super) fn shard(shard: &Shard) -> Value {
    let start = Sequence::of_start(shard.number, shard.created).to_string();
    let mut sequences = json!({ "StartingSequenceNumber": start });
    if let Some(closed) = shard.closed {
        let end = Sequence::of_end(shard.number, shard.created, closed.at).to_string();
        sequences["EndingSequenceNumber"] = end.into();
    }
    let mut shown = json!({
        "ShardId": shard.id(),
        "HashKeyRange": hash_key_range(shard),
        "SequenceNumberRange": sequences,
    });
    if let Some(parent) = shard.parent {
        shown["ParentShardId"] = shard_id(parent).into();
    }
    if let Some(parent) = shard.adjacent_parent {
        shown["AdjacentParentShardId"] = shard_id(parent).into();
    }
    shown
}

/// The shards that came out of a closed one.
pub(super) fn children(stream: &Stream, of: u32) -> Vec<Value> {
    let is_child = |shard: &&Shard| shard.parent == Some(of) || shard.adjacent_parent == Some(of);
    let child = |shard: &Shard| {
        let parents: Vec<String> =
            [shard.parent, shard.adjacent_parent].into_iter().flatten().map(shard_id).collect();
        json!({"ShardId": shard.id(), "ParentShards": parents, "HashKeyRange": hash_key_range(shard)})
    };
    stream.shards.iter().filter(is_child).map(child).collect()
}

/// What DescribeStream and DescribeStreamSummary have in common.
pub(super) fn stream(stream: &Stream) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("StreamName", stream.name.name.as_str().into());
    put("StreamARN", stream.name.arn().into());
    put("StreamStatus", "ACTIVE".into());
    put("StreamModeDetails", json!({"StreamMode": stream.mode.name()}));
    put("RetentionPeriodHours", stream.retention_h.into());
    put("StreamCreationTimestamp", time(stream.created));
    put("EnhancedMonitoring", json!([{"ShardLevelMetrics": []}]));
    put("EncryptionType", encryption(stream).into());
    if let Some(key) = &stream.kms_key {
        put("KeyId", key.as_str().into());
    }
    shown
}

pub(super) fn encryption(stream: &Stream) -> &'static str {
    if stream.kms_key.is_some() { "KMS" } else { "NONE" }
}
