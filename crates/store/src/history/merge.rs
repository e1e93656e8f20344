//! Merging of small segments: which to merge, and the merge itself, a few rows of each in memory at a time.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use cairn_core::Timestamp;

use super::HistoryEvent;
use super::order::Place;
use super::segment::{ReadError, Scan, Segment};
use super::segment_writer::{SegmentWriter, WriteError};
use super::settings::{MERGE_BATCH_ROWS, SegmentSettings};

/// Why segments could not be merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The segments that are to be merged next: of about the same size, so that an event is rewritten only as often as
/// the sizes have steps, and expiring at about the same time. None where nothing is due.
pub(super) fn next_merge(segments: &[Arc<Segment>], settings: &SegmentSettings) -> Option<Vec<Arc<Segment>>> {
    let fan_in = settings.merge_segments.max(2);
    let span_ms = i64::try_from(settings.merge_expiry_span.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut groups: BTreeMap<(u32, i64), Vec<Arc<Segment>>> = BTreeMap::new();
    for segment in segments {
        let step = segment.rows().max(1).ilog(fan_in as u64);
        let expiry = segment.newest().millis() / span_ms;
        groups.entry((step, expiry)).or_default().push(Arc::clone(segment));
    }
    groups.into_values().find_map(|mut group| {
        if group.len() < fan_in {
            return None;
        }
        group.sort_by_key(|segment| segment.id());
        group.truncate(fan_in);
        while !fits(&group, settings) {
            group.pop();
        }
        (group.len() > 1).then_some(group)
    })
}

fn fits(group: &[Arc<Segment>], settings: &SegmentSettings) -> bool {
    let rows: u64 = group.iter().map(|segment| segment.rows()).sum();
    let size_bytes: u64 = group.iter().map(|segment| segment.size_bytes()).sum();
    rows <= settings.segment_rows_max && size_bytes <= settings.segment_size_bytes_max
}

/// Writes the rows of `segments` that are not older than `kept_from` to the file `path`. No file is made where there
/// is no such row.
pub(super) fn merge(
    segments: &[Arc<Segment>],
    path: &Path,
    kept_from: Timestamp,
    settings: &SegmentSettings,
) -> Result<u64, MergeError> {
    let mut inputs = segments.iter().map(Input::open).collect::<Result<Vec<_>, _>>()?;
    let mut writer = SegmentWriter::create(path, settings)?;
    let written = copy_in_order(&mut inputs, &mut writer, kept_from);
    if written.is_err() || writer.rows() == 0 {
        writer.abandon()?;
        return written.map(|()| 0);
    }
    let rows = writer.rows();
    writer.finish()?;
    Ok(rows)
}

fn copy_in_order(
    inputs: &mut [Input],
    writer: &mut SegmentWriter,
    kept_from: Timestamp,
) -> Result<(), MergeError> {
    loop {
        let first = inputs
            .iter_mut()
            .filter(|input| !input.ahead.is_empty())
            .min_by(|left, right| order(&left.ahead[0], &right.ahead[0]));
        let Some(first) = first else { return Ok(()) };
        if let Some(event) = first.take()?.filter(|event| event.time >= kept_from) {
            writer.push(Arc::new(event))?;
        }
    }
}

/// The order of a segment's rows.
fn order(left: &HistoryEvent, right: &HistoryEvent) -> std::cmp::Ordering {
    left.account
        .cmp(&right.account)
        .then_with(|| left.region.cmp(&right.region))
        .then_with(|| left.insight.cmp(&right.insight))
        .then_with(|| Place::of(left).cmp(&Place::of(right)))
}

/// One of the segments being merged, with the rows read ahead; these are empty only at its end.
struct Input {
    scan: Scan,
    ahead: VecDeque<HistoryEvent>,
}

impl Input {
    fn open(segment: &Arc<Segment>) -> Result<Self, ReadError> {
        let mut scan = segment.scan(MERGE_BATCH_ROWS)?;
        let ahead = scan.next_rows()?.into();
        Ok(Self { scan, ahead })
    }

    fn take(&mut self) -> Result<Option<HistoryEvent>, ReadError> {
        let event = self.ahead.pop_front();
        if self.ahead.is_empty() {
            self.ahead = self.scan.next_rows()?.into();
        }
        Ok(event)
    }
}
