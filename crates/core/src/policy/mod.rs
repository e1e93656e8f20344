//! Policy evaluation: what policies say of a request, and whether all of them together allow it.
//!
//! On the road: authorisation asks [`decide`] for every call; delivery asks [`evaluate`] whether CloudTrail may write to
//! a bucket. Pure and total: parsed documents give a decision for every request, with the statement that made it.
//!
//! Invariants: an explicit Deny wins whatever the order of statements; adding a Deny never grants; what could not be
//! understood is refused when the document is parsed, never skipped when it is evaluated.
//! Source: the IAM user guide's pages on policy grammar, condition operators, policy variables, NotPrincipal and the
//! policy evaluation logic.

mod condition;
mod date;
mod decide;
mod document;
mod evaluate;
mod json;
mod malformed;
mod pattern;
mod request;

pub use condition::Condition;
pub use decide::{
    Affiliation, AttachedPolicy, NamedPolicy, PolicyKind, Question, Reason, Rights, Verdict, Witness, decide,
};
pub use document::{Document, Effect, PolicyError, PrincipalElement, PrincipalPattern, Statement, Version};
pub use evaluate::{Decision, Outcome, evaluate, evaluate_attached};
pub use malformed::{MalformedPolicy, parse_identity_policy, parse_trust_policy};
pub use request::{Issuer, Request, Requester};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
