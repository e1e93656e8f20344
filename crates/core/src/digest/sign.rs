//! Signatures of digests: RSASSA-PKCS1-v1_5 with SHA-256, which is deterministic, so that signing again gives the same
//! bytes; and fingerprints: hexadecimal MD5 of the public key's PKCS#1 DER, as ListPublicKeys shows them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use md5::{Digest as _, Md5};

/// The name of the algorithm in `digestSignatureAlgorithm` and in the object's metadata.
pub const SIGNATURE_ALGORITHM: &str = "SHA256withRSA";

/// Why nothing could be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The stored key is not a usable RSA key.
    #[error("the signing key is not a PKCS#8 RSA key")]
    Key(#[source] aws_lc_rs::error::KeyRejected),
    /// The cryptographic library refused.
    #[error("the signing key could not sign")]
    Sign(#[source] aws_lc_rs::error::Unspecified),
}

/// Something that signs digests.
pub trait Signer {
    /// The fingerprint of its public key.
    fn fingerprint(&self) -> &str;

    /// The signature over `message`.
    ///
    /// # Errors
    /// Where the key cannot sign.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// An RSA key in memory.
#[derive(Debug)]
pub struct RsaSigner {
    pair: KeyPair,
    fingerprint: String,
}

impl RsaSigner {
    /// The key of a PKCS#8 document.
    ///
    /// # Errors
    /// Where the document is not a PKCS#8 RSA key of at least 2,048 bits.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignError> {
        let pair = KeyPair::from_pkcs8(der).map_err(SignError::Key)?;
        let fingerprint = fingerprint(pair.public_key().as_ref());
        Ok(Self { pair, fingerprint })
    }

    /// The public key as PKCS#1 RSAPublicKey DER, the form that the AWS CLI reads.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

impl Signer for RsaSigner {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // PKCS#1 v1.5 takes no randomness; the library only asks for the argument.
        let unused = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &unused, message, &mut signature).map_err(SignError::Sign)?;
        Ok(signature)
    }
}

/// The fingerprint of a public key given as PKCS#1 RSAPublicKey DER.
#[must_use]
pub fn fingerprint(public_key_der: &[u8]) -> String {
    hex::encode(Md5::digest(public_key_der))
}

/// Whether `signature` over `message` was made by the key of `public_key_der` (PKCS#1 RSAPublicKey).
#[must_use]
pub fn signature_is_valid(public_key_der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key_der).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn fingerprints_are_those_that_the_user_guide_prints() {
        // The first key of the sample response on the custom validation page.
        let value = "MIIBCgKCAQEAn11L2YZ9h7onug2ILi1MWyHiMRsTQjfWE+pHVRLk1QjfWhirG+lpOa8NrwQ/r7Ah5bNL6HepznOU9XTDSfmmnP97mqyc7z/upfZdS/AHhYcGaz7n6Wc/RRBU6VmiPCrAUojuSk6/GjvA8iOPFsYDuBtviXarvuLPlrT9kAd4Lb+rFfR5peEgBEkhlzc5HuWO7S0y+KunqxX6jQBnXGMtxmPBPP0FylgWGNdFtks/4YSKcgqwH0YDcawP9GGGDAeCIqPWIXDLG1jOjRRzWfCmD0iJUkz8vTsn4hq/5ZxRFE7UBAUiVcGbdnDdvVfhF9C3dQiDq3k7adQIziLT0cShgQIDAQAB";
        assert_eq!(fingerprint(&STANDARD.decode(value).unwrap()), "8eba5db5bea9b640d1c96a77256fe7f2");
    }

    #[test]
    fn a_signature_is_deterministic_and_only_its_key_and_message_verify_it() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'static> = pair.as_der().unwrap();
        let signer = RsaSigner::from_pkcs8(der.as_ref()).unwrap();
        let signature = signer.sign(b"message").unwrap();
        assert_eq!(signature, signer.sign(b"message").unwrap());
        assert_eq!(signer.public_key_der()[..4], [0x30, 0x82, 0x01, 0x0a], "PKCS#1, not SPKI");
        assert!(signature_is_valid(signer.public_key_der(), b"message", &signature));
        assert!(!signature_is_valid(signer.public_key_der(), b"massage", &signature));
        assert!(!signature_is_valid(b"a\n", b"message", &signature));
        assert!(RsaSigner::from_pkcs8(b"a\n").is_err());
    }
}
