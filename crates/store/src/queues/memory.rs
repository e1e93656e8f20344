//! Queues in memory alone: the same operations on the same state, without a journal. For tests of what lies above.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use cairn_core::Timestamp;

use super::op::{Answer, Op, message_records};
use super::record::{MessageRecord, Record};
use super::state::State;
use super::{
    Ask, Counts, NewMessage, QueueError, QueueKey, Queues, Receipt, ReceiptFault, Received, Sent, received,
};

/// As many as a test ever sends.
const MESSAGES_MAX: usize = 1 << 20;

/// Queues that are gone when the process is.
#[derive(Default)]
pub struct MemoryQueues(Mutex<Held>);

#[derive(Default)]
struct Held {
    state: State,
    /// By the position of the record.
    messages: HashMap<u64, MessageRecord>,
    next_position: u64,
}

impl MemoryQueues {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("no panic while the queues are held")
    }

    fn run(&self, op: Op) -> Result<Answer, QueueError> {
        let held = &mut *self.held();
        let mut decided = op.decide(&mut held.state, MESSAGES_MAX)?;
        let mut applied = Vec::new();
        for record in std::mem::take(&mut decided.records) {
            held.next_position += 1;
            applied.push(held.state.apply(held.next_position, 0, &record));
            if let Record::Message(message) = record {
                held.messages.insert(held.next_position, *message);
            }
        }
        Ok(decided.answer(applied))
    }
}

#[async_trait]
impl Queues for MemoryQueues {
    async fn create(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.run(Op::Create(queue.clone())).map(Answer::done)
    }

    async fn remove(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.run(Op::Remove(queue.clone())).map(Answer::done)
    }

    fn names(&self) -> Vec<QueueKey> {
        self.held().state.names()
    }

    async fn send(&self, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        self.run(Op::Send(message_records(messages))).map(Answer::sent)
    }

    async fn receive(&self, queue: &QueueKey, ask: &Ask) -> Result<Vec<Received>, QueueError> {
        while let Some(dead) = &ask.dead_letters {
            let sequences = self.held().state.dead_letters(queue, ask)?;
            if sequences.is_empty() {
                break;
            }
            self.run(Op::Bury { from: queue.clone(), to: dead.queue.clone(), sequences })?;
        }
        let held = &mut *self.held();
        let taken = held.state.receive(queue, ask)?;
        let place = |sequence| held.state.position(queue, sequence);
        let found = taken.into_iter().filter_map(|taken| {
            let message = held.messages.get(&place(taken.sequence)?)?;
            Some(received(taken, message.clone()))
        });
        Ok(found.collect())
    }

    async fn wait_past(&self, queue: &QueueKey, seen: u64) {
        let arrivals = self.held().state.arrivals(queue);
        super::wait_past(arrivals, seen).await;
    }

    fn arrivals(&self, queue: &QueueKey) -> u64 {
        self.held().state.arrivals(queue).map_or(0, |arrivals| *arrivals.borrow())
    }

    fn next_visible(&self, queue: &QueueKey, now: Timestamp) -> Option<Timestamp> {
        self.held().state.queue(queue).ok()?.next_visible(now)
    }

    async fn delete(
        &self,
        queue: &QueueKey,
        receipts: &[Receipt],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError> {
        let (queue, receipts) = (queue.clone(), receipts.to_vec());
        self.run(Op::Delete { queue, receipts, now }).map(Answer::receipts)
    }

    async fn change_visibility(
        &self,
        queue: &QueueKey,
        changes: &[(Receipt, Timestamp)],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError> {
        let (queue, changes) = (queue.clone(), changes.to_vec());
        self.run(Op::ChangeVisibility { queue, changes, now }).map(Answer::receipts)
    }

    async fn purge(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.run(Op::Purge(queue.clone())).map(Answer::done)
    }

    async fn expire(&self, queue: &QueueKey, until: Timestamp, now: Timestamp) -> Result<u64, QueueError> {
        self.run(Op::Expire { queue: queue.clone(), until, now }).map(Answer::gone)
    }

    async fn move_messages(
        &self,
        from: &QueueKey,
        to: Option<&QueueKey>,
        messages_max: usize,
        now: Timestamp,
    ) -> Result<usize, QueueError> {
        let (from, to) = (from.clone(), to.cloned());
        let moved = self.run(Op::Move { from, to, messages_max, now }).map(Answer::gone)?;
        Ok(usize::try_from(moved).unwrap_or(usize::MAX))
    }

    fn counts(&self, queue: &QueueKey, now: Timestamp) -> Result<Counts, QueueError> {
        self.held().state.counts(queue, now)
    }
}
