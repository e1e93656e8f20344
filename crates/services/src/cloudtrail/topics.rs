//! The topics that trails announce to: SNS, reached in the name of `cloudtrail.amazonaws.com` for the trail.
//!
//! On the road: between the stage of notifications (and the check before a trail is made) and SNS. Such messages do not
//! go through the front door and are not recorded, so that a trail never feeds itself.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_trail::bucket::OnBehalfOf;
use cairn_trail::{Topic, TopicFailure};

use super::PRINCIPAL;
use crate::sinks::{SinkFailure, Source, TopicMessage, TopicSink};

/// SNS, as trails use it.
pub struct Topics(Arc<dyn TopicSink>);

impl Topics {
    /// The topics of `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn TopicSink>) -> Self {
        Self(sink)
    }
}

#[async_trait]
impl Topic for Topics {
    async fn check(&self, topic_arn: &str, who: &OnBehalfOf) -> Result<(), TopicFailure> {
        self.0.check(&source(who), topic_arn).await.map_err(topic_failure)
    }

    async fn publish(&self, topic_arn: &str, message: String, who: &OnBehalfOf) -> Result<(), TopicFailure> {
        let message = TopicMessage { subject: None, body: message };
        self.0.publish(&source(who), topic_arn, message).await.map_err(topic_failure)
    }
}

fn source(who: &OnBehalfOf) -> Source {
    Source { service: PRINCIPAL.to_owned(), arn: who.trail.to_string(), account: who.account.clone() }
}

fn topic_failure(failure: SinkFailure) -> TopicFailure {
    let code = if failure.is_transient { "InternalError".to_owned() } else { failure.code };
    TopicFailure { code, message: failure.message }
}
