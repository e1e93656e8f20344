//! AddTags, RemoveTags, ListTags, of trails.

use std::sync::Arc;

use cairn_core::TrailArn;
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::trails::{From, existing_trail, home_trail};
use super::{CloudTrail, TAGGED_RESOURCES_PER_CALL_MAX, TAGS_PER_TRAIL_MAX, names, organization, reply};
use crate::service::Caller;

/// Characters of a tag's key.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 1..=128;
/// Characters of a tag's value.
const VALUE_CHARACTERS_MAX: usize = 256;

/// A tag as it is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: Option<String>,
}

/// AddTags' and RemoveTags' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeTagsRequest {
    resource_id: String,
    tags_list: Vec<Tag>,
}

/// ListTags' input. Its NextToken is "reserved for future use".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTagsRequest {
    resource_id_list: Vec<String>,
}

impl CloudTrail {
    pub(super) async fn add_tags(
        &self,
        caller: &Caller,
        request: ChangeTagsRequest,
    ) -> Result<Value, Failure> {
        let added = new_tags(request.tags_list)?;
        self.change_tags(caller, &request.resource_id, move |tags| {
            for (key, value) in &added {
                match tags.iter_mut().find(|(known, _)| known == key) {
                    Some((_, present)) => present.clone_from(value),
                    None => tags.push((key.clone(), value.clone())),
                }
            }
            if tags.len() > TAGS_PER_TRAIL_MAX { Err(too_many_tags()) } else { Ok(()) }
        })
        .await
    }

    pub(super) async fn remove_tags(
        &self,
        caller: &Caller,
        request: ChangeTagsRequest,
    ) -> Result<Value, Failure> {
        check_tags(&request.tags_list)?;
        self.change_tags(caller, &request.resource_id, move |tags| {
            tags.retain(|(key, _)| request.tags_list.iter().all(|removed| removed.key != *key));
            Ok(())
        })
        .await
    }

    pub(super) async fn tags(&self, caller: &Caller, request: ListTagsRequest) -> Result<Value, Failure> {
        if request.resource_id_list.len() > TAGGED_RESOURCES_PER_CALL_MAX {
            return Err(failure::invalid_parameter("ResourceIdList can have up to 20 ARNs.").into());
        }
        let arns =
            request.resource_id_list.iter().map(|text| tagged_trail(text)).collect::<Result<Vec<_>, _>>()?;
        let account = caller.account.clone();
        let trails = self
            .deps
            .catalog
            .read(move |tx| {
                let find = |arn| existing_trail(tx, arn, &account).map_err(|error| not_found(error, arn));
                arns.iter().map(find).collect::<Result<Vec<_>, Failure>>()
            })
            .await?;
        let shown = trails.iter().map(|trail| {
            let tags: Vec<_> = trail.tags.iter().map(shown).collect();
            json!({"ResourceId": trail.arn, "TagsList": tags})
        });
        Ok(json!({"ResourceTagList": shown.collect::<Vec<_>>()}))
    }

    async fn change_tags(
        &self,
        caller: &Caller,
        resource: &str,
        mut change: impl FnMut(&mut Vec<(String, String)>) -> Result<(), AwsError> + Send + 'static,
    ) -> Result<Value, Failure> {
        let arn = tagged_trail(resource)?;
        let (from, log) = (From::of(caller), Arc::clone(&self.deps.log));
        self.deps
            .catalog
            .write(move |tx| {
                let mut trail = home_trail(tx, &arn, &from).map_err(|error| not_found(error, &arn))?;
                change(&mut trail.tags)?;
                Ok::<_, Failure>(organization::keep(tx, &trail, from.at, log.end())?)
            })
            .await?;
        Ok(reply::nothing())
    }
}

/// A tag as it is shown: one that was given without a value has none.
fn shown((key, value): &(String, String)) -> Value {
    if value.is_empty() { json!({"Key": key}) } else { json!({"Key": key, "Value": value}) }
}

/// The tags of a new trail, or those to add.
pub(super) fn new_tags(tags: Vec<Tag>) -> Result<Vec<(String, String)>, AwsError> {
    if tags.len() > TAGS_PER_TRAIL_MAX {
        return Err(too_many_tags());
    }
    check_tags(&tags)?;
    if let Some(tag) = tags.iter().find(|tag| tag.key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid_tag(format!("The tag key {} uses a prefix that is reserved for AWS.", tag.key)));
    }
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value.unwrap_or_default())).collect())
}

fn check_tags(tags: &[Tag]) -> Result<(), AwsError> {
    for (at, tag) in tags.iter().enumerate() {
        if !KEY_LENGTH.contains(&tag.key.chars().count()) {
            return Err(invalid_tag("Tag keys must have 1 to 128 characters."));
        }
        if tag.value.as_deref().is_some_and(|value| value.chars().count() > VALUE_CHARACTERS_MAX) {
            return Err(invalid_tag("Tag values can have up to 256 characters."));
        }
        if tags[..at].iter().any(|before| before.key == tag.key) {
            return Err(invalid_tag(format!("The tag key {} is specified more than once.", tag.key)));
        }
    }
    Ok(())
}

fn invalid_tag(message: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidTagParameterException", message)
}

fn too_many_tags() -> AwsError {
    AwsError::invalid(
        "TagsLimitExceededException",
        "The number of tags per resource has exceeded the limit of 50.",
    )
}

/// The trail that an ARN of something with tags names. Of the other things that can have tags there are none here.
fn tagged_trail(text: &str) -> Result<TrailArn, AwsError> {
    let missing = |code| AwsError::invalid(code, format!("The resource was not found: {text}"));
    match text.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "cloudtrail", _, _, resource] => match resource.split_once('/').map(|(kind, _)| kind) {
            Some("trail") => names::trail_arn(text),
            Some("eventdatastore") => Err(missing("EventDataStoreNotFoundException")),
            // Not ChannelNotFoundException, which ListTags does not have.
            Some("channel" | "dashboard") => Err(missing("ResourceNotFoundException")),
            _ => Err(AwsError::invalid(
                "ResourceTypeNotSupportedException",
                format!("The resource type does not support tags: {text}"),
            )),
        },
        _ => Err(names::invalid_arn(text)),
    }
}

/// Operations on tags call a trail that is not there a resource.
fn not_found(failure: Failure, arn: &TrailArn) -> Failure {
    let error = AwsError::from(failure);
    if error.code == "TrailNotFoundException" {
        AwsError::invalid("ResourceNotFoundException", format!("The resource was not found: {arn}")).into()
    } else {
        error.into()
    }
}
