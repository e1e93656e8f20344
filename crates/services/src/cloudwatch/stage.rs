//! The stage of alarms: looks at those whose data arrived, whose children changed, or whose time has come.
//!
//! It reads and decides on snapshots, many alarms at a time, and writes only changes. A change is made only of the alarm as
//! it was when it was looked at; otherwise it is looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_core::alarm::State;
use cairn_store::{CatalogError, Tx};
use prometheus::IntCounter;
use tokio::sync::Mutex;

use super::CloudWatch;
use super::alarm::{ALARMS, Alarm, Kind, NewState, Suppressed, change, owe_actions};
use super::error::Failure;
use super::evaluate::{Verdict, inputs, named_alarm, verdict};
use super::watch::{AlarmKey, Watch};

/// Alarms that are looked at on one snapshot.
const ALARMS_AT_ONCE: usize = 100;
/// Alarms that are read at the start at a time.
const ALARMS_READ_AT_ONCE: usize = 1000;
/// Rounds of a run: changes of alarms touch composite ones, those others.
const ROUNDS_MAX: usize = 64;

/// Evaluates alarms.
pub struct AlarmStage {
    cloudwatch: Arc<CloudWatch>,
    /// Whether the catalog's alarms are known.
    is_loaded: Mutex<bool>,
}

impl AlarmStage {
    /// The stage of that service.
    #[must_use]
    pub fn new(cloudwatch: Arc<CloudWatch>) -> Self {
        Self { cloudwatch, is_loaded: Mutex::new(false) }
    }

    /// How often there was something to look at.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.cloudwatch.watch.arrivals()
    }

    /// Returns once [`AlarmStage::mark`] is past `seen`.
    pub async fn wait_past(&self, seen: u64) {
        self.cloudwatch.watch.wait_past(seen).await;
    }

    /// Looks at what is due. Says when more will be.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn run_once(&self) -> Result<Timestamp, CatalogError> {
        self.load().await?;
        let watch = &self.cloudwatch.watch;
        let (due, next) = watch.take_due(self.cloudwatch.clock.now());
        let mut left: BTreeSet<AlarmKey> = due.into_iter().collect();
        for _ in 0..ROUNDS_MAX {
            left.extend(self.take_touched().await?);
            if left.is_empty() {
                break;
            }
            let round: Vec<AlarmKey> = std::mem::take(&mut left).into_iter().collect();
            for some in round.chunks(ALARMS_AT_ONCE) {
                if let Err(error) = self.look_at(some.to_vec()).await {
                    round.iter().for_each(|alarm| watch.touch_again(alarm));
                    return Err(error);
                }
            }
        }
        self.cloudwatch.counters.alarms.set(i64::try_from(watch.alarms()).unwrap_or(i64::MAX));
        Ok(next)
    }

    /// What was touched, within a transaction: see the module's text of `watch`.
    async fn take_touched(&self) -> Result<BTreeSet<AlarmKey>, CatalogError> {
        if !self.cloudwatch.watch.is_touched() {
            return Ok(BTreeSet::new());
        }
        let (watch, mut taken) = (self.cloudwatch.watch.clone(), BTreeSet::new());
        self.cloudwatch
            .catalog
            .write(move |_| {
                taken.extend(watch.take_touched());
                Ok(taken.clone())
            })
            .await
    }

    /// Gets to know the alarms that there were when the server started.
    async fn load(&self) -> Result<(), CatalogError> {
        let mut is_loaded = self.is_loaded.lock().await;
        let mut from: AlarmKey = Vec::new();
        while !*is_loaded {
            let start = from.clone();
            let rows = self
                .cloudwatch
                .catalog
                .read(move |tx| ALARMS.scan(tx, &start, None, ALARMS_READ_AT_ONCE))
                .await?;
            *is_loaded = rows.len() < ALARMS_READ_AT_ONCE;
            for (row, alarm) in rows {
                from = [row.as_slice(), &[0]].concat();
                self.cloudwatch.watch.set(&row, inputs(&alarm));
            }
        }
        Ok(())
    }

    /// Looks at some alarms, and changes those that have to.
    async fn look_at(&self, keys: Vec<AlarmKey>) -> Result<(), CatalogError> {
        let cloudwatch = &self.cloudwatch;
        let now = cloudwatch.clock.now();
        cloudwatch.counters.evaluations.inc_by(keys.len() as u64);
        let (watch, failures) = (cloudwatch.watch.clone(), cloudwatch.counters.evaluation_failures.clone());
        let decided = cloudwatch.catalog.read(move |tx| decide(tx, &keys, now, (&watch, &failures))).await?;
        if decided.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = decided.iter().map(|_| cloudwatch.entropy.event_id().to_string()).collect();
        let watch = cloudwatch.watch.clone();
        let changed = cloudwatch
            .catalog
            .write(move |tx| {
                let mut changed = Vec::new();
                for (Decided { key, seen, found }, id) in decided.iter().zip(&ids) {
                    match ALARMS.get(tx, key)? {
                        Some(alarm) if alarm == *seen => {
                            changed.extend(apply(tx, key, alarm, found.clone(), (now, id))?);
                            watch.touch_parents(key);
                        }
                        Some(_) => watch.touch_again(key),
                        None => {}
                    }
                }
                Ok::<_, CatalogError>(changed)
            })
            .await?;
        for state in changed {
            cloudwatch.counters.changes.with_label_values(&[state.name()]).inc();
        }
        cloudwatch.owing.announce();
        Ok(())
    }
}

/// An alarm that has to change, as it was when that was found out.
struct Decided {
    key: AlarmKey,
    seen: Alarm,
    /// Its new state; none where only its suppression changes.
    found: Option<Verdict>,
}

/// Looks at alarms on a snapshot. One that cannot be evaluated keeps its state.
fn decide(
    tx: &mut dyn Tx,
    keys: &[AlarmKey],
    now: Timestamp,
    (watch, failures): (&Watch, &IntCounter),
) -> Result<Vec<Decided>, CatalogError> {
    let mut decided = Vec::new();
    for key in keys {
        let Some(seen) = ALARMS.get(tx, key)? else {
            watch.forget(key);
            continue;
        };
        match verdict(tx, &seen, now) {
            Ok(found) => {
                let found = found.filter(|verdict| verdict.state != seen.state);
                if found.is_some() || is_suppression_due(tx, &seen, now)? {
                    decided.push(Decided { key: key.clone(), seen, found });
                }
            }
            Err(Failure::Catalog(error)) => return Err(error),
            Err(error) => {
                failures.inc();
                tracing::warn!(alarm = %seen.arn(), error = &error as &dyn std::error::Error,
                    "an alarm cannot be evaluated");
            }
        }
    }
    Ok(decided)
}

/// Whether the suppressor is in ALARM; none where the alarm has none.
fn is_suppressing(tx: &mut dyn Tx, alarm: &Alarm) -> Result<Option<bool>, CatalogError> {
    let Kind::Composite(composite) = &alarm.kind else { return Ok(None) };
    let Some(suppressor) = &composite.suppressor else { return Ok(None) };
    let found = ALARMS.get(tx, &named_alarm(alarm, &suppressor.alarm))?;
    Ok(Some(found.is_some_and(|alarm| alarm.state == State::Alarm)))
}

/// What becomes of a suppression: the same, another one, or its end.
fn next_suppression(
    tx: &mut dyn Tx,
    alarm: &Alarm,
    now: Timestamp,
) -> Result<Option<Option<Suppressed>>, CatalogError> {
    let Kind::Composite(composite) = &alarm.kind else { return Ok(None) };
    let (Some(suppressed), Some(suppressor)) = (&composite.suppressed, &composite.suppressor) else {
        return Ok(None);
    };
    let is_suppressing = is_suppressing(tx, alarm)?.unwrap_or(false);
    let with = |by: &str, until| Suppressed { by: by.to_owned(), until, from: suppressed.from };
    Ok(match (suppressed.by.as_str(), is_suppressing) {
        ("Alarm", true) => None,
        (_, true) => Some(Some(with("Alarm", None))),
        ("Alarm", false) => {
            let until = now.plus(Duration::from_secs(suppressor.extension_s));
            Some(Some(with("ExtensionPeriod", Some(until))))
        }
        (_, false) if suppressed.until.is_none_or(|until| until <= now) => Some(None),
        (_, false) => None,
    })
}

fn is_suppression_due(tx: &mut dyn Tx, alarm: &Alarm, now: Timestamp) -> Result<bool, CatalogError> {
    Ok(next_suppression(tx, alarm, now)?.is_some())
}

/// Changes an alarm's state where it has to be, and its suppression. Says the new state.
fn apply(
    tx: &mut dyn Tx,
    key: &AlarmKey,
    mut alarm: Alarm,
    found: Option<Verdict>,
    (now, event_id): (Timestamp, &str),
) -> Result<Option<State>, CatalogError> {
    let mut changed = None;
    if let Some(found) = found {
        changed = Some(found.state);
        let from = alarm.state;
        let suppressing = is_suppressing(tx, &alarm)?;
        if let (Kind::Composite(composite), Some(is_suppressing)) = (&mut alarm.kind, suppressing) {
            let wait_s = composite.suppressor.as_ref().map_or(0, |own| own.wait_s);
            let (by, until) = if is_suppressing {
                ("Alarm", None)
            } else {
                ("WaitPeriod", Some(now.plus(Duration::from_secs(wait_s))))
            };
            // Actions that wait already are of the way from where it began.
            let from = composite.suppressed.as_ref().map_or(from, |waiting| waiting.from);
            composite.suppressed = Some(Suppressed { by: by.to_owned(), until, from });
        }
        let new = NewState {
            state: found.state,
            reason: found.reason,
            reason_data: Some(found.reason_data),
            at: now,
            event_id: event_id.to_owned(),
        };
        change(tx, &mut alarm, new, suppressing.is_none())?;
    }
    if let Some(next) = next_suppression(tx, &alarm, now)? {
        release_or_keep(tx, &mut alarm, next, event_id)?;
    }
    ALARMS.put(tx, key, &alarm)?;
    Ok(changed)
}

/// The actions of an alarm that is back where it was before they waited are not done.
fn release_or_keep(
    tx: &mut dyn Tx,
    alarm: &mut Alarm,
    next: Option<Suppressed>,
    event_id: &str,
) -> Result<(), CatalogError> {
    let Kind::Composite(composite) = &mut alarm.kind else { return Ok(()) };
    let before = std::mem::replace(&mut composite.suppressed, next.clone());
    if let (None, Some(waited)) = (next, before)
        && waited.from != alarm.state
    {
        let old = Alarm { state: waited.from, ..alarm.clone() };
        owe_actions(tx, alarm, &old, event_id)?;
    }
    Ok(())
}
