//! When to try a failing bucket again: each trail by itself, later and later.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::catalog::Key;

/// The pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_secs(2);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug)]
struct Failing {
    failures: u32,
    retry_at: Timestamp,
}

/// The trails that fail, by their state's key. In memory: a restart is a good reason to try again.
#[derive(Default)]
pub(crate) struct Backoff(Mutex<HashMap<Vec<u8>, Failing>>);

impl Backoff {
    /// Whether the trail may be tried.
    pub(crate) fn is_ready(&self, state: &Key, now: Timestamp) -> bool {
        self.lock().get(state.bytes()).is_none_or(|failing| failing.retry_at <= now)
    }

    /// Notes a failure and says when to try again.
    pub(crate) fn fail(&self, state: &Key, now: Timestamp) -> Timestamp {
        let mut trails = self.lock();
        let failures = trails.get(state.bytes()).map_or(0, |failing| failing.failures);
        let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX);
        let retry_at = now.plus(pause);
        trails.insert(state.bytes().to_vec(), Failing { failures: failures.saturating_add(1), retry_at });
        retry_at
    }

    /// Notes a success, or that the trail is gone.
    pub(crate) fn clear(&self, state: &[u8]) {
        self.lock().remove(state);
    }

    /// Forgets the trails that were due at `now` and did not fail again.
    pub(crate) fn settle(&self, now: Timestamp) {
        self.lock().retain(|_, failing| failing.retry_at > now);
    }

    /// The next time that some trail may be tried again.
    pub(crate) fn next_retry(&self) -> Option<Timestamp> {
        self.lock().values().map(|failing| failing.retry_at).min()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Failing>> {
        self.0.lock().expect("no panic while the trails are held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_a_success() {
        let (backoff, key) = (Backoff::default(), Key::new().text("t"));
        let mut now = Timestamp::from_seconds(1000);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let retry_at = backoff.fail(&key, now);
            assert!(!backoff.is_ready(&key, now) && backoff.is_ready(&key, retry_at));
            pauses.push(retry_at.since(now).as_secs());
            now = retry_at;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        backoff.clear(key.bytes());
        assert_eq!(backoff.next_retry(), None);
    }
}
