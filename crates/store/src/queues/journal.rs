//! The durable queues: an append-only journal of records ([`SegmentLog`] in a folder of its own), and the state that it
//! adds up to in memory. Payloads stay in the journal.
//!
//! On the road: what the trait asks is staged for `committer`, which a task drives; a receive changes the state at once,
//! and the journal hears of it later, with the next second's receipts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::Timestamp;
use prometheus::Registry;
use tokio::task::JoinHandle;

use super::committer::{Committer, size_bytes};
use super::metrics::QueueMetrics;
use super::op::{Answer, Op, message_records};
use super::record::{Record, RecordError};
use super::state::{State, Taken};
use super::{
    Ask, Counts, NewMessage, QueueError, QueueKey, Queues, Receipt, ReceiptFault, Received, Sent, received,
};
use crate::disk::Disk;
use crate::log::{EntryKind, EventLog, LogError, LogPosition, LogSettings, SegmentLog};
use crate::space::SpaceWatch;

/// The name of the journal's metrics.
const JOURNAL_NAME: &str = "queues_log";
/// What a message's record may have beside its payload: names, ids and what has become of it.
const RECORD_OVERHEAD_BYTES: usize = 8 << 10;
/// How much is read at once when the journal is opened.
const OPEN_SIZE_BYTES: usize = 4 << 20;
/// How often receipts are written.
const RECEIPTS_INTERVAL: Duration = Duration::from_secs(1);
/// How often a receive moves dead letters before it takes what there is.
const BURY_ROUNDS_MAX: usize = 10;
/// How often a payload is looked for that is moved meanwhile.
const FIND_ROUNDS_MAX: usize = 4;

/// The queues' settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The size of a segment of the journal.
    pub segment_size_bytes: u64,
    /// The largest record: a message with its attributes.
    pub record_size_bytes_max: usize,
    /// How much memory the newest records may take.
    pub recent_size_bytes_max: usize,
    /// The most messages in all queues together, and the most deduplication texts. Each takes some 200 bytes of memory.
    pub messages_max: usize,
    /// So many segments may hold nothing that is needed before any is let go of.
    pub segments_spared: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            segment_size_bytes: 16 << 20,
            record_size_bytes_max: 4 << 20,
            recent_size_bytes_max: 16 << 20,
            messages_max: 5_000_000,
            segments_spared: 4,
        }
    }
}

/// What is wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("the queues' journal in {dir} cannot be opened")]
    Open {
        dir: String,
        #[source]
        source: LogError,
    },
    #[error("the queues' journal in {dir} cannot be read at position {position}")]
    Record {
        dir: String,
        position: u64,
        #[source]
        source: RecordError,
    },
    #[error("a message cannot be read")]
    Read(#[source] LogError),
    #[error("a message is not where it was written, at position {0}")]
    Lost(u64),
    #[error("a message of {size_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge { size_bytes: usize, limit_bytes: usize },
    #[error("an earlier write failed, nothing more is taken")]
    Stopped,
}

impl From<JournalError> for QueueError {
    fn from(error: JournalError) -> Self {
        Self::Journal(Box::new(error))
    }
}

/// Durable queues in a folder.
pub struct JournalQueues {
    committer: Arc<Committer>,
    closing: Arc<AtomicBool>,
    driver: std::sync::Mutex<Option<JoinHandle<()>>>,
    payload_size_bytes_max: usize,
}

impl JournalQueues {
    /// Opens the queues in `dir`, which is made where it is missing. Needs tokio's runtime.
    ///
    /// # Errors
    /// Where another process has them open, where the journal is damaged inside, or a newer program wrote it.
    pub async fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: QueueSettings,
        space: Option<Arc<SpaceWatch>>,
        registry: &Registry,
    ) -> Result<Self, QueueError> {
        let opened = SegmentLog::open_named(JOURNAL_NAME, disk, dir, log_settings(&settings), registry);
        let log = opened.map_err(|source| JournalError::Open { dir: dir.display().to_string(), source })?;
        let log = match space {
            Some(space) => log.watched_by(space),
            None => log,
        };
        let queues = Self::on_log(log, dir, &settings, registry).await?;
        let driven = drive(Arc::clone(&queues.committer), Arc::clone(&queues.closing));
        *queues.driver.lock().expect("nobody else has it yet") = Some(tokio::spawn(driven));
        Ok(queues)
    }

    /// As [`JournalQueues::open`], without any task or thread: operations wait until [`JournalQueues::commit`]. For
    /// simulations, where nothing may happen by itself.
    ///
    /// # Errors
    /// As [`JournalQueues::open`].
    pub async fn open_undriven(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: QueueSettings,
        registry: &Registry,
    ) -> Result<Self, QueueError> {
        let opened = SegmentLog::open_undriven(disk, dir, log_settings(&settings), registry);
        let log = opened.map_err(|source| JournalError::Open { dir: dir.display().to_string(), source })?;
        Self::on_log(log, dir, &settings, registry).await
    }

    async fn on_log(
        log: SegmentLog,
        dir: &Path,
        settings: &QueueSettings,
        registry: &Registry,
    ) -> Result<Self, QueueError> {
        let state = read_journal(&log, dir).await?;
        let committer = Committer::new(log, state, QueueMetrics::new(registry), settings.clone());
        committer.measure();
        let (closing, driver) = (Arc::default(), std::sync::Mutex::default());
        let payload_size_bytes_max = settings.record_size_bytes_max.saturating_sub(RECORD_OVERHEAD_BYTES);
        Ok(Self { committer: Arc::new(committer), closing, driver, payload_size_bytes_max })
    }

    /// Makes one group of the staged operations durable. Whether there was anything to do.
    pub async fn commit(&self) -> bool {
        self.committer.commit().await
    }

    /// The receipts that the journal does not have are written with the next group.
    pub fn write_receipts(&self) {
        self.committer.write_receipts();
    }

    /// Finishes what is staged, writes the receipts and stops. Operations after it are refused.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.committer.wake.notify_one();
        let driver = self.driver.lock().expect("no panic while the driver is held").take();
        if let Some(driver) = driver
            && let Err(error) = driver.await
        {
            tracing::error!(%error, "the queues' committer panicked");
        }
    }

    fn check_open(&self) -> Result<(), QueueError> {
        let is_stopped = self.committer.log.is_poisoned() || self.closing.load(Ordering::SeqCst);
        if is_stopped { Err(JournalError::Stopped.into()) } else { Ok(()) }
    }

    async fn run(&self, op: Op) -> Result<Answer, QueueError> {
        self.check_open()?;
        self.committer.run(op).await
    }

    /// Messages that were received, with their payloads. Those that were deleted meanwhile are left out.
    async fn with_payload(&self, queue: &QueueKey, taken: Taken) -> Result<Option<Received>, QueueError> {
        let mut looked_at = 0;
        for _ in 0..FIND_ROUNDS_MAX {
            let position = self.committer.state().position(queue, taken.sequence);
            let Some(position) = position else { return Ok(None) };
            looked_at = position;
            let on_disk = || self.committer.metrics.cold_reads.inc();
            match self.committer.payloads.find(&self.committer.log, position, on_disk).await {
                Ok(Some(message)) => return Ok(Some(received(taken, message))),
                Ok(None) => break,
                Err(LogError::Trimmed { .. }) => {}
                Err(error) => return Err(JournalError::Read(error).into()),
            }
        }
        Err(JournalError::Lost(looked_at).into())
    }
}

impl Drop for JournalQueues {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        self.committer.wake.notify_one();
    }
}

fn log_settings(settings: &QueueSettings) -> LogSettings {
    LogSettings {
        segment_size_bytes: settings.segment_size_bytes,
        entry_size_bytes_max: settings.record_size_bytes_max,
        recent_size_bytes_max: settings.recent_size_bytes_max,
    }
}

/// Adds up the journal.
async fn read_journal(log: &SegmentLog, dir: &Path) -> Result<State, QueueError> {
    let mut state = State::default();
    let mut position = log.start();
    let dir = || dir.display().to_string();
    while position < log.end() {
        let read = log.read(position, usize::MAX, OPEN_SIZE_BYTES).await;
        let page = read.map_err(|source| JournalError::Open { dir: dir(), source })?;
        for (at, entry) in page {
            let kind = if entry.kind == EntryKind::Journal { Ok(()) } else { Err(RecordError::Damaged) };
            let record = kind.and_then(|()| Record::decode(&entry.payload));
            let record =
                record.map_err(|source| JournalError::Record { dir: dir(), position: at.0, source })?;
            state.apply(at.0, size_bytes(&entry.payload), &record);
            position = LogPosition(at.0 + 1);
        }
    }
    Ok(state)
}

/// Commits whenever something is staged, and writes receipts every second, until it is closed.
async fn drive(committer: Arc<Committer>, closing: Arc<AtomicBool>) {
    let mut receipts = tokio::time::interval(RECEIPTS_INTERVAL);
    receipts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = committer.wake.notified() => {}
            _ = receipts.tick() => committer.write_receipts(),
        }
        while committer.commit().await {}
        if closing.load(Ordering::SeqCst) {
            committer.write_receipts();
            while committer.commit().await {}
            committer.stop();
            return;
        }
    }
}

#[async_trait]
impl Queues for JournalQueues {
    async fn create(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.run(Op::Create(queue.clone())).await.map(Answer::done)
    }

    async fn remove(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.run(Op::Remove(queue.clone())).await.map(Answer::done)
    }

    fn names(&self) -> Vec<QueueKey> {
        self.committer.state().names()
    }

    async fn send(&self, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        let limit_bytes = self.payload_size_bytes_max;
        if let Some(large) = messages.iter().find(|message| message.payload.len() > limit_bytes) {
            let size_bytes = large.payload.len();
            return Err(JournalError::TooLarge { size_bytes, limit_bytes }.into());
        }
        self.run(Op::Send(message_records(messages))).await.map(Answer::sent)
    }

    async fn receive(&self, queue: &QueueKey, ask: &Ask) -> Result<Vec<Received>, QueueError> {
        self.check_open()?;
        if let Some(dead) = &ask.dead_letters {
            for _ in 0..BURY_ROUNDS_MAX {
                let sequences = self.committer.state().dead_letters(queue, ask)?;
                if sequences.is_empty() {
                    break;
                }
                self.run(Op::Bury { from: queue.clone(), to: dead.queue.clone(), sequences }).await?;
            }
        }
        let taken = self.committer.state().receive(queue, ask)?;
        let mut found = Vec::with_capacity(taken.len());
        for taken in taken {
            found.extend(self.with_payload(queue, taken).await?);
        }
        Ok(found)
    }

    async fn wait_past(&self, queue: &QueueKey, seen: u64) {
        let arrivals = self.committer.state().arrivals(queue);
        super::wait_past(arrivals, seen).await;
    }

    fn arrivals(&self, queue: &QueueKey) -> u64 {
        self.committer.state().arrivals(queue).map_or(0, |arrivals| *arrivals.borrow())
    }

    fn next_visible(&self, queue: &QueueKey, now: Timestamp) -> Option<Timestamp> {
        self.committer.state().queue(queue).ok()?.next_visible(now)
    }

    async fn delete(
        &self,
        queue: &QueueKey,
        receipts: &[Receipt],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError> {
        let (queue, receipts) = (queue.clone(), receipts.to_vec());
        self.run(Op::Delete { queue, receipts, now }).await.map(Answer::receipts)
    }

    async fn change_visibility(
        &self,
        queue: &QueueKey,
        changes: &[(Receipt, Timestamp)],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError> {
        let (queue, changes) = (queue.clone(), changes.to_vec());
        self.run(Op::ChangeVisibility { queue, changes, now }).await.map(Answer::receipts)
    }

    async fn purge(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.run(Op::Purge(queue.clone())).await.map(Answer::done)
    }

    async fn expire(&self, queue: &QueueKey, until: Timestamp, now: Timestamp) -> Result<u64, QueueError> {
        self.run(Op::Expire { queue: queue.clone(), until, now }).await.map(Answer::gone)
    }

    async fn move_messages(
        &self,
        from: &QueueKey,
        to: Option<&QueueKey>,
        messages_max: usize,
        now: Timestamp,
    ) -> Result<usize, QueueError> {
        let (from, to) = (from.clone(), to.cloned());
        let moved = self.run(Op::Move { from, to, messages_max, now }).await.map(Answer::gone)?;
        Ok(usize::try_from(moved).unwrap_or(usize::MAX))
    }

    fn counts(&self, queue: &QueueKey, now: Timestamp) -> Result<Counts, QueueError> {
        self.committer.state().counts(queue, now)
    }
}
