//! AddPermission and RemovePermission: statements of a topic's policy, by their labels.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Sns;
use super::error::{Failure, invalid, topic_arn};
use super::topic_attributes::is_of_topics;
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddPermission {
    topic_arn: String,
    label: String,
    #[serde(rename = "AWSAccountId")]
    accounts: Vec<String>,
    #[serde(rename = "ActionName")]
    actions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemovePermission {
    topic_arn: String,
    label: String,
}

impl Sns {
    pub(super) async fn add_permission(
        &self,
        caller: &Caller,
        input: AddPermission,
    ) -> Result<Value, Failure> {
        let arn = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let actions: Vec<String> = input.actions.iter().map(|action| format!("SNS:{action}")).collect();
        if actions.is_empty() || !actions.iter().all(|action| is_of_topics(action)) {
            return Err(invalid("Policy statement action out of service scope!"));
        }
        if input.accounts.is_empty()
            || input.accounts.iter().any(|account| account.parse::<cairn_core::AccountId>().is_err())
        {
            return Err(invalid("Policy Error: PrincipalNotFound"));
        }
        let principals: Vec<String> =
            input.accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
        let statement = json!({
            "Sid": input.label,
            "Effect": "Allow",
            "Principal": { "AWS": one_or_all(principals) },
            "Action": one_or_all(actions),
            "Resource": arn.to_string(),
        });
        self.change_topic(&arn, move |topic| {
            let mut policy: Value = serde_json::from_str(&topic.policy).unwrap_or_default();
            let mut statements = statements_of(&policy);
            if statements.iter().any(|known| known.get("Sid") == statement.get("Sid")) {
                return Err(invalid("Statement already exists"));
            }
            statements.push(statement.clone());
            policy["Statement"] = statements.into();
            topic.policy = policy.to_string();
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
        let arn = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        self.change_topic(&arn, move |topic| {
            let mut policy: Value = serde_json::from_str(&topic.policy).unwrap_or_default();
            let mut statements = statements_of(&policy);
            statements.retain(|known| known.get("Sid").and_then(Value::as_str) != Some(&input.label));
            policy["Statement"] = statements.into();
            topic.policy = policy.to_string();
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }
}

fn statements_of(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

fn one_or_all(mut values: Vec<String>) -> Value {
    if values.len() == 1 { values.remove(0).into() } else { values.into() }
}

/// The policy as it decides; none where its last statement was removed.
pub(super) fn deciding(policy: &str) -> Option<String> {
    let value: Value = serde_json::from_str(policy).unwrap_or_default();
    let is_empty = value.get("Statement").and_then(Value::as_array).is_some_and(Vec::is_empty);
    (!is_empty).then(|| policy.to_owned())
}
