//! Kinesis over streams in memory: what its clients see, on a clock that is set.

mod reading;
mod rights;
mod shards;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Clock;
use cairn_services::Caller;
use cairn_services::kinesis::Kinesis;
use cairn_store::Streams;
use cairn_testkit::memory_streams;
use serde_json::{Value, json};

use crate::world::{self, World, refusal};

/// The account that the streams are in.
const ACCOUNT: &str = "111122223333";

struct Bench {
    world: World,
    store: Arc<dyn Streams>,
    kinesis: Kinesis,
}

impl Bench {
    async fn new() -> Self {
        let (world, store) = (World::new(), memory_streams());
        let kinesis = world.kinesis_over(store.clone()).await;
        Self { world, store, kinesis }
    }

    /// One with the stream `s`.
    async fn with_stream(shards: u32) -> Self {
        let bench = Self::new().await;
        bench.send("CreateStream", json!({"StreamName": "s", "ShardCount": shards})).await;
        bench
    }

    fn root_of(&self, account: &str) -> Caller {
        Caller { now: self.world.clock.now(), ..world::root(&account.parse().unwrap()) }
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        let sent = world::send(&self.kinesis, &self.root_of(ACCOUNT), operation, params.clone()).await;
        sent.unwrap_or_else(|error| panic!("{operation} {params}: {error}"))
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        refusal(&self.kinesis, &self.root_of(ACCOUNT), operation, params).await
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }

    async fn put(&self, key: &str, data: &str) -> Value {
        let data = STANDARD.encode(data);
        self.send("PutRecord", json!({"StreamName": "s", "PartitionKey": key, "Data": data})).await
    }

    async fn iterator(&self, shard: u32, kind: &str) -> String {
        self.iterator_with(shard, json!({"ShardIteratorType": kind})).await
    }

    async fn iterator_with(&self, shard: u32, start: Value) -> String {
        let mut params = json!({"StreamName": "s", "ShardId": shard_id(shard)});
        params.as_object_mut().unwrap().extend(start.as_object().unwrap().clone());
        self.send("GetShardIterator", params).await["ShardIterator"].as_str().unwrap().to_owned()
    }

    async fn page(&self, iterator: &str) -> Value {
        self.send("GetRecords", json!({"ShardIterator": iterator})).await
    }

    /// What a shard's records say, from the first on.
    async fn said(&self, shard: u32) -> Vec<String> {
        said(&self.page(&self.iterator(shard, "TRIM_HORIZON").await).await)
    }

    async fn shards(&self, filter: Value) -> Vec<String> {
        let listed = self.send("ListShards", json!({"StreamName": "s", "ShardFilter": filter})).await;
        let ids = listed["Shards"].as_array().unwrap().iter();
        ids.map(|shard| shard["ShardId"].as_str().unwrap()[18..].to_owned()).collect()
    }
}

fn said(page: &Value) -> Vec<String> {
    let records = page["Records"].as_array().unwrap().iter();
    let data = records.map(|record| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap());
    data.map(|data| String::from_utf8(data).unwrap()).collect()
}

fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

fn arn(name: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{name}")
}
