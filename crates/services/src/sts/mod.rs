//! STS: who the caller is.
//!
//! On the road: a service like any other, without state: the front door already found out. Temporary credentials are
//! not built.

use async_trait::async_trait;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::json;

use crate::{Access, Caller, EventKind, Operation, Service, Target};

const OPERATIONS: &[Operation] = &[Operation {
    name: "GetCallerIdentity",
    event_name: "GetCallerIdentity",
    access: Access::Read,
    kind: EventKind::Management,
}];

/// The STS service.
#[derive(Debug, Default)]
pub struct Sts;

impl Sts {
    /// STS.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Service for Sts {
    fn model(&self) -> &'static str {
        "sts"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    /// Without a resource: everybody who has an identity may ask for it, whatever policies say.
    async fn target(&self, _caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(Target {
            action: format!("sts:{}", call.operation),
            resource_arn: "*".to_owned(),
            resources: Vec::new(),
            policy: None,
            conditions: Vec::new(),
        })
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        if call.operation != "GetCallerIdentity" {
            let message = format!("The action {} is not valid for this web service.", call.operation);
            return Err(AwsError::invalid("InvalidAction", message));
        }
        let principal = &caller.principal;
        match (principal.principal_id(), principal.account(), principal.arn()) {
            (Some(id), Some(account), Some(arn)) => {
                Ok(Reply::of(&json!({"UserId": id, "Account": account, "Arn": arn})))
            }
            _ => Err(AwsError::with_status(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            )),
        }
    }
}
