//! What KMS keeps in the catalog: keys with their sealed material, aliases, grants.
//!
//! Keys of all three tables begin with region and account: nothing of KMS crosses either but by ARN.

use std::collections::BTreeMap;

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::Table;
use cairn_store::catalog::Key as Row;
use serde::{Deserialize, Serialize};

/// Keys by region, account and id.
pub(super) const KEYS: Table<Key> = Table::new("kms.key", 1);
/// Aliases by region, account and name.
pub(super) const ALIASES: Table<Alias> = Table::new("kms.alias", 1);
/// Grants by region, account, key id and grant id.
pub(super) const GRANTS: Table<Grant> = Table::new("kms.grant", 1);

/// Key-value pairs that ciphertext is bound to, in the order of their names.
pub type EncryptionContext = BTreeMap<String, String>;

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) created: Timestamp,
    pub(super) description: String,
    pub(super) state: KeyState,
    /// Whether a service made it, and not a user.
    pub(super) aws_managed: bool,
    pub(super) policy: String,
    pub(super) tags: Vec<(String, String)>,
    /// The oldest first; the last one encrypts, all decrypt.
    pub(super) materials: Vec<Material>,
    pub(super) rotation: Option<Rotation>,
}

/// Whether a key can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeyState {
    Enabled,
    Disabled,
    PendingDeletion { at: Timestamp, window_days: u32 },
}

impl KeyState {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion { .. } => "PendingDeletion",
        }
    }
}

/// The secret of a key between two rotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Material {
    /// 64 hexadecimal digits, random.
    pub(super) id: String,
    /// 32 bytes, sealed under the root key.
    pub(super) sealed: String,
    pub(super) since: Timestamp,
    pub(super) rotated_by: Option<RotationType>,
}

/// Why material was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RotationType {
    Automatic,
    OnDemand,
}

/// Automatic rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotation {
    pub(super) period_days: u32,
    pub(super) next: Timestamp,
}

/// Another name of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alias {
    /// `alias/…`.
    pub(super) name: String,
    pub(super) key_id: String,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// What a principal may do with a key besides its policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) key_id: String,
    pub(super) name: Option<String>,
    pub(super) created: Timestamp,
    pub(super) grantee: String,
    pub(super) retiring: Option<String>,
    /// The account that issued it.
    pub(super) issuer: String,
    pub(super) operations: Vec<String>,
    pub(super) constraints: Constraints,
}

/// Which encryption contexts a grant is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Constraints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) encryption_context_equals: Option<EncryptionContext>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) encryption_context_subset: Option<EncryptionContext>,
}

impl Key {
    pub(super) fn arn(&self) -> String {
        key_arn(&self.region, &self.account, &self.id)
    }

    /// The material that encrypts.
    pub(super) fn current(&self) -> &Material {
        self.materials.last().expect("a key is made with material")
    }

    pub(super) fn row(&self) -> Row {
        key_row(&self.region, &self.account, &self.id)
    }
}

pub(super) fn key_arn(region: &Region, account: &AccountId, id: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:key/{id}")
}

pub(super) fn alias_arn(region: &Region, account: &AccountId, name: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:{name}")
}

/// The prefix of all of a region's and account's.
pub(super) fn place_row(region: &Region, account: &AccountId) -> Row {
    Row::new().text(region.as_str()).text(account.as_str())
}

pub(super) fn key_row(region: &Region, account: &AccountId, id: &str) -> Row {
    place_row(region, account).text(id)
}

pub(super) fn alias_row(region: &Region, account: &AccountId, name: &str) -> Row {
    place_row(region, account).text(name)
}

/// The prefix of the grants of a key.
pub(super) fn grants_row(key: &Key) -> Row {
    key.row()
}

pub(super) fn grant_row(key: &Key, grant_id: &str) -> Row {
    key.row().text(grant_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Key>(
            r#"{"id":"1234abcd-12ab-34cd-56ef-1234567890ab","account":"111122223333","region":"eu-west-1","created":1795281866042,"description":"d","state":"Enabled","aws_managed":false,"policy":"{}","tags":[["k","v"]],"materials":[{"id":"00","sealed":"sealed:AQ==","since":1795281866042,"rotated_by":null},{"id":"01","sealed":"sealed:AQ==","since":1795281866043,"rotated_by":"OnDemand"}],"rotation":{"period_days":365,"next":1826817866042}}"#,
        );
        check::<KeyState>(r#"{"PendingDeletion":{"at":1795281866042,"window_days":7}}"#);
        check::<Alias>(r#"{"name":"alias/a","key_id":"k","created":1,"updated":2}"#);
        check::<Grant>(
            r#"{"id":"g","key_id":"k","name":null,"created":1,"grantee":"arn:aws:iam::111122223333:role/r","retiring":null,"issuer":"arn:aws:iam::111122223333:root","operations":["Decrypt"],"constraints":{"EncryptionContextSubset":{"a":"b"}}}"#,
        );
    }
}
