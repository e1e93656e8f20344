//! The system's clock and randomness, which the library uses unless it is handed others.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use cairn_core::{Clock, Entropy, Timestamp};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is where the real clock is read")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since_epoch)
    }
}

/// The system's source of randomness.
#[derive(Debug, Default)]
pub(crate) struct SystemEntropy(SystemRandom);

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // It has no failure on the systems there are; bytes that stay as they were only take chance out of a wait.
        if self.0.fill(bytes).is_err() {
            tracing::error!("the system gives no randomness");
        }
    }
}
