//! Exports: the lines of a group, or of some of its streams, as gzip objects in a bucket.
//!
//! On the road: CreateExportTask writes a task down, once a marker could be put into the bucket; the stage
//! ([`Logs::run_exports`]) writes object after object, and after each where it goes on. An object is made of what lies
//! behind the place before it, so one that is written again after a crash takes its predecessor's place.
//!
//! Objects: `PREFIX/TASK/STREAM/000000.gz`, a line each with its time before it. The bucket's policy must let
//! `logs.REGION.amazonaws.com` put objects.

use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_core::logfile::gzip;
use cairn_store::Table;
use cairn_store::catalog::Key;
use cairn_store::lines::{LineId, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::encryption::Opener;
use super::error::{Failure, fail, internal, invalid, limit_exceeded, not_found, of_lines};
use super::page::{PAGE_ITEMS, after, page};
use super::read::SCANNED_BYTES_MAX;
use super::state::{Group, Stream};
use crate::Caller;
use crate::sinks::{NewObject, Sender, SinkFailure, Source};

/// Tasks by region, account and id.
const TASKS: Table<Task> = Table::new("logs.export_task", 1);

/// The object that shows that the bucket can be written to, and what it says.
const MARKER_KEY: &str = "aws-logs-write-test";
const MARKER_TEXT: &str = "Permission Check Successful";
const PREFIX_DEFAULT: &str = "exportedlogs";
/// About the most text of an object, before it is compressed.
const OBJECT_TEXT_BYTES: usize = 16 * 1024 * 1024;
/// Lines, and about the most text, that are read at a time.
const STEP_LINES: usize = 10_000;
const STEP_BYTES: usize = 1024 * 1024;
/// How long a task waits after a failure that may go by itself, and how long it goes on trying.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const TRIED_FOR_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long tasks that have ended are shown.
const SHOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the stage sleeps where nothing is to be done.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    Pending,
    PendingCancel,
    Running,
    Cancelled,
    Completed,
    Failed,
}

impl Status {
    fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    id: String,
    name: Option<String>,
    group: GroupName,
    stream_prefix: Option<String>,
    /// Of which times, both included, in milliseconds since 1970.
    from_ms: i64,
    to_ms: i64,
    bucket: String,
    prefix: String,
    status: Status,
    message: Option<String>,
    created: Timestamp,
    completed: Option<Timestamp>,
    place: Place,
    /// Not before this time.
    due: Timestamp,
}

/// Where a task goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// All streams up to this name are done.
    done: Option<String>,
    /// The stream that is half done, how many objects it has, and the last line in them.
    stream: Option<String>,
    objects: u32,
    after: Option<LineId>,
}

impl Task {
    fn row(&self) -> Key {
        GroupName::place(&self.group.region, &self.group.account).text(&self.id)
    }

    fn end(&mut self, status: Status, message: &str, now: Timestamp) {
        self.status = status;
        self.message = Some(message.to_owned());
        self.completed = Some(now);
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "taskId": self.id,
            "logGroupName": self.group.name,
            "from": self.from_ms,
            "to": self.to_ms,
            "destination": self.bucket,
            "destinationPrefix": self.prefix,
            "status": { "code": self.status },
            "executionInfo": { "creationTime": self.created.millis() },
        });
        if let Some(name) = &self.name {
            shown["taskName"] = name.as_str().into();
        }
        if let Some(message) = &self.message {
            shown["status"]["message"] = message.as_str().into();
        }
        if let Some(completed) = self.completed {
            shown["executionInfo"]["completionTime"] = completed.millis().into();
        }
        shown
    }

    fn sender(&self) -> Sender {
        Sender::Service(Source {
            service: format!("logs.{}.amazonaws.com", self.group.region),
            arn: self.group.to_string(),
            account: self.group.account.clone(),
        })
    }

    fn object(&self, key: &str, body: Bytes, is_compressed: bool) -> NewObject {
        NewObject {
            bucket: self.bucket.clone(),
            key: format!("{}/{key}", self.prefix),
            body,
            content_encoding: is_compressed.then(|| "gzip".to_owned()),
            ..NewObject::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateTask {
    task_name: Option<String>,
    log_group_name: String,
    log_stream_name_prefix: Option<String>,
    from: i64,
    to: i64,
    destination: String,
    destination_prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeTasks {
    task_id: Option<String>,
    status_code: Option<Status>,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedTask {
    task_id: String,
}

impl Logs {
    pub(super) async fn create_export(&self, caller: &Caller, input: CreateTask) -> Result<Value, Failure> {
        let group = self.group(&GroupName::own(caller, &input.log_group_name)).await?;
        if input.from >= input.to {
            return Err(invalid("The specified time range is not valid: from must be before to."));
        }
        let task = Task {
            id: self.entropy.event_id().to_string(),
            name: input.task_name,
            group: group.name.clone(),
            stream_prefix: input.log_stream_name_prefix,
            from_ms: input.from,
            to_ms: input.to,
            bucket: input.destination,
            prefix: input.destination_prefix.unwrap_or_else(|| PREFIX_DEFAULT.to_owned()),
            status: Status::Pending,
            message: None,
            created: caller.now,
            completed: None,
            place: Place::default(),
            due: caller.now,
        };
        let marker = task.object(MARKER_KEY, Bytes::from_static(MARKER_TEXT.as_bytes()), false);
        self.put_object(&task, marker).await.map_err(|failure| refused_by_bucket(&failure))?;
        let id = task.id.clone();
        self.catalog
            .write(move |tx| {
                let place = GroupName::place(&task.group.region, &task.group.account);
                let others = TASKS.scan_prefix(tx, place.bytes())?;
                if others.iter().any(|(_, other)| other.status.is_active()) {
                    return Err(limit_exceeded());
                }
                Ok::<_, Failure>(TASKS.put(tx, task.row().bytes(), &task)?)
            })
            .await?;
        self.exports_asked.send_modify(|asked| *asked += 1);
        Ok(json!({ "taskId": id }))
    }

    pub(super) async fn describe_exports(
        &self,
        caller: &Caller,
        input: DescribeTasks,
    ) -> Result<Value, Failure> {
        let after = after(input.next_token.as_deref())?;
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        let place = GroupName::place(&caller.region, &caller.account);
        let tasks = self.catalog.read(move |tx| TASKS.scan_prefix(tx, place.bytes())).await?;
        let items = tasks
            .into_iter()
            .map(|(_, task)| task)
            .filter(|task| input.task_id.as_ref().is_none_or(|id| task.id == *id))
            .filter(|task| input.status_code.is_none_or(|status| task.status == status))
            .filter(|task| after.as_ref().is_none_or(|after| task.id > *after))
            .take(limit + 1)
            .map(|task| (task.id.clone(), task.shown()));
        Ok(page("exportTasks", items.collect(), limit))
    }

    pub(super) async fn cancel_export(&self, caller: &Caller, input: NamedTask) -> Result<Value, Failure> {
        let row = GroupName::place(&caller.region, &caller.account).text(&input.task_id);
        let now = caller.now;
        self.catalog
            .write(move |tx| {
                let found = TASKS.get(tx, row.bytes())?;
                let mut task = found.ok_or_else(|| not_found("The specified export task does not exist."))?;
                if !task.status.is_active() {
                    let message = "The specified export task is not running.";
                    return Err(fail("InvalidOperationException", message));
                }
                task.end(Status::Cancelled, "Cancelled by user", now);
                Ok::<_, Failure>(TASKS.put(tx, row.bytes(), &task)?)
            })
            .await?;
        Ok(json!({}))
    }

    /// How many exports were asked for.
    #[must_use]
    pub fn exports_asked(&self) -> u64 {
        *self.exports_asked.borrow()
    }

    /// Returns once more were asked for than that.
    pub async fn wait_for_exports(&self, seen: u64) {
        let mut asked = self.exports_asked.subscribe();
        if asked.wait_for(|asked| *asked > seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Writes what is asked for, and says when there is more to do.
    ///
    /// # Errors
    /// Where the catalog or the store of lines fails; what is due stays due.
    pub async fn run_exports(&self) -> Result<Timestamp, cairn_wire::AwsError> {
        let tasks = self.catalog.read(|tx| TASKS.scan_prefix(tx, Key::new().bytes()));
        let now = self.clock.now();
        let mut next = now.plus(IDLE_INTERVAL);
        for (row, task) in tasks.await.map_err(Failure::from)? {
            if task.status.is_active() {
                next = next.min(if task.due > now { task.due } else { self.run_export(task).await? });
            } else if task.completed.is_some_and(|completed| now.since(completed) > SHOWN_FOR) {
                let deleted = self.catalog.write(move |tx| TASKS.delete(tx, &row));
                deleted.await.map_err(Failure::from)?;
            }
        }
        Ok(next)
    }

    /// Goes on with a task until it ends or has to wait.
    async fn run_export(&self, mut task: Task) -> Result<Timestamp, Failure> {
        task.status = Status::Running;
        loop {
            let stepped = self.export_object(&mut task).await;
            let now = self.clock.now();
            match stepped {
                Ok(true) => {}
                Ok(false) => task.end(Status::Completed, "Completed successfully", now),
                Err(failure) if failure.is_transient && now.since(task.created) < TRIED_FOR_MAX => {
                    tracing::warn!(task = task.id, %failure, "an export waits for its bucket");
                    task.due = now.plus(RETRY_INTERVAL);
                }
                Err(failure) => task.end(Status::Failed, &failure.message, now),
            }
            let written = task.clone();
            let goes_on = self.catalog.write(move |tx| {
                let row = written.row();
                let known = TASKS.get(tx, row.bytes())?;
                // It may have been cancelled meanwhile.
                if !known.is_some_and(|known| known.status.is_active()) {
                    return Ok(false);
                }
                TASKS.put(tx, row.bytes(), &written)?;
                Ok::<_, Failure>(written.status.is_active())
            });
            if !goes_on.await? {
                return Ok(now.plus(IDLE_INTERVAL));
            }
            if task.due > now {
                return Ok(task.due);
            }
        }
    }

    /// Writes the next object, and says whether there may be more.
    async fn export_object(&self, task: &mut Task) -> Result<bool, SinkFailure> {
        let group = self.group(&task.group).await.map_err(told)?;
        let streams = self.streams_of(group.id, task.stream_prefix.clone().unwrap_or_default()).await;
        let done = task.place.done.clone();
        let mut streams = streams.map_err(told)?.into_iter();
        let Some(stream) = streams.find(|stream| done.as_ref().is_none_or(|done| stream.name > *done)) else {
            return Ok(false);
        };
        if task.place.stream.as_ref() != Some(&stream.name) {
            task.place = Place { done, stream: Some(stream.name.clone()), objects: 0, after: None };
        }
        let opener = self.opener(&group).await.map_err(told)?;
        let (text, last, is_complete) =
            self.object_text(task, &group, &stream, &opener).await.map_err(told)?;
        if !text.is_empty() {
            let folder = stream.name.replace('/', "-");
            let key = format!("{}/{folder}/{:06}.gz", task.id, task.place.objects);
            let packed = tokio::task::spawn_blocking(move || gzip(&text)).await;
            let packed = packed.map_err(internal).map_err(told)?;
            self.put_object(task, task.object(&key, packed, true)).await?;
            task.place.objects += 1;
        }
        task.place.after = last.or(task.place.after);
        if is_complete {
            task.place = Place { done: Some(stream.name), ..Place::default() };
        }
        Ok(true)
    }

    /// The next object's text, the last line that was looked at for it, and whether it was the stream's last.
    async fn object_text(
        &self,
        task: &Task,
        group: &Group,
        stream: &Stream,
        opener: &Opener,
    ) -> Result<(Vec<u8>, Option<LineId>, bool), Failure> {
        let (mut text, mut after) = (Vec::new(), task.place.after);
        while text.len() < OBJECT_TEXT_BYTES {
            let query = Query {
                group: group.id,
                streams: Some(vec![stream.id]),
                times_ms: task.from_ms..task.to_ms.saturating_add(1),
                after,
                backwards: false,
                wanted: None,
                lines_max: STEP_LINES,
                found_bytes_max: STEP_BYTES,
                scanned_bytes_max: SCANNED_BYTES_MAX,
            };
            let page = self.lines.read(query).await.map_err(of_lines)?;
            for found in &page.lines {
                text.extend_from_slice(Timestamp::from_millis(found.id.timestamp_ms).iso_millis().as_bytes());
                text.push(b' ');
                text.extend_from_slice(&opener.open(&found.message)?);
                text.push(b'\n');
            }
            after = page.looked_up_to.or(after);
            if page.is_complete {
                return Ok((text, after, true));
            }
        }
        Ok((text, after, false))
    }

    async fn put_object(&self, task: &Task, object: NewObject) -> Result<(), SinkFailure> {
        self.switchboard.objects()?.put(&task.sender(), object).await
    }
}

fn told(failure: Failure) -> SinkFailure {
    cairn_wire::AwsError::from(failure).into()
}

fn refused_by_bucket(failure: &SinkFailure) -> Failure {
    if failure.is_transient {
        return internal(failure.clone());
    }
    let bucket_is_there = !failure.code.contains("NoSuchBucket");
    invalid(if bucket_is_there {
        "PutObject call on the given bucket failed. Please check if CloudWatch Logs has been granted permission to \
         perform this operation."
    } else {
        "The given bucket does not exist. Please make sure the bucket is valid."
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn tasks_are_written_and_read_as_in_their_first_version() {
        check::<Task>(
            r#"{"id":"i","name":"n","group":{"region":"eu-west-1","account":"111122223333","name":"g"},"stream_prefix":"s","from_ms":1,"to_ms":2,"bucket":"b","prefix":"p","status":"RUNNING","message":"m","created":1795281866042,"completed":3,"place":{"done":"a","stream":"s","objects":4,"after":{"timestamp_ms":5,"position":6,"index":7}},"due":8}"#,
        );
    }
}
