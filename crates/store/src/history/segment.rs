//! One segment file, open for lookups: which partitions it holds, which of its rows a lookup wants, and those rows.
//!
//! A lookup goes through the row groups of its partition from the newest to the oldest. A row group that cannot have
//! the attribute, by its bloom filter, costs one small read. Of the others only the columns of time, position and
//! the attribute are unpacked; whole events are read for the rows that a page shows.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_core::Timestamp;
use parquet::bloom_filter::Sbbf;
use parquet::data_type::{AsBytes, ByteArrayType, DataType, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

use super::order::{PartitionKey, Place, Window};
use super::rows::{Column, RowReader, column_reader, has_uuids};
use super::schema::{PARTITIONS_KEY, VERSION, VERSION_KEY, column, column_of};
use super::segment_file::SegmentFile;
use super::segment_writer::{GroupCopy, Partition};
use super::settings::{FULL_ROW_GROUP_PART, SegmentSettings};
use super::{Attribute, HistoryEvent, event_uuid};
use crate::log::LogPosition;

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the segment file {path} could not be opened")]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the segment file {path} could not be decoded")]
    Decode {
        path: PathBuf,
        #[source]
        source: ParquetError,
    },
    #[error("the segment file {path} has {found_bytes} bytes instead of {expected_bytes}")]
    Size { path: PathBuf, found_bytes: u64, expected_bytes: u64 },
    #[error("the segment file {path} has the layout version {found:?}, this program knows {VERSION}")]
    Version { path: PathBuf, found: Option<String> },
    #[error("the list of partitions of the segment file {path} cannot be read")]
    Partitions {
        path: PathBuf,
        #[source]
        source: Option<serde_json::Error>,
    },
}

/// A row that a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) place: Place,
    pub(super) row: u64,
}

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    id: u64,
    path: PathBuf,
    file: Arc<SegmentFile>,
    partitions: Vec<Partition>,
    rows: u64,
    oldest: Timestamp,
    newest: Timestamp,
}

impl Segment {
    /// Opens the segment `id` at `path`, which has `size_bytes` where that is known.
    pub(super) fn open(id: u64, path: &Path, size_bytes: Option<u64>) -> Result<Self, ReadError> {
        let file =
            SegmentFile::open(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        if let Some(expected_bytes) = size_bytes.filter(|size| *size != file.size_bytes()) {
            let found_bytes = file.size_bytes();
            return Err(ReadError::Size { path: path.to_owned(), found_bytes, expected_bytes });
        }
        let file = Arc::new(file);
        let footer = read_footer(&file, path)?;
        let partitions = read_partitions(&footer, path)?;
        let oldest = partitions.iter().map(|partition| partition.oldest).min().unwrap_or_default();
        let newest = partitions.iter().map(|partition| partition.newest).max().unwrap_or_default();
        let rows = partitions.iter().map(|partition| partition.rows).sum();
        Ok(Self { id, path: path.to_owned(), file, partitions, rows, oldest, newest })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.file.size_bytes()
    }

    /// The time of the oldest event.
    pub(super) fn oldest(&self) -> Timestamp {
        self.oldest
    }

    /// The time of the newest event: when the segment as a whole is past its retention.
    pub(super) fn newest(&self) -> Timestamp {
        self.newest
    }

    /// The runs of rows of `key`.
    pub(super) fn runs(&self, key: &PartitionKey) -> &[Partition] {
        let from = self.partitions.partition_point(|run| *run.key < *key);
        let runs = &self.partitions[from..];
        &runs[..runs.partition_point(|run| *run.key == *key)]
    }

    /// Reads the footer, which is some hundred bytes for each column of each row group.
    pub(super) fn footer(&self) -> Result<ParquetMetaData, ReadError> {
        read_footer(&self.file, &self.path)
    }

    /// The newest rows, `limit` at most, of `partition` that are in `window` and have `attribute`, newest first. Rows
    /// before `floor` are of no interest.
    pub(super) fn search(
        &self,
        footer: &ParquetMetaData,
        partition: &Partition,
        window: &Window,
        attribute: Option<&(Attribute, String)>,
        limit: usize,
        floor: Option<Place>,
    ) -> Result<Vec<Hit>, ReadError> {
        let mut hits = Vec::new();
        let mut group_end = self.rows;
        let partition_end = partition.first_row + partition.rows;
        for group in (0..footer.num_row_groups()).rev() {
            let group_rows = footer.row_group(group).num_rows().unsigned_abs();
            let group_start = group_end.saturating_sub(group_rows);
            let first = partition.first_row.max(group_start);
            let end = partition_end.min(group_end);
            group_end = group_start;
            if first >= end {
                continue;
            }
            let search = GroupSearch { file: &self.file, footer, group, first: first - group_start };
            let rows = usize::try_from(end - first).expect("a row group's rows fit in memory");
            let more = search
                .run(rows, window, attribute, limit, floor, group_start, &mut hits)
                .map_err(|source| self.undecodable(source))?;
            if !more {
                break;
            }
        }
        Ok(hits)
    }

    /// The events at `rows`, which are given in ascending order.
    pub(super) fn fetch(
        &self,
        footer: &ParquetMetaData,
        rows: &[u64],
    ) -> Result<Vec<HistoryEvent>, ReadError> {
        let mut events = Vec::with_capacity(rows.len());
        let mut rest = rows;
        let mut group_start = 0;
        for group in 0..footer.num_row_groups() {
            let group_end = group_start + footer.row_group(group).num_rows().unsigned_abs();
            let here = rest.partition_point(|row| *row < group_end);
            if here > 0 {
                self.fetch_group(footer, group, group_start, &rest[..here], &mut events)
                    .map_err(|source| self.undecodable(source))?;
            }
            rest = &rest[here..];
            group_start = group_end;
        }
        Ok(events)
    }

    /// What a merge copies as it is, and what it reads row by row, `batch_rows` at a time; the rows of each reading are
    /// in order. Row groups whose events are all older than `kept_from` are neither.
    pub(super) fn parts(
        self: &Arc<Self>,
        kept_from: Timestamp,
        batch_rows: usize,
        settings: &SegmentSettings,
    ) -> Result<(Vec<GroupCopy>, Vec<Scan>), ReadError> {
        let footer = Arc::new(self.footer()?);
        let scan = |groups: Range<usize>| {
            let (segment, footer) = (Arc::clone(self), Arc::clone(&footer));
            Scan { segment, footer, groups, reader: None, batch_rows }
        };
        if !has_uuids(&footer) {
            return Ok((Vec::new(), vec![scan(0..footer.num_row_groups())]));
        }
        let (mut copies, mut scans, mut first_row) = (Vec::new(), Vec::new(), 0);
        for group in 0..footer.num_row_groups() {
            let metadata = footer.row_group(group);
            let end = first_row + metadata.num_rows().unsigned_abs();
            let runs = self.partitions.iter().filter(|run| (first_row..end).contains(&run.first_row));
            let mut runs: Vec<_> = runs.cloned().collect();
            runs.sort_unstable_by_key(|run| run.first_row);
            let is_full = metadata.num_rows().unsigned_abs() as usize
                >= settings.row_group_rows_max.div_ceil(FULL_ROW_GROUP_PART)
                || metadata.total_byte_size().unsigned_abs() as usize
                    >= settings.row_group_size_bytes_max.div_ceil(FULL_ROW_GROUP_PART);
            if runs.iter().any(|run| run.newest >= kept_from) {
                if is_full {
                    let file = Arc::clone(&self.file);
                    copies.push(GroupCopy { file, metadata: metadata.clone(), first_row, runs });
                } else {
                    scans.push(scan(group..group + 1));
                }
            }
            first_row = end;
        }
        Ok((copies, scans))
    }

    fn fetch_group(
        &self,
        footer: &ParquetMetaData,
        group: usize,
        group_start: u64,
        rows: &[u64],
        events: &mut Vec<HistoryEvent>,
    ) -> Result<(), ParquetError> {
        let mut reader = RowReader::new(&self.file, footer, group)?;
        let mut at = group_start;
        for row in rows {
            let skipped = usize::try_from(row - at).expect("a row group's rows fit in memory");
            reader.skip(skipped)?;
            events.extend(reader.read(1)?);
            at = row + 1;
        }
        Ok(())
    }

    fn undecodable(&self, source: ParquetError) -> ReadError {
        ReadError::Decode { path: self.path.clone(), source }
    }
}

/// A reading of all rows of some row groups, in order.
pub(super) struct Scan {
    segment: Arc<Segment>,
    footer: Arc<ParquetMetaData>,
    /// Those that were not begun yet.
    groups: Range<usize>,
    reader: Option<RowReader>,
    batch_rows: usize,
}

impl Scan {
    /// The next rows; empty at the end.
    pub(super) fn next_rows(&mut self) -> Result<Vec<HistoryEvent>, ReadError> {
        self.read().map_err(|source| self.segment.undecodable(source))
    }

    fn read(&mut self) -> Result<Vec<HistoryEvent>, ParquetError> {
        loop {
            if let Some(reader) = &mut self.reader {
                let rows = reader.read(self.batch_rows)?;
                if !rows.is_empty() {
                    return Ok(rows);
                }
            }
            // What was read is let go before the next is begun.
            self.reader = None;
            let Some(group) = self.groups.next() else { return Ok(Vec::new()) };
            self.reader = Some(RowReader::new(&self.segment.file, &self.footer, group)?);
        }
    }
}

/// The search through one row group, from its row `first` on.
struct GroupSearch<'a> {
    file: &'a Arc<SegmentFile>,
    footer: &'a ParquetMetaData,
    group: usize,
    first: u64,
}

impl GroupSearch<'_> {
    /// Adds what `rows` rows have to `hits`; says whether older row groups may have more.
    #[allow(clippy::too_many_arguments, reason = "one inner step of a search, with all that bounds it")]
    fn run(
        &self,
        rows: usize,
        window: &Window,
        attribute: Option<&(Attribute, String)>,
        limit: usize,
        floor: Option<Place>,
        group_start: u64,
        hits: &mut Vec<Hit>,
    ) -> Result<bool, ParquetError> {
        if !self.times_overlap(window) || !self.may_have(attribute)? {
            return Ok(true);
        }
        let matching = attribute.map(|wanted| self.matching(wanted, rows)).transpose()?;
        if matching.as_ref().is_some_and(|matching| !matching.contains(&true)) {
            return Ok(true);
        }
        let times = self.numbers(column::TIME_MS, rows)?;
        let positions = self.numbers(column::POSITION, rows)?;
        for at in (0..rows).rev() {
            let time = Timestamp::from_millis(times[at]);
            let place = Place { time, position: LogPosition(positions[at].cast_unsigned()) };
            if time < window.oldest || floor.is_some_and(|floor| place < floor) {
                return Ok(false);
            }
            if window.admits(place) && matching.as_ref().is_none_or(|matching| matching[at]) {
                hits.push(Hit { place, row: group_start + self.first + at as u64 });
                if hits.len() == limit {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether the times of the whole row group, by its statistics, touch the window.
    fn times_overlap(&self, window: &Window) -> bool {
        match self.footer.row_group(self.group).column(column::TIME_MS).statistics() {
            Some(Statistics::Int64(times)) => match (times.min_opt(), times.max_opt()) {
                (Some(oldest), Some(newest)) => {
                    window.overlaps(Timestamp::from_millis(*oldest), Timestamp::from_millis(*newest))
                }
                _ => true,
            },
            _ => true,
        }
    }

    /// Whether the bloom filter leaves the attribute possible.
    fn may_have(&self, attribute: Option<&(Attribute, String)>) -> Result<bool, ParquetError> {
        let Some((attribute, value)) = attribute else { return Ok(true) };
        let uuid = self.uuid(*attribute, value);
        let column = if uuid.is_some() { column::EVENT_UUID } else { column_of(*attribute) };
        let chunk = self.footer.row_group(self.group).column(column);
        let filter = Sbbf::read_from_column_chunk(chunk, &**self.file)?;
        let sought = uuid.as_ref().map_or(value.as_bytes(), |uuid| uuid);
        Ok(filter.is_none_or(|filter| filter.check(sought)))
    }

    /// For each of the rows, whether it has the attribute.
    fn matching(&self, wanted: &(Attribute, String), rows: usize) -> Result<Vec<bool>, ParquetError> {
        let (attribute, value) = wanted;
        match self.uuid(*attribute, value) {
            Some(uuid) => self.equal::<FixedLenByteArrayType>(column::EVENT_UUID, &uuid, rows),
            None => self.equal::<ByteArrayType>(column_of(*attribute), value.as_bytes(), rows),
        }
    }

    /// The bytes that `value` is found by, where it is kept apart from other texts.
    fn uuid(&self, attribute: Attribute, value: &str) -> Option<[u8; 16]> {
        let is_apart = attribute == Attribute::EventId && has_uuids(self.footer);
        is_apart.then(|| event_uuid::parse(value)).flatten()
    }

    fn equal<T: DataType>(
        &self,
        column: usize,
        sought: &[u8],
        rows: usize,
    ) -> Result<Vec<bool>, ParquetError> {
        let mut reader = Column::<T>::new(self.file, self.footer, self.group, column)?;
        reader.skip(self.skipped())?;
        let mut matching = vec![false; rows];
        reader.read(rows, |row, found| {
            if let Some(row) = matching.get_mut(row) {
                *row |= found.as_bytes() == sought;
            }
        })?;
        Ok(matching)
    }

    fn numbers(&self, column: usize, rows: usize) -> Result<Vec<i64>, ParquetError> {
        let mut reader = column_reader::<Int64Type>(self.file, self.footer, self.group, column)?;
        reader.skip_records(self.skipped())?;
        let mut numbers = Vec::with_capacity(rows);
        let (found, _, _) = reader.read_records(rows, None, None, &mut numbers)?;
        if found != rows {
            return Err(ParquetError::General(format!("a column ends after {found} of {rows} rows")));
        }
        Ok(numbers)
    }

    fn skipped(&self) -> usize {
        usize::try_from(self.first).expect("a row group's rows fit in memory")
    }
}

fn read_footer(file: &Arc<SegmentFile>, path: &Path) -> Result<ParquetMetaData, ReadError> {
    ParquetMetaDataReader::new()
        .parse_and_finish(&**file)
        .map_err(|source| ReadError::Decode { path: path.to_owned(), source })
}

fn read_partitions(footer: &ParquetMetaData, path: &Path) -> Result<Vec<Partition>, ReadError> {
    let pairs = footer.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let value = |key| pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref());
    let version = value(VERSION_KEY);
    if !version
        .and_then(|version| version.parse().ok())
        .is_some_and(|version| (1..=VERSION).contains(&version))
    {
        return Err(ReadError::Version { path: path.to_owned(), found: version.map(str::to_owned) });
    }
    let unreadable = |source| ReadError::Partitions { path: path.to_owned(), source };
    let text = value(PARTITIONS_KEY).ok_or_else(|| unreadable(None))?;
    let mut partitions: Vec<Partition> =
        serde_json::from_str(text).map_err(|source| unreadable(Some(source)))?;
    partitions.sort_by(|left, right| left.key.cmp(&right.key));
    for at in 1..partitions.len() {
        // One key in memory for all of its runs.
        if partitions[at].key == partitions[at - 1].key {
            partitions[at].key = Arc::clone(&partitions[at - 1].key);
        }
    }
    let rows: u64 = partitions.iter().map(|partition| partition.rows).sum();
    if rows != footer.file_metadata().num_rows().unsigned_abs() {
        return Err(unreadable(None));
    }
    Ok(partitions)
}
