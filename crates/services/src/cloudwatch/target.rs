//! What a call is about: the alarms or dashboards that it names, and CloudWatch's condition keys.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html>

use cairn_wire::Call;
use serde_json::Value;

use crate::{Caller, Resource, Target};

/// Operations on metrics' data, which records take for data events.
pub(super) const DATA_EVENTS: [&str; 4] =
    ["GetMetricData", "GetMetricStatistics", "ListMetrics", "PutMetricData"];
/// Members that name alarms.
const ALARM_NAMES: [&str; 3] = ["AlarmName", "AlarmNames", "AlarmNamePrefix"];
/// Operations that are about alarms, or all of them where none is named.
const ON_ALARMS: [&str; 8] = [
    "DeleteAlarms",
    "DescribeAlarmHistory",
    "DescribeAlarms",
    "DisableAlarmActions",
    "EnableAlarmActions",
    "PutCompositeAlarm",
    "PutMetricAlarm",
    "SetAlarmState",
];
const ON_DASHBOARDS: [&str; 3] = ["DeleteDashboards", "GetDashboard", "PutDashboard"];

/// What the call is about: the first target, then what else it needs.
pub(super) fn targets(caller: &Caller, call: &Call) -> Vec<Target> {
    let operation = call.operation.as_str();
    let action = format!("cloudwatch:{operation}");
    let mut targets: Vec<Target> = resources(caller, call)
        .into_iter()
        .map(|resource_arn| Target {
            action: action.clone(),
            resource_arn,
            resources: Vec::new(),
            policy: None,
            conditions: conditions(&call.params),
        })
        .collect();
    if let (true, Some(first)) = (DATA_EVENTS.contains(&operation), targets.first_mut()) {
        let arn = format!("arn:aws:cloudwatch:{}:{}:metric", caller.region, caller.account);
        first.resources =
            vec![Resource { kind: "AWS::CloudWatch::Metric", arn, account: Some(caller.account.clone()) }];
    }
    let has_tags = call.params.get("Tags").and_then(Value::as_array).is_some_and(|tags| !tags.is_empty());
    if let (true, true, Some(first)) = (has_tags, operation.starts_with("Put"), targets.first()) {
        targets.push(Target { action: "cloudwatch:TagResource".to_owned(), ..first.clone() });
    }
    targets
}

fn resources(caller: &Caller, call: &Call) -> Vec<String> {
    let operation = call.operation.as_str();
    if let Some(arn) = call.params.get("ResourceARN").and_then(Value::as_str) {
        return vec![arn.to_owned()];
    }
    let named = |members: &[&str]| {
        let texts =
            members.iter().filter_map(|member| call.params.get(*member)).flat_map(|value| match value {
                Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                value => value.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
            });
        texts.collect::<Vec<_>>()
    };
    if ON_ALARMS.contains(&operation) {
        let is_prefix = call.params.get("AlarmNamePrefix").is_some();
        let arn =
            |name: &str| format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", caller.region, caller.account);
        let names = named(&ALARM_NAMES);
        if names.is_empty() {
            return vec![arn("*")];
        }
        return names
            .iter()
            .map(|name| if is_prefix { arn(&format!("{name}*")) } else { arn(name) })
            .collect();
    }
    if ON_DASHBOARDS.contains(&operation) {
        let names = named(&["DashboardName", "DashboardNames"]);
        let arns =
            names.iter().map(|name| format!("arn:aws:cloudwatch::{}:dashboard/{name}", caller.account));
        let arns: Vec<String> = arns.collect();
        return if arns.is_empty() { vec!["*".to_owned()] } else { arns };
    }
    vec!["*".to_owned()]
}

/// The condition keys that the call's own members give.
fn conditions(params: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    if let Some(namespace) = params.get("Namespace") {
        found.push(("cloudwatch:namespace".to_owned(), vec![text(namespace)]));
    }
    let listed = |name: &str| params.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let actions: Vec<String> = ["AlarmActions", "OKActions", "InsufficientDataActions"]
        .iter()
        .flat_map(|member| listed(member))
        .map(|arn| text(&arn))
        .collect();
    if !actions.is_empty() {
        found.push(("cloudwatch:AlarmActions".to_owned(), actions));
    }
    let mut keys: Vec<String> = listed("TagKeys").iter().map(text).collect();
    for tag in listed("Tags") {
        let (Some(name), Some(value)) = (tag.get("Key"), tag.get("Value")) else { continue };
        found.push((format!("aws:RequestTag/{}", text(name)), vec![text(value)]));
        keys.push(text(name));
    }
    if !keys.is_empty() {
        found.push(("aws:TagKeys".to_owned(), keys));
    }
    found
}
