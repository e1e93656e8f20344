//! Events that are given up: into the target's dead-letter queue, where it has one.
//!
//! Source: the user guide's page on dead-letter queues, for the attributes and their names.

use std::time::Duration;

use super::super::Events;
use super::super::owed::Owed;
use super::attempt::Undelivered;
use super::{Due, Made};
use crate::sinks::{Attribute, AttributeValue, QueueMessage};

/// When a dead-letter queue is tried again that fails for now.
const PAUSE: Duration = Duration::from_secs(60);

/// Why an event is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The target refuses it for good.
    Refused,
    /// It was tried as often or as long as it may be: AWS's name of the limit.
    Exhausted(&'static str),
}

fn attributes(due: &Due, failure: &Undelivered, reason: Reason) -> Vec<Attribute> {
    let retries = due.received.receipt.receives.saturating_sub(1);
    let mut named = vec![
        ("RULE_ARN", due.rule.arn()),
        ("TARGET_ARN", due.target.arn.clone()),
        ("ERROR_CODE", failure.code.clone()),
        ("ERROR_MESSAGE", failure.message.clone()),
        ("RETRY_ATTEMPTS", retries.to_string()),
    ];
    if let Reason::Exhausted(limit) = reason {
        named.push(("EXHAUSTED_RETRY_CONDITION", limit.to_owned()));
    }
    let attribute = |(name, value): (&str, String)| Attribute {
        name: name.to_owned(),
        data_type: "String".to_owned(),
        value: AttributeValue::Text(value),
    };
    named.into_iter().filter(|(_, value)| !value.is_empty()).map(attribute).collect()
}

impl Events {
    /// Puts an event into the dead-letter queue, or lets it go where there is none that takes it.
    pub(super) async fn give_up(
        &self,
        due: &Due,
        owed: &Owed,
        failure: &Undelivered,
        reason: Reason,
    ) -> Made {
        let dead_letters = due.target.dead_letter_config.as_ref().and_then(|config| config.arn.clone());
        let Some(queue_arn) = dead_letters else {
            self.metrics.gave_up(due.kind);
            return Made::Taken;
        };
        let message = QueueMessage {
            body: owed.event.to_string(),
            attributes: attributes(due, failure, reason),
            trace_header: owed.trace_header.clone(),
            ..QueueMessage::default()
        };
        let sent = match self.switchboard.queues() {
            Ok(queues) => {
                let sent = queues.send(vec![(Self::source_of(&due.rule), queue_arn.clone(), message)]).await;
                sent.into_iter().collect::<Result<(), _>>()
            }
            Err(absent) => Err(absent),
        };
        match sent {
            Ok(()) => {
                self.metrics.dead_lettered(due.kind);
                Made::Taken
            }
            Err(failure) if failure.is_transient => Made::PutOff(self.clock.now().plus(PAUSE)),
            Err(failure) => {
                self.metrics.gave_up(due.kind);
                tracing::warn!(
                    rule = due.rule.arn(),
                    queue = queue_arn,
                    code = failure.code,
                    error = failure.message,
                    "a dead-letter queue does not take an event"
                );
                Made::Taken
            }
        }
    }
}
