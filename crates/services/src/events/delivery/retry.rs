//! When an event that a target did not take is tried again, and when no more.

use std::time::Duration;

use cairn_core::{Entropy, Timestamp};

use super::super::state::RetryPolicy;

/// Retries where the target says nothing: AWS's.
const RETRIES_DEFAULT: u32 = 185;
/// How long an event is tried where the target says nothing: AWS's.
const AGE_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// The delay after the first failure; each further one is twice as long.
const DELAY_FIRST: Duration = Duration::from_secs(1);
/// The longest delay: with it 185 retries take about a day.
const DELAY_MAX: Duration = Duration::from_secs(600);

/// What is to become of an event that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried again then.
    At(Timestamp),
    /// It is not; the text is AWS's name of the limit.
    Exhausted(&'static str),
}

/// After `attempts`, the last of which failed `now`.
pub(super) fn next(
    policy: Option<RetryPolicy>,
    attempts: u32,
    ingested_at: Timestamp,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Next {
    let retries_max = policy.and_then(|policy| policy.maximum_retry_attempts).unwrap_or(RETRIES_DEFAULT);
    let age_max = policy
        .and_then(|policy| policy.maximum_event_age_in_seconds)
        .map_or(AGE_DEFAULT, |seconds| Duration::from_secs(seconds.into()));
    if attempts > retries_max {
        return Next::Exhausted("MaximumRetryAttempts");
    }
    let at = now.plus(delay_after(attempts, entropy));
    if at.since(ingested_at) > age_max {
        return Next::Exhausted("MaximumEventAgeInSeconds");
    }
    Next::At(at)
}

/// Between half of the delay and all of it.
fn delay_after(attempts: u32, entropy: &dyn Entropy) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let full = DELAY_FIRST.saturating_mul(1 << doublings).min(DELAY_MAX);
    let mut chance = [0];
    entropy.fill(&mut chance);
    full / 2 + full / 2 * u32::from(chance[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn an_event_is_tried_for_a_day_or_as_its_target_says() {
        let began = Timestamp::from_seconds(1_000_000);
        let at = |attempts, seconds: u64, policy| {
            next(policy, attempts, began, began.plus(Duration::from_secs(seconds)), &Fixed(255))
        };
        assert_eq!(at(1, 0, None), Next::At(Timestamp::from_seconds(1_000_001)));
        assert_eq!(at(4, 0, None), Next::At(Timestamp::from_seconds(1_000_008)));
        assert_eq!(at(185, 0, None), Next::At(Timestamp::from_seconds(1_000_600)));
        assert_eq!(at(186, 0, None), Next::Exhausted("MaximumRetryAttempts"));
        assert_eq!(at(20, 86_000, None), Next::Exhausted("MaximumEventAgeInSeconds"));
        let policy = |retries, age| {
            Some(RetryPolicy { maximum_retry_attempts: retries, maximum_event_age_in_seconds: age })
        };
        assert_eq!(at(1, 0, policy(Some(0), None)), Next::Exhausted("MaximumRetryAttempts"));
        assert_eq!(at(7, 0, policy(None, Some(60))), Next::Exhausted("MaximumEventAgeInSeconds"));
        let early = next(None, 1, began, began, &Fixed(0));
        assert_eq!(early, Next::At(Timestamp::from_millis(1_000_000_500)));
    }
}
