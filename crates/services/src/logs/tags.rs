//! Tags of log groups and destinations, by the operations of old and of today.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::destinations::{Destination, DestinationName};
use super::error::{Failure, fail, group_not_found, invalid};
use super::groups::NamedGroup;
use crate::Caller;

/// Tags of a resource.
const TAGS_MAX: usize = 50;

pub(super) type Tags = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagGroup {
    log_group_name: String,
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagGroup {
    log_group_name: String,
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResource {
    resource_arn: String,
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaggedResource {
    resource_arn: String,
}

impl Logs {
    pub(super) async fn tag_group(&self, caller: &Caller, input: TagGroup) -> Result<Value, Failure> {
        self.add_tags(&GroupName::own(caller, &input.log_group_name), input.tags).await
    }

    pub(super) async fn untag_group(&self, caller: &Caller, input: UntagGroup) -> Result<Value, Failure> {
        self.remove_tags(&GroupName::own(caller, &input.log_group_name), input.tags).await
    }

    pub(super) async fn tags_of_group(&self, caller: &Caller, input: NamedGroup) -> Result<Value, Failure> {
        let group = self.group(&GroupName::own(caller, &input.log_group_name)).await?;
        Ok(json!({ "tags": group.tags }))
    }

    pub(super) async fn tag_resource(&self, input: TagResource) -> Result<Value, Failure> {
        if let Some(name) = DestinationName::of_arn(&input.resource_arn) {
            let added = checked_tags(input.tags)?;
            let change = move |destination: &mut Destination| with_tags(&mut destination.tags, &added);
            self.change_destination(&name, change).await?;
            return Ok(json!({}));
        }
        self.add_tags(&tagged(&input.resource_arn)?, input.tags).await
    }

    pub(super) async fn untag_resource(&self, input: UntagResource) -> Result<Value, Failure> {
        if let Some(name) = DestinationName::of_arn(&input.resource_arn) {
            self.change_destination(&name, move |destination| {
                destination.tags.retain(|key, _| !input.tag_keys.contains(key));
                Ok(())
            })
            .await?;
            return Ok(json!({}));
        }
        self.remove_tags(&tagged(&input.resource_arn)?, input.tag_keys).await
    }

    pub(super) async fn tags_of_resource(&self, input: TaggedResource) -> Result<Value, Failure> {
        if let Some(name) = DestinationName::of_arn(&input.resource_arn) {
            return Ok(json!({ "tags": self.destination(&name).await?.tags }));
        }
        let group = self.group(&tagged(&input.resource_arn)?).await?;
        Ok(json!({ "tags": group.tags }))
    }

    async fn add_tags(&self, name: &GroupName, tags: Tags) -> Result<Value, Failure> {
        let added = checked_tags(tags)?;
        self.change_group(name, move |group| with_tags(&mut group.tags, &added)).await?;
        Ok(json!({}))
    }

    async fn remove_tags(&self, name: &GroupName, keys: Vec<String>) -> Result<Value, Failure> {
        self.change_group(name, move |group| {
            group.tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }
}

fn with_tags(tags: &mut Tags, added: &Tags) -> Result<(), Failure> {
    tags.extend(added.clone());
    if tags.len() > TAGS_MAX { Err(too_many()) } else { Ok(()) }
}

/// The group of an ARN, which is without `:*` here.
fn tagged(arn: &str) -> Result<GroupName, Failure> {
    GroupName::of_arn(arn).ok_or_else(group_not_found)
}

/// Tags as they may be given.
pub(super) fn checked_tags(tags: Tags) -> Result<Tags, Failure> {
    if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("Tag keys cannot begin with aws:, which is reserved."));
    }
    if tags.len() > TAGS_MAX { Err(too_many()) } else { Ok(tags) }
}

fn too_many() -> Failure {
    fail("TooManyTagsException", format!("A resource can have no more than {TAGS_MAX} tags."))
}
