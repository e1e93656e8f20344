//! One queue: which of its messages can be received, which are hidden until when, and in which order.
//!
//! On the road: under `state`, which knows where a message lies in the journal. Pure, and nothing scans a queue:
//! whatever is asked is found through an index.
//!
//! Invariants: a message is in the index of its phase and in no other; of a group, whose messages are received in their
//! order, the first is offered, and only while none of them is in flight.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cairn_core::Timestamp;

use super::deduplication::Window;
use super::record::ReceiptRecord;
use super::{Ask, Counts, QueueError, QueueKey, Receipt, ReceiptFault, Sequence};

/// The most dead letters that are found at a time.
const DEAD_LETTERS_FOUND_MAX: usize = 100;

/// Whether a message can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It can, unless it has to wait for others of its group.
    Ready,
    /// Not before its time.
    Delayed,
    /// It was received, and is hidden until its time.
    InFlight,
    /// It is about to be moved: nobody can receive it until that is done or given up.
    Held,
}

/// What is known of a message in memory; the rest is in the journal.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The record in the journal that has its payload.
    pub(super) position: u64,
    pub(super) size_bytes: u32,
    pub(super) receives: u32,
    /// Of these, in the queues that it was in before.
    pub(super) receives_before: u32,
    pub(super) phase: Phase,
    pub(super) sent_at: Timestamp,
    pub(super) visible_at: Timestamp,
    /// The epoch where it never was.
    pub(super) first_received_at: Timestamp,
    pub(super) group: Option<Arc<str>>,
    pub(super) came_from: Option<Arc<QueueKey>>,
}

/// What is known of a message stays small: there may be millions.
const MESSAGE_SIZE_BYTES_MAX: usize = 80;
const _: () = assert!(size_of::<Message>() <= MESSAGE_SIZE_BYTES_MAX);

#[derive(Debug, Default)]
struct Group {
    messages: BTreeSet<u64>,
    /// The one in `ready`.
    offered: Option<u64>,
}

/// One queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) window: Window,
    messages: BTreeMap<u64, Message>,
    /// What can be received now: of each group at most its first.
    ready: BTreeSet<u64>,
    /// What is delayed or in flight, by the time when it is not.
    waiting: BTreeSet<(Timestamp, u64)>,
    by_sent: BTreeSet<(Timestamp, u64)>,
    groups: HashMap<Arc<str>, Group>,
    in_flight: u64,
    delayed: u64,
}

impl Queue {
    pub(super) fn get(&self, sequence: u64) -> Option<&Message> {
        self.messages.get(&sequence)
    }

    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Message> {
        self.messages.get_mut(&sequence)
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.iter().map(|(sequence, message)| (*sequence, message))
    }

    /// Adds a message, whose phase tells which index it goes to.
    pub(super) fn insert(&mut self, sequence: u64, mut message: Message) {
        if let Some(group) = &message.group
            && let Some((shared, _)) = self.groups.get_key_value(group)
        {
            message.group = Some(Arc::clone(shared));
        }
        self.by_sent.insert((message.sent_at, sequence));
        self.messages.insert(sequence, message);
        self.enter(sequence);
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Message> {
        self.leave(sequence);
        let message = self.messages.remove(&sequence)?;
        self.by_sent.remove(&(message.sent_at, sequence));
        Some(message)
    }

    /// Puts a message into the index of its phase.
    fn enter(&mut self, sequence: u64) {
        let Some(message) = self.messages.get(&sequence) else { return };
        let (phase, group) = (message.phase, message.group.clone());
        match phase {
            Phase::Ready | Phase::Held => {}
            Phase::Delayed | Phase::InFlight => {
                self.waiting.insert((message.visible_at, sequence));
            }
        }
        match phase {
            Phase::Ready => {}
            Phase::Delayed => self.delayed += 1,
            Phase::InFlight | Phase::Held => self.in_flight += 1,
        }
        let Some(group) = group else {
            if phase == Phase::Ready {
                self.ready.insert(sequence);
            }
            return;
        };
        let entry = self.groups.entry(Arc::clone(&group)).or_default();
        entry.messages.insert(sequence);
        self.offer(&group);
    }

    /// Takes a message out of the index of its phase.
    fn leave(&mut self, sequence: u64) {
        let Some(message) = self.messages.get(&sequence) else { return };
        let (phase, group) = (message.phase, message.group.clone());
        self.waiting.remove(&(message.visible_at, sequence));
        match phase {
            Phase::Ready => {}
            Phase::Delayed => self.delayed -= 1,
            Phase::InFlight | Phase::Held => self.in_flight -= 1,
        }
        let Some(group) = group else {
            self.ready.remove(&sequence);
            return;
        };
        let Some(entry) = self.groups.get_mut(&group) else { return };
        entry.messages.remove(&sequence);
        self.offer(&group);
    }

    /// Offers the first message of a group, where it can be received. What is in flight keeps those behind it, not those
    /// before it that became visible again, as recorded on AWS.
    fn offer(&mut self, group: &Arc<str>) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        let first = entry.messages.first().copied();
        let is_ready =
            |sequence: &u64| self.messages.get(sequence).is_some_and(|message| message.phase == Phase::Ready);
        let offered = first.filter(is_ready);
        if let Some(before) = entry.offered.filter(|before| Some(*before) != offered) {
            self.ready.remove(&before);
        }
        self.ready.extend(offered);
        entry.offered = offered;
        if first.is_none() {
            self.groups.remove(group);
        }
    }

    /// Puts a message into another phase.
    fn turn(&mut self, sequence: u64, phase: Phase, visible_at: Timestamp) {
        self.leave(sequence);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.phase = phase;
            message.visible_at = visible_at;
        }
        self.enter(sequence);
    }

    /// Makes visible what is so by the clock.
    pub(super) fn promote(&mut self, now: Timestamp) {
        while let Some((_, sequence)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.turn(sequence, Phase::Ready, Timestamp::EPOCH);
        }
    }

    /// What was sent at or before `until`.
    pub(super) fn expired(&self, until: Timestamp) -> Vec<u64> {
        self.by_sent.range(..=(until, u64::MAX)).map(|(_, sequence)| *sequence).collect()
    }

    /// Receives messages.
    ///
    /// # Errors
    /// [`QueueError::InFlight`] where there would be one, and as many are in flight as may be.
    pub(super) fn receive(&mut self, ask: &Ask) -> Result<Vec<u64>, QueueError> {
        let in_flight = usize::try_from(self.in_flight).unwrap_or(usize::MAX);
        let room = ask.in_flight_max.saturating_sub(in_flight);
        if room == 0 && !self.ready.is_empty() {
            return Err(QueueError::InFlight);
        }
        let wanted = ask.messages_max.min(room);
        let mut taken = Vec::new();
        while taken.len() < wanted
            && let Some(first) = self.ready.first().copied()
        {
            let group = self.messages.get(&first).and_then(|message| message.group.clone());
            let mut next = Some(first);
            while let Some(sequence) = next.filter(|_| taken.len() < wanted) {
                self.take(sequence, ask);
                taken.push(sequence);
                next = group.as_ref().and_then(|group| self.next_of_group(group, sequence));
            }
        }
        Ok(taken)
    }

    fn take(&mut self, sequence: u64, ask: &Ask) {
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.receives += 1;
            if message.first_received_at == Timestamp::EPOCH {
                message.first_received_at = ask.now;
            }
        }
        self.turn(sequence, Phase::InFlight, ask.now.plus(ask.visibility));
    }

    /// The message of a group that follows one, where the receiver of that one may have it as well.
    fn next_of_group(&self, group: &Arc<str>, sequence: u64) -> Option<u64> {
        let next = *self.groups.get(group)?.messages.range(sequence + 1..).next()?;
        (self.messages.get(&next)?.phase == Phase::Ready).then_some(next)
    }

    /// Those of the messages that [`Queue::receive`] would come by which were received `receives_max` times in this queue.
    pub(super) fn dead_letters(&self, messages_max: usize, receives_max: u32) -> Vec<u64> {
        let mut dead = Vec::new();
        let mut living = 0;
        let is_dead = |message: &Message| message.receives - message.receives_before >= receives_max;
        for first in &self.ready {
            let Some(message) = self.messages.get(first) else { continue };
            let group = message.group.as_ref().and_then(|group| self.groups.get(group));
            let others = group.into_iter().flat_map(|group| group.messages.iter().skip(1));
            for sequence in std::iter::once(first).chain(others) {
                let Some(message) = self.messages.get(sequence) else { break };
                if message.phase != Phase::Ready
                    || living == messages_max
                    || dead.len() == DEAD_LETTERS_FOUND_MAX
                {
                    break;
                }
                if is_dead(message) {
                    dead.push(*sequence);
                } else {
                    living += 1;
                }
            }
            if living == messages_max || dead.len() == DEAD_LETTERS_FOUND_MAX {
                break;
            }
        }
        dead
    }

    /// Up to so many messages that are visible, in their order.
    pub(super) fn visible(&self, messages_max: usize) -> Vec<u64> {
        if self.groups.is_empty() {
            return self.ready.iter().copied().take(messages_max).collect();
        }
        let visible = self.messages.iter().filter(|(_, message)| message.phase == Phase::Ready);
        visible.map(|(sequence, _)| *sequence).take(messages_max).collect()
    }

    /// Keeps a visible message from being received.
    pub(super) fn hold(&mut self, sequence: u64) {
        self.turn(sequence, Phase::Held, Timestamp::EPOCH);
    }

    /// Gives up to hold a message.
    pub(super) fn release(&mut self, sequence: u64) {
        if self.get(sequence).is_some_and(|message| message.phase == Phase::Held) {
            self.turn(sequence, Phase::Ready, Timestamp::EPOCH);
        }
    }

    /// Whether the message of `receipt` may be deleted by it; a message that is not there may.
    pub(super) fn check_delete(&self, receipt: Receipt, now: Timestamp) -> Result<(), ReceiptFault> {
        let Some(message) = self.get(receipt.sequence.0) else { return Ok(()) };
        let is_hidden = message.phase == Phase::InFlight && message.visible_at > now;
        // A receipt that a crash forgot is above what is known.
        let is_current =
            receipt.receives > message.receives || (receipt.receives == message.receives && is_hidden);
        if message.group.is_none() || is_current { Ok(()) } else { Err(ReceiptFault::Stale) }
    }

    /// What is to be known of `receipt` from now on, where it hides its message and is to do so until `visible_at`. A
    /// message that belongs to no group can be hidden again by its newest receipt, as recorded on AWS.
    pub(super) fn check_change(
        &self,
        receipt: Receipt,
        visible_at: Timestamp,
        now: Timestamp,
    ) -> Result<ReceiptRecord, ReceiptFault> {
        let message = self.get(receipt.sequence.0).ok_or(ReceiptFault::Gone)?;
        let is_hidden = message.phase == Phase::InFlight && message.visible_at > now;
        // A receipt that a crash forgot is above what is known.
        let is_newest = receipt.receives >= message.receives && !is_hidden && message.group.is_none();
        if !(is_newest || receipt.receives == message.receives && is_hidden) || message.phase == Phase::Held {
            return Err(ReceiptFault::Stale);
        }
        let first = message.first_received_at;
        Ok(ReceiptRecord {
            sequence: receipt.sequence,
            receives: receipt.receives,
            visible_at,
            first_received_at: if first == Timestamp::EPOCH { now } else { first },
        })
    }

    /// What is known of a message's newest receipt; none where it was not received or is visible again.
    pub(super) fn receipt(&self, sequence: u64) -> Option<ReceiptRecord> {
        let message = self.get(sequence).filter(|message| message.receives > 0)?;
        Some(ReceiptRecord {
            sequence: Sequence(sequence),
            receives: message.receives,
            visible_at: message.visible_at,
            first_received_at: message.first_received_at,
        })
    }

    /// Takes over what is known of a receipt, unless a later one is known.
    pub(super) fn set_receipt(&mut self, receipt: &ReceiptRecord) {
        let sequence = receipt.sequence.0;
        let Some(message) = self.messages.get_mut(&sequence) else { return };
        if message.receives > receipt.receives || message.phase == Phase::Held {
            return;
        }
        message.receives = receipt.receives;
        message.first_received_at = receipt.first_received_at;
        // The epoch stands for a message that is visible again.
        let phase = if receipt.visible_at == Timestamp::EPOCH { Phase::Ready } else { Phase::InFlight };
        self.turn(sequence, phase, receipt.visible_at);
    }

    /// Hides a message that is visible, by a receipt that is about to be known.
    pub(super) fn hide(&mut self, receipt: &ReceiptRecord) {
        if self.get(receipt.sequence.0).is_some_and(|message| message.phase == Phase::Ready) {
            self.set_receipt(receipt);
        }
    }

    /// When, after `now`, the next message becomes visible by the clock.
    pub(super) fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        self.waiting.range((now, u64::MAX)..).map(|(at, _)| *at).find(|at| *at > now)
    }

    /// What the queue holds; what is visible by the clock was made so.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            visible: self.messages.len() as u64 - self.in_flight - self.delayed,
            in_flight: self.in_flight,
            delayed: self.delayed,
            oldest_sent_at: self.by_sent.first().map(|(at, _)| *at),
        }
    }
}
