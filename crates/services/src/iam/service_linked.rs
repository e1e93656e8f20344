//! Service-linked roles: CloudTrail's, which only CloudTrail may use and only AWS may change.

use cairn_core::AccountId;
use cairn_store::catalog::Key;
use cairn_store::{Table, Tx};
use cairn_wire::Reply;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Iam;
use super::attached::add;
use super::entity::{self, Entity, Kind};
use super::failure::{Failure, invalid_input, no_such};
use super::policy_state::{Use, forget_use};
use super::role::RoleFacts;
use super::state::account_key;
use crate::Caller;

const SERVICE: &str = "cloudtrail.amazonaws.com";
const ROLE_NAME: &str = "AWSServiceRoleForCloudTrail";
const POLICY_ARN: &str = "arn:aws:iam::aws:policy/aws-service-role/CloudTrailServiceRolePolicy";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// Deletions that were asked for, by account and task id. They are done at once.
const DELETIONS: Table<()> = Table::new("iam_role_deletion", 1);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateServiceLinkedRole {
    #[serde(rename = "AWSServiceName")]
    service: String,
    description: Option<String>,
    custom_suffix: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteServiceLinkedRole {
    role_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeletionStatus {
    deletion_task_id: String,
}

fn path(service: &str) -> String {
    format!("/aws-service-role/{service}/")
}

/// The ARN of the role that a call is about: by its service, or by the task that deletes it.
pub(super) fn role_arn(account: &AccountId, params: &Value) -> String {
    if let Some(task) = params.get("DeletionTaskId").and_then(Value::as_str) {
        let role = task.strip_prefix("task/").and_then(|rest| rest.rsplit_once('/'));
        return format!("arn:aws:iam::{account}:role/{}", role.map_or(task, |(role, _)| role));
    }
    let service = params.get("AWSServiceName").and_then(Value::as_str).unwrap_or_default();
    let name = if service == SERVICE { ROLE_NAME } else { "*" };
    Kind::Role.arn(account, &path(service), name)
}

impl Iam {
    pub(super) async fn create_service_linked_role(
        &self,
        caller: &Caller,
        input: CreateServiceLinkedRole,
    ) -> Result<Reply, Failure> {
        if input.service != SERVICE {
            return Err(invalid_input(format!(
                "Service Linked Role not found for the service {}.",
                input.service
            )));
        }
        if input.custom_suffix.is_some() {
            return Err(invalid_input(format!("Custom suffix is not allowed for {SERVICE}")));
        }
        let account = caller.account.clone();
        let taken =
            self.catalog.read(move |tx| entity::is_taken(tx, Kind::Role, &account, ROLE_NAME)).await?;
        if taken {
            return Err(invalid_input(format!(
                "Service role name {ROLE_NAME} has been taken in this account, please try a different suffix."
            )));
        }
        let (account, description) = (caller.account.clone(), input.description);
        let entropy = self.entropy.as_ref();
        let role =
            Entity::new(Kind::Role, entropy, ROLE_NAME.to_owned(), path(SERVICE), Vec::new(), caller.now);
        let complete = move |tx: &mut dyn Tx, mut role: Entity| {
            role.role = Some(RoleFacts {
                trust: TRUST.to_owned(),
                trusted: Vec::new(),
                description: description.clone(),
                max_session_duration_s: 3600,
                last_used: None,
            });
            add(tx, &account, Kind::Role, &mut role, POLICY_ARN)?;
            Ok(role)
        };
        self.create_entity(Kind::Role, caller, role, None, complete).await
    }

    pub(super) async fn delete_service_linked_role(
        &self,
        caller: &Caller,
        input: DeleteServiceLinkedRole,
    ) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), input.role_name);
        let task = format!("task{}{ROLE_NAME}/{}", path(SERVICE), self.entropy.event_id());
        let asked = task.clone();
        self.catalog
            .write(move |tx| {
                let role = entity::existing(tx, Kind::Role, &account, &name)?;
                if role.require_modifiable().is_ok() {
                    return Err(invalid_input(format!("The role {name} is not a service-linked role.")));
                }
                for arn in &role.attached {
                    forget_use(tx, &account, arn, Use::Permissions, &role.id)?;
                }
                entity::delete(tx, Kind::Role, &account, &role.name)?;
                Ok::<_, Failure>(DELETIONS.put(tx, deletion_key(&account, &asked).bytes(), &())?)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::of(&json!({ "DeletionTaskId": task })))
    }

    pub(super) async fn deletion_status(
        &self,
        caller: &Caller,
        input: DeletionStatus,
    ) -> Result<Reply, Failure> {
        let key = deletion_key(&caller.account, &input.deletion_task_id);
        let found = self.catalog.read(move |tx| DELETIONS.get(tx, key.bytes())).await?;
        match found {
            Some(()) => Ok(Reply::of(&json!({ "Status": "SUCCEEDED" }))),
            None => Err(no_such(format!("Deletion Task {} cannot be found.", input.deletion_task_id))),
        }
    }
}

fn deletion_key(account: &AccountId, task: &str) -> Key {
    account_key(account).text(task)
}
