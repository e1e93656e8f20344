//! An organisation as it is kept: one value, since every change must see all of it.

use std::collections::BTreeMap;

use cairn_core::{AccountId, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};

/// Organisations by id.
pub(super) const ORGANIZATIONS: Table<Organization> = Table::new("organizations.organization", 1);
/// The organisation that an account is in, by account.
pub(super) const MEMBERSHIPS: Table<String> = Table::new("organizations.membership", 1);

/// The policy that allows everything, which every account, unit and root begins with.
pub(super) const FULL_ACCESS: &str = "p-FullAWSAccess";
pub(super) const FULL_ACCESS_DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Organization {
    pub(super) id: String,
    pub(super) root_id: String,
    pub(super) management: AccountId,
    /// Whether service control policies are enabled on the root.
    pub(super) policies_enabled: bool,
    pub(super) members: BTreeMap<AccountId, Member>,
    pub(super) units: BTreeMap<String, Unit>,
    pub(super) policies: BTreeMap<String, Policy>,
    /// Which policies are attached, by root, unit or account.
    pub(super) attachments: BTreeMap<String, Vec<String>>,
    /// Services that may act in all accounts, and since when.
    pub(super) services: BTreeMap<String, Timestamp>,
    pub(super) delegations: Vec<Delegation>,
    pub(super) creations: Vec<Creation>,
    pub(super) handshakes: BTreeMap<String, Handshake>,
    /// Tags by the id of what has them.
    pub(super) tags: BTreeMap<String, BTreeMap<String, String>>,
}

/// An account in an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) email: String,
    /// The root or unit that it is in.
    pub(super) parent: String,
    pub(super) was_created: bool,
    pub(super) joined_at: Timestamp,
}

/// An organisational unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) parent: String,
}

/// A service control policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) content: String,
}

/// An account that administers a service for the organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delegation {
    pub(super) account: AccountId,
    pub(super) service: String,
    pub(super) since: Timestamp,
}

/// An account that was asked for. It is made at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Creation {
    pub(super) id: String,
    pub(super) account: AccountId,
    pub(super) name: String,
    pub(super) at: Timestamp,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handshake {
    pub(super) account: AccountId,
    pub(super) state: HandshakeState,
    pub(super) notes: Option<String>,
    pub(super) at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// What became of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum HandshakeState {
    Open,
    Accepted,
    Declined,
    Canceled,
}

impl Organization {
    /// `arn:aws:organizations::MANAGEMENT:KIND/o-…[/ID]`.
    pub(super) fn arn(&self, kind: &str, id: &str) -> String {
        let slash = if id.is_empty() { "" } else { "/" };
        format!("arn:aws:organizations::{}:{kind}/{}{slash}{id}", self.management, self.id)
    }

    /// The ARN of what has this id; none where nothing has.
    pub(super) fn arn_of(&self, id: &str) -> Option<String> {
        let account = id.parse::<AccountId>().ok().filter(|account| self.members.contains_key(account));
        if account.is_some() {
            Some(self.arn("account", id))
        } else if id == self.root_id {
            Some(self.arn("root", id))
        } else if self.units.contains_key(id) {
            Some(self.arn("ou", id))
        } else if self.policies.contains_key(id) {
            Some(self.arn("policy", &format!("service_control_policy/{id}")))
        } else {
            None
        }
    }

    /// Whether policies can be attached to it: the root, a unit, an account.
    pub(super) fn is_target(&self, id: &str) -> bool {
        self.is_parent(id) || id.parse().is_ok_and(|account: AccountId| self.members.contains_key(&account))
    }

    /// Whether it is the root or a unit.
    pub(super) fn is_parent(&self, id: &str) -> bool {
        id == self.root_id || self.units.contains_key(id)
    }

    /// From the root down to the parent of `account`, which is in the organisation.
    pub(super) fn parents_of(&self, account: &AccountId) -> Vec<String> {
        let mut parents = Vec::new();
        let mut next = self.members.get(account).map(|member| member.parent.clone());
        while let Some(parent) = next {
            next = self.units.get(&parent).map(|unit| unit.parent.clone());
            parents.push(parent);
        }
        parents.reverse();
        parents
    }

    /// How many units lie one in another down to `id`; 0 for the root.
    pub(super) fn depth_of(&self, id: &str) -> usize {
        let mut depth = 0;
        let mut next = self.units.get(id);
        while let Some(unit) = next {
            depth += 1;
            next = self.units.get(&unit.parent);
        }
        depth
    }

    /// The document of an attached policy.
    pub(super) fn document(&self, policy: &str) -> Option<&str> {
        if policy == FULL_ACCESS {
            return Some(FULL_ACCESS_DOCUMENT);
        }
        self.policies.get(policy).map(|policy| policy.content.as_str())
    }

    /// Puts an account, unit or root under the policy that allows everything, where policies are enabled.
    pub(super) fn begin_policies(&mut self, target: &str) {
        if self.policies_enabled {
            self.attachments.entry(target.to_owned()).or_insert_with(|| vec![FULL_ACCESS.to_owned()]);
        }
    }

    /// Takes an account in.
    pub(super) fn join(&mut self, account: AccountId, member: Member) {
        self.begin_policies(account.as_str());
        self.members.insert(account, member);
    }

    /// Lets an account go.
    pub(super) fn leave(&mut self, account: &AccountId) {
        self.members.remove(account);
        self.attachments.remove(account.as_str());
        self.tags.remove(account.as_str());
        self.delegations.retain(|delegation| delegation.account != *account);
    }
}

pub(super) fn organization_key(id: &str) -> Key {
    Key::new().text(id)
}

pub(super) fn membership_key(account: &AccountId) -> Key {
    Key::new().text(account.as_str())
}

/// The organisation of an account.
pub(super) fn organization_of(
    tx: &mut dyn Tx,
    account: &AccountId,
) -> Result<Option<Organization>, CatalogError> {
    let Some(id) = MEMBERSHIPS.get(tx, membership_key(account).bytes())? else { return Ok(None) };
    ORGANIZATIONS.get(tx, organization_key(&id).bytes())
}

pub(super) fn not_in_use() -> AwsError {
    AwsError::invalid("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like on disk: this text must stay readable for ever.
    #[test]
    fn a_stored_organisation_is_read_as_version_1_wrote_it() {
        let golden = r#"{"id":"o-exampleorg","root_id":"r-abcd","management":"111122223333","policies_enabled":true,"members":{"111122223333":{"name":"main","email":"a@example.com","parent":"r-abcd","was_created":false,"joined_at":1795281866000}},"units":{"ou-abcd-12345678":{"name":"dev","parent":"r-abcd"}},"policies":{"p-12345678":{"name":"deny","description":"","content":"{}"}},"attachments":{"r-abcd":["p-FullAWSAccess"]},"services":{"cloudtrail.amazonaws.com":1795281866000},"delegations":[{"account":"444455556666","service":"cloudtrail.amazonaws.com","since":0}],"creations":[{"id":"car-1","account":"444455556666","name":"x","at":0}],"handshakes":{"h-12345678":{"account":"444455556666","state":"OPEN","notes":null,"at":0,"expires_at":1}},"tags":{"r-abcd":{"k":"v"}}}"#;
        let read: Organization = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), golden);
        assert!(serde_json::from_str::<Organization>(r#"{"id":"o-1"}"#).is_err());
    }
}
