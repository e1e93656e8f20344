//! The keys of identity providers: fetched from where OpenID Connect Discovery says, kept for a while.
//!
//! Invariants: nothing is fetched but for an issuer that an account's IAM names; an issuer is asked at most once in
//! [`ASKED_AGAIN_AFTER`], whatever tokens come, so that nobody drives requests at it through this server.
//! Source: OpenID Connect Discovery 1.0.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{Clock, Timestamp};
use serde::Deserialize;

use super::jwt::{Key, Token, key_set};

/// How long a provider's keys are believed without asking again.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
/// How long a provider is not asked again, where it failed or a token names a key that it had not.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How many providers' keys are kept; with more, all are forgotten.
const PROVIDERS_MAX: usize = 1000;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{url} cannot be fetched: {reason}")]
pub struct FetchError {
    /// What was asked for.
    pub url: String,
    /// Why not.
    pub reason: String,
}

/// Fetches small documents over HTTP.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// The body of the answer to a GET of `url`. A server with a certificate of one of the SHA-1 `thumbprints` in its
    /// chain is believed as one that a public authority vouches for.
    async fn get(&self, url: &str, thumbprints: &[String]) -> Result<Bytes, FetchError>;
}

/// The keys of providers that were asked.
pub(super) struct Providers {
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    asked: Timestamp,
    keys: Option<Arc<Vec<Key>>>,
}

impl Providers {
    pub(super) fn new(fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self { fetch, clock, known: Mutex::default() }
    }

    /// Whether the token is signed by its issuer; none where the issuer's keys cannot be had.
    pub(super) async fn vouches(&self, token: &Token<'_>, thumbprints: &[String]) -> Option<bool> {
        let issuer = &token.claims.iss;
        let now = self.clock.now();
        let known = self.known.lock().expect("no panic while the keys are held").get(issuer).cloned();
        if let Some(Known { asked, keys }) = known {
            let age = now.since(asked);
            let signed = keys.as_ref().map(|keys| token.is_signed_by(keys));
            if age < ASKED_AGAIN_AFTER || (age < KEPT_FOR && signed == Some(true)) {
                return signed;
            }
        }
        let asked = self.ask(issuer, thumbprints).await;
        if let Err(error) = &asked {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                issuer,
                "an identity provider gives no keys"
            );
        }
        let keys = asked.ok().map(Arc::new);
        let mut known = self.known.lock().expect("no panic while the keys are held");
        if known.len() >= PROVIDERS_MAX {
            known.clear();
        }
        known.insert(issuer.clone(), Known { asked: now, keys: keys.clone() });
        drop(known);
        keys.map(|keys| token.is_signed_by(&keys))
    }

    async fn ask(&self, issuer: &str, thumbprints: &[String]) -> Result<Vec<Key>, FetchError> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let refused = |url: &str, reason: &str| FetchError { url: url.to_owned(), reason: reason.to_owned() };
        let document = self.fetch.get(&url, thumbprints).await?;
        let discovery: Discovery =
            serde_json::from_slice(&document).map_err(|_| refused(&url, "it is no discovery document"))?;
        if discovery.issuer != issuer {
            return Err(refused(&url, "it is of another issuer"));
        }
        let is_secure = |url: &str| url.starts_with("https://");
        if is_secure(issuer) && !is_secure(&discovery.jwks_uri) {
            return Err(refused(&discovery.jwks_uri, "the keys are not behind TLS"));
        }
        let set = self.fetch.get(&discovery.jwks_uri, thumbprints).await?;
        key_set(&set).ok_or_else(|| refused(&discovery.jwks_uri, "it is no key set"))
    }
}
