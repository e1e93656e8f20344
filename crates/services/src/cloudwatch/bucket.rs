//! What a metric's data within one second, minute or more add up to, and how that is kept: blocks of sixty buckets.
//!
//! A bucket keeps its values with how often each was, as long as they are few; of many it keeps the means of groups whose
//! values lie close to one another, so percentiles err by as much as a group is wide.

use std::collections::BTreeMap;

use cairn_store::CatalogError;

/// Buckets of a block.
pub(super) const BUCKETS_IN_BLOCK: i64 = 60;
/// Distinct values that a bucket keeps; more than PutMetricData takes of one datum.
const VALUES_MAX: usize = 160;
/// Values this close to one another are the first to be kept as one.
const GROUP_RATIO: f64 = 1.005;
/// What the first byte of a block says.
const BLOCK_VERSION: u8 = 1;
/// The table that blocks are in, for errors.
pub(super) const BLOCKS_NAME: &str = "cloudwatch.block";

/// All units, in an order that is kept: a unit's place stands for it in blocks.
pub(super) const UNITS: [&str; 27] = [
    "None",
    "Count",
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
];

/// A unit: its place in [`UNITS`].
pub(super) type Unit = u8;

/// The unit of that name.
pub(super) fn unit_of(name: &str) -> Option<Unit> {
    UNITS.iter().position(|unit| *unit == name).and_then(|place| u8::try_from(place).ok())
}

/// The unit's name.
pub(super) fn unit_name(unit: Unit) -> &'static str {
    UNITS.get(usize::from(unit)).copied().unwrap_or("None")
}

/// What data add up to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    /// Values with how often each was, ascending; none where a statistic set hid them.
    pub(super) values: Option<Vec<(f64, f64)>>,
}

impl Bucket {
    /// Of values, each with how often it was. There is none where all of them never were.
    pub(super) fn of_values(pairs: &[(f64, f64)]) -> Option<Self> {
        let mut values: Vec<(f64, f64)> = pairs.iter().copied().filter(|(_, count)| *count > 0.0).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (first, last) = (values.first()?.0, values.last()?.0);
        Some(Self {
            count: values.iter().map(|(_, count)| count).sum(),
            sum: values.iter().map(|(value, count)| value * count).sum(),
            minimum: first,
            maximum: last,
            values: Some(kept_values(values)),
        })
    }

    /// Of a statistic set, whose values are known only where they are all the same.
    pub(super) fn of_statistics(count: f64, sum: f64, minimum: f64, maximum: f64) -> Self {
        let is_one = (minimum - maximum).abs() <= f64::EPSILON * maximum.abs();
        let values = is_one.then(|| vec![(minimum, count)]);
        Self { count, sum, minimum, maximum, values }
    }

    /// Adds what `other` adds up to.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.values = match (self.values.take(), &other.values) {
            (Some(mut own), Some(others)) => {
                own.extend_from_slice(others);
                own.sort_by(|a, b| a.0.total_cmp(&b.0));
                Some(kept_values(own))
            }
            _ => None,
        };
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut put = |number: f64| bytes.extend(number.to_le_bytes());
        match self.values.as_deref() {
            Some([(value, count)]) if value * count == self.sum => {
                put(*value);
                put(*count);
            }
            values => {
                for number in [self.count, self.sum, self.minimum, self.maximum] {
                    put(number);
                }
                for (value, count) in values.unwrap_or_default() {
                    put(*value);
                    put(*count);
                }
            }
        }
    }

    /// How many numbers [`Bucket::write`] writes, which is how a block tells buckets apart.
    fn numbers(&self) -> u16 {
        match self.values.as_deref() {
            Some([(value, count)]) if value * count == self.sum => 2,
            values => 4 + 2 * u16::try_from(values.map_or(0, <[_]>::len)).unwrap_or(u16::MAX / 4),
        }
    }

    fn read(numbers: &[f64]) -> Option<Self> {
        match *numbers {
            [value, count] => Self::of_values(&[(value, count)]),
            [count, sum, minimum, maximum, ref rest @ ..] => {
                let pairs: Vec<(f64, f64)> = rest.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                let values = (!pairs.is_empty()).then_some(pairs);
                Some(Self { count, sum, minimum, maximum, values })
            }
            _ => None,
        }
    }
}

/// Equal values as one, and of too many the means of groups.
fn kept_values(mut values: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    values.dedup_by(|next, before| {
        let is_same = next.0 == before.0;
        if is_same {
            before.1 += next.1;
        }
        is_same
    });
    let mut width = GROUP_RATIO.ln();
    while values.len() > VALUES_MAX {
        width *= 2.0;
        let place = |value: f64| (value.signum(), (value.abs().max(f64::MIN_POSITIVE).ln() / width).floor());
        values.dedup_by(|next, before| {
            let is_near = place(next.0) == place(before.0);
            if is_near {
                let count = before.1 + next.1;
                before.0 += (next.0 - before.0) * (next.1 / count);
                before.1 = count;
            }
            is_near
        });
    }
    values
}

/// Sixty buckets in a row, of each unit, by their place in the block.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Block(pub(super) BTreeMap<(u8, Unit), Bucket>);

impl Block {
    /// Adds to the bucket at `place`.
    pub(super) fn add(&mut self, place: u8, unit: Unit, bucket: &Bucket) {
        match self.0.get_mut(&(place, unit)) {
            Some(own) => own.merge(bucket),
            None => drop(self.0.insert((place, unit), bucket.clone())),
        }
    }

    /// A version byte, then for each bucket: place, unit, how many numbers (two bytes), the numbers, little-endian.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![BLOCK_VERSION];
        for ((place, unit), bucket) in &self.0 {
            bytes.extend([*place, *unit]);
            bytes.extend(bucket.numbers().to_le_bytes());
            bucket.write(&mut bytes);
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CatalogError> {
        match bytes.split_first() {
            Some((&BLOCK_VERSION, rest)) => decode_buckets(rest).ok_or_else(|| CatalogError::Decode {
                table: BLOCKS_NAME,
                source: "the block breaks off".into(),
            }),
            Some((version, _)) => Err(CatalogError::Version {
                table: BLOCKS_NAME,
                found: u32::from(*version),
                known: u32::from(BLOCK_VERSION),
            }),
            None => Err(CatalogError::Decode { table: BLOCKS_NAME, source: "the block is empty".into() }),
        }
    }
}

fn decode_buckets(mut rest: &[u8]) -> Option<Block> {
    let mut block = Block::default();
    while !rest.is_empty() {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([head[2], head[3]])) * size_of::<f64>();
        let (numbers, tail) = tail.split_at_checked(length)?;
        let numbers: Vec<f64> = numbers
            .chunks_exact(size_of::<f64>())
            .filter_map(|bytes| bytes.try_into().ok().map(f64::from_le_bytes))
            .collect();
        block.0.insert((head[0], head[1]), Bucket::read(&numbers)?);
        rest = tail;
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cloudwatch::statistic::Statistic;

    #[test]
    fn a_block_is_written_as_it_always_was() {
        let mut block = Block::default();
        block.add(3, unit_of("Count").unwrap(), &Bucket::of_values(&[(1.0, 2.0)]).unwrap());
        block.add(4, 0, &Bucket::of_statistics(2.0, 5.0, 1.0, 4.0));
        let bytes = block.encode();
        assert_eq!(
            hex::encode(&bytes),
            "0103010200000000000000f03f0000000000000040\
             0400040000000000000000400000000000001440000000000000f03f0000000000001040"
        );
        assert_eq!(Block::decode(&bytes).unwrap(), block);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for bytes in
            [&[][..], &[2], &[1, 0], &[1, 0, 0, 2, 0, 1, 2, 3], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert!(Block::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn blocks_are_read_as_they_were_written(
            data in prop::collection::vec((0_u8..60, 0_u8..27, prop::collection::vec((-1e6_f64..1e6, 1.0_f64..9.0), 1..6)), 0..20)
        ) {
            let mut block = Block::default();
            for (place, unit, pairs) in data {
                block.add(place, unit, &Bucket::of_values(&pairs).unwrap());
            }
            prop_assert_eq!(Block::decode(&block.encode()).unwrap(), block);
        }

        #[test]
        fn percentiles_of_many_values_err_by_little(values in prop::collection::vec(1.0_f64..1000.0, 1..2000)) {
            let mut bucket = Bucket::of_values(&[(values[0], 1.0)]).unwrap();
            for value in &values[1..] {
                bucket.merge(&Bucket::of_values(&[(*value, 1.0)]).unwrap());
            }
            prop_assert!(bucket.values.as_ref().unwrap().len() <= VALUES_MAX);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for percent in [10.0, 50.0, 90.0, 99.0] {
                let found = format!("p{percent}").parse::<Statistic>().unwrap().of(&bucket).unwrap();
                let place = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize - 1;
                let exact = sorted[place];
                prop_assert!((found / exact - 1.0).abs() < 0.06, "p{percent}: {found} for {exact}");
            }
        }
    }
}
