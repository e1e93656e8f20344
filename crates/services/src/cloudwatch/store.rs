//! Metrics in the catalog: their names, and their data in blocks of sixty buckets.
//!
//! Data of a fine resolution are kept a short while and rolled up into a coarser one, as AWS says it does:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention>
//! Invariant: every block has a row in [`BLOCKS_BY_AGE`], so that what is too old is found without looking at the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use super::bucket::{BLOCKS_NAME, BUCKETS_IN_BLOCK, Block, Bucket, Unit};

/// Metrics by [`MetricName::row`].
const METRICS: Table<MetricRow> = Table::new("cloudwatch.metric", 1);
/// The metrics' names by their numbers.
const NAMES: Table<OwnedMetric> = Table::new("cloudwatch.metric_name", 1);
/// The next metric's number.
const NEXT_NUMBER: Table<u64> = Table::new("cloudwatch.next_metric", 1);
/// How many metrics an account has in a region.
const COUNTS: Table<u64> = Table::new("cloudwatch.metric_count", 1);
/// Blocks by resolution, time and metric; the value says nothing.
const BLOCKS_BY_AGE: &str = "cloudwatch.block_by_age";

/// Metrics of an account in a region. AWS has no limit; the disk has.
pub(super) const METRICS_MAX: u64 = 1_000_000;
/// Blocks rolled up in a transaction.
const BLOCKS_AT_ONCE: usize = 200;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long data of a resolution are kept before they are rolled up into the next one; those of the last are deleted.
struct Resolution {
    bucket_s: i64,
    kept: Duration,
}

const RESOLUTIONS: [Resolution; 4] = [
    Resolution { bucket_s: 1, kept: HOUR.saturating_mul(3) },
    Resolution { bucket_s: 60, kept: DAY.saturating_mul(15) },
    Resolution { bucket_s: 300, kept: DAY.saturating_mul(63) },
    Resolution { bucket_s: 3600, kept: DAY.saturating_mul(455) },
];

impl Resolution {
    fn block_s(&self) -> i64 {
        self.bucket_s * BUCKETS_IN_BLOCK
    }

    /// The beginning of the block of a time.
    fn block_start_s(&self, at_s: i64) -> i64 {
        at_s - at_s.rem_euclid(self.block_s())
    }

    fn place(&self, at_s: i64) -> u8 {
        u8::try_from(at_s.rem_euclid(self.block_s()) / self.bucket_s).unwrap_or_default()
    }
}

/// How finely data are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StorageResolution {
    Second,
    Minute,
}

/// The name of a metric within an account and region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct MetricName {
    pub(super) namespace: String,
    pub(super) name: String,
    /// By name.
    pub(super) dimensions: BTreeMap<String, String>,
}

/// A metric with whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct OwnedMetric {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) metric: MetricName,
}

/// The prefix of the rows of an account in a region.
pub(super) fn place_row(account: &AccountId, region: &Region) -> Key {
    Key::new().text(region.as_str()).text(account.as_str())
}

impl OwnedMetric {
    pub(super) fn row(&self) -> Key {
        let mut row =
            place_row(&self.account, &self.region).text(&self.metric.namespace).text(&self.metric.name);
        for (name, value) in &self.metric.dimensions {
            row = row.text(name).text(value);
        }
        row
    }
}

/// A metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MetricRow {
    pub(super) number: u64,
    pub(super) metric: MetricName,
    /// The end of the last block that began.
    pub(super) data_until: Timestamp,
}

/// Something to add to a metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(super) metric: OwnedMetric,
    pub(super) at: Timestamp,
    pub(super) resolution: StorageResolution,
    pub(super) unit: Unit,
    pub(super) bucket: Bucket,
}

fn block_row(number: u64, resolution: usize, start_s: i64) -> Key {
    Key::new().number(number).number(resolution as u64).number(start_s.unsigned_abs())
}

fn age_row(resolution: usize, start_s: i64, number: u64) -> Key {
    Key::new().number(resolution as u64).number(start_s.unsigned_abs()).number(number)
}

/// Why samples were not added.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddError {
    #[error("the account has too many metrics")]
    TooManyMetrics,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Adds samples, at `now`. Those that are older than their resolution is kept go into a coarser one.
pub(super) fn add(tx: &mut dyn Tx, samples: &[Sample], now: Timestamp) -> Result<(), AddError> {
    let mut by_block: BTreeMap<(&OwnedMetric, usize, i64), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let finest = match sample.resolution {
            StorageResolution::Second => 0,
            StorageResolution::Minute => 1,
        };
        let at_s = sample.at.seconds();
        let fits = |place: &usize| sample.at >= now.minus(RESOLUTIONS[*place].kept);
        let Some(place) = (finest..RESOLUTIONS.len()).find(fits) else { continue };
        let start_s = RESOLUTIONS[place].block_start_s(at_s);
        by_block.entry((&sample.metric, place, start_s)).or_default().push(sample);
    }
    for ((metric, place, start_s), samples) in by_block {
        let number = number_of(tx, metric)?;
        let mut block = read_block(tx, number, place, start_s)?;
        let is_new = block.0.is_empty();
        for sample in samples {
            block.add(RESOLUTIONS[place].place(sample.at.seconds()), sample.unit, &sample.bucket);
        }
        tx.put(BLOCKS_NAME, block_row(number, place, start_s).bytes(), &block.encode())?;
        if is_new {
            tx.put(BLOCKS_BY_AGE, age_row(place, start_s, number).bytes(), &[])?;
            note_data(tx, metric, Timestamp::from_seconds(start_s + RESOLUTIONS[place].block_s()))?;
        }
    }
    Ok(())
}

fn read_block(tx: &mut dyn Tx, number: u64, place: usize, start_s: i64) -> Result<Block, CatalogError> {
    let bytes = tx.get(BLOCKS_NAME, block_row(number, place, start_s).bytes())?;
    bytes.map_or_else(|| Ok(Block::default()), |bytes| Block::decode(&bytes))
}

/// The metric's number; a new one where it is new.
fn number_of(tx: &mut dyn Tx, metric: &OwnedMetric) -> Result<u64, AddError> {
    let row = metric.row();
    if let Some(found) = METRICS.get(tx, row.bytes())? {
        return Ok(found.number);
    }
    let place = place_row(&metric.account, &metric.region);
    let count = COUNTS.get(tx, place.bytes())?.unwrap_or_default();
    if count >= METRICS_MAX {
        return Err(AddError::TooManyMetrics);
    }
    let number = NEXT_NUMBER.get(tx, &[])?.unwrap_or_default();
    NEXT_NUMBER.put(tx, &[], &(number + 1))?;
    COUNTS.put(tx, place.bytes(), &(count + 1))?;
    NAMES.put(tx, Key::new().number(number).bytes(), metric)?;
    let made = MetricRow { number, metric: metric.metric.clone(), data_until: Timestamp::EPOCH };
    METRICS.put(tx, row.bytes(), &made)?;
    Ok(number)
}

fn note_data(tx: &mut dyn Tx, metric: &OwnedMetric, until: Timestamp) -> Result<(), CatalogError> {
    let row = metric.row();
    match METRICS.get(tx, row.bytes())? {
        Some(found) if found.data_until < until => {
            METRICS.put(tx, row.bytes(), &MetricRow { data_until: until, ..found })
        }
        _ => Ok(()),
    }
}

/// Up to `limit` metrics from the row `from` on, within the rows that begin with `prefix`.
pub(super) fn list(
    tx: &mut dyn Tx,
    prefix: &Key,
    from: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, MetricRow)>, CatalogError> {
    METRICS.scan(tx, from, prefix_end(prefix.bytes()).as_deref(), limit)
}

/// A stretch of time, cut into periods from its beginning on. In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_s: i64,
    /// Not part of it.
    pub(super) until_s: i64,
    pub(super) period_s: i64,
}

/// A metric's data by period and unit. Data that are kept more coarsely than the periods are left out.
pub(super) fn read(
    tx: &mut dyn Tx,
    metric: &OwnedMetric,
    span: Span,
    unit: Option<Unit>,
) -> Result<BTreeMap<(i64, Unit), Bucket>, CatalogError> {
    let mut found = BTreeMap::new();
    let Some(row) = METRICS.get(tx, metric.row().bytes())? else { return Ok(found) };
    for (place, resolution) in RESOLUTIONS.iter().enumerate() {
        if resolution.bucket_s > span.period_s {
            break;
        }
        let first = block_row(row.number, place, resolution.block_start_s(span.from_s.max(0)));
        let end = block_row(row.number, place, span.until_s.max(0));
        for (key, bytes) in tx.scan(BLOCKS_NAME, first.bytes(), Some(end.bytes()), usize::MAX, false)? {
            let start_s = key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes)).cast_signed();
            for ((at, own), bucket) in Block::decode(&bytes)?.0 {
                let at_s = start_s + i64::from(at) * resolution.bucket_s;
                if at_s < span.from_s || at_s >= span.until_s || unit.is_some_and(|unit| unit != own) {
                    continue;
                }
                let period = span.from_s + (at_s - span.from_s) / span.period_s * span.period_s;
                match found.get_mut(&(period, own)) {
                    None => drop(found.insert((period, own), bucket)),
                    Some(known) => Bucket::merge(known, &bucket),
                }
            }
        }
    }
    Ok(found)
}

/// The same with all units as one.
pub(super) fn read_units_as_one(
    tx: &mut dyn Tx,
    metric: &OwnedMetric,
    span: Span,
    unit: Option<Unit>,
) -> Result<BTreeMap<i64, Bucket>, CatalogError> {
    let mut found: BTreeMap<i64, Bucket> = BTreeMap::new();
    for ((period, _), bucket) in read(tx, metric, span, unit)? {
        match found.get_mut(&period) {
            None => drop(found.insert(period, bucket)),
            Some(known) => known.merge(&bucket),
        }
    }
    Ok(found)
}

/// Rolls up or deletes some blocks whose time is over. Says whether there may be more.
pub(super) fn retain(tx: &mut dyn Tx, now: Timestamp) -> Result<bool, CatalogError> {
    for (place, resolution) in RESOLUTIONS.iter().enumerate() {
        let over_s = now.minus(resolution.kept).seconds() - resolution.block_s();
        let first = Key::new().number(place as u64);
        let end = Key::new().number(place as u64).number(over_s.max(0).unsigned_abs());
        let old = tx.scan(BLOCKS_BY_AGE, first.bytes(), Some(end.bytes()), BLOCKS_AT_ONCE, false)?;
        for (row, _) in &old {
            let Some((head, number)) = row.split_last_chunk::<8>() else { continue };
            let start_s = head.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes)).cast_signed();
            roll_up(tx, u64::from_be_bytes(*number), place, start_s)?;
            tx.delete(BLOCKS_BY_AGE, row)?;
        }
        if old.len() == BLOCKS_AT_ONCE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves a block into the next resolution; out of the last it is deleted, with its metric where it was all there was.
fn roll_up(tx: &mut dyn Tx, number: u64, place: usize, start_s: i64) -> Result<(), CatalogError> {
    let old = read_block(tx, number, place, start_s)?;
    tx.delete(BLOCKS_NAME, block_row(number, place, start_s).bytes())?;
    let Some(next) = RESOLUTIONS.get(place + 1) else { return forget_if_empty(tx, number) };
    let next_start_s = next.block_start_s(start_s);
    let mut block = read_block(tx, number, place + 1, next_start_s)?;
    for ((at, unit), bucket) in &old.0 {
        let at_s = start_s + i64::from(*at) * RESOLUTIONS[place].bucket_s;
        block.add(next.place(at_s), *unit, bucket);
    }
    tx.put(BLOCKS_NAME, block_row(number, place + 1, next_start_s).bytes(), &block.encode())?;
    tx.put(BLOCKS_BY_AGE, age_row(place + 1, next_start_s, number).bytes(), &[])
}

fn forget_if_empty(tx: &mut dyn Tx, number: u64) -> Result<(), CatalogError> {
    let own = Key::new().number(number);
    let end = prefix_end(own.bytes());
    if !tx.scan(BLOCKS_NAME, own.bytes(), end.as_deref(), 1, false)?.is_empty() {
        return Ok(());
    }
    let Some(metric) = NAMES.get(tx, own.bytes())? else { return Ok(()) };
    METRICS.delete(tx, metric.row().bytes())?;
    NAMES.delete(tx, own.bytes())?;
    let place = place_row(&metric.account, &metric.region);
    let count = COUNTS.get(tx, place.bytes())?.unwrap_or_default();
    COUNTS.put(tx, place.bytes(), &count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use cairn_testkit::memory_catalog;

    use super::*;
    use crate::golden::check;

    fn metric(name: &str) -> OwnedMetric {
        OwnedMetric {
            account: "111122223333".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            metric: MetricName {
                namespace: "App".into(),
                name: name.into(),
                dimensions: [("Host".to_owned(), "a".to_owned())].into(),
            },
        }
    }

    fn sample(at_s: i64, resolution: StorageResolution, value: f64) -> Sample {
        let bucket = Bucket::of_values(&[(value, 1.0)]).unwrap();
        Sample { metric: metric("m"), at: Timestamp::from_seconds(at_s), resolution, unit: 1, bucket }
    }

    #[test]
    fn rows_are_read_as_they_were_once_written() {
        check::<MetricRow>(
            r#"{"number":7,"metric":{"namespace":"App","name":"m","dimensions":{"Host":"a"}},"data_until":1795284000000}"#,
        );
        check::<OwnedMetric>(
            r#"{"account":"111122223333","region":"us-east-1","metric":{"namespace":"App","name":"m","dimensions":{}}}"#,
        );
    }

    #[tokio::test]
    async fn data_are_rolled_up_as_they_age_and_their_metric_goes_with_the_last() {
        let catalog = memory_catalog();
        let start_s = 1_795_280_400_i64;
        let start = Timestamp::from_seconds(start_s);
        catalog
            .write(move |tx| {
                let samples = [
                    sample(start_s, StorageResolution::Second, 1.0),
                    sample(start_s + 61, StorageResolution::Second, 2.0),
                ];
                add(tx, &samples, start).map_err(|_| CatalogError::Version { table: "", found: 0, known: 0 })
            })
            .await
            .unwrap();
        let sums = async |at: Timestamp, period_s: i64| {
            let catalog = catalog.clone();
            catalog
                .write::<_, CatalogError>(move |tx| {
                    while retain(tx, at)? {}
                    let span = Span { from_s: start_s, until_s: start_s + 7200, period_s };
                    let found = read_units_as_one(tx, &metric("m"), span, None)?;
                    Ok(found.into_iter().map(|(at, bucket)| (at - start_s, bucket.sum)).collect::<Vec<_>>())
                })
                .await
                .unwrap()
        };
        assert_eq!(sums(start, 1).await, [(0, 1.0), (61, 2.0)]);
        assert_eq!(sums(start, 60).await, [(0, 1.0), (60, 2.0)]);
        let later = start.plus(HOUR * 4);
        assert_eq!(sums(later, 1).await, []);
        assert_eq!(sums(later, 60).await, [(0, 1.0), (60, 2.0)]);
        let later = start.plus(DAY * 16);
        assert_eq!(sums(later, 60).await, []);
        assert_eq!(sums(later, 300).await, [(0, 3.0)]);
        let later = start.plus(DAY * 64);
        assert_eq!(sums(later, 300).await, []);
        assert_eq!(sums(later, 3600).await, [(0, 3.0)]);
        let later = start.plus(DAY * 460);
        assert_eq!(sums(later, 3600).await, []);
        let left = catalog
            .read::<_, CatalogError>(move |tx| {
                let place = place_row(&metric("m").account, &metric("m").region);
                let count = COUNTS.get(tx, place.bytes())?;
                Ok((
                    count,
                    METRICS.count_prefix(tx, &[], 9)?,
                    tx.scan(BLOCKS_BY_AGE, &[], None, 9, false)?.len(),
                ))
            })
            .await
            .unwrap();
        assert_eq!(left, (Some(0), 0, 0));
    }

    #[tokio::test]
    async fn data_that_come_late_go_where_their_age_belongs() {
        let catalog = memory_catalog();
        let now = Timestamp::from_seconds(1_795_280_400);
        let late_s = now.minus(HOUR * 5).seconds();
        let found = catalog
            .write(move |tx| {
                add(tx, &[sample(late_s, StorageResolution::Second, 4.0)], now)
                    .map_err(|_| CatalogError::Version { table: "", found: 0, known: 0 })?;
                let span = |period_s| Span { from_s: late_s, until_s: late_s + 60, period_s };
                Ok::<_, CatalogError>((
                    read_units_as_one(tx, &metric("m"), span(1), None)?.len(),
                    read_units_as_one(tx, &metric("m"), span(60), Some(1))?.len(),
                    read_units_as_one(tx, &metric("m"), span(60), Some(2))?.len(),
                ))
            })
            .await
            .unwrap();
        assert_eq!(found, (0, 1, 0));
    }
}
