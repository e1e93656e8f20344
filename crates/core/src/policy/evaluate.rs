//! What one document says of one request.

use super::document::{Document, Effect, PrincipalElement, PrincipalPattern, Statement};
use super::request::{Request, Requester};

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
    reach(document, request).map_or_else(|decision| decision, |(decision, _)| decision)
}

/// What `document`, attached to the requester or to something that the requester is in, says of `request`.
///
/// A statement with Principal or NotPrincipal belongs to no such policy and applies to nobody here.
#[must_use]
pub fn evaluate_attached(document: &Document, request: &Request) -> Decision {
    let mut allowed_by = None;
    for (index, statement) in document.statements.iter().enumerate() {
        if statement.principals.is_some() || !applies(statement, request) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return decision(document, Outcome::ExplicitDeny, index),
            Effect::Allow => allowed_by = allowed_by.or(Some(index)),
        }
    }
    match allowed_by {
        Some(index) => decision(document, Outcome::Allow, index),
        None => NEUTRAL,
    }
}

/// Whom an Allow of a resource's policy names, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The requester's account, which passes the right on by its own policies.
    Account,
    /// The role or user behind the requester's session, whose boundary and session policies still bind.
    Issuer,
    /// The requester itself, or everybody.
    Requester,
}

/// What `document`, attached to a resource, says of `request`: for an Allow with the first statement that reaches
/// furthest.
pub(super) fn reach(document: &Document, request: &Request) -> Result<(Decision, Reach), Decision> {
    let mut allowed_by: Option<(usize, Reach)> = None;
    for (index, statement) in document.statements.iter().enumerate() {
        let Some(reach) = principal_reach(statement, &request.requester) else { continue };
        if !applies(statement, request) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return Err(decision(document, Outcome::ExplicitDeny, index)),
            Effect::Allow if allowed_by.is_none_or(|(_, other)| other < reach) => {
                allowed_by = Some((index, reach));
            }
            Effect::Allow => {}
        }
    }
    match allowed_by {
        Some((index, reach)) => Ok((decision(document, Outcome::Allow, index), reach)),
        None => Err(NEUTRAL),
    }
}

const NEUTRAL: Decision = Decision { outcome: Outcome::Neutral, statement: None, sid: None };

fn decision(document: &Document, outcome: Outcome, index: usize) -> Decision {
    Decision { outcome, statement: Some(index), sid: document.statements[index].sid.clone() }
}

/// Whether everything but the principal of a statement takes in the request.
fn applies(statement: &Statement, request: &Request) -> bool {
    let actions = &statement.actions;
    actions.patterns.iter().any(|action| action.matches_ignoring_case(&request.action, request))
        != actions.negated
        && resource_applies(statement, request)
        && statement.conditions.iter().all(|condition| condition.holds(request))
}

/// Whether the Resource or NotResource element takes in the resource. With a variable that has no value, NotResource of
/// an Allow takes in nothing: what it excludes cannot be known.
fn resource_applies(statement: &Statement, request: &Request) -> bool {
    let Some(resources) = &statement.resources else { return true };
    let is_unknown = || resources.patterns.iter().any(|pattern| !pattern.is_resolved(request));
    if resources.negated && statement.effect == Effect::Allow && is_unknown() {
        return false;
    }
    resources.patterns.iter().any(|pattern| pattern.matches_resource(&request.resource, request))
        != resources.negated
}

/// Whether the Principal or NotPrincipal element takes in the requester, and as whom.
///
/// In NotPrincipal of a Deny, an account stands for its root alone and a role for no session: AWS's documented examples
/// exempt one user by naming the user *and* the account, one session by naming it, its role *and* the account, and still
/// deny the account's other users and the role's other sessions. In NotPrincipal of an Allow the account stands for all
/// its principals. Both readings are the stricter one.
fn principal_reach(statement: &Statement, requester: &Requester) -> Option<Reach> {
    let not_named = |named: bool| (!named).then_some(Reach::Requester);
    match statement.principals.as_ref()? {
        PrincipalElement::Principal(named) => {
            named.iter().filter_map(|pattern| reach_of(pattern, requester)).max()
        }
        PrincipalElement::NotPrincipal(named) => not_named(match statement.effect {
            Effect::Allow => named.iter().any(|pattern| reach_of(pattern, requester).is_some()),
            Effect::Deny => {
                named.iter().any(|pattern| reach_of(pattern, requester) == Some(Reach::Requester))
            }
        }),
    }
}

fn reach_of(pattern: &PrincipalPattern, requester: &Requester) -> Option<Reach> {
    match (pattern, requester) {
        (PrincipalPattern::Anyone, _) => Some(Reach::Requester),
        (PrincipalPattern::Account(named), Requester::Identity { account, arn, .. }) if named == account => {
            let is_root = arn.ends_with(":root");
            Some(if is_root { Reach::Requester } else { Reach::Account })
        }
        (PrincipalPattern::Arn(named), Requester::Identity { arn, issuer, .. }) => {
            let is_issuer = || issuer.as_ref().is_some_and(|issuer| issuer.arn == *named);
            itself_or_issuer(named == arn, is_issuer)
        }
        (PrincipalPattern::UniqueId(named), Requester::Identity { id, issuer, .. }) => {
            let is_issuer = || issuer.as_ref().is_some_and(|issuer| issuer.id == *named);
            itself_or_issuer(named == id, is_issuer)
        }
        (PrincipalPattern::Service(named), Requester::Service(name)) => {
            (named == "*" || named == name).then_some(Reach::Requester)
        }
        (PrincipalPattern::Federated(named), Requester::Federated(provider)) => {
            (named == "*" || named == provider).then_some(Reach::Requester)
        }
        _ => None,
    }
}

fn itself_or_issuer(itself: bool, is_issuer: impl Fn() -> bool) -> Option<Reach> {
    if itself {
        Some(Reach::Requester)
    } else if is_issuer() {
        Some(Reach::Issuer)
    } else {
        None
    }
}
