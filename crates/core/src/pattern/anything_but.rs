//! `anything-but`: values that are there and are not those.

use super::leaf::{Scalar, is_same_number};

/// What a value must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnythingBut {
    /// One of these strings.
    Texts(Vec<String>),
    /// One of these numbers.
    Numbers(Vec<String>),
    /// A string that begins so.
    Prefix(String),
}

impl AnythingBut {
    /// Whether the value is none of those.
    pub(super) fn matches(&self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Texts(texts), Scalar::Text(is)) => !texts.iter().any(|text| text == is),
            (Self::Numbers(numbers), Scalar::Number(is)) => {
                !numbers.iter().any(|number| is_same_number(number, is))
            }
            (Self::Prefix(prefix), Scalar::Text(is)) => !is.starts_with(prefix.as_str()),
            _ => true,
        }
    }
}
