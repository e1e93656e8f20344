//! How many messages a second the queues take, hand out and delete:
//! `cargo run --release --example bench_queues [DIR] [SECONDS]`.
//!
//! Prints one line of JSON. First so many callers at once each send a message of 1 KB, receive one and delete it, one by
//! one or in batches of ten; every send and delete is synced before it returns. Then a backlog is sent, opened again, and
//! received, for the memory that a message takes and the time that a start takes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::disk::{Disk, SystemDisk};
use cairn_store::queues::{Ask, JournalQueues, NewMessage, QueueError, QueueKey, QueueSettings, Queues};
use prometheus::Registry;

/// The size of a message.
const MESSAGE_BYTES: usize = 1024;
/// How many callers at once, and how many messages each has in one call.
const RUNS: [(usize, usize); 6] = [(1, 1), (16, 1), (64, 1), (1, 10), (16, 10), (64, 10)];
/// How many messages wait while the memory is measured.
const BACKLOG: usize = 200_000;
const BACKLOG_BATCH: usize = 1000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[allow(clippy::disallowed_methods, reason = "measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "measures real time")]
fn clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn key() -> QueueKey {
    QueueKey("sqs/123456789012/us-east-1/orders".to_owned())
}

fn messages(count: usize, payload: &Bytes) -> Vec<NewMessage> {
    let sent_at = clock();
    let message = |number| NewMessage {
        queue: key(),
        id: format!("00000000-0000-4000-8000-{number:012}"),
        payload: payload.clone(),
        group: None,
        deduplication: None,
        sent_at,
        visible_at: sent_at,
    };
    (0..count).map(message).collect()
}

async fn receive(queues: &JournalQueues, batch: usize) -> Result<usize, QueueError> {
    let ask = Ask {
        messages_max: batch,
        now: clock(),
        visibility: Duration::from_secs(30),
        expired_until: Timestamp::EPOCH,
        in_flight_max: 120_000,
        dead_letters: None,
    };
    let received = queues.receive(&key(), &ask).await?;
    let receipts: Vec<_> = received.iter().map(|message| message.receipt).collect();
    if !receipts.is_empty() {
        queues.delete(&key(), &receipts, clock()).await?;
    }
    Ok(receipts.len())
}

async fn work_until(queues: Arc<JournalQueues>, batch: usize, stop: Instant) -> Result<usize, QueueError> {
    let payload = Bytes::from(vec![b'x'; MESSAGE_BYTES]);
    let mut done = 0;
    while now() < stop {
        queues.send(messages(batch, &payload)).await?;
        done += receive(&queues, batch).await?;
    }
    Ok(done)
}

async fn open(dir: &Path, registry: &Registry) -> Result<Arc<JournalQueues>, QueueError> {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let queues = JournalQueues::open(&disk, dir, QueueSettings::default(), None, registry).await?;
    queues.create(&key()).await?;
    Ok(Arc::new(queues))
}

/// A metric's value, or how often a histogram observed.
fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
    let metric = &family.get_metric()[0];
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

/// A line of `/proc/self/status` in MiB, or the CPU seconds of `/proc/self/stat`.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

async fn run(
    dir: &Path,
    (callers, batch): (usize, usize),
    span: Duration,
) -> Result<serde_json::Value, Failure> {
    let registry = Registry::new();
    let queues = open(dir, &registry).await?;
    let (begun, cpu_begun) = (now(), cpu_seconds());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(work_until(Arc::clone(&queues), batch, begun + span));
    }
    let mut done = 0;
    while let Some(joined) = tasks.join_next().await {
        done += joined??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu_begun;
    queues.close().await;
    Ok(serde_json::json!({
        "callers": callers,
        "batch": batch,
        "messages_per_second": (done as f64 / seconds).round(),
        "cpu_microseconds_per_message": (cpu * 1e6 / done.max(1) as f64).round(),
        "syncs_per_second": (metric(&registry, "cairn_queues_log_syncs_total") / seconds).round(),
        "trims": metric(&registry, "cairn_queues_trims_total"),
        "journal_mib_at_the_end": metric(&registry, "cairn_queues_journal_bytes") / f64::from(1 << 20),
    }))
}

/// What a backlog costs.
async fn backlog(dir: &Path) -> Result<serde_json::Value, Failure> {
    let payload = Bytes::from(vec![b'x'; MESSAGE_BYTES]);
    let queues = open(dir, &Registry::new()).await?;
    // The newest records are in memory from now on.
    for _ in 0..20 {
        queues.send(messages(BACKLOG_BATCH, &payload)).await?;
    }
    let resident_before = resident_mib();
    for _ in 0..BACKLOG / BACKLOG_BATCH {
        queues.send(messages(BACKLOG_BATCH, &payload)).await?;
    }
    let bytes_per_message = (resident_mib() - resident_before) * f64::from(1 << 20) / BACKLOG as f64;
    queues.close().await;
    drop(queues);
    let begun = now();
    let registry = Registry::new();
    let queues = open(dir, &registry).await?;
    let open_seconds = begun.elapsed().as_secs_f64();
    let begun = now();
    let mut received = 0;
    loop {
        match receive(&queues, 10).await? {
            0 => break,
            some => received += some,
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    queues.close().await;
    Ok(serde_json::json!({
        "messages": received,
        "memory_bytes_per_message": bytes_per_message.round(),
        "open_seconds": open_seconds,
        "drained_messages_per_second": (received as f64 / seconds).round(),
        "cold_reads": metric(&registry, "cairn_queues_cold_reads_total"),
        "rewritten_records": metric(&registry, "cairn_queues_rewritten_records_total"),
        "trims": metric(&registry, "cairn_queues_trims_total"),
        "journal_mib_at_the_end": metric(&registry, "cairn_queues_journal_bytes") / f64::from(1 << 20),
    }))
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "its result")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let span = Duration::from_secs_f64(arguments.next().map_or(Ok(3.0), |seconds| seconds.parse())?);
    let mut runs = Vec::new();
    for load in RUNS {
        let dir = tempfile::tempdir_in(&base)?;
        runs.push(run(dir.path(), load, span).await?);
    }
    let dir = tempfile::tempdir_in(&base)?;
    let backlog = backlog(dir.path()).await?;
    println!(
        "{}",
        serde_json::json!({ "bench": "queues", "message_bytes": MESSAGE_BYTES, "runs": runs, "backlog": backlog })
    );
    Ok(())
}
