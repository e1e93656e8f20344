//! Managed policies as they are kept, those of accounts and AWS's own, and who they are attached to.

use std::sync::LazyLock;

use cairn_core::{AccountId, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{Failure, no_such};
use super::state::{Tag, account_key};

/// Managed policies of accounts, by account and lower-case name.
const POLICIES: Table<ManagedPolicy> = Table::new("iam_policy", 1);
/// Who a managed policy is attached to, or bounds: by account, ARN, use, and the unique id of the user, group or role.
const ATTACHED: Table<()> = Table::new("iam_attached_policy", 1);

/// How many managed policies an account has at most.
pub(super) const POLICIES_PER_ACCOUNT_MAX: usize = 1500;
/// What stands in place of the account in the ARNs of AWS's own policies.
const AWS_POLICY_PREFIX: &str = "arn:aws:iam::aws:policy";

/// A managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManagedPolicy {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) description: Option<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) tags: Vec<Tag>,
    /// The number of the version in force.
    pub(super) default_version: u32,
    /// The number of the newest version that ever was: numbers are not used twice.
    pub(super) last_version: u32,
    /// The oldest first.
    pub(super) versions: Vec<PolicyVersion>,
}

/// One version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PolicyVersion {
    pub(super) number: u32,
    pub(super) document: String,
    pub(super) created: Timestamp,
}

impl ManagedPolicy {
    /// The document in force.
    pub(super) fn document(&self) -> &str {
        let default = self.versions.iter().find(|version| version.number == self.default_version);
        default.map_or("", |version| &version.document)
    }
}

/// What a managed policy is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Permissions,
    Boundary,
}

impl Use {
    fn key_part(self) -> &'static str {
        match self {
            Self::Permissions => "policy",
            Self::Boundary => "boundary",
        }
    }
}

/// AWS's own policies, by name.
pub(super) static AWS_POLICIES: LazyLock<Vec<ManagedPolicy>> = LazyLock::new(|| {
    let mut policies: Vec<_> = AWS_TEXTS.iter().map(|text| aws_policy(text)).collect();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    policies
});

const AWS_TEXTS: &[&str] = &[
    include_str!("managed/AdministratorAccess.json"),
    include_str!("managed/AmazonS3FullAccess.json"),
    include_str!("managed/AmazonS3ReadOnlyAccess.json"),
    include_str!("managed/AWSCloudTrail_FullAccess.json"),
    include_str!("managed/AWSCloudTrail_ReadOnlyAccess.json"),
    include_str!("managed/CloudTrailServiceRolePolicy.json"),
    include_str!("managed/IAMFullAccess.json"),
    include_str!("managed/IAMReadOnlyAccess.json"),
    include_str!("managed/IAMUserChangePassword.json"),
    include_str!("managed/ReadOnlyAccess.json"),
];

/// A file of `managed/`.
#[derive(Deserialize)]
struct AwsText {
    id: String,
    name: String,
    path: String,
    description: String,
    created: String,
    updated: String,
    version: u32,
    document: Value,
}

fn aws_policy(text: &str) -> ManagedPolicy {
    let text: AwsText = serde_json::from_str(text).expect("a test reads every file of the folder");
    let time = |iso: &str| Timestamp::parse_iso(iso).expect("a test reads every file of the folder");
    let (created, updated) = (time(&text.created), time(&text.updated));
    ManagedPolicy {
        id: text.id,
        name: text.name,
        path: text.path,
        description: Some(text.description),
        created,
        updated,
        tags: Vec::new(),
        default_version: text.version,
        last_version: text.version,
        versions: vec![PolicyVersion {
            number: text.version,
            document: serde_json::to_string_pretty(&text.document).expect("JSON is JSON"),
            created: updated,
        }],
    }
}

/// Whether the ARN is that of one of AWS's own policies.
pub(super) fn is_aws_arn(arn: &str) -> bool {
    arn.starts_with(AWS_POLICY_PREFIX)
}

pub(super) fn aws_arn(policy: &ManagedPolicy) -> String {
    format!("{AWS_POLICY_PREFIX}{}{}", policy.path, policy.name)
}

pub(super) fn own_arn(account: &AccountId, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:policy{path}{name}")
}

fn policy_key(account: &AccountId, name: &str) -> Key {
    account_key(account).text(&name.to_lowercase())
}

/// The policy of this ARN that the account can use: its own, or AWS's.
pub(super) fn find(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
) -> Result<Option<ManagedPolicy>, CatalogError> {
    if is_aws_arn(arn) {
        return Ok(AWS_POLICIES.iter().find(|policy| aws_arn(policy) == arn).cloned());
    }
    let Some((_, name)) = arn.rsplit_once('/') else { return Ok(None) };
    let found = POLICIES.get(tx, policy_key(account, name).bytes())?;
    Ok(found.filter(|policy| own_arn(account, &policy.path, &policy.name) == arn))
}

/// The policy of this ARN, or AWS's error that there is none.
pub(super) fn existing(tx: &mut dyn Tx, account: &AccountId, arn: &str) -> Result<ManagedPolicy, Failure> {
    find(tx, account, arn)?.ok_or_else(|| not_found(arn))
}

pub(super) fn not_found(arn: &str) -> Failure {
    no_such(format!("Policy {arn} was not found."))
}

/// The policy of this ARN, or AWS's error that it cannot be attached.
pub(super) fn attachable(tx: &mut dyn Tx, account: &AccountId, arn: &str) -> Result<ManagedPolicy, Failure> {
    find(tx, account, arn)?.ok_or_else(|| not_attachable(arn))
}

pub(super) fn not_attachable(arn: &str) -> Failure {
    no_such(format!("Policy {arn} does not exist or is not attachable."))
}

/// Whether a name is taken, in whatever case and under whatever path.
pub(super) fn is_taken(tx: &mut dyn Tx, account: &AccountId, name: &str) -> Result<bool, CatalogError> {
    Ok(POLICIES.get(tx, policy_key(account, name).bytes())?.is_some())
}

pub(super) fn put(tx: &mut dyn Tx, account: &AccountId, policy: &ManagedPolicy) -> Result<(), CatalogError> {
    POLICIES.put(tx, policy_key(account, &policy.name).bytes(), policy)
}

pub(super) fn delete(tx: &mut dyn Tx, account: &AccountId, name: &str) -> Result<bool, CatalogError> {
    POLICIES.delete(tx, policy_key(account, name).bytes())
}

/// The account's own policies, by name.
pub(super) fn all(tx: &mut dyn Tx, account: &AccountId) -> Result<Vec<ManagedPolicy>, CatalogError> {
    let found = POLICIES.scan_prefix(tx, account_key(account).bytes())?;
    Ok(found.into_iter().map(|(_, policy)| policy).collect())
}

pub(super) fn count(tx: &mut dyn Tx, account: &AccountId) -> Result<usize, CatalogError> {
    POLICIES.count_prefix(tx, account_key(account).bytes(), POLICIES_PER_ACCOUNT_MAX)
}

fn uses_key(account: &AccountId, arn: &str, used_as: Use) -> Key {
    account_key(account).text(arn).text(used_as.key_part())
}

/// Notes that the entity of this unique id has the policy.
pub(super) fn note_use(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
    used_as: Use,
    id: &str,
) -> Result<(), CatalogError> {
    ATTACHED.put(tx, uses_key(account, arn, used_as).text(id).bytes(), &())
}

/// Notes that the entity of this unique id has the policy no more.
pub(super) fn forget_use(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
    used_as: Use,
    id: &str,
) -> Result<bool, CatalogError> {
    ATTACHED.delete(tx, uses_key(account, arn, used_as).text(id).bytes())
}

/// How many entities of the account have the policy.
pub(super) fn use_count(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
    used_as: Use,
) -> Result<usize, CatalogError> {
    ATTACHED.count_prefix(tx, uses_key(account, arn, used_as).bytes(), usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cairn_core::policy::Document;

    use super::*;

    #[test]
    fn every_policy_of_aws_is_read_and_parses() {
        let mut arns = HashSet::new();
        for policy in AWS_POLICIES.iter() {
            Document::parse(policy.document()).unwrap();
            assert!(policy.id.starts_with("ANPA") && policy.id.len() == 21, "{}", policy.name);
            assert!(arns.insert(aws_arn(policy)) && arns.insert(policy.id.clone()), "{}", policy.name);
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/iam/managed")).unwrap();
        assert_eq!(files.count(), AWS_POLICIES.len());
    }

    #[test]
    fn stored_policies_are_read_as_version_1_wrote_them() {
        let golden = r#"{"id":"ANPAEXAMPLE","name":"P","path":"/","description":null,"created":1795281866042,"updated":1795281866042,"tags":[{"Key":"a","Value":"b"}],"default_version":1,"last_version":2,"versions":[{"number":1,"document":"{}","created":1795281866042}]}"#;
        let policy: ManagedPolicy = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), golden);
        assert_eq!(policy.document(), "{}");
    }
}
