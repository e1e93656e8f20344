//! What AWS says of an evaluation: the reason's text, and the same as JSON.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{Comparison, Criteria, Evaluation, MissingData, State};
use crate::Timestamp;

const POINT_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month]/[year repr:last_two] [hour]:[minute]:[second]");
/// Points that a text names.
const POINTS_NAMED_MAX: usize = 5;

/// A number as Java prints it: `5.0`.
fn shown(number: f64) -> String {
    format!("{number:?}")
}

fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn point_time(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.seconds());
    at.ok().and_then(|at| at.format(POINT_TIME).ok()).unwrap_or_default()
}

fn comparison_text(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::GreaterThanOrEqualToThreshold => "greater than or equal to",
        Comparison::GreaterThanThreshold => "greater than",
        Comparison::LessThanThreshold => "less than",
        Comparison::LessThanOrEqualToThreshold => "less than or equal to",
    }
}

/// Why the state is `new`. `range` has the points with the beginnings of their periods.
#[must_use]
pub fn reason(
    range: &[(Timestamp, Option<f64>)],
    criteria: &Criteria,
    found: &Evaluation,
    new: State,
) -> String {
    if new == State::InsufficientData {
        let unknown = plural(found.filled, "datapoint");
        return format!("Insufficient Data: {unknown} {} unknown.", were(found.filled));
    }
    let treated = treated_text(criteria.missing_data, found.filled);
    if found.counted.is_empty() {
        let periods = plural(found.filled, "period");
        let treated = treated.map_or_else(String::new, |treated| format!(" and {treated}"));
        return format!("Threshold Crossed: no datapoints were received for {periods}{treated}.");
    }
    // An alarm names the points that breach, a return the ones that do not.
    let named: Vec<(Timestamp, f64)> = found
        .counted
        .iter()
        .filter_map(|place| range.get(*place).and_then(|(at, value)| Some((*at, (*value)?))))
        .filter(|(_, value)| {
            criteria.comparison.is_breached(*value, criteria.threshold) == (new == State::Alarm)
        })
        .collect();
    let points: Vec<String> = named
        .iter()
        .take(POINTS_NAMED_MAX)
        .map(|(at, value)| format!("{} ({})", shown(*value), point_time(*at)))
        .collect();
    let rest = if named.len() > POINTS_NAMED_MAX { ", ..." } else { "" };
    let periods = criteria.evaluation_periods;
    let needed = match new {
        State::Alarm => criteria.datapoints_to_alarm,
        _ => (periods + 1).saturating_sub(criteria.datapoints_to_alarm),
    };
    let lead = treated.map_or_else(String::new, |treated| format!("{treated} and "));
    format!(
        "Threshold Crossed: {lead}{} out of the last {periods} datapoints [{}{rest}] {} {}{} the threshold ({}) (minimum {} \
         for {} -> {} transition).",
        named.len(),
        points.join(", "),
        were(named.len()),
        if new == State::Alarm { "" } else { "not " },
        comparison_text(criteria.comparison),
        shown(criteria.threshold),
        plural(needed, "datapoint"),
        if new == State::Alarm { "OK" } else { "ALARM" },
        new.name(),
    )
}

fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

fn treated_text(missing_data: MissingData, filled: usize) -> Option<String> {
    let treatment = match missing_data {
        _ if filled == 0 => return None,
        MissingData::Breaching => "Breaching",
        MissingData::NotBreaching => "NonBreaching",
        MissingData::Ignore | MissingData::Missing => return None,
    };
    Some(format!("{} {} treated as [{treatment}]", plural(filled, "missing datapoint"), were(filled)))
}

/// What was looked at, besides the points.
#[derive(Clone, Debug)]
pub struct Looked<'a> {
    /// When.
    pub at: Timestamp,
    /// The statistic and the unit, of an alarm on one metric.
    pub statistic: Option<&'a str>,
    /// The unit that the alarm asks for.
    pub unit: Option<&'a str>,
    /// The period, in seconds.
    pub period_s: i64,
}

/// A time as reasons' JSON has it: `2026-11-21T10:00:00.000+0000`.
#[must_use]
pub fn data_time(at: Timestamp) -> String {
    at.iso_millis().replace('Z', "+0000")
}

/// The evaluation as JSON, `StateReasonData`. `samples` says how many samples the point of a place is of.
#[must_use]
pub fn state_data(
    range: &[(Timestamp, Option<f64>)],
    criteria: &Criteria,
    found: &Evaluation,
    looked: &Looked<'_>,
    samples: impl Fn(usize) -> Option<f64>,
) -> Value {
    let counted = || found.counted.iter().filter_map(|place| Some((*place, range.get(*place)?)));
    let mut data = json!({ "version": "1.0", "queryDate": data_time(looked.at) });
    if let Some((_, (start, _))) = counted().next() {
        data["startDate"] = data_time(*start).into();
    }
    if let Some(unit) = looked.unit {
        data["unit"] = unit.into();
    }
    if let Some(statistic) = looked.statistic {
        data["statistic"] = statistic.into();
    }
    data["period"] = looked.period_s.into();
    data["recentDatapoints"] = counted().filter_map(|(_, (_, value))| *value).collect::<Vec<f64>>().into();
    data["threshold"] = criteria.threshold.into();
    // The newest first.
    let evaluated: Vec<Value> = counted()
        .map(|(place, (at, value))| {
            let mut point = json!({ "timestamp": data_time(*at) });
            if let Some(samples) = samples(place) {
                point["sampleCount"] = samples.into();
            }
            point["value"] = (*value).into();
            point
        })
        .rev()
        .collect();
    if !evaluated.is_empty() {
        data["evaluatedDatapoints"] = evaluated.into();
    }
    data
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::*;

    fn check(points: &[Option<f64>], missing_data: MissingData, (n, m): (usize, usize)) -> String {
        let start = Timestamp::parse_iso("2026-11-21T10:00:00Z").unwrap();
        let range: Vec<(Timestamp, Option<f64>)> = points
            .iter()
            .enumerate()
            .map(|(place, value)| (start.plus(std::time::Duration::from_secs(60 * place as u64)), *value))
            .collect();
        let criteria = Criteria {
            comparison: Comparison::GreaterThanOrEqualToThreshold,
            threshold: 1.0,
            evaluation_periods: n,
            datapoints_to_alarm: m,
            missing_data,
        };
        let found = evaluate(points, &criteria);
        reason(&range, &criteria, &found, found.state.unwrap())
    }

    #[test]
    fn reasons_are_awss() {
        let one = (1, 1);
        assert_eq!(
            check(&[None, None, Some(5.0)], MissingData::Missing, one),
            "Threshold Crossed: 1 out of the last 1 datapoints [5.0 (21/11/26 10:02:00)] was greater than or equal to the \
             threshold (1.0) (minimum 1 datapoint for OK -> ALARM transition)."
        );
        assert_eq!(
            check(&[Some(0.0)], MissingData::Missing, one),
            "Threshold Crossed: 1 out of the last 1 datapoints [0.0 (21/11/26 10:00:00)] was not greater than or equal to \
             the threshold (1.0) (minimum 1 datapoint for ALARM -> OK transition)."
        );
        assert_eq!(
            check(&[None, None, None], MissingData::NotBreaching, one),
            "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as \
             [NonBreaching]."
        );
        assert_eq!(
            check(&[None], MissingData::Breaching, (2, 2)),
            "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as \
             [Breaching]."
        );
        assert_eq!(check(&[None], MissingData::Missing, one), "Insufficient Data: 1 datapoint was unknown.");
        assert_eq!(
            check(&[Some(9.0), Some(0.0), Some(1.5)], MissingData::Missing, (3, 2)),
            "Threshold Crossed: 2 out of the last 3 datapoints [9.0 (21/11/26 10:00:00), 1.5 (21/11/26 10:02:00)] were \
             greater than or equal to the threshold (1.0) (minimum 2 datapoints for OK -> ALARM transition)."
        );
        assert_eq!(
            check(&[Some(9.0), None, None], MissingData::NotBreaching, (3, 2)),
            "Threshold Crossed: 2 missing datapoints were treated as [NonBreaching] and 0 out of the last 3 datapoints [] \
             were not greater than or equal to the threshold (1.0) (minimum 2 datapoints for ALARM -> OK transition)."
        );
    }

    #[test]
    fn the_data_of_a_reason_are_awss() {
        let start = Timestamp::parse_iso("2026-11-21T10:00:00Z").unwrap();
        let criteria = Criteria {
            comparison: Comparison::GreaterThanOrEqualToThreshold,
            threshold: 1.0,
            evaluation_periods: 1,
            datapoints_to_alarm: 1,
            missing_data: MissingData::Missing,
        };
        let looked = Looked {
            at: start.plus(std::time::Duration::from_secs(300)),
            statistic: Some("Sum"),
            unit: None,
            period_s: 300,
        };
        let range = [(start, Some(5.0))];
        let found = evaluate(&[Some(5.0)], &criteria);
        let data = state_data(&range, &criteria, &found, &looked, |_| Some(5.0));
        assert_eq!(
            data.to_string(),
            r#"{"version":"1.0","queryDate":"2026-11-21T10:05:00.000+0000","startDate":"2026-11-21T10:00:00.000+0000","statistic":"Sum","period":300,"recentDatapoints":[5.0],"threshold":1.0,"evaluatedDatapoints":[{"timestamp":"2026-11-21T10:00:00.000+0000","sampleCount":5.0,"value":5.0}]}"#
        );
    }
}
