//! GetAccountSummary: how much of everything the account has, and may have.

use cairn_wire::Reply;
use serde_json::{Map, json};

use super::Iam;
use super::failure::Failure;
use super::keys::ACCESS_KEYS_PER_USER_MAX;
use super::state::{Owner, USERS, account_key, keys_of};
use super::users::USERS_PER_ACCOUNT_MAX;
use crate::Caller;

/// What Cairn does not have, with AWS's quotas beside the zeros.
const ABSENT: &[(&str, usize)] = &[
    ("Groups", 0),
    ("GroupsQuota", 300),
    ("Roles", 0),
    ("RolesQuota", 1000),
    ("Policies", 0),
    ("PoliciesQuota", 1500),
    ("InstanceProfiles", 0),
    ("InstanceProfilesQuota", 1000),
    ("ServerCertificates", 0),
    ("ServerCertificatesQuota", 20),
    ("Providers", 0),
    ("MFADevices", 0),
    ("MFADevicesInUse", 0),
    ("AccountMFAEnabled", 0),
    ("AccountPasswordPresent", 0),
    ("AccountSigningCertificatesPresent", 0),
];

impl Iam {
    pub(super) async fn get_account_summary(&self, caller: &Caller) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let (users, root_keys) = self
            .catalog
            .read(move |tx| {
                let users = USERS.scan_prefix(tx, account_key(&account).bytes())?.len();
                let root_keys = keys_of(tx, &account, &Owner::Root)?.len();
                Ok::<_, Failure>((users, root_keys))
            })
            .await?;
        let present = [
            ("Users", users),
            ("UsersQuota", USERS_PER_ACCOUNT_MAX),
            ("AccessKeysPerUserQuota", ACCESS_KEYS_PER_USER_MAX),
            // AWS shows whether root has keys, not how many.
            ("AccountAccessKeysPresent", usize::from(root_keys > 0)),
        ];
        let map: Map<_, _> =
            present.iter().chain(ABSENT).map(|(name, count)| ((*name).to_owned(), (*count).into())).collect();
        Ok(Reply::of(&json!({ "SummaryMap": map })))
    }
}
