//! Key policies: who may use a key. Nothing is allowed that a key's policy does not allow or leave to its account.

use cairn_core::policy::Document;
use cairn_core::{AccountId, Region};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kms;
use super::error::{Failure, fail, malformed_policy};
use super::find::{require_customer, require_kept};
use super::keys::by_id;
use super::page::{PageInput, page};
use super::state::Key;
use crate::{Caller, ResourcePolicy, Target, authorise};

/// The only name that a key policy has.
const NAME: &str = "default";
/// The largest key policy, in bytes.
const POLICY_SIZE_BYTES_MAX: usize = 32 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetPolicy {
    key_id: String,
    policy_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutPolicy {
    key_id: String,
    policy_name: Option<String>,
    policy: String,
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPolicies {
    key_id: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Kms {
    pub(super) async fn get_policy(&self, caller: &Caller, input: GetPolicy) -> Result<Value, Failure> {
        check_name(input.policy_name.as_deref())?;
        let key = self.key(caller, by_id(&input.key_id)?).await?;
        Ok(json!({"Policy": key.policy, "PolicyName": NAME}))
    }

    pub(super) async fn put_policy(&self, caller: &Caller, input: PutPolicy) -> Result<Value, Failure> {
        check_name(input.policy_name.as_deref())?;
        let by = caller.clone();
        self.change(caller, by_id(&input.key_id)?, move |_, key| {
            require_customer(key)?;
            require_kept(key)?;
            check(key, &by, &input.policy, input.bypass_policy_lockout_safety_check)?;
            key.policy.clone_from(&input.policy);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_policies(&self, caller: &Caller, input: ListPolicies) -> Result<Value, Failure> {
        self.key(caller, by_id(&input.key_id)?).await?;
        page("PolicyNames", vec![(NAME.to_owned(), NAME.into())], &input.page)
    }
}

fn check_name(name: Option<&str>) -> Result<(), Failure> {
    match name {
        None | Some(NAME) => Ok(()),
        Some(_) => Err(fail("NotFoundException", "No such policy exists")),
    }
}

/// Refuses a policy that is none, and one that would keep its author from ever changing it again.
pub(super) fn check(key: &Key, caller: &Caller, policy: &str, bypass: bool) -> Result<(), Failure> {
    if policy.len() > POLICY_SIZE_BYTES_MAX {
        return Err(fail("LimitExceededException", "The key policy exceeds the limit of 32768 bytes."));
    }
    let document = Document::parse(policy).map_err(|error| malformed_policy(error.to_string()))?;
    if document.statements.iter().any(|statement| statement.principals.is_none()) {
        return Err(malformed_policy("Policy statement must have a Principal."));
    }
    if bypass {
        return Ok(());
    }
    let target = Target {
        action: "kms:PutKeyPolicy".to_owned(),
        resource_arn: key.arn(),
        resources: Vec::new(),
        policy: Some(ResourcePolicy {
            owner: key.account.clone(),
            document: Some(policy.to_owned()),
            must_allow: true,
        }),
        conditions: vec![("kms:CallerAccount".to_owned(), vec![caller.account.to_string()])],
    };
    authorise(caller, &target).map_err(|_| {
        malformed_policy("The new key policy will not allow you to update the key policy in the future.")
    })
}

/// What a key has that is made without a policy: all is left to the account's own policies.
pub(super) fn default_policy(account: &AccountId) -> String {
    json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
            "Action": "kms:*",
            "Resource": "*",
        }],
    })
    .to_string()
}

/// What the key of a service has: everybody of the account uses it through the service.
pub(super) fn managed_policy(service: &str, region: &Region, account: &AccountId) -> String {
    json!({
        "Version": "2012-10-17",
        "Id": format!("auto-{service}-2"),
        "Statement": [
            {
                "Sid": format!("Allow access through {service} for all principals in the account that are authorized to use {service}"),
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": {"StringEquals": {
                    "kms:CallerAccount": account,
                    "kms:ViaService": format!("{service}.{region}.amazonaws.com"),
                }},
            },
            {
                "Sid": "Allow direct access to key metadata to the account",
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
                "Action": ["kms:Describe*", "kms:Get*", "kms:List*"],
                "Resource": "*",
            },
        ],
    })
    .to_string()
}
