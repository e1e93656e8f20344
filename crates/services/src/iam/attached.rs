//! Managed policies on users, groups and roles, and permissions boundaries on users and roles.

use cairn_core::AccountId;
use cairn_store::Tx;
use cairn_wire::Reply;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Iam;
use super::entity::{self, Entity, Kind};
use super::failure::{Failure, invalid, no_such, over_quota};
use super::names::root_path;
use super::page::{PageInput, page};
use super::policy_state::{Use, attachable, existing, forget_use, not_attachable, not_found, note_use};
use crate::Caller;

/// How many managed policies a user, group or role has at most.
pub(super) const ATTACHED_MAX: usize = 10;
/// Policies under this path are for service-linked roles, and nobody else's.
const SERVICE_LINKED_POLICIES: &str = "arn:aws:iam::aws:policy/aws-service-role/";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OneAttached {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListAttached {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    path_prefix: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutBoundary {
    #[serde(alias = "UserName", alias = "RoleName")]
    name: String,
    permissions_boundary: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteBoundary {
    #[serde(alias = "UserName", alias = "RoleName")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListEntities {
    policy_arn: String,
    entity_filter: Option<String>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn attach(
        &self,
        caller: &Caller,
        kind: Kind,
        input: OneAttached,
    ) -> Result<Reply, Failure> {
        let (account, arn) = (caller.account.clone(), input.policy_arn);
        self.change(kind, &caller.account, &input.name, move |tx, entity| {
            entity.require_modifiable()?;
            if arn.starts_with(SERVICE_LINKED_POLICIES) {
                return Err(not_attachable(&arn));
            }
            attachable(tx, &account, &arn)?;
            add(tx, &account, kind, entity, &arn)?;
            Ok(Reply::empty())
        })
        .await
    }

    pub(super) async fn detach(
        &self,
        caller: &Caller,
        kind: Kind,
        input: OneAttached,
    ) -> Result<Reply, Failure> {
        let (account, arn) = (caller.account.clone(), input.policy_arn);
        self.change(kind, &caller.account, &input.name, move |tx, entity| {
            entity.require_modifiable()?;
            let at = entity.attached.iter().position(|attached| *attached == arn);
            entity.attached.remove(at.ok_or_else(|| not_found(&arn))?);
            forget_use(tx, &account, &arn, Use::Permissions, &entity.id)?;
            Ok(Reply::empty())
        })
        .await
    }

    pub(super) async fn list_attached(
        &self,
        caller: &Caller,
        kind: Kind,
        input: ListAttached,
    ) -> Result<Reply, Failure> {
        let entity = self.entity(kind, &caller.account, &input.name).await?;
        let prefix = input.path_prefix.unwrap_or_else(root_path);
        let items = entity
            .attached
            .iter()
            .filter(|arn| path_of(arn).starts_with(&prefix))
            .map(|arn| (format!("{} {arn}", policy_name(arn).to_lowercase()), show_attached(arn)));
        let mut items: Vec<_> = items.collect();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Reply::of(&page("AttachedPolicies", items, &input.page)?))
    }

    pub(super) async fn put_boundary(
        &self,
        caller: &Caller,
        kind: Kind,
        input: PutBoundary,
    ) -> Result<Reply, Failure> {
        let (account, arn) = (caller.account.clone(), input.permissions_boundary);
        self.change(kind, &caller.account, &input.name, move |tx, entity| {
            entity.require_modifiable()?;
            set_boundary(tx, &account, entity, &arn)?;
            Ok(Reply::empty())
        })
        .await
    }

    pub(super) async fn delete_boundary(
        &self,
        caller: &Caller,
        kind: Kind,
        input: DeleteBoundary,
    ) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        self.change(kind, &caller.account, &input.name, move |tx, entity| {
            entity.require_modifiable()?;
            if entity.boundary.is_none() {
                let (word, name) = (kind.word(), &entity.name);
                return Err(no_such(format!(
                    "The {word} with name {name} does not have a permissions boundary."
                )));
            }
            clear_boundary(tx, &account, entity)?;
            Ok(Reply::empty())
        })
        .await
    }

    pub(super) async fn list_entities_for_policy(
        &self,
        caller: &Caller,
        input: ListEntities,
    ) -> Result<Reply, Failure> {
        let kinds: Vec<Kind> = match input.entity_filter.as_deref() {
            None => Kind::ALL.to_vec(),
            Some("User") => vec![Kind::User],
            Some("Group") => vec![Kind::Group],
            Some("Role") => vec![Kind::Role],
            Some("LocalManagedPolicy" | "AWSManagedPolicy") => Vec::new(),
            Some(other) => return Err(invalid(format!("The entity filter {other} is unknown."))),
        };
        let (as_policy, as_boundary) = match input.policy_usage_filter.as_deref() {
            None => (true, true),
            Some("PermissionsBoundary") => (false, true),
            Some(_) => (true, false),
        };
        let prefix = input.path_prefix.unwrap_or_else(root_path);
        let (account, arn) = (caller.account.clone(), input.policy_arn);
        let items = self
            .catalog
            .read(move |tx| {
                existing(tx, &account, &arn)?;
                let mut items = Vec::new();
                for kind in &kinds {
                    for entity in entity::all(tx, *kind, &account)? {
                        let has = (as_policy && entity.attached.contains(&arn))
                            || (as_boundary && entity.boundary.as_ref() == Some(&arn));
                        if has && entity.path.starts_with(&prefix) {
                            let sort = format!("{} {}", kind.word(), entity.name.to_lowercase());
                            items.push((sort, json!({"kind": kind, "name": entity.name, "id": entity.id})));
                        }
                    }
                }
                items.sort_by(|(a, _), (b, _)| a.cmp(b));
                Ok::<_, Failure>(items)
            })
            .await?;
        Ok(Reply::of(&by_kind(page("Entities", items, &input.page)?)))
    }
}

/// One page of entities of all kinds as the reply's three lists.
fn by_kind(mut page: Value) -> Value {
    let Value::Array(entities) = page["Entities"].take() else { return page };
    for kind in Kind::ALL {
        let (title, word) = (kind.title(), json!(kind));
        let of_kind = entities.iter().filter(|entity| entity["kind"] == word);
        let shown: Vec<Value> = of_kind
            .map(|entity| json!({format!("{title}Name"): entity["name"], format!("{title}Id"): entity["id"]}))
            .collect();
        page[format!("Policy{title}s")] = Value::Array(shown);
    }
    if let Value::Object(members) = &mut page {
        members.remove("Entities");
    }
    page
}

/// Attaches a policy that exists; attaching it twice changes nothing.
pub(super) fn add(
    tx: &mut dyn Tx,
    account: &AccountId,
    kind: Kind,
    entity: &mut Entity,
    arn: &str,
) -> Result<(), Failure> {
    if entity.attached.iter().any(|attached| attached == arn) {
        return Ok(());
    }
    if entity.attached.len() >= ATTACHED_MAX {
        return Err(over_quota(&format!("PoliciesPer{}", kind.title()), ATTACHED_MAX));
    }
    entity.attached.push(arn.to_owned());
    Ok(note_use(tx, account, arn, Use::Permissions, &entity.id)?)
}

/// Bounds the entity's permissions by a policy, in place of the one before.
pub(super) fn set_boundary(
    tx: &mut dyn Tx,
    account: &AccountId,
    entity: &mut Entity,
    arn: &str,
) -> Result<(), Failure> {
    attachable(tx, account, arn)?;
    clear_boundary(tx, account, entity)?;
    entity.boundary = Some(arn.to_owned());
    Ok(note_use(tx, account, arn, Use::Boundary, &entity.id)?)
}

pub(super) fn clear_boundary(
    tx: &mut dyn Tx,
    account: &AccountId,
    entity: &mut Entity,
) -> Result<(), Failure> {
    if let Some(old) = entity.boundary.take() {
        forget_use(tx, account, &old, Use::Boundary, &entity.id)?;
    }
    Ok(())
}

/// A policy in the list of those attached.
pub(super) fn show_attached(arn: &str) -> Value {
    json!({"PolicyName": policy_name(arn), "PolicyArn": arn})
}

/// The boundary as an entity's reply shows it.
pub(super) fn show_boundary(arn: &str) -> Value {
    json!({"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn})
}

fn policy_name(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, name)| name)
}

/// The path in a policy's ARN: `/ops/`.
fn path_of(arn: &str) -> &str {
    let from = arn.find('/').unwrap_or_default();
    let until = arn.rfind('/').map_or(arn.len(), |at| at + 1);
    &arn[from..until]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_read_from_arns() {
        let arn = "arn:aws:iam::111122223333:policy/ops/eu/P";
        assert_eq!((path_of(arn), policy_name(arn)), ("/ops/eu/", "P"));
        let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
        assert_eq!((path_of(arn), policy_name(arn)), ("/", "ReadOnlyAccess"));
    }
}
