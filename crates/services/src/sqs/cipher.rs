//! Messages at rest: sealed one by one with AES-256-GCM, under the server's key or under a data key of the queue's KMS
//! key.
//!
//! A sealed message is: the version of this form, the kind of key; of a data key its encrypted form and the ARN that it
//! was made for; 16 random bytes, from which and from the key the message's own key is derived; the ciphertext. The
//! message's id is additional data, so that one does not open in another's place. A message keeps its key when it moves
//! to another queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use bytes::Bytes;
use cairn_core::{Principal, Timestamp};
use cairn_wire::AwsError;

use super::error::{Failure, internal};
use super::message::Head;
use super::state::Queue;
use crate::kms::{Asker, DATA_KEY_BYTES, DataKeys, EncryptionContext};

/// The version of the form that this program writes.
const VERSION: u8 = 1;
const UNDER_SERVER_KEY: u8 = 0;
const UNDER_DATA_KEY: u8 = 1;
const SALT_BYTES: usize = 16;
/// The most data keys that are kept for use again, of either direction.
const KEPT_KEYS_MAX: usize = 1000;
/// For how long an opened data key is used again where the message's queue says nothing of it.
const REUSE_DEFAULT: Duration = Duration::from_secs(300);

type Key = [u8; DATA_KEY_BYTES];

/// What messages of one call are sealed under.
#[derive(Clone)]
pub(super) struct SealingKey {
    /// What a sealed message begins with: which key it is.
    prefix: Vec<u8>,
    key: Key,
}

/// Data keys that are used again, by whom they were given to. Without Debug: they are secrets.
type Kept<K, V> = Mutex<HashMap<K, (V, Timestamp)>>;

/// Seals and opens messages.
pub(super) struct Cipher {
    server_key: Key,
    data_keys: Arc<dyn DataKeys>,
    /// By queue, KMS key and asker.
    generated: Kept<(String, String, String), SealingKey>,
    /// By encrypted data key and asker.
    opened: Kept<(Vec<u8>, String), Key>,
}

impl Cipher {
    pub(super) fn new(server_key: Key, data_keys: Arc<dyn DataKeys>) -> Self {
        Self { server_key, data_keys, generated: Mutex::default(), opened: Mutex::default() }
    }

    /// The key for messages that are sent now.
    pub(super) async fn sealing_key(&self, queue: &Queue, asker: &Asker) -> Result<SealingKey, Failure> {
        let Some(kms) = &queue.settings.kms else {
            return Ok(SealingKey { prefix: vec![VERSION, UNDER_SERVER_KEY], key: self.server_key });
        };
        let (arn, now) = (queue.name.arn(), asker.caller.now);
        let place = (arn.clone(), kms.key.clone(), name_of(asker));
        if let Some(kept) = kept(&self.generated, &place, now) {
            return Ok(kept);
        }
        let made = self.data_keys.generate(asker, &kms.key, &context(&arn)).await.map_err(of_kms)?;
        let mut prefix = vec![VERSION, UNDER_DATA_KEY];
        put_part(&mut prefix, &made.blob)?;
        put_part(&mut prefix, arn.as_bytes())?;
        let sealing = SealingKey { prefix, key: made.plaintext };
        keep(&self.generated, place, sealing.clone(), now, Duration::from_secs(u64::from(kms.reuse_s)));
        Ok(sealing)
    }

    /// Opens a message that was received.
    pub(super) async fn open(
        &self,
        queue: &Queue,
        asker: &Asker,
        id: &str,
        sealed: &[u8],
    ) -> Result<(Head, String), Failure> {
        let (key, rest) = match sealed {
            [VERSION, UNDER_SERVER_KEY, rest @ ..] => (self.server_key, rest),
            [VERSION, UNDER_DATA_KEY, rest @ ..] => {
                let (blob, rest) = take_part(rest)?;
                let (arn, rest) = take_part(rest)?;
                let arn = std::str::from_utf8(arn).map_err(internal)?;
                (self.opened_key(queue, asker, blob, arn).await?, rest)
            }
            _ => return Err(damaged()),
        };
        let plaintext = open_under(&key, id, rest)?;
        let (head, body) = take_part(&plaintext)?;
        let head = serde_json::from_slice(head).map_err(internal)?;
        let body = String::from_utf8(body.to_vec()).map_err(internal)?;
        Ok((head, body))
    }

    async fn opened_key(&self, queue: &Queue, asker: &Asker, blob: &[u8], arn: &str) -> Result<Key, Failure> {
        let (place, now) = ((blob.to_vec(), name_of(asker)), asker.caller.now);
        if let Some(key) = kept(&self.opened, &place, now) {
            return Ok(key);
        }
        let key = self.data_keys.decrypt(asker, blob, &context(arn)).await.map_err(of_kms)?;
        let reuse =
            queue.settings.kms.as_ref().map_or(REUSE_DEFAULT, |kms| Duration::from_secs(kms.reuse_s.into()));
        keep(&self.opened, place, key, now, reuse);
        Ok(key)
    }
}

impl SealingKey {
    /// Seals a message.
    pub(super) fn seal(&self, id: &str, head: &Head, body: &str) -> Result<Bytes, Failure> {
        let head = serde_json::to_vec(head).map_err(internal)?;
        let mut plaintext = Vec::with_capacity(4 + head.len() + body.len() + AES_256_GCM.tag_len());
        put_part(&mut plaintext, &head)?;
        plaintext.extend_from_slice(body.as_bytes());
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| internal("the system gives no random bytes"))?;
        message_key(&self.key, &salt)
            .seal_in_place_append_tag(nonce(), Aad::from(id.as_bytes()), &mut plaintext)
            .map_err(|_| internal("a message is too long to be sealed"))?;
        let mut sealed = Vec::with_capacity(self.prefix.len() + SALT_BYTES + plaintext.len());
        sealed.extend_from_slice(&self.prefix);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&plaintext);
        Ok(sealed.into())
    }
}

fn open_under(key: &Key, id: &str, rest: &[u8]) -> Result<Vec<u8>, Failure> {
    let (salt, ciphertext) = rest.split_at_checked(SALT_BYTES).ok_or_else(damaged)?;
    let mut bytes = ciphertext.to_vec();
    let opened = message_key(key, salt).open_in_place(nonce(), Aad::from(id.as_bytes()), &mut bytes);
    let size_bytes = opened.map_err(|_| damaged())?.len();
    bytes.truncate(size_bytes);
    Ok(bytes)
}

/// It seals one message alone, so its nonce may be fixed.
fn message_key(key: &Key, salt: &[u8]) -> LessSafeKey {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), salt);
    let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("SHA-256 has AES-256's length");
    LessSafeKey::new(key)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// A part with its length before it, in four bytes.
fn put_part(out: &mut Vec<u8>, part: &[u8]) -> Result<(), Failure> {
    out.extend(u32::try_from(part.len()).map_err(internal)?.to_be_bytes());
    out.extend_from_slice(part);
    Ok(())
}

fn take_part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Failure> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    let length_bytes = usize::try_from(u32::from_be_bytes(*length)).map_err(internal)?;
    rest.split_at_checked(length_bytes).ok_or_else(damaged)
}

fn damaged() -> Failure {
    internal("a stored message cannot be read")
}

fn context(arn: &str) -> EncryptionContext {
    EncryptionContext::from([("aws:sqs:arn".to_owned(), arn.to_owned())])
}

/// What data keys are shared by: the principal, not the session.
fn name_of(asker: &Asker) -> String {
    let principal = &asker.caller.principal;
    match principal {
        Principal::Service { name } => name.clone(),
        _ => principal.role_arn().or_else(|| principal.arn()).unwrap_or_default(),
    }
}

fn kept<K: std::hash::Hash + Eq, V: Clone>(keys: &Kept<K, V>, place: &K, now: Timestamp) -> Option<V> {
    let keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    keys.get(place).filter(|(_, until)| now < *until).map(|(key, _)| key.clone())
}

fn keep<K: std::hash::Hash + Eq, V>(keys: &Kept<K, V>, place: K, key: V, now: Timestamp, reuse: Duration) {
    let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    if keys.len() >= KEPT_KEYS_MAX {
        keys.retain(|_, (_, until)| now < *until);
    }
    if keys.len() >= KEPT_KEYS_MAX {
        keys.clear();
    }
    keys.insert(place, (key, now.plus(reuse)));
}

/// KMS's errors as SQS tells them.
fn of_kms(error: AwsError) -> Failure {
    let code = match error.code.as_ref() {
        _ if error.status >= 500 => return error.into(),
        "AccessDeniedException" => "KmsAccessDenied",
        "DisabledException" => "KmsDisabled",
        "KMSInvalidStateException" => "KmsInvalidState",
        "InvalidKeyUsageException" => "KmsInvalidKeyUsage",
        "ThrottlingException" => "KmsThrottled",
        _ => "KmsNotFound",
    };
    AwsError::invalid(code, error.message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like: these bytes must open for ever.
    #[test]
    fn messages_open_as_version_1_sealed_them() {
        let key = [7; DATA_KEY_BYTES];
        let golden = "0100000102030405060708090a0b0c0d0e0fcc28c094d610b7468c2e3c331bfa2a84606bb1f54bc14979edf030ef0b94a96e01681e0f1c4e";
        let sealed = hex::decode(golden).unwrap();
        let plaintext = open_under(&key, "id", &sealed[2..]).unwrap();
        let (head, body) = take_part(&plaintext).unwrap();
        assert_eq!((head, body), (&br#"{"sender":"s"}"#[..], &b"body"[..]));
        assert_eq!(&sealed[..2], [VERSION, UNDER_SERVER_KEY]);
    }

    #[test]
    fn what_is_sealed_opens_for_its_id_and_key_alone() {
        let sealing = SealingKey { prefix: vec![VERSION, UNDER_SERVER_KEY], key: [7; DATA_KEY_BYTES] };
        let head = Head { sender: "s".into(), ..Head::default() };
        let sealed = sealing.seal("id", &head, "body").unwrap();
        assert_ne!(sealed, sealing.seal("id", &head, "body").unwrap(), "no two look alike");
        assert!(open_under(&[7; DATA_KEY_BYTES], "id", &sealed[2..]).is_ok());
        assert!(open_under(&[7; DATA_KEY_BYTES], "other", &sealed[2..]).is_err());
        assert!(open_under(&[8; DATA_KEY_BYTES], "id", &sealed[2..]).is_err());
        for at in 2..sealed.len() {
            let mut altered = sealed.to_vec();
            altered[at] ^= 1;
            assert!(open_under(&[7; DATA_KEY_BYTES], "id", &altered[2..]).is_err(), "byte {at}");
            assert!(open_under(&[7; DATA_KEY_BYTES], "id", &sealed[2..at]).is_err(), "cut at {at}");
        }
    }
}
