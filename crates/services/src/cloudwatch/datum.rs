//! The data that a caller puts, held against AWS's rules.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_core::{AccountId, Region, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::bucket::{Bucket, UNITS, unit_of};
use super::error::{Failure, invalid_combination, invalid_value, missing};
use super::store::{MetricName, OwnedMetric, Sample, StorageResolution};

/// Data of one call.
const DATA_MAX: usize = 1000;
/// Distinct values of a datum.
const VALUES_MAX: usize = 150;
/// No value is further from zero.
const VALUE_MAX: f64 = 2.348_542_582_773_833_3e108; // 2^360
/// How old and how far ahead of the time data may be.
const AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
const AHEAD_MAX: Duration = Duration::from_secs(2 * 3600);

/// A dimension.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) value: String,
}

/// The input of PutMetricData. What entities the data are of is not kept: only AWS's console shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutMetricData {
    namespace: String,
    #[serde(default)]
    metric_data: Vec<Datum>,
    #[serde(default)]
    entity_metric_data: Vec<EntityData>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntityData {
    #[serde(default)]
    metric_data: Vec<Datum>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datum {
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    timestamp: Option<f64>,
    value: Option<Value>,
    statistic_values: Option<StatisticSet>,
    #[serde(default)]
    values: Vec<Value>,
    #[serde(default)]
    counts: Vec<Value>,
    unit: Option<String>,
    storage_resolution: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: Value,
    sum: Value,
    minimum: Value,
    maximum: Value,
}

/// Names and values of dimensions, each name once.
pub(super) fn dimensions_of(given: &[Dimension]) -> Result<BTreeMap<String, String>, Failure> {
    let found: BTreeMap<String, String> =
        given.iter().map(|dimension| (dimension.name.clone(), dimension.value.clone())).collect();
    if found.len() < given.len() {
        return Err(invalid_value("The parameter Dimensions must not contain a dimension more than once."));
    }
    if let Some(name) = found.keys().find(|name| name.starts_with(':')) {
        return Err(invalid_value(format!("The value {name} for parameter Dimensions.Name is invalid.")));
    }
    Ok(found)
}

impl PutMetricData {
    /// The samples that are put, of a call that came at `now`.
    pub(super) fn samples(
        &self,
        account: &AccountId,
        region: &Region,
        now: Timestamp,
    ) -> Result<Vec<Sample>, Failure> {
        if self.namespace.starts_with("AWS/") {
            return Err(invalid_value(format!(
                "The value {} for parameter Namespace is invalid.",
                self.namespace
            )));
        }
        let of_entities = self.entity_metric_data.iter().flat_map(|entity| &entity.metric_data);
        let data: Vec<&Datum> = self.metric_data.iter().chain(of_entities).collect();
        if data.is_empty() {
            return Err(missing("MetricData"));
        }
        if data.len() > DATA_MAX {
            return Err(invalid_value(format!(
                "The collection MetricData must not have a size greater than {DATA_MAX}."
            )));
        }
        let mut samples = Vec::with_capacity(data.len());
        for (place, datum) in data.into_iter().enumerate() {
            let path = format!("MetricData.member.{}", place + 1);
            let Some(bucket) = datum.bucket(&path)? else { continue };
            let unit = datum.unit.as_deref().unwrap_or(UNITS[0]);
            samples.push(Sample {
                metric: OwnedMetric {
                    account: account.clone(),
                    region: region.clone(),
                    metric: MetricName {
                        namespace: self.namespace.clone(),
                        name: datum.metric_name.clone(),
                        dimensions: dimensions_of(&datum.dimensions)?,
                    },
                },
                at: datum.time(&path, now)?,
                resolution: datum.resolution(&path)?,
                unit: unit_of(unit).ok_or_else(|| {
                    invalid_value(format!("The value {unit} for parameter {path}.Unit is invalid."))
                })?,
                bucket,
            });
        }
        Ok(samples)
    }
}

impl Datum {
    fn time(&self, path: &str, now: Timestamp) -> Result<Timestamp, Failure> {
        let Some(seconds) = self.timestamp else { return Ok(now) };
        let at = Timestamp::from_millis((seconds * 1000.0).round() as i64);
        if at > now.plus(AHEAD_MAX) {
            return Err(invalid_value(format!(
                "The parameter {path}.Timestamp must specify a time no more than two hours in the future."
            )));
        }
        if at < now.minus(AGE_MAX) {
            return Err(invalid_value(format!(
                "The parameter {path}.Timestamp must specify a time no more than two weeks in the past."
            )));
        }
        Ok(at)
    }

    fn resolution(&self, path: &str) -> Result<StorageResolution, Failure> {
        match self.storage_resolution {
            Some(1) => Ok(StorageResolution::Second),
            Some(60) | None => Ok(StorageResolution::Minute),
            Some(_) => Err(invalid_value(format!("The parameter {path}.StorageResolution must be 1 or 60."))),
        }
    }

    /// What the datum adds; none where its counts are all zero.
    fn bucket(&self, path: &str) -> Result<Option<Bucket>, Failure> {
        let given = [
            ("Value", self.value.is_some()),
            ("StatisticValues", self.statistic_values.is_some()),
            ("Values", !self.values.is_empty()),
        ];
        let named: Vec<&str> =
            given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        if let [first, second, ..] = named[..] {
            return Err(invalid_combination(format!(
                "The parameters {path}.{first} and {path}.{second} are mutually exclusive and you have specified both."
            )));
        }
        if named != ["Values"] && !self.counts.is_empty() {
            return Err(invalid_combination(format!(
                "The parameter {path}.Counts is used with {path}.Values only."
            )));
        }
        if let Some(value) = &self.value {
            return Ok(Bucket::of_values(&[(number(value, path, "Value")?, 1.0)]));
        }
        if let Some(set) = &self.statistic_values {
            return set.bucket(path);
        }
        if self.values.is_empty() {
            return Err(missing(format!("{path}.Value")));
        }
        self.bucket_of_values(path)
    }

    fn bucket_of_values(&self, path: &str) -> Result<Option<Bucket>, Failure> {
        if self.values.len() > VALUES_MAX {
            return Err(invalid_value(format!(
                "The collection {path}.Values must not have a size greater than {VALUES_MAX}."
            )));
        }
        if !self.counts.is_empty() && self.counts.len() != self.values.len() {
            return Err(invalid_value(format!(
                "The parameters {path}.Values and {path}.Counts must be of the same size."
            )));
        }
        let mut pairs = Vec::with_capacity(self.values.len());
        for (place, value) in self.values.iter().enumerate() {
            let value = number(value, path, "Values")?;
            let count = self.counts.get(place).map_or(Ok(1.0), |count| number(count, path, "Counts"))?;
            if count < 0.0 {
                return Err(invalid_value(format!("The parameter {path}.Counts must not be negative.")));
            }
            pairs.push((value, count));
        }
        Ok(Bucket::of_values(&pairs))
    }
}

impl StatisticSet {
    fn bucket(&self, path: &str) -> Result<Option<Bucket>, Failure> {
        let of = |value: &Value, name: &str| number(value, path, &format!("StatisticValues.{name}"));
        let count = of(&self.sample_count, "SampleCount")?;
        let (sum, minimum, maximum) =
            (of(&self.sum, "Sum")?, of(&self.minimum, "Minimum")?, of(&self.maximum, "Maximum")?);
        if count <= 0.0 {
            return Err(invalid_value(format!(
                "The parameter {path}.StatisticValues.SampleCount must be greater than 0."
            )));
        }
        if minimum > maximum {
            return Err(invalid_combination(format!(
                "The parameter {path}.StatisticValues.Maximum must be greater than {path}.StatisticValues.Minimum."
            )));
        }
        Ok(Some(Bucket::of_statistics(count, sum, minimum, maximum)))
    }
}

/// A number within what CloudWatch takes: neither `NaN` nor infinite.
fn number(value: &Value, path: &str, name: &str) -> Result<f64, Failure> {
    let number = value.as_f64().filter(|number| number.abs() <= VALUE_MAX);
    number.ok_or_else(|| {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        invalid_value(format!("The value {shown} for parameter {path}.{name} is invalid."))
    })
}
