//! What is asked of one value, and whether it holds.

use std::borrow::Cow;
use std::net::IpAddr;

use super::anything_but::AnythingBut;
use super::decimal::Decimal;
use super::numeric::{Millionths, NumericRange};
use super::wildcard::Wildcard;

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
    /// The string.
    Text(String),
    /// The IP address, in any notation.
    Address(IpAddr),
    /// The number, in any notation where it is within the range that is compared; else as it stands there.
    Number(String),
    /// The number as EventBridge compares it, in any notation; where it cannot be compared, as it stands there.
    Decimal(String, Option<Decimal>),
    /// A string that begins so.
    Prefix(String),
    /// A string that ends so.
    Suffix(String),
    /// The string, whatever its case.
    EqualsIgnoreCase(String),
    /// A string that begins so, whatever its case: it is in lower case.
    PrefixIgnoreCase(String),
    /// A string that ends so, whatever its case: it is in lower case.
    SuffixIgnoreCase(String),
    /// A string of this form.
    Wildcard(Wildcard),
    /// A number of a range.
    Numeric(NumericRange<Millionths>),
    /// A number of a range, as EventBridge compares them.
    DecimalRange(NumericRange<Decimal>),
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
            (Self::Text(wanted), Scalar::Text(is)) => wanted == is,
            (Self::Address(wanted), Scalar::Text(is)) => address_of(is).is_some_and(|is| *wanted == is),
            (Self::Number(wanted), Scalar::Number(is)) => is_same_number(wanted, is),
            (Self::Decimal(wanted, number), Scalar::Number(is)) => {
                wanted == is || number.is_some() && Decimal::of_text(is) == *number
            }
            (Self::Prefix(prefix), Scalar::Text(is)) => is.starts_with(prefix.as_str()),
            (Self::Suffix(suffix), Scalar::Text(is)) => is.ends_with(suffix.as_str()),
            (Self::EqualsIgnoreCase(wanted), Scalar::Text(is)) => is_same_but_case(wanted, is),
            (Self::PrefixIgnoreCase(prefix), Scalar::Text(is)) => {
                is.to_lowercase().starts_with(prefix.as_str())
            }
            (Self::SuffixIgnoreCase(suffix), Scalar::Text(is)) => {
                is.to_lowercase().ends_with(suffix.as_str())
            }
            (Self::Wildcard(wildcard), Scalar::Text(is)) => wildcard.matches(is),
            (Self::DecimalRange(range), Scalar::Number(is)) => {
                Decimal::of_text(is).is_some_and(|number| range.contains(number))
            }
            (Self::Numeric(range), Scalar::Number(is)) => {
                Millionths::of_text(is).is_some_and(|number| range.contains(number))
            }
            (Self::Cidr(bottom, top), Scalar::Text(is)) => address_of(is)
                .is_some_and(|is| is.is_ipv4() == bottom.is_ipv4() && *bottom <= is && is <= *top),
            (Self::AnythingBut(but), value) => but.matches(value),
            _ => false,
        }
    }
}

/// The IP address that a text writes.
#[must_use]
pub fn address_of(text: &str) -> Option<IpAddr> {
    text.contains(['.', ':']).then(|| text.parse().ok()).flatten()
}

pub(super) fn is_same_number(one: &str, other: &str) -> bool {
    one == other || Millionths::of_text(one).is_some_and(|number| Millionths::of_text(other) == Some(number))
}

fn is_same_but_case(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}
