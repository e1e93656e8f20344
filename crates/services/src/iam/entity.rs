//! Users, groups and roles: what all three are, and where they are kept.
//!
//! They share names, paths, tags and policies, so one type holds them and one code reads and changes them; what only
//! one kind has is in members of its own.

use std::collections::BTreeMap;

use cairn_core::{AccountId, Entropy, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use super::Iam;
use super::failure::{Failure, no_such, unmodifiable};
use super::role::RoleFacts;
use super::state::{Tag, account_key};

/// Users, by account and lower-case name: IAM has no two names that differ in case only.
const USERS: Table<Entity> = Table::new("iam_user", 1);
/// Groups, likewise.
const GROUPS: Table<Entity> = Table::new("iam_group", 1);
/// Roles, likewise.
const ROLES: Table<Entity> = Table::new("iam_role", 1);

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of a unique id after its four letters.
const UNIQUE_ID_CHARS: usize = 17;
/// The beginning of the paths of roles that only AWS changes.
const SERVICE_LINKED_PATH: &str = "/aws-service-role/";

/// Which kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    User,
    Group,
    Role,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::User, Self::Group, Self::Role];

    /// Its word in ARNs and messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
        }
    }

    /// Its word at the beginning of members and quotas.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::Role => "Role",
        }
    }

    /// The first letters of its unique ids.
    fn id_prefix(self) -> &'static str {
        match self {
            Self::User => "AIDA",
            Self::Group => "AGPA",
            Self::Role => "AROA",
        }
    }

    /// The longest name.
    pub(super) fn name_chars_max(self) -> usize {
        match self {
            Self::User | Self::Role => 64,
            Self::Group => 128,
        }
    }

    /// How many of them an account has at most.
    pub(super) fn per_account_max(self) -> usize {
        match self {
            Self::User => 5000,
            Self::Group => 300,
            Self::Role => 1000,
        }
    }

    /// The characters that all inline policies of one of them have at most, without white space.
    pub(super) fn inline_chars_max(self) -> usize {
        match self {
            Self::User => 2048,
            Self::Group => 5120,
            Self::Role => 10_240,
        }
    }

    fn table(self) -> Table<Entity> {
        match self {
            Self::User => USERS,
            Self::Group => GROUPS,
            Self::Role => ROLES,
        }
    }

    pub(super) fn arn(self, account: &AccountId, path: &str, name: &str) -> String {
        format!("arn:aws:iam::{account}:{}{path}{name}", self.word())
    }
}

/// A user, a group or a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entity {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) created: Timestamp,
    pub(super) tags: Vec<Tag>,
    /// Inline policies: documents by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) inline: BTreeMap<String, String>,
    /// The ARNs of the managed policies attached to it, in the order of attaching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attached: Vec<String>,
    /// The ARN of the managed policy that bounds a user's or role's permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boundary: Option<String>,
    /// The ids of a user's groups, in the order of joining.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<String>,
    /// When a user last signed in with its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password_last_used: Option<Timestamp>,
    /// What only roles have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<RoleFacts>,
}

impl Entity {
    pub(super) fn new(
        kind: Kind,
        entropy: &dyn Entropy,
        name: String,
        path: String,
        tags: Vec<Tag>,
        created: Timestamp,
    ) -> Self {
        Self {
            id: new_id(entropy, kind.id_prefix()),
            name,
            path,
            created,
            tags,
            inline: BTreeMap::new(),
            attached: Vec::new(),
            boundary: None,
            groups: Vec::new(),
            password_last_used: None,
            role: None,
        }
    }

    pub(super) fn arn(&self, kind: Kind, account: &AccountId) -> String {
        kind.arn(account, &self.path, &self.name)
    }

    /// Refuses what only AWS may do with a service-linked role.
    pub(super) fn require_modifiable(&self) -> Result<(), Failure> {
        if self.path.starts_with(SERVICE_LINKED_PATH) {
            return Err(unmodifiable(&self.name));
        }
        Ok(())
    }
}

/// A new unique id: four letters of its kind and 17 characters.
pub(super) fn new_id(entropy: &dyn Entropy, prefix: &str) -> String {
    format!("{prefix}{}", entropy.text(ID_ALPHABET, UNIQUE_ID_CHARS))
}

fn entity_key(account: &AccountId, name: &str) -> Key {
    account_key(account).text(&name.to_lowercase())
}

/// The entity of exactly this name.
pub(super) fn find(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    name: &str,
) -> Result<Option<Entity>, CatalogError> {
    let found = kind.table().get(tx, entity_key(account, name).bytes())?;
    Ok(found.filter(|entity| entity.name == name))
}

/// The entity of exactly this name, or AWS's error that there is none.
pub(super) fn existing(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    name: &str,
) -> Result<Entity, Failure> {
    find(tx, kind, account, name)?
        .ok_or_else(|| no_such(format!("The {} with name {name} cannot be found.", kind.word())))
}

/// Whether a name is taken, in whatever case.
pub(super) fn is_taken(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    name: &str,
) -> Result<bool, CatalogError> {
    Ok(kind.table().get(tx, entity_key(account, name).bytes())?.is_some())
}

pub(super) fn put(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    entity: &Entity,
) -> Result<(), CatalogError> {
    kind.table().put(tx, entity_key(account, &entity.name).bytes(), entity)
}

pub(super) fn delete(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    name: &str,
) -> Result<bool, CatalogError> {
    kind.table().delete(tx, entity_key(account, name).bytes())
}

/// All of a kind, by name.
pub(super) fn all(tx: &mut dyn Tx, kind: Kind, account: &AccountId) -> Result<Vec<Entity>, CatalogError> {
    let found = kind.table().scan_prefix(tx, account_key(account).bytes())?;
    Ok(found.into_iter().map(|(_, entity)| entity).collect())
}

/// How many of a kind there are.
pub(super) fn count(tx: &mut dyn Tx, kind: Kind, account: &AccountId) -> Result<usize, CatalogError> {
    kind.table().count_prefix(tx, account_key(account).bytes(), kind.per_account_max())
}

impl Iam {
    /// Reads an entity.
    pub(super) async fn entity(
        &self,
        kind: Kind,
        account: &AccountId,
        name: &str,
    ) -> Result<Entity, Failure> {
        let (account, name) = (account.clone(), name.to_owned());
        self.catalog.read(move |tx| existing(tx, kind, &account, &name)).await
    }

    /// Changes an entity, and forgets what was read of it before.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        kind: Kind,
        account: &AccountId,
        name: &str,
        mut work: impl FnMut(&mut dyn Tx, &mut Entity) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (account, name) = (account.clone(), name.to_owned());
        let done = self
            .catalog
            .write(move |tx| {
                let mut entity = existing(tx, kind, &account, &name)?;
                let done = work(tx, &mut entity)?;
                put(tx, kind, &account, &entity)?;
                Ok::<_, Failure>(done)
            })
            .await?;
        self.credentials.forget();
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 of the tables looks like on disk: these texts must stay readable for ever.
    #[test]
    fn stored_entities_are_read_as_version_1_wrote_them() {
        for golden in [
            r#"{"id":"AIDAEXAMPLE","name":"Alice","path":"/ops/","created":1795281866042,"tags":[{"Key":"team","Value":"red"}]}"#,
            r#"{"id":"AIDAEXAMPLE","name":"Alice","path":"/","created":1795281866042,"tags":[],"inline":{"p":"{}"},"attached":["arn:aws:iam::aws:policy/ReadOnlyAccess"],"boundary":"arn:aws:iam::aws:policy/ReadOnlyAccess","groups":["AGPAEXAMPLE"],"password_last_used":1795281866042}"#,
            r#"{"id":"AROAEXAMPLE","name":"r","path":"/","created":1795281866042,"tags":[],"role":{"trust":"{}","trusted":[["arn:aws:iam::111122223333:user/a","AIDAEXAMPLE"]],"description":"d","max_session_duration_s":3600,"last_used":{"at":1795281866042,"region":"us-east-1"}}}"#,
        ] {
            let entity: Entity = serde_json::from_str(golden).unwrap();
            assert_eq!(serde_json::to_string(&entity).unwrap(), golden);
        }
        assert!(serde_json::from_str::<Entity>(r#"{"id":"AIDAEXAMPLE"}"#).is_err());
    }
}
