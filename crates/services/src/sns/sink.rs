//! Topics as other services reach them: S3 for a bucket, CloudTrail for a trail, under the topics' policies.

use async_trait::async_trait;

use super::Sns;
use super::arn::TopicArn;
use super::error::{Failure, invalid, not_authorized};
use super::permissions::deciding;
use super::publish::{Body, Outgoing};
use super::state::Topic;
use crate::Caller;
use crate::sinks::{Sender, SentTo, SinkFailure, Source, TopicMessage, TopicSink, is_allowed_with};

/// Bytes of a message of a service's.
const MESSAGE_SIZE_BYTES_MAX: usize = 256 * 1024;

/// CloudWatch, for alarms.
const ALARMS: &str = "cloudwatch.amazonaws.com";

impl Sns {
    /// The topic, where `source` may publish to it.
    async fn open_to(&self, source: &Source, topic_arn: &str) -> Result<Topic, Failure> {
        let arn: TopicArn = topic_arn.parse().map_err(|_| invalid("TopicArn"))?;
        let topic = self.topic(&arn).await?;
        let policy = deciding(&topic.policy);
        // As SNS fills it in for alarms: a topic's own policy lets those of its account in.
        let owner = [("aws:SourceOwner", source.account.as_str())];
        let further = if source.service == ALARMS { &owner[..] } else { &[] };
        let to = sent_to(topic_arn, &arn, policy.as_deref());
        if is_allowed_with(source, &to, self.clock.now(), further) {
            self.check_key_for(&topic, source).await?;
            return Ok(topic);
        }
        let Source { service, .. } = source;
        Err(not_authorized(format!(
            "User: {service} is not authorized to perform: SNS:Publish on resource: {topic_arn} because no \
             resource-based policy allows the SNS:Publish action"
        )))
    }

    async fn publish_for(
        &self,
        source: &Source,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), Failure> {
        let topic = self.open_to(source, topic_arn).await?;
        self.publish_into(&topic, message).await
    }

    /// The same by a role that a service assumed.
    async fn publish_as(
        &self,
        sender: &Sender,
        role: &Caller,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), Failure> {
        let arn: TopicArn = topic_arn.parse().map_err(|_| invalid("TopicArn"))?;
        let topic = self.topic(&arn).await?;
        let policy = deciding(&topic.policy);
        sender.check(&sent_to(topic_arn, &arn, policy.as_deref()), self.clock.now(), &[])?;
        self.check_key(&topic, role).await?;
        self.publish_into(&topic, message).await
    }

    async fn publish_into(&self, topic: &Topic, message: TopicMessage) -> Result<(), Failure> {
        let view = self.view(&topic.arn).await?;
        if view.topic.arn.is_fifo() {
            return Err(invalid("TopicArn Reason: services do not publish to FIFO topics"));
        }
        if message.body.len() > MESSAGE_SIZE_BYTES_MAX {
            return Err(invalid("Message too long"));
        }
        let outgoing = Outgoing {
            message_id: self.new_id(),
            body: Body::Same(message.body),
            subject: message.subject,
            attributes: Vec::new(),
            group: None,
            deduplication: None,
            sequence_number: None,
        };
        self.send(&view, vec![outgoing]).await.map(|_| ())
    }
}

#[async_trait]
impl TopicSink for Sns {
    async fn check(&self, source: &Source, topic_arn: &str) -> Result<(), SinkFailure> {
        self.open_to(source, topic_arn).await.map(|_| ()).map_err(sink_failure)
    }

    async fn publish(
        &self,
        source: &Source,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure> {
        self.publish_for(source, topic_arn, message).await.map_err(sink_failure)
    }

    async fn publish_by(
        &self,
        sender: &Sender,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure> {
        let published = match sender {
            Sender::Service(source) => self.publish_for(source, topic_arn, message).await,
            Sender::Role(role) => self.publish_as(sender, role, topic_arn, message).await,
        };
        published.map_err(sink_failure)
    }

    async fn is_fifo(&self, topic_arn: &str) -> Option<bool> {
        let arn: TopicArn = topic_arn.parse().ok()?;
        let topic = self.topic(&arn).await.ok()?;
        Some(topic.arn.is_fifo())
    }
}

/// The topic as its policy sees a message.
fn sent_to<'a>(topic_arn: &'a str, arn: &'a TopicArn, policy: Option<&'a str>) -> SentTo<'a> {
    SentTo { action: "sns:Publish", arn: topic_arn, owner: &arn.account, region: &arn.region, policy }
}

fn sink_failure(failure: Failure) -> SinkFailure {
    cairn_wire::AwsError::from(failure).into()
}
