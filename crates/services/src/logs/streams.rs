//! Log streams: made, listed, deleted.

use cairn_core::Timestamp;
use cairn_store::Tx;
use cairn_store::lines::{GroupId, StreamId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, already_exists, group_not_found, invalid, stream_not_found};
use super::groups::existing;
use super::page::{PAGE_ITEMS, after, page};
use super::state::{
    Group, STREAM_NAMES, STREAMS, Stream, StreamName, group_id_row, new_id, remove_stream, stream_id_row,
    stream_row,
};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedStream {
    log_group_name: String,
    log_stream_name: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Order {
    #[default]
    LogStreamName,
    LastEventTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    #[serde(default)]
    order_by: Order,
    #[serde(default)]
    descending: bool,
    next_token: Option<String>,
    limit: Option<usize>,
}

impl Logs {
    pub(super) async fn create_stream(&self, caller: &Caller, input: NamedStream) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        self.make_stream(&name, &input.log_stream_name, caller.now).await?;
        Ok(json!({}))
    }

    /// Makes a stream that is not there yet.
    pub(super) async fn make_stream(
        &self,
        name: &GroupName,
        stream: &str,
        now: Timestamp,
    ) -> Result<StreamId, Failure> {
        let (name, stream) = (name.clone(), stream.to_owned());
        self.catalog
            .write(move |tx| {
                let group = existing(tx, &name)?;
                insert_stream(tx, &group, &stream, now)?
                    .ok_or_else(|| already_exists("The specified log stream already exists"))
            })
            .await
    }

    pub(super) async fn delete_stream(&self, caller: &Caller, input: NamedStream) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        // Nothing is written to it any more once it is gone.
        let _alone = self.writers(&name).write().await;
        let (named, stream) = (name.clone(), input.log_stream_name.clone());
        let forgotten = self
            .catalog
            .write(move |tx| {
                let group = existing(tx, &named)?;
                let found = STREAMS.get(tx, stream_row(group.id, &stream).bytes())?;
                let found = found.ok_or_else(stream_not_found)?;
                Ok::<_, Failure>(remove_stream(tx, &group, &found)?)
            })
            .await?;
        self.views.forget_stream(forgotten.group, &input.log_stream_name);
        self.forget_lines(forgotten).await?;
        Ok(json!({}))
    }

    pub(super) async fn describe_streams(
        &self,
        caller: &Caller,
        input: DescribeStreams,
    ) -> Result<Value, Failure> {
        let by_time = input.order_by == Order::LastEventTime;
        if by_time && input.log_stream_name_prefix.is_some() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
        let group = self.identified(caller, name, identifier).await?;
        let streams = self.streams_of(group.id, input.log_stream_name_prefix.unwrap_or_default()).await?;
        let after = after(input.next_token.as_deref())?;
        // A text that sorts as the streams are to be shown.
        let mut sorted: Vec<(String, Stream)> = streams
            .into_iter()
            .map(|stream| {
                let last = || self.lines.kept_of_stream(group.id, stream.id).last_ms.unwrap_or(0);
                let sort =
                    if by_time { format!("{:020}/{}", last(), stream.name) } else { stream.name.clone() };
                (sort, stream)
            })
            .filter(|(sort, _)| {
                after.as_ref().is_none_or(|after| if input.descending { sort < after } else { sort > after })
            })
            .collect();
        sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
        if input.descending {
            sorted.reverse();
        }
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        sorted.truncate(limit + 1);
        let items = sorted.into_iter().map(|(sort, stream)| (sort, self.shown_stream(&group, &stream)));
        Ok(page("logStreams", items.collect(), limit))
    }

    /// The group that a call names by its name or by an identifier, and not by both.
    pub(super) async fn identified(
        &self,
        caller: &Caller,
        name: Option<&str>,
        identifier: Option<&str>,
    ) -> Result<std::sync::Arc<Group>, Failure> {
        let name = match (name, identifier) {
            (Some(name), None) => GroupName::own(caller, name),
            (None, Some(text)) => GroupName::of_identifier(caller, text).ok_or_else(group_not_found)?,
            (Some(_), Some(_)) => {
                return Err(invalid("Cannot specify both logGroupName and logGroupIdentifier."));
            }
            (None, None) => return Err(invalid("Either logGroupName or logGroupIdentifier is required.")),
        };
        self.group(&name).await
    }

    /// The streams of a group whose names begin so, in the order of their names.
    pub(super) async fn streams_of(&self, group: GroupId, prefix: String) -> Result<Vec<Stream>, Failure> {
        let begin = group_id_row(group).text_prefix(&prefix);
        let rows = self.catalog.read(move |tx| STREAMS.scan_prefix(tx, begin.bytes())).await?;
        Ok(rows.into_iter().map(|(_, stream)| stream).collect())
    }

    fn shown_stream(&self, group: &Group, stream: &Stream) -> Value {
        let kept = self.lines.kept_of_stream(group.id, stream.id);
        let mut shown = json!({
            "logStreamName": stream.name,
            "creationTime": stream.created.millis(),
            "arn": group.name.stream_arn(&stream.name),
            // "As of June 17, 2019, this parameter is no longer supported for log streams, and is always reported as zero."
            "storedBytes": 0,
        });
        let times = [
            ("firstEventTimestamp", kept.first_ms),
            ("lastEventTimestamp", kept.last_ms),
            ("lastIngestionTime", kept.last_ingested_at.map(Timestamp::millis)),
        ];
        for (member, time) in times {
            if let Some(time) = time {
                shown[member] = time.into();
            }
        }
        if let Some(at) = kept.last_ingested_at {
            shown["uploadSequenceToken"] = sequence_token(at.millis().unsigned_abs()).into();
        }
        shown
    }
}

/// Makes a stream in the group; none where there is one of that name.
pub(super) fn insert_stream(
    tx: &mut dyn Tx,
    group: &Group,
    name: &str,
    now: Timestamp,
) -> Result<Option<StreamId>, Failure> {
    let row = stream_row(group.id, name);
    if STREAMS.get(tx, row.bytes())?.is_some() {
        return Ok(None);
    }
    let id = StreamId(new_id(tx)?);
    STREAMS.put(tx, row.bytes(), &Stream { id, name: name.to_owned(), created: now })?;
    let found = StreamName { group: group.id, name: name.to_owned() };
    STREAM_NAMES.put(tx, stream_id_row(id).bytes(), &found)?;
    Ok(Some(id))
}

/// Tokens of an order that nothing depends on any more; clients still pass them on.
pub(super) fn sequence_token(number: u64) -> String {
    format!("49{number:054}")
}
