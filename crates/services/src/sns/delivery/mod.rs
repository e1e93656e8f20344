//! The stage that pays what topics owe their subscribers: by HTTP, by e-mail, and into queues that failed at first.
//!
//! On the road: behind [`owed`], where a publish has written what it owes. A run looks at what is due, begins as much of
//! it as there are places for, and stops; each delivery strikes itself out when it was made, puts itself off when it
//! failed, or goes to the subscription's dead-letter queue when it is given up, and wakes the stage.
//!
//! Invariants: what is owed is struck out after it was delivered and not before, so that each message is delivered at
//! least once; a subscriber that fails or hangs takes a bounded share of the places ([`places`]); order within a lane
//! is [`owed`]'s.
//!
//! [`owed`]: super::owed

mod attempt;
mod metrics;
pub(super) mod render;
mod schedule;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_store::{Catalog, CatalogError, Sealer, Tx};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use transport::{Email, Mail, NotDelivered, Post, Posting};

use super::arn::SubscriptionArn;
use super::delivery_policy::{DeliveryPolicy, effective};
use super::state::{Notification, Owed, SUBSCRIPTIONS, Subscription, TOPICS, Topic};
use super::{Links, Signing, owed};
use crate::places::{Places, Room};
use crate::sinks::{QueueSink, Switchboard};
use metrics::Metrics;

/// Subscriptions that one run looks at.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// The longest between two looks at what is owed.
const PAUSE_MAX: Duration = MEASURE_INTERVAL;
/// How long nothing is begun after what came of a delivery could not be written down: it would be made again and again.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// How often what is owed is counted, and how far.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);
const COUNTED_MAX: usize = 100_000;

/// What the stage works with.
#[derive(Clone)]
pub struct DeliveryParts {
    /// Where what is owed is kept.
    pub catalog: Catalog,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Opens kept messages.
    pub sealer: Sealer,
    /// Queues: of subscriptions, and for dead letters.
    pub queues: Arc<dyn QueueSink>,
    /// Functions.
    pub switchboard: Switchboard,
    /// Signs confirmations.
    pub signing: Signing,
    /// The addresses in messages.
    pub links: Links,
    /// HTTP endpoints.
    pub post: Arc<dyn Post>,
    /// The relay for e-mail, if there is one.
    pub mail: Option<Arc<dyn Mail>>,
}

/// Why a run of the stage failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The catalog failed.
    #[error("what is owed to subscribers could not be read")]
    Catalog(#[from] CatalogError),
}

/// The stage. Clones share it.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    parts: DeliveryParts,
    metrics: Metrics,
    places: Mutex<Places<SubscriptionArn>>,
    tasks: Mutex<JoinSet<()>>,
    /// Grows whenever there may be more to do.
    arrivals: watch::Sender<u64>,
    /// Before that time nobody was tried, whatever is owed since when.
    began_at: Timestamp,
    measured_at: Mutex<Option<Timestamp>>,
    /// Until when nothing is begun.
    resting_until: Mutex<Option<Timestamp>>,
}

/// A delivery that is to be made now.
struct Due {
    owed: Owed,
    subscription: Option<Subscription>,
    topic: Option<Topic>,
    policy: DeliveryPolicy,
    /// The message; what is wrong with it where it cannot be read.
    notification: Result<Notification, String>,
}

/// What a look at what is owed came to.
struct Found {
    due: Vec<Due>,
    /// When there is more.
    next: Timestamp,
}

impl Delivery {
    /// The stage over what is owed.
    ///
    /// # Errors
    /// Where its metrics are there already.
    pub fn new(parts: DeliveryParts, registry: &Registry) -> Result<Self, prometheus::Error> {
        let began_at = parts.clock.now();
        Ok(Self(Arc::new(Inner {
            metrics: Metrics::new(registry)?,
            places: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
            arrivals: watch::Sender::new(0),
            began_at,
            measured_at: Mutex::default(),
            resting_until: Mutex::default(),
            parts,
        })))
    }

    /// Says that something may have become due by somebody's doing.
    pub fn wake(&self) {
        self.0.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    /// A count that [`Delivery::wake`] makes grow.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        *self.0.arrivals.borrow()
    }

    /// Returns once the count is past `seen`.
    pub async fn wait_past(&self, seen: u64) {
        // The sender is here, so it does not go away.
        let _ = self.0.arrivals.subscribe().wait_for(|arrivals| *arrivals > seen).await;
    }

    /// Begins what is due; says when more will be. What was begun goes on by itself.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn run_once(&self) -> Result<Timestamp, DeliveryError> {
        let now = self.0.parts.clock.now();
        if let Some(until) = self.0.resting_until().filter(|until| now < *until) {
            return Ok(until);
        }
        self.measure(now).await?;
        let places = {
            let mut places = self.0.places();
            places.tidy(now);
            places.clone()
        };
        let sealer = self.0.parts.sealer.clone();
        let found = self.0.parts.catalog.read(move |tx| find(tx, &sealer, &mut places.clone(), now)).await?;
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a delivery of SNS ended by itself"
                );
            }
        }
        for due in found.due {
            let place = Place::take(self, &due.owed, now);
            let delivery = self.clone();
            tasks.spawn(async move { delivery.0.deliver(due, place).await });
        }
        Ok(found.next)
    }

    /// Waits until all that was begun has ended.
    #[cfg(test)]
    async fn idle(&self) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap());
        while tasks.join_next().await.is_some() {}
    }

    /// Counts what is owed, now and then.
    async fn measure(&self, now: Timestamp) -> Result<(), CatalogError> {
        {
            let mut measured = self.0.measured_at.lock().unwrap_or_else(PoisonError::into_inner);
            if measured.is_some_and(|at| at <= now && now < at.plus(MEASURE_INTERVAL)) {
                return Ok(());
            }
            *measured = Some(now);
        }
        let count =
            |tx: &mut dyn Tx| Ok::<_, CatalogError>((owed::count(tx, COUNTED_MAX)?, owed::oldest_since(tx)?));
        let (owed, oldest) = self.0.parts.catalog.read(count).await?;
        self.0.metrics.owed.set(i64::try_from(owed).unwrap_or(i64::MAX));
        let oldest_s = oldest.map_or(0, |since| now.since(since).as_secs());
        self.0.metrics.oldest_seconds.set(i64::try_from(oldest_s).unwrap_or(i64::MAX));
        Ok(())
    }
}

impl Inner {
    fn resting_until(&self) -> Option<Timestamp> {
        *self.resting_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins nothing for a while.
    fn rest(&self) {
        let until = self.parts.clock.now().plus(PAUSE_AFTER_ERROR);
        *self.resting_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn places(&self) -> MutexGuard<'_, Places<SubscriptionArn>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery's place, given back whatever becomes of the delivery.
struct Place {
    delivery: Delivery,
    subscription: SubscriptionArn,
    place: u64,
    is_well: bool,
}

impl Place {
    fn take(delivery: &Delivery, owed: &Owed, now: Timestamp) -> Self {
        delivery.0.places().begin(&owed.subscription, owed.place, now);
        let (subscription, place) = (owed.subscription.clone(), owed.place);
        Self { delivery: delivery.clone(), subscription, place, is_well: false }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.delivery.0.places().end(&self.subscription, self.place, self.is_well);
        self.delivery.wake();
    }
}

/// What is due and has room, taking the room in `places`.
fn find(
    tx: &mut dyn Tx,
    sealer: &Sealer,
    places: &mut Places<SubscriptionArn>,
    now: Timestamp,
) -> Result<Found, CatalogError> {
    let mut due = Vec::new();
    let mut next = owed::next_due(tx, now)?.map_or(now.plus(PAUSE_MAX), |next| next.min(now.plus(PAUSE_MAX)));
    for arn in owed::due_subscriptions(tx, now, SUBSCRIPTIONS_MAX)? {
        if places.free() == 0 {
            break;
        }
        if places.room(&arn, now, None) == Room::Now(0) {
            continue;
        }
        let subscription = SUBSCRIPTIONS.get(tx, arn.row().bytes())?;
        let topic = TOPICS.get(tx, arn.topic.row().bytes())?;
        let policy = effective(
            topic.as_ref().and_then(|topic| topic.attribute("DeliveryPolicy")),
            subscription.as_ref().and_then(|subscription| subscription.delivery_policy.as_deref()),
        );
        let room = match places.room(&arn, now, policy.max_receives_per_second) {
            Room::Now(room) => room,
            Room::From(at) => {
                next = next.min(at);
                continue;
            }
        };
        if room == 0 {
            continue;
        }
        let found = owed::due(tx, &arn, now, room + places.busy_with(&arn))?;
        let fresh: Vec<Owed> =
            found.into_iter().filter(|owed| !places.is_busy(owed.place)).take(room).collect();
        for owed in fresh {
            places.begin(&arn, owed.place, now);
            let notification = match owed::message(tx, sealer, &owed) {
                Ok(Some(notification)) => Ok(notification),
                Ok(None) => Err("its message is not there".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let (subscription, topic, policy) = (subscription.clone(), topic.clone(), policy.clone());
            due.push(Due { owed, subscription, topic, policy, notification });
        }
    }
    Ok(Found { due, next })
}
