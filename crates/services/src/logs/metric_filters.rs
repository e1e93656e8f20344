//! Metric filters: what is counted of the lines that come into a group.
//!
//! On the road: rows of the catalog, read by the stage that looks at each line that arrives ([`filter_stage`]).
//! Limits: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutMetricFilter.html>
//!
//! [`filter_stage`]: super::filter_stage

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use cairn_core::filter_pattern::{FilterPattern, ValueSelector};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, group_not_found, invalid, limit_exceeded, not_found};
use super::filter_views::{REGEX_FILTERS_MAX, parsed, regex_filters};
use super::groups::existing;
use super::page::{PAGE_ITEMS, after, page};
use super::state::{GROUPS, new_id};
use crate::Caller;

/// Metric filters by their group's row and their name.
pub(super) const METRIC_FILTERS: Table<MetricFilter> = Table::new("logs.metric_filter", 1);

/// Metric filters of a group.
const FILTERS_MAX: u32 = 100;
/// Dimensions of a filter's metric.
const DIMENSIONS_MAX: usize = 3;
/// The name or selector of a dimension, in characters.
const DIMENSION_CHARS_MAX: usize = 255;

/// A metric filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricFilter {
    /// Never used twice.
    pub(super) id: u64,
    pub(super) group: GroupName,
    pub(super) name: String,
    pub(super) pattern: String,
    pub(super) transformation: Transformation,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) applies_to_transformed: bool,
}

/// What a line that matches adds to which metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Transformation {
    pub(super) metric_name: String,
    pub(super) namespace: String,
    /// A number, or what names one in the line.
    pub(super) value: String,
    /// What is added for a minute in which lines arrived of which none matched.
    #[serde(default)]
    pub(super) default_value: Option<f64>,
    #[serde(default)]
    pub(super) unit: Option<String>,
    /// Names of dimensions, each with what names its value in the line.
    #[serde(default)]
    pub(super) dimensions: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputTransformation {
    metric_name: String,
    metric_namespace: String,
    metric_value: String,
    default_value: Option<f64>,
    unit: Option<String>,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutMetricFilter {
    log_group_name: String,
    filter_name: String,
    filter_pattern: String,
    metric_transformations: Vec<InputTransformation>,
    #[serde(default)]
    apply_on_transformed_logs: bool,
    field_selection_criteria: Option<String>,
    #[serde(default)]
    emit_system_field_dimensions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedFilter {
    pub(super) log_group_name: String,
    pub(super) filter_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeMetricFilters {
    log_group_name: Option<String>,
    filter_name_prefix: Option<String>,
    metric_name: Option<String>,
    metric_namespace: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestMetricFilter {
    filter_pattern: String,
    log_event_messages: Vec<String>,
}

/// Names of dimensions, and what names the value of each.
pub(super) type Dimensions = Vec<(String, ValueSelector)>;

/// What a line adds.
#[derive(Clone, Debug)]
pub(super) enum MetricValue {
    Number(f64),
    Selected(ValueSelector),
}

impl Transformation {
    /// Its value and dimensions as they are read, where they fit the pattern.
    pub(super) fn compile(&self, pattern: &FilterPattern) -> Result<(MetricValue, Dimensions), &'static str> {
        let selected = |text: &str| {
            let selector = ValueSelector::parse(text).ok()?;
            pattern.can_select(&selector).then_some(selector)
        };
        let value = match self.value.parse::<f64>() {
            Ok(number) if number.is_finite() => MetricValue::Number(number),
            _ => MetricValue::Selected(selected(&self.value).ok_or("value")?),
        };
        let dimensions = self.dimensions.iter().map(|(name, text)| {
            let selector = selected(text).ok_or("dimension")?;
            Ok::<_, &'static str>((name.clone(), selector))
        });
        Ok((value, dimensions.collect::<Result<_, _>>()?))
    }

    fn check(&self, pattern: &FilterPattern) -> Result<(), Failure> {
        let wrong = |what: &str| invalid(format!("Invalid metric transformation: {what}"));
        if !self.dimensions.is_empty() {
            if !pattern.is_structured() {
                return Err(invalid("The specified filter pattern does not support dimensions"));
            }
            if self.default_value.is_some() {
                return Err(wrong("dimensions and default value are mutually exclusive properties"));
            }
            if self.dimensions.len() > DIMENSIONS_MAX {
                return Err(wrong(&format!("number of dimensions must be at most {DIMENSIONS_MAX}")));
            }
            let texts = self.dimensions.iter().flat_map(|(name, value)| [name, value]);
            if texts.clone().any(|text| text.is_empty() || text.chars().count() > DIMENSION_CHARS_MAX) {
                return Err(wrong("dimension name and value must have 1 to 255 characters"));
            }
        }
        match self.compile(pattern) {
            Ok(_) => Ok(()),
            Err("dimension") => Err(wrong("dimension value must be valid selector")),
            Err(_) => Err(wrong(&format!("metric value {} must be a valid number", self.value))),
        }
    }
}

impl MetricFilter {
    fn row(&self) -> Key {
        filter_row(&self.group, &self.name)
    }

    fn shown(&self) -> Value {
        let to = &self.transformation;
        let mut transformation = json!({
            "metricName": to.metric_name,
            "metricNamespace": to.namespace,
            "metricValue": to.value,
        });
        if let Some(default) = to.default_value {
            transformation["defaultValue"] = default.into();
        }
        if let Some(unit) = &to.unit {
            transformation["unit"] = unit.as_str().into();
        }
        if !to.dimensions.is_empty() {
            transformation["dimensions"] = json!(to.dimensions);
        }
        json!({
            "filterName": self.name,
            "filterPattern": self.pattern,
            "metricTransformations": [transformation],
            "creationTime": self.created.millis(),
            "logGroupName": self.group.name,
            "applyOnTransformedLogs": self.applies_to_transformed,
        })
    }
}

/// Where a filter of a group lies, of either kind.
pub(super) fn filter_row(group: &GroupName, name: &str) -> Key {
    group.row().text(name)
}

/// Refuses what filters can have on AWS and not here.
pub(super) fn refuse_system_fields(criteria: Option<&String>, emitted: &[String]) -> Result<(), Failure> {
    if criteria.is_some_and(|criteria| !criteria.is_empty()) || !emitted.is_empty() {
        return Err(invalid("Selection criteria and system fields are not supported."));
    }
    Ok(())
}

impl Logs {
    pub(super) async fn put_metric_filter(
        &self,
        caller: &Caller,
        input: PutMetricFilter,
    ) -> Result<Value, Failure> {
        refuse_system_fields(input.field_selection_criteria.as_ref(), &input.emit_system_field_dimensions)?;
        let pattern = parsed(&input.filter_pattern)?;
        let Some(given) = input.metric_transformations.first().cloned() else {
            return Err(invalid("A metric filter has exactly one metric transformation."));
        };
        let transformation = Transformation {
            metric_name: given.metric_name,
            namespace: given.metric_namespace,
            value: given.metric_value,
            default_value: given.default_value,
            unit: given.unit,
            dimensions: given.dimensions,
        };
        transformation.check(&pattern)?;
        let filter = MetricFilter {
            id: 0,
            group: GroupName::own(caller, &input.log_group_name),
            name: input.filter_name,
            pattern: input.filter_pattern,
            transformation,
            created: caller.now,
            applies_to_transformed: input.apply_on_transformed_logs,
        };
        let (written, has_regex) = (filter.clone(), pattern.has_regex());
        let group = self.catalog.write(move |tx| insert(tx, filter.clone(), has_regex)).await?;
        self.views.forget_group(&group);
        self.filters.forget(&group.name);
        tracing::debug!(group = %written.group, filter = written.name, "a metric filter was put");
        Ok(json!({}))
    }

    pub(super) async fn delete_metric_filter(
        &self,
        caller: &Caller,
        input: NamedFilter,
    ) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        let row = filter_row(&name, &input.filter_name);
        let named = name.clone();
        let group = self.catalog.write(move |tx| {
            let mut group = existing(tx, &named)?;
            if !METRIC_FILTERS.delete(tx, row.bytes())? {
                return Err(not_found("The specified metric filter does not exist."));
            }
            group.metric_filters = group.metric_filters.saturating_sub(1);
            GROUPS.put(tx, named.row().bytes(), &group)?;
            Ok::<_, Failure>(group)
        });
        let group = group.await?;
        self.views.forget_group(&group);
        self.filters.forget(&name);
        Ok(json!({}))
    }

    pub(super) async fn describe_metric_filters(
        &self,
        caller: &Caller,
        input: DescribeMetricFilters,
    ) -> Result<Value, Failure> {
        let after = after(input.next_token.as_deref())?;
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        let within = match &input.log_group_name {
            Some(name) => {
                let name = GroupName::own(caller, name);
                self.views.group(&self.catalog, &name).await?.ok_or_else(group_not_found)?;
                name.row()
            }
            None => GroupName::place(&caller.region, &caller.account),
        };
        let found = self.catalog.read(move |tx| METRIC_FILTERS.scan_prefix(tx, within.bytes())).await?;
        let is_named = |filter: &MetricFilter| {
            let to = &filter.transformation;
            input.filter_name_prefix.as_ref().is_none_or(|prefix| filter.name.starts_with(prefix))
                && input.metric_name.as_ref().is_none_or(|name| to.metric_name == *name)
                && input.metric_namespace.as_ref().is_none_or(|namespace| to.namespace == *namespace)
        };
        let mut items: Vec<(String, Value)> = found
            .into_iter()
            .map(|(_, filter)| filter)
            .filter(is_named)
            .map(|filter| (format!("{}\0{}", filter.name, filter.group.name), filter.shown()))
            .filter(|(sort, _)| after.as_ref().is_none_or(|after| sort > after))
            .collect();
        items.sort_by(|(one, _), (other, _)| one.cmp(other));
        items.truncate(limit + 1);
        Ok(page("metricFilters", items, limit))
    }

    pub(super) fn test_metric_filter(input: &TestMetricFilter) -> Result<Value, Failure> {
        let pattern = parsed(&input.filter_pattern)?;
        let numbered = (1_u64..).zip(&input.log_event_messages);
        let matches = numbered.filter(|(_, message)| pattern.matches(message.as_bytes()));
        let shown: Vec<Value> = matches
            .map(|(number, message)| {
                let extracted: BTreeMap<String, String> =
                    pattern.extract(message.as_bytes()).into_iter().collect();
                json!({ "eventNumber": number, "eventMessage": message, "extractedValues": extracted })
            })
            .collect();
        Ok(json!({ "matches": shown }))
    }
}

/// Writes a filter down, in place of the one of its name where there is one.
fn insert(
    tx: &mut dyn Tx,
    mut filter: MetricFilter,
    has_regex: bool,
) -> Result<super::state::Group, Failure> {
    let mut group = existing(tx, &filter.group)?;
    let row = filter.row();
    match METRIC_FILTERS.get(tx, row.bytes())? {
        Some(known) => (filter.id, filter.created) = (known.id, known.created),
        None => {
            if group.metric_filters >= FILTERS_MAX {
                return Err(limit_exceeded());
            }
            group.metric_filters += 1;
            filter.id = new_id(tx)?;
            GROUPS.put(tx, group.name.row().bytes(), &group)?;
        }
    }
    if has_regex && regex_filters(tx, &group.name, &filter.name)? >= REGEX_FILTERS_MAX {
        return Err(limit_exceeded());
    }
    METRIC_FILTERS.put(tx, row.bytes(), &filter)?;
    Ok(group)
}

/// Removes the filters of a group that is deleted.
pub(super) fn remove_metric_filters(tx: &mut dyn Tx, group: &GroupName) -> Result<(), CatalogError> {
    for (row, _) in METRIC_FILTERS.scan_prefix(tx, group.row().bytes())? {
        METRIC_FILTERS.delete(tx, &row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn metric_filters_are_written_and_read_as_in_their_first_version() {
        check::<MetricFilter>(
            r#"{"id":3,"group":{"region":"eu-west-1","account":"111122223333","name":"g"},"name":"f","pattern":"{ $.a = 1 }","transformation":{"metric_name":"m","namespace":"n","value":"$.a","default_value":0.5,"unit":"Count","dimensions":{"d":"$.b"}},"created":1795281866042,"applies_to_transformed":false}"#,
        );
    }
}
