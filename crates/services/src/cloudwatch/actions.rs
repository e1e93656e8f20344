//! What is owed for changes of alarms' states, and the stage that pays: topics, functions, the event bus.
//!
//! Invariant: a debt is struck out after it was paid, so it is paid at least once, in the order of its destination. A sick
//! destination delays itself alone. What a destination refuses for good is not tried again, as AWS does not; what fails
//! by itself is tried for a day.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::CatalogError;
use futures::StreamExt;
use tokio::sync::watch;

use super::CloudWatch;
use super::alarm::{self, Owed, OwedRow};
use super::error::{Failure, validation};
use crate::s3::notify::retry::Retries;
use crate::sinks::{BusEvent, SinkFailure, Source, TopicMessage, as_service};

/// In whose name topics are published to.
const SERVICE_PRINCIPAL: &str = "cloudwatch.amazonaws.com";
/// In whose name functions are invoked.
const FUNCTION_PRINCIPAL: &str = "lambda.alarms.cloudwatch.amazonaws.com";
/// Destinations that are looked at in a run.
const DESTINATIONS_MAX: usize = 1000;
/// Destinations that are paid at the same time.
const DESTINATIONS_AT_ONCE: usize = 16;
/// Debts of a destination that are paid in a run.
const DEBTS_AT_ONCE: usize = 32;
/// How long a debt is tried to be paid.
const OWED_FOR_MAX: Duration = Duration::from_secs(24 * 3600);
/// When it is looked again where nobody says that something is owed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Counts the times that something became owed.
#[derive(Clone)]
pub(super) struct Owing(Arc<watch::Sender<u64>>);

impl Owing {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn announce(&self) {
        self.0.send_modify(|times| *times += 1);
    }
}

/// Whether an action is a function.
pub(super) fn is_function(action: &str) -> bool {
    action.starts_with("arn:aws:lambda:")
}

/// Holds an alarm's actions against what there is: topics and functions, in the alarm's region.
pub(super) fn check_actions(actions: &[String], region: &str) -> Result<(), Failure> {
    for action in actions {
        let parts: Vec<&str> = action.split(':').collect();
        let (service, place) = match parts[..] {
            ["arn", _, service, place, account, _, ..] if !account.is_empty() => (service, place),
            ["arn", _, service @ "automate", place, ..] => (service, place),
            _ => return Err(validation(format!("Invalid arn syntax: {action}"))),
        };
        if !matches!(service, "sns" | "lambda") {
            return Err(validation(format!(
                "The action {action} is not supported: only Amazon SNS topics and AWS Lambda functions are."
            )));
        }
        if place != region {
            return Err(validation(format!("Invalid region {place} specified. Only {region} is supported.")));
        }
    }
    Ok(())
}

/// Pays what alarms owe.
pub struct ActionStage {
    cloudwatch: Arc<CloudWatch>,
    retries: Retries,
}

impl ActionStage {
    /// The stage of that service.
    #[must_use]
    pub fn new(cloudwatch: Arc<CloudWatch>) -> Self {
        Self { cloudwatch, retries: Retries::default() }
    }

    /// How often something became owed.
    #[must_use]
    pub fn mark(&self) -> u64 {
        *self.cloudwatch.owing.0.borrow()
    }

    /// Returns once [`ActionStage::mark`] is past `seen`.
    pub async fn wait_past(&self, seen: u64) {
        let mut owing = self.cloudwatch.owing.0.subscribe();
        if owing.wait_for(|times| *times > seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Pays what is due. Says when to look again.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn run_once(&self) -> Result<Timestamp, CatalogError> {
        let cloudwatch = &self.cloudwatch;
        loop {
            let now = cloudwatch.clock.now();
            let found =
                cloudwatch.catalog.read(|tx| alarm::owed(tx, DESTINATIONS_MAX, DEBTS_AT_ONCE)).await?;
            let count: usize = found.iter().map(|(_, rows)| rows.len()).sum();
            cloudwatch.counters.actions_owed.set(i64::try_from(count).unwrap_or(i64::MAX));
            self.retries.retain(|own| found.iter().any(|(destination, _)| destination == own));
            let ready: Vec<_> = found
                .into_iter()
                .filter(|(destination, _)| self.retries.is_ready(destination, now))
                .collect();
            if ready.is_empty() {
                let next = now.plus(LOOK_INTERVAL);
                return Ok(self.retries.next().map_or(next, |retry| retry.min(next)));
            }
            let mut paying = futures::stream::iter(ready)
                .map(|(destination, rows)| self.pay(destination, rows))
                .buffer_unordered(DESTINATIONS_AT_ONCE);
            while let Some(paid) = paying.next().await {
                paid?;
            }
        }
    }

    /// Pays a destination in order, up to the first debt that it does not take now.
    async fn pay(&self, destination: String, rows: Vec<OwedRow>) -> Result<(), CatalogError> {
        let cloudwatch = &self.cloudwatch;
        for (row, owed) in rows {
            let sent = self.send(&owed).await;
            let now = cloudwatch.clock.now();
            let error = match sent {
                Ok(()) => {
                    self.retries.clear(&destination);
                    cloudwatch.counters.actions.with_label_values(&["done"]).inc();
                    None
                }
                Err(failure) if failure.is_transient && now < owed.since.plus(OWED_FOR_MAX) => {
                    let pause = self.retries.fail(&destination, now);
                    cloudwatch.counters.actions.with_label_values(&["failed"]).inc();
                    tracing::warn!(%destination, alarm = %owed.alarm, error = %failure, pause_s = pause.as_secs(),
                        "an alarm's action failed and will be tried again");
                    return Ok(());
                }
                Err(failure) => {
                    cloudwatch.counters.actions.with_label_values(&["given_up"]).inc();
                    tracing::warn!(%destination, alarm = %owed.alarm, error = %failure, "an alarm's action is given up");
                    Some(failure.to_string())
                }
            };
            cloudwatch.catalog.write(move |tx| alarm::settle(tx, &row, &owed, now, error.as_deref())).await?;
        }
        Ok(())
    }

    async fn send(&self, owed: &Owed) -> Result<(), SinkFailure> {
        let switchboard = &self.cloudwatch.switchboard;
        let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{}", owed.region, owed.account, owed.alarm);
        let Some(action) = &owed.action else {
            let Ok(buses) = switchboard.buses() else { return Ok(()) };
            let event = BusEvent {
                id: owed.id.clone(),
                source: "aws.cloudwatch".to_owned(),
                detail_type: "CloudWatch Alarm State Change".to_owned(),
                account: owed.account.clone(),
                region: owed.region.clone(),
                time: owed.since,
                resources: vec![arn],
                detail: owed.body.clone(),
            };
            return buses.put(vec![event]).await;
        };
        if is_function(action) {
            let sender = as_service(FUNCTION_PRINCIPAL, &arn, &owed.account);
            return switchboard.functions()?.invoke(&sender, action, Bytes::from(owed.body.clone())).await;
        }
        let source = Source { service: SERVICE_PRINCIPAL.to_owned(), arn, account: owed.account.clone() };
        let message = TopicMessage { subject: Some(owed.subject.clone()), body: owed.body.clone() };
        switchboard.topics()?.publish(&source, action, message).await
    }
}
