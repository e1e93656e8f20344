//! Segment files: crashes around them, damage, retention, merging, and that the format stays readable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_core::Clock;
use cairn_store::LogPosition;
use cairn_store::catalog::sqlite;
use cairn_store::history::{Attribute, History, SegmentSettings};
use cairn_testkit::{TestClock, memory_catalog};

use super::{all_pages, event, everything, open, positions, small, start};

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_file_that_a_crash_left_unregistered_is_removed_and_its_events_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::new(start()));
    let before = memory_catalog();
    let history = open(directory.path(), &before, &clock, small()).await;
    history.ingest(vec![event(0, start()), event(1, start())], LogPosition(2)).await.unwrap();
    history.flush().await.unwrap();
    drop(history);
    assert_eq!(files(directory.path()).len(), 1);

    // The file is durable, the transaction never happened: an empty catalog.
    let catalog = memory_catalog();
    std::fs::write(directory.path().join("00000000000000000001.tmp"), b"half a file").unwrap();
    std::fs::write(directory.path().join("notes.txt"), b"not ours").unwrap();
    let history = open(directory.path(), &catalog, &clock, small()).await;
    assert_eq!(files(directory.path()), [directory.path().join("notes.txt")]);
    assert_eq!(history.durable_position().await.unwrap(), LogPosition(0));
    history.ingest(vec![event(0, start()), event(1, start())], LogPosition(2)).await.unwrap();
    history.flush().await.unwrap();
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [1, 0]);
}

#[tokio::test]
async fn an_input_of_a_merge_that_a_crash_left_behind_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    for position in 0..3 {
        history.ingest(vec![event(position, start())], LogPosition(position + 1)).await.unwrap();
        history.flush().await.unwrap();
    }
    let inputs = files(directory.path());
    let copy = std::fs::read(&inputs[1]).unwrap();
    history.maintain(clock.now()).await.unwrap();
    assert_eq!(files(directory.path()).len(), 1, "three small segments were merged into one");
    drop(history);

    std::fs::write(&inputs[1], copy).unwrap();
    let history = open(directory.path(), &catalog, &clock, small()).await;
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [2, 1, 0]);
    assert_eq!(files(directory.path()).len(), 1);
}

#[tokio::test]
async fn events_past_the_retention_are_not_found_and_their_segments_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    let old = vec![event(0, start().minus(day * 91)), event(1, start().minus(day * 89)), event(2, start())];
    history.ingest(old, LogPosition(3)).await.unwrap();
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [2, 1], "91 days are too many");
    history.flush().await.unwrap();
    clock.advance(day * 2);
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [2], "found by time, not by file");
    history.maintain(clock.now()).await.unwrap();
    assert_eq!(history.size().segments, 1, "its newest event is kept");
    clock.advance(day * 89);
    history.maintain(clock.now()).await.unwrap();
    assert_eq!(history.size().segments, 0);
    assert!(files(directory.path()).is_empty());
    assert!(history.lookup(everything()).await.unwrap().events.is_empty());
    assert_eq!(history.durable_position().await.unwrap(), LogPosition(3));
}

#[tokio::test]
async fn a_tail_is_written_once_it_is_old_and_a_log_without_events_moves_the_position_too() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    history.ingest(vec![event(0, start())], LogPosition(1)).await.unwrap();
    history.maintain(clock.now()).await.unwrap();
    assert_eq!(history.durable_position().await.unwrap(), LogPosition(0));
    clock.advance(small().tail_age_max);
    history.maintain(clock.now()).await.unwrap();
    assert_eq!(history.durable_position().await.unwrap(), LogPosition(1));
    history.ingest(Vec::new(), LogPosition(9)).await.unwrap();
    clock.advance(small().tail_age_max);
    history.maintain(clock.now()).await.unwrap();
    assert_eq!(history.durable_position().await.unwrap(), LogPosition(9));
    assert_eq!(history.size().segments, 1);
}

#[tokio::test]
async fn a_damaged_or_missing_segment_is_set_aside_and_the_rest_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let settings = SegmentSettings { merge_segments: 100, ..small() };
    let history = open(directory.path(), &catalog, &clock, settings.clone()).await;
    for position in 0..4 {
        history.ingest(vec![event(position, start())], LogPosition(position + 1)).await.unwrap();
        history.flush().await.unwrap();
    }
    drop(history);
    let paths = files(directory.path());
    std::fs::remove_file(&paths[0]).unwrap();
    let mut bytes = std::fs::read(&paths[1]).unwrap();
    let footer = bytes.len() - 12;
    bytes[footer] ^= 0xff;
    bytes.truncate(footer);
    std::fs::write(&paths[1], &bytes).unwrap();
    let mut bytes = std::fs::read(&paths[2]).unwrap();
    let end = bytes.len();
    bytes[end - 40..].fill(0);
    std::fs::write(&paths[2], &bytes).unwrap();

    let history = open(directory.path(), &catalog, &clock, settings).await;
    assert_eq!(history.size().segments_unreadable, 3);
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [3]);
    assert_eq!(files(directory.path()).len(), 3, "what cannot be read is not thrown away");
    history.ingest(vec![event(4, start())], LogPosition(5)).await.unwrap();
    history.flush().await.unwrap();
    assert_eq!(positions(&history.lookup(everything()).await.unwrap()), [4, 3]);
}

#[tokio::test]
async fn damage_inside_a_segment_fails_the_lookup_instead_of_shortening_it() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    history.ingest(vec![event(0, start()), event(1, start())], LogPosition(2)).await.unwrap();
    history.flush().await.unwrap();
    drop(history);
    let path = files(directory.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..200].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let history = open(directory.path(), &catalog, &clock, small()).await;
    let error = history.lookup(everything()).await.unwrap_err();
    assert_eq!(error.to_string(), "the event history could not search its segments");
}

#[tokio::test]
async fn many_small_segments_become_few_and_lookups_find_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = open(directory.path(), &catalog, &clock, small()).await;
    for position in 0..60 {
        let time = start().minus(Duration::from_secs(position * 7 % 50));
        history.ingest(vec![event(position, time)], LogPosition(position + 1)).await.unwrap();
        history.flush().await.unwrap();
        history.maintain(clock.now()).await.unwrap();
    }
    for _ in 0..20 {
        history.maintain(clock.now()).await.unwrap();
    }
    let size = history.size();
    assert!(size.segments <= 8, "60 segments became {}", size.segments);
    assert_eq!((size.segment_events, size.tail_events), (60, 0));
    assert_eq!(files(directory.path()).len(), size.segments);
    let mut query = everything();
    query.attribute = Some((Attribute::ResourceName, "user-2".to_owned()));
    query.limit = 5;
    assert_eq!(all_pages(&history, query).await.len(), 12);
    let all = all_pages(&history, everything()).await;
    assert!(all.windows(2).all(|pair| (pair[0].time, pair[0].position) > (pair[1].time, pair[1].position)));
    assert_eq!(all.len(), 60);
}

#[tokio::test]
async fn lookups_go_on_while_segments_are_merged_and_dropped_under_them() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, clock) = (memory_catalog(), Arc::new(TestClock::new(start())));
    let history = Arc::new(open(directory.path(), &catalog, &clock, small()).await);
    let writer = {
        let (history, clock) = (Arc::clone(&history), Arc::clone(&clock));
        tokio::spawn(async move {
            for position in 0..300 {
                history.ingest(vec![event(position, start())], LogPosition(position + 1)).await.unwrap();
                history.maintain(clock.now()).await.unwrap();
            }
        })
    };
    let mut seen = 0;
    while !writer.is_finished() {
        let found = all_pages(&*history, everything()).await;
        let expected: Vec<u64> = (0..found.len() as u64).rev().collect();
        assert_eq!(found.iter().map(|event| event.position.0).collect::<Vec<_>>(), expected);
        assert!(found.len() >= seen, "events do not vanish");
        seen = found.len();
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(all_pages(&*history, everything()).await.len(), 300);
}

#[tokio::test]
async fn the_history_comes_back_from_the_catalog_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (segments, database) = (directory.path().join("history"), directory.path().join("catalog.sqlite"));
    let clock = Arc::new(TestClock::new(start()));
    for round in 0..8 {
        let catalog = sqlite::open(&database).unwrap();
        let history = open(&segments, &catalog, &clock, small()).await;
        let durable = history.durable_position().await.unwrap();
        assert_eq!(durable, LogPosition(round * 10));
        let events = (durable.0..durable.0 + 10).map(|position| event(position, start())).collect();
        history.ingest(events, LogPosition(durable.0 + 10)).await.unwrap();
        history.flush().await.unwrap();
        history.maintain(clock.now()).await.unwrap();
        assert_eq!(all_pages(&history, everything()).await.len() as u64, round * 10 + 10);
        assert_eq!(history.size().segment_events, round * 10 + 10);
        assert_eq!(files(&segments).len(), history.size().segments);
    }
}
