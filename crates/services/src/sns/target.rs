//! What a call is about: the topic with its policy, and SNS's condition keys.

use cairn_core::Principal;
use cairn_wire::Call;
use serde_json::Value;

use super::Sns;
use super::arn::{SubscriptionArn, TopicArn};
use super::error::{Failure, topic_arn};
use super::permissions::deciding;
use super::state::Topic;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// Operations without a resource, as the service authorization reference has them.
const WITHOUT_RESOURCE: [&str; 5] = [
    "GetSubscriptionAttributes",
    "ListSubscriptions",
    "ListTopics",
    "SetSubscriptionAttributes",
    "Unsubscribe",
];
/// Operations that links without credentials stand for.
pub(super) const LINK_OPERATIONS: [&str; 2] = ["ConfirmSubscription", "Unsubscribe"];
/// Operations whose records name the topic.
pub(super) const DATA_EVENTS: [&str; 2] = ["Publish", "PublishBatch"];

impl Sns {
    /// What the call is about first of all.
    pub(super) async fn find_target(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let operation = call.operation.as_str();
        let action = if operation == "PublishBatch" { "Publish" } else { operation };
        let mut target = Target {
            action: format!("sns:{action}"),
            resource_arn: "*".to_owned(),
            resources: Vec::new(),
            policy: None,
            conditions: conditions(&call.params),
        };
        let is_link = matches!(caller.principal, Principal::Anonymous);
        if is_link && LINK_OPERATIONS.contains(&operation) {
            target.policy = link_owner(&call.params);
            return Ok(target);
        }
        if WITHOUT_RESOURCE.contains(&operation) {
            return Ok(target);
        }
        let text = |name: &str| call.params.get(name).and_then(Value::as_str);
        if operation == "CreateTopic" {
            target.resource_arn = own_topic(caller, text("Name").unwrap_or_default()).to_string();
            return Ok(target);
        }
        let named =
            ["TopicArn", "TargetArn", "ResourceArn"].into_iter().find_map(|name| Some((name, text(name)?)));
        let Some((member, named)) = named else { return Ok(target) };
        // Links work from everywhere.
        let region = (operation != "ConfirmSubscription").then_some(&caller.region);
        let arn = match topic_arn(member, named, region) {
            Ok(arn) => arn,
            // The handler says what is wrong with it.
            Err(_) if operation == "ConfirmSubscription" || operation == "Publish" => return Ok(target),
            Err(refused) => return Err(refused),
        };
        target.resource_arn = arn.to_string();
        if operation == "ConfirmSubscription" {
            return Ok(target);
        }
        if DATA_EVENTS.contains(&operation) {
            let (arn, account) = (arn.to_string(), Some(arn.account.clone()));
            target.resources = vec![Resource { kind: "AWS::SNS::Topic", arn, account }];
        }
        let topic = self.views.topic(&self.catalog, &arn).await?;
        if let Some(Topic { tags, .. }) = &topic {
            let shown =
                tags.iter().map(|(name, value)| (format!("aws:ResourceTag/{name}"), vec![value.clone()]));
            target.conditions.extend(shown);
        }
        target.policy = Some(ResourcePolicy {
            owner: arn.account,
            document: topic.and_then(|topic| deciding(&topic.policy)),
            must_allow: false,
        });
        Ok(target)
    }

    /// What it needs besides.
    pub(super) fn find_further_targets(caller: &Caller, call: &Call) -> Vec<Target> {
        let tags = call.params.get("Tags").and_then(Value::as_array);
        if call.operation != "CreateTopic" || tags.is_none_or(Vec::is_empty) {
            return Vec::new();
        }
        let name = call.params.get("Name").and_then(Value::as_str).unwrap_or_default();
        vec![Target {
            action: "sns:TagResource".to_owned(),
            resource_arn: own_topic(caller, name).to_string(),
            resources: Vec::new(),
            policy: None,
            conditions: conditions(&call.params),
        }]
    }
}

/// Whose topic a link is about: its record is theirs.
fn link_owner(params: &Value) -> Option<ResourcePolicy> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let topic = text("TopicArn").parse::<TopicArn>().ok();
    let subscription = || text("SubscriptionArn").parse::<SubscriptionArn>().ok().map(|arn| arn.topic);
    let owner = topic.or_else(subscription)?.account;
    Some(ResourcePolicy { owner, document: None, must_allow: false })
}

fn own_topic(caller: &Caller, name: &str) -> TopicArn {
    TopicArn { region: caller.region.clone(), account: caller.account.clone(), name: name.to_owned() }
}

/// The condition keys that the call's own members give.
fn conditions(params: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for (member, key) in [("Protocol", "sns:Protocol"), ("Endpoint", "sns:Endpoint")] {
        found.extend(params.get(member).map(|value| (key.to_owned(), vec![text(value)])));
    }
    let listed = |name: &str| params.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut keys: Vec<String> = listed("TagKeys").iter().map(text).collect();
    for tag in listed("Tags") {
        let (Some(name), Some(value)) = (tag.get("Key"), tag.get("Value")) else { continue };
        found.push((format!("aws:RequestTag/{}", text(name)), vec![text(value)]));
        keys.push(text(name));
    }
    found.push(("aws:TagKeys".to_owned(), keys));
    found
}
