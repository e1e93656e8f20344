//! Tags of buses and rules.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Events;
use super::buses;
use super::error::{Failure, no_rule, not_found, validation};
use super::names::BusArn;
use super::state::{RULES, Tags, rule_row};
use crate::Caller;

/// Tags of a resource.
const TAGS_MAX: usize = 50;

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagInput {
    key: String,
    value: String,
}

#[derive(Deserialize)]
pub(super) struct TaggedInput {
    #[serde(rename = "ResourceARN")]
    arn: String,
}

#[derive(Deserialize)]
pub(super) struct TagResource {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "Tags")]
    tags: Vec<TagInput>,
}

#[derive(Deserialize)]
pub(super) struct UntagResource {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "TagKeys")]
    keys: Vec<String>,
}

/// What can have tags.
pub(super) enum Tagged {
    Bus(BusArn),
    Rule(BusArn, String),
}

impl Tagged {
    fn of(arn: &str, caller: &Caller) -> Result<Self, Failure> {
        let found = match arn.parse::<BusArn>() {
            Ok(bus) => Some(Self::Bus(bus)),
            Err(_) => BusArn::of_rule(arn).map(|(bus, rule)| Self::Rule(bus, rule)),
        };
        let is_near = |tagged: &Self| match tagged {
            Self::Bus(bus) | Self::Rule(bus, _) => {
                bus.region == caller.region && bus.account == caller.account
            }
        };
        found.filter(is_near).ok_or_else(|| not_found(format!("{arn} does not exist.")))
    }
}

/// Tags as they are kept.
pub(super) fn checked_tags(given: &[TagInput]) -> Result<Tags, Failure> {
    let mut tags = Tags::new();
    put(&mut tags, given)?;
    Ok(tags)
}

/// Sets tags, each under its name.
fn put(tags: &mut Tags, given: &[TagInput]) -> Result<(), Failure> {
    for TagInput { key, value } in given {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(validation("Tag keys starting with 'aws:' are reserved for system use."));
        }
        match tags.iter_mut().find(|(known, _)| known == key) {
            Some(tag) => tag.1.clone_from(value),
            None => tags.push((key.clone(), value.clone())),
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(validation(format!("A resource can have at most {TAGS_MAX} tags.")));
    }
    Ok(())
}

impl Events {
    pub(super) async fn tag(&self, caller: &Caller, input: TagResource) -> Result<Value, Failure> {
        let tagged = Tagged::of(&input.arn, caller)?;
        self.change_tags(tagged, move |tags| put(tags, &input.tags)).await
    }

    pub(super) async fn untag(&self, caller: &Caller, input: UntagResource) -> Result<Value, Failure> {
        let tagged = Tagged::of(&input.arn, caller)?;
        let change = move |tags: &mut Tags| {
            tags.retain(|(key, _)| !input.keys.contains(key));
            Ok(())
        };
        self.change_tags(tagged, change).await
    }

    async fn change_tags(
        &self,
        tagged: Tagged,
        change: impl Fn(&mut Tags) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Value, Failure> {
        match tagged {
            Tagged::Bus(arn) => self.change_bus(&arn, move |bus| change(&mut bus.tags)).await.map(drop)?,
            Tagged::Rule(bus, name) => {
                self.change_rule(&bus, &name, move |rule| change(&mut rule.tags)).await.map(drop)?;
            }
        }
        Ok(json!({}))
    }

    pub(super) async fn list_tags(&self, caller: &Caller, input: TaggedInput) -> Result<Value, Failure> {
        let tagged = Tagged::of(&input.arn, caller)?;
        let tags = self
            .catalog
            .read(move |tx| match &tagged {
                Tagged::Bus(arn) => Ok(buses::found(tx, arn)?.tags),
                Tagged::Rule(bus, name) => match RULES.get(tx, rule_row(bus, name).bytes())? {
                    Some(rule) => Ok(rule.tags),
                    None => Err(no_rule(name, &bus.name)),
                },
            })
            .await?;
        let shown: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        Ok(json!({ "Tags": shown }))
    }
}
