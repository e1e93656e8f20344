//! GetMetricStatistics and ListMetrics.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::CloudWatch;
use super::bucket::{unit_name, unit_of};
use super::datum::{Dimension, dimensions_of};
use super::error::{Failure, invalid_combination, invalid_value, missing, validation};
use super::statistic::Statistic;
use super::store::{self, MetricName, MetricRow, OwnedMetric, Span};
use crate::Caller;

/// Points of a reply of GetMetricStatistics.
const POINTS_MAX: i64 = 1440;
/// Metrics of a page of ListMetrics.
const METRICS_ON_PAGE: usize = 500;
/// Rows that are looked at for a page: the rest comes with the next token.
const ROWS_LOOKED_AT_MAX: usize = 20_000;
/// Metrics without data for so long are not listed any more.
const LISTED_FOR: Duration = Duration::from_secs(14 * 24 * 3600);
/// What RecentlyActive asks for.
const RECENTLY: Duration = Duration::from_secs(3 * 3600);
const MINUTE_S: i64 = 60;
const DAY_S: i64 = 24 * 3600;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetMetricStatistics {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    start_time: f64,
    end_time: f64,
    period: i64,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
    unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListMetrics {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionFilter>,
    next_token: Option<String>,
    recently_active: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DimensionFilter {
    name: String,
    value: Option<String>,
}

/// The time of a member, in whole seconds.
pub(super) fn seconds_of(time: f64) -> i64 {
    Timestamp::from_millis((time * 1000.0) as i64).seconds()
}

/// Periods that there are: 1, 5, 10, 20, 30 and whole minutes.
pub(super) fn is_period(period_s: i64) -> bool {
    matches!(period_s, 1 | 5 | 10 | 20 | 30) || (period_s > 0 && period_s % MINUTE_S == 0)
}

/// The beginning of a request's span: cut to whole minutes, or to shorter periods; long ago more coarsely.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>
pub(super) fn span_start_s(start_s: i64, period_s: i64, now: Timestamp) -> i64 {
    let age_s = now.seconds() - start_s;
    let step_s = match age_s {
        age_s if age_s > 63 * DAY_S => 60 * MINUTE_S,
        age_s if age_s > 15 * DAY_S => 5 * MINUTE_S,
        _ => period_s.min(MINUTE_S),
    };
    start_s - start_s.rem_euclid(step_s.max(1))
}

impl GetMetricStatistics {
    fn span(&self, now: Timestamp) -> Result<Span, Failure> {
        if !is_period(self.period) {
            return Err(invalid_value(
                "The parameter Period must be a multiple of 60 or one of 1, 5, 10, 20, 30.",
            ));
        }
        let (start_s, end_s) = (seconds_of(self.start_time), seconds_of(self.end_time));
        if start_s >= end_s {
            return Err(invalid_value("The parameter StartTime must be less than the parameter EndTime."));
        }
        let span =
            Span { from_s: span_start_s(start_s, self.period, now), until_s: end_s, period_s: self.period };
        let points = (end_s - span.from_s) / self.period;
        if points > POINTS_MAX {
            return Err(invalid_combination(format!(
                "You have requested up to {points} datapoints, which exceeds the limit of {POINTS_MAX}. You may reduce \
                 the datapoints requested by increasing Period, or decreasing the time range."
            )));
        }
        Ok(span)
    }

    fn statistics(&self) -> Result<Vec<(String, Statistic)>, Failure> {
        if self.statistics.is_empty() && self.extended_statistics.is_empty() {
            return Err(missing("Statistics"));
        }
        let mut found = Vec::new();
        for text in self.statistics.iter().chain(&self.extended_statistics) {
            let statistic = text.parse::<Statistic>().map_err(|_| {
                invalid_value(format!("The value {text} for parameter ExtendedStatistics is not supported."))
            })?;
            found.push((text.clone(), statistic));
        }
        Ok(found)
    }
}

impl CloudWatch {
    pub(super) async fn get_metric_statistics(
        &self,
        caller: &Caller,
        input: GetMetricStatistics,
    ) -> Result<Value, Failure> {
        let (span, statistics) = (input.span(caller.now)?, input.statistics()?);
        let unit = input.unit.as_deref().and_then(unit_of);
        let label = input.metric_name.clone();
        let metric = OwnedMetric {
            account: caller.account.clone(),
            region: caller.region.clone(),
            metric: MetricName {
                dimensions: dimensions_of(&input.dimensions)?,
                namespace: input.namespace,
                name: input.metric_name,
            },
        };
        let found = self.catalog.read(move |tx| store::read(tx, &metric, span, unit)).await?;
        let mut points = Vec::with_capacity(found.len());
        for ((at_s, unit), bucket) in &found {
            let (mut point, mut extended) = (Map::new(), Map::new());
            for (name, statistic) in &statistics {
                let Some(value) = statistic.of(bucket) else { continue };
                let of = if statistic.is_simple() { &mut point } else { &mut extended };
                of.insert(name.clone(), value.into());
            }
            if point.is_empty() && extended.is_empty() {
                continue;
            }
            if !extended.is_empty() {
                point.insert("ExtendedStatistics".to_owned(), extended.into());
            }
            point.insert("Timestamp".to_owned(), (*at_s).into());
            point.insert("Unit".to_owned(), unit_name(*unit).into());
            points.push(Value::from(point));
        }
        Ok(json!({ "Label": label, "Datapoints": points }))
    }

    pub(super) async fn list_metrics(&self, caller: &Caller, input: ListMetrics) -> Result<Value, Failure> {
        if input.recently_active.as_deref().is_some_and(|active| active != "PT3H") {
            return Err(validation("The parameter RecentlyActive must be PT3H."));
        }
        let kept_for = if input.recently_active.is_some() { RECENTLY } else { LISTED_FOR };
        let since = caller.now.minus(kept_for);
        let mut prefix = store::place_row(&caller.account, &caller.region);
        if let Some(namespace) = &input.namespace {
            prefix = prefix.text(namespace);
            if let Some(name) = &input.metric_name {
                prefix = prefix.text(name);
            }
        }
        let from = match input.next_token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .filter(|row| row.starts_with(prefix.bytes()))
                .ok_or_else(|| invalid_value("The parameter NextToken is invalid."))?,
            None => prefix.bytes().to_vec(),
        };
        let rows =
            self.catalog.read(move |tx| store::list(tx, &prefix, &from, ROWS_LOOKED_AT_MAX + 1)).await?;
        let (mut shown, mut next) = (Vec::new(), None);
        for (place, (row, found)) in rows.into_iter().enumerate() {
            if shown.len() == METRICS_ON_PAGE || place == ROWS_LOOKED_AT_MAX {
                next = Some(URL_SAFE_NO_PAD.encode(row));
                break;
            }
            if found.data_until >= since && input.takes(&found) {
                shown.push(shown_metric(&found.metric));
            }
        }
        let mut reply = json!({ "Metrics": shown });
        if let Some(next) = next {
            reply["NextToken"] = next.into();
        }
        Ok(reply)
    }
}

impl ListMetrics {
    fn takes(&self, row: &MetricRow) -> bool {
        self.metric_name.as_ref().is_none_or(|name| *name == row.metric.name)
            && self.dimensions.iter().all(|filter| {
                let found = row.metric.dimensions.get(&filter.name);
                found.is_some_and(|value| filter.value.as_ref().is_none_or(|wanted| wanted == value))
            })
    }
}

/// A metric as replies show it.
pub(super) fn shown_metric(metric: &MetricName) -> Value {
    json!({
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": shown_dimensions(metric),
    })
}

/// Its dimensions.
pub(super) fn shown_dimensions(metric: &MetricName) -> Vec<Value> {
    metric.dimensions.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
}
