//! Cron expressions of six fields: minutes, hours, day of the month, month, day of the week, year.

use super::ScheduleError;
use crate::timestamp::Timestamp;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// As AWS counts them: from 1, Sunday.
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const YEAR_MIN: u32 = 1970;
const YEAR_MAX: u32 = 2199;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// The minutes that an expression names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: Set,
    hours: Set,
    days: Days,
    months: Set,
    years: Set,
}

/// Numbers, in order.
type Set = Vec<u32>;

/// Which days of a month: of several, any.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    OfMonth(Vec<DayOfMonth>),
    OfWeek(Vec<DayOfWeek>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DayOfMonth {
    On(u32),
    /// So many days before the last.
    BeforeLast(u32),
    /// The working day nearest to it, in the same month.
    Nearest(u32),
    /// The last working day.
    LastWorking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DayOfWeek {
    Every(u32),
    /// The last one in the month.
    Last(u32),
    /// The so-manieth one in the month.
    Nth(u32, u32),
}

struct Field {
    number: usize,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const DAY_OF_MONTH: Field = Field { number: 3, least: 1, most: 31, names: &[] };
const DAY_OF_WEEK: Field = Field { number: 5, least: 1, most: 7, names: &WEEKDAYS };

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, day_of_month, months, day_of_week, years] = fields[..] else {
            return Err(ScheduleError::FieldCount);
        };
        let field = |number, least, most, names| Field { number, least, most, names };
        let days = match (day_of_month, day_of_week) {
            ("?", "?") => return Err(ScheduleError::Days),
            (days, "?") => Days::OfMonth(days_of_month(days)?),
            ("?", days) => Days::OfWeek(days_of_week(days)?),
            _ => return Err(ScheduleError::Days),
        };
        Ok(Self {
            minutes: field(1, 0, 59, &[]).set(minutes)?,
            hours: field(2, 0, 23, &[]).set(hours)?,
            days,
            months: field(4, 1, 12, &MONTHS).set(months)?,
            years: field(6, YEAR_MIN, YEAR_MAX, &[]).set(years)?,
        })
    }

    /// The first minute named after a time.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let first_ms = (after.millis().div_euclid(MINUTE_MS) + 1).checked_mul(MINUTE_MS)?.max(0);
        let first_day = first_ms.div_euclid(DAY_MS);
        let (from_year, from_month, _) = civil(first_day);
        for year in self.years.iter().copied().filter(|year| *year >= from_year) {
            for month in self.months.iter().copied().filter(|month| (year, *month) >= (from_year, from_month))
            {
                for day in self.days.of(year, month) {
                    let day = days_from_civil(year, month, day);
                    if day < first_day {
                        continue;
                    }
                    let minute_min = if day == first_day { (first_ms % DAY_MS) / MINUTE_MS } else { 0 };
                    if let Some(minute) = self.minute_from(minute_min) {
                        return Some(Timestamp::from_millis(day * DAY_MS + minute * MINUTE_MS));
                    }
                }
            }
        }
        None
    }

    /// The first minute of a day named, from one on.
    fn minute_from(&self, least: i64) -> Option<i64> {
        self.hours
            .iter()
            .flat_map(|hour| self.minutes.iter().map(move |minute| i64::from(hour * 60 + minute)))
            .find(|minute| *minute >= least)
    }
}

impl Field {
    const fn wrong(&self) -> ScheduleError {
        ScheduleError::Field(self.number)
    }

    fn value(&self, text: &str) -> Result<u32, ScheduleError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => u32::try_from(index).ok().map(|index| index + self.least),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        value.filter(|value| (self.least..=self.most).contains(value)).ok_or_else(|| self.wrong())
    }

    /// `*`, `a`, `a-b`, each with `/step`, joined by commas.
    fn set(&self, text: &str) -> Result<Set, ScheduleError> {
        let mut set = Vec::new();
        for part in text.split(',') {
            set.extend(self.part(part)?);
        }
        set.sort_unstable();
        set.dedup();
        Ok(set)
    }

    fn part(&self, part: &str) -> Result<Set, ScheduleError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().map_err(|_| self.wrong())?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None => {
                let first = self.value(range)?;
                (first, if step.is_some() { self.most } else { first })
            }
        };
        let step = step.unwrap_or(1);
        if step == 0 || step > self.most {
            return Err(self.wrong());
        }
        // A range over the end goes on at the beginning: FRI-MON.
        let span = if last >= first { last - first } else { last + self.most - self.least + 1 - first };
        let wrap = |value: u32| if value > self.most { value - (self.most - self.least + 1) } else { value };
        Ok((0..=span).step_by(step as usize).map(|offset| wrap(first + offset)).collect())
    }
}

fn days_of_month(text: &str) -> Result<Vec<DayOfMonth>, ScheduleError> {
    let wrong = DAY_OF_MONTH.wrong();
    let mut days = Vec::new();
    for part in text.split(',') {
        match part {
            "L" => days.push(DayOfMonth::BeforeLast(0)),
            "LW" => days.push(DayOfMonth::LastWorking),
            part => {
                if let Some(before) = part.strip_prefix("L-") {
                    let before = before.parse().ok().filter(|before| *before < 31).ok_or(wrong)?;
                    days.push(DayOfMonth::BeforeLast(before));
                } else if let Some(day) = part.strip_suffix('W') {
                    days.push(DayOfMonth::Nearest(DAY_OF_MONTH.value(day)?));
                } else {
                    days.extend(DAY_OF_MONTH.part(part)?.into_iter().map(DayOfMonth::On));
                }
            }
        }
    }
    Ok(days)
}

fn days_of_week(text: &str) -> Result<Vec<DayOfWeek>, ScheduleError> {
    let mut days = Vec::new();
    for part in text.split(',') {
        if part == "L" {
            days.push(DayOfWeek::Every(7));
        } else if let Some((day, nth)) = part.split_once('#') {
            let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth)).ok_or(DAY_OF_WEEK.wrong())?;
            days.push(DayOfWeek::Nth(DAY_OF_WEEK.value(day)?, nth));
        } else if let Some(day) = part.strip_suffix('L') {
            days.push(DayOfWeek::Last(DAY_OF_WEEK.value(day)?));
        } else {
            days.extend(DAY_OF_WEEK.part(part)?.into_iter().map(DayOfWeek::Every));
        }
    }
    Ok(days)
}

impl Days {
    /// The days of a month, in order.
    fn of(&self, year: u32, month: u32) -> Vec<u32> {
        let length = month_length(year, month);
        let weekday = |day: u32| weekday(days_from_civil(year, month, day));
        let mut days: Vec<u32> = match self {
            Self::OfMonth(days) => days.iter().filter_map(|day| day.of(length, weekday)).collect(),
            Self::OfWeek(days) => (1..=length)
                .filter(|day| {
                    days.iter().any(|named| match *named {
                        DayOfWeek::Every(wanted) => weekday(*day) == wanted,
                        DayOfWeek::Last(wanted) => weekday(*day) == wanted && day + 7 > length,
                        DayOfWeek::Nth(wanted, nth) => weekday(*day) == wanted && day.div_ceil(7) == nth,
                    })
                })
                .collect(),
        };
        days.sort_unstable();
        days.dedup();
        days
    }
}

impl DayOfMonth {
    fn of(self, length: u32, weekday: impl Fn(u32) -> u32) -> Option<u32> {
        let nearest = |day: u32| match weekday(day) {
            // Saturday, Sunday: not over the ends of the month.
            7 if day == 1 => 3,
            7 => day - 1,
            1 if day == length => day - 2,
            1 => day + 1,
            _ => day,
        };
        match self {
            Self::On(day) => (day <= length).then_some(day),
            Self::BeforeLast(before) => length.checked_sub(before).filter(|day| *day > 0),
            Self::Nearest(day) => (day <= length).then(|| nearest(day)),
            Self::LastWorking => Some(nearest(length)),
        }
    }
}

const fn month_length(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The day of the week: 1 is Sunday; day 0, the first of 1970, was a Thursday.
fn weekday(day: i64) -> u32 {
    u32::try_from((day + 4).rem_euclid(7)).expect("below 7") + 1
}

/// Days since the first of 1970 until that date, from 1970 on.
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    // Years begin in March, so that the leap day is a year's last.
    let years = i64::from(if month <= 2 { year - 1 } else { year });
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    years * 365 + years / 4 - years / 100 + years / 400 + day_of_year - 719_468
}

/// The date of that day: year, month, day.
fn civil(day: i64) -> (u32, u32, u32) {
    let part = |number: i64| u32::try_from(number).expect("dates from 1970 on");
    let mut year = 1970 + part(day / 366);
    while days_from_civil(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_from_civil(year, *month, 1) <= day).unwrap_or(1);
    (year, month, part(day - days_from_civil(year, month, 1)) + 1)
}
