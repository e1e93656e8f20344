//! Ingest: takes records from producers that have them already, each once, and makes them durable.
//!
//! On the road: beside [`crate::record`], in front of the event log. A body is split into records ([`split`]), each is
//! checked ([`check`]), and those that were not seen before ([`window`]) are appended in batches; history and trails
//! read them from the log like every other event. Invariants: a record's bytes are kept as they came; what is answered
//! as accepted or duplicate is durable; every record is accepted, a duplicate, or refused with a reason.

pub mod check;
pub mod split;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cairn_core::{AccountId, Clock, Record};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use check::{EventKey, Refusal, check};
use split::{Found, Malformed, Splitter};
pub use window::WINDOW_ENTRIES;
use window::{Claim, Window, Written};

/// Payload after which a batch of records is written, in bytes.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Batches of one call that are being written at a time; the call waits before it reads on.
pub const BATCHES_IN_FLIGHT_MAX: usize = 4;
/// Bytes of a body that are split before batches are written.
const PIECE_BYTES_MAX: usize = 256 * 1024;
/// Refused records that a report names; more are only counted.
pub const REFUSED_NAMED_MAX: usize = 100;
/// Entries and bytes read from the log at once to fill the window.
const READ_ENTRIES_MAX: usize = 4096;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why records could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The log failed.
    #[error("records could not be written to the event log")]
    Log(#[from] LogError),
    /// Another call was writing the same record, and failed.
    #[error("another call that brought the same record could not write it")]
    OtherFailed,
    /// A writing task broke.
    #[error("the writing of records broke off")]
    Broken(#[from] JoinError),
}

/// A record that was checked.
#[derive(Clone, Debug)]
pub struct Checked {
    key: EventKey,
    json: Bytes,
}

impl Checked {
    /// Checks a record for `account`.
    ///
    /// # Errors
    /// Where it cannot be taken.
    pub fn new(json: Bytes, account: &AccountId) -> Result<Self, Refusal> {
        let key = check(&json, account)?;
        Ok(Self { key, json })
    }
}

/// A refused record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place among the records of the body, from 0.
    pub index: u64,
    /// Why.
    pub refusal: Refusal,
}

/// What became of the records of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records made durable.
    pub accepted: u64,
    /// Records that were durable already.
    pub duplicates: u64,
    /// The first refused records, at most [`REFUSED_NAMED_MAX`].
    pub refused: Vec<Refused>,
    /// Further refused records.
    pub refused_omitted: u64,
}

impl Report {
    /// How many records were refused.
    #[must_use]
    pub fn refused_count(&self) -> u64 {
        self.refused.len() as u64 + self.refused_omitted
    }
}

/// The door for records.
pub struct Ingest {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    window: Arc<Window>,
    records: IntCounterVec,
    remembered: IntGauge,
}

/// Records on their way into the log: for each, in order, whether it was new.
type Flight = JoinHandle<Result<Vec<bool>, IngestError>>;

impl Ingest {
    /// The door to `log`, which remembers the records that the log's tail has.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub async fn open(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        Self::with_window(log, clock, WINDOW_ENTRIES).await
    }

    /// The same with a window of so many entries of the log.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub async fn with_window(
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        entries: u64,
    ) -> Result<Self, LogError> {
        let window = Window::new(entries);
        fill(&window, log.as_ref()).await?;
        let records = IntCounterVec::new(
            Opts::new("cairn_ingest_records_total", "records brought by producers, by what became of them"),
            &["outcome"],
        )
        .expect("the name is a constant in good form");
        let remembered =
            IntGauge::new("cairn_ingest_remembered_ids", "ids of ingested records that are remembered")
                .expect("the name is a constant in good form");
        remembered.set(i64::try_from(window.len()).unwrap_or(i64::MAX));
        Ok(Self { log, clock, window: Arc::new(window), records, remembered })
    }

    /// Shows the metrics on `registry`.
    ///
    /// # Errors
    /// Where metrics of these names are there already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.records.clone()))?;
        registry.register(Box::new(self.remembered.clone()))
    }

    /// From which position on the log is needed to know after a restart what was ingested.
    #[must_use]
    pub fn needed_from(&self) -> LogPosition {
        let end = self.log.end();
        let oldest = self.window.oldest(end);
        self.remembered.set(i64::try_from(self.window.len()).unwrap_or(i64::MAX));
        oldest.unwrap_or(end)
    }

    /// Makes checked records durable: for each, in order, whether it was new.
    ///
    /// # Errors
    /// Where they could not be written; then some of them may still be.
    pub async fn put(&self, records: Vec<Checked>) -> Result<Vec<bool>, IngestError> {
        let outcomes = self.launch(records).await??;
        let new = outcomes.iter().filter(|new| **new).count() as u64;
        self.count(new, outcomes.len() as u64 - new, 0);
        Ok(outcomes)
    }

    /// Takes the body of a call of `account`.
    #[must_use]
    pub fn intake(self: &Arc<Self>, account: AccountId) -> Intake {
        Intake {
            splitter: Splitter::default(),
            taken: Taken {
                account,
                keys: Vec::new(),
                bytes: Vec::new(),
                index: 0,
                refused: Vec::new(),
                omitted: 0,
            },
            flights: VecDeque::new(),
            accepted: 0,
            duplicates: 0,
            ingest: Arc::clone(self),
        }
    }

    /// Writes records in a task of its own: it goes on to its end, and tells those who wait for its ids, even where
    /// the call that brought them is given up.
    fn launch(&self, records: Vec<Checked>) -> Flight {
        let written = watch::Sender::new(Written::Pending);
        let keys = records.iter().map(|record| record.key);
        let claims = self.window.claim(keys, &written.subscribe());
        let now = self.clock.now();
        let mut new_keys = Vec::with_capacity(records.len());
        let mut entries = Vec::with_capacity(records.len());
        let mut others = Vec::new();
        let mut outcomes = Vec::with_capacity(records.len());
        for (record, claim) in records.into_iter().zip(claims) {
            outcomes.push(matches!(claim, Claim::New));
            match claim {
                Claim::New => {
                    new_keys.push(record.key);
                    entries.push(Entry { kind: EntryKind::Ingested, recorded_at: now, payload: record.json });
                }
                Claim::Duplicate => {}
                Claim::Pending(other) => others.push(other),
            }
        }
        let (log, window) = (Arc::clone(&self.log), Arc::clone(&self.window));
        tokio::spawn(async move {
            if !entries.is_empty() {
                write(log.as_ref(), &window, new_keys, entries, &written).await?;
            }
            for mut other in others {
                let became = other.wait_for(|became| *became != Written::Pending).await;
                if became.map_or(Written::Failed, |became| *became) != Written::Durable {
                    return Err(IngestError::OtherFailed);
                }
            }
            Ok(outcomes)
        })
    }

    fn count(&self, accepted: u64, duplicates: u64, refused: u64) {
        for (outcome, number) in [("accepted", accepted), ("duplicate", duplicates), ("refused", refused)] {
            self.records.with_label_values(&[outcome]).inc_by(number);
        }
    }
}

/// Appends `entries`, whose ids are claimed, and says what became of them.
async fn write(
    log: &dyn EventLog,
    window: &Window,
    keys: Vec<EventKey>,
    entries: Vec<Entry>,
    written: &watch::Sender<Written>,
) -> Result<(), LogError> {
    match log.append(entries).await {
        Ok(first) => {
            window.remember(keys, first);
            written.send_replace(Written::Durable);
            Ok(())
        }
        Err(error) => {
            window.release(&keys);
            written.send_replace(Written::Failed);
            Err(error)
        }
    }
}

/// Fills the window from the tail of the log.
async fn fill(window: &Window, log: &dyn EventLog) -> Result<(), LogError> {
    let end = log.end();
    let mut position = window.start(end).max(log.start());
    while position < end {
        let entries = log.read(position, READ_ENTRIES_MAX, READ_BYTES_MAX).await?;
        let Some((last, _)) = entries.last() else { break };
        position = LogPosition(last.0 + 1);
        // Runs of ingested records, as they were written.
        let mut run: Vec<EventKey> = Vec::new();
        for (at, entry) in &entries {
            match (entry.kind == EntryKind::Ingested).then(|| key_of(&entry.payload)) {
                Some(Some(key)) => run.push(key),
                other => {
                    if other.is_some() {
                        tracing::error!(
                            position = at.0,
                            "an ingested record cannot be read and will not be known again"
                        );
                    }
                    window.remember_run(&mut run, *at);
                }
            }
        }
        window.remember_run(&mut run, position);
    }
    Ok(())
}

fn key_of(json: &Bytes) -> Option<EventKey> {
    let record = Record::trusted(json.clone());
    let facts = record.facts().ok()?;
    EventKey::new(&facts.account()?, &facts.event_id)
}

/// The records of one body, as they come.
///
/// Batches of one body may get into the log in another order than they came in.
pub struct Intake {
    ingest: Arc<Ingest>,
    splitter: Splitter,
    taken: Taken,
    flights: VecDeque<Flight>,
    accepted: u64,
    duplicates: u64,
}

/// What was found of a body and is not being written yet.
struct Taken {
    account: AccountId,
    /// The keys of the batch's records, and where each ends in its bytes.
    keys: Vec<(EventKey, usize)>,
    /// The records, one after the other. Not slices of the body: those would keep all of it in memory for as long as the
    /// log's newest entries are.
    bytes: Vec<u8>,
    index: u64,
    refused: Vec<Refused>,
    omitted: u64,
}

impl Taken {
    fn take(&mut self, found: Found<'_>) {
        let checked = match found {
            Found::Record { json } => check(json, &self.account).map(|key| (key, json)),
            Found::TooLarge { size_bytes } => Err(Refusal::too_large(size_bytes)),
        };
        match checked {
            Ok((key, json)) => {
                self.bytes.extend_from_slice(json);
                self.keys.push((key, self.bytes.len()));
            }
            Err(refusal) if self.refused.len() < REFUSED_NAMED_MAX => {
                self.refused.push(Refused { index: self.index, refusal });
            }
            Err(_) => self.omitted += 1,
        }
        self.index += 1;
    }

    /// The batch so far; another begins, with room for as much where more is to come.
    fn batch(&mut self, goes_on: bool) -> Vec<Checked> {
        let room = if goes_on { self.bytes.len() } else { 0 };
        let mut bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        let bytes = Bytes::from(bytes);
        let mut start = 0;
        let checked = self.keys.drain(..).map(|(key, end)| {
            let json = bytes.slice(start..end);
            start = end;
            Checked { key, json }
        });
        checked.collect()
    }
}

/// Why a body is not read on.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It is not what it should be. What was found before stays.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Records could not be written.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl Intake {
    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// Where the body is malformed or records cannot be written: then only [`Intake::close`] may follow.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), IntakeError> {
        for part in piece.chunks(PIECE_BYTES_MAX) {
            let taken = &mut self.taken;
            self.splitter.push(part, &mut |found| taken.take(found))?;
            if self.taken.bytes.len() >= BATCH_BYTES_MAX {
                self.send(true);
            }
            while self.flights.len() >= BATCHES_IN_FLIGHT_MAX {
                self.land().await?;
            }
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// Where it ended too early: then only [`Intake::close`] may follow.
    pub fn end(&mut self) -> Result<(), Malformed> {
        let taken = &mut self.taken;
        std::mem::take(&mut self.splitter).finish(&mut |found| taken.take(found))
    }

    /// Writes what was found and waits until all of it is durable.
    ///
    /// # Errors
    /// Where records could not be written.
    pub async fn close(mut self) -> Result<Report, IngestError> {
        self.send(false);
        while !self.flights.is_empty() {
            self.land().await?;
        }
        let report = Report {
            accepted: self.accepted,
            duplicates: self.duplicates,
            refused: self.taken.refused,
            refused_omitted: self.taken.omitted,
        };
        self.ingest.count(0, 0, report.refused_count());
        Ok(report)
    }

    /// Sends the batch on its way.
    fn send(&mut self, goes_on: bool) {
        let batch = self.taken.batch(goes_on);
        if !batch.is_empty() {
            self.flights.push_back(self.ingest.launch(batch));
        }
    }

    /// Waits for the oldest batch under way.
    async fn land(&mut self) -> Result<(), IngestError> {
        let Some(flight) = self.flights.pop_front() else { return Ok(()) };
        let outcomes = flight.await??;
        let new = outcomes.iter().filter(|new| **new).count() as u64;
        let known = outcomes.len() as u64 - new;
        self.accepted += new;
        self.duplicates += known;
        self.ingest.count(new, known, 0);
        Ok(())
    }
}
