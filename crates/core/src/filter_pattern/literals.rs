//! What a line must have somewhere for a pattern over JSON to match: found or missed faster than its members are.
//!
//! Invariant: says no only where the pattern does not match. Whatever an escape could hide is not searched for, and
//! a line with escaped characters is let through.

use aho_corasick::AhoCorasick;
use memchr::memmem::{self, Finder};

use super::comparison::{Operand, Operator};
use super::expression::Expression;
use super::json::{Condition, Test};

/// More alternatives than this are not searched for.
const ALTERNATIVES_MAX: usize = 64;
/// What is shorter is in every line.
const BYTES_MIN: usize = 3;

/// One of some texts.
#[derive(Clone, Debug)]
pub(super) enum Literals {
    One(Box<Finder<'static>>),
    Many(AhoCorasick),
}

/// Texts of which one must be there.
#[derive(Clone, Debug)]
struct Necessary {
    texts: Vec<Vec<u8>>,
    /// Whether all are values: names are in most lines.
    are_values: bool,
}

impl Literals {
    pub(super) fn of(expression: &Expression, conditions: &[Condition]) -> Option<Self> {
        let mut texts = necessary(expression, conditions)?.texts;
        texts.sort();
        texts.dedup();
        match texts.as_slice() {
            [one] => Some(Self::One(Box::new(Finder::new(one).into_owned()))),
            many => AhoCorasick::new(many).ok().map(Self::Many),
        }
    }

    pub(super) fn may_be_in(&self, line: &[u8]) -> bool {
        let is_there = match self {
            Self::One(finder) => finder.find(line).is_some(),
            Self::Many(many) => many.is_match(line),
        };
        is_there || memmem::find(line, b"\\u").is_some()
    }
}

fn necessary(expression: &Expression, conditions: &[Condition]) -> Option<Necessary> {
    match expression {
        Expression::Condition(number) => of_condition(&conditions[*number]),
        Expression::All(parts) => {
            let of_parts = parts.iter().filter_map(|part| necessary(part, conditions));
            of_parts.max_by_key(|part| {
                let shortest = part.texts.iter().map(Vec::len).min();
                (part.are_values, usize::MAX - part.texts.len(), shortest)
            })
        }
        Expression::Any(parts) => {
            let mut all = Necessary { texts: Vec::new(), are_values: true };
            for part in parts {
                let part = necessary(part, conditions)?;
                all.texts.extend(part.texts);
                all.are_values &= part.are_values;
            }
            (all.texts.len() <= ALTERNATIVES_MAX).then_some(all)
        }
    }
}

fn of_condition(condition: &Condition) -> Option<Necessary> {
    let value = match &condition.test {
        Test::IsAbsent => return None,
        Test::Compares(comparison) => match (comparison.operator, &comparison.operand) {
            (Operator::NotEqual, _) => return None,
            (Operator::Equal, Operand::Text(wanted)) => Some(wanted.text.as_slice()),
            _ => None,
        },
        _ => None,
    };
    if let Some(value) = value.map(unescapable).filter(|value| value.len() >= BYTES_MIN) {
        return Some(Necessary { texts: vec![value.to_vec()], are_values: true });
    }
    let name = unescapable(condition.name.as_deref()?);
    (name.len() >= BYTES_MIN).then(|| Necessary { texts: vec![name.to_vec()], are_values: false })
}

/// The longest part of a text that stands in JSON as it is, unless somebody wrote it by numbers.
fn unescapable(text: &[u8]) -> &[u8] {
    let parts = text.split(|byte| matches!(byte, b'"' | b'\\' | b'/' | 0..0x20));
    parts.max_by_key(|part| part.len()).unwrap_or_default()
}
