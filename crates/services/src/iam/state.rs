//! What IAM keeps in the catalog, and where.

use cairn_core::{AccountId, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

/// Accounts by id.
pub(super) const ACCOUNTS: Table<Account> = Table::new("iam_account", 1);
/// Which account has an alias; aliases are unique among all accounts.
pub(super) const ALIASES: Table<AccountId> = Table::new("iam_alias", 1);
/// Access keys by id. In version 1 secrets were clear.
pub(super) const KEYS: Table<AccessKey> = Table::new("iam_access_key", 2);
/// Which keys somebody has: by account, owner and key id.
pub(super) const OWNED_KEYS: Table<()> = Table::new("iam_owned_key", 1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) alias: Option<String>,
    pub(super) created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: String,
}

/// An access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AccessKey {
    pub(super) id: String,
    pub(super) account: AccountId,
    pub(super) owner: Owner,
    /// Sealed, see [`super::secrets`].
    pub(super) secret: super::secrets::KeptSecret,
    pub(super) active: bool,
    pub(super) created: Timestamp,
    pub(super) last_use: Option<KeyUse>,
}

/// Who an access key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Owner {
    Root,
    /// A user, by name.
    User(String),
}

/// When and for what a key was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyUse {
    pub(super) at: Timestamp,
    pub(super) service: String,
    pub(super) region: String,
}

impl Owner {
    /// The user's name, as replies show it.
    pub(super) fn user_name(&self) -> Option<&str> {
        match self {
            Self::Root => None,
            Self::User(name) => Some(name),
        }
    }

    /// The part of a key of [`OWNED_KEYS`]; no user's name is empty.
    fn key_part(&self) -> String {
        self.user_name().unwrap_or_default().to_lowercase()
    }
}

pub(super) fn account_key(account: &AccountId) -> Key {
    Key::new().text(account.as_str())
}

pub(super) fn alias_key(alias: &str) -> Key {
    Key::new().text(alias)
}

pub(super) fn access_key_key(id: &str) -> Key {
    Key::new().text(id)
}

pub(super) fn owned_key_key(account: &AccountId, owner: &Owner, id: &str) -> Key {
    account_key(account).text(&owner.key_part()).text(id)
}

/// The access keys that `owner` has, in the order of their ids.
pub(super) fn keys_of(
    tx: &mut dyn Tx,
    account: &AccountId,
    owner: &Owner,
) -> Result<Vec<AccessKey>, CatalogError> {
    let prefix = account_key(account).text(&owner.key_part());
    let owned = OWNED_KEYS.scan_prefix(tx, prefix.bytes())?;
    let mut keys = Vec::with_capacity(owned.len());
    for (key, ()) in owned {
        let id = &key[prefix.bytes().len()..];
        keys.extend(KEYS.get(tx, id)?);
    }
    Ok(keys)
}

/// Stores a key under its id and with its owner.
pub(super) fn put_key(tx: &mut dyn Tx, key: &AccessKey) -> Result<(), CatalogError> {
    KEYS.put(tx, access_key_key(&key.id).bytes(), key)?;
    OWNED_KEYS.put(tx, owned_key_key(&key.account, &key.owner, &key.id).bytes(), &())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// What version 1 of each table looks like on disk: these texts must stay readable for ever.
    #[test]
    fn stored_values_are_read_as_version_1_wrote_them() {
        check::<Account>(r#"{"id":"111122223333","alias":"acme","created":1795281866042}"#);
        check::<AccountId>(r#""111122223333""#);
        check::<AccessKey>(
            r#"{"id":"AKIAEXAMPLE","account":"111122223333","owner":{"User":"Alice"},"secret":"sealed:AQ==","active":true,"created":1795281866042,"last_use":{"at":1795281866042,"service":"s3","region":"us-east-1"}}"#,
        );
        check::<AccessKey>(
            r#"{"id":"AKIAEXAMPLE","account":"111122223333","owner":"Root","secret":"sealed:AQ==","active":false,"created":1795281866042,"last_use":null}"#,
        );
        check::<()>("null");
    }

    /// Version 1 of an access key differs in that its secret is clear.
    #[test]
    fn a_clear_secret_is_read_and_not_shown() {
        let version_1 = r#"{"id":"AKIAEXAMPLE","account":"111122223333","owner":"Root","secret":"wJalr","active":false,"created":1795281866042,"last_use":null}"#;
        let key: AccessKey = serde_json::from_str(version_1).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), version_1);
        assert!(!format!("{key:?}").contains("wJalr"));
    }

    #[test]
    fn what_is_not_a_stored_value_is_an_error() {
        assert!(serde_json::from_str::<AccessKey>(r#"{"id":"AKIAEXAMPLE"}"#).is_err());
        assert!(serde_json::from_str::<Account>(r#"{"id":"1","alias":null,"created":0}"#).is_err());
    }

    #[test]
    fn an_owned_key_ends_in_the_key_of_the_access_key() {
        let account: AccountId = "111122223333".parse().unwrap();
        let owner = Owner::User("Alice".into());
        let whole = owned_key_key(&account, &owner, "AKIAEXAMPLE");
        assert!(whole.bytes().ends_with(access_key_key("AKIAEXAMPLE").bytes()));
    }
}
