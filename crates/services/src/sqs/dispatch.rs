//! SQS as the front door sees it: its operations, and which method does which.

use async_trait::async_trait;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::Value;

use super::Sqs;
use super::error::{Failure, fail};
use super::record;
use super::target::{further_targets, target};
use crate::{Access, Caller, EventKind, Operation, Service, Target};

/// What a handler has of a request beside its parameters.
pub(super) struct Request<'a> {
    pub(super) caller: &'a Caller,
    /// What the client reached the server by: queues' URLs begin with it.
    pub(super) host: &'a str,
}

/// Where a request names no host, as one of HTTP/1.0.
const HOST_UNKNOWN: &str = "localhost";

impl Sqs {
    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        let host = if call.request.host.is_empty() { HOST_UNKNOWN } else { &call.request.host };
        let request = Request { caller, host };
        match call.operation.as_str() {
            "SendMessage" => self.send_message(caller, call.input()?, trace_of(call)).await,
            "SendMessageBatch" => self.send_message_batch(caller, call.input()?).await,
            "ReceiveMessage" => self.receive_message(caller, call.input()?).await,
            "DeleteMessage" => self.delete_message(caller, call.input()?).await,
            "DeleteMessageBatch" => self.delete_message_batch(caller, call.input()?).await,
            "ChangeMessageVisibility" => self.change_visibility(caller, call.input()?).await,
            "ChangeMessageVisibilityBatch" => self.change_visibility_batch(caller, call.input()?).await,
            "CreateQueue" => self.create_queue(&request, call.input()?).await,
            "DeleteQueue" => self.delete_queue(caller, call.input()?).await,
            "PurgeQueue" => self.purge_queue(caller, call.input()?).await,
            "GetQueueUrl" => self.queue_url(&request, &call.input()?),
            "ListQueues" => self.list_queues(&request, &call.input()?),
            "GetQueueAttributes" => self.queue_attributes(caller, &call.input()?),
            "SetQueueAttributes" => self.set_attributes(caller, call.input()?).await,
            "ListDeadLetterSourceQueues" => self.list_sources(&request, &call.input()?),
            _ => self.answer_others(caller, call).await,
        }
    }

    async fn answer_others(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "TagQueue" => self.tag_queue(caller, call.input()?).await,
            "UntagQueue" => self.untag_queue(caller, call.input()?).await,
            "ListQueueTags" => self.list_tags(caller, &call.input()?),
            "AddPermission" => self.add_permission(caller, call.input()?).await,
            "RemovePermission" => self.remove_permission(caller, call.input()?).await,
            "StartMessageMoveTask" => self.start_move_task(caller, call.input()?).await,
            "CancelMessageMoveTask" => self.cancel_move_task(call.input()?).await,
            "ListMessageMoveTasks" => self.list_move_tasks(call.input()?).await,
            other => Err(fail("UnsupportedOperation", format!("The operation {other} is not supported."))),
        }
    }
}

/// The header by which traced clients say where they are.
fn trace_of(call: &Call) -> Option<&str> {
    let header = call.request.headers.iter().find(|(name, _)| name == "x-amzn-trace-id");
    header.map(|(_, value)| value.as_str())
}

const fn management(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const fn data(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Data }
}

/// Which are management events and which data events, the developer guide says: "Logging Amazon SQS API calls".
const OPERATIONS: &[Operation] = &[
    management("AddPermission", Access::Write),
    management("CancelMessageMoveTask", Access::Write),
    data("ChangeMessageVisibility", Access::Write),
    data("ChangeMessageVisibilityBatch", Access::Write),
    management("CreateQueue", Access::Write),
    data("DeleteMessage", Access::Write),
    data("DeleteMessageBatch", Access::Write),
    management("DeleteQueue", Access::Write),
    data("GetQueueAttributes", Access::Read),
    data("GetQueueUrl", Access::Read),
    data("ListDeadLetterSourceQueues", Access::Read),
    management("ListMessageMoveTasks", Access::Read),
    data("ListQueueTags", Access::Read),
    data("ListQueues", Access::Read),
    management("PurgeQueue", Access::Write),
    data("ReceiveMessage", Access::Read),
    management("RemovePermission", Access::Write),
    data("SendMessage", Access::Write),
    data("SendMessageBatch", Access::Write),
    management("SetQueueAttributes", Access::Write),
    management("StartMessageMoveTask", Access::Write),
    management("TagQueue", Access::Write),
    management("UntagQueue", Access::Write),
];

/// Whether an operation's record is a data event.
pub(super) fn is_data(operation: &str) -> bool {
    OPERATIONS.iter().any(|known| known.name == operation && known.kind == EventKind::Data)
}

#[async_trait]
impl Service for Sqs {
    fn model(&self) -> &'static str {
        "sqs"
    }

    fn checks_values(&self) -> bool {
        true
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(target(caller, call, |name| self.find(name))?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(further_targets(caller, call, |name| self.find(name))?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        Some(record::request(call))
    }

    /// A call from another account is recorded in both.
    fn also_concerned(&self, _operation: &str, target: &Target) -> Option<cairn_core::AccountId> {
        target.policy.as_ref().map(|policy| policy.owner.clone())
    }
}
