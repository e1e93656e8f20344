//! Roles as services assume them by themselves: for a trail, a rule's target, a function.
//!
//! On the road: beside AssumeRole, whose authorisation the front door does; here the trust policy is asked directly.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy, Principal, Session, Timestamp};
use cairn_store::seal::Sealer;

use super::assume_role::RoleArn;
use super::tokens::{TemporaryCredentials, Tokens};
use super::{Identities, RoleFacts};
use crate::Caller;
use crate::iam::Iam;
use crate::sinks::{AsRole, Roles, SentTo, SinkFailure, is_allowed};

/// How long a session lasts that a service acts in itself.
const OWN_SESSION: Duration = Duration::from_secs(3600);

/// The roles of IAM, for services.
pub struct ServiceRoles {
    iam: Arc<Iam>,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl ServiceRoles {
    /// The roles of `iam`; sessions are sealed by `sealer`, as those of STS.
    #[must_use]
    pub fn new(iam: Arc<Iam>, sealer: Sealer, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { iam, tokens: Tokens::new(sealer), clock, entropy }
    }

    /// The principal, where the role's trust policy lets the service become it.
    async fn principal(&self, role: &AsRole, now: Timestamp) -> Result<Principal, SinkFailure> {
        let refused = || SinkFailure {
            is_transient: false,
            code: "AccessDenied".to_owned(),
            message: format!("{} cannot assume the role {}", role.source.service, role.role_arn),
        };
        let arn = RoleArn::parse(&role.role_arn).ok_or_else(refused)?;
        let found = Identities::role(&*self.iam, &arn.account, &arn.name).await.map_err(failed)?;
        let facts: RoleFacts =
            found.filter(|facts| facts.name == arn.name && facts.path == arn.path).ok_or_else(refused)?;
        let to = SentTo {
            action: "sts:AssumeRole",
            arn: &role.role_arn,
            owner: &arn.account,
            region: &role.region,
            policy: Some(&facts.trust_policy),
        };
        if !is_allowed(&role.source, &to, now) {
            return Err(refused());
        }
        Ok(Principal::AssumedRole {
            account: arn.account,
            role_id: facts.id,
            role_name: facts.name,
            role_path: facts.path,
            session_name: role.session_name.clone(),
        })
    }
}

#[async_trait]
impl Roles for ServiceRoles {
    async fn assume(&self, role: &AsRole) -> Result<Caller, SinkFailure> {
        let now = self.clock.now();
        let principal = self.principal(role, now).await?;
        let account = principal.account().cloned().unwrap_or_else(|| role.source.account.clone());
        let session = Session::between(now, now.plus(OWN_SESSION));
        let rights = self.iam.rights_of(&principal, Some(&session)).await.map_err(failed)?;
        let place = (account, role.region.clone());
        let service = Caller::of_service(&role.source.service, place, now, self.entropy.event_id());
        Ok(Caller { principal, session: Some(Arc::new(session)), rights, ..service })
    }

    async fn credentials(&self, role: &AsRole, lasts: Duration) -> Result<TemporaryCredentials, SinkFailure> {
        let now = self.clock.now();
        let principal = self.principal(role, now).await?;
        Ok(self.tokens.issue(&*self.entropy, principal, Session::between(now, now.plus(lasts))))
    }
}

fn failed(error: cairn_store::CatalogError) -> SinkFailure {
    SinkFailure::from(cairn_wire::AwsError::internal(error))
}
