//! A lookup over segment files: which rows of which files make the page, then those rows. Blocking work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use parquet::file::metadata::ParquetMetaData;

use super::order::{PartitionKey, Place, Window};
use super::segment::{Hit, ReadError, Segment};
use super::segment_writer::Partition;
use super::settings::FOOTERS_CACHED_MAX;
use super::{Attribute, HistoryEvent};

/// The footers used last, so that a lookup does not decode them each time.
#[derive(Debug, Default)]
pub(super) struct Footers(Mutex<VecDeque<(u64, Arc<ParquetMetaData>)>>);

impl Footers {
    fn of(&self, segment: &Segment) -> Result<Arc<ParquetMetaData>, ReadError> {
        if let Some(footer) = self.touch(segment.id()) {
            return Ok(footer);
        }
        let footer = Arc::new(segment.footer()?);
        let mut cached = self.0.lock().expect("no panic while the footers are held");
        cached.push_front((segment.id(), Arc::clone(&footer)));
        cached.truncate(FOOTERS_CACHED_MAX);
        Ok(footer)
    }

    fn touch(&self, id: u64) -> Option<Arc<ParquetMetaData>> {
        let mut cached = self.0.lock().expect("no panic while the footers are held");
        let at = cached.iter().position(|(cached_id, _)| *cached_id == id)?;
        let entry = cached.remove(at)?;
        let footer = Arc::clone(&entry.1);
        cached.push_front(entry);
        Some(footer)
    }
}

/// What a lookup wants of the segments.
pub(super) struct SegmentSearch {
    pub(super) partition: PartitionKey,
    pub(super) window: Window,
    pub(super) attribute: Option<(Attribute, String)>,
    pub(super) limit: usize,
}

impl SegmentSearch {
    /// The newest events of `segments`, newest first, at most the limit. Only what is newer than the last of
    /// `fresh`, events in memory that were found already and fill the limit, is looked for.
    pub(super) fn run(
        &self,
        segments: &[Arc<Segment>],
        footers: &Footers,
        fresh: &[Arc<HistoryEvent>],
    ) -> Result<Vec<HistoryEvent>, ReadError> {
        let mut found: Vec<(usize, Hit)> = Vec::new();
        let mut floor =
            (fresh.len() >= self.limit).then(|| fresh.last().map(|event| Place::of(event))).flatten();
        for (at, run) in self.candidates(segments) {
            if floor.is_some_and(|floor| run.newest < floor.time) {
                break;
            }
            let segment = &segments[at];
            let footer = footers.of(segment)?;
            let attribute = self.attribute.as_ref();
            let hits = segment.search(&footer, run, &self.window, attribute, self.limit, floor)?;
            found.extend(hits.into_iter().map(|hit| (at, hit)));
            found.sort_unstable_by_key(|(_, hit)| std::cmp::Reverse(hit.place));
            found.truncate(self.limit);
            if found.len() == self.limit {
                floor = floor.max(found.last().map(|(_, hit)| hit.place));
            }
        }
        fetch(segments, footers, &found)
    }

    /// The runs of rows that may have events in the window, each with its segment's place, by their newest times, newest
    /// first.
    fn candidates<'s>(&self, segments: &'s [Arc<Segment>]) -> Vec<(usize, &'s Partition)> {
        let runs = segments.iter().enumerate().flat_map(|(at, segment)| {
            let in_window = |run: &&Partition| self.window.overlaps(run.oldest, run.newest);
            segment.runs(&self.partition).iter().filter(in_window).map(move |run| (at, run))
        });
        let mut candidates: Vec<_> = runs.collect();
        candidates.sort_unstable_by_key(|(_, run)| std::cmp::Reverse(run.newest));
        candidates
    }
}

/// Reads the events of the rows found and puts them newest first.
fn fetch(
    segments: &[Arc<Segment>],
    footers: &Footers,
    found: &[(usize, Hit)],
) -> Result<Vec<HistoryEvent>, ReadError> {
    let mut by_file: Vec<(usize, u64)> = found.iter().map(|(at, hit)| (*at, hit.row)).collect();
    by_file.sort_unstable();
    let mut events = Vec::with_capacity(found.len());
    for chunk in by_file.chunk_by(|left, right| left.0 == right.0) {
        let segment = &segments[chunk[0].0];
        let rows: Vec<u64> = chunk.iter().map(|(_, row)| *row).collect();
        events.extend(segment.fetch(&*footers.of(segment)?, &rows)?);
    }
    events.sort_unstable_by_key(|event| std::cmp::Reverse(Place::of(event)));
    Ok(events)
}
