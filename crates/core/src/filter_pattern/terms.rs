//! Terms anywhere in a line: all of those that are wanted, none that is excluded, or any of those that are optional.

use memchr::memmem::Finder;

use super::FilterPatternError;
use super::cursor::Cursor;
use super::regex::LimitedRegex;

/// What is looked for.
#[derive(Clone, Debug)]
enum Term {
    Text(Box<Finder<'static>>),
    Regex(LimitedRegex),
}

impl Term {
    fn is_in(&self, line: &[u8]) -> bool {
        match self {
            Self::Text(finder) => finder.find(line).is_some(),
            Self::Regex(regex) => regex.is_match(line),
        }
    }
}

/// Optional terms count only where there are no others.
#[derive(Clone, Debug, Default)]
pub(super) struct TermsPattern {
    wanted: Vec<Term>,
    excluded: Vec<Term>,
    optional: Vec<Term>,
}

impl TermsPattern {
    pub(super) fn parse(text: &str) -> Result<Self, FilterPatternError> {
        let mut cursor = Cursor::new(text);
        let mut pattern = Self::default();
        while cursor.peek_token().is_some() {
            let terms = if cursor.take("-") {
                &mut pattern.excluded
            } else if cursor.take("?") {
                &mut pattern.optional
            } else {
                &mut pattern.wanted
            };
            terms.push(term(&mut cursor)?);
        }
        Ok(pattern)
    }

    pub(super) fn matches(&self, line: &[u8]) -> bool {
        if self.wanted.is_empty() && self.excluded.is_empty() {
            return self.optional.iter().any(|term| term.is_in(line));
        }
        self.wanted.iter().all(|term| term.is_in(line)) && !self.excluded.iter().any(|term| term.is_in(line))
    }

    pub(super) fn has_regex(&self) -> bool {
        [&self.wanted, &self.excluded, &self.optional]
            .into_iter()
            .flatten()
            .any(|term| matches!(term, Term::Regex(_)))
    }
}

fn term(cursor: &mut Cursor<'_>) -> Result<Term, FilterPatternError> {
    let term = match cursor.peek_token() {
        Some('"') => Term::Text(found(&cursor.quoted()?)),
        Some('%') => Term::Regex(cursor.regex()?),
        _ => {
            let word = cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            if word.is_empty() {
                return Err(cursor.unexpected());
            }
            Term::Text(found(word))
        }
    };
    match cursor.peek() {
        Some(c) if !c.is_whitespace() => Err(cursor.unexpected()),
        _ => Ok(term),
    }
}

fn found(text: &str) -> Box<Finder<'static>> {
    Box::new(Finder::new(text).into_owned())
}
