//! The formats on disk, version by version: files as an earlier program left them, sound and damaged, and what opening
//! them must give. A format change adds files; it never changes those that are there.
//!
//! `cargo test -p cairn-store --test it -- --ignored write_the_golden_files` writes those of the present version.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_store::catalog::sqlite::SqliteCatalog;
use cairn_store::catalog::{CatalogError, Table};
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Catalog, Entry, EntryKind, EventLog};
use prometheus::Registry;
use serde::{Deserialize, Serialize};

use crate::log::{entry, open, read_all};
use crate::log_damage::segments;

/// What opening the files must give, beside them.
const OUTCOME: &str = "outcome.txt";
/// Segments small enough for files that are checked in.
const SETTINGS: LogSettings =
    LogSettings { segment_size_bytes: 1024, entry_size_bytes_max: 512, recent_size_bytes_max: 0 };

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").unwrap();
        source = error.source();
    }
    text
}

/// Opens a copy of the log in `dir` and writes out what is in it.
fn log_outcome(dir: &Path) -> String {
    let copy = tempfile::tempdir().unwrap();
    for path in segments(dir) {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let log = match SegmentLog::open(copy.path(), SETTINGS, &Registry::new()) {
        Ok(log) => log,
        Err(error) => return format!("refused: {}\n", chain(&error)),
    };
    let mut text = format!("start {} end {}\n", log.start().0, log.end().0);
    match runtime().block_on(read_all(&log, log.start().0)) {
        Err(error) => writeln!(text, "unreadable: {}", chain(&error)).unwrap(),
        Ok(entries) => {
            for (position, entry) in entries {
                let payload = String::from_utf8_lossy(&entry.payload).into_owned();
                writeln!(
                    text,
                    "{} {:?} {} {payload}",
                    position.0,
                    entry.kind,
                    entry.recorded_at.iso_millis()
                )
                .unwrap();
            }
        }
    }
    text
}

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    position: u64,
    name: String,
}

const CURSORS: Table<Cursor> = Table::new("cursors", 1);

fn show(found: Result<Option<Cursor>, CatalogError>) -> String {
    match found {
        Ok(found) => format!("{found:?}\n"),
        Err(error) => format!("refused: {}\n", chain(&error)),
    }
}

/// Puts the bytes of `path` into a catalog and reads them as a value.
fn value_outcome(path: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::new(SqliteCatalog::open(&dir.path().join("c"), &Registry::new()).unwrap());
    let bytes = fs::read(path).unwrap();
    let found = catalog.write(move |tx| {
        tx.put("cursors", b"k", &bytes)?;
        CURSORS.get(tx, b"k")
    });
    show(runtime().block_on(found))
}

/// Opens a copy of the catalog at `path` and reads what is in it.
fn catalog_outcome(path: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("c");
    fs::copy(path, &copy).unwrap();
    let catalog = match SqliteCatalog::open(&copy, &Registry::new()) {
        Ok(catalog) => Catalog::new(catalog),
        Err(error) => return format!("refused: {}\n", chain(&error)),
    };
    show(runtime().block_on(catalog.read(|tx| CURSORS.get(tx, b"k"))))
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

/// Every case: its folder, and what its files give today.
fn cases() -> Vec<(PathBuf, String)> {
    let mut cases = Vec::new();
    for dir in subfolders(&golden().join("log")) {
        let outcome = log_outcome(&dir);
        cases.push((dir, outcome));
    }
    for dir in subfolders(&golden().join("catalog-value")) {
        let outcome = value_outcome(&dir.join("value.json"));
        cases.push((dir, outcome));
    }
    for dir in subfolders(&golden().join("catalog")) {
        let outcome = catalog_outcome(&dir.join("catalog.sqlite"));
        cases.push((dir, outcome));
    }
    cases
}

#[test]
fn every_golden_file_gives_what_it_gave_when_it_was_written() {
    let cases = cases();
    assert!(cases.len() >= 18, "{} cases", cases.len());
    for (dir, outcome) in cases {
        assert_eq!(outcome, fs::read_to_string(dir.join(OUTCOME)).unwrap(), "{}", dir.display());
    }
}

#[test]
#[ignore = "writes into the source tree"]
fn write_the_golden_files() {
    write_logs();
    write_values();
    write_catalogs();
    for (dir, outcome) in cases() {
        fs::write(dir.join(OUTCOME), outcome).unwrap();
    }
}

/// Writes one case of a log: the files of a sound log with `change` made to them.
fn write_log(name: &str, change: impl FnOnce(&[PathBuf])) {
    write_log_of(name, (0..21).map(entry).collect(), change);
}

/// Writes one case of a log of `entries`, the last three in one append. What is there stays: an earlier program wrote it.
fn write_log_of(name: &str, mut entries: Vec<Entry>, change: impl FnOnce(&[PathBuf])) {
    let dir = golden().join("log").join(name);
    if dir.exists() {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    {
        let log = open(&source, SETTINGS);
        let last = entries.split_off(entries.len() - 3);
        runtime().block_on(async {
            for entry in entries {
                log.append(vec![entry]).await.unwrap();
            }
            log.append(last).await.unwrap();
        });
    }
    fs::create_dir_all(&dir).unwrap();
    for path in segments(source.path()) {
        fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    change(&segments(&dir));
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where the last frame of the last segment ends.
fn written_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn write_logs() {
    write_log("v1-whole", |_| {});
    let every_second = |position: u64| match position % 2 {
        0 => Entry { kind: EntryKind::Intent, ..entry(position) },
        _ => entry(position),
    };
    write_log_of("v1-with-intents", (0..21).map(every_second).collect(), |_| {});
    write_log("v1-empty", |paths| {
        paths[1..].iter().for_each(|path| fs::remove_file(path).unwrap());
        edit(&paths[0], |bytes| {
            bytes.truncate(32);
            bytes.resize(1024, 0);
        });
    });
    write_log("v1-trimmed", |paths| fs::remove_file(&paths[0]).unwrap());
    write_log("v1-torn-last-frame", |paths| {
        edit(paths.last().unwrap(), |bytes| {
            let end = written_bytes(bytes);
            bytes[end - 10..].fill(0);
        });
    });
    write_log("v1-torn-in-the-middle-of-the-last-write", |paths| {
        edit(paths.last().unwrap(), |bytes| {
            let end = written_bytes(bytes);
            let last_frame = 32 + entry(20).payload.len();
            bytes[end - last_frame - 10..end - last_frame].fill(0);
        });
    });
    write_log("v1-cut-file", |paths| {
        edit(paths.last().unwrap(), |bytes| bytes.truncate(written_bytes(bytes) - 10));
    });
    write_log("v1-damaged-acknowledged-entry", |paths| {
        edit(paths.last().unwrap(), |bytes| bytes[32 + 40] ^= 1)
    });
    write_log("v1-damaged-entry-of-a-full-segment", |paths| edit(&paths[0], |bytes| bytes[200] ^= 1));
    write_log("v1-damaged-seal", |paths| edit(&paths[0], |bytes| *bytes.last_mut().unwrap() ^= 1));
    write_log("v1-damaged-header", |paths| edit(&paths[0], |bytes| bytes[16] ^= 1));
    write_log("v1-missing-last-segment", |paths| fs::remove_file(paths.last().unwrap()).unwrap());
    let ingested = |position| Entry { kind: EntryKind::Ingested, ..entry(position) };
    write_log_of("v1-ingested-in-one-append", (0..21).map(ingested).collect(), |_| {});
    write_log_of("v1-append-without-its-last-frame", (0..21).map(ingested).collect(), |paths| {
        edit(paths.last().unwrap(), |bytes| {
            let end = written_bytes(bytes);
            let last_frame = 32 + entry(20).payload.len();
            bytes[end - last_frame..].fill(0);
        });
    });
    write_log_of("v1-append-with-a-frame-of-another-write", (0..21).map(ingested).collect(), |paths| {
        edit(paths.last().unwrap(), |bytes| {
            // The last frame says that it was written alone.
            let start = written_bytes(bytes) - 32 - entry(20).payload.len();
            bytes[start + 24] = 0;
            let end = start + 32 + entry(20).payload.len();
            let covered = [&bytes[start..start + 4], &bytes[start + 8..end]].concat();
            bytes[start + 4..start + 8].copy_from_slice(&crc32fast::hash(&covered).to_le_bytes());
        });
    });
    write_log("newer-version", |paths| {
        edit(paths.last().unwrap(), |bytes| {
            bytes[8] = 200;
            let crc = crc32fast::hash(&bytes[..28]);
            bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        });
    });
}

fn write_values() {
    for (name, text) in [
        ("v1", r#"{"v":1,"d":{"position":7,"name":"delivery"}}"#),
        ("newer-version", r#"{"v":2,"d":{"place":7}}"#),
        ("other-shape", r#"{"v":1,"d":{"position":"seven","name":"delivery"}}"#),
        ("cut", r#"{"v":1,"d":{"position":7"#),
    ] {
        let dir = golden().join("catalog-value").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("value.json"), text).unwrap();
    }
}

fn write_catalogs() {
    let write = |name: &str, version: u32, change: fn(&mut Vec<u8>)| {
        let dir = golden().join("catalog").join(name);
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("catalog.sqlite");
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        let catalog = Catalog::new(SqliteCatalog::open(&path, &Registry::new()).unwrap());
        let value = Cursor { position: 7, name: "delivery".into() };
        runtime().block_on(catalog.write(move |tx| CURSORS.put(tx, b"k", &value))).unwrap();
        drop(catalog);
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.pragma_update(None, "user_version", version).unwrap();
        drop(raw);
        edit(&path, change);
    };
    write("v1", 1, |_| {});
    write("newer-version", 200, |_| {});
    write("damaged-page", 1, |bytes| bytes[8192..8192 + 16].fill(0xAA));
}
