//! The tags of queues.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Sqs;
use super::error::{Failure, invalid_parameter};
use super::name::QueueName;
use super::queues::OneQueue;
use crate::Caller;

/// The most tags of a queue.
const TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagQueue {
    queue_url: String,
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagQueue {
    queue_url: String,
    tag_keys: Vec<String>,
}

impl Sqs {
    pub(super) async fn tag_queue(&self, caller: &Caller, input: TagQueue) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        self.change(&name, |queue| {
            queue.tags.extend(input.tags);
            check_tags(&queue.tags)
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn untag_queue(&self, caller: &Caller, input: UntagQueue) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        self.change(&name, |queue| {
            queue.tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) fn list_tags(&self, caller: &Caller, input: &OneQueue) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        Ok(if queue.tags.is_empty() { json!({}) } else { json!({ "Tags": queue.tags }) })
    }
}

/// Refuses more tags, or longer ones, than a queue can have.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(invalid_parameter(format!("The queue can have at most {TAGS_MAX} tags.")));
    }
    for (key, value) in tags {
        let (key_chars, value_chars) = (key.chars().count(), value.chars().count());
        if !(1..=TAG_KEY_CHARS_MAX).contains(&key_chars) || key.starts_with("aws:") {
            return Err(invalid_parameter(format!("Tag key {key} is invalid.")));
        }
        if value_chars > TAG_VALUE_CHARS_MAX {
            return Err(invalid_parameter(format!("The value of tag {key} is too long.")));
        }
    }
    Ok(())
}
