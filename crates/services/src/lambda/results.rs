//! Outcomes of asynchronous invocations: kept for the destination before the event is deleted, and sent from there.
//!
//! Each destination has a queue of its own, so that a sick one delays itself alone. Outcomes are sent by the function's
//! execution role, as AWS sends them, and sealed until then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::queues::{NewMessage, QueueKey, Received};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Lambda;
use super::configuration::{is_queue, is_topic};
use super::error::{Failure, of_engine};
use super::name::Named;
use super::queue::QueuedEvent;
use super::runner::execution_role;
use super::state::Config;
use crate::sinks::{
    Attribute, AttributeValue, BusEvent, NewObject, QueueMessage, Sender, SentTo, SinkFailure, TopicMessage,
};

/// How the engine's keys of these queues begin.
pub(super) const RESULTS_PREFIX: &str = "lambda.result:";
/// What outcomes are sealed for.
const CONTEXT: &str = "lambda.result";
/// For how long an outcome that is being sent is hidden.
const VISIBILITY: Duration = Duration::from_secs(30);
/// The first pause after an attempt that failed, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long an outcome is tried to be sent.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The largest message of an outcome, in bytes; of a larger one the payloads are left out.
const SIZE_BYTES_MAX: usize = 1_000_000;

/// How an event ended.
pub(super) struct Outcome {
    pub(super) event: QueuedEvent,
    /// `Success`, `RetriesExhausted`, `EventAgeExceeded`.
    pub(super) condition: &'static str,
    pub(super) attempts: u32,
    /// What the function answered, and whether that is an error.
    pub(super) response: Option<(Value, bool)>,
    pub(super) version: String,
}

/// An outcome that is owed to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owed {
    request_id: String,
    destination: String,
    function_arn: String,
    role: String,
    /// The message.
    body: String,
    /// Whether the destination is one of dead letters, with what they tell of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_letter: Option<DeadLetter>,
    is_success: bool,
    since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DeadLetter {
    code: String,
    message: String,
}

impl Outcome {
    /// The record, as AWS writes it.
    fn record(&self, now: Timestamp) -> Value {
        let qualified = match Named::of_arn(&self.event.invoked_arn) {
            Some(named) if named.qualifier.is_none() => named.function.at("$LATEST"),
            _ => self.event.invoked_arn.clone(),
        };
        let mut record = json!({
            "version": "1.0",
            "timestamp": now.iso_millis(),
            "requestContext": {
                "requestId": self.event.request_id,
                "functionArn": qualified,
                "condition": self.condition,
                "approximateInvokeCount": self.attempts,
            },
            "requestPayload": serde_json::from_str::<Value>(&self.event.payload).unwrap_or_default(),
        });
        if let Some((payload, is_error)) = &self.response {
            record["responseContext"] = json!({"statusCode": 200, "executedVersion": self.version});
            if *is_error {
                record["responseContext"]["functionError"] = "Unhandled".into();
            }
            record["responsePayload"] = payload.clone();
        }
        record
    }

    fn dead_letter(&self) -> DeadLetter {
        let message = self.response.as_ref().and_then(|(payload, _)| payload["errorMessage"].as_str());
        DeadLetter { code: "200".to_owned(), message: message.unwrap_or(self.condition).to_owned() }
    }
}

impl Lambda {
    /// Keeps an outcome for its destination and for the dead letters, where there are such: durable on return.
    pub(super) async fn keep_results(
        &self,
        config: Option<&Config>,
        named: &Named,
        destination: Option<&str>,
        dead_letters: Option<&str>,
        outcome: &Outcome,
    ) -> Result<(), Failure> {
        let Some(config) = config else { return Ok(()) };
        let now = self.clock.now();
        let owed = |arn: &str, body: String, dead_letter: Option<DeadLetter>| Owed {
            request_id: outcome.event.request_id.clone(),
            destination: arn.to_owned(),
            function_arn: named.function.arn(),
            role: config.role.clone(),
            body,
            dead_letter,
            is_success: outcome.condition == "Success",
            since: now,
        };
        let mut all = Vec::new();
        if let Some(arn) = destination {
            let mut record = outcome.record(now);
            if record.to_string().len() > SIZE_BYTES_MAX {
                record["requestPayload"] = Value::Null;
                record["responsePayload"] = Value::Null;
            }
            all.push(owed(arn, record.to_string(), None));
        }
        if let Some(arn) = dead_letters {
            all.push(owed(arn, outcome.event.payload.clone(), Some(outcome.dead_letter())));
        }
        let mut messages = Vec::with_capacity(all.len());
        for owed in all {
            let queue = QueueKey(format!("{RESULTS_PREFIX}{}", owed.destination));
            self.engine.create(&queue).await.map_err(of_engine)?;
            let text = serde_json::to_vec(&owed).map_err(AwsError::internal)?;
            messages.push(NewMessage {
                queue,
                id: owed.request_id.clone(),
                payload: Bytes::from(self.sealer.seal(CONTEXT, &text)),
                group: None,
                // Where the event was executed again because the server ended, there may be two outcomes, which differ.
                deduplication: None,
                sent_at: now,
                visible_at: now,
            });
        }
        if !messages.is_empty() {
            self.engine.send(messages).await.map_err(of_engine)?;
            self.wake();
        }
        Ok(())
    }

    /// Begins to send what a destination is owed, one at a time. Says whether it is being sent to already.
    pub(super) async fn begin_results(
        self: &Arc<Self>,
        queue: &QueueKey,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let counts = self.engine.counts(queue, now).map_err(|error| AwsError::from(of_engine(error)))?;
        if counts.in_flight > 0 {
            // What is hidden after a failure counts too: the destination rests.
            return Ok(false);
        }
        let Some(message) = self.receive(queue, now, VISIBILITY).await? else { return Ok(false) };
        let (lambda, queue) = (Arc::clone(self), queue.clone());
        self.spawn(async move {
            if let Err(failure) = lambda.pay_all(&queue, message).await {
                tracing::error!(
                    error = &AwsError::from(failure) as &dyn std::error::Error,
                    queue = %queue,
                    "an outcome is not settled and is sent again"
                );
            }
            lambda.wake();
        });
        Ok(false)
    }

    /// Sends outcomes for as long as the destination takes them.
    async fn pay_all(&self, queue: &QueueKey, first: Received) -> Result<(), Failure> {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            if !self.pay(queue, &message).await? {
                return Ok(());
            }
            next = self.receive(queue, self.clock.now(), VISIBILITY).await?;
        }
        Ok(())
    }

    /// Sends one outcome. Says whether it is settled.
    async fn pay(&self, queue: &QueueKey, message: &Received) -> Result<bool, Failure> {
        let text = self.sealer.open(CONTEXT, &message.payload)?;
        let owed: Owed = serde_json::from_slice(&text).map_err(AwsError::internal)?;
        match self.send_result(&owed, &message.id).await {
            Ok(()) => self.metrics.results_sent.inc(),
            Err(failure) => {
                let is_late = self.clock.now().since(owed.since) > AGE_MAX;
                tracing::warn!(
                    destination = %owed.destination,
                    function = %owed.function_arn,
                    error = &failure as &dyn std::error::Error,
                    "an outcome was not taken"
                );
                if failure.is_transient && !is_late {
                    self.metrics.results_failed.inc();
                    let pause =
                        PAUSE_MIN.saturating_mul(1 << message.receipt.receives.min(16)).min(PAUSE_MAX);
                    self.hide(queue, message, pause).await?;
                    return Ok(false);
                }
                self.metrics.results_dropped.inc();
            }
        }
        self.delete(queue, message).await?;
        Ok(true)
    }

    async fn send_result(&self, owed: &Owed, id: &str) -> Result<(), SinkFailure> {
        let named = Named::of_arn(&owed.function_arn).ok_or_else(|| unknown(&owed.function_arn))?;
        let (account, region) = (&named.function.account, &named.function.region);
        let role = execution_role(&owed.role, &owed.function_arn, account, region);
        let sender = Sender::Role(Arc::new(self.switchboard.roles()?.assume(&role).await?));
        let arn = owed.destination.as_str();
        let kind = if owed.is_success { "Success" } else { "Failure" };
        if is_queue(arn) {
            let attributes = owed.dead_letter.as_ref().map(|letter| told_of(letter, id)).unwrap_or_default();
            let message = QueueMessage { body: owed.body.clone(), attributes, ..QueueMessage::default() };
            self.switchboard.queues()?.send_by(&sender, arn, message).await
        } else if is_topic(arn) {
            let message = TopicMessage { subject: None, body: owed.body.clone() };
            self.switchboard.topics()?.publish_by(&sender, arn, message).await
        } else if arn.starts_with("arn:aws:lambda:") {
            self.switchboard.functions()?.invoke(&sender, arn, Bytes::from(owed.body.clone())).await
        } else if let Some(bucket) = arn.strip_prefix("arn:aws:s3:::") {
            let object = result_object(bucket, &named, owed, id);
            self.switchboard.objects()?.put(&sender, object).await
        } else if arn == own_bus(account, region) {
            let bus = SentTo { action: "events:PutEvents", arn, owner: account, region, policy: None };
            sender.check(&bus, self.clock.now(), &[])?;
            let event = BusEvent {
                id: id.to_owned(),
                source: "lambda".to_owned(),
                detail_type: format!("Lambda Function Invocation Result - {kind}"),
                account: account.clone(),
                region: region.clone(),
                time: owed.since,
                resources: vec![arn.to_owned(), named.function.at("$LATEST")],
                detail: owed.body.clone(),
            };
            self.switchboard.buses()?.put(vec![event]).await
        } else {
            Err(unknown(arn))
        }
    }
}

/// The only bus that a function's results are put on: the default one beside the function.
pub(super) fn own_bus(account: &AccountId, region: &Region) -> String {
    format!("arn:aws:events:{region}:{account}:event-bus/default")
}

fn unknown(arn: &str) -> SinkFailure {
    SinkFailure {
        is_transient: false,
        code: "InvalidParameterValueException".to_owned(),
        message: format!("{arn} is no destination"),
    }
}

/// The attributes of a dead letter.
fn told_of(letter: &DeadLetter, request_id: &str) -> Vec<Attribute> {
    let attribute = |name: &str, data_type: &str, value: &str| Attribute {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        value: AttributeValue::Text(value.to_owned()),
    };
    vec![
        attribute("RequestID", "String", request_id),
        attribute("ErrorCode", "Number", &letter.code),
        attribute("ErrorMessage", "String", &letter.message),
    ]
}

/// `aws/lambda/async/FUNCTION/2026/11/21/2026-11-21T10.00.00-ID`, as the developer guide says.
fn result_object(bucket: &str, named: &Named, owed: &Owed, id: &str) -> NewObject {
    let (day, time) = (owed.since.day_path(), owed.since.iso().replace(':', ".").replace('Z', ""));
    NewObject {
        bucket: bucket.to_owned(),
        key: format!("aws/lambda/async/{}/{day}/{time}-{id}", named.function.name),
        body: Bytes::from(owed.body.clone()),
        content_type: Some("application/json".to_owned()),
        ..NewObject::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn outcomes_are_written_and_read_as_in_their_first_version() {
        check::<Owed>(
            r#"{"request_id":"i","destination":"arn:aws:sqs:eu-west-1:111122223333:q","function_arn":"arn:aws:lambda:eu-west-1:111122223333:function:f","role":"arn:aws:iam::111122223333:role/r","body":"{}","dead_letter":{"code":"200","message":"m"},"is_success":false,"since":1795281866042}"#,
        );
    }

    #[test]
    fn a_record_is_what_aws_sends() {
        let event = QueuedEvent {
            request_id: "e4b46cbf-b738-xmpl-8880-a18cdf61200e".into(),
            invoked_arn: "arn:aws:lambda:us-east-2:123456789012:function:my-function".into(),
            payload: r#"{"ORDER_IDS":["9e07af03"]}"#.into(),
            invoked_at: Timestamp::from_seconds(1_573_689_176),
            trace: None,
            client_context: None,
        };
        let outcome = Outcome {
            event,
            condition: "RetriesExhausted",
            attempts: 3,
            response: Some((json!({"errorMessage": "Process exited before completing request"}), true)),
            version: "$LATEST".into(),
        };
        insta::assert_snapshot!(outcome.record(Timestamp::from_millis(1_573_759_988_000)), @r#"{"version":"1.0","timestamp":"2019-11-14T19:33:08.000Z","requestContext":{"requestId":"e4b46cbf-b738-xmpl-8880-a18cdf61200e","functionArn":"arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST","condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":{"ORDER_IDS":["9e07af03"]},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"Process exited before completing request"}}"#);
    }
}
