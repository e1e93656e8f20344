//! Where a trail announces its log files: a topic, as far as the stages need it.

use async_trait::async_trait;

use crate::bucket::OnBehalfOf;

/// Why a topic did not take a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct TopicFailure {
    /// SNS's error code, as GetTrailStatus shows it: `NotFound`, `AuthorizationError`.
    pub code: String,
    /// What went wrong, for the log.
    pub message: String,
}

/// The topics that trails announce to, under each topic's policy.
#[async_trait]
pub trait Topic: Send + Sync + 'static {
    /// Checks that the topic is there and that `who` may publish to it.
    async fn check(&self, topic_arn: &str, who: &OnBehalfOf) -> Result<(), TopicFailure>;

    /// Publishes a text: what is owed to the topic's subscribers is durable on return.
    async fn publish(&self, topic_arn: &str, message: String, who: &OnBehalfOf) -> Result<(), TopicFailure>;
}
