//! The arithmetic of signatures: hashes, the derived key, the string to sign.

use aws_lc_rs::{constant_time, digest, hmac};

use super::Secret;

/// The only algorithm that is signed and verified here.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The last part of every credential scope.
pub(super) const TERMINATOR: &str = "aws4_request";

/// `UNSIGNED-PAYLOAD` in place of a payload's hash.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The hex SHA-256 of nothing.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A key that signs for one date, region and service.
#[derive(Clone)]
pub(super) struct SigningKey(hmac::Key);

impl SigningKey {
    /// The key of `secret` for the scope's `date` (eight digits), `region` and `service`.
    pub(super) fn derive(secret: &Secret, date: &str, region: &str, service: &str) -> Self {
        let mut first = b"AWS4".to_vec();
        first.extend_from_slice(secret.expose().as_bytes());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
        first.fill(0);
        std::hint::black_box(&mut first);
        for part in [date, region, service, TERMINATOR] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        Self(key)
    }

    /// The signature of `text`, in hex.
    pub(super) fn sign(&self, text: &str) -> String {
        hex::encode(hmac::sign(&self.0, text.as_bytes()))
    }
}

/// The hex SHA-256 of `bytes`.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// The string to sign of a request.
pub(super) fn string_to_sign(time: &str, scope: &str, canonical_request: &[u8]) -> String {
    format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256_hex(canonical_request))
}

/// Whether two signatures are the same, in a time that does not depend on where they differ.
pub(super) fn signatures_match(ours: &str, theirs: &str) -> bool {
    constant_time::verify_slices_are_equal(ours.as_bytes(), theirs.as_bytes()).is_ok()
}
