//! The embedded log against damaged files: cut short at every byte, flipped at any bit, torn in any order.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{EventLog, LogError, LogPosition};
use prometheus::Registry;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::log::{entry, expected, fill, open, read_all, small_segments};

/// The size of a frame without its payload, and of a segment's header.
const HEADER_BYTES: usize = 32;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A closed log of `count` entries, each appended on its own, and the paths of its segments.
fn written(count: u64, settings: &LogSettings) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(fill(&open(&dir, settings.clone()), count));
    let segments = segments(dir.path());
    (dir, segments)
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    paths.sort();
    paths
}

/// The log of `count` entries again, in a fresh directory, from the bytes that were kept of it.
fn restored(files: &[(OsString, Vec<u8>)]) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let paths = segments(dir.path());
    (dir, paths)
}

/// The segment files of a log of `count` entries.
fn files(count: u64, settings: &LogSettings) -> Vec<(OsString, Vec<u8>)> {
    let (_dir, paths) = written(count, settings);
    paths.iter().map(|path| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

/// How many bytes of a segment that starts at position 0 the first `count` entries take.
fn bytes_of(count: u64) -> usize {
    HEADER_BYTES + (0..count).map(|n| HEADER_BYTES + entry(n).payload.len()).sum::<usize>()
}

/// Opens the log and reads it whole; says how many entries there are, having checked them and appended one more.
fn reopened(dir: &TempDir, settings: &LogSettings) -> Result<u64, LogError> {
    let log = SegmentLog::open(dir.path(), settings.clone(), &Registry::new())?;
    runtime().block_on(async {
        let end = log.end().0;
        assert_eq!(read_all(&log, 0).await?, expected(0..end));
        fill(&log, 1).await;
        assert_eq!(read_all(&log, 0).await?, expected(0..end + 1));
        Ok(end)
    })
}

#[test]
fn a_log_cut_short_at_any_byte_keeps_every_entry_before_the_cut() {
    let settings = LogSettings { segment_size_bytes: 1 << 16, ..small_segments() };
    let (dir, paths) = written(4, &settings);
    let whole = fs::read(&paths[0]).unwrap();
    for cut in 0..=bytes_of(4) {
        fs::write(&paths[0], &whole[..cut]).unwrap();
        let kept = (0..=4).rev().find(|count| bytes_of(*count) <= cut);
        match (reopened(&dir, &settings), kept) {
            (Ok(end), Some(kept)) => assert_eq!(end, kept, "cut at {cut}"),
            (Err(LogError::Corrupt { offset_bytes: 0, .. }), None) => {}
            (outcome, _) => panic!("cut at {cut}: {outcome:?}"),
        }
        // The tail of the file is zeros where room had been set aside: the same answer.
        let mut zeroed = whole.clone();
        zeroed[cut..].fill(0);
        fs::write(&paths[0], &zeroed).unwrap();
        assert_eq!(reopened(&dir, &settings).ok(), kept, "zeros from {cut}");
    }
}

#[test]
fn an_append_torn_in_any_order_is_dropped_whole_and_is_no_corruption() {
    let settings = LogSettings { segment_size_bytes: 1 << 16, ..small_segments() };
    let dir = tempfile::tempdir().unwrap();
    {
        let log = open(&dir, settings.clone());
        runtime().block_on(async {
            fill(&log, 3).await;
            // One append is one write here, so these four entries share a sync.
            log.append((3..7).map(entry).collect()).await.unwrap();
        });
    }
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    for lost in 3..7 {
        let mut torn = whole.clone();
        torn[bytes_of(lost)..bytes_of(lost + 1)].fill(0);
        fs::write(path, &torn).unwrap();
        assert_eq!(reopened(&dir, &settings).unwrap(), 3);
    }
    // Cut between two of its frames, nothing else tells that it is not whole.
    for cut in bytes_of(3)..bytes_of(7) {
        fs::write(path, &whole[..cut]).unwrap();
        assert_eq!(reopened(&dir, &settings).unwrap(), 3, "cut at {cut}");
    }
    // The entry before the group was durable when the group was written: losing it is damage.
    let mut damaged = whole.clone();
    damaged[bytes_of(2)..bytes_of(3)].fill(0);
    fs::write(path, &damaged).unwrap();
    let outcome = reopened(&dir, &settings);
    assert!(
        matches!(outcome, Err(LogError::Corrupt { offset_bytes, .. }) if offset_bytes == bytes_of(2) as u64)
    );
}

#[test]
fn a_missing_or_cut_segment_in_the_middle_stops_the_log() {
    let settings = small_segments();
    let (dir, paths) = written(120, &settings);
    assert!(paths.len() >= 3, "{paths:?}");
    let whole = fs::read(&paths[1]).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    assert!(matches!(reopened(&dir, &settings), Err(LogError::Corrupt { .. })));
    for cut in [0, 1, HEADER_BYTES, whole.len() - HEADER_BYTES, whole.len() - 1] {
        fs::write(&paths[1], &whole[..cut]).unwrap();
        assert!(matches!(reopened(&dir, &settings), Err(LogError::Corrupt { .. })), "cut at {cut}");
    }
    fs::write(&paths[1], &whole).unwrap();
    assert_eq!(reopened(&dir, &settings).unwrap(), 120);
}

#[test]
fn a_crash_anywhere_between_two_segments_loses_nothing() {
    let settings = small_segments();
    let (dir, paths) = written(120, &settings);
    let [.., full, last] = paths.as_slice() else { panic!("{paths:?}") };
    let base: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let unsealed = |length: usize, seal: bool| {
        let mut bytes = fs::read(full).unwrap();
        let sealed = bytes.len();
        bytes.resize(length, 0);
        if !seal {
            bytes[sealed - HEADER_BYTES..].fill(0);
        }
        bytes
    };
    let (unsealed, uncut) = (unsealed(4096, false), unsealed(4096, true));
    let mut empty = fs::read(last).unwrap();
    empty[HEADER_BYTES..].fill(0);

    let put_back = || fs::write(last, &empty).unwrap();
    for (state, bytes) in [("not sealed", &unsealed), ("not cut", &uncut)] {
        put_back();
        fs::write(full, bytes).unwrap();
        assert_eq!(reopened(&dir, &settings).unwrap(), base, "{state}");
    }
    // The next one was not yet named.
    fs::rename(last, last.with_extension("log.new")).unwrap();
    fs::write(full, &unsealed).unwrap();
    assert_eq!(reopened(&dir, &settings).unwrap(), base);
    assert!(!last.with_extension("log.new").exists());
}

#[test]
fn a_missing_last_segment_stops_the_log() {
    let settings = small_segments();
    let (dir, paths) = written(120, &settings);
    fs::remove_file(paths.last().unwrap()).unwrap();
    assert!(matches!(reopened(&dir, &settings), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_segment_of_a_newer_version_is_refused_with_its_version() {
    let settings = small_segments();
    let (dir, paths) = written(3, &settings);
    let mut bytes = fs::read(&paths[0]).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    fs::write(&paths[0], &bytes).unwrap();
    let outcome = reopened(&dir, &settings);
    assert!(matches!(outcome, Err(LogError::Version { found: 2, known: 1, .. })), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_byte_never_costs_an_entry_before_it(at in any::<prop::sample::Index>(), mask in 1_u8..) {
        static FILES: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| files(12, &SETTINGS));
        const SETTINGS: LogSettings =
            LogSettings { segment_size_bytes: 1 << 13, entry_size_bytes_max: 2048, recent_size_bytes_max: 512 };
        let (settings, (dir, paths)) = (SETTINGS, restored(&FILES));
        let mut bytes = fs::read(&paths[0]).unwrap();
        let at = at.index(bytes_of(12) + 200);
        bytes[at] ^= mask;
        fs::write(&paths[0], &bytes).unwrap();
        let before = (0..=12).rev().find(|count| bytes_of(*count) <= at).unwrap_or(0);
        match reopened(&dir, &settings) {
            // Only the last write cannot be told from a torn one.
            Ok(end) => prop_assert!(end == before && before >= 11, "{end} of {before} at {at}"),
            Err(LogError::Corrupt { .. }) => prop_assert!(before < 11, "at {at}"),
            Err(error) => prop_assert!(false, "{error} at {at}"),
        }
    }

    #[test]
    fn a_flipped_byte_in_a_full_segment_is_found_at_the_latest_when_read(at in any::<prop::sample::Index>(), mask in 1_u8..) {
        static FILES: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| files(40, &SETTINGS));
        const SETTINGS: LogSettings =
            LogSettings { segment_size_bytes: 1 << 11, entry_size_bytes_max: 2048, recent_size_bytes_max: 512 };
        let (settings, (dir, paths)) = (SETTINGS, restored(&FILES));
        let mut bytes = fs::read(&paths[0]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        fs::write(&paths[0], &bytes).unwrap();
        let outcome = reopened(&dir, &settings);
        prop_assert!(matches!(outcome, Err(LogError::Corrupt { .. })), "{outcome:?} at {at}");
    }

    #[test]
    fn any_bytes_at_all_in_a_segment_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        static FILES: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| files(3, &small_segments()));
        let (settings, (dir, paths)) = (small_segments(), restored(&FILES));
        let mut whole = fs::read(&paths[0]).unwrap();
        let tail = bytes_of(3);
        whole.truncate(tail);
        whole.extend(&bytes);
        fs::write(&paths[0], &whole).unwrap();
        prop_assert_eq!(reopened(&dir, &settings).ok(), Some(3));
        fs::write(&paths[0], &bytes).unwrap();
        prop_assert!(reopened(&dir, &settings).is_err());
    }
}

#[test]
fn a_cut_end_is_not_read_again() {
    let settings = LogSettings { segment_size_bytes: 1 << 16, ..small_segments() };
    let (dir, paths) = written(5, &settings);
    let mut bytes = fs::read(&paths[0]).unwrap();
    bytes[bytes_of(4)] ^= 1;
    fs::write(&paths[0], &bytes).unwrap();
    let log = open(&dir, settings);
    assert_eq!(log.end(), LogPosition(4));
    let after = fs::read(&paths[0]).unwrap();
    assert_eq!(after.len(), 1 << 16);
    assert!(after[bytes_of(4)..].iter().all(|byte| *byte == 0));
}

#[test]
fn recovery_does_not_read_the_room_that_is_set_aside() {
    let settings = LogSettings { segment_size_bytes: 1 << 16, ..small_segments() };
    let (dir, paths) = written(3, &settings);
    // A terabyte of nothing: reading it would take minutes.
    fs::OpenOptions::new().write(true).open(&paths[0]).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(reopened(&dir, &settings).unwrap(), 3);
}
