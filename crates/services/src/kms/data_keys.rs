//! Data keys for other services: S3's objects, CloudTrail's log files.
//!
//! A service asks in the name of whoever called it, or of itself. Either way the key's policy decides, and an event of
//! kms.amazonaws.com says that the key was used, as if the caller had come through the front door.

use async_trait::async_trait;
use cairn_core::Principal;
use cairn_core::record::Category;
use cairn_core::record::build::CallEvent;
use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::Kms;
use super::error::Failure;
use super::find::{KeyName, require_enabled};
use super::material::{self, Ciphertext, random};
use super::recorded_code;
use super::state::{EncryptionContext, Key, key_arn};
use super::target::Ask;
use crate::sinks::Source;
use crate::{Caller, Target, authorise};

/// The length of a data key, in bytes.
pub const DATA_KEY_BYTES: usize = 32;
/// What records show in place of an address where a service calls for somebody.
const INTERNAL: &str = "AWS Internal";

/// In whose name a data key is asked for.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who. The region is that of the key.
    pub caller: Caller,
    /// The service that asks: `s3`.
    pub service: &'static str,
    /// Further condition keys: `aws:SourceArn`, where a service asks for itself.
    pub conditions: Vec<(String, Vec<String>)>,
}

impl Asker {
    /// In the name of a service that `by` acts for, on behalf of a resource.
    #[must_use]
    pub fn for_source(by: &'static str, caller: Caller, source: &Source) -> Self {
        let conditions =
            [("aws:SourceArn", source.arn.clone()), ("aws:SourceAccount", source.account.to_string())];
        let conditions = conditions.into_iter().map(|(key, value)| (key.to_owned(), vec![value]));
        Self { caller, service: by, conditions: conditions.collect() }
    }
}

/// A data key. Without Debug: it holds a secret.
#[derive(Clone)]
pub struct DataKey {
    /// The key itself.
    pub plaintext: [u8; DATA_KEY_BYTES],
    /// The key, encrypted.
    pub blob: Vec<u8>,
    /// The ARN of the KMS key that encrypted it.
    pub key_arn: String,
}

/// Where other services have their data keys from.
#[async_trait]
pub trait DataKeys: Send + Sync + 'static {
    /// A new data key under the KMS key named `key`.
    ///
    /// # Errors
    /// KMS's own: a key that is not there or cannot be used, or a caller who may not use it.
    async fn generate(
        &self,
        asker: &Asker,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<DataKey, AwsError>;

    /// The data key that `blob` holds.
    ///
    /// # Errors
    /// As [`DataKeys::generate`], and a context that is not the one that the data key was made with.
    async fn decrypt(
        &self,
        asker: &Asker,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<[u8; DATA_KEY_BYTES], AwsError>;

    /// The ARN of the key named `key`, where it is there and can be used.
    ///
    /// # Errors
    /// KMS's own.
    async fn usable_key(&self, asker: &Asker, key: &str) -> Result<String, AwsError>;
}

#[async_trait]
impl DataKeys for Kms {
    async fn generate(
        &self,
        asker: &Asker,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<DataKey, AwsError> {
        let name = KeyName::parse(key, &asker.caller.region, &asker.caller.account)?;
        self.ensure_managed(&name, asker.caller.now).await?;
        let target = self.asked(asker, "kms:GenerateDataKey", key, context).await?;
        let outcome = self.generate_for(asker, &target, key, context).await;
        let shown = json!({"keyId": key, "encryptionContext": context, "keySpec": "AES_256"});
        self.record(asker, "GenerateDataKey", shown, &target, outcome.as_ref().err()).await?;
        outcome
    }

    async fn decrypt(
        &self,
        asker: &Asker,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<[u8; DATA_KEY_BYTES], AwsError> {
        let ciphertext = Ciphertext::parse(blob)?;
        let arn = key_arn(&asker.caller.region, &ciphertext.account, &ciphertext.key_id);
        let target = self.asked(asker, "kms:Decrypt", &arn, context).await?;
        let outcome = self.decrypt_for(asker, &target, blob, context).await;
        let shown = json!({"encryptionContext": context, "encryptionAlgorithm": "SYMMETRIC_DEFAULT"});
        self.record(asker, "Decrypt", shown, &target, outcome.as_ref().err()).await?;
        outcome
    }

    async fn usable_key(&self, asker: &Asker, key: &str) -> Result<String, AwsError> {
        let found = self.key(&asker.caller, key).await?;
        require_enabled(&found)?;
        Ok(found.arn())
    }
}

impl Kms {
    async fn asked(
        &self,
        asker: &Asker,
        action: &str,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<Target, Failure> {
        let mut conditions = asker.conditions.clone();
        if !matches!(asker.caller.principal, Principal::Service { .. }) {
            let via = format!("{}.{}.amazonaws.com", asker.service, asker.caller.region);
            conditions.push(("kms:ViaService".to_owned(), vec![via]));
        }
        self.key_target(&asker.caller, Ask { action: action.to_owned(), key, context, conditions }).await
    }

    async fn generate_for(
        &self,
        asker: &Asker,
        target: &Target,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<DataKey, AwsError> {
        let found = self.allowed_key(asker, target, key).await?;
        let plaintext = random::<DATA_KEY_BYTES>();
        let blob = material::encrypt(&self.sealer, &found, context, &plaintext)?;
        Ok(DataKey { plaintext, blob, key_arn: found.arn() })
    }

    async fn decrypt_for(
        &self,
        asker: &Asker,
        target: &Target,
        blob: &[u8],
        context: &EncryptionContext,
    ) -> Result<[u8; DATA_KEY_BYTES], AwsError> {
        self.allowed_key(asker, target, &target.resource_arn).await?;
        let (_, plaintext) = self.opened(&asker.caller, blob, None, context).await?;
        plaintext.try_into().map_err(|_| error_of_length())
    }

    /// The key, where it is there, the asker may do what they ask, and it can be used.
    async fn allowed_key(&self, asker: &Asker, target: &Target, key: &str) -> Result<Key, AwsError> {
        if target.policy.is_none() && asker.caller.principal.account().is_none() {
            // A service has no policies of its own that could say what it may learn.
            self.key(&asker.caller, key).await?;
        }
        authorise(&asker.caller, target).map_err(|error| match &asker.caller.principal {
            Principal::Service { name } => not_allowed(name, target),
            _ => error,
        })?;
        let found = self.key(&asker.caller, key).await?;
        require_enabled(&found)?;
        Ok(found)
    }

    /// Makes the event of a call that a service made durable.
    async fn record(
        &self,
        asker: &Asker,
        event_name: &str,
        request_parameters: Value,
        target: &Target,
        error: Option<&AwsError>,
    ) -> Result<(), AwsError> {
        let caller = &asker.caller;
        let (user_identity, address) = match &caller.principal {
            Principal::Service { name } => (json!({"type": "AWSService", "invokedBy": name}), name.clone()),
            principal => {
                let access_key_id = caller.access_key_id.as_deref();
                let mut identity = principal.user_identity(access_key_id, caller.session.as_deref());
                identity["invokedBy"] = INTERNAL.into();
                (identity, INTERNAL.to_owned())
            }
        };
        let element = |resource: &crate::Resource| json!({"accountId": resource.account, "type": resource.kind, "ARN": resource.arn});
        let event = CallEvent {
            user_identity,
            time: caller.now,
            event_source: "kms.amazonaws.com".to_owned(),
            event_name: event_name.to_owned(),
            region: caller.region.clone(),
            source_ip_address: address.clone(),
            user_agent: Some(address),
            error: error.map(|error| (recorded_code(error), error.message.clone())),
            request_parameters,
            response_elements: Value::Null,
            additional_event_data: None,
            request_id: Some(self.entropy.event_id().to_string()),
            event_id: self.entropy.event_id(),
            read_only: true,
            resources: target.resources.iter().map(element).collect(),
            category: Category::Management,
            recipient: caller.account.clone(),
            shared_event_id: None,
            tls_details: None,
        };
        self.recorder.record(event, None, None).await.map(|_| ()).map_err(AwsError::internal)
    }
}

/// A service's refusal names it as AWS's messages do.
fn not_allowed(service: &str, target: &Target) -> AwsError {
    let (action, key) = (&target.action, &target.resource_arn);
    let message = format!(
        "User: {service} is not authorized to perform: {action} on resource: {key} because no resource-based policy \
         allows the {action} action"
    );
    AwsError::invalid("AccessDeniedException", message)
}

fn error_of_length() -> AwsError {
    AwsError::internal("a data key has another length")
}
