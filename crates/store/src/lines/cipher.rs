//! Encryption of lines at rest: AES-256-GCM. Each file, and each run of the server for its journal, has a key of its own,
//! derived from the store's key and 16 random bytes; what is sealed under it is numbered, and the number is the nonce.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};

use super::varint::Damaged;
use crate::seal::KEY_SIZE_BYTES;

/// Random bytes that a key is derived from.
pub(super) const SALT_BYTES: usize = 16;

/// What a key is derived from.
pub(super) type Salt = [u8; SALT_BYTES];

/// The key of a store.
#[derive(Clone)]
pub(super) struct StoreKey(hmac::Key);

/// A key derived for one file, or one run's journal.
pub(super) struct Cipher(LessSafeKey);

/// A salt that no other key has.
pub(super) fn new_salt() -> Salt {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).expect("the system gives random bytes");
    salt
}

impl StoreKey {
    pub(super) fn new(key: &[u8; KEY_SIZE_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The key for `salt`.
    pub(super) fn cipher(&self, salt: &Salt) -> Cipher {
        let derived = hmac::sign(&self.0, salt);
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("SHA-256 has AES-256's length");
        Cipher(LessSafeKey::new(key))
    }
}

impl Cipher {
    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals `bytes` from `from` on, and adds the tag. No two things may have the same number under one salt.
    pub(super) fn seal(&self, number: u64, context: &[u8], bytes: &mut Vec<u8>, from: usize) {
        let sealed =
            self.0.seal_in_place_separate_tag(Self::nonce(number), Aad::from(context), &mut bytes[from..]);
        bytes.extend_from_slice(sealed.expect("what is in memory is within AES-GCM's limit").as_ref());
    }

    /// Opens what was sealed, in place.
    pub(super) fn open<'a>(
        &self,
        number: u64,
        context: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Damaged> {
        let opened = self.0.open_in_place(Self::nonce(number), Aad::from(context), sealed);
        opened.map(|plaintext| &*plaintext).map_err(|_| Damaged)
    }
}
