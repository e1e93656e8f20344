//! The whole pipeline in one thread, with everything that can go wrong, from a seed.
//!
//! A seed chooses what happens and in which order: calls, batches, changes of trails, runs of stages, a second instance
//! of delivery and digests, crashes, faults of the log, the catalog and the buckets, steps of the clock. Every operation
//! of a store stops at a gate, so that a crash or somebody else can come between any two. Then faults end, all settles,
//! and what is left is checked. The history is the real one, on disk.
//!
//! `CAIRN_SEED=n cargo test -p cairn-trail --test it simulation` runs one seed again.

mod actions;
mod check;
mod gates;
mod log;
mod model;
mod run;
mod stores;

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::Catalog;
use cairn_testkit::TestClock;

use self::check::PublicKeys;
use self::model::REGIONS;
use self::run::{LONG, Simulation, keys};
use super::doubles::MemoryCatalog;
use super::world::start;

/// How many seeds an ordinary test run takes.
const SEEDS: u64 = 150;

/// Seeds that found what is mended now, each with what it was.
const REGRESSIONS: [(u64, &str); 0] = [];

type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Signing keys for all runs: they are random, and nothing that is decided follows from them.
fn signing_keys() -> &'static (Rows, PublicKeys) {
    static KEYS: OnceLock<(Rows, PublicKeys)> = OnceLock::new();
    KEYS.get_or_init(|| {
        runtime().block_on(async {
            let (rows, mut public) = (MemoryCatalog::default(), PublicKeys::new());
            let long_ago = Arc::new(TestClock::new(Timestamp::minus(start(), LONG / 4)));
            for region in REGIONS {
                let keys = keys(Catalog::new(rows.clone()), long_ago.clone());
                for key in keys.public_keys(&region.parse().unwrap(), None, None).await.unwrap() {
                    public.insert(key.fingerprint, key.pkcs1_der);
                }
            }
            let rows = rows.rows.lock().unwrap().clone();
            (rows, public)
        })
    })
}

/// What a run came to.
struct Outcome {
    problems: Vec<String>,
    schedule: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
    objects: Vec<String>,
}

fn run(seed: u64) -> Outcome {
    let (rows, public) = signing_keys();
    let catalog = MemoryCatalog::default();
    *catalog.rows.lock().unwrap() = rows.clone();
    runtime().block_on(async {
        let mut simulation = Simulation::new(seed, catalog, start());
        simulation.run().await;
        simulation.check(public).await;
        let objects = simulation.bucket.lock().unwrap().objects.keys().map(|(_, key)| key.clone()).collect();
        let faults = simulation.faults.counts.lock().unwrap().clone();
        Outcome { problems: simulation.problems, schedule: simulation.schedule, faults, objects }
    })
}

/// Runs a seed, tells of what is wrong, and says whether nothing is.
fn holds(seed: u64, faults: &mut BTreeMap<&'static str, u64>) -> bool {
    let outcome = run(seed);
    for (kind, times) in outcome.faults {
        *faults.entry(kind).or_default() += times;
    }
    if outcome.problems.is_empty() {
        return true;
    }
    if env::var_os("CAIRN_SEED").is_some() {
        outcome.schedule.iter().for_each(|line| println!("{line}"));
    }
    outcome.problems.iter().for_each(|problem| println!("seed {seed}: {problem}"));
    println!("again, with its schedule: CAIRN_SEED={seed} cargo test -p cairn-trail --test it simulation");
    false
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_invented_or_delivered_twice() {
    let seeds: Vec<u64> = match env::var("CAIRN_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=SEEDS).collect(),
    };
    let mut faults = BTreeMap::new();
    let failed: Vec<u64> = seeds.iter().copied().filter(|seed| !holds(*seed, &mut faults)).collect();
    println!("{} seeds, {} failed: {failed:?}; {faults:?}", seeds.len(), failed.len());
    assert!(failed.is_empty(), "seeds {failed:?}");
}

#[test]
fn seeds_that_failed_once_hold_in_the_simulation() {
    for (seed, what) in REGRESSIONS {
        assert!(holds(seed, &mut BTreeMap::new()), "seed {seed}: {what}");
    }
}

#[test]
fn a_seed_of_the_simulation_always_does_the_same() {
    for seed in [1, 221] {
        let (once, again) = (run(seed), run(seed));
        assert_eq!(once.schedule, again.schedule, "seed {seed}");
        assert_eq!((once.objects, once.faults), (again.objects, again.faults), "seed {seed}");
    }
}

/// `make soak` runs this with CAIRN_SOAK_SECONDS.
#[test]
#[ignore = "runs for as long as CAIRN_SOAK_SECONDS says"]
#[allow(clippy::disallowed_methods, reason = "the time that a soak takes is real time")]
fn soak_of_the_simulation() {
    let seconds = env::var("CAIRN_SOAK_SECONDS").map_or(10, |text| text.parse().unwrap());
    let (began, since) = (std::time::Instant::now(), std::time::SystemTime::now());
    let first = since.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
    let (mut seeds, mut failed, mut faults) = (0, Vec::new(), BTreeMap::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        let seed = first + seeds;
        if !holds(seed, &mut faults) {
            failed.push(seed);
        }
        seeds += 1;
    }
    println!("simulation: {seeds} seeds, {} failures; {faults:?}", failed.len());
    assert!(failed.is_empty(), "seeds {failed:?}");
}
