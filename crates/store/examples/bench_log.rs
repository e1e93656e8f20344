//! How many events a second the event log takes: `cargo run --release --example bench_log [DIR] [SECONDS]`.
//!
//! Prints one line of JSON: for 1, 16 and 256 concurrent appenders of entries of 1.4 KB, the events and syncs a second
//! and the latencies of an append.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};
use prometheus::Registry;

/// The size of a typical event's JSON.
const ENTRY_BYTES: usize = 1400;
/// How many callers append at once, one run each.
const APPENDERS: [usize; 3] = [1, 16, 256];

#[allow(clippy::disallowed_methods, reason = "measures real time")]
fn now() -> Instant {
    Instant::now()
}

async fn append_until(log: Arc<SegmentLog>, stop: Instant) -> Result<Vec<Duration>, LogError> {
    let payload = Bytes::from(vec![b'x'; ENTRY_BYTES]);
    let mut latencies = Vec::new();
    let mut begun = now();
    while begun < stop {
        let entry = Entry { kind: EntryKind::Event, recorded_at: Timestamp::EPOCH, payload: payload.clone() };
        log.append(vec![entry]).await?;
        let done = now();
        latencies.push(done - begun);
        begun = done;
    }
    Ok(latencies)
}

async fn run(
    dir: &Path,
    appenders: usize,
    span: Duration,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let registry = Registry::new();
    let log = Arc::new(SegmentLog::open(dir, LogSettings::default(), &registry)?);
    let begun = now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..appenders {
        tasks.spawn(append_until(Arc::clone(&log), begun + span));
    }
    let mut latencies = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        latencies.extend(joined??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |quantile: f64| latencies[((latencies.len() - 1) as f64 * quantile) as usize].as_micros();
    let families = registry.gather();
    let syncs = families.iter().find(|family| family.name() == "cairn_log_syncs_total");
    let syncs = syncs.map_or(0.0, |family| family.get_metric()[0].get_counter().get_value());
    let read_begun = now();
    let mut read: u64 = 0;
    while read < log.end().0 {
        read += log.read(LogPosition(read), 1000, 1 << 20).await?.len() as u64;
    }
    Ok(serde_json::json!({
        "appenders": appenders,
        "events_per_second": (latencies.len() as f64 / seconds).round(),
        "syncs_per_second": (syncs / seconds).round(),
        "append_microseconds_p50": at(0.5) as u64,
        "append_microseconds_p99": at(0.99) as u64,
        "read_events_per_second": (read as f64 / read_begun.elapsed().as_secs_f64()).round(),
    }))
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "its result")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let span = Duration::from_secs_f64(arguments.next().map_or(Ok(3.0), |seconds| seconds.parse())?);
    let mut runs = Vec::new();
    for appenders in APPENDERS {
        let dir = tempfile::tempdir_in(&base)?;
        runs.push(run(dir.path(), appenders, span).await?);
    }
    println!("{}", serde_json::json!({ "bench": "log", "entry_bytes": ENTRY_BYTES, "runs": runs }));
    Ok(())
}
