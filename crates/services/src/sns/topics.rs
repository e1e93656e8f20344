//! Topics: made, listed, changed, deleted.

use std::collections::BTreeMap;

use cairn_store::Tx;
use cairn_store::catalog::{Key, prefix_end};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arn::{FIFO_SUFFIX, TopicArn};
use super::error::{Failure, fail, invalid, topic_arn, topic_not_found};
use super::page::{PAGE_ITEMS, PageInput, page};
use super::state::{COUNTS, SUBSCRIPTIONS, TOPICS, Topic, forget_topic, remove_subscription};
use super::tags::{Tag, checked_tags};
use super::{Sns, topic_attributes};
use crate::Caller;

/// Characters of a topic's name.
const NAME_CHARS_MAX: usize = 256;
/// Topics of an account in a region.
const TOPICS_MAX: usize = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateTopic {
    name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    tags: Option<Vec<Tag>>,
    data_protection_policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedTopic {
    topic_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttribute {
    topic_arn: String,
    attribute_name: String,
    attribute_value: Option<String>,
}

impl Sns {
    pub(super) async fn create_topic(&self, caller: &Caller, input: CreateTopic) -> Result<Value, Failure> {
        let CreateTopic { name, mut attributes, tags, data_protection_policy } = input;
        if data_protection_policy.is_some_and(|policy| !policy.is_empty()) {
            return Err(invalid("DataProtectionPolicy Reason: data protection policies are not supported"));
        }
        let fifo = attributes.remove("FifoTopic");
        check_name(&name, fifo.as_deref())?;
        let arn = TopicArn { region: caller.region.clone(), account: caller.account.clone(), name };
        let mut topic = Topic {
            policy: topic_attributes::default_policy(&arn),
            arn,
            created: caller.now,
            attributes: BTreeMap::new(),
            tags: tags.map(checked_tags).transpose()?.unwrap_or_default(),
        };
        for (name, value) in &attributes {
            topic_attributes::set(&mut topic, name, value).map_err(|problem| match problem {
                Some(problem) => invalid(format!("Attributes Reason: {problem}")),
                None => invalid(format!("Attributes Reason: Unknown attribute {name}")),
            })?;
        }
        let reply = json!({ "TopicArn": topic.arn.to_string() });
        let given = attributes.into_keys().collect::<Vec<_>>();
        self.catalog.write(move |tx| make_topic(tx, &topic, &given)).await?;
        Ok(reply)
    }

    pub(super) async fn delete_topic(&self, caller: &Caller, input: NamedTopic) -> Result<Value, Failure> {
        let arn = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let gone = arn.clone();
        self.catalog
            .write(move |tx| {
                for (_, subscription) in SUBSCRIPTIONS.scan_prefix(tx, gone.row().bytes())? {
                    remove_subscription(tx, &subscription.arn)?;
                }
                forget_topic(tx, &gone)
            })
            .await?;
        self.views.forget(&arn);
        Ok(json!({}))
    }

    pub(super) async fn list_topics(&self, caller: &Caller, input: PageInput) -> Result<Value, Failure> {
        let after = input.after()?;
        let prefix = Key::new().text(caller.region.as_str()).text(caller.account.as_str());
        let topics = self
            .catalog
            .read(move |tx| {
                let end = prefix_end(prefix.bytes());
                let Some(after) = &after else {
                    return TOPICS.scan(tx, prefix.bytes(), end.as_deref(), PAGE_ITEMS + 1);
                };
                let from = prefix.clone().text(after);
                let mut found = TOPICS.scan(tx, from.bytes(), end.as_deref(), PAGE_ITEMS + 2)?;
                found.retain(|(row, _)| row != from.bytes());
                Ok(found)
            })
            .await?;
        let shown = topics.into_iter().map(|(_, topic)| {
            let item = json!({ "TopicArn": topic.arn.to_string() });
            (topic.arn.name, item)
        });
        Ok(page("Topics", shown.collect()))
    }

    pub(super) async fn topic_attributes(
        &self,
        caller: &Caller,
        input: NamedTopic,
    ) -> Result<Value, Failure> {
        let arn = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let found = self
            .catalog
            .read(move |tx| {
                let counts = COUNTS.get(tx, arn.row().bytes())?.unwrap_or_default();
                Ok::<_, Failure>((existing(tx, &arn)?, counts))
            })
            .await?;
        Ok(json!({ "Attributes": topic_attributes::shown(&found.0, found.1) }))
    }

    pub(super) async fn set_topic_attribute(
        &self,
        caller: &Caller,
        input: SetAttribute,
    ) -> Result<Value, Failure> {
        let arn = topic_arn("TopicArn", &input.topic_arn, Some(&caller.region))?;
        let value = input.attribute_value.unwrap_or_default();
        self.change_topic(&arn, move |topic| {
            topic_attributes::set(topic, &input.attribute_name, &value)
                .map_err(|problem| invalid(problem.unwrap_or_else(|| "AttributeName".to_owned())))
        })
        .await?;
        Ok(json!({}))
    }

    /// Changes a topic that is there.
    pub(super) async fn change_topic(
        &self,
        arn: &TopicArn,
        mut change: impl FnMut(&mut Topic) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let named = arn.clone();
        self.catalog
            .write(move |tx| {
                let mut topic = existing(tx, &named)?;
                change(&mut topic)?;
                Ok::<_, Failure>(TOPICS.put(tx, named.row().bytes(), &topic)?)
            })
            .await?;
        self.views.forget(arn);
        Ok(())
    }
}

/// The topic of that name.
pub(super) fn existing(tx: &mut dyn Tx, arn: &TopicArn) -> Result<Topic, Failure> {
    TOPICS.get(tx, arn.row().bytes())?.ok_or_else(topic_not_found)
}

/// Makes a topic, or finds it as it is asked for.
fn make_topic(tx: &mut dyn Tx, topic: &Topic, given: &[String]) -> Result<(), Failure> {
    let row = topic.arn.row();
    let Some(existing) = TOPICS.get(tx, row.bytes())? else {
        let place = Key::new().text(topic.arn.region.as_str()).text(topic.arn.account.as_str());
        if TOPICS.count_prefix(tx, place.bytes(), TOPICS_MAX)? >= TOPICS_MAX {
            return Err(fail("TopicLimitExceeded", "The maximum number of topics has been reached."));
        }
        return Ok(TOPICS.put(tx, row.bytes(), topic)?);
    };
    let differs = given.iter().any(|name| match name.as_str() {
        "Policy" => existing.policy != topic.policy,
        "ContentBasedDeduplication" => {
            existing.attribute(name).unwrap_or("false") != topic.attribute(name).unwrap_or("false")
        }
        "DisplayName" => existing.attribute(name).unwrap_or("") != topic.attribute(name).unwrap_or(""),
        _ => existing.attribute(name) != topic.attribute(name),
    });
    if differs {
        return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
    }
    if topic.tags.iter().any(|(name, value)| existing.tags.get(name) != Some(value)) {
        return Err(invalid("Tags Reason: Topic already exists with different tags"));
    }
    Ok(())
}

fn check_name(name: &str, fifo: Option<&str>) -> Result<(), Failure> {
    let is_fifo = match fifo {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => return Err(invalid("Attributes Reason: FifoTopic Reason: must be one of [true, false]")),
    };
    let stem = if is_fifo { name.strip_suffix(FIFO_SUFFIX) } else { Some(name) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = |stem: &str| !stem.is_empty() && name.len() <= NAME_CHARS_MAX && stem.chars().all(allowed);
    match stem {
        Some(stem) if fits(stem) => Ok(()),
        _ if is_fifo => Err(invalid(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, \
             numbers, underscores, and hyphens, and must be between 1 and 256 characters long.",
        )),
        _ => Err(invalid("Topic Name")),
    }
}
