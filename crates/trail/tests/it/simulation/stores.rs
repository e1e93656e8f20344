//! The log, the catalog and the bucket of the simulation: doubles whose operations pass gates, fail, and lose what was
//! not durable when their process dies.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cairn_store::catalog::{CatalogBackend, Work};
use cairn_store::{CatalogError, Entry, EventLog, LogError, LogPosition};
use cairn_trail::bucket::{Bucket, BucketPut, OnBehalfOf, PutFailure};

use super::super::doubles::{MemoryCatalog, Object};
use super::gates::{Door, Faults, Rng};

/// What a stage may read at once: more would be held in memory.
const READ_ENTRIES_MAX: usize = 4096;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The log's state. What is in `entries` is durable; `in_flight` and `limbo` may become so when the process dies.
#[derive(Default)]
pub struct LogState {
    pub entries: Vec<Entry>,
    pub start: u64,
    pub poisoned: bool,
    /// Appends on their way, in the order they came.
    in_flight: BTreeMap<u64, Vec<Entry>>,
    /// Appends that failed: nobody knows what of them is on disk.
    limbo: Vec<Vec<Entry>>,
    next: u64,
}

impl LogState {
    /// The process dies: of what was not durable a part is, up to the torn write.
    pub fn crash(&mut self, rng: &mut Rng) {
        let in_flight = std::mem::take(&mut self.in_flight).into_values();
        for mut batch in std::mem::take(&mut self.limbo).into_iter().chain(in_flight) {
            let kept = rng.below(batch.len() + 1);
            let is_torn = kept < batch.len();
            batch.truncate(kept);
            self.entries.extend(batch);
            if is_torn {
                break;
            }
        }
        self.poisoned = false;
    }
}

#[derive(Clone)]
pub struct SimLog {
    pub state: Arc<Mutex<LogState>>,
    pub door: Door,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl EventLog for SimLog {
    async fn append(&self, entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        let id = {
            let mut state = self.state.lock().unwrap();
            if state.poisoned {
                return Err(LogError::Poisoned);
            }
            state.next += 1;
            let id = state.next;
            state.in_flight.insert(id, entries);
            id
        };
        self.door.pass("log append").await;
        let first = {
            let mut state = self.state.lock().unwrap();
            let entries = state.in_flight.remove(&id).unwrap();
            if state.poisoned {
                return Err(LogError::Poisoned);
            }
            if self.faults.strike("log full") {
                return Err(LogError::Full(io::ErrorKind::StorageFull.into()));
            }
            if self.faults.strike("log append EIO") {
                state.limbo.push(entries);
                state.poisoned = true;
                return Err(LogError::Io { action: "sync", source: io::Error::from_raw_os_error(5) });
            }
            let first = state.entries.len() as u64;
            state.entries.extend(entries);
            first
        };
        self.door.pass("log append done").await;
        Ok(LogPosition(first))
    }

    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        assert!(entries_max <= READ_ENTRIES_MAX && bytes_max <= READ_BYTES_MAX, "a stage reads too much");
        self.door.pass("log read").await;
        if self.faults.strike("log read EIO") {
            return Err(LogError::Io { action: "read", source: io::Error::from_raw_os_error(5) });
        }
        let short = self.faults.strike("log read short");
        let state = self.state.lock().unwrap();
        if from.0 < state.start {
            return Err(LogError::Trimmed { from, start: LogPosition(state.start) });
        }
        let wanted = if short { 1 } else { entries_max };
        let read = state.entries.iter().skip(usize::try_from(from.0).unwrap()).take(wanted).cloned();
        Ok((from.0..).map(LogPosition).zip(read).collect())
    }

    fn end(&self) -> LogPosition {
        LogPosition(self.state.lock().unwrap().entries.len() as u64)
    }

    fn start(&self) -> LogPosition {
        LogPosition(self.state.lock().unwrap().start)
    }

    async fn wait_past(&self, position: LogPosition) {
        while self.end() <= position {
            self.door.pass("log wait").await;
        }
    }

    async fn trim(&self, position: LogPosition) -> Result<(), LogError> {
        let mut state = self.state.lock().unwrap();
        assert!(position.0 <= state.entries.len() as u64, "the log is trimmed past its end");
        state.start = state.start.max(position.0);
        Ok(())
    }
}

#[derive(Clone)]
pub struct SimCatalog {
    pub rows: MemoryCatalog,
    pub door: Door,
    pub faults: Arc<Faults>,
}

impl SimCatalog {
    fn fail(&self, kind: &'static str, errno: i32) -> Result<(), CatalogError> {
        if self.faults.strike(kind) {
            let source = Box::new(io::Error::from_raw_os_error(errno));
            return Err(CatalogError::Database { action: "simulate", source });
        }
        Ok(())
    }
}

#[async_trait]
impl CatalogBackend for SimCatalog {
    async fn write(&self, work: Work) -> Result<(), CatalogError> {
        self.door.pass("catalog write").await;
        self.fail("catalog EIO", 5)?;
        self.fail("catalog ENOSPC", 28)?;
        self.rows.write(work).await?;
        self.fail("catalog EIO after the commit", 5)?;
        self.door.pass("catalog write done").await;
        Ok(())
    }

    async fn read(&self, work: Work) -> Result<(), CatalogError> {
        self.door.pass("catalog read").await;
        self.fail("catalog read EIO", 5)?;
        self.rows.read(work).await
    }
}

/// What all processes see of the buckets.
#[derive(Default)]
pub struct BucketState {
    pub objects: BTreeMap<(String, String), Object>,
    /// The buckets that refuse everything now.
    pub refusing: BTreeSet<String>,
    /// Objects that were put again with other bytes.
    pub changed: Vec<String>,
}

#[derive(Clone)]
pub struct SimBucket {
    pub state: Arc<Mutex<BucketState>>,
    pub door: Door,
    pub faults: Arc<Faults>,
}

const CODES: [&str; 5] =
    ["AccessDenied", "NoSuchBucket", "SlowDown", "InternalError", "KMS.DisabledException"];

#[async_trait]
impl Bucket for SimBucket {
    async fn check_acl(&self, _bucket: &str, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        Ok(())
    }

    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure> {
        assert_eq!(who.account, who.trail.account());
        let failure = |code: &str| PutFailure { code: code.to_owned(), message: "simulated".to_owned() };
        self.door.pass(&format!("put to {}", put.bucket)).await;
        if self.state.lock().unwrap().refusing.contains(&put.bucket) {
            self.faults.count("put refused in an outage");
            return Err(failure("AccessDenied"));
        }
        if self.faults.strike("put refused") {
            let code = self.faults.rng.lock().unwrap().pick(&CODES);
            return Err(failure(code));
        }
        {
            let object = Object { body: put.body, metadata: put.metadata };
            let mut state = self.state.lock().unwrap();
            let before = state.objects.insert((put.bucket, put.key.clone()), object.clone());
            if before.is_some_and(|before| before != object) {
                state.changed.push(put.key);
            }
        }
        if self.faults.strike("put timed out after its effect") {
            return Err(failure("RequestTimeout"));
        }
        self.door.pass("put done").await;
        Ok(())
    }
}
