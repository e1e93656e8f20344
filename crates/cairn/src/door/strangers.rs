//! How many failed calls of nobody known are recorded: enough to see an attack whole, too few to fill a disk with it.
//!
//! Invariant: only calls that failed, of callers who did not prove who they are, are ever left out, and each is counted
//! (`cairn_unrecorded_requests_total`). AWS records none of them.

use std::sync::Mutex;

use cairn_core::Timestamp;

/// How many may come at once, and all be recorded.
const BURST_MAX: u64 = 10_000;
/// How many are recorded in a second once the burst is used up: about a gigabyte a day.
const PER_SECOND: u64 = 10;
/// Places are counted in thousandths, to fill up by the millisecond.
const PARTS: u64 = 1000;

/// The places that are left.
#[derive(Debug)]
pub(super) struct Strangers(Mutex<Places>);

#[derive(Debug)]
struct Places {
    parts: u64,
    as_of: Option<Timestamp>,
}

impl Default for Strangers {
    fn default() -> Self {
        Self(Mutex::new(Places { parts: BURST_MAX * PARTS, as_of: None }))
    }
}

impl Strangers {
    /// Takes a place, where there is one.
    pub(super) fn admit(&self, now: Timestamp) -> bool {
        let mut places = self.0.lock().expect("no panic while the places are held");
        let passed = places.as_of.map_or(0, |as_of| now.since(as_of).as_millis());
        let filled = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(PER_SECOND);
        places.parts = places.parts.saturating_add(filled).min(BURST_MAX * PARTS);
        // A clock that steps backwards must not fill the places again once it goes on.
        places.as_of = Some(places.as_of.map_or(now, |as_of| as_of.max(now)));
        let Some(left) = places.parts.checked_sub(PARTS) else { return false };
        places.parts = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_whole_and_a_flood_at_a_bounded_rate() {
        let strangers = Strangers::default();
        let at = Timestamp::from_millis;
        assert_eq!((0..20_000).filter(|_| strangers.admit(at(1000))).count(), 10_000);
        assert!(!strangers.admit(at(1099)));
        assert!(strangers.admit(at(1100)), "a tenth of a second later");
        assert!(!strangers.admit(at(1100)));
        assert!(!strangers.admit(at(0)), "the clock went back");
        assert!(!strangers.admit(at(1100)), "and on again");
        assert_eq!((0..1000).filter(|_| strangers.admit(at(11_100))).count(), 100, "ten seconds later");
    }
}
