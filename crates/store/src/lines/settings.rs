//! The settings of the store of lines.

use std::time::Duration;

use super::compression::{LEVEL_FAST, LEVEL_LASTING};
use super::file_writer::Form;

/// The settings of the store of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesSettings {
    /// The size of a segment of the journal.
    pub segment_size_bytes: u64,
    /// The largest batch, as a record of the journal.
    pub batch_size_bytes_max: usize,
    /// How much memory the newest batches may take, for [`super::Lines::appended`].
    pub recent_size_bytes_max: usize,
    /// How much memory the lines may take that are in no file. Appends wait beyond it.
    pub tail_size_bytes_max: usize,
    /// Lines in memory are written to a file from this size on.
    pub flush_size_bytes: usize,
    /// Or when the first of them are so old.
    pub flush_age: Duration,
    /// The text of a block of a file.
    pub block_text_bytes_max: usize,
    /// The lines of a block of a file.
    pub block_lines_max: usize,
    /// So many files of about one size are merged.
    pub merge_files: usize,
    /// Files with so much text are merged no more.
    pub merge_text_bytes_max: u64,
    /// A group with so much text in a merge gets a file of its own.
    pub own_file_text_bytes: u64,
}

/// Lines go from memory to a file when they take so many times a segment of the journal, and appends wait at so many.
const FLUSH_SEGMENTS: usize = 2;
const TAIL_SEGMENTS: usize = 4;

impl Default for LinesSettings {
    fn default() -> Self {
        Self::with_segments_of(16 << 20)
    }
}

impl LinesSettings {
    /// The settings for a journal with segments of this size: on a small disk, less is kept in memory and journal.
    #[must_use]
    pub fn with_segments_of(segment_size_bytes: u64) -> Self {
        let in_memory = usize::try_from(segment_size_bytes).unwrap_or(usize::MAX / TAIL_SEGMENTS);
        Self {
            segment_size_bytes,
            batch_size_bytes_max: 8 << 20,
            recent_size_bytes_max: 16 << 20,
            tail_size_bytes_max: TAIL_SEGMENTS * in_memory,
            flush_size_bytes: FLUSH_SEGMENTS * in_memory,
            flush_age: Duration::from_secs(300),
            block_text_bytes_max: 256 << 10,
            block_lines_max: 16 << 10,
            merge_files: 8,
            merge_text_bytes_max: 256 << 20,
            own_file_text_bytes: 16 << 20,
        }
    }

    /// How files of new lines are made.
    pub(super) fn new_form(&self) -> Form {
        self.form(LEVEL_FAST)
    }

    /// How merged files are made.
    pub(super) fn merged_form(&self) -> Form {
        self.form(LEVEL_LASTING)
    }

    fn form(&self, compression_level: i32) -> Form {
        let Self { block_text_bytes_max, block_lines_max, .. } = *self;
        Form { block_text_bytes_max, block_lines_max, compression_level }
    }
}
