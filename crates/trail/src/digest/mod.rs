//! Digests: signed lists of what delivery put, one chain for each trail and region.
//!
//! On the road: after delivery, before whoever validates. A digest is *reserved* (its bytes and signature are persisted),
//! *put*, and *committed* (the head of the chain moves, the files it lists are done). Invariants: one chain and one
//! signer at a time, by a fencing epoch checked in every transaction; a file is in exactly one digest; windows follow
//! on one another without a gap, empty ones too, also after downtime.

mod metrics;
mod state;
mod step;
mod window;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_core::{Clock, Region, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, Tx};
use futures::StreamExt;
use prometheus::Registry;

use self::metrics::Metrics;
use self::state::RESERVED;
use self::step::Step;
use crate::StageError;
use crate::backoff::Backoff;
use crate::bucket::Bucket;
use crate::chain::{HEADS, regions_with_files, state_key};
use crate::config::{TRAILS, Trail};
use crate::keys::SigningKeys;
use crate::lease::Leases;

/// How many trails are worked on at the same time.
const TRAILS_AT_ONCE: usize = 4;

/// How many digests of one region are made in a run, so that catching up starves nobody.
const DIGESTS_PER_RUN_MAX: usize = 256;

/// How often the stage looks for new chains when it is woken before a digest is due.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// When the stage looks again while no digest is in sight.
const IDLE_PAUSE: Duration = Duration::from_secs(60);

/// How the digest stage behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestSettings {
    /// How long a digest's window is (AWS: one hour). At least 1 s, in whole seconds, as a digest's key has no more.
    pub digest_interval: Duration,
}

impl Default for DigestSettings {
    fn default() -> Self {
        Self { digest_interval: Duration::from_secs(60 * 60) }
    }
}

/// The stage. See the module's text.
pub struct DigestStage {
    catalog: Catalog,
    bucket: Arc<dyn Bucket>,
    keys: SigningKeys,
    clock: Arc<dyn Clock>,
    interval: Duration,
    metrics: Metrics,
    leases: Leases,
    backoff: Backoff,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    next_due: Timestamp,
    looked_at: Timestamp,
}

impl DigestStage {
    /// The stage over `catalog` and `bucket`, signing with `keys`; its metrics are registered in `registry`.
    ///
    /// # Errors
    /// Where the registry already has metrics of these names.
    pub fn new(
        catalog: Catalog,
        bucket: Arc<dyn Bucket>,
        keys: SigningKeys,
        clock: Arc<dyn Clock>,
        settings: &DigestSettings,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            catalog,
            bucket,
            keys,
            clock,
            interval: Duration::from_secs(settings.digest_interval.as_secs().max(1)),
            metrics: Metrics::new(registry)?,
            leases: Leases::new("digest"),
            backoff: Backoff::default(),
            running: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
        })
    }

    /// When there may be something to do again.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        self.memory.lock().expect("no panic while the memory is held").next_due
    }

    /// Makes the digests that are due: all whose window is over, oldest first.
    ///
    /// # Errors
    /// Where the catalog or a key failed for some trail; the others were worked on all the same.
    pub async fn run_once(&self) -> Result<(), StageError> {
        let _alone = self.running.lock().await;
        let now = self.clock.now();
        {
            let mut memory = self.memory.lock().expect("no panic while the memory is held");
            let look_at = memory.looked_at.plus(LOOK_PAUSE);
            if now < memory.next_due && now < look_at && now >= memory.looked_at {
                // Whoever woke the stage may have begun a chain: it is looked for once the pause is over.
                memory.next_due = memory.next_due.min(look_at);
                return Ok(());
            }
        }
        let next_window = Mutex::new(now.plus(IDLE_PAUSE));
        let outcome = self.run_all(now, &next_window).await;
        self.backoff.settle(now);
        let mut next_due = next_window.into_inner().expect("no panic while the next window is held");
        if let Some(retry_at) = self.backoff.next_retry() {
            next_due = next_due.min(retry_at);
        }
        if outcome.is_err() {
            next_due = next_due.min(now.plus(LOOK_PAUSE));
        }
        *self.memory.lock().expect("no panic while the memory is held") = Memory { next_due, looked_at: now };
        outcome
    }

    async fn run_all(&self, now: Timestamp, next_window: &Mutex<Timestamp>) -> Result<(), StageError> {
        let trails = self.catalog.read(|tx| TRAILS.scan_prefix(tx, b"")).await?;
        let trails: Vec<Trail> = trails.into_iter().map(|(_, trail)| trail).collect();
        self.forget_all_but(&trails).await?;
        let failures = Mutex::new(Vec::new());
        let work = futures::stream::iter(trails).for_each_concurrent(TRAILS_AT_ONCE, |trail| {
            let failures = &failures;
            async move {
                if let Err(error) = self.work_on(&trail, now, next_window).await {
                    tracing::error!(trail = %trail.arn, error = &error as &dyn std::error::Error, "digests failed");
                    failures.lock().expect("no panic while the failures are held").push(error);
                }
            }
        });
        work.await;
        let failures = failures.into_inner().expect("no panic while the failures are held");
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    async fn work_on(
        &self,
        trail: &Trail,
        now: Timestamp,
        next_window: &Mutex<Timestamp>,
    ) -> Result<(), StageError> {
        if trail.chain_started_at.is_none() {
            return Ok(());
        }
        let state = state_key(&trail.arn, trail.incarnation);
        let (home, place) = (trail.home_region(), state.clone());
        for region in self.catalog.read(move |tx| regions(tx, &place, home.clone())).await? {
            let mut made = 0;
            // A bucket that failed for one region of a trail is not tried for the others.
            while self.backoff.is_ready(&state, now) {
                let wake_at = match self.step(trail, &region, now).await? {
                    Step::Moved if made < DIGESTS_PER_RUN_MAX => {
                        made += 1;
                        continue;
                    }
                    Step::Moved => now,
                    Step::NotBefore(end) => end,
                    Step::Done => break,
                };
                let mut earliest = next_window.lock().expect("no panic while the next window is held");
                *earliest = wake_at.min(*earliest);
                break;
            }
        }
        Ok(())
    }

    /// Removes what was kept of trails that were deleted.
    async fn forget_all_but(&self, trails: &[Trail]) -> Result<(), StageError> {
        let states = trails.iter().map(|trail| state_key(&trail.arn, trail.incarnation).bytes().to_vec());
        let live: BTreeSet<Vec<u8>> = states.collect();
        self.leases.forget_all_but(&self.catalog, &live).await?;
        let kept = self.catalog.read(|tx| {
            let mut keys: BTreeSet<Vec<u8>> =
                HEADS.scan_prefix(tx, b"")?.into_iter().map(|(key, _)| key).collect();
            keys.extend(RESERVED.scan_prefix(tx, b"")?.into_iter().map(|(key, _)| key));
            Ok::<_, CatalogError>(keys)
        });
        let is_live = |key: &Vec<u8>| live.iter().any(|state| key.starts_with(state));
        let gone: Vec<Vec<u8>> = kept.await?.into_iter().filter(|key| !is_live(key)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let work = self.catalog.write(move |tx| {
            for key in &gone {
                HEADS.delete(tx, key)?;
                RESERVED.delete(tx, key)?;
            }
            Ok::<_, CatalogError>(())
        });
        Ok(work.await?)
    }
}

/// The regions that a trail has, or is about to have, digests for; the home region first.
fn regions(tx: &mut dyn Tx, state: &Key, home: Region) -> Result<Vec<Region>, CatalogError> {
    let heads = HEADS.scan_prefix(tx, state.bytes())?;
    let mut others: BTreeSet<Region> = heads.into_iter().map(|(_, head)| head.region).collect();
    others.extend(regions_with_files(tx, state)?);
    others.remove(&home);
    let mut regions = vec![home];
    regions.extend(others);
    Ok(regions)
}
