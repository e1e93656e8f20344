//! The stage that executes lifecycle rules. It takes no input: it looks which buckets are due for a pass, does some of
//! the work of each in turn, and stops; first run, retry and restart are the same code.
//!
//! A pass looks at every version and upload of a bucket that a rule may be for, once after each midnight UTC and once after the rules were put. It goes on page by page, buckets in turns, so that a bucket of
//! millions keeps no other waiting. A pass that a restart cuts short begins anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, EventLog, LogPosition, Table, Tx};
use cairn_wire::AwsError;
use prometheus::{IntCounter, IntGauge, Registry};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::apply::{Acting, Applied, apply_to_key, apply_to_upload, facts, ruled_bucket};
use super::due::{Calendar, Place, abort, due};
use super::record::{RecordError, Records};
use super::rules::{CONFIGURATIONS, Configuration};
use crate::s3::S3;
use crate::s3::error::Failure;
use crate::s3::multipart::UploadName;
use crate::s3::state::{UPLOADS, VERSIONS, Version, bucket_key};

/// The last pass of each bucket that was finished, by the bucket's name.
const PASSES: Table<Finished> = Table::new("s3.lifecycle_pass", 1);

/// Rows looked at in one step.
const PAGE: usize = 500;
/// Steps in one run, so that a run ends and the server may stop.
const STEPS_PER_RUN: usize = 64;
/// Things done in one transaction.
const ACTIONS_PER_TRANSACTION: usize = 100;
/// Uploads given up in one transaction: each may have thousands of parts.
const UPLOADS_PER_TRANSACTION: usize = 10;

/// A pass that was finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Finished {
    /// The midnight that it was for.
    slot: Timestamp,
    /// The revision of the rules that it executed.
    revision: String,
}

/// A pass under way.
struct Pass {
    bucket: String,
    finished: Finished,
    /// Where it goes on; uploads come after versions.
    at: At,
}

enum At {
    Versions { from: Vec<u8>, behind: Option<Behind> },
    Uploads { from: Vec<u8> },
}

/// The version before the next one to look at.
#[derive(Clone)]
struct Behind {
    key: String,
    modified_at: Timestamp,
    /// How many versions of the key that are not current are newer than the next one.
    newer: u32,
}

/// Executes the rules.
pub struct LifecycleStage {
    s3: Arc<S3>,
    records: Records,
    /// How long a day is: passes begin at its multiples.
    day: Duration,
    metrics: Metrics,
    changed: watch::Receiver<u64>,
    underway: Mutex<VecDeque<Pass>>,
    next_due: std::sync::Mutex<Timestamp>,
}

/// Why a run failed; what was done stays done, and the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The catalog failed.
    #[error("lifecycle rules cannot be executed")]
    Store(#[source] AwsError),
    /// The records could not be appended.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<Failure> for LifecycleError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure.0)
    }
}

impl From<CatalogError> for LifecycleError {
    fn from(error: CatalogError) -> Self {
        Self::Record(error.into())
    }
}

impl LifecycleStage {
    /// The stage that executes the rules of the buckets of `s3`, and records what it does in `log`. It is the only one.
    ///
    /// # Errors
    /// Where its metrics are on the registry already.
    pub fn new(s3: Arc<S3>, log: Arc<dyn EventLog>, registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            records: Records::new(s3.catalog.clone(), log),
            changed: s3.lifecycle.changed.subscribe(),
            day: s3.lifecycle.day(),
            s3,
            metrics: Metrics::new(registry)?,
            underway: Mutex::default(),
            next_due: std::sync::Mutex::default(),
        })
    }

    /// When there may be something to do again, unless rules are put before.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        *self.next_due.lock().expect("no panic while the time is held")
    }

    /// How often rules were put or taken away since the server started.
    #[must_use]
    pub fn mark(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Returns once rules were put or taken away since `mark`.
    pub async fn wait_past(&self, mark: u64) {
        let mut changed = self.changed.clone();
        if changed.wait_for(|times| *times > mark).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// From which position on the event log is needed, to know which actions it has records of.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn needed_from(&self) -> Result<LogPosition, CatalogError> {
        self.records.needed_from().await
    }

    /// Goes on with the passes that are due.
    ///
    /// # Errors
    /// Where the catalog or the log fails.
    pub async fn run_once(&self) -> Result<(), LifecycleError> {
        let mut underway = self.underway.lock().await;
        self.records.append(self.s3.clock.now()).await?;
        let slot = self.s3.clock.now().floor(self.day);
        for pass in self.due_passes(slot).await? {
            // Rules that were put meanwhile, or the next day, end the pass under way.
            underway.retain(|other| other.bucket != pass.bucket || other.finished == pass.finished);
            if underway.iter().all(|other| other.bucket != pass.bucket) {
                underway.push_back(pass);
            }
        }
        for _ in 0..STEPS_PER_RUN {
            let Some(mut pass) = underway.pop_front() else { break };
            match self.step(&mut pass).await {
                Ok(true) => underway.push_back(pass),
                Ok(false) => self.finish(pass).await?,
                Err(error) => {
                    underway.push_back(pass);
                    return Err(error);
                }
            }
        }
        self.metrics.underway.set(i64::try_from(underway.len()).unwrap_or(i64::MAX));
        let now = self.s3.clock.now();
        let next = if underway.is_empty() { slot.plus(self.day) } else { now };
        *self.next_due.lock().expect("no panic while the time is held") = next;
        Ok(())
    }

    /// The buckets whose last pass was for another slot or for other rules.
    async fn due_passes(&self, slot: Timestamp) -> Result<Vec<Pass>, LifecycleError> {
        let work = self.s3.catalog.read(move |tx| {
            let mut passes = Vec::new();
            for (row, configuration) in CONFIGURATIONS.scan_prefix(tx, b"")? {
                let finished = Finished { slot, revision: configuration.revision.clone() };
                if PASSES.get(tx, &row)?.as_ref() == Some(&finished) {
                    continue;
                }
                let Some(bucket) = bucket_of(&row) else { continue };
                let from = scope(&bucket, &configuration).bytes().to_vec();
                passes.push(Pass { bucket, finished, at: At::Versions { from, behind: None } });
            }
            Ok::<_, CatalogError>(passes)
        });
        Ok(work.await?)
    }

    async fn finish(&self, pass: Pass) -> Result<(), LifecycleError> {
        self.metrics.passes.inc();
        tracing::debug!(bucket = pass.bucket, "a lifecycle pass is finished");
        let work = self.s3.catalog.write(move |tx| {
            let row = bucket_key(&pass.bucket);
            if CONFIGURATIONS.get(tx, row.bytes())?.is_some() {
                PASSES.put(tx, row.bytes(), &pass.finished)?;
            }
            Ok::<_, CatalogError>(())
        });
        Ok(work.await?)
    }

    /// Looks at one page of a bucket and does what is due there; says whether there is more.
    async fn step(&self, pass: &mut Pass) -> Result<bool, LifecycleError> {
        let calendar = Calendar { now: self.s3.clock.now(), day: self.day };
        match &pass.at {
            At::Versions { from, behind } => {
                let (bucket, from, behind) = (pass.bucket.clone(), from.clone(), behind.clone());
                let found =
                    self.s3.catalog.read(move |tx| look(tx, &bucket, &from, behind.clone(), calendar));
                let Some(seen) = found.await? else { return Ok(false) };
                self.metrics.versions.inc_by(seen.rows as u64);
                self.apply_to_keys(&pass.bucket, seen.keys, calendar).await?;
                pass.at = match seen.next {
                    Some((from, behind)) => At::Versions { from, behind },
                    None => At::Uploads { from: seen.scope },
                };
                Ok(true)
            }
            At::Uploads { from } => {
                let (bucket, from) = (pass.bucket.clone(), from.clone());
                let found = self.s3.catalog.read(move |tx| look_at_uploads(tx, &bucket, &from, calendar));
                let Some((uploads, next)) = found.await? else { return Ok(false) };
                self.apply_to_uploads(&pass.bucket, uploads, calendar).await?;
                let has_more = next.is_some();
                if let Some(from) = next {
                    pass.at = At::Uploads { from };
                }
                Ok(has_more)
            }
        }
    }

    async fn apply_to_keys(
        &self,
        bucket: &str,
        mut keys: VecDeque<String>,
        calendar: Calendar,
    ) -> Result<(), LifecycleError> {
        while !keys.is_empty() {
            let acting = self.acting(calendar);
            let (name, mut left) = (bucket.to_owned(), keys.clone());
            let work = self.s3.catalog.write(move |tx| {
                let mut applied = Applied::default();
                left.clone_from(&keys);
                let Some((bucket, configuration)) = ruled_bucket(tx, &name)? else {
                    return Ok((applied, VecDeque::new()));
                };
                while let Some(key) = left.pop_front() {
                    let room = ACTIONS_PER_TRANSACTION - applied.actions;
                    apply_to_key(tx, (&bucket, &configuration), &key, &acting, room, &mut applied)?;
                    if applied.actions >= ACTIONS_PER_TRANSACTION {
                        // There may be more of it.
                        left.push_front(key);
                        break;
                    }
                }
                Ok::<_, Failure>((applied, left.clone()))
            });
            let (applied, rest) = work.await?;
            keys = rest;
            self.settle(applied).await?;
        }
        Ok(())
    }

    async fn apply_to_uploads(
        &self,
        bucket: &str,
        uploads: Vec<UploadName>,
        calendar: Calendar,
    ) -> Result<(), LifecycleError> {
        for some in uploads.chunks(UPLOADS_PER_TRANSACTION) {
            let (name, some, acting) = (bucket.to_owned(), some.to_vec(), self.acting(calendar));
            let work = self.s3.catalog.write(move |tx| {
                let mut applied = Applied::default();
                if let Some((bucket, configuration)) = ruled_bucket(tx, &name)? {
                    for upload in &some {
                        apply_to_upload(tx, (&bucket, &configuration), upload, &acting, &mut applied)?;
                    }
                }
                Ok::<_, Failure>(applied)
            });
            self.settle(work.await?).await?;
        }
        Ok(())
    }

    fn acting(&self, calendar: Calendar) -> Acting {
        Acting { calendar, entropy: Arc::clone(&self.s3.entropy), log_end: self.records.log_end() }
    }

    /// What follows once a transaction has committed: records, events, blobs.
    async fn settle(&self, applied: Applied) -> Result<(), LifecycleError> {
        self.metrics.actions.inc_by(applied.actions as u64);
        self.s3.events.announce(applied.owed);
        self.records.append(self.s3.clock.now()).await?;
        self.s3.remove_freed(applied.freed).await;
        Ok(())
    }
}

/// What was seen of a bucket's versions.
struct Seen {
    /// Keys for which something may be due, each once.
    keys: VecDeque<String>,
    rows: usize,
    /// Where to go on.
    next: Option<(Vec<u8>, Option<Behind>)>,
    /// The rows that rules may be for.
    scope: Vec<u8>,
}

/// The beginning of all rows that some rule may be for.
fn scope(bucket: &str, configuration: &Configuration) -> Key {
    let enabled = configuration.rules.iter().filter(|rule| rule.is_enabled());
    let common = enabled.map(|rule| rule.wanted().prefix.to_owned()).reduce(|one, two| {
        let both = one.chars().zip(two.chars()).take_while(|(one, two)| one == two);
        both.map(|(same, _)| same).collect()
    });
    Key::new().text(bucket).text_prefix(&common.unwrap_or_default())
}

fn bucket_of(row: &[u8]) -> Option<String> {
    String::from_utf8(row.get(..row.len().checked_sub(2)?)?.to_vec()).ok()
}

fn look(
    tx: &mut dyn Tx,
    bucket: &str,
    from: &[u8],
    mut behind: Option<Behind>,
    calendar: Calendar,
) -> Result<Option<Seen>, Failure> {
    let Some((bucket, configuration)) = ruled_bucket(tx, bucket)? else { return Ok(None) };
    let scope = scope(&bucket.name, &configuration).bytes().to_vec();
    let rows = VERSIONS.scan(tx, from, prefix_end(&scope).as_deref(), PAGE)?;
    let is_full = rows.len() == PAGE;
    let (count, mut keys) = (rows.len(), VecDeque::new());
    let mut last = Vec::new();
    for (row, version) in rows {
        let place = place_behind(behind.as_ref(), &version);
        let due = due(&configuration, bucket.versioning, &facts(&version, place), calendar);
        if due.is_some() && keys.back() != Some(&version.key) {
            keys.push_back(version.key.clone());
        }
        let newer = match place {
            Place::Current { .. } => 0,
            Place::Noncurrent { newer, .. } => newer + 1,
        };
        behind = Some(Behind { key: version.key, modified_at: version.modified_at, newer });
        last = row;
    }
    let next = is_full.then(|| ([last.as_slice(), &[0]].concat(), behind));
    Ok(Some(Seen { keys, rows: count, next, scope }))
}

/// Whether a marker is the only version of its key is seen when it is acted upon.
fn place_behind(behind: Option<&Behind>, version: &Version) -> Place {
    match behind.filter(|behind| behind.key == version.key) {
        None => Place::Current { is_only: true },
        Some(behind) => Place::Noncurrent { since: behind.modified_at, newer: behind.newer },
    }
}

/// Uploads that are to be given up, and where to go on.
type SeenUploads = (Vec<UploadName>, Option<Vec<u8>>);

fn look_at_uploads(
    tx: &mut dyn Tx,
    bucket: &str,
    from: &[u8],
    calendar: Calendar,
) -> Result<Option<SeenUploads>, Failure> {
    let Some((bucket, configuration)) = ruled_bucket(tx, bucket)? else { return Ok(None) };
    let scope = scope(&bucket.name, &configuration);
    let rows = UPLOADS.scan(tx, from, prefix_end(scope.bytes()).as_deref(), PAGE)?;
    let next = (rows.len() == PAGE).then(|| rows.last().map(|(row, _)| [row.as_slice(), &[0]].concat()));
    let is_due = |key: &str, at| {
        abort(&configuration, key, at, calendar).is_some_and(|(due_at, _)| due_at <= calendar.now)
    };
    let due = rows.into_iter().filter(|(_, upload)| is_due(&upload.key, upload.initiated_at));
    let names =
        due.map(|(_, upload)| UploadName { bucket: bucket.name.clone(), key: upload.key, id: upload.id });
    Ok(Some((names.collect(), next.flatten())))
}

struct Metrics {
    actions: IntCounter,
    versions: IntCounter,
    passes: IntCounter,
    underway: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, about: &str| {
            let counter = IntCounter::new(name, about)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let underway = IntGauge::new(
            "cairn_s3_lifecycle_passes_underway",
            "buckets whose lifecycle rules are executed now",
        )?;
        registry.register(Box::new(underway.clone()))?;
        Ok(Self {
            actions: counter("cairn_s3_lifecycle_actions_total", "things done by lifecycle rules")?,
            versions: counter(
                "cairn_s3_lifecycle_versions_total",
                "versions that lifecycle rules looked at",
            )?,
            passes: counter("cairn_s3_lifecycle_passes_total", "passes over a bucket that were finished")?,
            underway,
        })
    }
}

/// Forgets what a bucket's passes came to, with its rules.
pub(super) fn forget(tx: &mut dyn Tx, bucket: &str) -> Result<(), CatalogError> {
    PASSES.delete(tx, bucket_key(bucket).bytes()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like on disk: this text must stay readable for ever.
    #[test]
    fn a_finished_pass_is_written_as_ever() {
        let golden = r#"{"slot":1795219200000,"revision":"r"}"#;
        let finished: Finished = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&finished).unwrap(), golden);
    }

    #[test]
    fn a_bucket_is_found_in_its_row() {
        assert_eq!(bucket_of(bucket_key("logs").bytes()).as_deref(), Some("logs"));
    }
}
