//! One delivery: attempted, and then struck out, put off, or laid among the dead letters.

use std::time::Duration;

use cairn_core::Timestamp;

use super::super::owed;
use super::super::state::{NotificationKind, Protocol};
use super::metrics::Outcome;
use super::render::{email, function_event, posting, queue_message};
use super::schedule::Schedule;
use super::transport::NotDelivered;
use super::{Due, Inner, Place};
use crate::sinks::{Sender, SinkFailure, Source};

/// In whose name queues are sent to.
const SERVICE: &str = "sns.amazonaws.com";
/// For how long an HTTP endpoint is tried at most: AWS's limit of a policy's retries altogether.
const ENDPOINT_TIME_MAX: Duration = Duration::from_secs(3600);
/// When a dead letter that its queue did not take is tried again.
const DEAD_LETTER_DELAY: Duration = Duration::from_secs(20);

impl Inner {
    /// Attempts a delivery, and writes down what came of it.
    pub(super) async fn deliver(&self, due: Due, mut place: Place) {
        let protocol = due.owed.protocol;
        if is_moot(&due) {
            place.is_well = true;
            return self.strike_out(&due).await;
        }
        let failure = match self.attempt(&due).await {
            Ok(()) => {
                self.metrics.attempted(protocol, Outcome::Delivered);
                place.is_well = true;
                return self.strike_out(&due).await;
            }
            Err(failure) => failure,
        };
        // Who refuses at once takes no place from others.
        place.is_well = failure.is_permanent;
        let delay = if failure.is_permanent {
            self.metrics.attempted(protocol, Outcome::Refused);
            None
        } else {
            self.metrics.attempted(protocol, Outcome::Failed);
            schedule(&due).delay_after(due.owed.attempts + 1)
        };
        match delay {
            Some(delay) => self.put_off(&due, delay, &failure).await,
            None => self.give_up(&due, &failure).await,
        }
    }

    async fn attempt(&self, due: &Due) -> Result<(), NotDelivered> {
        let notification = due.notification.as_ref().map_err(|problem| failed("Unreadable", problem))?;
        let (owed, links) = (&due.owed, &self.parts.links);
        let is_raw = due.subscription.as_ref().is_some_and(|subscription| subscription.raw);
        match owed.protocol {
            Protocol::Sqs => {
                let message = queue_message(notification, &owed.subscription, is_raw, &owed.endpoint, links);
                Ok(self.put_into_queue(due, owed.endpoint.clone(), message).await?)
            }
            Protocol::Lambda => {
                let event = function_event(notification, &owed.subscription, links);
                let sender = Sender::Service(source(due));
                let functions = self.parts.switchboard.functions()?;
                Ok(functions.invoke(&sender, &owed.endpoint, event.into()).await?)
            }
            Protocol::Http | Protocol::Https => {
                if self.is_too_late(due) {
                    let reason = "the endpoint has not taken it for as long as it may be tried";
                    return Err(NotDelivered { is_permanent: true, ..failed("Expired", reason) });
                }
                let notification = self.signed(due, notification).await?;
                let content_type = &due.policy.content_type;
                let posting =
                    posting(&notification, &owed.subscription, &owed.endpoint, is_raw, content_type, links);
                judged(self.parts.post.post(&posting).await?)
            }
            Protocol::Email | Protocol::EmailJson => {
                let Some(mail) = &self.parts.mail else {
                    return Err(failed("NoRelay", "no relay for e-mail is configured"));
                };
                let Some(subscription) = &due.subscription else { return Ok(()) };
                let notification = self.signed(due, notification).await?;
                mail.send(&email(&notification, subscription, due.topic.as_ref(), links)).await
            }
        }
    }

    /// A message with its signature. A confirmation's covers a link, and is made when it is sent: the server's address may
    /// be another then.
    async fn signed(
        &self,
        due: &Due,
        notification: &super::Notification,
    ) -> Result<super::Notification, NotDelivered> {
        let mut notification = notification.clone();
        if notification.kind == NotificationKind::Notification {
            return Ok(notification);
        }
        let version = due.topic.as_ref().map_or("1", |topic| topic.signature_version());
        let signed = self.parts.signing.sign(&notification, version, &self.parts.links).await;
        notification.signature = Some(signed.map_err(|error| failed("Signing", &error.to_string()))?);
        Ok(notification)
    }

    /// Whether an endpoint is not to be tried any longer with a message: it was for an hour, or takes nothing for one.
    fn is_too_late(&self, due: &Due) -> bool {
        let now = self.parts.clock.now();
        let since = due.owed.since.max(self.began_at);
        now.since(since) > ENDPOINT_TIME_MAX
            && (due.owed.attempts > 0 || self.places().is_sick(&due.owed.subscription))
    }

    async fn put_into_queue(
        &self,
        due: &Due,
        queue_arn: String,
        message: crate::sinks::QueueMessage,
    ) -> Result<(), SinkFailure> {
        let mut results = self.parts.queues.send(vec![(source(due), queue_arn, message)]).await;
        results.pop().unwrap_or_else(|| {
            let message = "the queues gave no answer".to_owned();
            Err(SinkFailure { is_transient: true, code: "InternalError".to_owned(), message })
        })
    }

    async fn strike_out(&self, due: &Due) {
        let (owed, now) = (due.owed.clone(), self.parts.clock.now());
        if let Err(error) = self.parts.catalog.write(move |tx| owed::settle(tx, &owed, now)).await {
            self.rest();
            tracing::error!(
                error = &error as &dyn std::error::Error,
                subscription = %due.owed.subscription,
                "a delivery could not be struck out and will be made again"
            );
        }
    }

    async fn put_off(&self, due: &Due, delay: Duration, failure: &NotDelivered) {
        tracing::debug!(
            subscription = %due.owed.subscription, message = due.owed.message_id, code = failure.code,
            reason = failure.reason, attempts = due.owed.attempts + 1, delay_s = delay.as_secs(),
            "a delivery failed and is tried again"
        );
        let due_at: Timestamp = self.parts.clock.now().plus(delay);
        let (owed, why) = (due.owed.clone(), (failure.code.clone(), failure.reason.clone()));
        let put_off =
            self.parts.catalog.write(move |tx| owed::postpone(tx, &owed, due_at, why.clone())).await;
        if let Err(error) = put_off {
            self.rest();
            tracing::error!(
                error = &error as &dyn std::error::Error,
                subscription = %due.owed.subscription,
                "a delivery could not be put off and is tried again soon"
            );
        }
    }

    /// Lays a message among the subscription's dead letters, or lets it go.
    async fn give_up(&self, due: &Due, failure: &NotDelivered) {
        let (protocol, subscription) = (due.owed.protocol, due.subscription.as_ref());
        let queue = subscription
            .filter(|_| due.owed.kind == NotificationKind::Notification)
            .and_then(|subscription| subscription.dead_letter_queue());
        let mut problem = format!("{}: {}", failure.code, failure.reason);
        if let (Some(queue), Ok(notification)) = (queue, &due.notification) {
            let is_raw = subscription.is_some_and(|subscription| subscription.raw);
            let links = &self.parts.links;
            let message = queue_message(notification, &due.owed.subscription, is_raw, &queue, links);
            match self.put_into_queue(due, queue, message).await {
                Ok(()) => {
                    self.metrics.dead_lettered(protocol);
                    return self.strike_out(due).await;
                }
                Err(failure) if failure.is_transient => {
                    return self.put_off(due, DEAD_LETTER_DELAY, &failure.into()).await;
                }
                Err(failure) => problem = format!("{problem}; of the dead-letter queue: {failure}"),
            }
        }
        self.metrics.gave_up(protocol);
        tracing::warn!(
            subscription = %due.owed.subscription, message = due.owed.message_id, problem,
            attempts = due.owed.attempts + 1, "a message could not be delivered and is given up"
        );
        self.strike_out(due).await;
    }
}

/// Whether a delivery is of no use any more: the subscription was ended, or answered the question already.
fn is_moot(due: &Due) -> bool {
    let is_confirmed = due.subscription.as_ref().map(|subscription| subscription.is_confirmed());
    match due.owed.kind {
        NotificationKind::Notification => is_confirmed != Some(true),
        NotificationKind::SubscriptionConfirmation => is_confirmed != Some(false),
        NotificationKind::UnsubscribeConfirmation => false,
    }
}

/// In whose name a delivery is made.
fn source(due: &Due) -> Source {
    let topic = &due.owed.subscription.topic;
    Source { service: SERVICE.to_owned(), arn: topic.to_string(), account: topic.account.clone() }
}

fn schedule(due: &Due) -> Schedule {
    match due.owed.protocol {
        Protocol::Sqs | Protocol::Lambda => Schedule::QUEUE,
        Protocol::Http | Protocol::Https => Schedule::of_policy(&due.policy.retry),
        Protocol::Email | Protocol::EmailJson => Schedule::EMAIL,
    }
}

/// What an endpoint's status says: of the client's faults only that of too many requests goes by itself.
fn judged(status: u16) -> Result<(), NotDelivered> {
    match status {
        200..=299 => Ok(()),
        300..=428 | 430..=499 => Err(NotDelivered {
            is_permanent: true,
            code: status.to_string(),
            reason: "the endpoint refuses the message".to_owned(),
        }),
        _ => Err(failed(&status.to_string(), "the endpoint failed")),
    }
}

fn failed(code: &str, reason: &str) -> NotDelivered {
    NotDelivered { is_permanent: false, code: code.to_owned(), reason: reason.to_owned() }
}

impl From<SinkFailure> for NotDelivered {
    fn from(failure: SinkFailure) -> Self {
        Self { is_permanent: !failure.is_transient, code: failure.code, reason: failure.message }
    }
}
