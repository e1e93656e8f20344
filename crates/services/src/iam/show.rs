//! Users, groups and roles as replies show them.

use cairn_core::AccountId;
use cairn_store::Tx;
use serde_json::{Map, Value, json};

use super::attached::show_boundary;
use super::document;
use super::entity::{Entity, Kind};
use super::failure::Failure;
use super::trust;

/// How much of an entity a reply shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// What lists show: neither tags, nor boundary, nor last use.
    Listed,
    /// Everything.
    Whole,
}

pub(super) fn show(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    entity: &Entity,
    detail: Detail,
) -> Result<Value, Failure> {
    let mut shown = Map::new();
    let mut put = |name: String, value: Value| shown.insert(name, value);
    let title = kind.title();
    put("Path".to_owned(), entity.path.clone().into());
    put(format!("{title}Name"), entity.name.clone().into());
    put(format!("{title}Id"), entity.id.clone().into());
    put("Arn".to_owned(), entity.arn(kind, account).into());
    put("CreateDate".to_owned(), entity.created.seconds().into());
    if let Some(used) = entity.password_last_used {
        put("PasswordLastUsed".to_owned(), used.seconds().into());
    }
    if let Some(role) = &entity.role {
        put("AssumeRolePolicyDocument".to_owned(), document::shown(&trust::shown(tx, role)?));
        if let Some(description) = &role.description {
            put("Description".to_owned(), description.clone().into());
        }
        put("MaxSessionDuration".to_owned(), role.max_session_duration_s.into());
    }
    if detail == Detail::Whole {
        if let Some(boundary) = &entity.boundary {
            put("PermissionsBoundary".to_owned(), show_boundary(boundary));
        }
        if !entity.tags.is_empty() {
            put("Tags".to_owned(), json!(entity.tags));
        }
        if let Some(role) = &entity.role {
            let last_used = role.last_used.as_ref();
            let shown =
                last_used.map(|last| json!({"LastUsedDate": last.at.seconds(), "Region": last.region}));
            put("RoleLastUsed".to_owned(), shown.unwrap_or_else(|| json!({})));
        }
    }
    Ok(Value::Object(shown))
}
