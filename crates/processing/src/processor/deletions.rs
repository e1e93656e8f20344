//! Deletes messages, as many in one call as wait for it.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::Shared;
use crate::access::AccessError;
use crate::options::MESSAGES_PER_RECEIVE_MAX;

/// The most messages that are deleted with one call.
const MESSAGES_PER_DELETE_MAX: usize = MESSAGES_PER_RECEIVE_MAX;
/// The most calls at once. While they last, others gather.
const CALLS_MAX: usize = 2;
/// Messages that wait to be deleted; more of them wait in their tasks.
const WAITING_MAX: usize = 1000;

struct Deletion {
    receipt_handle: String,
    done: oneshot::Sender<Result<(), AccessError>>,
}

/// Where messages are given to be deleted. The task behind it ends with the last of these.
#[derive(Clone)]
pub(super) struct Deletions(mpsc::Sender<Deletion>);

impl Deletions {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(shared, receiver));
        Self(sender)
    }

    /// Returns when the message is deleted.
    pub(super) async fn delete(&self, receipt_handle: String) -> Result<(), AccessError> {
        let gone = || AccessError::passing("DeleteMessageBatch", "the processor was stopped");
        let (done, deleted) = oneshot::channel();
        self.0.send(Deletion { receipt_handle, done }).await.map_err(|_| gone())?;
        deleted.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Deletion>) {
    let room = Arc::new(Semaphore::new(CALLS_MAX));
    let mut calls = JoinSet::new();
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let mut batch = Vec::new();
        if waiting.recv_many(&mut batch, MESSAGES_PER_DELETE_MAX).await == 0 {
            break;
        }
        let shared = Arc::clone(&shared);
        calls.spawn(async move {
            delete(&shared, batch).await;
            drop(permit);
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

/// Deletes a batch, and tries again what failed in passing.
async fn delete(shared: &Shared, mut batch: Vec<Deletion>) {
    for attempt in 1.. {
        let is_last = attempt >= shared.options.attempts_max;
        let handles: Vec<String> = batch.iter().map(|deletion| deletion.receipt_handle.clone()).collect();
        let mut again = Vec::new();
        let mut settle = |deletion: Deletion, result: Result<(), AccessError>| match result {
            Err(error) if error.is_retryable() && !is_last => again.push(deletion),
            // Who waited for it may have been cut off.
            result => drop(deletion.done.send(result)),
        };
        match shared.messages.delete(&handles).await {
            Ok(results) => {
                let missing =
                    || AccessError::passing("DeleteMessageBatch", "the answer says nothing of the message");
                let mut results = results.into_iter();
                for deletion in batch {
                    settle(deletion, results.next().unwrap_or_else(|| Err(missing())));
                }
            }
            Err(error) => {
                for deletion in batch {
                    let (operation, retryable) = (error.operation(), error.is_retryable());
                    let copy = if retryable {
                        AccessError::passing(operation, error.to_string())
                    } else {
                        AccessError::refused(operation, error.code().unwrap_or_default(), error.to_string())
                    };
                    settle(deletion, Err(copy));
                }
            }
        }
        if again.is_empty() {
            return;
        }
        batch = again;
        shared.pause(attempt).await;
    }
}
