//! Writes one segment file: rows in order, in row groups of bounded size, synced before it gets its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use cairn_core::Timestamp;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use serde::{Deserialize, Serialize};

use super::order::{PartitionKey, Place, size_bytes};
use super::schema::{PARTITIONS_KEY, SCALARS, SCHEMA, VERSION, VERSION_KEY, writer_properties};
use super::segment_file::SegmentFile;
use super::settings::SegmentSettings;
use super::{Attribute, HistoryEvent, event_uuid};

/// Rows whose JSON is copied at once, on its way to the pages.
const JSON_BATCH_ROWS: usize = 256;

/// A run of rows of one account, region and kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partition {
    pub(super) key: Arc<PartitionKey>,
    /// The first row of the run.
    pub(super) first_row: u64,
    /// How many rows.
    pub(super) rows: u64,
    /// The time of the first.
    pub(super) oldest: Timestamp,
    /// The time of the last.
    pub(super) newest: Timestamp,
}

/// A row group of another segment, to be copied as it is.
pub(super) struct GroupCopy {
    pub(super) file: Arc<SegmentFile>,
    pub(super) metadata: RowGroupMetaData,
    /// The number of its first row in that segment.
    pub(super) first_row: u64,
    /// Its runs, in order.
    pub(super) runs: Vec<Partition>,
}

/// Why a segment could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("the segment file {path} could not be written")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the segment file {path} could not be encoded")]
    Encode {
        path: PathBuf,
        #[source]
        source: ParquetError,
    },
}

/// A segment file being written under a temporary name.
pub(super) struct SegmentWriter {
    path: PathBuf,
    temporary: PathBuf,
    writer: SerializedFileWriter<File>,
    rows_max: usize,
    size_bytes_max: usize,
    buffer: Vec<Arc<HistoryEvent>>,
    buffer_size_bytes: usize,
    rows: u64,
    /// The first row of the row group that is being filled.
    group_first_row: u64,
    partitions: Vec<Partition>,
}

impl SegmentWriter {
    /// Begins the file that will be `path`.
    pub(super) fn create(path: &Path, settings: &SegmentSettings) -> Result<Self, WriteError> {
        let temporary = path.with_extension("tmp");
        let io = |source| WriteError::Io { path: temporary.clone(), source };
        let file = File::create(&temporary).map_err(io)?;
        let encode = |source| WriteError::Encode { path: path.to_owned(), source };
        let writer = SerializedFileWriter::new(file, Arc::clone(&SCHEMA), writer_properties(settings))
            .map_err(encode)?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            writer,
            rows_max: settings.row_group_rows_max,
            size_bytes_max: settings.row_group_size_bytes_max,
            buffer: Vec::new(),
            buffer_size_bytes: 0,
            rows: 0,
            group_first_row: 0,
            partitions: Vec::new(),
        })
    }

    /// Adds a row group that was written before, as it is. Rows added before are in row groups of their own.
    pub(super) fn copy_group(&mut self, group: GroupCopy) -> Result<(), WriteError> {
        self.write_row_group()?;
        let encode = |source| WriteError::Encode { path: self.path.clone(), source };
        let rows = group.metadata.num_rows().unsigned_abs();
        let mut copy = self.writer.next_row_group().map_err(encode)?;
        for chunk in group.metadata.columns() {
            copy_column(&mut copy, &group.file, chunk, rows).map_err(encode)?;
        }
        copy.close().map_err(encode)?;
        let first_row = self.rows;
        self.partitions.extend(
            group
                .runs
                .into_iter()
                .map(|run| Partition { first_row: run.first_row - group.first_row + first_row, ..run }),
        );
        self.rows += rows;
        self.group_first_row = self.rows;
        Ok(())
    }

    /// Adds a row, which comes after all rows added before to this row group.
    pub(super) fn push(&mut self, event: Arc<HistoryEvent>) -> Result<(), WriteError> {
        self.note_partition(&event);
        self.rows += 1;
        self.buffer_size_bytes += size_bytes(&event);
        self.buffer.push(event);
        if self.buffer.len() >= self.rows_max || self.buffer_size_bytes >= self.size_bytes_max {
            self.write_row_group()?;
        }
        Ok(())
    }

    /// How many rows were added.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the file, makes it and its name durable.
    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        self.write_row_group()?;
        let partitions = serde_json::to_string(&self.partitions).expect("partitions are plain data");
        self.writer.append_key_value_metadata(KeyValue::new(VERSION_KEY.to_owned(), VERSION.to_string()));
        self.writer.append_key_value_metadata(KeyValue::new(PARTITIONS_KEY.to_owned(), partitions));
        self.writer.finish().map_err(|source| WriteError::Encode { path: self.path.clone(), source })?;
        let io = |source| WriteError::Io { path: self.path.clone(), source };
        self.writer.inner().sync_all().map_err(io)?;
        std::fs::rename(&self.temporary, &self.path).map_err(io)?;
        let directory = self.path.parent().expect("a segment file lies in the history's directory");
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
    }

    /// Gives the file up.
    pub(super) fn abandon(self) -> Result<(), WriteError> {
        std::fs::remove_file(&self.temporary)
            .map_err(|source| WriteError::Io { path: self.temporary.clone(), source })
    }

    fn note_partition(&mut self, event: &HistoryEvent) {
        let Place { time, .. } = Place::of(event);
        match self.partitions.last_mut() {
            Some(last)
                if last.first_row >= self.group_first_row
                    && last.key.account == event.account
                    && last.key.region == event.region
                    && last.key.insight == event.insight =>
            {
                debug_assert!(time >= last.newest, "rows come in the order of time");
                last.rows += 1;
                last.newest = time;
            }
            _ => self.partitions.push(Partition {
                key: Arc::new(PartitionKey::of(event)),
                first_row: self.rows,
                rows: 1,
                oldest: time,
                newest: time,
            }),
        }
    }

    fn write_row_group(&mut self) -> Result<(), WriteError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let encode = |source| WriteError::Encode { path: self.path.clone(), source };
        let mut group = self.writer.next_row_group().map_err(encode)?;
        write_columns(&mut group, &self.buffer).map_err(encode)?;
        group.close().map_err(encode)?;
        self.buffer.clear();
        self.buffer_size_bytes = 0;
        self.group_first_row = self.rows;
        Ok(())
    }
}

/// A column chunk in memory, at its place in the file that it is from.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.get_bytes(start, (self.len().saturating_sub(start)) as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let end = at.and_then(|at| at.checked_add(length)).filter(|end| *end <= self.bytes.len());
        match (at, end) {
            (Some(at), Some(end)) => Ok(self.bytes.slice(at..end)),
            _ => Err(ParquetError::EOF("a read past the end of a column".to_owned())),
        }
    }
}

/// Copies a column chunk with its bloom filter.
fn copy_column(
    group: &mut SerializedRowGroupWriter<'_, File>,
    file: &SegmentFile,
    chunk: &ColumnChunkMetaData,
    rows: u64,
) -> Result<(), ParquetError> {
    let (start, length) = chunk.byte_range();
    let bytes = file.get_bytes(start, length as usize)?;
    let close = ColumnCloseResult {
        bytes_written: length,
        rows_written: rows,
        metadata: chunk.clone(),
        bloom_filter: Sbbf::read_from_column_chunk(chunk, file)?,
        column_index: None,
        offset_index: None,
    };
    group.append_column(&Chunk { start, bytes }, close)
}

/// The texts of a column side by side, as the values that the writer takes.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    fn push_optional(&mut self, text: Option<&str>) {
        text.into_iter().for_each(|text| self.push(text));
        self.defined.push(i16::from(text.is_some()));
    }

    /// Adds the list of a row. An empty one has a level and no value.
    fn push_list<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        let before = self.ends.len();
        for text in texts {
            self.repeated.push(i16::from(self.ends.len() > before));
            self.push(text);
            self.defined.push(1);
        }
        if self.ends.len() == before {
            self.defined.push(0);
            self.repeated.push(0);
        }
    }

    fn values(&mut self) -> Vec<ByteArray> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let mut start = 0;
        let slice = |end| ByteArray::from(bytes.slice(std::mem::replace(&mut start, end)..end));
        self.ends.drain(..).map(slice).collect()
    }

    fn write(mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        let values = self.values();
        let levels = |levels: Vec<i16>| (!levels.is_empty()).then_some(levels);
        let (defined, repeated) = (levels(self.defined), levels(self.repeated));
        write::<ByteArrayType>(group, &values, defined.as_deref(), repeated.as_deref())
    }
}

/// Writes all columns of `rows`, in the order of the schema.
fn write_columns(
    group: &mut SerializedRowGroupWriter<'_, File>,
    rows: &[Arc<HistoryEvent>],
) -> Result<(), ParquetError> {
    let positions: Vec<i64> = rows.iter().map(|row| row.position.0.cast_signed()).collect();
    write::<Int64Type>(group, &positions, None, None)?;
    let (mut accounts, mut regions) = (Texts::default(), Texts::default());
    let mut scalars: [Texts; SCALARS.len()] = Default::default();
    let (mut kinds, mut names) = (Texts::default(), Texts::default());
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        accounts.push(row.account.as_str());
        regions.push(row.region.as_str());
        let id = row.attribute(Attribute::EventId).and_then(event_uuid::parse);
        for (attribute, texts) in SCALARS.into_iter().zip(&mut scalars) {
            let is_apart = attribute == Attribute::EventId && id.is_some();
            texts.push_optional(row.attribute(attribute).filter(|_| !is_apart));
        }
        let resources = row.resources();
        kinds.push_list(resources.iter().map(|(kind, _)| kind.unwrap_or_default()));
        names.push_list(resources.iter().map(|(_, name)| name.unwrap_or_default()));
        ids.push(id);
    }
    accounts.write(group)?;
    regions.write(group)?;
    let times: Vec<i64> = rows.iter().map(|row| row.time.millis()).collect();
    write::<Int64Type>(group, &times, None, None)?;
    let insights: Vec<bool> = rows.iter().map(|row| row.insight).collect();
    write::<BoolType>(group, &insights, None, None)?;
    for texts in scalars.into_iter().chain([kinds, names]) {
        texts.write(group)?;
    }
    let cuts = write_json(group, rows, &ids)?;
    let levels: Vec<i16> = ids.iter().map(|id| i16::from(id.is_some())).collect();
    let ids: Bytes = ids.into_iter().flatten().flatten().collect::<Vec<u8>>().into();
    let id = |at: usize| FixedLenByteArray::from(ByteArray::from(ids.slice(at..at + 16)));
    let values: Vec<_> = (0..ids.len()).step_by(16).map(id).collect();
    write::<FixedLenByteArrayType>(group, &values, Some(&levels), None)?;
    let levels: Vec<i16> = cuts.iter().map(|cut| i16::from(cut.is_some())).collect();
    let values: Vec<i32> = cuts.into_iter().flatten().collect();
    write::<Int32Type>(group, &values, Some(&levels), None)
}

/// Writes the JSON of `rows` without those of the `ids` that are found in it, and says how many bytes follow on each.
fn write_json(
    group: &mut SerializedRowGroupWriter<'_, File>,
    rows: &[Arc<HistoryEvent>],
    ids: &[Option<[u8; 16]>],
) -> Result<Vec<Option<i32>>, ParquetError> {
    let mut column = next_column(group)?;
    let mut cuts = Vec::with_capacity(rows.len());
    for (rows, ids) in rows.chunks(JSON_BATCH_ROWS).zip(ids.chunks(JSON_BATCH_ROWS)) {
        let size_bytes = rows.iter().map(|row| row.json.len()).sum();
        let (mut json, mut ends) = (Vec::with_capacity(size_bytes), Vec::with_capacity(rows.len()));
        for (row, id) in rows.iter().zip(ids) {
            let id = row.attribute(Attribute::EventId).filter(|_| id.is_some());
            let after = id.and_then(|id| event_uuid::bytes_after(&row.json, id));
            let cut = after.and_then(|after| Some((after, i32::try_from(after).ok()?)));
            match cut {
                Some((after, _)) => event_uuid::cut(&row.json, after, &mut json),
                None => json.extend_from_slice(&row.json),
            }
            ends.push(json.len());
            cuts.push(cut.map(|(_, after)| after));
        }
        let json = Bytes::from(json);
        let mut start = 0;
        let slice = |end| ByteArray::from(json.slice(std::mem::replace(&mut start, end)..end));
        let values: Vec<_> = ends.into_iter().map(slice).collect();
        column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
    }
    column.close()?;
    Ok(cuts)
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = next_column(group)?;
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}

fn next_column<'g>(
    group: &'g mut SerializedRowGroupWriter<'_, File>,
) -> Result<SerializedColumnWriter<'g>, ParquetError> {
    group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has fewer columns than are written".to_owned()))
}
