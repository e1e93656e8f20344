//! A catalog whose transactions fail by chance, before or after they are made, and end with the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cairn_store::Catalog;
use cairn_store::catalog::{CatalogBackend, CatalogError, Rollback, Work};
use cairn_testkit::Chance;

/// How many transactions in a thousand fail, where faults are on.
const FAILURES_PER_MILLE: usize = 60;

pub(super) struct FlakyCatalog {
    pub(super) inner: Catalog,
    pub(super) chance: Mutex<Chance>,
    pub(super) faults_are_off: Arc<AtomicBool>,
    pub(super) dead: Arc<AtomicBool>,
}

enum Failure {
    RolledBack,
    Catalog(CatalogError),
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

fn failure() -> CatalogError {
    CatalogError::Database { action: "be reached", source: std::io::Error::from_raw_os_error(5).into() }
}

impl FlakyCatalog {
    fn strikes(&self) -> bool {
        let is_on = !self.faults_are_off.load(Ordering::SeqCst);
        is_on && self.chance.lock().unwrap().strikes(FAILURES_PER_MILLE)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CatalogBackend for FlakyCatalog {
    async fn write(&self, mut work: Work) -> Result<(), CatalogError> {
        if self.is_dead() || self.strikes() {
            return Err(failure());
        }
        let kill = self.strikes();
        if kill && self.chance.lock().unwrap().strikes(300) {
            self.dead.store(true, Ordering::SeqCst);
            return Err(failure());
        }
        let made = self.inner.write(move |tx| work(tx).map_err(|Rollback| Failure::RolledBack)).await;
        if kill {
            self.dead.store(self.chance.lock().unwrap().strikes(500), Ordering::SeqCst);
            return Err(failure());
        }
        match made {
            Ok(()) | Err(Failure::RolledBack) => Ok(()),
            Err(Failure::Catalog(error)) => Err(error),
        }
    }

    async fn read(&self, mut work: Work) -> Result<(), CatalogError> {
        if self.is_dead() || self.strikes() {
            return Err(failure());
        }
        match self.inner.read(move |tx| work(tx).map_err(|Rollback| Failure::RolledBack)).await {
            Ok(()) | Err(Failure::RolledBack) => Ok(()),
            Err(Failure::Catalog(error)) => Err(error),
        }
    }
}
