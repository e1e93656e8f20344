//! Whether all policies that bear on a request allow it: the evaluation logic of AWS.
//!
//! Source: the IAM user guide, "Policy evaluation logic" and its pages on cross-account access, permissions boundaries,
//! session policies and the differences between resource-based policies that name users, roles and sessions.
//!
//! Invariants: an explicit Deny of any policy wins; a boundary, a session policy and a service control policy never
//! grant; the order of policies changes nothing but which of several reasons is named.

use std::sync::Arc;

use super::document::Document;
use super::evaluate::{Decision, Outcome, Reach, evaluate_attached, reach};
use super::request::{Request, Requester};

/// A policy with the name that explanations show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPolicy {
    /// A managed policy's ARN, or an inline policy's name.
    pub name: String,
    /// The policy.
    pub document: Arc<Document>,
}

/// What a principal's own side says of all it may do, and what else its account knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Everything is allowed that no other policy refuses: the root of an account.
    pub unrestricted: bool,
    /// The policies of a user and its groups, or of a role.
    pub identity: Vec<NamedPolicy>,
    /// The permissions boundary.
    pub boundary: Option<NamedPolicy>,
    /// The policies passed when the session began; none where none were passed. An empty list allows nothing.
    pub session: Option<Vec<NamedPolicy>>,
    /// Service control policies by level: the organisation's root, each unit, the account. Empty where none bind, as
    /// for service-linked roles and the management account.
    pub control: Vec<Vec<NamedPolicy>>,
    /// The tags of the user or role: `aws:PrincipalTag/…`, where the session has no tag of that key.
    pub tags: Vec<(String, String)>,
    /// The organisation that the principal's account is in.
    pub affiliation: Option<Affiliation>,
}

/// Where an account stands in its organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affiliation {
    /// The organisation's id: `aws:PrincipalOrgID`.
    pub organization_id: String,
    /// `o-…/r-…/ou-…/`: `aws:PrincipalOrgPaths`.
    pub path: String,
}

impl Rights {
    /// The rights of an account's root.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { unrestricted: true, ..Self::default() }
    }
}

/// The policy on the resource of a request.
#[derive(Clone, Copy, Debug)]
pub struct AttachedPolicy<'a> {
    /// The account that owns the resource.
    pub owner: &'a str,
    /// The policy; none where the resource has none.
    pub document: Option<&'a Document>,
    /// Whether nothing is allowed that this policy does not allow, also within the account: the policy of a KMS key,
    /// the trust policy of a role. Policies of identities count only where it allows the account.
    pub must_allow: bool,
}

/// All that bears on one request.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks for what.
    pub request: &'a Request,
    /// What the requester may do. It counts for principals of an account only.
    pub rights: &'a Rights,
    /// The policy on the resource; none where the resource is of a kind that has none, and the requester's own.
    pub resource: Option<AttachedPolicy<'a>>,
}

/// The kinds of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// Of a user, group or role.
    Identity,
    /// Of a resource.
    Resource,
    /// A permissions boundary.
    Boundary,
    /// Passed with a session.
    Session,
    /// A service control policy.
    Control,
}

/// The statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Which kind of policy it stands in.
    pub kind: PolicyKind,
    /// Which policy; none for a resource's.
    pub policy: Option<String>,
    /// Which statement, counted from 0.
    pub statement: usize,
    /// Its Sid, where it has one.
    pub sid: Option<String>,
}

/// Why a request is allowed or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The root of the account may do it.
    Unrestricted,
    /// This statement grants it.
    Allowed(Witness),
    /// This statement denies it.
    Denied(Witness),
    /// No policy of this kind allows it.
    NotAllowed(PolicyKind),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
}

/// Whether the request is allowed.
#[must_use]
pub fn decide(question: &Question<'_>) -> Verdict {
    match weigh(question) {
        Ok(reason) => Verdict { allowed: true, reason },
        Err(reason) => Verdict { allowed: false, reason },
    }
}

/// What the policies of one kind say together: which grants. Each may deny.
type Grant = Option<Witness>;

fn weigh(question: &Question<'_>) -> Result<Reason, Reason> {
    let Question { request, rights, resource } = *question;
    let is_identity = matches!(request.requester, Requester::Identity { .. });
    if !is_identity {
        let granted = resource_grant(resource, request)?;
        return granted
            .map_or(Err(Reason::NotAllowed(PolicyKind::Resource)), |(by, _)| Ok(Reason::Allowed(by)));
    }
    // All denials come first: whichever policy denies, no other can allow.
    let levels = rights
        .control
        .iter()
        .map(|level| grant(level, PolicyKind::Control, request))
        .collect::<Result<Vec<_>, _>>()?;
    let by_resource = resource_grant(resource, request)?;
    let by_identity = grant(&rights.identity, PolicyKind::Identity, request)?;
    let by_boundary = rights.boundary.as_slice();
    let by_boundary = grant(by_boundary, PolicyKind::Boundary, request)?;
    let by_session = grant(rights.session.as_deref().unwrap_or_default(), PolicyKind::Session, request)?;

    if levels.iter().any(Option::is_none) {
        return Err(Reason::NotAllowed(PolicyKind::Control));
    }
    let within_limits = || {
        if rights.boundary.is_some() && by_boundary.is_none() {
            return Err(Reason::NotAllowed(PolicyKind::Boundary));
        }
        if rights.session.is_some() && by_session.is_none() {
            return Err(Reason::NotAllowed(PolicyKind::Session));
        }
        Ok(())
    };
    let own_side = || {
        let reason = match &by_identity {
            Some(by) => Reason::Allowed(by.clone()),
            None if rights.unrestricted => Reason::Unrestricted,
            None => return Err(Reason::NotAllowed(PolicyKind::Identity)),
        };
        within_limits().map(|()| reason)
    };
    let Some(policy) = resource else { return own_side() };
    match by_resource {
        None if policy.must_allow || !is_of(policy.owner, &request.requester) => {
            Err(Reason::NotAllowed(PolicyKind::Resource))
        }
        None => own_side(),
        Some(_) if !is_of(policy.owner, &request.requester) => own_side(),
        Some((_, Reach::Account)) => own_side(),
        Some((by, Reach::Issuer)) => within_limits().map(|()| Reason::Allowed(by)),
        Some((by, Reach::Requester)) => Ok(Reason::Allowed(by)),
    }
}

fn is_of(owner: &str, requester: &Requester) -> bool {
    matches!(requester, Requester::Identity { account, .. } if account == owner)
}

/// What the policy on the resource grants, and to whom.
fn resource_grant(
    resource: Option<AttachedPolicy<'_>>,
    request: &Request,
) -> Result<Option<(Witness, Reach)>, Reason> {
    let Some(document) = resource.and_then(|policy| policy.document) else { return Ok(None) };
    match reach(document, request) {
        Ok((decision, reach)) => Ok(witness(decision, PolicyKind::Resource, None).map(|by| (by, reach))),
        Err(decision) => denial(decision, PolicyKind::Resource, None).map(|()| None),
    }
}

/// The first of `policies` that grants, where none denies.
fn grant(policies: &[NamedPolicy], kind: PolicyKind, request: &Request) -> Result<Grant, Reason> {
    let mut granted = None;
    for policy in policies {
        let decision = evaluate_attached(&policy.document, request);
        if decision.outcome == Outcome::Allow {
            granted = granted.or_else(|| witness(decision, kind, Some(&policy.name)));
        } else {
            denial(decision, kind, Some(&policy.name))?;
        }
    }
    Ok(granted)
}

fn denial(decision: Decision, kind: PolicyKind, policy: Option<&str>) -> Result<(), Reason> {
    match decision.outcome {
        Outcome::ExplicitDeny => {
            Err(witness(decision, kind, policy).map_or(Reason::NotAllowed(kind), Reason::Denied))
        }
        Outcome::Allow | Outcome::Neutral => Ok(()),
    }
}

fn witness(decision: Decision, kind: PolicyKind, policy: Option<&str>) -> Option<Witness> {
    let statement = decision.statement?;
    Some(Witness { kind, policy: policy.map(str::to_owned), statement, sid: decision.sid })
}
