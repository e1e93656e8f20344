//! The three texts that AWS's protocols write timestamps in, and the neutral form's epoch seconds.
//!
//! Unlike `cairn_core::Timestamp`, which names points that Cairn itself records, these are whatever a client says:
//! years before 1970 included.

use serde_json::{Number, Value};

use crate::model::TimestampFormat;

const MS_PER_DAY: i64 = 86_400_000;
/// 0000-01-01 and 9999-12-31T23:59:59.999Z: what four digits of a year can say.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// The neutral form of a time: an integer where it has no fraction of a second.
pub(crate) fn to_value(ms: i64) -> Value {
    if ms % 1000 == 0 {
        return Value::from(ms / 1000);
    }
    #[expect(clippy::cast_precision_loss, reason = "the range of four-digit years is far below 2^53 ms")]
    let seconds = ms as f64 / 1000.0;
    Number::from_f64(seconds).map_or(Value::Null, Value::Number)
}

/// The time of a number in the neutral form, or in JSON.
pub(crate) fn from_number(number: &Number) -> Option<i64> {
    let ms = match number.as_i64() {
        Some(seconds) => seconds.checked_mul(1000)?,
        None => {
            let ms = (number.as_f64()? * 1000.0).round();
            // Beyond this the cast below would not be exact, and the range check refuses it anyway.
            if ms.abs() > 1e15 {
                return None;
            }
            #[expect(clippy::cast_possible_truncation, reason = "held to 1e15 above")]
            let ms = ms as i64;
            ms
        }
    };
    RANGE_MS.contains(&ms).then_some(ms)
}

/// The text of a time. `with_millis` writes three digits of a second's fraction where the format has room for them,
/// even when they are zero; without it only where they are not.
pub(crate) fn write(ms: i64, format: TimestampFormat, with_millis: bool) -> String {
    let (days, in_day) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second, millis) =
        (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
    match format {
        TimestampFormat::Unix if millis == 0 => ms.div_euclid(1000).to_string(),
        TimestampFormat::Unix => to_value(ms).to_string(),
        TimestampFormat::Iso8601 if with_millis || millis != 0 => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
        }
        TimestampFormat::Iso8601 => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        }
        TimestampFormat::Rfc822 => {
            let weekday = WEEKDAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
            let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
            format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
        }
    }
}

/// Reads a text of `format`. Numbers are read in every format, as AWS does.
pub(crate) fn read(text: &str, format: TimestampFormat) -> Option<i64> {
    let text = text.trim();
    let ms = match format {
        TimestampFormat::Rfc822 => read_rfc822(text).or_else(|| read_iso8601(text)),
        TimestampFormat::Iso8601 | TimestampFormat::Unix => read_iso8601(text).or_else(|| read_rfc822(text)),
    };
    ms.or_else(|| {
        let number: Number = text.parse().ok()?;
        from_number(&number)
    })
    .filter(|ms| RANGE_MS.contains(ms))
}

/// `2026-11-20T17:24:26Z`, with any fraction, with an offset in place of `Z`, or a date alone.
fn read_iso8601(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00Z"));
    let mut date = date.split('-');
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    if date.next().is_some() {
        return None;
    }
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.split(':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let second = digits(time.next().unwrap_or("00"), 2)?;
    if time.next().is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(instant(year, month, day, hour, minute, second)? + millis - offset_ms(zone)?)
}

fn offset_ms(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let text: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    let number = digits(&text, 4)?;
    Some(sign * (number / 100 * 60 + number % 100) * 60_000)
}

/// `Fri, 20 Nov 2026 17:24:26 GMT`, with or without the day of the week.
fn read_rfc822(text: &str) -> Option<i64> {
    let text = text.split_once(", ").map_or(text, |(_, text)| text);
    let mut parts = text.split_ascii_whitespace();
    let day: i64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    let year = digits(parts.next()?, 4)?;
    let mut time = parts.next()?.split(':');
    let (hour, minute, second) =
        (digits(time.next()?, 2)?, digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    if !matches!(parts.next(), Some("GMT" | "UTC" | "+0000" | "-0000")) || parts.next().is_some() {
        return None;
    }
    instant(year, i64::try_from(month).ok()? + 1, day, hour, minute, second)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn instant(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<i64> {
    let is_in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    is_in_range
        .then(|| days_from_civil(year, month, day) * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let month = if month_of_year < 10 { month_of_year + 3 } else { month_of_year - 9 };
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::TimestampFormat::{Iso8601, Rfc822, Unix};
    use super::*;

    #[test]
    fn each_format_is_written_and_read_back() {
        let ms = 1_795_281_866_042;
        assert_eq!(write(ms, Iso8601, false), "2026-11-21T17:24:26.042Z");
        assert_eq!(write(ms - 42, Iso8601, false), "2026-11-21T17:24:26Z");
        assert_eq!(write(ms - 42, Iso8601, true), "2026-11-21T17:24:26.000Z");
        assert_eq!(write(ms, Rfc822, false), "Sat, 21 Nov 2026 17:24:26 GMT");
        assert_eq!(write(ms, Unix, false), "1795281866.042");
        for ms in [0, -1000, ms - 42, -62_135_596_800_000, 951_782_400_000, 253_402_300_799_000] {
            for format in [Iso8601, Rfc822, Unix] {
                assert_eq!(read(&write(ms, format, false), format), Some(ms), "{ms} {format:?}");
            }
        }
    }

    #[test]
    fn offsets_and_other_spellings_are_read() {
        for text in [
            "1994-11-06T08:49:37Z",
            "1994-11-06T08:49:37.000000Z",
            "1994-11-06T09:49:37+01:00",
            "1994-11-06T08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "6 Nov 1994 08:49:37 +0000",
            "784111777",
            "784111777.0",
        ] {
            assert_eq!(read(text, Iso8601), Some(784_111_777_000), "{text}");
        }
        for text in
            ["", "x", "2023-02-29T00:00:00Z", "2023-01-01T25:00:00Z", "1e300", "99999999999999", "2023-1-1"]
        {
            assert_eq!(read(text, Iso8601), None, "{text}");
        }
    }
}
