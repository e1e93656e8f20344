//! What is owed to targets: a queue of the durable engine for each target, a sealed message for each event.
//!
//! Invariants: a message is a pure function of the event and the target's name; how often it was received is how often it
//! was tried, so that nothing is written for a try that failed.

use std::sync::Arc;

use cairn_core::Timestamp;
use cairn_store::queues::{NewMessage, QueueKey, Received};
use cairn_store::{SealError, Sealer};
use serde::{Deserialize, Serialize};

use super::event::Arrival;
use super::names::{BusArn, Place};

/// What the names of these queues begin with.
const PREFIX: &str = "events";

/// An event that is owed to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    /// The whole event as JSON text.
    pub(super) event: Arc<str>,
    /// When it came to the bus.
    pub(super) ingested_at: Timestamp,
    /// The buses that it has been on, the rule's own among them.
    pub(super) via: Vec<BusArn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace_header: Option<String>,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwedError {
    #[error("an owed event cannot be opened")]
    Sealed(#[from] SealError),
    #[error("an owed event is not what was written")]
    Decode(#[from] serde_json::Error),
}

/// The name of a target's queue. Names of rules and targets have no colon.
pub(super) fn queue_key(bus: &BusArn, rule: &str, target: &str) -> QueueKey {
    QueueKey(format!("{PREFIX}:{}:{}:{rule}:{target}:{}", bus.region, bus.account, bus.name))
}

/// Bus, rule and target of a queue; none where it is not one of these.
pub(super) fn of_queue_key(key: &QueueKey) -> Option<(BusArn, &str, &str)> {
    let mut parts = key.0.splitn(6, ':');
    if parts.next()? != PREFIX {
        return None;
    }
    let (region, account) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (rule, target, name) = (parts.next()?, parts.next()?, parts.next()?);
    let Place { region, account } = Place { region, account };
    Some((BusArn { region, account, name: name.to_owned() }, rule, target))
}

/// The message that is owed for an event that came `now`.
pub(super) fn message(sealer: &Sealer, queue: QueueKey, arrival: &Arrival, now: Timestamp) -> NewMessage {
    let mut via = arrival.via.clone();
    via.push(arrival.bus.clone());
    let (event, trace_header) = (Arc::clone(&arrival.text), arrival.trace_header.clone());
    let owed = Owed { event, ingested_at: now, via, trace_header };
    let text = serde_json::to_vec(&owed).expect("texts and times are JSON");
    NewMessage {
        payload: sealer.seal(&context(&arrival.id), &text).into(),
        queue,
        id: arrival.id.clone(),
        group: None,
        deduplication: arrival.deduplication.clone(),
        sent_at: now,
        visible_at: now,
    }
}

/// What a message says.
pub(super) fn opened(sealer: &Sealer, received: &Received) -> Result<Owed, OwedError> {
    let text = sealer.open(&context(&received.id), &received.payload)?;
    Ok(serde_json::from_slice(&text)?)
}

fn context(id: &str) -> String {
    format!("events.owed {id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn what_is_owed_is_written_and_read_as_in_its_first_version() {
        check::<Owed>(
            r#"{"event":"{}","ingested_at":1795281866042,"via":["arn:aws:events:us-east-1:111122223333:event-bus/default"],"trace_header":"Root=1"}"#,
        );
    }

    #[test]
    fn queues_are_named_by_bus_rule_and_target() {
        let bus: BusArn = "arn:aws:events:us-east-1:111122223333:event-bus/aws.partner/a/b".parse().unwrap();
        let key = queue_key(&bus, "r", "t");
        assert_eq!(of_queue_key(&key), Some((bus, "r", "t")));
        assert_eq!(of_queue_key(&QueueKey("sqs:us-east-1:111122223333:r:t:b".to_owned())), None);
    }
}
