//! Texts with wildcards and policy variables, and how they match.
//!
//! Compiled when the document is parsed; matching allocates nothing. It never recurses: it goes back to the last `*`
//! only, so its steps are at most the product of the two lengths, which the document's size limit bounds. A variable's
//! value is always literal, whatever it contains.

use super::request::Request;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// `?`: exactly one character.
    One,
    /// `*`: any number of characters.
    Many,
    /// `${NAME}` or `${NAME, 'default'}`.
    Variable {
        name: Box<str>,
        default: Option<Box<str>>,
    },
}

/// Which of the characters of a pattern's text mean something else than themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// `*` and `?` are wildcards.
    pub(super) wildcards: bool,
    /// `${…}` are variables, as from version 2012-10-17.
    pub(super) variables: bool,
}

/// A text to match against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pieces: Box<[Piece]>,
    has_variables: bool,
}

impl Pattern {
    pub(super) fn compile(text: &str, syntax: Syntax) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, inside, after)) = split_variable(rest).filter(|_| syntax.variables) {
            push_text(&mut pieces, before, syntax.wildcards);
            match inside {
                "*" | "?" | "$" => push_literal(&mut pieces, inside),
                _ => pieces.push(variable(inside)),
            }
            rest = after;
        }
        push_text(&mut pieces, rest, syntax.wildcards);
        let has_variables = pieces.iter().any(|piece| matches!(piece, Piece::Variable { .. }));
        Self { pieces: pieces.into(), has_variables }
    }

    /// Whether every variable has a value. A pattern of which one has none matches nothing.
    pub(super) fn is_resolved(&self, request: &Request) -> bool {
        !self.has_variables
            || self.pieces.iter().all(|piece| match piece {
                Piece::Variable { name, default } => value(name, default.as_deref(), request).is_some(),
                Piece::Text(_) | Piece::One | Piece::Many => true,
            })
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str, request: &Request) -> bool {
        self.is_resolved(request)
            && glob(&self.pieces, text, request, |text, prefix| text.strip_prefix(prefix))
    }

    /// Whether the whole of `text` matches, upper and lower case being the same.
    pub(super) fn matches_ignoring_case(&self, text: &str, request: &Request) -> bool {
        self.is_resolved(request) && glob(&self.pieces, text, request, strip_prefix_ignoring_case)
    }

    /// Whether all that matches begins with `prefix`, upper and lower case being the same.
    pub(super) fn begins_ignoring_case(&self, prefix: &str) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if strip_prefix_ignoring_case(text, prefix).is_some())
    }

    fn is_anything(&self) -> bool {
        matches!(*self.pieces, [Piece::Many])
    }
}

/// `arn:partition:service:region:account:resource`.
const ARN_PARTS: usize = 6;

/// A pattern of ARNs, compared part by part: a wildcard in one part never reaches into the next, so that
/// `arn:aws:s3:*:*:mine/*` cannot reach into the key of another bucket's object that has colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArnPattern(Parts);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    /// One pattern for each part.
    Each(Box<[Pattern]>),
    /// Fewer than six parts.
    Whole(Pattern),
}

impl ArnPattern {
    pub(super) fn compile(text: &str, variables: bool) -> Self {
        let syntax = Syntax { wildcards: true, variables };
        let parts = arn_parts(text, variables);
        if parts.len() < ARN_PARTS {
            return Self(Parts::Whole(Pattern::compile(text, syntax)));
        }
        Self(Parts::Each(parts.into_iter().map(|part| Pattern::compile(part, syntax)).collect()))
    }

    /// As a value of `ArnLike` and the like: what is no ARN matches nothing but `*`, which matches everything.
    pub(super) fn matches_arn(&self, text: &str, request: &Request) -> bool {
        match &self.0 {
            Parts::Each(parts) => each_matches(parts, text, request),
            Parts::Whole(pattern) => pattern.is_anything(),
        }
    }

    /// As a Resource: a text of fewer parts, such as `arn:aws:s3*`, is compared as a whole.
    pub(super) fn matches_resource(&self, text: &str, request: &Request) -> bool {
        match &self.0 {
            Parts::Each(parts) => each_matches(parts, text, request),
            Parts::Whole(pattern) => pattern.matches(text, request),
        }
    }

    /// Whether every variable has a value.
    pub(super) fn is_resolved(&self, request: &Request) -> bool {
        match &self.0 {
            Parts::Each(parts) => parts.iter().all(|part| part.is_resolved(request)),
            Parts::Whole(pattern) => pattern.is_resolved(request),
        }
    }
}

fn each_matches(parts: &[Pattern], text: &str, request: &Request) -> bool {
    let mut texts = text.splitn(ARN_PARTS, ':');
    parts.iter().all(|part| texts.next().is_some_and(|text| part.matches(text, request)))
}

/// The parts of a text, at most six; colons inside a variable part nothing.
fn arn_parts(text: &str, variables: bool) -> Vec<&str> {
    let mut parts = Vec::with_capacity(ARN_PARTS);
    let (mut start, mut at) = (0, 0);
    while parts.len() < ARN_PARTS - 1
        && let Some(found) = text[at..].find([':', '$'])
    {
        let found = at + found;
        at = found + 1;
        if text[found..].starts_with(':') {
            parts.push(&text[start..found]);
            start = at;
        } else if variables && let Some(("", inside, _)) = split_variable(&text[found..]) {
            at = found + "${}".len() + inside.len();
        }
    }
    parts.push(&text[start..]);
    parts
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, wildcards: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(['*', '?']).filter(|_| wildcards) {
        push_literal(pieces, &rest[..at]);
        match rest.as_bytes()[at] {
            b'*' if pieces.last() == Some(&Piece::Many) => {}
            b'*' => pieces.push(Piece::Many),
            _ => pieces.push(Piece::One),
        }
        rest = &rest[at + 1..];
    }
    push_literal(pieces, rest);
}

/// Adds a literal text, to the one before where there is one.
fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Piece::Text(before)) = pieces.last_mut() {
        *before = format!("{before}{text}").into();
    } else {
        pieces.push(Piece::Text(text.into()));
    }
}

/// What stands before, inside and after the first `${…}`.
fn split_variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn variable(inside: &str) -> Piece {
    let (name, default) = match inside.split_once(',') {
        Some((name, default)) => {
            let quoted = default.trim();
            (name.trim(), quoted.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')))
        }
        None => (inside.trim(), None),
    };
    Piece::Variable { name: name.into(), default: default.map(Into::into) }
}

/// The value of a variable. A key with several values has none.
fn value<'a>(name: &str, default: Option<&'a str>, request: &'a Request) -> Option<&'a str> {
    match request.values(name) {
        Some([value]) => Some(value),
        Some(_) => None,
        None => default,
    }
}

/// The rest of a text behind a prefix, where it has the prefix.
type StripPrefix = for<'a> fn(&'a str, &str) -> Option<&'a str>;

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_ascii() {
        let (head, rest) = text.split_at_checked(prefix.len())?;
        return head.eq_ignore_ascii_case(prefix).then_some(rest);
    }
    let mut rest = text.chars();
    for expected in prefix.chars() {
        let found = rest.next()?;
        if expected != found && !expected.to_lowercase().eq(found.to_lowercase()) {
            return None;
        }
    }
    Some(rest.as_str())
}

/// Matches from left to right; on a mismatch the last `*` takes in one character more.
fn glob(pieces: &[Piece], text: &str, request: &Request, strip_prefix: StripPrefix) -> bool {
    let mut at = 0;
    let mut rest = text;
    let mut last_many: Option<(usize, &str)> = None;
    loop {
        let behind = match pieces.get(at) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Piece::Many) if at + 1 == pieces.len() => return true,
            Some(Piece::Many) => {
                last_many = Some((at + 1, rest));
                Some(rest)
            }
            Some(Piece::One) => without_first(rest),
            Some(Piece::Text(text)) => strip_prefix(rest, text),
            Some(Piece::Variable { name, default }) => {
                value(name, default.as_deref(), request).and_then(|text| strip_prefix(rest, text))
            }
        };
        if let Some(behind) = behind {
            at += 1;
            rest = behind;
            continue;
        }
        let Some((after, from)) = last_many else { return false };
        let Some(fewer) = without_first(from) else { return false };
        last_many = Some((after, fewer));
        at = after;
        rest = fewer;
    }
}

fn without_first(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;

    const SYNTAX: Syntax = Syntax { wildcards: true, variables: true };

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
            ("*abab", "ababcabab", true),
            ("a*b?d", "axbbcd", true),
            ("abc", "abcd", false),
            ("*?", "", false),
            ("?*?", "ab", true),
            ("a${*}c", "a*c", true),
            ("a${*}c", "abc", false),
            ("${?}${$}", "?$", true),
        ] {
            assert_eq!(
                Pattern::compile(pattern, SYNTAX).matches(text, &with(&[])),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_in_bounded_steps() {
        let pattern = format!("{}b", "a*".repeat(5_000));
        assert!(!Pattern::compile(&pattern, SYNTAX).matches(&"a".repeat(20_000), &with(&[])));
    }

    #[test]
    fn letters_match_whatever_their_case_and_length() {
        for (pattern, text, expected) in
            [("ÄB*", "äbc", true), ("s3:Get*", "S3:gETOBJECT", true), ("é", "e", false), ("ab", "aé", false)]
        {
            let found = Pattern::compile(pattern, SYNTAX).matches_ignoring_case(text, &with(&[]));
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn colons_inside_variables_part_no_arn() {
        let text = "arn:aws:s3:::b/${aws:username}";
        assert_eq!(arn_parts(text, true), ["arn", "aws", "s3", "", "", "b/${aws:username}"]);
        assert_eq!(arn_parts("arn:${a:b}:${x", true), ["arn", "${a:b}", "${x"]);
        assert_eq!(arn_parts("${a:b}", false), ["${a", "b}"]);
        let queue = ArnPattern::compile("arn:aws:sqs:${aws:PrincipalTag/r}:111122223333:q", true);
        let request = with(&[("aws:PrincipalTag/r", &["eu-west-1:444455556666:x"])]);
        assert!(!queue.matches_resource("arn:aws:sqs:eu-west-1:444455556666:x:111122223333:q", &request));
    }
}
