//! Reads an event's text for the values at the paths that patterns name, and passes over all else.
//!
//! A text that is JSON is read as such; of another as much as was understood counts for nothing. Arrays and their
//! elements have places: two values belong together where no array's different elements hold them.

use std::borrow::Cow;

use memchr::memchr2;

use super::fields::{FieldId, Fields, NodeId};
use crate::pattern::Scalar;

/// The deepest nesting that is followed.
const DEPTH_MAX: usize = 128;
/// The place of what is in no array.
pub(super) const NOWHERE: u32 = u32::MAX;

/// A value at a path that some pattern names.
#[derive(Debug)]
pub(super) struct Leaf<'e> {
    pub(super) field: FieldId,
    /// The innermost array's element that holds it.
    pub(super) place: u32,
    value: Value<'e>,
}

#[derive(Debug)]
enum Value<'e> {
    Null,
    Boolean(bool),
    Text(Cow<'e, str>),
    Number(&'e str),
}

/// An array's element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The element, of an array around this one, that holds the array.
    pub(super) above: u32,
    pub(super) array: u32,
    pub(super) element: u32,
}

/// What was found, by field.
#[derive(Debug, Default)]
pub(super) struct Found<'e> {
    leaves: Vec<Leaf<'e>>,
    pub(super) places: Vec<Place>,
}

impl Leaf<'_> {
    pub(super) fn scalar(&self) -> Scalar<'_> {
        match &self.value {
            Value::Null => Scalar::Null,
            Value::Boolean(is) => Scalar::Boolean(*is),
            Value::Text(text) => Scalar::Text(text),
            Value::Number(number) => Scalar::Number(Cow::Borrowed(number)),
        }
    }
}

impl<'e> Found<'e> {
    /// The values at one path.
    pub(super) fn of(&self, field: FieldId) -> &[Leaf<'e>] {
        let start = self.leaves.partition_point(|leaf| leaf.field < field);
        let rest = &self.leaves[start..];
        &rest[..rest.iter().take_while(|leaf| leaf.field == field).count()]
    }

    /// All values, those of one path together.
    pub(super) fn all(&self) -> &[Leaf<'e>] {
        &self.leaves
    }
}

/// What the event has at the paths of `fields`; none where it is no object, or no JSON as far as that was read.
pub(super) fn scan<'e>(event: &'e str, fields: &Fields) -> Option<Found<'e>> {
    let mut scan = Scan { text: event, at: 0, fields, found: Found::default(), arrays: 0 };
    scan.found.leaves.reserve(16);
    if scan.next_byte()? != b'{' {
        return None;
    }
    scan.object(Fields::ROOT, NOWHERE, DEPTH_MAX)?;
    let mut found = scan.found;
    found.leaves.sort_by_key(|leaf| leaf.field);
    Some(found)
}

struct Scan<'e, 'f> {
    text: &'e str,
    at: usize,
    fields: &'f Fields,
    found: Found<'e>,
    arrays: u32,
}

impl<'e> Scan<'e, '_> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no space, which stays to be read.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// An object, at its brace.
    fn object(&mut self, node: NodeId, place: u32, depth: usize) -> Option<()> {
        self.at += 1;
        if self.next_byte()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            if self.next_byte()? != b'"' {
                return None;
            }
            let name = self.string()?;
            if self.next_byte()? != b':' {
                return None;
            }
            self.at += 1;
            match self.fields.member(node, &name) {
                Some(member) => self.value(member, place, depth.checked_sub(1)?)?,
                None => self.skip()?,
            }
            match self.next_byte()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn value(&mut self, node: NodeId, place: u32, depth: usize) -> Option<()> {
        match self.next_byte()? {
            b'{' => return self.object(node, place, depth),
            b'[' => return self.array(node, place, depth),
            _ => {}
        }
        let Some(field) = self.fields.field(node) else { return self.skip() };
        let value = if self.byte()? == b'"' {
            Value::Text(self.string()?)
        } else {
            match self.literal()? {
                "null" => Value::Null,
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                number => Value::Number(number),
            }
        };
        self.found.leaves.push(Leaf { field, place, value });
        Some(())
    }

    fn array(&mut self, node: NodeId, above: u32, depth: usize) -> Option<()> {
        self.at += 1;
        let array = self.arrays;
        self.arrays += 1;
        if self.next_byte()? == b']' {
            self.at += 1;
            return Some(());
        }
        for element in 0.. {
            // A value that is itself an element belongs together with all around the array.
            let is_container = matches!(self.next_byte()?, b'{' | b'[');
            let place = if is_container { self.place(Place { above, array, element })? } else { above };
            self.value(node, place, depth.checked_sub(1)?)?;
            match self.next_byte()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn place(&mut self, place: Place) -> Option<u32> {
        let id = u32::try_from(self.found.places.len()).ok()?;
        self.found.places.push(place);
        Some(id)
    }

    /// A string, at its quote.
    fn string(&mut self) -> Option<Cow<'e, str>> {
        let start = self.at + 1;
        let rest = &self.text.as_bytes()[start..];
        let length = memchr2(b'"', b'\\', rest)?;
        if rest[length] == b'"' {
            self.at = start + length + 1;
            return Some(Cow::Borrowed(&self.text[start..start + length]));
        }
        self.skip_string()?;
        serde_json::from_str::<String>(&self.text[start - 1..self.at]).ok().map(Cow::Owned)
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let length = memchr2(b'"', b'\\', rest)?;
            if rest[length] == b'"' {
                self.at += length + 1;
                return Some(());
            }
            self.at += length + 2;
        }
    }

    /// A number or a word.
    fn literal(&mut self) -> Option<&'e str> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.bytes().take_while(is_part).count();
        self.at += length;
        (length > 0).then(|| &rest[..length])
    }

    /// Passes over a value.
    fn skip(&mut self) -> Option<()> {
        match self.next_byte()? {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_container(),
            _ => self.literal().map(|_| ()),
        }
    }

    fn skip_container(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.byte()? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}
