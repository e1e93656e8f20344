//! How many events a second go all the way: logged, in the history, delivered, digested.
//! `cargo run --release -p cairn-trail --example bench_pipeline [DIR] [EVENTS] [TRAILS] [LAG]`
//!
//! Prints one line of JSON: events a second and CPU time by thread, bytes on disk, memory, how long an event takes to be
//! searchable, and how long the log takes to open again. The log takes events as fast as it can, but no more than LAG
//! ahead of the slowest stage. The first trail's bucket is sound; of three trails, the third's is not. What making the
//! events costs is measured apart and left out of the CPU time.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement reads the real clock, and stops at the first failure"
)]

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{Clock, Timestamp, TrailArn};
use cairn_store::catalog::sqlite::SqliteCatalog;
use cairn_store::history::{Attribute, Lookup, SegmentHistory, SegmentSettings};
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Catalog, Entry, EntryKind, EventLog, History};
use cairn_testkit::{SAMPLE_ACCOUNT, SampleEvents};
use cairn_trail::bucket::{Bucket, BucketPut, OnBehalfOf, PutFailure};
use cairn_trail::config::{TRAILS, trail_key};
use cairn_trail::{
    DeliverySettings, DeliveryStage, DigestSettings, DigestStage, HistoryStage, KeySettings, SigningKeys,
    Trail,
};
use prometheus::Registry;
use serde_json::json;

/// Events of one append, as of one call of a producer.
const EVENTS_PER_APPEND: u64 = 500;
/// Different events; more than any compressor looks back.
const SAMPLES: usize = 8192;
const TICKS_PER_SECOND: f64 = 100.0;

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }
}

/// Buckets as folders; the bucket `sick` takes nothing.
struct Folders {
    dir: PathBuf,
    files: AtomicU64,
}

#[async_trait]
impl Bucket for Folders {
    async fn check_acl(&self, _bucket: &str, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        Ok(())
    }

    async fn holds(&self, _bucket: &str, _key: &str) -> Result<bool, PutFailure> {
        Ok(false)
    }

    async fn put(&self, put: BucketPut, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        if put.bucket == "sick" {
            return Err(PutFailure {
                code: "AccessDenied".into(),
                message: "as the measurement wants it".into(),
            });
        }
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{}-{number}", put.bucket));
        let write = move || {
            let mut file = File::create(path)?;
            file.write_all(&put.body)?;
            file.sync_all()
        };
        tokio::task::spawn_blocking(write).await.unwrap().unwrap();
        Ok(())
    }
}

/// The CPU time of this process by the names of its threads, in seconds.
fn cpu_seconds() -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        *seconds.entry(name.split_once('(').unwrap().1.to_owned()).or_default() += ticks / TICKS_PER_SECOND;
    }
    seconds
}

/// The CPU time of the whole process, threads that ended too.
fn process_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}

fn resident_mb(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1000.0
}

fn size_bytes(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn trail(number: usize, sick: bool, now: Timestamp) -> Trail {
    let arn: TrailArn =
        format!("arn:aws:cloudtrail:us-east-1:{SAMPLE_ACCOUNT}:trail/trail-{number}").parse().unwrap();
    let mut trail = Trail::new(arn, number as u64 + 1, if sick { "sick" } else { "logs" }.to_owned(), now);
    trail.multi_region = true;
    trail.set_log_file_validation(true, now);
    trail.start_logging(now, cairn_store::LogPosition(0));
    trail
}

struct Ground {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    log: Arc<dyn EventLog>,
    history: Arc<SegmentHistory>,
    bucket: Arc<Folders>,
    catalog: Catalog,
    stage: Arc<HistoryStage>,
    delivery: Arc<DeliveryStage>,
    digests: Arc<DigestStage>,
    registry: Registry,
    stop: AtomicBool,
}

async fn open(dir: &Path, trails: usize) -> Ground {
    let registry = Registry::new();
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let catalog = Catalog::new(SqliteCatalog::open(&dir.join("catalog.sqlite"), &registry).unwrap());
    let log: Arc<dyn EventLog> =
        Arc::new(SegmentLog::open(&dir.join("log"), LogSettings::default(), &registry).unwrap());
    let settings = SegmentSettings::default();
    let place = dir.join("history");
    let history = SegmentHistory::open(&place, catalog.clone(), Arc::clone(&clock), settings).await;
    let history = Arc::new(history.unwrap());
    history.register(&registry).unwrap();
    fs::create_dir_all(dir.join("bucket")).unwrap();
    let bucket = Arc::new(Folders { dir: dir.join("bucket"), files: AtomicU64::new(0) });
    for number in 0..trails {
        let trail = trail(number, number == 2, clock.now());
        catalog.write(move |tx| TRAILS.put(tx, trail_key(&trail.arn).bytes(), &trail)).await.unwrap();
    }
    let shared: Arc<dyn History> = history.clone();
    let stage = HistoryStage::new(Arc::clone(&log), shared, Arc::clone(&clock));
    stage.register(&registry).unwrap();
    // The rest at the end is not to wait for minutes; before, whatever waits is delivered at once because it is much.
    let settings =
        DeliverySettings { delivery_interval: Duration::from_secs(1), ..DeliverySettings::default() };
    let delivery = DeliveryStage::new(
        Arc::clone(&log),
        catalog.clone(),
        bucket.clone(),
        Arc::clone(&clock),
        settings,
        &registry,
    );
    let keys = SigningKeys::new(
        catalog.clone(),
        Arc::clone(&clock),
        KeySettings::default(),
        cairn_testkit::fixed_sealer(),
    );
    let settings = DigestSettings { digest_interval: Duration::from_secs(5) };
    let digests =
        DigestStage::new(catalog.clone(), bucket.clone(), keys, Arc::clone(&clock), &settings, &registry);
    Ground {
        dir: dir.to_owned(),
        clock,
        log,
        history,
        bucket,
        catalog,
        stage: Arc::new(stage),
        delivery: Arc::new(delivery.unwrap()),
        digests: Arc::new(digests.unwrap()),
        registry,
        stop: AtomicBool::new(false),
    }
}

impl Ground {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn history_position(&self) -> u64 {
        let families = self.registry.gather();
        let found = families.iter().find(|family| family.name() == "cairn_history_position");
        found.map_or(0.0, |family| family.get_metric()[0].get_gauge().get_value()) as u64
    }
}

async fn run_history(ground: Arc<Ground>) {
    while !ground.stopped() {
        let end = ground.log.end();
        ground.stage.run_once().await.unwrap();
        let wait = ground.log.wait_past(end);
        // As the server's stages do: woken by the log, but not more often than that.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _grown = tokio::time::timeout(Duration::from_millis(100), wait).await;
    }
}

async fn run_delivery(ground: Arc<Ground>) {
    while !ground.stopped() {
        ground.delivery.run_once().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run_digests(ground: Arc<Ground>) {
    while !ground.stopped() {
        ground.digests.run_once().await.unwrap();
        let needed = ground.delivery.needed_from().await.unwrap();
        ground.log.trim(needed.min(ground.history.durable_position().await.unwrap())).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How far the slowest stage is, of those whose bucket is sound.
async fn reached(ground: &Ground, sick: bool) -> u64 {
    let history = ground.history_position();
    if sick {
        return history;
    }
    ground.delivery.needed_from().await.unwrap().0.min(history)
}

/// Appends `events` events; notes for each append when it was answered.
async fn feed(
    ground: &Ground,
    events: u64,
    lag: u64,
    sick: bool,
    answered: &Mutex<VecDeque<(u64, Instant)>>,
) {
    let samples = SampleEvents::new(1, SAMPLES);
    let mut next = 0;
    while next < events {
        while next.saturating_sub(reached(ground, sick).await) > lag {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Two calls at a time, so that one is written while the other is made.
        let appends = (0..2).map(|call| append(ground, &samples, next + call * EVENTS_PER_APPEND));
        futures::future::join_all(appends).await;
        next += 2 * EVENTS_PER_APPEND;
        answered.lock().unwrap().push_back((next, Instant::now()));
    }
}

fn made(samples: &SampleEvents, first: u64, now: Timestamp) -> Vec<Entry> {
    let mut body = Vec::with_capacity(1500 * EVENTS_PER_APPEND as usize);
    let mut ends = Vec::new();
    for number in first..first + EVENTS_PER_APPEND {
        samples.write(number, now, &mut body);
        ends.push(body.len());
    }
    let body = Bytes::from(body);
    let mut start = 0;
    let cut = |end| {
        let payload = body.slice(start..end);
        start = end;
        Entry { kind: EntryKind::Ingested, recorded_at: now, payload }
    };
    ends.into_iter().map(cut).collect()
}

async fn append(ground: &Ground, samples: &SampleEvents, first: u64) {
    let entries = made(samples, first, ground.clock.now());
    ground.log.append(entries).await.unwrap();
}

/// How long after its answer each append was searchable, in milliseconds.
async fn watch(ground: Arc<Ground>, answered: Arc<Mutex<VecDeque<(u64, Instant)>>>) -> (Vec<f64>, f64) {
    let (mut waits, mut resident) = (Vec::new(), 0.0_f64);
    while !ground.stopped() {
        let position = ground.history_position();
        let now = Instant::now();
        {
            let mut answered = answered.lock().unwrap();
            while answered.front().is_some_and(|(end, _)| *end <= position) {
                let (_, at) = answered.pop_front().unwrap();
                waits.push((now - at).as_secs_f64() * 1000.0);
            }
        }
        resident = resident.max(resident_mb("VmRSS:"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (waits, resident)
}

/// What making one event costs, in seconds.
fn making_seconds() -> f64 {
    let samples = SampleEvents::new(1, SAMPLES);
    let begun = process_cpu_seconds();
    (0..400).for_each(|call| drop(made(&samples, call * EVENTS_PER_APPEND, RealClock.now())));
    (process_cpu_seconds() - begun) / (400 * EVENTS_PER_APPEND) as f64
}

/// The median and the longest time of some lookups, in milliseconds.
async fn lookups(ground: &Ground, events: u64) -> serde_json::Value {
    let lookup = |attribute| Lookup {
        account: SAMPLE_ACCOUNT.parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        insight: false,
        attribute,
        start: None,
        end: None,
        limit: 50,
        after: None,
    };
    let mut shown = serde_json::Map::new();
    for name in ["newest", "event_id", "absent_event_id", "username", "access_key", "resource"] {
        let mut times = Vec::new();
        for at in 0..20 {
            let attribute = match name {
                "newest" => None,
                "event_id" => {
                    Some((Attribute::EventId, SampleEvents::event_id(at * events / 20).as_str().to_owned()))
                }
                "absent_event_id" => Some((Attribute::EventId, format!("absent-{at}"))),
                "username" => Some((Attribute::Username, format!("engineer-{at}"))),
                "access_key" => Some((Attribute::AccessKeyId, format!("ASIA{at:016X}"))),
                _ => Some((Attribute::ResourceName, format!("service-{:04x}-role", at * 97))),
            };
            let begun = Instant::now();
            let page = ground.history.lookup(lookup(attribute)).await.unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            assert!(name != "event_id" || page.events.len() == 1, "event {at} is not found");
        }
        times.sort_by(f64::total_cmp);
        shown.insert(name.to_owned(), json!([rounded(times[10]), rounded(times[19])]));
    }
    shown.into()
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// How long the log takes to open: as it is, and with a last segment that is full.
fn open_log_seconds(dir: &Path) -> f64 {
    let begun = Instant::now();
    drop(SegmentLog::open(&dir.join("log"), LogSettings::default(), &Registry::new()).unwrap());
    begun.elapsed().as_secs_f64()
}

async fn measure(dir: &Path, events: u64, trails: usize, lag: u64) -> serde_json::Value {
    let making = making_seconds();
    let ground = Arc::new(open(dir, trails).await);
    let sick = trails > 2;
    let answered = Arc::new(Mutex::new(VecDeque::new()));
    let resident_before = resident_mb("VmRSS:");
    let (begun, cpu_before, by_thread_before) = (Instant::now(), process_cpu_seconds(), cpu_seconds());
    let stages = [
        tokio::spawn(run_history(Arc::clone(&ground))),
        tokio::spawn(run_delivery(Arc::clone(&ground))),
        tokio::spawn(run_digests(Arc::clone(&ground))),
    ];
    let watching = tokio::spawn(watch(Arc::clone(&ground), Arc::clone(&answered)));
    feed(&ground, events, lag, sick, &answered).await;
    let appended = begun.elapsed();
    while reached(&ground, sick).await < events {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu = process_cpu_seconds() - cpu_before - making * events as f64;
    let by_thread: BTreeMap<String, f64> = cpu_seconds()
        .into_iter()
        .map(|(name, seconds)| {
            let before = by_thread_before.get(&name).copied().unwrap_or_default();
            (name, rounded((seconds - before) / events as f64 * 1e6))
        })
        .collect();
    ground.stop.store(true, Ordering::SeqCst);
    for stage in stages {
        stage.await.unwrap();
    }
    let (mut waits, resident) = watching.await.unwrap();
    waits.sort_by(f64::total_cmp);
    let wait_ms = |quantile: f64| rounded(waits[((waits.len() - 1) as f64 * quantile) as usize]);
    ground.history.flush().await.unwrap();
    // A sick trail may have left the delivery's last step undone; what is measured is done.
    let size = ground.history.size();
    let delivered = size_bytes(&ground.dir.join("bucket"));
    let found = lookups(&ground, events).await;
    let files = ground.bucket.files.load(Ordering::Relaxed);
    assert_eq!(size.segment_events, events, "every event is in the history");
    drop(ground.catalog.clone());
    json!({
        "bench": "pipeline", "events": events, "trails": trails,
        "events_per_second": (events as f64 / took).round(),
        "appended_per_second": (events as f64 / appended.as_secs_f64()).round(),
        "cpu_microseconds_per_event": rounded(cpu / events as f64 * 1e6),
        "making_microseconds_per_event": rounded(making * 1e6),
        "cpu_microseconds_per_event_by_thread": by_thread,
        "history_bytes_per_event": rounded(size.segment_size_bytes as f64 / events as f64),
        "history_segments": size.segments,
        "delivered_bytes_per_event": rounded(delivered as f64 / events as f64),
        "delivered_files": files,
        "resident_mb_before": rounded(resident_before), "resident_mb_most": rounded(resident),
        "searchable_ms_p50_p99_max": [wait_ms(0.5), wait_ms(0.99), wait_ms(1.0)],
        "lookup_ms_p50_max": found,
    })
}

#[allow(clippy::print_stdout, reason = "the line is what this program is for")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "bench-pipeline".into()));
    let mut number = |or: u64| arguments.next().map_or(or, |text| text.parse().unwrap());
    let (events, trails, lag) = (number(1_000_000), number(1) as usize, number(200_000));
    fs::create_dir_all(&dir).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().max_blocking_threads(8).enable_all().build().unwrap();
    let mut line = runtime.block_on(measure(&dir, events, trails, lag));
    drop(runtime);
    line["open_log_seconds"] = rounded(open_log_seconds(&dir)).into();
    println!("{line}");
}
