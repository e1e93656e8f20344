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

/// The segments that are to be merged next, which expire at about the same time. None where nothing is due.
///
/// Segments of about one size are merged, so that an event is rewritten only as often as the sizes have steps. Those
/// of a time that is over, to which few will be added, are merged whatever their size once there are half as many.
pub(super) fn next_merge(segments: &[Arc<Segment>], settings: &SegmentSettings) -> Option<Vec<Arc<Segment>>> {
    let segments_min = settings.merge_segments.max(2);
    let span_ms = i64::try_from(settings.merge_expiry_span.as_millis()).unwrap_or(i64::MAX).max(1);
    let expiry = |segment: &Segment| segment.newest().millis() / span_ms;
    let step = |segment: &Segment| segment.rows().max(1).ilog(segments_min as u64);
    let latest = segments.iter().map(|segment| expiry(segment)).max()?;
    let alike = grouped(segments, |segment| (expiry(segment), step(segment)));
    let closed = grouped(segments, |segment| (expiry(segment), 0));
    let closed = closed.into_iter().filter(|((expiry, _), _)| *expiry < latest);
    let due = |(groups, count): (Vec<Vec<Arc<Segment>>>, usize)| {
        groups.into_iter().find_map(|group| some_that_fit(group, count, settings))
    };
    due((alike.into_values().collect(), segments_min))
        .or_else(|| due((closed.map(|(_, group)| group).collect(), segments_min.div_ceil(2).max(2))))
}

fn grouped(
    segments: &[Arc<Segment>],
    key: impl Fn(&Segment) -> (i64, u32),
) -> BTreeMap<(i64, u32), Vec<Arc<Segment>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for segment in segments {
        groups.entry(key(segment)).or_default().push(Arc::clone(segment));
    }
    groups
}

/// The smallest of `group`, at least `count` and at most the number that is merged at once, that together are within
/// the limits of one segment.
fn some_that_fit(
    mut group: Vec<Arc<Segment>>,
    count: usize,
    settings: &SegmentSettings,
) -> Option<Vec<Arc<Segment>>> {
    group.sort_by_key(|segment| (segment.rows(), segment.id()));
    group.truncate(settings.merge_segments.max(2));
    while !fits(&group, settings) {
        group.pop();
    }
    (group.len() >= count).then_some(group)
}

fn fits(group: &[Arc<Segment>], settings: &SegmentSettings) -> bool {
    let rows: u64 = group.iter().map(|segment| segment.rows()).sum();
    let size_bytes: u64 = group.iter().map(|segment| segment.size_bytes()).sum();
    rows <= settings.segment_rows_max && size_bytes <= settings.segment_size_bytes_max
}

/// Writes the rows of `segments` that are not older than `kept_from` to the file `path`: large row groups as they are,
/// unless all of one is older, the others in new ones. No file is made where there is no such row.
pub(super) fn merge(
    segments: &[Arc<Segment>],
    path: &Path,
    kept_from: Timestamp,
    settings: &SegmentSettings,
) -> Result<u64, MergeError> {
    let mut writer = SegmentWriter::create(path, settings)?;
    let written = copy(segments, &mut writer, kept_from, settings);
    if written.is_err() || writer.rows() == 0 {
        writer.abandon()?;
        return written.map(|()| 0);
    }
    let rows = writer.rows();
    writer.finish()?;
    Ok(rows)
}

fn copy(
    segments: &[Arc<Segment>],
    writer: &mut SegmentWriter,
    kept_from: Timestamp,
    settings: &SegmentSettings,
) -> Result<(), MergeError> {
    let mut inputs = Vec::new();
    for segment in segments {
        let (groups, scans) = segment.parts(kept_from, MERGE_BATCH_ROWS, settings)?;
        for group in groups {
            writer.copy_group(group)?;
        }
        for scan in scans {
            inputs.push(Input::open(scan)?);
        }
    }
    copy_in_order(&mut inputs, writer, kept_from)
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
    fn open(mut scan: Scan) -> Result<Self, ReadError> {
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
