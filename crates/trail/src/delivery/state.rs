//! What delivery keeps in the catalog: a cursor and at most one reservation for each trail.

use cairn_core::{Region, Timestamp};
use cairn_store::{LogPosition, Table};
use serde::{Deserialize, Serialize};

use crate::config::Trail;

/// How far each trail is delivered, by [`crate::chain::state_key`].
pub(crate) const CURSORS: Table<Cursor> = Table::new("trail.cursor", 1);

/// What each trail is delivering now, by [`crate::chain::state_key`].
pub(crate) const RESERVATIONS: Table<Reservation> = Table::new("trail.reservation", 1);

/// How far a trail is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The first position that is not delivered.
    pub(crate) position: LogPosition,
    /// The last multiple of the delivery interval that was served.
    pub(crate) slot: Timestamp,
}

/// A range of the log, fixed before anything is put: every attempt renders the same files from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    /// The first position of the range.
    pub(crate) from: LogPosition,
    /// The first position after it.
    pub(crate) to: LogPosition,
    /// When it was made; the files' names have this time.
    pub(crate) reserved_at: Timestamp,
    /// When the last entry of the range was recorded.
    pub(crate) recorded_until: Timestamp,
    /// The bucket that the files go to.
    pub(crate) bucket: String,
    /// The prefix that the files' keys have.
    pub(crate) key_prefix: Option<String>,
    /// The files, one for each folder and region.
    pub(crate) files: Vec<PlannedFile>,
}

impl Reservation {
    /// Gives the files the place that `trail` has now. Their names stay, but for the prefix.
    pub(crate) fn move_to(&mut self, trail: &Trail) {
        let folder = |prefix: Option<&str>| prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let (old, new) = (folder(self.key_prefix.as_deref()), folder(trail.key_prefix.as_deref()));
        for file in &mut self.files {
            let name = file.object.strip_prefix(&old).unwrap_or(&file.object);
            file.object = format!("{new}{name}");
        }
        self.bucket.clone_from(&trail.bucket);
        self.key_prefix.clone_from(&trail.key_prefix);
    }
}

/// A file of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedFile {
    /// Its key.
    pub(crate) object: String,
    /// The region whose events it holds.
    pub(crate) region: Region,
    /// The time of its oldest event.
    pub(crate) oldest_event_at: Timestamp,
    /// The time of its newest event.
    pub(crate) newest_event_at: Timestamp,
    /// The positions of its events: runs of a first position and a count.
    pub(crate) runs: Vec<(u64, u64)>,
}
