//! The queues of asynchronous invocations, one of each function: an event is durable before anybody hears that it was
//! taken. Events are sealed.

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::queues::{NewMessage, QueueKey};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};

use super::Lambda;
use super::error::{Failure, of_engine};
use super::state::Function;

/// How the engine's keys of these queues begin.
pub(super) const EVENTS_PREFIX: &str = "lambda.event:";
/// What events are sealed for.
const CONTEXT: &str = "lambda.event";

/// An event that waits for its function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueuedEvent {
    pub(super) request_id: String,
    /// The function's ARN, with the version or alias that was invoked.
    pub(super) invoked_arn: String,
    /// JSON.
    pub(super) payload: String,
    pub(super) invoked_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_context: Option<String>,
}

impl Lambda {
    /// Keeps an event for its function: durable on return.
    pub(super) async fn enqueue(&self, function: &Function, event: &QueuedEvent) -> Result<(), Failure> {
        let message = NewMessage {
            queue: QueueKey(function.queue.clone()),
            id: event.request_id.clone(),
            payload: self.sealed_event(event)?,
            group: None,
            deduplication: None,
            sent_at: event.invoked_at,
            visible_at: event.invoked_at,
        };
        self.engine.send(vec![message]).await.map_err(of_engine)?;
        self.metrics.queued.inc();
        self.wake();
        Ok(())
    }

    pub(super) fn sealed_event(&self, event: &QueuedEvent) -> Result<Bytes, Failure> {
        let text = serde_json::to_vec(event).map_err(AwsError::internal)?;
        Ok(Bytes::from(self.sealer.seal(CONTEXT, &text)))
    }

    pub(super) fn open_event(&self, sealed: &[u8]) -> Result<QueuedEvent, Failure> {
        let text = self.sealer.open(CONTEXT, sealed)?;
        serde_json::from_slice(&text).map_err(|error| AwsError::internal(error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn events_are_written_and_read_as_in_their_first_version() {
        check::<QueuedEvent>(
            r#"{"request_id":"i","invoked_arn":"arn:aws:lambda:eu-west-1:111122223333:function:f","payload":"{}","invoked_at":1795281866042}"#,
        );
    }
}
