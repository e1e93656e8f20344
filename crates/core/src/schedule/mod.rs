//! Schedules of EventBridge: `rate(5 minutes)`, `cron(0 8 ? * MON-FRI *)`; and the next time that one names.
//!
//! On the road: `events` parses one where a rule is made, and asks for the next time after the last. Pure and total.
//! Invariants: rules run by UTC, at whole minutes; of a rate the times are counted from when the rule came to be.
//! Source: the EventBridge user guide, "cron and rate expressions".

mod cron;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use cron::Cron;

use crate::timestamp::Timestamp;

/// The longest expression, in characters.
pub const EXPRESSION_CHARS_MAX: usize = 256;

/// Why a text is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is neither `rate(…)` nor `cron(…)`.
    #[error("neither rate(value unit) nor cron(fields)")]
    Form,
    /// A rate is not a positive number and `minute`, `hour` or `day`, in the plural but for one.
    #[error("a rate is a positive number and minute, hour or day, in the plural unless it is 1")]
    Rate,
    /// A field of a cron expression says nothing that it can say; fields are counted from one.
    #[error("field {0} of the cron expression is not valid")]
    Field(usize),
    /// A cron expression has not six fields.
    #[error("a cron expression has six fields")]
    FieldCount,
    /// Not exactly one of the fields of days is `?`.
    #[error("one of day-of-month and day-of-week must be ?, and not both")]
    Days,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At each multiple of this after the rule came to be.
    Rate(Duration),
    /// At the minutes that an expression names.
    Cron(Cron),
}

impl Schedule {
    /// The schedule that a text states.
    ///
    /// # Errors
    /// Where it states none.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.chars().count() > EXPRESSION_CHARS_MAX {
            return Err(ScheduleError::Form);
        }
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(inside) = inside("rate") {
            return rate(inside).map(Self::Rate).ok_or(ScheduleError::Rate);
        }
        inside("cron").ok_or(ScheduleError::Form).and_then(Cron::parse).map(Self::Cron)
    }

    /// The first time after `after`; of a rate, of those counted from `since`. None where there is none any more.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, since: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Rate(period) => {
                if after < since {
                    return Some(since.plus(*period));
                }
                let period_ms = i64::try_from(period.as_millis()).ok().filter(|period| *period > 0)?;
                let periods = (after.millis() - since.millis()) / period_ms + 1;
                Some(Timestamp::from_millis(since.millis().checked_add(periods.checked_mul(period_ms)?)?))
            }
            Self::Cron(cron) => cron.next_after(after),
        }
    }
}

fn rate(text: &str) -> Option<Duration> {
    let mut words = text.split_ascii_whitespace();
    let (value, unit) = (words.next()?, words.next()?);
    if words.next().is_some() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u32 = value.parse().ok().filter(|value| *value > 0)?;
    let minutes: u64 = match (value, unit) {
        (1, "minute") | (2.., "minutes") => 1,
        (1, "hour") | (2.., "hours") => 60,
        (1, "day") | (2.., "days") => 24 * 60,
        _ => return None,
    };
    Some(Duration::from_secs(u64::from(value) * minutes * 60))
}
