//! When roles were last used: noted in memory by every call of a session, written with the uses of access keys.

use std::collections::HashMap;
use std::sync::Mutex;

use cairn_core::{AccountId, Principal, Timestamp};
use cairn_store::{CatalogError, Tx};

use super::Iam;
use super::entity::{self, Entity, Kind};
use super::role::RoleUse;

/// How many roles' uses wait to be written. More are not noted: the last use is advice, not evidence.
const NOTED_ROLES_MAX: usize = 10_000;

/// Uses that are not written yet, by the roles' unique ids.
#[derive(Default)]
pub(super) struct RoleUses(Mutex<HashMap<String, Noted>>);

/// The use of a role, and where the role is stored.
#[derive(Clone, PartialEq, Eq)]
struct Noted {
    account: AccountId,
    name: String,
    last: RoleUse,
}

impl RoleUses {
    /// Puts a use that is not written yet into the role that is to be shown.
    pub(super) fn complete(&self, role: &mut Entity) {
        let uses = self.0.lock().expect("no panic while the uses are held");
        if let (Some(noted), Some(facts)) = (uses.get(&role.id), &mut role.role) {
            facts.last_used = Some(noted.last.clone());
        }
    }
}

impl Iam {
    /// Notes a call in `region` with temporary credentials; of a role's session it counts as a use of the role.
    pub fn note_role_use(&self, principal: &Principal, region: &str, at: Timestamp) {
        let Principal::AssumedRole { account, role_id, role_name, .. } = principal else { return };
        let mut uses = self.role_uses.0.lock().expect("no panic while the uses are held");
        if let Some(noted) = uses.get_mut(role_id.as_str()) {
            noted.last.at = at;
            if noted.last.region != region {
                region.clone_into(&mut noted.last.region);
            }
        } else if uses.len() < NOTED_ROLES_MAX {
            let last = RoleUse { at, region: region.to_owned() };
            let noted = Noted { account: account.clone(), name: role_name.to_string(), last };
            uses.insert(role_id.to_string(), noted);
        }
    }

    pub(super) async fn flush_role_uses(&self) -> Result<(), CatalogError> {
        let noted = self.role_uses.0.lock().expect("no panic while the uses are held").clone();
        if noted.is_empty() {
            return Ok(());
        }
        let written = noted.clone();
        self.catalog.write(move |tx| write_uses(tx, &written)).await?;
        let mut uses = self.role_uses.0.lock().expect("no panic while the uses are held");
        uses.retain(|id, last| noted.get(id) != Some(last));
        Ok(())
    }
}

fn write_uses(tx: &mut dyn Tx, uses: &HashMap<String, Noted>) -> Result<(), CatalogError> {
    for (id, noted) in uses {
        let found = entity::find(tx, Kind::Role, &noted.account, &noted.name)?;
        // A role that was made again under the name was not used.
        let Some(mut role) = found.filter(|role| role.id == *id) else { continue };
        if let Some(facts) = &mut role.role {
            facts.last_used = Some(noted.last.clone());
        }
        entity::put(tx, Kind::Role, &noted.account, &role)?;
    }
    Ok(())
}
