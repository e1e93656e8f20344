//! Managed policies and their versions.

use cairn_core::AccountId;
use cairn_store::Tx;
use cairn_wire::{Call, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Iam;
use super::document::{self, check_identity_policy, counted_chars};
use super::entity::new_id;
use super::failure::{Failure, conflict, invalid, no_such, not_an_action, over_limit, over_quota, taken};
use super::names::{POLICY_NAME_CHARS_MAX, check_name, check_path, root_path};
use super::page::{PageInput, page};
use super::policy_state::{
    AWS_POLICIES, ManagedPolicy, POLICIES_PER_ACCOUNT_MAX, PolicyVersion, Use, all, aws_arn, count, delete,
    existing, is_aws_arn, is_taken, own_arn, put, use_count,
};
use super::state::Tag;
use super::tags::check_tags;
use crate::Caller;

/// The characters of a managed policy's document, without white space.
pub(super) const DOCUMENT_CHARS_MAX: usize = 6144;
/// How many versions a policy has at most.
pub(super) const VERSIONS_PER_POLICY_MAX: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreatePolicy {
    policy_name: String,
    path: Option<String>,
    policy_document: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OnePolicy {
    policy_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListPolicies {
    scope: Option<String>,
    #[serde(default)]
    only_attached: bool,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateVersion {
    policy_arn: String,
    policy_document: String,
    #[serde(default)]
    set_as_default: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneVersion {
    policy_arn: String,
    version_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListVersions {
    policy_arn: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn policy_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CreatePolicy" => self.create_policy(caller, call.input()?).await,
            "CreatePolicyVersion" => self.create_policy_version(caller, call.input()?).await,
            "DeletePolicy" => self.delete_policy(caller, call.input()?).await,
            "DeletePolicyVersion" => self.delete_policy_version(caller, call.input()?).await,
            "GetPolicy" => self.get_policy(caller, call.input()?).await,
            "GetPolicyVersion" => self.get_policy_version(caller, call.input()?).await,
            "ListEntitiesForPolicy" => self.list_entities_for_policy(caller, call.input()?).await,
            "ListPolicies" => self.list_policies(caller, call.input()?).await,
            "ListPolicyVersions" => self.list_policy_versions(caller, call.input()?).await,
            "SetDefaultPolicyVersion" => self.set_default_policy_version(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn create_policy(&self, caller: &Caller, input: CreatePolicy) -> Result<Reply, Failure> {
        check_name("policyName", &input.policy_name, POLICY_NAME_CHARS_MAX)?;
        let path = input.path.unwrap_or_else(root_path);
        check_path("path", &path)?;
        check_tags(&input.tags, "Policy")?;
        check_document(&input.policy_document)?;
        let first = PolicyVersion { number: 1, document: input.policy_document, created: caller.now };
        let policy = ManagedPolicy {
            id: new_id(self.entropy.as_ref(), "ANPA"),
            name: input.policy_name,
            path,
            description: input.description,
            created: caller.now,
            updated: caller.now,
            tags: input.tags,
            default_version: 1,
            last_version: 1,
            versions: vec![first],
        };
        let (account, made) = (caller.account.clone(), policy.clone());
        self.catalog
            .write(move |tx| {
                if is_taken(tx, &account, &policy.name)? {
                    let name = &policy.name;
                    return Err(taken(format!(
                        "A policy called {name} already exists. Duplicate names are not allowed."
                    )));
                }
                if count(tx, &account)? >= POLICIES_PER_ACCOUNT_MAX {
                    return Err(over_quota("PoliciesPerAccount", POLICIES_PER_ACCOUNT_MAX));
                }
                Ok::<_, Failure>(put(tx, &account, &policy)?)
            })
            .await?;
        let arn = own_arn(&caller.account, &made.path, &made.name);
        let mut shown = show(&arn, &made, 0, 0);
        show_tags(&mut shown, &made);
        Ok(Reply::of(&json!({ "Policy": shown })))
    }

    async fn get_policy(&self, caller: &Caller, input: OnePolicy) -> Result<Reply, Failure> {
        let (account, arn) = (caller.account.clone(), input.policy_arn);
        let shown = self
            .catalog
            .read(move |tx| {
                let policy = existing(tx, &account, &arn)?;
                let mut shown = show_with_uses(tx, &account, &arn, &policy)?;
                if let Some(description) = &policy.description {
                    shown.insert("Description".to_owned(), description.clone().into());
                }
                show_tags(&mut shown, &policy);
                Ok::<_, Failure>(shown)
            })
            .await?;
        Ok(Reply::of(&json!({ "Policy": shown })))
    }

    async fn list_policies(&self, caller: &Caller, input: ListPolicies) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let (aws, own) = match input.scope.as_deref() {
            None | Some("All") => (true, true),
            Some("AWS") => (true, false),
            Some("Local") => (false, true),
            Some(other) => return Err(invalid(format!("The scope {other} is unknown."))),
        };
        let used_as = match input.policy_usage_filter.as_deref() {
            Some("PermissionsBoundary") => Use::Boundary,
            _ => Use::Permissions,
        };
        let (only_attached, filtered) = (input.only_attached, input.policy_usage_filter.is_some());
        let prefix = input.path_prefix.unwrap_or_else(root_path);
        let items = self
            .catalog
            .read(move |tx| {
                let mut items = Vec::new();
                for (arn, policy) in listed(tx, &account, aws, own)? {
                    if !policy.path.starts_with(&prefix) {
                        continue;
                    }
                    let used = use_count(tx, &account, &arn, used_as)? > 0;
                    if used || !(only_attached || filtered) {
                        let shown = show_with_uses(tx, &account, &arn, &policy)?;
                        items.push((format!("{} {arn}", policy.name.to_lowercase()), Value::Object(shown)));
                    }
                }
                items.sort_by(|(a, _), (b, _)| a.cmp(b));
                Ok::<_, Failure>(items)
            })
            .await?;
        Ok(Reply::of(&page("Policies", items, &input.page)?))
    }

    async fn delete_policy(&self, caller: &Caller, input: OnePolicy) -> Result<Reply, Failure> {
        self.change_policy(caller, input.policy_arn, |tx, account, arn, policy| {
            let uses = use_count(tx, account, arn, Use::Permissions)?
                + use_count(tx, account, arn, Use::Boundary)?;
            if uses > 0 {
                return Err(conflict("Cannot delete a policy attached to entities."));
            }
            if policy.versions.len() > 1 {
                return Err(conflict(
                    "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
                ));
            }
            delete(tx, account, &policy.name)?;
            Ok(Keep::No)
        })
        .await
    }

    async fn create_policy_version(&self, caller: &Caller, input: CreateVersion) -> Result<Reply, Failure> {
        check_document(&input.policy_document)?;
        let (now, document, is_default) = (caller.now, input.policy_document, input.set_as_default);
        let arn = input.policy_arn.clone();
        self.change_policy(caller, input.policy_arn, move |_, _, _, policy| {
            if policy.versions.len() >= VERSIONS_PER_POLICY_MAX {
                return Err(over_limit(format!(
                    "A managed policy can have up to {VERSIONS_PER_POLICY_MAX} versions. Before you create a new version, you must delete an existing version."
                )));
            }
            policy.last_version += 1;
            let number = policy.last_version;
            policy.versions.push(PolicyVersion { number, document: document.clone(), created: now });
            policy.updated = now;
            if is_default {
                policy.default_version = number;
            }
            Ok(Keep::Yes)
        })
        .await?;
        let (account, of) = (caller.account.clone(), arn);
        let policy = self.catalog.read(move |tx| existing(tx, &account, &of)).await?;
        let newest = policy.versions.last().ok_or_else(|| no_such("The version is gone.".to_owned()))?;
        Ok(Reply::of(&json!({ "PolicyVersion": show_version(&policy, newest, false) })))
    }

    async fn get_policy_version(&self, caller: &Caller, input: OneVersion) -> Result<Reply, Failure> {
        let (account, arn) = (caller.account.clone(), input.policy_arn);
        let policy =
            self.catalog.read(move |tx| Ok::<_, Failure>((existing(tx, &account, &arn)?, arn.clone())));
        let (policy, arn) = policy.await?;
        let version = version(&policy, &arn, &input.version_id)?;
        Ok(Reply::of(&json!({ "PolicyVersion": show_version(&policy, version, true) })))
    }

    async fn list_policy_versions(&self, caller: &Caller, input: ListVersions) -> Result<Reply, Failure> {
        let (account, arn) = (caller.account.clone(), input.policy_arn);
        let policy = self.catalog.read(move |tx| existing(tx, &account, &arn)).await?;
        // The newest first.
        let items = policy.versions.iter().rev().map(|version| {
            (format!("{:010}", u32::MAX - version.number), show_version(&policy, version, false))
        });
        Ok(Reply::of(&page("Versions", items.collect(), &input.page)?))
    }

    async fn set_default_policy_version(&self, caller: &Caller, input: OneVersion) -> Result<Reply, Failure> {
        let (now, id) = (caller.now, input.version_id);
        self.change_policy(caller, input.policy_arn, move |_, _, arn, policy| {
            policy.default_version = version(policy, arn, &id)?.number;
            policy.updated = now;
            Ok(Keep::Yes)
        })
        .await
    }

    async fn delete_policy_version(&self, caller: &Caller, input: OneVersion) -> Result<Reply, Failure> {
        let id = input.version_id;
        self.change_policy(caller, input.policy_arn, move |_, _, arn, policy| {
            let number = version(policy, arn, &id)?.number;
            if number == policy.default_version {
                return Err(conflict("Cannot delete the default version of a policy."));
            }
            policy.versions.retain(|version| version.number != number);
            Ok(Keep::Yes)
        })
        .await
    }

    /// Changes one of the account's own policies.
    pub(super) async fn change_policy(
        &self,
        caller: &Caller,
        arn: String,
        mut work: impl FnMut(&mut dyn Tx, &AccountId, &str, &mut ManagedPolicy) -> Result<Keep, Failure>
        + Send
        + 'static,
    ) -> Result<Reply, Failure> {
        if is_aws_arn(&arn) {
            return Err(cairn_wire::AwsError::with_status(
                403,
                "AccessDenied",
                "Cannot perform the operation on an AWS managed policy.",
            )
            .into());
        }
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let mut policy = existing(tx, &account, &arn)?;
                if work(tx, &account, &arn, &mut policy)? == Keep::Yes {
                    put(tx, &account, &policy)?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }
}

/// Whether a changed policy is to be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

fn check_document(document: &str) -> Result<(), Failure> {
    check_identity_policy(document)?;
    if counted_chars(document) > DOCUMENT_CHARS_MAX {
        return Err(over_quota("PolicySize", DOCUMENT_CHARS_MAX));
    }
    Ok(())
}

fn listed(
    tx: &mut dyn Tx,
    account: &AccountId,
    aws: bool,
    own: bool,
) -> Result<Vec<(String, ManagedPolicy)>, Failure> {
    let mut policies = Vec::new();
    if aws {
        policies.extend(AWS_POLICIES.iter().map(|policy| (aws_arn(policy), policy.clone())));
    }
    if own {
        let all = all(tx, account)?.into_iter();
        policies.extend(all.map(|policy| (own_arn(account, &policy.path, &policy.name), policy)));
    }
    Ok(policies)
}

/// The version of a policy that an id such as `v3` names.
fn version<'a>(policy: &'a ManagedPolicy, arn: &str, id: &str) -> Result<&'a PolicyVersion, Failure> {
    let number: Option<u32> = id.strip_prefix('v').and_then(|number| number.parse().ok());
    number
        .and_then(|number| policy.versions.iter().find(|version| version.number == number))
        .ok_or_else(|| no_such(format!("Policy {arn} version {id} does not exist or is not attachable.")))
}

fn show_with_uses(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
    policy: &ManagedPolicy,
) -> Result<Map<String, Value>, Failure> {
    let attached = use_count(tx, account, arn, Use::Permissions)?;
    let bounding = use_count(tx, account, arn, Use::Boundary)?;
    Ok(show(arn, policy, attached, bounding))
}

/// A policy as replies show it.
pub(super) fn show(
    arn: &str,
    policy: &ManagedPolicy,
    attached: usize,
    bounding: usize,
) -> Map<String, Value> {
    let members = [
        ("PolicyName", json!(policy.name)),
        ("PolicyId", json!(policy.id)),
        ("Arn", json!(arn)),
        ("Path", json!(policy.path)),
        ("DefaultVersionId", json!(format!("v{}", policy.default_version))),
        ("AttachmentCount", json!(attached)),
        ("PermissionsBoundaryUsageCount", json!(bounding)),
        ("IsAttachable", json!(true)),
        ("CreateDate", json!(policy.created.seconds())),
        ("UpdateDate", json!(policy.updated.seconds())),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn show_tags(shown: &mut Map<String, Value>, policy: &ManagedPolicy) {
    if !policy.tags.is_empty() {
        shown.insert("Tags".to_owned(), json!(policy.tags));
    }
}

/// A version as replies show it.
pub(super) fn show_version(policy: &ManagedPolicy, version: &PolicyVersion, with_document: bool) -> Value {
    let mut shown = Map::new();
    if with_document {
        shown.insert("Document".to_owned(), document::shown(&version.document));
    }
    shown.insert("VersionId".to_owned(), format!("v{}", version.number).into());
    shown.insert("IsDefaultVersion".to_owned(), (version.number == policy.default_version).into());
    shown.insert("CreateDate".to_owned(), version.created.seconds().into());
    Value::Object(shown)
}
