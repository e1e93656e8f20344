//! Keys: made, shown, switched off and on, deleted after a waiting time; their descriptions and tags.

use std::time::Duration;

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::Tx;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, fail, invalid_key_id, unsupported, validation};
use super::find::{KeyName, is_deleted, require_customer, require_kept};
use super::material::new_material;
use super::page::{PageInput, page};
use super::state::{ALIASES, Alias, KEYS, Key, KeyState, alias_row, grants_row, place_row};
use super::{GRANTS, Kms, policies};
use crate::Caller;

/// Days that a key waits for its deletion where the call names none.
const WINDOW_DAYS_DEFAULT: u32 = 30;
/// The fewest and the most of them.
const WINDOW_DAYS: std::ops::RangeInclusive<u32> = 7..=30;
/// Tags of one key.
const TAGS_MAX: usize = 50;
/// Services whose keys AWS makes and manages, by the ends of their aliases.
pub(super) const MANAGED_SERVICES: [&str; 6] = ["s3", "cloudtrail", "sns", "sqs", "kinesis", "firehose"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateKey {
    policy: Option<String>,
    description: Option<String>,
    key_usage: Option<String>,
    key_spec: Option<String>,
    customer_master_key_spec: Option<String>,
    origin: Option<String>,
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    multi_region: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    tag_key: String,
    tag_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OneKey {
    pub(super) key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Schedule {
    key_id: String,
    pending_window_in_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    key_id: String,
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagKey {
    key_id: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagKey {
    key_id: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTags {
    key_id: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Kms {
    pub(super) async fn create_key(&self, caller: &Caller, input: CreateKey) -> Result<Value, Failure> {
        check_kind(&input)?;
        let policy = input.policy.unwrap_or_else(|| policies::default_policy(&caller.account));
        let mut key = self.new_key(&caller.region, &caller.account, caller.now, policy);
        policies::check(&key, caller, &key.policy, input.bypass_policy_lockout_safety_check)?;
        key.description = input.description.unwrap_or_default();
        add_tags(&mut key.tags, input.tags)?;
        let shown = metadata(&key);
        self.catalog.write(move |tx| KEYS.put(tx, key.row().bytes(), &key)).await?;
        Ok(json!({ "KeyMetadata": shown }))
    }

    fn new_key(&self, region: &Region, account: &AccountId, now: Timestamp, policy: String) -> Key {
        let id = self.entropy.event_id().to_string();
        Key {
            materials: vec![new_material(&self.sealer, &id, now, None)],
            id,
            account: account.clone(),
            region: region.clone(),
            created: now,
            description: String::new(),
            state: KeyState::Enabled,
            aws_managed: false,
            policy,
            tags: Vec::new(),
            rotation: None,
        }
    }

    /// Makes the key behind `alias/aws/…`, where the name is one of these and there is none yet.
    pub(super) async fn ensure_managed(&self, name: &KeyName, now: Timestamp) -> Result<(), Failure> {
        let service = name.alias().and_then(|alias| alias.strip_prefix("alias/aws/"));
        let Some(service) = service.filter(|service| MANAGED_SERVICES.contains(service)) else {
            return Ok(());
        };
        let policy = policies::managed_policy(service, &name.region, &name.account);
        let mut key = self.new_key(&name.region, &name.account, now, policy);
        key.aws_managed = true;
        key.description = format!("Default key that protects my {service} data when no other key is defined");
        let (name, alias) = (name.clone(), name.name.clone());
        self.catalog
            .write(move |tx| {
                if name.look(tx, now)?.is_none() {
                    let alias =
                        Alias { name: alias.clone(), key_id: key.id.clone(), created: now, updated: now };
                    KEYS.put(tx, key.row().bytes(), &key)?;
                    ALIASES.put(tx, alias_row(&key.region, &key.account, &alias.name).bytes(), &alias)?;
                }
                Ok::<_, Failure>(())
            })
            .await
    }

    pub(super) async fn describe_key(&self, caller: &Caller, input: OneKey) -> Result<Value, Failure> {
        let name = KeyName::parse(&input.key_id, &caller.region, &caller.account)?;
        if self.key(caller, &input.key_id).await.is_err() {
            self.ensure_managed(&name, caller.now).await?;
        }
        let key = self.key(caller, &input.key_id).await?;
        Ok(json!({ "KeyMetadata": metadata(&key) }))
    }

    pub(super) async fn list_keys(&self, caller: &Caller, input: PageInput) -> Result<Value, Failure> {
        let (prefix, now) = (place_row(&caller.region, &caller.account), caller.now);
        let keys = self.catalog.read(move |tx| KEYS.scan_prefix(tx, prefix.bytes())).await?;
        let shown = keys
            .into_iter()
            .filter(|(_, key)| !is_deleted(key, now))
            .map(|(_, key)| (key.id.clone(), json!({"KeyId": key.id, "KeyArn": key.arn()})));
        page("Keys", shown.collect(), &input)
    }

    pub(super) async fn set_enabled(
        &self,
        caller: &Caller,
        input: OneKey,
        on: bool,
    ) -> Result<Value, Failure> {
        self.change(caller, &input.key_id, move |_, key| {
            require_customer(key)?;
            require_kept(key)?;
            key.state = if on { KeyState::Enabled } else { KeyState::Disabled };
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn schedule_deletion(&self, caller: &Caller, input: Schedule) -> Result<Value, Failure> {
        let window_days = input.pending_window_in_days.unwrap_or(WINDOW_DAYS_DEFAULT);
        if !WINDOW_DAYS.contains(&window_days) {
            return Err(validation("PendingWindowInDays must be between 7 and 30."));
        }
        let at = caller.now.plus(DAY * window_days);
        let key = self
            .change(caller, by_id(&input.key_id)?, move |_, key| {
                require_customer(key)?;
                require_kept(key)?;
                key.state = KeyState::PendingDeletion { at, window_days };
                Ok(())
            })
            .await?;
        Ok(json!({
            "KeyId": key.arn(),
            "DeletionDate": at.seconds(),
            "KeyState": key.state.name(),
            "PendingWindowInDays": window_days,
        }))
    }

    pub(super) async fn cancel_deletion(&self, caller: &Caller, input: OneKey) -> Result<Value, Failure> {
        let key = self
            .change(caller, by_id(&input.key_id)?, |_, key| {
                if !matches!(key.state, KeyState::PendingDeletion { .. }) {
                    let message = format!("{} is not pending deletion.", key.arn());
                    return Err(fail("KMSInvalidStateException", message));
                }
                key.state = KeyState::Disabled;
                Ok(())
            })
            .await?;
        Ok(json!({ "KeyId": key.arn() }))
    }

    pub(super) async fn update_description(
        &self,
        caller: &Caller,
        input: Describe,
    ) -> Result<Value, Failure> {
        self.change(caller, by_id(&input.key_id)?, move |_, key| {
            require_customer(key)?;
            require_kept(key)?;
            key.description.clone_from(&input.description);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn tag_key(&self, caller: &Caller, input: TagKey) -> Result<Value, Failure> {
        let mut tags = Some(input.tags);
        self.change(caller, by_id(&input.key_id)?, move |_, key| {
            require_customer(key)?;
            require_kept(key)?;
            add_tags(&mut key.tags, tags.take().unwrap_or_default())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn untag_key(&self, caller: &Caller, input: UntagKey) -> Result<Value, Failure> {
        self.change(caller, by_id(&input.key_id)?, move |_, key| {
            require_customer(key)?;
            require_kept(key)?;
            key.tags.retain(|(name, _)| !input.tag_keys.contains(name));
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_tags(&self, caller: &Caller, input: ListTags) -> Result<Value, Failure> {
        let key = self.key(caller, by_id(&input.key_id)?).await?;
        let shown =
            key.tags.iter().map(|(name, value)| (name.clone(), json!({"TagKey": name, "TagValue": value})));
        page("Tags", shown.collect(), &input.page)
    }
}

/// Removes a key with its aliases and grants.
pub(super) fn remove(tx: &mut dyn Tx, key: &Key) -> Result<(), Failure> {
    KEYS.delete(tx, key.row().bytes())?;
    for (row, alias) in ALIASES.scan_prefix(tx, place_row(&key.region, &key.account).bytes())? {
        if alias.key_id == key.id {
            ALIASES.delete(tx, &row)?;
        }
    }
    for (row, _) in GRANTS.scan_prefix(tx, grants_row(key).bytes())? {
        GRANTS.delete(tx, &row)?;
    }
    Ok(())
}

/// Operations that change a key do not take its aliases.
pub(super) fn by_id(given: &str) -> Result<&str, Failure> {
    let is_alias = given.starts_with("alias/") || given.contains(":alias/");
    if is_alias { Err(invalid_key_id(given)) } else { Ok(given) }
}

fn check_kind(input: &CreateKey) -> Result<(), Failure> {
    let spec = input.key_spec.as_deref().or(input.customer_master_key_spec.as_deref());
    match spec {
        None | Some("SYMMETRIC_DEFAULT") => {}
        Some(other) => return Err(unsupported(format!("KeySpec {other} is not supported"))),
    }
    match input.key_usage.as_deref() {
        None | Some("ENCRYPT_DECRYPT") => {}
        Some(other) => {
            return Err(validation(format!(
                "KeyUsage {other} is not compatible with KeySpec SYMMETRIC_DEFAULT"
            )));
        }
    }
    match input.origin.as_deref() {
        None | Some("AWS_KMS") => {}
        Some(other) => return Err(unsupported(format!("Origin {other} is not supported"))),
    }
    if input.multi_region {
        return Err(unsupported("Multi-Region keys are not supported"));
    }
    Ok(())
}

fn add_tags(tags: &mut Vec<(String, String)>, added: Vec<Tag>) -> Result<(), Failure> {
    for Tag { tag_key, tag_value } in added {
        if tag_key.starts_with("aws:") {
            return Err(fail("TagException", "Tags beginning with aws: are reserved for system use"));
        }
        match tags.iter_mut().find(|(name, _)| *name == tag_key) {
            Some((_, value)) => *value = tag_value,
            None => tags.push((tag_key, tag_value)),
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(fail("TagException", "Too many tags"));
    }
    Ok(())
}

/// What DescribeKey shows.
pub(super) fn metadata(key: &Key) -> Value {
    let mut shown = json!({
        "AWSAccountId": key.account,
        "KeyId": key.id,
        "Arn": key.arn(),
        "CreationDate": key.created.seconds(),
        "Enabled": key.state == KeyState::Enabled,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state.name(),
        "Origin": "AWS_KMS",
        "KeyManager": if key.aws_managed { "AWS" } else { "CUSTOMER" },
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": false,
        "CurrentKeyMaterialId": key.current().id,
    });
    if let KeyState::PendingDeletion { at, .. } = key.state {
        shown["DeletionDate"] = at.seconds().into();
    }
    shown
}
