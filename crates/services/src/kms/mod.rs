//! KMS: symmetric keys that never leave, and what they encrypt.
//!
//! On the road: a service like any other; S3 and deliveries reach it through [`DataKeys`], under the same policies and
//! with the same events. Asymmetric and HMAC keys, key stores, imported material and multi-Region keys are not built.
//!
//! Invariants: key material is sealed under the root key wherever it is kept and in no log, record or Debug text; a
//! ciphertext opens under the key and encryption context that made it alone; nothing is allowed that a key's policy
//! does not allow or leave to its account.

mod aliases;
mod data_keys;
mod error;
mod find;
mod grants;
mod keys;
mod material;
mod page;
mod policies;
mod rotation;
mod state;
mod target;
mod usage;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy};
use cairn_store::{Catalog, Sealer, Tx};
use cairn_trail::Recorder;
use cairn_wire::{AwsError, Call, Reply, recorded};
use serde_json::Value;

pub use data_keys::{Asker, DATA_KEY_BYTES, DataKey, DataKeys};
pub use state::EncryptionContext;

use self::error::Failure;
use self::find::KeyName;
use self::state::{GRANTS, KEYS, Key};
use crate::{Access, Caller, EventKind, Operation, Service, Target};

/// The KMS service.
pub struct Kms {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    recorder: Recorder,
}

impl Kms {
    /// KMS on the tables of `catalog`, its material sealed by `sealer`. Calls that other services make for theirs are
    /// recorded by `recorder`.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        sealer: Sealer,
        recorder: Recorder,
    ) -> Self {
        Self { catalog, clock, entropy, sealer, recorder }
    }

    /// The key that a caller names.
    async fn key(&self, caller: &Caller, given: &str) -> Result<Key, Failure> {
        let (name, now) = (KeyName::parse(given, &caller.region, &caller.account)?, caller.now);
        self.catalog.read(move |tx| name.find(tx, now)).await
    }

    /// Changes a key that a caller names; returns it as it is then.
    async fn change(
        &self,
        caller: &Caller,
        given: &str,
        mut change: impl FnMut(&mut dyn Tx, &mut Key) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Key, Failure> {
        let (name, now) = (KeyName::parse(given, &caller.region, &caller.account)?, caller.now);
        self.catalog
            .write(move |tx| {
                let mut key = name.find(tx, now)?;
                change(tx, &mut key)?;
                KEYS.put(tx, key.row().bytes(), &key)?;
                Ok::<_, Failure>(key)
            })
            .await
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "CreateKey" => self.create_key(caller, call.input()?).await,
            "DescribeKey" => self.describe_key(caller, call.input()?).await,
            "ListKeys" => self.list_keys(caller, call.input()?).await,
            "EnableKey" => self.set_enabled(caller, call.input()?, true).await,
            "DisableKey" => self.set_enabled(caller, call.input()?, false).await,
            "ScheduleKeyDeletion" => self.schedule_deletion(caller, call.input()?).await,
            "CancelKeyDeletion" => self.cancel_deletion(caller, call.input()?).await,
            "UpdateKeyDescription" => self.update_description(caller, call.input()?).await,
            "TagResource" => self.tag_key(caller, call.input()?).await,
            "UntagResource" => self.untag_key(caller, call.input()?).await,
            "ListResourceTags" => self.list_tags(caller, call.input()?).await,
            "CreateAlias" => self.create_alias(caller, call.input()?).await,
            "UpdateAlias" => self.update_alias(caller, call.input()?).await,
            "DeleteAlias" => self.delete_alias(caller, call.input()?).await,
            "ListAliases" => self.list_aliases(caller, call.input()?).await,
            "GetKeyPolicy" => self.get_policy(caller, call.input()?).await,
            "PutKeyPolicy" => self.put_policy(caller, call.input()?).await,
            "ListKeyPolicies" => self.list_policies(caller, call.input()?).await,
            "EnableKeyRotation" => self.enable_rotation(caller, call.input()?).await,
            "DisableKeyRotation" => self.disable_rotation(caller, call.input()?).await,
            "GetKeyRotationStatus" => self.rotation_status(caller, call.input()?).await,
            "RotateKeyOnDemand" => self.rotate_on_demand(caller, call.input()?).await,
            "ListKeyRotations" => self.list_rotations(caller, call.input()?).await,
            _ => self.answer_for_grants_and_usage(caller, call).await,
        }
    }

    async fn answer_for_grants_and_usage(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        check_tokens(&call.params)?;
        match call.operation.as_str() {
            "CreateGrant" => self.create_grant(caller, call.input()?).await,
            "ListGrants" => self.list_grants(caller, call.input()?).await,
            "ListRetirableGrants" => self.list_retirable(caller, call.input()?).await,
            "RevokeGrant" => self.revoke_grant(caller, call.input()?).await,
            "RetireGrant" => self.retire_grant(caller, call.input()?).await,
            "Encrypt" => self.encrypt(caller, call.input()?).await,
            "Decrypt" => self.decrypt(caller, call.input()?).await,
            "ReEncrypt" => self.re_encrypt(caller, call.input()?).await,
            "GenerateDataKey" => self.generate_data_key(caller, call.input()?, true).await,
            "GenerateDataKeyWithoutPlaintext" => self.generate_data_key(caller, call.input()?, false).await,
            "GenerateRandom" => Self::generate_random(&call.input()?),
            other => Err(error::unsupported(format!("The operation {other} is not supported"))),
        }
    }
}

fn check_tokens(params: &Value) -> Result<(), Failure> {
    let tokens = params.get("GrantTokens").and_then(Value::as_array).into_iter().flatten();
    tokens.filter_map(Value::as_str).try_for_each(|token| grants::parse_token(token).map(|_| ()))
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

/// What encrypts and decrypts is recorded as read-only, as AWS does: it changes no key.
const OPERATIONS: &[Operation] = &[
    operation("CancelKeyDeletion", Access::Write),
    operation("CreateAlias", Access::Write),
    operation("CreateGrant", Access::Write),
    operation("CreateKey", Access::Write),
    operation("Decrypt", Access::Read),
    operation("DeleteAlias", Access::Write),
    operation("DescribeKey", Access::Read),
    operation("DisableKey", Access::Write),
    operation("DisableKeyRotation", Access::Write),
    operation("EnableKey", Access::Write),
    operation("EnableKeyRotation", Access::Write),
    operation("Encrypt", Access::Read),
    operation("GenerateDataKey", Access::Read),
    operation("GenerateDataKeyWithoutPlaintext", Access::Read),
    operation("GenerateRandom", Access::Read),
    operation("GetKeyPolicy", Access::Read),
    operation("GetKeyRotationStatus", Access::Read),
    operation("ListAliases", Access::Read),
    operation("ListGrants", Access::Read),
    operation("ListKeyPolicies", Access::Read),
    operation("ListKeyRotations", Access::Read),
    operation("ListKeys", Access::Read),
    operation("ListResourceTags", Access::Read),
    operation("ListRetirableGrants", Access::Read),
    operation("PutKeyPolicy", Access::Write),
    operation("ReEncrypt", Access::Read),
    operation("RetireGrant", Access::Write),
    operation("RevokeGrant", Access::Write),
    operation("RotateKeyOnDemand", Access::Write),
    operation("ScheduleKeyDeletion", Access::Write),
    operation("TagResource", Access::Write),
    operation("UntagResource", Access::Write),
    operation("UpdateAlias", Access::Write),
    operation("UpdateKeyDescription", Access::Write),
];

#[async_trait]
impl Service for Kms {
    fn model(&self) -> &'static str {
        "kms"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.find_target(caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(self.find_further_targets(caller, call).await?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }

    /// Without plaintext and grant tokens, and with the algorithm that was used.
    fn recorded_request(&self, call: &Call) -> Option<Value> {
        let mut shown = recorded::recorded_input(&call.service, &call.operation, &call.params);
        if let Some(members) = shown.as_object_mut() {
            members.remove("plaintext");
            members.remove("grantTokens");
            if ["Encrypt", "Decrypt"].contains(&call.operation.as_str()) {
                members.insert("encryptionAlgorithm".to_owned(), "SYMMETRIC_DEFAULT".into());
            }
        }
        Some(shown)
    }

    fn recorded_error_code(&self, error: &AwsError) -> Option<String> {
        Some(recorded_code(error))
    }
}

/// KMS's records say of a refusal what S3's do.
fn recorded_code(error: &AwsError) -> String {
    let code = error.code.as_ref();
    if code == "AccessDeniedException" { "AccessDenied".to_owned() } else { code.to_owned() }
}
