//! What SQS keeps in the catalog: queues with their settings, names that were deleted lately, move tasks. Messages are the
//! engine's.
//!
//! Keys of all tables begin with region and account.

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use cairn_store::Table;
use cairn_store::catalog::Key as Row;
use serde::{Deserialize, Serialize};

use super::name::QueueName;

/// Queues by region, account and name.
pub(super) const QUEUES: Table<Queue> = Table::new("sqs.queue", 1);
/// When queues were deleted, by region, account and name; for as long as their names are not free.
pub(super) const DELETED: Table<Timestamp> = Table::new("sqs.deleted", 1);
/// Move tasks by region, account and name of their source, and id.
pub(super) const MOVE_TASKS: Table<MoveTask> = Table::new("sqs.move_task", 1);

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queue {
    #[serde(flatten)]
    pub(super) name: QueueName,
    /// The engine's key.
    pub(super) key: String,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) settings: Settings,
    pub(super) tags: BTreeMap<String, String>,
    /// When it was last purged.
    #[serde(default)]
    pub(super) purged: Option<Timestamp>,
}

/// The attributes of a queue that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) visibility_timeout_s: u32,
    pub(super) message_size_bytes_max: u32,
    pub(super) retention_s: u32,
    pub(super) delay_s: u32,
    pub(super) receive_wait_s: u32,
    pub(super) policy: Option<String>,
    pub(super) redrive: Option<Redrive>,
    /// The RedriveAllowPolicy's JSON.
    pub(super) redrive_allow: Option<String>,
    /// None of a standard queue.
    pub(super) fifo: Option<Fifo>,
    pub(super) kms: Option<Kms>,
    /// SqsManagedSseEnabled. Messages are encrypted under the server's key either way.
    pub(super) is_sse_managed: bool,
}

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redrive {
    pub(super) target: QueueName,
    pub(super) receives_max: u32,
}

/// What only FIFO queues have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fifo {
    pub(super) is_content_based: bool,
    pub(super) scope: Scope,
    pub(super) limit: ThroughputLimit,
    /// The scope before it was changed, and until when it still counts.
    #[serde(default)]
    pub(super) earlier_scope: Option<(Scope, Timestamp)>,
}

/// DeduplicationScope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scope {
    #[serde(rename = "queue")]
    Queue,
    #[serde(rename = "messageGroup")]
    MessageGroup,
}

/// FifoThroughputLimit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ThroughputLimit {
    #[serde(rename = "perQueue")]
    Queue,
    #[serde(rename = "perMessageGroupId")]
    MessageGroup,
}

/// Encryption under a key of KMS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kms {
    pub(super) key: String,
    /// For how long a data key is used again.
    pub(super) reuse_s: u32,
}

/// A message move task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MoveTask {
    pub(super) id: String,
    pub(super) source: QueueName,
    /// None where each message goes back to where it came from.
    pub(super) destination: Option<QueueName>,
    pub(super) per_second_max: Option<u32>,
    pub(super) started: Timestamp,
    pub(super) to_move: u64,
    pub(super) moved: u64,
    pub(super) status: TaskStatus,
    #[serde(default)]
    pub(super) ended: Option<Timestamp>,
}

/// How a move task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TaskStatus {
    Running,
    Completed,
    Cancelled,
    /// With the reason.
    Failed(String),
}

impl MoveTask {
    pub(super) fn row(&self) -> Row {
        self.source.row().text(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Queue>(
            r#"{"region":"eu-west-1","account":"111122223333","name":"q.fifo","key":"arn:aws:sqs:eu-west-1:111122223333:q.fifo#1","created":1795281866042,"modified":1795281866043,"settings":{"visibility_timeout_s":30,"message_size_bytes_max":1048576,"retention_s":345600,"delay_s":0,"receive_wait_s":0,"policy":"{}","redrive":{"target":{"region":"eu-west-1","account":"111122223333","name":"d.fifo"},"receives_max":3},"redrive_allow":"{}","fifo":{"is_content_based":true,"scope":"messageGroup","limit":"perMessageGroupId","earlier_scope":["queue",1795281866043]},"kms":{"key":"alias/k","reuse_s":300},"is_sse_managed":false},"tags":{"k":"v"},"purged":1795281866042}"#,
        );
        check::<MoveTask>(
            r#"{"id":"1","source":{"region":"eu-west-1","account":"111122223333","name":"d"},"destination":null,"per_second_max":1,"started":1,"to_move":2,"moved":1,"status":{"Failed":"AWS.SimpleQueueService.NonExistentQueue"},"ended":3}"#,
        );
        check::<TaskStatus>(r#""Running""#);
    }
}
