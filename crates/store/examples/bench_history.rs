//! Measures the event history: how fast events are taken in, how large they are on disk, how long lookups take.
//! Prints one line of JSON. `cargo run --release -p cairn-store --example bench_history [events]`

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement reads the real clock, prints what it found, and stops at the first failure"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_core::{Clock, Entropy, Timestamp};
use cairn_store::LogPosition;
use cairn_store::history::{Attribute, History, HistoryEvent, Lookup, Mark, SegmentHistory, SegmentSettings};
use cairn_testkit::{SeededEntropy, TestClock, memory_catalog};

const EVENTS: u64 = 100_000;
const BATCH_EVENTS: u64 = 1_000;
const LOOKUPS: usize = 50;
/// Events are spread over this time before the clock's.
const SPAN: Duration = Duration::from_secs(80 * 24 * 60 * 60);

const NAMES: [(&str, &str, bool); 8] = [
    ("AssumeRole", "sts.amazonaws.com", true),
    ("DescribeInstances", "ec2.amazonaws.com", true),
    ("GetUser", "iam.amazonaws.com", true),
    ("Decrypt", "kms.amazonaws.com", true),
    ("GetParameter", "ssm.amazonaws.com", true),
    ("ListBuckets", "s3.amazonaws.com", true),
    ("PutParameter", "ssm.amazonaws.com", false),
    ("CreateUser", "iam.amazonaws.com", false),
];

#[tokio::main]
async fn main() {
    let events = std::env::args().nth(1).map_or(EVENTS, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::parse_iso("2026-11-20T17:24:26Z").unwrap();
    let clock = Arc::new(TestClock::new(now));
    let (history, ingest, json_bytes) = fill(directory.path(), &clock, events).await;
    let size = history.size();
    let lookups = lookups(&history, events).await;
    let line = serde_json::json!({
        "bench": "history",
        "events": events,
        "ingest_events_per_second": (events as f64 / ingest.as_secs_f64()).round(),
        "json_bytes_per_event": json_bytes / events,
        "disk_bytes_per_event": size.segment_size_bytes / events,
        "segments": size.segments,
        "resident_mib": resident_mib(),
        "lookup_milliseconds_p50_max": lookups,
    });
    println!("{line}");
}

/// Takes in `events` events as the stage would, with all flushes and merges.
async fn fill(directory: &Path, clock: &Arc<TestClock>, events: u64) -> (SegmentHistory, Duration, u64) {
    let shared: Arc<dyn Clock> = clock.clone();
    let settings = SegmentSettings::default();
    let history = SegmentHistory::open(directory, memory_catalog(), shared, settings).await.unwrap();
    let entropy = SeededEntropy::new(1);
    let step = SPAN / u32::try_from(events).unwrap();
    let first = clock.now().minus(SPAN);
    let (mut ingest, mut json_bytes) = (Duration::ZERO, 0);
    for start in (0..events).step_by(usize::try_from(BATCH_EVENTS).unwrap()) {
        let end = events.min(start + BATCH_EVENTS);
        let time = |at: u64| first.plus(step * u32::try_from(at).unwrap());
        let batch: Vec<_> = (start..end).map(|at| event(at, time(at), &entropy)).collect();
        json_bytes += batch.iter().map(|event| event.json.len() as u64).sum::<u64>();
        let began = Instant::now();
        history.ingest(batch, LogPosition(end)).await.unwrap();
        history.maintain(clock.now()).await.unwrap();
        ingest += began.elapsed();
    }
    let began = Instant::now();
    history.flush().await.unwrap();
    (history, ingest + began.elapsed(), json_bytes)
}

/// The median and the longest time of each kind of lookup, in milliseconds.
async fn lookups(history: &SegmentHistory, events: u64) -> serde_json::Value {
    let rare = |at: usize| format!("event-{}", at as u64 * events / LOOKUPS as u64);
    let deep = Mark {
        horizon: LogPosition(events),
        time: Timestamp::parse_iso("2026-10-01T00:00:00Z").unwrap(),
        position: LogPosition(0),
    };
    serde_json::json!({
        "newest_page": time(history, |_| lookup(None, None)).await,
        "deep_page": time(history, |_| lookup(None, Some(deep))).await,
        "event_id": time(history, |at| lookup(Some((Attribute::EventId, rare(at))), None)).await,
        "absent_event_id": time(history, |at| lookup(Some((Attribute::EventId, format!("no-{at}"))), None)).await,
        "event_name": time(history, |_| lookup(Some((Attribute::EventName, "CreateUser".into())), None)).await,
        "resource_name": time(history, |at| lookup(Some((Attribute::ResourceName, format!("name-{at}"))), None)).await,
        "read_only_false": time(history, |_| lookup(Some((Attribute::ReadOnly, "false".into())), None)).await,
    })
}

async fn time(history: &SegmentHistory, query: impl Fn(usize) -> Lookup) -> [f64; 2] {
    let mut times = Vec::with_capacity(LOOKUPS);
    for at in 0..LOOKUPS {
        let query = query(at);
        let began = Instant::now();
        history.lookup(query).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    [times[LOOKUPS / 2], times[LOOKUPS - 1]].map(|time| (time.as_secs_f64() * 100_000.0).round() / 100.0)
}

fn lookup(attribute: Option<(Attribute, String)>, after: Option<Mark>) -> Lookup {
    Lookup {
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        insight: false,
        attribute,
        start: None,
        end: None,
        limit: 50,
        after,
    }
}

/// An event of the size and with the variety of a real one: ids that never repeat, names that often do.
fn event(at: u64, time: Timestamp, entropy: &SeededEntropy) -> HistoryEvent {
    let (name, source, read_only) = NAMES[usize::try_from(at.wrapping_mul(2_654_435_761) >> 7).unwrap() % 8];
    let (user, resource, key) = (at % 40, at % 5_000, at / 100);
    let (request, session) = (entropy.event_id(), entropy.event_id());
    let json = format!(
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","principalId":"AROAEXAMPLE{user:09}:user-{user}","arn":"arn:aws:sts::123456789012:assumed-role/team-{user}/user-{user}","accountId":"123456789012","accessKeyId":"ASIA{key:016}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROAEXAMPLE{user:09}","arn":"arn:aws:iam::123456789012:role/team-{user}","accountId":"123456789012","userName":"team-{user}"}},"attributes":{{"creationDate":"{iso}","mfaAuthenticated":"false"}}}}}},"eventTime":"{iso}","eventSource":"{source}","eventName":"{name}","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.{user}","userAgent":"aws-cli/2.15.30 Python/3.11.8 Linux/6.1.0 exe/x86_64.debian.12 prompt/off","requestParameters":{{"name":"name-{resource}","clientToken":"{session}"}},"responseElements":null,"requestID":"{request}","eventID":"event-{at}","readOnly":{read_only},"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{source}"}}}}"#,
        iso = time.iso(),
    );
    HistoryEvent {
        position: LogPosition(at),
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        time,
        insight: false,
        attributes: vec![
            (Attribute::EventId, format!("event-{at}")),
            (Attribute::EventName, name.to_owned()),
            (Attribute::ReadOnly, read_only.to_string()),
            (Attribute::Username, format!("user-{user}")),
            (Attribute::EventSource, source.to_owned()),
            (Attribute::AccessKeyId, format!("ASIA{key:016}")),
            (Attribute::ResourceType, "AWS::IAM::User".to_owned()),
            (Attribute::ResourceName, format!("name-{resource}")),
        ],
        json: Bytes::from(json),
    }
}

/// The memory that the process holds, where the system says so.
fn resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}
