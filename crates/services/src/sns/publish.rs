//! Publish and PublishBatch: what a call says, checked, and its reply. What becomes of it: [`fan_out`], and of FIFO
//! topics' messages before that [`fifo`].
//!
//! [`fan_out`]: super::fan_out
//! [`fifo`]: super::fifo

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arn::TopicArn;
use super::error::{Failure, fail, invalid, topic_arn, topic_not_found};
use super::state::{Protocol, Topic};
use super::views::TopicView;
use super::{Sns, message_attributes};
use crate::Caller;
use crate::sinks::Attribute;

/// Bytes of a message with its attributes, and of all messages of a batch.
const MESSAGE_SIZE_BYTES_MAX: usize = 256 * 1024;
/// Characters of a subject.
const SUBJECT_CHARS_MAX: usize = 100;
/// Messages of a batch.
const BATCH_ENTRIES_MAX: usize = 10;
/// Characters of the id of a batch's entry.
const ENTRY_ID_CHARS_MAX: usize = 80;
/// Characters of a group's id, and of a deduplication id.
const ORDER_ID_CHARS_MAX: usize = 128;

/// The members that a message is said in: of Publish, and of an entry of PublishBatch.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MessageInput {
    message: String,
    subject: Option<String>,
    message_structure: Option<String>,
    #[serde(default)]
    message_attributes: Map<String, Value>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Publish {
    topic_arn: Option<String>,
    target_arn: Option<String>,
    phone_number: Option<String>,
    #[serde(flatten)]
    message: MessageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PublishBatch {
    topic_arn: String,
    publish_batch_request_entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(flatten)]
    message: MessageInput,
}

/// A message that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) message_id: String,
    pub(super) body: Body,
    pub(super) subject: Option<String>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) group: Option<String>,
    pub(super) deduplication: Option<String>,
    pub(super) sequence_number: Option<String>,
}

/// The text of a message.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// The same for everybody.
    Same(String),
    /// By protocol, and for all others.
    ByProtocol { by_name: BTreeMap<String, String>, default: String },
}

impl Body {
    /// What subscribers of a protocol get.
    pub(super) fn of(&self, protocol: Protocol) -> &str {
        match self {
            Self::Same(text) => text,
            Self::ByProtocol { by_name, default } => by_name.get(protocol.name()).unwrap_or(default),
        }
    }
}

impl Sns {
    pub(super) async fn publish_one(&self, caller: &Caller, input: Publish) -> Result<Value, Failure> {
        let topic = published_to(caller, &input)?;
        let view = self.view(&topic).await?;
        let (outgoing, size_bytes) = self.checked(&view.topic, input.message)?;
        if size_bytes > MESSAGE_SIZE_BYTES_MAX {
            return Err(invalid("Message too long"));
        }
        self.check_key(&view.topic, caller).await?;
        let sent = self.send(&view, vec![outgoing]).await?;
        let Some(sent) = sent.first() else { return Err(topic_not_found()) };
        Ok(shown(sent))
    }

    pub(super) async fn publish_batch(&self, caller: &Caller, input: PublishBatch) -> Result<Value, Failure> {
        let topic = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let view = self.view(&topic).await?;
        let entries = input.publish_batch_request_entries;
        check_entries(&entries)?;
        let mut batch = Vec::with_capacity(entries.len());
        let (mut ids, mut total_bytes) = (Vec::with_capacity(entries.len()), 0);
        for Entry { id, message } in entries {
            let (outgoing, size_bytes) = self.checked(&view.topic, message)?;
            ids.push(id);
            batch.push(outgoing);
            total_bytes += size_bytes;
        }
        if total_bytes > MESSAGE_SIZE_BYTES_MAX {
            let text = "The length of all the messages put together is more than the limit.";
            return Err(fail("BatchRequestTooLong", text));
        }
        self.check_key(&view.topic, caller).await?;
        let sent = self.send(&view, batch).await?;
        let successful: Vec<Value> = ids
            .into_iter()
            .zip(&sent)
            .map(|(id, sent)| {
                let mut entry = shown(sent);
                entry["Id"] = id.into();
                entry
            })
            .collect();
        Ok(json!({ "Successful": successful, "Failed": [] }))
    }

    /// Sends messages in their order; they come back as they are known.
    pub(super) async fn send(
        &self,
        view: &TopicView,
        batch: Vec<Outgoing>,
    ) -> Result<Vec<Outgoing>, Failure> {
        self.metrics.published.inc_by(batch.len() as u64);
        if view.topic.arn.is_fifo() {
            return self.send_in_order(view, batch).await;
        }
        self.fan_out(view, &batch).await?;
        Ok(batch)
    }

    /// A message as it is given, with its size in bytes.
    fn checked(&self, topic: &Topic, input: MessageInput) -> Result<(Outgoing, usize), Failure> {
        if input.message.is_empty() {
            return Err(invalid("Empty message"));
        }
        check_subject(input.subject.as_deref())?;
        let attributes = message_attributes::read(&input.message_attributes)?;
        let size_bytes = input.message.len() + message_attributes::size_bytes(&attributes);
        let deduplication = check_order(topic, &input)?;
        let body = match input.message_structure.as_deref() {
            None | Some("") => Body::Same(input.message),
            Some("json") => by_protocol(&input.message)?,
            Some(_) => return Err(invalid("Invalid message structure parameter")),
        };
        let outgoing = Outgoing {
            message_id: self.new_id(),
            body,
            subject: input.subject,
            attributes,
            group: input.message_group_id,
            deduplication,
            sequence_number: None,
        };
        Ok((outgoing, size_bytes))
    }
}

fn shown(sent: &Outgoing) -> Value {
    let mut shown = json!({ "MessageId": sent.message_id });
    if let Some(number) = &sent.sequence_number {
        shown["SequenceNumber"] = number.as_str().into();
    }
    shown
}

/// The topic that a message is for. There are no phones, and no endpoints of applications.
fn published_to(caller: &Caller, input: &Publish) -> Result<TopicArn, Failure> {
    if input.phone_number.is_some() {
        return Err(invalid("PhoneNumber Reason: text messages are not supported"));
    }
    match (&input.topic_arn, &input.target_arn) {
        (Some(_), Some(_)) => Err(invalid("Only one of TopicArn and TargetArn can be given")),
        (Some(topic), None) => topic_arn("TopicArn", topic, Some(&caller.region)),
        (None, Some(target))
            if target.split(':').nth(5).is_some_and(|name| name.starts_with("endpoint/")) =>
        {
            Err(invalid("TargetArn Reason: No endpoint found for the target arn specified"))
        }
        (None, Some(target)) => topic_arn("TargetArn", target, Some(&caller.region)),
        (None, None) => Err(invalid("TopicArn or TargetArn Reason: no value for required parameter")),
    }
}

fn check_entries(entries: &[Entry]) -> Result<(), Failure> {
    if entries.is_empty() {
        return Err(fail("EmptyBatchRequest", "The batch request doesn't contain any entries."));
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        let text = "The batch request contains more entries than permissible.";
        return Err(fail("TooManyEntriesInBatchRequest", text));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = |id: &str| !id.is_empty() && id.len() <= ENTRY_ID_CHARS_MAX && id.chars().all(allowed);
    if !entries.iter().all(|entry| fits(&entry.id)) {
        let text = "The Id of a batch entry in a batch request doesn't abide by the specification.";
        return Err(fail("InvalidBatchEntryId", text));
    }
    let distinct: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    if distinct.len() < entries.len() {
        let text = "Two or more batch entries in the request have the same Id.";
        return Err(fail("BatchEntryIdsNotDistinct", text));
    }
    Ok(())
}

/// "Subjects must be UTF-8 text with no line breaks or control characters, and less than 100 characters long."
fn check_subject(subject: Option<&str>) -> Result<(), Failure> {
    let fits = |text: &str| {
        !text.is_empty() && text.chars().count() <= SUBJECT_CHARS_MAX && !text.contains(char::is_control)
    };
    if subject.is_none_or(fits) { Ok(()) } else { Err(invalid("Subject")) }
}

/// Checks what says the order; returns the deduplication id that counts.
fn check_order(topic: &Topic, input: &MessageInput) -> Result<Option<String>, Failure> {
    let fits =
        |id: &str| (1..=ORDER_ID_CHARS_MAX).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
    for (name, id) in [
        ("MessageGroupId", &input.message_group_id),
        ("MessageDeduplicationId", &input.message_deduplication_id),
    ] {
        if id.as_deref().is_some_and(|id| !fits(id)) {
            return Err(invalid(format!(
                "{name} Reason: must be of 1 to {ORDER_ID_CHARS_MAX} alphanumeric characters and punctuation marks"
            )));
        }
    }
    if !topic.arn.is_fifo() {
        if input.message_deduplication_id.is_some() {
            return Err(invalid(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid \
                 for this topic type",
            ));
        }
        return Ok(None);
    }
    if input.message_group_id.is_none() {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    if let Some(id) = &input.message_deduplication_id {
        return Ok(Some(id.clone()));
    }
    if topic.attribute("ContentBasedDeduplication") == Some("true") {
        return Ok(Some(hex::encode(digest(&SHA256, input.message.as_bytes()))));
    }
    Err(invalid(
        "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    ))
}

fn by_protocol(message: &str) -> Result<Body, Failure> {
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(message) else {
        return Err(invalid("Message Structure - JSON message body failed to parse"));
    };
    let texts = members.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text)),
        _ => None,
    });
    let mut by_name: BTreeMap<String, String> = texts.collect();
    let default = by_name
        .remove("default")
        .ok_or_else(|| invalid("Message Structure - No default entry in JSON message body"))?;
    Ok(Body::ByProtocol { by_name, default })
}
