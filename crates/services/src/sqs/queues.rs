//! Queues themselves: made, found, listed, changed, purged, deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_store::CatalogError;
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sqs;
use super::attributes::{self, Given};
use super::dispatch::Request;
use super::error::{Failure, fail, invalid_parameter, invalid_value, no_queue, of_engine};
use super::name::{QueueName, check_name};
use super::redrive;
use super::state::{DELETED, QUEUES, Queue};
use super::tags::check_tags;
use crate::Caller;

/// How long after a queue was deleted no other can have its name.
pub(super) const NAME_FREE_AFTER: Duration = Duration::from_secs(60);
/// How long after a purge no other can begin.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// The most queues of a page.
const PAGE_QUEUES_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: Given,
    #[serde(default, rename = "tags")]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OneQueue {
    pub(super) queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetUrl {
    queue_name: String,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListQueues {
    queue_name_prefix: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSources {
    queue_url: String,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PageInput {
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttributes {
    queue_url: String,
    attributes: Given,
}

impl Sqs {
    pub(super) async fn create_queue(
        &self,
        request: &Request<'_>,
        input: CreateQueue,
    ) -> Result<Value, Failure> {
        let caller = request.caller;
        let is_fifo = input.attributes.get("FifoQueue").is_some_and(|value| value == "true");
        let settings = attributes::of_new(&input.attributes, caller.now)?;
        check_name(&input.queue_name, is_fifo)?;
        check_tags(&input.tags)?;
        let name = QueueName::own(caller, &input.queue_name);
        let reply = json!({ "QueueUrl": name.url(caller, request.host) });
        let _changing = self.changing.lock().await;
        if let Some(queue) = self.find(&name) {
            return match attributes::first_difference(&queue, &input.attributes, &settings) {
                Some(attribute) => Err(fail(
                    "QueueNameExists",
                    format!(
                        "A queue already exists with the same name and a different value for attribute {attribute}"
                    ),
                )),
                None => Ok(reply),
            };
        }
        let queue = Queue {
            key: name.key(self.entropy.event_id().as_str()).0,
            name: name.clone(),
            created: caller.now,
            modified: caller.now,
            settings,
            tags: input.tags,
            purged: None,
        };
        self.check_redrive(&queue)?;
        self.make(queue, caller).await?;
        Ok(reply)
    }

    /// Makes a queue, in the engine first: one that the catalog does not know is removed at the next start.
    async fn make(&self, queue: Queue, caller: &Caller) -> Result<(), Failure> {
        let (name, now) = (queue.name.clone(), caller.now);
        self.engine.create(&queue.key()).await.map_err(of_engine)?;
        let kept = queue.clone();
        let made = self
            .catalog
            .write(move |tx| {
                let row = kept.name.row();
                if let Some(deleted) = DELETED.get(tx, row.bytes())?
                    && now.since(deleted) < NAME_FREE_AFTER
                {
                    return Err(deleted_recently());
                }
                DELETED.delete(tx, row.bytes())?;
                QUEUES.put(tx, row.bytes(), &kept)?;
                Ok(())
            })
            .await;
        if let Err(failure) = made {
            self.engine.remove(&queue.key()).await.map_err(of_engine)?;
            return Err(failure);
        }
        self.show(&name, Some(queue));
        Ok(())
    }

    pub(super) async fn delete_queue(&self, caller: &Caller, input: OneQueue) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        let _changing = self.changing.lock().await;
        let queue = self.find(&name).ok_or_else(no_queue)?;
        let (row, now) = (name.row(), caller.now);
        self.catalog
            .write(move |tx| {
                QUEUES.delete(tx, row.bytes())?;
                DELETED.put(tx, row.bytes(), &now)
            })
            .await?;
        self.show(&name, None);
        self.engine.remove(&queue.key()).await.map_err(of_engine)?;
        Ok(json!({}))
    }

    /// Forgets deletions whose names are free again.
    pub(super) async fn free_names(&self) -> Result<(), CatalogError> {
        let now = self.clock.now();
        self.catalog
            .write(move |tx| {
                for (row, deleted) in DELETED.scan_prefix(tx, &[])? {
                    if now.since(deleted) >= NAME_FREE_AFTER {
                        DELETED.delete(tx, &row)?;
                    }
                }
                Ok(())
            })
            .await
    }

    pub(super) async fn purge_queue(&self, caller: &Caller, input: OneQueue) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        let now = caller.now;
        let key = self.find(&name).ok_or_else(no_queue)?.key();
        self.change(&name, |queue| {
            if queue.purged.is_some_and(|purged| now.since(purged) < PURGE_INTERVAL) {
                return Err(AwsError::with_status(
                    403,
                    "PurgeQueueInProgress",
                    format!(
                        "Only one PurgeQueue operation on {} is allowed every 60 seconds.",
                        queue.name.name
                    ),
                )
                .into());
            }
            queue.purged = Some(now);
            Ok(())
        })
        .await?;
        self.engine.purge(&key).await.map_err(of_engine)?;
        Ok(json!({}))
    }

    pub(super) fn queue_url(&self, request: &Request<'_>, input: &GetUrl) -> Result<Value, Failure> {
        let mut name = QueueName::own(request.caller, &input.queue_name);
        if let Some(owner) = input.owner.as_ref().filter(|owner| !owner.is_empty()) {
            name.account = owner.parse().map_err(|_| no_queue())?;
        }
        self.find(&name).ok_or_else(no_queue)?;
        Ok(json!({ "QueueUrl": name.url(request.caller, request.host) }))
    }

    pub(super) fn list_queues(&self, request: &Request<'_>, input: &ListQueues) -> Result<Value, Failure> {
        let caller = request.caller;
        let prefix = input.queue_name_prefix.as_deref().unwrap_or_default();
        let names = self.all().into_iter().map(|queue| queue.name.clone()).filter(|name| {
            name.region == caller.region && name.account == caller.account && name.name.starts_with(prefix)
        });
        page("QueueUrls", names.collect(), &input.page, request)
    }

    pub(super) fn list_sources(&self, request: &Request<'_>, input: &ListSources) -> Result<Value, Failure> {
        let target = self.queue_at(&input.queue_url, request.caller)?;
        let mut reply = page("queueUrls", self.sources_of(&target.name), &input.page, request)?;
        if reply.get("queueUrls").is_none() {
            reply["queueUrls"] = json!([]);
        }
        Ok(reply)
    }

    /// The queues whose dead letters go to `target`.
    pub(super) fn sources_of(&self, target: &QueueName) -> Vec<QueueName> {
        let is_source =
            |queue: &Queue| queue.settings.redrive.as_ref().is_some_and(|redrive| redrive.target == *target);
        self.all().into_iter().filter(|queue| is_source(queue)).map(|queue| queue.name.clone()).collect()
    }

    pub(super) fn queue_attributes(&self, caller: &Caller, input: &GetAttributes) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        let counts = self.engine.counts(&queue.key(), caller.now).map_err(of_engine)?;
        let shown = attributes::show(&queue, &input.attribute_names, counts)?;
        Ok(if shown.is_empty() { json!({}) } else { json!({ "Attributes": shown }) })
    }

    pub(super) async fn set_attributes(
        &self,
        caller: &Caller,
        input: SetAttributes,
    ) -> Result<Value, Failure> {
        let name = QueueName::of_url(&input.queue_url, caller)?;
        self.change(&name, |queue| {
            queue.settings.change(&input.attributes, caller.now)?;
            queue.modified = caller.now;
            if input.attributes.contains_key("RedrivePolicy") {
                self.check_redrive(queue)?;
            }
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    fn check_redrive(&self, queue: &Queue) -> Result<(), Failure> {
        match &queue.settings.redrive {
            Some(redrive) => {
                redrive::check_target(&queue.name, redrive, self.find(&redrive.target).as_deref())
            }
            None => Ok(()),
        }
    }
}

fn deleted_recently() -> Failure {
    fail(
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    )
}

/// One page of the URLs of queues, under the member `member`. A token is the last name of the page before.
fn page(
    member: &str,
    mut names: Vec<QueueName>,
    input: &PageInput,
    request: &Request<'_>,
) -> Result<Value, Failure> {
    let limit = match input.max_results {
        Some(given) => usize::try_from(given)
            .ok()
            .filter(|limit| (1..=PAGE_QUEUES_MAX).contains(limit))
            .ok_or_else(|| {
                let reason = "MaxResults must be an integer between 1 and 1000.";
                invalid_value(&given.to_string(), "MaxResults", reason)
            })?,
        None => PAGE_QUEUES_MAX,
    };
    if let Some(token) = &input.next_token {
        let invalid = || invalid_parameter("Invalid or expired next token.");
        let last = STANDARD.decode(token).map_err(|_| invalid())?;
        let last = String::from_utf8(last).map_err(|_| invalid())?;
        names.retain(|name| name.name > last);
    }
    let is_more = names.len() > limit;
    names.truncate(limit);
    let mut reply = json!({});
    // Without MaxResults AWS gives the first thousand and no token.
    if let Some(last) = names.last().filter(|_| is_more && input.max_results.is_some()) {
        reply["NextToken"] = STANDARD.encode(&last.name).into();
    }
    if !names.is_empty() {
        reply[member] = names.iter().map(|name| name.url(request.caller, request.host)).collect();
    }
    Ok(reply)
}
