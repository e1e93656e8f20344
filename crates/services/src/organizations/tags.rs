//! Tags of accounts, units, policies and the root.

use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::state::Organization;
use super::{Answer, Occasion, required, violation};

/// Tags of one resource.
const TAGS_MAX: usize = 50;

fn given(params: &Value) -> impl Iterator<Item = (String, String)> {
    let tags = params.get("Tags").and_then(Value::as_array);
    tags.into_iter().flatten().map(|tag| (required(tag, "Key").to_owned(), required(tag, "Value").to_owned()))
}

/// The tags that something is made with.
pub(super) fn begin(organization: &mut Organization, id: &str, params: &Value) {
    let tags: std::collections::BTreeMap<String, String> = given(params).take(TAGS_MAX).collect();
    if !tags.is_empty() {
        organization.tags.insert(id.to_owned(), tags);
    }
}

fn resource(organization: &Organization, params: &Value) -> Result<String, AwsError> {
    let id = required(params, "ResourceId");
    if organization.arn_of(id).is_some() {
        return Ok(id.to_owned());
    }
    Err(AwsError::invalid(
        "TargetNotFoundException",
        "We can't find a root, OU, account, or policy with the TargetId that you specified.",
    ))
}

pub(super) fn add(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let id = resource(organization, params)?;
    let tags = organization.tags.entry(id).or_default();
    tags.extend(given(params));
    if tags.len() > TAGS_MAX {
        return Err(violation("TAG_POLICY_VIOLATION", "You have exceeded the number of tags of a resource."));
    }
    Ok(Value::Null)
}

pub(super) fn remove(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let id = resource(organization, params)?;
    let tags = organization.tags.entry(id).or_default();
    let keys = params.get("TagKeys").and_then(Value::as_array);
    for key in keys.into_iter().flatten().filter_map(Value::as_str) {
        tags.remove(key);
    }
    Ok(Value::Null)
}

pub(super) fn list(organization: &Organization, params: &Value) -> Answer {
    let id = resource(organization, params)?;
    let tags = organization.tags.get(&id).into_iter().flatten();
    let tags: Vec<Value> = tags.map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"Tags": tags}))
}
