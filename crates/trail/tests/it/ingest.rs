//! Ingest: every record once, none lost, each with its own bytes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_core::logfile::gunzip;
use cairn_core::{AccountId, Clock, Timestamp};
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{EntryKind, EventLog, LogPosition};
use cairn_testkit::{TestClock, memory_log};
use cairn_trail::Ingest;
use cairn_trail::ingest::{REFUSED_NAMED_MAX, Report};
use prometheus::Registry;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

const ACCOUNT: &str = "123456789012";

fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock::new(Timestamp::parse_iso("2024-10-01T00:00:00Z").unwrap()))
}

fn account() -> AccountId {
    ACCOUNT.parse().unwrap()
}

fn record(number: u32) -> String {
    format!(
        r#"{{"eventTime":"2023-07-10T12:00:23Z","eventID":"{number:08x}-0000-4000-8000-000000000000","awsRegion":"eu-west-1","eventSource":"a.example","eventName":"Do","recipientAccountId":"{ACCOUNT}"}}"#
    )
}

async fn send(ingest: &Arc<Ingest>, body: &[u8], step: usize) -> (Report, Option<String>) {
    let mut intake = ingest.intake(account());
    let mut error = None;
    for piece in body.chunks(step) {
        if let Err(refused) = intake.push(piece).await {
            error = Some(refused.to_string());
            break;
        }
    }
    if error.is_none() {
        error = intake.end().err().map(|refused| refused.to_string());
    }
    (intake.close().await.unwrap(), error)
}

fn counts(report: &Report) -> (u64, u64, u64) {
    (report.accepted, report.duplicates, report.refused_count())
}

async fn logged(log: &dyn EventLog) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut position = log.start();
    while position < log.end() {
        let entries = log.read(position, 1000, 1 << 20).await.unwrap();
        position = LogPosition(entries.last().unwrap().0.0 + 1);
        found.extend(entries.into_iter().map(|(_, entry)| {
            assert_eq!(entry.kind, EntryKind::Ingested);
            entry.payload
        }));
    }
    found
}

#[tokio::test]
async fn a_record_sent_twice_is_taken_once_whatever_its_body() {
    let log = memory_log();
    let ingest = Arc::new(Ingest::open(Arc::clone(&log), clock()).await.unwrap());
    let lines = format!("{}\n{}\n{}", record(1), record(2), record(1));
    assert_eq!(counts(&send(&ingest, lines.as_bytes(), 7).await.0), (2, 1, 0));
    let document = format!(r#"{{"Records":[{},{},7]}}"#, record(2), record(3));
    let (report, error) = send(&ingest, document.as_bytes(), 1000).await;
    assert_eq!((counts(&report), error), ((1, 1, 1), None));
    assert_eq!(report.refused[0].index, 2);
    assert_eq!(logged(log.as_ref()).await, [record(1), record(2), record(3)]);
}

#[tokio::test]
async fn what_came_before_a_broken_end_stays_and_is_known_when_it_is_sent_again() {
    let log = memory_log();
    let ingest = Arc::new(Ingest::open(Arc::clone(&log), clock()).await.unwrap());
    let whole = format!(r#"{{"Records":[{},{}]}}"#, record(1), record(2));
    let (report, error) = send(&ingest, &whole.as_bytes()[..whole.len() - 5], 9).await;
    assert_eq!(counts(&report), (1, 0, 0));
    assert_eq!(error.unwrap(), "the body ends inside the array of records, after 1 records");
    assert_eq!(counts(&send(&ingest, whole.as_bytes(), 9).await.0), (1, 1, 0));
}

#[tokio::test]
async fn many_refused_records_are_named_up_to_a_limit_and_then_counted() {
    let ingest = Arc::new(Ingest::open(memory_log(), clock()).await.unwrap());
    let (report, _) = send(&ingest, "{}\n".repeat(REFUSED_NAMED_MAX + 20).as_bytes(), 100).await;
    assert_eq!((report.refused.len(), report.refused_omitted), (REFUSED_NAMED_MAX, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_with_the_same_records_write_each_once_and_answer_when_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let opened = SegmentLog::open(directory.path(), LogSettings::default(), &Registry::new());
    let log: Arc<dyn EventLog> = Arc::new(opened.unwrap());
    let ingest = Arc::new(Ingest::open(Arc::clone(&log), clock()).await.unwrap());
    let body: Arc<String> = Arc::new((0..4000).map(|number| record(number) + "\n").collect());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (ingest, body, log) = (Arc::clone(&ingest), Arc::clone(&body), Arc::clone(&log));
        tasks.spawn(async move {
            let (report, _) = send(&ingest, body.as_bytes(), 50_000).await;
            assert!(log.end() >= LogPosition(4000), "an answer leaves when all its records are durable");
            report
        });
    }
    let reports = tasks.join_all().await;
    assert_eq!(reports.iter().map(|report| report.accepted).sum::<u64>(), 4000);
    assert!(reports.iter().all(|report| report.accepted + report.duplicates == 4000));
    assert_eq!(log.end(), LogPosition(4000));
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_its_records_to_be_known() {
    let log = memory_log();
    let ingest = Arc::new(Ingest::open(Arc::clone(&log), clock()).await.unwrap());
    let large: String = (0..8000).map(|number| record(number) + "\n").collect();
    let mut intake = ingest.intake(account());
    intake.push(large.as_bytes()).await.unwrap();
    drop(intake);
    let (report, _) = send(&ingest, large.as_bytes(), 1 << 20).await;
    assert_eq!(report.accepted + report.duplicates, 8000);
    assert_eq!(log.end(), LogPosition(8000));
}

#[tokio::test]
async fn after_a_restart_the_window_is_the_tail_of_the_log_and_the_log_keeps_it() {
    let log = memory_log();
    let window = 100;
    let open = || Ingest::with_window(Arc::clone(&log), clock(), window);
    let ingest = Arc::new(open().await.unwrap());
    assert_eq!(ingest.needed_from(), LogPosition(0));
    for numbers in [0..50, 50..100, 100..150] {
        let body: String = numbers.map(|number| record(number) + "\n").collect();
        send(&ingest, body.as_bytes(), 1 << 20).await;
    }
    assert_eq!(ingest.needed_from(), LogPosition(50), "the first run lies behind the window");
    log.trim(ingest.needed_from()).await.unwrap();
    let again = Arc::new(open().await.unwrap());
    let body: String = (40..160).map(|number| record(number) + "\n").collect();
    let (report, _) = send(&again, body.as_bytes(), 1 << 20).await;
    assert_eq!(counts(&report), (20, 100, 0));
}

#[tokio::test]
async fn a_server_without_ingested_records_needs_nothing_of_the_log() {
    let log = memory_log();
    let entry = cairn_store::Entry {
        kind: EntryKind::Event,
        recorded_at: Timestamp::EPOCH,
        payload: Bytes::from(record(1)),
    };
    log.append(vec![entry; 9]).await.unwrap();
    let ingest = Ingest::open(Arc::clone(&log), clock()).await.unwrap();
    assert_eq!(ingest.needed_from(), LogPosition(9));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The recorded events, byte for byte but for the account, which becomes ours.
fn recorded_events(folder: &Path) -> Vec<String> {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    let mut found = Vec::new();
    for (name, form) in [("invictus", 'd'), ("stratus", 'a'), ("otrf", 'l')] {
        for file in files(&folder.join(name)) {
            let bytes = std::fs::read(&file).unwrap();
            let bytes =
                if bytes.starts_with(&[0x1f, 0x8b]) { gunzip(&bytes, 64 << 20).unwrap() } else { bytes };
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let raw: Vec<&str> = match form {
                'd' => {
                    let document: Document<'_> = serde_json::from_str(&text).unwrap();
                    document.records.iter().map(|raw| raw.get()).collect()
                }
                'a' => {
                    let array: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
                    array.iter().map(|raw| raw.get()).collect()
                }
                _ => text.lines().filter(|line| !line.trim().is_empty()).collect(),
            };
            found.extend(raw.into_iter().map(in_our_account));
        }
    }
    found
}

/// With our account; and with its time under AWS's name, which one collection keeps as Logstash does.
fn in_our_account(json: &str) -> String {
    let json = &json.replace("\"@timestamp\"", "\"eventTime\"").replace(".000Z\"", "Z\"");
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let own = value["recipientAccountId"].as_str().or(value["userIdentity"]["accountId"].as_str());
    own.map_or_else(|| json.to_owned(), |own| json.replace(own, ACCOUNT))
}

#[tokio::test]
async fn all_recorded_events_are_taken_byte_for_byte_in_both_forms() {
    let Some(folder) = cairn_testkit::fixtures("events") else { return };
    let events = recorded_events(&folder);
    assert!(events.len() > 2000, "{}", events.len());
    let ids: HashSet<String> = events
        .iter()
        .map(|json| serde_json::from_str::<serde_json::Value>(json).unwrap()["eventID"].to_string())
        .collect();
    let document = format!("{{\"Records\":[{}]}}", events.join(","));
    // Recorded events of several lines do not fit into lines.
    let lines: Vec<&str> = events.iter().map(String::as_str).filter(|json| !json.contains('\n')).collect();
    let log = memory_log();
    let ingest = Arc::new(Ingest::open(Arc::clone(&log), clock()).await.unwrap());
    let (report, error) = send(&ingest, document.as_bytes(), 8191).await;
    assert_eq!(error, None);
    assert_eq!(report.refused, []);
    assert_eq!(counts(&report), (ids.len() as u64, (events.len() - ids.len()) as u64, 0));
    let kept: HashSet<Bytes> = logged(log.as_ref()).await.into_iter().collect();
    let sent: HashSet<Bytes> = events.iter().cloned().map(Bytes::from).collect();
    assert!(kept.is_subset(&sent) && kept.len() == ids.len());
    let (report, _) = send(&ingest, lines.join("\n").as_bytes(), 8191).await;
    assert_eq!(counts(&report), (0, lines.len() as u64, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_record_is_accepted_a_duplicate_or_refused(
        parts in prop::collection::vec((0_u32..6, 0_u8..8), 0..60),
        as_document in any::<bool>(),
        step in 1_usize..300,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records: Vec<String> = parts
            .iter()
            .map(|(number, damage)| match damage {
                0 => record(*number).replace("eventTime", "time"),
                1 => record(*number).replace("eu-west-1", "\\ud800"),
                2 => format!("\"{number}\""),
                _ => record(*number),
            })
            .collect();
        let sound: Vec<u32> = parts.iter().filter(|(_, damage)| *damage > 2).map(|(number, _)| *number).collect();
        let different: HashSet<u32> = sound.iter().copied().collect();
        let body = if as_document { format!("{{\"Records\":[{}]}}", records.join(",")) } else { records.join("\n") };
        // Lines that do not begin with a brace are no body of records from the start.
        prop_assume!(as_document || body.is_empty() || body.starts_with('{'));
        runtime.block_on(async {
            let log = memory_log();
            let ingest = Arc::new(Ingest::open(Arc::clone(&log), clock()).await.unwrap());
            let (report, error) = send(&ingest, body.as_bytes(), step).await;
            assert_eq!(error, None);
            assert_eq!(
                counts(&report),
                (different.len() as u64, (sound.len() - different.len()) as u64, (records.len() - sound.len()) as u64)
            );
            assert_eq!(log.end().0, different.len() as u64);
        });
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..2000), step in 1_usize..200) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ingest = Arc::new(Ingest::open(memory_log(), clock()).await.unwrap());
            let (report, _) = send(&ingest, &body, step).await;
            assert_eq!(report.accepted + report.duplicates, 0);
        });
    }
}
