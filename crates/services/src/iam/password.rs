//! Passwords of users, for the console: login profiles, and the account's policy on passwords.
//!
//! Invariants: a password is kept as a slow hash only, and is in no reply, no record and no log.
//! Source: the IAM user guide on password policies, with its default where an account sets none.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::{AccountId, Entropy, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};

use super::entity::Entity;
use super::failure::{Failure, must_first};
use super::state::account_key;

/// Passwords by account and the user's unique id.
const LOGINS: Table<Login> = Table::new("iam_login", 1);
/// Password policies by account.
pub(super) const PASSWORD_POLICIES: Table<PasswordPolicy> = Table::new("iam_password_policy", 1);

/// Rounds of PBKDF2-HMAC-SHA512, as OWASP's cheat sheet advises.
const ROUNDS: u32 = 210_000;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 64;
/// The shortest password that the default policy takes.
const DEFAULT_LENGTH_MIN: u32 = 8;
/// Of upper case, lower case, digits and symbols, how many kinds the default policy asks for.
const DEFAULT_KINDS_MIN: usize = 3;
/// The characters that a policy means by symbols.
const SYMBOLS: &str = "!@#$%^&*()_+-=[]{}|'";

/// A user's password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Login {
    hash: PasswordHash,
    pub(super) created: Timestamp,
    pub(super) changed: Timestamp,
    pub(super) reset_required: bool,
    /// The passwords before it, the newest first.
    previous: Vec<PasswordHash>,
}

/// A password's hash: not the password, but not for eyes either.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PasswordHash {
    rounds: u32,
    salt: String,
    hash: String,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// It takes a tenth of a second, and so belongs on a thread that may wait.
    pub(super) fn new(entropy: &dyn Entropy, password: &str) -> Self {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt);
        let rounds = NonZeroU32::new(ROUNDS).expect("not zero");
        let mut hash = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &salt, password.as_bytes(), &mut hash);
        Self { rounds: ROUNDS, salt: STANDARD.encode(salt), hash: STANDARD.encode(hash) }
    }

    pub(super) fn is_of(&self, password: &str) -> bool {
        let decode = |text: &str| STANDARD.decode(text).unwrap_or_default();
        let (salt, hash) = (decode(&self.salt), decode(&self.hash));
        let Some(rounds) = NonZeroU32::new(self.rounds) else { return false };
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &salt, password.as_bytes(), &hash).is_ok()
    }
}

impl Login {
    pub(super) fn new(hash: PasswordHash, now: Timestamp, reset_required: bool) -> Self {
        Self { hash, created: now, changed: now, reset_required, previous: Vec::new() }
    }

    pub(super) fn is_of(&self, password: &str) -> bool {
        self.hash.is_of(password)
    }

    /// Sets another password; the policy's longest memory is kept of the old ones.
    pub(super) fn replace(&mut self, hash: PasswordHash, now: Timestamp) {
        self.previous.insert(0, std::mem::replace(&mut self.hash, hash));
        self.previous.truncate(REUSE_PREVENTION_MAX);
        self.changed = now;
    }

    /// Whether the password is one of the last `count`.
    pub(super) fn was(&self, password: &str, count: usize) -> bool {
        std::iter::once(&self.hash).chain(&self.previous).take(count).any(|hash| hash.is_of(password))
    }
}

/// How many passwords a policy can forbid to use again.
const REUSE_PREVENTION_MAX: usize = 24;

/// An account's password policy; members as IAM's API has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PasswordPolicy {
    #[serde(default = "length_min")]
    pub(super) minimum_password_length: u32,
    #[serde(default)]
    pub(super) require_symbols: bool,
    #[serde(default)]
    pub(super) require_numbers: bool,
    #[serde(default)]
    pub(super) require_uppercase_characters: bool,
    #[serde(default)]
    pub(super) require_lowercase_characters: bool,
    #[serde(default)]
    pub(super) allow_users_to_change_password: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_password_age: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password_reuse_prevention: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hard_expiry: Option<bool>,
}

fn length_min() -> u32 {
    6
}

impl PasswordPolicy {
    /// How many earlier passwords may not be used again.
    pub(super) fn reuse_prevention(&self) -> usize {
        self.password_reuse_prevention.unwrap_or_default() as usize
    }
}

/// Refuses a password that the account's policy, or the default one, does not take.
pub(super) fn check_password(
    policy: Option<&PasswordPolicy>,
    account: &AccountId,
    password: &str,
) -> Result<(), Failure> {
    let has = |kind: &dyn Fn(char) -> bool| password.chars().any(kind);
    let upper = has(&|c| c.is_ascii_uppercase());
    let lower = has(&|c| c.is_ascii_lowercase());
    let digit = has(&|c| c.is_ascii_digit());
    let symbol = has(&|c| SYMBOLS.contains(c));
    let length = u32::try_from(password.chars().count()).unwrap_or(u32::MAX);
    let Some(policy) = policy else {
        let kinds = [upper, lower, digit, symbol].into_iter().filter(|kind| *kind).count();
        if length < DEFAULT_LENGTH_MIN || kinds < DEFAULT_KINDS_MIN || password == account.as_str() {
            return Err(violation("Password does not conform to the account password policy."));
        }
        return Ok(());
    };
    let length_text = format!("Password should have a minimum length of {}", policy.minimum_password_length);
    for (is_broken, message) in [
        (length < policy.minimum_password_length, length_text.as_str()),
        (policy.require_symbols && !symbol, "Password should have at least one symbol"),
        (policy.require_numbers && !digit, "Password should have at least one number"),
        (policy.require_uppercase_characters && !upper, "Password should have at least one uppercase letter"),
        (policy.require_lowercase_characters && !lower, "Password should have at least one lowercase letter"),
    ] {
        if is_broken {
            return Err(violation(message));
        }
    }
    Ok(())
}

pub(super) fn violation(message: &str) -> Failure {
    AwsError::invalid("PasswordPolicyViolation", message).into()
}

fn login_key(account: &AccountId, user_id: &str) -> Key {
    account_key(account).text(user_id)
}

pub(super) fn login_of(
    tx: &mut dyn Tx,
    account: &AccountId,
    user: &Entity,
) -> Result<Option<Login>, CatalogError> {
    LOGINS.get(tx, login_key(account, &user.id).bytes())
}

pub(super) fn put_login(
    tx: &mut dyn Tx,
    account: &AccountId,
    user: &Entity,
    login: &Login,
) -> Result<(), CatalogError> {
    LOGINS.put(tx, login_key(account, &user.id).bytes(), login)
}

pub(super) fn delete_login(
    tx: &mut dyn Tx,
    account: &AccountId,
    user: &Entity,
) -> Result<bool, CatalogError> {
    LOGINS.delete(tx, login_key(account, &user.id).bytes())
}

/// Refuses to delete a user who has a password.
pub(super) fn require_none(tx: &mut dyn Tx, account: &AccountId, user: &Entity) -> Result<(), Failure> {
    match login_of(tx, account, user)? {
        None => Ok(()),
        Some(_) => Err(must_first("delete login profile")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_passwords_and_policies_are_read_as_version_1_wrote_them() {
        let golden = r#"{"hash":{"rounds":210000,"salt":"c2FsdA==","hash":"aGFzaA=="},"created":1795281866042,"changed":1795281866042,"reset_required":true,"previous":[]}"#;
        let login: Login = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&login).unwrap(), golden);
        assert!(!login.is_of("anything"));
        let golden = r#"{"MinimumPasswordLength":6,"RequireSymbols":false,"RequireNumbers":true,"RequireUppercaseCharacters":false,"RequireLowercaseCharacters":false,"AllowUsersToChangePassword":true,"MaxPasswordAge":90}"#;
        let policy: PasswordPolicy = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), golden);
    }
}
