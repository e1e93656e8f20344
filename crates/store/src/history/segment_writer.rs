//! Writes one segment file: rows in order, in row groups of bounded size, synced before it gets its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_core::Timestamp;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use serde::{Deserialize, Serialize};

use super::order::{PartitionKey, Place, size_bytes};
use super::schema::{PARTITIONS_KEY, SCALARS, SCHEMA, VERSION, VERSION_KEY, writer_properties};
use super::settings::SegmentSettings;
use super::{Attribute, HistoryEvent};

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
            partitions: Vec::new(),
        })
    }

    /// Adds a row, which comes after all rows added before.
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
                if last.key.account == event.account
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
        Ok(())
    }
}

/// Writes all columns of `rows`, in the order of the schema.
fn write_columns(
    group: &mut SerializedRowGroupWriter<'_, File>,
    rows: &[Arc<HistoryEvent>],
) -> Result<(), ParquetError> {
    let positions: Vec<i64> = rows.iter().map(|row| row.position.0.cast_signed()).collect();
    write::<Int64Type>(group, &positions, None, None)?;
    write::<ByteArrayType>(group, &texts(rows, |row| row.account.as_str()), None, None)?;
    write::<ByteArrayType>(group, &texts(rows, |row| row.region.as_str()), None, None)?;
    let times: Vec<i64> = rows.iter().map(|row| row.time.millis()).collect();
    write::<Int64Type>(group, &times, None, None)?;
    let insights: Vec<bool> = rows.iter().map(|row| row.insight).collect();
    write::<BoolType>(group, &insights, None, None)?;
    for attribute in SCALARS {
        let values: Vec<Option<&str>> = rows.iter().map(|row| row.attribute(attribute)).collect();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<ByteArray> = values.into_iter().flatten().map(ByteArray::from).collect();
        write::<ByteArrayType>(group, &values, Some(&levels), None)?;
    }
    for attribute in [Attribute::ResourceType, Attribute::ResourceName] {
        write_list(group, rows, attribute)?;
    }
    let json: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(Bytes::clone(&row.json))).collect();
    write::<ByteArrayType>(group, &json, None, None)
}

/// Writes one of the two lists of resources. An empty list has one level and no value.
fn write_list(
    group: &mut SerializedRowGroupWriter<'_, File>,
    rows: &[Arc<HistoryEvent>],
    attribute: Attribute,
) -> Result<(), ParquetError> {
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let resources = row.resources();
        if resources.is_empty() {
            defined.push(0);
            repeated.push(0);
        }
        for (at, (kind, name)) in resources.into_iter().enumerate() {
            let value = if attribute == Attribute::ResourceType { kind } else { name };
            values.push(ByteArray::from(value.unwrap_or_default()));
            defined.push(1);
            repeated.push(i16::from(at > 0));
        }
    }
    write::<ByteArrayType>(group, &values, Some(&defined), Some(&repeated))
}

fn texts<'a>(rows: &'a [Arc<HistoryEvent>], text: impl Fn(&'a HistoryEvent) -> &'a str) -> Vec<ByteArray> {
    rows.iter().map(|row| ByteArray::from(text(row))).collect()
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column: SerializedColumnWriter<'_> = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has fewer columns than are written".to_owned()))?;
    debug_assert!(
        !matches!(column.untyped(), ColumnWriter::Int96ColumnWriter(_)),
        "no column is of this type"
    );
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}
