//! What a shard of a provisioned stream takes in and gives out in a second.
//!
//! Source: the developer guide's page on quotas and limits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cairn_core::Timestamp;

/// What a shard takes in a second.
const WRITE_RECORDS_MAX: usize = 1000;
const WRITE_SIZE_BYTES_MAX: usize = 1 << 20;
/// What a shard gives out in a second, and how often it is asked.
const READ_SIZE_BYTES_MAX: u64 = 2 << 20;
const READ_CALLS_MAX: u32 = 5;

/// What the shards of a stream took in and gave out lately.
#[derive(Default)]
pub(super) struct Meter(Mutex<HashMap<u32, Lately>>);

#[derive(Default)]
struct Lately {
    second: i64,
    records: usize,
    size_bytes: usize,
    read_second: i64,
    reads: u32,
    /// Until when it has given out enough.
    sated_until: Option<Timestamp>,
}

impl Meter {
    /// Whether the shard takes one more record now, which then counts.
    pub(super) fn takes(&self, shard: u32, size_bytes: usize, now: Timestamp) -> bool {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = shards.entry(shard).or_default();
        if lately.second != now.seconds() {
            (lately.second, lately.records, lately.size_bytes) = (now.seconds(), 0, 0);
        }
        // The largest record there is takes a second of its own.
        let fits = lately.size_bytes + size_bytes <= WRITE_SIZE_BYTES_MAX || lately.records == 0;
        let is_taken = lately.records < WRITE_RECORDS_MAX && fits;
        if is_taken {
            (lately.records, lately.size_bytes) = (lately.records + 1, lately.size_bytes + size_bytes);
        }
        is_taken
    }

    /// Whether the shard gives out more now; the asking counts.
    pub(super) fn gives(&self, shard: u32, now: Timestamp) -> bool {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = shards.entry(shard).or_default();
        if lately.sated_until.is_some_and(|until| now < until) {
            return false;
        }
        if lately.read_second != now.seconds() {
            (lately.read_second, lately.reads) = (now.seconds(), 0);
        }
        lately.reads += 1;
        lately.reads <= READ_CALLS_MAX
    }

    /// The shard gave out so much: where that is more than for a second, it rests.
    pub(super) fn gave(&self, shard: u32, size_bytes: u64, now: Timestamp) {
        if size_bytes <= READ_SIZE_BYTES_MAX {
            return;
        }
        let rest = Duration::from_millis(size_bytes * 1000 / READ_SIZE_BYTES_MAX);
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shards.entry(shard).or_default().sated_until = Some(now.plus(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_a_thousand_records_or_a_mebibyte_a_second() {
        let (meter, now) = (Meter::default(), Timestamp::from_seconds(7));
        assert!((0..1000).all(|_| meter.takes(0, 10, now)));
        assert!(!meter.takes(0, 10, now));
        assert!(meter.takes(1, 1 << 19, now) && meter.takes(1, 1 << 19, now));
        assert!(!meter.takes(1, 1, now));
        let next = now.plus(Duration::from_secs(1));
        assert!(meter.takes(0, 2 << 20, next), "a record over the limit goes alone");
        assert!(!meter.takes(0, 1, next));
    }

    #[test]
    fn a_shard_is_asked_five_times_a_second_and_rests_after_much() {
        let (meter, now) = (Meter::default(), Timestamp::from_seconds(7));
        assert!((0..5).all(|_| meter.gives(0, now)));
        assert!(!meter.gives(0, now));
        let next = now.plus(Duration::from_secs(1));
        assert!(meter.gives(0, next));
        meter.gave(0, 10 << 20, next);
        assert!(!meter.gives(0, next.plus(Duration::from_millis(4999))));
        assert!(meter.gives(0, next.plus(Duration::from_secs(5))));
    }
}
