//! What users sent, at rest: sealed piece by piece with AES-256-GCM, under the server's key or under a data key of KMS.
//!
//! On the road: between a service that keeps pieces (messages, records) and its store. A sealed piece is: the version of
//! this form, the kind of key; of a data key its encrypted form and the ARN that it was made for; 16 random bytes, from
//! which and from the key the piece's own key is derived; the ciphertext. What the piece is bound to is additional data,
//! so that it does not open in another's place.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use bytes::Bytes;
use cairn_core::{Principal, Timestamp};
use cairn_wire::AwsError;

use crate::kms::{Asker, DATA_KEY_BYTES, DataKeys, EncryptionContext};

/// The version of the form that this program writes.
const VERSION: u8 = 1;
const UNDER_SERVER_KEY: u8 = 0;
const UNDER_DATA_KEY: u8 = 1;
const SALT_BYTES: usize = 16;
/// The most data keys that are kept for use again, of either direction.
const KEPT_KEYS_MAX: usize = 1000;

type Key = [u8; DATA_KEY_BYTES];

/// What pieces of one call are sealed under.
#[derive(Clone)]
pub(crate) struct SealingKey {
    /// What a sealed piece begins with: which key it is.
    prefix: Vec<u8>,
    key: Key,
}

/// Data keys that are used again, by whom they were given to. Without Debug: they are secrets.
type Kept<K, V> = Mutex<HashMap<K, (V, Timestamp)>>;

/// Seals and opens the pieces of one service.
pub(crate) struct AtRest {
    /// The name of the encryption context's one member: `aws:sqs:arn`.
    context_name: &'static str,
    server_key: Key,
    data_keys: Arc<dyn DataKeys>,
    /// By resource, KMS key and asker.
    generated: Kept<(String, String, String), SealingKey>,
    /// By encrypted data key and asker.
    opened: Kept<(Vec<u8>, String), Key>,
}

impl AtRest {
    pub(crate) fn new(context_name: &'static str, server_key: Key, data_keys: Arc<dyn DataKeys>) -> Self {
        let (generated, opened) = (Mutex::default(), Mutex::default());
        Self { context_name, server_key, data_keys, generated, opened }
    }

    /// The key for pieces of the resource `arn` that are sealed now: the server's, or a data key of `kms_key` that is
    /// used again for a while. Refusals are KMS's own.
    pub(crate) async fn sealing_key(
        &self,
        asker: &Asker,
        arn: &str,
        kms_key: Option<&str>,
        reuse: Duration,
    ) -> Result<SealingKey, AwsError> {
        let Some(kms_key) = kms_key else {
            return Ok(SealingKey { prefix: vec![VERSION, UNDER_SERVER_KEY], key: self.server_key });
        };
        let now = asker.caller.now;
        let place = (arn.to_owned(), kms_key.to_owned(), name_of(asker));
        if let Some(kept) = kept(&self.generated, &place, now) {
            return Ok(kept);
        }
        let made = self.data_keys.generate(asker, kms_key, &self.context(arn)).await?;
        let mut prefix = vec![VERSION, UNDER_DATA_KEY];
        put_part(&mut prefix, &made.blob)?;
        put_part(&mut prefix, arn.as_bytes())?;
        let sealing = SealingKey { prefix, key: made.plaintext };
        keep(&self.generated, place, sealing.clone(), now, reuse);
        Ok(sealing)
    }

    /// Opens a sealed piece. A data key that had to be asked for is used again for a while. Refusals are KMS's own.
    pub(crate) async fn open(
        &self,
        asker: &Asker,
        bound_to: &[u8],
        sealed: &[u8],
        reuse: Duration,
    ) -> Result<Vec<u8>, AwsError> {
        let (key, rest) = match sealed {
            [VERSION, UNDER_SERVER_KEY, rest @ ..] => (self.server_key, rest),
            [VERSION, UNDER_DATA_KEY, rest @ ..] => {
                let (blob, rest) = take_part(rest)?;
                let (arn, rest) = take_part(rest)?;
                let arn = std::str::from_utf8(arn).map_err(AwsError::internal)?;
                (self.opened_key(asker, blob, arn, reuse).await?, rest)
            }
            _ => return Err(damaged()),
        };
        open_under(&key, bound_to, rest)
    }

    async fn opened_key(
        &self,
        asker: &Asker,
        blob: &[u8],
        arn: &str,
        reuse: Duration,
    ) -> Result<Key, AwsError> {
        let (place, now) = ((blob.to_vec(), name_of(asker)), asker.caller.now);
        if let Some(key) = kept(&self.opened, &place, now) {
            return Ok(key);
        }
        let key = self.data_keys.decrypt(asker, blob, &self.context(arn)).await?;
        keep(&self.opened, place, key, now, reuse);
        Ok(key)
    }

    fn context(&self, arn: &str) -> EncryptionContext {
        EncryptionContext::from([(self.context_name.to_owned(), arn.to_owned())])
    }
}

impl SealingKey {
    /// Seals a piece. `plaintext` may have room for the tag.
    pub(crate) fn seal(&self, bound_to: &[u8], mut plaintext: Vec<u8>) -> Result<Bytes, AwsError> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| AwsError::internal("the system gives no random bytes"))?;
        piece_key(&self.key, &salt)
            .seal_in_place_append_tag(nonce(), Aad::from(bound_to), &mut plaintext)
            .map_err(|_| AwsError::internal("a piece is too long to be sealed"))?;
        let mut sealed = Vec::with_capacity(self.prefix.len() + SALT_BYTES + plaintext.len());
        sealed.extend_from_slice(&self.prefix);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&plaintext);
        Ok(sealed.into())
    }
}

fn open_under(key: &Key, bound_to: &[u8], rest: &[u8]) -> Result<Vec<u8>, AwsError> {
    let (salt, ciphertext) = rest.split_at_checked(SALT_BYTES).ok_or_else(damaged)?;
    let mut bytes = ciphertext.to_vec();
    let opened = piece_key(key, salt).open_in_place(nonce(), Aad::from(bound_to), &mut bytes);
    let size_bytes = opened.map_err(|_| damaged())?.len();
    bytes.truncate(size_bytes);
    Ok(bytes)
}

/// It seals one piece alone, so its nonce may be fixed.
fn piece_key(key: &Key, salt: &[u8]) -> LessSafeKey {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), salt);
    let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("SHA-256 has AES-256's length");
    LessSafeKey::new(key)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// How many bytes the tag of a sealed piece takes.
pub(crate) fn tag_bytes() -> usize {
    AES_256_GCM.tag_len()
}

/// A part with its length before it, in four bytes.
pub(crate) fn put_part(out: &mut Vec<u8>, part: &[u8]) -> Result<(), AwsError> {
    out.extend(u32::try_from(part.len()).map_err(AwsError::internal)?.to_be_bytes());
    out.extend_from_slice(part);
    Ok(())
}

/// The first part, and what comes after it.
pub(crate) fn take_part(bytes: &[u8]) -> Result<(&[u8], &[u8]), AwsError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    let length_bytes = usize::try_from(u32::from_be_bytes(*length)).map_err(AwsError::internal)?;
    rest.split_at_checked(length_bytes).ok_or_else(damaged)
}

fn damaged() -> AwsError {
    AwsError::internal("a stored piece cannot be read")
}

/// What data keys are shared by: the principal, not the session.
fn name_of(asker: &Asker) -> String {
    let principal = &asker.caller.principal;
    match principal {
        Principal::Service { name } => name.clone(),
        _ => principal.role_arn().or_else(|| principal.arn()).unwrap_or_default(),
    }
}

fn kept<K: Hash + Eq, V: Clone>(keys: &Kept<K, V>, place: &K, now: Timestamp) -> Option<V> {
    let keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    keys.get(place).filter(|(_, until)| now < *until).map(|(key, _)| key.clone())
}

fn keep<K: Hash + Eq, V>(keys: &Kept<K, V>, place: K, key: V, now: Timestamp, reuse: Duration) {
    let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    if keys.len() >= KEPT_KEYS_MAX {
        keys.retain(|_, (_, until)| now < *until);
    }
    if keys.len() >= KEPT_KEYS_MAX {
        keys.clear();
    }
    keys.insert(place, (key, now.plus(reuse)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like: these bytes must open for ever.
    #[test]
    fn pieces_open_as_version_1_sealed_them() {
        let key = [7; DATA_KEY_BYTES];
        let golden = "0100000102030405060708090a0b0c0d0e0fcc28c094d610b7468c2e3c331bfa2a84606bb1f54bc14979edf030ef0b94a96e01681e0f1c4e";
        let sealed = hex::decode(golden).unwrap();
        let plaintext = open_under(&key, b"id", &sealed[2..]).unwrap();
        let (head, body) = take_part(&plaintext).unwrap();
        assert_eq!((head, body), (&br#"{"sender":"s"}"#[..], &b"body"[..]));
        assert_eq!(&sealed[..2], [VERSION, UNDER_SERVER_KEY]);
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_under_its_key_alone() {
        let sealing = SealingKey { prefix: vec![VERSION, UNDER_SERVER_KEY], key: [7; DATA_KEY_BYTES] };
        let sealed = sealing.seal(b"id", b"body".to_vec()).unwrap();
        assert_ne!(sealed, sealing.seal(b"id", b"body".to_vec()).unwrap(), "no two look alike");
        assert_eq!(open_under(&[7; DATA_KEY_BYTES], b"id", &sealed[2..]).unwrap(), b"body");
        assert!(open_under(&[7; DATA_KEY_BYTES], b"other", &sealed[2..]).is_err());
        assert!(open_under(&[8; DATA_KEY_BYTES], b"id", &sealed[2..]).is_err());
        for at in 2..sealed.len() {
            let mut altered = sealed.to_vec();
            altered[at] ^= 1;
            assert!(open_under(&[7; DATA_KEY_BYTES], b"id", &altered[2..]).is_err(), "byte {at}");
            assert!(open_under(&[7; DATA_KEY_BYTES], b"id", &sealed[2..at]).is_err(), "cut at {at}");
        }
    }
}
