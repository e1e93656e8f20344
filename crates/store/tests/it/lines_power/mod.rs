//! The store of lines on a disk that fails, fills up and loses power, beside a catalog that fails, and whose server is
//! killed within any operation: no line that was acknowledged is lost, none is there twice or comes back that was
//! forgotten or expired, batches are whole, order holds, and nothing stays on the disk of what is gone.

mod known;
mod registry;

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::lines::{
    Batch, GroupId, Line, LineId, Lines, LinesError, LinesGround, LinesSettings, Query, SegmentLines,
    StreamId,
};
use cairn_store::{Catalog, LogPosition};
use cairn_testkit::disk::{Machine, SimDisk};
use cairn_testkit::{Chance, memory_catalog};
use prometheus::Registry;

use self::known::Known;
use self::registry::FlakyCatalog;
use crate::faults::{self, Faults};
use crate::lines::{all_of, small};

/// How many seeds an ordinary test run takes, and how much that comes to at least.
const SEEDS: u64 = 200;
const KILLS_MIN: u64 = 1500;
const MERGES_MIN: u64 = 600;
const STEPS: usize = 140;
const DIRECTORY: &str = "/data/lines";
/// What the journal may take when nothing of it is needed.
const JOURNAL_SIZE_BYTES_MAX: u64 = 6 << 10;
const TIMES_MS: i64 = 200;

/// How often servers were killed, in all seeds, how often they wrote a file, and how much text they merged.
static KILLS: AtomicU64 = AtomicU64::new(0);
static FLUSHES: AtomicU64 = AtomicU64::new(0);
static MERGES: AtomicU64 = AtomicU64::new(0);

struct Process {
    dead: Arc<AtomicBool>,
    disk: SimDisk,
    lines: SegmentLines,
    registry: Registry,
}

impl Process {
    fn count(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value() as u64 + metric.get_histogram().get_sample_count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        FLUSHES.fetch_add(self.count("cairn_lines_flush_seconds"), Ordering::Relaxed);
        MERGES.fetch_add(self.count("cairn_lines_merges_total"), Ordering::Relaxed);
    }
}

struct Run {
    chance: Chance,
    faults: Arc<Faults>,
    faults_are_off: Arc<AtomicBool>,
    machine: Machine,
    catalog: Catalog,
    processes: u64,
    process: Option<Process>,
    known: Known,
    /// The groups and streams that are there; the number of the next.
    groups: Vec<GroupId>,
    streams: Vec<(GroupId, StreamId)>,
    next: u64,
    /// What could not be forgotten.
    to_forget: Vec<(GroupId, Option<StreamId>)>,
    /// Where the stage goes on that reads all that comes.
    cursor: LogPosition,
    now: Timestamp,
    made: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let (machine, faults) = faults::machine(&mut chance);
        let mut run = Self {
            chance,
            faults,
            faults_are_off: Arc::default(),
            machine,
            catalog: memory_catalog(),
            processes: 0,
            process: None,
            known: Known::default(),
            groups: Vec::new(),
            streams: Vec::new(),
            next: 0,
            to_forget: Vec::new(),
            cursor: LogPosition(0),
            now: Timestamp::from_seconds(1000),
            made: 0,
        };
        (0..3).for_each(|_| run.new_group());
        run
    }

    fn new_group(&mut self) {
        self.next += 1;
        let group = GroupId(self.next);
        self.groups.push(group);
        (0..2).for_each(|_| self.new_stream(group));
    }

    fn new_stream(&mut self, group: GroupId) {
        self.next += 1;
        self.streams.push((group, StreamId(self.next)));
    }

    async fn run(&mut self) {
        for _ in 0..STEPS / 2 + self.chance.below(STEPS) {
            if self.process.as_ref().is_some_and(|process| process.dead.load(Ordering::SeqCst)) {
                self.die();
            }
            match self.chance.below(100) {
                _ if self.process.is_none() => self.start().await,
                0..=39 => self.append().await,
                40..=56 => self.maintain().await,
                57..=69 => self.read().await,
                70..=75 => self.consume().await,
                76..=78 => self.forget_stream().await,
                79 => self.forget_group().await,
                80..=82 => self.expire().await,
                83..=84 => self.now = self.now.plus(Duration::from_secs(self.chance.next() % 15)),
                85..=91 => {
                    let operations = 1 + self.chance.below(25) as i64;
                    self.process.as_ref().unwrap().disk.die_within(operations);
                }
                92..=93 => self.machine.leave_room(self.chance.next() % 9000),
                94..=95 => self.machine.leave_room(u64::MAX / 2),
                _ => self.die(),
            }
        }
        self.faults.off.store(true, Ordering::SeqCst);
        self.faults_are_off.store(true, Ordering::SeqCst);
        self.machine.leave_room(u64::MAX / 2);
        self.die();
        self.start().await;
        self.check_all().await;
        self.die();
        self.machine.lose_power();
        self.start().await;
        self.check_all().await;
        self.check_room_comes_back().await;
    }

    fn lines(&self) -> &SegmentLines {
        &self.process.as_ref().expect("a server runs").lines
    }

    /// The server dies where it stands, and perhaps the power goes.
    fn die(&mut self) {
        if let Some(process) = self.process.take() {
            process.dead.store(true, Ordering::SeqCst);
            self.machine.release(self.processes);
            KILLS.fetch_add(1, Ordering::Relaxed);
        }
        if self.chance.strikes(400) {
            self.machine.lose_power();
        }
    }

    async fn start(&mut self) {
        self.processes += 1;
        let dead = Arc::new(AtomicBool::new(false));
        let disk = self.machine.process(self.processes, &dead);
        if self.chance.strikes(200) && !self.faults.off.load(Ordering::SeqCst) {
            disk.die_within(1 + self.chance.below(25) as i64);
        }
        let catalog = FlakyCatalog {
            inner: self.catalog.clone(),
            chance: Mutex::new(Chance(self.chance.next())),
            faults_are_off: Arc::clone(&self.faults_are_off),
            dead: Arc::clone(&dead),
        };
        let settings = LinesSettings {
            segment_size_bytes: 2048,
            recent_size_bytes_max: self.chance.pick(&[0, 400, 1 << 20]),
            tail_size_bytes_max: self.chance.pick(&[1500, 8 << 10]),
            flush_size_bytes: self.chance.pick(&[300, 1 << 10]),
            ..small()
        };
        let registry = Registry::new();
        let ground = LinesGround {
            disk: Arc::new(disk.clone()),
            folder: Path::new(DIRECTORY).to_owned(),
            catalog: Catalog::new(catalog),
            key: [9; 32],
            settings,
            space: None,
            registry: registry.clone(),
        };
        match SegmentLines::open_undriven(ground).await {
            Ok(lines) => self.process = Some(Process { dead, disk, lines, registry }),
            Err(error) => {
                assert_excused(&error);
                let is_healthy = self.faults.off.load(Ordering::SeqCst) && !dead.load(Ordering::SeqCst);
                assert!(!is_healthy, "the lines do not open on a healthy disk: {error:?}");
                dead.store(true, Ordering::SeqCst);
                self.machine.release(self.processes);
                self.machine.leave_room(u64::MAX / 2);
            }
        }
    }

    fn new_batch(&mut self) -> Batch {
        let (group, stream) = self.chance.pick(&self.streams);
        let count = 1 + self.chance.below(6);
        let lines = (0..count).map(|_| {
            self.made += 1;
            let fill = self.chance.pick(&["x", "\0", "{}"]).repeat(self.chance.below(80));
            let timestamp_ms = self.chance.next() as i64 % TIMES_MS;
            Line { timestamp_ms: timestamp_ms.abs(), message: Bytes::from(format!("{}:{fill}", self.made)) }
        });
        Batch { group, stream, lines: lines.collect(), ingested_at: self.now }
    }

    async fn append(&mut self) {
        let batches: Vec<_> = (0..=self.chance.below(3)).map(|_| self.new_batch()).collect();
        match self.lines().append(batches.clone()).await {
            Ok(first) => self.known.appended(batches, Some(first), false),
            Err(error) => {
                assert_excused(&error);
                let is_refused = matches!(error, LinesError::Full(_));
                self.known.appended(batches, None, is_refused);
            }
        }
    }

    async fn maintain(&mut self) {
        if let Err(error) = self.lines().maintain(self.now, self.cursor).await {
            assert_excused(&error);
        }
    }

    async fn read(&mut self) {
        let group = self.chance.pick(&self.groups);
        let from = self.chance.next() as i64 % TIMES_MS;
        let times_ms = self.chance.pick(&[(i64::MIN, i64::MAX), (from, from + 30)]);
        let streams: Vec<_> = self.streams.iter().filter(|(of, _)| *of == group).map(|(_, of)| *of).collect();
        let of_one =
            (!streams.is_empty() && self.chance.strikes(300)).then(|| vec![self.chance.pick(&streams)]);
        let has_wanted = self.chance.strikes(300);
        let wanted: cairn_store::lines::Wanted = Arc::new(|text| text.len() % 2 == 0);
        let query = Query {
            streams: of_one,
            times_ms: times_ms.0..times_ms.1,
            backwards: self.chance.strikes(500),
            wanted: has_wanted.then_some(wanted),
            lines_max: self.chance.pick(&[1, 7, usize::MAX]),
            found_bytes_max: self.chance.pick(&[1, 300, usize::MAX]),
            scanned_bytes_max: self.chance.pick(&[1, 500, u64::MAX]),
            ..all_of(group)
        };
        self.read_all(query).await;
    }

    /// Reads page by page; in between files may be merged.
    async fn read_all(&mut self, mut query: Query) {
        let mut found = Vec::new();
        loop {
            let page = match self.lines().read(query.clone()).await {
                Ok(page) => page,
                Err(error) => return assert_excused(&error),
            };
            found.extend(page.lines);
            if page.is_complete {
                break;
            }
            query.after = Some(page.looked_up_to.expect("what is not complete was begun"));
            if self.chance.strikes(50) {
                self.maintain().await;
            }
        }
        let Range { start, end } = query.times_ms;
        let is_asked = |stream: StreamId, id: LineId, text: &[u8]| {
            (start..end).contains(&id.timestamp_ms)
                && query.streams.as_ref().is_none_or(|streams| streams.contains(&stream))
                && query.wanted.as_ref().is_none_or(|wanted| wanted(text))
        };
        self.known.found(query.group, &found, is_asked, query.backwards);
    }

    /// The stage that reads all that comes goes on.
    async fn consume(&mut self) {
        let bytes_max = self.chance.pick(&[0, 300, 100_000]);
        let (from, mut came) = (self.cursor, BTreeSet::new());
        match self.lines().appended(from, bytes_max).await {
            Ok(batches) => {
                let end = self.lines().end();
                assert!(!batches.is_empty() || end <= from, "{end:?} is past {from:?}, and nothing comes");
                for (position, batch) in &batches {
                    assert_eq!(*position, self.cursor, "batches come one behind the other");
                    self.known.came(*position, batch);
                    came.insert(*position);
                    self.cursor = LogPosition(position.0 + 1);
                }
                self.known.check_came(from, self.cursor, &came);
            }
            Err(error) => assert_excused(&error),
        }
    }

    async fn forget_stream(&mut self) {
        let (group, stream) = self.streams.swap_remove(self.chance.below(self.streams.len()));
        self.new_stream(group);
        self.to_forget.push((group, Some(stream)));
        self.forget().await;
    }

    async fn forget_group(&mut self) {
        let group = self.groups.swap_remove(self.chance.below(self.groups.len()));
        self.streams.retain(|(of, _)| *of != group);
        self.new_group();
        self.to_forget.push((group, None));
        self.forget().await;
    }

    /// Forgets what is to be forgotten; what had no answer is tried again, and nothing is appended to it.
    async fn forget(&mut self) {
        for (group, stream) in std::mem::take(&mut self.to_forget) {
            let outcome = self.lines().forget(group, stream).await;
            outcome.as_ref().err().into_iter().for_each(assert_excused);
            let is_of = |batch: &Batch| batch.group == group && stream.is_none_or(|of| of == batch.stream);
            self.known.forgotten(outcome.is_ok(), is_of);
            if outcome.is_err() {
                self.to_forget.push((group, stream));
            }
        }
    }

    async fn expire(&mut self) {
        let group = self.chance.pick(&self.groups);
        let before_ms = self.chance.next() as i64 % TIMES_MS;
        let outcome = self.lines().expire(group, before_ms).await;
        outcome.as_ref().err().into_iter().for_each(assert_excused);
        let has_expired = |batch: &Batch, time| batch.group == group && time < before_ms;
        self.known.expired(outcome.is_ok(), has_expired);
    }

    async fn check_all(&mut self) {
        for group in self.groups.clone() {
            for backwards in [false, true] {
                self.read_all(Query { backwards, lines_max: 50, ..all_of(group) }).await;
            }
        }
        while self.cursor < self.lines().end() {
            self.consume().await;
        }
        for (group, stream) in &self.streams {
            let kept = self.lines().kept_of_stream(*group, *stream);
            let (least, most) = self.known.kept_bytes(*group, *stream);
            assert!((least..=most).contains(&kept.text_bytes), "{least} {most} {kept:?}");
        }
    }

    /// What is gone takes no room, neither on the disk nor in the catalog.
    async fn check_room_comes_back(&mut self) {
        self.forget().await;
        for group in self.groups.clone() {
            self.lines().forget(group, None).await.unwrap();
        }
        self.now = self.now.plus(Duration::from_secs(1000));
        for _ in 0..3 {
            self.lines().maintain(self.now, self.cursor).await.unwrap();
        }
        let files = self.machine.files(&Path::new(DIRECTORY).join("files"));
        assert!(files.is_empty(), "{files:?}");
        let journal = self.machine.files(&Path::new(DIRECTORY).join("journal"));
        let size_bytes: u64 = journal.iter().map(|(_, size_bytes)| size_bytes).sum();
        assert!(size_bytes <= JOURNAL_SIZE_BYTES_MAX, "{journal:?}");
        for table in ["lines.file", "lines.stream", "lines.forgotten", "lines.expired"] {
            let rows =
                self.catalog.read(move |tx| tx.scan(table, &[], None, usize::MAX, false)).await.unwrap();
            assert!(rows.is_empty(), "{table}: {} rows", rows.len());
        }
    }
}

/// An error must be one of the disk's or the catalog's, or come after one: never that something is damaged.
fn assert_excused(error: &LinesError) {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        let text = error.to_string();
        let is_wrong = ["not what was written", "newer than", "is corrupt", "was trimmed", "is needed from"];
        assert!(!is_wrong.iter().any(|wrong| text.contains(wrong)), "{error:?}");
        assert!(!text.contains("not in the registry"), "{error:?}");
        link = error.source();
    }
}

fn run(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // The journal is polled by hand: tokio must not say "pending" for the sake of fairness.
    runtime.block_on(tokio::task::unconstrained(async { Run::new(seed).run().await }));
}

#[test]
fn lines_keep_their_promises_whatever_their_disk_and_catalog_do() {
    let seeds: Vec<u64> = match (env::var("CAIRN_SEED"), env::var("CAIRN_SEEDS")) {
        (Ok(seed), _) => vec![seed.parse().unwrap()],
        (_, Ok(seeds)) => (1..=seeds.parse().unwrap()).collect(),
        _ => (1..=SEEDS).collect(),
    };
    let count = seeds.len() as u64;
    let failed: Vec<u64> =
        seeds.into_iter().filter(|seed| std::panic::catch_unwind(|| run(*seed)).is_err()).collect();
    let again = "CAIRN_SEED=n cargo test -p cairn-store --test it lines_power";
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}; one again: {again}", failed.len());
    let [kills, flushes, merges] = [&KILLS, &FLUSHES, &MERGES].map(|count| count.load(Ordering::Relaxed));
    println!("{count} seeds, {kills} kills, {flushes} flushes, {merges} merges");
    assert!(count < SEEDS || (kills >= KILLS_MIN && merges >= MERGES_MIN), "{kills} kills, {merges} merges");
}
