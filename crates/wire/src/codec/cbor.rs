//! CBOR bodies (RFC 8949), as far as Smithy's rpcv2Cbor uses them.
//!
//! A body is first a tree of JSON values (byte strings as base64, times as their numbers), which the JSON codec then
//! holds against the model; a reply is written from the model directly, since JSON values alone do not tell bytes and
//! times from texts and numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::{Decoded, Malformed, timestamp};
use crate::model::{Kind, Member, Service, Shape};

/// The deepest nesting of items that a request may have.
const CBOR_DEPTH_MAX: usize = 64;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
/// Seconds of the epoch.
const TAG_EPOCH: u64 = 1;

/// The value of a body; an empty body is an empty map.
pub(crate) fn parse(body: &[u8]) -> Decoded<Value> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let mut input = Input { rest: body };
    let value = input.item(0)?;
    if input.rest.is_empty() {
        Ok(value)
    } else {
        Err(Malformed::body("there are bytes after the CBOR item"))
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: u64) -> Decoded<&'a [u8]> {
        let early = || Malformed::body("the CBOR item ends early");
        let count = usize::try_from(count).map_err(|_| early())?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(early)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type and additional information.
    fn initial(&mut self) -> Decoded<(u8, u8)> {
        let byte = self.take(1)?[0];
        Ok((byte >> 5, byte & 0x1f))
    }

    fn argument(&mut self, info: u8) -> Decoded<u64> {
        let count = match info {
            0..=23 => return Ok(u64::from(info)),
            24..=27 => 1 << (info - 24),
            _ => return Err(Malformed::body("a CBOR item has no length")),
        };
        Ok(self.take(count)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Whether an indefinite item ends here.
    fn at_break(&mut self) -> bool {
        let ends = self.rest.first() == Some(&BREAK);
        if ends {
            self.rest = &self.rest[1..];
        }
        ends
    }

    fn item(&mut self, depth: usize) -> Decoded<Value> {
        if depth > CBOR_DEPTH_MAX {
            return Err(Malformed::body(format!("CBOR items are nested deeper than {CBOR_DEPTH_MAX}")));
        }
        let (major, info) = self.initial()?;
        match major {
            UNSIGNED => Ok(Value::from(self.argument(info)?)),
            NEGATIVE => {
                let value = i64::try_from(self.argument(info)?)
                    .map_err(|_| Malformed::body("a number is too small"))?;
                Ok(Value::from(-1 - value))
            }
            BYTES => Ok(Value::from(STANDARD.encode(self.string(BYTES, info)?))),
            TEXT => self.text(info).map(Value::from),
            ARRAY => self.array(info, depth).map(Value::Array),
            MAP => self.map(info, depth).map(Value::Object),
            TAG => match self.argument(info)? {
                TAG_EPOCH => self.item(depth + 1),
                tag => Err(Malformed::body(format!("the CBOR tag {tag} is not known"))),
            },
            _ => self.simple(info),
        }
    }

    fn string(&mut self, major: u8, info: u8) -> Decoded<Vec<u8>> {
        if info != INDEFINITE {
            let count = self.argument(info)?;
            return Ok(self.take(count)?.to_vec());
        }
        let mut whole = Vec::new();
        while !self.at_break() {
            let (own, info) = self.initial()?;
            if own != major {
                return Err(Malformed::body("a piece of a CBOR string is not one"));
            }
            let count = self.argument(info)?;
            whole.extend_from_slice(self.take(count)?);
        }
        Ok(whole)
    }

    fn text(&mut self, info: u8) -> Decoded<String> {
        String::from_utf8(self.string(TEXT, info)?).map_err(|_| Malformed::body("a text is not UTF-8"))
    }

    fn array(&mut self, info: u8, depth: usize) -> Decoded<Vec<Value>> {
        // A length is only believed item by item, so a false one costs nothing.
        let mut values = Vec::new();
        if info == INDEFINITE {
            while !self.at_break() {
                values.push(self.item(depth + 1)?);
            }
        } else {
            for _ in 0..self.argument(info)? {
                values.push(self.item(depth + 1)?);
            }
        }
        Ok(values)
    }

    fn map(&mut self, info: u8, depth: usize) -> Decoded<Map<String, Value>> {
        let mut entries = Map::new();
        let mut left = if info == INDEFINITE { u64::MAX } else { self.argument(info)? };
        while left > 0 && !(info == INDEFINITE && self.at_break()) {
            let (major, info) = self.initial()?;
            if major != TEXT {
                return Err(Malformed::body("a key of a CBOR map is not a text"));
            }
            let key = self.text(info)?;
            entries.insert(key, self.item(depth + 1)?);
            left -= 1;
        }
        Ok(entries)
    }

    fn simple(&mut self, info: u8) -> Decoded<Value> {
        let float = match info {
            20 => return Ok(Value::Bool(false)),
            21 => return Ok(Value::Bool(true)),
            22 | 23 => return Ok(Value::Null),
            25 => half(self.take(2)?),
            26 => f64::from(f32::from_be_bytes(fixed(self.take(4)?))),
            27 => f64::from_be_bytes(fixed(self.take(8)?)),
            _ => return Err(Malformed::body("a CBOR item is of no known type")),
        };
        // Those that JSON cannot write are texts in the neutral form.
        Ok(Number::from_f64(float).map_or_else(|| Value::from(special(float)), Value::Number))
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many bytes were taken")
}

fn special(float: f64) -> &'static str {
    match float {
        _ if float.is_nan() => "NaN",
        _ if float > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// A half-precision float (RFC 8949, appendix D).
fn half(bytes: &[u8]) -> f64 {
    let bits = u16::from_be_bytes(fixed(bytes));
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// The CBOR of a structure's members.
pub(crate) fn encode(service: &Service, members: &[Member], object: &Map<String, Value>) -> Vec<u8> {
    let mut output = Output { service, bytes: Vec::new() };
    output.members(members, object);
    output.bytes
}

/// The CBOR of texts by names.
pub(crate) fn encode_texts(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    head(&mut bytes, MAP, entries.len() as u64);
    for (name, text) in entries {
        string(&mut bytes, name);
        string(&mut bytes, text);
    }
    bytes
}

fn head(bytes: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let wide = argument.to_be_bytes();
    match argument {
        0..=23 => bytes.push(major | wide[7]),
        24..=0xff => bytes.extend_from_slice(&[major | 24, wide[7]]),
        0x100..=0xffff => {
            bytes.push(major | 25);
            bytes.extend_from_slice(&wide[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(major | 26);
            bytes.extend_from_slice(&wide[4..]);
        }
        _ => {
            bytes.push(major | 27);
            bytes.extend_from_slice(&wide);
        }
    }
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    head(bytes, TEXT, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

struct Output<'a> {
    service: &'a Service,
    bytes: Vec<u8>,
}

impl Output<'_> {
    fn members(&mut self, members: &[Member], object: &Map<String, Value>) {
        let present: Vec<(&Member, &Value)> = members
            .iter()
            .filter_map(|member| Some((member, object.get(&*member.name).filter(|value| !value.is_null())?)))
            .collect();
        head(&mut self.bytes, MAP, present.len() as u64);
        for (member, value) in present {
            string(&mut self.bytes, member.wire_name());
            self.value(self.service.shape(member.shape), value);
        }
    }

    fn value(&mut self, shape: &Shape, value: &Value) {
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Object(object)) => self.members(members, object),
            (Kind::List(item), Value::Array(values)) => {
                head(&mut self.bytes, ARRAY, values.len() as u64);
                for value in values {
                    self.value(self.service.shape(item.shape), value);
                }
            }
            (Kind::Map(_, item), Value::Object(entries)) => {
                head(&mut self.bytes, MAP, entries.len() as u64);
                for (key, value) in entries {
                    string(&mut self.bytes, key);
                    self.value(self.service.shape(item.shape), value);
                }
            }
            (Kind::Timestamp, Value::Number(number)) => {
                head(&mut self.bytes, TAG, TAG_EPOCH);
                let ms = timestamp::from_number(number).unwrap_or(0);
                self.plain(&timestamp::to_value(ms));
            }
            (Kind::Blob, Value::String(text)) => {
                let content = STANDARD.decode(text).unwrap_or_default();
                head(&mut self.bytes, BYTES, content.len() as u64);
                self.bytes.extend_from_slice(&content);
            }
            (Kind::Double, Value::Number(number)) => self.float(number.as_f64().unwrap_or(f64::NAN)),
            (Kind::Double, Value::String(text)) => self.float(text.parse().unwrap_or(f64::NAN)),
            (_, value) => self.plain(value),
        }
    }

    fn float(&mut self, float: f64) {
        self.bytes.push(SIMPLE << 5 | 27);
        self.bytes.extend_from_slice(&float.to_be_bytes());
    }

    fn plain(&mut self, value: &Value) {
        match value {
            Value::Null => self.bytes.push(SIMPLE << 5 | 22),
            Value::Bool(value) => self.bytes.push(SIMPLE << 5 | (20 + u8::from(*value))),
            Value::String(text) => string(&mut self.bytes, text),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => head(&mut self.bytes, UNSIGNED, number),
                (None, Some(number)) => head(&mut self.bytes, NEGATIVE, (-1 - number).unsigned_abs()),
                (None, None) => self.float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Array(values) => {
                head(&mut self.bytes, ARRAY, values.len() as u64);
                values.iter().for_each(|value| self.plain(value));
            }
            Value::Object(entries) => {
                head(&mut self.bytes, MAP, entries.len() as u64);
                for (key, value) in entries {
                    string(&mut self.bytes, key);
                    self.plain(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex_text: &str, expected: &str) {
        let found = match parse(&hex::decode(hex_text).unwrap()) {
            Ok(value) => value.to_string(),
            Err(_) => "error".to_owned(),
        };
        assert_eq!(found, expected, "{hex_text}");
    }

    #[test]
    fn items_of_the_rfc_are_read() {
        for (bytes, expected) in [
            ("00", "0"),
            ("1903e8", "1000"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3903e7", "-1000"),
            ("f93e00", "1.5"),
            ("f90001", "5.960464477539063e-8"),
            ("f97c00", "\"Infinity\""),
            ("fa47c35000", "100000.0"),
            ("fbc010666666666666", "-4.1"),
            ("f5", "true"),
            ("f6", "null"),
            ("c11a514b67b0", "1363896240"),
            ("4401020304", "\"AQIDBA==\""),
            ("7f657374726561646d696e67ff", "\"streaming\""),
            ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
            ("bf6346756ef563416d7421ff", "{\"Fun\":true,\"Amt\":-2}"),
            ("a26161016162820203", "{\"a\":1,\"b\":[2,3]}"),
        ] {
            check(bytes, expected);
        }
    }

    #[test]
    fn hostile_items_are_refused() {
        for bytes in [
            "18",
            "1c",
            "9bffffffffffffffff",
            "5bffffffffffffffff00",
            "bf01",
            "a10102",
            "61ff",
            "c2",
            "9f",
            "0000",
            "f8ff",
            "3bffffffffffffffff",
        ] {
            check(bytes, "error");
        }
        check(&"81".repeat(100_000), "error");
        check(&"c1".repeat(100_000), "error");
    }
}
