//! Durable queues on a disk that fails, fills up and loses power, and whose server is killed within any operation: no
//! message that was acknowledged is lost or stuck, none comes back that was deleted, order and deduplication hold.

mod known;

use std::env;
use std::error::Error;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::LogError;
use cairn_store::disk::Disk;
use cairn_store::queues::{
    Ask, Counts, DeadLetters, JournalQueues, NewMessage, QueueError, QueueSettings, Queues, Receipt,
    ReceiptFault, Received, Sent,
};
use cairn_testkit::disk::{Machine, SimDisk};
use cairn_testkit::{Chance, SteppedQueues};
use prometheus::Registry;

use self::known::Known;
use crate::faults::{self, Faults};
use crate::queues::key;

/// How many seeds an ordinary test run takes, and how many kills and trims that comes to at least.
const SEEDS: u64 = 300;
const KILLS_MIN: u64 = 1500;
const TRIMS_MIN: u64 = 250;
const STEPS: usize = 140;
const DIRECTORY: &str = "/data/queues";
const SEGMENT_SIZE_BYTES: u64 = 2048;
/// What the journal of empty queues may take: four segments, as many more as a large group makes, and the texts.
const EMPTY_SIZE_BYTES_MAX: u64 = 64 << 10;
/// Each with where its dead letters go.
const QUEUES: [(&str, &str); 4] =
    [("std", "dead"), ("dead", "std"), ("f.fifo", "dead.fifo"), ("dead.fifo", "f.fifo")];
const RECEIVES_MAX: u32 = 3;

/// How often servers were killed, in all seeds, and how often they let go of old segments.
static KILLS: AtomicU64 = AtomicU64::new(0);
static TRIMS: AtomicU64 = AtomicU64::new(0);

struct Process {
    dead: Arc<AtomicBool>,
    disk: SimDisk,
    queues: SteppedQueues,
    registry: Registry,
}

impl Drop for Process {
    fn drop(&mut self) {
        let families = self.registry.gather();
        let trims = families.iter().find(|family| family.name() == "cairn_queues_trims_total").unwrap();
        TRIMS.fetch_add(trims.get_metric()[0].get_counter().get_value() as u64, Ordering::Relaxed);
    }
}

/// A receipt that somebody has.
#[derive(Clone, Debug)]
struct Held {
    queue: &'static str,
    receipt: Receipt,
    id: String,
}

type Outcomes = Result<Vec<Result<(), ReceiptFault>>, QueueError>;

/// Something that was asked, and what came of it.
enum Asked {
    Send(&'static str, Vec<NewMessage>, Result<Vec<Sent>, QueueError>),
    Delete(Vec<Held>, Outcomes),
    Change(Held, Timestamp, Outcomes),
    Purge(&'static str, Result<(), QueueError>),
    Expire(&'static str, Timestamp, Result<u64, QueueError>),
    Move(&'static str, &'static str),
}

struct Run {
    chance: Chance,
    faults: Arc<Faults>,
    machine: Machine,
    processes: u64,
    process: Option<Process>,
    known: Known,
    receipts: Vec<Held>,
    now: Timestamp,
    made: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let (machine, faults) = faults::machine(&mut chance);
        Self {
            chance,
            faults,
            machine,
            processes: 0,
            process: None,
            known: Known::default(),
            receipts: Vec::new(),
            now: Timestamp::from_seconds(1000),
            made: 0,
        }
    }

    async fn run(&mut self) {
        for _ in 0..STEPS / 2 + self.chance.below(STEPS) {
            if self.process.as_ref().is_some_and(|process| process.dead.load(Ordering::SeqCst)) {
                self.die();
            }
            match self.chance.below(100) {
                _ if self.process.is_none() => self.start().await,
                0..=44 => self.write().await,
                45..=71 => self.receive().await,
                72..=80 => self.now = self.now.plus(Duration::from_secs(self.chance.next() % 40)),
                81 => self.now = self.now.plus(Duration::from_secs(self.chance.next() % 400)),
                82..=84 => self.process.as_ref().unwrap().queues.0.write_receipts(),
                85..=90 => {
                    let operations = 1 + self.chance.below(15) as i64;
                    self.process.as_ref().unwrap().disk.die_within(operations);
                }
                91..=92 => self.machine.leave_room(self.chance.next() % 9000),
                93..=94 => self.machine.leave_room(u64::MAX / 2),
                95..=96 => self.close().await,
                _ => self.die(),
            }
        }
        self.faults.off.store(true, Ordering::SeqCst);
        self.machine.leave_room(u64::MAX / 2);
        if self.chance.strikes(500) || !self.is_sound().await {
            self.die();
            self.start().await;
        }
        self.drain().await;
        self.check_empty().await;
        self.die();
        self.machine.lose_power();
        self.start().await;
        self.check_empty().await;
    }

    fn queues(&self) -> &SteppedQueues {
        &self.process.as_ref().expect("a server runs").queues
    }

    /// Whether the server lives, and its disk never failed it but for want of room.
    async fn is_sound(&self) -> bool {
        let Some(process) = &self.process else { return false };
        process.disk.die_within(i64::MAX);
        !process.dead.load(Ordering::SeqCst) && process.queues.create(&key("std")).await.is_ok()
    }

    /// The server dies where it stands, and perhaps the power goes.
    fn die(&mut self) {
        if let Some(process) = self.process.take() {
            process.dead.store(true, Ordering::SeqCst);
            self.machine.release(self.processes);
            KILLS.fetch_add(1, Ordering::Relaxed);
        }
        self.known.crash();
        if self.chance.strikes(400) {
            self.machine.lose_power();
        }
    }

    /// The server stops in order, where it can: then it forgets nothing.
    async fn close(&mut self) {
        let process = self.process.take().expect("a server runs");
        process.queues.0.write_receipts();
        while process.queues.0.commit().await {}
        // Where a write failed, or there was no room, it was told so, and forgot.
        self.known.crash();
        process.dead.store(true, Ordering::SeqCst);
        self.machine.release(self.processes);
    }

    async fn start(&mut self) {
        self.processes += 1;
        let dead = Arc::new(AtomicBool::new(false));
        let disk = self.machine.process(self.processes, &dead);
        if self.chance.strikes(200) && !self.faults.off.load(Ordering::SeqCst) {
            disk.die_within(1 + self.chance.below(25) as i64);
        }
        let settings = QueueSettings {
            segment_size_bytes: SEGMENT_SIZE_BYTES,
            record_size_bytes_max: 64 << 10,
            recent_size_bytes_max: self.chance.pick(&[0, 400, 1 << 20]),
            messages_max: 10_000,
            segments_spared: self.chance.pick(&[0, 1, 4]),
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let registry = Registry::new();
        match JournalQueues::open_undriven(&shared, Path::new(DIRECTORY), settings, &registry).await {
            Ok(queues) => {
                self.process = Some(Process { dead, disk, queues: SteppedQueues(queues), registry });
                for (queue, _) in QUEUES {
                    if self.queues().create(&key(queue)).await.is_err() {
                        return self.give_up();
                    }
                }
            }
            Err(error) => {
                assert!(is_excused(&error), "{error:?}");
                let healthy = self.faults.off.load(Ordering::SeqCst) && !dead.load(Ordering::SeqCst);
                assert!(!healthy, "the queues do not open on a healthy disk: {error:?}");
                dead.store(true, Ordering::SeqCst);
                self.machine.release(self.processes);
            }
        }
    }

    /// The server cannot make its queues: it is stopped, and started again.
    fn give_up(&mut self) {
        assert!(!self.faults.off.load(Ordering::SeqCst), "queues cannot be made on a healthy disk");
        self.machine.leave_room(u64::MAX / 2);
        self.die();
    }

    fn new_message(&mut self, queue: &'static str) -> NewMessage {
        self.made += 1;
        let size = self.chance.pick(&[0, 10, 300, 700, 1500]);
        let fill = self.chance.pick(&["x", "\0", "{"]).repeat(self.chance.below(size + 1));
        let is_fifo = queue.ends_with(".fifo");
        let delay_s = self.chance.pick(&[0, 0, 0, 20]);
        NewMessage {
            queue: key(queue),
            id: format!("m{}", self.made),
            payload: Bytes::from(format!("{}:{fill}", self.made)),
            group: is_fifo.then(|| format!("g{}", self.chance.below(3))),
            deduplication: (is_fifo && self.chance.strikes(500))
                .then(|| format!("t{}", self.chance.below(8))),
            sent_at: self.now,
            visible_at: self.now.plus(Duration::from_secs(delay_s)),
        }
    }

    /// Some callers ask for changes at the same time.
    async fn write(&mut self) {
        // Taken out, so that what is asked can hold on to it.
        let process = self.process.take().expect("a server runs");
        let queues = &process.queues.0;
        let mut asked: Vec<Pin<Box<dyn Future<Output = Asked>>>> = Vec::new();
        for _ in 0..=self.chance.below(5) {
            let mut next = self.ask(queues);
            match futures::poll!(next.as_mut()) {
                std::task::Poll::Ready(answer) => asked.push(Box::pin(std::future::ready(answer))),
                std::task::Poll::Pending => asked.push(next),
            }
        }
        for asked in asked {
            let answer = settle(queues, asked).await;
            self.note(answer);
        }
        self.process = Some(process);
    }

    fn ask<'a>(&mut self, queues: &'a JournalQueues) -> Pin<Box<dyn Future<Output = Asked> + 'a>> {
        let now = self.now;
        let (queue, other) = self.chance.pick(&QUEUES);
        let held = (!self.receipts.is_empty()).then(|| {
            let at = self.chance.below(self.receipts.len());
            self.receipts[at].clone()
        });
        match (self.chance.below(100), held) {
            (45..=82, Some(held)) => {
                let queue = held.queue;
                let of_queue = self.receipts.iter().filter(|other| other.queue == queue);
                let some: Vec<Held> =
                    of_queue.take(1 + self.chance.below(4)).cloned().chain([held]).collect();
                let receipts: Vec<_> = some.iter().map(|held| held.receipt).collect();
                Box::pin(async move {
                    let outcome = queues.delete(&key(queue), &receipts, now).await;
                    Asked::Delete(some, outcome)
                })
            }
            (83..=90, Some(held)) => {
                let visible_at = now.plus(Duration::from_secs(self.chance.next() % 40));
                let changes = [(held.receipt, visible_at)];
                Box::pin(async move {
                    let outcome = queues.change_visibility(&key(held.queue), &changes, now).await;
                    Asked::Change(held, visible_at, outcome)
                })
            }
            (91..=93, _) => Box::pin(async move { Asked::Purge(queue, queues.purge(&key(queue)).await) }),
            (94..=95, _) => {
                let until = now.minus(Duration::from_secs(self.chance.next() % 600));
                Box::pin(
                    async move { Asked::Expire(queue, until, queues.expire(&key(queue), until, now).await) },
                )
            }
            (96..=99, _) => {
                let messages_max = 1 + self.chance.below(10);
                let is_back = self.chance.strikes(300);
                let to = (!is_back).then(|| key(other));
                Box::pin(async move {
                    let moved = queues.move_messages(&key(queue), to.as_ref(), messages_max, now).await;
                    let is_kept = matches!(moved, Ok(0) | Err(QueueError::Missing(_) | QueueError::Full(_)));
                    Asked::Move(queue, if is_kept { queue } else { other })
                })
            }
            _ => {
                let messages: Vec<_> = (0..=self.chance.below(3)).map(|_| self.new_message(queue)).collect();
                Box::pin(async move {
                    let outcome = queues.send(messages.clone()).await;
                    Asked::Send(queue, messages, outcome)
                })
            }
        }
    }

    fn note(&mut self, asked: Asked) {
        match asked {
            Asked::Send(queue, messages, outcome) => self.known.sent(queue, &messages, &outcome),
            Asked::Delete(some, outcome) => {
                for (at, held) in some.iter().enumerate() {
                    let receipt = (held.receipt, held.id.as_str());
                    self.known.deleted(held.queue, receipt, self.now, &outcome, at);
                }
            }
            Asked::Change(held, visible_at, outcome) => {
                let receipt = (held.receipt, held.id.as_str());
                self.known.changed(held.queue, receipt, visible_at, self.now, &outcome);
            }
            Asked::Purge(queue, outcome) => self.known.removed(queue, Timestamp::LATEST, &outcome),
            Asked::Expire(queue, until, outcome) => self.known.removed(queue, until, &outcome),
            Asked::Move(from, to) if from == to => {}
            Asked::Move(from, to) => self.known.may_move(from, to),
        }
    }

    async fn receive(&mut self) {
        let (queue, dead) = self.chance.pick(&QUEUES);
        let buries = self.chance.strikes(600);
        let ask = Ask {
            messages_max: 1 + self.chance.below(10),
            now: self.now,
            visibility: Duration::from_secs(self.chance.next() % 40),
            expired_until: Timestamp::EPOCH,
            in_flight_max: 100_000,
            dead_letters: buries.then(|| DeadLetters { queue: key(dead), receives_max: RECEIVES_MAX }),
        };
        if buries {
            self.known.may_bury(queue, dead, RECEIVES_MAX);
        }
        match self.queues().receive(&key(queue), &ask).await {
            Ok(batch) => {
                self.known.received(queue, &batch, self.now, ask.visibility);
                self.hold(queue, &batch);
            }
            Err(error) => {
                assert!(is_excused(&error) || matches!(error, QueueError::Full(_)), "{error:?}");
                self.known.receive_failed(queue);
            }
        }
    }

    fn hold(&mut self, queue: &'static str, batch: &[Received]) {
        let held =
            batch.iter().map(|message| Held { queue, receipt: message.receipt, id: message.id.clone() });
        self.receipts.extend(held);
        let over = self.receipts.len().saturating_sub(30);
        self.receipts.drain(..over);
    }

    /// All that is there can be received in the end, once everything that hides it is over.
    async fn drain(&mut self) {
        self.now = self.now.plus(Duration::from_secs(3600));
        for (queue, _) in QUEUES {
            loop {
                let ask = Ask {
                    messages_max: 10,
                    now: self.now,
                    visibility: Duration::from_secs(3600),
                    expired_until: Timestamp::EPOCH,
                    in_flight_max: 100_000,
                    dead_letters: None,
                };
                let batch = self.queues().receive(&key(queue), &ask).await.unwrap();
                if batch.is_empty() {
                    break;
                }
                self.known.received(queue, &batch, self.now, ask.visibility);
                let receipts: Vec<_> = batch.iter().map(|message| message.receipt).collect();
                let outcome = self.queues().delete(&key(queue), &receipts, self.now).await;
                for (at, message) in batch.iter().enumerate() {
                    self.known.deleted(queue, (message.receipt, &message.id), self.now, &outcome, at);
                }
            }
        }
        self.known.check_drained();
    }

    async fn check_empty(&mut self) {
        for (queue, _) in QUEUES {
            assert_eq!(self.queues().counts(&key(queue), self.now).unwrap(), Counts::default(), "{queue}");
        }
        while self.queues().0.commit().await {}
        let files = self.machine.files(Path::new(DIRECTORY));
        let size_bytes: u64 = files.iter().map(|(_, size_bytes)| size_bytes).sum();
        assert!(size_bytes <= EMPTY_SIZE_BYTES_MAX, "{size_bytes} bytes for nothing: {files:?}");
    }
}

/// Commits until `asked` is answered.
async fn settle<T>(queues: &JournalQueues, mut asked: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    loop {
        if let std::task::Poll::Ready(answer) = futures::poll!(asked.as_mut()) {
            return answer;
        }
        queues.commit().await;
    }
}

/// Whether an error is one of the disk's, or comes after one: never that the journal is damaged.
fn is_excused(error: &QueueError) -> bool {
    let QueueError::Journal(error) = error else { return false };
    let mut link: Option<&(dyn Error + 'static)> = Some(&**error);
    while let Some(error) = link {
        if let Some(error) = error.downcast_ref::<LogError>() {
            return matches!(error, LogError::Io { .. } | LogError::Full(_) | LogError::Poisoned);
        }
        link = error.source();
    }
    error.to_string().contains("an earlier write failed")
}

fn run(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // The log is polled by hand: tokio must not say "pending" for the sake of fairness.
    runtime.block_on(tokio::task::unconstrained(async { Run::new(seed).run().await }));
}

#[test]
fn queues_keep_their_promises_whatever_their_disk_does() {
    let seeds: Vec<u64> = match (env::var("CAIRN_SEED"), env::var("CAIRN_SEEDS")) {
        (Ok(seed), _) => vec![seed.parse().unwrap()],
        (_, Ok(seeds)) => (1..=seeds.parse().unwrap()).collect(),
        _ => (1..=SEEDS).collect(),
    };
    let count = seeds.len() as u64;
    let failed: Vec<u64> =
        seeds.into_iter().filter(|seed| std::panic::catch_unwind(|| run(*seed)).is_err()).collect();
    let again = "CAIRN_SEED=n cargo test -p cairn-store --test it queues_power";
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}; one again: {again}", failed.len());
    let kills = KILLS.load(Ordering::Relaxed);
    let trims = TRIMS.load(Ordering::Relaxed);
    println!("{count} seeds, {kills} kills, {trims} trims");
    assert!(count < SEEDS || (kills >= KILLS_MIN && trims >= TRIMS_MIN), "{kills} kills, {trims} trims");
}
