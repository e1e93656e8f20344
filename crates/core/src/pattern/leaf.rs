//! What is asked of one value, and whether it holds.

use std::borrow::Cow;
use std::net::IpAddr;

use super::anything_but::AnythingBut;
use super::numeric::{Millionths, NumericRange};

/// A value without members, as a document or an attribute has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true`, `false`.
    Boolean(bool),
    /// A string.
    Text(&'a str),
    /// A number as it stands there.
    Number(Cow<'a, str>),
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// `null`.
    Null,
    /// `true`, `false`.
    Boolean(bool),
    /// The string, or the same IP address in another notation.
    Text(String),
    /// The number, in any notation where it is within the range that is compared; else as it stands there.
    Number(String),
    /// A string that begins so.
    Prefix(String),
    /// A string that ends so.
    Suffix(String),
    /// The string, whatever its case.
    EqualsIgnoreCase(String),
    /// A number of a range.
    Numeric(NumericRange),
    /// An IP address between two, both of one family.
    Cidr(IpAddr, IpAddr),
    /// Any value but those.
    AnythingBut(AnythingBut),
    /// Any value.
    Exists,
    /// No value at all.
    Absent,
}

impl Pattern {
    /// Whether a value that is there is as asked.
    #[must_use]
    pub fn matches(&self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Exists, _) | (Self::Null, Scalar::Null) => true,
            (Self::Boolean(wanted), Scalar::Boolean(is)) => wanted == is,
            (Self::Text(wanted), Scalar::Text(is)) => wanted == is || is_same_address(wanted, is),
            (Self::Number(wanted), Scalar::Number(is)) => is_same_number(wanted, is),
            (Self::Prefix(prefix), Scalar::Text(is)) => is.starts_with(prefix.as_str()),
            (Self::Suffix(suffix), Scalar::Text(is)) => is.ends_with(suffix.as_str()),
            (Self::EqualsIgnoreCase(wanted), Scalar::Text(is)) => is_same_but_case(wanted, is),
            (Self::Numeric(range), Scalar::Number(is)) => {
                Millionths::of_text(is).is_some_and(|number| range.contains(number))
            }
            (Self::Cidr(bottom, top), Scalar::Text(is)) => is
                .parse::<IpAddr>()
                .is_ok_and(|is| is.is_ipv4() == bottom.is_ipv4() && *bottom <= is && is <= *top),
            (Self::AnythingBut(but), value) => but.matches(value),
            _ => false,
        }
    }
}

fn is_same_address(one: &str, other: &str) -> bool {
    let address = |text: &str| text.contains(['.', ':']).then(|| text.parse::<IpAddr>().ok()).flatten();
    address(one).is_some_and(|one| address(other) == Some(one))
}

pub(super) fn is_same_number(one: &str, other: &str) -> bool {
    one == other || Millionths::of_text(one).is_some_and(|number| Millionths::of_text(other) == Some(number))
}

fn is_same_but_case(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}
