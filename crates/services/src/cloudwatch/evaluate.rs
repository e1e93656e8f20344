//! An alarm's state as its metrics, or the alarms of its rule, now have it.
//!
//! By the clock an alarm looks at whole steps: ten seconds where its period is shorter than a minute, minutes otherwise,
//! and its periods end at the last whole step. When data arrive it also looks at the step that is under way, if no further
//! data can take back what that shows (a sum, count or maximum above a threshold, a minimum below one); and that may only
//! raise the alarm. So alarms are raised within seconds, and no half-filled period lowers or raises one wrongly.

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use cairn_core::alarm::rule::Rule;
use cairn_core::alarm::{Evaluation, Looked, State, data_time, evaluate, reason, state_data};
use cairn_core::metric_math::{Computed, Series};
use cairn_store::Tx;
use serde_json::{Value, json};

use super::alarm::{ALARMS, Alarm, CompositeAlarm, Kind, MetricAlarm, Source, alarm_row};
use super::bucket::{Bucket, unit_of};
use super::error::Failure;
use super::queries::{self, Stretch, What};
use super::statistic::Statistic;
use super::store::{OwnedMetric, Span};
use super::watch::{AlarmKey, Inputs};

/// A minute, the step of alarms whose period is not shorter.
const MINUTE_S: i64 = 60;
/// The step of the others.
const SHORT_STEP_S: i64 = 10;
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1023;

/// What an evaluation says of the state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) reason_data: String,
}

/// How often an alarm of that period is looked at.
fn step_s(period_s: i64) -> i64 {
    if period_s < MINUTE_S { SHORT_STEP_S } else { MINUTE_S }
}

/// The alarm that a rule or a suppressor names, by name or ARN.
pub(super) fn named_alarm(alarm: &Alarm, text: &str) -> AlarmKey {
    let prefix = format!("arn:aws:cloudwatch:{}:{}:alarm:", alarm.region, alarm.account);
    let name = text.strip_prefix(&prefix).unwrap_or(text);
    alarm_row(&alarm.account, &alarm.region, name)
}

/// What the alarm looks at.
pub(super) fn inputs(alarm: &Alarm) -> Inputs {
    match &alarm.kind {
        Kind::Metric(metric) => Inputs {
            metrics: metrics_of(alarm, metric),
            alarms: Vec::new(),
            every_s: Some(step_s(metric.period_s())),
        },
        Kind::Composite(composite) => {
            let rule = Rule::parse(&composite.rule).ok();
            let mut alarms: Vec<AlarmKey> = rule
                .iter()
                .flat_map(|rule| rule.alarms().into_iter().map(|name| named_alarm(alarm, name)))
                .collect();
            alarms.extend(composite.suppressor.iter().map(|own| named_alarm(alarm, &own.alarm)));
            Inputs {
                metrics: Vec::new(),
                alarms,
                every_s: composite.suppressor.as_ref().map(|_| SHORT_STEP_S),
            }
        }
    }
}

fn metrics_of(alarm: &Alarm, metric: &MetricAlarm) -> Vec<OwnedMetric> {
    let owned = |named: &queries::NamedMetric| {
        let metric = named.metric().ok()?;
        Some(OwnedMetric { account: alarm.account.clone(), region: alarm.region.clone(), metric })
    };
    match &metric.source {
        Source::One { metric, .. } => owned(metric).into_iter().collect(),
        Source::Queries(all) => all
            .iter()
            .filter_map(|query| query.metric_stat.as_ref())
            .filter_map(|stat| owned(&stat.metric))
            .collect(),
    }
}

/// What the alarm should be in at `now`; none where it stays what it is.
pub(super) fn verdict(tx: &mut dyn Tx, alarm: &Alarm, now: Timestamp) -> Result<Option<Verdict>, Failure> {
    match &alarm.kind {
        Kind::Composite(composite) => of_rule(tx, alarm, composite),
        Kind::Metric(metric) => {
            let step_s = step_s(metric.period_s());
            let whole_s = now.seconds() - now.seconds().rem_euclid(step_s);
            if is_final_early(metric) {
                let early = of_metric(tx, alarm, metric, whole_s + step_s, now)?;
                if early.as_ref().is_some_and(|verdict| verdict.state == State::Alarm) {
                    return Ok(early);
                }
            }
            of_metric(tx, alarm, metric, whole_s, now)
        }
    }
}

/// Whether a breach by the data so far stays one whatever comes.
fn is_final_early(metric: &MetricAlarm) -> bool {
    let Source::One { statistic, .. } = &metric.source else { return false };
    match statistic.as_str() {
        "Sum" | "SampleCount" | "Maximum" => metric.comparison.is_upward(),
        "Minimum" => !metric.comparison.is_upward(),
        _ => false,
    }
}

/// The points of an alarm's range, and the buckets that they are of.
struct Points {
    series: Series,
    buckets: BTreeMap<i64, Bucket>,
    statistic: Option<Statistic>,
}

fn points(tx: &mut dyn Tx, alarm: &Alarm, metric: &MetricAlarm, span: Span) -> Result<Points, Failure> {
    match &metric.source {
        Source::One { metric, statistic, unit, .. } => {
            let owned = OwnedMetric {
                account: alarm.account.clone(),
                region: alarm.region.clone(),
                metric: metric.metric()?,
            };
            let Ok(statistic) = statistic.parse::<Statistic>() else {
                return Ok(Points { series: Series::new(), buckets: BTreeMap::new(), statistic: None });
            };
            let unit = unit.as_deref().and_then(unit_of);
            let (series, buckets) = queries::series_of(tx, &owned, span, unit, statistic)?;
            Ok(Points { series, buckets, statistic: Some(statistic) })
        }
        Source::Queries(given) => {
            let checked = queries::checked(given, &alarm.account, &alarm.region)?;
            let stretch = Stretch { from_s: span.from_s, until_s: span.until_s };
            let answers = queries::answer(tx, &checked, |_| stretch)?;
            let returned = checked.iter().zip(answers).find(|(query, _)| query.is_returned);
            let Some((query, answer)) = returned else {
                return Ok(Points { series: Series::new(), buckets: BTreeMap::new(), statistic: None });
            };
            let statistic =
                if let What::Metric { statistic, .. } = query.what { Some(statistic) } else { None };
            let series = match answer.computed {
                Computed::Series(series) => series,
                Computed::List(mut all) if all.len() == 1 => all.remove(0).1,
                Computed::List(_) | Computed::Number(_) => Series::new(),
            };
            Ok(Points { series, buckets: answer.buckets, statistic })
        }
    }
}

/// What the periods that end at `until_s` say.
fn of_metric(
    tx: &mut dyn Tx,
    alarm: &Alarm,
    metric: &MetricAlarm,
    until_s: i64,
    now: Timestamp,
) -> Result<Option<Verdict>, Failure> {
    let (criteria, period_s) = (metric.criteria(), metric.period_s());
    let periods = i64::try_from(criteria.periods_in_range()).unwrap_or(i64::MAX);
    let from_s = until_s.saturating_sub(period_s.saturating_mul(periods));
    let found = points(tx, alarm, metric, Span { from_s, until_s, period_s })?;
    let starts: Vec<i64> = (0..periods).map(|place| from_s + place * period_s).collect();
    let range: Vec<(Timestamp, Option<f64>)> = starts
        .iter()
        .map(|start| (Timestamp::from_seconds(*start), found.series.get(start).copied()))
        .collect();
    let values: Vec<Option<f64>> = range.iter().map(|(_, value)| *value).collect();
    let evaluation = evaluate(&values, &criteria);
    if has_too_few_samples(metric, &found, &starts, &evaluation) {
        return Ok(None);
    }
    let Some(state) = evaluation.state else { return Ok(None) };
    let (statistic, unit) = match &metric.source {
        Source::One { statistic, unit, .. } => (Some(statistic.as_str()), unit.as_deref()),
        Source::Queries(_) => (None, None),
    };
    let looked = Looked { at: now, statistic, unit, period_s };
    let samples = |place: usize| found.buckets.get(starts.get(place)?).map(|bucket| bucket.count);
    let text = reason(&range, &criteria, &evaluation, state);
    Ok(Some(Verdict {
        state,
        reason: text.chars().take(REASON_CHARS_MAX).collect(),
        reason_data: state_data(&range, &criteria, &evaluation, &looked, samples).to_string(),
    }))
}

/// Whether the alarm ignores percentiles of few samples, and a point that counts is one.
fn has_too_few_samples(
    metric: &MetricAlarm,
    found: &Points,
    starts: &[i64],
    evaluation: &Evaluation,
) -> bool {
    let ignores = metric.low_sample_count.as_deref() == Some("ignore");
    let needed = found.statistic.map_or(0.0, Statistic::samples_needed);
    ignores
        && evaluation.counted.iter().any(|place| {
            let bucket = starts.get(*place).and_then(|start| found.buckets.get(start));
            bucket.is_some_and(|bucket| bucket.count < needed)
        })
}

fn of_rule(tx: &mut dyn Tx, alarm: &Alarm, composite: &CompositeAlarm) -> Result<Option<Verdict>, Failure> {
    let Ok(rule) = Rule::parse(&composite.rule) else { return Ok(None) };
    let mut children: BTreeMap<&str, Alarm> = BTreeMap::new();
    for name in rule.alarms() {
        if let Some(child) = ALARMS.get(tx, &named_alarm(alarm, name))? {
            children.insert(name, child);
        }
    }
    let holds = rule.holds(&|name: &str| children.get(name).map(|child| child.state));
    let state = if holds { State::Alarm } else { State::Ok };
    let latest = children.values().max_by_key(|child| child.transitioned_at);
    let reason = latest.map_or_else(
        || format!("Alarm Rule evaluates to {}", if holds { "TRUE" } else { "FALSE" }),
        |child| {
            format!(
                "{} transitioned to {} at {}",
                child.arn(),
                child.state.name(),
                child.transitioned_at.record_text()
            )
        },
    );
    let triggering: Vec<Value> = latest
        .iter()
        .map(|child| {
            json!({
                "arn": child.arn(),
                "state": { "value": child.state.name(), "timestamp": data_time(child.transitioned_at) },
            })
        })
        .collect();

    Ok(Some(Verdict {
        state,
        reason: reason.chars().take(REASON_CHARS_MAX).collect(),
        reason_data: json!({ "triggeringAlarms": triggering }).to_string(),
    }))
}
