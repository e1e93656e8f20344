//! SNS: topics, who may do what with them, and what becomes of what is published.

mod fifo;
mod publish;
mod subscriptions;
mod topics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cairn_core::Principal;
use cairn_core::policy::{NamedPolicy, Rights};
use cairn_services::sinks::{QueueMessage, QueueSink, SinkFailure, Source};
use cairn_services::sns::delivery::{Delivery, DeliveryParts, NotDelivered, Post, Posting};
use cairn_services::sns::{Deps, Links, Signing, Sns};
use cairn_services::{Caller, Service, authorise};
use cairn_testkit::{fixed_sealer, memory_log};
use prometheus::Registry;
use serde_json::{Value, json};

use super::world::{World, call, caller};

/// Queues that keep what they are sent, but for those that are told to fail.
#[derive(Default)]
pub(crate) struct QueuesDouble {
    pub(crate) sent: Mutex<Vec<(Source, String, QueueMessage)>>,
    pub(crate) failing: Mutex<BTreeMap<String, SinkFailure>>,
}

#[async_trait]
impl QueueSink for QueuesDouble {
    async fn check(&self, _source: &Source, queue_arn: &str) -> Result<(), SinkFailure> {
        self.failing.lock().unwrap().get(queue_arn).cloned().map_or(Ok(()), Err)
    }

    async fn send(&self, messages: Vec<(Source, String, QueueMessage)>) -> Vec<Result<(), SinkFailure>> {
        let mut results = Vec::new();
        for message in messages {
            let failure = self.failing.lock().unwrap().get(&message.1).cloned();
            if failure.is_none() {
                self.sent.lock().unwrap().push(message);
            }
            results.push(failure.map_or(Ok(()), Err));
        }
        results
    }

    async fn is_fifo(&self, queue_arn: &str) -> Option<bool> {
        Some(queue_arn.ends_with(".fifo"))
    }
}

pub(crate) fn sns_of(world: &World, queues: Arc<QueuesDouble>) -> Sns {
    let links = Links::default();
    links.reached_at("http://127.0.0.1:4599");
    let deps = Deps {
        catalog: world.catalog.clone(),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
        sealer: fixed_sealer(),
        signing: Signing::new(world.catalog.clone(), world.clock.clone(), fixed_sealer()),
        links,
        data_keys: Arc::new(world.kms(memory_log())),
        queues,
        woken: Arc::new(|| ()),
    };
    Sns::new(deps, &Registry::new()).unwrap()
}

/// No HTTP endpoint takes anything here.
struct NoPost;

#[async_trait]
impl Post for NoPost {
    async fn post(&self, _posting: &Posting) -> Result<u16, NotDelivered> {
        Err(NotDelivered { is_permanent: true, code: "None".to_owned(), reason: String::new() })
    }
}

struct Bench {
    world: World,
    queues: Arc<QueuesDouble>,
    sns: Sns,
}

const TOPIC: &str = "arn:aws:sns:us-east-1:111122223333:news";

impl Bench {
    fn new() -> Self {
        let (world, queues) = (World::new(), Arc::new(QueuesDouble::default()));
        let sns = sns_of(&world, Arc::clone(&queues));
        Self { world, queues, sns }
    }

    /// With the topic "news".
    async fn with_topic() -> Self {
        let bench = Self::new();
        bench.ok("CreateTopic", json!({"Name": "news"})).await;
        bench
    }

    /// A call as the front door does it: `Ok` or `status code: message`.
    async fn by(&self, caller: &Caller, operation: &str, params: Value) -> Result<Value, String> {
        let told =
            |error: cairn_wire::AwsError| format!("{} {}: {}", error.status, error.code, error.message);
        let mut caller = caller.clone();
        caller.now = cairn_core::Clock::now(&*self.world.clock);
        let call = call("sns", operation, params);
        let target = self.sns.target(&caller, &call).await.map_err(told)?;
        if !self.sns.authorises_itself(operation) {
            authorise::authorise(&caller, &target).map_err(told)?;
        }
        for further in self.sns.further_targets(&caller, &call).await.map_err(told)? {
            authorise::authorise(&caller, &further).map_err(told)?;
        }
        self.sns.handle(&caller, call).await.map(|reply| reply.result).map_err(told)
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

    /// Subscribes the queue of that name; returns the subscription's ARN.
    async fn queue(&self, topic: &str, name: &str, attributes: Value) -> String {
        let params = json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue_arn(name),
                            "Attributes": attributes});
        self.ok("Subscribe", params).await["SubscriptionArn"].as_str().unwrap().to_owned()
    }

    /// Takes what the queue of that name was sent.
    fn received(&self, name: &str) -> Vec<QueueMessage> {
        let mut sent = self.queues.sent.lock().unwrap();
        let (own, rest) = sent.drain(..).partition(|(_, arn, _)| *arn == queue_arn(name));
        *sent = rest;
        own.into_iter().map(|(_, _, message): (_, _, QueueMessage)| message).collect()
    }

    /// Their texts alone.
    fn bodies(&self, name: &str) -> Vec<String> {
        self.received(name).into_iter().map(|message| message.body).collect()
    }

    /// Pays what is owed until the queue of that name has received as many messages; returns their texts.
    async fn paid(&self, name: &str, count: usize) -> Vec<String> {
        let clock = self.world.clock.clone();
        let parts = DeliveryParts {
            catalog: self.world.catalog.clone(),
            clock: clock.clone(),
            sealer: fixed_sealer(),
            queues: self.queues.clone(),
            switchboard: cairn_services::sinks::Switchboard::default(),
            signing: Signing::new(self.world.catalog.clone(), clock.clone(), fixed_sealer()),
            links: Links::default(),
            post: Arc::new(NoPost),
            mail: None,
        };
        let delivery = Delivery::new(parts, &Registry::new()).unwrap();
        let mut bodies = Vec::new();
        for _ in 0..100 {
            let seen = delivery.arrivals();
            let due = delivery.run_once().await.unwrap();
            bodies.extend(self.bodies(name));
            if bodies.len() >= count {
                return bodies;
            }
            if due > cairn_core::Clock::now(&*clock) {
                clock.advance(due.since(cairn_core::Clock::now(&*clock)));
            } else {
                delivery.wait_past(seen).await;
            }
        }
        panic!("{} messages came, not {count}", bodies.len());
    }

    fn fail(&self, name: &str, is_transient: bool) {
        let failure = SinkFailure { is_transient, code: "Failed".to_owned(), message: String::new() };
        self.queues.failing.lock().unwrap().insert(queue_arn(name), failure);
    }

    fn heal(&self, name: &str) {
        self.queues.failing.lock().unwrap().remove(&queue_arn(name));
    }
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:111122223333:{name}")
}

fn owner() -> Caller {
    super::world::root(&"111122223333".parse().unwrap())
}

fn anonymous() -> Caller {
    Caller { rights: Arc::default(), ..caller(Principal::Anonymous) }
}

/// A user of an account whose own policy allows these actions on everything.
fn user(account: &str, actions: &[&str]) -> Caller {
    let principal = Principal::IamUser {
        account: account.parse().unwrap(),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    };
    if actions.is_empty() {
        return Caller { rights: Arc::default(), ..caller(principal) };
    }
    let text = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": actions, "Resource": "*"}});
    let document = Arc::new(cairn_core::policy::Document::parse(&text.to_string()).unwrap());
    let identity = vec![NamedPolicy { name: "own".into(), document }];
    Caller { rights: Arc::new(Rights { identity, ..Rights::default() }), ..caller(principal) }
}
