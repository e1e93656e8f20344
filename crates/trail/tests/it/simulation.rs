//! The whole pipeline in one thread, with everything that can go wrong, from a seed.
//!
//! A seed chooses what happens and in which order: calls, batches, changes of trails, runs of stages, a second instance
//! of delivery and digests, crashes, faults of the log, the catalog and the buckets, steps of the clock. Every operation
//! of a store stops at a gate, so that a crash or somebody else can come between any two. Then faults end, all settles,
//! and what is left is checked. The event log is the real one, on a disk in memory that fails and loses power; the history is
//! the real one, on disk.
//!
//! `CAIRN_SEED=n cargo test -p cairn-trail --test it simulation` runs one seed again, `CAIRN_SEEDS=n` so many.

mod actions;
mod check;
mod gates;
mod log;
mod model;
mod run;
mod stores;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_core::logfile::{LogFileKey, sha256_hex};
use cairn_store::Catalog;
use cairn_testkit::TestClock;

use self::check::PublicKeys;
use self::model::REGIONS;
use self::run::{LONG, Simulation, keys};
use super::doubles::MemoryCatalog;
use super::world::start;

/// How many seeds an ordinary test run takes.
const SEEDS: u64 = 320;

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
    /// The log's entries, by their hashes.
    log: Vec<String>,
    /// The buckets' objects, with the hashes of log files; in digests are signatures, which are random.
    objects: Vec<(String, Option<String>)>,
    /// The files of the log's disk.
    files: Vec<(PathBuf, u64)>,
}

fn run(seed: u64) -> Outcome {
    let (rows, public) = signing_keys();
    let catalog = MemoryCatalog::default();
    *catalog.rows.lock().unwrap() = rows.clone();
    runtime().block_on(async {
        let mut simulation = Simulation::new(seed, catalog, start());
        simulation.run().await;
        simulation.check(public).await;
        let log =
            simulation.log.lock().unwrap().entries.iter().map(|entry| sha256_hex(&entry.payload)).collect();
        let hash = |key: &str, body: &[u8]| LogFileKey::parse(key).map(|_| sha256_hex(body));
        let bucket = simulation.bucket.lock().unwrap();
        let objects = bucket.objects.iter();
        let objects = objects.map(|((_, key), object)| (key.clone(), hash(key, &object.body))).collect();
        drop(bucket);
        let files = simulation.machine.files(Path::new("/"));
        let faults = simulation.faults.counts.lock().unwrap().clone();
        Outcome { problems: simulation.problems, schedule: simulation.schedule, faults, log, objects, files }
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

/// Runs the seeds that `next` gives, one on each processor, and says how many there were and which failed.
fn run_all(next: impl Fn() -> Option<u64> + Sync) -> (u64, Vec<u64>) {
    let (count, failed, faults) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let work = || {
        let mut struck = BTreeMap::new();
        while let Some(seed) = next() {
            count.fetch_add(1, Ordering::Relaxed);
            if !holds(seed, &mut struck) {
                failed.lock().unwrap().push(seed);
            }
        }
        for (kind, times) in struck {
            *faults.lock().unwrap().entry(kind).or_insert(0) += times;
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    let (count, mut failed) = (count.into_inner(), failed.into_inner().unwrap());
    failed.sort_unstable();
    println!("simulation: {count} seeds, {} failures {failed:?}", failed.len());
    println!("what struck: {:?}", faults.into_inner().unwrap());
    (count, failed)
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_invented_or_delivered_twice() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = number("CAIRN_SEED").map_or(1..=number("CAIRN_SEEDS").unwrap_or(SEEDS), |seed| seed..=seed);
    let seeds = Mutex::new(seeds);
    let (_, failed) = run_all(|| seeds.lock().unwrap().next());
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
    for seed in [1, 2, 3, 4, 5, 221] {
        let (once, again) = (run(seed), run(seed));
        assert_eq!(once.schedule, again.schedule, "seed {seed}");
        assert_eq!((once.log, once.objects), (again.log, again.objects), "seed {seed}");
        assert_eq!((once.files, once.faults), (again.files, again.faults), "seed {seed}");
    }
}

/// `make soak` runs this with CAIRN_SOAK_SECONDS.
#[test]
#[ignore = "runs for as long as CAIRN_SOAK_SECONDS says"]
#[allow(clippy::disallowed_methods, reason = "the time that a soak takes is real time")]
fn soak_of_the_simulation() {
    let seconds = env::var("CAIRN_SOAK_SECONDS").map_or(10, |text| text.parse().unwrap());
    let (began, since) = (std::time::Instant::now(), std::time::SystemTime::now());
    let seed = AtomicU64::new(since.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64);
    let next = || {
        let on = began.elapsed() < Duration::from_secs(seconds);
        on.then(|| seed.fetch_add(1, Ordering::Relaxed))
    };
    let (count, failed) = run_all(next);
    println!("{:.1} seeds a second", count as f64 / began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "seeds {failed:?}");
}
