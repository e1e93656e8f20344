//! What keys are for: encrypt, decrypt, make data keys and random bytes.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kms;
use super::error::{Failure, dry_run, fail, invalid_ciphertext, unsupported, validation};
use super::find::require_enabled;
use super::material::{self, Ciphertext};
use super::state::{EncryptionContext, Key, key_arn};
use crate::Caller;

/// The most that Encrypt takes, in bytes.
const PLAINTEXT_BYTES_MAX: usize = 4096;
/// The most random bytes, and the longest data key, in bytes.
const RANDOM_BYTES_MAX: usize = 1024;
/// The only algorithm of symmetric keys.
const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Encrypt {
    key_id: String,
    plaintext: String,
    #[serde(default)]
    encryption_context: EncryptionContext,
    encryption_algorithm: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Decrypt {
    ciphertext_blob: Option<String>,
    #[serde(default)]
    encryption_context: EncryptionContext,
    key_id: Option<String>,
    encryption_algorithm: Option<String>,
    recipient: Option<Value>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReEncrypt {
    ciphertext_blob: Option<String>,
    #[serde(default)]
    source_encryption_context: EncryptionContext,
    source_key_id: Option<String>,
    destination_key_id: String,
    #[serde(default)]
    destination_encryption_context: EncryptionContext,
    source_encryption_algorithm: Option<String>,
    destination_encryption_algorithm: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GenerateDataKey {
    key_id: String,
    #[serde(default)]
    encryption_context: EncryptionContext,
    number_of_bytes: Option<usize>,
    key_spec: Option<String>,
    recipient: Option<Value>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GenerateRandom {
    number_of_bytes: Option<usize>,
    custom_key_store_id: Option<String>,
    recipient: Option<Value>,
}

impl Kms {
    pub(super) async fn encrypt(&self, caller: &Caller, input: Encrypt) -> Result<Value, Failure> {
        check_algorithm(input.encryption_algorithm.as_deref())?;
        let plaintext = bytes_of(&input.plaintext)?;
        if plaintext.is_empty() || plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(validation(format!(
                "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have \
                 length between 1 and {PLAINTEXT_BYTES_MAX}"
            )));
        }
        let key = self.key(caller, &input.key_id).await?;
        require_enabled(&key)?;
        let blob = material::encrypt(&self.sealer, &key, &input.encryption_context, &plaintext)?;
        unless_dry(input.dry_run)?;
        Ok(json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "KeyId": key.arn(),
            "EncryptionAlgorithm": ALGORITHM,
        }))
    }

    pub(super) async fn decrypt(&self, caller: &Caller, input: Decrypt) -> Result<Value, Failure> {
        check_algorithm(input.encryption_algorithm.as_deref())?;
        refuse_recipient(input.recipient.as_ref())?;
        let blob = bytes_of(input.ciphertext_blob.as_deref().unwrap_or_default())?;
        let named = input.key_id.as_deref();
        let (key, plaintext) = self.opened(caller, &blob, named, &input.encryption_context).await?;
        unless_dry(input.dry_run)?;
        Ok(json!({
            "KeyId": key.arn(),
            "Plaintext": STANDARD.encode(plaintext),
            "EncryptionAlgorithm": ALGORITHM,
            "KeyMaterialId": key.current().id,
        }))
    }

    pub(super) async fn re_encrypt(&self, caller: &Caller, input: ReEncrypt) -> Result<Value, Failure> {
        check_algorithm(input.source_encryption_algorithm.as_deref())?;
        check_algorithm(input.destination_encryption_algorithm.as_deref())?;
        let blob = bytes_of(input.ciphertext_blob.as_deref().unwrap_or_default())?;
        let named = input.source_key_id.as_deref();
        let (source, plaintext) = self.opened(caller, &blob, named, &input.source_encryption_context).await?;
        let key = self.key(caller, &input.destination_key_id).await?;
        require_enabled(&key)?;
        let blob = material::encrypt(&self.sealer, &key, &input.destination_encryption_context, &plaintext)?;
        unless_dry(input.dry_run)?;
        Ok(json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "SourceKeyId": source.arn(),
            "KeyId": key.arn(),
            "SourceEncryptionAlgorithm": ALGORITHM,
            "DestinationEncryptionAlgorithm": ALGORITHM,
        }))
    }

    /// A data key, with its plaintext or without.
    pub(super) async fn generate_data_key(
        &self,
        caller: &Caller,
        input: GenerateDataKey,
        with_plaintext: bool,
    ) -> Result<Value, Failure> {
        refuse_recipient(input.recipient.as_ref())?;
        let size_bytes = match (input.key_spec.as_deref(), input.number_of_bytes) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (None, Some(number)) => number,
            _ => {
                return Err(validation("Please specify either number of bytes or key spec."));
            }
        };
        let key = self.key(caller, &input.key_id).await?;
        require_enabled(&key)?;
        let plaintext = random_bytes(size_bytes)?;
        let blob = material::encrypt(&self.sealer, &key, &input.encryption_context, &plaintext)?;
        unless_dry(input.dry_run)?;
        let mut shown = json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "KeyId": key.arn(),
            "KeyMaterialId": key.current().id,
        });
        if with_plaintext {
            shown["Plaintext"] = STANDARD.encode(plaintext).into();
        }
        Ok(shown)
    }

    pub(super) fn generate_random(input: &GenerateRandom) -> Result<Value, Failure> {
        refuse_recipient(input.recipient.as_ref())?;
        if let Some(store) = &input.custom_key_store_id {
            return Err(fail("CustomKeyStoreNotFoundException", format!("{store} does not exist")));
        }
        let size_bytes = input.number_of_bytes.ok_or_else(|| validation("NumberOfBytes is required."))?;
        Ok(json!({ "Plaintext": STANDARD.encode(random_bytes(size_bytes)?) }))
    }

    /// The key of a ciphertext and what it holds. Where the caller names the key, it must be that one.
    pub(super) async fn opened(
        &self,
        caller: &Caller,
        blob: &[u8],
        named: Option<&str>,
        context: &EncryptionContext,
    ) -> Result<(Key, Vec<u8>), Failure> {
        let ciphertext = Ciphertext::parse(blob)?;
        let arn = key_arn(&caller.region, &ciphertext.account, &ciphertext.key_id);
        let key = match named {
            Some(given) => self.key(caller, given).await?,
            None => self.key(caller, &arn).await?,
        };
        if key.arn() != arn {
            let message =
                "The key ID in the request does not identify a CMK that can perform this operation.";
            return Err(fail("IncorrectKeyException", message));
        }
        require_enabled(&key)?;
        let plaintext = material::decrypt(&self.sealer, &key, context, &ciphertext)?;
        Ok((key, plaintext))
    }
}

fn unless_dry(is_dry: bool) -> Result<(), Failure> {
    if is_dry { Err(dry_run()) } else { Ok(()) }
}

fn check_algorithm(given: Option<&str>) -> Result<(), Failure> {
    match given {
        None | Some(ALGORITHM) => Ok(()),
        Some(other) => Err(fail(
            "InvalidKeyUsageException",
            format!("Algorithm {other} and key spec SYMMETRIC_DEFAULT are incompatible."),
        )),
    }
}

/// Enclaves are not built.
fn refuse_recipient(recipient: Option<&Value>) -> Result<(), Failure> {
    match recipient {
        None => Ok(()),
        Some(_) => Err(unsupported("Recipient is not supported")),
    }
}

/// Blobs come as base64, which the codec has checked.
pub(super) fn bytes_of(text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(|_| invalid_ciphertext())
}

fn random_bytes(size_bytes: usize) -> Result<Vec<u8>, Failure> {
    if !(1..=RANDOM_BYTES_MAX).contains(&size_bytes) {
        return Err(validation(format!(
            "1 validation error detected: Value at 'numberOfBytes' failed to satisfy constraint: Member must have \
             value between 1 and {RANDOM_BYTES_MAX}"
        )));
    }
    let mut bytes = vec![0; size_bytes];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    Ok(bytes)
}
