//! What vouches for messages: one key with a certificate, made on first need and kept sealed.
//!
//! On the road: a publish signs each message once for all its subscribers; the stage signs confirmations; the door shows
//! the certificate to whoever asks. Receivers fetch it from the message's SigningCertURL, and verify by
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>.
//!
//! Invariants: the private half is sealed wherever it is kept; the same message always has the same signature.

mod certificate;
mod der;
mod sha1_rsa;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::digest::{RsaSigner, SignError, Signer};
use cairn_core::{Clock, Timestamp};
use cairn_store::{Catalog, CatalogError, SealError, Sealer, Table};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::links::Links;
use super::state::{Notification, NotificationKind, Signature};
use sha1_rsa::{Sha1Rsa, Sha1RsaError};

/// The one key.
const KEYS: Table<StoredKey> = Table::new("sns.signing_key", 1);
const KEY_ROW: &[u8] = b"key";
const SEAL_CONTEXT: &str = "sns.signing_key";
/// How long the certificate is valid.
const VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
/// How much earlier than it was made it is valid: receivers' clocks may be behind.
const VALIDITY_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);
/// What the certificate's file is called, between these and 32 hexadecimal digits.
const FILE_PREFIX: &str = "SimpleNotificationService-";
const FILE_SUFFIX: &str = ".pem";
/// The signature version that is made with SHA-256; all others are made with SHA-1.
const VERSION_OF_SHA256: &str = "2";

/// Why a message cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The catalog failed.
    #[error("the key could not be read or kept")]
    Catalog(#[from] CatalogError),
    /// No key could be made.
    #[error("no RSA key could be made")]
    Generate,
    /// The key was sealed under another one, or altered.
    #[error("the key cannot be opened")]
    Sealed(#[from] SealError),
    /// The stored key is no RSA key, or does not sign.
    #[error("the key cannot be used")]
    Unusable(#[from] SignError),
    /// The same, for the older signatures.
    #[error("the key cannot be used for signatures with SHA-1")]
    UnusableForSha1(#[from] Sha1RsaError),
}

/// The key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredKey {
    made: Timestamp,
    certificate_pem: String,
    /// The certificate's file name.
    file_name: String,
    /// Sealed.
    pkcs8: String,
}

/// The key, ready to sign.
struct Ready {
    certificate_pem: String,
    file_name: String,
    sha1: Sha1Rsa,
    sha256: RsaSigner,
}

/// Signs messages. Clones share the key.
#[derive(Clone)]
pub struct Signing {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    sealer: Sealer,
    ready: Arc<OnceCell<Arc<Ready>>>,
}

impl Signing {
    /// Signs with the key that `catalog` keeps, sealed by `sealer`.
    #[must_use]
    pub fn new(catalog: Catalog, clock: Arc<dyn Clock>, sealer: Sealer) -> Self {
        Self { catalog, clock, sealer, ready: Arc::default() }
    }

    /// The signature of a message, in the `version` that its topic asks for.
    pub(super) async fn sign(
        &self,
        notification: &Notification,
        version: &str,
        links: &Links,
    ) -> Result<Signature, SigningError> {
        let ready = self.ready().await?;
        let text = string_to_sign(notification, links);
        let is_sha256 = version == VERSION_OF_SHA256;
        let file_name = ready.file_name.clone();
        let work = move || -> Result<Vec<u8>, SigningError> {
            if is_sha256 {
                Ok(ready.sha256.sign(text.as_bytes())?)
            } else {
                Ok(ready.sha1.sign(text.as_bytes())?)
            }
        };
        // It takes about a millisecond.
        let made = tokio::task::spawn_blocking(work).await.map_err(|_| SigningError::Generate)??;
        let version = if is_sha256 { VERSION_OF_SHA256 } else { "1" }.to_owned();
        Ok(Signature { version, text: STANDARD.encode(made), certificate: file_name })
    }

    /// The certificate that has this file name, in PEM; none where no message names that file.
    ///
    /// # Errors
    /// Where the key cannot be had.
    pub async fn certificate(&self, file_name: &str) -> Result<Option<String>, SigningError> {
        if !file_name.starts_with(FILE_PREFIX) || !file_name.ends_with(FILE_SUFFIX) {
            return Ok(None);
        }
        let ready = self.ready().await?;
        Ok((ready.file_name == file_name).then(|| ready.certificate_pem.clone()))
    }

    async fn ready(&self) -> Result<Arc<Ready>, SigningError> {
        Ok(Arc::clone(self.ready.get_or_try_init(|| self.open()).await?))
    }

    /// Reads the key, or makes it.
    async fn open(&self) -> Result<Arc<Ready>, SigningError> {
        let kept = self.catalog.read(|tx| KEYS.get(tx, KEY_ROW)).await?;
        let key = match kept {
            Some(key) => key,
            None => {
                let made = self.generate().await?;
                // Whoever is first makes the key of all.
                let keep = move |tx: &mut dyn cairn_store::Tx| {
                    if let Some(theirs) = KEYS.get(tx, KEY_ROW)? {
                        return Ok::<_, CatalogError>(theirs);
                    }
                    KEYS.put(tx, KEY_ROW, &made)?;
                    Ok(made.clone())
                };
                self.catalog.write(keep).await?
            }
        };
        let pkcs8 = self.sealer.open_text(SEAL_CONTEXT, &key.pkcs8)?;
        Ok(Arc::new(Ready {
            sha1: Sha1Rsa::from_pkcs8(&pkcs8)?,
            sha256: RsaSigner::from_pkcs8(&pkcs8)?,
            certificate_pem: key.certificate_pem,
            file_name: key.file_name,
        }))
    }

    /// A new key. Its randomness is the cryptographic library's own: a key must never follow from a seed.
    async fn generate(&self) -> Result<StoredKey, SigningError> {
        let (made, sealer) = (self.clock.now(), self.sealer.clone());
        let work = move || {
            let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError::Generate)?;
            let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| SigningError::Generate)?;
            let signer = RsaSigner::from_pkcs8(pkcs8.as_ref())?;
            let mut serial = [0; 16];
            SystemRandom::new().fill(&mut serial).map_err(|_| SigningError::Generate)?;
            let validity = (made.minus(VALIDITY_MARGIN), made.plus(VALIDITY));
            let certificate = certificate::self_signed(&signer, &serial, validity)?;
            let print = hex::encode(&digest(&SHA256, &certificate).as_ref()[..16]);
            Ok(StoredKey {
                made,
                certificate_pem: certificate::pem(&certificate),
                file_name: format!("{FILE_PREFIX}{print}{FILE_SUFFIX}"),
                pkcs8: sealer.seal_text(SEAL_CONTEXT, pkcs8.as_ref()),
            })
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| SigningError::Generate)?
    }
}

/// What a message's signature is made over: names and values of its members, in the names' order, a line each.
pub(super) fn string_to_sign(notification: &Notification, links: &Links) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        for part in [name, "\n", value, "\n"] {
            text.push_str(part);
        }
    };
    put("Message", &notification.message);
    put("MessageId", &notification.message_id);
    let is_notification = notification.kind == NotificationKind::Notification;
    match (&notification.token, &notification.subject) {
        (Some(token), _) if !is_notification => {
            put("SubscribeURL", &links.subscribe(&notification.topic, token));
        }
        (_, Some(subject)) if is_notification => put("Subject", subject),
        _ => {}
    }
    put("Timestamp", &notification.at.iso_millis());
    if let Some(token) = notification.token.as_deref().filter(|_| !is_notification) {
        put("Token", token);
    }
    put("TopicArn", &notification.topic.to_string());
    put("Type", notification.kind.name());
    text
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters,
        UnparsedPublicKey,
    };
    use cairn_testkit::{TestClock, fixed_sealer, memory_catalog};

    use super::*;

    fn notification(kind: NotificationKind) -> Notification {
        let token = if kind == NotificationKind::Notification { "null" } else { "\"00ff\"" };
        let text = format!(
            r#"{{"kind":"{}","message_id":"m","topic":"arn:aws:sns:eu-west-1:111122223333:news","subject":"S","message":"a\nb","at":1795281866042,"attributes":[],"token":{token}}}"#,
            kind.name()
        );
        serde_json::from_str(&text).unwrap()
    }

    fn links() -> Links {
        let links = Links::default();
        links.reached_at("http://localhost:1");
        links
    }

    fn signing(catalog: &Catalog) -> Signing {
        let clock = TestClock::new(Timestamp::from_seconds(1_795_281_866));
        Signing::new(catalog.clone(), Arc::new(clock), fixed_sealer())
    }

    #[test]
    fn what_is_signed_is_what_aws_says() {
        assert_eq!(
            string_to_sign(&notification(NotificationKind::Notification), &links()),
            "Message\na\nb\nMessageId\nm\nSubject\nS\nTimestamp\n2026-11-21T17:24:26.042Z\n\
             TopicArn\narn:aws:sns:eu-west-1:111122223333:news\nType\nNotification\n"
        );
        assert_eq!(
            string_to_sign(&notification(NotificationKind::SubscriptionConfirmation), &links()),
            "Message\na\nb\nMessageId\nm\n\
             SubscribeURL\nhttp://localhost:1/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:111122223333:news&Token=00ff\n\
             Timestamp\n2026-11-21T17:24:26.042Z\nToken\n00ff\n\
             TopicArn\narn:aws:sns:eu-west-1:111122223333:news\nType\nSubscriptionConfirmation\n"
        );
    }

    #[tokio::test]
    async fn both_versions_verify_and_the_key_outlives_the_server() {
        let catalog = memory_catalog();
        let first = signing(&catalog);
        let notification = notification(NotificationKind::Notification);
        let versions: [(&str, &'static RsaParameters); 2] =
            [("1", &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY), ("2", &RSA_PKCS1_2048_8192_SHA256)];
        for (version, algorithm) in versions {
            let signature = first.sign(&notification, version, &links()).await.unwrap();
            assert_eq!(signature.version, version);
            let public = first.ready().await.unwrap().sha256.public_key_der().to_vec();
            let text = string_to_sign(&notification, &links());
            let made = STANDARD.decode(&signature.text).unwrap();
            UnparsedPublicKey::new(algorithm, &public).verify(text.as_bytes(), &made).unwrap();
            // Another server over the same catalog has the same key, and the same signature.
            assert_eq!(signing(&catalog).sign(&notification, version, &links()).await.unwrap(), signature);
        }
        let name = first.ready().await.unwrap().file_name.clone();
        assert_eq!(name.len(), FILE_PREFIX.len() + 32 + FILE_SUFFIX.len());
        let pem = first.certificate(&name).await.unwrap().unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\nMII"), "{pem}");
        assert_eq!(first.certificate("SimpleNotificationService-0.pem").await.unwrap(), None);
        let kept = catalog.read(|tx| KEYS.get(tx, KEY_ROW)).await.unwrap().unwrap();
        assert!(Sealer::is_sealed_text(&kept.pkcs8));
    }

    #[test]
    fn a_key_is_read_as_its_first_version_wrote_it() {
        let text = r#"{"made":1795281866000,"certificate_pem":"p","file_name":"f","pkcs8":"sealed:AQ=="}"#;
        let key: StoredKey = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), text);
    }
}
