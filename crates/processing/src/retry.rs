//! How long to wait before something that failed is tried again.
//!
//! Source: "Exponential Backoff And Jitter" of the AWS Architecture Blog, full jitter.

use std::time::Duration;

use cairn_core::Entropy;

/// When to try again: after a random time below a bound that doubles with every failure in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first failure.
    pub first: Duration,
    /// The highest bound.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), longest: Duration::from_secs(20) }
    }
}

impl Backoff {
    /// The bound after so many failures in a row.
    fn bound(&self, failures: u32) -> Duration {
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.longest)
    }

    /// How long to wait after so many failures in a row.
    pub(crate) fn wait(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        let mut bytes = [0; 4];
        entropy.fill(&mut bytes);
        self.bound(failures).mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn the_bound_doubles_up_to_the_longest_and_the_wait_stays_below_it() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
        let waits = |failures, chance| backoff.wait(failures, &Always(chance)).as_millis();
        assert_eq!(
            [1, 2, 3, 6, 7, 40, u32::MAX].map(|n| waits(n, 255)),
            [100, 200, 400, 3200, 5000, 5000, 5000]
        );
        assert_eq!(waits(5, 0), 0);
        assert!((795..805).contains(&waits(5, 127)), "{}", waits(5, 127));
    }
}
