//! Queries of metrics and of expressions over them, as GetMetricData and alarms have them.

use std::collections::{BTreeMap, BTreeSet};

use cairn_core::metric_math::{self, Computed, Expression, Known, Series};
use cairn_core::{AccountId, Region};
use cairn_store::{CatalogError, Tx};
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Unit, unit_of};
use super::datum::dimensions_of;
use super::error::{Failure, validation};
use super::statistic::Statistic;
use super::statistics::is_period;
use super::store::{self, MetricName, OwnedMetric, Span};

/// Queries of one request.
const QUERIES_MAX: usize = 500;
/// The period of an expression that needs no metric.
const PERIOD_S: i64 = 60;

/// A query as it is sent, kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MetricDataQuery {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metric_stat: Option<MetricStat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) return_data: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<String>,
}

/// A metric with what is asked of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MetricStat {
    pub(super) metric: NamedMetric,
    pub(super) period: i64,
    pub(super) stat: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<String>,
}

/// A metric as queries name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedMetric {
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) metric_name: String,
    #[serde(default)]
    pub(super) dimensions: Vec<KeptDimension>,
}

/// A dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptDimension {
    pub(super) name: String,
    pub(super) value: String,
}

impl NamedMetric {
    pub(super) fn metric(&self) -> Result<MetricName, Failure> {
        let given: Vec<super::datum::Dimension> = self
            .dimensions
            .iter()
            .map(|own| super::datum::Dimension { name: own.name.clone(), value: own.value.clone() })
            .collect();
        Ok(MetricName {
            namespace: self.namespace.clone(),
            name: self.metric_name.clone(),
            dimensions: dimensions_of(&given)?,
        })
    }
}

/// A query that was checked.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) is_returned: bool,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Metric { metric: OwnedMetric, statistic: Statistic, unit: Option<Unit>, period_s: i64 },
    Expression { expression: Expression, period_s: Option<i64> },
}

/// Checks the queries of a request: each id once, nothing that needs itself.
pub(super) fn checked(
    given: &[MetricDataQuery],
    account: &AccountId,
    region: &Region,
) -> Result<Vec<Query>, Failure> {
    if given.is_empty() || given.len() > QUERIES_MAX {
        return Err(validation(format!(
            "The parameter MetricDataQueries must have 1 to {QUERIES_MAX} members."
        )));
    }
    let mut ids = BTreeSet::new();
    let mut queries = Vec::with_capacity(given.len());
    for query in given {
        let is_id = query.id.starts_with(|c: char| c.is_ascii_lowercase())
            && query.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_id {
            return Err(validation(format!(
                "Invalid Id '{}': it must begin with a lowercase letter and contain letters, numbers and underscores only.",
                query.id
            )));
        }
        if !ids.insert(&query.id) {
            return Err(validation("The values for parameter id in MetricDataQueries are not unique."));
        }
        queries.push(one_checked(query, account, region)?);
    }
    if !queries.iter().any(|query| query.is_returned) {
        return Err(validation("At least one of the MetricDataQueries must return data."));
    }
    in_order(&queries)?;
    Ok(queries)
}

fn one_checked(query: &MetricDataQuery, account: &AccountId, region: &Region) -> Result<Query, Failure> {
    if query.account_id.as_deref().is_some_and(|other| other != account.as_str()) {
        return Err(validation("Metrics of other accounts are not supported."));
    }
    let what = match (&query.metric_stat, &query.expression) {
        (Some(stat), None) => {
            let statistic = stat.stat.parse().map_err(|_| {
                validation(format!("The value {} for parameter Stat is not supported.", stat.stat))
            })?;
            check_period(stat.period)?;
            let metric = OwnedMetric {
                account: account.clone(),
                region: region.clone(),
                metric: stat.metric.metric()?,
            };
            What::Metric {
                metric,
                statistic,
                unit: stat.unit.as_deref().and_then(unit_of),
                period_s: stat.period,
            }
        }
        (None, Some(text)) => {
            let expression = metric_math::parse(text)
                .map_err(|error| validation(format!("Error in expression '{}': {error}", query.id)))?;
            query.period.map(check_period).transpose()?;
            What::Expression { expression, period_s: query.period }
        }
        _ => {
            return Err(validation(format!(
                "The query '{}' must have exactly one of MetricStat and Expression.",
                query.id
            )));
        }
    };
    let name = match &what {
        What::Metric { metric, .. } => &metric.metric.name,
        What::Expression { .. } => &query.id,
    };
    Ok(Query {
        id: query.id.clone(),
        label: query.label.clone().unwrap_or_else(|| name.clone()),
        is_returned: query.return_data.unwrap_or(true),
        what,
    })
}

fn check_period(period_s: i64) -> Result<(), Failure> {
    if is_period(period_s) {
        return Ok(());
    }
    Err(validation("The parameter Period must be a multiple of 60 or one of 1, 5, 10, 20, 30."))
}

fn metric_ids(queries: &[Query]) -> Vec<String> {
    let metrics = queries.iter().filter(|query| matches!(query.what, What::Metric { .. }));
    metrics.map(|query| query.id.clone()).collect()
}

/// The queries' places in an order in which each comes after those that it needs.
fn in_order(queries: &[Query]) -> Result<Vec<usize>, Failure> {
    let metrics = metric_ids(queries);
    let (mut order, mut known) = (Vec::with_capacity(queries.len()), BTreeSet::new());
    let mut left: Vec<(usize, BTreeSet<String>)> = Vec::new();
    for (place, query) in queries.iter().enumerate() {
        match &query.what {
            What::Metric { .. } => {
                order.push(place);
                known.insert(query.id.clone());
            }
            What::Expression { expression, .. } => left.push((place, expression.needs(&metrics))),
        }
    }
    while !left.is_empty() {
        let before = left.len();
        left.retain(|(place, needs)| {
            let is_ready = needs.iter().all(|id| known.contains(id));
            if is_ready {
                order.push(*place);
                known.insert(queries[*place].id.clone());
            }
            !is_ready
        });
        if let (Some((place, needs)), true) = (left.first(), left.len() == before) {
            let missing = needs.iter().find(|id| !known.contains(*id)).map_or("", String::as_str);
            return Err(validation(format!(
                "Error in expression '{}': the query '{missing}' is not known before it",
                queries[*place].id
            )));
        }
    }
    Ok(order)
}

/// The stretch of time that is asked for; each query cuts it into periods of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

/// What a query came to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) computed: Computed,
    /// Of a metric: its buckets, for what alarms say of samples.
    pub(super) buckets: BTreeMap<i64, Bucket>,
}

/// The period of each query, by place: an expression's is the longest of what it needs.
pub(super) fn periods_s(queries: &[Query]) -> Result<Vec<i64>, Failure> {
    let (metrics, mut found) = (metric_ids(queries), vec![0; queries.len()]);
    for place in in_order(queries)? {
        found[place] = match &queries[place].what {
            What::Metric { period_s, .. } => *period_s,
            What::Expression { expression, period_s } => {
                let needs = expression.needs(&metrics);
                let longest = queries
                    .iter()
                    .zip(&found)
                    .filter(|(query, _)| needs.contains(&query.id))
                    .map(|(_, own)| *own)
                    .max();
                period_s.or(longest).unwrap_or(PERIOD_S)
            }
        };
    }
    Ok(found)
}

/// Answers all queries, by place.
pub(super) fn answer(
    tx: &mut dyn Tx,
    queries: &[Query],
    span_of: impl Fn(i64) -> Stretch,
) -> Result<Vec<Answer>, Failure> {
    let periods_s = periods_s(queries)?;
    let mut known = Known { metrics: metric_ids(queries), ..Known::default() };
    let mut answers: Vec<Option<Answer>> = vec![None; queries.len()];
    for place in in_order(queries)? {
        let (query, period_s) = (&queries[place], periods_s[place]);
        let Stretch { from_s, until_s } = span_of(period_s);
        let answer = match &query.what {
            What::Metric { metric, statistic, unit, .. } => {
                let span = Span { from_s, until_s, period_s };
                let (series, buckets) = series_of(tx, metric, span, *unit, *statistic)?;
                Answer { computed: Computed::Series(series), buckets }
            }
            What::Expression { expression, .. } => {
                known = Known { from_s, until_s, period_s, ..known };
                let computed = expression
                    .compute(&known)
                    .map_err(|error| validation(format!("Error in expression '{}': {error}", query.id)))?;
                Answer { computed, buckets: BTreeMap::new() }
            }
        };
        known.by_id.insert(query.id.clone(), answer.computed.clone());
        answers[place] = Some(answer);
    }
    Ok(answers.into_iter().flatten().collect())
}

/// A metric's points, with the buckets that they are of.
pub(super) fn series_of(
    tx: &mut dyn Tx,
    metric: &OwnedMetric,
    span: Span,
    unit: Option<Unit>,
    statistic: Statistic,
) -> Result<(Series, BTreeMap<i64, Bucket>), CatalogError> {
    let buckets = store::read_units_as_one(tx, metric, span, unit)?;
    let points = buckets.iter().filter_map(|(at, bucket)| Some((*at, statistic.of(bucket)?))).collect();
    Ok((points, buckets))
}
