//! Runs the stages: each on a timer and on a wake-up, until the server stops.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_services::events::delivery::Delivery as RuleDelivery;
use cairn_services::events::{CloudTrailEvents, Events};
use cairn_services::lambda::Lambda;
use cairn_services::s3::{EventStage, LifecycleStage};
use cairn_services::sns::delivery::Delivery;
use cairn_store::{EventLog, History};
use cairn_trail::delivery::DeliveryStage;
use cairn_trail::digest::DigestStage;
use cairn_trail::history::HistoryStage;
use cairn_trail::ingest::Ingest;
use cairn_trail::intents::IntentMark;
use cairn_trail::{NotificationStage, StreamStage, UndecodableReports};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// The longest that a wait goes on without a look at the clock.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The shortest: a stage that is always due still lets others work.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// How long a stage waits after a failure.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often entries of the log that no stage needs any more are let go: at every delivery, within these.
const TRIM_INTERVAL_MIN: Duration = Duration::from_secs(1);
const TRIM_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// For how long the log may grow before trails' log groups get what is new, so that much goes together.
const GATHER_INTERVAL: Duration = Duration::from_millis(200);

/// How often it is looked for log entries that could not be read.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// The running stages.
pub struct Stages {
    tasks: JoinSet<()>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    stop: watch::Receiver<bool>,
    failures: IntCounterVec,
    log_start: IntGauge,
    log_end: IntGauge,
}

/// Those whom the log is kept for.
pub struct Behind {
    /// The event history.
    pub history: Arc<dyn History>,
    /// The trails.
    pub delivery: Arc<DeliveryStage>,
    /// The open intents.
    pub intents: IntentMark,
    /// What was ingested.
    pub ingest: Arc<Ingest>,
    /// What could not be read.
    pub reports: Arc<UndecodableReports>,
    /// What lifecycle rules did.
    pub lifecycle: Arc<LifecycleStage>,
    /// The event buses.
    pub events: Arc<CloudTrailEvents>,
    /// The log groups of trails.
    pub streams: Arc<StreamStage>,
}

type StageResult = Result<Timestamp, Box<dyn Error + Send + Sync>>;

impl Stages {
    /// No stages yet. `wake` wakes all of them; they end once `stop` turns true.
    pub fn new(
        clock: Arc<dyn Clock>,
        wake: Arc<Notify>,
        stop: watch::Receiver<bool>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let failures = IntCounterVec::new(
            Opts::new("cairn_stage_failures_total", "runs of a stage that failed and are tried again"),
            &["stage"],
        )?;
        let log_start =
            IntGauge::new("cairn_log_start_position", "the first position of the log still kept")?;
        let log_end = IntGauge::new("cairn_log_end_position", "the position of the log's next entry")?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(log_start.clone()))?;
        registry.register(Box::new(log_end.clone()))?;
        Ok(Self { tasks: JoinSet::new(), clock, wake, stop, failures, log_start, log_end })
    }

    /// Starts the history: it runs whenever the log has grown.
    pub fn start_history(&mut self, stage: HistoryStage, log: Arc<dyn EventLog>) {
        let (stage, clock) = (Arc::new(stage), Arc::clone(&self.clock));
        let ends = Arc::clone(&log);
        self.start(
            "history",
            move || {
                let (stage, clock) = (Arc::clone(&stage), Arc::clone(&clock));
                async move {
                    stage.run_once().await?;
                    Ok(clock.now().plus(PAUSE_MAX))
                }
            },
            move || ends.end(),
            move |seen| {
                let log = Arc::clone(&log);
                async move { log.wait_past(seen).await }
            },
        );
    }

    /// Starts to send trails' events to their log groups: whenever the log has grown, and by the clock where one refused.
    #[allow(clippy::disallowed_methods, reason = "this is where stages wait")]
    pub fn start_streams(&mut self, stage: &Arc<StreamStage>, log: Arc<dyn EventLog>) {
        let (stage, ends) = (Arc::clone(stage), Arc::clone(&log));
        self.start(
            "streams",
            move || {
                let stage = Arc::clone(&stage);
                async move {
                    stage.run_once().await?;
                    Ok(stage.next_due())
                }
            },
            move || ends.end(),
            move |seen| {
                let log = Arc::clone(&log);
                async move {
                    log.wait_past(seen).await;
                    tokio::time::sleep(GATHER_INTERVAL).await;
                }
            },
        );
    }

    /// Starts to send the events of buckets: whenever something is owed.
    pub fn start_events(&mut self, stage: EventStage) {
        let stage = Arc::new(stage);
        self.start_marked(
            "s3 events",
            &stage,
            |stage| async move {
                stage.run_once().await?;
                Ok(stage.next_due())
            },
            EventStage::mark,
            |stage, mark| async move { stage.wait_past(mark).await },
        );
    }

    /// Starts to execute lifecycle rules: at midnight, and whenever rules were put.
    pub fn start_lifecycle(&mut self, stage: &Arc<LifecycleStage>) {
        self.start_marked(
            "s3 lifecycle",
            stage,
            |stage| async move {
                stage.run_once().await?;
                Ok(stage.next_due())
            },
            LifecycleStage::mark,
            |stage, mark| async move { stage.wait_past(mark).await },
        );
    }

    /// Starts to deliver what topics owe: whenever something new is owed, or a delivery has ended.
    pub fn start_topics(&mut self, stage: Delivery) {
        self.start_marked(
            "topics",
            &Arc::new(stage),
            |stage| async move { Ok(stage.run_once().await?) },
            Delivery::arrivals,
            |stage, seen| async move { stage.wait_past(seen).await },
        );
    }

    /// Starts to send what the targets of rules are owed: whenever something new is owed, or a delivery has ended.
    pub fn start_rule_targets(&mut self, stage: RuleDelivery) {
        self.start_marked(
            "rule targets",
            &Arc::new(stage),
            |stage| async move { Ok(stage.run_once().await?) },
            RuleDelivery::arrivals,
            |stage, seen| async move { stage.wait_past(seen).await },
        );
    }

    /// Starts something that EventBridge does by the clock, and whenever somebody has put something to do.
    pub fn start_event_work<F>(
        &mut self,
        name: &'static str,
        events: &Arc<Events>,
        run: impl Fn(Arc<Events>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = StageResult> + Send,
    {
        self.start_marked(name, events, run, Events::changes, |events, seen| async move {
            events.wait_past_changes(seen).await;
        });
    }

    /// Starts to put what is recorded on event buses: whenever the log has grown.
    pub fn start_cloudtrail_events(&mut self, stage: Arc<CloudTrailEvents>, log: Arc<dyn EventLog>) {
        let ends = Arc::clone(&log);
        self.start(
            "cloudtrail events",
            move || {
                let stage = Arc::clone(&stage);
                async move { Ok(stage.run_once().await?) }
            },
            move || ends.end(),
            move |seen| {
                let log = Arc::clone(&log);
                async move { log.wait_past(seen).await }
            },
        );
    }

    /// Starts the delivery.
    pub fn start_delivery(&mut self, stage: Arc<DeliveryStage>) {
        self.start_timed("delivery", move || {
            let stage = Arc::clone(&stage);
            async move {
                stage.run_once().await?;
                Ok(stage.next_due())
            }
        });
    }

    /// Starts the digests.
    pub fn start_digest(&mut self, stage: DigestStage) {
        let stage = Arc::new(stage);
        self.start_timed("digest", move || {
            let stage = Arc::clone(&stage);
            async move {
                stage.run_once().await?;
                Ok(stage.next_due())
            }
        });
    }

    /// Starts the notifications: they run whenever log files were committed, and by the clock where a topic refused.
    pub fn start_notification(&mut self, stage: NotificationStage, delivery: &DeliveryStage) {
        let (stage, committed) = (Arc::new(stage), delivery.committed());
        let commits = committed.clone();
        self.start(
            "notification",
            move || {
                let stage = Arc::clone(&stage);
                async move {
                    stage.run_once().await?;
                    Ok(stage.next_due())
                }
            },
            move || *commits.borrow(),
            move |seen| {
                let mut committed = committed.clone();
                async move {
                    // It ends with delivery, which ends with the server.
                    if committed.wait_for(|commits| *commits > seen).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            },
        );
    }

    /// Starts to report what could not be read in the log.
    pub fn start_reports(&mut self, reports: Arc<UndecodableReports>) {
        let clock = Arc::clone(&self.clock);
        self.start_timed("undecodable records", move || {
            let (reports, clock) = (Arc::clone(&reports), Arc::clone(&clock));
            async move {
                reports.run_once().await?;
                Ok(clock.now().plus(REPORT_INTERVAL))
            }
        });
    }

    /// Starts to execute functions that were invoked asynchronously: whenever an event came or a place became free.
    pub fn start_functions(&mut self, lambda: Arc<Lambda>) {
        self.start_marked(
            "functions",
            &lambda,
            |lambda| async move { Ok(lambda.run_once().await?) },
            |lambda| lambda.arrivals(),
            |lambda, seen| async move { lambda.wait_past(seen).await },
        );
    }

    /// Starts to let go of the log's entries that neither the history, nor a trail, nor an intent needs any more, nor the
    /// ingest to know what it took, nor a lifecycle to know what it recorded, nor a log group.
    pub fn start_trim(&mut self, delivery_interval: Duration, log: Arc<dyn EventLog>, behind: Behind) {
        let (behind, clock) = (Arc::new(behind), Arc::clone(&self.clock));
        let (log_start, log_end) = (self.log_start.clone(), self.log_end.clone());
        self.start_timed("trim", move || {
            let (log, behind) = (Arc::clone(&log), Arc::clone(&behind));
            let (clock, log_start, log_end) = (Arc::clone(&clock), log_start.clone(), log_end.clone());
            async move {
                let unsettled = behind.intents.advance().await?;
                let delivered = behind.delivery.needed_from().await?;
                let needed = behind.history.durable_position().await?.min(delivered);
                let needed = needed.min(unsettled).min(behind.ingest.needed_from());
                let needed = needed.min(behind.reports.needed_from().await?);
                let needed = needed.min(behind.lifecycle.needed_from().await?);
                let needed = needed.min(behind.events.needed_from().await?);
                let needed = needed.min(behind.streams.needed_from().await?);
                log.trim(needed).await?;
                log_start.set(i64::try_from(log.start().0)?);
                log_end.set(i64::try_from(log.end().0)?);
                Ok(clock.now().plus(delivery_interval.clamp(TRIM_INTERVAL_MIN, TRIM_INTERVAL_MAX)))
            }
        });
    }

    /// Starts something that runs by the clock: `run` does what is due and says when the next thing is.
    pub fn start_timed<F>(&mut self, name: &'static str, run: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = StageResult> + Send,
    {
        self.start(name, run, || (), |()| std::future::pending());
    }

    /// Starts a stage that counts itself what there is to do: see [`Stages::start`].
    pub(crate) fn start_marked<S, F, W>(
        &mut self,
        name: &'static str,
        stage: &Arc<S>,
        run: impl Fn(Arc<S>) -> F + Send + Sync + 'static,
        mark: impl Fn(&S) -> u64 + Send + Sync + 'static,
        wait_past: impl Fn(Arc<S>, u64) -> W + Send + Sync + 'static,
    ) where
        S: Send + Sync + 'static,
        F: Future<Output = StageResult> + Send,
        W: Future<Output = ()> + Send,
    {
        let (runs, marks, waits) = (Arc::clone(stage), Arc::clone(stage), Arc::clone(stage));
        self.start(
            name,
            move || run(Arc::clone(&runs)),
            move || mark(&marks),
            move |seen| wait_past(Arc::clone(&waits), seen),
        );
    }

    /// `mark` is taken before a run, and `woken` returns when there is more to do than there was at the mark.
    fn start<M, F, W>(
        &mut self,
        name: &'static str,
        run: impl Fn() -> F + Send + Sync + 'static,
        mark: impl Fn() -> M + Send + Sync + 'static,
        woken: impl Fn(M) -> W + Send + Sync + 'static,
    ) where
        M: Send,
        F: Future<Output = StageResult> + Send,
        W: Future<Output = ()> + Send,
    {
        let (clock, wake, mut stop) = (Arc::clone(&self.clock), Arc::clone(&self.wake), self.stop.clone());
        let failures = self.failures.with_label_values(&[name]);
        self.tasks.spawn(async move {
            while !*stop.borrow() {
                let notified = wake.notified();
                let (ran_at, marked) = (clock.now(), mark());
                let due = run().await.unwrap_or_else(|error| {
                    failures.inc();
                    tracing::error!(stage = name, error = error.as_ref() as &dyn Error, "a stage failed");
                    clock.now().plus(PAUSE_AFTER_ERROR)
                });
                let woken = async {
                    tokio::select! {
                        () = notified => {}
                        () = woken(marked) => {}
                        () = until(due, ran_at, clock.as_ref()) => {}
                    }
                };
                tokio::select! {
                    () = woken => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
            tracing::debug!(stage = name, "stopped");
        });
    }

    /// Waits until all have ended.
    pub async fn join(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(error = &error as &dyn Error, "a stage ended by itself");
            }
        }
    }
}

/// Waits until the clock shows `due`, or a time before `ran_at`: a clock that was set back may make things due that
/// would otherwise wait for hours.
#[allow(clippy::disallowed_methods, reason = "this is where stages wait")]
async fn until(due: Timestamp, ran_at: Timestamp, clock: &dyn Clock) {
    tokio::time::sleep(PAUSE_MIN).await;
    loop {
        let now = clock.now();
        if now >= due || now < ran_at {
            return;
        }
        tokio::time::sleep(due.since(now).min(PAUSE_MAX)).await;
    }
}
