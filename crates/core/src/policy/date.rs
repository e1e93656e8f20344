//! Dates in conditions: a W3C form of ISO 8601, or seconds of the Unix epoch.

use time::{Date, Month};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since the epoch (negative before it) of `2026`, `2026-11`, `2026-11-20`, `2026-11-20T17:24Z`,
/// `2026-11-20T17:24:26Z`, `2026-11-20T17:24:26.5+01:00` or `1795281866`.
pub(super) fn parse(text: &str) -> Option<i64> {
    if text.len() > 4 && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |part| digits(part, 2))?;
    let day = parts.next().map_or(Some(1), |part| digits(part, 2))?;
    if parts.next().is_some() || (time.is_some() && date.len() != 10) {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let days = i64::from(date.to_julian_day() - time::macros::date!(1970 - 01 - 01).to_julian_day());
    Some(days * DAY_MS + time.map_or(Some(0), time_of_day_ms)?)
}

fn time_of_day_ms(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let offset_minutes = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, span) => {
            let (hours, minutes) = span.split_once(':')?;
            let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |digit| i64::from(digit - b'0'));
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2);
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |part| digits(part, 2))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((hour * 60 + minute - offset_minutes) * 60 + second) * 1000 + millis)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_date_is_read() {
        for (text, expected) in [
            ("1970", Some(0)),
            ("1970-02", Some(31 * DAY_MS)),
            ("1970-01-02", Some(DAY_MS)),
            ("1970-01-01T00:01Z", Some(60_000)),
            ("1970-01-01T01:00:01+01:00", Some(1_000)),
            ("1970-01-01T00:00:00.25-00:01", Some(60_250)),
            ("1970-01-01T00:00:00.1239Z", Some(123)),
            ("1795281866", Some(1_795_281_866_000)),
            ("2026-11-21T17:24:26Z", Some(1_795_281_866_000)),
            ("1969-12-31", Some(-DAY_MS)),
            ("2026-02-30", None),
            ("2026-11T00:00Z", None),
            ("2026-11-21T24:00:00Z", None),
            ("2026-11-21T17:24:26", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
