//! What every event log does, shown on the embedded one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};
use prometheus::Registry;
use tempfile::TempDir;

/// Settings under which a test fills several segments.
pub(crate) fn small_segments() -> LogSettings {
    LogSettings { segment_size_bytes: 4096, entry_size_bytes_max: 2048, recent_size_bytes_max: 512 }
}

pub(crate) fn open(dir: &TempDir, settings: LogSettings) -> SegmentLog {
    SegmentLog::open(dir.path(), settings, &Registry::new()).unwrap()
}

/// The entry that the tests put at `position`.
pub(crate) fn entry(position: u64) -> Entry {
    let payload = format!("{{\"n\":{position},\"fill\":\"{}\"}}", "x".repeat((position % 97) as usize));
    Entry {
        kind: EntryKind::Event,
        recorded_at: Timestamp::from_millis(position as i64),
        payload: payload.into(),
    }
}

pub(crate) async fn fill(log: &impl EventLog, count: u64) {
    for position in log.end().0..log.end().0 + count {
        assert_eq!(log.append(vec![entry(position)]).await.unwrap(), LogPosition(position));
    }
}

/// Everything from `from` to the end, read in pieces.
pub(crate) async fn read_all(log: &impl EventLog, from: u64) -> Result<Vec<(LogPosition, Entry)>, LogError> {
    let mut all = Vec::new();
    loop {
        let page = log.read(LogPosition(from + all.len() as u64), 7, 600).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

pub(crate) fn expected(range: std::ops::Range<u64>) -> Vec<(LogPosition, Entry)> {
    range.map(|position| (LogPosition(position), entry(position))).collect()
}

async fn entries_come_back_in_order(log: impl EventLog) {
    assert_eq!((log.start(), log.end()), (LogPosition(0), LogPosition(0)));
    assert_eq!(log.read(LogPosition(0), 10, 1000).await.unwrap(), vec![]);
    assert_eq!(log.append(vec![entry(0), entry(1), entry(2)]).await.unwrap(), LogPosition(0));
    assert_eq!(log.append(vec![]).await.unwrap(), LogPosition(3));
    fill(&log, 100).await;
    assert_eq!(log.end(), LogPosition(103));
    assert_eq!(read_all(&log, 0).await.unwrap(), expected(0..103));
    assert_eq!(read_all(&log, 50).await.unwrap(), expected(50..103));
    assert_eq!(log.read(LogPosition(103), 10, 1000).await.unwrap(), vec![]);
    assert_eq!(log.read(LogPosition(500), 10, 1000).await.unwrap(), vec![]);
}

async fn a_read_keeps_to_its_limits_but_returns_one(log: impl EventLog) {
    fill(&log, 20).await;
    for from in [0, 15] {
        assert_eq!(log.read(LogPosition(from), 3, usize::MAX).await.unwrap(), expected(from..from + 3));
        assert_eq!(log.read(LogPosition(from), 9, 0).await.unwrap(), expected(from..from + 1));
        let two = entry(from).payload.len() + 1;
        assert_eq!(log.read(LogPosition(from), 9, two).await.unwrap(), expected(from..from + 2));
    }
}

async fn an_entry_over_the_limit_is_refused(log: impl EventLog) {
    let big = Entry { payload: Bytes::from(vec![b'x'; 2049]), ..entry(0) };
    let refused = log.append(vec![entry(0), big]).await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { size_bytes: 2049, limit_bytes: 2048 })),
        "{refused:?}"
    );
    assert_eq!(log.end(), LogPosition(0));
    fill(&log, 1).await;
}

async fn concurrent_appends_each_get_their_own_positions(log: Arc<impl EventLog>) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32_u64 {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let mut mine = Vec::new();
            for round in 0..8 {
                let tagged =
                    |n| Entry { recorded_at: Timestamp::from_millis((task * 100 + n) as i64), ..entry(n) };
                let first = log.append(vec![tagged(round * 2), tagged(round * 2 + 1)]).await.unwrap();
                mine.push((first.0, tagged(round * 2)));
                mine.push((first.0 + 1, tagged(round * 2 + 1)));
            }
            mine
        });
    }
    let mut all: Vec<(u64, Entry)> = tasks.join_all().await.into_iter().flatten().collect();
    all.sort_by_key(|(position, _)| *position);
    let all: Vec<_> = all.into_iter().map(|(position, entry)| (LogPosition(position), entry)).collect();
    assert_eq!(read_all(&*log, 0).await.unwrap(), all);
    assert_eq!(all.len(), 512);
}

async fn a_waiting_consumer_is_woken(log: Arc<impl EventLog>) {
    fill(&*log, 2).await;
    log.wait_past(LogPosition(1)).await;
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            log.wait_past(LogPosition(2)).await;
            log.end()
        }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    fill(&*log, 1).await;
    assert_eq!(waiting.await.unwrap(), LogPosition(3));
}

async fn trimming_lets_go_of_the_oldest_and_says_so(log: impl EventLog) {
    fill(&log, 200).await;
    log.trim(LogPosition(120)).await.unwrap();
    let start = log.start();
    assert!(start > LogPosition(0) && start <= LogPosition(120), "{start:?}");
    assert_eq!(read_all(&log, start.0).await.unwrap(), expected(start.0..200));
    let refused = log.read(LogPosition(0), 1, 1).await;
    assert!(
        matches!(refused, Err(LogError::Trimmed { from: LogPosition(0), start: s }) if s == start),
        "{refused:?}"
    );
    log.trim(LogPosition(u64::MAX)).await.unwrap();
    assert!(log.start() <= log.end());
    fill(&log, 5).await;
    assert_eq!(log.end(), LogPosition(205));
}

#[tokio::test]
async fn the_embedded_log_conforms() {
    let fresh = || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir, small_segments());
        (dir, log)
    };
    let (_dir, log) = fresh();
    entries_come_back_in_order(log).await;
    let (_dir, log) = fresh();
    a_read_keeps_to_its_limits_but_returns_one(log).await;
    let (_dir, log) = fresh();
    an_entry_over_the_limit_is_refused(log).await;
    let (_dir, log) = fresh();
    concurrent_appends_each_get_their_own_positions(Arc::new(log)).await;
    let (_dir, log) = fresh();
    a_waiting_consumer_is_woken(Arc::new(log)).await;
    let (_dir, log) = fresh();
    trimming_lets_go_of_the_oldest_and_says_so(log).await;
}

#[tokio::test]
async fn entries_and_trimming_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let log = open(&dir, small_segments());
        assert_eq!(log.end(), LogPosition(round * 40));
        assert_eq!(read_all(&log, log.start().0).await.unwrap(), expected(log.start().0..round * 40));
        fill(&log, 40).await;
        log.trim(LogPosition(round * 30)).await.unwrap();
    }
    let log = open(&dir, small_segments());
    assert!(log.start() > LogPosition(100), "{:?}", log.start());
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, small_segments());
    let second = SegmentLog::open(dir.path(), small_segments(), &Registry::new());
    assert!(matches!(second.err(), Some(LogError::Locked)));
    drop(log);
    open(&dir, small_segments());
}

#[tokio::test]
async fn many_appenders_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let log = Arc::new(SegmentLog::open(dir.path(), LogSettings::default(), &registry).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..512 {
        let log = Arc::clone(&log);
        tasks.spawn(async move { log.append(vec![entry(n)]).await.unwrap() });
    }
    tasks.join_all().await;
    let counter = |name: &str| {
        let family = registry.gather().into_iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_counter().get_value()
    };
    assert_eq!(counter("cairn_log_appended_entries_total"), 512.0);
    assert!(counter("cairn_log_syncs_total") < 256.0, "{}", counter("cairn_log_syncs_total"));
}

#[tokio::test]
async fn after_a_failed_write_the_log_takes_nothing_more_but_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogSettings { recent_size_bytes_max: 1 << 20, ..small_segments() });
    fill(&log, 5).await;
    // With the directory gone the next segment cannot be made.
    std::fs::remove_dir_all(dir.path()).unwrap();
    let mut failure = None;
    while failure.is_none() && log.end() < LogPosition(500) {
        failure = log.append(vec![entry(log.end().0)]).await.err();
    }
    assert!(matches!(failure, Some(LogError::Io { .. })), "{failure:?}");
    let end = log.end();
    assert!(matches!(log.append(vec![entry(0)]).await, Err(LogError::Poisoned)));
    assert_eq!(log.end(), end);
    assert_eq!(read_all(&log, 0).await.unwrap(), expected(0..end.0));
    tokio::time::timeout(Duration::from_millis(20), log.wait_past(end)).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_follow_from_disk_while_others_append_and_trim() {
    const ENTRIES: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(&dir, LogSettings { recent_size_bytes_max: 0, ..small_segments() }));
    let cursors: Arc<[AtomicU64; 4]> = Arc::default();
    let mut consumers = tokio::task::JoinSet::new();
    for consumer in 0..cursors.len() {
        let (log, cursors) = (Arc::clone(&log), Arc::clone(&cursors));
        consumers.spawn(async move {
            let mut seen = 0;
            while seen < ENTRIES {
                log.wait_past(LogPosition(seen)).await;
                let page = log.read(LogPosition(seen), 1 + consumer * 30, usize::MAX).await.unwrap();
                assert!(!page.is_empty());
                assert_eq!(page, expected(seen..seen + page.len() as u64));
                seen += page.len() as u64;
                cursors[consumer].store(seen, Ordering::SeqCst);
                if seen % 50 == 0 {
                    let read_by_all = cursors.iter().map(|cursor| cursor.load(Ordering::SeqCst)).min();
                    log.trim(LogPosition(read_by_all.unwrap())).await.unwrap();
                }
            }
        });
    }
    while log.end().0 < ENTRIES {
        let end = log.end().0;
        log.append((end..(end + 1 + end % 7).min(ENTRIES)).map(entry).collect()).await.unwrap();
    }
    while let Some(joined) = consumers.join_next().await {
        joined.unwrap();
    }
    log.trim(LogPosition(ENTRIES)).await.unwrap();
    assert!(log.start() > LogPosition(0));
}
