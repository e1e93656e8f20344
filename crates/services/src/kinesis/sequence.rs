//! Sequence numbers: the places of records, as 56 decimal digits that grow within a shard.
//!
//! AWS's are 186-bit numbers with the shard's making, a counter, the time and the shard's number in them; so are these,
//! in the same order of parts, and the counter is the position in the shard's store. In hexadecimal: `2`, the shard's
//! making in seconds (9 digits), `0`, the counter (16), `00`, the record's arrival in seconds (9), the shard (8), `2`.

use cairn_core::Timestamp;
use num_bigint::BigUint;

/// How many hexadecimal digits there are.
const DIGITS: usize = 47;
const CREATED: std::ops::Range<usize> = 1..10;
const COUNTER: std::ops::Range<usize> = 11..27;
const SHARD: std::ops::Range<usize> = 38..46;
/// The counter of the last sequence number that a shard can have.
const COUNTER_MAX: u64 = i64::MAX as u64;

/// A sequence number, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    shard: u32,
    shard_created_s: u64,
    /// 0 where the shard begins, then one more than the record's position.
    counter: u64,
    arrived_s: u64,
}

impl Sequence {
    /// Of the record at `position`.
    pub(super) fn of_record(shard: u32, created: Timestamp, position: u64, arrived: Timestamp) -> Self {
        Self { counter: position + 1, arrived_s: seconds(arrived), ..Self::of_start(shard, created) }
    }

    /// Where a shard begins: before its first record.
    pub(super) fn of_start(shard: u32, created: Timestamp) -> Self {
        let shard_created_s = seconds(created);
        Self { shard, shard_created_s, counter: 0, arrived_s: shard_created_s }
    }

    /// Where a closed shard ends: after all its records.
    pub(super) fn of_end(shard: u32, created: Timestamp, closed: Timestamp) -> Self {
        Self { counter: COUNTER_MAX, arrived_s: seconds(closed), ..Self::of_start(shard, created) }
    }

    /// Parses the decimal form; none where it is not of this form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = BigUint::parse_bytes(text.as_bytes(), 10)?.to_str_radix(16);
        let number = |range| u64::from_str_radix(digits.get(range)?, 16).ok();
        if digits.len() != DIGITS || !digits.starts_with('2') {
            return None;
        }
        let parsed = Self {
            shard: u32::try_from(number(SHARD)?).ok()?,
            shard_created_s: number(CREATED)?,
            counter: number(COUNTER)?,
            arrived_s: number(29..38)?,
        };
        // Digits between the parts that are others' are of a number that was not given here.
        (parsed.to_string() == text).then_some(parsed)
    }

    /// Whether it is of this shard.
    pub(super) fn is_of(self, shard: u32, created: Timestamp) -> bool {
        self.shard == shard && self.shard_created_s == seconds(created)
    }

    /// The position of its record; the first, where the shard begins.
    pub(super) fn position(self) -> u64 {
        self.counter.saturating_sub(1)
    }

    /// The position after its record.
    pub(super) fn after(self) -> u64 {
        self.counter
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shard, shard_created_s, counter, arrived_s } = self;
        let digits = format!("2{shard_created_s:09x}0{counter:016x}00{arrived_s:09x}{shard:08x}2");
        let number = BigUint::parse_bytes(digits.as_bytes(), 16).expect("they are hexadecimal digits");
        number.fmt(f)
    }
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.seconds()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_look_like_those_of_aws_and_grow() {
        let created = Timestamp::from_seconds(1_795_281_866);
        let of = |position, seconds| {
            Sequence::of_record(3, created, position, Timestamp::from_seconds(seconds)).to_string()
        };
        let (start, first, second) =
            (Sequence::of_start(3, created).to_string(), of(0, 1_795_281_870), of(1, 1_795_281_869));
        let end = Sequence::of_end(3, created, created).to_string();
        assert!([&start, &first, &second, &end].iter().all(|text| text.len() == 56), "{start}");
        assert!(start < first && first < second && second < end);
        let parsed = Sequence::parse(&second).unwrap();
        assert_eq!((parsed.position(), parsed.after()), (1, 2));
        assert_eq!((parsed.to_string(), parsed.is_of(3, created)), (second, true));
        assert!(!parsed.is_of(2, created) && !parsed.is_of(3, Timestamp::EPOCH));
        assert_eq!(Sequence::parse(&start).unwrap().after(), 0);
    }

    #[test]
    fn numbers_of_another_form_are_none() {
        // The last is one that AWS gave.
        let given = "49590338271490256608559692538361571095921575989136588898";
        for text in ["", "0", "12", "x", &"9".repeat(56), &"9".repeat(200), given] {
            assert_eq!(Sequence::parse(text), None, "{text}");
        }
    }
}
