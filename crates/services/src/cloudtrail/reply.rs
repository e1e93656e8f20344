//! A trail as replies show it, members in AWS's order, unset ones left out.

use cairn_core::Timestamp;
use cairn_trail::Trail;
use serde::Serialize;
use serde_json::{Value, json};

/// The trail as CreateTrail and UpdateTrail answer.
pub(super) fn configuration(trail: &Trail) -> Value {
    shown(trail, None)
}

/// The trail as GetTrail and DescribeTrails show it.
pub(super) fn description(trail: &Trail) -> Value {
    shown(
        trail,
        Some(Home {
            region: trail.home_region().to_string(),
            has_custom_event_selectors: trail.selection.is_custom(),
            has_insight_selectors: !trail.insight_selectors.is_empty(),
        }),
    )
}

/// A time as JSON replies have it: epoch seconds, whole ones as integers.
pub(super) fn seconds(time: Timestamp) -> Value {
    if time.millis() % 1000 == 0 {
        return json!(time.seconds());
    }
    #[allow(clippy::cast_precision_loss, reason = "milliseconds to the year 9999 fit into 53 bits")]
    let seconds = time.millis() as f64 / 1000.0;
    json!(seconds)
}

/// An empty reply.
pub(super) fn nothing() -> Value {
    json!({})
}

struct Home {
    region: String,
    has_custom_event_selectors: bool,
    has_insight_selectors: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    s3_bucket_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_key_prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sns_topic_name: Option<&'a str>,
    #[serde(rename = "SnsTopicARN", skip_serializing_if = "Option::is_none")]
    sns_topic_arn: Option<String>,
    include_global_service_events: bool,
    is_multi_region_trail: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    home_region: Option<String>,
    #[serde(rename = "TrailARN")]
    trail_arn: &'a str,
    log_file_validation_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_watch_logs_log_group_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_watch_logs_role_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_custom_event_selectors: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_insight_selectors: Option<bool>,
    is_organization_trail: bool,
}

fn shown(trail: &Trail, home: Option<Home>) -> Value {
    let shown = Shown {
        name: trail.arn.name(),
        s3_bucket_name: &trail.bucket,
        s3_key_prefix: trail.key_prefix.as_deref(),
        sns_topic_name: trail.sns_topic.as_deref(),
        sns_topic_arn: trail.sns_topic_arn(),
        include_global_service_events: trail.include_global_service_events,
        is_multi_region_trail: trail.multi_region,
        home_region: home.as_ref().map(|home| home.region.clone()),
        trail_arn: trail.arn.as_str(),
        log_file_validation_enabled: trail.log_file_validation,
        cloud_watch_logs_log_group_arn: trail.cloud_watch_logs_group_arn.as_deref(),
        cloud_watch_logs_role_arn: trail.cloud_watch_logs_role_arn.as_deref(),
        kms_key_id: trail.kms_key_id.as_deref(),
        has_custom_event_selectors: home.as_ref().map(|home| home.has_custom_event_selectors),
        has_insight_selectors: home.as_ref().map(|home| home.has_insight_selectors),
        is_organization_trail: trail.organization,
    };
    serde_json::to_value(shown).expect("texts and booleans serialise to JSON")
}
