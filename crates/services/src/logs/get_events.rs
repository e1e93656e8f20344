//! GetLogEvents: the lines of one stream, page by page in both directions.
//!
//! A token is a direction and a place: `f/DIGITS/s` goes on behind the page's last line, `b/DIGITS/s` before its first.
//! At the end of a stream the token that was given comes back; that is how clients know.

use std::ops::Range;

use cairn_store::lines::{LineId, Page, Query};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::error::{Failure, invalid, of_lines, stream_not_found};
use super::read::{BEFORE_ALL, READ_LINES_MAX, REPLY_SIZE_BYTES_MAX, SCANNED_BYTES_MAX, digits, of_digits};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    start_from_head: bool,
}

/// Where a page begins, and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    backwards: bool,
    at: LineId,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (direction, rest) = text.split_once('/')?;
        let backwards = match direction {
            "f" => false,
            "b" => true,
            _ => return None,
        };
        Some(Self { backwards, at: of_digits(rest.strip_suffix("/s")?)? })
    }

    fn text(self) -> String {
        format!("{}/{}/s", if self.backwards { 'b' } else { 'f' }, digits(self.at))
    }
}

impl Logs {
    pub(super) async fn get_events(&self, caller: &Caller, input: GetEvents) -> Result<Value, Failure> {
        let cursor = match &input.next_token {
            Some(text) => {
                let cursor = Cursor::parse(text);
                Some(cursor.ok_or_else(|| invalid("The specified nextToken is invalid."))?)
            }
            None => None,
        };
        let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
        let group = self.identified(caller, name, identifier).await?;
        let stream = self.views.stream(&self.catalog, group.id, &input.log_stream_name).await?;
        let stream = stream.ok_or_else(stream_not_found)?;
        let opener = self.opener(&group).await?;
        let backwards = cursor.map_or(!input.start_from_head, |cursor| cursor.backwards);
        let query = Query {
            group: group.id,
            streams: Some(vec![stream]),
            times_ms: times(input.start_time, input.end_time),
            after: cursor.map(|cursor| cursor.at).filter(|at| backwards || *at != BEFORE_ALL),
            backwards,
            wanted: None,
            lines_max: input.limit.unwrap_or(READ_LINES_MAX),
            found_bytes_max: REPLY_SIZE_BYTES_MAX,
            scanned_bytes_max: SCANNED_BYTES_MAX,
        };
        let mut page = self.lines.read(query).await.map_err(of_lines)?;
        let moved = cursor_after(&page, backwards, cursor);
        if backwards {
            page.lines.reverse();
        }
        let (first, last) = (page.lines.first().map(|line| line.id), page.lines.last().map(|line| line.id));
        let mut events = Vec::with_capacity(page.lines.len());
        for found in &page.lines {
            events.push(json!({
                "timestamp": found.id.timestamp_ms,
                "message": self.text_of(&opener, found)?,
                "ingestionTime": found.ingested_at.millis(),
            }));
        }
        let forward = Cursor { backwards: false, at: if backwards { last.unwrap_or(moved) } else { moved } };
        let backward = Cursor { backwards: true, at: if backwards { moved } else { first.unwrap_or(moved) } };
        Ok(json!({
            "events": events,
            "nextForwardToken": forward.text(),
            "nextBackwardToken": backward.text(),
        }))
    }
}

/// Where to go on in the direction of the page.
fn cursor_after(page: &Page, backwards: bool, cursor: Option<Cursor>) -> LineId {
    let given = cursor.map_or(BEFORE_ALL, |cursor| cursor.at);
    let last = page.lines.last().map(|line| line.id);
    match (page.is_complete, page.looked_up_to) {
        // What comes later is to be found there.
        (true, _) | (false, None) => last.unwrap_or(given),
        (false, Some(looked)) => match last {
            Some(last) if backwards => looked.min(last),
            Some(last) => looked.max(last),
            None => looked,
        },
    }
}

/// From the start, included, to the end, excluded.
fn times(start: Option<i64>, end: Option<i64>) -> Range<i64> {
    start.unwrap_or(0)..end.unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use cairn_store::LogPosition;

    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let at = LineId { timestamp_ms: 1_795_281_866_042, position: LogPosition(7), index: 3 };
        for backwards in [false, true] {
            let cursor = Cursor { backwards, at };
            assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        }
        let text = Cursor { backwards: false, at }.text();
        assert_eq!(text, "f/00000001795281866042000000000000000000070000000000000003/s");
        for wrong in ["", "f", "f//s", "x/0/s", &text[..20], &format!("{text}s")] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
