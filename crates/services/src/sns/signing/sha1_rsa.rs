//! RSASSA-PKCS1-v1_5 with SHA-1, which SignatureVersion 1 is made with, and topics are made with unless they say other.
//!
//! By hand: aws-lc-rs verifies such signatures but makes none, and the crate `rsa` is under an advisory for its timing
//! (RUSTSEC-2023-0071) that nothing mends. RFC 8017, sections 5.2.1 and 8.2.1. Numbers are blinded, so that the time a
//! signature takes says nothing of the key; each is verified before it leaves, so that a fault reveals nothing either.

use std::sync::Mutex;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use num_bigint::BigUint;
use sha1::{Digest, Sha1};

use super::der::{INTEGER, OCTET_STRING, Reader, SEQUENCE};

/// What stands before the hash: the DER of a DigestInfo of SHA-1.
const DIGEST_INFO: &[u8] =
    &[0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
/// How many signatures one blinding serves, squared in between.
const BLINDING_USES_MAX: u32 = 32;

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum Sha1RsaError {
    /// The key is none.
    #[error("the key is no RSA key in PKCS#8")]
    Key,
    /// There is no chance.
    #[error("there is no randomness")]
    Randomness,
    /// The signature does not verify.
    #[error("a signature came out wrong")]
    Fault,
}

/// A private key.
pub(super) struct Sha1Rsa {
    modulus: BigUint,
    public_exponent: BigUint,
    prime_1: BigUint,
    prime_2: BigUint,
    exponent_1: BigUint,
    exponent_2: BigUint,
    coefficient: BigUint,
    length_bytes: usize,
    blinding: Mutex<Option<Blinding>>,
}

/// A number's power with the public exponent, and its inverse.
struct Blinding {
    factor: BigUint,
    unfactor: BigUint,
    uses: u32,
}

impl Sha1Rsa {
    /// The key of a PKCS#8 document.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, Sha1RsaError> {
        Self::read(der).ok_or(Sha1RsaError::Key)
    }

    fn read(der: &[u8]) -> Option<Self> {
        let mut document = Reader(Reader(der).read(SEQUENCE)?);
        document.read(INTEGER)?;
        document.read(SEQUENCE)?;
        let mut key = Reader(Reader(document.read(OCTET_STRING)?).read(SEQUENCE)?);
        let mut number = || key.read(INTEGER).map(BigUint::from_bytes_be);
        number()?;
        let (modulus, public_exponent) = (number()?, number()?);
        // The private exponent is not needed: signatures are made modulo the primes.
        number()?;
        Some(Self {
            length_bytes: usize::try_from(modulus.bits().div_ceil(8)).ok()?,
            modulus,
            public_exponent,
            prime_1: number()?,
            prime_2: number()?,
            exponent_1: number()?,
            exponent_2: number()?,
            coefficient: number()?,
            blinding: Mutex::default(),
        })
    }

    /// The signature over a text.
    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Sha1RsaError> {
        let hash = Sha1::digest(text);
        let filled = self.length_bytes.saturating_sub(DIGEST_INFO.len() + hash.len() + 3);
        let encoded = [&[0, 1][..], &vec![0xff; filled], &[0], DIGEST_INFO, &hash].concat();
        let message = BigUint::from_bytes_be(&encoded);

        let (factor, unfactor) = self.blinding()?;
        let blinded = message.clone() * factor % &self.modulus;
        let signature = self.raised(&blinded) * unfactor % &self.modulus;
        if signature.modpow(&self.public_exponent, &self.modulus) != message {
            return Err(Sha1RsaError::Fault);
        }
        let bytes = signature.to_bytes_be();
        let zeros = vec![0; self.length_bytes.saturating_sub(bytes.len())];
        Ok([zeros, bytes].concat())
    }

    /// The power with the private exponent, by the Chinese remainder theorem.
    fn raised(&self, number: &BigUint) -> BigUint {
        let first = (number % &self.prime_1).modpow(&self.exponent_1, &self.prime_1);
        let second = (number % &self.prime_2).modpow(&self.exponent_2, &self.prime_2);
        let difference = (first + &self.prime_1 - &second % &self.prime_1) % &self.prime_1;
        let quotient = difference * &self.coefficient % &self.prime_1;
        second + quotient * &self.prime_2
    }

    /// A factor and what undoes it, which no other signature has.
    fn blinding(&self) -> Result<(BigUint, BigUint), Sha1RsaError> {
        let mut kept = self.blinding.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = match kept.take().filter(|blinding| blinding.uses < BLINDING_USES_MAX) {
            Some(Blinding { factor, unfactor, uses }) => Blinding {
                factor: &factor * &factor % &self.modulus,
                unfactor: &unfactor * &unfactor % &self.modulus,
                uses: uses + 1,
            },
            None => self.new_blinding()?,
        };
        let pair = (next.factor.clone(), next.unfactor.clone());
        *kept = Some(next);
        Ok(pair)
    }

    fn new_blinding(&self) -> Result<Blinding, Sha1RsaError> {
        let mut bytes = vec![0; self.length_bytes];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Sha1RsaError::Randomness)?;
        let number = BigUint::from_bytes_be(&bytes) % &self.modulus;
        // A number without inverse would be a factor of the modulus: nobody draws one.
        let unfactor = number.modinv(&self.modulus).ok_or(Sha1RsaError::Randomness)?;
        Ok(Blinding { factor: number.modpow(&self.public_exponent, &self.modulus), unfactor, uses: 1 })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn signatures_verify_and_do_not_show_their_blinding() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'static> = pair.as_der().unwrap();
        let key = Sha1Rsa::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public =
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, pair.public_key().as_ref());
        for text in (0..BLINDING_USES_MAX + 8).map(|index| format!("message {index}")) {
            let signature = key.sign(text.as_bytes()).unwrap();
            public.verify(text.as_bytes(), &signature).unwrap();
            assert_eq!(key.sign(text.as_bytes()).unwrap(), signature);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in [&b""[..], b"\x30\x00", b"\x30\x80", &[0x30; 300]] {
            assert!(matches!(Sha1Rsa::from_pkcs8(wrong), Err(Sha1RsaError::Key)));
        }
    }
}
