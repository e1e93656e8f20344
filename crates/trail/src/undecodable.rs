//! Entries of the event log that could not be read: set aside as they are, so that they neither stop a stage nor
//! disappear when the log is trimmed, and reported as an event of their own.
//!
//! On the road: whoever meets such an entry sets it aside; [`UndecodableReports`] appends the event that tells of it,
//! which history and trails read like every other. Invariants: an entry is reported once, whenever the program stops:
//! the eventID is derived from the entry, and after a restart the log is searched for it before anything is appended;
//! the log is kept from the first entry on that is not reported; a report is never reported itself.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::record::build::EVENT_VERSION;
use cairn_core::{AccountId, Clock, EventId, Region};
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog, LogError, LogPosition, Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use crate::StageError;

/// Entries that could not be read, by position; the same for all trails.
const UNDECODABLE: Table<Undecodable> = Table::new("trail.undecodable", 1);
/// The positions of those that no event tells of yet.
const UNREPORTED: Table<()> = Table::new("trail.undecodable_unreported", 1);

/// The source of the reports, and their name.
const EVENT_SOURCE: &str = "cairn.amazonaws.com";
const EVENT_NAME: &str = "UndecodableRecord";
/// Reports made in one run.
const REPORTS_MAX: usize = 100;
/// Entries and bytes read from the log at once to search for reports.
const READ_ENTRIES_MAX: usize = 4096;
const READ_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An entry that is not what its kind says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undecodable {
    /// Why it cannot be read.
    pub(crate) reason: String,
    /// Its bytes in base64.
    pub(crate) payload_base64: String,
}

impl Undecodable {
    /// What is kept of `entry`, which could not be read because of `error`.
    pub(crate) fn new(entry: &Entry, error: &dyn std::error::Error) -> Self {
        Self { reason: error.to_string(), payload_base64: STANDARD.encode(&entry.payload) }
    }

    /// Its bytes; none where what was kept is damaged.
    fn payload(&self) -> Vec<u8> {
        STANDARD.decode(&self.payload_base64).unwrap_or_default()
    }
}

/// Keeps what the entry at `position` was, and that it is to be reported; nothing where it was kept before.
pub(crate) fn set_aside(
    tx: &mut dyn Tx,
    position: LogPosition,
    undecodable: &Undecodable,
) -> Result<(), CatalogError> {
    let key = Key::new().number(position.0);
    if UNDECODABLE.get(tx, key.bytes())?.is_some() {
        return Ok(());
    }
    UNDECODABLE.put(tx, key.bytes(), undecodable)?;
    if is_report(&undecodable.payload()) {
        return Ok(());
    }
    UNREPORTED.put(tx, key.bytes(), &())
}

/// Whether this may be one of the reports, readable or not.
fn is_report(payload: &[u8]) -> bool {
    String::from_utf8_lossy(payload).contains(EVENT_NAME)
}

/// The stage that reports what was set aside.
pub struct UndecodableReports {
    log: Arc<dyn EventLog>,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    account: AccountId,
    region: Region,
    /// The eventIDs of reports that are in the log; none before it was searched.
    reported: Mutex<Option<HashSet<String>>>,
}

impl UndecodableReports {
    /// Reports to `log` what `catalog` keeps, as events of `account` in `region`.
    pub fn new(
        log: Arc<dyn EventLog>,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        account: AccountId,
        region: Region,
    ) -> Self {
        Self { log, catalog, clock, account, region, reported: Mutex::default() }
    }

    /// Reports what was set aside since; says how much that was.
    ///
    /// # Errors
    /// Where the log or the catalog fails. The next run goes on from there.
    pub async fn run_once(&self) -> Result<u64, StageError> {
        let mut reported = self.reported.lock().await;
        let waiting = self.waiting().await?;
        let Some((first, _)) = waiting.first() else { return Ok(0) };
        if reported.is_none() {
            *reported = Some(search(self.log.as_ref(), *first).await?);
        }
        let reported = reported.get_or_insert_default();
        let mut count = 0;
        for (position, undecodable) in waiting {
            let payload = undecodable.payload();
            let event_id = event_id(position, &payload);
            if !reported.contains(event_id.as_str()) {
                let json = self.report(&event_id, position, &undecodable.reason, &payload);
                let entry =
                    Entry { kind: EntryKind::Event, recorded_at: self.clock.now(), payload: json.into() };
                self.log.append(vec![entry]).await?;
                reported.insert(event_id.as_str().to_owned());
                count += 1;
            }
            self.catalog
                .write(move |tx| UNREPORTED.delete(tx, Key::new().number(position.0).bytes()).map(|_| ()))
                .await?;
        }
        Ok(count)
    }

    /// From which position on the log is needed to know what was reported.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn needed_from(&self) -> Result<LogPosition, CatalogError> {
        let end = self.log.end();
        Ok(self.waiting().await?.first().map_or(end, |(position, _)| *position))
    }

    /// What is to be reported, in order.
    async fn waiting(&self) -> Result<Vec<(LogPosition, Undecodable)>, CatalogError> {
        let work = self.catalog.read(|tx| {
            let mut waiting = Vec::new();
            for (key, ()) in UNREPORTED.scan(tx, b"", None, REPORTS_MAX)? {
                let number = key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                if let (Some(number), Some(undecodable)) = (number, UNDECODABLE.get(tx, &key)?) {
                    waiting.push((LogPosition(number), undecodable));
                }
            }
            Ok(waiting)
        });
        work.await
    }

    /// The event that tells of an entry, its members in AWS's order.
    fn report(&self, event_id: &EventId, position: LogPosition, reason: &str, payload: &[u8]) -> Vec<u8> {
        let event = json!({
            "eventVersion": EVENT_VERSION,
            "userIdentity": {"accountId": self.account.as_str(), "invokedBy": EVENT_SOURCE},
            "eventTime": self.clock.now().iso(),
            "eventSource": EVENT_SOURCE,
            "eventName": EVENT_NAME,
            "awsRegion": self.region.as_str(),
            "sourceIPAddress": EVENT_SOURCE,
            "userAgent": EVENT_SOURCE,
            "requestParameters": null,
            "responseElements": null,
            "eventID": event_id.as_str(),
            "readOnly": true,
            "eventType": "AwsServiceEvent",
            "managementEvent": true,
            "recipientAccountId": self.account.as_str(),
            "serviceEventDetails": {
                "logPosition": position.0,
                "sha256": hex::encode(digest::digest(&digest::SHA256, payload)),
                "sizeBytes": payload.len(),
                "reason": reason,
            },
            "eventCategory": "Management",
        });
        serde_json::to_vec(&event).expect("a JSON value serialises")
    }
}

/// The eventID of the report of an entry: the same whenever it is made.
fn event_id(position: LogPosition, payload: &[u8]) -> EventId {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(EVENT_NAME.as_bytes());
    hash.update(&position.0.to_be_bytes());
    hash.update(payload);
    let random = *hash.finish().as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
    EventId::from_random(random)
}

/// The eventIDs of the reports that `log` has after the entry at `from`.
async fn search(log: &dyn EventLog, from: LogPosition) -> Result<HashSet<String>, LogError> {
    let (mut position, end) = (from.max(log.start()), log.end());
    let mut found = HashSet::new();
    while position < end {
        let entries = log.read(position, READ_ENTRIES_MAX, READ_SIZE_BYTES_MAX).await?;
        let Some((last, _)) = entries.last() else { break };
        position = LogPosition(last.0 + 1);
        let events = entries.iter().filter(|(_, entry)| entry.kind == EntryKind::Event);
        found.extend(events.filter_map(|(_, entry)| report_id(&entry.payload)));
    }
    Ok(found)
}

/// The eventID, where this is a report.
fn report_id(json: &Bytes) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event {
        event_source: String,
        event_name: String,
        #[serde(rename = "eventID")]
        event_id: String,
    }
    if !is_report(json) {
        return None;
    }
    let event: Event = serde_json::from_slice(json).ok()?;
    (event.event_source == EVENT_SOURCE && event.event_name == EVENT_NAME).then_some(event.event_id)
}
