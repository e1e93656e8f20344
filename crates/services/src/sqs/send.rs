//! Messages on their way in: checked, sealed, and durable before the sender hears of it.

use std::time::Duration;

use aws_lc_rs::digest;
use cairn_core::Timestamp;
use cairn_store::queues::{NewMessage, Sent, Sequence};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::batch::{Batch, Entry, Outcomes};
use super::cipher::seal;
use super::error::{Failure, fail, invalid_parameter, invalid_value, missing_parameter, of_engine};
use super::message::{
    Head, KeptAttribute, attributes_md5, body_md5, check_characters, parse_attributes, parse_trace_header,
    size_bytes,
};
use super::state::{Fifo, Queue, Scope};
use super::{Sqs, asker};
use crate::Caller;
use crate::at_rest::SealingKey;

/// The most bytes of all messages of a batch together.
const BATCH_BYTES_MAX: usize = 1_048_576;
const DELAY_S: std::ops::RangeInclusive<i64> = 0..=900;
/// The longest group and deduplication id.
const ID_CHARS_MAX: usize = 128;
/// The longest trace header that is kept.
const TRACE_HEADER_SIZE_BYTES_MAX: usize = 512;
/// What the kind of a queue does not have.
const NOT_OF_THIS_KIND: &str = "The request include parameter that is not valid for this queue type.";
/// Sequence numbers begin here, so that all have 20 digits and their order as texts is that of numbers.
const SEQUENCE_NUMBER_BASE: u128 = 18_850_000_000_000_000_000;

/// A message as a call gives it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MessageInput {
    id: String,
    message_body: String,
    delay_seconds: Option<i64>,
    message_attributes: Map<String, Value>,
    message_system_attributes: Map<String, Value>,
    message_deduplication_id: Option<String>,
    message_group_id: Option<String>,
}

impl Entry for MessageInput {
    fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendMessage {
    queue_url: String,
    #[serde(flatten)]
    message: MessageInput,
}

/// A message that can be sent.
pub(super) struct Checked {
    pub(super) body: String,
    pub(super) attributes: Vec<KeptAttribute>,
    pub(super) trace_header: Option<KeptAttribute>,
    pub(super) group: Option<String>,
    pub(super) deduplication: Option<String>,
    /// None where the queue's own counts.
    pub(super) delay_s: Option<u32>,
}

/// Who sends, and what the request itself says of its trace.
pub(super) struct Origin<'a> {
    pub(super) sender: &'a str,
    pub(super) trace: Option<&'a str>,
}

/// How a message that is too long is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    One,
    Batch,
}

impl Sqs {
    /// Sends a message. `trace` is the header by which traced clients pass on where they are; the message's own attribute
    /// goes before it.
    pub(super) async fn send_message(
        &self,
        caller: &Caller,
        input: SendMessage,
        trace: Option<&str>,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        let checked = check(&queue, input.message, Call::One)?;
        let trace = trace.filter(|text| text.len() <= TRACE_HEADER_SIZE_BYTES_MAX);
        let sealing = self.cipher.sealing_key(&queue, &asker(caller, &queue)).await?;
        let origin = Origin { sender: &sender_id(caller), trace };
        let message = self.sealed(&queue, &sealing, &checked, &origin, caller.now)?;
        let sent = self.engine.send(vec![message]).await.map_err(of_engine)?;
        let sent = sent.first().ok_or_else(|| super::error::internal("the engine lost a message"))?;
        self.metrics.sent.inc();
        Ok(reply(&queue, &checked, sent))
    }

    pub(super) async fn send_message_batch(
        &self,
        caller: &Caller,
        input: Batch<MessageInput>,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        input.check("SendMessageBatchRequestEntry")?;
        check_batch(&queue, &input.entries)?;
        let sealing = self.cipher.sealing_key(&queue, &asker(caller, &queue)).await?;
        let origin = Origin { sender: &sender_id(caller), trace: None };
        let (mut outcomes, mut sendable, mut messages) = (Outcomes::default(), Vec::new(), Vec::new());
        for mut entry in input.entries {
            let id = std::mem::take(&mut entry.id);
            match check(&queue, entry, Call::Batch) {
                Ok(checked) => {
                    messages.push(self.sealed(&queue, &sealing, &checked, &origin, caller.now)?);
                    sendable.push((id, checked));
                }
                Err(failure) => outcomes.add(&id, Err(failure)),
            }
        }
        let sent = self.engine.send(messages).await.map_err(of_engine)?;
        self.metrics.sent.inc_by(sent.len() as u64);
        for ((id, checked), sent) in sendable.iter().zip(&sent) {
            outcomes.add(id, Ok(reply(&queue, checked, sent)));
        }
        Ok(outcomes.reply())
    }

    /// The message as the engine takes it.
    pub(super) fn sealed(
        &self,
        queue: &Queue,
        sealing: &SealingKey,
        message: &Checked,
        origin: &Origin<'_>,
        now: Timestamp,
    ) -> Result<NewMessage, Failure> {
        let id = self.entropy.event_id().to_string();
        let head = Head {
            sender: origin.sender.to_owned(),
            attributes: message.attributes.clone(),
            group: message.group.clone(),
            deduplication: message.deduplication.clone(),
            trace_header: match &message.trace_header {
                Some(header) => Some(header.value.clone()),
                None => origin.trace.map(str::to_owned),
            },
        };
        let fifo = queue.settings.fifo.as_ref();
        let delay_s = message.delay_s.unwrap_or(queue.settings.delay_s);
        Ok(NewMessage {
            queue: queue.key(),
            payload: seal(sealing, &id, &head, &message.body)?,
            id,
            // A standard queue's groups are tenants, and keep no order.
            group: message.group.clone().filter(|_| fifo.is_some()),
            deduplication: fifo.and_then(|fifo| deduplication_text(queue, fifo, message, now)),
            sent_at: now,
            visible_at: now.plus(Duration::from_secs(u64::from(delay_s))),
        })
    }
}

/// The text that tells duplicates within the queue or, as its scope may be, within the group. A purge forgets those before
/// it.
fn deduplication_text(queue: &Queue, fifo: &Fifo, message: &Checked, now: Timestamp) -> Option<String> {
    let id = message.deduplication.as_ref()?;
    // Ids have neither spaces nor line ends.
    let text = match fifo.scope_at(now) {
        Scope::Queue => id.clone(),
        Scope::MessageGroup => format!("{} {id}", message.group.as_deref().unwrap_or_default()),
    };
    Some(match queue.purged {
        Some(purged) => format!("{}\n{text}", purged.millis()),
        None => text,
    })
}

fn check(queue: &Queue, input: MessageInput, call: Call) -> Result<Checked, Failure> {
    if input.message_body.is_empty() {
        return Err(missing_parameter("MessageBody"));
    }
    check_characters(&input.message_body)?;
    let attributes = parse_attributes(&input.message_attributes)?;
    let trace_header = parse_trace_header(&input.message_system_attributes)?;
    let delay_s = check_delay(queue, input.delay_seconds)?;
    let size_bytes_max = queue.settings.message_size_bytes_max;
    if size_bytes(&input.message_body, &attributes) > size_bytes_max as usize {
        let what = if call == Call::Batch { "cannot be validated" } else { "are invalid" };
        return Err(invalid_parameter(format!(
            "One or more parameters {what}. Reason: Message must be shorter than {size_bytes_max} bytes."
        )));
    }
    check_id("MessageGroupId", input.message_group_id.as_deref())?;
    check_id("MessageDeduplicationId", input.message_deduplication_id.as_deref())?;
    let deduplication = match &queue.settings.fifo {
        Some(fifo) => {
            let id = input.message_deduplication_id;
            Some(id.or_else(|| content_id(fifo, &input.message_body)).ok_or_else(no_deduplication)?)
        }
        None => match input.message_deduplication_id {
            Some(given) => return Err(invalid_value(&given, "MessageDeduplicationId", NOT_OF_THIS_KIND)),
            None => None,
        },
    };
    if queue.settings.fifo.is_some() && input.message_group_id.is_none() {
        return Err(missing_parameter("MessageGroupId"));
    }
    let group = input.message_group_id;
    Ok(Checked { body: input.message_body, attributes, trace_header, group, deduplication, delay_s })
}

/// What is refused of a batch as a whole.
fn check_batch(queue: &Queue, entries: &[MessageInput]) -> Result<(), Failure> {
    if let Some(fifo) = &queue.settings.fifo {
        if entries.iter().any(|entry| entry.message_group_id.is_none()) {
            return Err(invalid_parameter("The request must contain the parameter MessageGroupId."));
        }
        if !fifo.is_content_based && entries.iter().any(|entry| entry.message_deduplication_id.is_none()) {
            return Err(no_deduplication());
        }
    }
    // Attributes that cannot be read are the entry's own fault.
    let entry_bytes = |entry: &MessageInput| {
        size_bytes(&entry.message_body, &parse_attributes(&entry.message_attributes).unwrap_or_default())
    };
    let sent_bytes: usize = entries.iter().map(entry_bytes).sum();
    if sent_bytes > BATCH_BYTES_MAX {
        return Err(fail(
            "BatchRequestTooLong",
            format!(
                "Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. You have sent {sent_bytes} bytes."
            ),
        ));
    }
    Ok(())
}

fn check_delay(queue: &Queue, given: Option<i64>) -> Result<Option<u32>, Failure> {
    let Some(delay) = given else { return Ok(None) };
    if !DELAY_S.contains(&delay) {
        return Err(invalid_value(
            &delay.to_string(),
            "DelaySeconds",
            "DelaySeconds must be >= 0 and <= 900.",
        ));
    }
    if queue.settings.fifo.is_none() {
        return Ok(u32::try_from(delay).ok());
    }
    // A FIFO queue's messages have the queue's delay, and may say so by none.
    if delay == 0 {
        Ok(None)
    } else {
        Err(invalid_value(&delay.to_string(), "DelaySeconds", NOT_OF_THIS_KIND))
    }
}

fn check_id(parameter: &str, given: Option<&str>) -> Result<(), Failure> {
    let is_right =
        |id: &str| (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match given {
        Some(id) if !is_right(id) => {
            let reason = format!(
                "{parameter} can only include alphanumeric and punctuation characters. 1 to {ID_CHARS_MAX} in length."
            );
            Err(invalid_value(id, parameter, &reason))
        }
        _ => Ok(()),
    }
}

fn no_deduplication() -> Failure {
    invalid_parameter(
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    )
}

fn content_id(fifo: &Fifo, body: &str) -> Option<String> {
    fifo.is_content_based.then(|| hex::encode(digest::digest(&digest::SHA256, body.as_bytes())))
}

/// A message of another service, which may be refused as one of a client's is.
pub(super) fn check_for_service(
    queue: &Queue,
    message: &crate::sinks::QueueMessage,
) -> Result<Checked, Failure> {
    let mut attributes: Vec<KeptAttribute> =
        message.attributes.iter().cloned().map(KeptAttribute::from).collect();
    attributes.sort_by(|left, right| left.name.cmp(&right.name));
    let trace_header = message.trace_header.as_ref().map(|value| KeptAttribute {
        name: "AWSTraceHeader".to_owned(),
        data_type: "String".to_owned(),
        value: value.clone(),
    });
    let input = MessageInput {
        message_body: message.body.clone(),
        message_group_id: message.group.clone(),
        message_deduplication_id: message.deduplication.clone().filter(|_| queue.settings.fifo.is_some()),
        ..MessageInput::default()
    };
    let checked = check(queue, input, Call::One)?;
    if size_bytes(&checked.body, &attributes) > queue.settings.message_size_bytes_max as usize {
        return Err(invalid_parameter(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            queue.settings.message_size_bytes_max
        )));
    }
    Ok(Checked { attributes, trace_header, ..checked })
}

fn reply(queue: &Queue, message: &Checked, sent: &Sent) -> Value {
    let mut reply = json!({ "MessageId": sent.id, "MD5OfMessageBody": body_md5(message.body.as_bytes()) });
    if let Some(md5) = attributes_md5(&message.attributes) {
        reply["MD5OfMessageAttributes"] = md5.into();
    }
    if let Some(md5) = attributes_md5(&message.trace_header) {
        reply["MD5OfMessageSystemAttributes"] = md5.into();
    }
    if queue.settings.fifo.is_some() {
        reply["SequenceNumber"] = sequence_number(sent.sequence).into();
    }
    reply
}

/// A message's place as FIFO queues show it.
pub(super) fn sequence_number(sequence: Sequence) -> String {
    (SEQUENCE_NUMBER_BASE + u128::from(sequence.0) * 256).to_string()
}

/// The unique id of who sends.
pub(super) fn sender_id(caller: &Caller) -> String {
    caller.principal.principal_id().unwrap_or_else(|| "anonymous".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_have_20_digits_and_grow() {
        let numbers = [0, 1, 1 << 40, u64::MAX >> 16].map(|at| sequence_number(Sequence(at)));
        assert!(numbers.is_sorted() && numbers.iter().all(|number| number.len() == 20), "{numbers:?}");
    }
}
