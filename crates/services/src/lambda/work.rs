//! The stage that executes what was invoked asynchronously, and sends the outcomes.
//!
//! On the road: it takes an event from a function's queue when there is a place for it, executes the function, and
//! deletes the event once the outcome is settled: kept for a destination, or of interest to nobody. An event that the end
//! of the server cuts short is in its queue again. Invariants: an event is executed at least once; a function's events
//! wait for that function alone; the number of receipts is the number of attempts.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::CatalogError;
use cairn_store::queues::{Ask, QueueError, QueueKey, Received};
use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::Lambda;
use super::error::{Failure, of_engine};
use super::functions::Found;
use super::invoke::config_qualifier;
use super::name::Named;
use super::queue::{EVENTS_PREFIX, QueuedEvent};
use super::results::{Outcome, RESULTS_PREFIX};
use super::runner::{Invocation, Ran, RunFailure};
use super::slots::Slot;
use super::state::{Config, FUNCTIONS, Function, INVOKE_CONFIGS, InvokeConfig};

/// How often an event is tried again where nothing is said.
const RETRIES_MAX: u32 = 2;
/// How long an event is tried where nothing is said, in seconds.
const AGE_S_MAX: u64 = 6 * 3600;
/// For how long an event is hidden that is executed, and how often that is prolonged: what the end of the server cuts
/// short is executed again so soon after the next start.
const VISIBILITY: Duration = Duration::from_secs(30);
const PROLONGED_AFTER: Duration = Duration::from_secs(10);
/// The first pause after a failure that is the server's, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How soon the stage looks again where nothing is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How soon it looks again where events wait for a place, should nobody say that one became free.
const CROWDED_INTERVAL: Duration = Duration::from_secs(1);

/// How an attempt ended.
enum Attempt {
    /// The function answered or failed.
    Ran(Ran),
    /// The server could not execute it.
    Failed(RunFailure),
    /// There is no such function or version any more.
    Gone,
}

impl Lambda {
    /// Says that there may be more to do.
    pub(super) fn wake(&self) {
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    /// A count that grows whenever there may be more to do.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        *self.arrivals.borrow()
    }

    /// Returns once the count is past `seen`.
    pub async fn wait_past(&self, seen: u64) {
        // The sender is here, so it does not go away.
        let _ = self.arrivals.subscribe().wait_for(|arrivals| *arrivals > seen).await;
    }

    /// Begins what is due and says when there will be more. What was begun goes on by itself.
    ///
    /// # Errors
    /// Where the catalog or the engine fails.
    pub async fn run_once(self: &Arc<Self>) -> Result<Timestamp, AwsError> {
        self.tidy_tasks();
        let now = self.clock.now();
        let mut next = now.plus(LOOK_INTERVAL);
        let mut waiting = 0;
        for queue in self.engine.names() {
            let is_events = queue.0.starts_with(EVENTS_PREFIX);
            if !is_events && !queue.0.starts_with(RESULTS_PREFIX) {
                continue;
            }
            let Ok(counts) = self.engine.counts(&queue, now) else { continue };
            waiting += counts.visible + counts.in_flight + counts.delayed;
            if let Some(visible) = self.engine.next_visible(&queue, now) {
                next = next.min(visible);
            }
            if counts.visible == 0 {
                continue;
            }
            let is_crowded = if queue == super::remote::queue() {
                self.begin_elsewhere(now).await?
            } else if is_events {
                self.begin_events(&queue, now).await?
            } else {
                self.begin_results(&queue, now).await?
            };
            if is_crowded {
                next = next.min(now.plus(CROWDED_INTERVAL));
            }
        }
        self.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.metrics.running.set(i64::try_from(self.slots.in_use()).unwrap_or(i64::MAX));
        Ok(next)
    }

    /// Takes events of a function for as long as there are places. Says whether some are left without one.
    async fn begin_events(self: &Arc<Self>, queue: &QueueKey, now: Timestamp) -> Result<bool, AwsError> {
        if self.runner.is_none() {
            return Ok(false);
        }
        let Some(function) = self.owner(queue).await? else { return Ok(false) };
        loop {
            let Some(slot) = self.slots.take_async(&function.full_name().arn(), function.reserved) else {
                return Ok(true);
            };
            let Some(message) = self.receive(queue, now, VISIBILITY).await? else { return Ok(false) };
            let (lambda, queue) = (Arc::clone(self), queue.clone());
            self.spawn(async move { lambda.work_on(&queue, message, slot).await });
        }
    }

    /// The function that a queue is of.
    async fn owner(&self, queue: &QueueKey) -> Result<Option<Function>, AwsError> {
        let arn = queue.0.strip_prefix(EVENTS_PREFIX).and_then(|rest| rest.split('#').next());
        let Some(named) = arn.and_then(Named::of_arn) else { return Ok(None) };
        let found = self.catalog.read(move |tx| FUNCTIONS.get(tx, named.function.row().bytes())).await;
        let found = found.map_err(|error: CatalogError| AwsError::internal(error))?;
        Ok(found.filter(|function| function.queue == queue.0))
    }

    pub(super) async fn receive(
        &self,
        queue: &QueueKey,
        now: Timestamp,
        visibility: Duration,
    ) -> Result<Option<Received>, AwsError> {
        let ask = Ask {
            messages_max: 1,
            now,
            visibility,
            expired_until: Timestamp::from_millis(0),
            in_flight_max: usize::MAX,
            dead_letters: None,
        };
        match self.engine.receive(queue, &ask).await {
            Ok(messages) => Ok(messages.into_iter().next()),
            Err(QueueError::Missing(_)) => Ok(None),
            Err(error) => Err(of_engine(error).into()),
        }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    fn tidy_tasks(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(error = &error as &dyn std::error::Error, "an invocation ended by itself");
            }
        }
    }

    /// Waits until all that was begun has ended: for tests.
    pub async fn idle(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }

    async fn work_on(&self, queue: &QueueKey, message: Received, slot: Slot) {
        let settled = match self.open_event(&message.payload) {
            Ok(event) => self.execute(queue, &message, event).await,
            Err(failure) => {
                tracing::error!(
                    error = &AwsError::from(failure) as &dyn std::error::Error,
                    queue = %queue,
                    "an event cannot be read and is dropped"
                );
                self.metrics.given_up.with_label_values(&["unreadable"]).inc();
                self.delete(queue, &message).await
            }
        };
        drop(slot);
        if let Err(failure) = settled {
            tracing::error!(
                error = &AwsError::from(failure) as &dyn std::error::Error,
                queue = %queue,
                "an event is not settled and comes again"
            );
        }
    }

    async fn execute(&self, queue: &QueueKey, message: &Received, event: QueuedEvent) -> Result<(), Failure> {
        let attempts = message.receipt.receives;
        let Some(named) = Named::of_arn(&event.invoked_arn) else { return self.delete(queue, message).await };
        let config = self.invoke_config(&named).await?;
        let age = self.clock.now().since(event.invoked_at);
        let age_max = Duration::from_secs(config.age_s_max.unwrap_or(AGE_S_MAX));
        let (found, attempt) = self.kept_hidden(queue, message, self.attempt(&named, &event)).await?;
        let role = found.as_ref().map(|found| found.config.clone());
        let outcome = |condition: &'static str, ran: Option<&Ran>| Outcome {
            event: event.clone(),
            condition,
            attempts,
            response: ran.map(|ran| (response_payload(ran), ran.is_error)),
            version: role.as_ref().map(|config| config.version.clone()).unwrap_or_default(),
        };
        let retries_max = config.retries_max.unwrap_or(RETRIES_MAX);
        match attempt {
            Attempt::Gone => {
                self.metrics.given_up.with_label_values(&["gone"]).inc();
                tracing::info!(function = %event.invoked_arn, "an event's function is gone");
            }
            Attempt::Ran(ran) if !ran.is_error => {
                let outcome = outcome("Success", Some(&ran));
                self.keep_results(role.as_ref(), &named, config.on_success.as_deref(), None, &outcome)
                    .await?;
            }
            Attempt::Ran(ran) => {
                let pause = self.retry_delay * attempts;
                let is_late = age + pause > age_max;
                if attempts <= retries_max && !is_late {
                    self.metrics.retried.inc();
                    return self.hide(queue, message, pause).await;
                }
                let condition =
                    if is_late && attempts <= retries_max { "EventAgeExceeded" } else { "RetriesExhausted" };
                let outcome = outcome(condition, Some(&ran));
                self.give_up(role.as_ref(), &named, &config, &outcome).await?;
            }
            Attempt::Failed(failure) => {
                let pause = PAUSE_MIN.saturating_mul(1 << attempts.min(16)).min(PAUSE_MAX);
                tracing::warn!(
                    function = %event.invoked_arn,
                    error = &failure as &dyn std::error::Error,
                    attempts,
                    "a function could not be executed"
                );
                if age + pause <= age_max {
                    return self.hide(queue, message, pause).await;
                }
                let outcome = outcome("EventAgeExceeded", None);
                self.give_up(role.as_ref(), &named, &config, &outcome).await?;
            }
        }
        self.delete(queue, message).await
    }

    /// Tells the destination of failures and that of dead letters of an event that is not tried any more.
    async fn give_up(
        &self,
        config: Option<&Config>,
        named: &Named,
        asked_for: &InvokeConfig,
        outcome: &Outcome,
    ) -> Result<(), Failure> {
        self.metrics.given_up.with_label_values(&[outcome.condition]).inc();
        let dead_letters = config.and_then(|config| config.dead_letters.as_deref());
        self.keep_results(config, named, asked_for.on_failure.as_deref(), dead_letters, outcome).await
    }

    async fn attempt(&self, named: &Named, event: &QueuedEvent) -> Result<(Option<Found>, Attempt), Failure> {
        let found = match self.chosen(named).await {
            Ok(found) => found,
            Err(Failure::Refused(_)) => return Ok((None, Attempt::Gone)),
            Err(failure) => return Err(failure),
        };
        let Some(runner) = &self.runner else {
            return Ok((
                Some(found),
                Attempt::Failed(RunFailure::Broken("functions are not run".to_owned())),
            ));
        };
        let blueprint = match self.blueprint(&found).await {
            Ok(blueprint) => blueprint,
            Err(failure) => {
                let error = AwsError::from(failure);
                return Ok((Some(found), Attempt::Failed(RunFailure::Broken(error.to_string()))));
            }
        };
        let invocation = Invocation {
            request_id: event.request_id.clone(),
            payload: Bytes::from(event.payload.clone()),
            invoked_arn: event.invoked_arn.clone(),
            trace: event.trace.clone(),
            client_context: event.client_context.clone(),
        };
        let ran = runner.run(blueprint, invocation).await;
        self.metrics.count(&ran);
        Ok((Some(found), ran.map_or_else(Attempt::Failed, Attempt::Ran)))
    }

    async fn invoke_config(&self, named: &Named) -> Result<InvokeConfig, Failure> {
        let row = named.function.row().text(config_qualifier(named));
        let found = self.catalog.read(move |tx| INVOKE_CONFIGS.get(tx, row.bytes())).await?;
        Ok(found.unwrap_or_else(|| InvokeConfig {
            qualifier: String::new(),
            retries_max: None,
            age_s_max: None,
            on_success: None,
            on_failure: None,
            last_modified: Timestamp::from_millis(0),
        }))
    }

    /// Does what takes its time, while nobody else receives the message.
    async fn kept_hidden<W: Future>(&self, queue: &QueueKey, message: &Received, work: W) -> W::Output {
        tokio::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(PROLONGED_AFTER, &mut work).await {
                return done;
            }
            if let Err(failure) = self.hide(queue, message, VISIBILITY).await {
                let error = AwsError::from(failure);
                tracing::warn!(error = &error as &dyn std::error::Error, %queue, "an event may be executed twice");
            }
        }
    }

    /// Lets a message be received again after a pause.
    pub(super) async fn hide(
        &self,
        queue: &QueueKey,
        message: &Received,
        pause: Duration,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let changes = [(message.receipt, now.plus(pause))];
        match self.engine.change_visibility(queue, &changes, now).await {
            Ok(_) | Err(QueueError::Missing(_)) => Ok(()),
            Err(error) => Err(of_engine(error)),
        }
    }

    pub(super) async fn delete(&self, queue: &QueueKey, message: &Received) -> Result<(), Failure> {
        match self.engine.delete(queue, &[message.receipt], self.clock.now()).await {
            Ok(_) | Err(QueueError::Missing(_)) => Ok(()),
            Err(error) => Err(of_engine(error)),
        }
    }
}

/// What the function answered, as a member of JSON.
fn response_payload(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.payload)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&ran.payload).into_owned()))
}
