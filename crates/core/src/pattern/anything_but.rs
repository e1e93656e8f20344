//! `anything-but`: values that are there and are not those.

use super::decimal::Decimal;
use super::leaf::{Scalar, is_same_number};
use super::wildcard::Wildcard;

/// What a value must not be.
#[derive(Clone, Debug, PartialEq)]
pub enum AnythingBut {
    /// One of these strings.
    Texts(Vec<String>),
    /// One of these numbers, as SNS compares them.
    Numbers(Vec<String>),
    /// One of these numbers, as EventBridge compares them.
    Decimals(Vec<Decimal>),
    /// A string that begins with one of these.
    Prefixes(Vec<String>),
    /// A string that ends with one of these.
    Suffixes(Vec<String>),
    /// One of these strings, whatever its case: they are in lower case.
    IgnoreCase(Vec<String>),
    /// A string of one of these forms.
    Wildcards(Vec<Wildcard>),
}

impl AnythingBut {
    /// Whether the value is none of those.
    pub(super) fn matches(&self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Texts(texts), Scalar::Text(is)) => !texts.iter().any(|text| text == is),
            (Self::Numbers(numbers), Scalar::Number(is)) => {
                !numbers.iter().any(|number| is_same_number(number, is))
            }
            (Self::Decimals(numbers), Scalar::Number(is)) => {
                !Decimal::of_text(is).is_some_and(|is| numbers.contains(&is))
            }
            (Self::Prefixes(prefixes), Scalar::Text(is)) => {
                !prefixes.iter().any(|prefix| is.starts_with(prefix.as_str()))
            }
            (Self::Suffixes(suffixes), Scalar::Text(is)) => {
                !suffixes.iter().any(|suffix| is.ends_with(suffix.as_str()))
            }
            (Self::IgnoreCase(texts), Scalar::Text(is)) => {
                let is = is.to_lowercase();
                !texts.contains(&is)
            }
            (Self::Wildcards(wildcards), Scalar::Text(is)) => {
                !wildcards.iter().any(|wildcard| wildcard.matches(is))
            }
            _ => true,
        }
    }
}
