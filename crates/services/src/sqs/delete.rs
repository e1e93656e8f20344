//! Messages that are done with.

use cairn_store::queues::{Receipt, ReceiptFault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sqs;
use super::batch::{Batch, Entry, Outcomes};
use super::error::{Failure, invalid_value, of_engine};
use super::state::Queue;
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteMessage {
    queue_url: String,
    receipt_handle: String,
}

/// An entry of DeleteMessageBatch.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DeleteEntry {
    id: String,
    receipt_handle: String,
}

impl Entry for DeleteEntry {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Sqs {
    pub(super) async fn delete_message(
        &self,
        caller: &Caller,
        input: DeleteMessage,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        let receipt = self.handles.read(&queue.key(), &input.receipt_handle)?;
        let deleted = self.engine.delete(&queue.key(), &[receipt], self.clock.now()).await;
        for outcome in deleted.map_err(of_engine)? {
            check_deleted(outcome, &input.receipt_handle)?;
            self.metrics.deleted.inc();
        }
        Ok(json!({}))
    }

    pub(super) async fn delete_message_batch(
        &self,
        caller: &Caller,
        input: Batch<DeleteEntry>,
    ) -> Result<Value, Failure> {
        let queue = self.queue_at(&input.queue_url, caller)?;
        input.check("DeleteMessageBatchRequestEntry")?;
        let (outcomes, known) = self.known(&queue, input.entries, |entry| &entry.receipt_handle);
        self.delete_known(&queue, outcomes, known).await
    }

    async fn delete_known(
        &self,
        queue: &Queue,
        mut outcomes: Outcomes,
        known: Vec<(DeleteEntry, Receipt)>,
    ) -> Result<Value, Failure> {
        let receipts: Vec<Receipt> = known.iter().map(|(_, receipt)| *receipt).collect();
        let deleted = self.engine.delete(&queue.key(), &receipts, self.clock.now()).await;
        let deleted = deleted.map_err(of_engine)?;
        for ((entry, _), outcome) in known.iter().zip(deleted) {
            let outcome = check_deleted(outcome, &entry.receipt_handle);
            self.metrics.deleted.inc_by(u64::from(outcome.is_ok()));
            outcomes.add(&entry.id, outcome.map(|()| json!({})));
        }
        Ok(outcomes.reply())
    }

    /// The entries of a batch with their receipts; those whose handles are none have failed.
    pub(super) fn known<E: Entry>(
        &self,
        queue: &Queue,
        entries: Vec<E>,
        handle: impl Fn(&E) -> &str,
    ) -> (Outcomes, Vec<(E, Receipt)>) {
        let (mut outcomes, mut known) = (Outcomes::default(), Vec::new());
        for entry in entries {
            match self.handles.read(&queue.key(), handle(&entry)) {
                Ok(receipt) => known.push((entry, receipt)),
                Err(failure) => outcomes.add(entry.id(), Err(failure)),
            }
        }
        (outcomes, known)
    }
}

/// That a message is gone is what was asked for.
fn check_deleted(outcome: Result<(), ReceiptFault>, handle: &str) -> Result<(), Failure> {
    match outcome {
        Ok(()) | Err(ReceiptFault::Gone) => Ok(()),
        Err(ReceiptFault::Stale) => {
            Err(invalid_value(handle, "ReceiptHandle", "The receipt handle has expired."))
        }
    }
}
