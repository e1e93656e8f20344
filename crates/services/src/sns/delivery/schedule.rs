//! When a delivery that failed is tried again: AWS's four phases.
//!
//! First retries without delay, then with the least, then with growing ones, then with the greatest.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>. AWS adds chance to the delays; here
//! the same failure is always tried again after the same time, so that what happened can be explained.

use std::time::Duration;

use super::super::delivery_policy::{Backoff, RetryPolicy};

/// How a delivery is tried again. Counts are of retries, delays in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    no_delay: u32,
    min_delay: u32,
    growing: u32,
    max_delay: u32,
    min_s: u32,
    max_s: u32,
    backoff: Backoff,
}

impl Schedule {
    /// Of queues: 100,015 attempts over 23 days.
    pub(super) const QUEUE: Self = Self {
        no_delay: 3,
        min_delay: 2,
        growing: 10,
        max_delay: 100_000,
        min_s: 1,
        max_s: 20,
        backoff: Backoff::Exponential,
    };
    /// Of e-mail: 50 attempts over 6 hours.
    pub(super) const EMAIL: Self = Self {
        no_delay: 0,
        min_delay: 2,
        growing: 10,
        max_delay: 38,
        min_s: 10,
        max_s: 600,
        backoff: Backoff::Exponential,
    };

    /// Of an HTTP endpoint with this policy.
    pub(super) fn of_policy(policy: &RetryPolicy) -> Self {
        let fixed = policy.num_no_delay_retries + policy.num_min_delay_retries + policy.num_max_delay_retries;
        Self {
            no_delay: policy.num_no_delay_retries,
            min_delay: policy.num_min_delay_retries,
            growing: policy.num_retries.saturating_sub(fixed),
            max_delay: policy.num_max_delay_retries,
            min_s: policy.min_delay_target,
            max_s: policy.max_delay_target,
            backoff: policy.backoff_function,
        }
    }

    /// How long to wait after `attempts` that failed; none where it is over.
    pub(super) fn delay_after(&self, attempts: u32) -> Option<Duration> {
        let mut retry = attempts.saturating_sub(1);
        if retry < self.no_delay {
            return Some(Duration::ZERO);
        }
        retry -= self.no_delay;
        if retry < self.min_delay {
            return Some(Duration::from_secs(self.min_s.into()));
        }
        retry -= self.min_delay;
        if retry < self.growing {
            return Some(self.growing_delay(retry));
        }
        retry -= self.growing;
        (retry < self.max_delay).then(|| Duration::from_secs(self.max_s.into()))
    }

    /// The delay of a retry, from 0, of the phase of growing ones: the first has the least, the last the greatest.
    fn growing_delay(&self, retry: u32) -> Duration {
        let (least, greatest) = (f64::from(self.min_s), f64::from(self.max_s));
        let last = self.growing.saturating_sub(1);
        if last == 0 {
            return Duration::from_secs(self.min_s.into());
        }
        let (at, last) = (f64::from(retry), f64::from(last));
        let between = |share: f64| least + (greatest - least) * share;
        let seconds = match self.backoff {
            Backoff::Linear => between(at / last),
            Backoff::Arithmetic => between(at * (at + 1.0) / (last * (last + 1.0))),
            Backoff::Geometric => least.max(1.0) * (greatest / least.max(1.0)).powf(at / last),
            Backoff::Exponential => between((at.exp2() - 1.0) / (last.exp2() - 1.0)),
        };
        Duration::from_millis((seconds * 1000.0).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(schedule: &Schedule) -> Vec<u64> {
        let delay = |attempts| schedule.delay_after(attempts).map(|delay| delay.as_secs());
        (1..).map_while(delay).take(60).collect()
    }

    #[test]
    fn queues_and_mail_are_tried_as_aws_tries_them() {
        let queue = delays(&Schedule::QUEUE);
        assert_eq!(queue[..17], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 3, 5, 10, 20, 20, 20]);
        assert!(Schedule::QUEUE.delay_after(100_015).is_some());
        assert_eq!(Schedule::QUEUE.delay_after(100_016), None);
        let mail = delays(&Schedule::EMAIL);
        assert_eq!(mail.len(), 50);
        assert_eq!(mail[..13], [10, 10, 10, 11, 13, 18, 27, 45, 82, 156, 304, 600, 600]);
        let hours = mail.iter().sum::<u64>() / 3600;
        assert_eq!(hours, 6);
    }

    #[test]
    fn endpoints_are_tried_as_their_policy_says() {
        assert_eq!(delays(&Schedule::of_policy(&RetryPolicy::default())), [20, 20, 20]);
        let policy = |backoff_function| RetryPolicy {
            min_delay_target: 10,
            max_delay_target: 100,
            num_retries: 9,
            num_max_delay_retries: 1,
            num_no_delay_retries: 1,
            num_min_delay_retries: 1,
            backoff_function,
        };
        let of = |backoff| delays(&Schedule::of_policy(&policy(backoff)));
        assert_eq!(of(Backoff::Linear), [0, 10, 10, 28, 46, 64, 82, 100, 100]);
        assert_eq!(of(Backoff::Arithmetic), [0, 10, 10, 16, 28, 46, 70, 100, 100]);
        assert_eq!(of(Backoff::Geometric), [0, 10, 10, 15, 25, 39, 63, 100, 100]);
        assert_eq!(of(Backoff::Exponential), [0, 10, 10, 12, 18, 30, 53, 100, 100]);
        let none = RetryPolicy { num_retries: 0, ..RetryPolicy::default() };
        assert_eq!(Schedule::of_policy(&none).delay_after(1), None);
    }
}
