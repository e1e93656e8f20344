//! CloudWatch Logs over lines in memory: what its clients see, on a clock that is set.

mod events;
mod export;
mod filters;
mod groups;
mod keys;
mod live_tail;
mod policies;
mod queries;
mod sink;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use cairn_core::Clock;
use cairn_services::Caller;
use cairn_services::logs::{Deps, Logs};
use cairn_services::sinks::Switchboard;
use cairn_store::lines::Lines;
use cairn_testkit::{memory_lines, memory_log};
use prometheus::Registry;
use serde_json::{Value, json};

use crate::world::{self, World, refusal};

/// The account that the groups are in.
pub(crate) const ACCOUNT: &str = "111122223333";
const DAY_MS: i64 = 24 * 3600 * 1000;

pub(crate) fn logs_of(world: &World, lines: Arc<dyn Lines>) -> Logs {
    logs_sending(world, lines, Switchboard::default())
}

/// The same, plugged in to where it sends.
fn logs_sending(world: &World, lines: Arc<dyn Lines>, switchboard: Switchboard) -> Logs {
    let deps = Deps {
        catalog: world.catalog.clone(),
        lines,
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
        data_keys: Arc::new(world.kms(memory_log())),
        switchboard,
        pause: world.pause(),
    };
    Logs::new(deps, &Registry::new()).unwrap()
}

struct Bench {
    world: World,
    lines: Arc<dyn Lines>,
    logs: Logs,
}

impl Bench {
    fn new() -> Self {
        let (world, lines) = (World::new(), memory_lines());
        let logs = logs_of(&world, Arc::clone(&lines));
        Self { world, lines, logs }
    }

    /// A bench with the group `g` and its stream `s`.
    async fn with_stream() -> Self {
        let bench = Self::new();
        bench.send("CreateLogGroup", json!({"logGroupName": "g"})).await;
        bench.stream("s").await;
        bench
    }

    /// The root of the account, calling now.
    fn root(&self) -> Caller {
        Caller { now: self.world.clock.now(), ..world::root(&ACCOUNT.parse().unwrap()) }
    }

    fn now_ms(&self) -> i64 {
        self.world.clock.now().millis()
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        let sent = world::send(&self.logs, &self.root(), operation, params.clone()).await;
        sent.unwrap_or_else(|error| panic!("{operation} {params}: {error}"))
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        refusal(&self.logs, &self.root(), operation, params).await
    }

    async fn stream(&self, name: &str) {
        self.send("CreateLogStream", json!({"logGroupName": "g", "logStreamName": name})).await;
    }

    /// Puts lines, each with how long ago it was, in milliseconds.
    async fn put(&self, stream: &str, lines: &[(i64, &str)]) -> Value {
        let now = self.now_ms();
        let events = lines.iter().map(|(age, text)| json!({"timestamp": now - age, "message": text}));
        let params = json!({"logGroupName": "g", "logStreamName": stream,
            "logEvents": events.collect::<Vec<_>>()});
        self.send("PutLogEvents", params).await
    }

    /// The messages of a stream, from its head.
    async fn messages(&self, stream: &str) -> Vec<String> {
        let params = json!({"logGroupName": "g", "logStreamName": stream, "startFromHead": true});
        messages(&self.send("GetLogEvents", params).await)
    }
}

fn messages(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn group_arn(name: &str) -> String {
    format!("arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{name}")
}
