//! What a call is about: the queue with its policy and tags.

use std::sync::Arc;

use cairn_wire::Call;
use serde_json::Value;

use super::dispatch::is_data;
use super::error::{Failure, not_found};
use super::move_tasks::parse_handle;
use super::name::{QueueName, queue_arn};
use super::state::Queue;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// What only the queue's own account can do, whatever its policy says.
const OWNERS_ALONE: [&str; 12] = [
    "AddPermission",
    "CancelMessageMoveTask",
    "CreateQueue",
    "DeleteQueue",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "RemovePermission",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];

/// What a move task does for its caller to its source.
const MOVES: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

pub(super) fn target(
    caller: &Caller,
    call: &Call,
    find: impl Fn(&QueueName) -> Option<Arc<Queue>>,
) -> Result<Target, Failure> {
    let operation = call.operation.as_str();
    let action = format!("sqs:{}", operation.strip_suffix("Batch").unwrap_or(operation));
    if operation == "ListQueues" {
        let resource_arn = queue_arn(&caller.region, &caller.account, "");
        let resources = resources(operation, &resource_arn, caller.account.clone());
        return Ok(Target { action, resource_arn, resources, policy: None, conditions: Vec::new() });
    }
    let name = named(caller, call)?;
    let mut target = on_queue(caller, action, &name, find(&name).as_deref());
    target.resources = resources(operation, &target.resource_arn, name.account.clone());
    if OWNERS_ALONE.contains(&operation)
        && caller.principal.account() != Some(&name.account)
        && let Some(policy) = &mut target.policy
    {
        policy.document = None;
    }
    target.conditions.extend(tags_asked_for(call));
    Ok(target)
}

pub(super) fn further_targets(
    caller: &Caller,
    call: &Call,
    find: impl Fn(&QueueName) -> Option<Arc<Queue>>,
) -> Result<Vec<Target>, Failure> {
    let on =
        |action: &str, name: &QueueName| on_queue(caller, action.to_owned(), name, find(name).as_deref());
    match call.operation.as_str() {
        "CreateQueue" if has_tags(call) => {
            let mut target = on("sqs:TagQueue", &named(caller, call)?);
            target.conditions.extend(tags_asked_for(call));
            Ok(vec![target])
        }
        "StartMessageMoveTask" => {
            let source = named(caller, call)?;
            let mut targets: Vec<Target> = MOVES.iter().map(|action| on(action, &source)).collect();
            let destination = text(call, "DestinationArn").and_then(QueueName::of_arn);
            targets.extend(destination.map(|name| on("sqs:SendMessage", &name)));
            Ok(targets)
        }
        _ => Ok(Vec::new()),
    }
}

fn on_queue(caller: &Caller, action: String, name: &QueueName, queue: Option<&Queue>) -> Target {
    let owner = queue.map_or(&name.account, |queue| &queue.name.account).clone();
    let document = queue.and_then(|queue| queue.settings.policy.clone());
    let tags = queue.into_iter().flat_map(|queue| &queue.tags);
    Target {
        action,
        resource_arn: queue_arn(&caller.region, &name.account, &name.name),
        resources: Vec::new(),
        policy: Some(ResourcePolicy { owner, document, must_allow: false }),
        conditions: tags
            .map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value.clone()]))
            .collect(),
    }
}

/// Data events alone name their resources.
fn resources(operation: &str, arn: &str, account: cairn_core::AccountId) -> Vec<Resource> {
    let resource = || Resource { kind: "AWS::SQS::Queue", arn: arn.to_owned(), account: Some(account) };
    if is_data(operation) { vec![resource()] } else { Vec::new() }
}

fn text<'a>(call: &'a Call, member: &str) -> Option<&'a str> {
    call.params.get(member).and_then(Value::as_str)
}

/// The queue that a call names, in whichever way its operation does.
fn named(caller: &Caller, call: &Call) -> Result<QueueName, Failure> {
    if let Some(url) = text(call, "QueueUrl") {
        return QueueName::of_url(url, caller);
    }
    if let Some(arn) = text(call, "SourceArn") {
        return QueueName::of_arn(arn).ok_or_else(|| no_resource("SourceArn"));
    }
    if let Some(handle) = text(call, "TaskHandle") {
        return Ok(parse_handle(handle)?.source);
    }
    let name = QueueName::own(caller, text(call, "QueueName").unwrap_or_default());
    match text(call, "QueueOwnerAWSAccountId").filter(|account| !account.is_empty()) {
        Some(account) => {
            let account = account.parse().map_err(|_| super::error::no_queue())?;
            Ok(QueueName { account, ..name })
        }
        None => Ok(name),
    }
}

pub(super) fn no_resource(parameter: &str) -> Failure {
    not_found(format!("The resource that you specified for the {parameter} parameter doesn't exist."))
}

fn tags(call: &Call) -> impl Iterator<Item = (&String, &Value)> {
    let given = ["tags", "Tags"].into_iter().filter_map(|member| call.params.get(member)?.as_object());
    given.flatten()
}

fn has_tags(call: &Call) -> bool {
    tags(call).next().is_some()
}

/// `aws:RequestTag/…` and `aws:TagKeys`.
fn tags_asked_for(call: &Call) -> Vec<(String, Vec<String>)> {
    let mut conditions: Vec<(String, Vec<String>)> = tags(call)
        .map(|(key, value)| {
            (format!("aws:RequestTag/{key}"), vec![value.as_str().unwrap_or_default().to_owned()])
        })
        .collect();
    let removed = call.params.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    let keys = tags(call).map(|(key, _)| key.clone());
    let keys: Vec<String> = keys.chain(removed.filter_map(Value::as_str).map(str::to_owned)).collect();
    if !keys.is_empty() {
        conditions.push(("aws:TagKeys".to_owned(), keys));
    }
    conditions
}
