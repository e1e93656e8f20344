//! Tags of topics.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Sns;
use super::error::{Failure, fail, invalid, topic_arn};
use super::topics::existing;
use crate::Caller;

/// Tags of a topic.
const TAGS_MAX: usize = 50;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagTopic {
    resource_arn: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagTopic {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTags {
    resource_arn: String,
}

impl Sns {
    pub(super) async fn tag_topic(&self, caller: &Caller, input: TagTopic) -> Result<Value, Failure> {
        let arn = topic_arn("ResourceArn", &input.resource_arn, Some(&caller.region))?;
        let added = checked_tags(input.tags)?;
        self.change_topic(&arn, move |topic| {
            topic.tags.extend(added.clone());
            if topic.tags.len() > TAGS_MAX { Err(too_many()) } else { Ok(()) }
        })
        .await
        .map_err(not_found_as_resource)?;
        Ok(json!({}))
    }

    pub(super) async fn untag_topic(&self, caller: &Caller, input: UntagTopic) -> Result<Value, Failure> {
        let arn = topic_arn("ResourceArn", &input.resource_arn, Some(&caller.region))?;
        self.change_topic(&arn, move |topic| {
            topic.tags.retain(|name, _| !input.tag_keys.contains(name));
            Ok(())
        })
        .await
        .map_err(not_found_as_resource)?;
        Ok(json!({}))
    }

    pub(super) async fn list_tags(&self, caller: &Caller, input: ListTags) -> Result<Value, Failure> {
        let arn = topic_arn("ResourceArn", &input.resource_arn, Some(&caller.region))?;
        let topic = self.catalog.read(move |tx| existing(tx, &arn)).await.map_err(not_found_as_resource)?;
        let tags: Vec<Value> =
            topic.tags.iter().map(|(name, value)| json!({ "Key": name, "Value": value })).collect();
        Ok(json!({ "Tags": tags }))
    }
}

/// Tags as they are given, each key once.
pub(super) fn checked_tags(given: Vec<Tag>) -> Result<BTreeMap<String, String>, Failure> {
    let mut tags = BTreeMap::new();
    for Tag { key, value } in given {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("Tags Reason: a tag key cannot begin with aws:"));
        }
        if tags.insert(key, value).is_some() {
            return Err(invalid("Duplicated keys are not allowed."));
        }
    }
    if tags.len() > TAGS_MAX { Err(too_many()) } else { Ok(tags) }
}

fn too_many() -> Failure {
    fail("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
}

/// The tag operations have a code of their own for a topic that is not there.
fn not_found_as_resource(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(error) if error.code == "NotFound" => {
            cairn_wire::AwsError::with_status(404, "ResourceNotFound", "Resource does not exist").into()
        }
        other => other,
    }
}
