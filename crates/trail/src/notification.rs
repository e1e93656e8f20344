//! Notifications: tells each trail's topic of the log files that were delivered.
//!
//! On the road: behind delivery, which leaves what is to be announced in the catalog. A file is announced at least
//! once: it is published, and only then struck out; a crash in between publishes it again. The topic is the one that the
//! trail has when it is published. A topic that refuses delays only its own trail, and no delivery; after 30 days
//! of refusals a file is no longer announced.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{Catalog, CatalogError, Tx};
use futures::StreamExt;
use prometheus::{IntCounter, IntGauge, Registry};

use crate::StageError;
use crate::announcement::{self, ANNOUNCEMENTS, Announcement};
use crate::backoff::Backoff;
use crate::bucket::OnBehalfOf;
use crate::chain::state_key;
use crate::config::{TRAILS, Trail, update_status};
use crate::metrics::{counter, gauge};
use crate::topic::{Topic, TopicFailure};

/// How many trails are worked on at the same time.
const TRAILS_AT_ONCE: usize = 8;

/// How many files are announced before they are struck out together: as many are announced again after a crash.
const BATCH_MAX: usize = 64;

/// How many messages of one trail are published at the same time, so that they share the store's fsyncs.
const PUBLISHED_AT_ONCE: usize = 16;

/// How long a topic may refuse before files are no longer announced.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// When it is looked again where nobody says that there is something to announce.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The stage. See the module's text.
pub struct NotificationStage {
    catalog: Catalog,
    topic: Arc<dyn Topic>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    backoff: Backoff,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
    next_due: Mutex<Timestamp>,
}

/// What there is to announce for a trail.
struct Owed {
    trail: Trail,
    state: Key,
    /// Their keys in the catalog, and the files, the oldest first.
    files: Vec<(Vec<u8>, Announcement)>,
}

impl NotificationStage {
    /// The stage over `catalog` and `topic`; its metrics are registered in `registry`.
    ///
    /// # Errors
    /// Where the registry already has metrics of these names.
    pub fn new(
        catalog: Catalog,
        topic: Arc<dyn Topic>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            catalog,
            topic,
            clock,
            metrics: Metrics::new(registry)?,
            backoff: Backoff::default(),
            running: tokio::sync::Mutex::default(),
            next_due: Mutex::default(),
        })
    }

    /// When there may be something to do again, unless delivery says so before: the next attempt on a topic that
    /// refused.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        *self.next_due.lock().expect("no panic while the time is held")
    }

    /// Announces what is to be announced.
    ///
    /// # Errors
    /// Where the catalog failed for some trail; the others were worked on all the same.
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
        let waiting = self.catalog.read(waiting).await?;
        let oldest = waiting.iter().map(|(_, delivered_at)| *delivered_at).min();
        let lag_seconds = oldest.map_or(0, |oldest| now.since(oldest).as_secs());
        self.metrics.lag_seconds.set(i64::try_from(lag_seconds).unwrap_or(i64::MAX));
        let failures = Mutex::new(Vec::new());
        let work = futures::stream::iter(waiting).for_each_concurrent(TRAILS_AT_ONCE, |(trail, _)| {
            let failures = &failures;
            async move {
                if let Err(error) = self.work_on(&trail, now).await {
                    tracing::error!(trail = %trail.arn, error = &error as &dyn std::error::Error, "announcing failed");
                    failures.lock().expect("no panic while the failures are held").push(error);
                }
            }
        });
        work.await;
        let failures = failures.into_inner().expect("no panic while the failures are held");
        failures.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
    }

    async fn work_on(&self, trail: &Trail, now: Timestamp) -> Result<(), CatalogError> {
        let (key, incarnation) = (trail.key(), trail.incarnation);
        loop {
            let key = key.clone();
            let Some(owed) = self.catalog.read(move |tx| owed(tx, &key, incarnation)).await? else {
                return Ok(());
            };
            let Some(topic_arn) = owed.trail.sns_topic_arn() else {
                // It has no topic any more.
                let state = owed.state.clone();
                return self.catalog.write(move |tx| announcement::forget(tx, state.bytes())).await;
            };
            // Another topic is no reason to wait for this one.
            let patience = owed.state.clone().text(&topic_arn);
            if !self.backoff.is_ready(&patience, now) {
                return Ok(());
            }
            if !self.announce(owed, &topic_arn, &patience).await? {
                return Ok(());
            }
        }
    }

    /// Announces these files and strikes out what was published; says whether to go on.
    async fn announce(&self, owed: Owed, topic_arn: &str, patience: &Key) -> Result<bool, CatalogError> {
        let Owed { trail, files, .. } = owed;
        let (published, failure) = self.publish(&trail, &files, topic_arn).await;
        let now = self.clock.now();
        let has_published = !published.is_empty();
        let count = published.len() as u64;
        let mut settled = published;
        let given_up = match &failure {
            None => Vec::new(),
            Some(failure) => {
                self.metrics.failures.inc();
                tracing::warn!(trail = %trail.arn, topic = topic_arn, error = %failure, "the topic took no notification");
                expired(&files, &settled, now)
            }
        };
        if !given_up.is_empty() {
            tracing::error!(trail = %trail.arn, topic = topic_arn, files = given_up.len(), "log files are not announced");
        }
        let given_up_count = given_up.len() as u64;
        settled.extend(given_up);
        let code = failure.map(|failure| failure.code);
        let error = code.clone();
        self.catalog
            .write(move |tx| {
                for key in &settled {
                    ANNOUNCEMENTS.delete(tx, key)?;
                }
                update_status(tx, &trail, |status| {
                    status.latest_notification_attempt_at = Some(now);
                    status.latest_notification_error.clone_from(&error);
                    if has_published {
                        status.latest_notification_at = Some(now);
                    }
                })
            })
            .await?;
        self.metrics.published.inc_by(count);
        self.metrics.given_up.inc_by(given_up_count);
        if code.is_some() {
            self.backoff.fail(patience, now);
            return Ok(false);
        }
        self.backoff.clear(patience.bytes());
        Ok(true)
    }

    /// Publishes until the topic refuses: the keys of what it took, and why it refused.
    async fn publish(
        &self,
        trail: &Trail,
        files: &[(Vec<u8>, Announcement)],
        topic_arn: &str,
    ) -> (Vec<Vec<u8>>, Option<TopicFailure>) {
        let who = &OnBehalfOf { trail: trail.arn.clone(), account: trail.arn.account() };
        let messages: Vec<_> = files.iter().map(|(key, file)| (key.clone(), file.message())).collect();
        let mut outcomes =
            futures::stream::iter(messages)
                .map(|(key, message)| async move {
                    self.topic.publish(topic_arn, message, who).await.map(|()| key)
                })
                .buffered(PUBLISHED_AT_ONCE);
        let (mut published, mut failure) = (Vec::new(), None);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(key) => published.push(key),
                Err(refused) => {
                    failure = Some(refused);
                    break;
                }
            }
        }
        (published, failure)
    }
}

/// The trails that have something to announce, with the time of the oldest.
fn waiting(tx: &mut dyn Tx) -> Result<Vec<(Trail, Timestamp)>, CatalogError> {
    let mut waiting = Vec::new();
    // Mostly there is nothing at all.
    if ANNOUNCEMENTS.scan(tx, b"", None, 1)?.is_empty() {
        return Ok(waiting);
    }
    for (_, trail) in TRAILS.scan_prefix(tx, b"")? {
        let state = state_key(&trail.arn, trail.incarnation);
        let first = ANNOUNCEMENTS.scan(tx, state.bytes(), prefix_end(state.bytes()).as_deref(), 1)?.pop();
        if let Some((_, file)) = first {
            waiting.push((trail, file.delivered_at));
        }
    }
    Ok(waiting)
}

/// What is next to announce for a trail, which may have changed meanwhile; none where it is gone or nothing is left.
fn owed(tx: &mut dyn Tx, key: &Key, incarnation: u64) -> Result<Option<Owed>, CatalogError> {
    let found = TRAILS.get(tx, key.bytes())?;
    let Some(trail) = found.filter(|trail| trail.incarnation == incarnation) else { return Ok(None) };
    let state = state_key(&trail.arn, incarnation);
    let files = ANNOUNCEMENTS.scan(tx, state.bytes(), prefix_end(state.bytes()).as_deref(), BATCH_MAX)?;
    Ok((!files.is_empty()).then_some(Owed { trail, state, files }))
}

/// The keys of the files that were tried for long enough and are not among the `published`.
fn expired(files: &[(Vec<u8>, Announcement)], published: &[Vec<u8>], now: Timestamp) -> Vec<Vec<u8>> {
    let is_over = |file: &Announcement| now.since(file.delivered_at) >= ANNOUNCED_WITHIN;
    let over = files.iter().filter(|(key, file)| is_over(file) && !published.contains(key));
    over.map(|(key, _)| key.clone()).collect()
}

struct Metrics {
    published: IntCounter,
    failures: IntCounter,
    given_up: IntCounter,
    lag_seconds: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, about| counter(registry, name, about);
        Ok(Self {
            published: counter("cairn_notification_published_total", "Log files announced on topics.")?,
            failures: counter("cairn_notification_failures_total", "Attempts that a topic refused.")?,
            given_up: counter(
                "cairn_notification_given_up_total",
                "Log files that were not announced in 30 days.",
            )?,
            lag_seconds: gauge(
                registry,
                "cairn_notification_lag_seconds",
                "For how long the oldest log file that is not announced has waited.",
            )?,
        })
    }
}
