//! What STS asks of IAM: which roles, users and identity providers there are.

use async_trait::async_trait;
use cairn_core::{AccountId, Principal, Timestamp};
use cairn_store::CatalogError;

/// A role, as far as assuming it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// `AROA…`.
    pub id: String,
    /// Its name, as it was created.
    pub name: String,
    /// Its path.
    pub path: String,
    /// The text of its trust policy.
    pub trust_policy: String,
    /// The longest session it gives, in seconds.
    pub session_seconds_max: i64,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// An OpenID Connect provider of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFacts {
    /// `arn:aws:iam::111122223333:oidc-provider/idp.example.com`.
    pub arn: String,
    /// The audiences that its tokens may be for.
    pub client_ids: Vec<String>,
    /// SHA-1 fingerprints of certificates that vouch for the provider's server, in hex.
    pub thumbprints: Vec<String>,
}

/// IAM as STS sees it.
#[async_trait]
pub trait Identities: Send + Sync + 'static {
    /// The role of exactly this name.
    async fn role(&self, account: &AccountId, name: &str) -> Result<Option<RoleFacts>, CatalogError>;

    /// Whether the user or role behind a session is still there: the same one, by its unique id.
    async fn is_there(&self, principal: &Principal) -> Result<bool, CatalogError>;

    /// The account that a long-term access key belongs to.
    async fn account_of_key(&self, access_key_id: &str) -> Result<Option<AccountId>, CatalogError>;

    /// The provider of `account` for an issuer's URL without its scheme.
    async fn provider(
        &self,
        account: &AccountId,
        issuer: &str,
    ) -> Result<Option<ProviderFacts>, CatalogError>;

    /// Whether `code` is what the MFA device `serial`, one of the principal's own, shows now. A code counts once.
    async fn verify_mfa(
        &self,
        principal: &Principal,
        serial: &str,
        code: &str,
        now: Timestamp,
    ) -> Result<bool, CatalogError>;
}
