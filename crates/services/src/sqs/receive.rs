//! Messages on their way out: short and long polls, and what of a message the receiver asked to see.
//!
//! A long poll holds no thread: it waits for a message to arrive, for one to become visible by the clock, for its time to
//! be over or for the server to stop, whichever is first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::queues::{Ask, DeadLetters, QueueError, QueueKey, Receipt, Received};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{Failure, invalid_value, of_engine, unknown_attribute};
use super::message::{Head, attributes_md5, body_md5};
use super::name::arn_of_key;
use super::send::sequence_number;
use super::state::Queue;
use super::{Sqs, asker};
use crate::Caller;

/// The most messages in flight of a queue, of either kind.
const IN_FLIGHT_MAX: usize = 120_000;
const MESSAGES: std::ops::RangeInclusive<i64> = 1..=10;
const WAIT_S: std::ops::RangeInclusive<i64> = 0..=20;
const VISIBILITY_S: std::ops::RangeInclusive<i64> = 0..=43_200;
/// For how long a receive can be tried again with its attempt's id.
const ATTEMPT_REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// The most attempts that are remembered.
const ATTEMPTS_MAX: usize = 1000;
/// The most bytes of messages that are remembered with them.
const ATTEMPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a message's `Attributes` can be asked for.
const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "AWSTraceHeader",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    receive_request_attempt_id: Option<String>,
}

/// A receive whose numbers are within their limits.
struct Poll {
    messages_max: usize,
    visibility: Duration,
    wait: Duration,
}

/// Receives of FIFO queues that can be tried again: whoever did not hear the answer is given the same messages.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<(QueueKey, String), Attempt>>);

struct Attempt {
    at: Timestamp,
    receipts: Vec<Receipt>,
    reply: Value,
    size_bytes: usize,
}

impl Attempts {
    fn get(&self, queue: &QueueKey, id: &str, now: Timestamp) -> Option<(Vec<Receipt>, Value)> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.get(&(queue.clone(), id.to_owned()))?;
        (now.since(attempt.at) < ATTEMPT_REMEMBERED)
            .then(|| (attempt.receipts.clone(), attempt.reply.clone()))
    }

    fn put(&self, queue: &QueueKey, id: &str, attempt: Attempt) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.retain(|_, kept| attempt.at.since(kept.at) < ATTEMPT_REMEMBERED);
        let kept_bytes: usize = attempts.values().map(|kept| kept.size_bytes).sum();
        if attempts.len() < ATTEMPTS_MAX && kept_bytes + attempt.size_bytes <= ATTEMPT_BYTES_MAX {
            attempts.insert((queue.clone(), id.to_owned()), attempt);
        }
    }
}

impl Sqs {
    pub(super) async fn receive_message(
        &self,
        caller: &Caller,
        input: ReceiveMessage,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        let poll = input.poll(&queue)?;
        input.check_names()?;
        if let Some(reply) = self.again(&queue, &input, &poll, caller.now).await? {
            return Ok(reply);
        }
        let received = self.wait_for_messages(&queue, &poll, caller.now).await?;
        if received.is_empty() {
            self.metrics.empty_receives.inc();
            return Ok(json!({}));
        }
        let shown = self.opened(caller, &queue, &input, &received).await?;
        self.metrics.received.inc_by(received.len() as u64);
        let reply = json!({ "Messages": shown });
        if let Some(id) = &input.receive_request_attempt_id {
            let size_bytes = received.iter().map(|message| message.payload.len()).sum();
            let receipts = received.iter().map(|message| message.receipt).collect();
            let at = self.clock.now();
            let attempt = Attempt { at, receipts, reply: reply.clone(), size_bytes };
            self.attempts.put(&queue.key(), id, attempt);
        }
        Ok(reply)
    }

    /// The answer to an attempt that was answered already, while nobody else could have its messages.
    async fn again(
        &self,
        queue: &Queue,
        input: &ReceiveMessage,
        poll: &Poll,
        now: Timestamp,
    ) -> Result<Option<Value>, Failure> {
        let Some(id) = &input.receive_request_attempt_id else { return Ok(None) };
        let Some((receipts, reply)) = self.attempts.get(&queue.key(), id, now) else { return Ok(None) };
        let until = now.plus(poll.visibility);
        let changes: Vec<(Receipt, Timestamp)> =
            receipts.into_iter().map(|receipt| (receipt, until)).collect();
        let changed = self.engine.change_visibility(&queue.key(), &changes, now).await.map_err(of_engine)?;
        Ok(changed.iter().all(Result::is_ok).then_some(reply))
    }

    async fn wait_for_messages(
        &self,
        queue: &Arc<Queue>,
        poll: &Poll,
        began: Timestamp,
    ) -> Result<Vec<Received>, Failure> {
        let (key, deadline) = (queue.key(), began.plus(poll.wait));
        let mut waiting = None;
        loop {
            // Before the look: what comes after it ends the wait.
            let seen = self.engine.arrivals(&key);
            let now = self.clock.now();
            let received = match self.engine.receive(&key, &self.ask(queue, poll, now)).await {
                // A poll that waits hears nothing of a full flight; nor does one of a FIFO queue.
                Err(QueueError::InFlight) if queue.settings.fifo.is_some() || !poll.wait.is_zero() => {
                    Vec::new()
                }
                other => other.map_err(of_engine)?,
            };
            if !received.is_empty() || now >= deadline {
                return Ok(received);
            }
            waiting.get_or_insert_with(|| Waiting::of(&self.metrics.waiting));
            let until = self.engine.next_visible(&key, now).map_or(deadline, |at| at.min(deadline));
            tokio::select! {
                () = self.engine.wait_past(&key, seen) => {}
                () = self.pause.until(until) => {}
            }
            // What a client that has gone away would be given would be hidden from all others.
            let is_gone = self.find(&queue.name).is_none_or(|found| found.key != queue.key);
            if is_gone || self.pause.is_in_vain() {
                return Ok(Vec::new());
            }
        }
    }

    fn ask(&self, queue: &Queue, poll: &Poll, now: Timestamp) -> Ask {
        let settings = &queue.settings;
        let dead_letters = settings.redrive.as_ref().and_then(|redrive| {
            let target = self.find(&redrive.target)?;
            Some(DeadLetters { queue: target.key(), receives_max: redrive.receives_max })
        });
        Ask {
            messages_max: poll.messages_max,
            now,
            visibility: poll.visibility,
            expired_until: now.minus(Duration::from_secs(u64::from(settings.retention_s))),
            in_flight_max: IN_FLIGHT_MAX,
            dead_letters,
        }
    }

    /// The messages as the reply has them. Where one cannot be opened, all are put back.
    async fn opened(
        &self,
        caller: &Caller,
        queue: &Queue,
        input: &ReceiveMessage,
        received: &[Received],
    ) -> Result<Vec<Value>, Failure> {
        let asker = asker(caller, queue);
        let mut shown = Vec::with_capacity(received.len());
        for message in received {
            match self.cipher.open(queue, &asker, &message.id, &message.payload).await {
                Ok((head, body)) => shown.push(self.shown(queue, input, message, &head, &body)),
                Err(failure) => {
                    self.put_back(queue, received).await?;
                    return Err(failure);
                }
            }
        }
        Ok(shown)
    }

    async fn put_back(&self, queue: &Queue, received: &[Received]) -> Result<(), Failure> {
        let now = self.clock.now();
        let changes: Vec<(Receipt, Timestamp)> =
            received.iter().map(|message| (message.receipt, now)).collect();
        self.engine.change_visibility(&queue.key(), &changes, now).await.map_err(of_engine)?;
        Ok(())
    }

    fn shown(
        &self,
        queue: &Queue,
        input: &ReceiveMessage,
        message: &Received,
        head: &Head,
        body: &str,
    ) -> Value {
        let mut shown = json!({
            "MessageId": message.id,
            "ReceiptHandle": self.handles.make(&queue.key(), message.receipt),
            "MD5OfBody": body_md5(body.as_bytes()),
            "Body": body,
        });
        let wanted: Vec<_> =
            head.attributes.iter().filter(|attribute| input.wants_attribute(&attribute.name)).collect();
        if let Some(md5) = attributes_md5(wanted.iter().copied()) {
            shown["MD5OfMessageAttributes"] = md5.into();
            let attributes = wanted.iter().map(|attribute| (attribute.name.clone(), attribute.shown()));
            shown["MessageAttributes"] = Value::Object(attributes.collect());
        }
        let system = system_attributes(queue, message, head);
        let system: Map<String, Value> = system
            .into_iter()
            .filter(|(name, _)| input.wants_system(name))
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect();
        if !system.is_empty() {
            shown["Attributes"] = Value::Object(system);
        }
        shown
    }
}

fn system_attributes<'a>(
    queue: &Queue,
    message: &Received,
    head: &Head,
) -> [(&'a str, Option<String>); SYSTEM_ATTRIBUTES.len()] {
    let is_fifo = queue.settings.fifo.is_some();
    let [trace, first, count, source, deduplication, group, sender, sent, sequence] = SYSTEM_ATTRIBUTES;
    [
        (trace, head.trace_header.clone()),
        (first, Some(message.first_received_at.millis().to_string())),
        (count, Some(message.receipt.receives.to_string())),
        (source, message.came_from.as_ref().and_then(arn_of_key).map(str::to_owned)),
        (deduplication, head.deduplication.clone()),
        (group, head.group.clone()),
        (sender, Some(head.sender.clone())),
        (sent, Some(message.sent_at.millis().to_string())),
        (sequence, is_fifo.then(|| sequence_number(message.receipt.sequence))),
    ]
}

impl ReceiveMessage {
    fn poll(&self, queue: &Queue) -> Result<Poll, Failure> {
        let refused = |value: i64, parameter: &str, reason: &str| {
            Err(invalid_value(&value.to_string(), parameter, reason))
        };
        let settings = &queue.settings;
        let messages = self.max_number_of_messages.unwrap_or(1);
        if !MESSAGES.contains(&messages) {
            return refused(messages, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.");
        }
        let wait = self.wait_time_seconds.unwrap_or(i64::from(settings.receive_wait_s));
        if !WAIT_S.contains(&wait) {
            return refused(wait, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.");
        }
        let visibility = self.visibility_timeout.unwrap_or(i64::from(settings.visibility_timeout_s));
        if !VISIBILITY_S.contains(&visibility) {
            return refused(visibility, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.");
        }
        if let Some(id) = self.receive_request_attempt_id.as_ref().filter(|_| settings.fifo.is_none()) {
            let reason = "The request include parameter that is not valid for this queue type.";
            return Err(invalid_value(id, "ReceiveRequestAttemptId", reason));
        }
        Ok(Poll {
            messages_max: usize::try_from(messages).unwrap_or(1),
            visibility: Duration::from_secs(visibility.unsigned_abs()),
            wait: Duration::from_secs(wait.unsigned_abs()),
        })
    }

    fn system_names(&self) -> impl Iterator<Item = &str> {
        self.attribute_names.iter().chain(&self.message_system_attribute_names).map(String::as_str)
    }

    fn check_names(&self) -> Result<(), Failure> {
        match self.system_names().find(|name| *name != "All" && !SYSTEM_ATTRIBUTES.contains(name)) {
            Some(other) => Err(unknown_attribute(other)),
            None => Ok(()),
        }
    }

    fn wants_system(&self, name: &str) -> bool {
        self.system_names().any(|wanted| wanted == "All" || wanted == name)
    }

    /// By name, by the beginning of the name with `.*` after it, or all.
    fn wants_attribute(&self, name: &str) -> bool {
        self.message_attribute_names.iter().any(|wanted| {
            let prefix = wanted.strip_suffix(".*").or_else(|| wanted.strip_suffix('*'));
            wanted == "All" || wanted == name || prefix.is_some_and(|prefix| name.starts_with(prefix))
        })
    }
}

/// Counts a poll that waits, for as long as it does.
struct Waiting<'a>(&'a prometheus::IntGauge);

impl<'a> Waiting<'a> {
    fn of(gauge: &'a prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
