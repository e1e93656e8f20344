//! What SNS keeps in the catalog: topics, subscriptions, tokens, what FIFO topics remember, and what is owed ([`owed`]).
//!
//! Rows begin with the topic's region, account and name, so a topic's subscriptions lie together.
//!
//! [`owed`]: super::owed

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use cairn_core::{AccountId, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use super::arn::{SubscriptionArn, TopicArn};
use crate::sinks::Attribute;

/// Topics by [`TopicArn::row`].
pub(super) const TOPICS: Table<Topic> = Table::new("sns.topic", 1);
/// Subscriptions by [`SubscriptionArn::row`].
pub(super) const SUBSCRIPTIONS: Table<Subscription> = Table::new("sns.subscription", 1);
/// The subscriptions that an account made, whosever the topics: by [`owner_row`].
pub(super) const SUBSCRIPTIONS_OF_OWNERS: Table<SubscriptionArn> = Table::new("sns.subscription_of_owner", 1);
/// The id of a topic's subscription of an endpoint: by [`endpoint_row`].
const SUBSCRIPTIONS_OF_ENDPOINTS: Table<String> = Table::new("sns.subscription_of_endpoint", 1);
/// How many subscriptions a topic has, by [`TopicArn::row`].
pub(super) const COUNTS: Table<Counts> = Table::new("sns.subscription_counts", 1);
/// The subscription that a confirmation token is for: by [`token_row`].
pub(super) const TOKENS: Table<Token> = Table::new("sns.token", 1);

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) arn: TopicArn,
    pub(crate) created: Timestamp,
    /// The policy document's text.
    pub(crate) policy: String,
    /// The other attributes that were set, by AWS's names.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Topic {
    /// An attribute's text, where it is set.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Which signature enveloped messages have: `1` or `2`.
    pub(crate) fn signature_version(&self) -> &str {
        self.attribute("SignatureVersion").unwrap_or("1")
    }
}

/// How a subscriber is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    Sqs,
    Http,
    Https,
    Email,
    EmailJson,
    Lambda,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Http => "http",
            Self::Https => "https",
            Self::Email => "email",
            Self::EmailJson => "email-json",
            Self::Lambda => "lambda",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Sqs, Self::Http, Self::Https, Self::Email, Self::EmailJson, Self::Lambda]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// What a filter policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum FilterScope {
    #[default]
    MessageAttributes,
    MessageBody,
}

/// Somebody who is told of a topic's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) arn: SubscriptionArn,
    /// The account that subscribed.
    pub(crate) owner: AccountId,
    /// Who subscribed: an ARN.
    pub(crate) principal: String,
    pub(crate) protocol: Protocol,
    /// A queue's ARN, a URL or an e-mail address.
    pub(crate) endpoint: String,
    pub(crate) created: Timestamp,
    pub(crate) state: SubscriptionState,
    /// The policy's text as it was set.
    #[serde(default)]
    pub(crate) filter_policy: Option<String>,
    #[serde(default)]
    pub(crate) filter_scope: Option<FilterScope>,
    /// Whether the endpoint gets the message alone, and not the envelope.
    #[serde(default)]
    pub(crate) raw: bool,
    /// The redrive policy's text as it was set.
    #[serde(default)]
    pub(crate) redrive_policy: Option<String>,
    /// The delivery policy's text as it was set.
    #[serde(default)]
    pub(crate) delivery_policy: Option<String>,
}

/// Whether a subscription's endpoint wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SubscriptionState {
    /// It was asked, and can confirm until then.
    Pending { until: Timestamp },
    /// It has confirmed.
    Confirmed {
        /// Whether only the owners of topic and subscription may end it.
        authenticate_on_unsubscribe: bool,
        /// Whether somebody with the right to subscribe confirmed it: `ConfirmationWasAuthenticated`.
        was_authenticated: bool,
    },
}

impl Subscription {
    /// Whether messages go there.
    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.state, SubscriptionState::Confirmed { .. })
    }

    /// The queue that takes what could not be delivered.
    pub(crate) fn dead_letter_queue(&self) -> Option<String> {
        let policy: serde_json::Value = serde_json::from_str(self.redrive_policy.as_deref()?).ok()?;
        Some(policy.get("deadLetterTargetArn")?.as_str()?.to_owned())
    }

    /// The row that finds it among its owner's.
    pub(super) fn owner_row(&self) -> Key {
        owner_prefix(&self.arn, &self.owner).text(&self.arn.to_string())
    }
}

fn owner_prefix(arn: &SubscriptionArn, owner: &AccountId) -> Key {
    owner_row(arn.topic.region.as_str(), owner)
}

/// The prefix of what an account subscribed to in a region.
pub(super) fn owner_row(region: &str, owner: &AccountId) -> Key {
    Key::new().text(region).text(owner.as_str())
}

/// A confirmation token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) subscription: SubscriptionArn,
    pub(crate) until: Timestamp,
    /// Of a subscription that was ended by its link: as it was, so that it can be had back.
    #[serde(default)]
    pub(crate) ended: Option<Box<Subscription>>,
}

/// The row of a token, which only its own topic knows. The token itself is not kept.
pub(super) fn token_row(topic: &TopicArn, token: &str) -> Key {
    topic.row().text(&hex::encode(digest(&SHA256, token.as_bytes())))
}

impl Token {
    pub(super) fn new(subscription: SubscriptionArn, until: Timestamp) -> Self {
        Self { subscription, until, ended: None }
    }
}

fn endpoint_row(subscription: &Subscription) -> Key {
    subscription.arn.topic.row().text(subscription.protocol.name()).text(&subscription.endpoint)
}

/// How many subscriptions a topic has, and had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) confirmed: u64,
    pub(crate) pending: u64,
    pub(crate) deleted: u64,
}

impl Counts {
    fn of_state(&mut self, is_confirmed: bool) -> &mut u64 {
        if is_confirmed { &mut self.confirmed } else { &mut self.pending }
    }
}

/// Keeps a subscription as it is now, with everything that finds and counts it.
pub(super) fn put_subscription(tx: &mut dyn Tx, subscription: &Subscription) -> Result<(), CatalogError> {
    let topic = subscription.arn.topic.row();
    let before = SUBSCRIPTIONS.get(tx, subscription.arn.row().bytes())?;
    let was = before.as_ref().map(Subscription::is_confirmed);
    if was != Some(subscription.is_confirmed()) {
        let mut counts = COUNTS.get(tx, topic.bytes())?.unwrap_or_default();
        if let Some(was) = was {
            *counts.of_state(was) = counts.of_state(was).saturating_sub(1);
        }
        *counts.of_state(subscription.is_confirmed()) += 1;
        COUNTS.put(tx, topic.bytes(), &counts)?;
    }
    if before.is_none() {
        SUBSCRIPTIONS_OF_OWNERS.put(tx, subscription.owner_row().bytes(), &subscription.arn)?;
        SUBSCRIPTIONS_OF_ENDPOINTS.put(tx, endpoint_row(subscription).bytes(), &subscription.arn.id)?;
    }
    SUBSCRIPTIONS.put(tx, subscription.arn.row().bytes(), subscription)
}

/// Forgets a subscription; returns it as it was.
pub(super) fn remove_subscription(
    tx: &mut dyn Tx,
    arn: &SubscriptionArn,
) -> Result<Option<Subscription>, CatalogError> {
    let Some(subscription) = SUBSCRIPTIONS.get(tx, arn.row().bytes())? else { return Ok(None) };
    SUBSCRIPTIONS.delete(tx, arn.row().bytes())?;
    SUBSCRIPTIONS_OF_OWNERS.delete(tx, subscription.owner_row().bytes())?;
    SUBSCRIPTIONS_OF_ENDPOINTS.delete(tx, endpoint_row(&subscription).bytes())?;
    let topic = arn.topic.row();
    let mut counts = COUNTS.get(tx, topic.bytes())?.unwrap_or_default();
    let state = counts.of_state(subscription.is_confirmed());
    *state = state.saturating_sub(1);
    counts.deleted += 1;
    COUNTS.put(tx, topic.bytes(), &counts)?;
    Ok(Some(subscription))
}

/// The subscription of the topic that has the endpoint of `like`.
pub(super) fn subscription_of_endpoint(
    tx: &mut dyn Tx,
    like: &Subscription,
) -> Result<Option<Subscription>, CatalogError> {
    let Some(id) = SUBSCRIPTIONS_OF_ENDPOINTS.get(tx, endpoint_row(like).bytes())? else { return Ok(None) };
    let arn = SubscriptionArn { topic: like.arn.topic.clone(), id };
    SUBSCRIPTIONS.get(tx, arn.row().bytes())
}

/// Forgets a topic without subscriptions. What its publishers' messages were known by goes by its age.
pub(super) fn forget_topic(tx: &mut dyn Tx, arn: &TopicArn) -> Result<(), CatalogError> {
    TOPICS.delete(tx, arn.row().bytes())?;
    COUNTS.delete(tx, arn.row().bytes())?;
    Ok(())
}

/// What a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotificationKind {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

impl NotificationKind {
    /// `Type` in the envelope, and the header x-amz-sns-message-type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

/// One message as subscribers of one protocol get it: what is sent is a pure function of it and of the subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notification {
    pub(crate) kind: NotificationKind,
    /// A UUID.
    pub(crate) message_id: String,
    pub(crate) topic: TopicArn,
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    /// When it was published.
    pub(crate) at: Timestamp,
    pub(crate) attributes: Vec<Attribute>,
    /// Of FIFO topics; perhaps of others, for fair queues.
    #[serde(default)]
    pub(crate) group: Option<String>,
    /// Of FIFO topics.
    #[serde(default)]
    pub(crate) deduplication: Option<String>,
    /// Of FIFO topics.
    #[serde(default)]
    pub(crate) sequence_number: Option<String>,
    /// Of confirmations.
    #[serde(default)]
    pub(crate) token: Option<String>,
    /// What vouches for it; FIFO topics' messages have none, nor has what goes to raw subscribers alone.
    #[serde(default)]
    pub(crate) signature: Option<Signature>,
}

/// What vouches for a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// `1` (SHA-1) or `2` (SHA-256).
    pub(crate) version: String,
    /// Base64.
    pub(crate) text: String,
    /// The certificate's file name under the server's address: `SimpleNotificationService-….pem`.
    pub(crate) certificate: String,
}

/// A delivery that is owed to one subscription: its message is kept once for all of a protocol ([`owed`]).
///
/// [`owed`]: super::owed
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub(crate) subscription: SubscriptionArn,
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: String,
    pub(crate) kind: NotificationKind,
    pub(crate) message_id: String,
    /// Where order matters: later ones of the subscription's group wait for this one.
    pub(crate) group: Option<String>,
    /// Its place among all that is owed.
    pub(crate) place: u64,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// Since when it is owed.
    pub(crate) since: Timestamp,
    /// When it is tried next.
    pub(crate) due_at: Timestamp,
    /// What went wrong the last time: code and text.
    #[serde(default)]
    pub(crate) last_failure: Option<(String, String)>,
}

impl Owed {
    /// What is owed to `subscription` of `notification`, from `now` on.
    pub(super) fn new(subscription: &Subscription, notification: &Notification, now: Timestamp) -> Self {
        Self {
            subscription: subscription.arn.clone(),
            protocol: subscription.protocol,
            endpoint: subscription.endpoint.clone(),
            kind: notification.kind,
            message_id: notification.message_id.clone(),
            group: notification.group.clone().filter(|_| notification.topic.is_fifo()),
            place: 0,
            attempts: 0,
            since: now,
            due_at: now,
            last_failure: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Topic>(
            r#"{"arn":"arn:aws:sns:eu-west-1:111122223333:t","created":1795281866042,"policy":"{}","attributes":{"DisplayName":"d"},"tags":{"k":"v"}}"#,
        );
        check::<Subscription>(
            r#"{"arn":"arn:aws:sns:eu-west-1:111122223333:t:1234","owner":"444455556666","principal":"arn:aws:iam::444455556666:root","protocol":"email-json","endpoint":"a@example.com","created":1,"state":{"Pending":{"until":2}},"filter_policy":"{}","filter_scope":"MessageBody","raw":true,"redrive_policy":"{}","delivery_policy":"{}"}"#,
        );
        check::<SubscriptionState>(
            r#"{"Confirmed":{"authenticate_on_unsubscribe":true,"was_authenticated":false}}"#,
        );
        check::<Counts>(r#"{"confirmed":1,"pending":2,"deleted":3}"#);
        check::<Token>(
            r#"{"subscription":"arn:aws:sns:eu-west-1:111122223333:t:1234","until":2,"ended":null}"#,
        );
        check::<Notification>(
            r#"{"kind":"SubscriptionConfirmation","message_id":"m","topic":"arn:aws:sns:eu-west-1:111122223333:t","subject":"s","message":"m","at":1,"attributes":[{"name":"a","data_type":"String","value":{"Text":"v"}},{"name":"b","data_type":"Binary","value":{"Bytes":[1]}}],"group":"g","deduplication":"d","sequence_number":"1","token":"t","signature":{"version":"1","text":"c2ln","certificate":"c.pem"}}"#,
        );
        check::<Owed>(
            r#"{"subscription":"arn:aws:sns:eu-west-1:111122223333:t:1234","protocol":"https","endpoint":"https://example.com/","kind":"Notification","message_id":"m","group":null,"place":3,"attempts":1,"since":1,"due_at":2,"last_failure":["500","text"]}"#,
        );
    }
}
