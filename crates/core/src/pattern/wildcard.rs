//! `wildcard`: a text in which `*` stands for any characters, none included.
//!
//! `\*` and `\\` stand for the characters themselves. Matching looks for one literal piece after the other, never back.

use memchr::memmem;

use super::error::PatternError;

/// A text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    /// What stands before, between and behind the wildcards.
    pieces: Vec<String>,
}

impl Wildcard {
    /// What the text states, or AWS's error. AWS counts positions from the quote before the text.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut pieces = vec![String::new()];
        let mut characters = text.char_indices().peekable();
        let add = |pieces: &mut Vec<String>, character| {
            if let Some(piece) = pieces.last_mut() {
                piece.push(character);
            }
        };
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|&(_, next)| next);
            match (character, next) {
                ('*', Some('*')) => {
                    return Err(PatternError::new(format!(
                        "Consecutive wildcard characters at pos {}",
                        at + 1
                    )));
                }
                ('*', _) => pieces.push(String::new()),
                ('\\', Some(escaped @ ('*' | '\\'))) => {
                    add(&mut pieces, escaped);
                    characters.next();
                }
                ('\\', _) => {
                    return Err(PatternError::new(format!("Invalid escape character at pos {}", at + 1)));
                }
                (character, _) => add(&mut pieces, character),
            }
        }
        Ok(Self { pieces })
    }

    /// Whether the text is of this form.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let [first, between @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) =
            text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
        else {
            return false;
        };
        for piece in between {
            let Some(at) = memmem::find(rest.as_bytes(), piece.as_bytes()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        true
    }

    /// What every text of this form begins with.
    #[must_use]
    pub fn first(&self) -> &str {
        self.pieces.first().map_or("", String::as_str)
    }

    /// What every text of this form ends with.
    #[must_use]
    pub fn last(&self) -> &str {
        self.pieces.last().map_or("", String::as_str)
    }

    /// The one text of this form, where it has no wildcard.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        if let [only] = self.pieces.as_slice() { Some(only) } else { None }
    }
}
