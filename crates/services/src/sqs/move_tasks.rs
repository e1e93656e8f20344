//! Message move tasks: a dead-letter queue's messages go back, at a rate, until none are left.
//!
//! A task is a row in the catalog, and a stage moves what is due and writes down how far it got; so a task that a crash
//! or a stop cut short goes on. The messages themselves move in the engine, each at once: none is lost or doubled.
//! The rate begins anew with the server, and never makes up for time that passed without it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use cairn_store::queues::QueueError;
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sqs;
use super::error::{Failure, invalid_parameter, invalid_value, not_found, of_engine};
use super::name::QueueName;
use super::state::{MOVE_TASKS, MoveTask, TaskStatus};
use super::target::no_resource;
use crate::Caller;

/// The most messages a second that a task can be told to move.
const PER_SECOND: std::ops::RangeInclusive<i64> = 1..=500;
/// How many messages a task without a rate moves at a time, before others' turn.
const MOVED_AT_ONCE_MAX: usize = 1000;
/// How often a task with a rate moves messages.
const STEP: Duration = Duration::from_secs(1);
/// How long the stage rests when no task runs; a new one wakes it.
const IDLE: Duration = Duration::from_secs(60);
/// How many tasks of a source are remembered.
const TASKS_KEPT_MAX: usize = 10;
const RESULTS: std::ops::RangeInclusive<i64> = 1..=10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartTask {
    source_arn: String,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CancelTask {
    task_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTasks {
    source_arn: String,
    max_results: Option<i64>,
}

/// The tasks that run, by row, with the time of each one's next step.
pub(super) struct Running(BTreeMap<Vec<u8>, (MoveTask, Timestamp)>);

impl Running {
    pub(super) fn of(tasks: impl Iterator<Item = MoveTask>) -> Self {
        Self(tasks.map(|task| (task.row().bytes().to_vec(), (task.clone(), task.started))).collect())
    }
}

/// What a task's handle says.
pub(super) struct TaskHandle {
    pub(super) id: String,
    pub(super) source: QueueName,
}

/// Reads a task's handle.
pub(super) fn parse_handle(handle: &str) -> Result<TaskHandle, Failure> {
    let invalid = || invalid_parameter("Value for parameter TaskHandle is invalid.");
    let text = STANDARD.decode(handle).map_err(|_| invalid())?;
    let value: Value = serde_json::from_slice(&text).map_err(|_| invalid())?;
    let (Some(id), Some(arn)) = (value["taskId"].as_str(), value["sourceArn"].as_str()) else {
        return Err(invalid());
    };
    let source = QueueName::of_arn(arn).ok_or_else(|| no_resource("SourceArn"))?;
    Ok(TaskHandle { id: id.to_owned(), source })
}

fn handle_of(task: &MoveTask) -> String {
    STANDARD.encode(json!({"taskId": task.id, "sourceArn": task.source.arn()}).to_string())
}

impl Sqs {
    pub(super) async fn start_move_task(&self, caller: &Caller, input: StartTask) -> Result<Value, Failure> {
        let source = QueueName::of_arn(&input.source_arn).and_then(|name| self.find(&name));
        let source = source.ok_or_else(|| no_resource("SourceArn"))?;
        if self.sources_of(&source.name).is_empty() {
            return Err(invalid_parameter("Source queue must be configured as a Dead Letter Queue."));
        }
        let destination = match &input.destination_arn {
            Some(arn) => {
                let found = QueueName::of_arn(arn).and_then(|name| self.find(&name));
                Some(found.ok_or_else(|| no_resource("DestinationArn"))?.name.clone())
            }
            None => None,
        };
        if destination.as_ref() == Some(&source.name) {
            return Err(invalid_parameter("Source queue arn and destination queue arn cannot be the same."));
        }
        let per_second_max = check_rate(input.max_number_of_messages_per_second)?;
        let mut running = self.running.lock().await;
        if running.0.values().any(|(task, _)| task.source == source.name) {
            return Err(invalid_parameter(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given \
                 time.",
            ));
        }
        let counts = self.engine.counts(&source.key(), caller.now).map_err(of_engine)?;
        let task = MoveTask {
            id: self.entropy.event_id().to_string(),
            source: source.name.clone(),
            destination,
            per_second_max,
            started: caller.now,
            to_move: counts.visible,
            moved: 0,
            status: TaskStatus::Running,
            ended: None,
        };
        self.keep_task(&task).await?;
        let handle = handle_of(&task);
        running.0.insert(task.row().bytes().to_vec(), (task, caller.now));
        drop(running);
        (self.changed)();
        Ok(json!({ "TaskHandle": handle }))
    }

    pub(super) async fn cancel_move_task(&self, input: CancelTask) -> Result<Value, Failure> {
        let handle = parse_handle(&input.task_handle)?;
        self.find(&handle.source).ok_or_else(|| no_resource("SourceArn"))?;
        let row = handle.source.row().text(&handle.id).bytes().to_vec();
        let mut running = self.running.lock().await;
        let Some((task, _)) = running.0.get(&row) else {
            let known = self.catalog.read(move |tx| MOVE_TASKS.get(tx, &row)).await?;
            return Err(match known {
                Some(_) => invalid_parameter("Only active tasks can be cancelled."),
                None => not_found("Task does not exist."),
            });
        };
        let ended = MoveTask { status: TaskStatus::Cancelled, ended: Some(self.clock.now()), ..task.clone() };
        self.keep_task(&ended).await?;
        running.0.remove(&row);
        Ok(json!({ "ApproximateNumberOfMessagesMoved": ended.moved }))
    }

    pub(super) async fn list_move_tasks(&self, input: ListTasks) -> Result<Value, Failure> {
        let source = QueueName::of_arn(&input.source_arn).filter(|name| self.find(name).is_some());
        let source = source.ok_or_else(|| no_resource("SourceArn"))?;
        let limit = input.max_results.unwrap_or(1);
        if !RESULTS.contains(&limit) {
            let reason = "Value for parameter MaxResults must be between 1 and 10.";
            return Err(invalid_value(&limit.to_string(), "MaxResults", reason));
        }
        let mut tasks = self.tasks_of(&source).await?;
        tasks.truncate(usize::try_from(limit).unwrap_or(1));
        let shown: Vec<Value> = tasks.iter().map(shown).collect();
        Ok(if shown.is_empty() { json!({}) } else { json!({ "Results": shown }) })
    }

    /// A source's tasks, the latest first.
    async fn tasks_of(&self, source: &QueueName) -> Result<Vec<MoveTask>, Failure> {
        let prefix = source.row();
        let rows = self.catalog.read(move |tx| MOVE_TASKS.scan_prefix(tx, prefix.bytes())).await?;
        let mut tasks: Vec<MoveTask> = rows.into_iter().map(|(_, task)| task).collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.started));
        Ok(tasks)
    }

    /// Writes a task down, and forgets the oldest where its source has many.
    async fn keep_task(&self, task: &MoveTask) -> Result<(), Failure> {
        let kept = task.clone();
        self.catalog
            .write(move |tx| {
                MOVE_TASKS.put(tx, kept.row().bytes(), &kept)?;
                let mut rows = MOVE_TASKS.scan_prefix(tx, kept.source.row().bytes())?;
                rows.sort_by_key(|(_, task)| std::cmp::Reverse(task.started));
                for (row, _) in rows.into_iter().skip(TASKS_KEPT_MAX) {
                    MOVE_TASKS.delete(tx, &row)?;
                }
                Ok::<_, Failure>(())
            })
            .await
    }

    /// Moves what is due; says when to run again.
    ///
    /// # Errors
    /// Where the catalog or the engine fails; the tasks go on with the next run.
    pub async fn run_move_tasks(&self) -> Result<Timestamp, AwsError> {
        let mut running = self.running.lock().await;
        let now = self.clock.now();
        let due: Vec<Vec<u8>> =
            running.0.iter().filter(|(_, (_, at))| *at <= now).map(|(row, _)| row.clone()).collect();
        for row in due {
            let Some((task, _)) = running.0.get(&row) else { continue };
            let task = self.step(task, now).await?;
            if task.status == TaskStatus::Running {
                let next = if task.per_second_max.is_some() { now.plus(STEP) } else { now };
                running.0.insert(row, (task, next));
            } else {
                running.0.remove(&row);
            }
        }
        Ok(running.0.values().map(|(_, at)| *at).min().unwrap_or(now.plus(IDLE)))
    }

    /// Moves some messages of a task; what it is then is written down.
    async fn step(&self, task: &MoveTask, now: Timestamp) -> Result<MoveTask, Failure> {
        let mut task = task.clone();
        match self.move_some(&task, now).await {
            Ok(Some(moved)) => {
                task.moved += moved as u64;
                self.metrics.moved.inc_by(moved as u64);
            }
            Ok(None) => task.status = TaskStatus::Completed,
            Err(QueueError::Missing(_)) => {
                task.status = TaskStatus::Failed("AWS.SimpleQueueService.NonExistentQueue".to_owned());
            }
            Err(error) => return Err(of_engine(error)),
        }
        if task.status != TaskStatus::Running {
            task.ended = Some(now);
        }
        self.keep_task(&task).await?;
        Ok(task)
    }

    /// How many messages were moved; none where none is left.
    async fn move_some(&self, task: &MoveTask, now: Timestamp) -> Result<Option<usize>, QueueError> {
        let key = |name: &QueueName| {
            let found = self.find(name).map(|queue| queue.key());
            found.ok_or_else(|| QueueError::Missing(name.key("")))
        };
        let source = key(&task.source)?;
        let destination = task.destination.as_ref().map(key).transpose()?;
        let at_once = task.per_second_max.map_or(MOVED_AT_ONCE_MAX, |rate| rate as usize);
        let moved = self.engine.move_messages(&source, destination.as_ref(), at_once, now).await?;
        Ok((moved > 0).then_some(moved))
    }
}

fn check_rate(given: Option<i64>) -> Result<Option<u32>, Failure> {
    match given {
        Some(rate) if !PER_SECOND.contains(&rate) => Err(invalid_value(
            &rate.to_string(),
            "MaxNumberOfMessagesPerSecond",
            "The value must be between 1 and 500.",
        )),
        Some(rate) => Ok(u32::try_from(rate).ok()),
        None => Ok(None),
    }
}

/// A task as ListMessageMoveTasks shows it; its handle only while it can be cancelled.
fn shown(task: &MoveTask) -> Value {
    let mut shown = json!({
        "SourceArn": task.source.arn(),
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": task.started.millis(),
        "Status": match task.status {
            TaskStatus::Running => "RUNNING",
            TaskStatus::Completed => "COMPLETED",
            TaskStatus::Cancelled => "CANCELLED",
            TaskStatus::Failed(_) => "FAILED",
        },
    });
    if task.status == TaskStatus::Running {
        shown["TaskHandle"] = handle_of(task).into();
    }
    if let TaskStatus::Failed(reason) = &task.status {
        shown["FailureReason"] = reason.as_str().into();
    }
    if let Some(destination) = &task.destination {
        shown["DestinationArn"] = destination.arn().into();
    }
    if let Some(rate) = task.per_second_max {
        shown["MaxNumberOfMessagesPerSecond"] = rate.into();
    }
    shown
}
