//! Delivery policies: how often, how fast and as what HTTP endpoints get messages.
//!
//! A topic's policy has its parts under `http`; a subscription's own overrides them, unless the topic forbids it.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Seconds of a delay, at most.
const DELAY_SECONDS_MAX: u32 = 3600;
/// Retries, at most.
const RETRIES_MAX: u32 = 100;
/// The body's type where no policy says another.
const CONTENT_TYPE_DEFAULT: &str = "text/plain; charset=UTF-8";
/// The types that a policy may name.
const CONTENT_TYPES: &[&str] = &[
    "application/atom+xml",
    "application/json",
    "application/octet-stream",
    "application/soap+xml",
    "application/x-www-form-urlencoded",
    "application/xhtml+xml",
    "application/xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/plain",
    "text/xml",
];

/// How the delays grow from the least to the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backoff {
    #[default]
    Linear,
    Arithmetic,
    Geometric,
    Exponential,
}

/// How a delivery is tried again: first without delay, then with the least, then with growing ones, then with the
/// greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RetryPolicy {
    /// Seconds.
    pub(crate) min_delay_target: u32,
    /// Seconds.
    pub(crate) max_delay_target: u32,
    /// Of all phases together.
    pub(crate) num_retries: u32,
    pub(crate) num_max_delay_retries: u32,
    pub(crate) num_no_delay_retries: u32,
    pub(crate) num_min_delay_retries: u32,
    pub(crate) backoff_function: Backoff,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            min_delay_target: 20,
            max_delay_target: 20,
            num_retries: 3,
            num_max_delay_retries: 0,
            num_no_delay_retries: 0,
            num_min_delay_retries: 0,
            backoff_function: Backoff::Linear,
        }
    }
}

/// How fast an endpoint is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ThrottlePolicy {
    pub(crate) max_receives_per_second: u32,
}

/// What a request looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RequestPolicy {
    pub(crate) header_content_type: String,
}

/// A subscription's policy, as it is given and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SubscriptionPolicy {
    healthy_retry_policy: Option<RetryPolicy>,
    sickly_retry_policy: Option<RetryPolicy>,
    throttle_policy: Option<ThrottlePolicy>,
    request_policy: Option<RequestPolicy>,
    guaranteed: bool,
}

/// The part `http` of a topic's policy. Retries stay as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TopicPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    default_healthy_retry_policy: Option<Value>,
    disable_subscription_overrides: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_throttle_policy: Option<ThrottlePolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_request_policy: Option<RequestPolicy>,
}

/// What counts for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryPolicy {
    pub(crate) retry: RetryPolicy,
    pub(crate) max_receives_per_second: Option<u32>,
    pub(crate) content_type: String,
}

/// What counts for a subscription, of the policies that its topic and it have.
pub(crate) fn effective(topic: Option<&str>, subscription: Option<&str>) -> DeliveryPolicy {
    let topic = topic.map(read_topic).unwrap_or_default();
    let own = subscription.filter(|_| !topic.disable_subscription_overrides);
    let own: SubscriptionPolicy = own.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let retry = topic.default_healthy_retry_policy.and_then(|policy| serde_json::from_value(policy).ok());
    let request = own.request_policy.or(topic.default_request_policy);
    let throttle = own.throttle_policy.or(topic.default_throttle_policy);
    DeliveryPolicy {
        retry: own.healthy_retry_policy.or(retry).unwrap_or_default(),
        max_receives_per_second: throttle.map(|policy| policy.max_receives_per_second),
        content_type: request
            .map_or_else(|| CONTENT_TYPE_DEFAULT.to_owned(), |policy| policy.header_content_type),
    }
}

/// EffectiveDeliveryPolicy of a topic.
pub(super) fn shown_for_topic(topic: Option<&str>) -> String {
    let policy = effective(topic, None);
    let mut http = json!({
        "defaultHealthyRetryPolicy": policy.retry,
        "disableSubscriptionOverrides": topic.map(read_topic).unwrap_or_default().disable_subscription_overrides,
    });
    if let Some(most) = policy.max_receives_per_second {
        http["defaultThrottlePolicy"] = json!({ "maxReceivesPerSecond": most });
    }
    http["defaultRequestPolicy"] = json!({ "headerContentType": policy.content_type });
    json!({ "http": http }).to_string()
}

/// EffectiveDeliveryPolicy of a subscription.
pub(super) fn shown_for_subscription(topic: Option<&str>, subscription: Option<&str>) -> String {
    let policy = effective(topic, subscription);
    let throttle = policy.max_receives_per_second;
    json!({
        "healthyRetryPolicy": policy.retry,
        "sicklyRetryPolicy": null,
        "throttlePolicy": throttle.map(|most| json!({ "maxReceivesPerSecond": most })),
        "requestPolicy": { "headerContentType": policy.content_type },
        "guaranteed": false,
    })
    .to_string()
}

fn read_topic(text: &str) -> TopicPolicy {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.get("http").and_then(|http| TopicPolicy::deserialize(http).ok()).unwrap_or_default()
}

/// A topic's policy as it is kept and shown.
///
/// # Errors
/// What is wrong with it, behind "DeliveryPolicy: ".
pub(super) fn check_topic(text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    let http = value.get("http").cloned().unwrap_or(Value::Null);
    let policy = if http.is_null() {
        TopicPolicy::default()
    } else {
        TopicPolicy::deserialize(&http).map_err(unexpected)?
    };
    if let Some(retry) = &policy.default_healthy_retry_policy {
        check_retry(&RetryPolicy::deserialize(retry).map_err(unexpected)?)?;
    }
    check_rest(policy.default_throttle_policy.as_ref(), policy.default_request_policy.as_ref())?;
    Ok(json!({ "http": policy }).to_string())
}

/// A subscription's policy as it is kept and shown.
///
/// # Errors
/// What is wrong with it, behind "DeliveryPolicy: ".
pub(super) fn check_subscription(text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    let policy = SubscriptionPolicy::deserialize(&value).map_err(unexpected)?;
    policy.healthy_retry_policy.iter().chain(&policy.sickly_retry_policy).try_for_each(check_retry)?;
    check_rest(policy.throttle_policy.as_ref(), policy.request_policy.as_ref())?;
    Ok(json!(policy).to_string())
}

fn unexpected(error: serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line").unwrap_or(text.len());
    format!("Unexpected JSON member: {}", text[..end].replace('`', "'"))
}

fn check_retry(policy: &RetryPolicy) -> Result<(), String> {
    let refuse = |text: String| Err(format!("healthyRetryPolicy.{text}"));
    if policy.num_retries > RETRIES_MAX {
        return refuse(format!("numRetries must be less than or equal to {RETRIES_MAX}"));
    }
    if policy.min_delay_target == 0 || policy.min_delay_target > policy.max_delay_target {
        return refuse("minDelayTarget must be at least 1 and at most maxDelayTarget".to_owned());
    }
    if policy.max_delay_target > DELAY_SECONDS_MAX {
        return refuse(format!("maxDelayTarget must be less than or equal to {DELAY_SECONDS_MAX}"));
    }
    let phases = u64::from(policy.num_no_delay_retries)
        + u64::from(policy.num_min_delay_retries)
        + u64::from(policy.num_max_delay_retries);
    if phases > u64::from(policy.num_retries) {
        return refuse("numRetries must be at least the sum of the retries of all phases".to_owned());
    }
    Ok(())
}

fn check_rest(throttle: Option<&ThrottlePolicy>, request: Option<&RequestPolicy>) -> Result<(), String> {
    if throttle.is_some_and(|policy| policy.max_receives_per_second == 0) {
        return Err("throttlePolicy.maxReceivesPerSecond must be at least 1".to_owned());
    }
    let media_type = |policy: &RequestPolicy| {
        policy.header_content_type.split(';').next().unwrap_or_default().trim().to_owned()
    };
    match request.map(media_type) {
        Some(named) if !CONTENT_TYPES.contains(&named.as_str()) => {
            Err(format!("requestPolicy.headerContentType: invalid value {named}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_shown_as_aws_shows_them() {
        let shown = |text| check_topic(text).unwrap();
        assert_eq!(
            shown(r#"{"http":{"defaultRequestPolicy":{"headerContentType":"application/json"}}}"#),
            r#"{"http":{"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"application/json"}}}"#
        );
        let retries = r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1}}}"#;
        assert_eq!(
            shown(retries),
            r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1},"disableSubscriptionOverrides":false}}"#
        );
        assert_eq!(
            shown_for_topic(Some(retries)),
            r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}"#
        );
        assert_eq!(
            check_subscription(r#"{"requestPolicy":{"headerContentType":"text/csv"}}"#).unwrap(),
            r#"{"healthyRetryPolicy":null,"sicklyRetryPolicy":null,"throttlePolicy":null,"requestPolicy":{"headerContentType":"text/csv"},"guaranteed":false}"#
        );
    }

    #[test]
    fn a_subscription_overrides_its_topic_unless_that_forbids_it() {
        let own = r#"{"healthyRetryPolicy":{"numRetries":7,"minDelayTarget":1,"maxDelayTarget":2}}"#;
        let topic = |forbids: bool| {
            format!(
                r#"{{"http":{{"defaultHealthyRetryPolicy":{{"numRetries":9}},"disableSubscriptionOverrides":{forbids},"defaultThrottlePolicy":{{"maxReceivesPerSecond":4}}}}}}"#
            )
        };
        let policy = effective(Some(&topic(false)), Some(own));
        assert_eq!((policy.retry.num_retries, policy.max_receives_per_second), (7, Some(4)));
        assert_eq!(effective(Some(&topic(true)), Some(own)).retry.num_retries, 9);
        assert_eq!(effective(None, None).content_type, "text/plain; charset=UTF-8");
    }

    #[test]
    fn what_no_endpoint_could_keep_to_is_refused() {
        for wrong in [
            r#"{"healthyRetryPolicy":{"numRetries":101}}"#,
            r#"{"healthyRetryPolicy":{"minDelayTarget":0}}"#,
            r#"{"healthyRetryPolicy":{"minDelayTarget":30}}"#,
            r#"{"healthyRetryPolicy":{"maxDelayTarget":3601}}"#,
            r#"{"healthyRetryPolicy":{"numNoDelayRetries":4}}"#,
            r#"{"healthyRetryPolicy":{"backoffFunction":"cubic"}}"#,
            r#"{"throttlePolicy":{"maxReceivesPerSecond":0}}"#,
            r#"{"requestPolicy":{"headerContentType":"image/png"}}"#,
            r#"{"other":1}"#,
            "[]x",
        ] {
            assert!(check_subscription(wrong).is_err(), "{wrong}");
        }
    }
}
