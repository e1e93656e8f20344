//! Attributes of subscriptions: which there are, what they may be, how they are shown.

use std::collections::BTreeMap;

use cairn_core::filter_policy::{FilterPolicy, FilterPolicyScope};
use serde_json::{Map, Value};

use super::delivery_policy;
use super::state::{FilterScope, Protocol, Subscription, SubscriptionState, Topic};

/// Bytes of a redrive policy.
const REDRIVE_POLICY_SIZE_BYTES_MAX: usize = 2048;

/// The attributes that can be set, in the order that they are set in where several are given: a filter policy is read
/// by its scope.
pub(super) const SETTABLE: &[&str] =
    &["FilterPolicyScope", "FilterPolicy", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy"];

/// Sets an attribute of a subscription.
///
/// # Errors
/// What is wrong, behind "Invalid parameter: ". [`None`] where there is no such attribute.
pub(super) fn set(subscription: &mut Subscription, name: &str, value: &str) -> Result<(), Option<String>> {
    match name {
        "RawMessageDelivery" => set_raw(subscription, value).map_err(Some),
        "FilterPolicyScope" => {
            let scope = match value {
                "MessageAttributes" => FilterScope::MessageAttributes,
                "MessageBody" => FilterScope::MessageBody,
                _ => {
                    return Err(Some(format!(
                        "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
                    )));
                }
            };
            subscription.filter_scope = Some(scope);
            filter_of(subscription).map(|_| ()).map_err(Some)
        }
        "FilterPolicy" => {
            subscription.filter_policy = (!value.is_empty()).then(|| value.to_owned());
            filter_of(subscription).map(|_| ()).map_err(Some)
        }
        "RedrivePolicy" => {
            check_redrive(subscription, value)
                .map_err(|problem| Some(format!("RedrivePolicy: {problem}")))?;
            subscription.redrive_policy = is_given(value).then(|| value.to_owned());
            Ok(())
        }
        "DeliveryPolicy" if !is_given(value) => {
            subscription.delivery_policy = None;
            Ok(())
        }
        "DeliveryPolicy" => {
            let kept = delivery_policy::check_subscription(value)
                .map_err(|problem| Some(format!("DeliveryPolicy: {problem}")))?;
            subscription.delivery_policy = Some(kept);
            Ok(())
        }
        _ => Err(None),
    }
}

/// Whether there is a policy in the text, and not nothing in other words.
fn is_given(value: &str) -> bool {
    !["", "{}", "null"].contains(&value.trim())
}

fn set_raw(subscription: &mut Subscription, value: &str) -> Result<(), String> {
    let raw = match value.to_ascii_lowercase().as_str() {
        "true" => true,
        "false" => false,
        _ => return Err(format!("RawMessageDelivery: Invalid value [{value}]. Must be true or false.")),
    };
    let protocol = subscription.protocol;
    if raw && matches!(protocol, Protocol::Email | Protocol::EmailJson | Protocol::Lambda) {
        return Err(format!(
            "RawMessageDelivery: Delivery protocol [{}] does not support raw message delivery.",
            protocol.name()
        ));
    }
    subscription.raw = raw;
    Ok(())
}

/// The subscription's filter policy, ready to match; none where it has none.
pub(super) fn filter_of(subscription: &Subscription) -> Result<Option<FilterPolicy>, String> {
    let scope = match subscription.filter_scope.unwrap_or_default() {
        FilterScope::MessageAttributes => FilterPolicyScope::MessageAttributes,
        FilterScope::MessageBody => FilterPolicyScope::MessageBody,
    };
    let text = subscription.filter_policy.as_deref();
    text.map(|text| FilterPolicy::parse(text, scope)).transpose().map_err(|error| error.to_string())
}

fn check_redrive(subscription: &Subscription, text: &str) -> Result<(), String> {
    if !is_given(text) {
        return Ok(());
    }
    if text.len() > REDRIVE_POLICY_SIZE_BYTES_MAX {
        return Err(format!("the policy is larger than {REDRIVE_POLICY_SIZE_BYTES_MAX} bytes"));
    }
    let policy: Value = serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    let target = policy.get("deadLetterTargetArn").and_then(Value::as_str).unwrap_or_default();
    if !is_queue_arn(target) {
        return Err("deadLetterTargetArn is an invalid arn".to_owned());
    }
    let of_fifo = subscription.arn.topic.is_fifo() && subscription.endpoint.ends_with(".fifo");
    if of_fifo && !target.ends_with(".fifo") {
        return Err("must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.".to_owned());
    }
    Ok(())
}

/// Whether a text is the ARN of a queue.
pub(super) fn is_queue_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", "aws", "sqs", region, account, name] = parts[..] else { return false };
    region.parse::<cairn_core::Region>().is_ok()
        && account.parse::<cairn_core::AccountId>().is_ok()
        && !name.is_empty()
}

/// Whether a text is the ARN of a function, perhaps with a version or an alias.
pub(super) fn is_function_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(7, ':').collect();
    let ["arn", "aws", "lambda", region, account, "function", name] = parts[..] else { return false };
    region.parse::<cairn_core::Region>().is_ok()
        && account.parse::<cairn_core::AccountId>().is_ok()
        && !name.is_empty()
}

/// All attributes of a subscription, as GetSubscriptionAttributes shows them.
pub(super) fn shown(subscription: &Subscription, topic: Option<&Topic>) -> Value {
    let mut shown = BTreeMap::new();
    let mut put = |name: &str, value: String| shown.insert(name.to_owned(), value);
    put("SubscriptionArn", subscription.arn.to_string());
    put("TopicArn", subscription.arn.topic.to_string());
    put("Owner", subscription.owner.to_string());
    put("SubscriptionPrincipal", subscription.principal.clone());
    put("Protocol", subscription.protocol.name().to_owned());
    put("Endpoint", subscription.endpoint.clone());
    put("PendingConfirmation", (!subscription.is_confirmed()).to_string());
    let authenticated =
        matches!(subscription.state, SubscriptionState::Confirmed { was_authenticated: true, .. });
    put("ConfirmationWasAuthenticated", authenticated.to_string());
    put("RawMessageDelivery", subscription.raw.to_string());
    if let Some(policy) = &subscription.filter_policy {
        put("FilterPolicy", policy.clone());
        let scope = match subscription.filter_scope.unwrap_or_default() {
            FilterScope::MessageAttributes => "MessageAttributes",
            FilterScope::MessageBody => "MessageBody",
        };
        put("FilterPolicyScope", scope.to_owned());
    }
    if let Some(policy) = &subscription.redrive_policy {
        put("RedrivePolicy", policy.clone());
    }
    let of_topic = topic.and_then(|topic| topic.attribute("DeliveryPolicy"));
    let own = subscription.delivery_policy.as_deref();
    if let Some(policy) = own {
        put("DeliveryPolicy", policy.to_owned());
    }
    let is_http = matches!(subscription.protocol, Protocol::Http | Protocol::Https);
    if is_http && (own.is_some() || of_topic.is_some()) {
        put("EffectiveDeliveryPolicy", delivery_policy::shown_for_subscription(of_topic, own));
    }
    Value::Object(shown.into_iter().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>())
}
