//! Log lines as an earlier program left them: journal, files and registry, sound and damaged, and what opening and
//! reading them must give. A format change adds folders; it never changes those that are there.
//!
//! `cargo test -p cairn-store --test it -- --ignored write_the_golden_lines` writes those of the present version.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_core::Timestamp;
use cairn_store::catalog::{CatalogError, Pair};
use cairn_store::lines::{GroupId, Lines, LinesSettings, SegmentLines, StreamId};
use cairn_store::{Catalog, LogPosition};
use cairn_testkit::memory_catalog;

use crate::golden::chain;
use crate::lines::{all_of, batch, ground, small};

const OUTCOME: &str = "outcome.txt";
const REGISTRY: &str = "registry.txt";
const TABLES: [&str; 5] = ["lines.file", "lines.flushed", "lines.stream", "lines.forgotten", "lines.expired"];
const GROUPS: [GroupId; 3] = [GroupId(1), GroupId(2), GroupId(3)];
/// What a segment of the journal, and a file of lines, have before the first frame and block.
const SEGMENT_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 32;
const FILE_HEADER_BYTES: usize = 48;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lines")
}

fn settings() -> LinesSettings {
    LinesSettings { segment_size_bytes: 1024, ..small() }
}

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

async fn catalog_of(text: String) -> Catalog {
    let catalog = memory_catalog();
    let put = move |tx: &mut dyn cairn_store::Tx| {
        for line in text.lines() {
            let [name, key, value] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            let table = TABLES.into_iter().find(|table| *table == name).unwrap();
            let digits = key.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
            let key: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect();
            tx.put(table, &key, value.as_bytes())?;
        }
        Ok::<(), CatalogError>(())
    };
    catalog.write(put).await.unwrap();
    catalog
}

fn copy(from: &Path, to: &Path) {
    for folder in ["journal", "files"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension != "lock") {
                fs::copy(&path, to.join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// Opens a copy of what is in `dir` and writes out what is found in it.
async fn outcome(dir: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    copy(dir, folder.path());
    let place = folder.path().display().to_string();
    let catalog = catalog_of(fs::read_to_string(dir.join(REGISTRY)).unwrap()).await;
    let ground = ground(folder.path().to_owned(), &catalog, settings());
    let lines = match SegmentLines::open_undriven(ground).await {
        Ok(lines) => lines,
        Err(error) => return format!("refused: {}\n", chain(&error).replace(&place, "DIR")),
    };
    let mut text = String::new();
    for group in GROUPS {
        writeln!(text, "group {}: {:?}", group.0, lines.kept_of_group(group)).unwrap();
        match lines.read(all_of(group)).await {
            Ok(page) => page.lines.iter().for_each(|found| writeln!(text, "  {found:?}").unwrap()),
            Err(error) => writeln!(text, "  {}", chain(&error).replace(&place, "DIR")).unwrap(),
        }
    }
    match lines.appended(LogPosition(2), usize::MAX).await {
        Ok(batches) => batches.iter().for_each(|batch| writeln!(text, "appended {batch:?}").unwrap()),
        Err(error) => writeln!(text, "{}", chain(&error)).unwrap(),
    }
    text
}

/// Lines of three groups: in a merged file, in a new one and in the journal, some of them forgotten or expired.
async fn fill(lines: &SegmentLines) {
    let later = Timestamp::from_seconds(1000);
    let text = "{\"eventVersion\":\"1.11\"}".repeat(3);
    for round in 0..3 {
        let first = batch(GROUPS[0], 1, &[(round, "é one"), (20 - round, &text)]);
        let second = batch(GROUPS[1], 2 + round as u64, &[(10 * round, "two"), (5, "")]);
        lines.append(vec![first, second]).await.unwrap();
        lines.maintain(later, LogPosition(2)).await.unwrap();
    }
    lines.append(vec![batch(GROUPS[2], 9, &[(7, "three")])]).await.unwrap();
    lines.maintain(later, LogPosition(2)).await.unwrap();
    lines.forget(GROUPS[1], Some(StreamId(3))).await.unwrap();
    lines.expire(GROUPS[0], 2).await.unwrap();
    lines
        .append(vec![batch(GROUPS[0], 1, &[(1, "late"), (30, &text)]), batch(GROUPS[2], 9, &[(8, "four")])])
        .await
        .unwrap();
}

/// Writes one case, unless it is there: an earlier program wrote it.
async fn write_case(name: &str, change: impl FnOnce(&Path)) {
    let dir = golden().join(name);
    if dir.exists() {
        return;
    }
    let (source, catalog) = (tempfile::tempdir().unwrap(), memory_catalog());
    let lines = SegmentLines::open_undriven(ground(source.path().to_owned(), &catalog, settings()));
    fill(&lines.await.unwrap()).await;
    copy(source.path(), &dir);
    fs::remove_file(dir.join("journal/lock")).unwrap_or_default();
    fs::write(dir.join(REGISTRY), registry_text(&catalog).await).unwrap();
    change(&dir);
}

/// The oldest file of a folder.
fn first(dir: &Path, folder: &str) -> PathBuf {
    let files = fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| !path.ends_with("lock")).min().unwrap()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn close_with_crc(header: &mut [u8]) {
    let end = header.len() - 4;
    let crc = crc32fast::hash(&header[..end]);
    header[end..].copy_from_slice(&crc.to_le_bytes());
}

fn cases() -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn all_golden_lines_give_what_they_gave_when_they_were_written() {
    let cases = cases();
    assert!(cases.len() >= 6, "{} cases", cases.len());
    for dir in cases {
        let expected = fs::read_to_string(dir.join(OUTCOME)).unwrap();
        assert_eq!(outcome(&dir).await, expected, "{}", dir.display());
    }
}

#[tokio::test]
#[ignore = "writes into the source tree"]
async fn write_the_golden_lines() {
    write_case("v1-whole", |_| {}).await;
    write_case("v1-damaged-block", |dir| edit(&first(dir, "files"), |bytes| bytes[FILE_HEADER_BYTES] ^= 1))
        .await;
    write_case("v1-cut-file", |dir| edit(&first(dir, "files"), |bytes| bytes.truncate(bytes.len() - 9)))
        .await;
    write_case("v1-missing-file", |dir| fs::remove_file(first(dir, "files")).unwrap()).await;
    write_case("newer-file", |dir| {
        edit(&first(dir, "files"), |bytes| {
            bytes[8] = 200;
            close_with_crc(&mut bytes[..FILE_HEADER_BYTES]);
        });
    })
    .await;
    write_case("newer-record", |dir| {
        let path =
            fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
        edit(&path, |bytes| {
            let length = u32::from_le_bytes(bytes[SEGMENT_HEADER_BYTES..][..4].try_into().unwrap());
            let end = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + usize::try_from(length).unwrap();
            bytes[SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES] = 200;
            let frame = &bytes[SEGMENT_HEADER_BYTES..end];
            let crc = crc32fast::hash(&[&frame[..4], &frame[8..]].concat());
            bytes[SEGMENT_HEADER_BYTES + 4..SEGMENT_HEADER_BYTES + 8].copy_from_slice(&crc.to_le_bytes());
        });
    })
    .await;
    write_case("v1-registry-of-a-newer-version", |dir| {
        let path = dir.join(REGISTRY);
        let text = fs::read_to_string(&path).unwrap().replacen("{\"v\":1,", "{\"v\":2,", 1);
        fs::write(path, text).unwrap();
    })
    .await;
    for dir in cases() {
        fs::write(dir.join(OUTCOME), outcome(&dir).await).unwrap();
    }
}
