//! A sealer whose key everybody knows.

use cairn_store::Sealer;
use cairn_store::seal::KEY_SIZE_BYTES;

/// A sealer under a fixed key: what one test seals, another opens.
#[must_use]
pub fn fixed_sealer() -> Sealer {
    Sealer::from_key(&[7; KEY_SIZE_BYTES])
}
