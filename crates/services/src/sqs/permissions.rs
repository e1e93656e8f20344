//! AddPermission and RemovePermission: the older way to write a queue's policy, a statement for each label.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Sqs;
use super::error::{Failure, internal, invalid_parameter, invalid_value, over_limit};
use super::name::{QueueName, is_name};
use super::state::Queue;
use crate::Caller;

/// The most actions of a statement that is made here.
const ACTIONS_MAX: usize = 7;
/// The most statements of a policy.
const STATEMENTS_MAX: usize = 20;
/// What can be shared; all else is the owner's alone.
const ACTIONS: [&str; 8] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddPermission {
    queue_url: String,
    label: String,
    #[serde(rename = "AWSAccountIds")]
    accounts: Vec<String>,
    actions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemovePermission {
    queue_url: String,
    label: String,
}

impl Sqs {
    pub(super) async fn add_permission(
        &self,
        caller: &Caller,
        input: AddPermission,
    ) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        check(&input)?;
        self.change(&name, |queue| {
            let mut policy = policy_of(queue)?;
            let statements = statements(&mut policy);
            if statements.iter().any(|statement| has_label(statement, &input.label)) {
                return Err(invalid_value(&input.label, "Label", "Already exists."));
            }
            if statements.len() >= STATEMENTS_MAX {
                return Err(over_limit(format!(
                    "{} statements were found, maximum allowed is {STATEMENTS_MAX}.",
                    statements.len() + 1
                )));
            }
            statements.push(json!({
                "Sid": input.label,
                "Effect": "Allow",
                "Principal": {"AWS": one_or_all(input.accounts.iter().map(|id| format!("arn:aws:iam::{id}:root")))},
                "Action": one_or_all(input.actions.iter().map(|action| format!("SQS:{action}"))),
                "Resource": queue.name.arn(),
            }));
            queue.settings.policy = Some(policy.to_string());
            queue.modified = caller.now;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn remove_permission(
        &self,
        caller: &Caller,
        input: RemovePermission,
    ) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        self.change(&name, |queue| {
            let mut policy = policy_of(queue)?;
            let statements = statements(&mut policy);
            let before = statements.len();
            statements.retain(|statement| !has_label(statement, &input.label));
            if statements.len() == before {
                return Err(invalid_value(&input.label, "Label", "can't find label."));
            }
            let is_empty = statements.is_empty();
            queue.settings.policy = (!is_empty).then(|| policy.to_string());
            queue.modified = caller.now;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }
}

fn check(input: &AddPermission) -> Result<(), Failure> {
    if !is_name(&input.label) || input.label.contains('.') {
        return Err(invalid_value(
            &input.label,
            "Label",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    if input.actions.is_empty() || input.accounts.is_empty() {
        let missing = if input.actions.is_empty() { "Actions" } else { "PrincipalId" };
        return Err(super::error::missing_parameter(missing));
    }
    if input.actions.len() > ACTIONS_MAX {
        return Err(over_limit(format!(
            "{} Actions were found, maximum allowed is {ACTIONS_MAX}.",
            input.actions.len()
        )));
    }
    if let Some(other) = input.actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
        let reason = "Only the queue owner is allowed to invoke this action.";
        return Err(invalid_value(&format!("SQS:{other}"), "ActionName", reason));
    }
    let is_account = |id: &&String| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    match input.accounts.iter().find(|id| !is_account(id)) {
        Some(_) => Err(invalid_parameter(format!(
            "Value [{}] for parameter PrincipalId is invalid. Reason: Unable to verify.",
            input.accounts.join(", ")
        ))),
        None => Ok(()),
    }
}

/// The queue's policy, or an empty one as AWS begins it.
fn policy_of(queue: &Queue) -> Result<Value, Failure> {
    match &queue.settings.policy {
        Some(text) => serde_json::from_str(text).map_err(internal),
        None => {
            let id = format!("{}/SQSDefaultPolicy", queue.name.arn());
            Ok(json!({"Version": "2008-10-17", "Id": id, "Statement": []}))
        }
    }
}

/// The statements of a policy, which may have one without a list around it.
fn statements(policy: &mut Value) -> &mut Vec<Value> {
    if !policy["Statement"].is_array() {
        let only = policy["Statement"].take();
        policy["Statement"] = if only.is_null() { json!([]) } else { json!([only]) };
    }
    policy["Statement"].as_array_mut().expect("it was just made a list")
}

fn has_label(statement: &Value, label: &str) -> bool {
    statement["Sid"].as_str() == Some(label)
}

/// AWS writes a list of one as its element.
fn one_or_all(texts: impl Iterator<Item = String>) -> Value {
    let mut texts: Vec<Value> = texts.map(Value::from).collect();
    if texts.len() == 1 { texts.remove(0) } else { texts.into() }
}
