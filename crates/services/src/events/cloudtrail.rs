//! The stage that puts what CloudTrail recorded on default buses: "AWS API Call via CloudTrail" and its like.
//!
//! On the road: reads the event log forward from a durable cursor; each event comes to the default bus of its account in
//! its region. Management events come without any trail; data events where a logging trail takes them. Otherwise than
//! with AWS, which wants a trail for both: here the event log itself is what trails would be made of.
//!
//! Invariants: the cursor moves past an event when what it makes owed is durable; an event that is read again after a
//! crash makes no second message while the queues remember the first; the detail is the record's own bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::record::{Category, Facts, RECORD_SIZE_BYTES_MAX};
use cairn_core::{AccountId, Record, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Entry, EntryKind, EventLog, LogError, LogPosition, Table};
use cairn_trail::Trail;
use cairn_trail::config::{TRAILS, account_prefix};
use cairn_trail::delivery::takes;
use cairn_wire::AwsError;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::Events;
use super::event::{Arrival, Envelope, VERSION};
use super::names::{BusArn, Place};

/// Up to where the log was read.
const CURSOR: Table<LogPosition> = Table::new("events.log_cursor", 1);
/// Entries read from the log at once.
const READ_ENTRIES_MAX: usize = 1_024;
/// Payload read from the log at once, in bytes, unless a single entry is larger.
const READ_SIZE_BYTES_MAX: usize = 4 << 20;
/// How often the cursor is written where there is something new. What is read again after a crash is owed once.
const CURSOR_INTERVAL: Duration = Duration::from_secs(1);
/// The longest between two runs.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a run of the stage failed. The next one goes on from the same place.
#[derive(Debug, thiserror::Error)]
pub enum CloudTrailError {
    /// The log could not be read.
    #[error("event buses could not read the event log")]
    Log(#[from] LogError),
    /// The catalog failed.
    #[error("event buses could not use the catalog")]
    Catalog(#[from] CatalogError),
    /// What is owed could not be written down.
    #[error("events could not be put on event buses")]
    Owe(#[source] AwsError),
}

/// The stage.
pub struct CloudTrailEvents {
    events: Arc<Events>,
    log: Arc<dyn EventLog>,
    cursor: Mutex<Option<Cursor>>,
}

#[derive(Clone, Copy)]
struct Cursor {
    position: LogPosition,
    written: LogPosition,
    written_at: Timestamp,
}

fn cursor_key() -> Key {
    Key::new().text("cloudtrail")
}

/// The trails of accounts, read when they are asked for.
type TrailsOfRun = HashMap<AccountId, Vec<Trail>>;

impl CloudTrailEvents {
    /// The stage from `log` to the buses of `events`. It is the only one.
    #[must_use]
    pub fn new(events: Arc<Events>, log: Arc<dyn EventLog>) -> Self {
        Self { events, log, cursor: Mutex::new(None) }
    }

    /// Reads the log up to its end; says when it is to be run again, if the log does not grow.
    ///
    /// # Errors
    /// Where the log, the catalog or the queues fail.
    pub async fn run_once(&self) -> Result<Timestamp, CloudTrailError> {
        let mut held = self.cursor.lock().await;
        let mut cursor = match *held {
            Some(cursor) => cursor,
            None => *held.insert(self.first_cursor().await?),
        };
        cursor.position = cursor.position.max(self.log.start());
        let end = self.log.end();
        while cursor.position < end {
            let entries = self.log.read(cursor.position, READ_ENTRIES_MAX, READ_SIZE_BYTES_MAX).await?;
            let Some((last, _)) = entries.last() else { break };
            let next = LogPosition(last.0 + 1);
            let arrivals = self.arrivals(&entries).await?;
            let owed = self.events.accept(arrivals).await;
            owed.map_err(|failure| CloudTrailError::Owe(failure.into()))?;
            cursor.position = next;
            *held = Some(cursor);
            self.events.metrics.cloudtrail_position.set(i64::try_from(next.0).unwrap_or(i64::MAX));
        }
        let now = self.events.clock.now();
        if cursor.position == cursor.written {
            return Ok(now.plus(PAUSE_MAX));
        }
        let due = cursor.written_at.plus(CURSOR_INTERVAL);
        if now >= cursor.written_at && now < due {
            return Ok(due);
        }
        self.write(cursor.position).await?;
        *held = Some(Cursor { written: cursor.position, written_at: now, ..cursor });
        Ok(now.plus(PAUSE_MAX))
    }

    /// The first position of the log that is still needed.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn needed_from(&self) -> Result<LogPosition, CatalogError> {
        let written = self.events.catalog.read(|tx| CURSOR.get(tx, cursor_key().bytes())).await?;
        Ok(written.unwrap_or_else(|| self.log.start()))
    }

    /// Where the last server stopped; the present end of the log where there was none: rules are for what comes.
    async fn first_cursor(&self) -> Result<Cursor, CatalogError> {
        let found = self.events.catalog.read(|tx| CURSOR.get(tx, cursor_key().bytes())).await?;
        let position = match found {
            Some(position) => position,
            None => {
                let end = self.log.end();
                self.write(end).await?;
                end
            }
        };
        Ok(Cursor { position, written: position, written_at: Timestamp::from_seconds(0) })
    }

    async fn write(&self, position: LogPosition) -> Result<(), CatalogError> {
        self.events.catalog.write(move |tx| CURSOR.put(tx, cursor_key().bytes(), &position)).await
    }

    async fn arrivals(&self, entries: &[(LogPosition, Entry)]) -> Result<Vec<Arrival>, CatalogError> {
        let (mut arrivals, mut trails) = (Vec::new(), TrailsOfRun::new());
        for (position, entry) in entries {
            if !matches!(entry.kind, EntryKind::Event | EntryKind::Ingested) {
                continue;
            }
            let record = Record::trusted(entry.payload.clone());
            let Ok(facts) = record.facts() else {
                tracing::warn!(position = position.0, "an event that cannot be read comes to no event bus");
                continue;
            };
            if let Some(bus) = self.bus_of(&facts, &mut trails).await? {
                arrivals.extend(self.arrival(bus, &facts, &entry.payload));
            }
        }
        Ok(arrivals)
    }

    /// The bus that an event comes to; none where nothing on it could take the event.
    async fn bus_of(
        &self,
        facts: &Facts<'_>,
        trails: &mut TrailsOfRun,
    ) -> Result<Option<BusArn>, CatalogError> {
        let (Some(account), Some(region)) = (facts.account(), facts.region()) else { return Ok(None) };
        let bus = BusArn::default_of(&Place { region, account: account.clone() });
        let view = self.events.views.of(&self.events.catalog, &bus).await?;
        if view.is_none_or(|view| view.is_idle(is_read(facts))) {
            return Ok(None);
        }
        match facts.category() {
            Category::Management => Ok(Some(bus)),
            Category::Data => {
                if !trails.contains_key(&account) {
                    trails.insert(account.clone(), self.trails_of(&account).await?);
                }
                let is_taken = trails[&account].iter().any(|trail| trail.logging && takes(trail, facts));
                Ok(is_taken.then_some(bus))
            }
            Category::NetworkActivity | Category::Insight | Category::Aggregated => Ok(None),
        }
    }

    async fn trails_of(&self, account: &AccountId) -> Result<Vec<Trail>, CatalogError> {
        let prefix = account_prefix(account);
        let found = self.events.catalog.read(move |tx| TRAILS.scan_prefix(tx, prefix.bytes())).await?;
        Ok(found.into_iter().map(|(_, trail)| trail).collect())
    }

    fn arrival(&self, bus: BusArn, facts: &Facts<'_>, record: &[u8]) -> Option<Arrival> {
        let detail: &RawValue = serde_json::from_slice(record).ok()?;
        let service = facts.event_source.split('.').next().unwrap_or_default();
        let envelope = Envelope {
            version: VERSION,
            id: &facts.event_id,
            detail_type: detail_type(facts.event_type.as_deref()),
            source: &format!("aws.{service}"),
            account: bus.account.as_str(),
            time: facts.event_time.clone().into_owned(),
            region: bus.region.as_str(),
            resources: &[],
            detail,
        };
        let text = envelope.text();
        if text.len() > RECORD_SIZE_BYTES_MAX {
            self.events.metrics.too_large.inc();
            return None;
        }
        let (id, is_read) = (facts.event_id.clone().into_owned(), is_read(facts));
        Some(Arrival { is_read, deduplication: Some(id.clone()), ..Arrival::new(bus, id, text) })
    }
}

/// Whether only rules take it that ask for all management events.
fn is_read(facts: &Facts<'_>) -> bool {
    facts.category() == Category::Management && facts.read_only == Some(true)
}

fn detail_type(event_type: Option<&str>) -> &'static str {
    match event_type {
        Some("AwsConsoleSignIn") => "AWS Console Sign In via CloudTrail",
        Some("AwsConsoleAction") => "AWS Console Action via CloudTrail",
        Some("AwsServiceEvent") => "AWS Service Event via CloudTrail",
        _ => "AWS API Call via CloudTrail",
    }
}
