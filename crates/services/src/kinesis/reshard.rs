//! Splitting and merging shards.
//!
//! A shard that is split or merged is closed, and others take its hash keys. UpdateShardCount is splits and merges, so
//! that every shard has one or two parents, as consumers want it; what comes about only in between is closed without a
//! record.

use cairn_core::Timestamp;
use serde_json::{Value, json};

use super::Shared;
use super::error::{Failure, invalid, no_shard, of_store, over_limit};
use super::hash_key::{HashKey, boundary};
use super::name::StreamName;
use super::state::{Closed, Mode, Shard, Stream};
use crate::Caller;

impl Shared {
    pub(super) async fn split_shard(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let text = |member: &str| params.get(member).and_then(Value::as_str).unwrap_or_default();
        let (shard_id, key) = (text("ShardToSplit"), text("NewStartingHashKey"));
        self.check_room(caller, 1, Mode::Provisioned)?;
        self.reshard(&name, |stream| {
            check_provisioned(stream)?;
            let shard = open_shard(stream, shard_id)?;
            let key = HashKey::parse(key).filter(|key| shard.first < *key && *key <= shard.last);
            let key = key.ok_or_else(|| {
                invalid(format!(
                    "NewStartingHashKey {} used in SplitShard() on shard {shard_id} in stream {} under account {} is not \
                     both greater than one plus the shard's StartingHashKey and less than the shard's EndingHashKey.",
                    text("NewStartingHashKey"),
                    name.name,
                    name.account
                ))
            })?;
            split(stream, shard.number, key, caller.now);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn merge_shards(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let text = |member: &str| params.get(member).and_then(Value::as_str).unwrap_or_default();
        let (one, other) = (text("ShardToMerge"), text("AdjacentShardToMerge"));
        self.reshard(&name, |stream| {
            check_provisioned(stream)?;
            let (one, other) = (open_shard(stream, one)?, open_shard(stream, other)?);
            let (low, high) = if one.first <= other.first { (&one, &other) } else { (&other, &one) };
            if low.last.0.checked_add(1) != Some(high.first.0) {
                return Err(invalid(format!(
                    "Shards {} and {} in stream {} under account {} are not an adjacent pair of shards eligible for \
                     merging.",
                    one.id(),
                    other.id(),
                    name.name,
                    name.account
                )));
            }
            merge(stream, one.number, other.number, caller.now);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn update_shard_count(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let target = params.get("TargetShardCount").and_then(Value::as_u64);
        let target = target.and_then(|target| u32::try_from(target).ok()).unwrap_or(u32::MAX);
        let current = self.stream(&name)?.open_shards().count();
        if let Some(more) = (target as usize).checked_sub(current) {
            self.check_room(caller, more, Mode::Provisioned)?;
        }
        self.reshard(&name, |stream| {
            check_provisioned(stream)?;
            let current = stream.open_shards().count();
            if target as usize > 2 * current || 2 * (target as usize) < current {
                let bound = if target as usize > current { "higher than double" } else { "lower than half" };
                return Err(over_limit(format!(
                    "UpdateShardCount cannot scale to {target}, which is {bound} the current open shard count \
                     {current}."
                )));
            }
            spread(stream, target, caller.now);
            Ok(())
        })
        .await?;
        Ok(json!({
            "StreamName": name.name,
            "CurrentShardCount": current,
            "TargetShardCount": target,
            "StreamARN": name.arn(),
        }))
    }

    /// Changes the shards of a stream while nobody puts.
    async fn reshard(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Stream) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let live = self.live(name)?;
        let _closed = live.gate.write().await;
        let before = self.stream(name)?;
        let mut stream = Stream::clone(&before);
        change(&mut stream)?;
        for shard in &mut stream.shards {
            // What there was before has had its last record; what is new and closed already has none.
            let Some(closed) = &mut shard.closed else { continue };
            if before.shard(shard.number).is_some_and(|before| before.closed.is_none()) {
                closed.end = self.store.bounds(&before.store_key(shard.number)).map_err(of_store)?.1;
            }
        }
        self.make_shards(&stream).await?;
        self.keep(&stream).await?;
        self.show(name, Some(stream));
        for shard in before.open_shards() {
            // A shard that ends without a record has nothing to keep. What stays is removed at the next start.
            let now = self.stream(name)?;
            if now.shard(shard.number).is_some_and(|shard| !shard.has_records()) {
                self.store.remove(&before.store_key(shard.number)).await.map_err(of_store)?;
            }
        }
        Ok(())
    }
}

fn check_provisioned(stream: &Stream) -> Result<(), Failure> {
    if stream.mode == Mode::OnDemand {
        return Err(invalid("The shards of an ON_DEMAND stream cannot be changed."));
    }
    Ok(())
}

fn open_shard(stream: &Stream, shard_id: &str) -> Result<Shard, Failure> {
    let shard = stream.shard_named(shard_id).ok_or_else(|| no_shard(shard_id, &stream.name))?;
    if shard.closed.is_some() {
        return Err(invalid(format!(
            "Shard {shard_id} in stream {} under account {} is already closed.",
            stream.name.name, stream.name.account
        )));
    }
    Ok(shard.clone())
}

fn close(stream: &mut Stream, number: u32, now: Timestamp) -> Option<Shard> {
    let shard = stream.shards.iter_mut().find(|shard| shard.number == number)?;
    shard.closed = Some(Closed { at: now, end: 0 });
    Some(shard.clone())
}

fn open(
    stream: &mut Stream,
    (first, last): (HashKey, HashKey),
    (parent, adjacent_parent): (u32, Option<u32>),
    now: Timestamp,
) {
    let number = stream.next_shard;
    stream.next_shard += 1;
    let parent = Some(parent);
    stream.shards.push(Shard { number, first, last, created: now, parent, adjacent_parent, closed: None });
}

/// Splits an open shard in two, of which the second begins at `at`.
fn split(stream: &mut Stream, number: u32, at: HashKey, now: Timestamp) {
    let Some(shard) = close(stream, number, now) else { return };
    open(stream, (shard.first, HashKey(at.0 - 1)), (number, None), now);
    open(stream, (at, shard.last), (number, None), now);
}

/// Merges two open shards that are neighbours.
fn merge(stream: &mut Stream, one: u32, other: u32, now: Timestamp) {
    let (Some(a), Some(b)) = (close(stream, one, now), close(stream, other, now)) else { return };
    open(stream, (a.first.min(b.first), a.last.max(b.last)), (one, Some(other)), now);
}

/// Splits and merges until there are `target` open shards of the same size.
fn spread(stream: &mut Stream, target: u32, now: Timestamp) {
    let starts: Vec<HashKey> = (0..target).map(|at| boundary(at, target)).collect();
    for start in &starts {
        let inside = stream.open_shards().find(|shard| shard.first < *start && *start <= shard.last);
        if let Some(number) = inside.map(|shard| shard.number) {
            split(stream, number, *start, now);
        }
    }
    for (at, start) in starts.iter().enumerate() {
        let last = starts.get(at + 1).map_or(HashKey::MAX, |next| HashKey(next.0 - 1));
        loop {
            let mut pieces: Vec<&Shard> =
                stream.open_shards().filter(|shard| *start <= shard.first && shard.last <= last).collect();
            pieces.sort_by_key(|shard| shard.first);
            let [one, other, ..] = pieces[..] else { break };
            let (one, other) = (one.number, other.number);
            merge(stream, one, other, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn stream(shards: u32) -> Stream {
        let name = "arn:aws:kinesis:eu-west-1:111122223333:stream/s";
        let mut stream = Stream {
            name: StreamName::of_arn(name).unwrap(),
            id: "i".into(),
            created: Timestamp::EPOCH,
            mode: Mode::Provisioned,
            retention_h: 24,
            kms_key: None,
            shards: Vec::new(),
            next_shard: 1,
            consumers: Vec::new(),
            tags: BTreeMap::new(),
            policy: None,
        };
        stream.shards.push(Shard {
            number: 0,
            first: HashKey(0),
            last: HashKey::MAX,
            created: Timestamp::EPOCH,
            parent: None,
            adjacent_parent: None,
            closed: None,
        });
        spread(&mut stream, shards, Timestamp::EPOCH);
        stream
    }

    #[test]
    fn shards_are_spread_evenly_from_any_number_to_any_other() {
        for from in 1..12 {
            for to in 1..12 {
                let mut stream = stream(from);
                spread(&mut stream, to, Timestamp::EPOCH);
                let mut open: Vec<&Shard> = stream.open_shards().collect();
                open.sort_by_key(|shard| shard.first);
                let ranges: Vec<_> = open.iter().map(|shard| (shard.first, shard.last)).collect();
                let end = |at| if at + 1 == to { HashKey::MAX } else { HashKey(boundary(at + 1, to).0 - 1) };
                let expected: Vec<_> = (0..to).map(|at| (boundary(at, to), end(at))).collect();
                assert_eq!(ranges, expected, "{from} to {to}");
                for shard in &stream.shards[1..] {
                    let parents: Vec<&Shard> = [shard.parent, shard.adjacent_parent]
                        .into_iter()
                        .flatten()
                        .map(|number| stream.shard(number).unwrap())
                        .collect();
                    assert!(
                        parents.iter().all(|parent| parent.closed.is_some() && parent.number < shard.number)
                    );
                    assert!(
                        parents.iter().any(|parent| parent.first <= shard.last && shard.first <= parent.last)
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_number_changes_nothing() {
        let mut stream = stream(5);
        let before = stream.clone();
        spread(&mut stream, 5, Timestamp::EPOCH);
        assert_eq!(stream, before);
    }
}
