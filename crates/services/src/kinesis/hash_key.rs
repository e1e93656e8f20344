//! Hash keys: 128-bit numbers, over which the open shards of a stream share out its records.

use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A hash key. Written as a decimal text, as AWS shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HashKey(pub(super) u128);

impl HashKey {
    pub(super) const MAX: Self = Self(u128::MAX);

    /// The hash key of a partition key: its MD5.
    pub(super) fn of_partition(key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(key).into()))
    }

    /// A hash key in decimal; none where it is not one, or over 128 bits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl std::fmt::Display for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for HashKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a hash key"))
    }
}

/// Where range `at` of `count` equal ones begins.
pub(super) fn boundary(at: u32, count: u32) -> HashKey {
    let (quotient, remainder) = (u128::MAX / u128::from(count), u128::MAX % u128::from(count) + 1);
    // 2^128 / count, without going over 128 bits.
    HashKey(quotient * u128::from(at) + remainder * u128::from(at) / u128::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_are_hashed_with_md5() {
        let key = HashKey::of_partition("partitionKey-1");
        assert_eq!(HashKey::parse(&key.to_string()), Some(key));
        assert_eq!(HashKey::of_partition("").to_string(), "281949768489412648962353822266799178366");
        assert_eq!(HashKey::parse("340282366920938463463374607431768211456"), None);
    }

    #[test]
    fn equal_ranges_begin_where_those_of_aws_do() {
        assert_eq!(boundary(0, 3).to_string(), "0");
        assert_eq!(boundary(1, 2).to_string(), "170141183460469231731687303715884105728");
        assert_eq!(boundary(1, 3).to_string(), "113427455640312821154458202477256070485");
        assert_eq!(boundary(2, 3).to_string(), "226854911280625642308916404954512140970");
        assert_eq!(boundary(0, 1).0, 0);
    }
}
