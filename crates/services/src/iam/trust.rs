//! Whom a role's trust policy names. It names users and roles by ARN and means those that exist: who is deleted and
//! made again under the same name is somebody else.
//!
//! Source: the IAM user guide on principals: "IAM transforms the ARN to the user's unique principal ID when you save
//! the policy"; the policy shows the id once the ARN leads nowhere.

use cairn_core::AccountId;
use cairn_core::policy::{Document, PrincipalElement, PrincipalPattern};
use cairn_store::Tx;
use serde_json::Value;

use super::entity::{self, Kind};
use super::failure::{Failure, malformed};
use super::role::RoleFacts;
use super::state::{ACCOUNTS, account_key};

/// The unique ids of the users and roles that the policy names, each with its ARN.
pub(super) fn bind(tx: &mut dyn Tx, document: &Document) -> Result<Vec<(String, String)>, Failure> {
    let mut bound = Vec::new();
    for statement in &document.statements {
        let (PrincipalElement::Principal(patterns) | PrincipalElement::NotPrincipal(patterns)) =
            statement.principals.as_ref().ok_or_else(|| malformed("Missing required field Principal"))?;
        for pattern in patterns {
            match pattern {
                PrincipalPattern::Arn(arn) => bound.extend(bind_arn(tx, arn)?.map(|id| (arn.clone(), id))),
                PrincipalPattern::Account(account) => require_account(tx, account)?,
                PrincipalPattern::UniqueId(id) => return Err(invalid_principal("AWS", id)),
                PrincipalPattern::CanonicalUser(id) => return Err(invalid_principal("CanonicalUser", id)),
                PrincipalPattern::Service(name) if !is_service(name) => {
                    return Err(invalid_principal("SERVICE", name));
                }
                PrincipalPattern::Service(_) | PrincipalPattern::Federated(_) | PrincipalPattern::Anyone => {}
            }
        }
    }
    bound.sort();
    bound.dedup();
    Ok(bound)
}

/// The unique id of a user or role; none of a session, which has none of its own.
fn bind_arn(tx: &mut dyn Tx, arn: &str) -> Result<Option<String>, Failure> {
    let refused = || invalid_principal("AWS", arn);
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, account, resource) = (
        parts.next().unwrap_or_default(),
        parts.nth(1).unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let account: AccountId = account.parse().map_err(|_| refused())?;
    let (word, rest) = resource.split_once('/').ok_or_else(refused)?;
    let kind = match (service, word) {
        ("iam", "user") => Kind::User,
        ("iam", "role") => Kind::Role,
        ("sts", "assumed-role" | "federated-user") => {
            require_account(tx, account.as_str())?;
            return Ok(None);
        }
        _ => return Err(refused()),
    };
    let name = rest.rsplit('/').next().unwrap_or(rest);
    let found = entity::find(tx, kind, &account, name)?.filter(|entity| entity.arn(kind, &account) == arn);
    Ok(Some(found.ok_or_else(refused)?.id))
}

fn require_account(tx: &mut dyn Tx, account: &str) -> Result<(), Failure> {
    let refused = || invalid_principal("AWS", account);
    let id: AccountId = account.parse().map_err(|_| refused())?;
    ACCOUNTS.get(tx, account_key(&id).bytes())?.map(|_| ()).ok_or_else(refused)
}

fn is_service(name: &str) -> bool {
    name == "*"
        || [".amazonaws.com", ".amazonaws.com.cn", ".amazon.com"].iter().any(|end| name.ends_with(end))
}

fn invalid_principal(kind: &str, value: &str) -> Failure {
    malformed(format!("Invalid principal in policy: \"{kind}\":\"{value}\""))
}

/// The trust policy for evaluation: users and roles by their unique ids.
pub(super) fn by_ids(facts: &RoleFacts) -> String {
    let id_of = |arn: &str| facts.trusted.iter().find(|(named, _)| named == arn).map(|(_, id)| id.clone());
    replaced(&facts.trust, &id_of)
}

/// The trust policy as replies show it: as it was given, but who is gone is shown by the unique id, and who has
/// another ARN by now under that.
pub(super) fn shown(tx: &mut dyn Tx, facts: &RoleFacts) -> Result<String, Failure> {
    let mut changed = Vec::new();
    for (arn, id) in &facts.trusted {
        let now = current_arn(tx, arn, id)?.unwrap_or_else(|| id.clone());
        if now != *arn {
            changed.push((arn.clone(), now));
        }
    }
    if changed.is_empty() {
        return Ok(facts.trust.clone());
    }
    let now = |arn: &str| changed.iter().find(|(named, _)| named == arn).map(|(_, now)| now.clone());
    Ok(replaced(&facts.trust, &now))
}

/// The ARN of whoever has this unique id, who had the given ARN once.
fn current_arn(tx: &mut dyn Tx, arn: &str, id: &str) -> Result<Option<String>, Failure> {
    let account: Option<AccountId> = arn.split(':').nth(4).and_then(|account| account.parse().ok());
    let Some(account) = account else { return Ok(None) };
    let kind = if arn.contains(":role/") { Kind::Role } else { Kind::User };
    let name = arn.rsplit('/').next().unwrap_or_default();
    if let Some(found) = entity::find(tx, kind, &account, name)?.filter(|entity| entity.id == id) {
        return Ok(Some(found.arn(kind, &account)));
    }
    let renamed = entity::all(tx, kind, &account)?.into_iter().find(|entity| entity.id == id);
    Ok(renamed.map(|entity| entity.arn(kind, &account)))
}

/// The policy with other texts for some of its AWS principals.
fn replaced(policy: &str, by: &dyn Fn(&str) -> Option<String>) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
    let statements = match &mut document["Statement"] {
        Value::Array(list) => list.iter_mut().collect(),
        single => vec![single],
    };
    for statement in statements {
        for element in ["Principal", "NotPrincipal"] {
            let named = statement.get_mut(element).and_then(|element| element.get_mut("AWS"));
            match named {
                Some(Value::Array(list)) => list.iter_mut().for_each(|text| replace(text, by)),
                Some(single) => replace(single, by),
                None => {}
            }
        }
    }
    document.to_string()
}

fn replace(text: &mut Value, by: &dyn Fn(&str) -> Option<String>) {
    if let Some(other) = text.as_str().and_then(by) {
        *text = Value::String(other);
    }
}
