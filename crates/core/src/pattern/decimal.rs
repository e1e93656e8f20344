//! Numbers, as EventBridge compares them: as doubles, where a double says exactly what was written.

/// A number that a double holds as it was written.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Decimal(f64);

/// Every number of so many digits is told apart from every other by a double.
const DIGITS_SAFE: usize = 15;

impl Decimal {
    /// The same for equal numbers alone.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The number that a text writes; none where a double is another number, or none.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
        let written = Written::of(text)?;
        let is_safe = written.digits.len() <= DIGITS_SAFE && number != 0.0 && number.is_normal();
        (is_safe || Written::of(&format!("{number:e}"))? == written).then_some(Self(number + 0.0))
    }
}

/// A number's digits without the zeros around them, and the power of ten of the last; zero has none.
#[derive(PartialEq)]
struct Written {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Written {
    fn of(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let mut exponent: i64 = exponent.parse().ok()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = format!("{whole}{fraction}");
        exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        let kept = digits.trim_end_matches('0').len();
        exponent = exponent.checked_add(i64::try_from(digits.len() - kept).ok()?)?;
        digits.truncate(kept);
        let leading = digits.len() - digits.trim_start_matches('0').len();
        digits.drain(..leading);
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits, exponent: 0 });
        }
        Some(Self { is_negative, digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_however_they_are_written_and_none_is_rounded() {
        for (one, other) in
            [("300", "3.0e2"), ("-0", "0.000"), ("0.1", "1E-1"), ("1628872015", "1.628872015E9")]
        {
            assert_eq!(Decimal::of_text(one), Decimal::of_text(other), "{one} {other}");
        }
        assert!(Decimal::of_text("37.8078") < Decimal::of_text("37.807807"));
        for lost in ["2.0e422", "1E-325", "37.807807921694092", "12345678901234567890", "x", ""] {
            assert_eq!(Decimal::of_text(lost), None, "{lost}");
        }
        assert!(Decimal::of_text("37.80780792169409").is_some());
    }
}
