//! The history stage: fills the event history from the event log, so that `LookupEvents` works without any trail.
//!
//! On the road: reads the log forward from where the history is durable, and hands over management and Insights
//! events with the attributes they are found by. Data and network activity events are not part of the history. An
//! entry that cannot be read is counted, reported and passed over: it must not keep all later events from being found.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cairn_core::record::resources::lookup_resources;
use cairn_core::record::{Category, Facts, RecordError};
use cairn_core::{Clock, Record};
use cairn_store::history::{Attribute, HistoryError};
use cairn_store::{
    Catalog, CatalogError, Entry, EntryKind, EventLog, History, HistoryEvent, LogError, LogPosition,
};
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::undecodable::{self, Undecodable};

/// Entries read from the log at once.
pub const READ_ENTRIES_MAX: usize = 1_024;
/// Payload read from the log at once, in bytes, unless a single entry is larger.
pub const READ_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a run of the stage stopped before its end. The next run goes on from the same place.
#[derive(Debug, thiserror::Error)]
pub enum HistoryStageError {
    /// The log could not be read.
    #[error("the history stage could not read the event log")]
    Log(#[from] LogError),
    /// What cannot be read could not be set aside.
    #[error("the history stage could not use the catalog")]
    Catalog(#[from] CatalogError),
    /// The history could not take events or be maintained.
    #[error("the history stage could not fill the event history")]
    History(#[from] HistoryError),
}

/// What a run of the stage did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events given to the history.
    pub events: u64,
    /// Entries that could not be read and were passed over.
    pub undecodable: u64,
    /// Up to which position the log was read.
    pub up_to: LogPosition,
}

/// The stage.
pub struct HistoryStage {
    log: Arc<dyn EventLog>,
    history: Arc<dyn History>,
    clock: Arc<dyn Clock>,
    /// Where entries that cannot be read are set aside.
    catalog: Option<Catalog>,
    /// Where the next run goes on; none before the first.
    position: Mutex<Option<LogPosition>>,
    /// What the history has due, done while more is read.
    maintenance: Mutex<Option<JoinHandle<Result<(), HistoryError>>>>,
    metrics: Metrics,
}

impl HistoryStage {
    /// A stage from `log` to `history`.
    pub fn new(log: Arc<dyn EventLog>, history: Arc<dyn History>, clock: Arc<dyn Clock>) -> Self {
        Self {
            log,
            history,
            clock,
            catalog: None,
            position: Mutex::default(),
            maintenance: Mutex::default(),
            metrics: Metrics::new(),
        }
    }

    /// The same stage, which sets aside in `catalog` what it cannot read, to be reported as an event.
    #[must_use]
    pub fn setting_aside(self, catalog: Catalog) -> Self {
        Self { catalog: Some(catalog), ..self }
    }

    /// Shows the stage's metrics on `registry`.
    ///
    /// # Errors
    /// Where metrics of these names are there already.
    pub fn register(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        let Metrics { events, undecodable, lost, position } = &self.metrics;
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(undecodable.clone()))?;
        registry.register(Box::new(lost.clone()))?;
        registry.register(Box::new(position.clone()))
    }

    /// Reads the log up to its present end, and does what the history has due.
    ///
    /// # Errors
    /// Where the log or the history fails. Nothing is lost: the next run begins where this one stopped.
    pub async fn run_once(&self) -> Result<Progress, HistoryStageError> {
        let mut held = self.position.lock().await;
        let mut position = match *held {
            Some(position) => position,
            None => self.history.durable_position().await?,
        };
        position = self.past_what_was_trimmed(position);
        let end = self.log.end();
        let mut progress = Progress { up_to: position, ..Progress::default() };
        while position < end {
            let entries = self.log.read(position, READ_ENTRIES_MAX, READ_SIZE_BYTES_MAX).await?;
            let Some((last, _)) = entries.last() else { break };
            let up_to = LogPosition(last.0 + 1);
            let (events, undecodable) = history_events(&entries);
            let taken = events.len() as u64;
            // Before the history is past them: an entry that is not set aside could be trimmed away unseen.
            let undecodable = self.set_aside(undecodable).await?;
            self.history.ingest(events, up_to).await?;
            self.metrics.note(taken, undecodable, up_to);
            progress.events += taken;
            progress.undecodable += undecodable;
            progress.up_to = up_to;
            position = up_to;
            *held = Some(position);
            self.maintain(false).await?;
        }
        *held = Some(position);
        // Where more came meanwhile, the next run is not kept waiting.
        self.maintain(self.log.end() <= position).await?;
        Ok(progress)
    }

    /// Lets the history do what it has due, one such work at a time; waits for the end of it where asked to.
    async fn maintain(&self, to_the_end: bool) -> Result<(), HistoryError> {
        let mut running = self.maintenance.lock().await;
        if let Some(work) = running.as_mut() {
            if !to_the_end && !work.is_finished() {
                return Ok(());
            }
            let done = work.await;
            *running = None;
            done.map_err(stopped)??;
        }
        let (history, now) = (Arc::clone(&self.history), self.clock.now());
        let work = running.insert(tokio::spawn(async move { history.maintain(now).await }));
        if to_the_end {
            let done = work.await;
            *running = None;
            done.map_err(stopped)??;
        }
        Ok(())
    }

    /// Keeps entries that cannot be read; says how many there are.
    async fn set_aside(&self, entries: Vec<(LogPosition, Undecodable)>) -> Result<u64, CatalogError> {
        let count = entries.len() as u64;
        if let Some(catalog) = self.catalog.as_ref().filter(|_| count > 0) {
            let work = catalog.write(move |tx| {
                entries.iter().try_for_each(|(position, entry)| undecodable::set_aside(tx, *position, entry))
            });
            work.await?;
        }
        Ok(count)
    }

    /// `position`, or the start of the log where that is later: then entries were let go before the history had
    /// them, as where its files were lost. They cannot come back; the history goes on without them.
    fn past_what_was_trimmed(&self, position: LogPosition) -> LogPosition {
        let start = self.log.start();
        if position < start {
            let lost = start.0 - position.0;
            self.metrics.lost.inc_by(lost);
            tracing::error!(
                from = position.0,
                to = start.0,
                lost,
                "the event log no longer has what the history lacks"
            );
        }
        position.max(start)
    }
}

/// The events among `entries` that belong in the history, and the entries that could not be read.
fn history_events(entries: &[(LogPosition, Entry)]) -> (Vec<HistoryEvent>, Vec<(LogPosition, Undecodable)>) {
    let mut events = Vec::with_capacity(entries.len());
    let mut undecodable = Vec::new();
    for (position, entry) in entries {
        match entry.kind {
            EntryKind::Intent | EntryKind::Journal => {}
            EntryKind::Event | EntryKind::Ingested => match history_event(*position, &entry.payload) {
                Ok(event) => events.extend(event),
                Err(error) => {
                    undecodable.push((*position, Undecodable::new(entry, &error)));
                    let reason: &dyn std::error::Error = &error;
                    tracing::error!(
                        position = position.0,
                        reason,
                        "an event cannot be read and is left out of the history"
                    );
                }
            },
        }
    }
    (events, undecodable)
}

/// The event as the history keeps it; none for one that has no place there.
///
/// # Errors
/// Where `json` is not the JSON of an event, or lacks its time, region or account.
pub fn history_event(position: LogPosition, json: &Bytes) -> Result<Option<HistoryEvent>, RecordError> {
    let record = Record::trusted(json.clone());
    let facts = record.facts()?;
    let category = facts.category();
    if !matches!(category, Category::Management | Category::Insight) {
        return Ok(None);
    }
    Ok(Some(HistoryEvent {
        position,
        account: facts.account().ok_or(RecordError::Member { member: "recipientAccountId" })?,
        region: facts.region().ok_or(RecordError::Member { member: "awsRegion" })?,
        time: facts.time().ok_or(RecordError::Member { member: "eventTime" })?,
        insight: category == Category::Insight,
        attributes: attributes(&facts, json)?,
        json: json.clone(),
    }))
}

/// What `LookupEvents` finds the event by.
fn attributes(facts: &Facts<'_>, json: &[u8]) -> Result<Vec<(Attribute, String)>, RecordError> {
    let (name, source) = match facts.category() {
        Category::Insight => insight_call(json)?,
        _ => (facts.event_name.clone(), facts.event_source.clone()),
    };
    let access_key_id = facts.user_identity.as_ref().and_then(|identity| identity.access_key_id.as_deref());
    let single = [
        (Attribute::EventId, Some(facts.event_id.as_ref())),
        (Attribute::EventName, Some(name.as_ref())),
        (Attribute::ReadOnly, facts.read_only.map(|read_only| if read_only { "true" } else { "false" })),
        (Attribute::Username, facts.username()),
        (Attribute::EventSource, Some(source.as_ref())),
        (Attribute::AccessKeyId, access_key_id),
    ];
    let present = single.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let resources = lookup_resources(facts);
    let mut attributes = Vec::with_capacity(single.len() + 2 * resources.len());
    attributes
        .extend(present.filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key, value.to_owned())));
    for resource in resources {
        attributes.extend(resource.kind.map(|kind| (Attribute::ResourceType, kind)));
        attributes.push((Attribute::ResourceName, resource.name));
    }
    Ok(attributes)
}

/// The name and source of the call that an Insights event is about: it has none of its own.
fn insight_call(json: &[u8]) -> Result<(Cow<'static, str>, Cow<'static, str>), RecordError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct InsightEvent {
        #[serde(default)]
        insight_details: InsightDetails,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct InsightDetails {
        #[serde(default)]
        event_name: String,
        #[serde(default)]
        event_source: String,
    }
    let event: InsightEvent =
        serde_json::from_slice(json).map_err(|_| RecordError::Member { member: "insightDetails" })?;
    Ok((event.insight_details.event_name.into(), event.insight_details.event_source.into()))
}

/// The work was not finished: it panicked, or the runtime stops.
fn stopped(error: tokio::task::JoinError) -> HistoryError {
    HistoryError { action: "be maintained", source: error.into() }
}

struct Metrics {
    events: IntCounter,
    undecodable: IntCounter,
    lost: IntCounter,
    position: IntGauge,
}

impl Metrics {
    fn new() -> Self {
        let counter =
            |name, about| IntCounter::new(name, about).expect("the names are constants in good form");
        let position =
            IntGauge::new("cairn_history_position", "The log position up to which the history was filled");
        Self {
            events: counter("cairn_history_events_total", "Events given to the event history"),
            undecodable: counter(
                "cairn_history_undecodable_total",
                "Log entries left out of the history as unreadable",
            ),
            lost: counter("cairn_history_lost_total", "Log entries trimmed before the history had them"),
            position: position.expect("the name is a constant in good form"),
        }
    }

    fn note(&self, events: u64, undecodable: u64, up_to: LogPosition) {
        self.events.inc_by(events);
        self.undecodable.inc_by(undecodable);
        self.position.set(i64::try_from(up_to.0).unwrap_or(i64::MAX));
    }
}
