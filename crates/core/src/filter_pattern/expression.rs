//! Conditions joined by && and ||, && first, with parentheses.

use super::FilterPatternError;
use super::cursor::Cursor;

/// Parentheses within parentheses.
const NESTING_MAX: usize = 64;

/// An expression over conditions that are kept elsewhere, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Condition(usize),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

/// Reads a condition, and gives the number that it is kept under.
pub(super) type ReadCondition<'r> = dyn FnMut(&mut Cursor<'_>) -> Result<usize, FilterPatternError> + 'r;

impl Expression {
    pub(super) fn parse(
        cursor: &mut Cursor<'_>,
        condition: &mut ReadCondition<'_>,
    ) -> Result<Self, FilterPatternError> {
        any(cursor, condition, 0)
    }

    /// Whether it holds, as soon as what is known of the conditions decides it.
    pub(super) fn decide(&self, known: &impl Fn(usize) -> Option<bool>) -> Option<bool> {
        match self {
            Self::Condition(number) => known(*number),
            Self::All(parts) => joined(parts, known, false),
            Self::Any(parts) => joined(parts, known, true),
        }
    }
}

/// One part that is `decisive` decides; otherwise all must be known.
fn joined(parts: &[Expression], known: &impl Fn(usize) -> Option<bool>, decisive: bool) -> Option<bool> {
    let mut is_open = false;
    for part in parts {
        match part.decide(known) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => is_open = true,
        }
    }
    if is_open { None } else { Some(!decisive) }
}

fn any(
    cursor: &mut Cursor<'_>,
    condition: &mut ReadCondition<'_>,
    nesting: usize,
) -> Result<Expression, FilterPatternError> {
    let mut parts = vec![all(cursor, condition, nesting)?];
    while cursor.take_token("||") {
        parts.push(all(cursor, condition, nesting)?);
    }
    Ok(alone_or(parts, Expression::Any))
}

fn all(
    cursor: &mut Cursor<'_>,
    condition: &mut ReadCondition<'_>,
    nesting: usize,
) -> Result<Expression, FilterPatternError> {
    let mut parts = vec![part(cursor, condition, nesting)?];
    while cursor.take_token("&&") {
        parts.push(part(cursor, condition, nesting)?);
    }
    Ok(alone_or(parts, Expression::All))
}

fn part(
    cursor: &mut Cursor<'_>,
    condition: &mut ReadCondition<'_>,
    nesting: usize,
) -> Result<Expression, FilterPatternError> {
    if !cursor.take_token("(") {
        return condition(cursor).map(Expression::Condition);
    }
    if nesting == NESTING_MAX {
        return Err(FilterPatternError::Malformed("too many parentheses"));
    }
    let inner = any(cursor, condition, nesting + 1)?;
    if cursor.take_token(")") { Ok(inner) } else { Err(cursor.unexpected()) }
}

fn alone_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}
