//! Temporary credentials without a store: the session token holds all that is known of the session, sealed.
//!
//! Invariants: nothing of a token is believed before it opened, which only what this server sealed does; a token opens
//! for its own access key alone; the secret is nowhere but in the reply that makes it and in the sealed token.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::{AccountId, Entropy, Principal, Session};
use cairn_store::seal::Sealer;
use cairn_wire::sigv4::Secret;
use serde::{Deserialize, Serialize};

/// How the ids of temporary access keys begin.
pub(super) const TEMPORARY_KEY_PREFIX: &str = "ASIA";
/// The version of tokens that this program makes, and the newest it reads.
const TOKEN_VERSION: u32 = 1;
/// What tokens are sealed for.
const TOKEN_CONTEXT: &str = "sts.session_token";
/// The longest token that is looked at, in bytes.
const TOKEN_SIZE_BYTES_MAX: usize = 64 * 1024;
/// The characters of a key id behind its prefix: base32.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SECRET_CHARS: usize = 40;
/// How many bytes a key id holds behind its prefix.
const KEY_ID_BYTES: usize = 10;
/// Of the first six bytes of a key id, the account's bits, and how far they are from the right: as in AWS's own ids.
const ACCOUNT_MASK: u64 = 0x7fff_ffff_ff80;
const ACCOUNT_SHIFT: u32 = 7;

/// New temporary credentials.
pub struct TemporaryCredentials {
    /// `ASIA…`.
    pub access_key_id: String,
    /// The secret.
    pub secret: Secret,
    /// The session token.
    pub token: String,
}

/// What a token says.
pub struct OpenedToken {
    /// Who the session is of.
    pub principal: Principal,
    /// The session.
    pub session: Arc<Session>,
    /// What its calls are signed with.
    pub secret: Secret,
}

/// Makes and opens session tokens.
#[derive(Clone)]
pub struct Tokens {
    sealer: Sealer,
}

/// What a token holds. Without Debug: it has the secret.
#[derive(Serialize, Deserialize)]
struct Content {
    v: u32,
    access_key_id: String,
    secret: String,
    principal: Principal,
    session: Session,
}

impl Tokens {
    /// Tokens that only who has the same sealer can make and open.
    #[must_use]
    pub fn new(sealer: Sealer) -> Self {
        Self { sealer }
    }

    /// New credentials of `principal`, an account's, for `session`.
    pub fn issue(
        &self,
        entropy: &dyn Entropy,
        principal: Principal,
        session: Session,
    ) -> TemporaryCredentials {
        let account = principal.account().expect("only principals of accounts have sessions");
        let access_key_id = temporary_key_id(entropy, account);
        let secret = entropy.text(SECRET_ALPHABET, SECRET_CHARS);
        let content = Content {
            v: TOKEN_VERSION,
            access_key_id: access_key_id.clone(),
            secret: secret.clone(),
            principal,
            session,
        };
        let text = serde_json::to_vec(&content).expect("a token has text keys only");
        let token = STANDARD.encode(self.sealer.seal(TOKEN_CONTEXT, &text));
        TemporaryCredentials { access_key_id, secret: Secret::new(secret), token }
    }

    /// What the token of `access_key_id` says; none where this server made no such token for that key.
    #[must_use]
    pub fn open(&self, access_key_id: &str, token: &str) -> Option<OpenedToken> {
        if token.len() > TOKEN_SIZE_BYTES_MAX {
            return None;
        }
        let sealed = STANDARD.decode(token).ok()?;
        let text = self.sealer.open(TOKEN_CONTEXT, &sealed).ok()?;
        let content: Content = serde_json::from_slice(&text).ok()?;
        if content.v > TOKEN_VERSION || content.access_key_id != access_key_id {
            return None;
        }
        Some(OpenedToken {
            principal: content.principal,
            session: Arc::new(content.session),
            secret: Secret::new(content.secret),
        })
    }
}

/// A key id that says its account, as AWS's do.
fn temporary_key_id(entropy: &dyn Entropy, account: &AccountId) -> String {
    let mut bytes = [0_u8; KEY_ID_BYTES];
    entropy.fill(&mut bytes);
    let number: u64 = account.as_str().parse().expect("an account id is twelve digits");
    let mut head = u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
    head = (head & !ACCOUNT_MASK) | (number << ACCOUNT_SHIFT);
    bytes[..6].copy_from_slice(&head.to_be_bytes()[2..]);
    let bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let text = (0..16).rev().map(|at| char::from(BASE32[usize::from((bits >> (at * 5)) as u8 & 31)]));
    TEMPORARY_KEY_PREFIX.chars().chain(text).collect()
}

/// The account that a temporary key's id says.
#[must_use]
pub fn account_of_temporary_key(access_key_id: &str) -> Option<AccountId> {
    let text = access_key_id.strip_prefix(TEMPORARY_KEY_PREFIX)?;
    if text.len() != 16 {
        return None;
    }
    let mut bits = 0_u128;
    for byte in text.bytes() {
        let value = BASE32.iter().position(|known| *known == byte)?;
        bits = (bits << 5) | value as u128;
    }
    let head = (bits >> 32) as u64;
    format!("{:012}", (head & ACCOUNT_MASK) >> ACCOUNT_SHIFT).parse().ok()
}

#[cfg(test)]
mod tests {
    use cairn_core::Timestamp;
    use cairn_testkit::SeededEntropy;

    use super::*;

    fn tokens(key: u8) -> Tokens {
        Tokens::new(Sealer::from_key(&[key; 32]))
    }

    fn issued() -> TemporaryCredentials {
        let principal = Principal::AssumedRole {
            account: "123456789012".parse().unwrap(),
            role_id: "AROAEXAMPLE".into(),
            role_name: "reader".into(),
            role_path: "/".into(),
            session_name: "alice".into(),
        };
        let session: Session = serde_json::from_str(r#"{"created":0,"expires":3600000}"#).unwrap();
        tokens(1).issue(&SeededEntropy::new(7), principal, session)
    }

    #[test]
    fn a_token_opens_for_its_own_key_under_its_own_seal_and_unaltered() {
        let made = issued();
        let opened = tokens(1).open(&made.access_key_id, &made.token).unwrap();
        assert_eq!(opened.secret.expose(), made.secret.expose());
        assert_eq!(opened.session.expires, Timestamp::from_seconds(3600));
        assert_eq!(opened.principal.principal_id().as_deref(), Some("AROAEXAMPLE:alice"));
        assert!(tokens(2).open(&made.access_key_id, &made.token).is_none(), "another server's seal");
        assert!(tokens(1).open("ASIAOTHER", &made.token).is_none(), "another key");
        for at in (0..made.token.len()).step_by(7) {
            let mut altered = made.token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(tokens(1).open(&made.access_key_id, &altered).is_none(), "character {at}");
        }
        assert!(tokens(1).open(&made.access_key_id, "").is_none());
    }

    #[test]
    fn a_tokens_text_shows_no_secret() {
        let made = issued();
        let bytes = STANDARD.decode(&made.token).unwrap();
        let secret = made.secret.expose().as_bytes();
        assert!(!bytes.windows(8).any(|window| window == &secret[..8]));
    }

    #[test]
    fn a_key_id_says_its_account() {
        let made = issued();
        assert_eq!(made.access_key_id.len(), 20);
        assert_eq!(account_of_temporary_key(&made.access_key_id).unwrap().as_str(), "123456789012");
        // A published pair of id and account.
        assert_eq!(account_of_temporary_key("ASIAQNZGKIQY56JQ7WML").unwrap().as_str(), "029608264753");
        assert_eq!(account_of_temporary_key("ASIAEXAMPLE"), None);
        assert_eq!(account_of_temporary_key("AKIAQNZGKIQY56JQ7WML"), None);
    }
}
