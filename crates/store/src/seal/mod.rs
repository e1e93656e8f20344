//! Secrets at rest: what is sealed here means nothing without the root key.
//!
//! On the road: below every service and stage that keeps a secret. Two keys, so that the root key can be replaced
//! without touching a single value: the sealing key, made once at random, seals values; the root key, which comes from
//! outside, seals the sealing key ([`root`]).
//!
//! Invariants: AES-256-GCM under a key of its own for every value, derived from 16 random bytes, so that no number of
//! values wears the sealing key out; the context is additional data, so that a value put in another's place does not
//! open. Randomness is the cryptographic library's own: a secret must never follow from a seed.

pub mod root;

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use root::{RootSource, SealFileError};

/// The length of the root key, of the sealing key and of every derived key, in bytes.
pub const KEY_SIZE_BYTES: usize = 32;
/// The version of sealed values that this program writes, their first byte.
const VERSION: u8 = 1;
/// Random bytes that each value's key is derived from.
const SALT_SIZE_BYTES: usize = 16;
/// What a sealed value has before the ciphertext.
const HEAD_SIZE_BYTES: usize = 1 + SALT_SIZE_BYTES;
/// The mark before sealed values that are kept as text.
const TEXT_MARK: &str = "sealed:";

/// Why a sealed value cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed by a newer program.
    #[error("the sealed {context} has version {found}, this program knows {VERSION}")]
    Version {
        /// What it was sealed for.
        context: String,
        /// The version found.
        found: u8,
    },
    /// It was altered, or sealed for something else, or under another key.
    #[error("the sealed {context} cannot be opened")]
    Broken {
        /// What it was sealed for.
        context: String,
    },
}

/// Seals and opens secrets. Cheap to clone; shows nothing of its key.
#[derive(Clone)]
pub struct Sealer(Arc<hmac::Key>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer under this sealing key.
    #[must_use]
    pub fn from_key(key: &[u8; KEY_SIZE_BYTES]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// Seals `plaintext` for `context`, which says what and whose it is: `iam.access_key AKIA…`.
    #[must_use]
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> Vec<u8> {
        let mut salt = [0_u8; SALT_SIZE_BYTES];
        rand::fill(&mut salt).expect("the system gives random bytes");
        self.seal_salted(context, plaintext, &salt)
    }

    /// What was sealed for `context`.
    ///
    /// # Errors
    /// Where it was altered, or sealed for another context or under another key.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let broken = || SealError::Broken { context: context.to_owned() };
        match sealed.first() {
            Some(&VERSION) => {}
            Some(&found) => return Err(SealError::Version { context: context.to_owned(), found }),
            None => return Err(broken()),
        }
        let (head, ciphertext) = sealed.split_at_checked(HEAD_SIZE_BYTES).ok_or_else(broken)?;
        let mut bytes = ciphertext.to_vec();
        let (key, nonce) = self.key_of(&head[1..]);
        let opened =
            key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut bytes).map_err(|_| broken())?;
        let size_bytes = opened.len();
        bytes.truncate(size_bytes);
        Ok(bytes)
    }

    /// As [`Sealer::seal`], as text for members of JSON values.
    #[must_use]
    pub fn seal_text(&self, context: &str, plaintext: &[u8]) -> String {
        format!("{TEXT_MARK}{}", STANDARD.encode(self.seal(context, plaintext)))
    }

    /// As [`Sealer::open`], of what [`Sealer::seal_text`] made.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn open_text(&self, context: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let broken = || SealError::Broken { context: context.to_owned() };
        let text = sealed.strip_prefix(TEXT_MARK).ok_or_else(broken)?;
        self.open(context, &STANDARD.decode(text).map_err(|_| broken())?)
    }

    /// Whether a text is a sealed one; the clear secrets of older data folders are not.
    #[must_use]
    pub fn is_sealed_text(text: &str) -> bool {
        text.starts_with(TEXT_MARK)
    }

    /// A key for `purpose` alone, the same at every start: for what is sealed in a form of its own.
    #[must_use]
    pub fn derived_key(&self, purpose: &str) -> [u8; KEY_SIZE_BYTES] {
        self.derive(b"purpose", purpose.as_bytes())
    }

    fn seal_salted(&self, context: &str, plaintext: &[u8], salt: &[u8; SALT_SIZE_BYTES]) -> Vec<u8> {
        let mut ciphertext = plaintext.to_vec();
        let (key, nonce) = self.key_of(salt);
        key.seal_in_place_append_tag(nonce, Aad::from(context.as_bytes()), &mut ciphertext)
            .expect("a value in memory is within AES-GCM's limit");
        let mut sealed = Vec::with_capacity(HEAD_SIZE_BYTES + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// The key of one value. It seals that value alone, so its nonce may be fixed.
    fn key_of(&self, salt: &[u8]) -> (LessSafeKey, Nonce) {
        let key = self.derive(b"value", salt);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("the key has AES-256's length");
        (LessSafeKey::new(key), Nonce::assume_unique_for_key([0; NONCE_LEN]))
    }

    fn derive(&self, kind: &[u8], of: &[u8]) -> [u8; KEY_SIZE_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(kind);
        context.update(&[0]);
        context.update(of);
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::from_key(&[7; KEY_SIZE_BYTES])
    }

    #[test]
    fn what_is_sealed_opens_for_its_context_and_key_alone() {
        let sealed = sealer().seal("iam.access_key A", b"secret");
        assert_eq!(sealer().open("iam.access_key A", &sealed).unwrap(), b"secret");
        let broken = SealError::Broken { context: "iam.access_key B".into() };
        assert_eq!(sealer().open("iam.access_key B", &sealed), Err(broken));
        assert!(Sealer::from_key(&[8; KEY_SIZE_BYTES]).open("iam.access_key A", &sealed).is_err());
        assert_ne!(sealed, sealer().seal("iam.access_key A", b"secret"), "no two look alike");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(sealer().open("iam.access_key A", &altered).is_err(), "byte {at}");
            assert!(sealer().open("iam.access_key A", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn sealed_texts_are_told_from_clear_ones() {
        let sealed = sealer().seal_text("c", b"secret");
        assert!(Sealer::is_sealed_text(&sealed) && !Sealer::is_sealed_text("wJalrXUtnFEMI/K7MDENG"));
        assert_eq!(sealer().open_text("c", &sealed).unwrap(), b"secret");
        assert!(sealer().open_text("c", "wJalrXUtnFEMI/K7MDENG").is_err());
        assert!(sealer().open_text("c", "sealed:%").is_err());
    }

    /// What version 1 looks like: these bytes must open for ever.
    #[test]
    fn values_open_as_version_1_sealed_them() {
        let golden = "01000102030405060708090a0b0c0d0e0f7aa4421d53c085cc86ae28e0173f6373270cb9fa1256";
        let salt: [u8; SALT_SIZE_BYTES] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        assert_eq!(hex::encode(sealer().seal_salted("golden", b"secret", &salt)), golden);
        assert_eq!(sealer().open("golden", &hex::decode(golden).unwrap()).unwrap(), b"secret");
        let newer = sealer().open("golden", &[2, 0, 0]).unwrap_err();
        assert_eq!(newer.to_string(), "the sealed golden has version 2, this program knows 1");
    }

    #[test]
    fn keys_for_different_purposes_differ_and_stay() {
        assert_eq!(sealer().derived_key("a"), sealer().derived_key("a"));
        assert_ne!(sealer().derived_key("a"), sealer().derived_key("b"));
        assert_eq!(format!("{:?}", sealer()), "Sealer");
    }
}
