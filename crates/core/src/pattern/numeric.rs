//! Numbers, as AWS compares them: of a bounded range, with a bounded number of digits behind the point.

use super::error::PatternError;

/// The greatest number that is compared as one; the least is its opposite.
const NUMBER_MAX: f64 = 1e9;
const MILLION: f64 = 1e6;

/// A number, in millionths: further digits do not tell numbers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths(i64);

impl Millionths {
    /// The number; none where it is beyond the range that is compared.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the range was checked")]
    pub fn of(number: f64) -> Option<Self> {
        (-NUMBER_MAX..=NUMBER_MAX).contains(&number).then(|| Self((number * MILLION).round() as i64))
    }

    /// The number that a text writes.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        text.trim().parse::<f64>().ok().and_then(Self::of)
    }

    /// The number, or AWS's error.
    pub(super) fn checked(text: &str) -> Result<Self, PatternError> {
        Self::of_text(text)
            .ok_or_else(|| PatternError::new("Value must be between -1.0E9 and 1.0E9, inclusive"))
    }
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<N> {
    /// The number.
    pub number: N,
    /// Whether it is itself outside.
    pub is_open: bool,
}

/// A range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericRange<N> {
    /// Its lower end.
    pub bottom: Option<End<N>>,
    /// Its upper end.
    pub top: Option<End<N>>,
}

impl<N: Copy + PartialOrd> NumericRange<N> {
    /// Whether the number is in it.
    #[must_use]
    pub fn contains(&self, number: N) -> bool {
        let above = |end: End<N>| number > end.number || (!end.is_open && number == end.number);
        let below = |end: End<N>| number < end.number || (!end.is_open && number == end.number);
        self.bottom.is_none_or(above) && self.top.is_none_or(below)
    }
}
