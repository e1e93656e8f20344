//! The format of segments and of their registry, version by version: files as an earlier program left them, and what
//! is found in them. A format change adds a folder; it never changes those that are there.
//!
//! `cargo test -p cairn-store --test it -- --ignored write_the_golden_history` writes that of the present version.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_core::AccountId;
use cairn_store::catalog::{CatalogError, Pair};
use cairn_store::history::{Attribute, History, HistoryEvent, Lookup, SegmentHistory, SegmentSettings};
use cairn_store::{Catalog, LogPosition};
use cairn_testkit::{TestClock, memory_catalog};

use super::{all_pages, event, everything, open, small, start};

const SEGMENT: &str = "00000000000000000000.parquet";
const REGISTRY: &str = "registry.txt";
const OUTCOME: &str = "outcome.txt";
const TABLES: [&str; 2] = ["history.segment", "history.position"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/history")
}

/// Events of two accounts and both kinds, some without any attribute, more than a row group of them.
fn events() -> Vec<HistoryEvent> {
    let mut events: Vec<_> =
        (0..12).map(|at| event(at, start().minus(std::time::Duration::from_secs(at)))).collect();
    let other: AccountId = "210987654321".parse().unwrap();
    events[3].account = other.clone();
    events[4].account = other;
    events[5].insight = true;
    events[6].attributes.clear();
    events[7].attributes.push((Attribute::ResourceName, "a name without a type, é".to_owned()));
    for (at, json) in [
        (8, r#"{"eventID":"@","é":1}"#),
        (9, r#"{"shared":"@", "eventID" : "@" }"#),
        (10, r#"{"eventID":"not here"}"#),
    ] {
        let id = format!("68c99c97-c191-4329-b210-82ca863106{at:02}");
        events[at].json = json.replace('@', &id).into();
        events[at].attributes.retain(|(attribute, _)| *attribute != Attribute::EventId);
        events[at].attributes.insert(0, (Attribute::EventId, id));
    }
    events
}

/// The registry's rows: table, key in hexadecimal, value.
async fn registry_text(catalog: &Catalog) -> String {
    let rows = catalog
        .read(|tx| {
            let mut rows = Vec::new();
            for table in TABLES {
                rows.push((table, tx.scan(table, &[], None, usize::MAX, false)?));
            }
            Ok::<Vec<(&str, Vec<Pair>)>, CatalogError>(rows)
        })
        .await
        .unwrap();
    let mut text = String::new();
    for (table, pairs) in rows {
        for (key, value) in pairs {
            let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{table} {key} {}", String::from_utf8(value).unwrap()).unwrap();
        }
    }
    text
}

async fn catalog_of(text: &str) -> Catalog {
    let catalog = memory_catalog();
    let text = text.to_owned();
    let put = move |tx: &mut dyn cairn_store::Tx| {
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            let (name, key, value) =
                (parts.next().unwrap(), parts.next().unwrap_or_default(), parts.next().unwrap());
            let table = TABLES.into_iter().find(|table| *table == name);
            let byte = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).unwrap();
            let key: Vec<u8> = (0..key.len()).step_by(2).map(byte).collect();
            tx.put(table.unwrap(), &key, value.as_bytes())?;
        }
        Ok::<(), CatalogError>(())
    };
    catalog.write(put).await.unwrap();
    catalog
}

/// All that is found, as text.
async fn outcome(history: &SegmentHistory) -> String {
    let mut text = format!("durable up to {}\n", history.durable_position().await.unwrap().0);
    for (account, insight) in [("123456789012", false), ("123456789012", true), ("210987654321", false)] {
        let query = Lookup { account: account.parse().unwrap(), insight, ..everything() };
        writeln!(text, "account {account} insight {insight}").unwrap();
        for event in all_pages(history, query).await {
            let json = std::str::from_utf8(&event.json).unwrap();
            writeln!(text, "{} {} {:?} {json}", event.position.0, event.time.iso_millis(), event.attributes)
                .unwrap();
        }
    }
    let user = Some((Attribute::ResourceName, "user-2".to_owned()));
    let found = all_pages(history, Lookup { attribute: user, ..everything() }).await;
    writeln!(text, "user-2: {:?}", found.iter().map(|event| event.position.0).collect::<Vec<_>>()).unwrap();
    text
}

#[tokio::test]
async fn segments_of_every_version_are_read_as_they_were_written() {
    let mut versions = 0;
    for entry in fs::read_dir(golden()).unwrap() {
        let folder = entry.unwrap().path();
        let directory = tempfile::tempdir().unwrap();
        fs::copy(folder.join(SEGMENT), directory.path().join(SEGMENT)).unwrap();
        let catalog = catalog_of(&fs::read_to_string(folder.join(REGISTRY)).unwrap()).await;
        let clock = Arc::new(TestClock::new(start()));
        let history = open(directory.path(), &catalog, &clock, small()).await;
        assert_eq!(history.size().segments_unreadable, 0, "{}", folder.display());
        let expected = fs::read_to_string(folder.join(OUTCOME)).unwrap();
        assert_eq!(outcome(&history).await, expected, "{}", folder.display());
        versions += 1;
    }
    assert!(versions > 0, "there are golden files");
}

#[tokio::test]
#[ignore = "it writes files into the source tree"]
async fn write_the_golden_history() {
    let folder = golden().join("v2");
    fs::create_dir_all(&folder).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let settings = SegmentSettings { row_group_rows_max: 7, ..small() };
    let history = open(directory.path(), &catalog, &clock, settings).await;
    history.ingest(events(), LogPosition(12)).await.unwrap();
    history.flush().await.unwrap();
    fs::copy(directory.path().join(SEGMENT), folder.join(SEGMENT)).unwrap();
    fs::write(folder.join(REGISTRY), registry_text(&catalog).await).unwrap();
    fs::write(folder.join(OUTCOME), outcome(&history).await).unwrap();
}
