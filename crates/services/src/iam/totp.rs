//! Time-based one-time passwords: RFC 6238 over RFC 4226, six digits, half a minute, HMAC-SHA1, as AWS's virtual
//! devices have them.

use aws_lc_rs::hmac;
use cairn_core::Timestamp;

/// How long a code is shown.
const STEP_S: i64 = 30;
const DIGITS: u32 = 6;
/// RFC 4648's alphabet.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The number of the half minute that `at` is in.
pub(super) fn step_of(at: Timestamp) -> i64 {
    at.seconds().div_euclid(STEP_S)
}

/// The code of a step.
pub(super) fn code(seed: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes[bytes.len() - 1] & 0xf);
    let word = u32::from_be_bytes([bytes[at] & 0x7f, bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    format!("{:06}", word % 10_u32.pow(DIGITS))
}

/// The step near `around` whose code is `given`, at most `steps_max` away.
pub(super) fn find_step(seed: &[u8], given: &str, around: i64, steps_max: i64) -> Option<i64> {
    // Every code is compared, so that the time taken tells nothing.
    let mut found = None;
    for step in around - steps_max..=around + steps_max {
        let is_same =
            aws_lc_rs::constant_time::verify_slices_are_equal(code(seed, step).as_bytes(), given.as_bytes());
        if is_same.is_ok() {
            found = found.or(Some(step));
        }
    }
    found
}

/// Bytes in base 32, without padding; the seed's length needs none.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut pending, mut bits) = (0_u32, 0);
    for byte in bytes {
        pending = (pending << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(pending >> bits) as usize & 31]));
        }
        pending &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(BASE32[(pending << (5 - bits)) as usize & 31]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of its eight digits.
        let seed = b"12345678901234567890";
        for (seconds, expected) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            let step = step_of(Timestamp::from_seconds(seconds));
            assert_eq!(code(seed, step), expected);
            assert_eq!(find_step(seed, expected, step + 1, 1), Some(step));
            assert_eq!(find_step(seed, expected, step + 2, 1), None);
        }
    }

    #[test]
    fn base_32_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
