//! Making, describing, listing and deleting streams.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, fail, invalid, of_store, over_limit};
use super::hash_key::{HashKey, boundary};
use super::name::StreamName;
use super::state::{Mode, STREAMS, Shard, Stream};
use super::tags::check_tags;
use super::{Shared, views};
use crate::Caller;

/// How many shards a stream has that nobody says a number of.
const ON_DEMAND_SHARDS: u32 = 4;
/// The most open shards of an account in a region.
pub(super) const OPEN_SHARDS_MAX: usize = 500;
/// The most streams on demand of an account in a region.
const ON_DEMAND_STREAMS_MAX: usize = 50;
/// How long records are kept where nobody says how long.
const RETENTION_DEFAULT_H: u32 = 24;
/// What ids are made of: `abcdefghij0123456789-abc`.
const ID_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// How many streams, and shards of one, are shown at a time where nobody says.
const PAGE_DEFAULT: usize = 100;
/// The largest record, in KiB.
const RECORD_SIZE_KIB_MAX: u32 = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStream {
    stream_name: String,
    shard_count: Option<u32>,
    stream_mode_details: Option<StreamModeDetails>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    warm_throughput_mi_bps: Option<u32>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamModeDetails {
    pub(super) stream_mode: String,
}

impl StreamModeDetails {
    pub(super) fn mode(&self) -> Mode {
        if self.stream_mode == "ON_DEMAND" { Mode::OnDemand } else { Mode::Provisioned }
    }
}

/// The params as a handler's own type.
pub(super) fn parse<'de, T: Deserialize<'de>>(params: &'de Value) -> Result<T, Failure> {
    T::deserialize(params).map_err(|error| fail("ValidationException", error.to_string()))
}

impl Shared {
    pub(super) async fn create_stream(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let asked: CreateStream = parse(params)?;
        let mode = asked.stream_mode_details.as_ref().map_or(Mode::Provisioned, StreamModeDetails::mode);
        let shards = match (mode, asked.shard_count) {
            (Mode::OnDemand, Some(_)) => {
                return Err(invalid("ShardCount must not be set for an ON_DEMAND stream."));
            }
            (Mode::OnDemand, None) => ON_DEMAND_SHARDS,
            (Mode::Provisioned, Some(count)) => count,
            (Mode::Provisioned, None) => {
                return Err(invalid("ShardCount must be set for a PROVISIONED stream."));
            }
        };
        if asked.warm_throughput_mi_bps.is_some() {
            return Err(invalid("Warm throughput is not supported."));
        }
        if asked.max_record_size_in_kib.is_some_and(|size| size != RECORD_SIZE_KIB_MAX) {
            return Err(invalid(format!("The maximum record size is {RECORD_SIZE_KIB_MAX} KiB.")));
        }
        check_tags(&asked.tags)?;
        let name = StreamName::own(caller, &asked.stream_name);
        let _changing = self.changing.lock().await;
        if self.find(&name).is_some() {
            let message = format!("Stream {} under account {} already exists.", name.name, name.account);
            return Err(fail("ResourceInUseException", message));
        }
        self.check_room(caller, shards as usize, mode)?;
        let stream = self.new_stream(caller, name, mode, shards, asked.tags);
        // A crash in between leaves shards that no stream has, which the next start removes.
        self.make_shards(&stream).await?;
        self.keep(&stream).await?;
        self.show(&stream.name.clone(), Some(stream));
        Ok(json!({}))
    }

    fn new_stream(
        &self,
        caller: &Caller,
        name: StreamName,
        mode: Mode,
        shards: u32,
        tags: BTreeMap<String, String>,
    ) -> Stream {
        let last = |number| {
            if number + 1 == shards { HashKey::MAX } else { HashKey(boundary(number + 1, shards).0 - 1) }
        };
        let shard = |number| Shard {
            number,
            first: boundary(number, shards),
            last: last(number),
            created: caller.now,
            parent: None,
            adjacent_parent: None,
            closed: None,
        };
        let id = [self.entropy.text(ID_ALPHABET, 20), self.entropy.text(ID_ALPHABET, 3)].join("-");
        Stream {
            name,
            id,
            created: caller.now,
            mode,
            retention_h: RETENTION_DEFAULT_H,
            kms_key: None,
            shards: (0..shards).map(shard).collect(),
            next_shard: shards,
            consumers: Vec::new(),
            tags,
            policy: None,
        }
    }

    /// Refuses what would be more open shards, or more streams on demand, than an account can have.
    pub(super) fn check_room(&self, caller: &Caller, more: usize, mode: Mode) -> Result<(), Failure> {
        let own = self.own(caller);
        let open: usize = own.iter().map(|stream| stream.open_shards().count()).sum();
        if open + more > OPEN_SHARDS_MAX {
            let (account, region) = (&caller.account, &caller.region);
            return Err(over_limit(format!(
                "This request would exceed the shard limit for the account {account} in {region}. Current shard count \
                 for the account: {open}. Limit: {OPEN_SHARDS_MAX}. Number of additional shards that would have \
                 resulted from this request: {more}."
            )));
        }
        if mode == Mode::OnDemand && on_demand(&own) >= ON_DEMAND_STREAMS_MAX {
            return Err(over_limit(format!(
                "An account can have {ON_DEMAND_STREAMS_MAX} streams on demand."
            )));
        }
        Ok(())
    }

    pub(super) async fn delete_stream(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let enforced = params.get("EnforceConsumerDeletion").and_then(Value::as_bool).unwrap_or(false);
        let _changing = self.changing.lock().await;
        let live = self.live(&name)?;
        if !live.stream.consumers.is_empty() && !enforced {
            let message = format!(
                "Stream {} under account {} has consumers registered to it. Deregister them first.",
                name.name, name.account
            );
            return Err(fail("ResourceInUseException", message));
        }
        let _closed = live.gate.write().await;
        let row = name.row();
        self.catalog.write(move |tx| STREAMS.delete(tx, row.bytes())).await?;
        self.show(&name, None);
        for shard in live.stream.shards.iter().filter(|shard| shard.has_records()) {
            // What stays is removed at the next start.
            self.store.remove(&live.stream.store_key(shard.number)).await.map_err(of_store)?;
        }
        Ok(json!({}))
    }

    pub(super) fn describe_stream(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&StreamName::of_params(caller, params)?)?;
        let limit = limit_of(params, "Limit");
        let after = params.get("ExclusiveStartShardId").and_then(Value::as_str);
        let mut left =
            stream.shards.iter().filter(|shard| after.is_none_or(|after| shard.id().as_str() > after));
        let shards: Vec<Value> = left.by_ref().take(limit).map(views::shard).collect();
        let mut shown = views::stream(&stream);
        shown.insert("Shards".to_owned(), shards.into());
        shown.insert("HasMoreShards".to_owned(), left.next().is_some().into());
        Ok(json!({ "StreamDescription": shown }))
    }

    pub(super) fn describe_summary(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&StreamName::of_params(caller, params)?)?;
        let mut shown = views::stream(&stream);
        shown.insert("StreamId".to_owned(), stream.id.as_str().into());
        shown.insert("OpenShardCount".to_owned(), stream.open_shards().count().into());
        shown.insert("ConsumerCount".to_owned(), stream.consumers.len().into());
        shown.insert("MaxRecordSizeInKiB".to_owned(), RECORD_SIZE_KIB_MAX.into());
        Ok(json!({ "StreamDescriptionSummary": shown }))
    }

    pub(super) fn list_streams(&self, caller: &Caller, params: &Value) -> Value {
        let after = ["NextToken", "ExclusiveStartStreamName"];
        let after = after.into_iter().find_map(|member| params.get(member)?.as_str());
        let own = self.own(caller);
        let mut left =
            own.iter().filter(|stream| after.is_none_or(|after| stream.name.name.as_str() > after));
        let page: Vec<_> = left.by_ref().take(limit_of(params, "Limit")).collect();
        let has_more = left.next().is_some();
        let summary = |stream: &&std::sync::Arc<Stream>| {
            json!({
                "StreamName": stream.name.name,
                "StreamARN": stream.name.arn(),
                "StreamStatus": "ACTIVE",
                "StreamModeDetails": {"StreamMode": stream.mode.name()},
                "StreamCreationTimestamp": views::time(stream.created),
            })
        };
        let mut shown = json!({
            "StreamNames": page.iter().map(|stream| stream.name.name.as_str()).collect::<Vec<_>>(),
            "HasMoreStreams": has_more,
            "StreamSummaries": page.iter().map(summary).collect::<Vec<_>>(),
        });
        if let (true, Some(last)) = (has_more, page.last()) {
            shown["NextToken"] = last.name.name.as_str().into();
        }
        shown
    }

    pub(super) fn describe_limits(&self, caller: &Caller) -> Value {
        let own = self.own(caller);
        json!({
            "ShardLimit": OPEN_SHARDS_MAX,
            "OpenShardCount": own.iter().map(|stream| stream.open_shards().count()).sum::<usize>(),
            "OnDemandStreamCount": on_demand(&own),
            "OnDemandStreamCountLimit": ON_DEMAND_STREAMS_MAX,
        })
    }
}

fn on_demand(streams: &[std::sync::Arc<Stream>]) -> usize {
    streams.iter().filter(|stream| stream.mode == Mode::OnDemand).count()
}

/// How many a page has.
pub(super) fn limit_of(params: &Value, member: &str) -> usize {
    let asked = params.get(member).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    asked.unwrap_or(PAGE_DEFAULT)
}
