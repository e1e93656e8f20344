//! Reads JSON text without building anything of it: checks the grammar and says where a value ends.
//!
//! Pure, and safe on hostile text: no recursion, one bit of memory for each level of nesting. Accepts what serde_json
//! accepts when it passes over a value: RFC 8259, with lone surrogates in escapes.

/// Levels of nesting in a word.
const WORD_LEVELS: usize = u128::BITS as usize;

/// Where a text is not JSON, or not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct ScanError {
    /// What is wrong.
    pub what: &'static str,
    /// Where, in bytes from the beginning.
    pub at: usize,
}

/// Where a string stands, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it has escapes, so that it is not what it looks like.
    pub(super) escaped: bool,
}

/// A place in a JSON text.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    /// The containers around the place, of those that were entered: one bit each, the innermost lowest, set for objects.
    open: u128,
    /// Those that no longer have room there.
    outer: Vec<u128>,
    depth: usize,
    pub(super) deepest: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, open: 0, outer: Vec::new(), depth: 0, deepest: 0 }
    }

    pub(super) fn wrong<T>(&self, what: &'static str) -> Result<T, ScanError> {
        Err(ScanError { what, at: self.at })
    }

    /// The next byte that is not white space, which is passed over.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                next => return next.copied(),
            }
        }
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), ScanError> {
        if self.peek().is_some() { self.wrong("trailing characters") } else { Ok(()) }
    }

    /// Passes the brace or bracket that begins a container.
    #[inline]
    pub(super) fn enter(&mut self, is_object: bool) {
        self.at += 1;
        if self.depth > 0 && self.depth.is_multiple_of(WORD_LEVELS) {
            self.outer.push(self.open);
        }
        self.open = self.open << 1 | u128::from(is_object);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }

    #[inline]
    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
        self.open >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(WORD_LEVELS) {
            self.open = self.outer.pop().unwrap_or_default();
        }
    }

    /// Goes on in an object that was entered: the name of its next member, whose value follows; none at its end, which
    /// is passed.
    pub(super) fn next_member(&mut self, is_first: bool) -> Result<Option<Text>, ScanError> {
        match self.peek() {
            Some(b'}') => {
                self.leave();
                return Ok(None);
            }
            Some(b',') if !is_first => {
                self.at += 1;
                self.peek();
            }
            _ if is_first => {}
            _ => return self.wrong("expected a comma or the end of an object"),
        }
        self.name().map(Some)
    }

    /// Goes on in an array that was entered: whether an element follows; at its end, that is passed.
    pub(super) fn next_element(&mut self, is_first: bool) -> Result<bool, ScanError> {
        match self.peek() {
            Some(b']') => {
                self.leave();
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(true)
            }
            _ if is_first => Ok(true),
            _ => self.wrong("expected a comma or the end of an array"),
        }
    }

    /// The name of a member, and the colon after it.
    fn name(&mut self) -> Result<Text, ScanError> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.wrong("expected the name of a member");
        }
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return self.wrong("expected a colon");
        }
        self.at += 1;
        Ok(name)
    }

    /// Passes a value, whatever it is.
    pub(super) fn skip(&mut self) -> Result<(), ScanError> {
        let outside = self.depth;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{') => {
                    self.enter(true);
                    if self.next_member(true)?.is_some() {
                        continue;
                    }
                }
                Some(b'[') => {
                    self.enter(false);
                    if self.next_element(true)? {
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return self.wrong("expected a value"),
            }
            // A value has ended, and with it all containers whose end follows.
            while self.depth > outside {
                let goes_on = if self.open & 1 == 1 {
                    self.next_member(false)?.is_some()
                } else {
                    self.next_element(false)?
                };
                if goes_on {
                    break;
                }
            }
            if self.depth == outside {
                return Ok(());
            }
        }
    }

    /// Passes `word`.
    pub(super) fn word(&mut self, word: &[u8]) -> Result<(), ScanError> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.wrong("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), ScanError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return self.wrong("expected a digit");
        }
        self.at += digits;
        Ok(())
    }

    /// Passes a string from its first quote on.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text, ScanError> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(&self.bytes[self.at..]);
            match self.byte() {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Text { start, end, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.wrong("a control character in a string"),
                None => return self.wrong("a string without its end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        let rest = &self.bytes[self.at + 1..];
        self.at += match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return self.wrong("an invalid escape in a string"),
        };
        Ok(())
    }
}

/// How many bytes come before the first quote, backslash or control character. Eight at a time: the tests below set the
/// high bit of each byte that is one, and perhaps those of bytes after the first; only the first is looked at.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found =
            controls | has_zero(word ^ (ONES * u64::from(b'"'))) | has_zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn is_json(text: &str) -> bool {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.skip().and_then(|()| scanner.end()).is_ok()
    }

    fn check(text: &str) {
        assert_eq!(is_json(text), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text:?}");
    }

    #[test]
    fn what_serde_json_takes_is_taken_and_nothing_else() {
        for text in [
            "0",
            "-0",
            "-",
            "01",
            "1.",
            "1.5e+7",
            "1e",
            "1E-0",
            ".5",
            "+1",
            "tru",
            "true",
            "null ",
            "nulll",
            " [ ] ",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{\"a\":1}",
            "{\"a\" : [ {} , [ ] ] }",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "\"\\ud800\"",
            "\"\\u00g0\"",
            "\"\\x\"",
            "\"\\u00\"",
            "\"a\nb\"",
            "\"a\u{7f}é\u{80}\"",
            "\"",
            "\"\\\"",
            "[",
            "{",
            "]",
            "",
            " ",
            "{]",
            "[}",
            "[{\"a\":[1,{\"b\":null}]},2]",
        ] {
            check(text);
        }
        for depth in [126, 127, 128, 129, 255, 256, 257, 1000] {
            check(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            check(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
            let mixed = |begin: &str, end: &str| format!("{}{}", begin.repeat(depth), end.repeat(depth));
            check(&mixed("[{\"a\":[", "]}]"));
            check(&mixed("[[{\"a\":[", "]]}]"));
        }
    }

    #[test]
    fn a_string_ends_where_it_ends_however_long_it_is() {
        for length in 0..40 {
            for special in
                ["\\\"", "\\u0000", "é", "\u{1}", "\u{1f}", "\u{20}", "\u{ff}", "!", "#", "]", "[", "\u{7f}"]
            {
                check(&format!("\"{}{special}{}\"", "x".repeat(length), "y".repeat(9)));
            }
        }
    }

    proptest! {
        #[test]
        fn strange_texts_are_judged_as_serde_json_judges_them(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "a", "1", "-", ".", "e", "0", "true", "null", "\"a\":", "\"b\"",
                    "\\u12ab", "\u{0}", "é", "{\"a\":", "},", "],",
                ]),
                0..24,
            ),
        ) {
            check(&parts.concat());
        }
    }
}
