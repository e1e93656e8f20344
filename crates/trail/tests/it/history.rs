//! The history stage: from the event log to what `LookupEvents` finds.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::logfile::gunzip;
use cairn_core::{Clock, Timestamp};
use cairn_store::history::{Attribute, Lookup, SegmentHistory, SegmentSettings};
use cairn_store::{Catalog, Entry, EntryKind, EventLog, History, HistoryEvent, LogPosition};
use cairn_testkit::{TestClock, memory_catalog, memory_log};
use cairn_trail::HistoryStage;
use cairn_trail::history::history_event;
use serde::Deserialize;
use serde_json::value::RawValue;

const FIXTURE_SIZE_BYTES_MAX: usize = 64 * 1024 * 1024;

struct Setup {
    directory: tempfile::TempDir,
    catalog: Catalog,
    clock: Arc<TestClock>,
    log: Arc<dyn EventLog>,
}

impl Setup {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            catalog: memory_catalog(),
            clock: Arc::new(TestClock::new(Timestamp::parse_iso("2024-10-01T00:00:00Z").unwrap())),
            log: memory_log(),
        }
    }

    async fn start(&self, settings: SegmentSettings) -> (HistoryStage, Arc<SegmentHistory>) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let opened =
            SegmentHistory::open(self.directory.path(), self.catalog.clone(), clock.clone(), settings).await;
        let history = Arc::new(opened.unwrap());
        (HistoryStage::new(self.log.clone(), history.clone(), clock), history)
    }

    async fn append(&self, payloads: impl IntoIterator<Item = Bytes>) {
        let entry = |payload| Entry { kind: EntryKind::Event, recorded_at: self.clock.now(), payload };
        self.log.append(payloads.into_iter().map(entry).collect()).await.unwrap();
    }
}

/// All years that the fixtures are of, in segments of a few hundred events.
fn settings() -> SegmentSettings {
    SegmentSettings {
        tail_events_max: 200,
        row_group_rows_max: 64,
        merge_segments: 3,
        retention: Duration::from_secs(10 * 365 * 24 * 60 * 60),
        ..SegmentSettings::default()
    }
}

/// A record with these members besides the necessary ones.
fn record(id: &str, members: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"eventVersion":"1.11","eventTime":"2024-09-30T12:00:00Z","awsRegion":"us-east-1","eventID":"{id}","recipientAccountId":"123456789012"{members}}}"#
    ))
}

fn lookup(attribute: Option<(Attribute, &str)>) -> Lookup {
    Lookup {
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        insight: false,
        attribute: attribute.map(|(key, value)| (key, value.to_owned())),
        start: None,
        end: None,
        limit: 50,
        after: None,
    }
}

async fn found(history: &SegmentHistory, query: Lookup) -> Vec<String> {
    let page = history.lookup(query).await.unwrap();
    page.events.iter().map(|event| event.attribute(Attribute::EventId).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn intents_are_no_events() {
    let setup = Setup::new();
    let intent = |payload| Entry { kind: EntryKind::Intent, recorded_at: setup.clock.now(), payload };
    setup.log.append(vec![intent(record("a", "")), intent(Bytes::from_static(b"?"))]).await.unwrap();
    setup.append([record("b", "")]).await;
    let (stage, _history) = setup.start(settings()).await;
    let progress = stage.run_once().await.unwrap();
    assert_eq!((progress.events, progress.undecodable, progress.up_to), (1, 0, LogPosition(3)));
}

#[tokio::test]
async fn management_and_insights_events_can_be_looked_up_and_others_cannot() {
    let setup = Setup::new();
    let (stage, history) = setup.start(settings()).await;
    setup
        .append([
            record("m", r#","eventSource":"iam.amazonaws.com","eventName":"CreateUser","readOnly":false,"eventCategory":"Management","userIdentity":{"type":"IAMUser","userName":"ann","accessKeyId":"AKIA1"},"requestParameters":{"userName":"bob"}"#),
            record("d", r#","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventCategory":"Data""#),
            record("n", r#","eventCategory":"NetworkActivity""#),
            record("i", r#","eventType":"AwsCloudTrailInsight","eventCategory":"Insight","insightDetails":{"state":"Start","eventSource":"iam.amazonaws.com","eventName":"CreateUser"}"#),
        ])
        .await;
    let progress = stage.run_once().await.unwrap();
    assert_eq!((progress.events, progress.undecodable, progress.up_to), (2, 0, LogPosition(4)));

    assert_eq!(found(&history, lookup(None)).await, ["m"]);
    for attribute in [
        (Attribute::EventId, "m"),
        (Attribute::EventName, "CreateUser"),
        (Attribute::ReadOnly, "false"),
        (Attribute::Username, "ann"),
        (Attribute::EventSource, "iam.amazonaws.com"),
        (Attribute::AccessKeyId, "AKIA1"),
        (Attribute::ResourceType, "AWS::IAM::User"),
        (Attribute::ResourceName, "bob"),
    ] {
        assert_eq!(found(&history, lookup(Some(attribute))).await, ["m"], "{attribute:?}");
    }
    assert!(found(&history, lookup(Some((Attribute::ReadOnly, "true")))).await.is_empty());
    for attribute in [(Attribute::EventName, "CreateUser"), (Attribute::EventSource, "iam.amazonaws.com")] {
        let insight = Lookup { insight: true, ..lookup(Some(attribute)) };
        assert_eq!(found(&history, insight).await, ["i"]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_does_not_stop_the_stage() {
    let setup = Setup::new();
    let (stage, history) = setup.start(settings()).await;
    let registry = prometheus::Registry::new();
    stage.register(&registry).unwrap();
    let no_account = r#"{"eventTime":"2024-09-30T12:00:00Z","eventID":"x","awsRegion":"us-east-1"}"#;
    setup.append([record("a", ""), Bytes::from("not JSON"), Bytes::from(no_account), record("b", "")]).await;
    let progress = stage.run_once().await.unwrap();
    assert_eq!((progress.events, progress.undecodable, progress.up_to), (2, 2, LogPosition(4)));
    assert_eq!(found(&history, lookup(None)).await, ["b", "a"]);
    let counted = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_counter().get_value()
    };
    assert_eq!(counted("cairn_history_undecodable_total"), 2.0);
    assert_eq!(counted("cairn_history_events_total"), 2.0);
}

#[tokio::test]
async fn after_a_restart_the_stage_reads_again_what_was_only_in_memory() {
    let setup = Setup::new();
    let (stage, history) = setup.start(settings()).await;
    setup.append((0..250).map(|at| record(&format!("e{at}"), ""))).await;
    stage.run_once().await.unwrap();
    setup.append([record("last", "")]).await;
    stage.run_once().await.unwrap();
    let durable = history.durable_position().await.unwrap();
    assert!(durable > LogPosition(0), "a full tail was written");
    drop((stage, history));

    setup.append([record("new", "")]).await;
    let (stage, history) = setup.start(settings()).await;
    let progress = stage.run_once().await.unwrap();
    assert_eq!(progress.events, 252 - durable.0);
    let mut query = lookup(None);
    query.limit = 1000;
    let ids = found(&history, query).await;
    assert_eq!(ids.len(), 252);
    assert_eq!(ids[..3], ["new", "last", "e249"]);
    assert_eq!(stage.run_once().await.unwrap().events, 0);
}

#[tokio::test]
async fn a_log_that_was_trimmed_under_a_lost_history_is_read_from_its_start() {
    let setup = Setup::new();
    setup.append((0..10).map(|at| record(&format!("e{at}"), ""))).await;
    setup.log.trim(LogPosition(7)).await.unwrap();
    let (stage, history) = setup.start(settings()).await;
    assert_eq!(stage.run_once().await.unwrap().events, 3);
    assert_eq!(found(&history, lookup(None)).await, ["e9", "e8", "e7"]);
}

/// The records of a fixture, byte for byte: a log file, a JSON array, or one record on a line.
fn records(path: &Path) -> Vec<Bytes> {
    #[derive(Deserialize)]
    struct LogFile<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    let mut text = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        text = gunzip(&text, FIXTURE_SIZE_BYTES_MAX).unwrap();
    }
    let text = std::str::from_utf8(&text).unwrap();
    let records: Vec<&RawValue> = if text.starts_with("{\"Records\"") {
        serde_json::from_str::<LogFile<'_>>(text).unwrap().records
    } else if text.trim_start().starts_with('[') {
        serde_json::from_str(text).unwrap()
    } else {
        return text.lines().map(with_event_time).collect();
    };
    records.into_iter().map(|record| Bytes::copy_from_slice(record.get().as_bytes())).collect()
}

/// A record that went through Logstash, which calls the time of an event `@timestamp`, with that under its own name.
fn with_event_time(line: &str) -> Bytes {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "@timestamp")]
        timestamp: &'a str,
    }
    let Line { timestamp } = serde_json::from_str(line).unwrap();
    Bytes::from(format!(r#"{{"eventTime":"{timestamp}",{}"#, line.strip_prefix('{').unwrap()))
}

/// What must be found for one partition and attribute, as a plain list would say.
type Expected = HashMap<(Lookup0, Option<(Attribute, String)>), Vec<(Timestamp, LogPosition)>>;
type Lookup0 = (String, String, bool);

fn expected(events: &[HistoryEvent]) -> Expected {
    let mut expected = Expected::new();
    for event in events {
        let partition = (event.account.to_string(), event.region.to_string(), event.insight);
        let mut keys: Vec<_> = event.attributes.iter().cloned().map(Some).chain([None]).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            expected.entry((partition.clone(), key)).or_default().push((event.time, event.position));
        }
    }
    for places in expected.values_mut() {
        places.sort();
        places.reverse();
    }
    expected
}

#[tokio::test]
async fn every_fixture_is_found_by_every_attribute_and_comes_back_byte_for_byte() {
    let Some(directory) = cairn_testkit::fixtures("events") else { return };
    let mut payloads = Vec::new();
    for folder in ["invictus", "stratus", "otrf"] {
        let mut paths: Vec<_> =
            std::fs::read_dir(directory.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        payloads.extend(paths.iter().flat_map(|path| records(path)));
    }
    assert_eq!(payloads.len(), 1780 + 130 + 103);
    let setup = Setup::new();
    let (stage, history) = setup.start(settings()).await;
    setup.append(payloads.iter().cloned()).await;
    let progress = stage.run_once().await.unwrap();
    assert_eq!(progress.undecodable, 0);
    let positions = || (0..).map(LogPosition);
    let events: Vec<HistoryEvent> = positions()
        .zip(&payloads)
        .filter_map(|(position, json)| history_event(position, json).unwrap())
        .collect();
    assert_eq!(progress.events, events.len() as u64);
    assert!(events.len() > 1900, "nearly all are management events, {} were", events.len());

    let expected = expected(&events);
    assert!(expected.len() > 2000, "{} different searches", expected.len());
    for (at, ((partition, attribute), places)) in expected.iter().enumerate() {
        // One search of four: all of them take long in an unoptimised build.
        if at % 4 != 0 && attribute.is_some() {
            continue;
        }
        let (account, region, insight) = partition;
        let mut query = Lookup {
            account: account.parse().unwrap(),
            region: region.parse().unwrap(),
            insight: *insight,
            ..lookup(None)
        };
        query.attribute.clone_from(attribute);
        let mut shown = Vec::new();
        loop {
            let page = history.lookup(query.clone()).await.unwrap();
            for event in &page.events {
                assert_eq!(event.json, payloads[usize::try_from(event.position.0).unwrap()]);
            }
            shown.extend(page.events.iter().map(|event| (event.time, event.position)));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(&shown, places, "{query:?}");
    }
    println!("{} events, {} searches, {:?}", events.len(), expected.len(), history.size());
}
