//! One attempt: what a target gets of an event, and how it gets it.

use std::borrow::Cow;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_core::input_transformer::{InputPath, RuleContext};
use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::super::event::{Arrival, Head};
use super::super::names::BusArn;
use super::super::owed::Owed;
use super::super::state::{Rule, RuleTarget};
use super::super::target_check::{Kind, compiled};
use super::super::{Events, SERVICE_PRINCIPAL, buses};
use super::Due;
use crate::sinks::{
    AsRole, LogLine, QueueMessage, Sender, SentTo, SinkFailure, Source, StreamRecord, TopicMessage,
};

/// Buses that an event may come by: a guard against circles that change it on the way.
const BUSES_MAX: usize = 5;
/// The longest partition key, in characters.
const PARTITION_KEY_CHARS_MAX: usize = 256;

/// Why a target did not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// Whether to try again is of no use.
    pub(super) is_permanent: bool,
    /// As dead-letter queues show it: `NO_PERMISSIONS`.
    pub(super) code: String,
    /// What went wrong.
    pub(super) message: String,
    /// Before that time it is not to be tried again.
    pub(super) not_before: Option<Timestamp>,
}

impl Undelivered {
    pub(super) fn timeout() -> Self {
        Self::transient("TIMEOUT", "the target takes too long")
    }

    pub(super) fn transient(code: &str, message: impl Into<String>) -> Self {
        Self { is_permanent: false, code: code.to_owned(), message: message.into(), not_before: None }
    }

    pub(super) fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self { is_permanent: true, ..Self::transient(code, message) }
    }
}

impl From<SinkFailure> for Undelivered {
    fn from(failure: SinkFailure) -> Self {
        let has = |parts: &[&str]| parts.iter().any(|part| failure.code.contains(part));
        let is_throttled = has(&["Throttl", "TooManyRequests", "LimitExceeded", "ThroughputExceeded"]);
        let code = if is_throttled {
            "THROTTLING"
        } else if failure.is_transient {
            "SERVICE_UNAVAILABLE"
        } else if has(&["AccessDenied", "NotAuthorized", "AuthorizationError", "KMS"]) {
            "NO_PERMISSIONS"
        } else if has(&["NonExistent", "NotFound", "DoesNotExist", "NoSuch"]) {
            "NO_RESOURCE"
        } else {
            "SDK_CLIENT_ERROR"
        };
        let message = format!("{}: {}", failure.code, failure.message);
        if failure.is_transient || is_throttled {
            Self::transient(code, message)
        } else {
            Self::permanent(code, message)
        }
    }
}

/// What a target gets.
fn input<'a>(rule: &Rule, target: &'a RuleTarget, owed: &'a Owed) -> Result<Cow<'a, str>, Undelivered> {
    if let Some(input) = &target.input {
        return Ok(Cow::Borrowed(input));
    }
    let unfit = |reason: &str| Undelivered::permanent("INVALID_JSON", reason);
    let event = || serde_json::from_str::<Value>(&owed.event).map_err(|_| unfit("the event is no JSON"));
    if let Some(path) = &target.input_path {
        let path = InputPath::parse(path).map_err(|_| unfit("the target's InputPath cannot be read"))?;
        // What an event has not is nothing.
        let part = path.select(&event()?).unwrap_or_else(|| json!({}));
        return Ok(Cow::Owned(part.to_string()));
    }
    if let Some(transformer) = &target.input_transformer {
        let transformer = compiled(transformer).map_err(|_| unfit("the target's template cannot be read"))?;
        let arn = rule.arn();
        let context = RuleContext { rule_arn: &arn, rule_name: &rule.name, ingestion_time: owed.ingested_at };
        let made = transformer.apply(&event()?, &context);
        return made.map(Cow::Owned).ok_or_else(|| unfit("what the target's template makes is no JSON"));
    }
    Ok(Cow::Borrowed(&owed.event))
}

/// What chooses the shard: what the target's path finds in the event, or the event's id.
fn partition_key(target: &RuleTarget, owed: &Owed) -> String {
    let path = target.kinesis_parameters.as_ref().map(|parameters| parameters.partition_key_path.as_str());
    let path = path.and_then(|path| InputPath::parse(path).ok());
    let found = path.and_then(|path| path.select(&serde_json::from_str(&owed.event).ok()?));
    match found {
        Some(Value::String(text)) if !text.is_empty() => text,
        Some(other) if !other.is_null() => other.to_string(),
        _ => Head::of(&owed.event).map_or_else(String::new, |head| head.id),
    }
}

/// A line for a log group. A transformer may make both members of it; all else is the message of the event's time.
fn log_line(input: &str, owed: &Owed) -> LogLine {
    let event_ms = Head::of(&owed.event).and_then(|head| head.at()).unwrap_or(owed.ingested_at).millis();
    let made: Option<Value> = serde_json::from_str(input).ok();
    let made = made.as_ref().and_then(Value::as_object).filter(|made| made.len() == 2);
    let parts = made.and_then(|made| Some((made.get("timestamp")?, made.get("message")?.as_str()?)));
    match parts {
        Some((timestamp, message)) => {
            let given = timestamp.as_i64().or_else(|| timestamp.as_str()?.parse().ok());
            LogLine { timestamp_ms: given.unwrap_or(event_ms), message: message.to_owned() }
        }
        None => LogLine { timestamp_ms: event_ms, message: input.to_owned() },
    }
}

impl Events {
    /// As whose doing queues and topics see what a rule sends.
    pub(super) fn source_of(rule: &Rule) -> Source {
        Source { service: SERVICE_PRINCIPAL.to_owned(), arn: rule.arn(), account: rule.bus.account.clone() }
    }

    /// By what right the rule sends: as the target's role, where it has one.
    pub(super) async fn sender_of(&self, rule: &Rule, target: &RuleTarget) -> Result<Sender, Undelivered> {
        let source = Self::source_of(rule);
        let Some(role_arn) = target.role_arn.clone() else { return Ok(Sender::Service(source)) };
        let region = rule.bus.region.clone();
        let role = AsRole { role_arn, session_name: self.entropy.event_id().to_string(), source, region };
        Ok(Sender::Role(self.switchboard.roles()?.assume(&role).await?.into()))
    }

    /// Sends an event to a target once.
    pub(super) async fn attempt(&self, due: &Due, owed: &Owed) -> Result<(), Undelivered> {
        let Due { rule, target, kind, .. } = due;
        let input = input(rule, target, owed)?;
        let arn = target.arn.as_str();
        match kind {
            Kind::Queue => self.to_queue(rule, target, &input, owed).await,
            Kind::Topic => {
                let message = TopicMessage { subject: None, body: input.into_owned() };
                Ok(self.switchboard.topics()?.publish(&Self::source_of(rule), arn, message).await?)
            }
            Kind::Function => {
                let sender = self.sender_of(rule, target).await?;
                let payload = Bytes::copy_from_slice(input.as_bytes());
                Ok(self.switchboard.functions()?.invoke(&sender, arn, payload).await?)
            }
            Kind::LogGroup => {
                let sender = self.sender_of(rule, target).await?;
                let lines = vec![log_line(&input, owed)];
                Ok(self.switchboard.logs()?.put(&sender, arn, &rule.name, lines).await?)
            }
            Kind::Stream => self.to_stream(rule, target, &input, owed).await,
            Kind::Firehose => {
                let sender = self.sender_of(rule, target).await?;
                let record = Bytes::copy_from_slice(input.as_bytes());
                Ok(self.switchboard.firehoses()?.put(&sender, arn, vec![record]).await?)
            }
            Kind::Bus => self.to_bus(rule, target, owed).await,
            Kind::ApiDestination => self.to_api_destination(rule, target, &input).await,
        }
    }

    async fn to_queue(
        &self,
        rule: &Rule,
        target: &RuleTarget,
        input: &str,
        owed: &Owed,
    ) -> Result<(), Undelivered> {
        let group = target.sqs_parameters.as_ref().and_then(|parameters| parameters.message_group_id.clone());
        let message = QueueMessage {
            body: input.to_owned(),
            // One event sent twice is one message of a queue that keeps order.
            deduplication: group.as_ref().and_then(|_| Head::of(&owed.event)).map(|head| head.id),
            group,
            trace_header: owed.trace_header.clone(),
            ..QueueMessage::default()
        };
        let sent = vec![(Self::source_of(rule), target.arn.clone(), message)];
        let outcomes = self.switchboard.queues()?.send(sent).await;
        outcomes.into_iter().collect::<Result<(), SinkFailure>>().map_err(Undelivered::from)
    }

    async fn to_stream(
        &self,
        rule: &Rule,
        target: &RuleTarget,
        input: &str,
        owed: &Owed,
    ) -> Result<(), Undelivered> {
        let sender = self.sender_of(rule, target).await?;
        let partition_key = partition_key(target, owed).chars().take(PARTITION_KEY_CHARS_MAX).collect();
        let record = StreamRecord { partition_key, data: Bytes::copy_from_slice(input.as_bytes()) };
        Ok(self.switchboard.streams()?.put(&sender, &target.arn, vec![record]).await?)
    }

    /// Puts the event on another bus, as it is.
    async fn to_bus(&self, rule: &Rule, target: &RuleTarget, owed: &Owed) -> Result<(), Undelivered> {
        let no_bus = || Undelivered::permanent("NO_RESOURCE", "the event bus does not exist");
        let bus: BusArn = target.arn.parse().map_err(|_| no_bus())?;
        if owed.via.contains(&bus) || owed.via.len() >= BUSES_MAX {
            return Err(Undelivered::permanent("INVALID_PARAMETER", "the event was on the bus before"));
        }
        let own = bus.clone();
        let found = self.catalog.read(move |tx| buses::find(tx, &own)).await;
        let found = found.map_err(|error| Undelivered::from(SinkFailure::from(AwsError::internal(error))))?;
        let found = found.ok_or_else(no_bus)?;
        let to = SentTo {
            action: "events:PutEvents",
            arn: &target.arn,
            owner: &bus.account,
            region: &bus.region,
            policy: found.policy.as_deref(),
        };
        let sender = self.sender_of(rule, target).await?;
        sender
            .check(&to, self.clock.now(), &[])
            .map_err(|error| Undelivered::from(SinkFailure::from(error)))?;
        let id = Head::of(&owed.event).map_or_else(|| self.new_id(), |head| head.id);
        let arrival = Arrival {
            via: owed.via.clone(),
            deduplication: Some(id.clone()),
            trace_header: owed.trace_header.clone(),
            ..Arrival::new(bus, id, owed.event.to_string())
        };
        let taken = Box::pin(self.accept(vec![arrival])).await;
        taken.map_err(|failure| Undelivered::from(SinkFailure::from(AwsError::from(failure))))
    }
}
