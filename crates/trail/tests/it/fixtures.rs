//! Real records, from the log to the delivered file, byte for byte.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cairn_core::Record;
use cairn_core::logfile::gunzip;
use cairn_core::selector::{AdvancedSelector, EventSelection};
use serde_json::value::RawValue;

use super::world::{DIGEST_S, World, records_of, trail};

/// The records of a fixture: a log file, a bare array, or lines, compressed or not.
fn records(path: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        bytes = gunzip(&bytes, 1 << 30).unwrap();
    }
    let text = String::from_utf8(bytes).unwrap();
    if let Ok(array) = serde_json::from_str::<Vec<&RawValue>>(&text) {
        return array.into_iter().map(|record| record.get().to_owned()).collect();
    }
    if text.starts_with(r#"{"Records""#) {
        return records_of(text.as_bytes());
    }
    text.lines().filter(|line| !line.trim().is_empty()).map(with_event_time).collect()
}

/// An export by Logstash, which took `eventTime` out and left `@timestamp`: given back what makes it a record.
fn with_event_time(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    match (&value["eventTime"], value["@timestamp"].as_str()) {
        (serde_json::Value::Null, Some(time)) => {
            line.replacen('{', &format!(r#"{{"eventTime":"{time}","#), 1)
        }
        _ => line.to_owned(),
    }
}

fn files_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_in(&path, found) } else { found.push(path) }
    }
}

#[tokio::test]
async fn every_real_record_is_delivered_byte_for_byte() {
    let Some(folder) = cairn_testkit::fixtures("events") else { return };
    let mut paths = Vec::new();
    files_in(&folder, &mut paths);
    let mut all: Vec<String> = paths.iter().flat_map(|path| records(path)).collect();
    assert!(all.len() > 2000, "{} records", all.len());
    let world = World::new();
    let mut accounts = BTreeSet::new();
    let mut unplaceable = 0;
    let mut kept = Vec::new();
    for text in all.drain(..) {
        let Ok(record) = Record::from_json(Bytes::from(text.clone())) else {
            unplaceable += 1;
            continue;
        };
        accounts.insert(record.facts().unwrap().account().unwrap());
        kept.push(text);
    }
    assert_eq!(unplaceable, 0, "every fixture has a place");
    for account in &accounts {
        let mut everything = trail("audit");
        everything.arn = cairn_core::TrailArn::new(&"us-east-1".parse().unwrap(), account, "audit");
        everything.selection =
            EventSelection::Advanced(vec![AdvancedSelector { name: None, field_selectors: vec![] }]);
        world.put_logging(everything).await;
    }
    let process = world.process();
    for text in &kept {
        world.append(Bytes::from(text.clone())).await;
    }
    world.run_for(&process, DIGEST_S).await;
    kept.sort();
    let delivered = world.records("logs");
    assert_eq!(delivered.len(), kept.len());
    assert!(delivered == kept, "a record changed on its way");
    world.verify_whole("logs").await;
}
