//! Put and get of a bucket's notification configuration, and the look at its destinations: each must be there, must let
//! S3 send, and gets the test event.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::AccountId;
use cairn_wire::{AwsError, Call, Reply};

use super::configuration::{self, Destination};
use super::event::test_message;
use super::pay::SUBJECT;
use crate::Caller;
use crate::s3::S3;
use crate::s3::error::{Failure, fail};
use crate::s3::params::Params;
use crate::s3::state::Bucket;
use crate::sinks::{QueueMessage, Sender, SinkFailure, Source, TopicMessage};

/// In whose name S3 sends.
const PRINCIPAL: &str = "s3.amazonaws.com";

/// A bucket as destinations see who sends.
pub(super) fn source(bucket: &str, owner: &AccountId) -> Source {
    Source { service: PRINCIPAL.to_owned(), arn: format!("arn:aws:s3:::{bucket}"), account: owner.clone() }
}

/// The failure of a destination of a kind that the server has not.
pub(super) fn no_sink() -> SinkFailure {
    SinkFailure {
        is_transient: false,
        code: "NotFound".to_owned(),
        message: "the server has no destinations of this kind".to_owned(),
    }
}

impl S3 {
    pub(in crate::s3) async fn put_notifications(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let name = params.bucket();
        let bucket = self.bucket(name).await?;
        // As AWS's look: base64 of a UUID.
        let new_id = || STANDARD.encode(self.entropy.event_id().as_str());
        let wanted = configuration::wanted(params, &bucket, new_id)?;
        if !params.flag("SkipDestinationValidation") {
            let mut destinations: Vec<&Destination> = Vec::new();
            for notification in &wanted {
                // The bus is always there, takes what is its account's, and is told of no test.
                let is_bus = matches!(notification.destination, Destination::Bus(_));
                if !is_bus && !destinations.contains(&&notification.destination) {
                    destinations.push(&notification.destination);
                }
            }
            self.check_destinations(&bucket, &destinations).await?;
            let text = test_message(name, caller.now, &caller.request_id);
            for destination in destinations {
                self.send_test(&bucket, destination, &text).await?;
            }
        }
        self.change_bucket(name, move |bucket| {
            bucket.notifications.clone_from(&wanted);
            Ok(())
        })
        .await
    }

    pub(in crate::s3) async fn read_notifications(&self, call: &Call) -> Result<Reply, Failure> {
        let bucket = self.bucket(Params(&call.params).bucket()).await?;
        Ok(Reply::of(&configuration::shown(&bucket)))
    }

    async fn check_destinations(&self, bucket: &Bucket, all: &[&Destination]) -> Result<(), Failure> {
        let mut refused = Vec::new();
        for destination in all {
            if let Err(why) = self.check_destination(bucket, destination).await? {
                refused.push((destination.arn().to_owned(), why));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(invalid_destinations(&refused)) }
    }

    /// Whether a destination is there and lets S3 send for the bucket; otherwise what the client is told of it.
    async fn check_destination(
        &self,
        bucket: &Bucket,
        destination: &Destination,
    ) -> Result<Result<(), String>, Failure> {
        let source = source(&bucket.name, &bucket.owner);
        let sinks = &self.events.sinks;
        let (kind, is_fifo, checked) = match (destination, &sinks.queues, &sinks.topics) {
            (Destination::Queue(arn), Some(queues), _) => {
                ("queue", queues.is_fifo(arn).await, queues.check(&source, arn).await)
            }
            (Destination::Topic(arn), _, Some(topics)) => {
                ("topic", topics.is_fifo(arn).await, topics.check(&source, arn).await)
            }
            (Destination::Queue(_), ..) => ("queue", None, Err(no_sink())),
            (Destination::Topic(_), ..) => ("topic", None, Err(no_sink())),
            (Destination::Function(arn), ..) => {
                ("Lambda function", None, self.check_function(source, arn).await)
            }
            (Destination::Bus(_), ..) => ("event bus", None, Ok(())),
        };
        Ok(match checked {
            Ok(()) if is_fifo == Some(true) => {
                Err(format!("The destination {kind} is a FIFO {kind}, which is not supported"))
            }
            Ok(()) => Ok(()),
            Err(failure) if failure.is_transient => return Err(unavailable(failure)),
            Err(failure) if is_missing(&failure) => Err(format!("The destination {kind} does not exist")),
            Err(_) => Err(format!(
                "Permissions on the destination {kind} do not allow S3 to publish notifications from this bucket"
            )),
        })
    }

    async fn check_function(&self, source: Source, arn: &str) -> Result<(), SinkFailure> {
        let switchboard = self.events.sinks.switchboard.as_ref().ok_or_else(no_sink)?;
        switchboard.functions()?.check(&Sender::Service(source), arn).await
    }

    async fn send_test(&self, bucket: &Bucket, destination: &Destination, text: &str) -> Result<(), Failure> {
        let source = source(&bucket.name, &bucket.owner);
        let sinks = &self.events.sinks;
        let sent = match (destination, &sinks.queues, &sinks.topics) {
            (Destination::Queue(arn), Some(queues), _) => {
                let message = QueueMessage { body: text.to_owned(), ..QueueMessage::default() };
                queues.send(vec![(source, arn.clone(), message)]).await.into_iter().collect::<Result<(), _>>()
            }
            (Destination::Topic(arn), _, Some(topics)) => {
                let message = TopicMessage { subject: Some(SUBJECT.to_owned()), body: text.to_owned() };
                topics.publish(&source, arn, message).await
            }
            // Functions are told of no test.
            (Destination::Function(_), ..) => Ok(()),
            _ => Err(no_sink()),
        };
        sent.map_err(|failure| match failure {
            failure if failure.is_transient => unavailable(failure),
            // It was there when it was looked for.
            failure => invalid_destinations(&[(destination.arn().to_owned(), failure.message)]),
        })
    }
}

fn is_missing(failure: &SinkFailure) -> bool {
    ["NonExistent", "NotFound", "DoesNotExist"].iter().any(|part| failure.code.contains(part))
}

fn unavailable(failure: SinkFailure) -> Failure {
    AwsError::internal(failure).into()
}

fn invalid_destinations(refused: &[(String, String)]) -> Failure {
    let message = "Unable to validate the following destination configurations";
    refused.iter().zip(1..).fold(fail(400, "InvalidArgument", message), |failure, ((arn, why), at)| {
        failure
            .with(format!("ArgumentName{at}"), arn.as_str())
            .with(format!("ArgumentValue{at}"), why.as_str())
    })
}
