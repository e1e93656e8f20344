//! Events for functions that a Lambda elsewhere has: kept in one queue until that Lambda has taken them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::queues::{NewMessage, QueueKey, Received};
use cairn_wire::AwsError;

use super::Lambda;
use super::error::{Failure, of_engine};
use super::name::Named;
use super::queue::{EVENTS_PREFIX, QueuedEvent};
use super::runner::RemoteCall;

/// For how long an event that is being handed over is hidden.
const VISIBILITY: Duration = Duration::from_secs(60);
/// The first pause after a failure, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long it is tried.
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);

/// The queue of these events.
pub(super) fn queue() -> QueueKey {
    QueueKey(format!("{EVENTS_PREFIX}elsewhere"))
}

impl Lambda {
    /// Keeps an event for a function elsewhere: durable on return.
    pub(super) async fn enqueue_elsewhere(&self, event: &QueuedEvent) -> Result<(), Failure> {
        let message = NewMessage {
            queue: queue(),
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

    /// Begins to hand over what waits, one at a time. What a sick Lambda does not take holds up the rest.
    pub(super) async fn begin_elsewhere(self: &Arc<Self>, now: Timestamp) -> Result<bool, AwsError> {
        let queue = queue();
        let counts = self.engine.counts(&queue, now).map_err(|error| AwsError::from(of_engine(error)))?;
        if self.remote.is_none() || counts.in_flight > 0 {
            return Ok(false);
        }
        let Some(first) = self.receive(&queue, now, VISIBILITY).await? else { return Ok(false) };
        let lambda = Arc::clone(self);
        self.spawn(async move {
            if let Err(failure) = lambda.hand_over_all(first).await {
                let error = AwsError::from(failure);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an event is not settled and comes again"
                );
            }
            lambda.wake();
        });
        Ok(false)
    }

    async fn hand_over_all(&self, first: Received) -> Result<(), Failure> {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            if !self.hand_over(&message).await? {
                return Ok(());
            }
            next = self.receive(&queue(), self.clock.now(), VISIBILITY).await?;
        }
        Ok(())
    }

    /// Hands one event over. Says whether it is settled.
    async fn hand_over(&self, message: &Received) -> Result<bool, Failure> {
        let event = self.open_event(&message.payload)?;
        if let (Some(remote), Some(named)) = (&self.remote, Named::of_arn(&event.invoked_arn)) {
            let call = RemoteCall {
                function: event.invoked_arn.clone(),
                region: named.function.region,
                invocation_type: "Event".to_owned(),
                wants_log: false,
                payload: Bytes::from(event.payload),
            };
            if let Err(failure) = remote.invoke(call).await {
                tracing::warn!(
                    function = %event.invoked_arn,
                    error = &failure as &dyn std::error::Error,
                    "an event was not taken elsewhere"
                );
                if failure.is_transient && self.clock.now().since(event.invoked_at) < AGE_MAX {
                    self.metrics.retried.inc();
                    let pause =
                        PAUSE_MIN.saturating_mul(1 << message.receipt.receives.min(16)).min(PAUSE_MAX);
                    self.hide(&queue(), message, pause).await?;
                    return Ok(false);
                }
                self.metrics.given_up.with_label_values(&["elsewhere"]).inc();
            }
        }
        self.delete(&queue(), message).await?;
        Ok(true)
    }
}
