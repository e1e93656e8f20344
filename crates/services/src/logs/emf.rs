//! Metrics in lines: the embedded metric format, a JSON object whose `_aws` says which of its members are metrics.
//!
//! On the road: after the lines of PutLogEvents are durable, their numbers go to the metrics in one transaction. Where the
//! server dies between the two, the lines are there and their numbers are not counted.
//! Source: "Specification: Embedded metric format", in the CloudWatch user guide.

use cairn_core::Timestamp;
use cairn_store::CatalogError;
use serde::Deserialize;
use serde_json::Value;

use super::Logs;
use super::arn::GroupName;
use super::error::Failure;
use crate::sinks::MetricDatum;

/// What every such line has in its text.
const MARK: &str = "\"CloudWatchMetrics\"";
/// Metrics of a directive, dimensions of a set, values of a metric, and numbers of a call.
const METRICS_MAX: usize = 100;
const DIMENSIONS_MAX: usize = 30;
const VALUES_MAX: usize = 100;
const DATA_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    #[serde(default)]
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Definition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: String,
    unit: Option<String>,
}

/// The metrics that a line holds; none where it is no such line, or not as the format wants it.
pub(super) fn metrics_in(line: &str) -> Vec<MetricDatum> {
    if !line.starts_with('{') || !line.contains(MARK) {
        return Vec::new();
    }
    let Ok(root) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    let Some(Ok(metadata)) = root.get("_aws").map(Metadata::deserialize) else { return Vec::new() };
    let mut found = Vec::new();
    for directive in &metadata.cloud_watch_metrics {
        for dimensions in sets(directive, &root) {
            for metric in directive.metrics.iter().take(METRICS_MAX) {
                let values = values(root.get(&metric.name));
                if values.is_empty() {
                    continue;
                }
                found.push(MetricDatum {
                    namespace: directive.namespace.clone(),
                    name: metric.name.clone(),
                    dimensions: dimensions.clone(),
                    timestamp: Timestamp::from_millis(metadata.timestamp),
                    values,
                    unit: metric.unit.clone().unwrap_or_else(|| "None".to_owned()),
                });
            }
        }
    }
    found
}

/// The sets of dimensions with their values. One that the line does not have leaves its set out.
fn sets(directive: &Directive, root: &Value) -> Vec<Vec<(String, String)>> {
    if directive.dimensions.is_empty() {
        return vec![Vec::new()];
    }
    let with_values = |set: &Vec<String>| {
        let named = set.iter().take(DIMENSIONS_MAX);
        let values = named.map(|name| {
            let value = root.get(name)?;
            Some((name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        });
        values.collect::<Option<Vec<_>>>()
    };
    directive.dimensions.iter().filter_map(with_values).collect()
}

/// A number, or several.
fn values(value: Option<&Value>) -> Vec<(f64, f64)> {
    match value {
        Some(Value::Number(number)) => number.as_f64().map(|number| (number, 1.0)).into_iter().collect(),
        Some(Value::Array(several)) => {
            several.iter().take(VALUES_MAX).filter_map(Value::as_f64).map(|number| (number, 1.0)).collect()
        }
        _ => Vec::new(),
    }
}

impl Logs {
    /// Counts what lines hold of metrics.
    pub(super) async fn count_metrics(&self, group: &GroupName, mut data: Vec<MetricDatum>) {
        let Ok(sink) = self.switchboard.metrics() else { return };
        if data.is_empty() {
            return;
        }
        data.truncate(DATA_MAX);
        let (switchboard, name) = (self.switchboard.clone(), group.clone());
        let counted = self.catalog.write(move |tx| match switchboard.metrics() {
            Ok(metrics) => metrics.put_in(tx, &name.account, &name.region, &data),
            Err(_) => Ok::<_, CatalogError>(()),
        });
        match counted.await {
            Ok(()) => sink.wake(),
            Err(error) => {
                self.metrics.uncounted.inc();
                let error = Failure::from(error);
                tracing::error!(group = %group, error = &error as &dyn std::error::Error, "metrics of lines are lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(metrics: &str, rest: &str) -> String {
        format!(r#"{{"_aws":{{"Timestamp":1795281866042,"CloudWatchMetrics":[{metrics}]}},{rest}}}"#)
    }

    fn shown(line: &str) -> Vec<String> {
        let shown = metrics_in(line).into_iter().map(|datum| {
            let MetricDatum { namespace, name, dimensions, values, unit, .. } = datum;
            format!("{namespace} {name} {dimensions:?} {values:?} {unit}")
        });
        shown.collect()
    }

    #[test]
    fn the_metrics_of_a_line_are_found_once_for_each_set_of_dimensions() {
        let directive = r#"{"Namespace":"app","Dimensions":[["service"],["service","host"],["absent"]],
            "Metrics":[{"Name":"time","Unit":"Milliseconds"},{"Name":"none"}]}"#;
        let found = shown(&line(directive, r#""service":"web","host":1,"time":[1,2.5]"#));
        assert_eq!(
            found,
            [
                r#"app time [("service", "web")] [(1.0, 1.0), (2.5, 1.0)] Milliseconds"#,
                r#"app time [("service", "web"), ("host", "1")] [(1.0, 1.0), (2.5, 1.0)] Milliseconds"#,
            ]
        );
        let plain = r#"{"Namespace":"app","Metrics":[{"Name":"count"}]}"#;
        assert_eq!(shown(&line(plain, r#""count":3"#)), ["app count [] [(3.0, 1.0)] None"]);
    }

    #[test]
    fn lines_of_other_forms_have_no_metrics() {
        for other in
            ["", "text", r#"{"a":1}"#, r#"{"CloudWatchMetrics":1}"#, r#"{"_aws":{"CloudWatchMetrics":7}}"#]
        {
            assert!(metrics_in(other).is_empty(), "{other}");
        }
        let empty = r#"{"Namespace":"app","Metrics":[{"Name":"text"}]}"#;
        assert!(metrics_in(&line(empty, r#""text":"not a number""#)).is_empty());
    }
}
