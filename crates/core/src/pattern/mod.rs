//! Patterns over JSON: what SNS's filter policies and EventBridge's event patterns say, and what they match.
//!
//! On the road: a topic asks whether a subscriber wants a message; a bus, which rules an event is for
//! ([`crate::event_pattern`] has the matcher for that). Pure and total: every text compiles to a [`Rule`] or
//! gives AWS's own error; every JSON document matches or does not.
//!
//! Invariants: a rule is compiled once and matched often; matching looks at each value of a document once for each
//! alternative of `$or`; names joined by dots and nested names are the same, in rules and in documents; what is wanted
//! of several members of one array's elements must hold of one element.
//! Source: the SNS developer guide's pages on filter policies, the EventBridge user guide's on event patterns, and the
//! answers that AWS gave.

mod anything_but;
mod compile;
mod decimal;
mod error;
mod events;
mod leaf;
mod matching;
mod numeric;
mod tokens;
mod wildcard;

pub use anything_but::AnythingBut;
pub use compile::{Dialect, Member, Members, compile};
pub use decimal::Decimal;
pub use error::PatternError;
pub use leaf::{Pattern, Scalar, address_of};
pub use matching::{KEYS_MAX, Key, Rule, alternatives};
pub use wildcard::Wildcard;
