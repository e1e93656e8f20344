//! Conditions on the members of a line of JSON: `{ ($.eventName = "ConsoleLogin") && ($.errorCode NOT EXISTS) }`.
//!
//! Invariants: of members of one name the first counts; a comparison with an array or object does not hold, whatever its
//! operator; what is null or not there differs from everything; a condition with a wildcard holds where it holds of any
//! value.

mod scan;

use std::borrow::Cow;

use self::scan::{Value, Visit, walk};
use super::FilterPatternError;
use super::comparison::{Comparison, Operand, Operator};
use super::cursor::Cursor;
use super::expression::Expression;
use super::literals::Literals;
use super::selector::{Paths, Selector};

/// The most conditions of a pattern: each has a bit.
const CONDITIONS_MAX: usize = u128::BITS as usize;
/// The most wildcards of a pattern, over all selectors.
const WILDCARDS_MAX: usize = 3;

/// What is asked of a value.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Compares(Comparison),
    IsNull,
    IsTrue,
    IsFalse,
    IsThere,
    IsAbsent,
}

impl Test {
    /// Whether it holds of a value that is there.
    fn holds(&self, value: &Value<'_>, text: Option<&[u8]>) -> bool {
        match self {
            Self::Compares(comparison) => match text {
                Some(text) => comparison.holds(text),
                None => comparison.operator == Operator::NotEqual && *value == Value::Null,
            },
            Self::IsNull => matches!(value, Value::Null),
            Self::IsTrue => matches!(value, Value::True),
            Self::IsFalse => matches!(value, Value::False),
            Self::IsThere => true,
            Self::IsAbsent => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) test: Test,
    /// The selector's innermost name.
    pub(super) name: Option<Vec<u8>>,
    /// Whether any of several values may make it hold.
    is_wild: bool,
}

impl Condition {
    /// What a value says about it: nothing, where another one may still make it hold.
    fn verdict(&self, value: &Value<'_>, text: Option<&[u8]>) -> Option<bool> {
        let holds = self.test.holds(value, text);
        let is_final = holds || !self.is_wild || matches!(self.test, Test::IsAbsent);
        is_final.then_some(holds)
    }

    /// Whether it holds where no value said so.
    fn holds_at_the_end(&self) -> bool {
        match &self.test {
            Test::Compares(comparison) => !self.is_wild && comparison.operator == Operator::NotEqual,
            test => matches!(test, Test::IsAbsent),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct JsonPattern {
    expression: Expression,
    conditions: Vec<Condition>,
    selectors: Vec<Selector>,
    /// The conditions on each selector.
    asked: Vec<Vec<usize>>,
    paths: Paths,
    literals: Option<Literals>,
}

impl JsonPattern {
    pub(super) fn parse(text: &str) -> Result<Self, FilterPatternError> {
        let mut cursor = Cursor::new(text);
        let mut conditions: Vec<Condition> = Vec::new();
        let mut selectors: Vec<Selector> = Vec::new();
        let mut asked: Vec<Vec<usize>> = Vec::new();
        let mut condition = |cursor: &mut Cursor<'_>| {
            let selector = Selector::parse(cursor)?;
            let number = conditions.len();
            if number == CONDITIONS_MAX {
                return Err(FilterPatternError::Malformed("too many conditions"));
            }
            conditions.push(Condition {
                test: test(cursor)?,
                name: selector.last_name().map(<[u8]>::to_vec),
                is_wild: selector.wildcards() > 0,
            });
            match selectors.iter().position(|known| known.steps == selector.steps) {
                Some(known) => asked[known].push(number),
                None => {
                    selectors.push(selector);
                    asked.push(vec![number]);
                }
            }
            Ok(number)
        };
        let expression = Expression::parse(&mut cursor, &mut condition)?;
        if cursor.peek_token().is_some() {
            return Err(cursor.unexpected());
        }
        if selectors.iter().map(Selector::wildcards).sum::<usize>() > WILDCARDS_MAX {
            return Err(FilterPatternError::Malformed("too many wildcards"));
        }
        let literals = Literals::of(&expression, &conditions);
        let paths = Paths::new(selectors.iter());
        Ok(Self { expression, conditions, selectors, asked, paths, literals })
    }

    pub(super) fn matches(&self, line: &[u8]) -> bool {
        self.literals.as_ref().is_none_or(|literals| literals.may_be_in(line)) && self.matches_by_scan(line)
    }

    pub(super) fn matches_by_scan(&self, line: &[u8]) -> bool {
        let mut matching = Matching { pattern: self, known: 0, holding: 0, verdict: None };
        match walk(&self.paths, line, &mut matching) {
            Ok(()) => matching.verdict.unwrap_or_else(|| matching.at_the_end()),
            Err(_) => false,
        }
    }

    pub(super) fn extract(&self, line: &[u8]) -> Vec<(String, String)> {
        let found = values(&self.paths, self.selectors.len(), line);
        let named = self.selectors.iter().zip(found);
        named.filter_map(|(selector, value)| Some((selector.text.clone(), value?))).collect()
    }

    pub(super) fn has_regex(&self) -> bool {
        self.conditions.iter().any(|condition| {
            matches!(&condition.test, Test::Compares(comparison) if matches!(comparison.operand, Operand::Regex(_)))
        })
    }
}

/// What a selector names in a line; none where that is not there, or an array or object.
pub(super) fn select(selector: &Selector, line: &[u8]) -> Option<String> {
    values(&Paths::new(std::iter::once(selector)), 1, line).pop().flatten()
}

fn values(paths: &Paths, count: usize, line: &[u8]) -> Vec<Option<String>> {
    let mut found = Found(vec![None; count]);
    match walk(paths, line, &mut found) {
        Ok(()) => found.0,
        Err(_) => vec![None; count],
    }
}

fn test(cursor: &mut Cursor<'_>) -> Result<Test, FilterPatternError> {
    if let Some(comparison) = cursor.comparison()? {
        return Ok(Test::Compares(comparison));
    }
    let words: [(&[&str], Test); 5] = [
        (&["IS", "NULL"], Test::IsNull),
        (&["IS", "TRUE"], Test::IsTrue),
        (&["IS", "FALSE"], Test::IsFalse),
        (&["NOT", "EXISTS"], Test::IsAbsent),
        (&["EXISTS"], Test::IsThere),
    ];
    let is_followed_by = |cursor: &mut Cursor<'_>, words: &[&str]| {
        let before = cursor.clone();
        let are_next = words.iter().all(|word| cursor.take_word(word));
        if !are_next {
            *cursor = before;
        }
        are_next
    };
    let found = words.into_iter().find(|(words, _)| is_followed_by(cursor, words));
    found.map(|(_, test)| test).ok_or_else(|| cursor.unexpected())
}

/// What is known of the conditions so far, a bit each.
struct Matching<'p> {
    pattern: &'p JsonPattern,
    known: u128,
    holding: u128,
    verdict: Option<bool>,
}

impl Matching<'_> {
    fn of(&self, condition: usize) -> Option<bool> {
        (self.known >> condition & 1 == 1).then_some(self.holding >> condition & 1 == 1)
    }

    fn learn(&mut self, condition: usize, holds: bool) {
        self.known |= 1 << condition;
        self.holding |= u128::from(holds) << condition;
    }

    fn at_the_end(&self) -> bool {
        let holds = |number: usize| {
            let otherwise = || self.pattern.conditions[number].holds_at_the_end();
            Some(self.of(number).unwrap_or_else(otherwise))
        };
        self.pattern.expression.decide(&holds) == Some(true)
    }
}

impl Visit for Matching<'_> {
    fn value(&mut self, selector: usize, value: &Value<'_>) -> bool {
        let pattern = self.pattern;
        let text = value.text();
        let mut is_news = false;
        for number in &pattern.asked[selector] {
            let condition = &pattern.conditions[*number];
            if self.of(*number).is_some() {
                continue;
            }
            if let Some(holds) = condition.verdict(value, text.as_deref()) {
                self.learn(*number, holds);
                is_news = true;
            }
        }
        if is_news {
            self.verdict = pattern.expression.decide(&|number| self.of(number));
        }
        self.verdict.is_some()
    }
}

/// The first value of each selector.
struct Found(Vec<Option<String>>);

impl Visit for Found {
    fn value(&mut self, selector: usize, value: &Value<'_>) -> bool {
        if self.0[selector].is_none() {
            self.0[selector] = value.text().map(|text| String::from_utf8_lossy(&text).into_owned());
        }
        self.0.iter().all(Option::is_some)
    }
}

impl Value<'_> {
    /// What it is compared by; none of an array, an object, and null.
    fn text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Text { raw, is_escaped: false } | Self::Number(raw) => Some(Cow::Borrowed(raw)),
            Self::Text { raw, is_escaped: true } => Some(Cow::Owned(scan::unescaped(raw))),
            Self::True => Some(Cow::Borrowed(b"true")),
            Self::False => Some(Cow::Borrowed(b"false")),
            Self::Null | Self::Container => None,
        }
    }
}
