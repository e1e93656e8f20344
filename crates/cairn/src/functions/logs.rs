//! What functions write: put into their log groups, as their execution roles, behind their backs.
//!
//! Invariant: a log group that is sick, slow or closed to the role delays no invocation; what its queue has no room for
//! is left out and counted.

use std::sync::Arc;
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_services::lambda::Blueprint;
use cairn_services::sinks::{LogLine, Sender, SinkFailure, Switchboard};
use prometheus::{IntCounter, Registry};
use tokio::sync::mpsc;

/// Lines of one environment that wait.
const LINES_MAX: usize = 10_000;
/// Lines that are put at a time.
const BATCH_LINES_MAX: usize = 1_000;
/// The longest line, in bytes; longer ones are cut into such.
const LINE_SIZE_BYTES_MAX: usize = 256 * 1024 - 26;
/// How often a batch is tried.
const TRIES: u32 = 5;
/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a session of the role serves.
const SESSION: Duration = Duration::from_secs(1800);

/// What all environments' logs share.
#[derive(Clone)]
pub(super) struct LogPlace {
    pub(super) switchboard: Switchboard,
    pub(super) clock: Arc<dyn Clock>,
    dropped: IntCounter,
}

/// Where one environment logs.
pub(super) struct LogStream {
    lines: mpsc::Sender<LogLine>,
    clock: Arc<dyn Clock>,
    dropped: IntCounter,
}

impl LogPlace {
    pub(super) fn new(
        switchboard: Switchboard,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let dropped = IntCounter::new(
            "cairn_lambda_log_lines_dropped_total",
            "lines of functions that no log group took",
        )?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(Self { switchboard, clock, dropped })
    }

    /// A stream for an environment. What was written is still put when it is dropped.
    pub(super) fn open(&self, blueprint: Arc<Blueprint>, stream: String) -> LogStream {
        let (lines, waiting) = mpsc::channel(LINES_MAX);
        tokio::spawn(
            Putter { place: self.clone(), blueprint, stream, sender: None, has_failed: false }.run(waiting),
        );
        LogStream { lines, clock: Arc::clone(&self.clock), dropped: self.dropped.clone() }
    }
}

impl LogStream {
    /// Writes a line.
    pub(super) fn write(&self, text: &str) {
        let timestamp_ms = self.clock.now().millis();
        let mut rest = text;
        while !rest.is_empty() {
            let cut = rest.floor_char_boundary(LINE_SIZE_BYTES_MAX);
            let (line, further) = rest.split_at(cut);
            rest = further;
            if self.lines.try_send(LogLine { timestamp_ms, message: line.to_owned() }).is_err() {
                self.dropped.inc();
            }
        }
    }
}

struct Putter {
    place: LogPlace,
    blueprint: Arc<Blueprint>,
    stream: String,
    sender: Option<(Sender, Timestamp)>,
    /// Whether it was said that lines are left out: a function that may not log is no news every time.
    has_failed: bool,
}

impl Putter {
    async fn run(mut self, mut waiting: mpsc::Receiver<LogLine>) {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, BATCH_LINES_MAX).await > 0 {
            let lines = std::mem::take(&mut batch);
            let count = lines.len() as u64;
            if let Err(failure) = self.put(lines).await {
                self.place.dropped.inc_by(count);
                let (function, error) = (&self.blueprint.function_arn, &failure as &dyn std::error::Error);
                if self.has_failed {
                    tracing::debug!(function, error, lines = count, "a function's log lines are left out");
                } else {
                    tracing::warn!(function, error, lines = count, "a function's log lines are left out");
                }
                self.has_failed = true;
            }
        }
    }

    async fn put(&mut self, lines: Vec<LogLine>) -> Result<(), SinkFailure> {
        let mut tried = 0;
        loop {
            let outcome = self.put_once(lines.clone()).await;
            tried += 1;
            match outcome {
                Err(failure) if failure.is_transient && tried < TRIES => {
                    let _ = tokio::time::timeout(PAUSE * tried, std::future::pending::<()>()).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn put_once(&mut self, lines: Vec<LogLine>) -> Result<(), SinkFailure> {
        let Blueprint { region, account, log_group, .. } = &*self.blueprint;
        let group_arn = format!("arn:aws:logs:{region}:{account}:log-group:{log_group}");
        let now = self.place.clock.now();
        let known = self.sender.take().filter(|(_, until)| now < *until);
        let (sender, until) = match known {
            Some(known) => known,
            None => {
                let role = self.place.switchboard.roles()?.assume(&self.blueprint.role()).await?;
                (Sender::Role(Arc::new(role)), now.plus(SESSION))
            }
        };
        let logs = self.place.switchboard.logs()?;
        let mut outcome = logs.put(&sender, &group_arn, &self.stream, lines.clone()).await;
        if outcome.as_ref().is_err_and(|failure| failure.code == "ResourceNotFoundException") {
            logs.make_group(&sender, &group_arn).await?;
            outcome = logs.put(&sender, &group_arn, &self.stream, lines).await;
        }
        self.sender = Some((sender, until));
        outcome
    }
}
