//! Digests: windows, chains, keys, and what ends and begins a chain.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cairn_core::digest::{ChainFlaw, Verified, verify_chain};
use cairn_core::{Clock, Timestamp};
use cairn_trail::DeliverySettings;

use super::world::{DELIVERY_S, DIGEST_S, HOME, World, arn, start, trail};

/// A chain as text: start and end of each window, `-` where a chain begins, and how many files it lists.
fn shape(chain: &[Verified]) -> Vec<String> {
    let shown = |found: &Verified| {
        let digest = &found.digest;
        let (start, end) = (digest.digest_start_time.iso(), digest.digest_end_time.iso());
        let begins = if digest.previous_digest_signature.is_none() { "-" } else { "" };
        format!("{begins}{}..{} {}", &start[11..19], &end[11..19], digest.log_files.len())
    };
    chain.iter().map(shown).collect()
}

#[tokio::test]
async fn a_chain_begins_with_the_hour_before_and_goes_on_hourly_also_when_empty() {
    let mut world = World::new();
    world.advance(97);
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run(&process).await;
    assert_eq!(shape(&world.verify_whole("logs").await["audit eu-west-1"]), ["-09:01:37..10:01:37 0"]);
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    world.run_for(&process, DIGEST_S).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    assert_eq!(
        shape(&world.verify_whole("logs").await["audit eu-west-1"]),
        ["-09:01:37..10:01:37 0", "10:01:37..11:01:37 1", "11:01:37..12:01:37 0", "12:01:37..13:01:37 2"]
    );
    let status = world.status(&arn("audit")).await;
    assert_eq!(status.latest_digest_delivery_error, None);
    assert_eq!(status.latest_digest_delivery_at, Some(Timestamp::parse_iso("2026-11-20T13:01:37Z").unwrap()));
    let first = &world.digests("logs")[0];
    assert_eq!(
        first,
        "AWSLogs/123456789012/CloudTrail-Digest/eu-west-1/2026/11/20/123456789012_CloudTrail-Digest_eu-west-1_audit_eu-west-1_20261120T100137Z.json.gz"
    );
}

#[tokio::test]
async fn a_region_that_comes_later_begins_its_own_chain_on_the_same_grid() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run_for(&process, 2 * DIGEST_S).await;
    world.record(&[HOME, "us-east-1"]).await;
    world.run_for(&process, 2 * DIGEST_S).await;
    let chains = world.verify_whole("logs").await;
    assert_eq!(shape(&chains["audit us-east-1"]), ["-12:00:00..13:00:00 1", "13:00:00..14:00:00 0"]);
    assert_eq!(chains["audit eu-west-1"].len(), 5);
    let fingerprint = |name: &str| chains[name].last().unwrap().digest.digest_public_key_fingerprint.clone();
    assert_ne!(fingerprint("audit us-east-1"), fingerprint("audit eu-west-1"), "keys are per region");
}

#[tokio::test]
async fn a_chain_goes_on_over_a_rotation_of_keys() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run_for(&process, DIGEST_S).await;
    world.advance(7);
    world.keys().rotate_now(&HOME.parse().unwrap()).await.unwrap();
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    let chain = &world.verify_whole("logs").await["audit eu-west-1"];
    let keys: Vec<&str> =
        chain.iter().map(|found| found.digest.digest_public_key_fingerprint.as_str()).collect();
    assert_eq!((keys[0] == keys[1], keys[1] == keys[2]), (true, false));
}

#[tokio::test]
async fn keys_are_rotated_after_twenty_days_and_two_are_valid_for_ten() {
    let mut world = World::new();
    world.digest_interval = Duration::from_secs(86_400);
    world.put_logging(trail("audit")).await;
    let process = world.process();
    for _ in 0..45 {
        world.advance(86_400);
        process.digests.run_once().await.unwrap();
    }
    let chain = &world.verify_whole("logs").await["audit eu-west-1"];
    let mut keys: Vec<String> =
        chain.iter().map(|found| found.digest.digest_public_key_fingerprint.clone()).collect();
    assert_eq!(keys.len(), 46);
    keys.dedup();
    assert_eq!(keys.len(), 3);
    let region = HOME.parse().unwrap();
    let at = start().plus(Duration::from_secs(25 * 86_400));
    let valid = world.keys().public_keys(&region, Some(at), Some(at)).await.unwrap();
    assert_eq!(valid.len(), 2);
    let current = world.keys().public_keys(&region, None, None).await.unwrap();
    assert_eq!(current.len(), 1);
    assert_eq!(Some(&current[0].fingerprint), keys.last());
}

#[tokio::test]
async fn downtime_is_caught_up_with_one_digest_for_each_hour() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    world.run_for(&world.process(), DELIVERY_S).await;
    world.record(&[HOME]).await;
    world.advance(5 * DIGEST_S);
    let process = world.process();
    world.run(&process).await;
    world.run_for(&process, DIGEST_S).await;
    assert_eq!(
        shape(&world.verify_whole("logs").await["audit eu-west-1"]),
        [
            "-09:00:00..10:00:00 0",
            "10:00:00..11:00:00 0",
            "11:00:00..12:00:00 0",
            "12:00:00..13:00:00 0",
            "13:00:00..14:00:00 0",
            "14:00:00..15:00:00 0",
            "15:00:00..16:00:00 1"
        ]
    );
}

#[tokio::test]
async fn stopping_ends_the_chain_an_hour_later_and_starting_begins_a_new_one() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run_for(&process, DIGEST_S).await;
    world.record(&[HOME]).await;
    world
        .change(&arn("audit"), |trail| {
            trail.stop_logging(world.clock.now(), cairn_store::EventLog::end(&world.log))
        })
        .await;
    world.run_for(&process, 5 * DIGEST_S).await;
    world.advance(10);
    world
        .change(&arn("audit"), |trail| {
            trail.start_logging(world.clock.now(), cairn_store::EventLog::end(&world.log))
        })
        .await;
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    let chain = world.verify("logs").await.remove("audit eu-west-1").unwrap();
    assert_eq!(
        shape(&chain),
        [
            "-09:00:00..10:00:00 0",
            "10:00:00..11:00:00 0",
            "11:00:00..12:00:00 1",
            "-15:00:10..16:00:10 0",
            "16:00:10..17:00:10 1"
        ]
    );
    assert_eq!(verify_chain(&chain), [ChainFlaw::Restart { object: chain[3].link.object.clone() }]);
}

#[tokio::test]
async fn what_was_logged_before_a_stop_is_digested_also_after_a_long_outage() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run_for(&process, DIGEST_S).await;
    world.record(&[HOME]).await;
    let end = cairn_store::EventLog::end(&world.log);
    world.change(&arn("audit"), |trail| trail.stop_logging(world.clock.now(), end)).await;
    drop(process);
    world.advance(4 * DIGEST_S);
    let process = world.process();
    world.run(&process).await;
    world.run_for(&process, 4 * DIGEST_S).await;
    let chain = world.verify_whole("logs").await.remove("audit eu-west-1").unwrap();
    assert_eq!(world.files("logs").len(), 1);
    assert_eq!(shape(&chain).last().unwrap(), "15:00:00..16:00:00 1");
}

#[tokio::test]
async fn what_is_delivered_while_validation_is_off_is_in_no_digest() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run_for(&process, DELIVERY_S).await;
    world.change(&arn("audit"), |trail| trail.set_log_file_validation(false, world.clock.now())).await;
    world.record(&[HOME]).await;
    world.run_for(&process, 3 * DIGEST_S).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    world.change(&arn("audit"), |trail| trail.set_log_file_validation(true, world.clock.now())).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    let chain = world.verify("logs").await.remove("audit eu-west-1").unwrap();
    assert_eq!(
        shape(&chain),
        [
            "-09:00:00..10:00:00 0",
            "10:00:00..11:00:00 1",
            "11:00:00..12:00:00 0",
            "-13:05:00..14:05:00 0",
            "14:05:00..15:05:00 1"
        ]
    );
    assert_eq!(world.files("logs").len(), 3, "all files are delivered, listed or not");
    let rows = world.rows.rows.lock().unwrap();
    assert!(
        !rows.keys().any(|(table, _)| *table == "trail.delivered"),
        "nothing is kept for digests that never come"
    );
}

#[tokio::test]
async fn validation_turned_off_and_on_at_once_loses_no_file_and_no_key() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DELIVERY_S).await;
    for enabled in [false, true] {
        world.change(&arn("audit"), |trail| trail.set_log_file_validation(enabled, world.clock.now())).await;
    }
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    let chain = world.verify("logs").await.remove("audit eu-west-1").unwrap();
    assert_eq!(shape(&chain), ["-09:00:00..10:00:00 0", "-09:05:00..10:05:00 0", "10:05:00..11:05:00 2"]);
}

#[tokio::test]
async fn a_failing_bucket_delays_a_digest_that_then_has_the_same_bytes() {
    let world = World::new();
    world.put_logging(trail("audit")).await;
    world.bucket.refusing.lock().unwrap().insert("logs".to_owned(), "AccessDenied");
    let process = world.process();
    world.run(&process).await;
    assert_eq!(
        world.status(&arn("audit")).await.latest_digest_delivery_error.as_deref(),
        Some("AccessDenied")
    );
    assert_eq!(process.digests.next_due(), start().plus(Duration::from_secs(2)));
    world.bucket.refusing.lock().unwrap().clear();
    world.advance(3 * DIGEST_S);
    world.run(&process).await;
    assert_eq!(world.verify_whole("logs").await["audit eu-west-1"].len(), 4);
    assert_eq!(world.status(&arn("audit")).await.latest_digest_delivery_error, None);
}

#[tokio::test]
async fn a_chain_follows_the_trail_into_another_bucket() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    world
        .change(&arn("audit"), |trail| {
            trail.bucket = "elsewhere".to_owned();
            trail.key_prefix = Some("p".to_owned());
        })
        .await;
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    let earlier = world.verify_whole("logs").await.remove("audit eu-west-1").unwrap();
    let mut chain = world.verify_whole("elsewhere").await.remove("audit eu-west-1").unwrap();
    assert!(chain[0].link.object.starts_with("p/AWSLogs/"));
    chain.splice(..0, earlier);
    assert_eq!(verify_chain(&chain), []);
}

#[tokio::test]
async fn with_an_interval_of_a_second_every_digest_has_its_own_key() {
    let mut world = World::new();
    world.digest_interval = Duration::from_millis(1);
    world.settings =
        DeliverySettings { delivery_interval: Duration::from_secs(1), ..DeliverySettings::default() };
    world.put_logging(trail("audit")).await;
    let process = world.process();
    for _ in 0..20 {
        world.record(&[HOME]).await;
        world.run_for(&process, 1).await;
    }
    world.run_for(&process, 1).await;
    assert_eq!(world.verify_whole("logs").await["audit eu-west-1"].len(), 22);
}

#[tokio::test]
async fn a_thousand_files_are_listed_in_one_digest() {
    let mut world = World::new();
    world.settings = DeliverySettings { reservation_bytes_max: 1, ..DeliverySettings::default() };
    world.put_logging(trail("audit")).await;
    let process = world.process();
    for _ in 0..1000 {
        world.record(&[HOME]).await;
    }
    world.run_for(&process, DIGEST_S).await;
    let chain = &world.verify_whole("logs").await["audit eu-west-1"];
    assert_eq!(chain.last().unwrap().digest.log_files.len(), 1000);
    assert_eq!(world.records("logs").len(), 1000);
}

#[tokio::test]
async fn a_new_trail_of_an_old_name_begins_a_new_chain() {
    let mut world = World::new();
    world.put_logging(trail("audit")).await;
    let process = world.process();
    world.run_for(&process, DIGEST_S).await;
    world.delete(&arn("audit")).await;
    world.run_for(&process, DELIVERY_S).await;
    let mut anew = trail("audit");
    anew.incarnation = 2;
    world.put_logging(anew).await;
    world.record(&[HOME]).await;
    world.run_for(&process, DIGEST_S).await;
    let chain = world.verify("logs").await.remove("audit eu-west-1").unwrap();
    assert_eq!(
        shape(&chain),
        ["-09:00:00..10:00:00 0", "10:00:00..11:00:00 0", "-10:05:00..11:05:00 0", "11:05:00..12:05:00 1"]
    );
}

#[tokio::test]
async fn two_processes_do_not_fork_a_chain() {
    let seeded = World::new();
    seeded.keys().public_keys(&HOME.parse().unwrap(), None, None).await.unwrap();
    seeded.keys().public_keys(&"us-east-1".parse().unwrap(), None, None).await.unwrap();
    let rows = seeded.rows.rows.lock().unwrap().clone();
    for seed in 1..12 {
        let mut world = World::new();
        *world.rows.rows.lock().unwrap() = rows.clone();
        world.put_logging(trail("audit")).await;
        let (one, two) = (world.process(), world.process());
        world.points.seed.store(seed, Ordering::SeqCst);
        for _ in 0..4 {
            world.record(&[HOME, "us-east-1"]).await;
            world.advance(DIGEST_S);
            tokio::join!(world.run(&one), world.run(&two));
        }
        world.advance(DIGEST_S);
        world.run(&one).await;
        world.run(&two).await;
        let chains = world.verify_whole("logs").await;
        assert_eq!(chains["audit eu-west-1"].len(), 6, "seed {seed}");
        assert_eq!(world.records("logs").len(), 8);
    }
}
