//! What the policies of a principal allow it: read and parsed once, and kept until anything in IAM changes.
//!
//! On the road: the front door asks for every signed call, so a call that finds its rights here reads nothing.
//! Invariants: who does not exist any more has no rights; a stored policy that cannot be read is a fault, and never
//! skipped, since it may deny.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::policy::{Affiliation, Document, NamedPolicy, Rights};
use cairn_core::{AccountId, Principal, Session};
use cairn_store::{CatalogError, Tx};

use super::Iam;
use super::entity::{self, Entity, Kind};
use super::groups::groups_of;
use super::policy_state;

/// What an organisation means for the principals of an account.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// The service control policies by level: the organisation's root, each unit, the account. Empty where none bind.
    pub levels: Vec<Vec<NamedPolicy>>,
    /// The account's place; none where it is in no organisation.
    pub affiliation: Option<Affiliation>,
}

/// Where the service control policies are.
#[async_trait]
pub trait ControlPolicies: Send + Sync + 'static {
    /// What binds an account. As long as nothing changes it gives the same `Arc`, by which what was read is known to be
    /// current.
    ///
    /// # Errors
    /// The catalog's failure.
    async fn binding(&self, account: &AccountId) -> Result<Arc<Binding>, CatalogError>;
}

/// Whose rights: what decides them, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RightsKey {
    account: AccountId,
    subject: Subject,
    /// The session policies, where sessions of the principal have any.
    session: Option<(Option<String>, Vec<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Root,
    /// A user or role, by name and unique id.
    Entity {
        is_role: bool,
        name: String,
        id: String,
    },
}

/// Rights that were read, and under which service control policies.
#[derive(Clone)]
pub(super) struct CachedRights {
    pub(super) rights: Arc<Rights>,
    binding: Option<Arc<Binding>>,
}

impl Iam {
    /// Binds accounts by service control policies from now on. The first call wins.
    pub fn bind_by(&self, control: Arc<dyn ControlPolicies>) {
        if self.control.set(control).is_err() {
            tracing::warn!("service control policies were bound already");
        }
    }

    /// What the policies of a principal allow it, in `session` where it has temporary credentials.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn rights_of(
        &self,
        principal: &Principal,
        session: Option<&Session>,
    ) -> Result<Arc<Rights>, CatalogError> {
        let Some(key) = key_of(principal, session) else { return Ok(Arc::default()) };
        let binding = match self.control.get() {
            Some(control) => Some(control.binding(&key.account).await?),
            None => None,
        };
        let generation = match self.credentials.rights(&key) {
            Ok(found) if same(found.binding.as_ref(), binding.as_ref()) => return Ok(found.rights),
            Ok(_) => self.credentials.generation(),
            Err(generation) => generation,
        };
        let wanted = key.clone();
        let (mut rights, is_free) = self.catalog.read(move |tx| read(tx, &wanted)).await?;
        if let Some(binding) = &binding {
            rights.affiliation.clone_from(&binding.affiliation);
            if !is_free {
                rights.control.clone_from(&binding.levels);
            }
        }
        let rights = Arc::new(rights);
        self.credentials.keep_rights(key, CachedRights { rights: Arc::clone(&rights), binding }, generation);
        Ok(rights)
    }
}

fn same(a: Option<&Arc<Binding>>, b: Option<&Arc<Binding>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// None for services and strangers, who have no rights of their own.
fn key_of(principal: &Principal, session: Option<&Session>) -> Option<RightsKey> {
    let policies = session.map(|session| (session.policy.clone(), session.policy_arns.clone()));
    let passed = policies.clone().filter(|(policy, arns)| policy.is_some() || !arns.is_empty());
    let (account, subject, session) = match principal {
        Principal::Root { account, .. } => (account, Subject::Root, None),
        Principal::IamUser { account, user_id, user_name, .. } => {
            (account, Subject::Entity { is_role: false, name: user_name.clone(), id: user_id.clone() }, None)
        }
        Principal::AssumedRole { account, role_id, role_name, .. } => {
            (account, Subject::Entity { is_role: true, name: role_name.clone(), id: role_id.clone() }, passed)
        }
        // A federated user has what its issuer has and the session policy allows; without one it has nothing.
        Principal::FederatedUser { account, issuer, .. } => {
            (account, key_of(issuer, None)?.subject, Some(policies.unwrap_or_default()))
        }
        Principal::WebIdentityUser { .. }
        | Principal::Service { .. }
        | Principal::Anonymous
        | Principal::Unknown { .. } => return None,
    };
    Some(RightsKey { account: account.clone(), subject, session })
}

/// The rights, and whether service control policies do not bind: as for service-linked roles.
fn read(tx: &mut dyn Tx, key: &RightsKey) -> Result<(Rights, bool), CatalogError> {
    let account = &key.account;
    let mut rights = Rights::default();
    let mut is_free = false;
    match &key.subject {
        Subject::Root => rights.unrestricted = true,
        Subject::Entity { is_role, name, id } => {
            let kind = if *is_role { Kind::Role } else { Kind::User };
            if let Some(found) = entity::find(tx, kind, account, name)?.filter(|found| found.id == *id) {
                is_free = found.require_modifiable().is_err();
                rights.identity = policies_of(tx, account, &found)?;
                rights.tags = found.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
                rights.boundary =
                    found.boundary.as_deref().map(|arn| managed(tx, account, arn)).transpose()?.flatten();
            }
        }
    }
    if let Some((policy, arns)) = &key.session {
        let mut session = Vec::new();
        if let Some(text) = policy {
            session.push(named("session policy", text)?);
        }
        for arn in arns {
            session.extend(managed(tx, account, arn)?);
        }
        rights.session = Some(session);
    }
    Ok((rights, is_free))
}

/// The policies of a user and its groups, or of a role: each one's inline policies, then the managed ones.
fn policies_of(
    tx: &mut dyn Tx,
    account: &AccountId,
    entity: &Entity,
) -> Result<Vec<NamedPolicy>, CatalogError> {
    let groups = groups_of(tx, account, entity)?;
    let mut policies = Vec::new();
    for holder in std::iter::once(entity).chain(&groups) {
        for (name, document) in &holder.inline {
            policies.push(named(name, document)?);
        }
        for arn in &holder.attached {
            policies.extend(managed(tx, account, arn)?);
        }
    }
    Ok(policies)
}

fn managed(tx: &mut dyn Tx, account: &AccountId, arn: &str) -> Result<Option<NamedPolicy>, CatalogError> {
    let found = policy_state::find(tx, account, arn)?;
    found.map(|policy| named(arn, policy.document())).transpose()
}

fn named(name: &str, text: &str) -> Result<NamedPolicy, CatalogError> {
    let document = Document::parse(text)
        .map_err(|source| CatalogError::Decode { table: "iam policies", source: source.into() })?;
    Ok(NamedPolicy { name: name.to_owned(), document: Arc::new(document) })
}
