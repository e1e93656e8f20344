//! Streams: what a trail's log group gets, in which order, and what a log group that refuses changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{Clock, Timestamp};
use cairn_store::{EventLog, LogPosition};
use cairn_trail::streams::EVENT_SIZE_BYTES_MAX;
use cairn_trail::{LogGroupFailure, LogGroups, LogPlace, StreamStage, Trail};
use prometheus::Registry;

use super::doubles::Points;
use super::world::{ACCOUNT, DELIVERY_S, HOME, World, arn, event, trail};

const ROLE: &str = "arn:aws:iam::123456789012:role/writer";

/// Log groups in memory: the lines of each, with their streams, and which refuse.
#[derive(Clone, Default)]
struct MemoryGroups {
    lines: Arc<Mutex<Vec<(LogPlace, Timestamp, Bytes)>>>,
    refusing: Arc<Mutex<BTreeMap<String, &'static str>>>,
    attempts: Arc<Mutex<usize>>,
    points: Arc<Points>,
}

#[async_trait]
impl LogGroups for MemoryGroups {
    async fn check(&self, _place: &LogPlace) -> Result<(), LogGroupFailure> {
        unreachable!("the stage does not ask beforehand")
    }

    async fn put(&self, place: &LogPlace, lines: Vec<(Timestamp, Bytes)>) -> Result<(), LogGroupFailure> {
        self.points.pass().await;
        *self.attempts.lock().unwrap() += 1;
        if let Some(code) = self.refusing.lock().unwrap().get(&place.group_arn) {
            return Err(LogGroupFailure {
                code: (*code).to_owned(),
                is_of_role: false,
                message: "no".to_owned(),
            });
        }
        let lines = lines.into_iter().map(|(at, line)| (place.clone(), at, line));
        self.lines.lock().unwrap().extend(lines);
        self.points.pass().await;
        Ok(())
    }
}

impl MemoryGroups {
    fn stage(&self, world: &World) -> StreamStage {
        let (groups, log) = (Arc::new(self.clone()), Arc::new(world.log.clone()));
        StreamStage::new(log, world.catalog(), groups, world.clock.clone(), &Registry::new()).unwrap()
    }

    /// The numbers of the events that a group has, as they came.
    fn numbers(&self, group: &str) -> Vec<u64> {
        let number = |line: &Bytes| {
            let event: serde_json::Value = serde_json::from_slice(line).unwrap();
            event["requestParameters"]["n"].as_u64().unwrap()
        };
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|(place, ..)| place.group_arn == group_arn(group))
            .map(|(.., line)| number(line))
            .collect()
    }

    fn refuse(&self, group: &str, code: Option<&'static str>) {
        let mut refusing = self.refusing.lock().unwrap();
        match code {
            Some(code) => refusing.insert(group_arn(group), code),
            None => refusing.remove(&group_arn(group)),
        };
    }
}

fn group_arn(name: &str) -> String {
    format!("arn:aws:logs:{HOME}:{ACCOUNT}:log-group:{name}:*")
}

fn sending(name: &str, group: &str) -> Trail {
    let mut trail = trail(name);
    trail.set_log_group(Some((group_arn(group), ROLE.to_owned())), LogPosition(0));
    trail
}

#[tokio::test]
async fn every_event_of_a_trail_is_a_line_in_the_logs_order_and_too_large_ones_are_left_out() {
    let (mut world, groups) = (World::new(), MemoryGroups::default());
    world.put_logging(sending("audit", "g")).await;
    world.put_logging(trail("silent")).await;
    let stage = groups.stage(&world);
    world.record(&[HOME, "us-east-1"]).await;
    let large =
        event(77, HOME, "ec2", world.clock.now()).replace("DoThing", &"x".repeat(EVENT_SIZE_BYTES_MAX));
    world.append(Bytes::from(large)).await;
    world.append(Bytes::from_static(b"no event")).await;
    world.record(&[HOME]).await;
    stage.run_once().await.unwrap();
    stage.run_once().await.unwrap();
    let numbers = groups.numbers("g");
    assert_eq!(numbers.len(), 3);
    assert!(numbers.is_sorted() && !numbers.contains(&77));
    let (place, at, line) = groups.lines.lock().unwrap()[0].clone();
    assert_eq!(place.stream, format!("{ACCOUNT}_CloudTrail_{HOME}"));
    assert_eq!((place.role_arn.as_str(), place.trail), (ROLE, arn("audit")));
    assert_eq!(at, world.clock.now());
    assert_eq!(world.log.entries.lock().unwrap()[0].payload, line, "byte for byte");
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_logs_delivery_at, Some(world.clock.now()));
    assert_eq!(status.latest_logs_delivery_error, None);
}

#[tokio::test]
async fn an_organizations_trail_has_a_stream_for_each_account_named_after_both() {
    let (mut world, groups) = (World::new(), MemoryGroups::default());
    world.put_logging(Trail { organization_id: Some("o-example".to_owned()), ..sending("audit", "g") }).await;
    world.record(&[HOME]).await;
    groups.stage(&world).run_once().await.unwrap();
    let place = groups.lines.lock().unwrap()[0].0.clone();
    assert_eq!(place.stream, format!("o-example_{ACCOUNT}_CloudTrail_{HOME}"));
}

#[tokio::test]
async fn a_log_group_that_refuses_delays_only_its_own_trail_and_says_why() {
    let (mut world, groups) = (World::new(), MemoryGroups::default());
    world.put_logging(sending("audit", "sick")).await;
    world.put_logging(sending("well", "g")).await;
    let stage = groups.stage(&world);
    groups.refuse("sick", Some("ResourceNotFoundException"));
    world.record(&[HOME]).await;
    stage.run_once().await.unwrap();
    world.record(&[HOME]).await;
    stage.run_once().await.unwrap();
    assert_eq!((groups.numbers("sick").len(), groups.numbers("g").len()), (0, 2));
    assert_eq!(*groups.attempts.lock().unwrap(), 3, "it is not tried again before its time");
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_logs_delivery_error.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(stage.needed_from().await.unwrap(), LogPosition(0), "the log is kept for it");
    groups.refuse("sick", None);
    world.clock.set(stage.next_due());
    stage.run_once().await.unwrap();
    assert_eq!(groups.numbers("sick"), groups.numbers("g"), "nothing is missing");
    assert_eq!(world.status(&arn("audit")).await.latest_logs_delivery_error, None);
    assert_eq!(stage.needed_from().await.unwrap(), world.log.end());
}

#[tokio::test]
async fn what_was_logged_before_a_stop_reaches_the_log_group_although_delivery_was_first() {
    let (mut world, groups) = (World::new(), MemoryGroups::default());
    world.put_logging(sending("audit", "g")).await;
    let (process, stage) = (world.process(), groups.stage(&world));
    groups.refuse("g", Some("AccessDeniedException"));
    world.record(&[HOME]).await;
    stage.run_once().await.unwrap();
    let (end, now) = (world.log.end(), world.clock.now());
    world.change(&arn("audit"), |trail| trail.stop_logging(now, end)).await;
    world.record(&[HOME]).await;
    world.run_for(&process, 2 * DELIVERY_S).await;
    assert_eq!(world.records("logs").len(), 1);
    groups.refuse("g", None);
    world.clock.advance(Duration::from_secs(900));
    stage.run_once().await.unwrap();
    assert_eq!(groups.numbers("g").len(), 1, "what came before the stop, and nothing behind it");
}

#[tokio::test]
async fn a_log_group_gets_what_comes_after_the_trail_was_given_it() {
    let (mut world, groups) = (World::new(), MemoryGroups::default());
    world.put_logging(trail("audit")).await;
    let stage = groups.stage(&world);
    world.record(&[HOME]).await;
    stage.run_once().await.unwrap();
    let end = world.log.end();
    world.change(&arn("audit"), |trail| trail.set_log_group(Some((group_arn("g"), ROLE.into())), end)).await;
    world.record(&[HOME, HOME]).await;
    stage.run_once().await.unwrap();
    assert_eq!(groups.numbers("g").len(), 2);
    world.change(&arn("audit"), |trail| trail.set_log_group(None, end)).await;
    world.record(&[HOME]).await;
    stage.run_once().await.unwrap();
    assert_eq!(groups.numbers("g").len(), 2);
    world.delete(&arn("audit")).await;
    stage.run_once().await.unwrap();
    let rows = world.rows.rows.lock().unwrap();
    assert!(!rows.keys().any(|(table, _)| *table == "trail.stream_cursor"), "a deleted trail leaves nothing");
}

/// The stage stops at any point, and is started again.
async fn live(world: &mut World, groups: &MemoryGroups) {
    world.put_logging(sending("audit", "g")).await;
    let mut stage = groups.stage(world);
    for regions in [&[HOME, "us-east-1"][..], &[HOME]] {
        world.record(regions).await;
        loop {
            let stopped = tokio::select! {
                outcome = stage.run_once() => { outcome.unwrap(); false }
                () = world.points.stopped.notified() => true,
            };
            if !stopped {
                break;
            }
            stage = groups.stage(world);
        }
    }
}

#[tokio::test]
async fn a_stop_at_any_point_loses_no_event_and_disorders_none() {
    let mut undisturbed = World::new();
    let groups = MemoryGroups { points: Arc::clone(&undisturbed.points), ..MemoryGroups::default() };
    live(&mut undisturbed, &groups).await;
    let all = groups.numbers("g");
    let points = undisturbed.points.passed.load(Ordering::SeqCst);
    assert!(points > 10 && all.len() == 3, "{points} points");
    let mut repeated = 0;
    for point in 1..=points {
        let mut world = World::new();
        let groups = MemoryGroups { points: Arc::clone(&world.points), ..MemoryGroups::default() };
        world.stop_at(point);
        live(&mut world, &groups).await;
        let came = groups.numbers("g");
        repeated += came.len() - all.len();
        let mut seen = BTreeSet::new();
        let first: Vec<u64> = came.into_iter().filter(|number| seen.insert(*number)).collect();
        assert_eq!(first, all, "stopped at point {point} of {points}");
    }
    assert!(repeated > 0, "some stop came between a put and the cursor's move");
}

/// What version 1 looks like on disk: these texts must stay readable for ever.
#[tokio::test]
async fn cursors_are_written_as_ever() {
    let (mut world, groups) = (World::new(), MemoryGroups::default());
    world.put_logging(sending("audit", "g")).await;
    world.record(&[HOME]).await;
    groups.stage(&world).run_once().await.unwrap();
    let rows = world.rows.rows.lock().unwrap();
    let cursor = rows.iter().find(|((table, _), _)| *table == "trail.stream_cursor").unwrap().1;
    assert_eq!(String::from_utf8_lossy(cursor), r#"{"v":1,"d":{"position":1}}"#);
}
