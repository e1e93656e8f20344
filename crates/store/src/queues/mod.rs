//! Durable message queues: what is sent is on disk before it is acknowledged, and stays until it is deleted.
//!
//! On the road: below SQS, and below every stage that owes somebody a message. Must not know: the names of AWS, nor what
//! a message means; its payload is the sender's own encoding.
//!
//! Invariants: a message that was acknowledged is received at least once, unless it is deleted, purged or expires; after
//! a crash what was in flight is visible again at the latest when its visibility timeout is over; messages of one group
//! are received in their order, and no later one while an earlier is in flight.

mod committer;
mod deduplication;
mod journal;
mod metrics;
mod op;
mod payloads;
mod queue;
mod record;
mod state;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use tokio::sync::watch;

pub use journal::{JournalQueues, QueueSettings};

use record::MessageRecord;
use state::Taken;

/// The name of a queue in the store, chosen by its owner. A queue that is made anew under the same name gets another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey(pub String);

impl fmt::Display for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a message among all of the store: later ones have greater ones. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Where to.
    pub queue: QueueKey,
    /// Its id, the sender's choice.
    pub id: String,
    /// What it says.
    pub payload: Bytes,
    /// The group whose order it keeps; none where order does not matter.
    pub group: Option<String>,
    /// Within the deduplication window of its queue only the first message with this text is kept.
    pub deduplication: Option<String>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it can first be received.
    pub visible_at: Timestamp,
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The id of the message that is kept: of the earlier one, where this is a duplicate.
    pub id: String,
    /// The place of the message that is kept.
    pub sequence: Sequence,
    /// Whether an earlier message is kept in its place.
    pub is_duplicate: bool,
}

/// Names one receipt of one message: a later receipt of the same message has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The message.
    pub sequence: Sequence,
    /// The how manieth receipt of it, from 1.
    pub receives: u32,
}

/// A message as it is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it is deleted by. Its `receives` counts this receipt.
    pub receipt: Receipt,
    /// Its id.
    pub id: String,
    /// What it says.
    pub payload: Bytes,
    /// Its group.
    pub group: Option<String>,
    /// Its deduplication text.
    pub deduplication: Option<String>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it was first received.
    pub first_received_at: Timestamp,
    /// The queue that it was in before it was moved here as a dead letter, if it was.
    pub came_from: Option<QueueKey>,
}

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The queue that takes them.
    pub queue: QueueKey,
    /// A message is moved instead of being received once more than this many times.
    pub receives_max: u32,
}

/// What to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The most messages.
    pub messages_max: usize,
    /// Now.
    pub now: Timestamp,
    /// For how long what is received is hidden from others.
    pub visibility: Duration,
    /// Messages sent at or before this time have expired and are not received.
    pub expired_until: Timestamp,
    /// The most messages in flight: no more are received beyond it.
    pub in_flight_max: usize,
    /// Where messages go that were received too often.
    pub dead_letters: Option<DeadLetters>,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that can be received.
    pub visible: u64,
    /// Messages received and not deleted, whose visibility timeout is not over.
    pub in_flight: u64,
    /// Messages sent whose delay is not over.
    pub delayed: u64,
    /// When the oldest message was sent.
    pub oldest_sent_at: Option<Timestamp>,
}

/// Why a receipt does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptFault {
    /// The message is not there (any more).
    Gone,
    /// The message was received again since, or it is visible again where that matters.
    Stale,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No such queue.
    #[error("there is no queue {0}")]
    Missing(QueueKey),
    /// As many messages are in flight as the queue allows.
    #[error("too many messages of the queue are in flight")]
    InFlight,
    /// There is no room on the disk. Nothing of what was refused was kept.
    #[error("there is no room for more messages")]
    Full(#[source] std::io::Error),
    /// The journal failed.
    #[error("the queues' journal failed")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Durable message queues. Every change is durable on return, but that of a receipt: what is received may, after a
/// crash, be received again.
#[async_trait]
pub trait Queues: Send + Sync + 'static {
    /// Makes a queue, if it is not there.
    async fn create(&self, queue: &QueueKey) -> Result<(), QueueError>;

    /// Removes a queue with all its messages.
    async fn remove(&self, queue: &QueueKey) -> Result<(), QueueError>;

    /// All queues.
    fn names(&self) -> Vec<QueueKey>;

    /// Sends messages, to one queue or several: all or, where this fails, none. In the order given.
    async fn send(&self, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError>;

    /// Receives messages. Does not wait for any; what was received too often is moved away first.
    async fn receive(&self, queue: &QueueKey, ask: &Ask) -> Result<Vec<Received>, QueueError>;

    /// Returns once a message of the queue may have become receivable since `seen`, of [`Queues::arrivals`]. It does not
    /// watch the clock: delays and visibility timeouts that end are the caller's to look for, by [`Queues::next_visible`].
    async fn wait_past(&self, queue: &QueueKey, seen: u64);

    /// A count that grows whenever a message of the queue may have become receivable by somebody's doing.
    fn arrivals(&self, queue: &QueueKey) -> u64;

    /// When, after `now`, the next message becomes visible by the clock.
    fn next_visible(&self, queue: &QueueKey, now: Timestamp) -> Option<Timestamp>;

    /// Deletes the messages of receipts, also of stale ones unless they are of a group and `now` is past their timeout;
    /// that a message is gone already is no fault.
    async fn delete(
        &self,
        queue: &QueueKey,
        receipts: &[Receipt],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError>;

    /// Sets when messages in flight become visible.
    async fn change_visibility(
        &self,
        queue: &QueueKey,
        changes: &[(Receipt, Timestamp)],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError>;

    /// Removes all messages sent so far.
    async fn purge(&self, queue: &QueueKey) -> Result<(), QueueError>;

    /// Removes the messages sent at or before `until`, and deduplication texts older than their window at `now`.
    async fn expire(&self, queue: &QueueKey, until: Timestamp, now: Timestamp) -> Result<u64, QueueError>;

    /// Moves up to `messages_max` visible messages to other queues, in their order: to `to`, or each to the queue that it
    /// came from. Says how many were moved; nothing is moved where it would have to go to a queue that is not there.
    async fn move_messages(
        &self,
        from: &QueueKey,
        to: Option<&QueueKey>,
        messages_max: usize,
        now: Timestamp,
    ) -> Result<usize, QueueError>;

    /// What the queue holds at `now`.
    fn counts(&self, queue: &QueueKey, now: Timestamp) -> Result<Counts, QueueError>;
}

/// A message as it is received: what is known of it, and what was sent.
fn received(taken: Taken, message: MessageRecord) -> Received {
    Received {
        receipt: Receipt { sequence: taken.sequence, receives: taken.receives },
        id: message.id,
        payload: message.payload,
        group: message.group,
        deduplication: message.deduplication,
        sent_at: message.sent_at,
        first_received_at: taken.first_received_at,
        came_from: taken.came_from,
    }
}

/// Returns once the count is past `seen`, or the queue is gone.
async fn wait_past(arrivals: Option<watch::Receiver<u64>>, seen: u64) {
    let Some(mut arrivals) = arrivals else { return };
    if arrivals.wait_for(|arrivals| *arrivals > seen).await.is_err() {
        tracing::debug!("a queue went while somebody waited for its messages");
    }
}
