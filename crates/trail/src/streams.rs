//! Streams: sends each trail's events to its log group as they come.
//!
//! On the road: beside delivery, from the event log to CloudWatch Logs. Each trail has a durable cursor, which moves once
//! the lines behind it are durable: what was sent in between is sent again after a crash, and nothing is left out but
//! events that are larger than a line may be. A log group that refuses delays only its own trail.
//! Invariants: a trail's events come to its stream in the log's order, first times taken; the log keeps what a trail with
//! a log group has not read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::{Clock, Record, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog, LogError, LogPosition, Table, Tx};
use futures::StreamExt;
use prometheus::{IntCounter, IntGauge, Registry};
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::chain::state_key;
use crate::config::{TRAILS, Trail, update_status};
use crate::log_groups::{LogGroups, LogPlace};
use crate::metrics::{counter, gauge};
use crate::takes::{next_range, takes};
use crate::{LogGroupFailure, StageError};

/// The largest event that is sent (AWS: "CloudTrail does not deliver events larger than 256 KB to CloudWatch Logs").
pub const EVENT_SIZE_BYTES_MAX: usize = 256 * 1024;

/// How many trails are worked on at the same time.
const TRAILS_AT_ONCE: usize = 4;

/// How much of the log is looked at before its lines are sent and the cursor moves.
const BATCH_ENTRIES_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// When it is looked again where the log does not grow.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// How far each trail's events were sent, by [`state_key`].
const CURSORS: Table<StreamCursor> = Table::new("trail.stream_cursor", 1);

/// How far a trail's events were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StreamCursor {
    /// The first position that was not sent.
    position: LogPosition,
}

/// The first position that a trail's log group still needs; none where it has no log group.
pub(crate) fn position(
    tx: &mut dyn Tx,
    state: &Key,
    trail: &Trail,
) -> Result<Option<LogPosition>, CatalogError> {
    let Some(since) = trail.log_group_since.filter(|_| trail.cloud_watch_logs_group_arn.is_some()) else {
        return Ok(None);
    };
    let cursor = CURSORS.get(tx, state.bytes())?;
    Ok(Some(cursor.map_or(since, |cursor| cursor.position.max(since))))
}

/// The stage. See the module's text.
pub struct StreamStage {
    log: Arc<dyn EventLog>,
    catalog: Catalog,
    groups: Arc<dyn LogGroups>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    backoff: Backoff,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
    next_due: Mutex<Timestamp>,
}

/// A trail that has a log group, and how far it was sent.
struct View {
    trail: Trail,
    place: LogPlace,
    position: LogPosition,
}

/// What a stretch of the log holds for a trail.
struct Stretch {
    /// The first position behind it.
    to: LogPosition,
    lines: Vec<(Timestamp, Bytes)>,
    too_large: u64,
}

impl StreamStage {
    /// The stage over `log`, `catalog` and `groups`; its metrics are registered in `registry`.
    ///
    /// # Errors
    /// Where the registry already has metrics of these names.
    pub fn new(
        log: Arc<dyn EventLog>,
        catalog: Catalog,
        groups: Arc<dyn LogGroups>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            log,
            catalog,
            groups,
            clock,
            metrics: Metrics::new(registry)?,
            backoff: Backoff::default(),
            running: tokio::sync::Mutex::default(),
            next_due: Mutex::default(),
        })
    }

    /// When there may be something to do again, unless the log grows before: the next attempt on a log group that
    /// refused.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        *self.next_due.lock().expect("no panic while the time is held")
    }

    /// The first position of the log that a log group still needs, or its end; the log may be trimmed up to there.
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
                    let Some(position) = position(tx, &state, &trail)? else { continue };
                    if let Some((from, _)) = next_range(&trail.logging_spans, position, log_end) {
                        needed = needed.min(from);
                    }
                }
                Ok(needed)
            })
            .await
    }

    /// Sends what came since.
    ///
    /// # Errors
    /// Where the catalog or the log failed for some trail; the others were worked on all the same.
    pub async fn run_once(&self) -> Result<(), StageError> {
        let _alone = self.running.lock().await;
        let now = self.clock.now();
        let outcome = self.run_all(now).await;
        self.backoff.settle(now);
        let look_at = now.plus(LOOK_INTERVAL);
        let due = self.backoff.next_retry().map_or(look_at, |retry_at| retry_at.min(look_at));
        *self.next_due.lock().expect("no panic while the time is held") = due;
        outcome
    }

    async fn run_all(&self, now: Timestamp) -> Result<(), StageError> {
        let log_end = self.log.end();
        let (trails, gone) = self.catalog.read(with_groups).await?;
        if !gone.is_empty() {
            self.forget(gone).await?;
        }
        let failures = Mutex::new(Vec::new());
        let lag = Mutex::new(0);
        let work = futures::stream::iter(trails).for_each_concurrent(TRAILS_AT_ONCE, |trail| {
            let (failures, lag) = (&failures, &lag);
            async move {
                match self.work_on(&trail, log_end, now).await {
                    Ok(behind) => {
                        let mut most = lag.lock().expect("no panic while the lag is held");
                        *most = behind.max(*most);
                    }
                    Err(error) => {
                        tracing::error!(trail = %trail.arn, error = &error as &dyn std::error::Error, "sending to the log group failed");
                        failures.lock().expect("no panic while the failures are held").push(error);
                    }
                }
            }
        });
        work.await;
        let lag = lag.into_inner().expect("no panic while the lag is held");
        self.metrics.entries_behind.set(i64::try_from(lag).unwrap_or(i64::MAX));
        let failures = failures.into_inner().expect("no panic while the failures are held");
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Sends until the trail has what the log had; says by how many entries it is behind.
    async fn work_on(&self, trail: &Trail, log_end: LogPosition, now: Timestamp) -> Result<u64, StageError> {
        loop {
            let Some(view) = self.view(trail).await? else { return Ok(0) };
            let Some((from, limit)) = next_range(&view.trail.logging_spans, view.position, log_end) else {
                return Ok(0);
            };
            let behind = log_end.0.saturating_sub(from.0);
            // Another log group is no reason to wait for this one.
            let patience = state_key(&trail.arn, trail.incarnation).text(&view.place.group_arn);
            if !self.backoff.is_ready(&patience, now) {
                return Ok(behind);
            }
            let stretch = self.read(&view.trail, from, limit).await?;
            let sent = stretch.lines.len() as u64;
            let outcome = match stretch.lines.is_empty() {
                true => Ok(()),
                false => self.groups.put(&view.place, stretch.lines).await,
            };
            if let Err(failure) = outcome {
                self.metrics.failures.inc();
                tracing::warn!(trail = %trail.arn, group = view.place.group_arn, error = %failure, "the log group took no events");
                self.backoff.fail(&patience, now);
                self.note_failure(&view.trail, failure).await?;
                return Ok(behind);
            }
            self.backoff.clear(patience.bytes());
            if !self.advance(&view, stretch.to, sent > 0).await? {
                return Ok(behind);
            }
            self.metrics.sent.inc_by(sent);
            self.metrics.too_large.inc_by(stretch.too_large);
        }
    }

    /// The trail as it is now; none where it is gone or has no log group.
    async fn view(&self, trail: &Trail) -> Result<Option<View>, CatalogError> {
        let (key, incarnation) = (trail.key(), trail.incarnation);
        let view = self.catalog.read(move |tx| {
            let found = TRAILS.get(tx, key.bytes())?;
            let Some(trail) = found.filter(|trail| trail.incarnation == incarnation) else { return Ok(None) };
            let position = position(tx, &state_key(&trail.arn, incarnation), &trail)?;
            let (Some(position), Some(place)) = (position, LogPlace::of(&trail)) else { return Ok(None) };
            Ok::<_, CatalogError>(Some(View { trail, place, position }))
        });
        view.await
    }

    async fn read(&self, trail: &Trail, from: LogPosition, limit: LogPosition) -> Result<Stretch, LogError> {
        let wanted = usize::try_from(limit.0 - from.0).unwrap_or(usize::MAX).min(BATCH_ENTRIES_MAX);
        let batch = match self.log.read(from, wanted, BATCH_BYTES_MAX).await {
            Err(LogError::Trimmed { from, start }) => {
                tracing::error!(trail = %trail.arn, ?from, ?start, "events that were not sent were trimmed from the log");
                return Ok(Stretch { to: start, lines: Vec::new(), too_large: 0 });
            }
            other => other?,
        };
        let mut stretch = Stretch { to: from, lines: Vec::new(), too_large: 0 };
        for (position, entry) in batch {
            if position >= limit {
                break;
            }
            stretch.to = LogPosition(position.0 + 1);
            if !is_taken(trail, &entry) {
                continue;
            }
            if entry.payload.len() > EVENT_SIZE_BYTES_MAX {
                tracing::warn!(trail = %trail.arn, ?position, size_bytes = entry.payload.len(), "an event is too large for a log group");
                stretch.too_large += 1;
                continue;
            }
            // A clock that stepped back does not put lines into disorder.
            let before = stretch.lines.last().map_or(entry.recorded_at, |(at, _)| *at);
            stretch.lines.push((entry.recorded_at.max(before), entry.payload));
        }
        Ok(stretch)
    }

    /// Moves the cursor, unless somebody else has; says whether to go on.
    async fn advance(&self, view: &View, to: LogPosition, has_sent: bool) -> Result<bool, CatalogError> {
        let (trail, seen, now) = (view.trail.clone(), view.position, self.clock.now());
        self.catalog
            .write(move |tx| {
                let state = state_key(&trail.arn, trail.incarnation);
                let found = TRAILS.get(tx, trail.key().bytes())?;
                let Some(live) = found.filter(|live| live.incarnation == trail.incarnation) else {
                    return Ok(false);
                };
                if position(tx, &state, &live)? != Some(seen) {
                    return Ok(false);
                }
                CURSORS.put(tx, state.bytes(), &StreamCursor { position: to })?;
                if has_sent {
                    update_status(tx, &trail, |status| {
                        status.latest_logs_delivery_at = Some(now);
                        status.latest_logs_delivery_error = None;
                    })?;
                }
                Ok(true)
            })
            .await
    }

    async fn note_failure(&self, trail: &Trail, failure: LogGroupFailure) -> Result<(), CatalogError> {
        let trail = trail.clone();
        self.catalog
            .write(move |tx| {
                update_status(tx, &trail, |status| {
                    status.latest_logs_delivery_error = Some(failure.code.clone());
                })
            })
            .await
    }

    async fn forget(&self, gone: Vec<Vec<u8>>) -> Result<(), CatalogError> {
        self.catalog
            .write(move |tx| {
                for state in &gone {
                    CURSORS.delete(tx, state)?;
                }
                Ok(())
            })
            .await
    }
}

/// The trails with log groups, and the cursors of trails that are gone.
fn with_groups(tx: &mut dyn Tx) -> Result<(Vec<Trail>, Vec<Vec<u8>>), CatalogError> {
    let trails = TRAILS.scan_prefix(tx, b"")?.into_iter().map(|(_, trail)| trail);
    let (mut with, mut live) = (Vec::new(), BTreeSet::new());
    for trail in trails {
        live.insert(state_key(&trail.arn, trail.incarnation).bytes().to_vec());
        if trail.cloud_watch_logs_group_arn.is_some() {
            with.push(trail);
        }
    }
    let cursors = CURSORS.scan_prefix(tx, b"")?.into_iter().map(|(state, _)| state);
    Ok((with, cursors.filter(|state| !live.contains(state)).collect()))
}

/// Whether the trail takes the entry. What cannot be read is delivery's to report.
fn is_taken(trail: &Trail, entry: &Entry) -> bool {
    if !matches!(entry.kind, EntryKind::Event | EntryKind::Ingested) {
        return false;
    }
    let record = Record::trusted(entry.payload.clone());
    record.facts().is_ok_and(|facts| takes(trail, &facts))
}

struct Metrics {
    sent: IntCounter,
    failures: IntCounter,
    too_large: IntCounter,
    entries_behind: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, about| counter(registry, name, about);
        Ok(Self {
            sent: counter("cairn_stream_sent_total", "Events sent to the log groups of trails.")?,
            failures: counter("cairn_stream_failures_total", "Attempts that a log group refused.")?,
            too_large: counter(
                "cairn_stream_too_large_total",
                "Events left out because they are larger than a line may be.",
            )?,
            entries_behind: gauge(
                registry,
                "cairn_stream_entries_behind",
                "By how many entries of the log the log group that is last was behind.",
            )?,
        })
    }
}
