//! Who works on a trail: a lease gives liveness, a fencing epoch checked in every commit gives safety.
//!
//! A new instance takes a trail over at once by raising its epoch; the one that had it notices at its next
//! transaction and stands by until the lease runs out unrenewed. So a restart never waits, and two instances do not
//! take a trail from each other in turns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

const LEASES: Table<Lease> = Table::new("trail.lease", 1);

/// How long a lease lasts without being renewed.
const LEASE_DURATION: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    epoch: u64,
    expires_at: Timestamp,
}

/// Why a transaction of a stage did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Somebody else has the trail now, or what the transaction was about is no longer so.
    #[error("the trail was taken over or changed")]
    Overtaken,
}

/// The leases that one stage holds.
pub(crate) struct Leases {
    stage: &'static str,
    epochs: Mutex<HashMap<Vec<u8>, u64>>,
}

/// The right to write what belongs to one trail.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    place: Vec<u8>,
    epoch: u64,
}

impl Leases {
    pub(crate) fn new(stage: &'static str) -> Self {
        Self { stage, epochs: Mutex::default() }
    }

    /// The right to work on the trail of `state`, taken or renewed; none while somebody else has it.
    pub(crate) async fn hold(
        &self,
        catalog: &Catalog,
        state: &Key,
        now: Timestamp,
    ) -> Result<Option<Fence>, CatalogError> {
        let place = self.place(state);
        let held = self.epochs.lock().expect("no panic while the epochs are held").get(&place).copied();
        let at = place.clone();
        let found = catalog.read(move |tx| LEASES.get(tx, &at)).await?;
        let fresh_until = now.plus(LEASE_DURATION / 2);
        if let (Some(lease), Some(epoch)) = (&found, held)
            && lease.epoch == epoch
            && lease.expires_at > fresh_until
        {
            return Ok(Some(Fence { place, epoch }));
        }
        let at = place.clone();
        let epoch = catalog.write(move |tx| take(tx, &at, held, now)).await?;
        let Some(epoch) = epoch else { return Ok(None) };
        self.epochs.lock().expect("no panic while the epochs are held").insert(place.clone(), epoch);
        Ok(Some(Fence { place, epoch }))
    }

    /// Removes the leases on trails that are not among the `live` states.
    pub(crate) async fn forget_all_but(
        &self,
        catalog: &Catalog,
        live: &BTreeSet<Vec<u8>>,
    ) -> Result<(), CatalogError> {
        let own = Key::new().text(self.stage);
        let prefix = own.bytes().to_vec();
        let kept = catalog.read(move |tx| LEASES.scan_prefix(tx, &prefix)).await?;
        let is_live = |place: &Vec<u8>| live.contains(&place[own.bytes().len()..]);
        let gone: Vec<Vec<u8>> =
            kept.into_iter().map(|(place, _)| place).filter(|place| !is_live(place)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.epochs
            .lock()
            .expect("no panic while the epochs are held")
            .retain(|place, _| !gone.contains(place));
        let remove =
            move |tx: &mut dyn Tx| gone.iter().try_for_each(|place| LEASES.delete(tx, place).map(|_| ()));
        catalog.write(remove).await
    }

    fn place(&self, state: &Key) -> Vec<u8> {
        [Key::new().text(self.stage).bytes(), state.bytes()].concat()
    }
}

impl Fence {
    /// Fails the transaction where somebody else took the trail over.
    pub(crate) fn check(&self, tx: &mut dyn Tx) -> Result<(), Refused> {
        match LEASES.get(tx, &self.place)? {
            Some(lease) if lease.epoch == self.epoch => Ok(()),
            _ => Err(Refused::Overtaken),
        }
    }
}

fn take(
    tx: &mut dyn Tx,
    place: &[u8],
    held: Option<u64>,
    now: Timestamp,
) -> Result<Option<u64>, CatalogError> {
    let epoch = match LEASES.get(tx, place)? {
        None => held.unwrap_or(0) + 1,
        Some(lease) if held == Some(lease.epoch) => lease.epoch,
        // Overtaken: whoever did it goes first while they are alive.
        Some(lease) if held.is_some() && lease.expires_at > now => return Ok(None),
        Some(lease) => lease.epoch + 1,
    };
    LEASES.put(tx, place, &Lease { epoch, expires_at: now.plus(LEASE_DURATION) })?;
    Ok(Some(epoch))
}
