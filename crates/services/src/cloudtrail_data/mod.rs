//! PutAuditEvents: events of other applications, by the API of AWS's SDKs.
//!
//! On the road: a service behind the front door, in front of the same ingest as `POST /v1/events`: each event becomes
//! one record, is made durable before the answer leaves, and is taken once. Its eventID follows from its channel and
//! its id, so that a call that is sent again gets the same answer.

mod audit_event;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::EventId;
use cairn_store::catalog::Catalog;
use cairn_trail::Ingest;
use cairn_trail::ingest::Checked;
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloudtrail::channels::{self, ChannelArn};
use crate::service::{Access, Caller, EventKind, Operation, Resource, Service, Target};
use audit_event::{AuditEvent, Fault};

/// The events of one call, in bytes (AWS: 1 MB).
const CALL_SIZE_BYTES_MAX: usize = 1024 * 1024;

const OPERATIONS: &[Operation] = &[Operation {
    name: "PutAuditEvents",
    event_name: "PutAuditEvents",
    access: Access::Write,
    kind: EventKind::Data,
}];

/// The service.
pub struct CloudTrailData {
    catalog: Catalog,
    ingest: Arc<Ingest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    audit_events: Vec<AuditEvent>,
    channel_arn: String,
}

impl CloudTrailData {
    /// The service over the channels in `catalog`.
    #[must_use]
    pub fn new(catalog: Catalog, ingest: Arc<Ingest>) -> Self {
        Self { catalog, ingest }
    }

    async fn channel(&self, caller: &Caller, text: &str) -> Result<ChannelArn, AwsError> {
        let Some(arn) = ChannelArn::parse(text) else {
            let message = format!("The channel ARN is not valid: {text}");
            return Err(AwsError::invalid("InvalidChannelARN", message));
        };
        if arn.account != caller.account {
            let message = "The caller's account does not have permission for the channel.";
            return Err(AwsError::invalid("ChannelInsufficientPermission", message));
        }
        if arn.region == caller.region && channels::exists(&self.catalog, &arn).await? {
            return Ok(arn);
        }
        Err(AwsError::invalid("ChannelNotFound", format!("The channel was not found: {text}")))
    }

    async fn put(&self, caller: &Caller, request: Request) -> Result<Value, AwsError> {
        let channel = self.channel(caller, &request.channel_arn).await?;
        let mut seen = HashSet::new();
        if let Some(twice) = request.audit_events.iter().find(|event| !seen.insert(event.id.as_str())) {
            let message = format!("Two or more events have the id {}.", twice.id);
            return Err(AwsError::invalid("DuplicatedAuditEventId", message));
        }
        let size_bytes: usize = request.audit_events.iter().map(|event| event.event_data.len()).sum();
        if size_bytes > CALL_SIZE_BYTES_MAX {
            let message = format!("The events have {size_bytes} bytes; the limit is {CALL_SIZE_BYTES_MAX}.");
            return Err(AwsError::with_status(413, "RequestEntityTooLargeException", message));
        }
        let (mut successful, mut failed, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for event in &request.audit_events {
            let made = event.record(caller, &channel).and_then(|(id, json)| {
                let checked = Checked::new(json, &caller.account)
                    .map_err(|refusal| Fault { code: "InvalidData", message: refusal.message })?;
                Ok((id, checked))
            });
            match made {
                Ok((event_id, record)) => {
                    records.push(record);
                    successful.push(success(&event.id, &event_id));
                }
                Err(fault) => failed
                    .push(json!({"id": event.id, "errorCode": fault.code, "errorMessage": fault.message})),
            }
        }
        self.ingest.put(records).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "audit events could not be written");
            let message = "The events could not be written and are not confirmed. Please try again.";
            AwsError::with_status(503, "ServiceUnavailable", message)
        })?;
        Ok(json!({"successful": successful, "failed": failed}))
    }
}

fn success(id: &str, event_id: &EventId) -> Value {
    json!({"id": id, "eventID": event_id})
}

#[async_trait]
impl Service for CloudTrailData {
    fn model(&self) -> &'static str {
        "cloudtrail-data"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        let arn = call.params["channelArn"].as_str().unwrap_or("*").to_owned();
        let account = Some(caller.account.clone());
        Ok(Target {
            action: format!("cloudtrail-data:{}", call.operation),
            resource_arn: arn.clone(),
            resources: vec![Resource { kind: "AWS::CloudTrail::Channel", arn, account }],
            policy: None,
            conditions: Vec::new(),
        })
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let result = self.put(caller, call.input()?).await?;
        Ok(Reply { result, ..Reply::default() })
    }

    /// The ids of the events; the events themselves are records of their own.
    fn recorded_request(&self, call: &Call) -> Option<Value> {
        let ids: Vec<_> = call.params["auditEvents"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|event| json!({"id": event["id"]}))
            .collect();
        Some(json!({"channelArn": call.params["channelArn"], "auditEvents": ids}))
    }
}
