//! What tests hand in for the clock, for randomness, for the disk, for the catalog, for the event log and for log lines. Dev-dependencies only.
//!
//! Unit tests inside cairn-core and cairn-store see other types than this crate does; it is for integration tests and
//! for the crates above them.

mod catalog;
mod chance;
pub mod disk;
mod events;
mod fixtures;
mod lines;
mod log;
mod queues;
mod seal;
mod streams;

pub use catalog::memory_catalog;
pub use chance::Chance;
pub use events::{SAMPLE_ACCOUNT, SampleEvents};
pub use fixtures::fixtures;
pub use lines::memory_lines;
pub use log::memory_log;
pub use queues::{SteppedQueues, memory_queues};
pub use seal::fixed_sealer;
pub use streams::memory_streams;

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cairn_core::{Clock, Entropy, Timestamp};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.millis()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.millis(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Randomness from a seed: the same seed gives the same bytes.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// Bytes that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("no panic while the generator is held").fill_bytes(bytes);
    }
}
