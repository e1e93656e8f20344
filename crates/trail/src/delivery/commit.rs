//! The second half of a delivery: puts the files of a reservation, then commits; or notes why the bucket refused.

use cairn_core::Timestamp;
use cairn_core::logfile::RenderedFile;
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Tx};

use super::state::{CURSORS, Cursor, RESERVATIONS, Reservation};
use super::{DeliveryStage, REDELIVERY_MAX, Step, View, moved_unless_overtaken};
use crate::StageError;
use crate::announcement::{Announcement, owe};
use crate::bucket::{BucketPut, OnBehalfOf, PutFailure};
use crate::chain::{DeliveredFile, keep_delivered};
use crate::config::{TRAILS, Trail, update_status};
use crate::lease::{Fence, Refused};
use crate::streams;

/// A reservation on its way to the bucket.
pub(crate) struct Putting<'a> {
    pub(crate) stage: &'a DeliveryStage,
    pub(crate) view: &'a View,
    pub(crate) reservation: &'a Reservation,
    pub(crate) fence: Fence,
    /// When its files began to be made.
    pub(crate) begun_at: Timestamp,
}

impl Putting<'_> {
    /// Puts the files in their order and commits once all are in the bucket.
    pub(crate) async fn put_and_commit(self, files: Vec<RenderedFile>) -> Result<Step, StageError> {
        if let Err(failure) = self.put_all(&files).await {
            return self.put_failed(failure, files).await;
        }
        let metrics = &self.stage.metrics;
        let delivered: Vec<(usize, usize)> =
            files.iter().map(|file| (file.records, file.body.len())).collect();
        let hashes = files.into_iter().map(|file| file.sha256_hex).collect();
        let step = self.commit(Some(hashes)).await?;
        if step == Step::Moved {
            let took = self.stage.clock.now().since(self.begun_at);
            metrics.seconds.observe(took.as_secs_f64());
            metrics.files.inc_by(delivered.len() as u64);
            metrics.events.inc_by(delivered.iter().map(|(records, _)| *records as u64).sum());
            metrics.bytes.inc_by(delivered.iter().map(|(_, size_bytes)| *size_bytes as u64).sum());
            self.stage.backoff.clear(self.view.state.bytes());
            self.stage.committed.send_modify(|commits| *commits += 1);
        }
        Ok(step)
    }

    async fn put_all(&self, files: &[RenderedFile]) -> Result<(), PutFailure> {
        let arn = &self.view.trail.arn;
        let who = OnBehalfOf { trail: arn.clone(), account: arn.account() };
        for (planned, file) in self.reservation.files.iter().zip(files) {
            let put = BucketPut {
                bucket: self.reservation.bucket.clone(),
                key: planned.object.clone(),
                body: file.body.clone(),
                metadata: Vec::new(),
                kms_key_id: self.view.trail.kms_key_id.clone(),
            };
            self.stage.bucket.put(put, &who).await?;
        }
        Ok(())
    }

    async fn put_failed(&self, failure: PutFailure, files: Vec<RenderedFile>) -> Result<Step, StageError> {
        let (trail, reservation) = (&self.view.trail, self.reservation);
        let now = self.stage.clock.now();
        self.stage.metrics.failures.inc();
        tracing::warn!(trail = %trail.arn, bucket = reservation.bucket, error = %failure, "the bucket took no log file");
        if trail.bucket != reservation.bucket || trail.key_prefix != reservation.key_prefix {
            // The trail was given another place meanwhile; the old one will not come back.
            match self.held().await {
                Ok(held) => return self.move_on(&held, files).await,
                Err(failure) => {
                    tracing::warn!(trail = %trail.arn, error = %failure, "the old bucket does not say what it took");
                }
            }
        }
        self.note_failure(failure, now).await?;
        if now.since(reservation.recorded_until) >= REDELIVERY_MAX {
            tracing::error!(trail = %trail.arn, from = ?reservation.from, to = ?reservation.to, "events were given up");
            self.stage.metrics.given_up.inc_by(reservation.files.len() as u64);
            return self.commit(None).await;
        }
        self.stage.backoff.fail(&self.view.state, now);
        Ok(Step::Done)
    }

    async fn note_failure(&self, failure: PutFailure, now: Timestamp) -> Result<(), CatalogError> {
        let trail = self.view.trail.clone();
        let work = self.stage.catalog.write(move |tx| {
            update_status(tx, &trail, |status| {
                status.latest_delivery_attempt_at = Some(now);
                status.latest_delivery_error = Some(failure.code.clone());
            })
        });
        work.await
    }

    /// Which of the files are in the bucket by now: a put may have failed, or its process died, after it took effect.
    async fn held(&self) -> Result<Vec<bool>, PutFailure> {
        let mut held = Vec::with_capacity(self.reservation.files.len());
        for planned in &self.reservation.files {
            held.push(self.stage.bucket.holds(&self.reservation.bucket, &planned.object).await?);
        }
        Ok(held)
    }

    /// Commits the files that the old place holds, for no event may be in both, and lets the rest go to the new one.
    async fn move_on(&self, held: &[bool], files: Vec<RenderedFile>) -> Result<Step, StageError> {
        let hashes: Vec<String> = files.into_iter().map(|file| file.sha256_hex).collect();
        match held.iter().filter(|held| **held).count() {
            0 => return self.release().await,
            all if all == held.len() => return self.commit(Some(hashes)).await,
            _ => {}
        }
        let (mut kept, mut moved) = (self.reservation.clone(), self.reservation.clone());
        let mut held_again = held.iter().copied();
        kept.files.retain(|_| held_again.next().unwrap_or_default());
        let mut held_again = held.iter().copied();
        moved.files.retain(|_| !held_again.next().unwrap_or_default());
        let of_kept = held.iter().zip(hashes).filter_map(|(held, hash)| held.then_some(hash));
        let hashes: Vec<String> = of_kept.collect();
        let (state, fence) = (self.view.state.clone(), self.fence.clone());
        let (trail, reservation) = (self.view.trail.clone(), self.reservation.clone());
        let now = self.stage.clock.now();
        let work = self.stage.catalog.write(move |tx| {
            fence.check(tx)?;
            if RESERVATIONS.get(tx, state.bytes())?.as_ref() != Some(&reservation) {
                return Err(Refused::Overtaken);
            }
            let found = TRAILS.get(tx, trail.key().bytes())?;
            let Some(live) = found.filter(|found| found.incarnation == trail.incarnation) else {
                return Err(Refused::Overtaken);
            };
            hand_over(tx, &state, &live, &kept, &hashes, now)?;
            let mut moved = moved.clone();
            moved.move_to(&live);
            RESERVATIONS.put(tx, state.bytes(), &moved)?;
            Ok(())
        });
        moved_unless_overtaken(work.await)
    }

    /// Lets go of the reservation, so that the range is reserved anew with the trail's present configuration.
    async fn release(&self) -> Result<Step, StageError> {
        let (state, fence) = (self.view.state.clone(), self.fence.clone());
        let released = self.stage.catalog.write(move |tx| {
            fence.check(tx)?;
            RESERVATIONS.delete(tx, state.bytes())?;
            Ok(())
        });
        moved_unless_overtaken(released.await)
    }

    /// Moves the cursor past the reservation, and hands the files with these hashes to the digests; none where they
    /// were given up.
    async fn commit(&self, hashes: Option<Vec<String>>) -> Result<Step, StageError> {
        let (state, fence) = (self.view.state.clone(), self.fence.clone());
        let (trail, reservation) = (self.view.trail.clone(), self.reservation.clone());
        let now = self.stage.clock.now();
        let committed = self.stage.catalog.write(move |tx| {
            fence.check(tx)?;
            if RESERVATIONS.get(tx, state.bytes())?.as_ref() != Some(&reservation) {
                return Err(Refused::Overtaken);
            }
            let place = trail.key();
            let found = TRAILS.get(tx, place.bytes())?;
            let Some(live) = found.filter(|found| found.incarnation == trail.incarnation) else {
                return Err(Refused::Overtaken);
            };
            RESERVATIONS.delete(tx, state.bytes())?;
            if let Some(hashes) = &hashes {
                hand_over(tx, &state, &live, &reservation, hashes, now)?;
                update_status(tx, &trail, |status| {
                    status.latest_delivery_at = Some(now);
                    status.latest_delivery_attempt_at = Some(now);
                    status.latest_delivery_error = None;
                })?;
            }
            let slot = CURSORS.get(tx, state.bytes())?.map_or(reservation.reserved_at, |cursor| cursor.slot);
            move_cursor(tx, &state, live, Cursor { position: reservation.to, slot })?;
            Ok(())
        });
        moved_unless_overtaken(committed.await)
    }
}

/// Moves the cursor and drops the logging spans that end before it, and before what the trail's log group has.
pub(crate) fn move_cursor(
    tx: &mut dyn Tx,
    state: &Key,
    mut live: Trail,
    cursor: Cursor,
) -> Result<(), CatalogError> {
    CURSORS.put(tx, state.bytes(), &cursor)?;
    let before = live.logging_spans.len();
    let streamed = streams::position(tx, state, &live)?;
    let read_to = streamed.map_or(cursor.position, |streamed| streamed.min(cursor.position));
    live.logging_spans.retain(|span| span.to.is_none_or(|to| to > read_to));
    if live.logging_spans.len() < before {
        TRAILS.put(tx, live.key().bytes(), &live)?;
    }
    Ok(())
}

/// Leaves the files to the notifications, where the trail has a topic, and to the digest stage, where it ever had a digest
/// chain.
fn hand_over(
    tx: &mut dyn Tx,
    state: &Key,
    trail: &Trail,
    reservation: &Reservation,
    hashes: &[String],
    now: Timestamp,
) -> Result<(), CatalogError> {
    for planned in &reservation.files {
        let (bucket, object) = (reservation.bucket.clone(), planned.object.clone());
        owe(tx, state, trail, &Announcement { bucket, object, delivered_at: now })?;
    }
    if trail.chain_started_at.is_none() {
        return Ok(());
    }
    for (planned, sha256_hex) in reservation.files.iter().zip(hashes) {
        let file = DeliveredFile {
            region: planned.region.clone(),
            bucket: reservation.bucket.clone(),
            object: planned.object.clone(),
            sha256_hex: sha256_hex.clone(),
            oldest_event_at: planned.oldest_event_at,
            newest_event_at: planned.newest_event_at,
            delivered_at: now,
            // What a trail delivers once it no longer logs was logged before: it is validated, however late it comes.
            unvalidated_since: trail.chain_stopped_at.filter(|_| !trail.log_file_validation),
        };
        keep_delivered(tx, state, file)?;
    }
    Ok(())
}
