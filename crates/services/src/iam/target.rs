//! What a call is about, as policies are matched against it: the resource's ARN and IAM's condition keys.

use cairn_core::{AccountId, Principal};
use cairn_store::Tx;
use cairn_wire::Call;
use serde_json::Value;

use super::Iam;
use super::entity::{self, Entity, Kind};
use super::failure::Failure;
use super::mfa;
use super::oidc;
use super::operations::{About, row};
use super::policy_state;
use super::service_linked;
use super::state::{KEYS, Tag, access_key_key};
use crate::{Caller, Target};

/// The resource of a call: its ARN, and its tags where it has any.
struct Found {
    arn: String,
    tags: Vec<Tag>,
}

impl Iam {
    pub(super) async fn target_of(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let about = row(&call.operation).map_or(About::Nothing, |row| row.about);
        let (of, params, account) = (caller.principal.clone(), call.params.clone(), caller.account.clone());
        let found = match about {
            About::Nothing => Found { arn: "*".to_owned(), tags: Vec::new() },
            _ => self.catalog.read(move |tx| find(tx, about, &of, &account, &params)).await?,
        };
        Ok(Target {
            action: format!("iam:{}", call.operation),
            resource_arn: found.arn,
            resources: Vec::new(),
            policy: None,
            conditions: conditions(call, &found.tags),
        })
    }
}

fn text<'a>(params: &'a Value, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str)
}

fn find(
    tx: &mut dyn Tx,
    about: About,
    principal: &Principal,
    account: &AccountId,
    params: &Value,
) -> Result<Found, Failure> {
    let path = |member: &str| text(params, member).unwrap_or("/").to_owned();
    let untagged = |arn: String| Ok(Found { arn, tags: Vec::new() });
    match about {
        About::Nothing => untagged("*".to_owned()),
        About::Entity(kind) => {
            let named = text(params, &format!("{}Name", kind.title()));
            match (named, principal) {
                (Some(name), _) => of_name(tx, kind, account, name),
                (None, Principal::IamUser { user_name, .. }) => of_name(tx, kind, account, user_name),
                (None, _) => untagged(format!("arn:aws:iam::{account}:root")),
            }
        }
        About::New(kind) => {
            let name = text(params, &format!("{}Name", kind.title())).unwrap_or_default();
            untagged(kind.arn(account, &path("Path"), name))
        }
        About::Listed(kind) => untagged(kind.arn(account, &path("PathPrefix"), "")),
        About::KeyOwner => {
            let key =
                KEYS.get(tx, access_key_key(text(params, "AccessKeyId").unwrap_or_default()).bytes())?;
            match key
                .filter(|key| key.account == *account)
                .and_then(|key| key.owner.user_name().map(str::to_owned))
            {
                Some(name) => of_name(tx, Kind::User, account, &name),
                None => untagged("*".to_owned()),
            }
        }
        About::Policy => {
            let arn = text(params, "PolicyArn").unwrap_or_default().to_owned();
            let tags = policy_state::find(tx, account, &arn)?.map(|policy| policy.tags).unwrap_or_default();
            Ok(Found { arn, tags })
        }
        About::NewPolicy => {
            let name = text(params, "PolicyName").unwrap_or_default();
            untagged(policy_state::own_arn(account, &path("Path"), name))
        }
        About::ListedPolicies => untagged(format!("policy path {}", path("PathPrefix"))),
        About::Mfa => {
            let serial = text(params, "SerialNumber").unwrap_or_default().to_owned();
            let tags = mfa::existing(tx, account, &serial).map(|device| device.tags).unwrap_or_default();
            Ok(Found { arn: serial, tags })
        }
        About::NewMfa => {
            let name = text(params, "VirtualMFADeviceName").unwrap_or_default();
            untagged(mfa::serial_of(account, &path("Path"), name))
        }
        About::Oidc => {
            let arn = text(params, "OpenIDConnectProviderArn").unwrap_or_default().to_owned();
            let tags = oidc::find(tx, account, &arn)?.map(|provider| provider.tags).unwrap_or_default();
            Ok(Found { arn, tags })
        }
        About::NewOidc => untagged(oidc::provider_arn(account, text(params, "Url").unwrap_or_default())),
        About::Principal => untagged(text(params, "PolicySourceArn").unwrap_or("*").to_owned()),
        About::LinkedRole => untagged(service_linked::role_arn(account, params)),
    }
}

/// The entity of this name; one that does not exist has the ARN that it would have at the root.
fn of_name(tx: &mut dyn Tx, kind: Kind, account: &AccountId, name: &str) -> Result<Found, Failure> {
    let found: Option<Entity> = entity::find(tx, kind, account, name)?;
    Ok(match found {
        Some(entity) => Found { arn: entity.arn(kind, account), tags: entity.tags },
        None => Found { arn: kind.arn(account, "/", name), tags: Vec::new() },
    })
}

/// The condition keys that IAM adds to a call.
fn conditions(call: &Call, resource_tags: &[Tag]) -> Vec<(String, Vec<String>)> {
    let mut conditions = Vec::new();
    let mut put = |key: String, values: Vec<String>| conditions.push((key, values));
    for (key, member) in
        [("iam:PermissionsBoundary", "PermissionsBoundary"), ("iam:AWSServiceName", "AWSServiceName")]
    {
        if let Some(value) = text(&call.params, member) {
            put(key.to_owned(), vec![value.to_owned()]);
        }
    }
    if (call.operation.starts_with("Attach") || call.operation.starts_with("Detach"))
        && let Some(arn) = text(&call.params, "PolicyArn")
    {
        put("iam:PolicyARN".to_owned(), vec![arn.to_owned()]);
    }
    for tag in resource_tags {
        put(format!("aws:ResourceTag/{}", tag.key), vec![tag.value.clone()]);
        put(format!("iam:ResourceTag/{}", tag.key), vec![tag.value.clone()]);
    }
    let mut keys = Vec::new();
    for tag in call.params.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (text(tag, "Key"), text(tag, "Value")) {
            put(format!("aws:RequestTag/{key}"), vec![value.to_owned()]);
            keys.push(key.to_owned());
        }
    }
    let untagged = call.params.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    keys.extend(untagged.filter_map(Value::as_str).map(str::to_owned));
    if !keys.is_empty() {
        put("aws:TagKeys".to_owned(), keys);
    }
    conditions
}
