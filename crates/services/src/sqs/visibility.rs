//! ChangeMessageVisibility: longer, shorter, or at once visible again.

use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::queues::{Receipt, ReceiptFault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sqs;
use super::batch::{Batch, Entry};
use super::error::{Failure, fail, invalid_value, of_engine};
use super::state::Queue;
use crate::Caller;

const VISIBILITY_S: std::ops::RangeInclusive<i64> = 0..=43_200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeVisibility {
    queue_url: String,
    #[serde(flatten)]
    change: ChangeEntry,
}

/// An entry of ChangeMessageVisibilityBatch.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ChangeEntry {
    id: String,
    receipt_handle: String,
    visibility_timeout: i64,
}

impl Entry for ChangeEntry {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Sqs {
    pub(super) async fn change_visibility(
        &self,
        caller: &Caller,
        input: ChangeVisibility,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        let receipt = self.handles.read(&queue.key(), &input.change.receipt_handle)?;
        let now = self.clock.now();
        let until = until(&input.change, now)?;
        let changed = self.engine.change_visibility(&queue.key(), &[(receipt, until)], now).await;
        for outcome in changed.map_err(of_engine)? {
            check_changed(outcome, &queue, &input.change.receipt_handle)?;
        }
        Ok(json!({}))
    }

    pub(super) async fn change_visibility_batch(
        &self,
        caller: &Caller,
        input: Batch<ChangeEntry>,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        input.check("ChangeMessageVisibilityBatchRequestEntry")?;
        let now = self.clock.now();
        let (mut outcomes, known) = self.known(&queue, input.entries, |entry| &entry.receipt_handle);
        let mut changes: Vec<(ChangeEntry, (Receipt, Timestamp))> = Vec::new();
        for (entry, receipt) in known {
            match until(&entry, now) {
                Ok(until) => changes.push((entry, (receipt, until))),
                Err(failure) => outcomes.add(&entry.id, Err(failure)),
            }
        }
        let asked: Vec<(Receipt, Timestamp)> = changes.iter().map(|(_, change)| *change).collect();
        let changed = self.engine.change_visibility(&queue.key(), &asked, now).await.map_err(of_engine)?;
        for ((entry, _), outcome) in changes.iter().zip(changed) {
            let outcome = check_changed(outcome, &queue, &entry.receipt_handle);
            outcomes.add(&entry.id, outcome.map(|()| json!({})));
        }
        Ok(outcomes.reply())
    }
}

fn until(change: &ChangeEntry, now: Timestamp) -> Result<Timestamp, Failure> {
    let timeout = change.visibility_timeout;
    if !VISIBILITY_S.contains(&timeout) {
        let reason = "VisibilityTimeout must be an integer between 0 and 43200.";
        return Err(invalid_value(&timeout.to_string(), "VisibilityTimeout", reason));
    }
    Ok(now.plus(Duration::from_secs(timeout.unsigned_abs())))
}

fn check_changed(outcome: Result<(), ReceiptFault>, queue: &Queue, handle: &str) -> Result<(), Failure> {
    match outcome {
        Ok(()) => Ok(()),
        Err(ReceiptFault::Gone) => Err(invalid_value(
            handle,
            "ReceiptHandle",
            "Message does not exist or is not available for visibility timeout change.",
        )),
        Err(ReceiptFault::Stale) if queue.settings.fifo.is_some() => {
            Err(invalid_value(handle, "ReceiptHandle", "The receipt handle has expired."))
        }
        Err(ReceiptFault::Stale) => Err(fail("MessageNotInflight", "The specified message isn't in flight.")),
    }
}
