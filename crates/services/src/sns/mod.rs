//! SNS: topics that tell their subscribers.
//!
//! On the road: a service like any other; S3 and trails publish through [`TopicSink`], under the topics' policies. A
//! publish puts messages into queues at once, through [`QueueSink`], and owes all else to its subscribers: HTTP,
//! e-mail, functions, and queues that failed. What is owed is paid by a stage that takes no input ([`delivery`]). Text
//! messages, applications on phones, Firehose as subscribers, data protection and archive policies are not built.
//!
//! Invariants: what a publish owes is durable before its reply; messages of a FIFO topic reach each subscription in the
//! order of their group, also when they are tried again.
//!
//! [`TopicSink`]: crate::sinks::TopicSink

mod arn;
mod confirm;
pub mod delivery;
mod delivery_policy;
mod encryption;
mod envelope;
mod error;
mod fan_out;
mod fifo;
mod links;
mod message_attributes;
mod metrics;
mod owed;
mod page;
mod permissions;
mod publish;
mod recorded;
mod signing;
mod sink;
mod state;
mod subscribe;
mod subscription_attributes;
mod tags;
mod target;
mod topic_attributes;
mod topics;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{AccountId, Clock, Entropy};
use cairn_store::{Catalog, Sealer};
use cairn_wire::{AwsError, Call, Reply};
use prometheus::Registry;
use serde_json::Value;
use tokio::sync::Mutex;

pub use links::Links;
pub use signing::{Signing, SigningError};

use self::arn::TopicArn;
use self::encryption::KeyUses;
use self::error::{Failure, fail, topic_not_found};
use self::fifo::ORDER_LOCKS;
use self::metrics::Metrics;
use self::state::{Notification, Topic};
use self::views::{TopicView, Views};
use crate::kms::DataKeys;
use crate::sinks::QueueSink;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

/// In whose name queues are sent to.
pub(super) const SERVICE_PRINCIPAL: &str = "sns.amazonaws.com";

/// What SNS works with.
pub struct Deps {
    /// Where topics, subscriptions and debts are kept.
    pub catalog: Catalog,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// Seals messages that are owed.
    pub sealer: Sealer,
    /// Vouches for messages.
    pub signing: Signing,
    /// The addresses that messages name.
    pub links: Links,
    /// Asked where a topic has a KMS key.
    pub data_keys: Arc<dyn DataKeys>,
    /// The queues that subscribe.
    pub queues: Arc<dyn QueueSink>,
    /// Called when something new is owed.
    pub woken: Arc<dyn Fn() + Send + Sync>,
}

/// The SNS service.
pub struct Sns {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    signing: Signing,
    links: Links,
    queues: Arc<dyn QueueSink>,
    woken: Arc<dyn Fn() + Send + Sync>,
    data_keys: Arc<dyn DataKeys>,
    key_uses: KeyUses,
    views: Views,
    metrics: Metrics,
    /// Taken while messages of a FIFO topic are numbered and sent.
    order: Vec<Mutex<()>>,
}

impl Sns {
    /// SNS with what it works with.
    ///
    /// # Errors
    /// Where the counters cannot be made, which is a mistake in their names.
    pub fn new(deps: Deps, registry: &Registry) -> Result<Self, prometheus::Error> {
        let Deps { catalog, clock, entropy, sealer, signing, links, data_keys, queues, woken } = deps;
        let metrics = Metrics::new()?;
        metrics.register(registry)?;
        Ok(Self {
            catalog,
            clock,
            entropy,
            sealer,
            signing,
            links,
            queues,
            woken,
            data_keys,
            key_uses: KeyUses::default(),
            views: Views::default(),
            metrics,
            order: std::iter::repeat_with(Mutex::default).take(ORDER_LOCKS).collect(),
        })
    }

    /// The topic of that name, with its subscribers.
    async fn view(&self, arn: &TopicArn) -> Result<Arc<TopicView>, Failure> {
        self.views.of(&self.catalog, arn).await?.ok_or_else(topic_not_found)
    }

    /// The topic of that name.
    async fn topic(&self, arn: &TopicArn) -> Result<Topic, Failure> {
        self.views.topic(&self.catalog, arn).await?.ok_or_else(topic_not_found)
    }

    /// Signs a message as its topic asks for.
    async fn vouch_for(&self, notification: &mut Notification, topic: &Topic) -> Result<(), Failure> {
        let made = self.signing.sign(notification, topic.signature_version(), &self.links).await;
        notification.signature = Some(made.map_err(AwsError::internal)?);
        Ok(())
    }

    /// A UUID.
    fn new_id(&self) -> String {
        self.entropy.event_id().to_string()
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "AddPermission" => self.add_permission(caller, call.input()?).await,
            "ConfirmSubscription" => self.confirm(caller, call).await,
            "CreateTopic" => self.create_topic(caller, call.input()?).await,
            "DeleteTopic" => self.delete_topic(caller, call.input()?).await,
            "GetSubscriptionAttributes" => self.subscription_attributes(caller, call.input()?).await,
            "GetTopicAttributes" => self.topic_attributes(caller, call.input()?).await,
            "ListSubscriptions" => self.list_subscriptions(caller, call.input()?).await,
            "ListSubscriptionsByTopic" => self.list_subscriptions_by_topic(caller, call.input()?).await,
            "ListTagsForResource" => self.list_tags(caller, call.input()?).await,
            "ListTopics" => self.list_topics(caller, call.input()?).await,
            "Publish" => self.publish_one(caller, call.input()?).await,
            "PublishBatch" => self.publish_batch(caller, call.input()?).await,
            "RemovePermission" => self.remove_permission(caller, call.input()?).await,
            "SetSubscriptionAttributes" => self.set_subscription_attribute(caller, call.input()?).await,
            "SetTopicAttributes" => self.set_topic_attribute(caller, call.input()?).await,
            "Subscribe" => self.subscribe(caller, call.input()?).await,
            "TagResource" => self.tag_topic(caller, call.input()?).await,
            "Unsubscribe" => self.unsubscribe(caller, call).await,
            "UntagResource" => self.untag_topic(caller, call.input()?).await,
            other => Err(fail("InvalidAction", format!("The operation {other} is not supported"))),
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const fn data(name: &'static str) -> Operation {
    Operation { name, event_name: name, access: Access::Write, kind: EventKind::Data }
}

const OPERATIONS: &[Operation] = &[
    operation("AddPermission", Access::Write),
    operation("ConfirmSubscription", Access::Write),
    operation("CreateTopic", Access::Write),
    operation("DeleteTopic", Access::Write),
    operation("GetSubscriptionAttributes", Access::Read),
    operation("GetTopicAttributes", Access::Read),
    operation("ListSubscriptions", Access::Read),
    operation("ListSubscriptionsByTopic", Access::Read),
    operation("ListTagsForResource", Access::Read),
    operation("ListTopics", Access::Read),
    data("Publish"),
    data("PublishBatch"),
    operation("RemovePermission", Access::Write),
    operation("SetSubscriptionAttributes", Access::Write),
    operation("SetTopicAttributes", Access::Write),
    operation("Subscribe", Access::Write),
    operation("TagResource", Access::Write),
    operation("Unsubscribe", Access::Write),
    operation("UntagResource", Access::Write),
];

#[async_trait]
impl Service for Sns {
    fn model(&self) -> &'static str {
        "sns"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.find_target(caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(Self::find_further_targets(caller, call))
    }

    /// What the holders of links do without credentials.
    fn authorises_itself(&self, operation: &str) -> bool {
        target::LINK_OPERATIONS.contains(&operation)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        recorded::request(call)
    }

    fn also_concerned(&self, _operation: &str, target: &Target) -> Option<AccountId> {
        target.policy.as_ref().map(|policy| policy.owner.clone())
    }
}
