//! StartLiveTail: lines as they arrive, once a second, until the session is over.
//!
//! A session follows the store's journal from the moment that it began; it sees lines in the order of their arrival,
//! whatever their times. More lines than an update takes are sampled: the client is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::filter_pattern::FilterPattern;
use cairn_core::{Clock, Timestamp};
use cairn_store::lines::{GroupId, Lines, StreamId};
use cairn_store::{Catalog, LogPosition};
use cairn_wire::{AwsError, Event, Events, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::encryption::Opener;
use super::error::{Failure, group_not_found, invalid, of_lines};
use super::read::pattern_of;
use super::views::Views;
use crate::Caller;
use crate::sqs::Pause;

/// Log groups of a session.
const GROUPS_MAX: usize = 10;
/// Lines of an update.
const UPDATE_LINES_MAX: usize = 500;
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);
const SESSION_LENGTH_MAX: Duration = Duration::from_secs(3 * 3600);
/// About the most text that is read of the journal at a time, and the most times before an update is sent.
const STEP_BYTES: usize = 4 * 1024 * 1024;
const STEPS_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartTail {
    log_group_identifiers: Vec<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefixes: Option<Vec<String>>,
    log_event_filter_pattern: Option<String>,
}

/// Which of a group's streams are followed.
enum Streams {
    All,
    Named(Vec<String>),
    Beginning(Vec<String>),
}

impl Streams {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|named| named == name),
            Self::Beginning(prefixes) => prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())),
        }
    }
}

/// A running session.
struct Tail {
    lines: Arc<dyn Lines>,
    catalog: Catalog,
    views: Arc<Views>,
    clock: Arc<dyn Clock>,
    pause: Arc<dyn Pause>,
    /// How each group is named in updates, and what opens its lines.
    groups: HashMap<GroupId, (String, Opener)>,
    streams: Streams,
    pattern: Option<FilterPattern>,
    /// What it begins with.
    start: Option<Value>,
    position: LogPosition,
    ends_at: Timestamp,
}

impl Logs {
    pub(super) async fn start_tail(&self, caller: &Caller, input: StartTail) -> Result<Reply, Failure> {
        if input.log_group_identifiers.len() > GROUPS_MAX {
            return Err(invalid(format!("A session can have no more than {GROUPS_MAX} log groups.")));
        }
        let (names, prefixes) = (&input.log_stream_names, &input.log_stream_name_prefixes);
        if (names.is_some() || prefixes.is_some()) && input.log_group_identifiers.len() != 1 {
            return Err(invalid("Log streams can be named of a single log group only."));
        }
        let streams = match (names.clone(), prefixes.clone()) {
            (Some(_), Some(_)) => {
                return Err(invalid("logStreamNames and logStreamNamePrefixes are mutually exclusive."));
            }
            (Some(names), None) => Streams::Named(names),
            (None, Some(prefixes)) => Streams::Beginning(prefixes),
            (None, None) => Streams::All,
        };
        let pattern = pattern_of(input.log_event_filter_pattern.as_deref())?;
        let position = self.lines.end();
        let mut groups = HashMap::new();
        for identifier in &input.log_group_identifiers {
            let name = GroupName::of_identifier(caller, identifier).ok_or_else(group_not_found)?;
            let group = self.group(&name).await?;
            let shown = format!("{}:{}", group.name.account, group.name.name);
            groups.insert(group.id, (shown, self.opener(&group).await?));
        }
        let start = json!({
            "requestId": caller.request_id.to_string(),
            "sessionId": self.entropy.event_id().to_string(),
            "logGroupIdentifiers": input.log_group_identifiers,
            "logStreamNames": input.log_stream_names.unwrap_or_default(),
            "logStreamNamePrefixes": input.log_stream_name_prefixes.unwrap_or_default(),
            "logEventFilterPattern": input.log_event_filter_pattern.unwrap_or_default(),
        });
        let tail = Tail {
            lines: Arc::clone(&self.lines),
            catalog: self.catalog.clone(),
            views: Arc::clone(&self.views),
            clock: Arc::clone(&self.clock),
            pause: Arc::clone(&self.pause),
            groups,
            streams,
            pattern,
            start: Some(start),
            position,
            ends_at: self.clock.now().plus(SESSION_LENGTH_MAX),
        };
        Ok(Reply { result: json!({}), events: Some(Box::new(tail)), ..Reply::default() })
    }
}

#[async_trait]
impl Events for Tail {
    async fn next(&mut self) -> Option<Result<Event, AwsError>> {
        if let Some(start) = self.start.take() {
            return Some(Ok(Event { name: "sessionStart", value: start }));
        }
        let now = self.clock.now();
        if now >= self.ends_at {
            return Some(Err(AwsError::invalid("SessionTimeoutException", "The session has timed out.")));
        }
        self.pause.until(now.plus(UPDATE_INTERVAL)).await;
        if self.pause.is_in_vain() {
            return None;
        }
        Some(self.update().await.map_err(|failure| {
            let error = AwsError::from(failure);
            tracing::warn!(%error, "a live tail breaks off");
            AwsError::invalid("SessionStreamingException", "The session was interrupted.")
        }))
    }
}

impl Tail {
    /// What has arrived since the last update.
    async fn update(&mut self) -> Result<Event, Failure> {
        let (mut results, mut is_sampled) = (Vec::new(), false);
        for _ in 0..STEPS_MAX {
            let batches = self.lines.appended(self.position, STEP_BYTES).await.map_err(of_lines)?;
            if batches.is_empty() {
                break;
            }
            for (position, batch) in batches {
                // The journal is not kept for those who do not keep up.
                is_sampled |= position > self.position;
                self.position = LogPosition(position.0 + 1);
                let Some((group, opener)) = self.groups.get(&batch.group) else { continue };
                let Some(stream) = self.stream(batch.stream).await? else { continue };
                for line in &batch.lines {
                    let text = opener.open(&line.message)?;
                    if self.pattern.as_ref().is_some_and(|pattern| !pattern.matches(&text)) {
                        continue;
                    }
                    is_sampled |= results.len() >= UPDATE_LINES_MAX;
                    if results.len() < UPDATE_LINES_MAX {
                        results.push(json!({
                            "logStreamName": &*stream,
                            "logGroupIdentifier": group,
                            "message": String::from_utf8_lossy(&text),
                            "timestamp": line.timestamp_ms,
                            "ingestionTime": batch.ingested_at.millis(),
                        }));
                    }
                }
            }
        }
        let value = json!({ "sessionMetadata": { "sampled": is_sampled }, "sessionResults": results });
        Ok(Event { name: "sessionUpdate", value })
    }

    /// The name of a stream that is followed.
    async fn stream(&self, id: StreamId) -> Result<Option<Arc<str>>, Failure> {
        let name = self.views.stream_name(&self.catalog, id).await?;
        Ok(name.filter(|name| self.streams.has(name)))
    }
}
