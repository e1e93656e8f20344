//! How many records a second ingest takes: `cargo run --release -p cairn-trail --example bench_ingest [DIR] [SECONDS]
//! [CALLS]`.
//!
//! Prints one line of JSON: records and bytes a second that were split, checked and made durable in a log in DIR, by
//! CALLS calls at a time of 8 MiB each, for both forms of a body; and the machine's own limits beside it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_core::{AccountId, Clock, Timestamp};
use cairn_store::EventLog;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_trail::Ingest;
use prometheus::Registry;

/// The size of a typical record's JSON.
const RECORD_BYTES: usize = 1400;
/// Records of one call.
const RECORDS_PER_CALL: u64 = 6000;
const ACCOUNT: &str = "123456789012";

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

#[allow(clippy::disallowed_methods, reason = "measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// A record as real ones are: identity, parameters, response; its id is `number`.
fn record(number: u64) -> String {
    let record = format!(
        r#"{{"eventVersion":"1.09","userIdentity":{{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","arn":"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/bob","accountId":"{ACCOUNT}","accessKeyId":"ASIAEXAMPLE","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::{ACCOUNT}:role/Admin","accountId":"{ACCOUNT}","userName":"Admin"}},"attributes":{{"creationDate":"2023-07-10T11:00:00Z","mfaAuthenticated":"false"}}}}}},"eventTime":"2023-07-10T12:00:23Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.9","userAgent":"aws-cli/2.13 Python/3.11","requestID":"{number:08x}-1111-4111-8111-000000000000","eventID":"{number:08x}-2222-4222-8222-000000000000","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{ACCOUNT}","eventCategory":"Management","requestParameters":{{"instancesSet":{{"items":[{{"imageId":"ami-0","minCount":1,"maxCount":1}}]}},"note":"#
    );
    let mut text = record;
    let filler = RECORD_BYTES.saturating_sub(text.len() + 4);
    text.push('"');
    (0..filler).for_each(|at| text.push(if at % 12 == 11 { ' ' } else { 'x' }));
    text.push_str("\"}}");
    text
}

fn body(first: u64, lines: bool) -> Vec<u8> {
    let records: Vec<String> = (first..first + RECORDS_PER_CALL).map(record).collect();
    if lines {
        records.join("\n").into_bytes()
    } else {
        format!("{{\"Records\":[{}]}}", records.join(",")).into_bytes()
    }
}

async fn run(
    dir: &Path,
    lines: bool,
    span: Duration,
    calls: u64,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let log: Arc<dyn EventLog> = Arc::new(SegmentLog::open(dir, LogSettings::default(), &Registry::new())?);
    let ingest = Arc::new(Ingest::open(Arc::clone(&log), Arc::new(Fixed)).await?);
    let account: AccountId = ACCOUNT.parse()?;
    // The bodies are made before, and their ids changed in place while measuring: making them is not what is measured.
    let next = Arc::new(AtomicU64::new(0));
    let begun = now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut busy = Duration::ZERO;
    let mut accepted = 0;
    for _ in 0..calls {
        let (ingest, account, next) = (Arc::clone(&ingest), account.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            let (mut accepted, mut making) = (0, Duration::ZERO);
            while begun.elapsed() < span {
                let start = now();
                let body = body(next.fetch_add(RECORDS_PER_CALL, Ordering::Relaxed), lines);
                making += start.elapsed();
                let mut intake = ingest.intake(account.clone());
                for piece in body.chunks(64 * 1024) {
                    intake.push(piece).await.map_err(|error| error.to_string())?;
                }
                intake.end().map_err(|error| error.to_string())?;
                accepted += intake.close().await.map_err(|error| error.to_string())?.accepted;
            }
            Ok::<_, String>((accepted, making))
        });
    }
    while let Some(joined) = tasks.join_next().await {
        let (took, making) = joined??;
        accepted += took;
        busy += making;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let own = seconds - busy.as_secs_f64() / calls as f64;
    Ok(serde_json::json!({
        "records_per_second": (accepted as f64 / own).round(),
        "records_per_second_with_making_them": (accepted as f64 / seconds).round(),
        "megabytes_per_second": (accepted as f64 * RECORD_BYTES as f64 / own / 1e6).round(),
        "records": accepted,
    }))
}

/// Records a second that one core splits and checks, without a log.
fn checked_per_second(lines: bool) -> Result<f64, Box<dyn std::error::Error>> {
    use cairn_trail::ingest::check::check;
    use cairn_trail::ingest::split::{Found, Splitter};
    let (body, account) = (body(0, lines), ACCOUNT.parse::<AccountId>()?);
    let (begun, mut rounds, mut sound) = (now(), 0_u64, 0_u64);
    while begun.elapsed() < Duration::from_secs(1) {
        let mut splitter = Splitter::default();
        let mut each = |found: Found<'_>| {
            if let Found::Record { json } = found {
                sound += u64::from(check(json, &account).is_ok());
            }
        };
        for piece in body.chunks(64 * 1024) {
            splitter.push(piece, &mut each)?;
        }
        splitter.finish(&mut each)?;
        rounds += 1;
    }
    assert_eq!(sound, rounds * RECORDS_PER_CALL, "all records are sound");
    Ok((sound as f64 / begun.elapsed().as_secs_f64()).round())
}

#[allow(clippy::print_stdout, reason = "the line is what this program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "bench-ingest".into());
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let calls: u64 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut line = serde_json::Map::new();
    line.insert("record_bytes".into(), record(0).len().into());
    line.insert("calls".into(), calls.into());
    for (name, lines) in [("ndjson", true), ("records", false)] {
        let folder = Path::new(&dir).join(name);
        std::fs::create_dir_all(&folder)?;
        let mut measured = runtime.block_on(run(&folder, lines, Duration::from_secs(seconds), calls))?;
        measured["checked_per_second_one_core"] = checked_per_second(lines)?.into();
        line.insert(name.into(), measured);
        std::fs::remove_dir_all(&folder)?;
    }
    println!("{}", serde_json::Value::Object(line));
    Ok(())
}
