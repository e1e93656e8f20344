//! Subscriptions: asked for, listed, looked at, changed.
//!
//! An endpoint has one subscription of a topic. A queue of the caller's own account has agreed by belonging to it; all
//! others are asked, and have to confirm with a token that only they are sent.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_store::catalog::prefix_end;
use cairn_store::{CatalogError, Tx};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arn::{SubscriptionArn, TopicArn};
use super::error::{
    Failure, fail, invalid, not_authorized, subscription_arn, subscription_not_found, topic_arn,
};
use super::page::{PAGE_ITEMS, PageInput, page};
use super::state::{
    COUNTS, Notification, NotificationKind, Owed, Protocol, SUBSCRIPTIONS, SUBSCRIPTIONS_OF_OWNERS,
    Subscription, SubscriptionState, TOKENS, TOPICS, Token, owner_row, put_subscription,
    subscription_of_endpoint, token_row,
};
use super::topics::existing;
use super::{Sns, owed, subscription_attributes};
use crate::Caller;

/// How long a token can confirm: "tokens are valid for two days".
pub(super) const TOKEN_VALIDITY: Duration = Duration::from_secs(2 * 24 * 3600);
/// Hexadecimal digits of a token, of four bits each.
const TOKEN_DIGITS: usize = 200;
/// Subscriptions of a topic.
const SUBSCRIPTIONS_MAX: u64 = 100_000;
/// Characters of an endpoint.
const ENDPOINT_CHARS_MAX: usize = 2048;
/// What Subscribe shows in place of an ARN.
const PENDING: &str = "pending confirmation";

/// The protocols of AWS's that there is nobody for.
const PROTOCOLS_WITHOUT_SINK: [&str; 3] = ["application", "firehose", "sms"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Subscribe {
    topic_arn: String,
    protocol: String,
    endpoint: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    return_subscription_arn: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedSubscription {
    pub(super) subscription_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttribute {
    subscription_arn: String,
    attribute_name: String,
    attribute_value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListByTopic {
    topic_arn: String,
    #[serde(flatten)]
    page: PageInput,
}

/// What a Subscribe came to.
enum Made {
    /// The endpoint had agreed before, or need not be asked.
    Confirmed(SubscriptionArn),
    /// It is asked.
    Asked(SubscriptionArn),
}

impl Sns {
    pub(super) async fn subscribe(&self, caller: &Caller, input: Subscribe) -> Result<Value, Failure> {
        let topic = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let told = self.topic(&topic).await?;
        let asked = self.asked_for(caller, &topic, &input)?;
        let token = self.new_token();
        let mut question =
            confirmation(&asked, &token, NotificationKind::SubscriptionConfirmation, self.new_id());
        if !asked.is_confirmed() {
            self.vouch_for(&mut question, &told).await?;
        }
        let given: Vec<String> = input.attributes.keys().cloned().collect();
        let (now, sealer) = (caller.now, self.sealer.clone());
        let made = self
            .catalog
            .write(move |tx| {
                existing(tx, &asked.arn.topic)?;
                let found = subscription_of_endpoint(tx, &asked)?;
                let subscription = match found {
                    Some(found) => repeated(found, &asked, &given, now)?,
                    None => {
                        check_room(tx, &asked.arn.topic)?;
                        asked.clone()
                    }
                };
                put_subscription(tx, &subscription)?;
                if subscription.is_confirmed() {
                    return Ok::<_, Failure>(Made::Confirmed(subscription.arn));
                }
                let until = now.plus(TOKEN_VALIDITY);
                let token =
                    (token_row(&subscription.arn.topic, &token), Token::new(subscription.arn.clone(), until));
                TOKENS.put(tx, token.0.bytes(), &token.1)?;
                owed::owe(tx, &sealer, &question, vec![Owed::new(&subscription, &question, now)])?;
                Ok(Made::Asked(subscription.arn))
            })
            .await?;
        self.views.forget(&topic);
        Ok(match made {
            Made::Asked(arn) => {
                (self.woken)();
                let shown = if input.return_subscription_arn { arn.to_string() } else { PENDING.to_owned() };
                json!({ "SubscriptionArn": shown })
            }
            Made::Confirmed(arn) => json!({ "SubscriptionArn": arn.to_string() }),
        })
    }

    pub(super) fn new_token(&self) -> String {
        self.entropy.text(b"0123456789abcdef", TOKEN_DIGITS)
    }

    /// The subscription as it is asked for, checked.
    fn asked_for(
        &self,
        caller: &Caller,
        topic: &TopicArn,
        input: &Subscribe,
    ) -> Result<Subscription, Failure> {
        let (protocol, endpoint) = checked_endpoint(topic, &input.protocol, input.endpoint.as_deref())?;
        let own_queue = matches!(protocol, Protocol::Sqs | Protocol::Lambda)
            && endpoint.split(':').nth(4) == Some(caller.account.as_str());
        let state = if own_queue {
            SubscriptionState::Confirmed { authenticate_on_unsubscribe: false, was_authenticated: true }
        } else {
            SubscriptionState::Pending { until: caller.now.plus(TOKEN_VALIDITY) }
        };
        let mut subscription = Subscription {
            arn: SubscriptionArn { topic: topic.clone(), id: self.new_id() },
            owner: caller.account.clone(),
            principal: caller.principal.role_arn().or_else(|| caller.principal.arn()).unwrap_or_default(),
            protocol,
            endpoint,
            created: caller.now,
            state,
            filter_policy: None,
            filter_scope: None,
            raw: false,
            redrive_policy: None,
            delivery_policy: None,
        };
        let refused = |problem: String| invalid(format!("Attributes Reason: {problem}"));
        let known = subscription_attributes::SETTABLE;
        if let Some(name) = input.attributes.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(refused(format!("Unknown attribute: {name}")));
        }
        for name in known {
            if let Some(value) = input.attributes.get(*name) {
                subscription_attributes::set(&mut subscription, name, value)
                    .map_err(|problem| refused(problem.unwrap_or_default()))?;
            }
        }
        Ok(subscription)
    }

    pub(super) async fn subscription_attributes(
        &self,
        caller: &Caller,
        input: NamedSubscription,
    ) -> Result<Value, Failure> {
        let arn = subscription_arn(&input.subscription_arn, Some(&caller.region))?;
        let by = caller.clone();
        let attributes = self
            .catalog
            .read(move |tx| {
                let subscription = own_subscription(tx, &by, &arn)?;
                let topic = TOPICS.get(tx, arn.topic.row().bytes())?;
                Ok::<_, Failure>(subscription_attributes::shown(&subscription, topic.as_ref()))
            })
            .await?;
        Ok(json!({ "Attributes": attributes }))
    }

    pub(super) async fn set_subscription_attribute(
        &self,
        caller: &Caller,
        input: SetAttribute,
    ) -> Result<Value, Failure> {
        let arn = subscription_arn(&input.subscription_arn, Some(&caller.region))?;
        let (by, named) = (caller.clone(), arn.clone());
        self.catalog
            .write(move |tx| {
                let mut subscription = own_subscription(tx, &by, &named)?;
                let value = input.attribute_value.as_deref().unwrap_or_default();
                subscription_attributes::set(&mut subscription, &input.attribute_name, value)
                    .map_err(|problem| invalid(problem.unwrap_or_else(|| "AttributeName".to_owned())))?;
                Ok::<_, Failure>(put_subscription(tx, &subscription)?)
            })
            .await?;
        self.views.forget(&arn.topic);
        Ok(json!({}))
    }

    pub(super) async fn list_subscriptions(
        &self,
        caller: &Caller,
        input: PageInput,
    ) -> Result<Value, Failure> {
        let after = input.after()?;
        let prefix = owner_row(caller.region.as_str(), &caller.account);
        let found = self
            .catalog
            .read(move |tx| {
                let from = after.as_ref().map_or_else(|| prefix.clone(), |after| prefix.clone().text(after));
                let end = prefix_end(prefix.bytes());
                let mut rows =
                    SUBSCRIPTIONS_OF_OWNERS.scan(tx, from.bytes(), end.as_deref(), PAGE_ITEMS + 2)?;
                rows.retain(|(row, _)| after.is_none() || row != from.bytes());
                let arns = rows.into_iter().map(|(_, arn)| arn);
                let found = arns.map(|arn| SUBSCRIPTIONS.get(tx, arn.row().bytes()));
                found.collect::<Result<Vec<_>, CatalogError>>()
            })
            .await?;
        let shown = found.into_iter().flatten().map(|found| (found.arn.to_string(), listed(&found)));
        Ok(page("Subscriptions", shown.collect()))
    }

    pub(super) async fn list_subscriptions_by_topic(
        &self,
        caller: &Caller,
        input: ListByTopic,
    ) -> Result<Value, Failure> {
        let topic = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let after = input.page.after()?;
        let found = self
            .catalog
            .read(move |tx| {
                existing(tx, &topic)?;
                let prefix = topic.row();
                let from = after.as_ref().map_or_else(|| prefix.clone(), |after| prefix.clone().text(after));
                let end = prefix_end(prefix.bytes());
                let mut rows = SUBSCRIPTIONS.scan(tx, from.bytes(), end.as_deref(), PAGE_ITEMS + 2)?;
                rows.retain(|(row, _)| after.is_none() || row != from.bytes());
                Ok::<_, Failure>(rows)
            })
            .await?;
        let shown = found.into_iter().map(|(_, found)| (found.arn.id.clone(), listed(&found)));
        Ok(page("Subscriptions", shown.collect()))
    }
}

/// The message that asks an endpoint, or tells it of its end.
pub(super) fn confirmation(
    subscription: &Subscription,
    token: &str,
    kind: NotificationKind,
    message_id: String,
) -> Notification {
    let topic = &subscription.arn.topic;
    let message = match kind {
        NotificationKind::UnsubscribeConfirmation => format!(
            "You have chosen to deactivate subscription {}.\nTo cancel this operation and restore the subscription, \
             visit the SubscribeURL included in this message.",
            subscription.arn
        ),
        _ => format!(
            "You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL \
             included in this message."
        ),
    };
    Notification {
        kind,
        message_id,
        topic: topic.clone(),
        subject: None,
        message,
        at: subscription.created,
        attributes: Vec::new(),
        group: None,
        deduplication: None,
        sequence_number: None,
        token: Some(token.to_owned()),
        signature: None,
    }
}

/// A subscription as lists show it.
fn listed(subscription: &Subscription) -> Value {
    let arn = if subscription.is_confirmed() {
        subscription.arn.to_string()
    } else {
        "PendingConfirmation".to_owned()
    };
    json!({
        "SubscriptionArn": arn,
        "Owner": subscription.owner,
        "Protocol": subscription.protocol.name(),
        "Endpoint": subscription.endpoint,
        "TopicArn": subscription.arn.topic.to_string(),
    })
}

/// The subscription, where it is the caller's or one of their topic's.
fn own_subscription(
    tx: &mut dyn Tx,
    caller: &Caller,
    arn: &SubscriptionArn,
) -> Result<Subscription, Failure> {
    let found = SUBSCRIPTIONS.get(tx, arn.row().bytes())?.ok_or_else(subscription_not_found)?;
    if [&found.owner, &arn.topic.account].contains(&&caller.account) {
        Ok(found)
    } else {
        Err(not_authorized("Subscription is not owned by the caller"))
    }
}

/// What becomes of a subscription whose endpoint has one already.
fn repeated(
    mut found: Subscription,
    asked: &Subscription,
    given: &[String],
    now: cairn_core::Timestamp,
) -> Result<Subscription, Failure> {
    let differs = given.iter().any(|name| match name.as_str() {
        "RawMessageDelivery" => found.raw != asked.raw,
        "FilterPolicy" => found.filter_policy != asked.filter_policy,
        "FilterPolicyScope" => {
            found.filter_scope.unwrap_or_default() != asked.filter_scope.unwrap_or_default()
        }
        "RedrivePolicy" => found.redrive_policy != asked.redrive_policy,
        _ => found.delivery_policy != asked.delivery_policy,
    });
    if differs {
        return Err(invalid("Attributes Reason: Subscription already exists with different attributes"));
    }
    if !found.is_confirmed() {
        // Asked once more, by somebody who may need no answer.
        found.state = match &asked.state {
            SubscriptionState::Pending { .. } => {
                SubscriptionState::Pending { until: now.plus(TOKEN_VALIDITY) }
            }
            confirmed @ SubscriptionState::Confirmed { .. } => confirmed.clone(),
        };
    }
    Ok(found)
}

fn check_room(tx: &mut dyn Tx, topic: &TopicArn) -> Result<(), Failure> {
    let counts = COUNTS.get(tx, topic.row().bytes())?.unwrap_or_default();
    if counts.confirmed + counts.pending < SUBSCRIPTIONS_MAX {
        return Ok(());
    }
    Err(fail(
        "SubscriptionLimitExceeded",
        "The maximum number of subscriptions of the topic has been reached.",
    ))
}

fn checked_endpoint(
    topic: &TopicArn,
    protocol: &str,
    endpoint: Option<&str>,
) -> Result<(Protocol, String), Failure> {
    let Some(known) = Protocol::parse(protocol) else {
        return Err(invalid(if PROTOCOLS_WITHOUT_SINK.contains(&protocol) {
            format!("Protocol Reason: subscriptions of the protocol {protocol} are not supported")
        } else {
            format!("Amazon SNS does not support this protocol string: {protocol}")
        }));
    };
    let endpoint = endpoint.unwrap_or_default();
    if endpoint.is_empty() || endpoint.chars().count() > ENDPOINT_CHARS_MAX {
        return Err(invalid("Endpoint"));
    }
    match known {
        Protocol::Sqs if !subscription_attributes::is_queue_arn(endpoint) => {
            return Err(invalid("SQS endpoint ARN"));
        }
        Protocol::Sqs if endpoint.ends_with(".fifo") && !topic.is_fifo() => {
            return Err(invalid(
                "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
            ));
        }
        Protocol::Sqs => {}
        _ if topic.is_fifo() => {
            return Err(invalid(format!(
                "Protocol Reason: FIFO topics do not support the protocol {protocol}"
            )));
        }
        Protocol::Lambda if !subscription_attributes::is_function_arn(endpoint) => {
            return Err(invalid("Lambda endpoint ARN"));
        }
        Protocol::Lambda => {}
        Protocol::Http | Protocol::Https => {
            let host = endpoint.strip_prefix(protocol).and_then(|rest| rest.strip_prefix("://"));
            let is_plain = !endpoint.contains(|c: char| c.is_whitespace() || c.is_control());
            if !is_plain || host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
                return Err(invalid("Endpoint must match the specified protocol"));
            }
        }
        Protocol::Email | Protocol::EmailJson => {
            let parts = endpoint.split_once('@');
            let is_plain = |part: &str| {
                !part.is_empty()
                    && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "<>@,;".contains(c))
            };
            if !parts.is_some_and(|(name, host)| is_plain(name) && is_plain(host)) {
                return Err(invalid("Email address"));
            }
        }
    }
    Ok((known, endpoint.to_owned()))
}
