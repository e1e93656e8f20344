//! One pass over a line of JSON, which stops only at what selectors lead to and hurries past everything else.
//!
//! What is passed over is checked for its structure alone: strings end, brackets close. Safe on hostile text: recursion
//! goes no deeper than selectors are long.

use super::super::selector::{Paths, Place};

/// A value that a selector leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'l> {
    Text {
        raw: &'l [u8],
        is_escaped: bool,
    },
    Number(&'l [u8]),
    True,
    False,
    Null,
    /// An array or an object.
    Container,
}

pub(super) trait Visit {
    /// A value of a selector; whether nothing more is wanted.
    fn value(&mut self, selector: usize, value: &Value<'_>) -> bool;
}

/// The line is not JSON.
#[derive(Debug)]
pub(super) struct Malformed;

/// Why the pass ends before its end.
enum Stop {
    Enough,
    Malformed,
}

/// Passes over `line`, and shows `visit` what selectors lead to, until it has enough.
pub(super) fn walk(paths: &Paths, line: &[u8], visit: &mut impl Visit) -> Result<(), Malformed> {
    let mut pass = Pass { places: &paths.places, line, at: 0, visit };
    let passed = pass.value(0).and_then(|()| match pass.peek() {
        None => Ok(()),
        Some(_) => Err(Stop::Malformed),
    });
    match passed {
        Ok(()) | Err(Stop::Enough) => Ok(()),
        Err(Stop::Malformed) => Err(Malformed),
    }
}

struct Pass<'l, 'v, V> {
    places: &'l [Place],
    line: &'l [u8],
    at: usize,
    visit: &'v mut V,
}

impl<'l, V: Visit> Pass<'l, '_, V> {
    /// The next byte that is not white space, which is passed over.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.line.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Passes a value at a place.
    fn value(&mut self, place: usize) -> Result<(), Stop> {
        let first = self.peek().ok_or(Stop::Malformed)?;
        let is_container = matches!(first, b'{' | b'[');
        let value = match first {
            b'{' | b'[' => Value::Container,
            b'"' => {
                let (raw, is_escaped) = self.string()?;
                Value::Text { raw, is_escaped }
            }
            _ => self.scalar()?,
        };
        let places = self.places;
        let place = &places[place];
        for selector in &place.ends {
            if self.visit.value(*selector, &value) {
                return Err(Stop::Enough);
            }
        }
        match first {
            b'{' if !place.members.is_empty() || place.other_member.is_some() => self.object(place),
            b'[' if !place.elements.is_empty() || place.other_element.is_some() => self.array(place),
            _ if is_container => {
                self.at += 1;
                self.skip_rest()
            }
            _ => Ok(()),
        }
    }

    /// Passes an object whose members are of interest. Once all that are named were seen, the rest is not.
    fn object(&mut self, place: &Place) -> Result<(), Stop> {
        self.at += 1;
        // Of the members that are named, a bit each: no pattern names more.
        let mut seen = 0_u128;
        let mut unseen = place.members.len();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(Stop::Malformed);
            }
            let (name, is_escaped) = self.string()?;
            if self.peek() != Some(b':') {
                return Err(Stop::Malformed);
            }
            self.at += 1;
            let named = if is_escaped { named(place, &unescaped(name)) } else { named(place, name) };
            match named {
                Some(number) if seen >> number & 1 == 0 => {
                    seen |= 1 << number;
                    unseen -= 1;
                    self.value(place.members[number].1)?;
                }
                Some(_) => self.skip()?,
                None => match place.other_member {
                    Some(other) => self.value(other)?,
                    None => self.skip()?,
                },
            }
            match self.peek() {
                Some(b',') if unseen == 0 && place.other_member.is_none() => return self.skip_rest(),
                Some(b',') => {
                    self.at += 1;
                    self.peek();
                }
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Stop::Malformed),
            }
        }
    }

    fn array(&mut self, place: &Place) -> Result<(), Stop> {
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        let mut unseen = place.elements.len();
        for index in 0.. {
            let named = place.elements.iter().find(|(named, _)| *named == index).map(|(_, place)| *place);
            unseen -= usize::from(named.is_some());
            match named.or(place.other_element) {
                Some(on) => self.value(on)?,
                None => self.skip()?,
            }
            match self.peek() {
                Some(b',') if unseen == 0 && place.other_element.is_none() => return self.skip_rest(),
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Stop::Malformed),
            }
        }
        Ok(())
    }

    /// Passes a value that nobody asks for.
    #[inline]
    fn skip(&mut self) -> Result<(), Stop> {
        match self.peek().ok_or(Stop::Malformed)? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => {
                self.at += 1;
                self.skip_rest()
            }
            _ => self.scalar().map(|_| ()),
        }
    }

    /// Passes the rest of a container.
    fn skip_rest(&mut self) -> Result<(), Stop> {
        let mut depth = 1_usize;
        while let Some(byte) = self.line.get(self.at) {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        Err(Stop::Malformed)
    }

    /// Passes a string from its first quote on: what is in it, and whether it has escapes.
    #[inline]
    fn string(&mut self) -> Result<(&'l [u8], bool), Stop> {
        let start = self.at + 1;
        let mut at = start;
        let mut is_escaped = false;
        loop {
            at += quote_or_backslash(self.line.get(at..).unwrap_or_default()).ok_or(Stop::Malformed)?;
            if self.line[at] == b'"' {
                self.at = at + 1;
                return Ok((&self.line[start..at], is_escaped));
            }
            is_escaped = true;
            at += 2;
        }
    }

    fn scalar(&mut self) -> Result<Value<'l>, Stop> {
        let rest = &self.line[self.at..];
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let text = &rest[..rest.iter().position(is_end).unwrap_or(rest.len())];
        self.at += text.len();
        match text {
            b"true" => Ok(Value::True),
            b"false" => Ok(Value::False),
            b"null" => Ok(Value::Null),
            [b'-' | b'0'..=b'9', ..] => Ok(Value::Number(text)),
            _ => Err(Stop::Malformed),
        }
    }
}

/// Which of the members that the place names this is.
#[inline]
fn named(place: &Place, name: &[u8]) -> Option<usize> {
    if place.name_lengths >> name.len().min(63) & 1 == 0 {
        return None;
    }
    place.members.iter().position(|(known, _)| known == name)
}

/// Where the first quote or backslash is. Most strings are short: so the first bytes are looked at eight at a time, and
/// only the rest is searched with the widest instructions there are. The tests set the high bit of each byte that is one,
/// and perhaps of bytes after the first.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    const NEAR: usize = 32;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while at < NEAR {
        let Some(chunk) = bytes[at..].first_chunk::<8>() else { break };
        let word = u64::from_le_bytes(*chunk);
        let found = has_zero(word ^ (ONES * u64::from(b'"'))) | has_zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &bytes[at..]).map(|found| at + found)
}

/// The text that a string with escapes stands for. What is no escape stands for itself.
pub(super) fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            text.push(*first);
            continue;
        }
        let Some((kind, after)) = rest.split_first() else { break };
        rest = after;
        match kind {
            b'b' => text.push(0x08),
            b'f' => text.push(0x0c),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => {
                let (c, after) = numbered(rest);
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            other => text.push(*other),
        }
    }
    text
}

/// The character behind `\u`, perhaps of two such, and what comes after it.
fn numbered(digits: &[u8]) -> (char, &[u8]) {
    let unit = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(digits) else { return (char::REPLACEMENT_CHARACTER, digits) };
    let rest = &digits[4..];
    if let Some(c) = char::from_u32(first) {
        return (c, rest);
    }
    let second = rest.strip_prefix(b"\\u").and_then(unit);
    match second {
        Some(second @ 0xdc00..=0xdfff) if first < 0xdc00 => {
            let c = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            (c.unwrap_or(char::REPLACEMENT_CHARACTER), &rest[6..])
        }
        _ => (char::REPLACEMENT_CHARACTER, rest),
    }
}
