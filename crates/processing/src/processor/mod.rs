//! The processor: polls, and works on so many messages at once as the options allow.
//!
//! On the road: poll → message → files → events → handler → delete. Invariants: a message is deleted after its last
//! event was handled and not before; memory is reserved for a file before it is read; whatever is cut off — the network,
//! the program, a handler — leaves the message on the queue, where it becomes visible again.

mod deletions;
mod download;
mod file;
mod work;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_core::{Clock, Entropy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::{MessageSource, ObjectSource, ReceiveRequest};
use crate::event::Event;
use crate::handler::{
    EventFilter, EventHandler, ExceptionHandler, Failure, ProcessingError, Progress, ProgressReporter,
    SourceFilter,
};
use crate::message::{LogFile, Message};
use crate::options::{MESSAGES_PER_RECEIVE_MAX, Options, OptionsError};
use crate::system::{SystemClock, SystemEntropy};
use crate::verification::DigestCheck;
use deletions::Deletions;

/// What was done since the processor was made. Counted as it happens; read it whenever you like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Messages received, those that came again counted again.
    pub messages_received: u64,
    /// Messages deleted.
    pub messages_deleted: u64,
    /// Messages that were not understood, or whose events were not all handled.
    pub messages_failed: u64,
    /// Files whose events were all handled.
    pub files_handled: u64,
    /// Events handled.
    pub events_handled: u64,
    /// Events that the filter passed over.
    pub events_filtered_out: u64,
    /// Uncompressed bytes of the files read to their end.
    pub size_bytes: u64,
    /// Whatever was told to the exception handler.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Counters {
    messages_received: AtomicU64,
    messages_deleted: AtomicU64,
    messages_failed: AtomicU64,
    files_handled: AtomicU64,
    events_handled: AtomicU64,
    events_filtered_out: AtomicU64,
    size_bytes: AtomicU64,
    failures: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// What all tasks of a processor share.
struct Shared {
    options: Options,
    messages: Arc<dyn MessageSource>,
    objects: Arc<dyn ObjectSource>,
    handler: Arc<dyn EventHandler>,
    event_filter: Option<Box<EventFilter>>,
    source_filter: Option<Box<SourceFilter>>,
    progress: Option<Box<ProgressReporter>>,
    exceptions: Option<Box<ExceptionHandler>>,
    digest_check: Option<DigestCheck>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    counters: Counters,
    /// One permit for each message that may be worked on.
    messages_room: Arc<Semaphore>,
    /// One permit for each file whose memory is there.
    files_room: Semaphore,
}

impl Shared {
    fn report(&self, progress: &Progress<'_>) {
        if let Some(reporter) = &self.progress {
            reporter(progress);
        }
    }

    fn fail(&self, error: ProcessingError, message: Option<&Arc<Message>>, file: Option<&LogFile>) {
        add(&self.counters.failures, 1);
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            message = message.map(|message| message.id.as_str()),
            bucket = file.map(|file| file.bucket.as_str()),
            key = file.map(|file| file.key.as_str()),
            "cloudtrail processing failed"
        );
        if let Some(handler) = &self.exceptions {
            handler(&Failure { error, message: message.cloned(), file: file.cloned() });
        }
    }

    /// Waits after so many failures in a row.
    async fn pause(&self, failures: u32) {
        pause(self.options.backoff.wait(failures, &*self.entropy)).await;
    }
}

/// Waits: a timeout of what never comes.
pub(crate) async fn pause(span: Duration) {
    let never = std::future::pending::<()>();
    if tokio::time::timeout(span, never).await.is_ok() {
        unreachable!("what is pending for ever does not end");
    }
}

/// Makes a [`Processor`].
pub struct ProcessorBuilder {
    shared: Shared,
}

impl ProcessorBuilder {
    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.shared.options = options;
        self
    }

    /// Handles only the events that `filter` is true for.
    #[must_use]
    pub fn event_filter(mut self, filter: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.shared.event_filter = Some(Box::new(filter));
        self
    }

    /// Reads only the files of messages that `filter` is true for.
    #[must_use]
    pub fn source_filter(
        mut self,
        filter: impl Fn(&Message, &[LogFile]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.shared.source_filter = Some(Box::new(filter));
        self
    }

    /// Tells `reporter` what goes on.
    #[must_use]
    pub fn progress(mut self, reporter: impl Fn(&Progress<'_>) + Send + Sync + 'static) -> Self {
        self.shared.progress = Some(Box::new(reporter));
        self
    }

    /// Tells `handler` what goes wrong.
    #[must_use]
    pub fn exceptions(mut self, handler: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.shared.exceptions = Some(Box::new(handler));
        self
    }

    /// Holds every log file to the trail's digests.
    #[must_use]
    pub fn digest_check(mut self, check: DigestCheck) -> Self {
        self.shared.digest_check = Some(check);
        self
    }

    /// Takes the time from `clock` instead of the system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.shared.clock = clock;
        self
    }

    /// Takes chance from `entropy` instead of the system.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.shared.entropy = entropy;
        self
    }

    /// The processor.
    ///
    /// # Errors
    /// Where an option cannot be.
    pub fn build(mut self) -> Result<Processor, OptionsError> {
        let options = &self.shared.options;
        options.check()?;
        self.shared.messages_room = Arc::new(Semaphore::new(options.messages_in_parallel));
        self.shared.files_room = Semaphore::new(options.files_in_parallel().min(Semaphore::MAX_PERMITS));
        Ok(Processor { shared: Arc::new(self.shared) })
    }
}

impl std::fmt::Debug for ProcessorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessorBuilder").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// Consumes the log files that a queue announces. See the [crate's documentation](crate) for how to make one.
pub struct Processor {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processor").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Processor {
    /// A processor of the messages of `messages`, which name objects of `objects`, whose events `handler` takes.
    pub fn builder(
        messages: Arc<dyn MessageSource>,
        objects: Arc<dyn ObjectSource>,
        handler: impl EventHandler,
    ) -> ProcessorBuilder {
        let shared = Shared {
            options: Options::default(),
            messages,
            objects,
            handler: Arc::new(handler),
            event_filter: None,
            source_filter: None,
            progress: None,
            exceptions: None,
            digest_check: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::default()),
            counters: Counters::default(),
            messages_room: Arc::new(Semaphore::new(0)),
            files_room: Semaphore::new(0),
        };
        ProcessorBuilder { shared }
    }

    /// What was done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            messages_received: read(&counters.messages_received),
            messages_deleted: read(&counters.messages_deleted),
            messages_failed: read(&counters.messages_failed),
            files_handled: read(&counters.files_handled),
            events_handled: read(&counters.events_handled),
            events_filtered_out: read(&counters.events_filtered_out),
            size_bytes: read(&counters.size_bytes),
            failures: read(&counters.failures),
        }
    }

    /// Works until `shutdown` completes. Then it polls no more, and gives the messages that are being worked on
    /// [`shutdown_timeout`](Options::shutdown_timeout) to be finished and deleted; what is left after that is cut off
    /// and comes back on the queue.
    ///
    /// Dropping the future cuts everything off at once. Nothing is lost by that either.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) -> Totals {
        let (stop, stopped) = watch::channel(false);
        let deletions = Deletions::start(Arc::clone(&self.shared));
        let mut pollers = JoinSet::new();
        for _ in 0..self.shared.options.pollers {
            let poller = Poller {
                shared: Arc::clone(&self.shared),
                deletions: deletions.clone(),
                stopped: stopped.clone(),
                work: JoinSet::new(),
            };
            pollers.spawn(poller.run());
        }
        drop(deletions);
        shutdown.await;
        stop.send_replace(true);
        while let Some(ended) = pollers.join_next().await {
            if ended.is_err() {
                self.shared.fail(ProcessingError::Panicked, None, None);
            }
        }
        self.totals()
    }
}

/// One poll after the other, and the messages that they brought.
struct Poller {
    shared: Arc<Shared>,
    deletions: Deletions,
    stopped: watch::Receiver<bool>,
    work: JoinSet<()>,
}

impl Poller {
    async fn run(mut self) {
        let mut failures = 0_u32;
        while let Some(room) = self.room().await {
            while self.work.try_join_next().is_some() {}
            let request = ReceiveRequest {
                messages_max: room.num_permits(),
                wait: self.shared.options.wait,
                visibility_timeout: self.shared.options.visibility_timeout,
            };
            let received = tokio::select! {
                received = self.shared.messages.receive(request) => received,
                _ = self.stopped.wait_for(|stopped| *stopped) => break,
            };
            match received {
                Ok(messages) => {
                    failures = 0;
                    self.shared.report(&Progress::Polled { messages: messages.len() });
                    self.begin(messages, room);
                }
                Err(error) => {
                    drop(room);
                    failures = failures.saturating_add(1);
                    self.shared.fail(ProcessingError::Poll(error), None, None);
                    tokio::select! {
                        () = self.shared.pause(failures) => {}
                        _ = self.stopped.wait_for(|stopped| *stopped) => break,
                    }
                }
            }
        }
        self.finish().await;
    }

    /// Room for at least one message and at most as many as one poll brings; none when the processor is stopped.
    async fn room(&mut self) -> Option<OwnedSemaphorePermit> {
        let semaphore = Arc::clone(&self.shared.messages_room);
        let mut room = tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            room = Arc::clone(&semaphore).acquire_owned() => room.ok()?,
        };
        while room.num_permits() < MESSAGES_PER_RECEIVE_MAX {
            let Ok(more) = Arc::clone(&semaphore).try_acquire_owned() else { break };
            room.merge(more);
        }
        Some(room)
    }

    fn begin(&mut self, messages: Vec<Message>, mut room: OwnedSemaphorePermit) {
        add(&self.shared.counters.messages_received, messages.len() as u64);
        for message in messages {
            // A source that gives more than was asked for gets them worked on nevertheless.
            let room = room.split(1);
            let (shared, deletions) = (Arc::clone(&self.shared), self.deletions.clone());
            self.work.spawn(async move {
                work::work_on(&shared, &deletions, Arc::new(message)).await;
                drop(room);
            });
        }
    }

    async fn finish(mut self) {
        let left = async { while self.work.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.options.shutdown_timeout, left).await.is_err() {
            for _ in 0..self.work.len() {
                self.shared.fail(ProcessingError::CutOff, None, None);
            }
            self.work.shutdown().await;
        }
    }
}
