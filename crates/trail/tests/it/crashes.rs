//! The program stops for good at any point: before or after any read, transaction or put. Started again, it ends up with
//! the same objects, byte for byte, as if it had never stopped.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use cairn_trail::DeliverySettings;

use super::doubles::{MemoryCatalog, Object};
use super::world::{DELIVERY_S, DIGEST_S, HOME, Process, World, arn, trail};

type Objects = BTreeMap<(String, String), Object>;

/// Runs both stages; where the program stops, a new one is started and runs at the same time.
async fn run(world: &World, process: &mut Process) {
    loop {
        let stopped = tokio::select! {
            () = world.run(process) => false,
            () = world.points.stopped.notified() => true,
        };
        if !stopped {
            return;
        }
        *process = world.process();
    }
}

/// Two regions, a prefix, two trails, several files in a backlog, digests of three windows, a stop.
async fn live(world: &mut World) -> Objects {
    world.settings = DeliverySettings { reservation_bytes_max: 1400, ..DeliverySettings::default() };
    let mut prefixed = trail("prefixed");
    prefixed.key_prefix = Some("p".to_owned());
    world.put_logging(prefixed).await;
    let mut plain = trail("plain");
    plain.log_file_validation = false;
    plain.multi_region = false;
    world.put_logging(plain).await;
    let mut process = world.process();
    world.record(&[HOME, "us-east-1", HOME, HOME]).await;
    world.advance(DELIVERY_S);
    run(world, &mut process).await;
    world.advance(DIGEST_S - DELIVERY_S);
    run(world, &mut process).await;
    world.record(&["us-east-1"]).await;
    let end = cairn_store::EventLog::end(&world.log);
    let at = cairn_core::Clock::now(&*world.clock);
    world.change(&arn("prefixed"), |trail| trail.stop_logging(at, end)).await;
    world.record(&["us-east-1"]).await;
    world.advance(DELIVERY_S);
    run(world, &mut process).await;
    world.advance(DIGEST_S);
    run(world, &mut process).await;
    world.bucket.objects.lock().unwrap().clone()
}

#[tokio::test]
async fn a_stop_at_any_point_leaves_no_trace_in_the_bucket() {
    // The keys are made once: they are random, and everything else follows from them.
    let seeded = World::new();
    for region in [HOME, "us-east-1"] {
        seeded.keys().public_keys(&region.parse().unwrap(), None, None).await.unwrap();
    }
    let rows = seeded.rows.rows.lock().unwrap().clone();
    let fresh = || {
        let catalog = MemoryCatalog::default();
        *catalog.rows.lock().unwrap() = rows.clone();
        World::on(catalog)
    };
    let mut undisturbed = fresh();
    let expected = live(&mut undisturbed).await;
    let points = undisturbed.points.passed.load(Ordering::SeqCst);
    assert_eq!(undisturbed.verify("logs").await.len(), 2);
    assert!(expected.len() >= 10 && points > 100, "{} objects, {points} points", expected.len());
    for point in 1..=points {
        let mut world = fresh();
        world.stop_at(point);
        let objects = live(&mut world).await;
        let keys = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&objects), keys(&expected), "stopped at point {point} of {points}");
        assert!(objects == expected, "stopped at point {point} of {points}");
    }
}
