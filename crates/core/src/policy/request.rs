//! What is asked of policies: who asks for what, on what, under which conditions.

use crate::Principal;

/// Who asks, as the Principal element sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A principal of an account.
    Identity {
        /// The account.
        account: String,
        /// Its own ARN: a user's, a session's, `:root` for the account itself.
        arn: String,
        /// Its unique id, as `aws:userid` has it.
        id: String,
        /// Who stands behind a session: the role that was assumed, the user who federated.
        issuer: Option<Issuer>,
    },
    /// An AWS service, by its principal name: `cloudtrail.amazonaws.com`.
    Service(String),
    /// A user of an identity provider, who has no account: by the provider's name or ARN.
    Federated(String),
    /// Nobody known.
    Anonymous,
}

/// The role or user behind a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its ARN: `arn:aws:iam::111122223333:role/path/name`.
    pub arn: String,
    /// Its unique id: `AROA…`.
    pub id: String,
}

impl From<&Principal> for Requester {
    fn from(principal: &Principal) -> Self {
        match principal {
            Principal::Root { account, .. }
            | Principal::IamUser { account, .. }
            | Principal::AssumedRole { account, .. }
            | Principal::FederatedUser { account, .. } => Self::Identity {
                account: account.to_string(),
                arn: principal.arn().unwrap_or_default(),
                id: principal.principal_id().unwrap_or_default(),
                issuer: principal.issuer().map(|(arn, id)| Issuer { arn, id }),
            },
            Principal::WebIdentityUser { provider, .. } => Self::Federated(provider.clone()),
            Principal::Service { name } => Self::Service(name.clone()),
            Principal::Anonymous | Principal::Unknown { .. } => Self::Anonymous,
        }
    }
}

/// What is asked of a policy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub requester: Requester,
    /// The action: `s3:PutObject`.
    pub action: String,
    /// The resource's ARN, or `*` where the action has none.
    pub resource: String,
    /// Condition keys with their values. Keys are found whatever their case; an empty list is a missing key.
    pub context: Vec<(String, Vec<String>)>,
}

impl Request {
    /// The values of a condition key; none where it is missing or empty.
    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        let (_, values) = self.context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        (!values.is_empty()).then_some(values.as_slice())
    }
}
