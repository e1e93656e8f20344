//! The keys that sign digests: per region, made on first need, rotated, never forgotten.
//!
//! On the road: the digest stage asks for the key of a digest's end time; ListPublicKeys shows the public halves.
//! Invariants: the key of a digest is valid at the digest's end time, so that the AWS CLI, which asks for the keys of
//! [start, end + 2 h], gets it; a public key stays listed for ever. Keys follow the digests' times, not the clock:
//! digests made late, after downtime, are signed with keys of their own time. A private half is kept sealed.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::digest::{RsaSigner, SignError, Signer};
use cairn_core::{Clock, Region, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, SealError, Sealer, Table, Tx};
use serde::{Deserialize, Serialize};

/// All signing keys, by region and the beginning of their validity. In version 1 private halves were clear.
const SIGNING_KEYS: Table<SigningKey> = Table::new("trail.signing_key", 2);

/// How much earlier than its first use a region's first key is valid: a key that ListPublicKeys made is then also
/// the key of the digest that ended just before.
const FIRST_KEY_MARGIN: Duration = Duration::from_secs(2 * 60 * 60);

/// How long keys live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// How long a key is shown as valid (AWS: about 30 days).
    pub validity: Duration,
    /// After how long a new key takes over (AWS: about 20 days, so that two overlap).
    pub rotate_after: Duration,
}

impl Default for KeySettings {
    fn default() -> Self {
        let day_s = 24 * 60 * 60;
        Self { validity: Duration::from_secs(30 * day_s), rotate_after: Duration::from_secs(20 * day_s) }
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The catalog failed.
    #[error("the signing keys could not be read or kept")]
    Catalog(#[from] CatalogError),
    /// No key could be made.
    #[error("no RSA key could be made")]
    Generate,
    /// A stored key is not text of the form that this program writes.
    #[error("the signing key {fingerprint} cannot be decoded")]
    Decode {
        /// The key's fingerprint.
        fingerprint: String,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
    /// A private half was sealed under another key, or altered.
    #[error("a signing key cannot be opened")]
    Sealed(#[from] SealError),
    /// A stored key is no RSA key.
    #[error("a signing key cannot be used")]
    Unusable(#[from] SignError),
}

/// A public key as ListPublicKeys shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The DER of the PKCS#1 RSAPublicKey; ListPublicKeys shows it in base64.
    pub pkcs1_der: Vec<u8>,
    /// Hexadecimal MD5 of that DER.
    pub fingerprint: String,
    /// When the key's validity begins.
    pub valid_from: Timestamp,
    /// When it ends.
    pub valid_until: Timestamp,
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SigningKey {
    valid_from: Timestamp,
    valid_until: Timestamp,
    fingerprint: String,
    public_key_base64: String,
    /// The private half: sealed text, or base64 until [`SigningKeys::seal_clear_keys`] has sealed it.
    #[serde(alias = "pkcs8_base64")]
    pkcs8: String,
}

/// The signing keys of all regions. Cheap to clone.
#[derive(Clone)]
pub struct SigningKeys {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    settings: KeySettings,
    sealer: Sealer,
}

impl SigningKeys {
    /// The keys kept in `catalog`, their private halves sealed by `sealer`.
    #[must_use]
    pub fn new(catalog: Catalog, clock: Arc<dyn Clock>, settings: KeySettings, sealer: Sealer) -> Self {
        Self { catalog, clock, settings, sealer }
    }

    /// Seals the private halves that an earlier version kept in clear; says whether there were any.
    ///
    /// # Errors
    /// Where the catalog fails or a key cannot be decoded.
    pub async fn seal_clear_keys(&self) -> Result<bool, KeyError> {
        let sealer = self.sealer.clone();
        let sealed = self.catalog.write(move |tx| {
            let mut sealed = 0;
            for (place, mut key) in SIGNING_KEYS.scan_prefix(tx, &[])? {
                if !Sealer::is_sealed_text(&key.pkcs8) {
                    key.pkcs8 = seal(&sealer, &key.fingerprint, &key.decode(&key.pkcs8)?);
                    SIGNING_KEYS.put(tx, &place, &key)?;
                    sealed += 1;
                }
            }
            Ok::<_, KeyError>(sealed)
        });
        Ok(sealed.await? > 0)
    }

    /// The public keys of `region` whose validity touches the range from `start` to `end`, each of which is now where
    /// it is not given: without both that is the current key alone. Oldest first.
    ///
    /// # Errors
    /// Where the catalog fails or no key can be made.
    pub async fn public_keys(
        &self,
        region: &Region,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> Result<Vec<PublicKey>, KeyError> {
        let now = self.clock.now();
        let current = self.key_at(region, now).await?;
        if start.is_none() && end.is_none() {
            return Ok(vec![current.public()?]);
        }
        let (start, end) = (start.unwrap_or(now), end.unwrap_or(now));
        let region = region.clone();
        let keys = self.catalog.read(move |tx| keys_of(tx, &region)).await?;
        let touching = keys.iter().filter(|key| key.valid_from <= end && start <= key.valid_until);
        touching.map(SigningKey::public).collect()
    }

    /// The key that signs digests of `region` that end at `at`; made where there is none.
    ///
    /// # Errors
    /// Where the catalog fails or no key can be made.
    pub async fn signer(&self, region: &Region, at: Timestamp) -> Result<RsaSigner, KeyError> {
        let key = self.key_at(region, at).await?;
        let pkcs8 = if Sealer::is_sealed_text(&key.pkcs8) {
            self.sealer.open_text(&seal_context(&key.fingerprint), &key.pkcs8)?
        } else {
            key.decode(&key.pkcs8)?
        };
        Ok(RsaSigner::from_pkcs8(&pkcs8)?)
    }

    /// Lets a new key of `region` take over for digests that end from now on. The old one stays listed.
    ///
    /// # Errors
    /// Where the catalog fails or no key can be made.
    pub async fn rotate_now(&self, region: &Region) -> Result<PublicKey, KeyError> {
        let key = self.generate(self.clock.now().floor(Duration::from_secs(1))).await?;
        let (public, region) = (key.public()?, region.clone());
        self.catalog.write(move |tx| put(tx, &region, &key)).await?;
        Ok(public)
    }

    async fn key_at(&self, region: &Region, at: Timestamp) -> Result<SigningKey, KeyError> {
        let (rotate_after, place) = (self.settings.rotate_after, region.clone());
        let keys = self.catalog.read(move |tx| keys_of(tx, &place)).await?;
        if let Some(key) = in_use(&keys, at, rotate_after) {
            return Ok(key.clone());
        }
        let seconds = at.floor(Duration::from_secs(1));
        // Held to half a key's life, or a key that lives shortly would be over before it was made.
        let margin = FIRST_KEY_MARGIN.min(rotate_after / 2);
        let valid_from = if keys.is_empty() { seconds.minus(margin) } else { seconds };
        let made = self.generate(valid_from).await?;
        let place = region.clone();
        let kept = self.catalog.write(move |tx| {
            // Somebody else may have been faster; then theirs is the key.
            if let Some(theirs) = in_use(&keys_of(tx, &place)?, at, rotate_after) {
                return Ok::<_, CatalogError>(theirs.clone());
            }
            put(tx, &place, &made)?;
            Ok(made.clone())
        });
        Ok(kept.await?)
    }

    /// A new key. Its randomness is the cryptographic library's own: a key must never follow from a seed.
    async fn generate(&self, valid_from: Timestamp) -> Result<SigningKey, KeyError> {
        let valid_until = valid_from.plus(self.settings.validity);
        let sealer = self.sealer.clone();
        let work = move || {
            let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
            let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| KeyError::Generate)?;
            let signer = RsaSigner::from_pkcs8(pkcs8.as_ref())?;
            Ok(SigningKey {
                valid_from,
                valid_until,
                fingerprint: signer.fingerprint().to_owned(),
                public_key_base64: STANDARD.encode(signer.public_key_der()),
                pkcs8: seal(&sealer, signer.fingerprint(), pkcs8.as_ref()),
            })
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| KeyError::Generate)?
    }
}

impl SigningKey {
    fn public(&self) -> Result<PublicKey, KeyError> {
        Ok(PublicKey {
            pkcs1_der: self.decode(&self.public_key_base64)?,
            fingerprint: self.fingerprint.clone(),
            valid_from: self.valid_from,
            valid_until: self.valid_until,
        })
    }

    fn decode(&self, text: &str) -> Result<Vec<u8>, KeyError> {
        let undecodable = |source| KeyError::Decode { fingerprint: self.fingerprint.clone(), source };
        STANDARD.decode(text).map_err(undecodable)
    }
}

fn seal(sealer: &Sealer, fingerprint: &str, pkcs8: &[u8]) -> String {
    sealer.seal_text(&seal_context(fingerprint), pkcs8)
}

fn seal_context(fingerprint: &str) -> String {
    format!("trail.signing_key {fingerprint}")
}

/// The key for `at`: the one that began last before it, unless that is old enough to be replaced.
fn in_use(keys: &[SigningKey], at: Timestamp, rotate_after: Duration) -> Option<&SigningKey> {
    let latest = keys.iter().rev().find(|key| key.valid_from <= at)?;
    (at < latest.valid_from.plus(rotate_after) && at < latest.valid_until).then_some(latest)
}

fn keys_of(tx: &mut dyn Tx, region: &Region) -> Result<Vec<SigningKey>, CatalogError> {
    let pairs = SIGNING_KEYS.scan_prefix(tx, Key::new().text(region.as_str()).bytes())?;
    Ok(pairs.into_iter().map(|(_, key)| key).collect())
}

fn put(tx: &mut dyn Tx, region: &Region, key: &SigningKey) -> Result<(), CatalogError> {
    let began_ms = key.valid_from.millis().unsigned_abs();
    let place = Key::new().text(region.as_str()).number(began_ms).text(&key.fingerprint);
    SIGNING_KEYS.put(tx, place.bytes(), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(day: i64) -> SigningKey {
        let valid_from = Timestamp::from_seconds(day * 86_400);
        SigningKey {
            valid_from,
            valid_until: valid_from.plus(KeySettings::default().validity),
            fingerprint: format!("day {day}"),
            public_key_base64: String::new(),
            pkcs8: String::new(),
        }
    }

    /// What each version of a key looks like on disk: these texts must stay readable for ever.
    #[test]
    fn keys_are_read_as_every_version_wrote_them() {
        let version_2 = r#"{"valid_from":0,"valid_until":2592000000,"fingerprint":"f","public_key_base64":"cA==","pkcs8":"sealed:AQ=="}"#;
        let key: SigningKey = serde_json::from_str(version_2).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), version_2);
        let version_1 = r#"{"valid_from":0,"valid_until":2592000000,"fingerprint":"f","public_key_base64":"cA==","pkcs8_base64":"cHJpdmF0ZQ=="}"#;
        let key: SigningKey = serde_json::from_str(version_1).unwrap();
        assert_eq!(key.decode(&key.pkcs8).unwrap(), b"private");
    }

    #[test]
    fn a_digest_is_signed_with_the_key_of_its_own_time() {
        let keys = [key(100), key(120), key(121)];
        let in_use_on = |day: i64| {
            let at = Timestamp::from_seconds(day * 86_400);
            in_use(&keys, at, KeySettings::default().rotate_after).map(|key| key.fingerprint.clone())
        };
        assert_eq!(in_use_on(99), None, "no key is that old");
        assert_eq!(in_use_on(119).as_deref(), Some("day 100"));
        assert_eq!(in_use_on(120).as_deref(), Some("day 120"));
        assert_eq!(in_use_on(140).as_deref(), Some("day 121"));
        assert_eq!(in_use_on(141), None, "the last key is due for rotation");
    }
}
