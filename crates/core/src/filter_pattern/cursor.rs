//! A place in a pattern's text, and the tokens that all forms share.

use super::FilterPatternError;
use super::comparison::{Comparison, Operand, Operator};
use super::regex::LimitedRegex;

#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Regular expressions passed so far.
    pub(super) regexes: usize,
}

/// What names of fields and members consist of.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// What values without quotes consist of.
fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '*' | ':' | '/' | '#' | '@' | '~')
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, regexes: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The next character that is not white space, which is passed over.
    pub(super) fn peek_token(&mut self) -> Option<char> {
        self.at = self.text.len() - self.rest().trim_start().len();
        self.peek()
    }

    /// Passes `token` where it comes next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// Passes white space, then `token`.
    pub(super) fn take_token(&mut self, token: &str) -> bool {
        self.peek_token();
        self.take(token)
    }

    /// Passes white space, then a word in whatever case, behind which another begins.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.peek_token();
        let rest = self.rest();
        let is_next = rest.get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(is_name);
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Passes as many characters as are `wanted`.
    pub(super) fn take_while(&mut self, wanted: fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// What is wrong where a character stands that may not.
    pub(super) fn unexpected(&self) -> FilterPatternError {
        match self.peek() {
            Some(c) => FilterPatternError::Characters(c.to_string()),
            None => FilterPatternError::Malformed("the pattern ends too early"),
        }
    }

    /// A string in double quotes, from the first one on.
    pub(super) fn quoted(&mut self) -> Result<String, FilterPatternError> {
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(FilterPatternError::Malformed("a string is not closed"))
    }

    /// A regular expression between percent signs, from the first one on.
    pub(super) fn regex(&mut self) -> Result<LimitedRegex, FilterPatternError> {
        let inner = &self.rest()[1..];
        let length = LimitedRegex::length(inner)?;
        self.at += length + 2;
        self.regexes += 1;
        if self.regexes > LimitedRegex::COUNT_MAX {
            return Err(FilterPatternError::Malformed("too many regular expressions"));
        }
        LimitedRegex::parse(&inner[..length])
    }

    /// An operator, and what follows it. None where no operator comes next.
    pub(super) fn comparison(&mut self) -> Result<Option<Comparison>, FilterPatternError> {
        self.peek_token();
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let Some((_, operator)) = operators.into_iter().find(|(sign, _)| self.take(sign)) else {
            return Ok(None);
        };
        let operand = self.operand()?;
        if operator.is_of_numbers() && !matches!(operand, Operand::Number(..)) {
            return Err(FilterPatternError::Malformed("only numbers are greater or less"));
        }
        Ok(Some(Comparison { operator, operand }))
    }

    fn operand(&mut self) -> Result<Operand, FilterPatternError> {
        match self.peek_token() {
            Some('"') => Ok(Operand::text(&self.quoted()?)),
            Some('%') => Ok(Operand::Regex(self.regex()?)),
            _ => {
                let bare = self.take_while(is_bare);
                let is_followed_well = self
                    .peek()
                    .is_none_or(|c| c.is_whitespace() || matches!(c, ')' | '&' | '|' | ',' | ']' | '}'));
                if bare.is_empty() || !is_followed_well {
                    return Err(self.unexpected());
                }
                Ok(Operand::bare(bare))
            }
        }
    }
}
