//! PutLogEvents: lines come in.
//!
//! On the road: from the front door, and from services through [`sink`], into the store of lines.
//! Limits: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
//!
//! [`sink`]: super::sink

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::LogPosition;
use cairn_store::lines::{Batch, Line, StreamId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::emf::metrics_in;
use super::error::{Failure, invalid, of_lines, stream_not_found};
use super::state::Group;
use super::streams::sequence_token;
use crate::Caller;

/// A batch's size: its messages, and for each line a little more.
pub(super) const BATCH_SIZE_BYTES_MAX: usize = 1024 * 1024;
pub(super) const LINE_OVERHEAD_BYTES: usize = 26;
/// Lines of a batch.
pub(super) const BATCH_LINES_MAX: usize = 10_000;
/// Between a batch's first and last line.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// How far from now a line may be.
const AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
const AHEAD_MAX: Duration = Duration::from_secs(2 * 3600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutEvents {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<InputEvent>,
}

#[derive(Deserialize)]
pub(super) struct InputEvent {
    timestamp: i64,
    message: String,
}

/// Which lines of a batch are too old, expired, too new: the rest lies between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    /// All before are older than any group takes.
    pub(super) too_old_end: Option<usize>,
    /// All before are older than the group keeps.
    pub(super) expired_end: Option<usize>,
    /// It and all behind are too far ahead.
    pub(super) too_new_start: Option<usize>,
}

impl Rejected {
    /// Looks at the times of a batch's lines, which are in order.
    pub(super) fn of(
        times_ms: impl Iterator<Item = i64> + Clone,
        now: Timestamp,
        retention: Option<Duration>,
    ) -> Self {
        let until = |bound: i64| {
            let count = times_ms.clone().take_while(|time| *time < bound).count();
            (count > 0).then_some(count)
        };
        let latest = now.plus(AHEAD_MAX).millis();
        let ahead = times_ms.clone().take_while(|time| *time <= latest).count();
        Self {
            too_old_end: until(now.minus(AGE_MAX).millis()),
            expired_end: retention.and_then(|retention| until(now.minus(retention).millis())),
            too_new_start: (ahead < times_ms.clone().count()).then_some(ahead),
        }
    }

    /// Which lines are taken, of so many.
    pub(super) fn accepted(self, lines: usize) -> Range<usize> {
        let start = self.too_old_end.max(self.expired_end).unwrap_or(0);
        start..self.too_new_start.unwrap_or(lines).max(start)
    }

    fn shown(self) -> Option<Value> {
        let members = [
            ("tooNewLogEventStartIndex", self.too_new_start),
            ("tooOldLogEventEndIndex", self.too_old_end),
            ("expiredLogEventEndIndex", self.expired_end),
        ];
        let shown: serde_json::Map<String, Value> = members
            .into_iter()
            .filter_map(|(member, index)| Some((member.to_owned(), index?.into())))
            .collect();
        (!shown.is_empty()).then_some(shown.into())
    }
}

impl Logs {
    pub(super) async fn put_events(&self, caller: &Caller, input: PutEvents) -> Result<Value, Failure> {
        check_batch(&input.log_events)?;
        let name = GroupName::own(caller, &input.log_group_name);
        let _shared = self.writers(&name).read().await;
        let group = self.group(&name).await?;
        let stream = self.views.stream(&self.catalog, group.id, &input.log_stream_name).await?;
        let stream = stream.ok_or_else(stream_not_found)?;
        let now = self.clock.now();
        let times = input.log_events.iter().map(|event| event.timestamp);
        let rejected = Rejected::of(times, now, group.retention());
        let accepted = rejected.accepted(input.log_events.len());
        self.count_rejected(rejected, input.log_events.len());
        let taken = &input.log_events[accepted.clone()];
        let numbers: Vec<_> = taken.iter().flat_map(|event| metrics_in(&event.message)).collect();
        let lines = input.log_events.into_iter().skip(accepted.start).take(accepted.len());
        let lines: Vec<Line> = lines
            .map(|event| Line { timestamp_ms: event.timestamp, message: event.message.into() })
            .collect();
        let position = match lines.is_empty() {
            true => self.lines.end(),
            false => self.append(&group, stream, vec![lines], now).await?,
        };
        self.count_metrics(&group.name, numbers).await;
        let mut reply = json!({ "nextSequenceToken": sequence_token(position.0) });
        if let Some(shown) = rejected.shown() {
            reply["rejectedLogEventsInfo"] = shown;
        }
        Ok(reply)
    }

    /// Appends batches of lines, sealed where the group has a KMS key: durable on return. Under [`Logs::writers`].
    pub(super) async fn append(
        &self,
        group: &Group,
        stream: StreamId,
        batches: Vec<Vec<Line>>,
        now: Timestamp,
    ) -> Result<LogPosition, Failure> {
        let sealing = self.sealing_key(group).await?;
        let (mut count, mut text_bytes) = (0_u64, 0_u64);
        let mut sealed = Vec::with_capacity(batches.len());
        for mut lines in batches {
            for line in &mut lines {
                count += 1;
                text_bytes += line.message.len() as u64;
                if let Some(key) = &sealing {
                    line.message = key.seal(&line.message)?;
                }
            }
            sealed.push(Batch { group: group.id, stream, ingested_at: now, lines });
        }
        let position = self.lines.append(sealed).await.map_err(of_lines)?;
        self.metrics.accepted.inc_by(count);
        self.metrics.accepted_bytes.inc_by(text_bytes);
        Ok(position)
    }

    pub(super) fn count_rejected(&self, rejected: Rejected, lines: usize) {
        let too_old = rejected.too_old_end.unwrap_or(0);
        let expired = rejected.expired_end.unwrap_or(0).saturating_sub(too_old);
        let too_new = rejected.too_new_start.map_or(0, |start| lines - start);
        for (reason, count) in [("too_old", too_old), ("expired", expired), ("too_new", too_new)] {
            self.metrics.reject(reason, count);
        }
    }
}

/// What a line counts for in its batch, in bytes.
pub(super) fn counted_bytes(message: &Bytes) -> usize {
    message.len() + LINE_OVERHEAD_BYTES
}

/// The limits on a batch. The number of its lines is held by the model.
fn check_batch(events: &[InputEvent]) -> Result<(), Failure> {
    let limit = BATCH_SIZE_BYTES_MAX;
    let sizes = || events.iter().map(|event| event.message.len() + LINE_OVERHEAD_BYTES);
    if let Some(size) = sizes().find(|size| *size > limit) {
        return Err(invalid(format!("Log event too large: {size} bytes exceeds limit of {limit}")));
    }
    let total: usize = sizes().sum();
    if total > limit {
        return Err(invalid(format!("Upload too large: {total} bytes exceeds limit of {limit}")));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let (first, last) = (events.first(), events.last());
    let span_ms = first.zip(last).map_or(0, |(first, last)| last.timestamp.saturating_sub(first.timestamp));
    if u128::from(span_ms.unsigned_abs()) > SPAN_MAX.as_millis() {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_281_866_042;
    const HOUR_MS: i64 = 3600 * 1000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    fn rejected(ages_ms: &[i64], retention_days: Option<u64>) -> Rejected {
        let times = ages_ms.iter().map(|age| NOW_MS - age);
        let retention = retention_days.map(|days| Duration::from_secs(days * 24 * 3600));
        Rejected::of(times, Timestamp::from_millis(NOW_MS), retention)
    }

    #[test]
    fn lines_at_the_bounds_are_taken_and_those_past_them_are_counted() {
        let at_bounds = rejected(&[14 * DAY_MS, 0, -2 * HOUR_MS], None);
        assert_eq!(at_bounds, Rejected::default());
        assert_eq!(at_bounds.accepted(3), 0..3);

        let past = rejected(&[14 * DAY_MS + 2, 14 * DAY_MS + 1, 0, -2 * HOUR_MS - 1], None);
        assert_eq!((past.too_old_end, past.expired_end, past.too_new_start), (Some(2), None, Some(3)));
        assert_eq!(past.accepted(4), 2..3);

        let expired = rejected(&[15 * DAY_MS, 4 * DAY_MS, 3 * DAY_MS, 0], Some(3));
        assert_eq!((expired.too_old_end, expired.expired_end), (Some(1), Some(2)));
        assert_eq!(expired.accepted(4), 2..4);

        let none = rejected(&[15 * DAY_MS, 15 * DAY_MS], Some(1));
        assert_eq!(none.accepted(2), 2..2);
        assert_eq!(rejected(&[-3 * HOUR_MS], None).accepted(1), 0..0);
    }

    #[test]
    fn batches_past_their_limits_are_refused_in_awss_words() {
        let told = |events: &[(i64, usize)]| {
            let events: Vec<InputEvent> = events
                .iter()
                .map(|(timestamp, size)| InputEvent { timestamp: *timestamp, message: "x".repeat(*size) })
                .collect();
            check_batch(&events).map_err(|failure| cairn_wire::AwsError::from(failure).message)
        };
        let most = BATCH_SIZE_BYTES_MAX - LINE_OVERHEAD_BYTES;
        assert_eq!(told(&[(0, most)]), Ok(()));
        let error = |text: &str| Err(text.to_owned());
        assert_eq!(
            told(&[(0, most + 1)]),
            error("Log event too large: 1048577 bytes exceeds limit of 1048576")
        );
        assert_eq!(
            told(&[(0, most), (0, 1)]),
            error("Upload too large: 1048603 bytes exceeds limit of 1048576")
        );
        assert_eq!(told(&[(0, 1), (DAY_MS, 1)]), Ok(()));
        assert!(told(&[(0, 1), (DAY_MS + 1, 1)]).unwrap_err().contains("cannot span more than 24 hours"));
        assert!(told(&[(1, 1), (0, 1)]).unwrap_err().contains("chronological order"));
    }
}
