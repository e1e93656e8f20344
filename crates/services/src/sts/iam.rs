//! IAM, as STS asks it.

use async_trait::async_trait;
use cairn_core::{AccountId, Principal, Timestamp};
use cairn_store::CatalogError;

use super::identities::{Identities, ProviderFacts, RoleFacts};
use crate::iam::Iam;

#[async_trait]
impl Identities for Iam {
    async fn role(&self, account: &AccountId, name: &str) -> Result<Option<RoleFacts>, CatalogError> {
        let found = Iam::role(self, account, name).await?;
        Ok(found.map(|role| RoleFacts {
            id: role.id,
            name: role.name,
            path: role.path,
            trust_policy: role.trust_policy,
            session_seconds_max: role.max_session_duration_s.into(),
            tags: role.tags,
        }))
    }

    async fn is_there(&self, principal: &Principal) -> Result<bool, CatalogError> {
        Iam::is_there(self, principal).await
    }

    async fn account_of_key(&self, access_key_id: &str) -> Result<Option<AccountId>, CatalogError> {
        Ok(self.find_access_key(access_key_id).await?.map(|credential| credential.account))
    }

    async fn provider(
        &self,
        account: &AccountId,
        issuer: &str,
    ) -> Result<Option<ProviderFacts>, CatalogError> {
        let found = Iam::provider(self, account, issuer).await?;
        Ok(found.map(|provider| ProviderFacts {
            arn: provider.arn,
            client_ids: provider.client_ids,
            thumbprints: provider.thumbprints,
        }))
    }

    async fn verify_mfa(
        &self,
        principal: &Principal,
        serial: &str,
        code: &str,
        now: Timestamp,
    ) -> Result<bool, CatalogError> {
        Iam::verify_mfa(self, principal, serial, code, now).await
    }
}
