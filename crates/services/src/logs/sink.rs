//! Log groups as other services reach them: trails and functions as their roles, rules under the resource policies of the
//! group's account.

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_store::lines::{Line, StreamId};
use cairn_wire::AwsError;

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, group_not_found};
use super::groups::existing;
use super::put_events::{BATCH_LINES_MAX, BATCH_SIZE_BYTES_MAX, Rejected, counted_bytes};
use super::state::{Group, STREAMS, stream_row};
use super::streams::insert_stream;
use crate::sinks::{LogLine, LogSink, Sender, SentTo, SinkFailure};

impl Logs {
    async fn check_sender(
        &self,
        sender: &Sender,
        name: &GroupName,
        stream: &str,
        actions: &[&str],
    ) -> Result<(), Failure> {
        let policy = self.policy_of(&name.region, &name.account).await?;
        let arn = name.stream_arn(stream);
        for action in actions {
            let to = SentTo {
                action,
                arn: &arn,
                owner: &name.account,
                region: &name.region,
                policy: policy.as_deref(),
            };
            sender.check(&to, self.clock.now(), &[])?;
        }
        Ok(())
    }

    async fn put_lines(
        &self,
        sender: &Sender,
        group_arn: &str,
        stream: &str,
        mut lines: Vec<LogLine>,
    ) -> Result<(), Failure> {
        let name = GroupName::of_arn(group_arn).ok_or_else(group_not_found)?;
        self.check_sender(sender, &name, stream, &["logs:PutLogEvents"]).await?;
        let _shared = self.writers(&name).read().await;
        let group = self.group(&name).await?;
        let now = self.clock.now();
        let stream = self.stream_for(sender, &group, stream, now).await?;
        lines.sort_by_key(|line| line.timestamp_ms);
        let rejected = Rejected::of(lines.iter().map(|line| line.timestamp_ms), now, group.retention());
        self.count_rejected(rejected, lines.len());
        let accepted = rejected.accepted(lines.len());
        let taken = lines.into_iter().skip(accepted.start).take(accepted.len());
        let taken = taken.map(|line| Line { timestamp_ms: line.timestamp_ms, message: line.message.into() });
        let batches = self.split(taken);
        if !batches.is_empty() {
            self.append(&group, stream, batches, now).await?;
        }
        Ok(())
    }

    /// The stream, which is made where it is not there.
    async fn stream_for(
        &self,
        sender: &Sender,
        group: &Group,
        stream: &str,
        now: Timestamp,
    ) -> Result<StreamId, Failure> {
        if let Some(id) = self.views.stream(&self.catalog, group.id, stream).await? {
            return Ok(id);
        }
        self.check_sender(sender, &group.name, stream, &["logs:CreateLogStream"]).await?;
        let (name, stream) = (group.name.clone(), stream.to_owned());
        let made = self.catalog.write(move |tx| {
            let group = existing(tx, &name)?;
            if let Some(id) = insert_stream(tx, &group, &stream, now)? {
                return Ok(id);
            }
            let found = STREAMS.get(tx, stream_row(group.id, &stream).bytes())?;
            Ok::<_, Failure>(found.ok_or_else(group_not_found)?.id)
        });
        made.await
    }

    /// Lines in batches that PutLogEvents would take. A line that no batch has room for is left out.
    fn split(&self, lines: impl Iterator<Item = Line>) -> Vec<Vec<Line>> {
        let mut batches: Vec<Vec<Line>> = Vec::new();
        let mut room_bytes = 0;
        for line in lines {
            let size_bytes = counted_bytes(&line.message);
            if size_bytes > BATCH_SIZE_BYTES_MAX || line.message.is_empty() {
                self.metrics.reject("size", 1);
                continue;
            }
            let fits = |batch: &&mut Vec<Line>| batch.len() < BATCH_LINES_MAX && size_bytes <= room_bytes;
            match batches.last_mut().filter(fits) {
                Some(batch) => batch.push(line),
                None => {
                    batches.push(vec![line]);
                    room_bytes = BATCH_SIZE_BYTES_MAX;
                }
            }
            room_bytes -= size_bytes;
        }
        batches
    }
}

#[async_trait]
impl LogSink for Logs {
    async fn check(&self, sender: &Sender, group_arn: &str, stream: &str) -> Result<(), SinkFailure> {
        let checked = async {
            let name = GroupName::of_arn(group_arn).ok_or_else(group_not_found)?;
            self.group(&name).await?;
            self.check_sender(sender, &name, stream, &["logs:CreateLogStream", "logs:PutLogEvents"]).await
        };
        checked.await.map_err(sink_failure)
    }

    async fn make_group(&self, sender: &Sender, group_arn: &str) -> Result<(), SinkFailure> {
        let made = async {
            let name = GroupName::of_arn(group_arn).ok_or_else(group_not_found)?;
            let policy = self.policy_of(&name.region, &name.account).await?;
            let to = SentTo {
                action: "logs:CreateLogGroup",
                arn: group_arn,
                owner: &name.account,
                region: &name.region,
                policy: policy.as_deref(),
            };
            sender.check(&to, self.clock.now(), &[])?;
            self.ensure_group(name).await
        };
        made.await.map_err(sink_failure)
    }

    async fn put(
        &self,
        sender: &Sender,
        group_arn: &str,
        stream: &str,
        lines: Vec<LogLine>,
    ) -> Result<(), SinkFailure> {
        self.put_lines(sender, group_arn, stream, lines).await.map_err(sink_failure)
    }
}

fn sink_failure(failure: Failure) -> SinkFailure {
    AwsError::from(failure).into()
}
