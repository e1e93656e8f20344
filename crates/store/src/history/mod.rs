//! The event history: management and Insights events of the last 90 days, searchable by attribute, newest first.
//!
//! On the road: a stage reads the event log forward and ingests; `LookupEvents` reads back. [`SegmentHistory`] is the
//! embedded implementation: a tail in memory and Parquet files that other programs can read too.

mod event_uuid;
mod lookup;
mod merge;
mod metrics;
mod order;
mod registry;
mod rows;
mod schema;
mod segment;
mod segment_file;
mod segment_writer;
mod segments;
pub mod settings;
mod store;
mod tail;

pub use segments::{HistorySize, SegmentHistory};
pub use settings::SegmentSettings;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::log::LogPosition;

/// One event with the attributes that it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEvent {
    /// Where it stands in the event log.
    pub position: LogPosition,
    /// The account that sees it.
    pub account: AccountId,
    /// The region that sees it.
    pub region: Region,
    /// The event's own time.
    pub time: Timestamp,
    /// Whether it is an Insights event, which is searched apart.
    pub insight: bool,
    /// Pairs of attribute and value. Resources are several, each its type and right after it its name.
    pub attributes: Vec<(Attribute, String)>,
    /// The event's JSON.
    pub json: Bytes,
}

impl HistoryEvent {
    /// The first value of `attribute`.
    #[must_use]
    pub fn attribute(&self, attribute: Attribute) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| *found == attribute).map(|(_, value)| value.as_str())
    }

    /// The resources as pairs of type and name. In the list of attributes a type stands right before the name that it
    /// belongs to; a type or a name alone is a resource too. Empty values are no values.
    #[must_use]
    pub fn resources(&self) -> Vec<(Option<&str>, Option<&str>)> {
        let mut resources = Vec::new();
        let mut kind = None;
        for (attribute, value) in self.attributes.iter().filter(|(_, value)| !value.is_empty()) {
            match attribute {
                Attribute::ResourceType => {
                    if let Some(alone) = kind.replace(value.as_str()) {
                        resources.push((Some(alone), None));
                    }
                }
                Attribute::ResourceName => resources.push((kind.take(), Some(value.as_str()))),
                _ => {}
            }
        }
        resources.extend(kind.map(|alone| (Some(alone), None)));
        resources
    }
}

/// What events can be found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of LookupAttributeKey")]
pub enum Attribute {
    EventId,
    EventName,
    ReadOnly,
    Username,
    ResourceType,
    ResourceName,
    EventSource,
    AccessKeyId,
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Whose events.
    pub account: AccountId,
    /// Of which region.
    pub region: Region,
    /// Insights events instead of management events.
    pub insight: bool,
    /// Only events with this attribute; exact match.
    pub attribute: Option<(Attribute, String)>,
    /// Only events at or after this time.
    pub start: Option<Timestamp>,
    /// Only events at or before this time.
    pub end: Option<Timestamp>,
    /// At most this many events.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Mark>,
}

/// Where a page ended. Pages are stable under concurrent writes: events with a position at or past `horizon`,
/// fixed by the first page, never show in later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The first position that was not yet there when the first page was made.
    pub horizon: LogPosition,
    /// The time of the last event shown.
    pub time: Timestamp,
    /// The position of the last event shown.
    pub position: LogPosition,
}

/// A page of a search: newest first by (time, position).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupPage {
    /// The events.
    pub events: Vec<HistoryEvent>,
    /// Where to go on, where there is more.
    pub next: Option<Mark>,
}

/// Why the history could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the event history could not {action}")]
pub struct HistoryError {
    /// What was tried.
    pub action: &'static str,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A searchable store of events that was filled from the log.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// The position up to which events are kept durably: where ingestion goes on after a restart.
    async fn durable_position(&self) -> Result<LogPosition, HistoryError>;

    /// Takes events of the log's positions below `up_to`, in order; they can be found at once. An event whose
    /// position was taken before changes nothing.
    async fn ingest(&self, events: Vec<HistoryEvent>, up_to: LogPosition) -> Result<(), HistoryError>;

    /// Does what is due at `now`: writes full or old tails to segments, merges small segments, drops what is older
    /// than the retention.
    async fn maintain(&self, now: Timestamp) -> Result<(), HistoryError>;

    /// Searches.
    async fn lookup(&self, query: Lookup) -> Result<LookupPage, HistoryError>;
}
