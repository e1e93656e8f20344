//! GetAccountSummary: how much of everything the account has, and may have.

use cairn_wire::Reply;
use serde_json::{Map, json};

use super::Iam;
use super::entity::{self, Kind};
use super::failure::Failure;
use super::keys::ACCESS_KEYS_PER_USER_MAX;
use super::policies::{DOCUMENT_CHARS_MAX, VERSIONS_PER_POLICY_MAX};
use super::policy_state::{self, POLICIES_PER_ACCOUNT_MAX};
use super::state::{Owner, keys_of};
use super::{attached, groups, mfa, oidc, role};
use crate::Caller;

/// What Cairn does not have, with AWS's quotas beside the zeros.
const ABSENT: &[(&str, usize)] = &[
    ("InstanceProfiles", 0),
    ("InstanceProfilesQuota", 1000),
    ("ServerCertificates", 0),
    ("ServerCertificatesQuota", 20),
    ("SigningCertificatesPerUserQuota", 2),
    ("AccountMFAEnabled", 0),
    ("AccountPasswordPresent", 0),
    ("AccountSigningCertificatesPresent", 0),
    ("GlobalEndpointTokenVersion", 2),
];

impl Iam {
    pub(super) async fn get_account_summary(&self, caller: &Caller) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let found = self
            .catalog
            .read(move |tx| {
                let versions: usize =
                    policy_state::all(tx, &account)?.iter().map(|policy| policy.versions.len()).sum();
                let devices = mfa::all(tx, &account)?;
                Ok::<_, Failure>([
                    ("Users", entity::count(tx, Kind::User, &account)?),
                    ("Groups", entity::count(tx, Kind::Group, &account)?),
                    ("Roles", entity::count(tx, Kind::Role, &account)?),
                    ("Policies", policy_state::count(tx, &account)?),
                    ("MFADevices", devices.len()),
                    ("MFADevicesInUse", devices.iter().filter(|device| device.user.is_some()).count()),
                    ("Providers", oidc::count(tx, &account)?),
                    ("PolicyVersionsInUse", versions),
                    // AWS shows whether root has keys, not how many.
                    (
                        "AccountAccessKeysPresent",
                        usize::from(!keys_of(tx, &account, &Owner::Root)?.is_empty()),
                    ),
                ])
            })
            .await?;
        let quotas = [
            ("UsersQuota", Kind::User.per_account_max()),
            ("GroupsQuota", Kind::Group.per_account_max()),
            ("RolesQuota", Kind::Role.per_account_max()),
            ("PoliciesQuota", POLICIES_PER_ACCOUNT_MAX),
            ("PolicyVersionsInUseQuota", 10_000),
            ("VersionsPerPolicyQuota", VERSIONS_PER_POLICY_MAX),
            ("PolicySizeQuota", DOCUMENT_CHARS_MAX),
            ("UserPolicySizeQuota", Kind::User.inline_chars_max()),
            ("GroupPolicySizeQuota", Kind::Group.inline_chars_max()),
            ("RolePolicySizeQuota", Kind::Role.inline_chars_max()),
            ("AssumeRolePolicySizeQuota", role::TRUST_CHARS_MAX),
            ("AttachedPoliciesPerUserQuota", attached::ATTACHED_MAX),
            ("AttachedPoliciesPerGroupQuota", attached::ATTACHED_MAX),
            ("AttachedPoliciesPerRoleQuota", attached::ATTACHED_MAX),
            ("GroupsPerUserQuota", groups::GROUPS_PER_USER_MAX),
            ("AccessKeysPerUserQuota", ACCESS_KEYS_PER_USER_MAX),
        ];
        let map: Map<_, _> = found
            .iter()
            .chain(&quotas)
            .chain(ABSENT)
            .map(|(name, count)| ((*name).to_owned(), (*count).into()))
            .collect();
        Ok(Reply::of(&json!({ "SummaryMap": map })))
    }
}
