//! What the digest stage keeps in the catalog beside the chains' heads: the digests on their way.

use cairn_core::Timestamp;
use cairn_core::digest::Link;
use cairn_store::Table;
use serde::{Deserialize, Serialize};

/// The digest that each trail and region is putting now, by [`crate::chain::region_key`].
pub(crate) const RESERVED: Table<ReservedDigest> = Table::new("trail.digest_reservation", 1);

/// A digest, persisted with its signature before it is put: every attempt puts the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReservedDigest {
    /// The chain that it belongs to.
    pub(crate) chain_started_at: Timestamp,
    /// The end of its window.
    pub(crate) end: Timestamp,
    /// Its uncompressed bytes.
    pub(crate) json: String,
    /// Where it goes, its hash and signature.
    pub(crate) link: Link,
}
