//! IAM: accounts, users, access keys, account aliases.
//!
//! On the road: the front door asks [`Iam::find_access_key`] for the secret and the principal behind every signed
//! call; the operations are a service like any other. Groups, roles and policies are not built.
//!
//! Invariants: a secret leaves only in the reply that makes its key and in a [`Credential`]; it is in no record, no
//! log and no Debug text, and at rest it is sealed. A key that is deleted or deactivated stops working with the reply that says so.

mod accounts;
mod aliases;
mod credentials;
mod failure;
mod keys;
mod page;
mod secrets;
mod state;
mod summary;
mod tags;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy, Principal};
use cairn_store::{Catalog, Sealer};
use cairn_wire::{AwsError, Call, Reply};
use serde_json::{Value, json};

pub use accounts::{AccessKeyPair, RootCredentials};
pub use credentials::{Credential, LAST_USED_FLUSH_INTERVAL};

use crate::{Access, Caller, EventKind, Operation, Service, Target};
use credentials::Credentials;
use failure::Failure;
use state::Owner;

/// The region that IAM's calls act in and are recorded in.
const GLOBAL_REGION: &str = "us-east-1";

/// The IAM service.
pub struct Iam {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    credentials: Credentials,
}

impl Iam {
    /// IAM on the tables of `catalog`, in which `sealer` seals secrets.
    #[must_use]
    pub fn new(catalog: Catalog, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, sealer: Sealer) -> Self {
        Self { catalog, clock, entropy, sealer, credentials: Credentials::default() }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const OPERATIONS: &[Operation] = &[
    operation("CreateAccessKey", Access::Write),
    operation("CreateAccountAlias", Access::Write),
    operation("CreateUser", Access::Write),
    operation("DeleteAccessKey", Access::Write),
    operation("DeleteAccountAlias", Access::Write),
    operation("DeleteUser", Access::Write),
    operation("GetAccessKeyLastUsed", Access::Read),
    operation("GetAccountSummary", Access::Read),
    operation("GetUser", Access::Read),
    operation("ListAccessKeys", Access::Read),
    operation("ListAccountAliases", Access::Read),
    operation("ListUserTags", Access::Read),
    operation("ListUsers", Access::Read),
    operation("TagUser", Access::Write),
    operation("UntagUser", Access::Write),
    operation("UpdateAccessKey", Access::Write),
    operation("UpdateUser", Access::Write),
];

/// Operations that are about a user: the one that they name, or the caller.
const USER_OPERATIONS: [&str; 11] = [
    "CreateAccessKey",
    "CreateUser",
    "DeleteAccessKey",
    "DeleteUser",
    "GetUser",
    "ListAccessKeys",
    "ListUserTags",
    "TagUser",
    "UntagUser",
    "UpdateAccessKey",
    "UpdateUser",
];

/// The codes of the model's errors whose shapes, which records show, are the code and `Exception`.
const CODES_OF_EXCEPTIONS: [&str; 6] = [
    "ConcurrentModification",
    "DeleteConflict",
    "EntityAlreadyExists",
    "InvalidInput",
    "LimitExceeded",
    "NoSuchEntity",
];

#[async_trait]
impl Service for Iam {
    fn model(&self) -> &'static str {
        "iam"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn global_region(&self) -> Option<&'static str> {
        Some(GLOBAL_REGION)
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(Target {
            action: format!("iam:{}", call.operation),
            resource_arn: self.resource_arn(caller, call).await?,
            resources: Vec::new(),
            policy: None,
            conditions: Vec::new(),
        })
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let done = match call.operation.as_str() {
            "CreateAccessKey" => self.create_access_key(caller, call.input()?).await,
            "CreateAccountAlias" => self.create_account_alias(caller, call.input()?).await,
            "CreateUser" => self.create_user(caller, call.input()?).await,
            "DeleteAccessKey" => self.delete_access_key(caller, call.input()?).await,
            "DeleteAccountAlias" => self.delete_account_alias(caller, call.input()?).await,
            "DeleteUser" => self.delete_user(caller, call.input()?).await,
            "GetAccessKeyLastUsed" => self.get_access_key_last_used(caller, call.input()?).await,
            "GetAccountSummary" => self.get_account_summary(caller).await,
            "GetUser" => self.get_user(caller, call.input()?).await,
            "ListAccessKeys" => self.list_access_keys(caller, call.input()?).await,
            "ListAccountAliases" => self.list_account_aliases(caller, call.input()?).await,
            "ListUserTags" => self.list_user_tags(caller, call.input()?).await,
            "ListUsers" => self.list_users(caller, call.input()?).await,
            "TagUser" => self.tag_user(caller, call.input()?).await,
            "UntagUser" => self.untag_user(caller, call.input()?).await,
            "UpdateAccessKey" => self.update_access_key(caller, call.input()?).await,
            "UpdateUser" => self.update_user(caller, call.input()?).await,
            other => {
                let message = format!("The action {other} is not valid for this web service.");
                Err(AwsError::invalid("InvalidAction", message).into())
            }
        };
        done.map_err(AwsError::from)
    }

    /// A new key is recorded without its secret, as AWS does: not hidden, but absent.
    fn recorded_reply(&self, operation: &Operation, result: &Value) -> Option<Value> {
        if operation.name != "CreateAccessKey" {
            return None;
        }
        let key = &result["AccessKey"];
        let created = cairn_core::Timestamp::from_seconds(key["CreateDate"].as_i64().unwrap_or_default());
        let mut recorded = json!({
            "accessKeyId": key["AccessKeyId"],
            "createDate": created.record_text(),
            "status": key["Status"],
        });
        if let Some(user_name) = key.get("UserName") {
            recorded["userName"] = user_name.clone();
        }
        Some(json!({ "accessKey": recorded }))
    }

    fn recorded_error_code(&self, error: &AwsError) -> Option<String> {
        let code = error.code.as_ref();
        CODES_OF_EXCEPTIONS.contains(&code).then(|| format!("{code}Exception"))
    }
}

impl Iam {
    /// The ARN that policies are matched against: of the user that the call is about, or `*`.
    async fn resource_arn(&self, caller: &Caller, call: &Call) -> Result<String, AwsError> {
        let account = caller.account.clone();
        let text = |name: &str| call.params.get(name).and_then(Value::as_str).map(str::to_owned);
        if call.operation == "ListUsers" {
            return Ok(format!(
                "arn:aws:iam::{account}:user{}",
                text("PathPrefix").unwrap_or("/".to_owned())
            ));
        }
        if !USER_OPERATIONS.contains(&call.operation.as_str()) {
            return Ok("*".to_owned());
        }
        let name = match (text("UserName"), &caller.principal) {
            (Some(name), _) => name,
            (None, Principal::IamUser { user_name, .. }) => user_name.clone(),
            (None, _) => return Ok(format!("arn:aws:iam::{account}:root")),
        };
        let path = match text("Path") {
            Some(path) if call.operation == "CreateUser" => path,
            _ => {
                let (of, named) = (account.clone(), name.clone());
                let found = self.catalog.read(move |tx| state::user(tx, &of, &named));
                found
                    .await
                    .map_err(|error: Failure| AwsError::from(error))?
                    .map_or("/".to_owned(), |user| user.path)
            }
        };
        Ok(format!("arn:aws:iam::{account}:user{path}{name}"))
    }

    /// Whose keys a call is about: those of the user that it names, or the caller's own.
    fn key_owner(caller: &Caller, user_name: Option<String>) -> Owner {
        match (user_name, &caller.principal) {
            (Some(name), _) => Owner::User(name),
            (None, Principal::IamUser { user_name, .. }) => Owner::User(user_name.clone()),
            (None, _) => Owner::Root,
        }
    }
}
