//! Policy evaluation: what one policy document says of one request.
//!
//! On the road: authorisation asks it of a resource's policy; delivery asks it whether CloudTrail may write to a
//! bucket. Pure and total: a parsed document gives a decision for every request, with the statement that made it.
//!
//! Invariants: an explicit Deny wins whatever the order of statements; adding a Deny never grants; what could not be
//! understood is refused when the document is parsed, never skipped when it is evaluated.
//! Source: the IAM user guide's pages on policy grammar, condition operators, policy variables and NotPrincipal.

mod condition;
mod date;
mod document;
mod json;
mod pattern;

pub use condition::{Condition, Operator, Quantifier};
pub use document::{
    Document, Effect, PolicyError, PrincipalElement, PrincipalPattern, Selection, Statement, Version,
};

use crate::Principal;
use pattern::Pattern;

/// Who asks, as the Principal element sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A principal of an account.
    Identity {
        /// The account.
        account: String,
        /// All ARNs it answers to: `:root` for the account itself.
        arns: Vec<String>,
        /// Its unique id.
        id: String,
    },
    /// An AWS service, by its principal name: `cloudtrail.amazonaws.com`.
    Service(String),
    /// Nobody known.
    Anonymous,
}

impl From<&Principal> for Requester {
    fn from(principal: &Principal) -> Self {
        match principal {
            Principal::Root { account, .. } | Principal::IamUser { account, .. } => Self::Identity {
                account: account.to_string(),
                arns: principal.arn().into_iter().collect(),
                id: principal.principal_id().unwrap_or_default(),
            },
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
    fn values(&self, key: &str) -> Option<&[String]> {
        let (_, values) = self.context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        (!values.is_empty()).then_some(values.as_slice())
    }
}

/// What a document says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A statement allows it and none denies it.
    Allow,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement applies to it.
    Neutral,
}

/// A document's answer, and which statement gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the document says.
    pub outcome: Outcome,
    /// The first statement that says so, counted from 0; none for [`Outcome::Neutral`].
    pub statement: Option<usize>,
    /// That statement's Sid, where it has one.
    pub sid: Option<String>,
}

/// What `document`, attached to a resource, says of `request`.
///
/// A statement without Principal or NotPrincipal belongs to no resource policy and applies to nobody here.
#[must_use]
pub fn evaluate(document: &Document, request: &Request) -> Decision {
    let mut allowed_by = None;
    for (index, statement) in document.statements.iter().enumerate() {
        if !applies(document.version, statement, request) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return decision(document, Outcome::ExplicitDeny, index),
            Effect::Allow => allowed_by = allowed_by.or(Some(index)),
        }
    }
    match allowed_by {
        Some(index) => decision(document, Outcome::Allow, index),
        None => Decision { outcome: Outcome::Neutral, statement: None, sid: None },
    }
}

fn decision(document: &Document, outcome: Outcome, index: usize) -> Decision {
    Decision { outcome, statement: Some(index), sid: document.statements[index].sid.clone() }
}

fn applies(version: Version, statement: &Statement, request: &Request) -> bool {
    principal_matches(statement, &request.requester)
        && statement.actions.selects(|action| Pattern::glob(action).matches_ignoring_case(&request.action))
        && statement.resources.as_ref().is_none_or(|resources| {
            resources
                .selects(|resource| pattern::resource_matches(resource, version, request, &request.resource))
        })
        && statement.conditions.iter().all(|condition| condition.holds(version, request))
}

/// Whether the Principal or NotPrincipal element takes in the requester.
///
/// In NotPrincipal of a Deny, an account stands for its root alone: AWS's documented example exempts one user by
/// naming the user *and* the account, and still denies the account's other users. In NotPrincipal of an Allow the
/// account stands for all its principals. Both readings are the stricter one.
fn principal_matches(statement: &Statement, requester: &Requester) -> bool {
    match &statement.principals {
        None => false,
        Some(PrincipalElement::Principal(named)) => named.iter().any(|pattern| names(pattern, requester)),
        Some(PrincipalElement::NotPrincipal(named)) => match statement.effect {
            Effect::Allow => !named.iter().any(|pattern| names(pattern, requester)),
            Effect::Deny => !named.iter().any(|pattern| names_itself(pattern, requester)),
        },
    }
}

fn names(pattern: &PrincipalPattern, requester: &Requester) -> bool {
    match (pattern, requester) {
        (PrincipalPattern::Anyone, _) => true,
        (PrincipalPattern::Account(named), Requester::Identity { account, .. }) => named == account,
        (PrincipalPattern::Arn(named), Requester::Identity { arns, .. }) => arns.contains(named),
        (PrincipalPattern::UniqueId(named), Requester::Identity { id, .. }) => named == id,
        (PrincipalPattern::Service(named), Requester::Service(name)) => named == "*" || named == name,
        _ => false,
    }
}

fn names_itself(pattern: &PrincipalPattern, requester: &Requester) -> bool {
    match (pattern, requester) {
        (PrincipalPattern::Account(named), Requester::Identity { account, arns, .. }) => {
            named == account && arns.iter().any(|arn| arn.ends_with(":root"))
        }
        _ => names(pattern, requester),
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
