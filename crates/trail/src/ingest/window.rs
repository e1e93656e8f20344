//! The ids of the newest ingested records, so that a record that is sent twice is taken once.
//!
//! Invariants: an id is remembered for at least [`WINDOW_ENTRIES`] positions of the log after its own, and the log
//! keeps what is needed to know it again after a restart; an id whose record is being written belongs to the one who
//! writes it, and everybody else waits for what becomes of that.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use cairn_store::LogPosition;
use tokio::sync::watch;

use super::check::EventKey;

/// For how many positions of the log an eventID is remembered: about 370 MB of events of 1.4 KB, and 20 MB of memory
/// once so many were ingested.
pub const WINDOW_ENTRIES: u64 = 262_144;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Not known yet.
    Pending,
    /// Durable.
    Durable,
    /// It failed; what is on disk is not known.
    Failed,
}

/// What an id is to one who brings a record.
pub(super) enum Claim {
    /// Never seen: the record is to be written.
    New,
    /// Durable already.
    Duplicate,
    /// Being written.
    Pending(watch::Receiver<Written>),
}

/// The window.
#[derive(Debug)]
pub(super) struct Window {
    entries: u64,
    inner: Mutex<Inner>,
}

/// Hashes keys, which are numbers, by multiplying them with numbers that no sender knows: each key is hashed five times,
/// and the standard hasher costs more than all else here.
#[derive(Clone, Debug)]
struct Hashing {
    seed: u64,
    factor: u64,
}

impl Default for Hashing {
    fn default() -> Self {
        let chance = RandomState::new();
        Self { seed: chance.hash_one(0_u8), factor: chance.hash_one(1_u8) | 1 }
    }
}

impl BuildHasher for Hashing {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.seed, factor: self.factor }
    }
}

struct Folding {
    state: u64,
    factor: u64,
}

impl Hasher for Folding {
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.state ^ number) * u128::from(self.factor);
        self.state = (product >> 64) as u64 ^ product as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        // Once more: the table looks at the highest bits and at the lowest.
        let product = u128::from(self.state) * u128::from(self.factor.rotate_left(32));
        (product >> 64) as u64 ^ product as u64
    }
}

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<EventKey, Hashing>,
    /// The ids of each run of entries, by the position of its first.
    order: BTreeMap<u64, Vec<EventKey>>,
    writing: HashMap<EventKey, watch::Receiver<Written>, Hashing>,
}

impl Window {
    /// A window over the last `entries` of the log.
    pub(super) fn new(entries: u64) -> Self {
        Self { entries, inner: Mutex::default() }
    }

    /// The first position that the window reaches back to from `end`.
    pub(super) fn start(&self, end: LogPosition) -> LogPosition {
        LogPosition(end.0.saturating_sub(self.entries))
    }

    /// What each of `keys` is; those that are new are from now on being written by the one whose write `written`
    /// tells of.
    pub(super) fn claim(
        &self,
        keys: impl Iterator<Item = EventKey>,
        written: &watch::Receiver<Written>,
    ) -> Vec<Claim> {
        let mut inner = self.inner();
        keys.map(|key| {
            if inner.known.contains(&key) {
                return Claim::Duplicate;
            }
            match inner.writing.entry(key) {
                Slot::Occupied(other) => Claim::Pending(other.get().clone()),
                Slot::Vacant(free) => {
                    free.insert(written.clone());
                    Claim::New
                }
            }
        })
        .collect()
    }

    /// The records of `keys`, all new in one claim, are durable from position `first` on.
    pub(super) fn remember(&self, keys: Vec<EventKey>, first: LogPosition) {
        let mut inner = self.inner();
        let end = first.0 + keys.len() as u64;
        for key in &keys {
            inner.writing.remove(key);
            inner.known.insert(*key);
        }
        inner.order.insert(first.0, keys);
        inner.forget_before(end.saturating_sub(self.entries));
    }

    /// The records of `run` lie in the log just before position `end`; empties it.
    pub(super) fn remember_run(&self, run: &mut Vec<EventKey>, end: LogPosition) {
        if !run.is_empty() {
            let first = LogPosition(end.0 - run.len() as u64);
            self.remember(std::mem::take(run), first);
        }
    }

    /// The records of `keys` could not be written.
    pub(super) fn release(&self, keys: &[EventKey]) {
        let mut inner = self.inner();
        for key in keys {
            inner.writing.remove(key);
        }
    }

    /// The position of the oldest record whose id is remembered while the log ends at `end`.
    pub(super) fn oldest(&self, end: LogPosition) -> Option<LogPosition> {
        let mut inner = self.inner();
        inner.forget_before(self.start(end).0);
        inner.order.keys().next().copied().map(LogPosition)
    }

    /// How many ids are remembered.
    pub(super) fn len(&self) -> usize {
        self.inner().known.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while the window is held")
    }
}

impl Inner {
    /// Forgets the runs that lie wholly before `position`.
    fn forget_before(&mut self, position: u64) {
        while let Some(run) = self.order.first_entry() {
            if run.key() + run.get().len() as u64 > position {
                break;
            }
            for key in run.remove() {
                self.known.remove(&key);
            }
        }
        if self.known.is_empty() {
            self.known.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> EventKey {
        let account = "123456789012".parse().unwrap();
        EventKey::new(&account, &format!("{number:08x}-0000-4000-8000-000000000000")).unwrap()
    }

    fn claims(window: &Window, numbers: &[u32]) -> String {
        let written = watch::Sender::new(Written::Pending);
        let claims = window.claim(numbers.iter().map(|number| key(*number)), &written.subscribe());
        let word = |claim| match claim {
            Claim::New => 'n',
            Claim::Duplicate => 'd',
            Claim::Pending(_) => 'p',
        };
        claims.into_iter().map(word).collect()
    }

    #[test]
    fn an_id_is_new_once_then_being_written_then_a_duplicate() {
        let window = Window::new(10);
        assert_eq!(claims(&window, &[1, 2, 1]), "nnp");
        assert_eq!(claims(&window, &[2]), "p");
        window.remember(vec![key(1), key(2)], LogPosition(5));
        assert_eq!(claims(&window, &[1, 2, 3]), "ddn");
        window.release(&[key(3)]);
        assert_eq!(claims(&window, &[3]), "n");
    }

    #[test]
    fn ids_are_forgotten_behind_the_window_and_not_before() {
        let window = Window::new(10);
        window.remember(vec![key(1), key(2)], LogPosition(0));
        assert_eq!(window.oldest(LogPosition(11)), Some(LogPosition(0)));
        assert_eq!(claims(&window, &[1, 2]), "dd");
        assert_eq!(window.oldest(LogPosition(12)), None);
        assert_eq!((claims(&window, &[1, 2]).as_str(), window.len()), ("nn", 0));
    }
}
