//! An event log, a catalog and a bucket in memory. Each operation passes two points, before and after its effect, where
//! the test can let the program stop for good or lose its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cairn_store::catalog::{CatalogBackend, Pair, Work};
use cairn_store::{CatalogError, Entry, EventLog, LogError, LogPosition, Tx};
use cairn_trail::bucket::{Bucket, BucketPut, OnBehalfOf, PutFailure};
use tokio::sync::Notify;

/// Where a program stops or loses its turn.
#[derive(Default)]
pub struct Points {
    /// How many points were passed.
    pub passed: AtomicU64,
    /// At which point the program stops; never where it is 0 or past.
    pub stop_at: AtomicI64,
    /// Told when the program has stopped.
    pub stopped: Notify,
    /// A seed for losing turns; 0 for never.
    pub seed: AtomicU64,
}

impl Points {
    pub async fn pass(&self) {
        let point = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if i64::try_from(point).unwrap() == self.stop_at.load(Ordering::SeqCst) {
            self.stopped.notify_one();
            pending::<()>().await;
        }
        let seed = self.seed.load(Ordering::SeqCst);
        if seed > 0 {
            let next =
                seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) | 1;
            self.seed.store(next, Ordering::SeqCst);
            for _ in 0..(next >> 60) {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[derive(Clone, Default)]
pub struct MemoryLog {
    pub entries: Arc<Mutex<Vec<Entry>>>,
    pub points: Arc<Points>,
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        let mut all = self.entries.lock().unwrap();
        let first = LogPosition(all.len() as u64);
        all.extend(entries);
        Ok(first)
    }

    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        self.points.pass().await;
        let all = self.entries.lock().unwrap();
        let mut bytes = 0;
        let from = usize::try_from(from.0).unwrap();
        let mut read = Vec::new();
        for (at, entry) in all.iter().enumerate().skip(from).take(entries_max) {
            bytes += entry.payload.len();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push((LogPosition(at as u64), entry.clone()));
        }
        Ok(read)
    }

    fn end(&self) -> LogPosition {
        LogPosition(self.entries.lock().unwrap().len() as u64)
    }

    fn start(&self) -> LogPosition {
        LogPosition(0)
    }

    async fn wait_past(&self, position: LogPosition) {
        while self.end() <= position {
            tokio::task::yield_now().await;
        }
    }

    async fn trim(&self, _position: LogPosition) -> Result<(), LogError> {
        Ok(())
    }
}

/// A table's name and a key in it.
type Place = (&'static str, Vec<u8>);
type Rows = BTreeMap<Place, Vec<u8>>;

#[derive(Clone, Default)]
pub struct MemoryCatalog {
    pub rows: Arc<Mutex<Rows>>,
    pub points: Arc<Points>,
}

/// A transaction in place, with what it takes to roll back.
struct MemoryTx<'a> {
    rows: &'a mut Rows,
    before: Vec<(Place, Option<Vec<u8>>)>,
}

impl MemoryTx<'_> {
    fn run(rows: &mut Rows, work: &mut Work) -> bool {
        let mut tx = MemoryTx { rows, before: Vec::new() };
        let kept = work(&mut tx).is_ok();
        if !kept {
            for (key, value) in std::mem::take(&mut tx.before).into_iter().rev() {
                match value {
                    Some(value) => tx.rows.insert(key, value),
                    None => tx.rows.remove(&key),
                };
            }
        }
        kept && !tx.before.is_empty()
    }
}

impl Tx for MemoryTx<'_> {
    fn get(&mut self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        let key = (table, key.to_vec());
        let before = self.rows.insert(key.clone(), value.to_vec());
        self.before.push((key, before));
        Ok(())
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) -> Result<bool, CatalogError> {
        let key = (table, key.to_vec());
        let before = self.rows.remove(&key);
        let was_there = before.is_some();
        self.before.push((key, before));
        Ok(was_there)
    }

    fn scan(
        &mut self,
        table: &'static str,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, CatalogError> {
        assert!(!reverse, "no stage scans backwards");
        let rows = self.rows.range((table, from.to_vec())..);
        let inside = rows
            .take_while(|((of, key), _)| *of == table && until.is_none_or(|until| key.as_slice() < until));
        Ok(inside.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

#[async_trait]
impl CatalogBackend for MemoryCatalog {
    async fn write(&self, mut work: Work) -> Result<(), CatalogError> {
        self.points.pass().await;
        MemoryTx::run(&mut self.rows.lock().unwrap(), &mut work);
        self.points.pass().await;
        Ok(())
    }

    async fn read(&self, mut work: Work) -> Result<(), CatalogError> {
        self.points.pass().await;
        let wrote = MemoryTx::run(&mut self.rows.lock().unwrap(), &mut work);
        assert!(!wrote, "a reading transaction wrote");
        Ok(())
    }
}

/// An object as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub body: bytes::Bytes,
    pub metadata: Vec<(String, String)>,
}

/// Buckets in memory. An object that is put again must not change.
#[derive(Clone, Default)]
pub struct MemoryBucket {
    pub objects: Arc<Mutex<BTreeMap<(String, String), Object>>>,
    /// The buckets that refuse everything, with the error's code.
    pub refusing: Arc<Mutex<BTreeMap<String, &'static str>>>,
    /// How many puts some buckets still take before they refuse.
    pub takes: Arc<Mutex<BTreeMap<String, usize>>>,
    /// The buckets whose puts take effect and fail all the same.
    pub silent: Arc<Mutex<BTreeSet<String>>>,
    /// How many puts were tried in each bucket.
    pub attempts: Arc<Mutex<BTreeMap<String, usize>>>,
    pub points: Arc<Points>,
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn check_acl(&self, bucket: &str, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.refuse(bucket)
    }

    async fn holds(&self, bucket: &str, key: &str) -> Result<bool, PutFailure> {
        self.points.pass().await;
        Ok(self.objects.lock().unwrap().contains_key(&(bucket.to_owned(), key.to_owned())))
    }

    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.points.pass().await;
        assert_eq!(who.account, who.trail.account());
        *self.attempts.lock().unwrap().entry(put.bucket.clone()).or_default() += 1;
        self.refuse(&put.bucket)?;
        let is_silent = self.silent.lock().unwrap().contains(&put.bucket);
        {
            let object = Object { body: put.body, metadata: put.metadata };
            let mut objects = self.objects.lock().unwrap();
            let before = objects.insert((put.bucket, put.key.clone()), object.clone());
            assert!(
                before.is_none_or(|before| before == object),
                "{} changed when it was put again",
                put.key
            );
        }
        self.points.pass().await;
        if is_silent {
            return Err(PutFailure { code: "RequestTimeout".to_owned(), message: "no answer".to_owned() });
        }
        Ok(())
    }
}

impl MemoryBucket {
    fn refuse(&self, bucket: &str) -> Result<(), PutFailure> {
        if let Some(left) = self.takes.lock().unwrap().get_mut(bucket) {
            let code = "AccessDenied".to_owned();
            *left =
                left.checked_sub(1).ok_or(PutFailure { code, message: format!("no more in {bucket}") })?;
        }
        match self.refusing.lock().unwrap().get(bucket) {
            Some(code) => Err(PutFailure { code: (*code).to_owned(), message: format!("no {bucket}") }),
            None => Ok(()),
        }
    }
}
