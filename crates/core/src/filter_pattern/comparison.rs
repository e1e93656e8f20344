//! What is asked of one value: that it equals, or not, or is less or greater.

use std::cmp::Ordering;

use memchr::memmem::Finder;

use super::regex::LimitedRegex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Operator {
    pub(super) fn is_of_numbers(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// A text, open at the ends where an asterisk stands; one within it stands for itself.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) text: Vec<u8>,
    open_start: bool,
    open_end: bool,
    finder: Option<Box<Finder<'static>>>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Text(Wanted),
    Number(Number, Vec<u8>),
    Regex(LimitedRegex),
}

impl Operand {
    pub(super) fn text(text: &str) -> Self {
        let (open_start, rest) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
        let (open_end, rest) = rest.strip_suffix('*').map_or((false, rest), |rest| (true, rest));
        // A lone asterisk is both.
        let open_end = open_end || (open_start && rest.is_empty() && text.len() == 1);
        let finder = (open_start && open_end).then(|| Box::new(Finder::new(rest.as_bytes()).into_owned()));
        Self::Text(Wanted { text: rest.as_bytes().to_vec(), open_start, open_end, finder })
    }

    /// What stands without quotes: a number, or a text.
    pub(super) fn bare(text: &str) -> Self {
        match Number::of(text.as_bytes()) {
            Some(number) => Self::Number(number, text.as_bytes().to_vec()),
            None => Self::text(text),
        }
    }

    fn equals(&self, value: &[u8]) -> bool {
        match self {
            Self::Text(wanted) => wanted.is(value),
            Self::Number(number, text) => {
                text == value || Number::of(value).is_some_and(|value| value.compare(*number).is_eq())
            }
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Wanted {
    fn is(&self, value: &[u8]) -> bool {
        match (self.open_start, self.open_end) {
            (false, false) => value == self.text,
            (false, true) => value.starts_with(&self.text),
            (true, false) => value.ends_with(&self.text),
            (true, true) => self.finder.as_ref().is_some_and(|finder| finder.find(value).is_some()),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) operator: Operator,
    pub(super) operand: Operand,
}

impl Comparison {
    /// Whether it holds of a value that is there.
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        match self.operator {
            Operator::Equal => self.operand.equals(value),
            Operator::NotEqual => !self.operand.equals(value),
            Operator::Less => self.is_ordered(value, Ordering::is_lt),
            Operator::AtMost => self.is_ordered(value, Ordering::is_le),
            Operator::Greater => self.is_ordered(value, Ordering::is_gt),
            Operator::AtLeast => self.is_ordered(value, Ordering::is_ge),
        }
    }

    fn is_ordered(&self, value: &[u8], wanted: fn(Ordering) -> bool) -> bool {
        match (&self.operand, Number::of(value)) {
            (Operand::Number(number, _), Some(value)) => wanted(value.compare(*number)),
            _ => false,
        }
    }
}

/// A number, exact where it is an integer of up to 38 digits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// Reads an integer, a decimal, or either with an exponent; each may have a sign.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let is_numeric = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        if !text.iter().all(is_numeric) || !text.iter().any(u8::is_ascii_digit) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(integer) = text.parse() {
            return Some(Self::Integer(integer));
        }
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Float)
    }

    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            (one, other) => one.float().total_cmp(&(other.float())),
        }
    }

    fn float(self) -> f64 {
        let number = match self {
            #[allow(clippy::cast_precision_loss, reason = "the other one is no integer")]
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        };
        // Minus nothing is nothing.
        if number == 0.0 { 0.0 } else { number }
    }
}
