//! What metric filters count of some batches, and the minutes that default values are for.
//!
//! A minute is one of arrival: for each filter with a default value a row says whether a line matched that arrived in it.
//! Once it is over and all its lines were looked at, the default is added where none did, and the row goes. What a line
//! adds has the line's own time, to the minute.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::lines::LineId;
use cairn_store::{Table, Tx};
use serde::{Deserialize, Serialize};

use crate::logs::arn::GroupName;
use crate::logs::error::{Failure, internal};
use crate::logs::filter_views::CompiledMetricFilter;
use crate::logs::metric_filters::{METRIC_FILTERS, MetricFilter, MetricValue, filter_row};
use crate::sinks::{MetricDatum, SinkFailure, Switchboard};

/// Minutes of filters with a default value: by minute, then by filter.
const MINUTES: Table<Minute> = Table::new("logs.metric_minute", 1);
const MINUTE_MS: i64 = 60_000;
/// How long after its end a minute is settled.
pub(super) const MINUTE_GRACE: Duration = Duration::from_secs(5);
/// Minutes that are settled at a time.
const SETTLED_MAX: usize = 1000;
/// The unit where a filter names none.
const NO_UNIT: &str = "None";

/// A minute in which lines came that a filter looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Minute {
    group: GroupName,
    filter_name: String,
    filter_id: u64,
    minute: u64,
    has_match: bool,
}

impl Minute {
    fn row(&self) -> Key {
        Key::new().number(self.minute).number(self.filter_id)
    }
}

/// Whose metric it is, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    account: AccountId,
    region: Region,
    namespace: String,
    name: String,
    dimensions: Vec<(String, String)>,
    unit: String,
    minute_ms: i64,
}

/// What is to be added.
#[derive(Default)]
pub(super) struct Tally {
    /// Values by their bits, each with how often it was.
    data: BTreeMap<Place, HashMap<u64, f64>>,
    minutes: BTreeMap<(u64, u64), Minute>,
}

impl Tally {
    /// Counts the lines that match, and says how many there are.
    pub(super) fn count(
        &mut self,
        compiled: &CompiledMetricFilter,
        group: &GroupName,
        lines: &[(LineId, Bytes)],
        ingested_at: Timestamp,
    ) -> usize {
        let mut matching = 0;
        for (id, text) in lines {
            if compiled.pattern.matches(text) {
                matching += 1;
                self.add(compiled, group, *id, text);
            }
        }
        let filter = &compiled.filter;
        if filter.transformation.default_value.is_some() && !lines.is_empty() {
            let minute = minute_of(ingested_at);
            let seen = self.minutes.entry((minute, filter.id)).or_insert_with(|| Minute {
                group: group.clone(),
                filter_name: filter.name.clone(),
                filter_id: filter.id,
                minute,
                has_match: false,
            });
            seen.has_match |= matching > 0;
        }
        matching
    }

    /// Adds what a line says. One that lacks the number, or a dimension, says nothing.
    fn add(&mut self, compiled: &CompiledMetricFilter, group: &GroupName, id: LineId, text: &[u8]) {
        let value = match &compiled.value {
            MetricValue::Number(number) => Some(*number),
            MetricValue::Selected(selector) => {
                compiled.pattern.select(selector, text).and_then(|text| text.parse().ok())
            }
        };
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let dimensions = compiled.dimensions.iter().map(|(name, selector)| {
            let selected = compiled.pattern.select(selector, text);
            selected.filter(|value| !value.is_empty()).map(|value| (name.clone(), value))
        });
        let Some(dimensions) = dimensions.collect::<Option<Vec<_>>>() else { return };
        let minute_ms = id.timestamp_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        let place = place(&compiled.filter, group, dimensions, minute_ms);
        *self.data.entry(place).or_default().entry(value.to_bits()).or_default() += 1.0;
    }

    pub(super) fn has_data(&self) -> bool {
        !self.data.is_empty()
    }

    /// Adds to the metrics, and remembers the minutes.
    pub(super) fn write(&self, tx: &mut dyn Tx, switchboard: &Switchboard) -> Result<(), Failure> {
        for (place, values) in &self.data {
            let mut values: Vec<(f64, f64)> =
                values.iter().map(|(bits, count)| (f64::from_bits(*bits), *count)).collect();
            values.sort_by(|one, other| one.0.total_cmp(&other.0));
            put(tx, switchboard, place, values)?;
        }
        for minute in self.minutes.values() {
            let row = minute.row();
            let known = MINUTES.get(tx, row.bytes())?;
            let has_match = minute.has_match || known.as_ref().is_some_and(|known| known.has_match);
            if known.is_none_or(|known| known.has_match != has_match) {
                MINUTES.put(tx, row.bytes(), &Minute { has_match, ..minute.clone() })?;
            }
        }
        Ok(())
    }
}

/// Adds the default values of minutes that are over and had no match; says how many were added.
pub(super) fn settle_minutes(
    tx: &mut dyn Tx,
    switchboard: &Switchboard,
    now: Timestamp,
) -> Result<usize, Failure> {
    let end = Key::new().number(minute_of(now.minus(MINUTE_GRACE)));
    let mut added = 0;
    for (row, minute) in MINUTES.scan(tx, &[], Some(end.bytes()), SETTLED_MAX)? {
        MINUTES.delete(tx, &row)?;
        if minute.has_match {
            continue;
        }
        let filter = METRIC_FILTERS.get(tx, filter_row(&minute.group, &minute.filter_name).bytes())?;
        let Some(filter) = filter.filter(|filter| filter.id == minute.filter_id) else { continue };
        let Some(value) = filter.transformation.default_value else { continue };
        let minute_ms = i64::try_from(minute.minute).unwrap_or(0) * MINUTE_MS;
        let place = place(&filter, &minute.group, Vec::new(), minute_ms);
        put(tx, switchboard, &place, vec![(value, 1.0)])?;
        added += 1;
    }
    Ok(added)
}

fn minute_of(at: Timestamp) -> u64 {
    u64::try_from(at.millis().div_euclid(MINUTE_MS)).unwrap_or_default()
}

fn place(
    filter: &MetricFilter,
    group: &GroupName,
    dimensions: Vec<(String, String)>,
    minute_ms: i64,
) -> Place {
    let to = &filter.transformation;
    Place {
        account: group.account.clone(),
        region: group.region.clone(),
        namespace: to.namespace.clone(),
        name: to.metric_name.clone(),
        dimensions,
        unit: to.unit.clone().unwrap_or_else(|| NO_UNIT.to_owned()),
        minute_ms,
    }
}

fn put(
    tx: &mut dyn Tx,
    switchboard: &Switchboard,
    place: &Place,
    values: Vec<(f64, f64)>,
) -> Result<(), Failure> {
    let datum = MetricDatum {
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        dimensions: place.dimensions.clone(),
        timestamp: Timestamp::from_millis(place.minute_ms),
        values,
        unit: place.unit.clone(),
    };
    let metrics = switchboard.metrics().map_err(of_sink)?;
    Ok(metrics.put_in(tx, &place.account, &place.region, &[datum])?)
}

/// Where this server has no metrics.
pub(super) fn of_sink(failure: SinkFailure) -> Failure {
    internal(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn minutes_are_written_and_read_as_in_their_first_version() {
        check::<Minute>(
            r#"{"group":{"region":"eu-west-1","account":"111122223333","name":"g"},"filter_name":"f","filter_id":3,"minute":29921364,"has_match":true}"#,
        );
    }
}
