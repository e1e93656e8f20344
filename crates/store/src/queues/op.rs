//! What is asked of the queues, as records for the journal.
//!
//! On the road: between the trait and the journal. An operation is decided when every record before it has been applied;
//! its own are applied once they are durable, and then it is answered. Where they cannot be made durable, it is undone.
//! Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use cairn_core::Timestamp;

use super::record::{Digest, MessageRecord, Record, digest};
use super::state::{Applied, State};
use super::{NewMessage, QueueError, QueueKey, Receipt, ReceiptFault, Sent, Sequence};

/// What is asked.
#[derive(Debug)]
pub(super) enum Op {
    Create(QueueKey),
    Remove(QueueKey),
    /// Messages, as records.
    Send(Vec<Record>),
    Delete {
        queue: QueueKey,
        receipts: Vec<Receipt>,
        now: Timestamp,
    },
    ChangeVisibility {
        queue: QueueKey,
        changes: Vec<(Receipt, Timestamp)>,
        now: Timestamp,
    },
    Purge(QueueKey),
    Expire {
        queue: QueueKey,
        until: Timestamp,
        now: Timestamp,
    },
    Move {
        from: QueueKey,
        to: Option<QueueKey>,
        messages_max: usize,
        now: Timestamp,
    },
    /// Moves messages away that were received too often.
    Bury {
        from: QueueKey,
        to: QueueKey,
        sequences: Vec<Sequence>,
    },
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Sent(Vec<Sent>),
    Receipts(Vec<Result<(), ReceiptFault>>),
    Gone(u64),
}

/// An operation has one kind of answer.
impl Answer {
    pub(super) fn done(self) {
        debug_assert_eq!(self, Self::Done);
    }

    pub(super) fn sent(self) -> Vec<Sent> {
        if let Self::Sent(sent) = self { sent } else { unreachable!("a send answers what was sent") }
    }

    pub(super) fn receipts(self) -> Vec<Result<(), ReceiptFault>> {
        if let Self::Receipts(outcomes) = self { outcomes } else { unreachable!("receipts were handed in") }
    }

    pub(super) fn gone(self) -> u64 {
        if let Self::Gone(gone) = self { gone } else { unreachable!("messages were to go") }
    }
}

/// What becomes of one message that is sent.
#[derive(Debug)]
enum Place {
    /// It is the nth record.
    Record(usize, String),
    /// It is a duplicate of the message of the nth record.
    Again(usize, String),
    /// It is a duplicate of a message that came before.
    Known(Sent),
}

/// What an operation comes to.
#[derive(Debug)]
pub(super) struct Decided {
    /// What is to be made durable; nothing where there is nothing to do.
    pub(super) records: Vec<Record>,
    answer: Answer,
    /// Of a send, what becomes of each message.
    places: Vec<Place>,
    /// What is kept from being received meanwhile.
    held: Option<(QueueKey, Vec<u64>)>,
}

/// The messages as records.
pub(super) fn message_records(messages: Vec<NewMessage>) -> Vec<Record> {
    let record = |message: NewMessage| {
        Record::Message(Box::new(MessageRecord {
            queue: message.queue,
            id: message.id,
            group: message.group,
            deduplication: message.deduplication,
            sent_at: message.sent_at,
            visible_at: message.visible_at,
            kept: None,
            payload: message.payload,
        }))
    };
    messages.into_iter().map(record).collect()
}

impl Op {
    /// Whether the operations after it can only be decided when it is done, and it only when those before it are.
    pub(super) fn stands_alone(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Remove(_) | Self::Purge(_))
    }

    /// Decides what to do, of a store that holds at most so many messages.
    ///
    /// # Errors
    /// Where it cannot be done; then nothing has changed.
    pub(super) fn decide(self, state: &mut State, messages_max: usize) -> Result<Decided, QueueError> {
        let decided = |records, answer| Ok(Decided { records, answer, places: Vec::new(), held: None });
        match self {
            Self::Create(key) if state.contains(&key) => decided(Vec::new(), Answer::Done),
            Self::Create(key) => decided(vec![Record::Queue(key)], Answer::Done),
            Self::Remove(key) => {
                state.queue(&key)?;
                decided(vec![Record::Removed(key)], Answer::Done)
            }
            Self::Send(records) => send(state, records, messages_max),
            Self::Delete { queue, receipts, now } => delete(state, queue, &receipts, now),
            Self::ChangeVisibility { queue, changes, now } => change(state, queue, &changes, now),
            Self::Purge(key) => {
                state.queue(&key)?;
                decided(vec![Record::Purged(key)], Answer::Done)
            }
            Self::Expire { queue, until, now } => {
                let found = state.queue(&queue)?;
                let is_due = found.window.has_old(now) || !found.expired(until).is_empty();
                let record = is_due.then_some(Record::Expired { queue, until, now });
                decided(record.into_iter().collect(), Answer::Gone(0))
            }
            Self::Move { from, to, messages_max, now } => {
                redrive(state, &from, to.as_ref(), messages_max, now)
            }
            Self::Bury { from, to, sequences } => bury(state, &from, &to, &sequences),
        }
    }
}

impl Decided {
    /// The answer, when the records are applied.
    pub(super) fn answer(self, applied: Vec<Applied>) -> Answer {
        match self.answer {
            Answer::Sent(_) => {
                let sequence = |record: usize| match applied.get(record) {
                    Some(Applied::Came(sequence)) => *sequence,
                    other => unreachable!("a message that is sent comes: {other:?}"),
                };
                let sent = |place| match place {
                    Place::Record(record, id) => Sent { id, sequence: sequence(record), is_duplicate: false },
                    Place::Again(record, id) => Sent { id, sequence: sequence(record), is_duplicate: true },
                    Place::Known(sent) => sent,
                };
                Answer::Sent(self.places.into_iter().map(sent).collect())
            }
            Answer::Gone(_) => {
                let gone = |applied: &Applied| if let Applied::Gone(gone) = applied { *gone } else { 0 };
                Answer::Gone(applied.iter().map(gone).sum())
            }
            other => other,
        }
    }

    /// The records could not be made durable.
    pub(super) fn undo(&self, state: &mut State) {
        if let Some((key, held)) = &self.held
            && let Ok(queue) = state.queue_mut(key)
        {
            held.iter().for_each(|sequence| queue.release(*sequence));
        }
    }
}

/// The digest of a message's deduplication text, with its queue.
pub(super) fn text_of(record: &Record) -> Option<(&QueueKey, Digest)> {
    let Record::Message(message) = record else { return None };
    Some((&message.queue, digest(message.deduplication.as_deref()?)))
}

/// Finds the duplicates, so that the journal has none of them: what it says does not depend on what came before.
fn send(state: &State, records: Vec<Record>, messages_max: usize) -> Result<Decided, QueueError> {
    let mut kept: Vec<Record> = Vec::new();
    let mut places = Vec::new();
    let mut texts: HashMap<(QueueKey, Digest), usize> = HashMap::new();
    for record in records {
        let Record::Message(message) = &record else { continue };
        let window = &state.queue(&message.queue)?.window;
        if let Some((queue, digest)) = text_of(&record) {
            if let Some(earlier) = window.find(&digest, message.sent_at) {
                let (id, sequence) = (earlier.id.to_string(), earlier.sequence);
                places.push(Place::Known(Sent { id, sequence, is_duplicate: true }));
                continue;
            }
            match texts.entry((queue.clone(), digest)) {
                Entry::Occupied(first) => {
                    let id = match &kept[*first.get()] {
                        Record::Message(first) => first.id.clone(),
                        other => unreachable!("only messages are sent: {other:?}"),
                    };
                    places.push(Place::Again(*first.get(), id));
                    continue;
                }
                Entry::Vacant(place) => {
                    place.insert(kept.len());
                }
            }
        }
        places.push(Place::Record(kept.len(), message.id.clone()));
        kept.push(record);
    }
    let count = if texts.is_empty() { state.messages() } else { state.messages().max(state.texts()) };
    if count + kept.len() > messages_max {
        let text = format!("the queues hold {messages_max} messages or deduplication texts");
        return Err(QueueError::Full(io::Error::new(io::ErrorKind::StorageFull, text)));
    }
    Ok(Decided { records: kept, answer: Answer::Sent(Vec::new()), places, held: None })
}

fn delete(
    state: &State,
    queue: QueueKey,
    receipts: &[Receipt],
    now: Timestamp,
) -> Result<Decided, QueueError> {
    let found = state.queue(&queue)?;
    let outcomes: Vec<_> = receipts.iter().map(|receipt| found.check_delete(*receipt, now)).collect();
    let allowed = receipts.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
    let sequences: Vec<_> = allowed
        .map(|(receipt, _)| receipt.sequence)
        .filter(|sequence| found.get(sequence.0).is_some())
        .collect();
    let record = (!sequences.is_empty()).then_some(Record::Deleted { queue, sequences });
    Ok(Decided {
        records: record.into_iter().collect(),
        answer: Answer::Receipts(outcomes),
        places: Vec::new(),
        held: None,
    })
}

fn change(
    state: &mut State,
    queue: QueueKey,
    changes: &[(Receipt, Timestamp)],
    now: Timestamp,
) -> Result<Decided, QueueError> {
    let found = state.queue_mut(&queue)?;
    found.promote(now);
    let check = |(receipt, visible_at): &(Receipt, Timestamp)| found.check_change(*receipt, *visible_at, now);
    let checked: Vec<_> = changes.iter().map(check).collect();
    let receipts: Vec<_> = checked.iter().flatten().cloned().collect();
    // One that a crash forgot hides its message at once: nothing decided next may take it.
    receipts.iter().for_each(|receipt| found.hide(receipt));
    let outcomes = checked.into_iter().map(|outcome| outcome.map(|_| ())).collect();
    let record = (!receipts.is_empty()).then_some(Record::Receipts { queue, receipts });
    Ok(Decided {
        records: record.into_iter().collect(),
        answer: Answer::Receipts(outcomes),
        places: Vec::new(),
        held: None,
    })
}

fn redrive(
    state: &mut State,
    from: &QueueKey,
    to: Option<&QueueKey>,
    messages_max: usize,
    now: Timestamp,
) -> Result<Decided, QueueError> {
    if let Some(to) = to {
        state.queue(to)?;
    }
    let queue = state.queue_mut(from)?;
    queue.promote(now);
    let sequences = queue.visible(messages_max);
    let mut records = Vec::new();
    let queue = state.queue(from)?;
    for sequence in &sequences {
        let Some(message) = queue.get(*sequence) else { continue };
        let came_from = message.came_from.as_deref();
        let target = to.or(came_from).ok_or_else(|| QueueError::Missing(QueueKey(String::new())))?;
        state.queue(target)?;
        records.push(moved(from, *sequence, target, None));
    }
    Ok(hold(state, from, sequences, records))
}

fn bury(
    state: &mut State,
    from: &QueueKey,
    to: &QueueKey,
    sequences: &[Sequence],
) -> Result<Decided, QueueError> {
    state.queue(to)?;
    let queue = state.queue(from)?;
    // Another receive may have been quicker.
    let is_visible = |sequence: &u64| {
        queue.get(*sequence).is_some_and(|message| message.phase == super::queue::Phase::Ready)
    };
    let sequences: Vec<u64> = sequences.iter().map(|sequence| sequence.0).filter(is_visible).collect();
    let record = |sequence: &u64| {
        let message = queue.get(*sequence)?;
        Some(moved(from, *sequence, to, Some((message.receives, message.first_received_at))))
    };
    let records = sequences.iter().filter_map(record).collect();
    Ok(hold(state, from, sequences, records))
}

fn moved(from: &QueueKey, sequence: u64, to: &QueueKey, dead_letter: Option<(u32, Timestamp)>) -> Record {
    Record::Moved { from: from.clone(), sequence: Sequence(sequence), to: to.clone(), dead_letter }
}

fn hold(state: &mut State, from: &QueueKey, sequences: Vec<u64>, records: Vec<Record>) -> Decided {
    if let Ok(queue) = state.queue_mut(from) {
        sequences.iter().for_each(|sequence| queue.hold(*sequence));
    }
    let held = Some((from.clone(), sequences));
    Decided { records, answer: Answer::Gone(0), places: Vec::new(), held }
}
