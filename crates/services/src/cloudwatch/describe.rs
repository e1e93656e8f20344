//! DescribeAlarms, DescribeAlarmsForMetric, DescribeAlarmHistory, and alarms as replies show them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::Timestamp;
use cairn_core::alarm::State;
use cairn_store::catalog::prefix_end;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::CloudWatch;
use super::alarm::{
    ALARMS, Alarm, CompositeAlarm, HistoryItem, Kind, MetricAlarm, Source, alarm_row, history,
};
use super::error::{Failure, fail, validation};
use super::evaluate::inputs;
use super::put_alarm::{composites, parents_of};
use super::queries::{KeptDimension, NamedMetric};
use super::store::place_row;
use super::watch::AlarmKey;
use crate::Caller;

/// Alarms of a page where nothing is said.
const ALARMS_ON_PAGE: usize = 50;
/// Lines of history of a page where nothing is said.
const ITEMS_ON_PAGE: usize = 100;
/// Lines that are read at a time, and that are looked at for a page.
const ITEMS_READ_AT_ONCE: usize = 200;
const ITEMS_LOOKED_AT_MAX: usize = 10_000;
const METRIC: &str = "MetricAlarm";
const COMPOSITE: &str = "CompositeAlarm";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeAlarms {
    #[serde(default)]
    alarm_names: Vec<String>,
    alarm_name_prefix: Option<String>,
    #[serde(default)]
    alarm_types: Vec<String>,
    children_of_alarm_name: Option<String>,
    parents_of_alarm_name: Option<String>,
    state_value: Option<String>,
    action_prefix: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeAlarmsForMetric {
    metric_name: String,
    namespace: String,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<KeptDimension>,
    period: Option<i64>,
    unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeAlarmHistory {
    alarm_name: Option<String>,
    #[serde(default)]
    alarm_types: Vec<String>,
    history_item_type: Option<String>,
    start_date: Option<f64>,
    end_date: Option<f64>,
    max_records: Option<usize>,
    next_token: Option<String>,
    scan_by: Option<String>,
}

fn invalid_token() -> Failure {
    fail("InvalidNextToken", "The parameter NextToken is invalid.")
}

fn token_text(token: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(invalid_token)
}

impl DescribeAlarms {
    fn check(&self) -> Result<(), Failure> {
        let relation = self.children_of_alarm_name.is_some() || self.parents_of_alarm_name.is_some();
        let others =
            !self.alarm_names.is_empty() || self.alarm_name_prefix.is_some() || self.state_value.is_some();
        if relation && (others || self.action_prefix.is_some()) {
            return Err(validation(
                "ChildrenOfAlarmName and ParentsOfAlarmName cannot be used with other filters.",
            ));
        }
        if !self.alarm_names.is_empty() && self.alarm_name_prefix.is_some() {
            return Err(validation("AlarmNamePrefix and AlarmNames cannot both be specified."));
        }
        Ok(())
    }

    /// Metric alarms alone where nothing is said, as AWS does for its older clients.
    fn takes(&self, alarm: &Alarm) -> bool {
        let kind = if alarm.is_composite() { COMPOSITE } else { METRIC };
        let is_related = self.children_of_alarm_name.is_some() || self.parents_of_alarm_name.is_some();
        let of_kind = if self.alarm_types.is_empty() {
            is_related || !alarm.is_composite()
        } else {
            self.alarm_types.iter().any(|own| own == kind)
        };
        let mut actions =
            alarm.ok_actions.iter().chain(&alarm.alarm_actions).chain(&alarm.insufficient_data_actions);
        of_kind
            && self.state_value.as_deref().is_none_or(|state| state == alarm.state.name())
            && self
                .action_prefix
                .as_deref()
                .is_none_or(|prefix| actions.any(|action| action.starts_with(prefix)))
    }
}

impl CloudWatch {
    pub(super) async fn describe_alarms(
        &self,
        caller: &Caller,
        input: DescribeAlarms,
    ) -> Result<Value, Failure> {
        input.check()?;
        let limit = input.max_records.unwrap_or(ALARMS_ON_PAGE);
        let after = token_text(input.next_token.as_deref())?;
        let (account, region) = (caller.account.clone(), caller.region.clone());
        let mut found = self
            .catalog
            .read(move |tx| {
                let row = |name: &str| alarm_row(&account, &region, name);
                let candidates: Vec<Alarm> = if let Some(name) = &input.children_of_alarm_name {
                    let parent = ALARMS.get(tx, &row(name))?.ok_or_else(|| missing_alarm(name))?;
                    let mut children = Vec::new();
                    for key in inputs(&parent).alarms.into_iter().collect::<BTreeSet<AlarmKey>>() {
                        children.extend(ALARMS.get(tx, &key)?);
                    }
                    children
                } else if let Some(name) = &input.parents_of_alarm_name {
                    let child = ALARMS.get(tx, &row(name))?.ok_or_else(|| missing_alarm(name))?;
                    parents_of(&composites(tx, &account, &region)?, &child).cloned().collect()
                } else if input.alarm_names.is_empty() {
                    let prefix = input.alarm_name_prefix.as_deref().unwrap_or_default();
                    let prefix = place_row(&account, &region).text_prefix(prefix);
                    let start = after.as_deref().map_or_else(|| prefix.bytes().to_vec(), row);
                    let end = prefix_end(prefix.bytes());
                    let rows = ALARMS.scan(tx, &start, end.as_deref(), usize::MAX)?;
                    rows.into_iter().map(|(_, alarm)| alarm).collect()
                } else {
                    let mut named = Vec::new();
                    for name in input.alarm_names.iter().collect::<BTreeSet<_>>() {
                        named.extend(ALARMS.get(tx, &row(name))?);
                    }
                    named
                };
                let is_after = |alarm: &Alarm| after.as_ref().is_none_or(|after| alarm.name > *after);
                let taken = candidates.into_iter().filter(|alarm| is_after(alarm) && input.takes(alarm));
                Ok::<_, Failure>(taken.take(limit.saturating_add(1)).collect::<Vec<Alarm>>())
            })
            .await?;
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(|alarm| URL_SAFE_NO_PAD.encode(&alarm.name));
        let (composites, metrics): (Vec<&Alarm>, Vec<&Alarm>) =
            found.iter().partition(|alarm| alarm.is_composite());
        let shown = |alarms: Vec<&Alarm>| alarms.into_iter().map(shown_alarm).collect::<Vec<_>>();
        let mut reply = json!({ "MetricAlarms": shown(metrics), "CompositeAlarms": shown(composites) });
        if let Some(next) = next {
            reply["NextToken"] = next.into();
        }
        Ok(reply)
    }

    pub(super) async fn describe_alarms_for_metric(
        &self,
        caller: &Caller,
        input: DescribeAlarmsForMetric,
    ) -> Result<Value, Failure> {
        let place = place_row(&caller.account, &caller.region);
        let rows = self.catalog.read(move |tx| ALARMS.scan_prefix(tx, place.bytes())).await?;
        let wanted = NamedMetric {
            namespace: input.namespace,
            metric_name: input.metric_name,
            dimensions: input.dimensions,
        }
        .metric()?;
        let is_asked = |alarm: &Alarm| {
            let Kind::Metric(MetricAlarm { source, .. }) = &alarm.kind else { return false };
            let Source::One { metric, statistic, is_extended, period_s, unit } = source else { return false };
            let asked = if *is_extended { &input.extended_statistic } else { &input.statistic };
            let is_other_kind =
                if *is_extended { input.statistic.is_some() } else { input.extended_statistic.is_some() };
            metric.metric().is_ok_and(|own| own == wanted)
                && !is_other_kind
                && asked.as_ref().is_none_or(|asked| asked == statistic)
                && input.period.is_none_or(|period| period == *period_s)
                && (input.unit.is_none() || input.unit == *unit)
        };
        let found: Vec<Value> =
            rows.iter().map(|(_, alarm)| alarm).filter(|alarm| is_asked(alarm)).map(shown_alarm).collect();
        Ok(json!({ "MetricAlarms": found }))
    }

    pub(super) async fn describe_alarm_history(
        &self,
        caller: &Caller,
        input: DescribeAlarmHistory,
    ) -> Result<Value, Failure> {
        let limit = input.max_records.unwrap_or(ITEMS_ON_PAGE);
        let is_newest_first = input.scan_by.as_deref() != Some("TimestampAscending");
        let from = token_text(input.next_token.as_deref())?
            .map(|text| text.parse::<u64>().map_err(|_| invalid_token()))
            .transpose()?;
        let (account, region) = (caller.account.clone(), caller.region.clone());
        let (items, next) = self
            .catalog
            .read(move |tx| {
                let (mut items, mut at, mut looked_at) = (Vec::new(), from, 0);
                loop {
                    let place = (&account, &region);
                    let name = input.alarm_name.as_deref();
                    let rows = history(tx, place, name, (at, is_newest_first), ITEMS_READ_AT_ONCE)?;
                    let is_end = rows.len() < ITEMS_READ_AT_ONCE;
                    looked_at += rows.len();
                    for (number, item) in rows {
                        if items.len() == limit {
                            return Ok::<_, Failure>((items, at));
                        }
                        at = Some(number);
                        if input.takes(&item) {
                            items.push(item);
                        }
                    }
                    if is_end {
                        return Ok((items, None));
                    }
                    if looked_at >= ITEMS_LOOKED_AT_MAX {
                        return Ok((items, at));
                    }
                }
            })
            .await?;
        let mut reply = json!({ "AlarmHistoryItems": items.iter().map(shown_item).collect::<Vec<_>>() });
        if let Some(next) = next {
            reply["NextToken"] = URL_SAFE_NO_PAD.encode(next.to_string()).into();
        }
        Ok(reply)
    }
}

pub(super) fn missing_alarm(name: &str) -> Failure {
    cairn_wire::AwsError::with_status(404, "ResourceNotFound", format!("The alarm {name} does not exist"))
        .into()
}

impl DescribeAlarmHistory {
    fn takes(&self, item: &HistoryItem) -> bool {
        let seconds = |time: f64| Timestamp::from_millis((time * 1000.0) as i64);
        let kind = if item.is_composite { COMPOSITE } else { METRIC };
        let of_kind = if self.alarm_types.is_empty() {
            !item.is_composite || self.alarm_name.is_some()
        } else {
            self.alarm_types.iter().any(|own| own == kind)
        };
        of_kind
            && self.history_item_type.as_ref().is_none_or(|own| *own == item.kind)
            && self.start_date.is_none_or(|start| item.at >= seconds(start))
            && self.end_date.is_none_or(|end| item.at <= seconds(end))
    }
}

fn shown_item(item: &HistoryItem) -> Value {
    json!({
        "AlarmName": item.alarm,
        "AlarmType": if item.is_composite { COMPOSITE } else { METRIC },
        "Timestamp": shown_time(item.at),
        "HistoryItemType": item.kind,
        "HistorySummary": item.summary,
        "HistoryData": item.data,
    })
}

/// Epoch seconds with their milliseconds.
fn shown_time(at: Timestamp) -> Value {
    (at.millis() as f64 / 1000.0).into()
}

/// An alarm as DescribeAlarms shows it.
pub(super) fn shown_alarm(alarm: &Alarm) -> Value {
    let mut shown = json!({
        "AlarmName": alarm.name,
        "AlarmArn": alarm.arn(),
        "AlarmConfigurationUpdatedTimestamp": shown_time(alarm.configured_at),
        "ActionsEnabled": alarm.actions_enabled,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
        "StateValue": alarm.state.name(),
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": shown_time(alarm.updated_at),
        "StateTransitionedTimestamp": shown_time(alarm.transitioned_at),
    });
    if let Some(members) = shown.as_object_mut() {
        set(members, "AlarmDescription", alarm.description.as_deref());
        set(members, "StateReasonData", alarm.reason_data.as_deref());
        match &alarm.kind {
            Kind::Metric(metric) => show_metric(members, metric),
            Kind::Composite(composite) => show_composite(members, composite, alarm.state),
        }
    }
    shown
}

fn set(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}

fn show_metric(members: &mut Map<String, Value>, alarm: &MetricAlarm) {
    match &alarm.source {
        Source::One { metric, statistic, is_extended, period_s, unit } => {
            set(members, "MetricName", Some(metric.metric_name.as_str()));
            set(members, "Namespace", Some(metric.namespace.as_str()));
            let name = if *is_extended { "ExtendedStatistic" } else { "Statistic" };
            set(members, name, Some(statistic.as_str()));
            set(members, "Dimensions", Some(json!(metric.dimensions)));
            set(members, "Period", Some(*period_s));
            set(members, "Unit", unit.as_deref());
        }
        Source::Queries(queries) => {
            // Shown with what AWS fills in.
            let shown: Vec<Value> = queries
                .iter()
                .map(|query| {
                    let mut shown = json!(query);
                    shown["ReturnData"] = query.return_data.unwrap_or(true).into();
                    shown
                })
                .collect();
            set(members, "Metrics", Some(shown));
        }
    }
    set(members, "EvaluationPeriods", Some(alarm.evaluation_periods));
    set(members, "DatapointsToAlarm", alarm.datapoints_to_alarm);
    set(members, "Threshold", Some(alarm.threshold));
    set(members, "ComparisonOperator", Some(json!(alarm.comparison)));
    set(members, "TreatMissingData", alarm.missing_data.map(|own| json!(own)));
    set(members, "EvaluateLowSampleCountPercentile", alarm.low_sample_count.as_deref());
}

fn show_composite(members: &mut Map<String, Value>, alarm: &CompositeAlarm, state: State) {
    set(members, "AlarmRule", Some(alarm.rule.as_str()));
    if let Some(suppressor) = &alarm.suppressor {
        set(members, "ActionsSuppressor", Some(suppressor.alarm.as_str()));
        set(members, "ActionsSuppressorWaitPeriod", Some(suppressor.wait_s));
        set(members, "ActionsSuppressorExtensionPeriod", Some(suppressor.extension_s));
    }
    if let Some(suppressed) = &alarm.suppressed {
        set(members, "ActionsSuppressedBy", Some(suppressed.by.as_str()));
        let reason = match suppressed.until {
            Some(until) => format!("Actions of {} wait until {}", state.name(), until.iso()),
            None => format!("Actions of {} wait while the suppressor is in ALARM", state.name()),
        };
        set(members, "ActionsSuppressedReason", Some(reason));
    }
}
