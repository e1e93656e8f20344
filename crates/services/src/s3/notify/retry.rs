//! When to try a destination again that takes nothing: each by itself, later and later. In memory: a restart is a good
//! reason to try again.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use cairn_core::Timestamp;

/// The pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between two attempts: destinations are near, and a policy is put right at any time.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Failing {
    failures: u32,
    retry_at: Timestamp,
}

/// The destinations that fail, by ARN.
#[derive(Default)]
pub(crate) struct Retries(Mutex<HashMap<String, Failing>>);

impl Retries {
    /// Whether the destination may be tried.
    pub(crate) fn is_ready(&self, arn: &str, now: Timestamp) -> bool {
        self.lock().get(arn).is_none_or(|failing| failing.retry_at <= now)
    }

    /// Notes a failure. Says how long it is until the next attempt.
    pub(crate) fn fail(&self, arn: &str, now: Timestamp) -> Duration {
        let mut failing = self.lock();
        let failures = failing.get(arn).map_or(0, |failing| failing.failures);
        let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX);
        failing.insert(
            arn.to_owned(),
            Failing { failures: failures.saturating_add(1), retry_at: now.plus(pause) },
        );
        pause
    }

    /// Notes a success.
    pub(crate) fn clear(&self, arn: &str) {
        self.lock().remove(arn);
    }

    /// Forgets the destinations that are owed nothing any more.
    pub(crate) fn retain(&self, is_owed: impl Fn(&str) -> bool) {
        self.lock().retain(|arn, _| is_owed(arn));
    }

    /// The next time that some destination may be tried again.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.lock().values().map(|failing| failing.retry_at).min()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Failing>> {
        self.0.lock().expect("no panic while the destinations are held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_a_success() {
        let (retries, mut now) = (Retries::default(), Timestamp::from_seconds(1000));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = retries.fail("a", now);
            assert!(!retries.is_ready("a", now) && retries.is_ready("a", now.plus(pause)));
            assert!(retries.is_ready("b", now));
            pauses.push(pause.as_secs());
            now = now.plus(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retries.next(), Some(now));
        retries.clear("a");
        assert_eq!(retries.next(), None);
    }
}
