//! What alarms say: to topics, to functions, and on the event bus.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html>

use cairn_core::alarm::{State, data_time};
use serde_json::{Map, Value, json};

use super::alarm::{Alarm, Kind, MetricAlarm, Source};
use super::queries::{MetricDataQuery, MetricStat, NamedMetric};

/// Characters of a topic's subject.
const SUBJECT_CHARS_MAX: usize = 100;

/// What AWS calls its regions.
const REGION_NAMES: [(&str, &str); 32] = [
    ("us-east-1", "US East (N. Virginia)"),
    ("us-east-2", "US East (Ohio)"),
    ("us-west-1", "US West (N. California)"),
    ("us-west-2", "US West (Oregon)"),
    ("af-south-1", "Africa (Cape Town)"),
    ("ap-east-1", "Asia Pacific (Hong Kong)"),
    ("ap-northeast-1", "Asia Pacific (Tokyo)"),
    ("ap-northeast-2", "Asia Pacific (Seoul)"),
    ("ap-northeast-3", "Asia Pacific (Osaka)"),
    ("ap-south-1", "Asia Pacific (Mumbai)"),
    ("ap-south-2", "Asia Pacific (Hyderabad)"),
    ("ap-southeast-1", "Asia Pacific (Singapore)"),
    ("ap-southeast-2", "Asia Pacific (Sydney)"),
    ("ap-southeast-3", "Asia Pacific (Jakarta)"),
    ("ap-southeast-4", "Asia Pacific (Melbourne)"),
    ("ap-southeast-5", "Asia Pacific (Malaysia)"),
    ("ca-central-1", "Canada (Central)"),
    ("ca-west-1", "Canada West (Calgary)"),
    ("cn-north-1", "China (Beijing)"),
    ("cn-northwest-1", "China (Ningxia)"),
    ("eu-central-1", "EU (Frankfurt)"),
    ("eu-central-2", "Europe (Zurich)"),
    ("eu-north-1", "EU (Stockholm)"),
    ("eu-south-1", "EU (Milan)"),
    ("eu-south-2", "Europe (Spain)"),
    ("eu-west-1", "EU (Ireland)"),
    ("eu-west-2", "EU (London)"),
    ("eu-west-3", "EU (Paris)"),
    ("il-central-1", "Israel (Tel Aviv)"),
    ("me-central-1", "Middle East (UAE)"),
    ("me-south-1", "Middle East (Bahrain)"),
    ("sa-east-1", "South America (Sao Paulo)"),
];

fn region_name(alarm: &Alarm) -> &str {
    let code = alarm.region.as_str();
    REGION_NAMES.iter().find(|(own, _)| *own == code).map_or(code, |(_, name)| name)
}

/// The subject of a topic's message.
pub(super) fn subject(alarm: &Alarm) -> String {
    let whole = format!("{}: \"{}\" in {}", alarm.state.name(), alarm.name, region_name(alarm));
    if whole.chars().count() <= SUBJECT_CHARS_MAX {
        return whole;
    }
    let cut: String = whole.chars().take(SUBJECT_CHARS_MAX - 3).collect();
    format!("{cut}...")
}

/// The message to a topic, of an alarm that was in another state before.
pub(super) fn for_topic(alarm: &Alarm, before: State) -> Value {
    let mut message = json!({
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": alarm.account,
        "AlarmConfigurationUpdatedTimestamp": data_time(alarm.configured_at),
        "NewStateValue": alarm.state.name(),
        "NewStateReason": alarm.reason,
        "StateChangeTime": data_time(alarm.updated_at),
        "Region": region_name(alarm),
        "AlarmArn": alarm.arn(),
        "OldStateValue": before.name(),
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
    });
    match &alarm.kind {
        Kind::Metric(metric) => message["Trigger"] = trigger(metric),
        Kind::Composite(composite) => {
            message["AlarmRule"] = composite.rule.as_str().into();
            message["TriggeringChildren"] =
                alarm.reason_json().get("triggeringAlarms").map_or_else(|| json!([]), children_of_topic);
        }
    }
    message
}

fn children_of_topic(children: &Value) -> Value {
    let children = children.as_array().map_or(&[][..], Vec::as_slice);
    let shown = children.iter().map(|child| {
        json!({
            "Arn": child["arn"],
            "State": { "Value": child["state"]["value"], "Timestamp": child["state"]["timestamp"] },
        })
    });
    shown.collect()
}

fn trigger(metric: &MetricAlarm) -> Value {
    let mut trigger = match &metric.source {
        Source::One { metric, statistic, is_extended, period_s, unit } => {
            let mut one = json!({
                "MetricName": metric.metric_name,
                "Namespace": metric.namespace,
                "StatisticType": if *is_extended { "ExtendedStatistic" } else { "Statistic" },
            });
            if *is_extended {
                one["ExtendedStatistic"] = statistic.as_str().into();
            } else {
                one["Statistic"] = upper_statistic(statistic).into();
            }
            one["Unit"] = unit.as_deref().into();
            one["Dimensions"] = topic_dimensions(metric);
            one["Period"] = (*period_s).into();
            one
        }
        Source::Queries(queries) => {
            json!({ "Period": metric.period_s(), "Metrics": queries.iter().map(topic_query).collect::<Vec<_>>() })
        }
    };
    trigger["EvaluationPeriods"] = metric.evaluation_periods.into();
    if let Some(points) = metric.datapoints_to_alarm {
        trigger["DatapointsToAlarm"] = points.into();
    }
    trigger["ComparisonOperator"] = json!(metric.comparison);
    trigger["Threshold"] = metric.threshold.into();
    trigger["TreatMissingData"] = json!(metric.missing_data.unwrap_or_default());
    trigger["EvaluateLowSampleCountPercentile"] = metric.low_sample_count.as_deref().unwrap_or("").into();
    trigger
}

fn upper_statistic(statistic: &str) -> String {
    if statistic == "SampleCount" { "SAMPLE_COUNT".to_owned() } else { statistic.to_ascii_uppercase() }
}

fn topic_dimensions(metric: &NamedMetric) -> Value {
    metric.dimensions.iter().map(|own| json!({ "value": own.value, "name": own.name })).collect()
}

fn topic_query(query: &MetricDataQuery) -> Value {
    let mut shown = json!({ "Id": query.id });
    if let Some(expression) = &query.expression {
        shown["Expression"] = expression.as_str().into();
    }
    if let Some(MetricStat { metric, period, stat, unit }) = &query.metric_stat {
        shown["MetricStat"] = json!({
            "Metric": {
                "Dimensions": topic_dimensions(metric),
                "MetricName": metric.metric_name,
                "Namespace": metric.namespace,
            },
            "Period": period,
            "Stat": stat,
        });
        if let Some(unit) = unit {
            shown["MetricStat"]["Unit"] = unit.as_str().into();
        }
    }
    if let Some(label) = &query.label {
        shown["Label"] = label.as_str().into();
    }
    shown["ReturnData"] = query.return_data.unwrap_or(true).into();
    shown
}

/// A state as events show it.
fn event_state(alarm: &Alarm) -> Value {
    let mut state = json!({
        "value": alarm.state.name(),
        "reason": alarm.reason,
        "timestamp": data_time(alarm.updated_at),
    });
    if let Some(data) = &alarm.reason_data {
        state["reasonData"] = data.as_str().into();
    }
    if let Kind::Composite(composite) = &alarm.kind
        && let Some(suppressed) = &composite.suppressed
    {
        state["actionsSuppressedBy"] = suppressed.by.as_str().into();
    }
    state
}

/// The detail of "CloudWatch Alarm State Change".
pub(super) fn event_detail(alarm: &Alarm, before: &Alarm) -> Value {
    json!({
        "alarmName": alarm.name,
        "state": event_state(alarm),
        "previousState": event_state(before),
        "configuration": configuration(alarm),
    })
}

/// What a function is invoked with.
pub(super) fn for_function(alarm: &Alarm, before: &Alarm) -> Value {
    json!({
        "source": "aws.cloudwatch",
        "alarmArn": alarm.arn(),
        "accountId": alarm.account,
        "time": data_time(alarm.updated_at),
        "region": alarm.region,
        "alarmData": event_detail(alarm, before),
    })
}

fn configuration(alarm: &Alarm) -> Value {
    let mut configuration = Map::new();
    if let Some(description) = &alarm.description {
        configuration.insert("description".to_owned(), description.as_str().into());
    }
    match &alarm.kind {
        Kind::Composite(composite) => {
            configuration.insert("alarmRule".to_owned(), composite.rule.as_str().into());
            if let Some(suppressor) = &composite.suppressor {
                configuration.insert("actionsSuppressor".to_owned(), suppressor.alarm.as_str().into());
                configuration.insert("actionsSuppressorWaitPeriod".to_owned(), suppressor.wait_s.into());
                configuration
                    .insert("actionsSuppressorExtensionPeriod".to_owned(), suppressor.extension_s.into());
            }
        }
        Kind::Metric(metric) => {
            let metrics: Vec<Value> = match &metric.source {
                Source::One { metric, statistic, period_s, unit, .. } => {
                    let stat = MetricStat {
                        metric: metric.clone(),
                        period: *period_s,
                        stat: statistic.clone(),
                        unit: unit.clone(),
                    };
                    vec![json!({ "id": "m1", "metricStat": event_stat(&stat), "returnData": true })]
                }
                Source::Queries(queries) => queries.iter().map(event_query).collect(),
            };
            configuration.insert("metrics".to_owned(), metrics.into());
        }
    }
    configuration.into()
}

fn event_query(query: &MetricDataQuery) -> Value {
    let mut shown = json!({ "id": query.id });
    if let Some(expression) = &query.expression {
        shown["expression"] = expression.as_str().into();
    }
    if let Some(stat) = &query.metric_stat {
        shown["metricStat"] = event_stat(stat);
    }
    if let Some(label) = &query.label {
        shown["label"] = label.as_str().into();
    }
    shown["returnData"] = query.return_data.unwrap_or(true).into();
    shown
}

fn event_stat(stat: &MetricStat) -> Value {
    let dimensions: Map<String, Value> =
        stat.metric.dimensions.iter().map(|own| (own.name.clone(), own.value.as_str().into())).collect();
    let mut shown = json!({
        "metric": { "namespace": stat.metric.namespace, "name": stat.metric.metric_name, "dimensions": dimensions },
        "period": stat.period,
        "stat": stat.stat,
    });
    if let Some(unit) = &stat.unit {
        shown["unit"] = unit.as_str().into();
    }
    shown
}
