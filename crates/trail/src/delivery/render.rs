//! Renders a reservation: a pure function of the reservation and the log's bytes, in one pass over its range.

use cairn_core::logfile::{FileBuilder, RenderedFile};
use cairn_store::{EventLog, LogPosition};

use super::plan::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX};
use super::state::{PlannedFile, Reservation};
use crate::StageError;

/// The files of `reservation`, in its order.
pub(crate) async fn render(
    log: &dyn EventLog,
    reservation: &Reservation,
) -> Result<Vec<RenderedFile>, StageError> {
    let expected = |planned: &PlannedFile| planned.runs.iter().map(|(_, count)| *count).sum::<u64>();
    let mut builders: Vec<FileBuilder> = reservation
        .files
        .iter()
        .map(|planned| FileBuilder::expecting(usize::try_from(expected(planned)).unwrap_or(usize::MAX)))
        .collect();
    let mut runs: Vec<(u64, u64, usize)> = reservation
        .files
        .iter()
        .enumerate()
        .flat_map(|(file, planned)| planned.runs.iter().map(move |(first, count)| (*first, *count, file)))
        .collect();
    runs.sort_unstable();
    let mut at = 0;
    let mut position = reservation.from.0;
    while let Some((first, _, _)) = runs.get(at) {
        position = position.max(*first);
        let batch = log.read(LogPosition(position), BATCH_ENTRIES_MAX, BATCH_BYTES_MAX).await?;
        if batch.is_empty() {
            return Err(StageError::Vanished(LogPosition(position)));
        }
        for (place, entry) in batch {
            position = place.0 + 1;
            if let Some((first, count, file)) = runs.get(at)
                && *first <= place.0
            {
                builders[*file].push(&entry.payload);
                at += usize::from(position == first + count);
            }
        }
    }
    let compress = move || builders.into_iter().map(FileBuilder::finish).collect();
    tokio::task::spawn_blocking(compress).await.map_err(StageError::Render)
}
