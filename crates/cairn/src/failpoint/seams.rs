//! The failpoints of stores and stages, in what is handed to them.
//!
//! | of | names |
//! |---|---|
//! | a new segment of the log | `roll-created`, `roll-reserved`, `roll-header-written`, `roll-header-synced`, `roll-named`, `roll-directory-synced` |
//! | a full segment | `seal-written`, `seal-cut`, `seal-synced` |
//! | a group of entries | `log-write-torn` (half of it is written), `log-written`, `log-synced` |
//! | the log's recovery | `recovery-found-torn`, `recovery-cut`, `recovery-synced` |
//! | trimming | `trim-removed` |
//! | the queues' journal | as the log's, after `queues-`: `queues-log-written` |
//! | log lines, their journal and their files | as the log's, after `lines-`; a new file has the points of a new segment |
//! | log files and digests | `before-log-file-put`, `log-file-put`, `before-digest-put`, `digest-put` |
//! | a transaction that writes to a table | `before-commit:TABLE`, `after-commit:TABLE` |

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cairn_store::CatalogError;
use cairn_store::catalog::{CatalogBackend, Pair, Tx, Work};
use cairn_store::disk::{Access, Disk, DiskFile, DiskLock, TryLockError};
use cairn_trail::bucket::{Bucket, BucketPut, OnBehalfOf, PutFailure};

use super::{armed, reach};

/// The disk of a log: of the event log, or of another whose points have a prefix.
#[derive(Debug)]
pub(super) struct Log {
    inner: Arc<dyn Disk>,
    prefix: &'static str,
    /// A segment was named, and its name is not durable yet.
    named: AtomicBool,
}

impl Log {
    pub(super) fn new(inner: Arc<dyn Disk>, prefix: &'static str) -> Self {
        Self { inner, prefix, named: AtomicBool::new(false) }
    }

    fn reach(&self, name: &str) {
        reach(&[self.prefix, name].concat());
    }
}

impl Disk for Log {
    fn is_dir(&self, path: &Path) -> bool {
        self.inner.is_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonicalize(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.inner.open(path, access)?;
        let is_new = access == Access::Create;
        if is_new {
            self.reach("roll-created");
        }
        let (is_new, was_synced) = (AtomicBool::new(is_new), AtomicBool::new(false));
        Ok(Arc::new(LogFile { inner, prefix: self.prefix, is_new, was_synced }))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, TryLockError> {
        self.inner.lock(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)?;
        self.named.store(true, Ordering::Relaxed);
        self.reach("roll-named");
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)?;
        if path.extension().is_some_and(|extension| extension == "log") {
            self.reach("trim-removed");
        }
        Ok(())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.inner.names(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.inner.sync_directory(directory)?;
        if self.named.swap(false, Ordering::Relaxed) {
            self.reach("roll-directory-synced");
        }
        Ok(())
    }
}

/// A segment.
#[derive(Debug)]
struct LogFile {
    inner: Arc<dyn DiskFile>,
    prefix: &'static str,
    /// It has no header yet that is durable.
    is_new: AtomicBool,
    /// Entries were synced since it was opened, so that a cut ends it; before that, recovery cuts it.
    was_synced: AtomicBool,
}

impl LogFile {
    fn reach(&self, name: &str) {
        reach(&[self.prefix, name].concat());
    }

    fn reach_of(&self, new: &str, full: &str, recovered: &str) {
        if self.is_new.load(Ordering::Relaxed) {
            self.reach(new);
        } else if self.was_synced.load(Ordering::Relaxed) {
            self.reach(full);
        } else {
            self.reach(recovered);
        }
    }
}

impl DiskFile for LogFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.is_new.load(Ordering::Relaxed) {
            let written = self.inner.write_at(bytes, offset)?;
            self.reach("roll-header-written");
            return Ok(written);
        }
        if armed::is_due(&[self.prefix, "log-write-torn"].concat()) {
            let half = self.inner.write_all_at(&bytes[..bytes.len() / 2], offset);
            half.expect("the disk takes what is to be torn");
            armed::die();
        }
        let written = self.inner.write_at(bytes, offset)?;
        self.reach("log-written");
        Ok(written)
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.reach_of("", "seal-written", "recovery-found-torn");
        self.inner.set_len(size_bytes)?;
        self.reach_of("", "seal-cut", "recovery-cut");
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.inner.size_bytes()
    }

    fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        self.inner.reserve(size_bytes)?;
        self.reach_of("roll-reserved", "", "");
        Ok(())
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()?;
        self.was_synced.store(true, Ordering::Relaxed);
        self.reach("log-synced");
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()?;
        self.reach_of("roll-header-synced", "seal-synced", "recovery-synced");
        self.is_new.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// The bucket that is delivered to.
pub(super) struct Deliveries(pub(super) Arc<dyn Bucket>);

#[async_trait]
impl Bucket for Deliveries {
    async fn check_acl(&self, bucket: &str, who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.0.check_acl(bucket, who).await
    }

    async fn holds(&self, bucket: &str, key: &str) -> Result<bool, PutFailure> {
        self.0.holds(bucket, key).await
    }

    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure> {
        let (before, after) = match &put {
            put if put.body.is_empty() => ("", ""),
            put if put.key.contains("/CloudTrail-Digest/") => ("before-digest-put", "digest-put"),
            _ => ("before-log-file-put", "log-file-put"),
        };
        reach(before);
        self.0.put(put, who).await?;
        reach(after);
        Ok(())
    }
}

/// The catalog.
pub(super) struct Transactions<B>(pub(super) B);

#[async_trait]
impl<B: CatalogBackend> CatalogBackend for Transactions<B> {
    async fn write(&self, mut work: Work) -> Result<(), CatalogError> {
        let tables: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let noted = Arc::clone(&tables);
        let watched: Work = Box::new(move |tx| {
            let mut watched = Watched { inner: tx, tables: Vec::new() };
            work(&mut watched)?;
            for table in &watched.tables {
                reach(&format!("before-commit:{table}"));
            }
            *noted.lock().expect("no panic while the tables are held") = watched.tables;
            Ok(())
        });
        self.0.write(watched).await?;
        for table in tables.lock().expect("no panic while the tables are held").iter() {
            reach(&format!("after-commit:{table}"));
        }
        Ok(())
    }

    async fn read(&self, work: Work) -> Result<(), CatalogError> {
        self.0.read(work).await
    }
}

/// A transaction, and the tables that it wrote to.
struct Watched<'a> {
    inner: &'a mut dyn Tx,
    tables: Vec<&'static str>,
}

impl Watched<'_> {
    fn note(&mut self, table: &'static str) {
        if !self.tables.contains(&table) {
            self.tables.push(table);
        }
    }
}

impl Tx for Watched<'_> {
    fn get(&mut self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        self.inner.get(table, key)
    }

    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        self.note(table);
        self.inner.put(table, key, value)
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) -> Result<bool, CatalogError> {
        self.note(table);
        self.inner.delete(table, key)
    }

    fn scan(
        &mut self,
        table: &'static str,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, CatalogError> {
        self.inner.scan(table, from, until, limit, reverse)
    }
}
