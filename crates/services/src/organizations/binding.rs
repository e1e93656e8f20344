//! What an organisation means to others: the policies that bind an account, and its place. Read once and kept until
//! anything in Organizations changes, for every signed call asks.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use cairn_core::policy::{Affiliation, Document, NamedPolicy};
use cairn_core::{AccountId, Timestamp};
use cairn_store::{CatalogError, Tx};
use cairn_wire::AwsError;
use serde_json::json;

use super::state::{self, Organization};
use super::{For, Occasion, Organizations, services};
use crate::iam::{Binding, ControlPolicies};

/// How many accounts' bindings are held in memory; with more, all are forgotten and read anew.
const BINDINGS_MAX: usize = 10_000;

/// An account's place in its organisation, as CloudTrail needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `o-…`.
    pub organization_id: String,
    /// The management account.
    pub management: AccountId,
    /// All accounts.
    pub members: Vec<AccountId>,
    /// Accounts that administer CloudTrail for the organisation.
    pub cloudtrail_administrators: Vec<AccountId>,
    /// Whether CloudTrail may act in all accounts.
    pub cloudtrail_is_trusted: bool,
}

/// What was read, by account.
#[derive(Default)]
pub(super) struct Bindings(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    /// Counts the changes, so that what was read before one is not kept after it.
    generation: u64,
    bindings: HashMap<AccountId, Arc<Binding>>,
}

impl Bindings {
    /// Forgets all that was read; called after every change and before its reply.
    pub(super) fn forget(&self) {
        let mut kept = self.0.write().expect("no panic while the bindings are held");
        kept.generation += 1;
        kept.bindings.clear();
    }

    fn find(&self, account: &AccountId) -> Result<Arc<Binding>, u64> {
        let kept = self.0.read().expect("no panic while the bindings are held");
        kept.bindings.get(account).cloned().ok_or(kept.generation)
    }

    fn keep(&self, account: &AccountId, binding: &Arc<Binding>, generation: u64) {
        let mut kept = self.0.write().expect("no panic while the bindings are held");
        if kept.generation != generation {
            return;
        }
        if kept.bindings.len() >= BINDINGS_MAX {
            kept.bindings.clear();
        }
        kept.bindings.insert(account.clone(), Arc::clone(binding));
    }
}

impl Organizations {
    pub(super) async fn organization_of(
        &self,
        account: &AccountId,
    ) -> Result<Option<Organization>, CatalogError> {
        let account = account.clone();
        self.catalog.read(move |tx| state::organization_of(tx, &account)).await
    }

    /// Where an account stands; none where it is in no organisation.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn place_of(&self, account: &AccountId) -> Result<Option<Place>, CatalogError> {
        let account = account.clone();
        self.catalog.read(move |tx| place(tx, &account)).await
    }
}

/// Where an account stands, in a transaction of another service.
pub(crate) fn place(tx: &mut dyn Tx, account: &AccountId) -> Result<Option<Place>, CatalogError> {
    let found = state::organization_of(tx, account)?;
    Ok(found.map(|organization| Place {
        organization_id: organization.id.clone(),
        management: organization.management.clone(),
        members: organization.members.keys().cloned().collect(),
        cloudtrail_administrators: organization
            .delegations
            .iter()
            .filter(|delegation| delegation.service == CLOUDTRAIL)
            .map(|delegation| delegation.account.clone())
            .collect(),
        cloudtrail_is_trusted: organization.services.contains_key(CLOUDTRAIL),
    }))
}

/// Makes `administrator` one of CloudTrail for the organisation that `account` manages, or no longer one.
pub(crate) fn delegate_cloudtrail(
    tx: &mut dyn Tx,
    account: &AccountId,
    administrator: &str,
    begins: bool,
    now: Timestamp,
) -> Result<Result<(), AwsError>, CatalogError> {
    let Some(mut organization) = state::organization_of(tx, account)? else {
        return Ok(Err(state::not_in_use()));
    };
    let params = json!({"AccountId": administrator, "ServicePrincipal": CLOUDTRAIL});
    let occasion = Occasion { now, caller: account.clone(), random: String::new() };
    let change = if begins { services::register } else { services::deregister };
    let outcome = For::Management
        .check(&organization, account)
        .and_then(|()| change(&mut organization, &occasion, &params).map(|_| ()));
    if outcome.is_ok() {
        let key = state::organization_key(&organization.id);
        state::ORGANIZATIONS.put(tx, key.bytes(), &organization)?;
    }
    Ok(outcome)
}

const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

#[async_trait]
impl ControlPolicies for Organizations {
    async fn binding(&self, account: &AccountId) -> Result<Arc<Binding>, CatalogError> {
        let generation = match self.bindings.find(account) {
            Ok(binding) => return Ok(binding),
            Err(generation) => generation,
        };
        let binding = match self.organization_of(account).await? {
            None => Binding::default(),
            Some(organization) => binding_of(&organization, account)?,
        };
        let binding = Arc::new(binding);
        self.bindings.keep(account, &binding, generation);
        Ok(binding)
    }
}

fn binding_of(organization: &Organization, account: &AccountId) -> Result<Binding, CatalogError> {
    let parents = organization.parents_of(account);
    let path: String =
        std::iter::once(&organization.id).chain(&parents).map(|part| format!("{part}/")).collect();
    let affiliation = Affiliation { organization_id: organization.id.clone(), path };
    let mut levels = Vec::new();
    if organization.policies_enabled && *account != organization.management {
        for target in parents.iter().map(String::as_str).chain([account.as_str()]) {
            let attached = organization.attachments.get(target).map_or(&[][..], Vec::as_slice);
            let mut level = Vec::with_capacity(attached.len());
            for id in attached {
                // A policy that cannot be read may deny, so it is never skipped.
                let text = organization.document(id).unwrap_or_default();
                let document = Document::parse(text).map_err(|source| CatalogError::Decode {
                    table: "organizations.organization",
                    source: source.into(),
                })?;
                level.push(NamedPolicy { name: id.clone(), document: Arc::new(document) });
            }
            levels.push(level);
        }
    }
    Ok(Binding { levels, affiliation: Some(affiliation) })
}
