//! Makes operations durable: groups of them in one append to the journal, one group after the other.
//!
//! On the road: the trait's methods stage operations and wait; `commit` takes what is staged, decides it, appends its
//! records, applies them when they are durable, and answers. Between groups it cleans: where the journal holds much that
//! is not needed, what is needed of its oldest records is written again at its end, and its oldest segments go.
//!
//! Invariants: records are decided when all before them are applied, so what is written again was not deleted; nothing
//! is answered before it is durable; what could not be made durable has changed nothing.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use bytes::Bytes;
use cairn_core::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::QueueError;
use super::journal::{JournalError, QueueSettings};
use super::metrics::{QueueMetrics, value};
use super::op::{Answer, Decided, Op, text_of};
use super::payloads::Payloads;
use super::record::Record;
use super::state::{Applied, State};
use crate::log::{Entry, EntryKind, EventLog, LogError, LogPosition, SegmentLog};

/// How many bytes of messages may be staged before senders wait to enter.
const STAGED_SIZE_BYTES_MAX: usize = 32 << 20;
/// What an operation counts for beside its payloads.
const OP_SIZE_BYTES: usize = 256;
/// Where a group has so many bytes or operations, no further one joins it.
const GROUP_SIZE_BYTES_MAX: usize = 1 << 20;
const GROUP_OPS_MAX: usize = 4096;
/// The most receipts that are written with one group.
const RECEIPTS_MAX: usize = 20_000;
/// The part of a segment that is looked through at a time for what is needed of it.
const CLEAN_STEPS_IN_SEGMENT: u64 = 16;
/// The journal may take so many times what is needed of it, beside the segments that are spared.
const WASTE_FACTOR: u64 = 3;

/// What waits for a commit; none once nothing is taken any more.
type Staging = Option<VecDeque<Staged>>;

struct Staged {
    op: Op,
    size_bytes: usize,
    answer: oneshot::Sender<Result<Answer, QueueError>>,
    _room: OwnedSemaphorePermit,
}

/// What the queues' callers and their committer share.
pub(super) struct Committer {
    pub(super) log: SegmentLog,
    pub(super) payloads: Payloads,
    pub(super) metrics: QueueMetrics,
    state: Mutex<State>,
    staged: Mutex<Staging>,
    room: Arc<Semaphore>,
    pub(super) wake: Notify,
    /// Held by who commits.
    committing: tokio::sync::Mutex<()>,
    receipts_due: AtomicBool,
    settings: QueueSettings,
}

impl Committer {
    pub(super) fn new(log: SegmentLog, state: State, metrics: QueueMetrics, settings: QueueSettings) -> Self {
        Self {
            log,
            payloads: Payloads::default(),
            metrics,
            state: Mutex::new(state),
            staged: Mutex::new(Some(VecDeque::new())),
            room: Arc::new(Semaphore::new(STAGED_SIZE_BYTES_MAX)),
            wake: Notify::new(),
            committing: tokio::sync::Mutex::default(),
            receipts_due: AtomicBool::new(false),
            settings,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the queues are held")
    }

    fn staged(&self) -> MutexGuard<'_, Staging> {
        self.staged.lock().expect("no panic while the staged operations are held")
    }

    /// Waits until the operation is durable, or refused.
    pub(super) async fn run(&self, op: Op) -> Result<Answer, QueueError> {
        let size_bytes = op.size_bytes() + OP_SIZE_BYTES;
        let permits = u32::try_from(size_bytes.min(STAGED_SIZE_BYTES_MAX)).expect("it is below 4 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let room = room.expect("the semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let staged = Staged { op, size_bytes, answer, _room: room };
        self.staged().as_mut().ok_or(JournalError::Stopped)?.push_back(staged);
        self.wake.notify_one();
        // The answer is lost where the committer is gone.
        answered.await.unwrap_or_else(|_| Err(JournalError::Stopped.into()))
    }

    /// Takes no operation any more; those that are staged are refused.
    pub(super) fn stop(&self) {
        *self.staged() = None;
    }

    /// The receipts that the journal does not have are written with the next group.
    pub(super) fn write_receipts(&self) {
        self.receipts_due.store(true, Ordering::SeqCst);
    }

    /// Makes one group durable, and cleans a part of the journal where that is due. Whether there was anything to do.
    pub(super) async fn commit(&self) -> bool {
        let _committing = self.committing.lock().await;
        let worked = self.commit_group().await;
        let cleaned = self.clean().await.unwrap_or_else(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the queues' journal cannot be cleaned");
            false
        });
        if worked || cleaned {
            self.measure();
        }
        worked || cleaned
    }

    async fn commit_group(&self) -> bool {
        // Before what is decided: an operation may say otherwise of the same message.
        let mut records = self.due_receipts();
        let receipts = records.len();
        let mut waiting = Vec::new();
        let took_some = self.decide_group(&mut records, &mut waiting);
        if records.is_empty() {
            return took_some;
        }
        match self.append(&records).await {
            Ok(applied) => {
                let mut applied = applied.into_iter().skip(receipts);
                for (decided, count, answer) in waiting {
                    let applied = applied.by_ref().take(count).collect();
                    tell(answer, Ok(decided.answer(applied)));
                }
            }
            Err(error) => self.refuse(&error, &records[..receipts], waiting),
        }
        true
    }

    /// Decides what is staged, up to a group's size: the records, and who waits for how many of them.
    fn decide_group(&self, records: &mut Vec<Record>, waiting: &mut Vec<Waiting>) -> bool {
        let mut size_bytes = 0;
        let mut texts = HashSet::new();
        let mut answers = Vec::new();
        let mut took_some = false;
        let mut state = self.state();
        let mut staging = self.staged();
        let Some(staged) = staging.as_mut() else { return false };
        let mut count = 0;
        while size_bytes < GROUP_SIZE_BYTES_MAX && count < GROUP_OPS_MAX {
            let Some(next) = staged.front() else { break };
            let is_apart = next.op.stands_alone();
            // A duplicate is told by what is applied already.
            let own: Vec<_> = next.op.texts().collect();
            if (is_apart && count > 0) || own.iter().any(|text| texts.contains(text)) {
                break;
            }
            texts.extend(own);
            let Some(Staged { op, size_bytes: size, answer, _room }) = staged.pop_front() else { break };
            (took_some, count, size_bytes) = (true, count + 1, size_bytes + size);
            match op.decide(&mut state, self.settings.messages_max) {
                Ok(decided) if decided.records.is_empty() => {
                    answers.push((answer, Ok(decided.answer(Vec::new()))))
                }
                Ok(mut decided) => {
                    let own = std::mem::take(&mut decided.records);
                    waiting.push((decided, own.len(), answer));
                    records.extend(own);
                }
                Err(error) => answers.push((answer, Err(error))),
            }
            if is_apart {
                break;
            }
        }
        self.metrics.staged.set(value(staged.len() as u64));
        drop((state, staging));
        answers.into_iter().for_each(|(to, answer)| tell(to, answer));
        took_some
    }

    fn due_receipts(&self) -> Vec<Record> {
        let mut state = self.state();
        let is_due = self.receipts_due.swap(false, Ordering::SeqCst) || state.unwritten() >= RECEIPTS_MAX;
        if is_due { state.take_unwritten(RECEIPTS_MAX) } else { Vec::new() }
    }

    /// Nothing of the group was kept.
    fn refuse(&self, error: &LogError, receipts: &[Record], waiting: Vec<Waiting>) {
        self.metrics.failures.inc();
        let text: &dyn std::error::Error = error;
        tracing::error!(error = text, "operations on queues are refused");
        let mut state = self.state();
        waiting.iter().for_each(|(decided, ..)| decided.undo(&mut state));
        receipts.iter().for_each(|record| state.put_back_unwritten(record));
        drop(state);
        for (.., answer) in waiting {
            let refusal = match error {
                LogError::Full(error) => QueueError::Full(error.kind().into()),
                _ => JournalError::Stopped.into(),
            };
            tell(answer, Err(refusal));
        }
    }

    /// Appends records and applies them.
    async fn append(&self, records: &[Record]) -> Result<Vec<Applied>, LogError> {
        let encoded: Vec<Bytes> = records.iter().map(Record::encode).collect();
        let sizes: Vec<u32> = encoded.iter().map(size_bytes).collect();
        let entry = |payload| Entry { kind: EntryKind::Journal, recorded_at: Timestamp::EPOCH, payload };
        let timer = self.metrics.commit_seconds.start_timer();
        let mut append = self.log.append(encoded.into_iter().map(entry).collect());
        let first = poll_fn(|context| {
            if let Poll::Ready(first) = append.as_mut().poll(context) {
                return Poll::Ready(first);
            }
            // In a simulation nobody else lets the log write.
            self.log.write_queued();
            append.as_mut().poll(context)
        });
        let first = first.await?;
        timer.observe_duration();
        let mut state = self.state();
        let apply = |((record, size), position)| state.apply(position, size, record);
        Ok(records.iter().zip(sizes).zip(first.0..).map(apply).collect())
    }

    /// Lets go of the journal's oldest segments, or brings that nearer. Whether there was anything to do.
    async fn clean(&self) -> Result<bool, LogError> {
        let (count, Some(second)) = self.log.segments() else { return Ok(false) };
        let (needed_bytes, first_needed) = {
            let state = self.state();
            (state.live_bytes(), state.first_needed())
        };
        let QueueSettings { segment_size_bytes, segments_spared, .. } = self.settings;
        let allowed_bytes = needed_bytes * WASTE_FACTOR + segments_spared * segment_size_bytes;
        if count as u64 * segment_size_bytes <= allowed_bytes || self.log.is_poisoned() {
            return Ok(false);
        }
        let first_needed = first_needed.map_or(self.log.end(), LogPosition);
        if first_needed >= second {
            self.log.trim(first_needed).await?;
            self.metrics.trims.inc();
            return Ok(true);
        }
        let clean_size_bytes =
            usize::try_from(segment_size_bytes / CLEAN_STEPS_IN_SEGMENT).unwrap_or(usize::MAX);
        let page = self.log.read(first_needed, usize::MAX, clean_size_bytes).await?;
        let mut needed = Vec::new();
        for (position, entry) in &page {
            // It was read when the journal was opened, or written since.
            let Ok(record) = Record::decode(&entry.payload) else { continue };
            needed.extend(self.state().needed(position.0, &record));
        }
        if needed.is_empty() {
            tracing::error!(position = first_needed.0, "a record that is needed is not in the journal");
            return Ok(false);
        }
        match self.append(&needed).await {
            Ok(_) => {
                self.metrics.rewritten_records.inc_by(needed.len() as u64);
                Ok(true)
            }
            // It is tried again with the next group.
            Err(LogError::Full(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Shows how much there is.
    pub(super) fn measure(&self) {
        let (messages, live_bytes) = {
            let state = self.state();
            (state.messages() as u64, state.live_bytes())
        };
        self.metrics.messages.set(value(messages));
        self.metrics.live_bytes.set(value(live_bytes));
        let journal_bytes = self.log.segments().0 as u64 * self.settings.segment_size_bytes;
        self.metrics.journal_bytes.set(value(journal_bytes));
    }
}

/// An operation, the number of its records, and who waits for it.
type Waiting = (Decided, usize, oneshot::Sender<Result<Answer, QueueError>>);

/// What a record counts for.
pub(super) fn size_bytes(payload: &Bytes) -> u32 {
    u32::try_from(payload.len()).unwrap_or(u32::MAX)
}

fn tell(to: oneshot::Sender<Result<Answer, QueueError>>, answer: Result<Answer, QueueError>) {
    if to.send(answer).is_err() {
        tracing::debug!("an operation was answered after its caller had gone");
    }
}

impl Op {
    /// The size of what it carries.
    fn size_bytes(&self) -> usize {
        let Self::Send(records) = self else { return 0 };
        let size =
            |record: &Record| if let Record::Message(message) = record { message.payload.len() } else { 0 };
        records.iter().map(size).sum()
    }

    /// The deduplication texts that it brings.
    fn texts(&self) -> impl Iterator<Item = (super::QueueKey, super::record::Digest)> {
        let records: &[Record] = if let Self::Send(records) = self { records } else { &[] };
        records.iter().filter_map(|record| text_of(record).map(|(queue, digest)| (queue.clone(), digest)))
    }
}
