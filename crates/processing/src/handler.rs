//! What you give to the library: the handler of events, and the callbacks around it.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::access::AccessError;
use crate::event::{Event, EventError};
use crate::message::{LogFile, Message, Notification};
use crate::records::FormatError;
use crate::verification::VerificationError;

/// Why a handler could not handle events: an error of your own.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// Handles events. The message that announced their file is deleted only after all of them were handled; where one batch
/// is not, the whole file comes again, so handling must bear repetition: an event's `eventID` tells.
///
/// Calls for different files overlap; those for one file follow one another in the file's order.
///
/// A closure is a handler as well:
///
/// ```
/// use cairn_processing::{Event, EventHandler, HandlerError};
///
/// fn takes(_: impl EventHandler) {}
///
/// takes(|events: Vec<Event>| async move {
///     for event in &events {
///         println!("{}", event.text());
///     }
///     Ok::<(), HandlerError>(())
/// });
/// ```
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Handles a batch of events of one file: at most
    /// [`max_events_per_emit`](crate::Options::max_events_per_emit), at least one.
    async fn handle(&self, events: Vec<Event>) -> Result<(), HandlerError>;
}

#[async_trait]
impl<F, Fut> EventHandler for F
where
    F: Fn(Vec<Event>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    async fn handle(&self, events: Vec<Event>) -> Result<(), HandlerError> {
        self(events).await
    }
}

/// Whether an event is handled. Those that are not are passed over; their messages are deleted like others.
pub type EventFilter = dyn Fn(&Event) -> bool + Send + Sync;

/// Whether a message's files are read. A message that is filtered out is deleted.
pub type SourceFilter = dyn Fn(&Message, &[LogFile]) -> bool + Send + Sync;

/// Is told what goes on. Called often and from several tasks: it must not block.
pub type ProgressReporter = dyn Fn(&Progress<'_>) + Send + Sync;

/// Is told what went wrong. Called from several tasks: it must not block. Nothing else needs to be done about it: what
/// can be tried again is.
pub type ExceptionHandler = dyn Fn(&Failure) + Send + Sync;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All its events were handled.
    Handled,
    /// It was filtered out.
    FilteredOut,
    /// It says nothing that is to be done: a validation message, digests, deletions.
    NothingToDo,
    /// It was not understood, or not all of its events were handled.
    Failed,
    /// Its files wait for a digest; see [`DigestCheck`](crate::DigestCheck).
    Deferred,
}

/// What a file had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileCounts {
    /// Events that were handled.
    pub events_handled: u64,
    /// Events that the filter passed over.
    pub events_filtered_out: u64,
    /// Records that are no events.
    pub records_unreadable: u64,
    /// The file's size as it was read, compressed.
    pub compressed_size_bytes: u64,
    /// The file's size, uncompressed.
    pub size_bytes: u64,
}

/// What goes on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A poll came back.
    Polled {
        /// How many messages it brought.
        messages: usize,
    },
    /// A message was read.
    MessageRead {
        /// The message.
        message: &'a Message,
        /// What it says.
        notification: &'a Notification,
    },
    /// A file is about to be downloaded.
    FileBegun {
        /// The message that announced it.
        message: &'a Message,
        /// The file.
        file: &'a LogFile,
    },
    /// A file was read to its end and its events were handled.
    FileHandled {
        /// The message that announced it.
        message: &'a Message,
        /// The file.
        file: &'a LogFile,
        /// What it had.
        counts: FileCounts,
        /// How long that took, by the clock.
        took: Duration,
    },
    /// Work on a message has ended.
    MessageDone {
        /// The message.
        message: &'a Message,
        /// What became of it.
        outcome: Outcome,
    },
    /// A message was deleted.
    MessageDeleted {
        /// The message.
        message: &'a Message,
    },
    /// A message that is being worked on is hidden for longer.
    VisibilityExtended {
        /// The message.
        message: &'a Message,
    },
}

/// Something that went wrong, and with what.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What went wrong.
    pub error: ProcessingError,
    /// The message, where it is about one.
    pub message: Option<Arc<Message>>,
    /// The file, where it is about one.
    pub file: Option<LogFile>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessingError {
    /// The queue could not be polled. It is polled again.
    #[error("the queue could not be polled")]
    Poll(#[source] AccessError),
    /// A message is none of the known forms.
    #[error("the message is in no known form")]
    UnrecognizedMessage,
    /// A message names no file of CloudTrail.
    #[error("the message names no log file")]
    NoLogFile,
    /// A file could not be downloaded.
    #[error("the log file could not be downloaded")]
    Download(#[source] AccessError),
    /// A file is no log file.
    #[error("the log file could not be read")]
    Format(#[from] FormatError),
    /// A record is no event. The others of its file are handled.
    #[error("record {index} of the log file is no event")]
    Record {
        /// Its place in the file, from 0.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: EventError,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Some records of a file are no events; each was reported.
    #[error("{records} records of the log file are no events")]
    UnreadableRecords {
        /// How many.
        records: u64,
    },
    /// The handler failed.
    #[error("the handler failed")]
    Handler(#[source] HandlerError),
    /// The handler or a callback panicked.
    #[error("the handler or a callback panicked")]
    Panicked,
    /// A file is not what the trail's digests say, or that could not be found out.
    #[error("the log file was not verified")]
    Verification(#[from] VerificationError),
    /// A message could not be hidden for longer: it may come again while it is worked on.
    #[error("the message could not be hidden for longer")]
    Extend(#[source] AccessError),
    /// A message could not be deleted: it comes again.
    #[error("the message could not be deleted")]
    Delete(#[source] AccessError),
    /// Work on a message was cut off when the processor was stopped.
    #[error("the work was cut off by the shutdown")]
    CutOff,
}
