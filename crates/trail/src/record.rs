//! The record stage: makes an event durable before its caller sees the reply, and in strict mode an intent before the
//! call is run.
//!
//! Invariant: at any time, every intent in the log that has no event yet lies at or past [`Recorder::needed_from`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cairn_core::record::build::CallEvent;
use cairn_core::{Clock, Record};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};

use crate::intents;

/// Writes events to the log. Clones share what they know of open intents.
#[derive(Clone)]
pub struct Recorder {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    open: Arc<Mutex<Open>>,
}

/// The intents that have no event yet.
#[derive(Default)]
struct Open {
    next: u64,
    /// Each one's number, and where the log ended before it was appended.
    from: BTreeMap<u64, LogPosition>,
    /// Records that the log could not take after their calls had run.
    late: Vec<(OpenIntent, Vec<Entry>)>,
}

/// An intent that is durable and waits for its event.
#[derive(Debug)]
#[must_use = "its event settles it"]
pub struct OpenIntent(u64);

impl Recorder {
    /// A recorder onto `log`.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, open: Arc::default() }
    }

    /// Appends the intent of a call that is about to run; durable on return. `event` is what is known by now.
    ///
    /// # Errors
    /// The log's own failure. The call must then not run.
    pub async fn intend(&self, event: CallEvent) -> Result<OpenIntent, LogError> {
        let payload = intents::encode(event);
        // Noted before it is appended: the mark must not pass an intent between its write and its note.
        let intent = self.note();
        match self.append(EntryKind::Intent, payload).await {
            Ok(_) => Ok(intent),
            Err(error) => {
                self.settle(intent);
                Err(error)
            }
        }
    }

    /// Appends the record of one call, which settles its intent where there is one; durable on return. A call that
    /// concerns two accounts has a `twin` for the other one: both are appended at once or neither is.
    ///
    /// # Errors
    /// The log's own failure. The caller must then not see a success. The record of a call with an intent is kept for
    /// [`Recorder::record_late`].
    pub async fn record(
        &self,
        event: CallEvent,
        twin: Option<CallEvent>,
        intent: Option<OpenIntent>,
    ) -> Result<(LogPosition, Record), LogError> {
        let record = event.into_record();
        let twin = twin.map(|twin| twin.into_record().json().clone());
        let entries: Vec<Entry> = [record.json().clone()]
            .into_iter()
            .chain(twin)
            .map(|payload| self.entry(EntryKind::Event, payload))
            .collect();
        let appended = self.log.append(entries.clone()).await;
        match (appended, intent) {
            (Ok(position), intent) => {
                intent.into_iter().for_each(|intent| self.settle(intent));
                Ok((position, record))
            }
            (Err(error), intent) => {
                self.open().late.extend(intent.map(|intent| (intent, entries)));
                Err(error)
            }
        }
    }

    /// Appends the records that the log could not take when their calls ended.
    ///
    /// # Errors
    /// The log's own failure; they are then tried again by the next call.
    pub async fn record_late(&self) -> Result<(), LogError> {
        loop {
            let Some((intent, entries)) = self.open().late.pop() else { return Ok(()) };
            if let Err(error) = self.log.append(entries.clone()).await {
                self.open().late.push((intent, entries));
                return Err(error);
            }
            self.settle(intent);
        }
    }

    /// The position that every intent without an event lies at or past.
    #[must_use]
    pub fn needed_from(&self) -> LogPosition {
        let open = self.open();
        // Read while the notes are held: an intent that is noted later is appended later, past this end.
        let end = self.log.end();
        open.from.values().copied().min().map_or(end, |first| first.min(end))
    }

    fn note(&self) -> OpenIntent {
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.from.insert(number, self.log.end());
        OpenIntent(number)
    }

    fn settle(&self, intent: OpenIntent) {
        self.open().from.remove(&intent.0);
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().expect("no panic while the open intents are held")
    }

    fn entry(&self, kind: EntryKind, payload: bytes::Bytes) -> Entry {
        Entry { kind, recorded_at: self.clock.now(), payload }
    }

    async fn append(&self, kind: EntryKind, payload: bytes::Bytes) -> Result<LogPosition, LogError> {
        self.log.append(vec![self.entry(kind, payload)]).await
    }
}
