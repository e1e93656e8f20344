//! Which segment files there are, and up to which position of the event log they hold it: tables of the catalog, so
//! that both change in one transaction, after the file is durable. A file that the registry does not name is what a
//! crash left over.

use cairn_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::segment::Segment;
use crate::catalog::{Catalog, CatalogError, Key, Table};
use crate::log::LogPosition;

const SEGMENTS: Table<SegmentEntry> = Table::new("history.segment", 1);
const POSITION: Table<LogPosition> = Table::new("history.position", 1);

/// What the registry knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    pub(super) rows: u64,
    pub(super) size_bytes: u64,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
}

impl SegmentEntry {
    pub(super) fn of(segment: &Segment) -> Self {
        Self {
            rows: segment.rows(),
            size_bytes: segment.size_bytes(),
            oldest: segment.oldest(),
            newest: segment.newest(),
        }
    }
}

/// Why the registry could not be changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("segment {id} is not in the registry")]
    Gone { id: u64 },
}

/// The registry's view on the catalog.
#[derive(Clone)]
pub(super) struct Registry(Catalog);

impl Registry {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self(catalog)
    }

    /// All segments by id, and the position up to which they hold the log.
    pub(super) async fn load(&self) -> Result<(Vec<(u64, SegmentEntry)>, LogPosition), RegistryError> {
        self.0
            .read(|tx| {
                let pairs = SEGMENTS.scan_prefix(tx, Key::new().bytes())?;
                let position = POSITION.get(tx, Key::new().bytes())?.unwrap_or_default();
                let segments = pairs.into_iter().filter_map(|(key, entry)| {
                    let id = key.try_into().ok().map(u64::from_be_bytes)?;
                    Some((id, entry))
                });
                Ok((segments.collect(), position))
            })
            .await
    }

    /// Notes that the log up to `position` is kept, its last part in `segment` where there is one.
    pub(super) async fn advance(
        &self,
        position: LogPosition,
        segment: Option<(u64, SegmentEntry)>,
    ) -> Result<(), RegistryError> {
        self.0
            .write(move |tx| {
                if let Some((id, entry)) = &segment {
                    SEGMENTS.put(tx, Key::new().number(*id).bytes(), entry)?;
                }
                POSITION.put(tx, Key::new().bytes(), &position)?;
                Ok(())
            })
            .await
    }

    /// Puts `new`, where there is one, in the place of `old`. All of `old` must be there: were a commit lost and the
    /// merge done again, its events would be there twice.
    pub(super) async fn replace(
        &self,
        old: Vec<u64>,
        new: Option<(u64, SegmentEntry)>,
    ) -> Result<(), RegistryError> {
        self.0
            .write(move |tx| {
                for id in &old {
                    if !SEGMENTS.delete(tx, Key::new().number(*id).bytes())? {
                        return Err(RegistryError::Gone { id: *id });
                    }
                }
                if let Some((id, entry)) = &new {
                    SEGMENTS.put(tx, Key::new().number(*id).bytes(), entry)?;
                }
                Ok(())
            })
            .await
    }
}
