//! EventBridge's event patterns: what a rule asks of an event, and which of many rules an event is for.
//!
//! On the road: `events` parses a pattern where a rule or archive is made and for TestEventPattern, and asks a
//! [`RuleIndex`] for every event. Pure and total.
//!
//! Invariants: an event is its text; of it alone those members are read that some rule names, each once, however many
//! rules there are. An index finds what trying each rule finds (a property test holds it to that). What is asked of
//! several members of one array must hold of one element.
//! Source: the EventBridge user guide on event patterns, TestEventPattern's recorded answers, event-ruler's behaviour.

mod clause;
mod fields;
mod index;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use index::RuleIndex;

use crate::pattern::{Dialect, Key, PatternError, alternatives, compile};

use clause::{Clause, Conditions};
use fields::Fields;

/// The longest pattern, in characters.
pub const PATTERN_CHARS_MAX: usize = 4096;

/// Why a text is no event pattern. Its display is AWS's text behind "Event pattern is not valid. Reason: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message())]
pub struct EventPatternError(#[from] PatternError);

/// An event pattern, ready to match.
#[derive(Clone, Debug)]
pub struct EventPattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// Sets of keys of which one must hold.
    alternatives: Vec<Vec<Key>>,
    fields: Fields,
    conditions: Conditions,
    clauses: Vec<Clause>,
}

impl EventPattern {
    /// The pattern that a text states.
    ///
    /// # Errors
    /// Where it states none.
    pub fn parse(text: &str) -> Result<Self, EventPatternError> {
        let alternatives = alternatives(&compile(text, Dialect::EventPattern)?)?;
        let (mut fields, mut conditions) = (Fields::default(), Conditions::default());
        let clauses =
            alternatives.iter().map(|keys| Clause::new(keys, &mut fields, &mut conditions)).collect();
        Ok(Self(Arc::new(Compiled { alternatives, fields, conditions, clauses })))
    }

    /// Whether an event, JSON, is as asked. A text that is no JSON object is not.
    #[must_use]
    pub fn matches(&self, event: &str) -> bool {
        let Compiled { fields, conditions, clauses, .. } = &*self.0;
        scan::scan(event, fields).is_some_and(|found| {
            let mut verdicts = conditions.undecided();
            clauses.iter().any(|clause| clause.holds(&found, &mut verdicts))
        })
    }
}
