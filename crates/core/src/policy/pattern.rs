//! Texts with wildcards and policy variables, and how they match.
//!
//! Matching never recurses: it goes back to the last `*` only, so its steps are at most the product of the two lengths,
//! which the document's size limit bounds. A variable's value is always literal, whatever it contains.

use super::{Request, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`: exactly one character.
    One,
    /// `*`: any number of characters.
    Many,
}

/// A text to match against, after variables.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// `text` with `*` and `?` as wildcards.
    pub(super) fn glob(text: &str) -> Self {
        Self(text.chars().map(wildcard).collect())
    }

    /// `text` with its variables replaced; none where a variable has no value, which equals and is like nothing.
    pub(super) fn expand(text: &str, version: Version, request: &Request, wildcards: bool) -> Option<Self> {
        let token = if wildcards { wildcard } else { Token::Char };
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = split_variable(rest).filter(|_| version == Version::V2012) {
            tokens.extend(before.chars().map(token));
            tokens.extend(variable(name, request)?.chars().map(Token::Char));
            rest = after;
        }
        tokens.extend(rest.chars().map(token));
        Some(Self(tokens))
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        glob(&self.0, text, |a, b| a == b)
    }

    /// Whether the whole of `text` matches, upper and lower case being the same.
    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        glob(&self.0, text, |a, b| a == b || a.to_lowercase().eq(b.to_lowercase()))
    }

    /// Whether `text` is an ARN whose six parts match the pattern's six, each by itself: a wildcard in one part never
    /// reaches into the next. `*` alone matches everything.
    pub(super) fn matches_arn(&self, text: &str) -> bool {
        if self.0 == [Token::Many] {
            return true;
        }
        let parts: Vec<&[Token]> = self.0.splitn(ARN_PARTS, |token| *token == Token::Char(':')).collect();
        let texts: Vec<&str> = text.splitn(ARN_PARTS, ':').collect();
        parts.len() == ARN_PARTS
            && texts.len() == ARN_PARTS
            && parts.iter().zip(texts).all(|(part, text)| glob(part, text, |a, b| a == b))
    }

    fn arn_parts(&self) -> usize {
        self.0.split(|token| *token == Token::Char(':')).count()
    }
}

/// `arn:partition:service:region:account:resource`.
const ARN_PARTS: usize = 6;

/// Whether a Resource or NotResource text takes in the resource `arn`.
///
/// A full ARN is compared part by part, so that `arn:aws:s3:*:*:mine/*` cannot reach into the key of another bucket's
/// object that has colons; a shorter text such as `arn:aws:s3*` is compared as a whole.
pub(super) fn resource_matches(text: &str, version: Version, request: &Request, arn: &str) -> bool {
    let Some(pattern) = Pattern::expand(text, version, request, true) else { return false };
    if pattern.arn_parts() >= ARN_PARTS { pattern.matches_arn(arn) } else { pattern.matches(arn) }
}

fn wildcard(character: char) -> Token {
    match character {
        '*' => Token::Many,
        '?' => Token::One,
        other => Token::Char(other),
    }
}

/// What stands before, inside and after the first `${…}`.
fn split_variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// The value of `${NAME}` or `${NAME, 'default'}`. A key with several values has no value as a variable.
fn variable(inside: &str, request: &Request) -> Option<String> {
    if matches!(inside, "*" | "?" | "$") {
        return Some(inside.to_owned());
    }
    let (name, default) = match inside.split_once(',') {
        Some((name, default)) => {
            let quoted = default.trim();
            (name.trim(), quoted.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')))
        }
        None => (inside.trim(), None),
    };
    match request.values(name) {
        Some([value]) => Some(value.clone()),
        Some(_) => None,
        None => default.map(str::to_owned),
    }
}

/// Matches from left to right; on a mismatch the last `*` takes in one character more.
fn glob(pattern: &[Token], text: &str, same: impl Fn(char, char) -> bool) -> bool {
    let mut at = 0;
    let mut rest = text.chars();
    let mut last_many: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let before = rest.clone();
        match (pattern.get(at), rest.next()) {
            (None, None) => return true,
            (Some(Token::Many), _) => {
                at += 1;
                rest = before;
                last_many = Some((at, rest.clone()));
                continue;
            }
            (Some(Token::One), Some(_)) => {
                at += 1;
                continue;
            }
            (Some(Token::Char(expected)), Some(found)) if same(*expected, found) => {
                at += 1;
                continue;
            }
            (Some(_), None) => return false,
            _ => {}
        }
        let Some((after, from)) = last_many.as_mut() else { return false };
        from.next();
        at = *after;
        rest = from.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_texts() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("**", "x", true),
            ("*ab", "aab", true),
            ("a*b?d", "axbbcd", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(Pattern::glob(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_in_bounded_steps() {
        let pattern = format!("{}b", "a*".repeat(5_000));
        assert!(!Pattern::glob(&pattern).matches(&"a".repeat(20_000)));
    }
}
