//! The queues' journal as an earlier program left it, sound and damaged, and what opening it must give. A format change
//! adds files; it never changes those that are there.
//!
//! `cargo test -p cairn-store --test it -- --ignored write_the_golden_queues` writes those of the present version.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::disk::{Disk, SystemDisk};
use cairn_store::queues::{
    Ask, DeadLetters, JournalQueues, NewMessage, QueueError, QueueSettings, Queues, Received,
};
use cairn_testkit::SteppedQueues;
use prometheus::Registry;

use crate::golden::chain;
use crate::log_damage::segments;
use crate::queues::{ask, at, key, message};

const OUTCOME: &str = "outcome.txt";
/// The bytes before the first frame, and of a frame before its payload.
const HEADER_BYTES: usize = 32;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/queues")
}

async fn open(dir: &Path) -> Result<SteppedQueues, QueueError> {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let settings = QueueSettings { segment_size_bytes: 1024, ..QueueSettings::default() };
    JournalQueues::open_undriven(&disk, dir, settings, &Registry::new()).await.map(SteppedQueues)
}

fn line(text: &mut String, received: &Received) {
    let Received { receipt, id, payload, group, deduplication, sent_at, first_received_at, came_from } =
        received;
    let payload = String::from_utf8_lossy(payload);
    let (sent, first) = (sent_at.seconds(), first_received_at.seconds());
    let came_from = came_from.as_ref().map(|queue| &queue.0);
    writeln!(
        text,
        "  {} {}x {id} {payload:?} {group:?} {deduplication:?} {sent} {first} {came_from:?}",
        receipt.sequence.0, receipt.receives
    )
    .unwrap();
}

/// Opens a copy of the journal in `dir` and writes out what is in it.
async fn outcome(dir: &Path) -> String {
    let copy = tempfile::tempdir().unwrap();
    for path in segments(dir) {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let queues = match open(copy.path()).await {
        Ok(queues) => queues,
        Err(error) => {
            let folder = copy.path().display().to_string();
            return format!("refused: {}\n", chain(&error).replace(&folder, "DIR"));
        }
    };
    let mut text = String::new();
    for queue in queues.names() {
        writeln!(text, "{queue} {:?}", queues.counts(&queue, at(20)).unwrap()).unwrap();
        loop {
            // Late enough for all to be visible; each group gives its next when the one before is gone.
            let batch = queues.receive(&queue, &ask(1000)).await.unwrap();
            if batch.is_empty() {
                break;
            }
            batch.iter().for_each(|received| line(&mut text, received));
            let receipts: Vec<_> = batch.iter().map(|received| received.receipt).collect();
            queues.delete(&queue, &receipts, at(1000)).await.unwrap();
        }
    }
    let again = NewMessage { deduplication: Some("text".to_owned()), ..message("f.fifo", "again", 100) };
    match queues.send(vec![again]).await {
        Ok(sent) => writeln!(text, "sent again: {:?}", sent[0]).unwrap(),
        Err(error) => writeln!(text, "sent again: {}", chain(&error)).unwrap(),
    }
    text
}

/// Queues with something of everything.
async fn fill(queues: &dyn Queues) {
    for name in ["std", "dead", "f.fifo", "gone"] {
        queues.create(&key(name)).await.unwrap();
    }
    queues.remove(&key("gone")).await.unwrap();
    let delayed = NewMessage { visible_at: at(50), ..message("std", "delayed", 0) };
    queues.send(vec![message("std", "received", 0), message("std", "deleted", 0), delayed]).await.unwrap();
    let in_order = |id: &str, text: Option<&str>| NewMessage {
        group: Some("g".to_owned()),
        deduplication: text.map(str::to_owned),
        ..message("f.fifo", id, 0)
    };
    queues.send(vec![in_order("first", Some("text")), in_order("second", None)]).await.unwrap();
    let received = queues.receive(&key("std"), &ask(1)).await.unwrap();
    queues.delete(&key("std"), &[received[1].receipt], at(1)).await.unwrap();
    queues.send(vec![message("std", "dead", 2)]).await.unwrap();
    let dead_letters = Some(DeadLetters { queue: key("dead"), receives_max: 1 });
    let short = Ask { visibility: Duration::from_secs(1), dead_letters, ..ask(2) };
    queues.receive(&key("std"), &short).await.unwrap();
    queues.receive(&key("std"), &Ask { now: at(4), ..short }).await.unwrap();
    queues.expire(&key("f.fifo"), Timestamp::EPOCH, at(5)).await.unwrap();
}

fn edit_record(path: &Path, kind: u8, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    let mut start = HEADER_BYTES;
    while bytes[start + HEADER_BYTES + 1] != kind {
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        start += HEADER_BYTES + usize::try_from(length).unwrap();
    }
    let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
    let end = start + HEADER_BYTES + usize::try_from(length).unwrap();
    change(&mut bytes[start + HEADER_BYTES..end]);
    let covered = [&bytes[start..start + 4], &bytes[start + 8..end]].concat();
    bytes[start + 4..start + 8].copy_from_slice(&crc32fast::hash(&covered).to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Writes one case, unless it is there: an earlier program wrote it.
async fn write_case(name: &str, is_cleaned: bool, change: impl FnOnce(&[PathBuf])) {
    let dir = golden().join(name);
    if dir.exists() {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    let queues = open(source.path()).await.unwrap();
    fill(&queues).await;
    for round in 0..if is_cleaned { 120 } else { 0 } {
        // What comes and goes makes the old segments go.
        queues.send(vec![message("dead", &format!("round {round}"), 10)]).await.unwrap();
        let batch = queues.receive(&key("dead"), &ask(10)).await.unwrap();
        let passing = batch.iter().filter(|received| received.id.starts_with("round"));
        let receipts: Vec<_> = passing.map(|received| received.receipt).collect();
        queues.delete(&key("dead"), &receipts, at(10)).await.unwrap();
    }
    queues.0.write_receipts();
    while queues.0.commit().await {}
    drop(queues);
    fs::create_dir_all(&dir).unwrap();
    for path in segments(source.path()) {
        fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    change(&segments(&dir));
}

fn cases() -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn every_golden_journal_gives_what_it_gave_when_it_was_written() {
    let cases = cases();
    assert!(cases.len() >= 5, "{} cases", cases.len());
    for dir in cases {
        let expected = fs::read_to_string(dir.join(OUTCOME)).unwrap();
        assert_eq!(outcome(&dir).await, expected, "{}", dir.display());
    }
}

#[tokio::test]
#[ignore = "writes into the source tree"]
async fn write_the_golden_queues() {
    write_case("v1-whole", false, |_| {}).await;
    write_case("v1-cleaned", true, |paths| {
        assert!(!paths[0].ends_with("00000000000000000000.log"), "nothing was trimmed");
    })
    .await;
    write_case("v1-torn", false, |paths| {
        let path = paths.last().unwrap();
        let mut bytes = fs::read(path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes[end - 4..].fill(0);
        fs::write(path, bytes).unwrap();
    })
    .await;
    write_case("newer-record", false, |paths| edit_record(&paths[0], 3, |record| record[0] = 200)).await;
    write_case("v1-unknown-record", false, |paths| edit_record(&paths[0], 3, |record| record[1] = 99)).await;
    write_case("v1-damaged", false, |paths| {
        let mut bytes = fs::read(&paths[0]).unwrap();
        bytes[100] ^= 1;
        fs::write(&paths[0], bytes).unwrap();
    })
    .await;
    for dir in cases() {
        fs::write(dir.join(OUTCOME), outcome(&dir).await).unwrap();
    }
}
