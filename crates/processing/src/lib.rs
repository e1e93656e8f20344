//! Consumes CloudTrail log files: from a queue of notifications to typed events, each handled before its message is
//! deleted.
//!
//! It does for Rust what the Java CloudTrail Processing Library does: a trail announces every log file that it delivers,
//! through SNS or S3 events, to an SQS queue. A [`Processor`] polls the queue, downloads the log files in parallel, and
//! hands their [`Event`]s to your [`EventHandler`]. It works against AWS and against [Cairn](https://github.com/cairn-trail/cairn) alike.
//!
//! # Start
//!
//! ```no_run
//! use std::sync::Arc;
//! use cairn_processing::{Event, HandlerError, Processor, aws::Client};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Arc::new(Client::from_environment("https://sqs.eu-west-1.amazonaws.com/111122223333/trail")?);
//! let processor = Processor::builder(client.clone(), client, |events: Vec<Event>| async move {
//!     for event in &events {
//!         println!("{:?} {:?}", event.event_time, event.event_name);
//!     }
//!     Ok::<(), HandlerError>(())
//! })
//! .build()?;
//! let interrupted = async { tokio::signal::ctrl_c().await.expect("signals can be waited for") };
//! processor.run(interrupted).await;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/print_events.rs` is this as a program.
//!
//! # What is promised
//!
//! - **Nothing is lost.** A message is deleted only after every event of its files was handled. When a handler fails, a
//!   download breaks off for good, or the program dies, the message becomes visible on the queue again.
//! - **At least once.** What comes again may have been handled in part: make handling idempotent by the `eventID`. Where
//!   nothing fails, every event is handled once: a message that is being worked on is kept hidden by extending its
//!   visibility, and a download that breaks off goes on where it was.
//! - **Bounded memory.** Files are decompressed and cut into records as they stream in. So many are read at once as fit
//!   into [`Options::memory_size_bytes_max`].
//! - **Nothing of a record is lost.** Members that are not known are in [`other`](event::Record::other), and
//!   [`Event::text`] is the record byte for byte.
//!
//! # Messages
//!
//! [`Notification::parse`] understands the four forms of the Java library — SNS's envelope around CloudTrail's own message,
//! SNS's envelope around an S3 event, a bare S3 event, CloudTrail's validation message — and the first and last without
//! their envelope (SNS's raw message delivery) too. Only objects whose keys are those of log files are read; see
//! [`FileKind`] and [`Options::file_kinds`].
//!
//! | message | what becomes of it |
//! |---|---|
//! | names log files | deleted when all their events were handled |
//! | filtered out by [`source_filter`](ProcessorBuilder::source_filter) | deleted |
//! | names only digests, Insights files that were not asked for, markers | deleted |
//! | a validation message or S3's test event | deleted, with a warning in the log |
//! | an S3 event of something else than a put | deleted |
//! | anything else | left, or deleted with [`Options::delete_message_upon_failure`] |
//!
//! Differences from the Java library, all of them on purpose: the two rows of digests and of other S3 events (Java leaves
//! such messages for ever), the decoding of keys in S3 events (Java looks for the encoded key), the extension of visibility (Java
//! lets a slow file be read twice), and record members of strange types (Java fails; here they are kept as they are).
//!
//! # Callbacks
//!
//! [`ProcessorBuilder::event_filter`], [`source_filter`](ProcessorBuilder::source_filter),
//! [`progress`](ProcessorBuilder::progress) and [`exceptions`](ProcessorBuilder::exceptions) take closures.
//! [`Processor::totals`] counts what was done. Everything that goes wrong is logged through `tracing` as well.
//!
//! # Digests
//!
//! With a [`DigestCheck`], the SHA-256 of every log file is held to the digest files that the trail signed and chained:
//! events of a file that was altered are refused, and, as you like, those of one that was planted. Every file is then
//! downloaded twice, since nothing may be handed over before its hash is known, and files of any size must fit.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use cairn_processing::{DigestCheck, Event, HandlerError, Processor, Unlisted, aws::Client};
//! # fn run(client: Arc<Client>, handler: impl cairn_processing::EventHandler) -> Result<(), Box<dyn std::error::Error>> {
//! let check = DigestCheck::new(client.clone(), Unlisted::PutOff(Duration::from_secs(900)));
//! let processor = Processor::builder(client.clone(), client, handler).digest_check(check).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Another client
//!
//! [`aws::Client`] makes the few calls that are needed. The official SDK is left out because it takes minutes to compile;
//! to use it, or anything else, implement [`MessageSource`] and [`ObjectSource`]. With `aws-sdk-sqs` the former is:
//!
//! ```ignore
//! struct SdkQueue { sqs: aws_sdk_sqs::Client, queue_url: String }
//!
//! #[async_trait::async_trait]
//! impl MessageSource for SdkQueue {
//!     async fn receive(&self, request: ReceiveRequest) -> Result<Vec<Message>, AccessError> {
//!         let failed = |error| AccessError::passing("ReceiveMessage", "sqs failed").with_source(error);
//!         let received = self.sqs.receive_message().queue_url(&self.queue_url)
//!             .max_number_of_messages(request.messages_max as i32)
//!             .wait_time_seconds(request.wait.as_secs() as i32)
//!             .visibility_timeout(request.visibility_timeout.as_secs() as i32)
//!             .send().await.map_err(failed)?;
//!         Ok(received.messages().iter().map(|message| Message::new(
//!             message.message_id().unwrap_or_default(),
//!             message.receipt_handle().unwrap_or_default(),
//!             message.body().unwrap_or_default(),
//!         )).collect())
//!     }
//!     // extend: change_message_visibility; delete: delete_message_batch
//! }
//! ```

mod access;
pub mod aws;
pub mod event;
mod handler;
mod message;
mod options;
mod processor;
mod records;
mod retry;
mod system;
mod verification;

pub use access::{AccessError, GetRequest, ListRequest, MessageSource, Object, ObjectSource, ReceiveRequest};
pub use cairn_core::{Clock, Entropy, Timestamp};
pub use event::Event;
pub use handler::{
    EventFilter, EventHandler, ExceptionHandler, Failure, FileCounts, HandlerError, Outcome, ProcessingError,
    Progress, ProgressReporter, SourceFilter,
};
pub use message::{FileKind, LogFile, Message, Notification};
pub use options::{FileKinds, Options, OptionsError};
pub use processor::{Processor, ProcessorBuilder, Totals};
pub use records::FormatError;
pub use retry::Backoff;
pub use verification::{DigestCheck, PinnedKeys, PublicKeys, Unlisted, Verification, VerificationError};

/// The examples of the README, which are compiled like others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
