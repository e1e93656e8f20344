//! What cannot be read in the log becomes an event that says so, once.

use std::sync::Arc;

use bytes::Bytes;
use cairn_core::{Clock, Timestamp};
use cairn_store::catalog::Pair;
use cairn_store::history::{SegmentHistory, SegmentSettings};
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog, LogPosition};
use cairn_testkit::{TestClock, memory_catalog, memory_log};
use cairn_trail::{HistoryStage, UndecodableReports};
use serde_json::Value;

const UNREPORTED: &str = "trail.undecodable_unreported";

struct World {
    directory: tempfile::TempDir,
    log: Arc<dyn EventLog>,
    catalog: Catalog,
    clock: Arc<TestClock>,
}

impl World {
    fn new() -> Self {
        let start = Timestamp::parse_iso("2026-11-20T10:00:00Z").unwrap();
        let (directory, clock) = (tempfile::tempdir().unwrap(), Arc::new(TestClock::new(start)));
        Self { directory, log: memory_log(), catalog: memory_catalog(), clock }
    }

    async fn append(&self, payloads: &[&'static str]) {
        let recorded_at = self.clock.now();
        let entry = |text: &&'static str| Entry {
            kind: EntryKind::Event,
            recorded_at,
            payload: Bytes::from_static(text.as_bytes()),
        };
        self.log.append(payloads.iter().map(entry).collect()).await.unwrap();
    }

    /// Runs a history that has read nothing yet, as after a restart.
    async fn read_all(&self) -> u64 {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let settings = SegmentSettings::default();
        let place = self.directory.path();
        let opened = SegmentHistory::open(place, self.catalog.clone(), clock.clone(), settings).await;
        let history = Arc::new(opened.unwrap());
        let stage = HistoryStage::new(self.log.clone(), history, clock).setting_aside(self.catalog.clone());
        stage.run_once().await.unwrap().undecodable
    }

    fn reports(&self) -> UndecodableReports {
        let (account, region) = ("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap());
        let clock: Arc<dyn Clock> = self.clock.clone();
        UndecodableReports::new(self.log.clone(), self.catalog.clone(), clock, account, region)
    }

    async fn unreported(&self) -> Vec<Pair> {
        self.catalog.read(|tx| tx.scan(UNREPORTED, b"", None, 10, false)).await.unwrap()
    }

    async fn events(&self, from: u64) -> Vec<Value> {
        let entries = self.log.read(LogPosition(from), 100, usize::MAX).await.unwrap();
        entries.iter().map(|(_, entry)| serde_json::from_slice(&entry.payload).unwrap()).collect()
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_reported_once_over_any_number_of_restarts() {
    let world = World::new();
    world.append(&["not JSON", "{}"]).await;
    for restart in 0..3 {
        assert_eq!(world.read_all().await, 2);
        let reports = world.reports();
        assert_eq!(reports.run_once().await.unwrap(), if restart == 0 { 2 } else { 0 });
        assert_eq!(reports.run_once().await.unwrap(), 0);
        assert_eq!(reports.needed_from().await.unwrap(), world.log.end());
    }
    let events = world.events(2).await;
    assert_eq!(events.len(), 2);
    let event = &events[0];
    assert_eq!(
        (&event["eventType"], &event["eventName"]),
        (&"AwsServiceEvent".into(), &"UndecodableRecord".into())
    );
    assert_eq!(
        (&event["recipientAccountId"], &event["awsRegion"]),
        (&"123456789012".into(), &"eu-west-1".into())
    );
    let details = &event["serviceEventDetails"];
    assert_eq!((&details["logPosition"], &details["sizeBytes"]), (&0.into(), &8.into()));
    assert_eq!(details["sha256"], "62b8125a6f6d924ec53345b5fcd58ca3ed3f5e7d51e2e146e5f1346508acce69");
}

#[tokio::test]
async fn a_report_whose_mark_a_crash_cut_off_is_found_in_the_log_and_not_made_again() {
    let world = World::new();
    world.append(&["not JSON"]).await;
    world.read_all().await;
    let before = world.unreported().await;
    assert_eq!(before.len(), 1);
    assert_eq!(
        world.reports().needed_from().await.unwrap(),
        LogPosition(0),
        "the log is kept for the search"
    );
    assert_eq!(world.reports().run_once().await.unwrap(), 1);
    let put_back = world.catalog.write(move |tx| {
        before.iter().try_for_each(|(key, value)| tx.put(UNREPORTED, key, value))?;
        Ok::<_, CatalogError>(())
    });
    put_back.await.unwrap();
    assert_eq!(world.reports().run_once().await.unwrap(), 0);
    assert_eq!((world.log.end(), world.unreported().await.len()), (LogPosition(2), 0));
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_not_reported() {
    let world = World::new();
    world.append(&[r#"{"eventName":"UndecodableRecord","eventSource":"cairn.amazonaws.com"#]).await;
    assert_eq!(world.read_all().await, 1);
    assert_eq!(world.reports().run_once().await.unwrap(), 0);
    assert_eq!(world.log.end(), LogPosition(1));
}
