//! The stage that pays what the targets of rules are owed.
//!
//! On the road: behind [`owed`]. A run looks at the queues that are due, begins as much as there are places for, and
//! stops; each delivery deletes its message when it was made, puts it off when it failed, or hands it to the target's
//! dead-letter queue when it is given up, and wakes the stage.
//!
//! Invariants: a message is deleted after it was taken and not before; a target that fails or hangs takes a bounded share
//! of the places.
//!
//! [`owed`]: super::owed

mod attempt;
pub(super) mod call;
mod dead_letter;
pub(super) mod lanes;
mod retry;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::queues::QueueError;
use cairn_store::queues::{Ask, QueueKey, Received};
use cairn_wire::AwsError;
use tokio::task::JoinSet;

use super::Events;
use super::metrics::Outcome;
use super::owed::{self, Owed};
use super::state::{Rule, RuleTarget};
use super::target_check::Kind;
use crate::places::Room;
use attempt::Undelivered;
use dead_letter::Reason;
use retry::Next;

/// The longest between two looks at what is owed.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a message is hidden that is being sent: longer than any attempt takes.
const VISIBILITY: Duration = Duration::from_secs(300);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a queue is left alone whose store failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Messages of one target in flight. The places are the true limit.
const IN_FLIGHT_MAX: usize = 100_000;

/// Why a run of the stage failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The catalog failed.
    #[error("the targets of rules could not be read")]
    Rules(#[source] AwsError),
    /// The queues failed.
    #[error("what is owed to the targets of rules could not be read")]
    Queues(#[from] QueueError),
}

/// The stage. Clones share it.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    events: Arc<Events>,
    tasks: Mutex<JoinSet<()>>,
}

/// An event that is to be sent now.
struct Due {
    queue: QueueKey,
    received: Received,
    rule: Rule,
    target: RuleTarget,
    kind: Kind,
}

/// What became of an attempt.
enum Made {
    Taken,
    PutOff(Timestamp),
}

impl Delivery {
    /// The stage over what `events` owes. It is the only one.
    #[must_use]
    pub fn new(events: Arc<Events>) -> Self {
        Self(Arc::new(Inner { events, tasks: Mutex::new(JoinSet::new()) }))
    }

    /// A count that grows whenever there may be more to do.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.0.events.lanes.arrivals()
    }

    /// Returns once the count is past `seen`.
    pub async fn wait_past(&self, seen: u64) {
        self.0.events.lanes.wait_past(seen).await;
    }

    /// Begins what is due; says when more will be. What was begun goes on by itself.
    ///
    /// # Errors
    /// Where the catalog or the queues fail.
    pub async fn run_once(&self) -> Result<Timestamp, DeliveryError> {
        let events = &self.0.events;
        self.reap();
        let now = events.clock.now();
        let mut ready: Vec<(Timestamp, QueueKey)> = {
            let mut state = events.lanes.lock();
            state.places.tidy(now);
            let due = state.due.iter().filter(|(_, at)| **at <= now);
            due.map(|(queue, at)| (*at, queue.clone())).collect()
        };
        ready.sort_unstable();
        let mut next = now.plus(PAUSE_MAX);
        for (_, queue) in ready {
            if events.lanes.lock().places.free() == 0 {
                break;
            }
            if let Some(later) = self.begin(&queue, now).await? {
                next = next.min(later);
            }
        }
        let state = events.lanes.lock();
        let later = state.due.values().filter(|at| **at > now).min();
        Ok(later.map_or(next, |at| next.min(*at)))
    }

    /// Begins what there is room for of one queue; says when there is room, where the clock alone makes it.
    async fn begin(&self, queue: &QueueKey, now: Timestamp) -> Result<Option<Timestamp>, DeliveryError> {
        let events = &self.0.events;
        let Some((rule, target)) = events.owed_to(queue).await.map_err(DeliveryError::Rules)? else {
            events.lanes.lock().due.remove(queue);
            match events.queues.remove(queue).await {
                Ok(()) | Err(QueueError::Missing(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let Some(kind) = Kind::of(&target.arn) else { return Ok(None) };
        let per_second = events.rate_of(kind, &target).await.map_err(DeliveryError::Rules)?;
        let room = {
            let mut state = events.lanes.lock();
            match state.places.room(&target.arn, now, per_second) {
                // An end of a delivery stirs the stage.
                Room::Now(0) => return Ok(None),
                Room::Now(room) => {
                    state.due.remove(queue);
                    room
                }
                Room::From(at) => return Ok(Some(at)),
            }
        };
        let ask = Ask {
            messages_max: room,
            now,
            visibility: VISIBILITY,
            expired_until: Timestamp::from_seconds(0),
            in_flight_max: IN_FLIGHT_MAX,
            dead_letters: None,
        };
        let found = match events.queues.receive(queue, &ask).await {
            Ok(found) => found,
            Err(QueueError::Missing(_)) => return Ok(None),
            Err(error) => {
                events.lanes.lock().look_at(queue.clone(), now.plus(PAUSE_AFTER_ERROR));
                return Err(error.into());
            }
        };
        let again = if found.len() == room { Some(now) } else { events.queues.next_visible(queue, now) };
        if let Some(at) = again {
            events.lanes.lock().look_at(queue.clone(), at);
        }
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for received in found {
            let (rule, target, queue) = (rule.clone(), target.clone(), queue.clone());
            let place = Place::take(events, &target.arn, received.receipt.sequence.0, now);
            let due = Due { queue, received, rule, target, kind };
            let events = Arc::clone(events);
            tasks.spawn(async move { events.deliver(due, place).await });
        }
        // Where all places of the target were taken at once there may be more.
        Ok(None)
    }

    /// Lets go of deliveries that have ended.
    fn reap(&self) {
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a delivery of EventBridge ended by itself"
                );
            }
        }
    }

    /// Waits until all that was begun has ended.
    pub async fn idle(&self) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

/// A delivery's place, given back whatever becomes of the delivery.
struct Place {
    events: Arc<Events>,
    target_arn: String,
    number: u64,
    is_well: bool,
}

impl Place {
    fn take(events: &Arc<Events>, target_arn: &str, number: u64, now: Timestamp) -> Self {
        events.lanes.lock().places.begin(&target_arn.to_owned(), number, now);
        Self { events: Arc::clone(events), target_arn: target_arn.to_owned(), number, is_well: false }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.events.lanes.lock().places.end(&self.target_arn, self.number, self.is_well);
        self.events.lanes.stir();
    }
}

impl Events {
    /// The rule and the target that a queue is of; none where they are gone.
    async fn owed_to(&self, queue: &QueueKey) -> Result<Option<(Rule, RuleTarget)>, AwsError> {
        let Some((bus, rule, target)) = owed::of_queue_key(queue) else { return Ok(None) };
        let view = self.views.of(&self.catalog, &bus).await.map_err(AwsError::internal)?;
        let rule = view.as_ref().and_then(|view| view.rule(rule)).map(|view| &view.rule);
        let target = rule.and_then(|rule| rule.targets.iter().find(|known| known.id == target));
        Ok(rule.cloned().zip(target.cloned()))
    }

    /// Sends one event, and writes down what came of it.
    async fn deliver(&self, due: Due, mut place: Place) {
        let made = match owed::opened(&self.sealer, &due.received) {
            Ok(owed) => self.try_to_send(&due, &owed, &mut place).await,
            Err(error) => {
                self.metrics.gave_up(due.kind);
                tracing::error!(
                    rule = due.rule.arn(),
                    error = &error as &dyn std::error::Error,
                    "an event that is owed cannot be read"
                );
                Made::Taken
            }
        };
        if let Err(error) = self.settle(&due, made).await {
            // It is sent again when it becomes visible.
            let at = self.clock.now().plus(VISIBILITY);
            self.lanes.lock().look_at(due.queue.clone(), at);
            tracing::error!(
                rule = due.rule.arn(),
                error = &error as &dyn std::error::Error,
                "what became of an event's delivery could not be written down"
            );
        }
    }

    async fn settle(&self, due: &Due, made: Made) -> Result<(), QueueError> {
        let (receipt, now) = (due.received.receipt, self.clock.now());
        match made {
            Made::Taken => self.queues.delete(&due.queue, &[receipt], now).await.map(drop),
            Made::PutOff(at) => {
                self.queues.change_visibility(&due.queue, &[(receipt, at)], now).await?;
                self.lanes.lock().look_at(due.queue.clone(), at);
                Ok(())
            }
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a target that hangs must not keep its place")]
    async fn try_to_send(&self, due: &Due, owed: &Owed, place: &mut Place) -> Made {
        let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(due, owed)).await;
        let failure = match attempt.unwrap_or_else(|_| Err(Undelivered::timeout())) {
            Ok(()) => {
                place.is_well = true;
                self.metrics.attempted(due.kind, Outcome::Delivered);
                self.metrics.lag_seconds.observe(self.clock.now().since(owed.ingested_at).as_secs_f64());
                return Made::Taken;
            }
            Err(failure) => failure,
        };
        let attempts = due.received.receipt.receives;
        tracing::warn!(
            rule = due.rule.arn(),
            target = due.target.arn,
            attempts,
            code = failure.code,
            error = failure.message,
            "a target does not take an event"
        );
        if failure.is_permanent {
            self.metrics.attempted(due.kind, Outcome::Refused);
            return self.give_up(due, owed, &failure, Reason::Refused).await;
        }
        self.metrics.attempted(due.kind, Outcome::Failed);
        let now = self.clock.now();
        match retry::next(due.target.retry_policy, attempts, owed.ingested_at, now, &*self.entropy) {
            Next::At(at) => Made::PutOff(failure.not_before.map_or(at, |later| at.max(later))),
            Next::Exhausted(limit) => self.give_up(due, owed, &failure, Reason::Exhausted(limit)).await,
        }
    }
}
