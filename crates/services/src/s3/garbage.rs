//! Blobs that nothing names any longer: how they go without taking a reader's bytes away.
//!
//! The transaction that drops the last name of a blob writes a row of GARBAGE. After the commit the blob is removed,
//! unless a reader holds it; what is left, after a crash or because of a reader, goes with the next collection.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use cairn_store::{BlobId, CatalogError, Tx};
use cairn_wire::AwsError;

use super::S3;
use super::error::Failure;
use super::state::{BLOB_USES, GARBAGE, Mark, blob_key};

/// How many rows one step of a collection takes.
const COLLECT_PAGE: usize = 500;

/// Notes that `blobs` are named no longer.
pub(super) fn discard(tx: &mut dyn Tx, blobs: &[BlobId]) -> Result<(), CatalogError> {
    for blob in blobs {
        BLOB_USES.delete(tx, blob_key(blob).bytes())?;
        GARBAGE.put(tx, blob_key(blob).bytes(), &Mark {})?;
    }
    Ok(())
}

/// The blobs that readers hold.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<BlobId, usize>>);

impl Pins {
    /// Holds `blobs` until the result is dropped.
    pub(super) fn hold(self: &Arc<Self>, blobs: Vec<BlobId>) -> Held {
        let mut held = self.0.lock().expect("no panic while the pins are held");
        for blob in &blobs {
            *held.entry(blob.clone()).or_default() += 1;
        }
        drop(held);
        Held { pins: Arc::clone(self), blobs }
    }

    fn is_held(&self, blob: &BlobId) -> bool {
        self.0.lock().expect("no panic while the pins are held").contains_key(blob)
    }
}

/// Blobs that are being read.
#[derive(Debug)]
pub(super) struct Held {
    pins: Arc<Pins>,
    blobs: Vec<BlobId>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.pins.0.lock().expect("no panic while the pins are held");
        for blob in &self.blobs {
            if let Some(readers) = held.get_mut(blob) {
                *readers -= 1;
                if *readers == 0 {
                    held.remove(blob);
                }
            }
        }
    }
}

impl S3 {
    /// Removes blobs whose names were dropped by a transaction that has committed. A failure is not the caller's: the
    /// rows of GARBAGE stay, and the next collection tries again.
    pub(super) async fn remove_freed(&self, freed: Vec<BlobId>) {
        if freed.is_empty() {
            return;
        }
        if let Err(failure) = self.remove_unheld(freed).await {
            tracing::warn!(error = %failure.0, "blobs could not be removed yet");
        }
    }

    /// Removes a blob that no transaction came to name.
    pub(super) async fn remove_unnamed(&self, blob: Option<BlobId>) {
        let Some(blob) = blob else { return };
        if let Err(error) = self.blobs.delete(&blob).await {
            tracing::warn!(%error, %blob, "a blob could not be removed and is left to the next collection");
        }
    }

    async fn remove_unheld(&self, freed: Vec<BlobId>) -> Result<usize, Failure> {
        let mut removed = Vec::new();
        for blob in freed {
            if !self.pins.is_held(&blob) {
                self.blobs.delete(&blob).await?;
                removed.push(blob);
            }
        }
        let count = removed.len();
        if count > 0 {
            self.catalog
                .write(move |tx| {
                    for blob in &removed {
                        GARBAGE.delete(tx, blob_key(blob).bytes())?;
                    }
                    Ok::<_, Failure>(())
                })
                .await?;
        }
        Ok(count)
    }

    /// Removes what earlier transactions dropped and could not remove yet. To be called at start, and now and then.
    /// Returns how many blobs went.
    ///
    /// # Errors
    /// The catalog's or the blob store's failure.
    pub async fn collect_garbage(&self) -> Result<usize, AwsError> {
        Ok(self.collect_dropped().await?)
    }

    /// Removes those of `stored`, the ids in the blob store, that nothing names: a crash left them between their end
    /// and their transaction. To be called now and then, minutes apart: a blob goes the second time it is found, because
    /// for a moment every new one has no name. The blobs must be this service's alone. Returns how many went.
    ///
    /// # Errors
    /// The catalog's or the blob store's failure.
    pub async fn collect_orphans(&self, stored: Vec<BlobId>) -> Result<usize, AwsError> {
        let mut unnamed = HashSet::new();
        for page in stored.chunks(COLLECT_PAGE) {
            unnamed.extend(self.unnamed_of(page.to_vec()).await?);
        }
        let found_before = {
            let mut suspects = self.suspects.lock().expect("no panic while the suspects are held");
            let found_before: Vec<BlobId> = suspects.intersection(&unnamed).cloned().collect();
            *suspects = unnamed;
            found_before
        };
        for blob in &found_before {
            self.blobs.delete(blob).await.map_err(Failure::from)?;
        }
        Ok(found_before.len())
    }

    /// Those of `page` that neither an object nor an upload names, and that no transaction dropped.
    async fn unnamed_of(&self, page: Vec<BlobId>) -> Result<Vec<BlobId>, Failure> {
        self.catalog
            .read(move |tx| {
                let mut unnamed = Vec::new();
                for blob in &page {
                    let row = blob_key(blob);
                    let known = BLOB_USES.get(tx, row.bytes())?.or(GARBAGE.get(tx, row.bytes())?);
                    if known.is_none() {
                        unnamed.push(blob.clone());
                    }
                }
                Ok(unnamed)
            })
            .await
    }

    async fn collect_dropped(&self) -> Result<usize, Failure> {
        let mut count = 0;
        let mut from = Vec::new();
        loop {
            let start = from.clone();
            let page = self
                .catalog
                .read(move |tx| Ok::<_, Failure>(GARBAGE.scan(tx, &start, None, COLLECT_PAGE)?))
                .await?;
            let Some((last, _)) = page.last() else { return Ok(count) };
            from.clone_from(last);
            from.push(0);
            let blobs = page.iter().filter_map(|(row, _)| blob_of(row)).collect();
            count += self.remove_unheld(blobs).await?;
        }
    }
}

/// The blob of a key that [`blob_key`] made: its text without the closing two bytes.
fn blob_of(row: &[u8]) -> Option<BlobId> {
    let text = row.get(..row.len().checked_sub(2)?)?;
    String::from_utf8(text.to_vec()).ok().map(BlobId)
}
