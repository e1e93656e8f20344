//! What a call is about: the group or stream, with the resource policies of its account.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html>

use cairn_wire::Call;
use serde_json::Value;

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, group_not_found};
use crate::{Caller, Resource, ResourcePolicy, Target};

/// Operations without a resource.
const WITHOUT_RESOURCE: &[&str] =
    &["DeleteResourcePolicy", "DescribeResourcePolicies", "PutResourcePolicy", "TestMetricFilter"];
/// Operations on the tags of a resource, whose ARN is matched as it stands.
const ON_TAGS: [&str; 3] = ["ListTagsForResource", "TagResource", "UntagResource"];
/// Operations that are about a stream.
const ON_STREAM: [&str; 4] = ["CreateLogStream", "DeleteLogStream", "GetLogEvents", "PutLogEvents"];
/// Operations whose records are data events, and name the group.
pub(super) const DATA_EVENTS: [&str; 1] = ["PutLogEvents"];

impl Logs {
    /// What the call is about first of all.
    pub(super) async fn find_target(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let operation = call.operation.as_str();
        let mut target = Target {
            action: format!("logs:{operation}"),
            resource_arn: "*".to_owned(),
            resources: Vec::new(),
            policy: None,
            conditions: conditions(&call.params),
        };
        if WITHOUT_RESOURCE.contains(&operation) {
            return Ok(target);
        }
        let Some(name) = named(caller, call)? else {
            let none = GroupName::own(caller, "");
            target.resource_arn = none.stream_arn("");
            return Ok(target);
        };
        let text = |member: &str| call.params.get(member).and_then(Value::as_str).unwrap_or_default();
        target.resource_arn = match operation {
            _ if ON_TAGS.contains(&operation) => name.to_string(),
            _ if ON_STREAM.contains(&operation) => name.stream_arn(text("logStreamName")),
            _ => name.stream_arn(""),
        };
        if DATA_EVENTS.contains(&operation) {
            let (arn, account) = (name.to_string(), Some(name.account.clone()));
            target.resources = vec![Resource { kind: "AWS::Logs::LogGroup", arn, account }];
        }
        let group = self.views.group(&self.catalog, &name).await?;
        if let Some(group) = &group {
            let shown = group.tags.iter();
            let shown = shown.map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value.clone()]));
            target.conditions.extend(shown);
        }
        target.policy = Some(ResourcePolicy { owner: name.account, document: None, must_allow: false });
        Ok(target)
    }

    /// What it needs besides.
    pub(super) fn find_further_targets(caller: &Caller, call: &Call) -> Vec<Target> {
        let has_tags =
            call.params.get("tags").and_then(Value::as_object).is_some_and(|tags| !tags.is_empty());
        if call.operation != "CreateLogGroup" || !has_tags {
            return Vec::new();
        }
        let name = call.params.get("logGroupName").and_then(Value::as_str).unwrap_or_default();
        vec![Target {
            action: "logs:TagResource".to_owned(),
            resource_arn: GroupName::own(caller, name).to_string(),
            resources: Vec::new(),
            policy: None,
            conditions: conditions(&call.params),
        }]
    }
}

/// The group that the call names, by whichever member.
fn named(caller: &Caller, call: &Call) -> Result<Option<GroupName>, Failure> {
    let text = |member: &str| call.params.get(member).and_then(Value::as_str);
    if let Some(name) = text("logGroupName") {
        return Ok(Some(GroupName::own(caller, name)));
    }
    let identifier = ["logGroupIdentifier", "resourceArn", "resourceIdentifier"].into_iter().find_map(text);
    match identifier {
        Some(identifier) => {
            let name = GroupName::of_identifier(caller, identifier).ok_or_else(group_not_found)?;
            if name.region == caller.region { Ok(Some(name)) } else { Err(group_not_found()) }
        }
        None => Ok(None),
    }
}

/// The condition keys that the call's own members give.
fn conditions(params: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    let mut keys = Vec::new();
    match params.get("tags") {
        Some(Value::Object(tags)) => {
            for (key, value) in tags {
                found.push((format!("aws:RequestTag/{key}"), vec![text(value)]));
                keys.push(key.clone());
            }
        }
        Some(Value::Array(named)) => keys.extend(named.iter().map(text)),
        _ => {}
    }
    keys.extend(params.get("tagKeys").and_then(Value::as_array).into_iter().flatten().map(text));
    if !keys.is_empty() {
        found.push(("aws:TagKeys".to_owned(), keys));
    }
    found
}
