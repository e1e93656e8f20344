//! Tags of alarms.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::CloudWatch;
use super::alarm::{ALARMS, Alarm, alarm_row};
use super::error::{Failure, invalid_value};
use crate::Caller;

/// Tags of an alarm.
const TAGS_MAX: usize = 50;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TagResource {
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
    #[serde(rename = "Tags")]
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UntagResource {
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
    #[serde(rename = "TagKeys")]
    tag_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListTags {
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
}

/// `before` with the tags that are given.
pub(super) fn checked_tags(
    given: Vec<Tag>,
    before: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut tags = before;
    for Tag { key, value } in given {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid_value("A tag key cannot begin with aws:"));
        }
        tags.insert(key, value);
    }
    if tags.len() > TAGS_MAX {
        return Err(invalid_value(format!("A resource has at most {TAGS_MAX} tags.")));
    }
    Ok(tags)
}

fn not_found(arn: &str) -> Failure {
    cairn_wire::AwsError::with_status(404, "ResourceNotFoundException", format!("{arn} does not exist"))
        .with_member("ResourceType", "alarm")
        .with_member("ResourceId", arn)
        .into()
}

impl CloudWatch {
    pub(super) async fn tag_resource(&self, caller: &Caller, input: TagResource) -> Result<Value, Failure> {
        self.change_tags(caller, &input.resource_arn, move |alarm| {
            alarm.tags = checked_tags(input.tags.clone(), std::mem::take(&mut alarm.tags))?;
            Ok(())
        })
        .await
    }

    pub(super) async fn untag_resource(
        &self,
        caller: &Caller,
        input: UntagResource,
    ) -> Result<Value, Failure> {
        self.change_tags(caller, &input.resource_arn, move |alarm| {
            alarm.tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(())
        })
        .await
    }

    pub(super) async fn list_tags(&self, caller: &Caller, input: ListTags) -> Result<Value, Failure> {
        let row = tagged_row(caller, &input.resource_arn)?;
        let found = self.catalog.read(move |tx| ALARMS.get(tx, &row)).await?;
        let alarm = found.ok_or_else(|| not_found(&input.resource_arn))?;
        let tags: Vec<Value> =
            alarm.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        Ok(json!({ "Tags": tags }))
    }

    async fn change_tags(
        &self,
        caller: &Caller,
        arn: &str,
        change: impl Fn(&mut Alarm) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Value, Failure> {
        let (row, arn) = (tagged_row(caller, arn)?, arn.to_owned());
        self.catalog
            .write(move |tx| {
                let mut alarm = ALARMS.get(tx, &row)?.ok_or_else(|| not_found(&arn))?;
                change(&mut alarm)?;
                Ok::<_, Failure>(ALARMS.put(tx, &row, &alarm)?)
            })
            .await?;
        Ok(json!({}))
    }
}

/// The row of the alarm of that ARN, in the call's account and region.
fn tagged_row(caller: &Caller, arn: &str) -> Result<Vec<u8>, Failure> {
    let prefix = format!("arn:aws:cloudwatch:{}:{}:alarm:", caller.region, caller.account);
    match arn.strip_prefix(&prefix) {
        Some(name) if !name.is_empty() => Ok(alarm_row(&caller.account, &caller.region, name)),
        _ if arn.starts_with("arn:aws:cloudwatch:") => Err(not_found(arn)),
        _ => Err(invalid_value(format!("The value {arn} for parameter ResourceARN is invalid."))),
    }
}
