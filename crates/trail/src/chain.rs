//! What delivery leaves for the digest stage: the files that no digest lists yet, and the head of each chain.
//!
//! Delivery writes [`DELIVERED`] in the transaction that moves its cursor; the digest stage removes what it has listed
//! and writes [`HEADS`]. Invariant: a file's `delivered_at` is never before the end of the last digest of its region,
//! so that no file falls between two digests.

use cairn_core::digest::Link;
use cairn_core::{Region, Timestamp, TrailArn};
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use crate::config::trail_key;

/// Delivered files that no digest lists yet, by [`state_key`], region, time and object key.
pub(crate) const DELIVERED: Table<DeliveredFile> = Table::new("trail.delivered", 1);

/// The last digest of each trail and region, by [`region_key`].
pub(crate) const HEADS: Table<DigestHead> = Table::new("trail.digest_head", 1);

/// A log file that reached the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveredFile {
    pub(crate) region: Region,
    pub(crate) bucket: String,
    pub(crate) object: String,
    pub(crate) sha256_hex: String,
    pub(crate) oldest_event_at: Timestamp,
    pub(crate) newest_event_at: Timestamp,
    pub(crate) delivered_at: Timestamp,
    /// Since when the trail's chain was broken at the time of delivery; none where it was alive.
    pub(crate) unvalidated_since: Option<Timestamp>,
}

/// The last digest of a trail and region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DigestHead {
    /// The region.
    pub(crate) region: Region,
    /// The chain that it belongs to: the trail's `chain_started_at` then.
    pub(crate) chain_started_at: Timestamp,
    /// The end of its window.
    pub(crate) end: Timestamp,
    /// What its successor will say of it.
    pub(crate) link: Link,
}

/// The key of all that the stages keep of a trail, apart from earlier trails of its name.
pub(crate) fn state_key(arn: &TrailArn, incarnation: u64) -> Key {
    trail_key(arn).number(incarnation)
}

/// The key of a trail's region.
pub(crate) fn region_key(state: &Key, region: &Region) -> Key {
    state.clone().text(region.as_str())
}

/// Keeps `file` for the next digest of its region. Its time is moved up to the end of the last digest where the clock
/// stepped back, or where the digest was made while the file was on its way.
pub(crate) fn keep_delivered(
    tx: &mut dyn Tx,
    state: &Key,
    mut file: DeliveredFile,
) -> Result<(), CatalogError> {
    let place = region_key(state, &file.region);
    if let Some(head) = HEADS.get(tx, place.bytes())? {
        file.delivered_at = file.delivered_at.max(head.end);
    }
    let delivered_ms = file.delivered_at.millis().unsigned_abs();
    DELIVERED.put(tx, place.number(delivered_ms).text(&file.object).bytes(), &file)
}

/// The regions that have files which no digest lists yet.
pub(crate) fn regions_with_files(tx: &mut dyn Tx, state: &Key) -> Result<Vec<Region>, CatalogError> {
    let until = prefix_end(state.bytes());
    let mut regions = Vec::new();
    let mut from = state.bytes().to_vec();
    while let Some((_, file)) = DELIVERED.scan(tx, &from, until.as_deref(), 1)?.pop() {
        let Some(next) = prefix_end(region_key(state, &file.region).bytes()) else { break };
        from = next;
        regions.push(file.region);
    }
    Ok(regions)
}
