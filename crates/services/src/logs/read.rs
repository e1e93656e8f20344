//! What reads of lines share: the places of lines as texts, the filter, the texts of what was found.

use std::sync::Arc;

use bytes::Bytes;
use cairn_core::filter_pattern::FilterPattern;
use cairn_store::LogPosition;
use cairn_store::lines::{Found, LineId, Wanted};

use super::Logs;
use super::encryption::Opener;
use super::error::{Failure, internal, invalid};

/// Lines of a reply where the caller asks for no number, and the most.
pub(super) const READ_LINES_MAX: usize = 10_000;
/// About the most text of a reply, in bytes.
pub(super) const REPLY_SIZE_BYTES_MAX: usize = 1024 * 1024;
/// About the most text that a call looks at before it answers with what it has, in bytes.
pub(super) const SCANNED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How many digits a place has: of its time, its batch and its place in the batch.
const DIGITS: (usize, usize, usize) = (20, 20, 16);

/// The place before all lines.
pub(super) const BEFORE_ALL: LineId = LineId { timestamp_ms: 0, position: LogPosition(0), index: 0 };

/// A line's place as 56 digits, which sort as the places do: ids of events, and what tokens are made of.
pub(crate) fn digits(id: LineId) -> String {
    format!("{:020}{:020}{:016}", id.timestamp_ms, id.position.0, id.index)
}

/// The place that digits stand for.
pub(super) fn of_digits(text: &str) -> Option<LineId> {
    if text.len() != DIGITS.0 + DIGITS.1 + DIGITS.2 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (time, rest) = text.split_at(DIGITS.0);
    let (position, index) = rest.split_at(DIGITS.1);
    Some(LineId {
        timestamp_ms: time.parse().ok()?,
        position: LogPosition(position.parse().ok()?),
        index: index.parse().ok()?,
    })
}

/// The pattern of that text: none where it lets everything through.
pub(super) fn pattern_of(text: Option<&str>) -> Result<Option<FilterPattern>, Failure> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    FilterPattern::parse(text).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Which stored lines match. One that cannot be opened is found as well: whoever shows it says why.
pub(super) fn wanted(pattern: Option<FilterPattern>, opener: &Opener) -> Option<Wanted> {
    let pattern = pattern?;
    if !opener.has_keys() {
        return Some(Arc::new(move |text| pattern.matches(text)));
    }
    let opener = opener.clone();
    Some(Arc::new(move |stored| {
        opener.open(&Bytes::copy_from_slice(stored)).map_or(true, |text| pattern.matches(&text))
    }))
}

impl Logs {
    /// The text of a line that was found.
    pub(super) fn text_of(&self, opener: &Opener, found: &Found) -> Result<String, Failure> {
        let text = opener.open(&found.message).inspect_err(|_| self.metrics.unreadable.inc())?;
        String::from_utf8(text.to_vec()).map_err(internal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> impl Strategy<Value = LineId> {
        let parts = (0..i64::MAX, any::<u64>(), any::<u32>());
        parts.prop_map(|(timestamp_ms, position, index)| LineId {
            timestamp_ms,
            position: LogPosition(position),
            index,
        })
    }

    proptest! {
        #[test]
        fn digits_stand_for_one_place_and_sort_as_places_do(a in id(), b in id()) {
            prop_assert_eq!(of_digits(&digits(a)), Some(a));
            prop_assert_eq!(digits(a).cmp(&digits(b)), a.cmp(&b));
        }

        #[test]
        fn what_is_no_place_is_none(text in ".{0,60}") {
            if text.len() != 56 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                prop_assert_eq!(of_digits(&text), None);
            }
        }
    }
}
