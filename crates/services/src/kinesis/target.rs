//! What a call is about: the stream or the consumer, with its policy and tags.

use std::collections::BTreeMap;

use cairn_wire::Call;
use serde_json::Value;

use super::Shared;
use super::consumers::{consumed_stream, named_consumer};
use super::dispatch::is_data;
use super::error::{Failure, invalid};
use super::name::{StreamName, consumer_of_arn};
use super::policies::{arn_of, named};
use crate::{Caller, Resource, ResourcePolicy, Target};

/// What has no resource.
const OF_ACCOUNT: [&str; 3] = ["DescribeAccountSettings", "DescribeLimits", "ListStreams"];
/// What is about a consumer.
const OF_CONSUMER: [&str; 3] = ["DeregisterStreamConsumer", "DescribeStreamConsumer", "SubscribeToShard"];
/// What names its resource as ResourceARN.
const OF_RESOURCE: [&str; 6] = [
    "DeleteResourcePolicy",
    "GetResourcePolicy",
    "ListTagsForResource",
    "PutResourcePolicy",
    "TagResource",
    "UntagResource",
];

impl Shared {
    pub(super) async fn target_of(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let (operation, params) = (call.operation.as_str(), &call.params);
        let action = format!("kinesis:{operation}");
        if OF_ACCOUNT.contains(&operation) {
            let (resource_arn, resources) = ("*".to_owned(), Vec::new());
            return Ok(Target { action, resource_arn, resources, policy: None, conditions: Vec::new() });
        }
        let (name, arn) = if OF_CONSUMER.contains(&operation) {
            let name = consumed_stream(params)?;
            let found = self.find(&name);
            let consumer = found.as_ref().and_then(|live| {
                let consumer = named_consumer(&live.stream, params).ok()?;
                Some(live.stream.consumer_arn(consumer))
            });
            let given = params.get("ConsumerARN").and_then(Value::as_str).map(str::to_owned);
            let arn = consumer.or(given).unwrap_or_else(|| {
                let consumer = params.get("ConsumerName").and_then(Value::as_str).unwrap_or_default();
                format!("{}/consumer/{consumer}:0", name.arn())
            });
            (name, arn)
        } else if OF_RESOURCE.contains(&operation) {
            (named(params)?, arn_of(params).to_owned())
        } else {
            let name = self.about(caller, call).await?;
            let arn = name.arn();
            (name, arn)
        };
        let mut target = self.on(action, &name, arn);
        if is_data(operation) {
            let kind = match consumer_of_arn(&target.resource_arn) {
                Some(_) => "AWS::Kinesis::StreamConsumer",
                None => "AWS::Kinesis::Stream",
            };
            let arn = target.resource_arn.clone();
            target.resources = vec![Resource { kind, arn, account: Some(name.account) }];
        }
        target.conditions.extend(tags_asked_for(params));
        Ok(target)
    }

    async fn about(&self, caller: &Caller, call: &Call) -> Result<StreamName, Failure> {
        match call.operation.as_str() {
            "GetRecords" => {
                let iterator = self.open_iterator(caller, &call.params).await?;
                StreamName::of_arn(&iterator.arn).ok_or_else(|| invalid("Invalid ShardIterator."))
            }
            "ListShards" => self.listed_stream(caller, &call.params).await,
            _ => StreamName::of_params(caller, &call.params),
        }
    }

    fn on(&self, action: String, name: &StreamName, arn: String) -> Target {
        let found = self.find(name);
        let consumer = found.as_ref().and_then(|live| {
            live.stream.consumers.iter().find(|consumer| live.stream.consumer_arn(consumer) == arn)
        });
        let (document, tags) = match (&found, consumer) {
            (_, Some(consumer)) => (consumer.policy.clone(), consumer.tags.clone()),
            (Some(live), None) if consumer_of_arn(&arn).is_none() => {
                (live.stream.policy.clone(), live.stream.tags.clone())
            }
            _ => (None, BTreeMap::new()),
        };
        Target {
            action,
            resource_arn: arn,
            resources: Vec::new(),
            policy: Some(ResourcePolicy { owner: name.account.clone(), document, must_allow: false }),
            conditions: tags
                .into_iter()
                .map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]))
                .collect(),
        }
    }
}

/// `aws:RequestTag/…` and `aws:TagKeys`.
fn tags_asked_for(params: &Value) -> Vec<(String, Vec<String>)> {
    let given = params.get("Tags").and_then(Value::as_object);
    let mut conditions = Vec::new();
    let mut keys = Vec::new();
    for (key, value) in given.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().to_owned();
        conditions.push((format!("aws:RequestTag/{key}"), vec![value]));
        keys.push(key.clone());
    }
    let removed = params.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    keys.extend(removed.filter_map(Value::as_str).map(str::to_owned));
    if !keys.is_empty() {
        conditions.push(("aws:TagKeys".to_owned(), keys));
    }
    conditions
}
