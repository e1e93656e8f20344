//! One run: the processes, what the schedule lets happen, and how it all settles.

use std::future::{Future, pending};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_core::{Clock, EventId, Timestamp};
use cairn_store::disk::Disk;
use cairn_store::history::{SegmentHistory, SegmentSettings};
use cairn_store::{Catalog, EventLog, History, LogPosition};
use cairn_testkit::disk::{FAULTS, Machine, SimDisk};
use cairn_testkit::{Chance, TestClock, fixed_sealer};
use cairn_trail::intents::{self, IntentMark};
use cairn_trail::{
    DeliverySettings, DeliveryStage, DigestSettings, DigestStage, HistoryStage, Ingest, KeySettings,
    NotificationStage, Recorder, SigningKeys, StreamStage,
};
use prometheus::Registry;
use tokio::task::JoinHandle;

use super::super::doubles::MemoryCatalog;
use super::gates::{Door, Faults, Gates};
use super::log::{LogState, SimLog, open_log};
use super::model::{Fact, Facts, SimTrail, call_event, new_fact};
use super::stores::{BucketState, GroupState, SimBucket, SimCatalog, SimGroups, SimTopic, TopicState};

/// For how many positions an ingested record is remembered, and within how many it is sent again.
const WINDOW_ENTRIES: u64 = 64;
const SENT_AGAIN_WITHIN: usize = 16;
/// What a reservation of delivery may hold.
pub const RESERVATION_BYTES_MAX: usize = 3000;
/// Keys that outlive every run: making one takes long, and is no part of what is tested.
pub const LONG: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// Keys that never change over.
pub fn keys(catalog: Catalog, clock: Arc<TestClock>) -> SigningKeys {
    SigningKeys::new(catalog, clock, KeySettings { validity: LONG, rotate_after: LONG }, fixed_sealer())
}

/// The stages of one process.
pub struct Process {
    pub log: Arc<dyn EventLog>,
    pub history: Arc<SegmentHistory>,
    recorder: Recorder,
    ingest: Arc<Ingest>,
    history_stage: HistoryStage,
    delivery: DeliveryStage,
    digests: DigestStage,
    notifications: NotificationStage,
    streams: StreamStage,
    mark: IntentMark,
    /// From where on somebody needs the log, as of its last trim.
    pub needed: AtomicU64,
}

/// Everything there is.
pub struct Simulation {
    pub rng: Chance,
    pub gates: Arc<Gates>,
    pub faults: Arc<Faults>,
    pub clock: Arc<TestClock>,
    pub latest: Timestamp,
    pub machine: Machine,
    pub log: Arc<Mutex<LogState>>,
    pub rows: MemoryCatalog,
    pub bucket: Arc<Mutex<BucketState>>,
    pub topics: Arc<Mutex<TopicState>>,
    pub groups: Arc<Mutex<GroupState>>,
    pub directory: tempfile::TempDir,
    pub facts: Arc<Mutex<Facts>>,
    pub trails: Vec<SimTrail>,
    pub problems: Vec<String>,
    pub schedule: Vec<String>,
    main: Option<(Door, SimDisk)>,
    pub booted: Arc<Mutex<Option<Arc<Process>>>>,
    zombie: Option<(Door, Arc<Stages>)>,
    tasks: Vec<JoinHandle<()>>,
    pub processes: u64,
    /// The process that stands still now, as after a long pause; none where it is 0.
    pub stalled: u64,
}

type Stages = (DeliveryStage, DigestStage, NotificationStage, StreamStage);

/// A folder for the history: in memory where the system has such, as crashes here lose no page cache.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Simulation {
    pub fn new(seed: u64, rows: MemoryCatalog, start: Timestamp) -> Self {
        let mut rng = Chance(seed);
        let rates = [0, 0, 5, 20, 80];
        let kinds = [
            "log read short",
            "catalog EIO",
            "catalog ENOSPC",
            "catalog EIO after the commit",
            "catalog read EIO",
            "put refused",
            "put timed out after its effect",
            "publication refused",
            "publication timed out after its effect",
            "put of lines refused",
            "put of lines timed out after its effect",
        ];
        let mut rate = |kind: &str| rng.pick(&rates) * if kind.starts_with("pu") { 4 } else { 1 };
        let per_mille = kinds.into_iter().chain(FAULTS).map(|kind| (kind, rate(kind))).collect();
        let faults = Faults {
            rng: Mutex::new(Chance(rng.next())),
            per_mille,
            off: false.into(),
            counts: Mutex::default(),
        };
        let faults = Arc::new(faults);
        let machine = Machine::new(rng.next(), faults.clone());
        machine.make_directory(Path::new("/data"));
        Self {
            rng,
            machine,
            gates: Arc::default(),
            faults,
            clock: Arc::new(TestClock::new(start)),
            latest: start,
            log: Arc::default(),
            rows,
            bucket: Arc::default(),
            topics: Arc::default(),
            groups: Arc::default(),
            directory: directory(),
            facts: Arc::default(),
            trails: Vec::new(),
            problems: Vec::new(),
            schedule: Vec::new(),
            main: None,
            booted: Arc::default(),
            zombie: None,
            tasks: Vec::new(),
            processes: 0,
            stalled: 0,
        }
    }

    fn door(&mut self) -> Door {
        self.processes += 1;
        Door::new(&self.gates, self.processes)
    }

    fn sim_log(&self, door: &Door) -> SimLog {
        let owns_log = self.main.as_ref().is_some_and(|(main, _)| main.process == door.process);
        let (state, faults) = (Arc::clone(&self.log), Arc::clone(&self.faults));
        SimLog { state, door: door.clone(), faults, owns_log }
    }

    fn catalog(&self, door: &Door) -> Catalog {
        let faults = Arc::clone(&self.faults);
        Catalog::new(SimCatalog { rows: self.rows.clone(), door: door.clone(), faults })
    }

    fn stages(&self, door: &Door) -> Stages {
        let (log, clock) = (Arc::new(self.sim_log(door)), self.clock.clone());
        let bucket = Arc::new(SimBucket {
            state: Arc::clone(&self.bucket),
            door: door.clone(),
            faults: Arc::clone(&self.faults),
        });
        let topic = Arc::new(SimTopic {
            state: Arc::clone(&self.topics),
            bucket: Arc::clone(&self.bucket),
            rows: self.rows.clone(),
            door: door.clone(),
            faults: Arc::clone(&self.faults),
        });
        let groups = Arc::new(SimGroups {
            state: Arc::clone(&self.groups),
            door: door.clone(),
            faults: Arc::clone(&self.faults),
        });
        let (catalog, registry) = (self.catalog(door), Registry::new());
        let streams = StreamStage::new(log.clone(), catalog.clone(), groups, clock.clone(), &registry);
        let notifications = NotificationStage::new(catalog.clone(), topic, clock.clone(), &registry);
        let settings = DeliverySettings {
            reservation_bytes_max: RESERVATION_BYTES_MAX,
            entries_waiting_max: 12,
            ..DeliverySettings::default()
        };
        let delivery =
            DeliveryStage::new(log, catalog.clone(), bucket.clone(), clock.clone(), settings, &registry);
        let digests = DigestStage::new(
            catalog.clone(),
            bucket,
            keys(catalog, clock.clone()),
            clock,
            &DigestSettings::default(),
            &registry,
        );
        (delivery.unwrap(), digests.unwrap(), notifications.unwrap(), streams.unwrap())
    }

    pub fn note(&mut self, what: String) {
        let shown = self.clock.now().iso();
        self.schedule.push(format!("{shown} {what}"));
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// Until nobody can go on: time stands still while there is work, also on other threads.
    pub async fn rest(&mut self) {
        drop(tokio::time::timeout(Duration::from_millis(1), pending::<()>()).await);
        for task in self.tasks.extract_if(.., |task| task.is_finished()) {
            if let Err(error) = task.await {
                self.problems.push(format!("a task broke: {error}"));
            }
        }
    }

    /// Until everything that was begun is done, but for what a stalled process does.
    async fn finish(&mut self) {
        self.rest().await;
        while self.gates.hold_somebody_but(self.stalled) {
            let released = self.gates.release(&mut self.rng, self.stalled);
            self.note(released);
            self.rest().await;
        }
    }

    /// The second instance stands still somewhere in its work, while the first one goes on.
    async fn stall_zombie(&mut self) {
        let Some((door, _)) = &self.zombie else { return };
        let process = door.process;
        self.run_zombie();
        self.rest().await;
        for _ in 0..self.rng.below(24) {
            if !self.gates.are_empty() {
                let released = self.gates.release(&mut self.rng, 0);
                self.note(released);
                self.rest().await;
            }
        }
        self.stalled = process;
        self.note(format!("process {process} stands still"));
        self.faults.count("second instance stands still");
    }

    /// Starts the main process; it is there once [`Simulation::booted`] has it.
    pub fn boot(&mut self) {
        let door = self.door();
        let disk = self.machine.process(door.process, &door.dead);
        self.main = Some((door.clone(), disk.clone()));
        let (delivery, digests, notifications, streams) = self.stages(&door);
        let (log, catalog) = (Arc::new(self.sim_log(&door)), self.catalog(&door));
        let (clock, path) = (self.clock.clone(), self.directory.path().to_owned());
        let booted = Arc::clone(&self.booted);
        if self.rng.strikes(150) && !self.faults.off.load(Ordering::SeqCst) {
            self.faults.count("death while it starts");
            disk.die_within(1 + self.rng.below(25) as i64);
        }
        let recent_size_bytes_max = self.rng.pick(&[0, 3000, 1 << 20]);
        let (state, faults) = (Arc::clone(&self.log), Arc::clone(&self.faults));
        let settings = SegmentSettings { tail_events_max: 8, retention: LONG, ..SegmentSettings::default() };
        self.spawn(async move {
            door.pass("log open").await;
            let log_disk: Arc<dyn Disk> = Arc::new(disk);
            if !state.lock().unwrap().open(&log_disk, recent_size_bytes_max, &faults) {
                return;
            }
            let opened = SegmentHistory::open(&path, catalog.clone(), clock.clone(), settings).await;
            let Ok(history) = opened else { return };
            let history = Arc::new(history);
            let Ok(unsettled) = intents::unsettled(&*log, &catalog).await else { return };
            if intents::settle(&*log, &*clock, unsettled).await.is_err() {
                return;
            }
            let Ok(ingest) = Ingest::with_window(log.clone(), clock.clone(), WINDOW_ENTRIES).await else {
                return;
            };
            let recorder = Recorder::new(log.clone(), clock.clone());
            let process = Process {
                history_stage: HistoryStage::new(log.clone(), history.clone(), clock),
                history,
                ingest: Arc::new(ingest),
                delivery,
                digests,
                notifications,
                streams,
                mark: IntentMark::new(recorder.clone(), catalog),
                recorder,
                log,
                needed: AtomicU64::new(0),
            };
            *booted.lock().unwrap() = Some(Arc::new(process));
        });
    }

    /// The main process dies, perhaps because the power goes.
    pub fn crash(&mut self) {
        let Some((door, _)) = self.main.take() else { return };
        door.crash();
        *self.booted.lock().unwrap() = None;
        let mut log = self.log.lock().unwrap();
        (log.open, log.failed) = (None, false);
        let end = log.entries.len();
        drop(log);
        self.machine.release(door.process);
        let how = if self.rng.strikes(500) {
            self.machine.lose_power();
            "loss of power"
        } else {
            "kill"
        };
        self.note(format!("process {} dies, a {how}; the log had ended at {end}", door.process));
        self.faults.count(how);
    }

    /// Whether the main process died within an operation of its disk.
    pub fn is_dead(&self) -> bool {
        self.main.as_ref().is_some_and(|(door, _)| door.dead.load(Ordering::SeqCst))
    }

    /// The main process will die within one of the next operations of its disk.
    pub fn doom(&mut self) {
        let operations = 1 + self.rng.below(20) as i64;
        if let Some((_, disk)) = &self.main {
            disk.die_within(operations);
            self.faults.count("death within an operation of the disk");
        }
    }

    /// A second server is started on the same folder.
    pub fn start_second(&mut self) {
        let door = self.door();
        let disk: Arc<dyn Disk> = Arc::new(self.machine.process(door.process, &door.dead));
        let opened = open_log(&disk, 0);
        let held = self.log.lock().unwrap().open.is_some() && !self.is_dead();
        if held && opened.is_ok() {
            self.problems.push("two processes have the log open".to_owned());
        }
        door.crash();
        self.machine.release(door.process);
    }

    /// A second instance of delivery and digests begins to run, or dies.
    pub fn zombie(&mut self) {
        if let Some((door, _)) = self.zombie.take() {
            door.crash();
            return;
        }
        let door = self.door();
        let stages = self.stages(&door);
        self.zombie = Some((door, Arc::new(stages)));
        self.faults.count("zombie");
    }

    pub fn run_zombie(&mut self) {
        let Some((_, stages)) = &self.zombie else { return };
        let stages = Arc::clone(stages);
        let delivers = self.rng.strikes(600);
        self.spawn(async move {
            if delivers {
                drop(stages.0.run_once().await);
            }
            drop(stages.1.run_once().await);
            drop(stages.2.run_once().await);
            drop(stages.3.run_once().await);
        });
    }

    /// Runs a stage of the main process.
    pub fn run_stage(&mut self, which: usize) {
        let Some(process) = self.booted.lock().unwrap().clone() else { return };
        self.spawn(async move {
            match which {
                0 => drop(process.delivery.run_once().await),
                1 => drop(process.digests.run_once().await),
                2 => drop(process.history_stage.run_once().await),
                4 => drop(process.notifications.run_once().await),
                5 => drop(process.streams.run_once().await),
                _ => drop(process.trim().await),
            }
        });
    }

    fn random_id(&mut self) -> EventId {
        let (high, low) = (self.rng.next(), self.rng.next());
        EventId::from_random((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    /// A call: its intent where it changes something, itself, its event.
    pub fn call(&mut self) {
        let (Some(process), Some((door, _))) = (self.booted.lock().unwrap().clone(), self.main.clone())
        else {
            return;
        };
        let (id, fact) = (self.random_id(), new_fact(&mut self.rng, false));
        let event = call_event(&fact, id.clone(), self.clock.now(), self.rng.below(1200));
        let (facts, id, read_only) = (Arc::clone(&self.facts), id.to_string(), fact.read_only);
        facts.lock().unwrap().insert(id.clone(), fact);
        self.spawn(async move {
            let mut intent = None;
            if !read_only {
                let Ok(open) = process.recorder.intend(event.clone()).await else { return };
                facts.lock().unwrap().get_mut(&id).unwrap().intended = true;
                intent = Some(open);
            }
            door.pass("call").await;
            if process.recorder.record(event, None, intent).await.is_ok() {
                facts.lock().unwrap().get_mut(&id).unwrap().acked = true;
            }
        });
    }

    /// A batch of new records and of records that were sent before.
    pub fn ingest(&mut self) {
        let Some(process) = self.booted.lock().unwrap().clone() else { return };
        let mut fact = new_fact(&mut self.rng, true);
        let mut batch: Vec<(String, bytes::Bytes)> = self.sent_before(fact.account);
        for _ in 0..=self.rng.below(4) {
            let id = self.random_id();
            fact = Fact { account: fact.account, ..new_fact(&mut self.rng, true) };
            let event = call_event(&fact, id.clone(), self.clock.now(), self.rng.below(300));
            let json = event.into_record().json().clone();
            fact.json = Some(json.clone());
            self.facts.lock().unwrap().insert(id.to_string(), fact.clone());
            batch.push((id.to_string(), json.clone()));
            if self.rng.strikes(200) {
                self.faults.count("duplicate record");
                batch.push((id.to_string(), json));
            }
        }
        let facts = Arc::clone(&self.facts);
        self.spawn(async move {
            let mut intake = process.ingest.intake(fact.account.parse().unwrap());
            let lines: Vec<&[u8]> = batch.iter().map(|(_, json)| &**json).collect();
            intake.push(&lines.join(&b'\n')).await.unwrap();
            intake.end().unwrap();
            if let Ok(report) = intake.close().await {
                assert_eq!(
                    (report.refused_count(), report.accepted + report.duplicates),
                    (0, batch.len() as u64)
                );
                let mut facts = facts.lock().unwrap();
                batch.iter().for_each(|(id, _)| facts.get_mut(id).unwrap().acked = true);
            }
        });
    }

    fn sent_before(&mut self, account: &str) -> Vec<(String, bytes::Bytes)> {
        let facts = self.facts.lock().unwrap();
        let log = self.log.lock().unwrap();
        let newest = log.entries.iter().rev().take(SENT_AGAIN_WITHIN).map(|entry| &entry.payload);
        let newest: Vec<_> = newest.collect();
        let again = facts.iter().filter(|(_, fact)| {
            fact.account == account && fact.json.as_ref().is_some_and(|json| newest.contains(&json))
        });
        let again: Vec<_> = again.map(|(id, fact)| (id.clone(), fact.json.clone().unwrap())).collect();
        let again: Vec<_> = again.into_iter().filter(|_| self.rng.strikes(300)).collect();
        again.iter().for_each(|_| self.faults.count("duplicate record"));
        again
    }

    /// Faults end, the clock goes on, and all stages run until everything is done.
    pub async fn settle(&mut self) {
        self.note("settles".to_owned());
        self.faults.off.store(true, Ordering::SeqCst);
        self.bucket.lock().unwrap().refusing.clear();
        self.topics.lock().unwrap().refusing.clear();
        self.groups.lock().unwrap().refusing.clear();
        self.machine.leave_room(u64::MAX / 2);
        if self.is_dead() {
            self.crash();
        }
        if let Some((_, disk)) = &self.main {
            disk.die_within(i64::MAX);
        }
        self.stalled = 0;
        if self.zombie.is_some() && self.rng.strikes(200) {
            self.zombie();
        }
        self.finish().await;
        let failed = self.log.lock().unwrap().failed;
        if failed || self.is_dead() || self.rng.strikes(500) || self.booted.lock().unwrap().is_none() {
            self.crash();
            self.boot();
            self.finish().await;
        }
        self.clock.set(self.latest);
        for minutes in [20, 20, 65, 65, 20] {
            self.clock.advance(Duration::from_secs(minutes * 60));
            if self.stalled == 0 && self.rng.strikes(500) {
                self.stall_zombie().await;
            }
            for which in [3, 0, 1, 2, 4, 5] {
                self.call();
                self.run_stage(which);
                self.finish().await;
            }
            if self.stalled != 0 && self.rng.strikes(400) {
                self.stalled = 0;
                self.finish().await;
            }
        }
        self.stalled = 0;
        self.run_zombie();
        self.finish().await;
        for minutes in [20, 65, 20] {
            self.clock.advance(Duration::from_secs(minutes * 60));
            for which in [3, 0, 1, 2, 4, 5] {
                self.run_stage(which);
                self.finish().await;
            }
        }
        self.run_stage(3);
        self.finish().await;
    }
}

impl Process {
    /// Lets go of the log as far as nobody needs it, as the wiring does.
    async fn trim(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let unsettled = self.mark.advance().await?;
        let needed = self.history.durable_position().await?.min(self.delivery.needed_from().await?);
        let needed: LogPosition = needed.min(unsettled).min(self.ingest.needed_from());
        let needed = needed.min(self.streams.needed_from().await?);
        self.needed.store(needed.0, Ordering::SeqCst);
        self.log.trim(needed).await?;
        Ok(())
    }
}
