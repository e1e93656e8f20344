//! The shape of a history segment: an ordinary Parquet file that LookupEvents, DuckDB, Spark or Trino can read.
//!
//! The rows of a row group are sorted by account, region, insight, time and position, so that in each the events of one
//! account and region lie side by side in the order of time. The columns that events are looked up by have bloom filters.
//! Where each account and region begins in each row group is kept in the footer under [`PARTITIONS_KEY`].
//!
//! Version 2 keeps an event id that is a UUID once: in `event_uuid`, and no longer in `event_id` and `json`; what is left
//! in `json` is an empty text, which `event_id_from_end` bytes follow on. In version 1 all rows of a file are sorted, and
//! a run of its list of partitions goes on over row groups.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, Type};

use super::Attribute;
use super::settings::SegmentSettings;

/// The footer key of the version of this layout.
pub(super) const VERSION_KEY: &str = "cairn.history.version";
/// The version of this layout. A reader refuses files of a newer one.
pub(super) const VERSION: u32 = 2;
/// The footer key of the list of partitions, as JSON.
pub(super) const PARTITIONS_KEY: &str = "cairn.history.partitions";

/// How hard the files are compressed: on records level 3 saves 2% of what level 1 makes of them and costs half as much
/// time again.
const ZSTD_LEVEL: i32 = 1;
/// The size of a page of JSON before compression, in bytes: what is unpacked to read one event, in less than a
/// millisecond. Records are much alike: in pages of 128 KiB they take a third more room.
const JSON_PAGE_SIZE_BYTES_MAX: usize = 1024 * 1024;
/// How often a bloom filter may say "perhaps" wrongly.
const BLOOM_FALSE_POSITIVE_RATE: f64 = 0.01;
/// Distinct resource names that a bloom filter allows for, per row.
const RESOURCE_NAMES_PER_ROW: u64 = 4;

/// The columns, in the order of [`SCHEMA`].
pub(super) mod column {
    pub(in super::super) const POSITION: usize = 0;
    pub(in super::super) const ACCOUNT: usize = 1;
    pub(in super::super) const REGION: usize = 2;
    pub(in super::super) const TIME_MS: usize = 3;
    pub(in super::super) const INSIGHT: usize = 4;
    pub(in super::super) const EVENT_ID: usize = 5;
    pub(in super::super) const EVENT_NAME: usize = 6;
    pub(in super::super) const READ_ONLY: usize = 7;
    pub(in super::super) const USERNAME: usize = 8;
    pub(in super::super) const EVENT_SOURCE: usize = 9;
    pub(in super::super) const ACCESS_KEY_ID: usize = 10;
    pub(in super::super) const RESOURCE_TYPES: usize = 11;
    pub(in super::super) const RESOURCE_NAMES: usize = 12;
    pub(in super::super) const JSON: usize = 13;
    pub(in super::super) const EVENT_UUID: usize = 14;
    pub(in super::super) const EVENT_ID_FROM_END: usize = 15;
}

/// The attributes that an event has at most once, in the order in which they are kept.
pub(super) const SCALARS: [Attribute; 6] = [
    Attribute::EventId,
    Attribute::EventName,
    Attribute::ReadOnly,
    Attribute::Username,
    Attribute::EventSource,
    Attribute::AccessKeyId,
];

/// The column that holds `attribute`.
pub(super) fn column_of(attribute: Attribute) -> usize {
    match attribute {
        Attribute::EventId => column::EVENT_ID,
        Attribute::EventName => column::EVENT_NAME,
        Attribute::ReadOnly => column::READ_ONLY,
        Attribute::Username => column::USERNAME,
        Attribute::EventSource => column::EVENT_SOURCE,
        Attribute::AccessKeyId => column::ACCESS_KEY_ID,
        Attribute::ResourceType => column::RESOURCE_TYPES,
        Attribute::ResourceName => column::RESOURCE_NAMES,
    }
}

/// The schema. The two resource lists run in step: the first type belongs to the first name; where one of a pair is
/// not known it is the empty text.
pub(super) static SCHEMA: LazyLock<Arc<Type>> = LazyLock::new(|| {
    let text = "message cairn_history {
        required int64 position;
        required binary account (STRING);
        required binary region (STRING);
        required int64 time_ms (TIMESTAMP(MILLIS,true));
        required boolean insight;
        optional binary event_id (STRING);
        optional binary event_name (STRING);
        optional binary read_only (STRING);
        optional binary username (STRING);
        optional binary event_source (STRING);
        optional binary access_key_id (STRING);
        required group resource_types (LIST) { repeated group list { required binary element (STRING); } }
        required group resource_names (LIST) { repeated group list { required binary element (STRING); } }
        required binary json (STRING);
        optional fixed_len_byte_array(16) event_uuid (UUID);
        optional int32 event_id_from_end;
    }";
    Arc::new(parse_message_type(text).expect("the schema's text is fixed"))
});

/// How files of the schema are written.
pub(super) fn writer_properties(settings: &SegmentSettings) -> WriterPropertiesPtr {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("the level is one of zstd's");
    let rows = settings.row_group_rows_max as u64;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_bloom_filter_for_dictionary_encoded_chunks(true)
        .set_offset_index_disabled(true)
        .set_created_by("cairn".to_owned())
        .set_sorting_columns(Some(sorting()));
    for name in ["position", "account", "region", "time_ms", "event_name", "event_source"] {
        properties = properties.set_column_statistics_enabled(path(name), EnabledStatistics::Chunk);
    }
    for name in ["position", "time_ms", "event_id", "event_uuid", "json"] {
        properties = properties.set_column_dictionary_enabled(path(name), false);
    }
    for name in ["position", "time_ms"] {
        properties = properties.set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    // What is random, and what its encoding leaves next to nothing of.
    for name in ["event_uuid", "position", "account", "region", "time_ms", "insight", "read_only"] {
        properties = properties.set_column_compression(path(name), Compression::UNCOMPRESSED);
    }
    let filters = [
        ("event_id", rows),
        ("event_uuid", rows),
        ("event_name", rows),
        ("username", rows),
        ("event_source", rows),
        ("access_key_id", rows),
        ("resource_types.list.element", rows),
        ("resource_names.list.element", rows * RESOURCE_NAMES_PER_ROW),
    ];
    for (name, distinct_max) in filters {
        properties = properties
            .set_column_bloom_filter_fpp(path(name), BLOOM_FALSE_POSITIVE_RATE)
            .set_column_bloom_filter_max_ndv(path(name), distinct_max);
    }
    Arc::new(properties.set_column_data_page_size_limit(path("json"), JSON_PAGE_SIZE_BYTES_MAX).build())
}

fn path(name: &str) -> ColumnPath {
    ColumnPath::new(name.split('.').map(str::to_owned).collect())
}

fn sorting() -> Vec<SortingColumn> {
    [column::ACCOUNT, column::REGION, column::INSIGHT, column::TIME_MS, column::POSITION]
        .into_iter()
        .map(|at| SortingColumn { column_idx: at as i32, descending: false, nulls_first: false })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::schema::types::SchemaDescriptor;

    #[test]
    fn every_attribute_has_the_column_of_its_name() {
        let schema = SchemaDescriptor::new(Arc::clone(&SCHEMA));
        let name = |attribute| schema.column(column_of(attribute)).path().string();
        assert_eq!(name(Attribute::EventId), "event_id");
        assert_eq!(name(Attribute::EventName), "event_name");
        assert_eq!(name(Attribute::ReadOnly), "read_only");
        assert_eq!(name(Attribute::Username), "username");
        assert_eq!(name(Attribute::EventSource), "event_source");
        assert_eq!(name(Attribute::AccessKeyId), "access_key_id");
        assert_eq!(name(Attribute::ResourceType), "resource_types.list.element");
        assert_eq!(name(Attribute::ResourceName), "resource_names.list.element");
        assert_eq!(schema.column(column::JSON).path().string(), "json");
        assert_eq!(schema.column(column::EVENT_UUID).path().string(), "event_uuid");
        assert_eq!(schema.column(column::EVENT_ID_FROM_END).path().string(), "event_id_from_end");
        assert_eq!(schema.num_columns(), 16);
    }
}
