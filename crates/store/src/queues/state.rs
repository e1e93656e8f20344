//! All queues in memory: the sum of the journal's records.
//!
//! On the road: `op` decides what to do, `journal` makes its records durable, and then they are applied here; reading the
//! journal again applies the same records in the same order. Receipts change it before they are in the journal: they
//! wait in `unwritten`. Pure.
//!
//! Invariant: whether a record has an effect depends on the records before it alone, not on the time nor on what is in
//! flight; so live and after a restart the same messages are there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cairn_core::Timestamp;
use tokio::sync::watch;

use super::deduplication::Remembered;
use super::queue::{Message, Phase, Queue};
use super::record::{Digest, Kept, MessageRecord, ReceiptRecord, Record, digest};
use super::{Ask, Counts, QueueError, QueueKey, Sequence};

/// What the record of a queue or of a deduplication text comes to at most, but for long names.
const RECORD_BYTES: u64 = 256;

/// A queue's place in the tables of this process.
type Slot = u32;

/// What a record did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// What it says.
    Done,
    /// A message came.
    Came(Sequence),
    /// So many messages went.
    Gone(u64),
}

/// A message that was received, but for what is in the journal alone.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) sequence: Sequence,
    pub(super) receives: u32,
    pub(super) first_received_at: Timestamp,
    pub(super) came_from: Option<QueueKey>,
}

#[derive(Debug)]
struct Held {
    key: Arc<QueueKey>,
    /// The record that says that the queue is there, where it was read already.
    position: Option<u64>,
    queue: Queue,
    arrivals: watch::Sender<u64>,
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct State {
    slots: BTreeMap<QueueKey, Slot>,
    queues: HashMap<Slot, Held>,
    next_slot: Slot,
    /// The messages whose payload is in the journal's record at a position.
    by_position: BTreeMap<u64, (Slot, u64)>,
    /// The positions of records of queues, and of deduplication texts with their number.
    queue_positions: BTreeSet<u64>,
    text_positions: BTreeMap<u64, u32>,
    /// Messages with a receipt that the journal does not have.
    unwritten: BTreeSet<(Slot, u64)>,
    texts: usize,
    live_bytes: u64,
}

impl State {
    fn slot(&self, key: &QueueKey) -> Result<Slot, QueueError> {
        self.slots.get(key).copied().ok_or_else(|| QueueError::Missing(key.clone()))
    }

    fn held(&self, key: &QueueKey) -> Result<&Held, QueueError> {
        let slot = self.slot(key)?;
        self.queues.get(&slot).ok_or_else(|| QueueError::Missing(key.clone()))
    }

    fn held_mut(&mut self, key: &QueueKey) -> Result<(Slot, &mut Held), QueueError> {
        let slot = self.slot(key)?;
        let held = self.queues.get_mut(&slot).ok_or_else(|| QueueError::Missing(key.clone()))?;
        Ok((slot, held))
    }

    /// The queue's messages.
    pub(super) fn queue(&self, key: &QueueKey) -> Result<&Queue, QueueError> {
        Ok(&self.held(key)?.queue)
    }

    /// The queue's messages, for what changes no index of this.
    pub(super) fn queue_mut(&mut self, key: &QueueKey) -> Result<&mut Queue, QueueError> {
        Ok(&mut self.held_mut(key)?.1.queue)
    }

    /// All queues' names.
    pub(super) fn names(&self) -> Vec<QueueKey> {
        self.slots.keys().cloned().collect()
    }

    pub(super) fn contains(&self, key: &QueueKey) -> bool {
        self.slots.contains_key(key)
    }

    /// How many messages there are.
    pub(super) fn messages(&self) -> usize {
        self.by_position.len()
    }

    /// How many deduplication texts are remembered.
    pub(super) fn texts(&self) -> usize {
        self.texts
    }

    /// About how many bytes the journal needs for what is there.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes + RECORD_BYTES * (self.texts as u64 + self.queues.len() as u64)
    }

    /// Where the journal's first record lies that is still needed.
    pub(super) fn first_needed(&self) -> Option<u64> {
        let message = self.by_position.keys().next();
        let text = self.text_positions.keys().next();
        [self.queue_positions.first(), message, text].into_iter().flatten().min().copied()
    }

    /// A count that grows with what may be received.
    pub(super) fn arrivals(&self, key: &QueueKey) -> Option<watch::Receiver<u64>> {
        self.held(key).ok().map(|held| held.arrivals.subscribe())
    }

    /// Does what the record at `position`, of `size_bytes`, says.
    pub(super) fn apply(&mut self, position: u64, size_bytes: u32, record: &Record) -> Applied {
        match record {
            Record::Queue(key) => self.add_queue(position, key),
            Record::Removed(key) => self.remove_queue(key),
            Record::Message(message) => {
                return self.add_message(position, size_bytes, message);
            }
            Record::Deleted { queue, sequences } => {
                let gone =
                    sequences.iter().filter(|sequence| self.remove(queue, sequence.0).is_some()).count();
                self.arrived(queue);
                return Applied::Gone(gone as u64);
            }
            Record::Receipts { queue, receipts } => {
                if let Ok(found) = self.queue_mut(queue) {
                    receipts.iter().for_each(|receipt| found.set_receipt(receipt));
                }
                self.arrived(queue);
            }
            Record::Purged(key) => {
                let all =
                    self.queue(key).map(|found| found.messages().map(|(sequence, _)| sequence).collect());
                return Applied::Gone(self.remove_all(key, all.unwrap_or_default()));
            }
            Record::Expired { queue, until, now } => {
                self.forget_texts(queue, *now, usize::MAX);
                let expired = self.queue(queue).map(|found| found.expired(*until));
                return Applied::Gone(self.remove_all(queue, expired.unwrap_or_default()));
            }
            Record::Moved { from, sequence, to, dead_letter } => {
                let moved = self.move_message(from, sequence.0, position, to, *dead_letter);
                return Applied::Gone(u64::from(moved));
            }
            Record::Deduplication { queue, texts } => {
                let slot = self.slot_or_new(queue);
                for text in texts {
                    let (id, sequence, at) = (text.id.as_str().into(), text.sequence, text.at);
                    self.remember(slot, text.digest, Remembered { id, sequence, at, position });
                }
            }
        }
        Applied::Done
    }

    fn add_queue(&mut self, position: u64, key: &QueueKey) {
        let slot = self.slot_or_new(key);
        let Some(held) = self.queues.get_mut(&slot) else { return };
        if let Some(before) = held.position.replace(position) {
            self.queue_positions.remove(&before);
        }
        self.queue_positions.insert(position);
    }

    /// The queue's place. What is let go of at the journal's beginning is written again at its end, so a message may be
    /// read before the record of its queue.
    fn slot_or_new(&mut self, key: &QueueKey) -> Slot {
        if let Some(slot) = self.slots.get(key) {
            return *slot;
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        let (queue, arrivals) = (Queue::default(), watch::Sender::new(0));
        self.queues.insert(slot, Held { key: Arc::new(key.clone()), position: None, queue, arrivals });
        self.slots.insert(key.clone(), slot);
        slot
    }

    fn remove_queue(&mut self, key: &QueueKey) {
        let Some(slot) = self.slots.remove(key) else { return };
        let Some(held) = self.queues.remove(&slot) else { return };
        if let Some(position) = held.position {
            self.queue_positions.remove(&position);
        }
        for (sequence, message) in held.queue.messages() {
            self.by_position.remove(&message.position);
            self.live_bytes -= u64::from(message.size_bytes);
            self.unwritten.remove(&(slot, sequence));
        }
        held.queue.window.texts().for_each(|text| self.forget_position(text.position));
    }

    /// Adds a message that came, or takes over one that is kept.
    fn add_message(&mut self, position: u64, size_bytes: u32, record: &MessageRecord) -> Applied {
        let slot = self.slot_or_new(&record.queue);
        if let Some(kept) = &record.kept {
            self.keep(slot, position, size_bytes, record, kept);
            return Applied::Done;
        }
        let sequence = Sequence(position);
        if let Some(text) = &record.deduplication {
            self.forget_texts(&record.queue, record.sent_at, 2);
            let id = record.id.as_str().into();
            let text = (digest(text), Remembered { id, sequence, at: record.sent_at, position });
            self.remember(slot, text.0, text.1);
        }
        let is_delayed = record.visible_at > record.sent_at;
        let message = Message {
            position,
            size_bytes,
            receives: 0,
            receives_before: 0,
            phase: if is_delayed { Phase::Delayed } else { Phase::Ready },
            sent_at: record.sent_at,
            visible_at: if is_delayed { record.visible_at } else { Timestamp::EPOCH },
            first_received_at: Timestamp::EPOCH,
            group: record.group.as_deref().map(Arc::from),
            came_from: None,
        };
        self.insert(slot, sequence.0, message);
        self.arrived(&record.queue);
        Applied::Came(sequence)
    }

    /// The message has its payload at `position` now; what is known of it already stands.
    fn keep(&mut self, slot: Slot, position: u64, size_bytes: u32, record: &MessageRecord, kept: &Kept) {
        let Some(held) = self.queues.get_mut(&slot) else { return };
        if let Some(message) = held.queue.get_mut(kept.sequence.0) {
            self.by_position.remove(&message.position);
            self.by_position.insert(position, (slot, kept.sequence.0));
            self.live_bytes = self.live_bytes + u64::from(size_bytes) - u64::from(message.size_bytes);
            (message.position, message.size_bytes) = (position, size_bytes);
            return;
        }
        let phase = match (record.visible_at, kept.receives) {
            (Timestamp::EPOCH, _) => Phase::Ready,
            (_, 0) => Phase::Delayed,
            _ => Phase::InFlight,
        };
        let message = Message {
            position,
            size_bytes,
            receives: kept.receives,
            receives_before: kept.receives_before,
            phase,
            sent_at: record.sent_at,
            visible_at: record.visible_at,
            first_received_at: kept.first_received_at.unwrap_or(Timestamp::EPOCH),
            group: record.group.as_deref().map(Arc::from),
            came_from: kept.came_from.clone().map(Arc::new),
        };
        self.insert(slot, kept.sequence.0, message);
    }

    fn insert(&mut self, slot: Slot, sequence: u64, message: Message) {
        let Some(held) = self.queues.get_mut(&slot) else { return };
        self.by_position.insert(message.position, (slot, sequence));
        self.live_bytes += u64::from(message.size_bytes);
        held.queue.insert(sequence, message);
    }

    fn remove(&mut self, key: &QueueKey, sequence: u64) -> Option<Message> {
        let (slot, held) = self.held_mut(key).ok()?;
        let message = held.queue.remove(sequence)?;
        self.by_position.remove(&message.position);
        self.live_bytes -= u64::from(message.size_bytes);
        self.unwritten.remove(&(slot, sequence));
        Some(message)
    }

    fn remove_all(&mut self, key: &QueueKey, sequences: Vec<u64>) -> u64 {
        let gone = sequences.into_iter().filter(|sequence| self.remove(key, *sequence).is_some()).count();
        if gone > 0 {
            self.arrived(key);
        }
        gone as u64
    }

    fn move_message(
        &mut self,
        from: &QueueKey,
        sequence: u64,
        position: u64,
        to: &QueueKey,
        dead_letter: Option<(u32, Timestamp)>,
    ) -> bool {
        let Ok(source) = self.held(from).map(|held| Arc::clone(&held.key)) else { return false };
        let Some(mut message) = self.remove(from, sequence) else { return false };
        let target = self.slot_or_new(to);
        if let Some((receives, first_received_at)) = dead_letter {
            // The receipts themselves may not have been written.
            (message.receives, message.first_received_at) = (receives, first_received_at);
            message.receives_before = message.receives;
            message.came_from = Some(source);
        } else {
            (message.receives, message.receives_before) = (0, 0);
            message.first_received_at = Timestamp::EPOCH;
            message.came_from = None;
        }
        message.phase = Phase::Ready;
        message.visible_at = Timestamp::EPOCH;
        self.insert(target, position, message);
        self.arrived(to);
        self.arrived(from);
        true
    }

    fn remember(&mut self, slot: Slot, digest: Digest, text: Remembered) {
        let position = text.position;
        let Some(held) = self.queues.get_mut(&slot) else { return };
        let before = held.queue.window.insert(digest, text);
        self.texts += 1;
        *self.text_positions.entry(position).or_default() += 1;
        if let Some(before) = before {
            self.forget_position(before.position);
        }
    }

    /// Forgets up to so many texts that are over.
    fn forget_texts(&mut self, key: &QueueKey, now: Timestamp, texts_max: usize) {
        for _ in 0..texts_max {
            let Ok((_, held)) = self.held_mut(key) else { return };
            let Some(text) = held.queue.window.forget_one(now) else { return };
            self.forget_position(text.position);
        }
    }

    fn forget_position(&mut self, position: u64) {
        self.texts -= 1;
        if let Entry::Occupied(mut texts) = self.text_positions.entry(position) {
            *texts.get_mut() -= 1;
            if *texts.get() == 0 {
                texts.remove();
            }
        }
    }

    /// Wakes who waits for messages of the queue.
    fn arrived(&self, key: &QueueKey) {
        if let Ok(held) = self.held(key) {
            held.arrivals.send_modify(|arrivals| *arrivals += 1);
        }
    }

    /// Which messages are to be moved away before the next are received.
    pub(super) fn dead_letters(&mut self, key: &QueueKey, ask: &Ask) -> Result<Vec<Sequence>, QueueError> {
        self.prepare(key, ask)?;
        let Some(dead) = &ask.dead_letters else { return Ok(Vec::new()) };
        if !self.contains(&dead.queue) || dead.queue == *key {
            return Ok(Vec::new());
        }
        let found = self.queue(key)?.dead_letters(ask.messages_max, dead.receives_max);
        Ok(found.into_iter().map(Sequence).collect())
    }

    /// Receives messages.
    pub(super) fn receive(&mut self, key: &QueueKey, ask: &Ask) -> Result<Vec<Taken>, QueueError> {
        self.prepare(key, ask)?;
        let (slot, held) = self.held_mut(key)?;
        let sequences = held.queue.receive(ask)?;
        let take = |sequence: &u64| {
            let message = held.queue.get(*sequence)?;
            Some(Taken {
                sequence: Sequence(*sequence),
                receives: message.receives,
                first_received_at: message.first_received_at,
                came_from: message.came_from.as_deref().cloned(),
            })
        };
        let taken = sequences.iter().filter_map(take).collect();
        self.unwritten.extend(sequences.into_iter().map(|sequence| (slot, sequence)));
        Ok(taken)
    }

    /// What is visible by the clock is so, and what has expired is gone.
    fn prepare(&mut self, key: &QueueKey, ask: &Ask) -> Result<(), QueueError> {
        let queue = self.queue_mut(key)?;
        let mut expired = queue.expired(ask.expired_until);
        // Where it is about to go it may be kept for longer.
        expired.retain(|sequence| queue.get(*sequence).is_some_and(|message| message.phase != Phase::Held));
        self.remove_all(key, expired);
        self.queue_mut(key)?.promote(ask.now);
        Ok(())
    }

    /// Where a message's payload is.
    pub(super) fn position(&self, key: &QueueKey, sequence: Sequence) -> Option<u64> {
        self.queue(key).ok()?.get(sequence.0).map(|message| message.position)
    }

    /// Takes up to `receipts_max` of the receipts that the journal does not have.
    pub(super) fn take_unwritten(&mut self, receipts_max: usize) -> Vec<Record> {
        let mut taken: BTreeMap<Slot, Vec<ReceiptRecord>> = BTreeMap::new();
        for _ in 0..receipts_max {
            let Some((slot, sequence)) = self.unwritten.pop_first() else { break };
            let receipt = self.queues.get(&slot).and_then(|held| held.queue.receipt(sequence));
            taken.entry(slot).or_default().extend(receipt);
        }
        let record = |(slot, receipts): (Slot, Vec<ReceiptRecord>)| {
            let queue = self.queues.get(&slot)?.key.as_ref().clone();
            (!receipts.is_empty()).then_some(Record::Receipts { queue, receipts })
        };
        taken.into_iter().filter_map(record).collect()
    }

    /// How many receipts the journal does not have.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// The receipts of `record` did not get into the journal.
    pub(super) fn put_back_unwritten(&mut self, record: &Record) {
        let Record::Receipts { queue, receipts } = record else { return };
        let Ok(slot) = self.slot(queue) else { return };
        self.unwritten.extend(receipts.iter().map(|receipt| (slot, receipt.sequence.0)));
    }

    /// What the queue holds at `now`.
    pub(super) fn counts(&mut self, key: &QueueKey, now: Timestamp) -> Result<Counts, QueueError> {
        let queue = self.queue_mut(key)?;
        queue.promote(now);
        Ok(queue.counts())
    }

    /// What of the record at `position` is still needed, as records that may take its place.
    pub(super) fn needed(&self, position: u64, record: &Record) -> Vec<Record> {
        match record {
            Record::Queue(key) => {
                let is_here = self.held(key).is_ok_and(|held| held.position == Some(position));
                is_here.then(|| record.clone()).into_iter().collect()
            }
            Record::Message(message) => {
                let mut needed = Vec::new();
                let text = message.deduplication.as_deref().map(digest);
                needed.extend(text.and_then(|text| self.needed_texts(position, &message.queue, &[text])));
                needed.extend(self.needed_message(position, message));
                needed
            }
            Record::Deduplication { queue, texts } => {
                let digests: Vec<Digest> = texts.iter().map(|text| text.digest).collect();
                self.needed_texts(position, queue, &digests).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn needed_texts(&self, position: u64, key: &QueueKey, digests: &[Digest]) -> Option<Record> {
        let window = &self.queue(key).ok()?.window;
        let texts: Vec<_> = digests
            .iter()
            .filter_map(|digest| Some((digest, window.get(digest)?)))
            .filter(|(_, text)| text.position == position)
            .map(|(digest, text)| super::record::DeduplicationRecord {
                digest: *digest,
                id: text.id.to_string(),
                sequence: text.sequence,
                at: text.at,
            })
            .collect();
        (!texts.is_empty()).then(|| Record::Deduplication { queue: key.clone(), texts })
    }

    fn needed_message(&self, position: u64, record: &MessageRecord) -> Option<Record> {
        let (slot, sequence) = self.by_position.get(&position)?;
        let held = self.queues.get(slot)?;
        let message = held.queue.get(*sequence)?;
        let first = message.first_received_at;
        Some(Record::Message(Box::new(MessageRecord {
            queue: held.key.as_ref().clone(),
            visible_at: message.visible_at,
            kept: Some(Kept {
                sequence: Sequence(*sequence),
                receives: message.receives,
                receives_before: message.receives_before,
                first_received_at: (first != Timestamp::EPOCH).then_some(first),
                came_from: message.came_from.as_deref().cloned(),
            }),
            ..record.clone()
        })))
    }
}
