//! Delivery: events from the event log into log files in the trails' buckets.
//!
//! On the road: between the event log and the buckets; the digest stage takes over what was delivered. A file is
//! written exactly once: *reserve* (a transaction fixes the range of the log, the files' keys, the time and the
//! configuration), *put* (rendering is a pure function of the reservation and the log), *commit* (a transaction moves
//! the cursor and hands the files to the digests). A crash at any point is retried with identical bytes and names.
//! Every transaction checks the trail's fencing epoch. A bucket that fails delays only its own trails.

mod commit;
mod metrics;
mod plan;
mod render;
mod state;

pub use crate::takes::takes;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_core::logfile::FILE_RAW_BYTES_MAX;
use cairn_core::{Clock, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, EventLog, LogError, LogPosition, Tx};
use futures::StreamExt;
use prometheus::Registry;
use tokio::sync::{Semaphore, watch};

use self::commit::Putting;
use self::metrics::Metrics;
use self::state::{CURSORS, Cursor, RESERVATIONS, Reservation};
use crate::StageError;
use crate::announcement;
use crate::backoff::Backoff;
use crate::bucket::Bucket;
use crate::chain::{DELIVERED, state_key};
use crate::config::{TRAILS, Trail};
use crate::lease::{Fence, Leases, Refused};
use crate::takes::next_range;
use crate::undecodable;

/// How many trails are worked on at the same time.
const TRAILS_AT_ONCE: usize = 4;

/// How many reservations are rendered at the same time: each takes its events' size and a quarter of it. What waits for
/// its bucket is rendered and takes a sixth or less, so that a slow bucket keeps nobody waiting.
const RENDERS_AT_ONCE: usize = 2;

/// How long a bucket may fail before events are given up (AWS: redelivery is tried for 30 days).
const REDELIVERY_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The shortest interval between deliveries.
const DELIVERY_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// When delivery looks again after a failure that is not a bucket's.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// How delivery behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Files are delivered at the multiples of this time (AWS: 5 minutes). At least 100 ms.
    pub delivery_interval: Duration,
    /// How many bytes of events one reservation covers, and delivery holds in memory for a trail.
    pub reservation_bytes_max: usize,
    /// How many new entries of the log make delivery due before its time.
    pub entries_waiting_max: u64,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            delivery_interval: Duration::from_secs(300),
            reservation_bytes_max: 16 * 1024 * 1024,
            entries_waiting_max: 20_000,
        }
    }
}

/// The stage. See the module's text.
pub struct DeliveryStage {
    log: Arc<dyn EventLog>,
    catalog: Catalog,
    bucket: Arc<dyn Bucket>,
    clock: Arc<dyn Clock>,
    settings: DeliverySettings,
    metrics: Metrics,
    leases: Leases,
    backoff: Backoff,
    /// Its permits are held by what is being rendered.
    rendering: Semaphore,
    /// How many reservations were committed since the stage was made.
    committed: watch::Sender<u64>,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
}

/// What the stage remembers between runs; losing it costs nothing but an early look.
#[derive(Debug, Default)]
struct Memory {
    next_due: Timestamp,
    looked_at: Timestamp,
    log_end: LogPosition,
    /// The last multiple of the interval at which each trail was looked at.
    slots: HashMap<Vec<u8>, Timestamp>,
}

/// One run's view of the world.
#[derive(Clone, Copy, Debug)]
struct Run {
    now: Timestamp,
    /// The last multiple of the delivery interval.
    slot: Timestamp,
    /// The end of the log when the run began.
    log_end: LogPosition,
}

/// What one step with a trail came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something was done; there may be more.
    Moved,
    /// Nothing more to do in this run.
    Done,
}

/// The state of one trail.
struct View {
    trail: Trail,
    state: Key,
    cursor: Cursor,
    reservation: Option<Reservation>,
}

impl DeliveryStage {
    /// The stage over `log`, `catalog` and `bucket`; its metrics are registered in `registry`.
    ///
    /// # Errors
    /// Where the registry already has metrics of these names.
    pub fn new(
        log: Arc<dyn EventLog>,
        catalog: Catalog,
        bucket: Arc<dyn Bucket>,
        clock: Arc<dyn Clock>,
        mut settings: DeliverySettings,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        settings.delivery_interval = settings.delivery_interval.max(DELIVERY_INTERVAL_MIN);
        // Commas and brackets come on top of the events, at most one byte to each.
        settings.reservation_bytes_max = settings.reservation_bytes_max.clamp(1, FILE_RAW_BYTES_MAX / 2);
        Ok(Self {
            log,
            catalog,
            bucket,
            clock,
            settings,
            metrics: Metrics::new(registry)?,
            leases: Leases::new("delivery"),
            backoff: Backoff::default(),
            rendering: Semaphore::new(RENDERS_AT_ONCE),
            committed: watch::Sender::new(0),
            running: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
        })
    }

    /// When there may be something to do again: the next multiple of the interval, or the next attempt on a bucket
    /// that failed.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        self.memory.lock().expect("no panic while the memory is held").next_due
    }

    /// A count that grows with each commit, for whoever waits for files.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// The first position of the log that a trail still needs, or its end; the log may be trimmed up to there.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn needed_from(&self) -> Result<LogPosition, CatalogError> {
        let log_end = self.log.end();
        self.catalog
            .read(move |tx| {
                let mut needed = log_end;
                for (_, trail) in TRAILS.scan_prefix(tx, b"")? {
                    let state = state_key(&trail.arn, trail.incarnation);
                    let position =
                        CURSORS.get(tx, state.bytes())?.map_or(LogPosition(0), |cursor| cursor.position);
                    if let Some((from, _)) = next_range(&trail.logging_spans, position, log_end) {
                        needed = needed.min(from);
                    }
                }
                Ok(needed)
            })
            .await
    }

    /// Does what is due: finishes what was begun, then delivers what came since. Nothing happens before
    /// [`DeliveryStage::next_due`], unless many entries wait.
    ///
    /// # Errors
    /// Where the catalog or the log failed for some trail; the others were worked on all the same.
    pub async fn run_once(&self) -> Result<(), StageError> {
        let _alone = self.running.lock().await;
        let now = self.clock.now();
        let interval = self.settings.delivery_interval;
        let run = Run { now, slot: now.floor(interval), log_end: self.log.end() };
        if !self.is_due(run) {
            return Ok(());
        }
        let outcome = self.run_all(run).await;
        self.backoff.settle(now);
        let mut next_due = run.slot.plus(interval);
        if let Some(retry_at) = self.backoff.next_retry() {
            next_due = next_due.min(retry_at);
        }
        if outcome.is_err() {
            next_due = next_due.min(now.plus(PAUSE_AFTER_ERROR));
        }
        let mut memory = self.memory.lock().expect("no panic while the memory is held");
        memory.next_due = next_due;
        memory.looked_at = now;
        memory.log_end = run.log_end;
        outcome
    }

    /// A clock that stepped back makes delivery due as well: the time it waits for may be far off now.
    fn is_due(&self, run: Run) -> bool {
        let memory = self.memory.lock().expect("no panic while the memory is held");
        run.now >= memory.next_due || run.now < memory.looked_at || self.many_wait(run, &memory)
    }

    fn many_wait(&self, run: Run, memory: &Memory) -> bool {
        run.log_end.0.saturating_sub(memory.log_end.0) >= self.settings.entries_waiting_max
    }

    async fn run_all(&self, run: Run) -> Result<(), StageError> {
        let (trails, states) =
            self.catalog.read(|tx| Ok::<_, CatalogError>((trails(tx)?, states(tx)?))).await?;
        let live: BTreeSet<Vec<u8>> =
            trails.iter().map(|trail| state_key(&trail.arn, trail.incarnation).bytes().to_vec()).collect();
        for gone in states.into_iter().filter(|state| !live.contains(state)) {
            self.forget(gone).await?;
        }
        self.leases.forget_all_but(&self.catalog, &live).await?;
        let failures = Mutex::new(Vec::new());
        let work = futures::stream::iter(trails).for_each_concurrent(TRAILS_AT_ONCE, |trail| {
            let failures = &failures;
            async move {
                if let Err(error) = self.work_on(&trail, run).await {
                    tracing::error!(trail = %trail.arn, error = &error as &dyn std::error::Error, "delivery failed");
                    failures.lock().expect("no panic while the failures are held").push(error);
                }
            }
        });
        work.await;
        let failures = failures.into_inner().expect("no panic while the failures are held");
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    async fn work_on(&self, trail: &Trail, run: Run) -> Result<(), StageError> {
        let state = state_key(&trail.arn, trail.incarnation);
        if !self.backoff.is_ready(&state, run.now) {
            return Ok(());
        }
        let mut turn = None;
        loop {
            let Some(view) = self.view(trail, run).await? else { return Ok(()) };
            let step = match &view.reservation {
                Some(reservation) => self.finish(&view, reservation, run).await?,
                None if *turn.get_or_insert_with(|| self.takes_turn(&view, run)) => {
                    self.reserve(&view, run).await?
                }
                None => Step::Done,
            };
            if step == Step::Done {
                return Ok(());
            }
        }
    }

    /// The trail's state; none where the trail is gone or has nothing to deliver.
    async fn view(&self, trail: &Trail, run: Run) -> Result<Option<View>, StageError> {
        let (arn, key, incarnation) = (trail.arn.clone(), trail.key(), trail.incarnation);
        let interval = self.settings.delivery_interval;
        let view = self.catalog.read(move |tx| {
            let found = TRAILS.get(tx, key.bytes())?;
            let Some(trail) = found.filter(|trail| trail.incarnation == incarnation) else { return Ok(None) };
            let state = state_key(&arn, incarnation);
            let reservation = RESERVATIONS.get(tx, state.bytes())?;
            // A trail that was never served becomes due at the first multiple of the interval after StartLogging.
            let new = || Cursor {
                position: LogPosition(0),
                slot: trail.started_at.unwrap_or(run.now).floor(interval),
            };
            let cursor = CURSORS.get(tx, state.bytes())?.unwrap_or_else(new);
            Ok::<_, CatalogError>(Some(View { trail, state, cursor, reservation }))
        });
        Ok(view.await?)
    }

    /// Fixes the next range to deliver, if there is one and its time has come.
    async fn reserve(&self, view: &View, run: Run) -> Result<Step, StageError> {
        let Some((from, limit)) = next_range(&view.trail.logging_spans, view.cursor.position, run.log_end)
        else {
            return Ok(Step::Done);
        };
        let bytes_max = self.settings.reservation_bytes_max;
        let plan = match plan::plan(&*self.log, &view.trail, from, limit, bytes_max).await {
            Err(LogError::Trimmed { from, start }) => {
                tracing::error!(trail = %view.trail.arn, ?from, ?start, "undelivered events were trimmed from the log");
                plan::plan(&*self.log, &view.trail, start, limit, bytes_max).await?
            }
            other => other?,
        };
        let Some(fence) = self.leases.hold(&self.catalog, &view.state, run.now).await? else {
            return Ok(Step::Done);
        };
        self.keep_plan(view, fence, from, plan, run).await
    }

    async fn keep_plan(
        &self,
        view: &View,
        fence: Fence,
        from: LogPosition,
        mut plan: plan::Plan,
        run: Run,
    ) -> Result<Step, StageError> {
        let undecodable = std::mem::take(&mut plan.undecodable);
        self.metrics.undecodable.inc_by(undecodable.len() as u64);
        let is_empty = plan.is_empty();
        if is_empty && plan.to == from {
            return Ok(Step::Done);
        }
        // The slot is served once its last range is reserved: a restart in between goes on at once.
        let is_last = next_range(&view.trail.logging_spans, plan.to, run.log_end).is_none();
        let cursor = Cursor {
            position: if is_empty { plan.to } else { view.cursor.position },
            slot: if is_last { run.slot } else { view.cursor.slot },
        };
        let interval = self.settings.delivery_interval;
        let reservation = plan.into_reservation(&view.trail, from, run.now, interval);
        let (state, seen, trail) = (view.state.clone(), view.cursor, view.trail.clone());
        let kept = self.catalog.write(move |tx| {
            fence.check(tx)?;
            let unmoved =
                CURSORS.get(tx, state.bytes())?.is_none_or(|cursor| cursor.position == seen.position);
            if !unmoved || RESERVATIONS.get(tx, state.bytes())?.is_some() {
                return Err(Refused::Overtaken);
            }
            let live = TRAILS.get(tx, trail.key().bytes())?;
            let Some(live) = live.filter(|live| *live == trail) else {
                // It was changed or deleted meanwhile: the next step sees it as it is now.
                return Ok(());
            };
            for (position, set_aside) in &undecodable {
                undecodable::set_aside(tx, *position, set_aside)?;
            }
            commit::move_cursor(tx, &state, live, cursor)?;
            if !is_empty {
                RESERVATIONS.put(tx, state.bytes(), &reservation)?;
            }
            Ok(())
        });
        moved_unless_overtaken(kept.await)
    }

    /// Whether it is the trail's turn: once for each multiple of the interval, and whenever much waits.
    fn takes_turn(&self, view: &View, run: Run) -> bool {
        let mut memory = self.memory.lock().expect("no panic while the memory is held");
        let looked_at = memory.slots.get(view.state.bytes()).copied().unwrap_or_default();
        let slot = looked_at.max(view.cursor.slot);
        let waiting = run.log_end.0.saturating_sub(view.cursor.position.0);
        let stepped_back = slot > run.now;
        let due = run.slot > slot || stepped_back || waiting >= self.settings.entries_waiting_max;
        if due {
            memory.slots.insert(view.state.bytes().to_vec(), run.slot);
        }
        due
    }

    /// Puts and commits what was reserved.
    async fn finish(&self, view: &View, reservation: &Reservation, run: Run) -> Result<Step, StageError> {
        let Some(fence) = self.leases.hold(&self.catalog, &view.state, run.now).await? else {
            return Ok(Step::Done);
        };
        let begun_at = self.clock.now();
        let rendering = self.rendering.acquire().await.expect("nobody closes it");
        let files = render::render(&*self.log, reservation).await?;
        drop(rendering);
        let putting = Putting { stage: self, view, reservation, fence, begun_at };
        putting.put_and_commit(files).await
    }

    /// Removes what was kept of a trail that was deleted.
    async fn forget(&self, state: Vec<u8>) -> Result<(), StageError> {
        self.backoff.clear(&state);
        self.memory.lock().expect("no panic while the memory is held").slots.remove(&state);
        let work = self.catalog.write(move |tx| {
            CURSORS.delete(tx, &state)?;
            RESERVATIONS.delete(tx, &state)?;
            for (key, _) in DELIVERED.scan_prefix(tx, &state)? {
                DELIVERED.delete(tx, &key)?;
            }
            announcement::forget(tx, &state)?;
            Ok::<_, CatalogError>(())
        });
        Ok(work.await?)
    }
}

fn trails(tx: &mut dyn Tx) -> Result<Vec<Trail>, CatalogError> {
    Ok(TRAILS.scan_prefix(tx, b"")?.into_iter().map(|(_, trail)| trail).collect())
}

fn states(tx: &mut dyn Tx) -> Result<Vec<Vec<u8>>, CatalogError> {
    Ok(CURSORS.scan_prefix(tx, b"")?.into_iter().map(|(key, _)| key).collect())
}

/// Overtaken is no failure: whoever was faster does the work.
fn moved_unless_overtaken(outcome: Result<(), Refused>) -> Result<Step, StageError> {
    match outcome {
        Ok(()) => Ok(Step::Moved),
        Err(Refused::Overtaken) => Ok(Step::Done),
        Err(Refused::Catalog(error)) => Err(error.into()),
    }
}
