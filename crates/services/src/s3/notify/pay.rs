//! The stage that sends what is owed. It takes no input: it looks at the debts, pays what its destination takes, and
//! stops; first run, retry and restart are the same code.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_store::catalog::prefix_end;
use cairn_store::{Catalog, CatalogError};
use futures::StreamExt;
use prometheus::Registry;
use tokio::sync::watch;

use super::configuration::Destination;
use super::debt::{self, DEBTS, Debt, OWED};
use super::event::OwedEvent;
use super::metrics::Counts;
use super::retry::Retries;
use super::{Sinks, destinations};
use crate::s3::S3;
use crate::sinks::{BusEvent, QueueMessage, Sender, SinkFailure, TopicMessage};

/// How long an event is tried to be sent before it is dropped.
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Events that are sent and settled together.
const PAGE: usize = 100;
/// Pages of one destination in one run, so that a run ends and new debts are seen.
const PAGES_PER_RUN: usize = 20;
/// Destinations that are paid at once.
const DESTINATIONS_AT_ONCE: usize = 16;
/// The longest that the stage goes without a look at the debts.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The subject of messages to topics.
pub(super) const SUBJECT: &str = "Amazon S3 Notification";

/// Sends the events that are owed.
pub struct EventStage {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    sinks: Sinks,
    owing: watch::Receiver<u64>,
    counts: Counts,
    retries: Retries,
    /// Whether the last run left something that could have been sent at once.
    has_more: AtomicBool,
}

impl S3 {
    /// The stage that sends the events of this S3's buckets. It is the only one.
    ///
    /// # Errors
    /// Where its metrics are on the registry already.
    pub fn event_stage(&self, registry: &Registry) -> Result<EventStage, prometheus::Error> {
        self.events.counts.register(registry)?;
        Ok(EventStage {
            catalog: self.catalog.clone(),
            clock: Arc::clone(&self.clock),
            sinks: self.events.sinks.clone(),
            owing: self.events.owing.subscribe(),
            counts: self.events.counts.clone(),
            retries: Retries::default(),
            has_more: AtomicBool::new(false),
        })
    }
}

/// A row of what is owed, with its key.
type Row = (Vec<u8>, OwedEvent);

impl EventStage {
    /// Sends what is due.
    ///
    /// # Errors
    /// The catalog's failure. What a destination refuses is no error: it is tried again.
    pub async fn run_once(&self) -> Result<(), CatalogError> {
        let debts: Vec<Debt> = self
            .catalog
            .read(|tx| {
                Ok::<_, CatalogError>(DEBTS.scan_prefix(tx, &[])?.into_iter().map(|(_, d)| d).collect())
            })
            .await?;
        let owed: u64 = debts.iter().map(|debt| debt.events).sum();
        self.counts.owed.set(i64::try_from(owed).unwrap_or(i64::MAX));
        let arns: HashSet<&str> = debts.iter().map(|debt| debt.destination.arn()).collect();
        self.retries.retain(|arn| arns.contains(arn));
        self.has_more.store(false, Ordering::Relaxed);
        let now = self.clock.now();
        let ready = debts.into_iter().filter(|debt| self.retries.is_ready(debt.destination.arn(), now));
        futures::stream::iter(ready)
            .for_each_concurrent(DESTINATIONS_AT_ONCE, |debt| async move {
                if let Err(failure) = self.pay(&debt.destination).await {
                    self.note(&debt.destination, &failure);
                }
            })
            .await;
        Ok(())
    }

    /// When the stage is to run next, if nothing wakes it.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        let now = self.clock.now();
        if self.has_more.load(Ordering::Relaxed) {
            return now;
        }
        let latest = now.plus(PAUSE_MAX);
        self.retries.next().map_or(latest, |retry_at| retry_at.min(latest))
    }

    /// What [`EventStage::wait_past`] is to be asked with: taken before a run.
    #[must_use]
    pub fn mark(&self) -> u64 {
        *self.owing.borrow()
    }

    /// Returns once more is owed than at the mark.
    pub async fn wait_past(&self, mark: u64) {
        let mut owing = self.owing.clone();
        if owing.wait_for(|times| *times > mark).await.is_err() {
            // Nobody is left who could come to owe something.
            std::future::pending::<()>().await;
        }
    }

    async fn pay(&self, destination: &Destination) -> Result<(), SinkFailure> {
        for _ in 0..PAGES_PER_RUN {
            let page = self.page(destination).await.map_err(of_catalog)?;
            let is_last = page.len() < PAGE;
            let forgotten_at = self.clock.now().minus(RETENTION);
            let (old, due): (Vec<Row>, Vec<Row>) =
                page.into_iter().partition(|(_, event)| event.at < forgotten_at);
            self.drop_old(destination, &old);
            let mut settled: Vec<Vec<u8>> = old.into_iter().map(|(row, _)| row).collect();
            let failure = self.send(destination, due, &mut settled).await;
            let paid_to = destination.clone();
            self.catalog.write(move |tx| debt::settle(tx, &paid_to, &settled)).await.map_err(of_catalog)?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            self.retries.clear(destination.arn());
            if is_last {
                return Ok(());
            }
        }
        self.has_more.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn page(&self, destination: &Destination) -> Result<Vec<Row>, CatalogError> {
        let from = debt::debt_key(destination);
        self.catalog
            .read(move |tx| OWED.scan(tx, from.bytes(), prefix_end(from.bytes()).as_deref(), PAGE))
            .await
    }

    /// Sends events in their order; notes in `settled` which the destination has.
    async fn send(
        &self,
        destination: &Destination,
        due: Vec<Row>,
        settled: &mut Vec<Vec<u8>>,
    ) -> Option<SinkFailure> {
        if due.is_empty() {
            return None;
        }
        let mut failed = None;
        match (destination, &self.sinks.queues, &self.sinks.topics) {
            (Destination::Queue(arn), Some(queues), _) => {
                let messages = due.iter().map(|(_, event)| {
                    let message = QueueMessage {
                        body: event.message(),
                        trace_header: event.trace_header().map(str::to_owned),
                        ..QueueMessage::default()
                    };
                    (destinations::source(&event.bucket, &event.owner), arn.clone(), message)
                });
                let outcomes = queues.send(messages.collect()).await;
                for ((row, event), outcome) in due.into_iter().zip(outcomes) {
                    match outcome {
                        Ok(()) => settled.push(self.sent(row, &event)),
                        Err(failure) => failed = failed.or(Some(failure)),
                    }
                }
            }
            (Destination::Topic(arn), _, Some(topics)) => {
                for (row, event) in due {
                    let source = destinations::source(&event.bucket, &event.owner);
                    let message = TopicMessage { subject: Some(SUBJECT.to_owned()), body: event.message() };
                    match topics.publish(&source, arn, message).await {
                        Ok(()) => settled.push(self.sent(row, &event)),
                        Err(failure) => {
                            failed = Some(failure);
                            break;
                        }
                    }
                }
            }
            (Destination::Function(arn), ..) => {
                for (row, event) in due {
                    let sender = Sender::Service(destinations::source(&event.bucket, &event.owner));
                    match self.invoke(&sender, arn, event.message()).await {
                        Ok(()) => settled.push(self.sent(row, &event)),
                        Err(failure) => {
                            failed = Some(failure);
                            break;
                        }
                    }
                }
            }
            (Destination::Bus(_), ..) => {
                let events = due.iter().map(|(_, event)| event.bus_event()).collect();
                match self.put_on_bus(events).await {
                    Ok(()) => settled.extend(due.into_iter().map(|(row, event)| self.sent(row, &event))),
                    Err(failure) => failed = Some(failure),
                }
            }
            _ => failed = Some(destinations::no_sink()),
        }
        failed
    }

    async fn invoke(&self, sender: &Sender, arn: &str, event: String) -> Result<(), SinkFailure> {
        let switchboard = self.sinks.switchboard.as_ref().ok_or_else(destinations::no_sink)?;
        switchboard.functions()?.invoke(sender, arn, event.into()).await
    }

    async fn put_on_bus(&self, events: Vec<BusEvent>) -> Result<(), SinkFailure> {
        let switchboard = self.sinks.switchboard.as_ref().ok_or_else(destinations::no_sink)?;
        switchboard.buses()?.put(events).await
    }

    fn sent(&self, row: Vec<u8>, event: &OwedEvent) -> Vec<u8> {
        self.counts.sent.inc();
        self.counts.lag_seconds.observe(self.clock.now().since(event.at).as_secs_f64());
        row
    }

    fn drop_old(&self, destination: &Destination, old: &[Row]) {
        if let Some((_, first)) = old.first() {
            self.counts.dropped.inc_by(old.len() as u64);
            tracing::warn!(
                destination = destination.arn(),
                bucket = first.bucket,
                events = old.len(),
                "events are dropped: their destination took none of them in time"
            );
        }
    }

    fn note(&self, destination: &Destination, failure: &SinkFailure) {
        self.counts.failures.inc();
        let pause = self.retries.fail(destination.arn(), self.clock.now());
        tracing::warn!(
            destination = destination.arn(),
            code = failure.code,
            error = failure.message,
            pause_s = pause.as_secs(),
            "a destination does not take a bucket's events and is tried again"
        );
    }
}

fn of_catalog(error: CatalogError) -> SinkFailure {
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    SinkFailure { is_transient: true, code: "Catalog".to_owned(), message: format!("{error}: {source}") }
}
