//! The columns of a row group, read back into events.

use std::sync::Arc;

use bytes::Bytes;
use cairn_core::Timestamp;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    AsBytes, BoolType, ByteArrayType, DataType, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::schema::{SCALARS, column, column_of};
use super::segment_file::SegmentFile;
use super::{Attribute, HistoryEvent, event_uuid};
use crate::log::LogPosition;

/// A reader of one column of one row group.
pub(super) fn column_reader<T: DataType>(
    file: &Arc<SegmentFile>,
    footer: &ParquetMetaData,
    group: usize,
    column: usize,
) -> Result<ColumnReaderImpl<T>, ParquetError> {
    let group = footer.row_group(group);
    let chunk = group.columns().get(column).ok_or_else(|| corrupt("a column is missing"))?;
    if chunk.column_type() != T::get_physical_type() {
        return Err(corrupt("a column has another type"));
    }
    let rows = usize::try_from(group.num_rows()).map_err(|_| corrupt("a row group has a negative size"))?;
    let pages = SerializedPageReader::new(Arc::clone(file), chunk, rows, None)?;
    Ok(ColumnReaderImpl::new(chunk.column_descr_ptr(), Box::new(pages)))
}

/// Whether the row groups of the file keep UUIDs apart, as from version 2 on.
pub(super) fn has_uuids(footer: &ParquetMetaData) -> bool {
    footer.file_metadata().schema_descr().num_columns() > column::EVENT_ID_FROM_END
}

/// A column of one value, of one or none, or of a list for each row.
pub(super) struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    defined_max: i16,
    repeats: bool,
    values: Vec<T::T>,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

impl<T: DataType> Column<T> {
    pub(super) fn new(
        file: &Arc<SegmentFile>,
        footer: &ParquetMetaData,
        group: usize,
        column: usize,
    ) -> Result<Self, ParquetError> {
        let reader = column_reader::<T>(file, footer, group, column)?;
        let description = footer.row_group(group).column(column).column_descr();
        Ok(Self {
            reader,
            defined_max: description.max_def_level(),
            repeats: description.max_rep_level() > 0,
            values: Vec::new(),
            defined: Vec::new(),
            repeated: Vec::new(),
        })
    }

    pub(super) fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        match self.reader.skip_records(rows)? {
            skipped if skipped == rows => Ok(()),
            _ => Err(corrupt("a column ends early")),
        }
    }

    /// Reads `rows` rows and shows each value with the number of its row among them.
    pub(super) fn read(
        &mut self,
        rows: usize,
        mut show: impl FnMut(usize, T::T),
    ) -> Result<(), ParquetError> {
        self.values.clear();
        self.defined.clear();
        self.repeated.clear();
        let (found, _, levels) = self.reader.read_records(
            rows,
            Some(&mut self.defined),
            Some(&mut self.repeated),
            &mut self.values,
        )?;
        if found != rows {
            return Err(corrupt("a column ends early"));
        }
        let mut values = self.values.drain(..);
        let mut row = 0;
        for level in 0..levels {
            if level > 0 && !(self.repeats && self.repeated[level] > 0) {
                row += 1;
            }
            if self.defined_max == 0 || self.defined[level] == self.defined_max {
                show(row, values.next().ok_or_else(|| corrupt("a column lacks a value"))?);
            }
        }
        Ok(())
    }
}

/// Reads whole rows of a row group, from the first to the last.
pub(super) struct RowReader {
    rows_left: usize,
    positions: ColumnReaderImpl<Int64Type>,
    times: ColumnReaderImpl<Int64Type>,
    insights: ColumnReaderImpl<BoolType>,
    accounts: Column<ByteArrayType>,
    regions: Column<ByteArrayType>,
    scalars: Vec<(Attribute, Column<ByteArrayType>)>,
    resource_types: Column<ByteArrayType>,
    resource_names: Column<ByteArrayType>,
    json: Column<ByteArrayType>,
    uuids: Option<UuidColumns>,
}

/// An id, and how many bytes follow on the place in the JSON that it was cut out of.
type CutId = (String, Option<usize>);

/// The ids that are UUIDs, and where each was cut out of the JSON.
struct UuidColumns {
    uuids: Column<FixedLenByteArrayType>,
    from_end: Column<Int32Type>,
}

impl RowReader {
    pub(super) fn new(
        file: &Arc<SegmentFile>,
        footer: &ParquetMetaData,
        group: usize,
    ) -> Result<Self, ParquetError> {
        let bytes = |column| Column::new(file, footer, group, column);
        let scalars: Result<_, ParquetError> =
            SCALARS.into_iter().map(|attribute| Ok((attribute, bytes(column_of(attribute))?))).collect();
        let rows = usize::try_from(footer.row_group(group).num_rows());
        let uuids = || {
            Ok::<_, ParquetError>(UuidColumns {
                uuids: Column::new(file, footer, group, column::EVENT_UUID)?,
                from_end: Column::new(file, footer, group, column::EVENT_ID_FROM_END)?,
            })
        };
        Ok(Self {
            rows_left: rows.map_err(|_| corrupt("a row group has a negative size"))?,
            positions: column_reader(file, footer, group, column::POSITION)?,
            times: column_reader(file, footer, group, column::TIME_MS)?,
            insights: column_reader(file, footer, group, column::INSIGHT)?,
            accounts: bytes(column::ACCOUNT)?,
            regions: bytes(column::REGION)?,
            scalars: scalars?,
            resource_types: bytes(column::RESOURCE_TYPES)?,
            resource_names: bytes(column::RESOURCE_NAMES)?,
            json: bytes(column::JSON)?,
            uuids: has_uuids(footer).then(uuids).transpose()?,
        })
    }

    /// Passes over `rows` rows.
    pub(super) fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        if rows == 0 {
            return Ok(());
        }
        self.positions.skip_records(rows)?;
        self.times.skip_records(rows)?;
        self.insights.skip_records(rows)?;
        let scalars = self.scalars.iter_mut().map(|(_, column)| column);
        let fixed = [
            &mut self.accounts,
            &mut self.regions,
            &mut self.resource_types,
            &mut self.resource_names,
            &mut self.json,
        ];
        for column in scalars.chain(fixed) {
            column.skip(rows)?;
        }
        if let Some(UuidColumns { uuids, from_end }) = &mut self.uuids {
            uuids.skip(rows)?;
            from_end.skip(rows)?;
        }
        self.rows_left = self.rows_left.saturating_sub(rows);
        Ok(())
    }

    /// Reads the next `rows` rows, fewer at the end.
    pub(super) fn read(&mut self, rows: usize) -> Result<Vec<HistoryEvent>, ParquetError> {
        let rows = rows.min(self.rows_left);
        let positions = numbers(&mut self.positions, rows)?;
        let times = numbers(&mut self.times, rows)?;
        let insights = numbers(&mut self.insights, rows)?;
        let accounts = texts(&mut self.accounts, rows)?;
        let regions = texts(&mut self.regions, rows)?;
        let mut attributes = vec![Vec::new(); rows];
        let ids = self.read_ids(rows)?;
        for (id, attributes) in ids.iter().zip(&mut attributes) {
            attributes.extend(id.as_ref().map(|(id, _)| (Attribute::EventId, id.clone())));
        }
        for (attribute, column) in &mut self.scalars {
            for (row, value) in texts(column, rows)? {
                attributes[row].push((*attribute, value));
            }
        }
        self.read_resources(rows, &mut attributes)?;
        let json = self.read_json(&ids)?;
        let places = accounts.into_iter().zip(regions);
        let events = places.zip(attributes).zip(json).enumerate().map(
            |(row, (((account, region), attributes), json))| {
                Ok(HistoryEvent {
                    position: LogPosition(positions[row].cast_unsigned()),
                    account: account.1.parse().map_err(|_| corrupt("an account is malformed"))?,
                    region: region.1.parse().map_err(|_| corrupt("a region is malformed"))?,
                    time: Timestamp::from_millis(times[row]),
                    insight: insights[row],
                    attributes,
                    json,
                })
            },
        );
        self.rows_left -= rows;
        events.collect()
    }

    /// The ids of the next rows that are UUIDs.
    fn read_ids(&mut self, rows: usize) -> Result<Vec<Option<CutId>>, ParquetError> {
        let mut ids = vec![None; rows];
        let Some(UuidColumns { uuids, from_end }) = &mut self.uuids else { return Ok(ids) };
        let mut malformed = false;
        uuids.read(rows, |row, uuid| match uuid.as_bytes().try_into() {
            Ok(uuid) => ids[row] = Some((event_uuid::text(uuid), None)),
            Err(_) => malformed = true,
        })?;
        from_end.read(rows, |row, bytes| match (&mut ids[row], usize::try_from(bytes)) {
            (Some((_, place)), Ok(bytes)) => *place = Some(bytes),
            _ => malformed = true,
        })?;
        if malformed { Err(corrupt("an event id is malformed")) } else { Ok(ids) }
    }

    /// The JSON of as many rows as there are `ids`, which are put back into it.
    fn read_json(&mut self, ids: &[Option<CutId>]) -> Result<Vec<Bytes>, ParquetError> {
        let mut json = vec![Bytes::new(); ids.len()];
        let mut malformed = false;
        self.json.read(ids.len(), |row, value| match &ids[row] {
            Some((id, Some(from_end))) => match event_uuid::joined(value.data(), *from_end, id) {
                Some(joined) => json[row] = joined.into(),
                None => malformed = true,
            },
            _ => json[row] = Bytes::copy_from_slice(value.data()),
        })?;
        if malformed { Err(corrupt("an event lacks the place of its id")) } else { Ok(json) }
    }

    fn read_resources(
        &mut self,
        rows: usize,
        attributes: &mut [Vec<(Attribute, String)>],
    ) -> Result<(), ParquetError> {
        let kinds = texts(&mut self.resource_types, rows)?;
        let names = texts(&mut self.resource_names, rows)?;
        if kinds.len() != names.len() {
            return Err(corrupt("the two lists of resources differ in length"));
        }
        for ((row, kind), (_, name)) in kinds.into_iter().zip(names) {
            for pair in [(Attribute::ResourceType, kind), (Attribute::ResourceName, name)] {
                if !pair.1.is_empty() {
                    attributes[row].push(pair);
                }
            }
        }
        Ok(())
    }
}

fn numbers<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize) -> Result<Vec<T::T>, ParquetError> {
    let mut values = Vec::with_capacity(rows);
    match reader.read_records(rows, None, None, &mut values)? {
        (found, _, _) if found == rows => Ok(values),
        _ => Err(corrupt("a column ends early")),
    }
}

fn texts(column: &mut Column<ByteArrayType>, rows: usize) -> Result<Vec<(usize, String)>, ParquetError> {
    let mut texts = Vec::with_capacity(rows);
    let mut malformed = false;
    column.read(rows, |row, value| match value.as_utf8() {
        Ok(text) => texts.push((row, text.to_owned())),
        Err(_) => malformed = true,
    })?;
    if malformed { Err(corrupt("a text is not UTF-8")) } else { Ok(texts) }
}

fn corrupt(text: &str) -> ParquetError {
    ParquetError::General(text.to_owned())
}
