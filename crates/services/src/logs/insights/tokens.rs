//! The words of a query.

use super::Malformed;

/// A word, and where it stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// A name of a field, a command or a function; also one in backticks, which is nothing but a field.
    Name(String),
    Quoted(String),
    Text(String),
    Number(f64),
    /// A number with a unit behind it: `5m`.
    Period(f64, String),
    /// What stands between slashes.
    Regex(String),
    Sign(&'static str),
}

/// Signs, the longer ones first.
const SIGNS: [&str; 18] =
    ["=~", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", "|", "+", "-", "*", "%", "^"];

/// The words of a text, up to its end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Malformed> {
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if first == '#' {
            at += text[at..].find('\n').unwrap_or(text.len() - at);
            continue;
        }
        let (word, size) = word(&text[at..], first, begins_regex(&found), at)?;
        found.push(Token { word, start: at, end: at + size });
        at += size;
    }
    Ok(found)
}

/// A slash begins a regular expression after `like` and `=~`, and divides elsewhere.
fn begins_regex(before: &[Token]) -> bool {
    match before.last().map(|token| &token.word) {
        Some(Word::Sign(sign)) => *sign == "=~",
        Some(Word::Name(name)) => name.eq_ignore_ascii_case("like"),
        _ => false,
    }
}

fn word(rest: &str, first: char, begins_regex: bool, at: usize) -> Result<(Word, usize), Malformed> {
    let closed = |close: char| {
        enclosed(rest, close).ok_or_else(|| Malformed::at(at, format!("there is no closing {close}")))
    };
    match first {
        '"' | '\'' => closed(first).map(|(text, size)| (Word::Text(text), size)),
        '`' => closed('`').map(|(text, size)| (Word::Quoted(text), size)),
        '/' if begins_regex => {
            let end = rest[1..].find('/').ok_or_else(|| Malformed::at(at, "there is no closing /"))?;
            Ok((Word::Regex(rest[1..=end].to_owned()), end + 2))
        }
        _ if first.is_ascii_digit() => Ok(number(rest)),
        _ if is_of_name(first) => {
            let size = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            Ok((Word::Name(rest[..size].to_owned()), size))
        }
        _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((Word::Sign(sign), sign.len())),
            None => Err(Malformed::at(at, format!("unexpected symbol found {first}"))),
        },
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '@' | '_' | '.')
}

fn number(rest: &str) -> (Word, usize) {
    let size = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let number = rest[..size].parse().unwrap_or(f64::NAN);
    let unit = rest[size..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - size);
    if unit == 0 {
        return (Word::Number(number), size);
    }
    (Word::Period(number, rest[size..size + unit].to_owned()), size + unit)
}

/// What stands between the first character and its like, where a backslash lets the next one through.
fn enclosed(rest: &str, close: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?.1),
            _ if c == close => return Some((text, at + c.len_utf8())),
            _ => text.push(c),
        }
    }
    None
}
