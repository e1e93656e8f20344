//! The work on one message: from its body to its deletion.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join_all;
use tokio::task::AbortHandle;

use super::deletions::Deletions;
use super::{Shared, add, file};
use crate::handler::{Outcome, ProcessingError, Progress};
use crate::message::{FileKind, LogFile, Message, Notification};

/// Into how many parts a visibility timeout is cut: after one of them it is extended.
const EXTENSIONS_PER_TIMEOUT: u32 = 2;

/// Works on a message, and deletes it where that is right.
pub(super) async fn work_on(shared: &Arc<Shared>, deletions: &Deletions, message: Arc<Message>) {
    let heartbeat = Heartbeat::start(shared, &message);
    let worked = AssertUnwindSafe(outcome_of(shared, &message)).catch_unwind().await;
    let outcome = worked.unwrap_or_else(|_| {
        shared.fail(ProcessingError::Panicked, Some(&message), None);
        Outcome::Failed
    });
    shared.report(&Progress::MessageDone { message: &message, outcome });
    let is_deleted = match outcome {
        Outcome::Handled | Outcome::FilteredOut | Outcome::NothingToDo => true,
        Outcome::Failed => {
            add(&shared.counters.messages_failed, 1);
            shared.options.delete_message_upon_failure
        }
        Outcome::Deferred => false,
    };
    if is_deleted {
        delete(shared, deletions, &message).await;
        return;
    }
    drop(heartbeat);
    let deferral = shared.digest_check.as_ref().and_then(|check| check.deferral());
    let delay = if outcome == Outcome::Deferred { deferral } else { shared.options.redelivery_delay };
    if let Some(delay) = delay
        && let Err(error) = shared.messages.extend(&message.receipt_handle, delay).await
    {
        shared.fail(ProcessingError::Extend(error), Some(&message), None);
    }
}

async fn delete(shared: &Shared, deletions: &Deletions, message: &Arc<Message>) {
    match deletions.delete(message.receipt_handle.clone()).await {
        Ok(()) => {
            add(&shared.counters.messages_deleted, 1);
            shared.report(&Progress::MessageDeleted { message });
        }
        Err(error) => shared.fail(ProcessingError::Delete(error), Some(message), None),
    }
}

async fn outcome_of(shared: &Shared, message: &Arc<Message>) -> Outcome {
    let notification = Notification::parse(&message.body);
    shared.report(&Progress::MessageRead { message, notification: &notification });
    let files = match notification {
        Notification::Files(files) => files,
        Notification::Validation => {
            tracing::warn!(message = message.id, "the message validates a topic or bucket; it is deleted");
            return Outcome::NothingToDo;
        }
        Notification::OtherEvents => return Outcome::NothingToDo,
        Notification::Unrecognized => {
            shared.fail(ProcessingError::UnrecognizedMessage, Some(message), None);
            return Outcome::Failed;
        }
    };
    let is_foreign = files.iter().all(|file| file.kind() == FileKind::Other);
    let wanted: Vec<LogFile> =
        files.into_iter().filter(|file| shared.options.file_kinds.has(file.kind())).collect();
    if wanted.is_empty() {
        if is_foreign {
            shared.fail(ProcessingError::NoLogFile, Some(message), None);
            return Outcome::Failed;
        }
        return Outcome::NothingToDo;
    }
    if shared.source_filter.as_ref().is_some_and(|filter| !filter(message, &wanted)) {
        return Outcome::FilteredOut;
    }
    let outcomes = join_all(wanted.iter().map(|file| handle(shared, message, file))).await;
    // The worst counts: what failed is not put off, what is put off is not handled.
    let has = |sought: Outcome| outcomes.contains(&sought);
    [Outcome::Failed, Outcome::Deferred].into_iter().find(|worse| has(*worse)).unwrap_or(Outcome::Handled)
}

async fn handle(shared: &Shared, message: &Arc<Message>, file: &LogFile) -> Outcome {
    match file::handle(shared, message, file).await {
        Ok(true) => Outcome::Handled,
        Ok(false) => Outcome::Deferred,
        Err(error) => {
            shared.fail(error, Some(message), Some(file));
            Outcome::Failed
        }
    }
}

/// Keeps a message hidden until it is dropped. A task of its own, so that a handler that does not give way cannot stop
/// it.
struct Heartbeat(AbortHandle);

impl Heartbeat {
    fn start(shared: &Arc<Shared>, message: &Arc<Message>) -> Self {
        let (shared, message) = (Arc::clone(shared), Arc::clone(message));
        let beat = async move {
            let timeout = shared.options.visibility_timeout;
            loop {
                super::pause(timeout / EXTENSIONS_PER_TIMEOUT).await;
                match shared.messages.extend(&message.receipt_handle, timeout).await {
                    Ok(()) => shared.report(&Progress::VisibilityExtended { message: &message }),
                    Err(error) => shared.fail(ProcessingError::Extend(error), Some(&message), None),
                }
            }
        };
        Self(tokio::spawn(beat).abort_handle())
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
