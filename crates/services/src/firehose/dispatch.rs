//! Firehose as the front door sees it: its operations, what each is about, and which method does which.

use async_trait::async_trait;
use cairn_wire::recorded::{HIDDEN, recorded_input};
use cairn_wire::{AwsError, Call, Reply};
use serde_json::{Value, json};

use super::state::Name;
use super::{Firehose, PRINCIPAL, fail};
use crate::failure::Failure;
use crate::sinks::pass_role;
use crate::{Access, Caller, EventKind, Operation, Resource, Service, Target};

impl Firehose {
    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        let (params, name) = (&call.params, named(caller, call));
        match call.operation.as_str() {
            "PutRecord" => self.put_record(&name, params).await,
            "PutRecordBatch" => self.put_record_batch(&name, params).await,
            "CreateDeliveryStream" => self.create(caller, name, params).await,
            "DeleteDeliveryStream" => self.delete(&name).await,
            "DescribeDeliveryStream" => self.describe(&name).await,
            "ListDeliveryStreams" => self.list(caller, params).await,
            "UpdateDestination" => self.update_destination(caller, &name, params).await,
            "StartDeliveryStreamEncryption" => self.set_encryption(&name, params, true).await,
            "StopDeliveryStreamEncryption" => self.set_encryption(&name, params, false).await,
            "TagDeliveryStream" => self.tag(&name, params).await,
            "UntagDeliveryStream" => self.untag(&name, params).await,
            "ListTagsForDeliveryStream" => self.tags(&name, params).await,
            other => Err(fail("UnsupportedOperation", format!("The operation {other} is not supported."))),
        }
    }
}

fn named(caller: &Caller, call: &Call) -> Name {
    let name = call.params["DeliveryStreamName"].as_str().unwrap_or_default().to_owned();
    Name { region: caller.region.clone(), account: caller.account.clone(), name }
}

const fn management(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const fn data(name: &'static str) -> Operation {
    Operation { name, event_name: name, access: Access::Write, kind: EventKind::Data }
}

/// Which are management events, the developer guide says: "Logging Amazon Data Firehose API calls".
const OPERATIONS: &[Operation] = &[
    management("CreateDeliveryStream", Access::Write),
    management("DeleteDeliveryStream", Access::Write),
    management("DescribeDeliveryStream", Access::Read),
    management("ListDeliveryStreams", Access::Read),
    management("ListTagsForDeliveryStream", Access::Read),
    data("PutRecord"),
    data("PutRecordBatch"),
    management("StartDeliveryStreamEncryption", Access::Write),
    management("StopDeliveryStreamEncryption", Access::Write),
    management("TagDeliveryStream", Access::Write),
    management("UntagDeliveryStream", Access::Write),
    management("UpdateDestination", Access::Write),
];

#[async_trait]
impl Service for Firehose {
    fn model(&self) -> &'static str {
        "firehose"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        let operation = call.operation.as_str();
        let name = named(caller, call);
        let resource_arn = if operation == "ListDeliveryStreams" { "*".to_owned() } else { name.arn() };
        let is_data = operation.starts_with("PutRecord");
        let (kind, arn) = ("AWS::KinesisFirehose::DeliveryStream", resource_arn.clone());
        let resource = Resource { kind, arn, account: Some(name.account.clone()) };
        let tags = self.find(&name).await.map(|stream| stream.tags).unwrap_or_default();
        Ok(Target {
            action: format!("firehose:{operation}"),
            resource_arn,
            resources: if is_data { vec![resource] } else { Vec::new() },
            policy: None,
            conditions: tags
                .into_iter()
                .map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]))
                .collect(),
        })
    }

    /// The roles that a delivery stream is given.
    async fn further_targets(&self, _caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        let of = ["Configuration", "Update"]
            .into_iter()
            .flat_map(|suffix| [format!("ExtendedS3Destination{suffix}"), format!("S3Destination{suffix}")]);
        let source = "KinesisStreamSourceConfiguration".to_owned();
        let mut roles: Vec<&str> =
            of.chain([source]).filter_map(|member| call.params[member]["RoleARN"].as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        Ok(roles.into_iter().map(|role| pass_role(role, PRINCIPAL)).collect())
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let result = self.answer(caller, &call).await?;
        Ok(Reply { result, ..Reply::default() })
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        let mut shown = recorded_input(&call.service, &call.operation, &call.params);
        for name in ["record", "records"] {
            if let Some(value) = shown.get_mut(name) {
                *value = HIDDEN.into();
            }
        }
        Some(shown)
    }

    fn recorded_reply(&self, operation: &Operation, result: &Value) -> Option<Value> {
        (operation.name == "PutRecordBatch").then(|| json!({"failedPutCount": result["FailedPutCount"]}))
    }
}
