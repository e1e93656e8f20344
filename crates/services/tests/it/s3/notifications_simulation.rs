//! Event notifications over many seeds: objects come and go, destinations fall sick, take a message and say that they did
//! not, and the server dies at any of it. Every event is sent, and each key's in the order in which things happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cairn_services::s3::{EventStage, S3, Sinks};
use cairn_services::sinks::{QueueMessage, QueueSink, SinkFailure, Source};
use cairn_testkit::Chance;
use prometheus::Registry;
use serde_json::{Value, json};

use super::Shop;
use super::notifications::{Destinations, OTHER_QUEUE, QUEUE, reopen};

const SEEDS: u64 = 30;
const STEPS: usize = 60;

/// A queue that fails by chance, before or after it took the message.
struct Fickle {
    inner: Arc<Destinations>,
    chance: Mutex<Chance>,
    is_well: Mutex<bool>,
}

#[async_trait]
impl QueueSink for Fickle {
    async fn check(&self, source: &Source, queue_arn: &str) -> Result<(), SinkFailure> {
        QueueSink::check(&*self.inner, source, queue_arn).await
    }

    async fn send(&self, messages: Vec<(Source, String, QueueMessage)>) -> Vec<Result<(), SinkFailure>> {
        let failed = || {
            Err(SinkFailure { is_transient: true, code: "InternalError".into(), message: "by chance".into() })
        };
        let is_well = *self.is_well.lock().unwrap();
        let mut is_down = false;
        let mut outcomes = Vec::new();
        for (source, arn, message) in messages {
            let lot = if is_well { 9 } else { self.chance.lock().unwrap().below(10) };
            is_down |= lot == 0;
            if is_down {
                outcomes.push(failed());
                continue;
            }
            self.inner.take(source, &arn, &message.body, None).unwrap();
            outcomes.push(if lot == 1 { failed() } else { Ok(()) });
        }
        outcomes
    }

    async fn is_fifo(&self, _: &str) -> Option<bool> {
        Some(false)
    }
}

struct Run {
    shop: Shop,
    stage: EventStage,
    fickle: Arc<Fickle>,
    chance: Chance,
    /// What must be told, by queue: event name and key.
    expected: BTreeMap<&'static str, Vec<(String, String)>>,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let fickle = Arc::new(Fickle {
            inner: Arc::default(),
            chance: Mutex::new(Chance(seed ^ 0xf1c1e)),
            is_well: Mutex::new(true),
        });
        let mut shop = Shop::new();
        shop.world.catalog = cairn_testkit::memory_catalog();
        shop.s3 = reopen(&shop.world, shop.folder.path(), sinks(&fickle));
        shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
        let queue = |arn: &str, event: &str| json!({"Id": arn, "QueueArn": arn, "Events": [event]});
        let queues = [queue(QUEUE, "s3:ObjectCreated:*"), queue(OTHER_QUEUE, "s3:ObjectRemoved:*")];
        let configuration =
            json!({"Bucket": "logs", "NotificationConfiguration": {"QueueConfigurations": queues}});
        shop.ok("PutBucketNotificationConfiguration", configuration).await;
        fickle.inner.taken(QUEUE);
        fickle.inner.taken(OTHER_QUEUE);
        *fickle.is_well.lock().unwrap() = false;
        let stage = stage(&shop.s3);
        Self { shop, stage, fickle, chance: Chance(seed), expected: BTreeMap::new() }
    }

    async fn step(&mut self) {
        let key = format!("k{}", self.chance.below(4));
        match self.chance.below(10) {
            0..=3 => {
                self.shop.put(&key, "").await;
                self.expect(QUEUE, "ObjectCreated:Put", key);
            }
            4..=5 => {
                let listed = self.shop.ok("ListObjectsV2", json!({"Bucket": "logs", "Prefix": key})).await;
                self.shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": key})).await;
                if listed["KeyCount"] == 1 {
                    self.expect(OTHER_QUEUE, "ObjectRemoved:Delete", key);
                }
            }
            6..=7 => self.stage.run_once().await.unwrap(),
            8 => self.shop.world.clock.advance(Duration::from_secs(20)),
            _ => self.die().await,
        }
    }

    /// The server dies, perhaps in the middle of a run, and starts again.
    async fn die(&mut self) {
        if self.chance.strikes(500) {
            // Polled a few times and dropped: cut off wherever it was.
            let mut running = Box::pin(self.stage.run_once());
            for _ in 0..self.chance.below(6) {
                if futures::poll!(&mut running).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        self.shop.s3 = reopen(&self.shop.world, self.shop.folder.path(), sinks(&self.fickle));
        self.stage = stage(&self.shop.s3);
    }

    fn expect(&mut self, queue: &'static str, name: &str, key: String) {
        self.expected.entry(queue).or_default().push((name.to_owned(), key));
    }

    async fn end(mut self, seed: u64) -> usize {
        *self.fickle.is_well.lock().unwrap() = true;
        self.shop.world.clock.advance(Duration::from_secs(120));
        self.stage.run_once().await.unwrap();
        let mut doubled = 0;
        for queue in [QUEUE, OTHER_QUEUE] {
            let sent = self.fickle.inner.events(queue);
            let expected = self.expected.remove(queue).unwrap_or_default();
            check(&sent, &expected, &format!("seed {seed}, {queue}"));
            doubled += sent.len() - expected.len();
        }
        doubled
    }
}

/// Every event is there; doubles are the same; by their sequencers they are in the order of what happened.
fn check(sent: &[Value], expected: &[(String, String)], place: &str) {
    let mut by_sequencer: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in sent {
        let sequencer = event["s3"]["object"]["sequencer"].as_str().unwrap();
        let first = by_sequencer.entry(sequencer).or_insert(event);
        assert_eq!(*first, event, "{place}");
    }
    let told: Vec<(String, String)> = by_sequencer
        .values()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&event["eventName"]), text(&event["s3"]["object"]["key"]))
        })
        .collect();
    assert_eq!(told, expected, "{place}");
}

fn sinks(fickle: &Arc<Fickle>) -> Sinks {
    Sinks { queues: Some(Arc::clone(fickle) as _), ..Sinks::default() }
}

fn stage(s3: &S3) -> EventStage {
    s3.event_stage(&Registry::new()).unwrap()
}

#[tokio::test]
async fn no_event_is_lost_whatever_fails() {
    let mut doubled = 0;
    for seed in 0..SEEDS {
        let mut run = Run::new(seed).await;
        for _ in 0..STEPS {
            run.step().await;
        }
        doubled += run.end(seed).await;
    }
    // The faults were there: at least once is not exactly once.
    assert!(doubled > 0);
}
