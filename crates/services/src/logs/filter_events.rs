//! FilterLogEvents: lines of a group's streams that match a pattern, in the order of their times.

use cairn_store::lines::{LineId, Query, StreamId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::error::{Failure, invalid, of_lines, stream_not_found};
use super::page::{after, invalid_token, token};
use super::read::{
    READ_LINES_MAX, REPLY_SIZE_BYTES_MAX, SCANNED_BYTES_MAX, digits, of_digits, pattern_of, wanted,
};
use super::state::Group;
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

impl Logs {
    pub(super) async fn filter_events(&self, caller: &Caller, input: FilterEvents) -> Result<Value, Failure> {
        let pattern = pattern_of(input.filter_pattern.as_deref())?;
        let after = place_of(input.next_token.as_deref())?;
        let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
        let group = self.identified(caller, name, identifier).await?;
        let (names, prefix) = (input.log_stream_names, input.log_stream_name_prefix);
        let streams = self.streams_asked_for(&group, names, prefix).await?;
        let opener = self.opener(&group).await?;
        let start = input.start_time.unwrap_or(0);
        let end = input.end_time.map_or(i64::MAX, |end| end.saturating_add(1));
        let query = Query {
            group: group.id,
            streams,
            times_ms: start..end,
            after,
            backwards: false,
            wanted: wanted(pattern, &opener),
            lines_max: input.limit.unwrap_or(READ_LINES_MAX),
            found_bytes_max: REPLY_SIZE_BYTES_MAX,
            scanned_bytes_max: SCANNED_BYTES_MAX,
        };
        let page = self.lines.read(query).await.map_err(of_lines)?;
        let mut events = Vec::with_capacity(page.lines.len());
        for found in &page.lines {
            // A stream that is deleted meanwhile has no lines any more.
            let Some(stream) = self.stream_name(found.stream).await? else { continue };
            events.push(json!({
                "logStreamName": &*stream,
                "timestamp": found.id.timestamp_ms,
                "message": self.text_of(&opener, found)?,
                "ingestionTime": found.ingested_at.millis(),
                "eventId": digits(found.id),
            }));
        }
        let mut reply = json!({ "events": events, "searchedLogStreams": [] });
        if let Some(looked) = page.looked_up_to.filter(|_| !page.is_complete) {
            reply["nextToken"] = token(&digits(looked)).into();
        }
        Ok(reply)
    }

    /// The numbers of the streams that a call names; none where it names none, which means all.
    pub(super) async fn streams_asked_for(
        &self,
        group: &Group,
        names: Option<Vec<String>>,
        prefix: Option<String>,
    ) -> Result<Option<Vec<StreamId>>, Failure> {
        match (names, prefix) {
            (Some(_), Some(_)) => {
                Err(invalid("logStreamNamePrefix and logStreamNames are mutually exclusive parameters."))
            }
            (Some(names), None) => {
                let mut ids = Vec::with_capacity(names.len());
                for name in names {
                    let id = self.views.stream(&self.catalog, group.id, &name).await?;
                    ids.push(id.ok_or_else(stream_not_found)?);
                }
                Ok(Some(ids))
            }
            (None, Some(prefix)) => {
                let streams = self.streams_of(group.id, prefix).await?;
                Ok(Some(streams.into_iter().map(|stream| stream.id).collect()))
            }
            (None, None) => Ok(None),
        }
    }
}

/// The place that a token says to go on behind.
fn place_of(token: Option<&str>) -> Result<Option<LineId>, Failure> {
    match after(token)? {
        Some(text) => of_digits(&text).map(Some).ok_or_else(invalid_token),
        None => Ok(None),
    }
}
