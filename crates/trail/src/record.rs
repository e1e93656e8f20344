//! The record stage: makes an event durable before its caller sees the reply.

use std::sync::Arc;

use cairn_core::record::build::CallEvent;
use cairn_core::{Clock, Record};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};

/// Writes events to the log.
#[derive(Clone)]
pub struct Recorder {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// A recorder onto `log`.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock }
    }

    /// Appends the record of one call; durable on return.
    ///
    /// # Errors
    /// The log's own failure. The caller must then not see a success.
    pub async fn record(&self, event: CallEvent) -> Result<(LogPosition, Record), LogError> {
        let record = event.into_record();
        let entry =
            Entry { kind: EntryKind::Event, recorded_at: self.clock.now(), payload: record.json().clone() };
        let position = self.log.append(vec![entry]).await?;
        Ok((position, record))
    }
}
