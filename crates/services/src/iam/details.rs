//! GetAccountAuthorizationDetails: everything that says who may do what, in one list.

use cairn_core::AccountId;
use cairn_store::Tx;
use cairn_wire::Reply;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Iam;
use super::attached::show_attached;
use super::document;
use super::entity::{self, Entity, Kind};
use super::failure::Failure;
use super::groups::groups_of;
use super::page::{PageInput, page};
use super::policies::{show as show_policy, show_version};
use super::policy_state::{self, AWS_POLICIES, ManagedPolicy, Use, aws_arn, own_arn, use_count};
use super::show::{Detail, show};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetDetails {
    #[serde(default)]
    filter: Vec<String>,
    #[serde(flatten)]
    page: PageInput,
}

/// The reply's lists, in the order of paging.
const LISTS: [&str; 4] = ["GroupDetailList", "Policies", "RoleDetailList", "UserDetailList"];

impl Iam {
    pub(super) async fn get_details(&self, caller: &Caller, input: GetDetails) -> Result<Reply, Failure> {
        let (account, filter) = (caller.account.clone(), input.filter);
        let items = self.catalog.read(move |tx| {
            let wants = |what: &str| filter.is_empty() || filter.iter().any(|wanted| wanted == what);
            let mut items = Vec::new();
            for kind in Kind::ALL.into_iter().filter(|kind| wants(kind.title())) {
                for entity in entity::all(tx, kind, &account)? {
                    let list = format!("{}DetailList", kind.title());
                    let shown = entity_detail(tx, kind, &account, &entity)?;
                    items.push((format!("{list} {}", entity.name.to_lowercase()), shown));
                }
            }
            if wants("LocalManagedPolicy") {
                for policy in policy_state::all(tx, &account)? {
                    let arn = own_arn(&account, &policy.path, &policy.name);
                    items.push((format!("Policies {arn}"), policy_detail(tx, &account, &arn, &policy)?));
                }
            }
            if wants("AWSManagedPolicy") {
                for policy in AWS_POLICIES.iter() {
                    let arn = aws_arn(policy);
                    let shown = policy_detail(tx, &account, &arn, policy)?;
                    // Of AWS's policies, those that somebody has.
                    if shown["AttachmentCount"] != 0 || shown["PermissionsBoundaryUsageCount"] != 0 {
                        items.push((format!("Policies {arn}"), shown));
                    }
                }
            }
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok::<_, Failure>(items)
        });
        let items = items.await?.into_iter().map(|(sort, shown)| {
            let list = sort.split(' ').next().unwrap_or_default().to_owned();
            (sort, json!({"list": list, "shown": shown}))
        });
        let mut reply = page("All", items.collect(), &input.page)?;
        let Value::Array(all) = reply["All"].take() else { return Ok(Reply::of(&reply)) };
        for list in LISTS {
            let of_list = all.iter().filter(|item| item["list"] == list);
            reply[list] = of_list.map(|item| item["shown"].clone()).collect();
        }
        if let Value::Object(members) = &mut reply {
            members.remove("All");
        }
        Ok(Reply::of(&reply))
    }
}

fn entity_detail(
    tx: &mut dyn Tx,
    kind: Kind,
    account: &AccountId,
    entity: &Entity,
) -> Result<Value, Failure> {
    let mut shown = show(tx, kind, account, entity, Detail::Whole)?;
    let inline = entity
        .inline
        .iter()
        .map(|(name, text)| json!({"PolicyName": name, "PolicyDocument": document::shown(text)}));
    shown[format!("{}PolicyList", kind.title())] = inline.collect();
    shown["AttachedManagedPolicies"] = entity.attached.iter().map(|arn| show_attached(arn)).collect();
    match kind {
        Kind::User => {
            let groups = groups_of(tx, account, entity)?;
            shown["GroupList"] = groups.into_iter().map(|group| Value::String(group.name)).collect();
        }
        Kind::Role => shown["InstanceProfileList"] = json!([]),
        Kind::Group => {}
    }
    Ok(shown)
}

fn policy_detail(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
    policy: &ManagedPolicy,
) -> Result<Value, Failure> {
    let attached = use_count(tx, account, arn, Use::Permissions)?;
    let bounding = use_count(tx, account, arn, Use::Boundary)?;
    let mut shown = Value::Object(show_policy(arn, policy, attached, bounding));
    shown["PolicyVersionList"] =
        policy.versions.iter().rev().map(|version| show_version(policy, version, true)).collect();
    Ok(shown)
}
