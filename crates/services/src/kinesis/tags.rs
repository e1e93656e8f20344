//! The tags of streams and of consumers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Shared;
use super::consumers::consumer_at;
use super::error::{Failure, invalid};
use super::name::{StreamName, consumer_of_arn};
use super::policies::{arn_of, named};
use super::state::Stream;
use super::streams::parse;
use crate::Caller;

/// The most tags of a resource.
const TAGS_MAX: usize = 50;
/// How many tags are shown at a time where nobody says.
const PAGE_DEFAULT: usize = 50;

type Tags = BTreeMap<String, String>;

impl Shared {
    pub(super) async fn add_stream_tags(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let new = new_tags(params)?;
        self.change(&name, |stream| add(&mut stream.tags, new)).await?;
        Ok(json!({}))
    }

    pub(super) async fn remove_stream_tags(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let keys = keys(params);
        self.change(&name, |stream| {
            stream.tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) fn stream_tags(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&StreamName::of_params(caller, params)?)?;
        let after = params.get("ExclusiveStartTagKey").and_then(Value::as_str);
        let limit = params.get("Limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
        let mut left = stream.tags.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let page: Tags = left
            .by_ref()
            .take(limit.unwrap_or(PAGE_DEFAULT))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(json!({"Tags": listed(&page), "HasMoreTags": left.next().is_some()}))
    }

    pub(super) async fn tag_resource(&self, params: &Value) -> Result<Value, Failure> {
        let new = new_tags(params)?;
        self.change(&named(params)?, |stream| add(tags_of(stream, arn_of(params))?, new)).await?;
        Ok(json!({}))
    }

    pub(super) async fn untag_resource(&self, params: &Value) -> Result<Value, Failure> {
        let keys = keys(params);
        self.change(&named(params)?, |stream| {
            tags_of(stream, arn_of(params))?.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) fn resource_tags(&self, params: &Value) -> Result<Value, Failure> {
        let mut stream = Stream::clone(&*self.stream(&named(params)?)?);
        Ok(json!({"Tags": listed(tags_of(&mut stream, arn_of(params))?)}))
    }
}

fn tags_of<'a>(stream: &'a mut Stream, arn: &str) -> Result<&'a mut Tags, Failure> {
    if consumer_of_arn(arn).is_some() {
        Ok(&mut consumer_at(stream, arn)?.tags)
    } else {
        Ok(&mut stream.tags)
    }
}

fn new_tags(params: &Value) -> Result<Tags, Failure> {
    parse(params.get("Tags").unwrap_or(&Value::Null))
}

fn keys(params: &Value) -> Vec<String> {
    let keys = params.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn listed(tags: &Tags) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn add(tags: &mut Tags, new: Tags) -> Result<(), Failure> {
    tags.extend(new);
    check_tags(tags)
}

/// Refuses more tags than a resource can have.
pub(super) fn check_tags(tags: &Tags) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("A resource can have {TAGS_MAX} tags.")));
    }
    Ok(())
}
