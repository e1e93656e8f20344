//! CloudWatch Logs as the front door sees it: its operations, and which method does which.

use async_trait::async_trait;
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::Value;

use super::Logs;
use super::error::{Failure, fail};
use super::put_events::PutEvents;
use super::recorded;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

impl Logs {
    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "AssociateKmsKey" => self.associate_key(caller, call.input()?).await,
            "CreateLogGroup" => self.create_group(caller, call.input()?).await,
            "CreateLogStream" => self.create_stream(caller, call.input()?).await,
            "DeleteLogGroup" => self.delete_group(caller, call.input()?).await,
            "DeleteLogStream" => self.delete_stream(caller, call.input()?).await,
            "DeleteRetentionPolicy" => self.delete_retention(caller, call.input()?).await,
            "DescribeLogGroups" => self.describe_groups(caller, call.input()?).await,
            "DescribeLogStreams" => self.describe_streams(caller, call.input()?).await,
            "DisassociateKmsKey" => self.disassociate_key(caller, call.input()?).await,
            "FilterLogEvents" => self.filter_events(caller, call.input()?).await,
            "GetLogEvents" => self.get_events(caller, call.input()?).await,
            "ListLogGroups" => self.list_groups(caller, call.input()?).await,
            "PutLogGroupDeletionProtection" => self.protect_group(caller, call.input()?).await,
            "PutRetentionPolicy" => self.put_retention(caller, call.input()?).await,
            _ => self.answer_others(caller, call).await,
        }
    }

    async fn answer_others(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "CancelExportTask" => self.cancel_export(caller, call.input()?).await,
            "CreateExportTask" => self.create_export(caller, call.input()?).await,
            "DeleteDestination" => self.delete_destination(caller, call.input()?).await,
            "DeleteMetricFilter" => self.delete_metric_filter(caller, call.input()?).await,
            "DeleteResourcePolicy" => self.delete_policy(caller, call.input()?).await,
            "DeleteSubscriptionFilter" => self.delete_subscription_filter(caller, call.input()?).await,
            "DescribeDestinations" => self.describe_destinations(caller, call.input()?).await,
            "DescribeExportTasks" => self.describe_exports(caller, call.input()?).await,
            "DescribeMetricFilters" => self.describe_metric_filters(caller, call.input()?).await,
            "DescribeResourcePolicies" => self.describe_policies(caller, call.input()?).await,
            "DescribeSubscriptionFilters" => self.describe_subscription_filters(caller, call.input()?).await,
            "DescribeQueries" => Ok(self.describe_queries(caller, &call.input()?)),
            "GetLogRecord" => self.log_record(caller, call.input()?).await,
            "GetQueryResults" => self.query_results(caller, &call.input()?),
            "ListTagsForResource" => self.tags_of_resource(call.input()?).await,
            "ListTagsLogGroup" => self.tags_of_group(caller, call.input()?).await,
            "PutDestination" => self.put_destination(caller, call.input()?).await,
            "PutDestinationPolicy" => self.put_destination_policy(caller, call.input()?).await,
            "PutMetricFilter" => self.put_metric_filter(caller, call.input()?).await,
            "PutResourcePolicy" => self.put_policy(caller, call.input()?).await,
            "PutSubscriptionFilter" => self.put_subscription_filter(caller, call.input()?).await,
            "StartQuery" => self.start_query(caller, call.input()?).await,
            "StopQuery" => self.stop_query(caller, &call.input()?),
            "TagLogGroup" => self.tag_group(caller, call.input()?).await,
            "TagResource" => self.tag_resource(call.input()?).await,
            "TestMetricFilter" => Self::test_metric_filter(&call.input()?),
            "UntagLogGroup" => self.untag_group(caller, call.input()?).await,
            "UntagResource" => self.untag_resource(call.input()?).await,
            other => {
                Err(fail("UnsupportedOperationException", format!("The operation {other} is not supported")))
            }
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

/// AWS records no PutLogEvents at all. Here it is a data event, which a trail takes that asks for it.
const fn data(name: &'static str) -> Operation {
    Operation { name, event_name: name, access: Access::Write, kind: EventKind::Data }
}

/// Which are recorded, the user guide says: "Logging CloudWatch Logs API and console operations in AWS CloudTrail".
const OPERATIONS: &[Operation] = &[
    operation("AssociateKmsKey", Access::Write),
    operation("CancelExportTask", Access::Write),
    operation("CreateExportTask", Access::Write),
    operation("CreateLogGroup", Access::Write),
    operation("CreateLogStream", Access::Write),
    operation("DeleteDestination", Access::Write),
    operation("DeleteLogGroup", Access::Write),
    operation("DeleteLogStream", Access::Write),
    operation("DeleteMetricFilter", Access::Write),
    operation("DeleteResourcePolicy", Access::Write),
    operation("DeleteRetentionPolicy", Access::Write),
    operation("DeleteSubscriptionFilter", Access::Write),
    operation("DescribeDestinations", Access::Read),
    operation("DescribeExportTasks", Access::Read),
    operation("DescribeLogGroups", Access::Read),
    operation("DescribeLogStreams", Access::Read),
    operation("DescribeMetricFilters", Access::Read),
    operation("DescribeQueries", Access::Read),
    operation("DescribeResourcePolicies", Access::Read),
    operation("DescribeSubscriptionFilters", Access::Read),
    operation("DisassociateKmsKey", Access::Write),
    operation("FilterLogEvents", Access::Read),
    operation("GetLogEvents", Access::Read),
    operation("GetLogRecord", Access::Read),
    operation("GetQueryResults", Access::Read),
    operation("ListLogGroups", Access::Read),
    operation("ListTagsForResource", Access::Read),
    operation("ListTagsLogGroup", Access::Read),
    operation("PutDestination", Access::Write),
    operation("PutDestinationPolicy", Access::Write),
    data("PutLogEvents"),
    operation("PutLogGroupDeletionProtection", Access::Write),
    operation("PutMetricFilter", Access::Write),
    operation("PutResourcePolicy", Access::Write),
    operation("PutRetentionPolicy", Access::Write),
    operation("StartLiveTail", Access::Read),
    operation("PutSubscriptionFilter", Access::Write),
    operation("StartQuery", Access::Read),
    operation("StopQuery", Access::Read),
    operation("TagLogGroup", Access::Write),
    operation("TagResource", Access::Write),
    operation("TestMetricFilter", Access::Read),
    operation("UntagLogGroup", Access::Write),
    operation("UntagResource", Access::Write),
];

/// Whether an operation's record is a data event.
pub(super) fn is_data(operation: &str) -> bool {
    OPERATIONS.iter().any(|known| known.name == operation && known.kind == EventKind::Data)
}

#[async_trait]
impl Service for Logs {
    fn model(&self) -> &'static str {
        "logs"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.find_target(caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(self.find_further_targets(caller, call).await?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        if call.operation == "PutLogEvents" {
            // The lines are taken out of the call, not copied.
            let input = PutEvents::deserialize(call.params);
            let input =
                input.map_err(|error| AwsError::invalid("InvalidParameterException", error.to_string()))?;
            return Ok(Reply::of(&self.put_events(caller, input).await?));
        }
        if call.operation == "StartLiveTail" {
            return Ok(self.start_tail(caller, call.input()?).await?);
        }
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        recorded::request(call)
    }
}
