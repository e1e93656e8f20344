//! Versions of objects inside a catalog transaction: find, place, remove.
//!
//! A version id holds its sequence, so that a version is found without an index and a listing goes on behind a
//! marker whose version is gone. Sequences follow the clock and never go back within a key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::Timestamp;
use cairn_store::catalog::prefix_end;
use cairn_store::{BlobId, CatalogError, Tx};

use super::error::{Failure, invalid_argument, no_such_bucket, no_such_key, no_such_version};
use super::garbage::discard;
use super::state::{
    BLOB_USES, BUCKETS, Bucket, Mark, NULL_VERSION, Object, PIECES, Piece, VERSIONS, Version, Versioning,
    blob_key, bucket_key, object_prefix, version_key,
};

/// Characters of a version id that hold the sequence.
const SEQUENCE_LENGTH: usize = 11;
/// Random characters of a version id.
pub(super) const RANDOM_LENGTH: usize = 21;
/// Sequences per millisecond.
const SEQUENCES_PER_MS: u64 = 1024;
/// How many versions are read at once when one is searched.
const SEARCH_PAGE: usize = 100;

/// The bucket's row.
pub(super) fn bucket(tx: &mut dyn Tx, name: &str) -> Result<Bucket, Failure> {
    BUCKETS.get(tx, bucket_key(name).bytes())?.ok_or_else(|| no_such_bucket(name))
}

/// The newest version of a key, delete markers included.
pub(super) fn latest(tx: &mut dyn Tx, bucket: &str, key: &str) -> Result<Option<Version>, CatalogError> {
    let prefix = object_prefix(bucket, key);
    let found = VERSIONS.scan(tx, prefix.bytes(), prefix_end(prefix.bytes()).as_deref(), 1)?;
    Ok(found.into_iter().next().map(|(_, version)| version))
}

/// The version of that id, or the newest without an id; a delete marker is found too.
pub(super) fn find(
    tx: &mut dyn Tx,
    bucket: &str,
    key: &str,
    version_id: Option<&str>,
) -> Result<Version, Failure> {
    match version_id {
        None => latest(tx, bucket, key)?.ok_or_else(|| no_such_key(key)),
        Some(id) => by_id(tx, bucket, key, id)?.ok_or_else(|| no_such_version(key, id)),
    }
}

/// The version of that id, where it exists.
pub(super) fn by_id(
    tx: &mut dyn Tx,
    bucket: &str,
    key: &str,
    version_id: &str,
) -> Result<Option<Version>, Failure> {
    if version_id == NULL_VERSION {
        return Ok(null_version(tx, bucket, key)?);
    }
    let sequence = sequence_of(version_id)
        .ok_or_else(|| invalid_argument("Invalid version id specified", "versionId", version_id))?;
    let found = VERSIONS.get(tx, version_key(bucket, key, sequence).bytes())?;
    Ok(found.filter(|version| version.id.as_deref() == Some(version_id)))
}

/// The null version of a key.
pub(super) fn null_version(
    tx: &mut dyn Tx,
    bucket: &str,
    key: &str,
) -> Result<Option<Version>, CatalogError> {
    let prefix = object_prefix(bucket, key);
    let end = prefix_end(prefix.bytes());
    let mut from = prefix.bytes().to_vec();
    loop {
        let page = VERSIONS.scan(tx, &from, end.as_deref(), SEARCH_PAGE)?;
        let full = page.len() == SEARCH_PAGE;
        for (row, version) in page {
            if version.id.is_none() {
                return Ok(Some(version));
            }
            from = row;
        }
        if !full {
            return Ok(None);
        }
        from.push(0);
    }
}

/// The sequence that a version id holds; none where it is not one of ours.
pub(super) fn sequence_of(version_id: &str) -> Option<u64> {
    if version_id.len() != SEQUENCE_LENGTH + RANDOM_LENGTH {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(version_id.get(..SEQUENCE_LENGTH)?).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn id_of(sequence: u64, random: &str) -> String {
    format!("{}{random}", URL_SAFE_NO_PAD.encode(sequence.to_be_bytes()))
}

/// A version to be placed.
#[derive(Clone, Debug)]
pub(super) struct NewVersion {
    pub(super) key: String,
    pub(super) at: Timestamp,
    /// Random characters for its id.
    pub(super) random: String,
    /// None for a delete marker.
    pub(super) object: Option<Object>,
    /// The pieces of an object that has several.
    pub(super) pieces: Option<Vec<Piece>>,
}

/// A version that was placed.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) version: Version,
    /// The id to show: none in a bucket that never had versions.
    pub(super) shown_id: Option<String>,
    /// When lifecycle rules let it expire, where that was asked for.
    pub(super) expiration: Option<String>,
    /// Blobs that are named no longer.
    pub(super) freed: Vec<BlobId>,
}

/// Makes `new` the newest version of its key, as the bucket's versioning wants it.
pub(super) fn place(tx: &mut dyn Tx, bucket: &Bucket, new: &NewVersion) -> Result<Placed, CatalogError> {
    let newest = latest(tx, &bucket.name, &new.key)?;
    let by_clock = u64::try_from(new.at.millis()).unwrap_or_default() * SEQUENCES_PER_MS;
    let sequence = newest.as_ref().map_or(by_clock, |version| by_clock.max(version.sequence + 1));
    let replaced = match bucket.versioning {
        Versioning::Never => newest,
        Versioning::Enabled => None,
        Versioning::Suspended => null_version(tx, &bucket.name, &new.key)?,
    };
    let freed = match replaced {
        Some(version) => remove(tx, &bucket.name, &version)?,
        None => Vec::new(),
    };
    let id = (bucket.versioning == Versioning::Enabled).then(|| id_of(sequence, &new.random));
    let version = Version {
        key: new.key.clone(),
        id,
        sequence,
        modified_at: new.at.floor(std::time::Duration::from_secs(1)),
        object: new.object.clone(),
    };
    let row = version_key(&bucket.name, &new.key, sequence);
    VERSIONS.put(tx, row.bytes(), &version)?;
    let single = new.object.iter().filter_map(|object| object.blob.as_ref());
    let several = new.pieces.iter().flatten().filter_map(|piece| piece.blob.as_ref());
    for blob in single.chain(several) {
        BLOB_USES.put(tx, blob_key(blob).bytes(), &Mark {})?;
    }
    if let Some(pieces) = &new.pieces {
        PIECES.put(tx, row.bytes(), pieces)?;
    }
    let shown_id = (bucket.versioning != Versioning::Never).then(|| version.id_text().to_owned());
    Ok(Placed { version, shown_id, expiration: None, freed })
}

/// Removes a version for good; returns the blobs that are named no longer.
pub(super) fn remove(tx: &mut dyn Tx, bucket: &str, version: &Version) -> Result<Vec<BlobId>, CatalogError> {
    let row = version_key(bucket, &version.key, version.sequence);
    VERSIONS.delete(tx, row.bytes())?;
    let mut freed = Vec::new();
    if let Some(object) = &version.object {
        freed.extend(object.blob.clone());
        if object.parts.is_some() {
            let pieces = PIECES.get(tx, row.bytes())?.unwrap_or_default();
            PIECES.delete(tx, row.bytes())?;
            freed.extend(pieces.into_iter().filter_map(|piece| piece.blob));
        }
    }
    discard(tx, &freed)?;
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_id_holds_its_sequence_and_looks_like_none_else() {
        let random = "x".repeat(RANDOM_LENGTH);
        let id = id_of(1_795_281_866_042 * SEQUENCES_PER_MS, &random);
        assert_eq!((id.len(), sequence_of(&id)), (32, Some(1_795_281_866_042 * SEQUENCES_PER_MS)));
        for foreign in ["", "null", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", "ééééééééééééééééé"]
        {
            assert_eq!(sequence_of(foreign), None, "{foreign}");
        }
    }
}
