//! Alarms: when points of a metric change an alarm's state, and what AWS says about it.
//!
//! On the road: the stage of alarms hands in the points of an alarm's evaluation range, and keeps the state that comes out.
//! Nothing in here knows where points come from or the time.
//!
//! The rules are AWS's of how missing data are treated, whose tables are the tests:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>. AWS says that it looks
//! at more points than the evaluation periods, and by example at five for three; here it is always two more.

mod reason;
pub mod rule;

use serde::{Deserialize, Serialize};

pub use reason::{Looked, data_time, reason, state_data};

/// How many periods beyond the evaluation periods are looked at.
pub const PERIODS_BEYOND: usize = 2;

/// An alarm's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// The threshold is not crossed.
    #[serde(rename = "OK")]
    Ok,
    /// It is.
    #[serde(rename = "ALARM")]
    Alarm,
    /// Nobody knows.
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

impl State {
    /// AWS's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData].into_iter().find(|state| state.name() == name)
    }
}

/// How points are held against the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum Comparison {
    /// `>=`
    GreaterThanOrEqualToThreshold,
    /// `>`
    GreaterThanThreshold,
    /// `<`
    LessThanThreshold,
    /// `<=`
    LessThanOrEqualToThreshold,
}

impl Comparison {
    /// Whether the value is on the bad side of the threshold.
    #[must_use]
    pub fn is_breached(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterThanOrEqualToThreshold => value >= threshold,
            Self::GreaterThanThreshold => value > threshold,
            Self::LessThanThreshold => value < threshold,
            Self::LessThanOrEqualToThreshold => value <= threshold,
        }
    }

    /// Whether larger values are the bad ones.
    #[must_use]
    pub const fn is_upward(self) -> bool {
        matches!(self, Self::GreaterThanOrEqualToThreshold | Self::GreaterThanThreshold)
    }
}

/// How missing points are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MissingData {
    /// As beyond the threshold.
    Breaching,
    /// As within it.
    NotBreaching,
    /// They keep the state.
    Ignore,
    /// Without any point nobody knows.
    #[default]
    Missing,
}

/// What an alarm asks of points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Criteria {
    /// How a value is held against the threshold.
    pub comparison: Comparison,
    /// The threshold.
    pub threshold: f64,
    /// N: the points that count.
    pub evaluation_periods: usize,
    /// M: so many of them make an alarm.
    pub datapoints_to_alarm: usize,
    /// How missing ones are treated.
    pub missing_data: MissingData,
}

impl Criteria {
    /// How many periods are looked at.
    #[must_use]
    pub const fn periods_in_range(&self) -> usize {
        self.evaluation_periods + PERIODS_BEYOND
    }
}

/// What an evaluation comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The state; none where it stays what it is.
    pub state: Option<State>,
    /// The places, in the range, of the points that counted, oldest first.
    pub counted: Vec<usize>,
    /// How many missing points were treated as something.
    pub filled: usize,
}

/// Evaluates the points of a range, oldest first; none where one is missing.
#[must_use]
pub fn evaluate(range: &[Option<f64>], criteria: &Criteria) -> Evaluation {
    let wanted = criteria.evaluation_periods.max(1);
    let real: Vec<usize> = (0..range.len()).filter(|place| range[*place].is_some()).collect();
    let is_breaching = |place: &usize| {
        range[*place].is_some_and(|value| criteria.comparison.is_breached(value, criteria.threshold))
    };
    let counted: Vec<usize> = real[real.len().saturating_sub(wanted)..].to_vec();
    let filled = wanted - counted.len();
    let breaching = counted.iter().filter(|place| is_breaching(place)).count();
    let needed = criteria.datapoints_to_alarm.clamp(1, wanted);
    let of_count = |count: usize| Some(if count >= needed { State::Alarm } else { State::Ok });
    let state = match criteria.missing_data {
        _ if filled == 0 || breaching >= needed => of_count(breaching),
        MissingData::Breaching => of_count(breaching + filled),
        MissingData::NotBreaching => Some(State::Ok),
        // A point that is fine settles it; otherwise what is known is too little.
        MissingData::Ignore | MissingData::Missing if breaching < counted.len() => Some(State::Ok),
        MissingData::Ignore => None,
        MissingData::Missing => match counted.first() {
            None => Some(State::InsufficientData),
            // Nothing but breaching points, the oldest of them as long ago as would be needed: AWS does not wait for more.
            Some(oldest) if range.len() - oldest >= needed => Some(State::Alarm),
            Some(_) => None,
        },
    };
    Evaluation { state, counted, filled }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Vec<Option<f64>> {
        let point = |mark| match mark {
            "X" => Some(1.0),
            "0" => Some(0.0),
            _ => None,
        };
        text.split(' ').map(point).collect()
    }

    fn criteria(
        evaluation_periods: usize,
        datapoints_to_alarm: usize,
        missing_data: MissingData,
    ) -> Criteria {
        Criteria {
            comparison: Comparison::GreaterThanOrEqualToThreshold,
            threshold: 1.0,
            evaluation_periods,
            datapoints_to_alarm,
            missing_data,
        }
    }

    /// The states by treatment, in the order of AWS's tables: missing, ignore, breaching, notBreaching.
    fn check(text: &str, n: usize, m: usize) -> String {
        let treatments =
            [MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching];
        let states = treatments.map(|missing_data| {
            let found = evaluate(&range(text), &criteria(n, m, missing_data));
            found.state.map_or("retained", State::name)
        });
        states.join(" ")
    }

    #[test]
    fn three_of_three_is_decided_as_awss_table_says() {
        for (text, expected) in [
            ("0 - X - X", "OK OK OK OK"),
            ("0 - - - -", "OK OK OK OK"),
            ("- - - - -", "INSUFFICIENT_DATA retained ALARM OK"),
            ("0 X X - X", "ALARM ALARM ALARM ALARM"),
            ("- - X - -", "ALARM retained ALARM OK"),
        ] {
            assert_eq!(check(text, 3, 3), expected, "{text}");
        }
    }

    #[test]
    fn two_of_three_is_decided_as_awss_table_says() {
        for (text, expected) in [
            ("0 - X - X", "ALARM ALARM ALARM ALARM"),
            ("0 0 X 0 X", "ALARM ALARM ALARM ALARM"),
            ("0 - X - -", "OK OK ALARM OK"),
            ("- - - - 0", "OK OK ALARM OK"),
            ("- - - X -", "ALARM retained ALARM OK"),
            // Not in the table: one breaching point is too few, and too young to be enough.
            ("- - - - X", "retained retained ALARM OK"),
        ] {
            assert_eq!(check(text, 3, 2), expected, "{text}");
        }
    }

    #[test]
    fn one_of_one_keeps_to_its_last_point_while_it_is_in_range() {
        for (text, expected) in [
            ("- - X", "ALARM ALARM ALARM ALARM"),
            ("X - -", "ALARM ALARM ALARM ALARM"),
            ("X 0 -", "OK OK OK OK"),
            ("- - -", "INSUFFICIENT_DATA retained ALARM OK"),
        ] {
            assert_eq!(check(text, 1, 1), expected, "{text}");
        }
    }

    fn points() -> impl Strategy<Value = Vec<Option<f64>>> {
        prop::collection::vec(prop_oneof![Just(None), Just(Some(0.0)), Just(Some(1.0))], 0..9)
    }

    proptest! {
        #[test]
        fn with_enough_points_missing_ones_do_not_matter(points in points(), n in 1_usize..4, m in 1_usize..4) {
            let m = m.min(n);
            prop_assume!(points.iter().flatten().count() >= n);
            let states: Vec<_> =
                [MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching]
                    .map(|missing_data| evaluate(&points, &criteria(n, m, missing_data)).state)
                    .to_vec();
            prop_assert!(states.iter().all(|state| *state == states[0] && state.is_some()));
        }

        #[test]
        fn the_treatment_orders_the_outcomes(points in points(), n in 1_usize..4, m in 1_usize..4) {
            let m = m.min(n);
            let is_alarm = |missing_data| {
                evaluate(&points, &criteria(n, m, missing_data)).state == Some(State::Alarm)
            };
            let (not, ignore, missing, breaching) = (
                is_alarm(MissingData::NotBreaching),
                is_alarm(MissingData::Ignore),
                is_alarm(MissingData::Missing),
                is_alarm(MissingData::Breaching),
            );
            prop_assert!(not <= ignore && ignore <= missing && not <= breaching);
            let real = points.iter().flatten().count();
            let found = evaluate(&points, &criteria(n, m, MissingData::Missing));
            prop_assert_eq!(found.counted.len() + found.filled, n);
            prop_assert!(found.counted.len() <= real);
        }
    }
}
