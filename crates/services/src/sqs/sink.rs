//! SQS as SNS, S3 and others reach it: messages in the name of a service, under the queue's policy, recorded nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_store::queues::{NewMessage, QueueError};
use cairn_wire::AwsError;

use super::error::{Failure, no_queue, of_engine};
use super::name::QueueName;
use super::send::{Origin, check_for_service};
use super::state::Queue;
use super::{Sqs, asker};
use crate::Caller;
use crate::kms::Asker;
use crate::sinks::{QueueMessage, QueueSink, Sender, SentTo, SinkFailure, Source, is_allowed};

#[async_trait]
impl QueueSink for Sqs {
    async fn check(&self, source: &Source, queue_arn: &str) -> Result<(), SinkFailure> {
        self.open_to(source, queue_arn).map(drop).map_err(|failure| told(failure.into()))
    }

    async fn send(&self, messages: Vec<(Source, String, QueueMessage)>) -> Vec<Result<(), SinkFailure>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut sendable = Vec::new();
        for (at, (source, queue_arn, message)) in messages.iter().enumerate() {
            match self.message_of(source, queue_arn, message).await {
                Ok(message) => {
                    sendable.push((at, message));
                    outcomes.push(Ok(()));
                }
                Err(failure) => outcomes.push(Err(told(failure.into()))),
            }
        }
        for (at, outcome) in self.send_all(sendable).await {
            outcomes[at] = outcome;
        }
        for failure in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            self.metrics.refused.with_label_values(&[failure.code.as_str()]).inc();
        }
        outcomes
    }

    async fn send_by(
        &self,
        sender: &Sender,
        queue_arn: &str,
        message: QueueMessage,
    ) -> Result<(), SinkFailure> {
        let outcome = match self.message_by(sender, queue_arn, &message).await {
            Ok(message) => {
                self.send_all(vec![(0, message)]).await.pop().map_or(Ok(()), |(_, outcome)| outcome)
            }
            Err(failure) => Err(told(failure.into())),
        };
        if let Err(failure) = &outcome {
            self.metrics.refused.with_label_values(&[failure.code.as_str()]).inc();
        }
        outcome
    }

    async fn is_fifo(&self, queue_arn: &str) -> Option<bool> {
        let queue = self.find(&QueueName::of_arn(queue_arn)?)?;
        Some(queue.settings.fifo.is_some())
    }
}

impl Sqs {
    /// The queue, where its policy lets `source` send to it.
    fn open_to(&self, source: &Source, queue_arn: &str) -> Result<Arc<Queue>, Failure> {
        let queue = QueueName::of_arn(queue_arn).and_then(|name| self.find(&name)).ok_or_else(no_queue)?;
        if is_allowed(source, &sent_to(queue_arn, &queue), self.clock.now()) {
            return Ok(queue);
        }
        let message = format!(
            "User: {} is not authorized to perform: sqs:sendmessage on resource: {queue_arn} because no resource-based \
             policy allows the sqs:sendmessage action",
            source.service
        );
        Err(AwsError::with_status(403, "AccessDeniedException", message).into())
    }

    async fn message_of(
        &self,
        source: &Source,
        queue_arn: &str,
        message: &QueueMessage,
    ) -> Result<NewMessage, Failure> {
        let queue = self.open_to(source, queue_arn)?;
        let checked = check_for_service(&queue, message)?;
        let sealing = self.cipher.sealing_key(&queue, &self.asker_for(source, &queue)).await?;
        let origin = Origin { sender: &source.service, trace: None };
        self.sealed(&queue, &sealing, &checked, &origin, self.clock.now())
    }

    /// The message of a service or of a role that it assumed.
    async fn message_by(
        &self,
        sender: &Sender,
        queue_arn: &str,
        message: &QueueMessage,
    ) -> Result<NewMessage, Failure> {
        let role = match sender {
            Sender::Service(source) => return self.message_of(source, queue_arn, message).await,
            Sender::Role(role) => role,
        };
        let queue = QueueName::of_arn(queue_arn).and_then(|name| self.find(&name)).ok_or_else(no_queue)?;
        sender.check(&sent_to(queue_arn, &queue), self.clock.now(), &[])?;
        let checked = check_for_service(&queue, message)?;
        let sealing = self.cipher.sealing_key(&queue, &asker(role, &queue)).await?;
        let sender = role.principal.principal_id().unwrap_or_default();
        let origin = Origin { sender: &sender, trace: None };
        self.sealed(&queue, &sealing, &checked, &origin, self.clock.now())
    }

    /// Sends to all queues in one append. Where a queue is gone meanwhile, each message goes alone.
    async fn send_all(&self, messages: Vec<(usize, NewMessage)>) -> Vec<(usize, Result<(), SinkFailure>)> {
        let (places, messages): (Vec<usize>, Vec<NewMessage>) = messages.into_iter().unzip();
        if messages.is_empty() {
            return Vec::new();
        }
        let told_engine = |error| Err(told(of_engine(error).into()));
        match self.engine.send(messages.clone()).await {
            Ok(sent) => {
                self.metrics.sent.inc_by(sent.len() as u64);
                places.into_iter().map(|at| (at, Ok(()))).collect()
            }
            Err(QueueError::Missing(_)) => {
                let mut outcomes = Vec::with_capacity(places.len());
                for (at, message) in places.into_iter().zip(messages) {
                    let outcome = self.engine.send(vec![message]).await;
                    self.metrics.sent.inc_by(u64::from(outcome.is_ok()));
                    outcomes.push((at, outcome.map(drop).or_else(told_engine)));
                }
                outcomes
            }
            Err(error) => {
                let outcome: Result<(), SinkFailure> = told_engine(error);
                places.into_iter().map(|at| (at, outcome.clone())).collect()
            }
        }
    }

    /// In whose name KMS is asked for a service.
    fn asker_for(&self, source: &Source, queue: &Queue) -> Asker {
        let place = (queue.name.account.clone(), queue.name.region.clone());
        let caller = Caller::of_service(&source.service, place, self.clock.now(), self.entropy.event_id());
        Asker::for_source("sqs", caller, source)
    }
}

/// The queue as its policy sees a message.
fn sent_to<'a>(queue_arn: &'a str, queue: &'a Queue) -> SentTo<'a> {
    SentTo {
        action: "sqs:SendMessage",
        arn: queue_arn,
        owner: &queue.name.account,
        region: &queue.name.region,
        policy: queue.settings.policy.as_deref(),
    }
}

/// A failure with the code that it had in the older protocol, which services log.
fn told(error: AwsError) -> SinkFailure {
    let failure = SinkFailure::from(error);
    let code = match failure.code.as_str() {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
        "AccessDeniedException" => "AccessDenied".to_owned(),
        "InvalidParameterValueException" => "InvalidParameterValue".to_owned(),
        "MissingRequiredParameterException" => "MissingParameter".to_owned(),
        _ => failure.code,
    };
    SinkFailure { code, ..failure }
}
