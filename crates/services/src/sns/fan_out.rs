//! One message to many subscribers: who wants it, in which form, and what remains owed.
//!
//! On the road: after a publish was checked. Queues are sent to at once; what they did not take for now, and what goes to
//! HTTP endpoints and mailboxes, is owed, in one transaction, before the reply. A crash in between leaves a publish that
//! was not acknowledged: its publisher tries it again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::delivery::render::queue_message;
use super::error::Failure;
use super::publish::Outgoing;
use super::state::{Notification, NotificationKind, Owed, Protocol};
use super::views::{Subscriber, TopicView};
use super::{SERVICE_PRINCIPAL, Sns, message_attributes, owed};
use crate::sinks::{QueueMessage, SinkFailure, Source};
use cairn_core::Timestamp;

/// Bytes that are handed to the queues at a time.
const SEND_SIZE_BYTES: usize = 8 * 1024 * 1024;
/// How long a queue that failed is left alone at first.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What is owed of one message to the subscribers of one protocol.
pub(super) type Debt = (Notification, Vec<Owed>);

/// A message for one queue.
struct QueueDelivery<'a> {
    notification: Notification,
    subscriber: &'a Subscriber,
    message: QueueMessage,
}

impl Sns {
    /// Sends a batch to everybody who wants it, and owes the rest.
    pub(super) async fn fan_out(&self, view: &TopicView, batch: &[Outgoing]) -> Result<(), Failure> {
        let debts = self.deliver(view, batch, |_, _| false).await?;
        if debts.is_empty() {
            return Ok(());
        }
        let sealer = self.sealer.clone();
        self.catalog
            .write(move |tx| {
                for (notification, creditors) in &debts {
                    owed::owe(tx, &sealer, notification, creditors.clone())?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        (self.woken)();
        Ok(())
    }

    /// Sends a batch to the queues that want it, but those that `waits` says have to wait; returns what is owed.
    pub(super) async fn deliver(
        &self,
        view: &TopicView,
        batch: &[Outgoing],
        waits: impl Fn(&Subscriber, &Outgoing) -> bool,
    ) -> Result<Vec<Debt>, Failure> {
        let now = self.clock.now();
        let mut debts: Vec<Debt> = Vec::new();
        let mut queued = Vec::new();
        for outgoing in batch {
            let wanted = wanted_by(view, outgoing);
            let filtered = view.subscribers.len() - wanted.len();
            self.metrics.filtered.inc_by(filtered as u64);
            let mut forms = self.forms(view, outgoing, &wanted, now).await?;
            for subscriber in wanted {
                let subscription = &subscriber.subscription;
                let Some((notification, creditors)) = forms.get_mut(&subscription.protocol) else { continue };
                if subscription.protocol == Protocol::Sqs && !waits(subscriber, outgoing) {
                    let message = queue_message(
                        notification,
                        &subscription.arn,
                        subscription.raw,
                        &subscription.endpoint,
                        &self.links,
                    );
                    queued.push(QueueDelivery { notification: notification.clone(), subscriber, message });
                } else {
                    creditors.push(Owed::new(subscription, notification, now));
                }
            }
            debts.extend(forms.into_values().filter(|(_, creditors)| !creditors.is_empty()));
        }
        self.send_to_queues(view, queued, &mut debts, now).await;
        for (notification, creditors) in &debts {
            let protocol = creditors.first().map_or(Protocol::Sqs, |owed| owed.protocol);
            self.metrics.count(protocol, "owed", creditors.len());
            tracing::debug!(message_id = notification.message_id, creditors = creditors.len(), "owed");
        }
        Ok(debts)
    }

    /// The message in the form of each protocol that somebody wants it by, signed where somebody gets it enveloped.
    async fn forms(
        &self,
        view: &TopicView,
        outgoing: &Outgoing,
        wanted: &[&Subscriber],
        now: Timestamp,
    ) -> Result<BTreeMap<Protocol, Debt>, Failure> {
        let mut forms: BTreeMap<Protocol, Debt> = BTreeMap::new();
        let mut enveloped: Vec<Protocol> = Vec::new();
        for Subscriber { subscription, .. } in wanted {
            let protocol = subscription.protocol;
            forms
                .entry(protocol)
                .or_insert_with(|| (notification(view, outgoing, protocol, now), Vec::new()));
            if !subscription.raw && !enveloped.contains(&protocol) {
                enveloped.push(protocol);
            }
        }
        if view.topic.arn.is_fifo() {
            return Ok(forms);
        }
        // Most messages say the same in every protocol: they are signed once.
        let mut signed: Vec<(String, super::state::Signature)> = Vec::new();
        for protocol in enveloped {
            let Some((notification, _)) = forms.get_mut(&protocol) else { continue };
            let known = signed.iter().find(|(text, _)| *text == notification.message);
            if let Some((_, signature)) = known {
                notification.signature = Some(signature.clone());
                continue;
            }
            self.vouch_for(notification, &view.topic).await?;
            signed.extend(notification.signature.clone().map(|made| (notification.message.clone(), made)));
        }
        Ok(forms)
    }

    async fn send_to_queues(
        &self,
        view: &TopicView,
        queued: Vec<QueueDelivery<'_>>,
        debts: &mut Vec<Debt>,
        now: Timestamp,
    ) {
        let source = Source {
            service: SERVICE_PRINCIPAL.to_owned(),
            arn: view.topic.arn.to_string(),
            account: view.topic.arn.account.clone(),
        };
        let mut rest = queued.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut parts, mut messages, mut size_bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(delivery) = rest.next_if(|_| size_bytes < SEND_SIZE_BYTES) {
                size_bytes += delivery.message.body.len();
                let queue = delivery.subscriber.subscription.endpoint.clone();
                messages.push((source.clone(), queue, delivery.message));
                parts.push((delivery.notification, delivery.subscriber));
            }
            let results = self.queues.send(messages).await;
            for ((notification, subscriber), result) in parts.into_iter().zip(results) {
                match result {
                    Ok(()) => self.metrics.count(Protocol::Sqs, "sent", 1),
                    Err(failure) => self.not_taken(notification, subscriber, &failure, debts, now),
                }
            }
        }
    }

    /// What becomes of a message that a queue did not take: it is tried again, or goes to the dead letters, or is lost.
    fn not_taken(
        &self,
        notification: Notification,
        subscriber: &Subscriber,
        failure: &SinkFailure,
        debts: &mut Vec<Debt>,
        now: Timestamp,
    ) {
        let subscription = &subscriber.subscription;
        let arn = subscription.arn.to_string();
        if !failure.is_transient && subscription.dead_letter_queue().is_none() {
            self.metrics.count(Protocol::Sqs, "refused", 1);
            tracing::warn!(
                subscription = arn,
                queue = subscription.endpoint,
                code = failure.code,
                "a queue refuses a topic's message, and there is no queue for dead letters"
            );
            return;
        }
        tracing::info!(subscription = arn, code = failure.code, "a queue did not take a topic's message");
        let mut creditor = Owed::new(subscription, &notification, now);
        creditor.last_failure = Some((failure.code.clone(), failure.message.clone()));
        if failure.is_transient {
            creditor.due_at = now.plus(RETRY_DELAY);
        }
        let same = debts.iter_mut().find(|(known, creditors)| {
            known.message_id == notification.message_id
                && creditors.first().is_some_and(|owed| owed.protocol == Protocol::Sqs)
        });
        match same {
            Some((_, creditors)) => creditors.push(creditor),
            None => debts.push((notification, vec![creditor])),
        }
    }
}

/// Those whose filter policies the message matches.
fn wanted_by<'a>(view: &'a TopicView, outgoing: &Outgoing) -> Vec<&'a Subscriber> {
    let attributes = message_attributes::as_filtered(&outgoing.attributes);
    let wants = |subscriber: &&Subscriber| {
        let body = outgoing.body.of(subscriber.subscription.protocol);
        subscriber.filter.as_ref().is_none_or(|filter| filter.matches(&attributes, body))
    };
    view.subscribers.iter().filter(wants).collect()
}

fn notification(view: &TopicView, outgoing: &Outgoing, protocol: Protocol, now: Timestamp) -> Notification {
    Notification {
        kind: NotificationKind::Notification,
        message_id: outgoing.message_id.clone(),
        topic: view.topic.arn.clone(),
        subject: outgoing.subject.clone(),
        message: outgoing.body.of(protocol).to_owned(),
        at: now,
        attributes: outgoing.attributes.clone(),
        group: outgoing.group.clone(),
        deduplication: outgoing.deduplication.clone(),
        sequence_number: outgoing.sequence_number.clone(),
        token: None,
        signature: None,
    }
}
