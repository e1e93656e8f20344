//! EventBridge: buses, rules and targets, and what becomes of events.

mod archives;
mod cloudtrail;
mod connections;
mod delivery;
mod rules;
mod schedules;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::Clock;
use cairn_services::events::delivery::Delivery;
use cairn_services::events::{Deps, Events, Http, HttpAnswer, HttpRequest};
use cairn_services::sinks::{AsRole, QueueMessage, Roles, SinkFailure, Switchboard};
use cairn_services::sns::delivery::NotDelivered;
use cairn_services::sts::TemporaryCredentials;
use cairn_services::{Caller, Service, authorise};
use cairn_store::Queues;
use cairn_store::lines::Lines;
use cairn_testkit::{fixed_sealer, memory_lines, memory_queues};
use prometheus::Registry;
use serde_json::{Value, json};

use crate::sns::QueuesDouble;
use crate::world::{self, World, call};

/// The longest that a target is waited for, by the clock.
const WAITED_MAX: Duration = Duration::from_secs(3 * 24 * 3600);

/// An HTTP endpoint that keeps what it is asked, and answers as it is told to.
#[derive(Default)]
pub(crate) struct Endpoint {
    asked: Mutex<Vec<HttpRequest>>,
    answers: Mutex<VecDeque<HttpAnswer>>,
}

#[async_trait]
impl Http for Endpoint {
    async fn call(&self, request: &HttpRequest) -> Result<HttpAnswer, NotDelivered> {
        self.asked.lock().unwrap().push(request.clone());
        let well = HttpAnswer { status: 200, ..HttpAnswer::default() };
        Ok(self.answers.lock().unwrap().pop_front().unwrap_or(well))
    }
}

/// EventBridge without anything that it could send to.
pub(crate) fn bare_events_of(world: &World) -> Events {
    let http = Arc::new(Endpoint::default());
    events_of(world, memory_queues(), memory_lines(), http, Switchboard::default())
}

fn events_of(
    world: &World,
    engine: Arc<dyn Queues>,
    lines: Arc<dyn Lines>,
    http: Arc<dyn Http>,
    switchboard: Switchboard,
) -> Events {
    let deps = Deps {
        lines,
        http,
        catalog: world.catalog.clone(),
        queues: engine,
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
        sealer: fixed_sealer(),
        switchboard,
    };
    Events::new(deps, &Registry::new()).unwrap()
}

/// Every role is there, may do everything, and trusts everybody.
struct AnyRole;

#[async_trait]
impl Roles for AnyRole {
    async fn assume(&self, _role: &AsRole) -> Result<Caller, SinkFailure> {
        Ok(owner())
    }

    async fn credentials(
        &self,
        _role: &AsRole,
        _lasts: Duration,
    ) -> Result<TemporaryCredentials, SinkFailure> {
        unreachable!("no target is given credentials")
    }
}

struct Bench {
    world: World,
    engine: Arc<dyn Queues>,
    lines: Arc<dyn Lines>,
    http: Arc<Endpoint>,
    targets: Arc<QueuesDouble>,
    switchboard: Switchboard,
    events: Arc<Events>,
    delivery: Delivery,
}

impl Bench {
    fn new() -> Self {
        let (world, engine, targets) = (World::new(), memory_queues(), Arc::new(QueuesDouble::default()));
        let switchboard = Switchboard::default();
        switchboard.plug_queues(targets.clone());
        switchboard.plug_roles(Arc::new(AnyRole));
        let (lines, http) = (memory_lines(), Arc::new(Endpoint::default()));
        let events =
            Arc::new(events_of(&world, engine.clone(), lines.clone(), http.clone(), switchboard.clone()));
        switchboard.plug_buses(events.clone());
        let delivery = Delivery::new(events.clone());
        Self { world, engine, lines, http, targets, switchboard, events, delivery }
    }

    /// The same, after the server was killed and started again.
    fn restarted(self) -> Self {
        let events = Arc::new(events_of(
            &self.world,
            self.engine.clone(),
            self.lines.clone(),
            self.http.clone(),
            self.switchboard.clone(),
        ));
        Self { delivery: Delivery::new(events.clone()), events, ..self }
    }

    /// A call as the front door does it: `Ok` or `status code: message`.
    async fn by(&self, caller: &Caller, operation: &str, params: Value) -> Result<Value, String> {
        let told =
            |error: cairn_wire::AwsError| format!("{} {}: {}", error.status, error.code, error.message);
        let caller = Caller { now: self.world.clock.now(), ..caller.clone() };
        let call = call("events", operation, params);
        let mut targets = vec![self.events.target(&caller, &call).await.map_err(told)?];
        targets.extend(self.events.further_targets(&caller, &call).await.map_err(told)?);
        targets.iter().try_for_each(|target| authorise::authorise(&caller, target)).map_err(told)?;
        self.events.handle(&caller, call).await.map(|reply| reply.result).map_err(told)
    }

    /// A call of the owner's, who may do everything.
    async fn ok(&self, operation: &str, params: Value) -> Value {
        let shown = params.to_string();
        self.by(&owner(), operation, params)
            .await
            .unwrap_or_else(|error| panic!("{operation} {shown}: {error}"))
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        self.by(&owner(), operation, params).await.expect_err("the call is to be refused")
    }

    /// A rule for events of the source, with a target that is the queue of that name.
    async fn rule(&self, name: &str, source: &str, queue: &str) {
        let pattern = json!({ "source": [source] }).to_string();
        self.ok("PutRule", json!({"Name": name, "EventPattern": pattern})).await;
        self.target(name, json!({"Id": "1", "Arn": queue_arn(queue)})).await;
    }

    async fn target(&self, rule: &str, target: Value) {
        self.ok("PutTargets", json!({"Rule": rule, "Targets": [target]})).await;
    }

    async fn put(&self, source: &str, detail: Value) -> String {
        let entry = json!({"Source": source, "DetailType": "test", "Detail": detail.to_string()});
        let reply = self.ok("PutEvents", json!({"Entries": [entry]})).await;
        assert_eq!(reply["FailedEntryCount"], 0);
        reply["Entries"][0]["EventId"].as_str().unwrap().to_owned()
    }

    /// Pays what is due now.
    async fn pay(&self) -> cairn_core::Timestamp {
        let due = self.delivery.run_once().await.unwrap();
        self.delivery.idle().await;
        due
    }

    /// Takes what the queue of that name was sent.
    fn received(&self, name: &str) -> Vec<QueueMessage> {
        let mut sent = self.targets.sent.lock().unwrap();
        let (own, rest) = sent.drain(..).partition(|(_, arn, _)| *arn == queue_arn(name));
        *sent = rest;
        own.into_iter().map(|(_, _, message): (_, _, QueueMessage)| message).collect()
    }

    /// Pays, and lets the time go by, until the queue has been sent something.
    async fn waited_for(&self, name: &str) -> Vec<QueueMessage> {
        let until = self.world.clock.now().plus(WAITED_MAX);
        while self.world.clock.now() < until {
            self.pay().await;
            let found = self.received(name);
            if !found.is_empty() {
                return found;
            }
            self.world.clock.advance(Duration::from_secs(1));
        }
        panic!("{name} is sent nothing");
    }

    fn fail(&self, name: &str, is_transient: bool, code: &str) {
        let failure = SinkFailure { is_transient, code: code.to_owned(), message: "no".to_owned() };
        self.targets.failing.lock().unwrap().insert(queue_arn(name), failure);
    }

    fn heal(&self, name: &str) {
        self.targets.failing.lock().unwrap().remove(&queue_arn(name));
    }
}

fn body(message: &QueueMessage) -> Value {
    serde_json::from_str(&message.body).unwrap()
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:111122223333:{name}")
}

fn owner() -> Caller {
    world::root(&"111122223333".parse().unwrap())
}

fn stranger() -> Caller {
    world::root(&"444455556666".parse().unwrap())
}
