//! Where one service sends on behalf of a resource: queues and topics, under their own policies.
//!
//! On the road: SNS puts into queues for a topic, S3 into both for a bucket, CloudTrail publishes for a trail. Such sends
//! do not go through the front door. Invariant: what nothing allows the service is refused, also within one account.

mod sender;
mod switchboard;
mod watching;

use async_trait::async_trait;
use cairn_core::policy::{Document, Outcome, Request, Requester, evaluate};
use cairn_core::{AccountId, Region, Timestamp};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};

pub use sender::{AsRole, Roles, Sender, pass_role};
pub use switchboard::Switchboard;
pub use watching::{
    BusEvent, BusSink, FirehoseSink, FunctionSink, LogLine, LogSink, MetricDatum, MetricSink, NewObject,
    ObjectSink, StreamRecord, StreamSink, as_service,
};

/// In whose name something is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The service principal: `sns.amazonaws.com`.
    pub service: String,
    /// The resource that it is sent for, `aws:SourceArn`: a topic, a bucket, a trail.
    pub arn: String,
    /// The account of that resource, `aws:SourceAccount`.
    pub account: AccountId,
}

/// Why something could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct SinkFailure {
    /// Whether it may go by itself: a server's fault, or no room.
    pub is_transient: bool,
    /// AWS's code: `AWS.SimpleQueueService.NonExistentQueue`, `AccessDenied`.
    pub code: String,
    /// What went wrong, for the log.
    pub message: String,
}

impl SinkFailure {
    /// A sink that takes from services alone.
    fn no_roles(sink: &str) -> Self {
        Self {
            is_transient: false,
            code: "AccessDenied".to_owned(),
            message: format!("these {sink} take nothing from roles"),
        }
    }
}

impl From<AwsError> for SinkFailure {
    fn from(error: AwsError) -> Self {
        Self {
            is_transient: error.status >= 500,
            code: error.code.clone().into_owned(),
            message: error.message,
        }
    }
}

/// A value of a message's attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// Of the types String and Number, with what they may be followed by: `String.Array` of SNS.
    Text(String),
    /// Of the type Binary.
    Bytes(Vec<u8>),
}

/// An attribute of a message, as SQS and SNS have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `MyAttribute`.
    pub name: String,
    /// `String`, `Number`, `Binary`, each perhaps followed by `.` and a label.
    pub data_type: String,
    /// Its value.
    pub value: AttributeValue,
}

/// A message for a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueMessage {
    /// The text.
    pub body: String,
    /// The message attributes.
    pub attributes: Vec<Attribute>,
    /// The group, of queues that keep order; a fair queue's tenant otherwise.
    pub group: Option<String>,
    /// The deduplication id; made of the body where the queue does so and there is none.
    pub deduplication: Option<String>,
    /// The system attribute AWSTraceHeader.
    pub trace_header: Option<String>,
}

/// The queues of all accounts and regions.
#[async_trait]
pub trait QueueSink: Send + Sync + 'static {
    /// Whether `source` may send to the queue, which must be there.
    async fn check(&self, source: &Source, queue_arn: &str) -> Result<(), SinkFailure>;

    /// Sends messages to queues: each durable where its own result says so.
    async fn send(&self, messages: Vec<(Source, String, QueueMessage)>) -> Vec<Result<(), SinkFailure>>;

    /// Sends a message by the right of `sender`, which may be a role: durable on return.
    async fn send_by(
        &self,
        sender: &Sender,
        queue_arn: &str,
        message: QueueMessage,
    ) -> Result<(), SinkFailure> {
        let Sender::Service(source) = sender else { return Err(SinkFailure::no_roles("queues")) };
        let sent = self.send(vec![(source.clone(), queue_arn.to_owned(), message)]).await;
        sent.into_iter().next().unwrap_or(Ok(()))
    }

    /// Whether the queue keeps order: none where there is no such queue.
    async fn is_fifo(&self, queue_arn: &str) -> Option<bool>;
}

/// A message for a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicMessage {
    /// The subject of e-mails, and a member of the envelope.
    pub subject: Option<String>,
    /// The text.
    pub body: String,
}

/// The topics of all accounts and regions.
#[async_trait]
pub trait TopicSink: Send + Sync + 'static {
    /// Whether `source` may publish to the topic, which must be there.
    async fn check(&self, source: &Source, topic_arn: &str) -> Result<(), SinkFailure>;

    /// Publishes a message: what is owed to the topic's subscribers is durable on return.
    async fn publish(
        &self,
        source: &Source,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure>;

    /// Publishes by the right of `sender`, which may be a role: what is owed is durable on return.
    async fn publish_by(
        &self,
        sender: &Sender,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure> {
        match sender {
            Sender::Service(source) => self.publish(source, topic_arn, message).await,
            Sender::Role(_) => Err(SinkFailure::no_roles("topics")),
        }
    }

    /// Whether the topic keeps order: none where there is no such topic.
    async fn is_fifo(&self, topic_arn: &str) -> Option<bool>;
}

/// A resource that a service sends to, as its policy sees it.
#[derive(Clone, Debug)]
pub struct SentTo<'a> {
    /// The action: `sqs:SendMessage`.
    pub action: &'a str,
    /// The resource's ARN.
    pub arn: &'a str,
    /// Its account.
    pub owner: &'a AccountId,
    /// Its region.
    pub region: &'a Region,
    /// Its policy's text; none where it has none.
    pub policy: Option<&'a str>,
}

/// Whether the resource's policy lets the service act on `source`'s behalf. A stored policy that cannot be read lets
/// nobody in.
#[must_use]
pub fn is_allowed(source: &Source, to: &SentTo<'_>, now: Timestamp) -> bool {
    is_allowed_with(source, to, now, &[])
}

/// The same with further condition keys, of the service that is sent to.
#[must_use]
pub fn is_allowed_with(source: &Source, to: &SentTo<'_>, now: Timestamp, further: &[(&str, &str)]) -> bool {
    let context = [
        ("aws:SourceArn", source.arn.clone()),
        ("aws:SourceAccount", source.account.to_string()),
        ("aws:PrincipalIsAWSService", "true".to_owned()),
        ("aws:PrincipalServiceName", source.service.clone()),
        ("aws:SecureTransport", "true".to_owned()),
        ("aws:CurrentTime", now.iso()),
        ("aws:EpochTime", now.seconds().to_string()),
        ("aws:RequestedRegion", to.region.to_string()),
        ("aws:ResourceAccount", to.owner.to_string()),
    ];
    let further = further.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let request = Request {
        requester: Requester::Service(source.service.clone()),
        action: to.action.to_owned(),
        resource: to.arn.to_owned(),
        context: context
            .into_iter()
            .chain(further)
            .map(|(key, value)| (key.to_owned(), vec![value]))
            .collect(),
    };
    to.policy.is_some_and(|text| {
        Document::parse(text).is_ok_and(|document| evaluate(&document, &request).outcome == Outcome::Allow)
    })
}
