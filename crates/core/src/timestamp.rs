//! A point in time, in milliseconds of the Unix epoch, and the three texts AWS writes it in.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const ISO_SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const BASIC_SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
const BASIC_MINUTES: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute]Z");
const DAY_PATH: &[BorrowedFormatItem<'_>] = format_description!("[year]/[month]/[day]");
const RECORD_TEXT: &[BorrowedFormatItem<'_>] = format_description!(
    "[month repr:short] [day padding:none], [year] [hour repr:12 padding:none]:[minute]:[second] [period]"
);

/// The latest representable time, 9999-12-31T23:59:59.999Z, in milliseconds.
const LATEST_MS: i64 = 253_402_300_799_999;

/// A point in time with millisecond resolution, between the years 1970 and 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The latest time that can be written, in the year 9999.
    pub const LATEST: Self = Self(LATEST_MS);

    /// From milliseconds since the epoch, held to the representable range.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LATEST_MS))
    }

    /// From seconds since the epoch, held to the representable range.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0 / 1000
    }

    /// This time with the part below a whole `step` cut off; `step` of zero changes nothing.
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step_ms == 0 { self } else { Self(self.0 - self.0 % step_ms) }
    }

    /// This time and `span`, held to the representable range.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time less `span`, held to the representable range.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// `2026-11-20T17:24:26Z`: eventTime, digest times, AWS's XML replies.
    #[must_use]
    pub fn iso(self) -> String {
        self.text(ISO_SECONDS)
    }

    /// `2026-11-20T17:24:26.000Z`: the times in S3's XML replies.
    #[must_use]
    pub fn iso_millis(self) -> String {
        let mut text = self.iso();
        text.truncate(19);
        format!("{text}.{:03}Z", self.0 % 1000)
    }

    /// `20261120T172426Z`: SigV4 dates and digest file names.
    #[must_use]
    pub fn basic(self) -> String {
        self.text(BASIC_SECONDS)
    }

    /// `20261120T1724Z`: log file names.
    #[must_use]
    pub fn basic_minutes(self) -> String {
        self.text(BASIC_MINUTES)
    }

    /// `2026/11/20`: the date folders of log and digest files.
    #[must_use]
    pub fn day_path(self) -> String {
        self.text(DAY_PATH)
    }

    /// `Nov 20, 2026 5:24:26 PM`: how a record shows a time inside requestParameters or responseElements.
    #[must_use]
    pub fn record_text(self) -> String {
        self.text(RECORD_TEXT)
    }

    /// Reads `2026-11-20T17:24:26Z`, with or without a fraction of a second.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        let (head, tail) = text.as_bytes().split_first_chunk::<19>()?;
        let millis = match tail.strip_suffix(b"Z")? {
            [] => 0,
            [b'.', digits @ ..] if !digits.is_empty() => {
                let thousandths = digits.iter().chain(b"00").take(3);
                let all_digits = digits.iter().all(u8::is_ascii_digit);
                all_digits.then(|| thousandths.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))?
            }
            _ => return None,
        };
        Some(Self::from_millis(seconds_of(head)? * 1000 + millis))
    }

    /// Reads `20261120T172426Z`.
    #[must_use]
    pub fn parse_basic(text: &str) -> Option<Self> {
        let parsed = time::PrimitiveDateTime::parse(text, BASIC_SECONDS).ok()?;
        Some(Self::from_seconds(parsed.assume_utc().unix_timestamp()))
    }

    fn text(self, format: &[BorrowedFormatItem<'_>]) -> String {
        OffsetDateTime::from_unix_timestamp(self.seconds())
            .expect("a Timestamp is held to representable seconds")
            .format(format)
            .expect("the formats have no component that can fail")
    }
}

/// The seconds of `2026-11-20T17:24:26`. By hand: every event's time is read, some of them by every stage.
fn seconds_of(text: &[u8; 19]) -> Option<i64> {
    let number = |at: usize, digits: usize| {
        text[at..at + digits]
            .iter()
            .try_fold(0_u16, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u16::from(byte - b'0')))
    };
    let small = |at| number(at, 2).map(|number| number as u8);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let month = time::Month::try_from(small(5)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(number(0, 4)?), month, small(8)?).ok()?;
    Some(date.with_hms(small(11)?, small(14)?, small(17)?).ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_form_is_written_as_aws_does() {
        let time = Timestamp::from_millis(1_795_281_866_042);
        assert_eq!(time.iso(), "2026-11-21T17:24:26Z");
        assert_eq!(time.iso_millis(), "2026-11-21T17:24:26.042Z");
        assert_eq!(time.basic(), "20261121T172426Z");
        assert_eq!(time.basic_minutes(), "20261121T1724Z");
        assert_eq!(time.day_path(), "2026/11/21");
        assert_eq!(time.record_text(), "Nov 21, 2026 5:24:26 PM");
    }

    #[test]
    fn iso_text_is_read_back_and_nonsense_is_not() {
        let time = Timestamp::from_millis(1_795_281_866_042);
        assert_eq!(Timestamp::parse_iso(&time.iso_millis()), Some(time));
        assert_eq!(
            Timestamp::parse_iso("2024-02-29T00:00:00Z").map(Timestamp::day_path),
            Some("2024/02/29".into())
        );
        for text in [
            "",
            "2023-02-29T00:00:00Z",
            "2026-11-21T17:24:26",
            "2026-11-21T17:24:26.Z",
            "2026-11-21T17:24:2éZ",
            "2026-13-21T17:24:26Z",
            "2026-00-21T17:24:26Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T17:60:00Z",
            "2026-11-21T17:24:60Z",
            "2026-11-21 17:24:26Z",
            "2026-11-21T17:24:26+00:00",
            "2026-11-21T17:24:26.0x0Z",
            "-026-11-21T17:24:26Z",
        ] {
            assert_eq!(Timestamp::parse_iso(text), None, "{text}");
        }
        for (fraction, millis) in [(".5", 500), (".04", 40), (".1239", 123), ("", 0)] {
            let found = Timestamp::parse_iso(&format!("1970-01-01T00:00:01{fraction}Z"));
            assert_eq!(found.map(Timestamp::millis), Some(1000 + millis), "{fraction}");
        }
        assert_eq!(Timestamp::parse_basic(&time.basic()), Some(Timestamp::from_seconds(1_795_281_866)));
    }

    #[test]
    fn arithmetic_is_held_to_the_representable_range() {
        assert_eq!(Timestamp::EPOCH.minus(Duration::from_secs(5)), Timestamp::EPOCH);
        assert_eq!(Timestamp::LATEST.plus(Duration::MAX), Timestamp::LATEST);
        assert_eq!(Timestamp::from_seconds(17).floor(Duration::from_secs(5)), Timestamp::from_seconds(15));
    }
}
