//! What a call is about: the group or stream, with the resource policies of its account.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html>

use cairn_wire::Call;
use serde_json::Value;

use super::Logs;
use super::arn::GroupName;
use super::destinations::DestinationName;
use super::dispatch::is_data;
use super::error::{Failure, group_not_found};
use crate::sinks::pass_role;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// Operations without a resource.
const WITHOUT_RESOURCE: &[&str] = &[
    "CancelExportTask",
    "DeleteResourcePolicy",
    "DescribeDestinations",
    "DescribeExportTasks",
    "DescribeQueries",
    "DescribeResourcePolicies",
    "GetLogRecord",
    "GetQueryResults",
    "PutResourcePolicy",
    "StopQuery",
    "TestMetricFilter",
];
/// Operations on the tags of a resource, whose ARN is matched as it stands.
const ON_TAGS: [&str; 3] = ["ListTagsForResource", "TagResource", "UntagResource"];
/// Operations that are about a stream.
const ON_STREAM: [&str; 4] = ["CreateLogStream", "DeleteLogStream", "GetLogEvents", "PutLogEvents"];
/// Operations that may be about several groups.
const ON_SEVERAL: [&str; 2] = ["StartLiveTail", "StartQuery"];
/// Operations that list groups.
const LISTINGS: [&str; 2] = ["DescribeLogGroups", "ListLogGroups"];
/// Operations that are about a destination.
const ON_DESTINATION: [&str; 3] = ["DeleteDestination", "PutDestination", "PutDestinationPolicy"];

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
        if let Some(name) = destination(caller, call) {
            target.resource_arn = name.to_string();
            target.policy = Some(ResourcePolicy { owner: name.account, document: None, must_allow: false });
            return Ok(target);
        }
        let Some(name) = named(caller, call)?.into_iter().next() else {
            target.resource_arn = GroupName::own(caller, "").stream_arn("");
            return Ok(target);
        };
        self.on_group(target, call, name).await
    }

    /// The target, where it is about that group.
    async fn on_group(&self, mut target: Target, call: &Call, name: GroupName) -> Result<Target, Failure> {
        let operation = call.operation.as_str();
        target.resource_arn = match operation {
            _ if ON_TAGS.contains(&operation) => name.to_string(),
            _ if ON_STREAM.contains(&operation) => {
                name.stream_arn(text(call, "logStreamName").unwrap_or_default())
            }
            _ => name.stream_arn(""),
        };
        if is_data(operation) {
            let (arn, account) = (name.to_string(), Some(name.account.clone()));
            target.resources = vec![Resource { kind: "AWS::Logs::LogGroup", arn, account }];
        }
        if let Some(group) = self.views.group(&self.catalog, &name).await? {
            let tags = group.tags.iter();
            let shown = tags.map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value.clone()]));
            target.conditions.extend(shown);
        }
        let policy = self.policy_of(&name.region, &name.account).await?;
        let document = policy.as_deref().map(str::to_owned);
        target.policy = Some(ResourcePolicy { owner: name.account, document, must_allow: false });
        Ok(target)
    }

    /// What it needs besides.
    pub(super) async fn find_further_targets(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Target>, Failure> {
        let has_tags =
            call.params.get("tags").and_then(Value::as_object).is_some_and(|tags| !tags.is_empty());
        let tagged = match call.operation.as_str() {
            "CreateLogGroup" if has_tags => {
                text(call, "logGroupName").map(|name| GroupName::own(caller, name))
            }
            _ => None,
        };
        let mut targets = Vec::new();
        targets.extend(tagged.map(|name| tagging(name.to_string(), call)));
        let is_on_several = ON_SEVERAL.contains(&call.operation.as_str());
        let names = if is_on_several { named(caller, call)? } else { Vec::new() };
        for name in names.into_iter().skip(1) {
            let target =
                Target { action: format!("logs:{}", call.operation), ..tagging(String::new(), call) };
            targets.push(self.on_group(target, call, name).await?);
        }
        if call.operation == "PutDestination" {
            targets.extend(text(call, "roleArn").map(|role| pass_role(role, "logs.amazonaws.com")));
            let name = destination(caller, call).filter(|_| has_tags);
            targets.extend(name.map(|name| tagging(name.to_string(), call)));
        }
        if call.operation == "PutSubscriptionFilter" {
            targets.extend(text(call, "roleArn").map(|role| pass_role(role, "logs.amazonaws.com")));
            targets.extend(self.subscribed_destination(call).await?);
        }
        Ok(targets)
    }

    /// That a destination may be subscribed to: its access policy says who may, of other accounts.
    async fn subscribed_destination(&self, call: &Call) -> Result<Option<Target>, Failure> {
        let Some(name) = text(call, "destinationArn").and_then(DestinationName::of_arn) else {
            return Ok(None);
        };
        let document = match self.destination(&name).await {
            Ok(destination) => destination.access_policy,
            Err(Failure::Refused(_)) => None,
            Err(failure) => return Err(failure),
        };
        Ok(Some(Target {
            action: "logs:PutSubscriptionFilter".to_owned(),
            resource_arn: name.to_string(),
            resources: Vec::new(),
            policy: Some(ResourcePolicy { owner: name.account, document, must_allow: false }),
            conditions: Vec::new(),
        }))
    }
}

/// That a new resource may be given tags.
fn tagging(resource_arn: String, call: &Call) -> Target {
    Target {
        action: "logs:TagResource".to_owned(),
        resource_arn,
        resources: Vec::new(),
        policy: None,
        conditions: conditions(&call.params),
    }
}

fn text<'a>(call: &'a Call, member: &str) -> Option<&'a str> {
    call.params.get(member).and_then(Value::as_str)
}

/// The destination that the call is about.
fn destination(caller: &Caller, call: &Call) -> Option<DestinationName> {
    if ON_DESTINATION.contains(&call.operation.as_str()) {
        return text(call, "destinationName").map(|name| DestinationName::own(caller, name));
    }
    let is_on_tags = ON_TAGS.contains(&call.operation.as_str());
    text(call, "resourceArn").filter(|_| is_on_tags).and_then(DestinationName::of_arn)
}

/// The groups that the call names, by whichever member.
fn named(caller: &Caller, call: &Call) -> Result<Vec<GroupName>, Failure> {
    if let Some(name) = text(call, "logGroupName") {
        return Ok(vec![GroupName::own(caller, name)]);
    }
    let members = ["logGroupIdentifier", "resourceArn", "resourceIdentifier"];
    let one = members.into_iter().find_map(|member| text(call, member));
    let lists = ["logGroupIdentifiers", "logGroupNames"];
    let several = lists.into_iter().find_map(|member| call.params.get(member).and_then(Value::as_array));
    // Where groups are listed, those that are not named are seen as well.
    let several = several.filter(|_| !LISTINGS.contains(&call.operation.as_str()));
    let identifiers = one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str));
    let names = identifiers.map(|identifier| {
        let name = GroupName::of_identifier(caller, identifier).ok_or_else(group_not_found)?;
        if name.region == caller.region { Ok(name) } else { Err(group_not_found()) }
    });
    names.collect()
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
