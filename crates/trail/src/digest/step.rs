//! One step of one chain: reserve the next digest, or put and commit the one that was reserved.

use std::collections::BTreeSet;
use std::time::Duration;

use cairn_core::digest::{
    Digest, DigestFrame, DigestKey, DigestedFile, HASH_ALGORITHM, METADATA_SIGNATURE,
    METADATA_SIGNATURE_ALGORITHM, SIGNATURE_ALGORITHM, Signer,
};
use cairn_core::logfile::gzip;
use cairn_core::{Region, Timestamp};
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Tx};

use super::DigestStage;
use super::state::{RESERVED, ReservedDigest};
use super::window::{Chain, Window};
use crate::StageError;
use crate::bucket::{BucketPut, OnBehalfOf, PutFailure};
use crate::chain::{DELIVERED, DeliveredFile, DigestHead, HEADS, region_key, state_key};
use crate::config::{TRAILS, Trail, update_status};
use crate::lease::{Fence, Refused};

/// How many files one digest lists; further ones are left to the next digest.
const DIGEST_FILES_MAX: usize = 10_000;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; there may be more.
    Moved,
    /// The next digest is due then.
    NotBefore(Timestamp),
    /// Nothing to do.
    Done,
}

/// The state of one chain.
struct View {
    trail: Trail,
    place: Key,
    head: Option<DigestHead>,
    reserved: Option<ReservedDigest>,
    /// The files that no digest lists yet, oldest first, by their keys in the table.
    files: Vec<(Vec<u8>, DeliveredFile)>,
}

impl DigestStage {
    pub(crate) async fn step(
        &self,
        trail: &Trail,
        region: &Region,
        now: Timestamp,
    ) -> Result<Step, StageError> {
        let Some(view) = self.view(trail, region).await? else { return Ok(Step::Done) };
        if let Some(reserved) = &view.reserved {
            return self.finish(&view, region, reserved, now).await;
        }
        let Some(started_at) = view.trail.chain_started_at else { return Ok(Step::Done) };
        let counted = |file: &DeliveredFile| is_counted(file, self.interval);
        let is_home = *region == view.trail.home_region();
        let chain = Chain {
            started_at,
            stopped_at: view.trail.chain_stopped_at,
            interval: self.interval,
            head: view.head.as_ref(),
            first_file_at: view
                .files
                .iter()
                .find(|(_, file)| counted(file))
                .map(|(_, file)| file.delivered_at),
            is_home,
            is_covered: is_home || view.trail.multi_region,
        };
        match chain.next_window() {
            None if view.files.is_empty() => Ok(Step::Done),
            None => self.discard(&view, now).await,
            Some(window) if window.end > now => Ok(Step::NotBefore(window.end)),
            Some(window) => self.reserve(view, region, window, now).await,
        }
    }

    /// The chain's state; none where the trail is gone.
    async fn view(&self, trail: &Trail, region: &Region) -> Result<Option<View>, StageError> {
        let (arn, key, incarnation) = (trail.arn.clone(), trail.key(), trail.incarnation);
        let place = region_key(&state_key(&arn, incarnation), region);
        let view = self.catalog.read(move |tx| {
            let found = TRAILS.get(tx, key.bytes())?;
            let Some(trail) = found.filter(|trail| trail.incarnation == incarnation) else { return Ok(None) };
            let head = HEADS.get(tx, place.bytes())?;
            let reserved = RESERVED.get(tx, place.bytes())?;
            let until = prefix_end(place.bytes());
            let files = DELIVERED.scan(tx, place.bytes(), until.as_deref(), DIGEST_FILES_MAX)?;
            Ok::<_, CatalogError>(Some(View { trail, place: place.clone(), head, reserved, files }))
        });
        Ok(view.await?)
    }

    /// Removes files that no digest will list: they were delivered while the trail was not validated.
    async fn discard(&self, view: &View, now: Timestamp) -> Result<Step, StageError> {
        let Some(fence) = self.hold(view, now).await? else { return Ok(Step::Done) };
        let (trail, keys) = (view.trail.clone(), keys_of(&view.files));
        let discarded = self.catalog.write(move |tx| {
            fence.check(tx)?;
            if is_unchanged(tx, &trail)? {
                remove(tx, &keys)?;
            }
            Ok(())
        });
        moved_unless_overtaken(discarded.await)
    }

    /// Builds, signs and persists the digest of `window`.
    async fn reserve(
        &self,
        view: View,
        region: &Region,
        window: Window,
        now: Timestamp,
    ) -> Result<Step, StageError> {
        let Some(fence) = self.hold(&view, now).await? else { return Ok(Step::Done) };
        let Some(chain_started_at) = view.trail.chain_started_at else { return Ok(Step::Done) };
        let signer = self.keys.signer(region, window.end).await?;
        let View { trail, place, head, files, .. } = view;
        let in_time = files.into_iter().filter(|(_, file)| file.delivered_at < window.end);
        let (listed, uncounted): (Vec<_>, Vec<_>) =
            in_time.partition(|(_, file)| is_counted(file, self.interval));
        let uncounted = keys_of(&uncounted);
        let listed = listed.into_iter().map(|(_, file)| as_digested(file)).collect();
        let end = window.end;
        let digest = Digest::new(frame(&trail, region, window), listed, signer.fingerprint());
        let signed = digest.sign(&signer)?;
        let json = String::from_utf8(signed.json).expect("a digest is JSON text");
        let reserved = ReservedDigest { chain_started_at, end, json, link: signed.link };
        let kept = self.catalog.write(move |tx| {
            fence.check(tx)?;
            if HEADS.get(tx, place.bytes())? != head || RESERVED.get(tx, place.bytes())?.is_some() {
                return Err(Refused::Overtaken);
            }
            if is_unchanged(tx, &trail)? {
                remove(tx, &uncounted)?;
                RESERVED.put(tx, place.bytes(), &reserved)?;
            }
            Ok(())
        });
        moved_unless_overtaken(kept.await)
    }

    /// Puts and commits the digest that was reserved.
    async fn finish(
        &self,
        view: &View,
        region: &Region,
        reserved: &ReservedDigest,
        now: Timestamp,
    ) -> Result<Step, StageError> {
        let Some(fence) = self.hold(view, now).await? else { return Ok(Step::Done) };
        let arn = &view.trail.arn;
        let put = BucketPut {
            bucket: reserved.link.bucket.clone(),
            key: reserved.link.object.clone(),
            body: gzip(reserved.json.as_bytes()),
            metadata: vec![
                (METADATA_SIGNATURE.to_owned(), reserved.link.signature.clone()),
                (METADATA_SIGNATURE_ALGORITHM.to_owned(), SIGNATURE_ALGORITHM.to_owned()),
            ],
            // As with AWS: whoever validates needs no rights on the trail's key for its digests.
            kms_key_id: None,
        };
        let who = OnBehalfOf { trail: arn.clone(), account: arn.account() };
        if let Err(failure) = self.bucket.put(put, &who).await {
            let was_moved = was_moved(&view.trail, reserved);
            // A put may have failed, or its process died, after it took effect: then the chain goes on from there.
            match self.bucket.holds(&reserved.link.bucket, &reserved.link.object).await {
                Ok(true) if was_moved => {}
                held => {
                    let is_absent = held == Ok(false);
                    return self.put_failed(view, reserved, fence, failure, was_moved && is_absent).await;
                }
            }
        }
        let step = self.commit(view, region, reserved, fence).await?;
        if step == Step::Moved {
            self.metrics.digests.inc();
            self.backoff.clear(state_key(arn, view.trail.incarnation).bytes());
        }
        Ok(step)
    }

    async fn put_failed(
        &self,
        view: &View,
        reserved: &ReservedDigest,
        fence: Fence,
        failure: PutFailure,
        is_let_go: bool,
    ) -> Result<Step, StageError> {
        let trail = &view.trail;
        let now = self.clock.now();
        self.metrics.failures.inc();
        tracing::warn!(trail = %trail.arn, bucket = reserved.link.bucket, error = %failure, "the bucket took no digest");
        let (place, trail) = (view.place.clone(), trail.clone());
        let noted = self.catalog.write(move |tx| {
            fence.check(tx)?;
            if is_let_go {
                // The trail was given another place meanwhile: the digest is made anew for that.
                RESERVED.delete(tx, place.bytes())?;
            }
            update_status(tx, &trail, |status| {
                status.latest_digest_delivery_error = Some(failure.code.clone());
            })?;
            Ok(())
        });
        let step = moved_unless_overtaken(noted.await)?;
        if is_let_go {
            return Ok(step);
        }
        self.backoff.fail(&state_key(&view.trail.arn, view.trail.incarnation), now);
        Ok(Step::Done)
    }

    async fn commit(
        &self,
        view: &View,
        region: &Region,
        reserved: &ReservedDigest,
        fence: Fence,
    ) -> Result<Step, StageError> {
        let digest = Digest::parse(reserved.json.as_bytes()).map_err(StageError::Digest)?;
        let listed: BTreeSet<String> = digest.log_files.into_iter().map(|file| file.s3_object).collect();
        let done: Vec<_> =
            view.files.iter().filter(|(_, file)| listed.contains(&file.object)).cloned().collect();
        let done = keys_of(&done);
        let head = DigestHead {
            region: region.clone(),
            chain_started_at: reserved.chain_started_at,
            end: reserved.end,
            link: reserved.link.clone(),
        };
        let (place, reserved, trail) = (view.place.clone(), reserved.clone(), view.trail.clone());
        let now = self.clock.now();
        let committed = self.catalog.write(move |tx| {
            fence.check(tx)?;
            let found = TRAILS.get(tx, trail.key().bytes())?;
            let is_live = found.is_some_and(|found| found.incarnation == trail.incarnation);
            if !is_live || RESERVED.get(tx, place.bytes())?.as_ref() != Some(&reserved) {
                return Err(Refused::Overtaken);
            }
            RESERVED.delete(tx, place.bytes())?;
            HEADS.put(tx, place.bytes(), &head)?;
            remove(tx, &done)?;
            update_status(tx, &trail, |status| {
                status.latest_digest_delivery_at = Some(now);
                status.latest_digest_delivery_error = None;
            })?;
            Ok(())
        });
        moved_unless_overtaken(committed.await)
    }

    async fn hold(&self, view: &View, now: Timestamp) -> Result<Option<Fence>, StageError> {
        Ok(self.leases.hold(&self.catalog, &state_key(&view.trail.arn, view.trail.incarnation), now).await?)
    }
}

/// Whether the trail was given another place since the digest was reserved.
fn was_moved(trail: &Trail, reserved: &ReservedDigest) -> bool {
    let place = DigestKey::parse(&reserved.link.object).map(|key| (key.prefix, key.organization));
    let (prefix, organization) = place.unwrap_or_default();
    let bucket = &reserved.link.bucket;
    trail.bucket != *bucket || trail.key_prefix != prefix || trail.organization_id != organization
}

/// Whether a digest is to list the file: it was delivered while the chain was alive or within an interval after.
fn is_counted(file: &DeliveredFile, interval: Duration) -> bool {
    file.unvalidated_since.is_none_or(|broken_at| file.delivered_at < broken_at.plus(interval))
}

fn as_digested(file: DeliveredFile) -> DigestedFile {
    DigestedFile {
        s3_bucket: file.bucket,
        s3_object: file.object,
        hash_value: file.sha256_hex,
        hash_algorithm: HASH_ALGORITHM.to_owned(),
        newest_event_time: file.newest_event_at,
        oldest_event_time: file.oldest_event_at,
    }
}

fn frame(trail: &Trail, region: &Region, window: Window) -> DigestFrame {
    let Window { start, end, previous } = window;
    let key = DigestKey {
        prefix: trail.key_prefix.clone(),
        organization: trail.organization_id.clone(),
        account: trail.account(),
        region: region.clone(),
        trail_name: trail.arn.name().to_owned(),
        home_region: trail.home_region(),
        end,
    };
    DigestFrame {
        account: trail.account(),
        start,
        end,
        bucket: trail.bucket.clone(),
        object: key.to_string(),
        previous,
    }
}

fn keys_of(files: &[(Vec<u8>, DeliveredFile)]) -> Vec<Vec<u8>> {
    files.iter().map(|(key, _)| key.clone()).collect()
}

fn remove(tx: &mut dyn Tx, files: &[Vec<u8>]) -> Result<(), CatalogError> {
    files.iter().try_for_each(|key| DELIVERED.delete(tx, key).map(|_| ()))
}

fn is_unchanged(tx: &mut dyn Tx, trail: &Trail) -> Result<bool, CatalogError> {
    Ok(TRAILS.get(tx, trail.key().bytes())?.as_ref() == Some(trail))
}

/// Overtaken is no failure: whoever was faster does the work.
fn moved_unless_overtaken(outcome: Result<(), Refused>) -> Result<Step, StageError> {
    match outcome {
        Ok(()) => Ok(Step::Moved),
        Err(Refused::Overtaken) => Ok(Step::Done),
        Err(Refused::Catalog(error)) => Err(error.into()),
    }
}
