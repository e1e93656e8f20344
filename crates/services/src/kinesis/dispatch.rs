//! Kinesis as the front door sees it: its operations, and which method does which.

use async_trait::async_trait;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::{Value, json};

use super::Kinesis;
use super::error::{Failure, fail};
use super::record;
use super::settings::Direction;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

impl Kinesis {
    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        let params = &call.params;
        match call.operation.as_str() {
            "PutRecord" => self.put_record(caller, params).await,
            "PutRecords" => self.put_records(caller, params).await,
            "GetRecords" => self.get_records(caller, params).await,
            "GetShardIterator" => self.shard_iterator(caller, params).await,
            "CreateStream" => self.create_stream(caller, params).await,
            "DeleteStream" => self.delete_stream(caller, params).await,
            "DescribeStream" => self.describe_stream(caller, params),
            "DescribeStreamSummary" => self.describe_summary(caller, params),
            "ListStreams" => Ok(self.list_streams(caller, params)),
            "ListShards" => self.list_shards(caller, params).await,
            "DescribeLimits" => Ok(self.describe_limits(caller)),
            "DescribeAccountSettings" => {
                Ok(json!({"MinimumThroughputBillingCommitment": {"Status": "DISABLED"}}))
            }
            "SplitShard" => self.split_shard(caller, params).await,
            "MergeShards" => self.merge_shards(caller, params).await,
            "UpdateShardCount" => self.update_shard_count(caller, params).await,
            "IncreaseStreamRetentionPeriod" => self.set_retention(caller, params, Direction::Up).await,
            "DecreaseStreamRetentionPeriod" => self.set_retention(caller, params, Direction::Down).await,
            "UpdateStreamMode" => self.set_mode(caller, params).await,
            "StartStreamEncryption" => self.start_encryption(caller, params).await,
            "StopStreamEncryption" => self.stop_encryption(caller, params).await,
            _ => self.answer_others(caller, call).await,
        }
    }

    async fn answer_others(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        let params = &call.params;
        match call.operation.as_str() {
            "AddTagsToStream" => self.add_stream_tags(caller, params).await,
            "RemoveTagsFromStream" => self.remove_stream_tags(caller, params).await,
            "ListTagsForStream" => self.stream_tags(caller, params),
            "TagResource" => self.tag_resource(params).await,
            "UntagResource" => self.untag_resource(params).await,
            "ListTagsForResource" => self.resource_tags(params),
            "PutResourcePolicy" => self.put_policy(params).await,
            "GetResourcePolicy" => self.policy(params),
            "DeleteResourcePolicy" => self.delete_policy(params).await,
            "RegisterStreamConsumer" => self.register_consumer(caller, params).await,
            "DeregisterStreamConsumer" => self.deregister_consumer(params).await,
            "DescribeStreamConsumer" => self.describe_consumer(params),
            "ListStreamConsumers" => self.list_consumers(caller, params).await,
            other => Err(fail("UnsupportedOperation", format!("The operation {other} is not supported."))),
        }
    }
}

const fn management(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const fn data(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Data }
}

/// Which are management events, the developer guide says: "Log Amazon Kinesis Data Streams API calls".
const OPERATIONS: &[Operation] = &[
    management("AddTagsToStream", Access::Write),
    management("CreateStream", Access::Write),
    management("DecreaseStreamRetentionPeriod", Access::Write),
    management("DeleteResourcePolicy", Access::Write),
    management("DeleteStream", Access::Write),
    management("DeregisterStreamConsumer", Access::Write),
    management("DescribeAccountSettings", Access::Read),
    management("DescribeLimits", Access::Read),
    management("DescribeStream", Access::Read),
    management("DescribeStreamConsumer", Access::Read),
    management("DescribeStreamSummary", Access::Read),
    data("GetRecords", Access::Read),
    management("GetResourcePolicy", Access::Read),
    data("GetShardIterator", Access::Read),
    management("IncreaseStreamRetentionPeriod", Access::Write),
    management("ListShards", Access::Read),
    management("ListStreamConsumers", Access::Read),
    management("ListStreams", Access::Read),
    management("ListTagsForResource", Access::Read),
    management("ListTagsForStream", Access::Read),
    management("MergeShards", Access::Write),
    data("PutRecord", Access::Write),
    data("PutRecords", Access::Write),
    management("PutResourcePolicy", Access::Write),
    management("RegisterStreamConsumer", Access::Write),
    management("RemoveTagsFromStream", Access::Write),
    management("SplitShard", Access::Write),
    management("StartStreamEncryption", Access::Write),
    management("StopStreamEncryption", Access::Write),
    data("SubscribeToShard", Access::Read),
    management("TagResource", Access::Write),
    management("UntagResource", Access::Write),
    management("UpdateShardCount", Access::Write),
    management("UpdateStreamMode", Access::Write),
];

/// Whether an operation's record is a data event.
pub(super) fn is_data(operation: &str) -> bool {
    OPERATIONS.iter().any(|known| known.name == operation && known.kind == EventKind::Data)
}

#[async_trait]
impl Service for Kinesis {
    fn model(&self) -> &'static str {
        "kinesis"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.target_of(caller, call).await?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        if call.operation == "SubscribeToShard" {
            return Ok(self.subscribe(caller, &call.params).await?);
        }
        let result = self.answer(caller, &call).await?;
        Ok(Reply { result, ..Reply::default() })
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        Some(record::request(call))
    }

    fn recorded_reply(&self, operation: &Operation, result: &Value) -> Option<Value> {
        record::reply(operation.name, result)
    }
}
