//! Cuts the text of a log file into its records while it streams in.
//!
//! On the road: between the decompression of a file and the parsing of its events. Pure, safe on hostile text: no
//! recursion, and never more memory than one record may have. It finds where records begin and end; whether what is
//! between is JSON is seen when it is parsed.
//!
//! Source: log files are one object, `{"Records":[…]}`. Other members beside `Records` are passed over.

use memchr::memchr2;

/// What of a member's name is kept: no longer name is `Records`.
const NAME_BYTES_MAX: usize = 16;
/// The member that holds the records.
const RECORDS: &[u8] = b"Records";

/// Why a text is no log file.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The text is not `{"Records":[{…},…]}`.
    #[error("no log file at byte {at}: expected {expected}")]
    Unexpected {
        /// What should stand there.
        expected: &'static str,
        /// Where, in bytes from the beginning of the uncompressed file.
        at: u64,
    },
    /// The text ends before the object does, as that of a truncated file.
    #[error("the log file ends early, at byte {at}")]
    EndsEarly {
        /// Where, in bytes from the beginning of the uncompressed file.
        at: u64,
    },
    /// A record is larger than [`Options::record_size_bytes_max`](crate::Options::record_size_bytes_max).
    #[error("a record before byte {at} has more than {limit_bytes} bytes")]
    RecordTooLarge {
        /// Where it passed the limit, in bytes from the beginning of the uncompressed file.
        at: u64,
        /// The limit.
        limit_bytes: usize,
    },
    /// The file is larger than [`Options::file_size_bytes_max`](crate::Options::file_size_bytes_max).
    #[error("the uncompressed log file has more than {limit_bytes} bytes")]
    FileTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The file is not gzip, or its checksum is not that of its content.
    #[error("the log file is not gzip")]
    Gzip(#[source] std::io::Error),
}

/// Where in a file's text the splitter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the outer object.
    Begin,
    /// In the outer object, before a name or its end.
    Member { is_first: bool },
    /// In the name of a member.
    Name { is_escaped: bool },
    /// After a name.
    Colon,
    /// Before the value of a member.
    Value,
    /// In a value of the outer object that is no container and no string.
    Scalar,
    /// After a value of the outer object.
    AfterValue,
    /// In the records, before one or their end.
    Element { is_first: bool },
    /// In the records, after one.
    AfterElement,
    /// In a record, or in a value that is passed over.
    Inside(Inside),
    /// After the outer object.
    End,
}

/// Where in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inside {
    is_record: bool,
    is_text: bool,
    is_escaped: bool,
    /// Containers that are open, this value's own too.
    depth: usize,
}

/// Cuts one file.
#[derive(Debug)]
pub(crate) struct Splitter {
    place: Place,
    /// What came so far of a record that goes on in the next piece.
    partial: Vec<u8>,
    name: Vec<u8>,
    /// How many bytes came before the present piece.
    passed: u64,
    record_size_bytes_max: usize,
}

impl Splitter {
    pub(crate) fn new(record_size_bytes_max: usize) -> Self {
        Self { place: Place::Begin, partial: Vec::new(), name: Vec::new(), passed: 0, record_size_bytes_max }
    }

    /// How many bytes came so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Takes the next piece of the text, and gives the records that end in it to `found`.
    pub(crate) fn push(&mut self, piece: &[u8], mut found: impl FnMut(&[u8])) -> Result<(), FormatError> {
        let mut at = 0;
        while at < piece.len() {
            at = match self.place {
                Place::Inside(inside) => self.inside(piece, at, inside, &mut found)?,
                Place::Name { is_escaped } => self.in_name(piece, at, is_escaped),
                _ => self.between(piece, at)?,
            };
        }
        self.passed += piece.len() as u64;
        Ok(())
    }

    /// Says whether the text was whole.
    pub(crate) fn finish(&self) -> Result<(), FormatError> {
        if self.place == Place::End { Ok(()) } else { Err(FormatError::EndsEarly { at: self.passed }) }
    }

    /// Looks at one byte outside of values and names; says where to go on.
    fn between(&mut self, piece: &[u8], at: usize) -> Result<usize, FormatError> {
        let byte = piece[at];
        if byte.is_ascii_whitespace() {
            if self.place == Place::Scalar {
                self.place = Place::AfterValue;
            }
            return Ok(at + 1);
        }
        let is_records = self.name == RECORDS;
        let value = |is_record, is_text| Inside { is_record, is_text, is_escaped: false, depth: 0 };
        let unexpected = |expected| Err(FormatError::Unexpected { expected, at: self.passed + at as u64 });
        self.place = match (self.place, byte) {
            (Place::Begin, b'{') => Place::Member { is_first: true },
            (Place::Begin, _) => return unexpected("the object of a log file"),
            (Place::Member { .. }, b'"') => {
                self.name.clear();
                Place::Name { is_escaped: false }
            }
            (Place::Member { is_first: true }, b'}') => Place::End,
            (Place::Member { .. }, _) => return unexpected("the name of a member"),
            (Place::Colon, b':') => Place::Value,
            (Place::Colon, _) => return unexpected("a colon"),
            (Place::Value, b'[') if is_records => Place::Element { is_first: true },
            (Place::Value, _) if is_records => return unexpected("the list of records"),
            (Place::Value, b'{' | b'[' | b'"') => {
                self.place = Place::Inside(value(false, false));
                return Ok(at);
            }
            (Place::Value, b'}' | b']' | b',' | b':') => return unexpected("a value"),
            (Place::Value, _) => Place::Scalar,
            (Place::AfterValue | Place::Scalar, b',') => Place::Member { is_first: false },
            (Place::AfterValue | Place::Scalar, b'}') => Place::End,
            (Place::Scalar, b'"' | b'{' | b'[' | b']' | b':') | (Place::AfterValue, _) => {
                return unexpected("a comma or the end of the object");
            }
            (Place::Scalar, _) => Place::Scalar,
            (Place::Element { .. }, b'{') => {
                self.place = Place::Inside(value(true, false));
                return Ok(at);
            }
            (Place::Element { is_first: true } | Place::AfterElement, b']') => Place::AfterValue,
            (Place::Element { .. }, _) => return unexpected("a record"),
            (Place::AfterElement, b',') => Place::Element { is_first: false },
            (Place::AfterElement, _) => return unexpected("a comma or the end of the records"),
            (Place::End, _) => return unexpected("the end of the file"),
            (Place::Name { .. } | Place::Inside(_), _) => unreachable!("push looks at these elsewhere"),
        };
        Ok(at + 1)
    }

    fn in_name(&mut self, piece: &[u8], at: usize, is_escaped: bool) -> usize {
        let byte = piece[at];
        self.place = match byte {
            b'"' if !is_escaped => Place::Colon,
            _ => Place::Name { is_escaped: byte == b'\\' && !is_escaped },
        };
        if matches!(self.place, Place::Name { .. }) && self.name.len() < NAME_BYTES_MAX {
            self.name.push(byte);
        }
        at + 1
    }

    /// Passes a value, or as much of it as there is; says where to go on.
    fn inside(
        &mut self,
        piece: &[u8],
        start: usize,
        mut inside: Inside,
        found: &mut impl FnMut(&[u8]),
    ) -> Result<usize, FormatError> {
        let mut at = start;
        let ended = inside.pass(piece, &mut at);
        if inside.is_record {
            let came = &piece[start..at];
            if self.partial.len() + came.len() > self.record_size_bytes_max {
                let limit_bytes = self.record_size_bytes_max;
                return Err(FormatError::RecordTooLarge { at: self.passed + at as u64, limit_bytes });
            }
            match (ended, self.partial.is_empty()) {
                (true, true) => found(came),
                (true, false) => {
                    self.partial.extend_from_slice(came);
                    found(&self.partial);
                    self.partial.clear();
                }
                (false, _) => self.partial.extend_from_slice(came),
            }
        }
        self.place = match (ended, inside.is_record) {
            (false, _) => Place::Inside(inside),
            (true, true) => Place::AfterElement,
            (true, false) => Place::AfterValue,
        };
        Ok(at)
    }
}

impl Inside {
    /// Goes on to the end of the value or of the piece; says whether the value has ended.
    fn pass(&mut self, piece: &[u8], at: &mut usize) -> bool {
        while *at < piece.len() {
            if self.is_text {
                if self.is_escaped {
                    self.is_escaped = false;
                    *at += 1;
                    continue;
                }
                let Some(plain) = memchr2(b'"', b'\\', &piece[*at..]) else {
                    *at = piece.len();
                    return false;
                };
                *at += plain + 1;
                if piece[*at - 1] == b'\\' {
                    self.is_escaped = true;
                    continue;
                }
                self.is_text = false;
            } else {
                let Some(plain) = piece[*at..].iter().position(|byte| STRUCTURE[usize::from(*byte)]) else {
                    *at = piece.len();
                    return false;
                };
                *at += plain + 1;
                match piece[*at - 1] {
                    b'"' => {
                        self.is_text = true;
                        continue;
                    }
                    b'{' | b'[' => self.depth += 1,
                    _ => self.depth = self.depth.saturating_sub(1),
                }
            }
            if self.depth == 0 {
                return true;
            }
        }
        false
    }
}

/// The bytes that change where in a value one is.
static STRUCTURE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Result<Vec<String>, FormatError> {
        let mut splitter = Splitter::new(1000);
        let mut records = Vec::new();
        for piece in pieces {
            splitter.push(piece, |record| records.push(String::from_utf8(record.to_vec()).unwrap()))?;
        }
        splitter.finish().map(|()| records)
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(split(&[text.as_bytes()]).unwrap(), expected, "{text}");
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(split(&bytes).unwrap(), expected, "{text}, byte by byte");
    }

    #[test]
    fn records_are_found_wherever_they_stand() {
        check(r#"{"Records":[]}"#, &[]);
        check("{}", &[]);
        check(r#"{"Records":[{}]}"#, &["{}"]);
        check(
            r#" { "Records" : [ {"a":"}]\"{"} , {"b":[{"c":"\\"}]} ] } "#,
            &[r#"{"a":"}]\"{"}"#, r#"{"b":[{"c":"\\"}]}"#],
        );
        check(
            r#"{"v":1.5e3 ,"n":null,"s":"\"","o":{"Records":[{"x":1}]},"Records":[{"a":1}],"e":[[]]}"#,
            &[r#"{"a":1}"#],
        );
    }

    #[test]
    fn what_is_no_log_file_is_refused_where_it_goes_wrong() {
        for (text, expected) in [
            ("", "the log file ends early, at byte 0"),
            (r#"{"Records":[{"a":1}]"#, "the log file ends early, at byte 20"),
            (r#"{"Records":[{"a":1},"#, "the log file ends early, at byte 20"),
            (r#"[{"a":1}]"#, "no log file at byte 0: expected the object of a log file"),
            (r#"{"Records":{}}"#, "no log file at byte 11: expected the list of records"),
            (r#"{"Records":null}"#, "no log file at byte 11: expected the list of records"),
            (r#"{"Records":[1]}"#, "no log file at byte 12: expected a record"),
            (r#"{"Records":[{},]}"#, "no log file at byte 15: expected a record"),
            (r#"{"Records":[{}{}]}"#, "no log file at byte 14: expected a comma or the end of the records"),
            (r#"{"Records":[]}{}"#, "no log file at byte 14: expected the end of the file"),
            (r#"{"a" 1}"#, "no log file at byte 5: expected a colon"),
            (r#"{"a":1,}"#, "no log file at byte 7: expected the name of a member"),
            (r#"{"a":}"#, "no log file at byte 5: expected a value"),
        ] {
            assert_eq!(split(&[text.as_bytes()]).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn no_record_grows_past_the_limit() {
        let text = format!(r#"{{"Records":[{{"a":"{}"}}]}}"#, "x".repeat(993));
        let record = &text[12..text.len() - 2];
        assert_eq!(record.len(), 1001);
        for size in [1, 100, 5000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let error = split(&pieces).unwrap_err();
            assert!(matches!(error, FormatError::RecordTooLarge { limit_bytes: 1000, .. }), "{error}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[\"\\\\{}\\[\\],:a\\u{e9}\n]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[\"\\\\{}a-c]{0,4}", inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_same_records_are_found_however_the_text_is_cut(
            records in prop::collection::vec(prop::collection::vec(("[a-c\"]{1,3}", json()), 0..4), 0..5),
            other in json(),
            cuts in prop::collection::vec(1_usize..40, 0..30),
            is_pretty in any::<bool>(),
        ) {
            let records: Vec<serde_json::Value> =
                records.into_iter().map(|members| serde_json::Value::Object(members.into_iter().collect())).collect();
            let file = serde_json::json!({"before": other, "Records": records, "after": other});
            let text =
                if is_pretty { serde_json::to_vec_pretty(&file) } else { serde_json::to_vec(&file) }.unwrap();
            let mut pieces = Vec::new();
            let mut rest = text.as_slice();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let mut splitter = Splitter::new(1 << 20);
            let mut found = Vec::new();
            for piece in pieces {
                splitter.push(piece, |record| found.push(serde_json::from_slice(record).unwrap())).unwrap();
            }
            splitter.finish().unwrap();
            let found: Vec<serde_json::Value> = found;
            prop_assert_eq!(found, records);
            prop_assert_eq!(splitter.passed(), text.len() as u64);
        }

        #[test]
        fn no_text_makes_the_splitter_panic(text in "[{}\\[\\]\",:\\\\ a1Records]{0,60}") {
            let _ = split(&[text.as_bytes()]);
        }
    }
}
