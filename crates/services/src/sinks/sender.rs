//! By what right something is sent: as a service under the resource's policy, or as a role that the service assumed.
//!
//! On the road: a trail writes to its log group as the trail's role, a rule's target takes events under its policy or as
//! the target's role. Such sends do not go through the front door and are not recorded.
//! Invariant: a role is asked for its trust policy and its rights anew for each [`Roles::assume`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Region, Timestamp};
use cairn_wire::AwsError;

use super::{SentTo, SinkFailure, Source, is_allowed_with};
use crate::sts::TemporaryCredentials;
use crate::{Caller, ResourcePolicy, Target, authorise};

/// A role that a service acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsRole {
    /// `arn:aws:iam::111122223333:role/name`.
    pub role_arn: String,
    /// The session's name: `CLOUDWATCH_LOG_DELIVERY_SESSION`.
    pub session_name: String,
    /// Who assumes it, and for which resource: the trust policy may ask for both.
    pub source: Source,
    /// Where it acts.
    pub region: Region,
}

/// The roles of all accounts, as services assume them.
#[async_trait]
pub trait Roles: Send + Sync + 'static {
    /// A session of the role, which its trust policy must give to the service: `AccessDenied` otherwise, as where there
    /// is no such role.
    async fn assume(&self, role: &AsRole) -> Result<Caller, SinkFailure>;

    /// Credentials of such a session, for a program that acts as the role: a function.
    async fn credentials(&self, role: &AsRole, lasts: Duration) -> Result<TemporaryCredentials, SinkFailure>;
}

/// By what right something is sent.
#[derive(Clone, Debug)]
pub enum Sender {
    /// As a service on behalf of a resource: the policy of what it is sent to must allow it.
    Service(Source),
    /// As a role that the service assumed: the role's own policies count too.
    Role(Arc<Caller>),
}

impl Sender {
    /// Whether this may be sent there, with further condition keys of the service that it is sent to.
    ///
    /// # Errors
    /// `AccessDenied` or the like, in the words of the service that it is sent to.
    pub fn check(&self, to: &SentTo<'_>, now: Timestamp, further: &[(&str, &str)]) -> Result<(), AwsError> {
        match self {
            Self::Service(source) if is_allowed_with(source, to, now, further) => Ok(()),
            Self::Service(source) => Err(AwsError::with_status(
                403,
                "AccessDeniedException",
                format!(
                    "{} is not authorized to perform: {} on resource: {}",
                    source.service, to.action, to.arn
                ),
            )),
            Self::Role(caller) => authorise(
                caller,
                &Target {
                    action: to.action.to_owned(),
                    resource_arn: to.arn.to_owned(),
                    resources: Vec::new(),
                    policy: Some(ResourcePolicy {
                        owner: to.owner.clone(),
                        document: to.policy.map(str::to_owned),
                        must_allow: false,
                    }),
                    conditions: further
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
                        .collect(),
                },
            ),
        }
    }
}

/// What a call that hands a role to a service needs besides: `iam:PassRole` on it.
#[must_use]
pub fn pass_role(role_arn: &str, service: &str) -> Target {
    Target {
        action: "iam:PassRole".to_owned(),
        resource_arn: role_arn.to_owned(),
        resources: Vec::new(),
        policy: None,
        conditions: vec![("iam:PassedToService".to_owned(), vec![service.to_owned()])],
    }
}
