//! The stage by a clock that is handed in, with endpoints that do what a table says.

use std::collections::HashMap;

use async_trait::async_trait;
use cairn_testkit::{Chance, TestClock, fixed_sealer, memory_catalog};

use super::super::state::{NotificationKind, Protocol, SubscriptionState};
use super::*;
use crate::sinks::{QueueMessage, SinkFailure, Source};

const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:news";
const DEAD_LETTERS: &str = "arn:aws:sqs:eu-west-1:111122223333:dead";

type Log = Arc<Mutex<Vec<(u64, String)>>>;

/// The world: what was posted and queued, when, and what it answers.
pub(super) struct World {
    pub(super) clock: Arc<TestClock>,
    /// Where it is set, it decides what endpoints and queues answer, and when.
    pub(super) chance: Mutex<Option<Chance>>,
    /// What was answered, in order: to whom, the body, and whether it was taken; of refusals none.
    pub(super) answered: Mutex<Vec<(String, String, Option<bool>)>>,
    began: Timestamp,
    /// What each URL answers, the next first, and then 200 for ever.
    answers: Mutex<HashMap<String, Vec<Result<u16, NotDelivered>>>>,
    /// URLs that never answer.
    hanging: Mutex<Vec<String>>,
    queue_failures: Mutex<Vec<SinkFailure>>,
    log: Log,
}

impl World {
    /// Seconds since it began.
    pub(super) fn passed_s(&self) -> u64 {
        self.clock.now().since(self.began).as_secs()
    }

    fn note(&self, text: String) {
        let seconds = self.passed_s();
        self.log.lock().unwrap().push((seconds, text));
    }

    fn answer(&self, to: &str, body: &str, taken: Option<bool>) {
        self.answered.lock().unwrap().push((to.to_owned(), body.to_owned(), taken));
    }

    /// What chance decides after a while: a failure, success, or a refusal.
    async fn chosen(&self) -> Option<usize> {
        let turns = self.chance.lock().unwrap().as_mut()?.below(6);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let mut chance = self.chance.lock().unwrap();
        let roll = chance.as_mut()?.below(100);
        Some(match roll {
            0..35 => 0,
            35..95 => 1,
            _ => 2,
        })
    }

    fn seen(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

struct WorldPost(Arc<World>);

#[async_trait]
impl Post for WorldPost {
    async fn post(&self, posting: &Posting) -> Result<u16, NotDelivered> {
        self.0.note(format!("{} {}", posting.url, posting.body));
        if let Some(outcome) = self.0.chosen().await {
            let status = [500, 200, 404][outcome];
            self.0.answer(&posting.url, &posting.body, [Some(false), Some(true), None][outcome]);
            return Ok(status);
        }
        if self.0.hanging.lock().unwrap().contains(&posting.url) {
            std::future::pending::<()>().await;
        }
        let mut answers = self.0.answers.lock().unwrap();
        let own = answers.entry(posting.url.clone()).or_default();
        if own.is_empty() { Ok(200) } else { own.remove(0) }
    }
}

struct WorldQueues(Arc<World>);

#[async_trait]
impl QueueSink for WorldQueues {
    async fn check(&self, _source: &Source, _queue_arn: &str) -> Result<(), SinkFailure> {
        Ok(())
    }

    async fn send(&self, messages: Vec<(Source, String, QueueMessage)>) -> Vec<Result<(), SinkFailure>> {
        let mut results = Vec::new();
        for (source, queue, message) in messages {
            if let Some(outcome) = self.0.chosen().await {
                // A queue is never gone, and in the end takes everything.
                self.0.answer(&queue, &message.body, Some(outcome == 1));
                let full = SinkFailure { is_transient: true, code: "Full".into(), message: String::new() };
                results.push(if outcome == 1 { Ok(()) } else { Err(full) });
                continue;
            }
            assert_eq!((source.service.as_str(), source.arn.as_str()), ("sns.amazonaws.com", TOPIC));
            let failures = &mut self.0.queue_failures.lock().unwrap();
            self.0.note(format!("{} {}", queue.rsplit(':').next().unwrap(), message.body));
            results.push(if failures.is_empty() { Ok(()) } else { Err(failures.remove(0)) });
        }
        results
    }

    async fn is_fifo(&self, _queue_arn: &str) -> Option<bool> {
        Some(false)
    }
}

pub(super) struct Bench {
    pub(super) world: Arc<World>,
    pub(super) catalog: Catalog,
    pub(super) delivery: Delivery,
}

/// A server's stage over what the catalog keeps.
fn opened(world: &Arc<World>, catalog: &Catalog) -> Delivery {
    let links = Links::default();
    links.reached_at("http://h");
    let parts = DeliveryParts {
        catalog: catalog.clone(),
        clock: Arc::clone(&world.clock) as _,
        sealer: fixed_sealer(),
        queues: Arc::new(WorldQueues(Arc::clone(world))),
        switchboard: crate::sinks::Switchboard::default(),
        signing: Signing::new(catalog.clone(), Arc::clone(&world.clock) as _, fixed_sealer()),
        links,
        post: Arc::new(WorldPost(Arc::clone(world))),
        mail: None,
    };
    Delivery::new(parts, &Registry::new()).unwrap()
}

impl Bench {
    pub(super) fn new() -> Self {
        let began = Timestamp::from_seconds(1_795_281_866);
        let clock = Arc::new(TestClock::new(began));
        let world = Arc::new(World {
            clock: Arc::clone(&clock),
            chance: Mutex::default(),
            answered: Mutex::default(),
            began,
            answers: Mutex::default(),
            hanging: Mutex::default(),
            queue_failures: Mutex::default(),
            log: Log::default(),
        });
        let catalog = memory_catalog();
        let delivery = opened(&world, &catalog);
        Self { world, catalog, delivery }
    }

    /// What a killed server leaves, and another one after it.
    pub(super) fn kill(&mut self) {
        self.delivery.0.tasks.lock().unwrap().abort_all();
        self.delivery = opened(&self.world, &self.catalog);
    }

    /// A confirmed subscription, whose deliveries are raw, and its endpoint.
    pub(super) async fn subscribe(
        &self,
        id: &str,
        protocol: Protocol,
        change: impl FnOnce(&mut Subscription),
    ) -> Subscription {
        let endpoint = match protocol {
            Protocol::Sqs => "arn:aws:sqs:eu-west-1:111122223333:q".to_owned(),
            _ => format!("http://{id}/"),
        };
        let mut subscription = Subscription {
            arn: format!("{TOPIC}:{id}").parse().unwrap(),
            owner: "111122223333".parse().unwrap(),
            principal: String::new(),
            protocol,
            endpoint,
            created: self.world.began,
            state: SubscriptionState::Confirmed {
                authenticate_on_unsubscribe: false,
                was_authenticated: true,
            },
            filter_policy: None,
            filter_scope: None,
            raw: true,
            redrive_policy: None,
            delivery_policy: None,
        };
        change(&mut subscription);
        let kept = subscription.clone();
        let put = move |tx: &mut dyn Tx| SUBSCRIPTIONS.put(tx, kept.arn.row().bytes(), &kept);
        self.catalog.write(put).await.unwrap();
        subscription
    }

    pub(super) async fn owe(&self, subscription: &Subscription, message: &str) {
        self.owe_in(subscription, message, None).await;
    }

    /// Owes a message of a group.
    pub(super) async fn owe_in(&self, subscription: &Subscription, message: &str, group: Option<&str>) {
        let notification: Notification = serde_json::from_str(&format!(
            r#"{{"kind":"Notification","message_id":"id-{message}","topic":"{TOPIC}","subject":null,"message":"{message}","at":1,"attributes":[]}}"#
        ))
        .unwrap();
        let now = self.world.clock.now();
        let creditor = Owed {
            subscription: subscription.arn.clone(),
            protocol: subscription.protocol,
            endpoint: subscription.endpoint.clone(),
            kind: NotificationKind::Notification,
            message_id: notification.message_id.clone(),
            group: group.map(str::to_owned),
            place: 0,
            attempts: 0,
            since: now,
            due_at: now,
            last_failure: None,
        };
        let write =
            move |tx: &mut dyn Tx| owed::owe(tx, &fixed_sealer(), &notification, vec![creditor.clone()]);
        self.catalog.write(write).await.unwrap();
    }

    /// Runs the stage as the binary does, until `seconds` have passed by the clock.
    pub(super) async fn run(&self, seconds: u64) {
        let end = self.world.began.plus(Duration::from_secs(seconds));
        loop {
            let seen = self.delivery.arrivals();
            let next = self.delivery.run_once().await.unwrap();
            self.delivery.idle().await;
            if self.delivery.arrivals() > seen {
                continue;
            }
            if next > end {
                return self.world.clock.set(end);
            }
            self.world.clock.set(next.max(self.world.clock.now()));
        }
    }

    pub(super) async fn owed(&self) -> usize {
        self.catalog.read(|tx| owed::count(tx, 1000)).await.unwrap()
    }

    fn answer(&self, url: &str, answers: Vec<Result<u16, NotDelivered>>) {
        self.world.answers.lock().unwrap().insert(url.to_owned(), answers);
    }
}

fn times(seen: &[(u64, String)], text: &str) -> Vec<u64> {
    seen.iter().filter(|(_, seen)| seen == text).map(|(at, _)| *at).collect()
}

fn timeout() -> Result<u16, NotDelivered> {
    Err(NotDelivered {
        is_permanent: false,
        code: "Timeout".to_owned(),
        reason: "it took too long".to_owned(),
    })
}

#[tokio::test]
async fn an_endpoint_that_recovers_gets_its_message_and_no_more() {
    let bench = Bench::new();
    let subscription = bench.subscribe("a", Protocol::Http, |_| ()).await;
    bench.answer("http://a/", vec![Ok(500), timeout(), Ok(429), Ok(204)]);
    bench.owe(&subscription, "m").await;
    bench.run(200).await;
    assert_eq!(times(&bench.world.seen(), "http://a/ m"), [0, 20, 40, 60]);
    assert_eq!(bench.owed().await, 0);
}

#[tokio::test]
async fn what_is_given_up_goes_to_the_dead_letters_or_is_let_go() {
    let to_dead = |subscription: &mut Subscription| {
        subscription.redrive_policy = Some(format!(r#"{{"deadLetterTargetArn":"{DEAD_LETTERS}"}}"#));
    };
    let bench = Bench::new();
    let (with, without) = (
        bench.subscribe("a", Protocol::Http, to_dead).await,
        bench.subscribe("b", Protocol::Http, |_| ()).await,
    );
    let refused = bench.subscribe("c", Protocol::Https, to_dead).await;
    for url in ["http://a/", "http://b/"] {
        bench.answer(url, vec![Ok(503), Ok(503), Ok(503), Ok(503)]);
    }
    bench.answer("http://c/", vec![Ok(410)]);
    for subscription in [&with, &without, &refused] {
        bench.owe(subscription, &subscription.arn.id).await;
    }
    bench.run(200).await;
    let seen = bench.world.seen();
    assert_eq!(times(&seen, "http://a/ a"), [0, 20, 40, 60]);
    assert_eq!(times(&seen, "http://b/ b"), [0, 20, 40, 60]);
    assert_eq!(times(&seen, "http://c/ c"), [0], "a refusal is final");
    assert_eq!(
        (times(&seen, "dead a"), times(&seen, "dead b"), times(&seen, "dead c")),
        (vec![60], vec![], vec![0])
    );
    assert_eq!(bench.owed().await, 0);
}

#[tokio::test]
async fn a_dead_letter_waits_for_its_queue() {
    let bench = Bench::new();
    let subscription = bench
        .subscribe("a", Protocol::Http, |subscription| {
            subscription.redrive_policy = Some(format!(r#"{{"deadLetterTargetArn":"{DEAD_LETTERS}"}}"#));
            subscription.delivery_policy = Some(r#"{"healthyRetryPolicy":{"numRetries":0}}"#.to_owned());
        })
        .await;
    bench.answer("http://a/", vec![Ok(400), Ok(400)]);
    let full = SinkFailure { is_transient: true, code: "InternalError".into(), message: "full".into() };
    bench.world.queue_failures.lock().unwrap().push(full);
    bench.owe(&subscription, "m").await;
    bench.run(100).await;
    assert_eq!(times(&bench.world.seen(), "dead m"), [0, 20]);
    assert_eq!(bench.owed().await, 0);
}

#[tokio::test]
async fn a_policy_says_how_an_endpoint_is_tried_and_how_fast() {
    let bench = Bench::new();
    let subscription = bench
        .subscribe("a", Protocol::Http, |subscription| {
            let policy = r#"{"healthyRetryPolicy":{"numRetries":4,"numNoDelayRetries":1,"minDelayTarget":5,"maxDelayTarget":15,"backoffFunction":"linear"},"throttlePolicy":{"maxReceivesPerSecond":2}}"#;
            subscription.delivery_policy = Some(policy.to_owned());
        })
        .await;
    bench.answer("http://a/", vec![Ok(500); 5]);
    bench.owe(&subscription, "m").await;
    bench.run(100).await;
    assert_eq!(times(&bench.world.seen(), "http://a/ m"), [0, 0, 5, 15, 30]);
    for index in 0..5 {
        bench.owe(&subscription, &format!("n{index}")).await;
    }
    bench.run(200).await;
    let at: Vec<u64> = bench.world.seen().iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [100, 100, 101, 101, 102]);
}

#[tokio::test]
async fn queues_that_failed_are_tried_as_aws_tries_them() {
    let bench = Bench::new();
    let subscription = bench.subscribe("a", Protocol::Sqs, |_| ()).await;
    let failure = SinkFailure { is_transient: true, code: "InternalError".into(), message: "x".into() };
    *bench.world.queue_failures.lock().unwrap() = vec![failure; 6];
    bench.owe(&subscription, "m").await;
    bench.run(100).await;
    assert_eq!(times(&bench.world.seen(), "q m"), [0, 0, 0, 0, 1, 2, 3]);
    let gone = SinkFailure { is_transient: false, code: "NonExistentQueue".into(), message: "x".into() };
    bench.world.queue_failures.lock().unwrap().push(gone);
    bench.owe(&subscription, "n").await;
    bench.run(200).await;
    assert_eq!(times(&bench.world.seen(), "q n").len(), 1, "what can never be taken is not tried again");
    assert_eq!(bench.owed().await, 0);
}

#[tokio::test]
async fn an_endpoint_that_hangs_keeps_no_other_waiting() {
    let bench = Bench::new();
    let (hanging, well) = (
        bench.subscribe("a", Protocol::Http, |_| ()).await,
        bench.subscribe("b", Protocol::Http, |_| ()).await,
    );
    bench.world.hanging.lock().unwrap().push("http://a/".to_owned());
    for index in 0..500 {
        bench.owe(&hanging, &format!("h{index}")).await;
    }
    bench.delivery.run_once().await.unwrap();
    for index in 0..50 {
        bench.owe(&well, &format!("w{index}")).await;
    }
    while bench.owed().await > 500 {
        bench.delivery.run_once().await.unwrap();
        tokio::task::yield_now().await;
    }
    let seen = bench.world.seen();
    assert_eq!(seen.iter().filter(|(_, text)| text.contains(" h")).count(), 16);
    assert_eq!(seen.iter().filter(|(_, text)| text.contains(" w")).count(), 50);
}

#[tokio::test]
async fn an_endpoint_is_tried_for_an_hour_at_most_but_once_at_least() {
    let bench = Bench::new();
    let subscription = bench
        .subscribe("a", Protocol::Http, |subscription| {
            let policy =
                r#"{"healthyRetryPolicy":{"numRetries":100,"minDelayTarget":1800,"maxDelayTarget":3600}}"#;
            subscription.delivery_policy = Some(policy.to_owned());
        })
        .await;
    bench.answer("http://a/", vec![Ok(500); 100]);
    bench.owe(&subscription, "m").await;
    bench.run(20_000).await;
    assert_eq!(times(&bench.world.seen(), "http://a/ m"), [0, 1800]);
    assert_eq!(bench.owed().await, 0);
}

#[tokio::test]
async fn what_nobody_waits_for_is_struck_out() {
    let bench = Bench::new();
    let ended = bench.subscribe("a", Protocol::Http, |_| ()).await;
    bench.owe(&ended, "m").await;
    let row = ended.arn.row();
    bench.catalog.write(move |tx| SUBSCRIPTIONS.delete(tx, row.bytes())).await.unwrap();
    bench.run(1).await;
    assert_eq!((bench.world.seen().len(), bench.owed().await), (0, 0));
}

#[tokio::test]
async fn without_a_relay_mail_waits() {
    let bench = Bench::new();
    let subscription = bench.subscribe("a", Protocol::Email, |_| ()).await;
    bench.owe(&subscription, "m").await;
    bench.run(60).await;
    assert_eq!(bench.owed().await, 1);
    bench.run(7 * 3600).await;
    assert_eq!(bench.owed().await, 0, "and is given up in the end");
}

#[tokio::test]
async fn nothing_is_sent_while_its_outcome_could_not_be_kept() {
    let bench = Bench::new();
    let subscription = bench.subscribe("a", Protocol::Http, |_| ()).await;
    bench.delivery.0.rest();
    bench.owe(&subscription, "m").await;
    bench.run(60).await;
    assert_eq!(times(&bench.world.seen(), "http://a/ m"), [5]);
}
