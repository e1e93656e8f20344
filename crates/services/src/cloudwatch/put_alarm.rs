//! PutMetricAlarm and PutCompositeAlarm.

use std::collections::{BTreeMap, BTreeSet};

use cairn_core::alarm::rule::Rule;
use cairn_core::alarm::{Comparison, MissingData, State};
use cairn_core::{AccountId, Region};
use cairn_store::{CatalogError, Tx};
use serde::Deserialize;
use serde_json::{Value, json};

use super::CloudWatch;
use super::actions::check_actions;
use super::alarm::{ALARMS, Alarm, CompositeAlarm, Kind, MetricAlarm, Source, Suppressor, note};
use super::bucket::unit_of;
use super::describe::shown_alarm;
use super::error::{Failure, fail, validation};
use super::evaluate::{inputs, named_alarm};
use super::queries::{self, KeptDimension, MetricDataQuery, NamedMetric};
use super::statistic::Statistic;
use super::store::place_row;
use super::tags::{Tag, checked_tags};
use super::watch::AlarmKey;
use crate::Caller;

/// Actions of one state.
const ACTIONS_MAX: usize = 5;
/// Queries of an alarm.
const QUERIES_MAX: usize = 20;
/// How long all periods of an alarm may be together: a day; a week where the period is an hour or longer.
const SPAN_S_MAX: i64 = 24 * 3600;
const LONG_SPAN_S_MAX: i64 = 7 * 24 * 3600;
const HOUR_S: i64 = 3600;
/// Alarms of an account in a region. AWS has no limit; memory has.
const ALARMS_MAX: usize = 100_000;
/// Alarms that a rule names.
const CHILDREN_MAX: usize = 100;

/// What both kinds of alarms have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Common {
    alarm_name: String,
    alarm_description: Option<String>,
    actions_enabled: Option<bool>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutMetricAlarm {
    #[serde(flatten)]
    common: Common,
    metric_name: Option<String>,
    namespace: Option<String>,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<KeptDimension>,
    period: Option<i64>,
    unit: Option<String>,
    evaluation_periods: Option<u32>,
    datapoints_to_alarm: Option<u32>,
    threshold: Option<f64>,
    comparison_operator: Option<String>,
    treat_missing_data: Option<String>,
    evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default)]
    metrics: Vec<MetricDataQuery>,
    threshold_metric_id: Option<String>,
    evaluation_criteria: Option<Value>,
    evaluation_interval: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutCompositeAlarm {
    #[serde(flatten)]
    common: Common,
    alarm_rule: String,
    actions_suppressor: Option<String>,
    actions_suppressor_wait_period: Option<u64>,
    actions_suppressor_extension_period: Option<u64>,
}

/// The member of AWS's name where it is one of the values that there are.
fn chosen<T: serde::de::DeserializeOwned>(name: &str, given: &str) -> Result<T, Failure> {
    serde_json::from_value(given.into())
        .map_err(|_| validation(format!("The value {given} for parameter {name} is not supported.")))
}

impl Common {
    /// The alarm as it is made, in INSUFFICIENT_DATA until it is looked at.
    fn alarm(self, caller: &Caller, kind: Kind) -> Result<Alarm, Failure> {
        for actions in [&self.ok_actions, &self.alarm_actions, &self.insufficient_data_actions] {
            if actions.len() > ACTIONS_MAX {
                return Err(validation(format!(
                    "An alarm has at most {ACTIONS_MAX} actions for each state."
                )));
            }
            check_actions(actions, caller.region.as_str())?;
        }
        Ok(Alarm {
            account: caller.account.clone(),
            region: caller.region.clone(),
            name: self.alarm_name,
            description: self.alarm_description,
            actions_enabled: self.actions_enabled.unwrap_or(true),
            ok_actions: self.ok_actions,
            alarm_actions: self.alarm_actions,
            insufficient_data_actions: self.insufficient_data_actions,
            tags: checked_tags(self.tags, BTreeMap::new())?,
            configured_at: caller.now,
            state: State::InsufficientData,
            reason: "Unchecked: Initial alarm creation".to_owned(),
            reason_data: None,
            updated_at: caller.now,
            transitioned_at: caller.now,
            kind,
        })
    }
}

impl PutMetricAlarm {
    fn metric_alarm(&self, caller: &Caller) -> Result<MetricAlarm, Failure> {
        if self.evaluation_criteria.is_some() || self.evaluation_interval.is_some() {
            return Err(validation("Alarms on PromQL queries are not supported."));
        }
        if self.threshold_metric_id.is_some() {
            return Err(validation("Alarms on anomaly detection are not supported."));
        }
        let needed = |name: &str| validation(format!("The parameter {name} is required."));
        let operator = self.comparison_operator.as_deref().ok_or_else(|| needed("ComparisonOperator"))?;
        let comparison: Comparison = chosen("ComparisonOperator", operator)?;
        let evaluation_periods = self.evaluation_periods.ok_or_else(|| needed("EvaluationPeriods"))?;
        if self.datapoints_to_alarm.is_some_and(|points| points > evaluation_periods) {
            return Err(validation(
                "Datapoints to alarm must be smaller than or equal to evaluation periods.",
            ));
        }
        let missing_data = self
            .treat_missing_data
            .as_deref()
            .map(|given| chosen::<MissingData>("TreatMissingData", given))
            .transpose()?;
        let low = self.evaluate_low_sample_count_percentile.clone();
        if low.as_deref().is_some_and(|low| low != "evaluate" && low != "ignore") {
            return Err(validation(
                "The parameter EvaluateLowSampleCountPercentile must be evaluate or ignore.",
            ));
        }
        let metric = MetricAlarm {
            source: if self.metrics.is_empty() { self.one()? } else { self.queries(caller)? },
            evaluation_periods,
            datapoints_to_alarm: self.datapoints_to_alarm,
            threshold: self.threshold.ok_or_else(|| needed("Threshold"))?,
            comparison,
            missing_data,
            low_sample_count: low,
        };
        check_span(&metric)?;
        Ok(metric)
    }

    fn one(&self) -> Result<Source, Failure> {
        let needed = |name: &str| validation(format!("The parameter {name} is required."));
        let (statistic, is_extended) = match (&self.statistic, &self.extended_statistic) {
            (Some(statistic), None) => (statistic, false),
            (None, Some(statistic)) => (statistic, true),
            (None, None) => {
                return Err(validation("One of the parameters Statistic and ExtendedStatistic is required."));
            }
            (Some(_), Some(_)) => {
                return Err(fail(
                    "InvalidParameterCombination",
                    "The parameters Statistic and ExtendedStatistic are mutually exclusive and you have specified both.",
                ));
            }
        };
        let parsed: Statistic = statistic.parse().map_err(|_| {
            validation(format!("The value {statistic} for parameter ExtendedStatistic is not supported."))
        })?;
        if is_extended == parsed.is_simple() {
            return Err(validation(format!(
                "The value {statistic} for parameter ExtendedStatistic is not supported."
            )));
        }
        if self.unit.as_deref().is_some_and(|unit| unit_of(unit).is_none()) {
            return Err(validation("The value for parameter Unit is not supported."));
        }
        let metric = NamedMetric {
            namespace: self.namespace.clone().ok_or_else(|| needed("Namespace"))?,
            metric_name: self.metric_name.clone().ok_or_else(|| needed("MetricName"))?,
            dimensions: self.dimensions.clone(),
        };
        metric.metric()?;
        let period_s = self.period.ok_or_else(|| needed("Period"))?;
        Ok(Source::One {
            metric,
            statistic: statistic.clone(),
            is_extended,
            period_s,
            unit: self.unit.clone(),
        })
    }

    fn queries(&self, caller: &Caller) -> Result<Source, Failure> {
        let others = [
            ("MetricName", self.metric_name.is_some()),
            ("Namespace", self.namespace.is_some()),
            ("Statistic", self.statistic.is_some()),
            ("ExtendedStatistic", self.extended_statistic.is_some()),
            ("Period", self.period.is_some()),
            ("Unit", self.unit.is_some()),
            ("Dimensions", !self.dimensions.is_empty()),
        ];
        if let Some((name, _)) = others.iter().find(|(_, is_given)| *is_given) {
            return Err(validation(format!(
                "The parameters {name} and Metrics are mutually exclusive and you have specified both."
            )));
        }
        if self.metrics.len() > QUERIES_MAX {
            return Err(validation(format!("An alarm has at most {QUERIES_MAX} metrics.")));
        }
        let checked = queries::checked(&self.metrics, &caller.account, &caller.region)?;
        if checked.iter().filter(|query| query.is_returned).count() != 1 {
            return Err(validation("Exactly one element of the metrics list should return data."));
        }
        Ok(Source::Queries(self.metrics.clone()))
    }
}

fn check_span(metric: &MetricAlarm) -> Result<(), Failure> {
    let period_s = metric.period_s();
    if !matches!(period_s, 10 | 20 | 30) && (period_s <= 0 || period_s % 60 != 0) {
        return Err(validation("The parameter Period must be 10, 20, 30 or a multiple of 60."));
    }
    let most_s = if period_s >= HOUR_S { LONG_SPAN_S_MAX } else { SPAN_S_MAX };
    if period_s.saturating_mul(i64::from(metric.evaluation_periods)) > most_s {
        return Err(validation(format!(
            "Metrics cannot be checked across more than {} (EvaluationPeriods * Period must be <= {most_s}).",
            if most_s == SPAN_S_MAX { "a day" } else { "a week" }
        )));
    }
    Ok(())
}

impl CloudWatch {
    pub(super) async fn put_metric_alarm(
        &self,
        caller: &Caller,
        input: PutMetricAlarm,
    ) -> Result<Value, Failure> {
        let metric = input.metric_alarm(caller)?;
        let alarm = input.common.alarm(caller, Kind::Metric(metric))?;
        self.put_alarm(alarm, |_, _| Ok(())).await
    }

    pub(super) async fn put_composite_alarm(
        &self,
        caller: &Caller,
        input: PutCompositeAlarm,
    ) -> Result<Value, Failure> {
        let rule =
            Rule::parse(&input.alarm_rule).map_err(|error| validation(format!("AlarmRule: {error}")))?;
        if rule.alarms().len() > CHILDREN_MAX {
            return Err(validation(format!("AlarmRule must not name more than {CHILDREN_MAX} alarms.")));
        }
        let (wait, extension) =
            (input.actions_suppressor_wait_period, input.actions_suppressor_extension_period);
        let suppressor = match (input.actions_suppressor, wait, extension) {
            (Some(alarm), Some(wait_s), Some(extension_s)) => Some(Suppressor { alarm, wait_s, extension_s }),
            (None, None, None) => None,
            (Some(_), ..) => {
                return Err(validation(
                    "ActionsSuppressorWaitPeriod and ActionsSuppressorExtensionPeriod are required with ActionsSuppressor.",
                ));
            }
            (None, ..) => return Err(validation("ActionsSuppressor is required with its periods.")),
        };
        let composite = CompositeAlarm { rule: input.alarm_rule, suppressor, suppressed: None };
        let alarm = input.common.alarm(caller, Kind::Composite(composite))?;
        self.put_alarm(alarm, check_children).await
    }

    async fn put_alarm(
        &self,
        alarm: Alarm,
        check: impl Fn(&mut dyn Tx, &Alarm) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Value, Failure> {
        let (watch, given) = (self.watch.clone(), alarm);
        self.catalog
            .write(move |tx| {
                check(tx, &given)?;
                let alarm = kept_alarm(tx, given.clone())?;
                // Within the transaction, so that whoever takes what is touched finds the alarm.
                watch.set(&alarm.row(), inputs(&alarm));
                Ok::<_, Failure>(())
            })
            .await?;
        self.watch.wake();
        Ok(json!({}))
    }
}

/// Writes the alarm. One that is there keeps its state and tags.
fn kept_alarm(tx: &mut dyn Tx, mut alarm: Alarm) -> Result<Alarm, Failure> {
    let (row, at) = (alarm.row(), alarm.configured_at);
    let before = ALARMS.get(tx, &row)?;
    if before.as_ref().is_some_and(|before| before.is_composite() != alarm.is_composite()) {
        return Err(validation(format!(
            "An alarm of the other type has the name {} already. Delete it first.",
            alarm.name
        )));
    }
    let (summary, kind) = match &before {
        Some(before) => {
            alarm.tags.clone_from(&before.tags);
            (alarm.state, alarm.reason, alarm.reason_data) =
                (before.state, before.reason.clone(), before.reason_data.clone());
            (alarm.updated_at, alarm.transitioned_at) = (before.updated_at, before.transitioned_at);
            (format!("Alarm \"{}\" updated", alarm.name), "Update")
        }
        None => {
            let place = place_row(&alarm.account, &alarm.region);
            if ALARMS.count_prefix(tx, place.bytes(), ALARMS_MAX)? >= ALARMS_MAX {
                return Err(fail("LimitExceeded", "The maximum limit of alarms is reached."));
            }
            (format!("Alarm \"{}\" created", alarm.name), "Create")
        }
    };
    ALARMS.put(tx, &row, &alarm)?;
    let mut data = json!({ "version": "1.0", "type": kind });
    if let Some(before) = &before {
        data["previousAlarm"] = shown_alarm(before);
        data["updatedAlarm"] = shown_alarm(&alarm);
    } else {
        data["createdAlarm"] = shown_alarm(&alarm);
    }
    note(tx, &alarm, at, ("ConfigurationUpdate", summary), &data)?;
    Ok(alarm)
}

/// The alarms that a rule names must be there, and none may look at the rule's own alarm.
fn check_children(tx: &mut dyn Tx, alarm: &Alarm) -> Result<(), Failure> {
    let own = alarm.row();
    let (mut seen, mut left): (BTreeSet<AlarmKey>, Vec<Alarm>) = (BTreeSet::new(), vec![alarm.clone()]);
    let mut missing = Vec::new();
    while let Some(next) = left.pop() {
        let Kind::Composite(composite) = &next.kind else { continue };
        let Ok(rule) = Rule::parse(&composite.rule) else { continue };
        let suppressor = composite.suppressor.iter().map(|suppressor| suppressor.alarm.as_str());
        for name in rule.alarms().into_iter().chain(suppressor) {
            let key = named_alarm(&next, name);
            if key == own {
                return Err(validation(format!("The alarm {} would depend on itself.", alarm.name)));
            }
            if !seen.insert(key.clone()) {
                continue;
            }
            match ALARMS.get(tx, &key)? {
                Some(child) => left.push(child),
                None if next.row() == own => missing.push(name.to_owned()),
                None => {}
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(validation(format!(
        "Could not save the composite alarm as alarms [{}] in the alarm rule do not exist",
        missing.join(", ")
    )))
}

/// The composite alarms of an account in a region.
pub(super) fn composites(
    tx: &mut dyn Tx,
    account: &AccountId,
    region: &Region,
) -> Result<Vec<Alarm>, CatalogError> {
    let all = ALARMS.scan_prefix(tx, place_row(account, region).bytes())?;
    Ok(all.into_iter().map(|(_, alarm)| alarm).filter(Alarm::is_composite).collect())
}

/// Those of `composites` that look at an alarm.
pub(super) fn parents_of<'a>(composites: &'a [Alarm], alarm: &Alarm) -> impl Iterator<Item = &'a Alarm> {
    let own = alarm.row();
    composites.iter().filter(move |other| inputs(other).alarms.contains(&own))
}
