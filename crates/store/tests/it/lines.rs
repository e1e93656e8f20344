//! The conformance suite of stores of lines: over the one in memory and the embedded one, with settings under which what
//! is appended stays in memory, and with settings under which all of it goes through files and merges.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::disk::SystemDisk;
use cairn_store::lines::{
    Batch, GroupId, Kept, Line, LineId, Lines, LinesGround, LinesSettings, Page, Query, SegmentLines,
    StreamId,
};
use cairn_store::{Catalog, LogPosition};
use cairn_testkit::{Chance, memory_catalog, memory_lines};
use prometheus::Registry;

pub(crate) const GROUP: GroupId = GroupId(7);
const OTHER: GroupId = GroupId(8);

/// A store, and how it is opened again.
struct Subject {
    name: &'static str,
    lines: Arc<dyn Lines>,
    again: Option<(tempfile::TempDir, Catalog, LinesSettings)>,
}

/// Small files and blocks, so that little makes many.
pub(crate) fn small() -> LinesSettings {
    LinesSettings {
        segment_size_bytes: 16 << 10,
        recent_size_bytes_max: 300,
        tail_size_bytes_max: 8 << 10,
        flush_size_bytes: 1 << 10,
        flush_age: Duration::from_secs(10),
        block_text_bytes_max: 100,
        block_lines_max: 5,
        merge_files: 3,
        merge_text_bytes_max: 4 << 10,
        own_file_text_bytes: 600,
        ..LinesSettings::default()
    }
}

pub(crate) fn ground(folder: PathBuf, catalog: &Catalog, settings: LinesSettings) -> LinesGround {
    LinesGround {
        disk: Arc::new(SystemDisk),
        folder,
        catalog: catalog.clone(),
        key: [5; 32],
        settings,
        space: None,
        registry: Registry::new(),
    }
}

async fn subjects() -> Vec<Subject> {
    let mut subjects = vec![Subject { name: "in memory", lines: memory_lines(), again: None }];
    for (name, settings) in [("in the tail", LinesSettings::default()), ("in files", small())] {
        let (folder, catalog) = (tempfile::tempdir().unwrap(), memory_catalog());
        let ground = ground(folder.path().join("lines"), &catalog, settings.clone());
        let lines = Arc::new(SegmentLines::open(ground).await.unwrap());
        subjects.push(Subject { name, lines, again: Some((folder, catalog, settings)) });
    }
    subjects
}

impl Subject {
    /// Lets it flush and merge, and opens it again.
    async fn age(&mut self) {
        for _ in 0..3 {
            self.lines.maintain(Timestamp::from_seconds(10_000_000), LogPosition(0)).await.unwrap();
        }
        let Some((folder, catalog, settings)) = &self.again else { return };
        self.lines = memory_lines();
        let ground = ground(folder.path().join("lines"), catalog, settings.clone());
        self.lines = Arc::new(SegmentLines::open(ground).await.unwrap());
    }
}

pub(crate) fn batch(group: GroupId, stream: u64, lines: &[(i64, &str)]) -> Batch {
    let line = |(timestamp_ms, text): &(i64, &str)| Line {
        timestamp_ms: *timestamp_ms,
        message: Bytes::copy_from_slice(text.as_bytes()),
    };
    let (stream, ingested_at) = (StreamId(stream), Timestamp::from_seconds(5));
    Batch { group, stream, ingested_at, lines: lines.iter().map(line).collect() }
}

pub(crate) fn all_of(group: GroupId) -> Query {
    Query {
        group,
        streams: None,
        times_ms: i64::MIN..i64::MAX,
        after: None,
        backwards: false,
        wanted: None,
        lines_max: usize::MAX,
        found_bytes_max: usize::MAX,
        scanned_bytes_max: u64::MAX,
    }
}

pub(crate) fn texts(page: &Page) -> Vec<&str> {
    page.lines.iter().map(|found| std::str::from_utf8(&found.message).unwrap()).collect()
}

async fn read(lines: &dyn Lines, query: Query) -> Page {
    lines.read(query).await.unwrap()
}

#[tokio::test]
async fn lines_are_read_in_the_order_of_their_times_then_as_they_came() {
    for mut subject in subjects().await {
        let first = vec![batch(GROUP, 1, &[(50, "c"), (10, "a"), (50, "d")]), batch(OTHER, 2, &[(5, "no")])];
        let first = subject.lines.append(first).await.unwrap();
        let second = subject.lines.append(vec![batch(GROUP, 3, &[(50, "e"), (20, "b")])]).await.unwrap();
        assert_eq!(second.0, first.0 + 2, "each batch has the next position");
        for age in ["new", "old"] {
            let page = read(&*subject.lines, all_of(GROUP)).await;
            assert_eq!(texts(&page), ["a", "b", "c", "d", "e"], "{} {age}", subject.name);
            assert!(page.is_complete);
            let id = |timestamp_ms, position, index| LineId { timestamp_ms, position, index };
            let ids: Vec<_> = page.lines.iter().map(|found| found.id).collect();
            let expected =
                [id(10, first, 1), id(20, second, 1), id(50, first, 0), id(50, first, 2), id(50, second, 0)];
            assert_eq!(ids, expected, "{} {age}", subject.name);
            assert_eq!(page.lines[1].stream, StreamId(3));
            assert_eq!(page.lines[1].ingested_at, Timestamp::from_seconds(5));
            let back = read(&*subject.lines, Query { backwards: true, ..all_of(GROUP) }).await;
            assert_eq!(texts(&back), ["e", "d", "c", "b", "a"], "{} {age}", subject.name);
            subject.age().await;
        }
    }
}

#[tokio::test]
async fn a_range_of_times_is_half_open_and_streams_are_told_apart() {
    for mut subject in subjects().await {
        let lines = [(10, "a"), (20, "b"), (30, "c")];
        subject.lines.append(vec![batch(GROUP, 1, &lines), batch(GROUP, 2, &[(20, "x")])]).await.unwrap();
        for _ in 0..2 {
            let query = Query { times_ms: 10..30, ..all_of(GROUP) };
            assert_eq!(texts(&read(&*subject.lines, query.clone()).await), ["a", "b", "x"]);
            let of_one = Query { streams: Some(vec![StreamId(1)]), ..query };
            assert_eq!(texts(&read(&*subject.lines, of_one.clone()).await), ["a", "b"]);
            let of_none = Query { streams: Some(Vec::new()), ..of_one };
            assert!(read(&*subject.lines, of_none).await.lines.is_empty());
            let empty = Query { times_ms: 30..30, ..all_of(GROUP) };
            assert_eq!(read(&*subject.lines, empty).await, Page { is_complete: true, ..Page::default() });
            subject.age().await;
        }
    }
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_stopped_whatever_stopped_it() {
    for mut subject in subjects().await {
        let texts_of: Vec<String> = (0..40).map(|number| format!("line {number:02}")).collect();
        for (text, time) in texts_of.iter().zip(0..) {
            subject.lines.append(vec![batch(GROUP, time % 3, &[(time as i64 / 4, text)])]).await.unwrap();
        }
        let limits = [(3, usize::MAX, u64::MAX), (usize::MAX, 20, u64::MAX), (usize::MAX, usize::MAX, 50)];
        for (lines_max, found_bytes_max, scanned_bytes_max) in limits {
            for backwards in [false, true] {
                let wanted: cairn_store::lines::Wanted = Arc::new(|text| !text.ends_with(b"5"));
                let mut query = Query {
                    backwards,
                    lines_max,
                    found_bytes_max,
                    scanned_bytes_max,
                    wanted: Some(wanted),
                    ..all_of(GROUP)
                };
                let mut found = Vec::new();
                loop {
                    let page = read(&*subject.lines, query.clone()).await;
                    assert!(page.lines.len() <= lines_max && page.lines.len() < 10);
                    found.extend(texts(&page).into_iter().map(str::to_owned));
                    query.after = page.looked_up_to.or(query.after);
                    if page.is_complete {
                        break;
                    }
                }
                let mut expected: Vec<_> =
                    texts_of.iter().filter(|text| !text.ends_with('5')).cloned().collect();
                if backwards {
                    expected.reverse();
                }
                assert_eq!(found, expected, "{} {lines_max} {backwards}", subject.name);
            }
        }
        subject.age().await;
        assert_eq!(read(&*subject.lines, all_of(GROUP)).await.lines.len(), 40);
    }
}

#[tokio::test]
async fn what_is_forgotten_is_not_found_again_and_others_stay() {
    for mut subject in subjects().await {
        let some =
            vec![batch(GROUP, 1, &[(1, "a")]), batch(GROUP, 2, &[(2, "b")]), batch(OTHER, 3, &[(3, "c")])];
        subject.lines.append(some).await.unwrap();
        subject.age().await;
        subject.lines.append(vec![batch(GROUP, 1, &[(4, "d")]), batch(GROUP, 2, &[(5, "e")])]).await.unwrap();
        subject.lines.forget(GROUP, Some(StreamId(1))).await.unwrap();
        for _ in 0..2 {
            assert_eq!(texts(&read(&*subject.lines, all_of(GROUP)).await), ["b", "e"], "{}", subject.name);
            assert_eq!(subject.lines.kept_of_stream(GROUP, StreamId(1)), Kept::default());
            assert_eq!(subject.lines.kept_of_group(GROUP).text_bytes, 2);
            subject.age().await;
        }
        subject.lines.forget(GROUP, None).await.unwrap();
        for _ in 0..2 {
            let page = read(&*subject.lines, all_of(GROUP)).await;
            assert_eq!(page, Page { is_complete: true, ..Page::default() }, "{}", subject.name);
            assert_eq!(subject.lines.kept_of_group(GROUP), Kept::default());
            assert_eq!(texts(&read(&*subject.lines, all_of(OTHER)).await), ["c"]);
            subject.age().await;
        }
    }
}

#[tokio::test]
async fn lines_expire_by_their_time_and_those_that_come_later_are_new() {
    for mut subject in subjects().await {
        subject.lines.append(vec![batch(GROUP, 1, &[(10, "a"), (20, "b")])]).await.unwrap();
        subject.age().await;
        subject.lines.append(vec![batch(GROUP, 1, &[(11, "c"), (21, "d")])]).await.unwrap();
        subject.lines.expire(GROUP, 20).await.unwrap();
        assert_eq!(subject.lines.kept_of_group(GROUP).first_ms, Some(20), "{}", subject.name);
        assert_eq!(texts(&read(&*subject.lines, all_of(GROUP)).await), ["b", "d"], "{}", subject.name);
        subject.lines.append(vec![batch(GROUP, 1, &[(12, "e")])]).await.unwrap();
        for _ in 0..2 {
            let page = read(&*subject.lines, all_of(GROUP)).await;
            assert_eq!(texts(&page), ["e", "b", "d"], "{}", subject.name);
            subject.age().await;
        }
        subject.lines.expire(GROUP, 1000).await.unwrap();
        for _ in 0..2 {
            assert!(read(&*subject.lines, all_of(GROUP)).await.lines.is_empty());
            assert_eq!(subject.lines.kept_of_group(GROUP).text_bytes, 0, "{}", subject.name);
            subject.age().await;
        }
    }
}

#[tokio::test]
async fn what_is_kept_is_counted_by_stream_and_group() {
    for mut subject in subjects().await {
        subject.lines.append(vec![batch(GROUP, 1, &[(10, "aa"), (5, "b")])]).await.unwrap();
        subject.age().await;
        subject
            .lines
            .append(vec![batch(GROUP, 2, &[(30, "cccc")]), batch(GROUP, 1, &[(7, "d")])])
            .await
            .unwrap();
        for _ in 0..2 {
            let ingested = Some(Timestamp::from_seconds(5));
            let of = |text_bytes, first, last| Kept {
                text_bytes,
                first_ms: Some(first),
                last_ms: Some(last),
                last_ingested_at: ingested,
            };
            assert_eq!(subject.lines.kept_of_stream(GROUP, StreamId(1)), of(4, 5, 10), "{}", subject.name);
            assert_eq!(subject.lines.kept_of_group(GROUP), of(8, 5, 30), "{}", subject.name);
            assert_eq!(subject.lines.kept_of_group(OTHER), Kept::default());
            subject.age().await;
        }
    }
}

#[tokio::test]
async fn what_was_appended_is_given_as_it_came_and_in_parts() {
    for mut subject in subjects().await {
        let batches: Vec<Batch> =
            (0..30).map(|number| batch(GROUP, number, &[(9, "one"), (number as i64, "two")])).collect();
        for two in batches.chunks(2) {
            subject.lines.append(two.to_vec()).await.unwrap();
        }
        for bytes_max in [0, 20, usize::MAX] {
            let mut next = LogPosition(0);
            let mut found = Vec::new();
            while next < subject.lines.end() {
                let page = subject.lines.appended(next, bytes_max).await.unwrap();
                assert!(!page.is_empty() && (bytes_max > 30 || page.len() <= 5), "{}", page.len());
                for (position, batch) in page {
                    assert_eq!(position, next, "{}", subject.name);
                    next = LogPosition(next.0 + 1);
                    found.push(batch);
                }
            }
            assert_eq!(found, batches, "{}", subject.name);
            assert!(subject.lines.appended(next, bytes_max).await.unwrap().is_empty());
        }
        subject.age().await;
        assert_eq!(subject.lines.appended(LogPosition(29), 1).await.unwrap().len(), 1, "{}", subject.name);
        subject.lines.wait_past(LogPosition(29)).await;
    }
}

#[tokio::test]
async fn many_appends_at_once_are_all_there_in_memory_and_in_files() {
    for subject in subjects().await {
        let mut tasks = tokio::task::JoinSet::new();
        for stream in 0..8 {
            let lines = Arc::clone(&subject.lines);
            tasks.spawn(async move {
                let mut chance = Chance(stream);
                for number in 0..40 {
                    let text = format!("{stream} {number} {}", "x".repeat(chance.below(60)));
                    let at = chance.below(1000) as i64;
                    lines.append(vec![batch(GROUP, stream, &[(at, &text)])]).await.unwrap();
                    if number % 10 == 0 {
                        lines.maintain(Timestamp::from_seconds(6), LogPosition(0)).await.unwrap();
                    }
                }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            joined.unwrap();
        }
        let page = read(&*subject.lines, all_of(GROUP)).await;
        assert_eq!(page.lines.len(), 320, "{}", subject.name);
        assert!(page.lines.is_sorted_by_key(|found| found.id), "{}", subject.name);
    }
}
