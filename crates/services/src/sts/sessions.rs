//! Who holds temporary credentials: what the front door asks for keys that begin with `ASIA`.

use std::sync::Arc;

use cairn_core::Timestamp;
use cairn_store::CatalogError;

use super::identities::Identities;
use super::tokens::{TEMPORARY_KEY_PREFIX, Tokens};
use crate::iam::Credential;

/// What is behind a temporary access key.
#[derive(Debug)]
pub enum Found {
    /// The holder of a session, if the signature verifies.
    Holder(Box<Credential>),
    /// The call came without a session token, so nothing is known.
    NoToken,
    /// The token is none of this server's for that key, or whom it was made for is gone.
    Invalid,
    /// The session is over.
    Expired,
}

/// The sessions of temporary credentials. Clones are the same.
#[derive(Clone)]
pub struct Sessions {
    tokens: Tokens,
    identities: Arc<dyn Identities>,
}

impl Sessions {
    /// Sessions of what `identities` has, in tokens of `tokens`.
    #[must_use]
    pub fn new(tokens: Tokens, identities: Arc<dyn Identities>) -> Self {
        Self { tokens, identities }
    }

    /// Whether a key's id is that of a temporary key.
    #[must_use]
    pub fn is_temporary(access_key_id: &str) -> bool {
        access_key_id.starts_with(TEMPORARY_KEY_PREFIX)
    }

    /// What is behind a temporary access key with the session token that came with it.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn find(
        &self,
        access_key_id: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Found, CatalogError> {
        let Some(token) = token else { return Ok(Found::NoToken) };
        let Some(opened) = self.tokens.open(access_key_id, token) else { return Ok(Found::Invalid) };
        if opened.session.expires <= now {
            return Ok(Found::Expired);
        }
        let Some(account) = opened.principal.account().cloned() else { return Ok(Found::Invalid) };
        if !self.identities.is_there(&opened.principal).await? {
            return Ok(Found::Invalid);
        }
        Ok(Found::Holder(Box::new(Credential {
            principal: opened.principal,
            account,
            secret: opened.secret,
            session: Some(opened.session),
            active: true,
        })))
    }
}
