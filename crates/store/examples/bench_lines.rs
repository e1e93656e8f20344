//! How many log lines a second the store takes, and what a search of them costs:
//! `cargo run --release -p cairn-store --example bench_lines [DIR] [EVENTS]`.
//!
//! Prints one line of JSON. First so many callers at once append batches of CloudTrail events, of about 1.4 KB each, to one
//! group and to another, spread over a day; every batch is synced before it is acknowledged. Then the files are merged, and
//! a minute, an hour and all of the day are searched.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures real time and prints its result"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_core::Timestamp;
use cairn_store::catalog::Catalog;
use cairn_store::catalog::sqlite::SqliteCatalog;
use cairn_store::disk::SystemDisk;
use cairn_store::lines::{
    Batch, GroupId, Line, Lines, LinesGround, LinesSettings, Query, SegmentLines, StreamId, Wanted,
};
use cairn_testkit::SampleEvents;
use prometheus::Registry;
use serde_json::{Value, json};

/// How many lines, unless it is said.
const EVENTS: u64 = 1_500_000;
const CALLERS: u64 = 4;
const BATCH_LINES: u64 = 300;
/// One batch in so many goes to another group.
const OTHER_GROUP_EVERY: u64 = 10;
const GROUP: GroupId = GroupId(1);
const OTHER_GROUP: GroupId = GroupId(2);
const DAY: Duration = Duration::from_secs(86_400);
/// When the day begins.
const DAY_MS: i64 = 1_784_000_000_000;
/// How many events the lines are made of; each line has a time and ids of its own.
const SAMPLES: usize = 20_000;
const SEARCHES: usize = 5;
/// How many bytes of text a search looks at before it is continued, as FilterLogEvents does.
const SCANNED_BYTES_MAX: u64 = 100 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
    let metric = &family.get_metric()[0];
    metric.get_counter().get_value()
        + metric.get_gauge().get_value()
        + metric.get_histogram().get_sample_count() as f64
}

/// A line of `/proc/self/status`, in MiB.
fn status_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    (kib.unwrap_or_default() / 1024.0).round()
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

fn files_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

/// What is appended, and how much of it was taken.
struct Load {
    samples: SampleEvents,
    taken: AtomicU64,
    text_bytes: AtomicU64,
    events: u64,
}

impl Load {
    fn batch(&self) -> Option<Batch> {
        let first = self.taken.fetch_add(BATCH_LINES, Ordering::Relaxed);
        let number = first / BATCH_LINES;
        let step_us = DAY.as_micros() as u64 / self.events;
        let line = |at: u64| {
            let timestamp_ms = DAY_MS + i64::try_from(at * step_us / 1000).unwrap_or(i64::MAX);
            let mut text = Vec::with_capacity(2048);
            self.samples.write(at, Timestamp::from_millis(timestamp_ms), &mut text);
            self.text_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
            Line { timestamp_ms, message: text.into() }
        };
        let group = if number.is_multiple_of(OTHER_GROUP_EVERY) { OTHER_GROUP } else { GROUP };
        (first < self.events).then(|| Batch {
            group,
            stream: StreamId(group.0 * 100 + number % 8),
            ingested_at: Timestamp::from_millis(DAY_MS),
            lines: (first..first + BATCH_LINES).map(line).collect(),
        })
    }
}

async fn append_all(lines: Arc<SegmentLines>, load: Arc<Load>) -> Result<(), Failure> {
    while let Some(batch) = load.batch() {
        lines.append(vec![batch]).await?;
    }
    Ok(())
}

/// As the server does, every second.
async fn maintain_always(lines: Arc<SegmentLines>) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lines.maintain(Timestamp::from_millis(DAY_MS), lines.end()).await?;
    }
}

async fn ingest(lines: &Arc<SegmentLines>, load: &Arc<Load>, registry: &Registry) -> Result<Value, Failure> {
    let (begun, cpu_begun) = (Instant::now(), cpu_seconds());
    let maintenance = tokio::spawn(maintain_always(Arc::clone(lines)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        tasks.spawn(append_all(Arc::clone(lines), Arc::clone(load)));
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu_begun);
    maintenance.abort();
    Ok(json!({
        "events": load.events,
        "text_bytes_per_event": load.text_bytes.load(Ordering::Relaxed) / load.events,
        "events_per_second": (load.events as f64 / seconds).round(),
        "cpu_microseconds_per_event": (cpu * 1e7 / load.events as f64).round() / 10.0,
        "syncs_per_second": (metric(registry, "cairn_lines_log_syncs_total") / seconds).round(),
        "flushes": metric(registry, "cairn_lines_flush_seconds"),
        "merges": metric(registry, "cairn_lines_merges_total"),
        "resident_mib": status_mib("VmRSS:"),
        "resident_mib_max": status_mib("VmHWM:"),
    }))
}

/// Searches a span of the day, page by page; times in milliseconds.
async fn search(lines: &SegmentLines, span: Duration, registry: &Registry) -> Result<Value, Failure> {
    let wanted: Wanted = Arc::new(|text| memchr::memmem::find(text, b"AttachRolePolicy-nobody").is_some());
    let (mut times, mut scanned) = (Vec::new(), 0.0);
    for at in 0..SEARCHES {
        let room = DAY.saturating_sub(span).as_millis() as i64;
        let start = DAY_MS + room / SEARCHES as i64 * at as i64;
        let scanned_before = metric(registry, "cairn_lines_scanned_bytes_total");
        let begun = Instant::now();
        let mut query = Query {
            group: GROUP,
            streams: None,
            times_ms: start..start + span.as_millis() as i64,
            after: None,
            backwards: false,
            wanted: Some(Arc::clone(&wanted)),
            lines_max: 10_000,
            found_bytes_max: 1 << 20,
            scanned_bytes_max: SCANNED_BYTES_MAX,
        };
        loop {
            let page = lines.read(query.clone()).await?;
            query.after = page.looked_up_to.or(query.after);
            if page.is_complete {
                break;
            }
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        scanned = metric(registry, "cairn_lines_scanned_bytes_total") - scanned_before;
    }
    times.sort_by(f64::total_cmp);
    Ok(json!({
        "milliseconds": (times[SEARCHES / 2] * 10.0).round() / 10.0,
        "scanned_mib": (scanned / f64::from(1 << 20) * 10.0).round() / 10.0,
    }))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let events = arguments.next().map_or(Ok(EVENTS), |events| events.parse())?;
    let folder = tempfile::tempdir_in(&base)?;
    let registry = Registry::new();
    let ground = || -> Result<LinesGround, Failure> {
        Ok(LinesGround {
            disk: Arc::new(SystemDisk),
            folder: folder.path().join("lines"),
            catalog: Catalog::new(SqliteCatalog::open(&folder.path().join("catalog.sqlite"), &registry)?),
            key: [1; 32],
            settings: LinesSettings::default(),
            space: None,
            registry: registry.clone(),
        })
    };
    let lines = Arc::new(SegmentLines::open(ground()?).await?);
    let (samples, taken, text_bytes) = (SampleEvents::new(1, SAMPLES), AtomicU64::new(0), AtomicU64::new(0));
    let load = Arc::new(Load { samples, taken, text_bytes, events });
    let before_mib = status_mib("VmRSS:");
    let ingested = ingest(&lines, &load, &registry).await?;
    lines.close().await;
    drop(lines);
    let begun = Instant::now();
    let lines = SegmentLines::open(ground()?).await?;
    let open_milliseconds = (begun.elapsed().as_secs_f64() * 1e3).round();
    let later = Timestamp::from_millis(DAY_MS).plus(DAY);
    let (begun, cpu_begun) = (Instant::now(), cpu_seconds());
    let mut merges = -1.0;
    while metric(&registry, "cairn_lines_merges_total") > merges {
        merges = metric(&registry, "cairn_lines_merges_total");
        lines.maintain(later, lines.end()).await?;
    }
    let merged_seconds = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu_begun);
    let mut searches = serde_json::Map::new();
    for (name, span) in [("minute", 60), ("hour", 3600), ("day", 86_400)] {
        searches.insert(name.to_owned(), search(&lines, Duration::from_secs(span), &registry).await?);
    }
    let line = json!({
        "bench": "lines",
        "resident_mib_before": before_mib,
        "ingest": ingested,
        "open_milliseconds": open_milliseconds,
        "merged_afterwards_seconds": merged_seconds,
        "files": metric(&registry, "cairn_lines_files"),
        "disk_bytes_per_event": files_bytes(&folder.path().join("lines/files")) / events,
        "search": searches,
    });
    println!("{line}");
    Ok(())
}
