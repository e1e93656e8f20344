//! The two things a pure program cannot have of itself: the time and chance. Both are handed in.

use crate::{EventId, Timestamp};

/// Where the time comes from: the system in the binary, a simulated clock in tests.
pub trait Clock: Send + Sync + 'static {
    /// The time now, in milliseconds of the Unix epoch. It may step backwards, as real clocks do.
    fn now(&self) -> Timestamp;
}

/// Where randomness comes from: the system in the binary, a seed in tests.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// A random (version 4) UUID, as AWS uses for event and request ids.
    fn event_id(&self) -> EventId {
        let mut bytes = [0_u8; 16];
        self.fill(&mut bytes);
        EventId::from_random(bytes)
    }

    /// `length` characters chosen evenly from `alphabet` (at most 256 characters).
    fn text(&self, alphabet: &[u8], length: usize) -> String {
        let usable = 256 - 256 % alphabet.len();
        let mut text = String::with_capacity(length);
        let mut byte = [0_u8; 1];
        while text.len() < length {
            self.fill(&mut byte);
            let value = usize::from(byte[0]);
            if value < usable {
                text.push(char::from(alphabet[value % alphabet.len()]));
            }
        }
        text
    }
}
