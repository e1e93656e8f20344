//! The embedded catalog: one SQLite file.
//!
//! On the road: below every service and stage. One thread writes; it gathers the transactions that are queued, runs
//! each in a savepoint of its own and commits them together, so that many callers share one fsync. Reads run on a few
//! connections of their own, each on the snapshot of its beginning, and never wait for the writer (WAL).
//!
//! All catalog tables live in one SQL table `kv(tbl, key, value)` without rowid, clustered by its key: a catalog table
//! then costs no schema change, the same five prepared statements serve them all, and a scan (ListObjects) reads
//! neighbouring pages. Its price, the table's name repeated in every row, is a few bytes.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use prometheus::{Histogram, IntCounter, IntGauge, Registry};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Catalog, CatalogBackend, CatalogError, Pair, Tx, Work};
use crate::metrics;

/// The version of the file's layout that this program writes, kept in `user_version`.
const FORMAT_VERSION: u32 = 1;
/// How many transactions may share a commit.
const GROUP_WORKS_MAX: usize = 256;
/// How many transactions may wait for the writer before callers wait to enter.
const QUEUE_WORKS_MAX: usize = 1024;
/// How many reads run at once.
const READERS_MAX: usize = 4;
/// How long a statement waits for a lock that another process (a backup, a shell) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The size of a page. Rows hold a kilobyte or so of JSON; pages of 8 KiB keep some of them together.
const PAGE_SIZE_BYTES: u32 = 8192;
/// The page cache of one connection, in KiB.
const CACHE_SIZE_KIB: i32 = 1024;
/// After so many pages in the WAL the writer moves them into the file: 8 MiB.
const CHECKPOINT_PAGES: u32 = 1024;
/// What a WAL that grew under a long read is cut back to.
const WAL_SIZE_BYTES_MAX: i64 = 32 << 20;

const SCHEMA: &str = "CREATE TABLE kv (
    tbl TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID, STRICT";
const GET: &str = "SELECT value FROM kv WHERE tbl = ?1 AND key = ?2";
const PUT: &str = "INSERT INTO kv (tbl, key, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM kv WHERE tbl = ?1 AND key = ?2";
const SCAN_FROM: &str = "SELECT key, value FROM kv WHERE tbl = ?1 AND key >= ?2 ORDER BY key LIMIT ?3";
const SCAN_FROM_REVERSE: &str =
    "SELECT key, value FROM kv WHERE tbl = ?1 AND key >= ?2 ORDER BY key DESC LIMIT ?3";
const SCAN_RANGE: &str =
    "SELECT key, value FROM kv WHERE tbl = ?1 AND key >= ?2 AND key < ?4 ORDER BY key LIMIT ?3";
const SCAN_RANGE_REVERSE: &str =
    "SELECT key, value FROM kv WHERE tbl = ?1 AND key >= ?2 AND key < ?4 ORDER BY key DESC LIMIT ?3";

/// Opens the catalog at `path` with metrics of its own that nobody sees; made where it is missing.
///
/// # Errors
/// As [`SqliteCatalog::open`].
pub fn open(path: &Path) -> Result<Catalog, CatalogError> {
    Ok(Catalog::new(SqliteCatalog::open(path, &Registry::new())?))
}

/// One transaction on its way to the writer.
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<(), CatalogError>>,
}

/// A catalog in one SQLite file. Dropped, it finishes the transactions that are queued.
pub struct SqliteCatalog {
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    permits: Arc<Semaphore>,
    reads: IntCounter,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`; made where it is missing.
    ///
    /// # Errors
    /// A file that is not a catalog or that a newer program wrote, or the database's own failure.
    pub fn open(path: &Path, registry: &Registry) -> Result<Self, CatalogError> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        prepare_writer(&connection).map_err(failed("prepare its file"))?;
        prepare_schema(&connection)?;
        let writer = Writer {
            connection,
            queue_depth: metrics::gauge(
                registry,
                "cairn_catalog_queue_transactions",
                "Transactions waiting for the writer.",
            ),
            transactions: metrics::counter(
                registry,
                "cairn_catalog_write_transactions_total",
                "Transactions committed.",
            ),
            group: metrics::sizes(
                registry,
                "cairn_catalog_group_transactions",
                "Transactions per commit.",
                2.0,
                9,
            ),
            commit_seconds: metrics::seconds(
                registry,
                "cairn_catalog_commit_seconds",
                "How long a commit took.",
            ),
        };
        let (queue, queued) = mpsc::channel(QUEUE_WORKS_MAX);
        let writer = std::thread::Builder::new()
            .name("catalog".into())
            .spawn(move || writer.run(queued))
            .map_err(|source| CatalogError::Database { action: "start its writer", source: source.into() })?;
        let readers = Readers { path: path.to_owned(), idle: Mutex::default() };
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        let reads = metrics::counter(registry, "cairn_catalog_read_transactions_total", "Read transactions.");
        let (queue, writer, readers) = (Some(queue), Some(writer), Arc::new(readers));
        Ok(Self { queue, writer, readers, permits, reads })
    }
}

impl Drop for SqliteCatalog {
    fn drop(&mut self) {
        self.queue = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the catalog's writer panicked");
        }
    }
}

#[async_trait]
impl CatalogBackend for SqliteCatalog {
    async fn write(&self, work: Work) -> Result<(), CatalogError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().expect("the queue is open until the catalog is dropped");
        if queue.send(Job { work, answer }).await.is_err() {
            return Err(gone());
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn read(&self, mut work: Work) -> Result<(), CatalogError> {
        self.reads.inc();
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let readers = Arc::clone(&self.readers);
        let read = move || {
            let outcome = readers.run(&mut work);
            drop(permit);
            outcome
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|panicked| CatalogError::Database { action: "read", source: panicked.into() })?
    }

    /// Writes the file anew without its free pages and empties the WAL. It waits for what is being read and written.
    async fn scrub(&self) -> Result<(), CatalogError> {
        let path = self.readers.path.clone();
        let scrub = move || {
            let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.execute_batch("VACUUM").map_err(failed("vacuum its file"))?;
            let busy: bool = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(failed("empty its WAL"))?;
            if busy {
                return Err(CatalogError::Database {
                    action: "empty its WAL",
                    source: "it is in use".into(),
                });
            }
            Ok(())
        };
        tokio::task::spawn_blocking(scrub)
            .await
            .map_err(|panicked| CatalogError::Database { action: "scrub", source: panicked.into() })?
    }
}

fn gone() -> CatalogError {
    CatalogError::Database { action: "write", source: "its writer has stopped".into() }
}

fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> CatalogError {
    move |source| CatalogError::Database { action, source: source.into() }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, CatalogError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed("open its file"))?;
    let prepare = || {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "page_size", PAGE_SIZE_BYTES)?;
        connection.pragma_update(None, "cache_size", -CACHE_SIZE_KIB)?;
        connection.pragma_update(None, "temp_store", "MEMORY")
    };
    prepare().map_err(failed("prepare its connection"))?;
    Ok(connection)
}

fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_SIZE_BYTES_MAX, |_| Ok(()))
}

fn prepare_schema(connection: &Connection) -> Result<(), CatalogError> {
    let found: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed("read its version"))?;
    match found {
        0 => {
            let sql = format!("BEGIN IMMEDIATE; {SCHEMA}; PRAGMA user_version = {FORMAT_VERSION}; COMMIT");
            connection.execute_batch(&sql).map_err(failed("make its table"))
        }
        FORMAT_VERSION => Ok(()),
        found => Err(CatalogError::Version { table: "kv", found, known: FORMAT_VERSION }),
    }
}

/// The connections that read.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn run(&self, work: &mut Work) -> Result<(), CatalogError> {
        let idle = self.idle.lock().expect("no panic while the idle readers are held").pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        // A panic in `work` drops the connection, and with it the transaction.
        connection.execute_batch("BEGIN").map_err(failed("begin a read"))?;
        let mut tx = SqliteTx { connection: &connection, read_only: true, failure: None };
        // What a read rolls back is nothing; its reason travels beside the mark.
        let _unwritten = work(&mut tx);
        let failure = tx.failure.take();
        connection.execute_batch("COMMIT").map_err(failed("end a read"))?;
        self.idle.lock().expect("no panic while the idle readers are held").push(connection);
        // A statement's failure reached the work, which says what to make of it.
        if let Some(failure) = failure {
            tracing::warn!(%failure, "a statement of a catalog read failed");
        }
        Ok(())
    }

    fn connect(&self) -> Result<Connection, CatalogError> {
        let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "query_only", true).map_err(failed("prepare a reader"))?;
        Ok(connection)
    }
}

/// The writer thread's state.
struct Writer {
    connection: Connection,
    queue_depth: IntGauge,
    transactions: IntCounter,
    group: Histogram,
    commit_seconds: Histogram,
}

/// What became of one transaction of a group, before the commit.
enum Ran {
    /// Its writes are in the group's transaction.
    Kept,
    /// Its writes are gone, at its own wish.
    RolledBack,
    /// Its writes are gone; it failed.
    Failed(CatalogError),
}

impl Writer {
    fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GROUP_WORKS_MAX {
                let Ok(next) = queue.try_recv() else { break };
                jobs.push(next);
            }
            self.queue_depth.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
            self.group.observe(jobs.len() as f64);
            self.run_group(jobs);
        }
    }

    /// Runs `jobs` in one transaction and answers them once it is durable. Where it cannot be committed all fail, also
    /// those that asked for a rollback: what they saw of the others never came to be.
    fn run_group(&self, jobs: Vec<Job>) {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut lost = self.connection.execute_batch("BEGIN IMMEDIATE").err();
        for Job { mut work, answer } in jobs {
            if lost.is_some() {
                answers.push((answer, Ran::RolledBack));
                continue;
            }
            match self.run_work(&mut work) {
                Ok(ran) => answers.push((answer, ran)),
                Err(error) => {
                    lost = Some(error);
                    answers.push((answer, Ran::RolledBack));
                }
            }
        }
        if lost.is_none() {
            let timer = self.commit_seconds.start_timer();
            lost = self.connection.execute_batch("COMMIT").err();
            timer.observe_duration();
        }
        if let Some(error) = lost {
            self.abandon(error, answers);
            return;
        }
        self.transactions.inc_by(answers.len() as u64);
        for (to, ran) in answers {
            let result = if let Ran::Failed(error) = ran { Err(error) } else { Ok(()) };
            answer(to, result);
        }
    }

    /// Runs one work in a savepoint. An error is the whole group's.
    fn run_work(&self, work: &mut Work) -> rusqlite::Result<Ran> {
        self.connection.execute_batch("SAVEPOINT work")?;
        let mut tx = SqliteTx { connection: &self.connection, read_only: false, failure: None };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut tx)));
        let failure = tx.failure.take();
        if self.connection.is_autocommit() {
            // A full disk or a failed write makes SQLite roll back the whole transaction by itself.
            return Err(failure.unwrap_or(rusqlite::Error::InvalidQuery));
        }
        let ran = match (outcome, failure) {
            (Ok(Ok(())), None) => Ran::Kept,
            (Ok(Ok(())), Some(failure)) => Ran::Failed(failed("run a statement")(failure)),
            (Ok(Err(_)), _) => Ran::RolledBack,
            (Err(_), _) => Ran::Failed(CatalogError::Database {
                action: "finish a transaction",
                source: "its work panicked".into(),
            }),
        };
        let end = if matches!(ran, Ran::Kept) { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" };
        self.connection.execute_batch(end)?;
        Ok(ran)
    }

    fn abandon(
        &self,
        error: rusqlite::Error,
        answers: Vec<(oneshot::Sender<Result<(), CatalogError>>, Ran)>,
    ) {
        tracing::error!(%error, transactions = answers.len(), "the catalog could not commit");
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the catalog could not roll back");
        }
        let error = Arc::new(error);
        for (to, _) in answers {
            answer(to, Err(CatalogError::Database { action: "commit", source: Arc::clone(&error).into() }));
        }
    }
}

fn answer(to: oneshot::Sender<Result<(), CatalogError>>, result: Result<(), CatalogError>) {
    if to.send(result).is_err() {
        tracing::debug!("a transaction was answered after its caller had gone");
    }
}

/// A transaction on a connection.
struct SqliteTx<'a> {
    connection: &'a Connection,
    read_only: bool,
    /// The first failure of a statement: such a transaction is never committed, whatever its work makes of it.
    failure: Option<rusqlite::Error>,
}

impl SqliteTx<'_> {
    /// Passes a statement's outcome on and remembers that it failed.
    fn note<T>(&mut self, action: &'static str, outcome: rusqlite::Result<T>) -> Result<T, CatalogError> {
        outcome.map_err(|error| {
            let text = error.to_string();
            self.failure.get_or_insert(error);
            CatalogError::Database { action, source: text.into() }
        })
    }

    fn check_writable(&self) -> Result<(), CatalogError> {
        if self.read_only {
            let source = "the transaction only reads".into();
            return Err(CatalogError::Database { action: "write", source });
        }
        Ok(())
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(values)
    }
}

impl Tx for SqliteTx<'_> {
    fn get(&mut self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        let found = self
            .connection
            .prepare_cached(GET)
            .and_then(|mut get| get.query_row(params![table, key], |row| row.get(0)).optional());
        self.note("get a value", found)
    }

    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        self.check_writable()?;
        let outcome = self.execute(PUT, params![table, key, value]);
        self.note("put a value", outcome).map(|_| ())
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) -> Result<bool, CatalogError> {
        self.check_writable()?;
        let outcome = self.execute(DELETE, params![table, key]);
        self.note("delete a value", outcome).map(|rows| rows > 0)
    }

    fn scan(
        &mut self,
        table: &'static str,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, CatalogError> {
        let Some(limit) = NonZeroUsize::new(limit) else { return Ok(Vec::new()) };
        let rows = i64::try_from(limit.get()).unwrap_or(i64::MAX);
        let pairs = scan(self.connection, table, (from, until), rows, reverse);
        self.note("scan a table", pairs)
    }
}

fn scan(
    connection: &Connection,
    table: &str,
    (from, until): (&[u8], Option<&[u8]>),
    rows: i64,
    reverse: bool,
) -> rusqlite::Result<Vec<Pair>> {
    let sql = match (until.is_some(), reverse) {
        (false, false) => SCAN_FROM,
        (false, true) => SCAN_FROM_REVERSE,
        (true, false) => SCAN_RANGE,
        (true, true) => SCAN_RANGE_REVERSE,
    };
    let mut statement = connection.prepare_cached(sql)?;
    let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    match until {
        None => statement.query_map(params![table, from, rows], pair)?.collect(),
        Some(until) => statement.query_map(params![table, from, rows, until], pair)?.collect(),
    }
}

#[cfg(test)]
mod tests;
