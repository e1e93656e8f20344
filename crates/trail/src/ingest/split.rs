//! Finds the records in a body, piece by piece: newline-delimited JSON, or CloudTrail's `{"Records":[…]}`.
//!
//! Pure. Holds at most one record that is cut by the end of a piece. Where the pieces are cut does not matter. A
//! record is found by its place alone, a line or an element of the array; whether it is one is checked later, so that
//! a bad record does not take its neighbours along.

use cairn_core::record::RECORD_SIZE_BYTES_MAX;
use memchr::{memchr, memchr2};

/// How a document of records begins; white space is allowed around its tokens.
const HEAD: &[u8] = br#"{"Records":["#;
/// Where in [`HEAD`] white space is allowed: before these bytes.
const HEAD_GAPS: [usize; 3] = [1, 10, 11];

/// Something at a record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The bytes of a record.
    Record {
        /// The bytes, without white space around them.
        json: &'a [u8],
    },
    /// A record over [`RECORD_SIZE_BYTES_MAX`], of which nothing was kept.
    TooLarge {
        /// Its size.
        size_bytes: usize,
    },
}

/// A body that is not what it should be: from here on no record can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins with something else.
    #[error("the body is neither newline-delimited JSON objects nor {{\"Records\":[…]}}")]
    Form,
    /// Something in the array of records is not an element, a comma or the end.
    #[error("the array of records is not valid JSON after {records} records")]
    Array {
        /// How many were found before.
        records: u64,
    },
    /// It ends inside the array.
    #[error("the body ends inside the array of records, after {records} records")]
    Truncated {
        /// How many were found before.
        records: u64,
    },
}

/// Where in a body the splitter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a document.
    Start,
    /// In what may be [`HEAD`]: so many bytes of it were there.
    Head(usize),
    /// In newline-delimited JSON.
    Lines,
    /// Before an element; whether a comma was there, after which one must come.
    Before { comma: bool },
    /// In an element.
    Element,
    /// After an element.
    After,
    /// After the array.
    Closing,
}

/// Finds the records of one body.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    nesting: Nesting,
    /// The part of a record that earlier pieces had.
    carry: Vec<u8>,
    /// The size so far of a record that is too large to be kept.
    oversize_bytes: usize,
    records: u64,
}

impl Default for Splitter {
    fn default() -> Self {
        let (nesting, carry) = (Nesting::default(), Vec::new());
        Self { state: State::Start, nesting, carry, oversize_bytes: 0, records: 0 }
    }
}

impl Splitter {
    /// Takes the next piece of the body and shows the records that end in it.
    ///
    /// # Errors
    /// Where no further record can be found. The splitter must not be used after that.
    pub fn push(&mut self, piece: &[u8], each: &mut impl FnMut(Found<'_>)) -> Result<(), Malformed> {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.state {
                State::Start => self.start(rest)?,
                State::Head(matched) => self.head(rest, matched, each)?,
                State::Lines => self.line(rest, each),
                State::Before { comma } => self.before(rest, comma)?,
                State::Element => self.element(rest, each),
                State::After => self.after(rest)?,
                State::Closing => self.closing(rest)?,
            };
        }
        Ok(())
    }

    /// The body has ended: shows the last line, which needs no newline.
    ///
    /// # Errors
    /// Where it ended too early.
    pub fn finish(mut self, each: &mut impl FnMut(Found<'_>)) -> Result<(), Malformed> {
        if matches!(self.state, State::Head(_)) {
            self.back_to_lines(each)?;
        }
        match self.state {
            State::Start => Ok(()),
            State::Lines => {
                self.line(b"\n", each);
                Ok(())
            }
            _ => Err(Malformed::Truncated { records: self.records }),
        }
    }

    fn start<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let rest = bytes.trim_ascii_start();
        match rest.first() {
            None => Ok(rest),
            Some(b'{') => {
                self.state = State::Head(0);
                Ok(rest)
            }
            Some(_) => Err(Malformed::Form),
        }
    }

    fn head<'a>(
        &mut self,
        bytes: &'a [u8],
        mut matched: usize,
        each: &mut impl FnMut(Found<'_>),
    ) -> Result<&'a [u8], Malformed> {
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == HEAD[matched] {
                matched += 1;
            } else if !(HEAD_GAPS.contains(&matched) && byte.is_ascii_whitespace()) {
                self.back_to_lines(each)?;
                return Ok(&bytes[at..]);
            }
            self.carry.push(*byte);
            if matched == HEAD.len() {
                self.carry.clear();
                self.state = State::Before { comma: false };
                return Ok(&bytes[at + 1..]);
            }
            if self.carry.len() > RECORD_SIZE_BYTES_MAX {
                return Err(Malformed::Form);
            }
        }
        self.state = State::Head(matched);
        Ok(&[])
    }

    /// What looked like [`HEAD`] is the beginning of a line.
    fn back_to_lines(&mut self, each: &mut impl FnMut(Found<'_>)) -> Result<(), Malformed> {
        self.state = State::Lines;
        let seen = std::mem::take(&mut self.carry);
        self.push(&seen, each)
    }

    fn line<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.keep(bytes);
            return &[];
        };
        self.emit(&bytes[..end], each);
        &bytes[end + 1..]
    }

    fn before<'a>(&mut self, bytes: &'a [u8], comma: bool) -> Result<&'a [u8], Malformed> {
        let rest = bytes.trim_ascii_start();
        match rest.first() {
            None => Ok(rest),
            Some(b']') if !comma => {
                self.state = State::Closing;
                Ok(&rest[1..])
            }
            Some(b']' | b',' | b'}' | b':') => Err(Malformed::Array { records: self.records }),
            Some(_) => {
                self.state = State::Element;
                self.nesting = Nesting::default();
                Ok(rest)
            }
        }
    }

    fn element<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        let Some(end) = self.nesting.scan(bytes) else {
            self.keep(bytes);
            return &[];
        };
        self.state = State::After;
        self.emit(&bytes[..end], each);
        &bytes[end..]
    }

    fn after<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let rest = bytes.trim_ascii_start();
        match rest.first() {
            None => return Ok(rest),
            Some(b',') => self.state = State::Before { comma: true },
            Some(b']') => self.state = State::Closing,
            Some(_) => return Err(Malformed::Array { records: self.records }),
        }
        Ok(&rest[1..])
    }

    /// After a document another may follow, as where log files are put one after the other.
    fn closing<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let rest = bytes.trim_ascii_start();
        match rest.first() {
            None => return Ok(rest),
            Some(b'}') => self.state = State::Start,
            Some(_) => return Err(Malformed::Array { records: self.records }),
        }
        Ok(&rest[1..])
    }

    /// Keeps a part of a record until its end is there.
    fn keep(&mut self, part: &[u8]) {
        if self.oversize_bytes == 0 && self.carry.len() + part.len() <= RECORD_SIZE_BYTES_MAX {
            self.carry.extend_from_slice(part);
        } else {
            self.oversize_bytes += self.carry.len() + part.len();
            self.carry = Vec::new();
        }
    }

    /// Shows what ends with `last`.
    fn emit(&mut self, last: &[u8], each: &mut impl FnMut(Found<'_>)) {
        let is_split = self.oversize_bytes > 0 || !self.carry.is_empty();
        if is_split {
            self.keep(last);
        }
        let json = if is_split { &self.carry } else { last }.trim_ascii();
        let size_bytes = if self.oversize_bytes > 0 { self.oversize_bytes } else { json.len() };
        if size_bytes == 0 {
            // An empty line.
        } else if size_bytes > RECORD_SIZE_BYTES_MAX {
            self.records += 1;
            each(Found::TooLarge { size_bytes });
        } else {
            self.records += 1;
            each(Found::Record { json });
        }
        self.carry.clear();
        self.oversize_bytes = 0;
    }
}

/// How deep objects and arrays are nested in the first value of `json`.
#[must_use]
pub fn depth_of(json: &[u8]) -> usize {
    let mut nesting = Nesting::default();
    nesting.scan(json);
    nesting.deepest
}

/// Follows the nesting of one value.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    depth: usize,
    deepest: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Goes on with `bytes`: the offset after the end of the value, where it ends in them.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                at += self.scan_string(&bytes[at..])?;
                if self.depth == 0 && !self.in_string {
                    return Some(at);
                }
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                // A number or a word ends before these.
                b'}' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t' if self.depth == 0 => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// How many bytes of a string were passed; none where it goes on beyond `bytes`.
    fn scan_string(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.escaped {
            self.escaped = false;
            return Some(1);
        }
        let at = memchr2(b'"', b'\\', bytes)?;
        if bytes[at] == b'\\' {
            self.escaped = true;
        } else {
            self.in_string = false;
        }
        Some(at + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a body splits into, in lines; `step` is the size of the pieces.
    fn split(body: &[u8], step: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |part: Found<'_>| {
            found.push(match part {
                Found::Record { json } => format!("{} {}", depth_of(json), String::from_utf8_lossy(json)),
                Found::TooLarge { size_bytes } => format!("too large: {size_bytes}"),
            });
        };
        let mut splitter = Splitter::default();
        let pushed = body.chunks(step.max(1)).try_for_each(|piece| splitter.push(piece, &mut each));
        let ended = pushed.and_then(|()| splitter.finish(&mut each));
        if let Err(error) = ended {
            found.push(error.to_string());
        }
        found
    }

    fn check(body: &str, expected: &[&str]) {
        for step in 1..=body.len().max(1) {
            assert_eq!(split(body.as_bytes(), step), expected, "{body} in pieces of {step}");
        }
    }

    #[test]
    fn lines_are_records_and_empty_ones_are_none() {
        check("", &[]);
        check(" \n\r\n ", &[]);
        check(
            "{\"a\":1}\r\n\n  {\"b\":[{}]}  \nx\n{\"c",
            &["1 {\"a\":1}", "3 {\"b\":[{}]}", "0 x", "1 {\"c"],
        );
        check("{ \"Record\": 1 }", &["1 { \"Record\": 1 }"]);
        check("{\n\"a\":1}", &["1 {", "0 \"a\":1}"]);
    }

    #[test]
    fn a_document_of_records_shows_its_elements() {
        check(r#"{"Records":[]}"#, &[]);
        check(
            "\n{ \"Records\" :\n[ {\"a\":\"]}\\\"\"} ,{\"b\":{}},7,\"x\",null ] }\n",
            &["1 {\"a\":\"]}\\\"\"}", "2 {\"b\":{}}", "0 7", "0 \"x\"", "0 null"],
        );
        check(r#"{"Records":[{}]}{"Records":[[]]} {"a":1}"#, &["1 {}", "1 []", "1 {\"a\":1}"]);
    }

    #[test]
    fn what_is_no_body_of_records_is_said_to_be_none() {
        let form = "the body is neither newline-delimited JSON objects nor {\"Records\":[…]}";
        for body in ["[{}]", "x", "\"{}\"", "PK\u{3}\u{4}"] {
            check(body, &[form]);
        }
        check(r#"{"Records":[{},]}"#, &["1 {}", "the array of records is not valid JSON after 1 records"]);
        check(r#"{"Records":[{}{}]}"#, &["1 {}", "the array of records is not valid JSON after 1 records"]);
        check(
            r#"{"Records":[{}],"a":1}"#,
            &["1 {}", "the array of records is not valid JSON after 1 records"],
        );
        check(
            r#"{"Records":[{},{"a"#,
            &["1 {}", "the body ends inside the array of records, after 1 records"],
        );
    }

    #[test]
    fn a_record_over_the_limit_is_not_kept_and_its_neighbours_are_found() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(10 << 20));
        let size_bytes = large.len();
        let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(RECORD_SIZE_BYTES_MAX - 8));
        for body in
            [format!("{{}}\n{large}\n{exact}\n{{}}"), format!("{{\"Records\":[{{}},{large},{exact},{{}}]}}")]
        {
            for step in [4096, 65_537, usize::MAX] {
                let found = split(body.as_bytes(), step.min(body.len()));
                assert_eq!(found.len(), 4);
                assert_eq!((found[0].as_str(), found[3].as_str()), ("1 {}", "1 {}"));
                assert_eq!(found[1], format!("too large: {size_bytes}"));
                assert!(found[2] == format!("1 {exact}"));
            }
        }
    }

    proptest! {
        #[test]
        fn where_a_body_is_cut_does_not_matter(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", " ", "a", "{\"Records\":[", "{\"a\":1}", "\u{0}", "é",
                ]),
                0..40,
            ),
            step in 1_usize..9,
        ) {
            let body = parts.concat();
            prop_assert_eq!(split(body.as_bytes(), step), split(body.as_bytes(), body.len()));
        }

        #[test]
        fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..400), step in 1_usize..50) {
            prop_assert_eq!(split(&body, step), split(&body, body.len()));
        }
    }
}
