//! Intents: why a mutating call that a crash cuts short leaves an event all the same.
//!
//! On the road: in strict mode the record stage makes an intent durable before a mutating call runs. It holds the event
//! as it will be if nothing more is heard of the call. The call's own event, with the same eventID, settles it. At the
//! next start, before calls are taken, every intent that nothing settled becomes that event. Invariants: an eventID has
//! one event in the log, whenever the program stops; the log is not trimmed past an intent that is not settled.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use cairn_core::record::build::CallEvent;
use cairn_core::{Clock, Record};
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog, LogPosition, Table};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::undecodable::{self, Undecodable};
use crate::{Recorder, StageError};

/// The version of intents that this program writes, and the newest it reads.
const INTENT_VERSION: u32 = 1;
/// Why an event's outcome is unknown.
const REASON: &str = "the server stopped before the outcome of the call was recorded";
/// Entries read from the log at once.
const READ_ENTRIES_MAX: usize = 4096;
/// Payload read from the log at once, in bytes, unless a single entry is larger.
const READ_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where the search for unsettled intents begins, under the empty key.
const CURSOR: Table<LogPosition> = Table::new("trail.intent_cursor", 1);

/// An intent as the log keeps it.
#[derive(Serialize, Deserialize)]
struct Intent<'a> {
    v: u32,
    #[serde(rename = "eventID", borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// Why an intent's payload cannot be used.
#[derive(Debug, thiserror::Error)]
enum IntentError {
    #[error("the intent is not what was written")]
    Json(#[from] serde_json::Error),
    #[error("the intent has version {0}, newer than {INTENT_VERSION}")]
    Version(u32),
}

/// The payload of the intent of a call of which `event` is known by now.
pub(crate) fn encode(event: CallEvent) -> Bytes {
    let event_id = event.event_id.to_string();
    let record = event.with_unknown_outcome(REASON).into_record();
    let record = serde_json::from_slice(record.json()).expect("a record is JSON");
    let intent = Intent { v: INTENT_VERSION, event_id: event_id.into(), record };
    Bytes::from(serde_json::to_vec(&intent).expect("an intent has text keys only"))
}

/// The eventID and the record of an intent.
fn decode(payload: &[u8]) -> Result<(String, Record), IntentError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let Version { v } = serde_json::from_slice(payload)?;
    if v > INTENT_VERSION {
        return Err(IntentError::Version(v));
    }
    let intent: Intent<'_> = serde_json::from_slice(payload)?;
    let record = Record::trusted(Bytes::copy_from_slice(intent.record.get().as_bytes()));
    Ok((intent.event_id.into_owned(), record))
}

/// What a search found: the events of intents that nothing settled, in the order of the intents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// The events that are missing.
    pub events: Vec<Record>,
    /// Intents that could not be read, and were set aside.
    pub undecodable: u64,
}

/// Looks for intents that nothing settled. Calls must not be taken meanwhile.
///
/// # Errors
/// Where the log or the catalog fails.
pub async fn unsettled(log: &dyn EventLog, catalog: &Catalog) -> Result<Unsettled, StageError> {
    let mark = catalog.read(|tx| CURSOR.get(tx, b"")).await?.unwrap_or_default();
    let (start, end) = (log.start(), log.end());
    if mark < start || mark > end {
        // No mark yet, or a log that was replaced: what there is of it is searched.
        tracing::debug!(?mark, ?start, ?end, "the mark of the intents lies outside of the log");
    }
    let mut position = if mark < start || mark > end { start } else { mark };
    let mut open: HashMap<String, (LogPosition, Record)> = HashMap::new();
    let mut undecodable = 0;
    while position < end {
        let entries = log.read(position, READ_ENTRIES_MAX, READ_SIZE_BYTES_MAX).await?;
        let Some((last, _)) = entries.last() else { break };
        position = LogPosition(last.0 + 1);
        for (position, entry) in entries {
            match entry.kind {
                // What a producer sent cannot settle a call of this server's, whatever eventID it has.
                EntryKind::Ingested | EntryKind::Journal => {}
                EntryKind::Event if open.is_empty() => {}
                EntryKind::Event => drop(event_id(&entry.payload).and_then(|id| open.remove(&*id))),
                EntryKind::Intent => match decode(&entry.payload) {
                    Ok((id, record)) => drop(open.insert(id, (position, record))),
                    Err(error) => {
                        undecodable += 1;
                        set_intent_aside(catalog, position, &entry, &error).await?;
                    }
                },
            }
        }
    }
    let mut events: Vec<_> = open.into_values().collect();
    events.sort_unstable_by_key(|(position, _)| *position);
    Ok(Unsettled { events: events.into_iter().map(|(_, record)| record).collect(), undecodable })
}

/// Appends the events that are missing, in one batch. Should that be cut short, the next search finds what is left.
///
/// # Errors
/// Where the log fails.
pub async fn settle(log: &dyn EventLog, clock: &dyn Clock, unsettled: Unsettled) -> Result<u64, StageError> {
    let recorded_at = clock.now();
    let entry =
        |record: Record| Entry { kind: EntryKind::Event, recorded_at, payload: record.json().clone() };
    let entries: Vec<_> = unsettled.events.into_iter().map(entry).collect();
    let count = entries.len() as u64;
    if count > 0 {
        log.append(entries).await?;
        tracing::warn!(
            count,
            "calls were cut short when the server stopped; their outcome is recorded as unknown"
        );
    }
    Ok(count)
}

/// Keeps the mark that a search begins at.
pub struct IntentMark {
    recorder: Recorder,
    catalog: Catalog,
    kept: Mutex<Option<LogPosition>>,
}

impl IntentMark {
    /// The mark of `recorder`'s intents, kept in `catalog`.
    pub fn new(recorder: Recorder, catalog: Catalog) -> Self {
        Self { recorder, catalog, kept: Mutex::default() }
    }

    /// Appends what is late, moves the mark forward, durably, and says where it is: the log may be trimmed up to there.
    ///
    /// # Errors
    /// Where the log or the catalog fails; the mark then stays.
    pub async fn advance(&self) -> Result<LogPosition, StageError> {
        self.recorder.record_late().await?;
        let mark = self.recorder.needed_from();
        if *self.kept() != Some(mark) {
            self.catalog.write(move |tx| CURSOR.put(tx, b"", &mark)).await?;
            *self.kept() = Some(mark);
        }
        Ok(mark)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<LogPosition>> {
        self.kept.lock().expect("no panic while the mark is held")
    }
}

/// The eventID of an event; none where it cannot be read, which the consumers report.
fn event_id(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "eventID", borrow)]
        event_id: Cow<'a, str>,
    }
    serde_json::from_slice::<Event<'_>>(json).ok().map(|event| event.event_id)
}

async fn set_intent_aside(
    catalog: &Catalog,
    position: LogPosition,
    entry: &Entry,
    error: &IntentError,
) -> Result<(), CatalogError> {
    tracing::error!(
        position = position.0,
        error = error as &dyn std::error::Error,
        "an intent cannot be read"
    );
    let set_aside = Undecodable::new(entry, error);
    catalog.write(move |tx| undecodable::set_aside(tx, position, &set_aside)).await
}
