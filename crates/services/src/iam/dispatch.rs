//! IAM as a service: what each call is about, which part does it, and what its record shows.

use async_trait::async_trait;
use cairn_wire::{AwsError, Call, Reply, recorded};
use serde_json::Value;

use super::Iam;
use super::entity::Kind;
use super::failure::{Failure, not_an_action};
use super::operations::{Part, operations, row};
use crate::{Caller, Operation, Service, Target};

/// The region that IAM's calls act in and are recorded in.
const GLOBAL_REGION: &str = "us-east-1";

/// The codes of the model's errors whose shapes, which records show, are the code and `Exception`.
const CODES_OF_EXCEPTIONS: [&str; 15] = [
    "ConcurrentModification",
    "DeleteConflict",
    "EntityAlreadyExists",
    "EntityTemporarilyUnmodifiable",
    "InvalidAuthenticationCode",
    "InvalidInput",
    "InvalidUserType",
    "LimitExceeded",
    "MalformedPolicyDocument",
    "NoSuchEntity",
    "PasswordPolicyViolation",
    "PolicyEvaluation",
    "PolicyNotAttachable",
    "ServiceNotSupported",
    "UnmodifiableEntity",
];

#[async_trait]
impl Service for Iam {
    fn model(&self) -> &'static str {
        "iam"
    }

    fn operations(&self) -> &'static [Operation] {
        operations()
    }

    fn global_region(&self) -> Option<&'static str> {
        Some(GLOBAL_REGION)
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.target_of(caller, call).await?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let Some(row) = row(&call.operation) else { return Err(not_an_action(&call.operation).into()) };
        let done = match row.part {
            Part::Users => self.user_operation(caller, &call).await,
            Part::Groups => self.group_operation(caller, &call).await,
            Part::Roles => self.role_operation(caller, &call).await,
            Part::Keys => self.key_operation(caller, &call).await,
            Part::Account => self.account_operation(caller, &call).await,
            Part::Policies => self.policy_operation(caller, &call).await,
            Part::Inline(kind) => self.inline_operation(caller, kind, &call).await,
            Part::Attached(kind) => self.attached_operation(caller, kind, &call).await,
            Part::Boundary(kind) => self.boundary_operation(caller, kind, &call).await,
            Part::Mfa => self.mfa_operation(caller, &call).await,
            Part::Oidc => self.oidc_operation(caller, &call).await,
            Part::Passwords => self.password_operation(caller, &call).await,
            Part::Report => self.report_operation(caller, &call).await,
            Part::Simulator => self.simulate_operation(caller, &call).await,
            Part::Tags(tagged) => self.tag_operation(caller, tagged, &call).await,
        };
        done.map_err(AwsError::from)
    }

    /// A new key is recorded without its secret, as AWS does: not hidden, but absent.
    fn recorded_reply(&self, operation: &Operation, result: &Value) -> Option<Value> {
        if operation.name != "CreateAccessKey" {
            return None;
        }
        let mut recorded = recorded::recorded_output("iam", operation.name, result);
        if let Some(key) = recorded["accessKey"].as_object_mut() {
            key.remove("secretAccessKey");
            key.sort_keys();
        }
        Some(recorded)
    }

    /// Passwords are recorded not as hidden, but not at all, as AWS does.
    fn recorded_request(&self, call: &Call) -> Option<Value> {
        if !["CreateLoginProfile", "UpdateLoginProfile", "ChangePassword"].contains(&call.operation.as_str())
        {
            return None;
        }
        let mut recorded = recorded::recorded_input("iam", &call.operation, &call.params);
        let members = recorded.as_object_mut()?;
        for secret in ["password", "oldPassword", "newPassword"] {
            members.remove(secret);
        }
        Some(if members.is_empty() { Value::Null } else { recorded })
    }

    fn recorded_error_code(&self, error: &AwsError) -> Option<String> {
        let code = error.code.as_ref();
        CODES_OF_EXCEPTIONS.contains(&code).then(|| format!("{code}Exception"))
    }
}

impl Iam {
    async fn inline_operation(&self, caller: &Caller, kind: Kind, call: &Call) -> Result<Reply, Failure> {
        match verb(call) {
            "Put" => self.put_inline(caller, kind, call.input()?).await,
            "Get" => self.get_inline(caller, kind, call.input()?).await,
            "Delete" => self.delete_inline(caller, kind, call.input()?).await,
            _ => self.list_inline(caller, kind, call.input()?).await,
        }
    }

    async fn attached_operation(&self, caller: &Caller, kind: Kind, call: &Call) -> Result<Reply, Failure> {
        match verb(call) {
            "Attach" => self.attach(caller, kind, call.input()?).await,
            "Detach" => self.detach(caller, kind, call.input()?).await,
            _ => self.list_attached(caller, kind, call.input()?).await,
        }
    }

    async fn boundary_operation(&self, caller: &Caller, kind: Kind, call: &Call) -> Result<Reply, Failure> {
        match verb(call) {
            "Put" => self.put_boundary(caller, kind, call.input()?).await,
            _ => self.delete_boundary(caller, kind, call.input()?).await,
        }
    }
}

/// The first word of an operation's name: `Put` of `PutUserPolicy`.
pub(super) fn verb(call: &Call) -> &str {
    let name = call.operation.as_str();
    let end = name.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase());
    end.map_or(name, |(at, _)| &name[..at])
}
