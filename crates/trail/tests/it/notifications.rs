//! Notifications: which files a trail's topic is told of, how often, and what a topic that refuses changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::Clock;
use cairn_trail::bucket::OnBehalfOf;
use cairn_trail::{NotificationStage, Topic, TopicFailure, Trail};
use prometheus::Registry;
use serde_json::Value;

use super::doubles::Points;
use super::world::{ACCOUNT, DELIVERY_S, HOME, World, arn, start, trail};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:files";

/// Topics in memory: what was published to each, and which refuse.
#[derive(Clone, Default)]
struct MemoryTopics {
    published: Arc<Mutex<Vec<(String, String)>>>,
    refusing: Arc<Mutex<BTreeMap<String, &'static str>>>,
    attempts: Arc<Mutex<usize>>,
    points: Arc<Points>,
}

#[async_trait]
impl Topic for MemoryTopics {
    async fn check(&self, _topic_arn: &str, _who: &OnBehalfOf) -> Result<(), TopicFailure> {
        Ok(())
    }

    async fn publish(&self, topic_arn: &str, message: String, who: &OnBehalfOf) -> Result<(), TopicFailure> {
        self.points.pass().await;
        assert_eq!(who.account.as_str(), ACCOUNT);
        *self.attempts.lock().unwrap() += 1;
        if let Some(code) = self.refusing.lock().unwrap().get(topic_arn) {
            return Err(TopicFailure { code: (*code).to_owned(), message: "no".to_owned() });
        }
        self.published.lock().unwrap().push((topic_arn.to_owned(), message));
        self.points.pass().await;
        Ok(())
    }
}

impl MemoryTopics {
    fn stage(&self, world: &World) -> NotificationStage {
        let (topics, clock) = (Arc::new(self.clone()), world.clock.clone());
        NotificationStage::new(world.catalog(), topics, clock, &Registry::new()).unwrap()
    }

    /// The keys that a topic was told of, in order.
    fn keys(&self, topic: &str) -> Vec<String> {
        let published = self.published.lock().unwrap();
        let texts = published.iter().filter(|(to, _)| to == topic).map(|(_, text)| text);
        let key = |text: &String| {
            let message: Value = serde_json::from_str(text).unwrap();
            assert_eq!(message["s3ObjectKey"].as_array().unwrap().len(), 1);
            message["s3ObjectKey"][0].as_str().unwrap().to_owned()
        };
        texts.map(key).collect()
    }

    fn refuse(&self, topic: &str, code: Option<&'static str>) {
        let mut refusing = self.refusing.lock().unwrap();
        match code {
            Some(code) => refusing.insert(topic.to_owned(), code),
            None => refusing.remove(topic),
        };
    }
}

fn announcing(name: &str, topic: &str) -> Trail {
    Trail { sns_topic: Some(topic.to_owned()), ..trail(name) }
}

fn owed(world: &World) -> usize {
    world.rows.rows.lock().unwrap().keys().filter(|(table, _)| *table == "trail.announcement").count()
}

#[tokio::test]
async fn every_log_file_is_announced_once_on_the_topic_of_its_trail_and_no_digest() {
    let (mut world, topics) = (World::new(), MemoryTopics::default());
    world.put_logging(announcing("audit", "files")).await;
    world.put_logging(trail("silent")).await;
    let (process, stage) = (world.process(), topics.stage(&world));
    world.record(&[HOME, "us-east-1"]).await;
    stage.run_once().await.unwrap();
    assert_eq!(topics.keys(TOPIC), Vec::<String>::new(), "nothing is committed yet");
    assert_eq!(world.status(&arn("audit")).await.latest_notification_attempt_at, None);
    let (committed, before) = (process.delivery.committed(), *process.delivery.committed().borrow());
    world.run_for(&process, 3 * 3600).await;
    assert_eq!(*committed.borrow(), before + 2, "each trail's commit is told of");
    stage.run_once().await.unwrap();
    stage.run_once().await.unwrap();
    let (told, mut files) = (topics.keys(TOPIC), world.files("logs"));
    // The names of both trails' files differ in their unique part only.
    files.retain(|file| told.contains(file));
    assert_eq!((told.len(), files.len()), (2, 2));
    assert!(!world.digests("logs").is_empty());
    let (_, text) = topics.published.lock().unwrap()[0].clone();
    assert_eq!(text, format!(r#"{{"s3Bucket":"logs","s3ObjectKey":["{}"]}}"#, told[0]));
    assert_eq!(owed(&world), 0);
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_notification_at, Some(world.clock.now()));
    assert_eq!(status.latest_notification_attempt_at, Some(world.clock.now()));
    assert_eq!(world.status(&arn("silent")).await.latest_notification_attempt_at, None);
}

#[tokio::test]
async fn a_topic_that_refuses_delays_only_its_own_trail_and_says_why() {
    let (mut world, topics) = (World::new(), MemoryTopics::default());
    world.put_logging(announcing("audit", TOPIC)).await;
    world.put_logging(announcing("well", "others")).await;
    let (process, stage) = (world.process(), topics.stage(&world));
    topics.refuse(TOPIC, Some("AuthorizationError"));
    for _ in 0..3 {
        world.record(&[HOME]).await;
        world.run_for(&process, DELIVERY_S).await;
        stage.run_once().await.unwrap();
    }
    assert_eq!(world.files("logs").len(), 6, "delivery does not wait");
    assert_eq!(topics.keys("arn:aws:sns:eu-west-1:123456789012:others").len(), 3);
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_notification_error.as_deref(), Some("AuthorizationError"));
    assert_eq!(status.latest_notification_at, None);
    assert_eq!(status.latest_notification_attempt_at, Some(world.clock.now()));
    // It is not asked again before its time, however often the stage runs.
    let attempts = *topics.attempts.lock().unwrap();
    stage.run_once().await.unwrap();
    assert_eq!(*topics.attempts.lock().unwrap(), attempts);
    topics.refuse(TOPIC, None);
    world.clock.set(stage.next_due());
    stage.run_once().await.unwrap();
    assert_eq!((topics.keys(TOPIC).len(), owed(&world)), (3, 0), "the oldest first, all of them");
    let mut sorted = topics.keys(TOPIC);
    sorted.sort();
    assert_eq!(topics.keys(TOPIC), sorted);
    assert_eq!(world.status(&arn("audit")).await.latest_notification_error, None);
}

#[tokio::test]
async fn what_waits_goes_to_the_topic_that_the_trail_has_by_then_or_to_none() {
    let (mut world, topics) = (World::new(), MemoryTopics::default());
    world.put_logging(announcing("audit", "files")).await;
    let (process, stage) = (world.process(), topics.stage(&world));
    topics.refuse(TOPIC, Some("NotFound"));
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    stage.run_once().await.unwrap();
    world.change(&arn("audit"), |trail| trail.sns_topic = Some("new".to_owned())).await;
    stage.run_once().await.unwrap();
    assert_eq!(topics.keys("arn:aws:sns:eu-west-1:123456789012:new").len(), 1, "without waiting for the old");

    topics.refuse("arn:aws:sns:eu-west-1:123456789012:new", Some("NotFound"));
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    stage.run_once().await.unwrap();
    assert_eq!(owed(&world), 1);
    world.change(&arn("audit"), |trail| trail.sns_topic = None).await;
    stage.run_once().await.unwrap();
    assert_eq!(owed(&world), 0);

    world.change(&arn("audit"), |trail| trail.sns_topic = Some("files".to_owned())).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    assert_eq!(owed(&world), 1);
    world.delete(&arn("audit")).await;
    stage.run_once().await.unwrap();
    world.run_for(&process, DELIVERY_S).await;
    assert_eq!(owed(&world), 0, "what a deleted trail left is forgotten");
}

#[tokio::test]
async fn after_thirty_days_of_refusals_a_file_is_no_longer_announced() {
    let (mut world, topics) = (World::new(), MemoryTopics::default());
    world.put_logging(announcing("audit", TOPIC)).await;
    let (process, stage) = (world.process(), topics.stage(&world));
    topics.refuse(TOPIC, Some("NotFound"));
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.clock.advance(Duration::from_secs(30 * 24 * 3600 - 1));
    world.record(&[HOME]).await;
    process.delivery.run_once().await.unwrap();
    stage.run_once().await.unwrap();
    assert_eq!(owed(&world), 2);
    world.clock.advance(Duration::from_secs(3));
    stage.run_once().await.unwrap();
    assert_eq!(owed(&world), 1, "the older one is given up");
    topics.refuse(TOPIC, None);
    world.clock.advance(Duration::from_secs(3600));
    stage.run_once().await.unwrap();
    assert_eq!(topics.keys(TOPIC).len(), 1);
    assert!(world.clock.now() > start());
}

/// Delivery and notification stop at any point, and are started again.
async fn live(world: &mut World, topics: &MemoryTopics) {
    world.put_logging(announcing("audit", TOPIC)).await;
    let (mut process, mut stage) = (world.process(), topics.stage(world));
    for regions in [&[HOME, "us-east-1"][..], &[HOME]] {
        world.record(regions).await;
        world.advance(DELIVERY_S);
        loop {
            let work = async {
                process.delivery.run_once().await.unwrap();
                stage.run_once().await.unwrap();
            };
            let stopped = tokio::select! {
                () = work => false,
                () = world.points.stopped.notified() => true,
            };
            if !stopped {
                break;
            }
            (process, stage) = (world.process(), topics.stage(world));
        }
    }
}

#[tokio::test]
async fn a_stop_at_any_point_leaves_no_committed_file_unannounced() {
    let mut undisturbed = World::new();
    let topics = MemoryTopics { points: Arc::clone(&undisturbed.points), ..MemoryTopics::default() };
    live(&mut undisturbed, &topics).await;
    let points = undisturbed.points.passed.load(Ordering::SeqCst);
    assert!(points > 20, "{points} points");
    let mut repeated = 0;
    for point in 1..=points {
        let mut world = World::new();
        let topics = MemoryTopics { points: Arc::clone(&world.points), ..MemoryTopics::default() };
        world.stop_at(point);
        live(&mut world, &topics).await;
        let told = topics.keys(TOPIC);
        repeated += told.len() - 3;
        let told: BTreeSet<String> = told.into_iter().collect();
        assert_eq!(told, world.files("logs").into_iter().collect(), "stopped at point {point} of {points}");
        assert_eq!(owed(&world), 0);
    }
    assert!(repeated > 0, "some stop came between a publication and its being struck out");
}
