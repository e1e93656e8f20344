//! What a call is about: the key with its policy, the grants that let its caller do more, and KMS's condition keys.
//!
//! A grant becomes a statement of the policy, for the call that it allows alone: so a Deny of any policy still wins.

use cairn_core::Principal;
use cairn_wire::Call;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kms;
use super::error::Failure;
use super::find::KeyName;
use super::grants::{self, RetireGrant};
use super::material::Ciphertext;
use super::state::{ALIASES, EncryptionContext, Key, alias_arn, key_arn, place_row};
use super::usage::bytes_of;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// Operations that are about no key in particular.
const WITHOUT_KEY: [&str; 5] =
    ["CreateKey", "GenerateRandom", "ListAliases", "ListKeys", "ListRetirableGrants"];

/// What of a key is asked for.
pub(super) struct Ask<'a> {
    /// `kms:Decrypt`.
    pub(super) action: String,
    /// The key as the caller names it.
    pub(super) key: &'a str,
    pub(super) context: &'a EncryptionContext,
    /// Further condition keys.
    pub(super) conditions: Vec<(String, Vec<String>)>,
}

impl Kms {
    /// What the call is about first of all.
    pub(super) async fn find_target(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let params = &call.params;
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        let operation = call.operation.as_str();
        let mut action = format!("kms:{operation}");
        let conditions = conditions(operation, params);
        if WITHOUT_KEY.contains(&operation) {
            return Ok(without_key(caller, action, conditions));
        }
        let key = match operation {
            "Decrypt" => named_or_meant(caller, text("KeyId"), text("CiphertextBlob")),
            "ReEncrypt" => {
                action = "kms:ReEncryptFrom".to_owned();
                named_or_meant(caller, text("SourceKeyId"), text("CiphertextBlob"))
            }
            "CreateAlias" | "UpdateAlias" => text("TargetKeyId").map(str::to_owned),
            "DeleteAlias" => text("AliasName").map(str::to_owned),
            "RetireGrant" => {
                RetireGrant::deserialize(params).ok().and_then(|input| Some(input.names().ok()?.0))
            }
            _ => text("KeyId").map(str::to_owned),
        };
        let Some(key) = key else { return Ok(without_key(caller, action, conditions)) };
        let member = if operation == "ReEncrypt" { "SourceEncryptionContext" } else { "EncryptionContext" };
        let context = context_of(params, member);
        self.key_target(caller, Ask { action, key: &key, context: &context, conditions }).await
    }

    /// What it needs besides.
    pub(super) async fn find_further_targets(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Target>, Failure> {
        let params = &call.params;
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        let alias = text("AliasName").map(|name| Target {
            action: format!("kms:{}", call.operation),
            resource_arn: alias_arn(&caller.region, &caller.account, name),
            resources: Vec::new(),
            policy: None,
            conditions: caller_conditions(caller),
        });
        let mut further = Vec::new();
        match call.operation.as_str() {
            "CreateAlias" | "DeleteAlias" => further.extend(alias),
            "UpdateAlias" => {
                further.extend(alias);
                let (action, context) = ("kms:UpdateAlias".to_owned(), EncryptionContext::new());
                let ask = Ask {
                    action,
                    key: text("AliasName").unwrap_or_default(),
                    context: &context,
                    conditions: Vec::new(),
                };
                further.push(self.key_target(caller, ask).await?);
            }
            "ReEncrypt" => {
                let context = context_of(params, "DestinationEncryptionContext");
                let ask = Ask {
                    action: "kms:ReEncryptTo".to_owned(),
                    key: text("DestinationKeyId").unwrap_or_default(),
                    context: &context,
                    conditions: Vec::new(),
                };
                further.push(self.key_target(caller, ask).await?);
            }
            "CreateKey" if params.get("Tags").is_some() => {
                let action = "kms:TagResource".to_owned();
                further.push(without_key(caller, action, conditions("CreateKey", params)));
            }
            _ => {}
        }
        Ok(further)
    }

    /// A key as the object of an action. A key that is not there has no policy: its caller's own policies say whether
    /// they may learn that.
    pub(super) async fn key_target(&self, caller: &Caller, ask: Ask<'_>) -> Result<Target, Failure> {
        let mut conditions = caller_conditions(caller);
        conditions.extend(ask.conditions);
        for (name, value) in ask.context {
            conditions.push((format!("kms:EncryptionContext:{name}"), vec![value.clone()]));
        }
        if !ask.context.is_empty() {
            conditions.push(("kms:EncryptionContextKeys".to_owned(), ask.context.keys().cloned().collect()));
        }
        let name = KeyName::parse(ask.key, &caller.region, &caller.account)?;
        if let Some(alias) = name.alias() {
            conditions.push(("kms:RequestAlias".to_owned(), vec![alias.to_owned()]));
        }
        let (looked, now) = (name.clone(), caller.now);
        let Some(key) = self.catalog.read(move |tx| looked.look(tx, now)).await? else {
            return Ok(Target {
                action: ask.action,
                resource_arn: name.arn(),
                resources: Vec::new(),
                policy: None,
                conditions,
            });
        };
        conditions.extend(self.key_conditions(&key).await?);
        let grants = self.grants_of(&key).await?;
        let granted =
            grants.iter().any(|grant| grants::allows(grant, &caller.principal, &ask.action, ask.context));
        let document = if granted {
            with_grant(&key.policy, &caller.principal, &ask.action)
        } else {
            key.policy.clone()
        };
        Ok(Target {
            action: ask.action,
            resource_arn: key.arn(),
            resources: vec![resource(&key)],
            policy: Some(ResourcePolicy {
                owner: key.account.clone(),
                document: Some(document),
                must_allow: true,
            }),
            conditions,
        })
    }

    async fn key_conditions(&self, key: &Key) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let prefix = place_row(&key.region, &key.account);
        let aliases = self.catalog.read(move |tx| ALIASES.scan_prefix(tx, prefix.bytes())).await?;
        let own = aliases.into_iter().map(|(_, alias)| alias).filter(|alias| alias.key_id == key.id);
        let one = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let mut conditions = vec![
            one("kms:KeySpec", "SYMMETRIC_DEFAULT"),
            one("kms:KeyUsage", "ENCRYPT_DECRYPT"),
            one("kms:KeyOrigin", "AWS_KMS"),
            one("kms:MultiRegion", "false"),
            ("kms:ResourceAliases".to_owned(), own.map(|alias| alias.name).collect()),
        ];
        conditions
            .extend(key.tags.iter().map(|(name, value)| one(&format!("aws:ResourceTag/{name}"), value)));
        Ok(conditions)
    }
}

/// What records show of a key.
pub(super) fn resource(key: &Key) -> Resource {
    Resource { kind: "AWS::KMS::Key", arn: key.arn(), account: Some(key.account.clone()) }
}

fn without_key(caller: &Caller, action: String, mut conditions: Vec<(String, Vec<String>)>) -> Target {
    conditions.extend(caller_conditions(caller));
    Target { action, resource_arn: "*".to_owned(), resources: Vec::new(), policy: None, conditions }
}

fn caller_conditions(caller: &Caller) -> Vec<(String, Vec<String>)> {
    vec![("kms:CallerAccount".to_owned(), vec![caller.account.to_string()])]
}

/// The key that the caller names, or the one that the ciphertext does.
fn named_or_meant(caller: &Caller, named: Option<&str>, blob: Option<&str>) -> Option<String> {
    named.map(str::to_owned).or_else(|| {
        let bytes = bytes_of(blob?).ok()?;
        let ciphertext = Ciphertext::parse(&bytes).ok()?;
        Some(key_arn(&caller.region, &ciphertext.account, &ciphertext.key_id))
    })
}

fn context_of(params: &Value, member: &str) -> EncryptionContext {
    params.get(member).and_then(|context| EncryptionContext::deserialize(context).ok()).unwrap_or_default()
}

/// The condition keys that the request's own members give.
fn conditions(operation: &str, params: &Value) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut put = |key: &str, values: Vec<String>| found.push((key.to_owned(), values));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let listed = |name: &str| -> Vec<String> {
        params.get(name).and_then(Value::as_array).into_iter().flatten().map(text).collect()
    };
    match operation {
        "CreateGrant" => {
            put("kms:GrantIsForAWSResource", vec!["false".to_owned()]);
            put("kms:GrantOperations", listed("Operations"));
            for (key, member) in
                [("kms:GranteePrincipal", "GranteePrincipal"), ("kms:RetiringPrincipal", "RetiringPrincipal")]
            {
                put(key, params.get(member).map(text).into_iter().collect());
            }
            let kinds = params.get("Constraints").and_then(Value::as_object);
            put(
                "kms:GrantConstraintType",
                kinds.into_iter().flat_map(|kinds| kinds.keys().cloned()).collect(),
            );
        }
        "CreateKey" | "PutKeyPolicy" => {
            let bypass = params.get("BypassPolicyLockoutSafetyCheck").is_some_and(|given| given == true);
            put("kms:BypassPolicyLockoutSafetyCheck", vec![bypass.to_string()]);
            if operation == "CreateKey" {
                put("kms:KeySpec", vec!["SYMMETRIC_DEFAULT".to_owned()]);
                put("kms:KeyUsage", vec!["ENCRYPT_DECRYPT".to_owned()]);
                put("kms:KeyOrigin", vec!["AWS_KMS".to_owned()]);
            }
        }
        "ScheduleKeyDeletion" => {
            let days = params.get("PendingWindowInDays").map(text);
            put("kms:ScheduleKeyDeletionPendingWindowInDays", days.into_iter().collect());
        }
        "EnableKeyRotation" => {
            put(
                "kms:RotationPeriodInDays",
                params.get("RotationPeriodInDays").map(text).into_iter().collect(),
            );
        }
        _ => {}
    }
    let tags = params.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let pairs: Vec<(String, String)> =
        tags.filter_map(|tag| Some((text(tag.get("TagKey")?), text(tag.get("TagValue")?)))).collect();
    let mut keys: Vec<String> = listed("TagKeys");
    for (name, value) in pairs {
        put(&format!("aws:RequestTag/{name}"), vec![value]);
        keys.push(name);
    }
    put("aws:TagKeys", keys);
    found
}

/// The policy with a statement that allows `action` to `principal`.
fn with_grant(policy: &str, principal: &Principal, action: &str) -> String {
    let by = match principal {
        Principal::Service { name } => json!({ "Service": name }),
        _ => json!({ "AWS": principal.role_arn().or_else(|| principal.arn()) }),
    };
    let statement =
        json!({"Sid": "Grant", "Effect": "Allow", "Principal": by, "Action": action, "Resource": "*"});
    let Ok(mut document) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
    match document.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.push(statement),
        Some(one) => *one = json!([one.take(), statement]),
        None => return policy.to_owned(),
    }
    document.to_string()
}
