//! The limits of the event history, each with its unit, and their defaults.

use std::time::Duration;

/// Events in memory before they are written to a segment.
pub const TAIL_EVENTS_MAX: usize = 8_192;
/// Bytes of events in memory before they are written to a segment.
pub const TAIL_SIZE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long events wait in memory before they are written to a segment, however few they are. It bounds what is read
/// again from the event log after a restart.
pub const TAIL_AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// How long events are kept: 90 days, as AWS keeps the event history.
pub const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Rows of a row group: what one bloom filter speaks for.
pub const ROW_GROUP_ROWS_MAX: usize = 16_384;
/// Bytes of a row group before encoding: what is held in memory while one is written. A full tail makes one row group.
pub const ROW_GROUP_SIZE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A row group with at least this part of the rows or of the bytes of the largest is not worth being written anew: merges
/// copy it as it is.
pub(super) const FULL_ROW_GROUP_PART: usize = 8;
/// How many segments of about one size are merged into one.
pub const MERGE_SEGMENTS: usize = 8;
/// Rows of a merged segment at most.
pub const SEGMENT_ROWS_MAX: u64 = 524_288;
/// Bytes of a merged segment at most, measured by the files it is made of.
pub const SEGMENT_SIZE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Segments are merged only where they expire within about this time of each other, so that a merged one does not
/// outlive its oldest events for long.
pub const MERGE_EXPIRY_SPAN: Duration = Duration::from_secs(10 * 24 * 60 * 60);
/// Footers of segment files kept in memory between lookups.
pub const FOOTERS_CACHED_MAX: usize = 64;
/// Rows read at once from each file while merging.
pub(super) const MERGE_BATCH_ROWS: usize = 32;

/// The settings of the event history. The default is the constants of this module; tests make them small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSettings {
    /// See [`TAIL_EVENTS_MAX`].
    pub tail_events_max: usize,
    /// See [`TAIL_SIZE_BYTES_MAX`].
    pub tail_size_bytes_max: usize,
    /// See [`TAIL_AGE_MAX`].
    pub tail_age_max: Duration,
    /// See [`RETENTION`].
    pub retention: Duration,
    /// See [`ROW_GROUP_ROWS_MAX`].
    pub row_group_rows_max: usize,
    /// See [`ROW_GROUP_SIZE_BYTES_MAX`].
    pub row_group_size_bytes_max: usize,
    /// See [`MERGE_SEGMENTS`]; at least 2.
    pub merge_segments: usize,
    /// See [`SEGMENT_ROWS_MAX`].
    pub segment_rows_max: u64,
    /// See [`SEGMENT_SIZE_BYTES_MAX`].
    pub segment_size_bytes_max: u64,
    /// See [`MERGE_EXPIRY_SPAN`].
    pub merge_expiry_span: Duration,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self {
            tail_events_max: TAIL_EVENTS_MAX,
            tail_size_bytes_max: TAIL_SIZE_BYTES_MAX,
            tail_age_max: TAIL_AGE_MAX,
            retention: RETENTION,
            row_group_rows_max: ROW_GROUP_ROWS_MAX,
            row_group_size_bytes_max: ROW_GROUP_SIZE_BYTES_MAX,
            merge_segments: MERGE_SEGMENTS,
            segment_rows_max: SEGMENT_ROWS_MAX,
            segment_size_bytes_max: SEGMENT_SIZE_BYTES_MAX,
            merge_expiry_span: MERGE_EXPIRY_SPAN,
        }
    }
}
