//! Delivery: which events, which files, when, and what a failing bucket changes.

use std::time::Duration;

use bytes::Bytes;
use cairn_core::{Clock, Timestamp};
use cairn_store::EventLog;
use cairn_trail::{DeliverySettings, Trail};

use super::world::{DELIVERY_S, DIGEST_S, HOME, World, arn, event, records_of, start, trail};

fn numbers(records: &[String]) -> Vec<u64> {
    let number = |record: &String| {
        let value: serde_json::Value = serde_json::from_str(record).unwrap();
        value["requestParameters"]["n"].as_u64().unwrap()
    };
    let mut numbers: Vec<u64> = records.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn events_of_an_interval_make_one_file_for_each_region_with_awss_name() {
    let mut world = World::new();
    let mut configured = trail("audit");
    configured.key_prefix = Some("deep/prefix".to_owned());
    world.put_logging(configured).await;
    let process = world.process();
    world.advance(26);
    world.record(&[HOME, "us-east-1", HOME]).await;
    world.run(&process).await;
    assert_eq!(world.files("logs"), Vec::<String>::new(), "nothing before the multiple of the interval");
    assert_eq!(process.delivery.next_due(), start().plus(Duration::from_secs(DELIVERY_S)));
    world.advance(DELIVERY_S);
    world.run(&process).await;
    let files = world.files("logs");
    assert_eq!(files.len(), 2);
    let expected = "deep/prefix/AWSLogs/123456789012/CloudTrail/eu-west-1/2026/11/20/123456789012_CloudTrail_eu-west-1_20261120T1005Z_";
    assert!(files[0].starts_with(expected), "{}", files[0]);
    assert_eq!(numbers(&records_of(&world.content("logs", &files[0]))), [1, 3]);
    assert_eq!(numbers(&records_of(&world.content("logs", &files[1]))), [2]);
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_delivery_at, Some(world.clock.now()));
    assert_eq!(status.latest_delivery_error, None);
}

#[tokio::test]
async fn empty_intervals_make_no_file_and_write_nothing() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    let rows = world.rows.rows.lock().unwrap().clone();
    for _ in 0..3 {
        world.advance(DELIVERY_S);
        process.delivery.run_once().await.unwrap();
    }
    assert_eq!(world.files("logs").len(), 1);
    assert!(*world.rows.rows.lock().unwrap() == rows, "an idle interval changed the catalog");
}

#[tokio::test]
async fn a_trail_takes_what_was_recorded_between_its_starts_and_stops_and_nothing_else() {
    let mut world = World::new();
    world.record(&[HOME]).await;
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME, HOME]).await;
    world.change(&arn("audit"), |trail| trail.stop_logging(start(), world.log.end())).await;
    world.record(&[HOME]).await;
    world.change(&arn("audit"), |trail| trail.start_logging(start(), world.log.end())).await;
    world.record(&[HOME]).await;
    world.change(&arn("audit"), |trail| trail.stop_logging(start(), world.log.end())).await;
    world.record(&[HOME]).await;
    world.run_for(&process, 2 * DELIVERY_S).await;
    assert_eq!(numbers(&world.records("logs")), [2, 3, 5]);
    world
        .change(&arn("audit"), |trail| assert_eq!(trail.logging_spans, [], "delivered spans are dropped"))
        .await;
}

#[tokio::test]
async fn a_single_region_trail_takes_its_home_region_and_global_services_only_where_asked() {
    for (include, expected) in [(true, vec![1, 3]), (false, vec![1])] {
        let mut world = World::new();
        let mut configured = trail("audit");
        configured.multi_region = false;
        configured.include_global_service_events = include;
        world.put_logging(configured).await;
        let process = world.process();
        world.record(&[HOME, "us-east-1"]).await;
        world.record_from(HOME, "iam").await;
        world.record_from("us-east-1", "iam").await;
        world.run_for(&process, DELIVERY_S).await;
        assert_eq!(numbers(&world.records("logs")), expected);
    }
}

#[tokio::test]
async fn events_of_other_accounts_are_not_taken() {
    let world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    let stranger = event(1, HOME, "ec2", start()).replace("123456789012", "999999999999");
    world.append(Bytes::from(stranger)).await;
    world.run_for(&process, DELIVERY_S).await;
    assert_eq!(world.files("logs").len(), 0);
}

#[tokio::test]
async fn a_failing_bucket_delays_only_its_own_trail_and_is_retried_later_and_later() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let mut sick = trail("sick");
    sick.bucket = "gone".to_owned();
    world.put_logging(sick).await;
    world.bucket.refusing.lock().unwrap().insert("gone".to_owned(), "NoSuchBucket");
    let process = world.process();
    world.record(&[HOME]).await;
    world.advance(DELIVERY_S);
    process.delivery.run_once().await.unwrap();
    assert_eq!(world.records("logs").len(), 1);
    let status = world.status(&arn("sick")).await;
    assert_eq!(status.latest_delivery_error.as_deref(), Some("NoSuchBucket"));
    assert_eq!(
        (status.latest_delivery_attempt_at, status.latest_delivery_at),
        (Some(world.clock.now()), None)
    );
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let before = world.clock.now();
        world.clock.set(process.delivery.next_due());
        pauses.push(world.clock.now().since(before).as_secs());
        process.delivery.run_once().await.unwrap();
    }
    assert_eq!(pauses, [2, 4, 8, 16]);
    assert_eq!(world.bucket.attempts.lock().unwrap()["gone"], 5);
    world.bucket.refusing.lock().unwrap().clear();
    world.clock.set(process.delivery.next_due());
    process.delivery.run_once().await.unwrap();
    assert_eq!(world.records("gone"), world.records("logs"));
    assert!(world.files("gone")[0].contains("T1005Z_"), "the name keeps the time of the reservation");
    let status = world.status(&arn("sick")).await;
    assert_eq!((status.latest_delivery_error, status.latest_delivery_at), (None, Some(world.clock.now())));
}

#[tokio::test]
async fn a_trail_that_was_given_another_bucket_lets_go_of_the_sick_one() {
    let mut world = World::new();
    let mut sick = trail("audit");
    sick.bucket = "gone".to_owned();
    world.put_logging(sick).await;
    world.bucket.refusing.lock().unwrap().insert("gone".to_owned(), "AccessDenied");
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.change(&arn("audit"), |trail| trail.bucket = "logs".to_owned()).await;
    world.run_for(&process, DIGEST_S).await;
    assert_eq!(world.records("logs").len(), 1);
    world.verify_whole("logs").await;
}

/// A trail whose events of two regions the old bucket is to take, and that is then given another bucket and prefix.
async fn moved_after(begin: impl FnOnce(&World)) -> World {
    let mut world = World::new();
    let mut old = trail("audit");
    (old.bucket, old.key_prefix) = ("old".to_owned(), Some("far".to_owned()));
    world.put_logging(old).await;
    begin(&world);
    let process = world.process();
    world.record(&[HOME, "us-east-1"]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.bucket.silent.lock().unwrap().clear();
    world.bucket.takes.lock().unwrap().clear();
    world.bucket.refusing.lock().unwrap().insert("old".to_owned(), "AccessDenied");
    let place = |trail: &mut Trail| (trail.bucket, trail.key_prefix) = ("logs".to_owned(), None);
    world.change(&arn("audit"), place).await;
    // The outcome of the puts is known to none that is still alive.
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    world
}

#[tokio::test]
async fn what_the_old_bucket_took_without_saying_so_does_not_go_to_the_new_one() {
    let world = moved_after(|world| {
        world.bucket.silent.lock().unwrap().insert("old".to_owned());
    })
    .await;
    // The second file was not tried after the first had failed.
    assert_eq!((world.records("old").len(), world.records("logs").len()), (1, 2));
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_delivery_error, None);
}

#[tokio::test]
async fn a_delivery_that_the_old_bucket_took_in_part_ends_in_the_new_one_under_its_prefix() {
    let world = moved_after(|world| {
        world.bucket.takes.lock().unwrap().insert("old".to_owned(), 1);
    })
    .await;
    assert_eq!((world.records("old").len(), world.records("logs").len()), (1, 2));
    assert!(world.files("old").iter().all(|key| key.starts_with("far/AWSLogs/")));
    assert!(world.files("logs").iter().all(|key| key.starts_with("AWSLogs/")));
    let mut listed = Vec::new();
    for digest in world.digests("logs") {
        let digest: serde_json::Value = serde_json::from_slice(&world.content("logs", &digest)).unwrap();
        let files = digest["logFiles"].as_array().unwrap();
        listed.extend(files.iter().map(|file| file["s3Object"].as_str().unwrap().to_owned()));
    }
    listed.sort();
    let mut files = [world.files("old"), world.files("logs")].concat();
    files.sort();
    assert_eq!(listed, files, "each file is in one digest");
}

#[tokio::test]
async fn a_digest_that_the_old_bucket_took_without_saying_so_is_not_made_again_for_the_new_one() {
    let mut world = World::new();
    let mut old = trail("audit");
    old.bucket = "old".to_owned();
    world.put_logging(old).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S - DELIVERY_S).await;
    world.bucket.silent.lock().unwrap().insert("old".to_owned());
    world.run_for(&process, DELIVERY_S).await;
    let first = world.digests("old");
    let is_reserved = |world: &World| {
        world.rows.rows.lock().unwrap().keys().any(|(table, _)| *table == "trail.digest_reservation")
    };
    assert!(is_reserved(&world), "the digest is there and nobody knows");
    world.bucket.silent.lock().unwrap().clear();
    world.bucket.refusing.lock().unwrap().insert("old".to_owned(), "AccessDenied");
    world.change(&arn("audit"), |trail| trail.bucket = "logs".to_owned()).await;
    world.run_for(&world.process(), DIGEST_S).await;
    let second = world.digests("logs");
    assert_eq!((world.digests("old"), second.len()), (first.clone(), 1));
    let second: serde_json::Value = serde_json::from_slice(&world.content("logs", &second[0])).unwrap();
    assert_eq!(second["previousDigestS3Object"], first.last().unwrap().as_str());
    assert_eq!(second["previousDigestS3Bucket"], "old");
}

#[tokio::test]
async fn after_thirty_days_events_are_given_up_and_later_ones_still_come() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    world.bucket.refusing.lock().unwrap().insert("logs".to_owned(), "AccessDenied");
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.advance(29 * 86_400);
    world.run_for(&process, DELIVERY_S).await;
    world.record(&[HOME]).await;
    world.advance(86_400);
    world.run_for(&process, DELIVERY_S).await;
    world.bucket.refusing.lock().unwrap().clear();
    world.run_for(&process, 4 * DELIVERY_S).await;
    assert_eq!(numbers(&world.records("logs")), [2]);
}

#[tokio::test]
async fn a_backlog_is_delivered_in_files_of_bounded_size() {
    let mut world = World::new();
    let bytes = event(1, HOME, "ec2", start()).len();
    world.settings =
        DeliverySettings { reservation_bytes_max: 3 * bytes + 20, ..DeliverySettings::default() };
    world.put_logging(trail("audit")).await;
    let process = world.process();
    for _ in 0..10 {
        world.record(&[HOME]).await;
    }
    world.run_for(&process, DELIVERY_S).await;
    let sizes: Vec<usize> =
        world.files("logs").iter().map(|key| records_of(&world.content("logs", key)).len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10);
    assert_eq!(sizes.len(), 4, "{sizes:?}");
    assert_eq!(process.delivery.needed_from().await.unwrap(), world.log.end());
}

#[tokio::test]
async fn many_waiting_events_are_delivered_before_the_interval_ends() {
    let mut world = World::new();
    world.settings = DeliverySettings { entries_waiting_max: 5, ..DeliverySettings::default() };
    world.put_logging(trail("audit")).await;
    let process = world.process();
    process.delivery.run_once().await.unwrap();
    world.record(&[HOME; 4]).await;
    process.delivery.run_once().await.unwrap();
    assert_eq!(world.records("logs").len(), 0);
    world.record(&[HOME; 1]).await;
    process.delivery.run_once().await.unwrap();
    assert_eq!(world.records("logs").len(), 5);
}

#[tokio::test]
async fn what_is_no_event_is_set_aside_and_stops_nothing() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.append(Bytes::from_static(b"\xff not json")).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    assert_eq!(numbers(&world.records("logs")), [1, 2]);
    let rows = world.rows.rows.lock().unwrap();
    let aside: Vec<_> = rows.iter().filter(|((table, _), _)| *table == "trail.undecodable").collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].0.1, 1_u64.to_be_bytes(), "kept by its position");
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_trail_and_its_successor_starts_afresh() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.bucket.refusing.lock().unwrap().insert("logs".to_owned(), "AccessDenied");
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.delete(&arn("audit")).await;
    world.bucket.refusing.lock().unwrap().clear();
    world.run_for(&process, DELIVERY_S).await;
    let rows = world.rows.rows.lock().unwrap().keys().map(|(table, _)| *table).collect::<Vec<_>>();
    assert!(rows.iter().all(|table| *table == "trail.signing_key"), "{rows:?}");
    let mut anew = trail("audit");
    anew.incarnation = 2;
    world.put_logging(anew).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    assert_eq!(numbers(&world.records("logs")), [1, 3]);
}

#[tokio::test]
async fn a_clock_that_stepped_back_does_not_hold_deliveries_up() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.clock.set(Timestamp::parse_iso("2026-11-20T04:00:00Z").unwrap());
    world.record(&[HOME]).await;
    world.run_for(&process, 2 * DELIVERY_S).await;
    assert_eq!(numbers(&world.records("logs")), [1, 2]);
}

#[tokio::test]
async fn two_processes_do_not_deliver_an_event_twice() {
    for seed in 1..20 {
        let mut world = World::new();
        world.settings.reservation_bytes_max = 2000;
        let mut configured = trail("audit");
        configured.log_file_validation = false;
        world.put_logging(configured).await;
        let (one, two) = (world.process(), world.process());
        world.points.seed.store(seed, std::sync::atomic::Ordering::SeqCst);
        let mut recorded = 0;
        for _ in 0..5 {
            for _ in 0..7 {
                world.record(&[HOME, "us-east-1"]).await;
                recorded += 2;
            }
            world.advance(DELIVERY_S);
            let (first, second) = tokio::join!(one.delivery.run_once(), two.delivery.run_once());
            first.unwrap();
            second.unwrap();
        }
        // Whoever is fenced off stands by; the other goes on.
        world.advance(DELIVERY_S);
        one.delivery.run_once().await.unwrap();
        two.delivery.run_once().await.unwrap();
        let expected: Vec<u64> = (1..=recorded).collect();
        assert_eq!(numbers(&world.records("logs")), expected, "seed {seed}");
    }
}
