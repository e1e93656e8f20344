//! Regular expressions as filter patterns may have them: a small part of the usual syntax, and no groups.

use ::regex::bytes::{Regex, RegexBuilder};

use super::FilterPatternError;

/// A compiled expression takes at most this, so that repetitions of repetitions do not.
const COMPILED_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct LimitedRegex(Regex);

/// Characters that stand for themselves, and operators.
fn is_supported(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, ':' | '_' | '#' | '=' | '@' | '/' | ';' | ',' | '-')
        || matches!(c, '^' | '$' | '?' | '[' | ']' | '{' | '}' | '|' | '*' | '+' | '.')
}

impl LimitedRegex {
    /// The most of them in a pattern.
    pub(super) const COUNT_MAX: usize = 2;

    /// How long an expression is that the next percent sign ends.
    pub(super) fn length(text: &str) -> Result<usize, FilterPatternError> {
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '%' => return Ok(at),
                '\\' => {
                    characters.next();
                }
                _ => {}
            }
        }
        Err(FilterPatternError::Malformed("a regular expression is not closed"))
    }

    pub(super) fn parse(text: &str) -> Result<Self, FilterPatternError> {
        let refused = |c: char| FilterPatternError::Characters(c.to_string());
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            match c {
                '\\' => match characters.next() {
                    Some('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'x' | 't' | 'n' | 'r') => {}
                    Some(escaped) if escaped.is_ascii_punctuation() => {}
                    Some(other) => return Err(refused(other)),
                    None => return Err(refused(c)),
                },
                supported if is_supported(supported) => {}
                other => return Err(refused(other)),
            }
        }
        if text.is_empty() {
            return Err(FilterPatternError::Malformed("a regular expression is empty"));
        }
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map(Self)
            .map_err(|_| FilterPatternError::Malformed("a regular expression is malformed"))
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}
