//! The embedded store of lines: a journal of batches, the newest lines in memory, and files of the others.
//!
//! On the road: an append is a record of the journal, and then in the tail. A full or old tail is frozen and written to a
//! file (`flush`); files are merged, and what is hidden is left out of what they become (`merging`). A read merges tails
//! and files (`reading`).
//!
//! Invariants: a tail that is frozen has all that the journal had by then, since an append holds the gate from before its
//! record until it is in the tail; one transaction names a file and moves the place from which the journal is read
//! again, so no line is there twice.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use cairn_core::Timestamp;
use tokio::sync::{RwLock, Semaphore};

use super::cipher::{self, StoreKey};
use super::file::{self, FileError, Folder, LinesFile};
use super::flush::Frozen;
use super::hidden::Hidden;
use super::index_cache::IndexCache;
use super::journal::{self, Journal, JournalError};
use super::metrics::{LinesMetrics, value};
use super::reading::{self, View};
use super::recent::Recent;
use super::record::{self, RecordSealer};
use super::registry::{KeptOf, Registered, Registry};
use super::settings::LinesSettings;
use super::tail::Tail;
use super::{Batch, GroupId, Kept, LinesError, Page, Query, StreamId};
use crate::catalog::Catalog;
use crate::disk::Disk;
use crate::log::LogPosition;
use crate::seal::KEY_SIZE_BYTES;
use crate::space::SpaceWatch;

/// The folders of the journal and of the files.
const JOURNAL_FOLDER: &str = "journal";
const FILES_FOLDER: &str = "files";
/// How many reads look at files at once; others wait, so that they leave threads to the rest of the server.
const READS_MAX: usize = 3;

/// Where a store of lines is, and what it is made with.
pub struct LinesGround {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The folder, which is made where it is missing.
    pub folder: PathBuf,
    /// Where the files are registered.
    pub catalog: Catalog,
    /// Everything on disk is encrypted under it.
    pub key: [u8; KEY_SIZE_BYTES],
    /// The settings.
    pub settings: LinesSettings,
    /// Told what is written.
    pub space: Option<Arc<SpaceWatch>>,
    /// For metrics.
    pub registry: prometheus::Registry,
}

/// What changes.
#[derive(Default)]
pub(super) struct State {
    pub(super) active: Arc<Tail>,
    /// Being written to a file.
    pub(super) frozen: Option<Frozen>,
    pub(super) files: std::collections::BTreeMap<u64, Arc<LinesFile>>,
    pub(super) hidden: Arc<Hidden>,
    /// What is in files of each stream.
    pub(super) kept: KeptOf,
    /// Up to where the journal is in files.
    pub(super) flushed: LogPosition,
}

impl State {
    pub(super) fn tails(&self) -> impl Iterator<Item = &Arc<Tail>> {
        self.frozen.iter().map(|frozen| &frozen.tail).chain([&self.active])
    }

    /// What the tails take in memory.
    pub(super) fn tail_bytes(&self) -> usize {
        self.tails().map(|tail| tail.size_bytes()).sum()
    }
}

/// The store of lines.
pub(super) struct Store {
    pub(super) journal: Journal,
    sealer: RecordSealer,
    next_record: AtomicU64,
    pub(super) folder: Folder,
    pub(super) registry: Registry,
    pub(super) settings: LinesSettings,
    pub(super) metrics: LinesMetrics,
    pub(super) space: Option<Arc<SpaceWatch>>,
    pub(super) cache: IndexCache,
    recent: Recent,
    state: Mutex<State>,
    /// Held for reading by who appends, for writing by who freezes the tail or forgets.
    pub(super) gate: RwLock<()>,
    /// Held by who writes the tail to a file, by who merges files, and by who changes the registry.
    pub(super) flushing: tokio::sync::Mutex<()>,
    pub(super) merging: tokio::sync::Mutex<()>,
    pub(super) registering: tokio::sync::Mutex<()>,
    reads: Semaphore,
    next_id: AtomicU64,
    /// A flush is on its way, or failed and is not to be tried before the next maintenance.
    pub(super) flush_is_started: AtomicBool,
    pub(super) flush_has_failed: AtomicBool,
    pub(super) closing: AtomicBool,
    /// A change of the registry failed, and whether it is there is not known.
    pub(super) registry_is_unsure: AtomicBool,
}

impl Store {
    /// Opens the store, and reads again what is only in the journal.
    pub(super) async fn open(ground: LinesGround, is_driven: bool) -> Result<Self, LinesError> {
        let LinesGround { disk, folder, catalog, key, settings, space, registry } = ground;
        make_folder(&*disk, &folder).map_err(failed("be put into a folder"))?;
        let journal_folder = folder.join(JOURNAL_FOLDER);
        let journal =
            Journal::open(is_driven, (&disk, &journal_folder), &settings, space.clone(), &registry)?;
        let key = StoreKey::new(&key);
        let files = Folder { disk, path: folder.join(FILES_FOLDER), key: key.clone() };
        let found = Registry::new(catalog.clone()).load().await.map_err(failed("be listed"))?;
        let next_id = make_ready(&files, &folder, &found).map_err(failed_file)?;
        let store = Self {
            sealer: RecordSealer::new(&key, cipher::new_salt()),
            next_record: AtomicU64::new(0),
            recent: Recent::new(settings.recent_size_bytes_max),
            journal,
            registry: Registry::new(catalog),
            settings,
            metrics: LinesMetrics::new(&registry),
            space,
            cache: IndexCache::default(),
            state: Mutex::new(state_of(&files, found)),
            folder: files,
            gate: RwLock::default(),
            flushing: tokio::sync::Mutex::default(),
            merging: tokio::sync::Mutex::default(),
            registering: tokio::sync::Mutex::default(),
            reads: Semaphore::new(READS_MAX),
            next_id: AtomicU64::new(next_id),
            flush_is_started: AtomicBool::new(false),
            flush_has_failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            registry_is_unsure: AtomicBool::new(false),
        };
        store.replay(&key).await?;
        store.measure();
        Ok(store)
    }

    /// Puts what is only in the journal into the tail.
    async fn replay(&self, key: &StoreKey) -> Result<(), LinesError> {
        let mut from = self.state().flushed;
        if from < self.journal.start() {
            return Err(JournalError::Missing { from, start: self.journal.start() }.into());
        }
        loop {
            let batches = self.journal.read(from, journal::OPEN_SIZE_BYTES, key).await?;
            let Some((last, _)) = batches.last() else { return Ok(()) };
            from = LogPosition(last.0 + 1);
            let state = self.state();
            for (position, batch) in &batches {
                if !state.hidden.is_forgotten(batch.group, batch.stream) {
                    state.active.insert(*position, batch);
                }
            }
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lines' state is held")
    }

    /// A number for a file, or for what is forgotten, that is greater than all before.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) async fn append(self: &Arc<Self>, batches: Vec<Batch>) -> Result<LogPosition, LinesError> {
        if batches.is_empty() {
            return Ok(self.journal.end());
        }
        self.make_room().await?;
        let mut records = Vec::with_capacity(batches.len());
        let mut kept = Vec::with_capacity(batches.len());
        for batch in batches {
            let body = record::body_of(&batch);
            records.push(self.sealer.seal(self.next_record.fetch_add(1, Ordering::SeqCst), &body));
            // The caller's text may be a slice of something much larger.
            kept.push(with_text_of(batch, &body));
        }
        let entering = self.gate.read().await;
        let first = self.journal.append(records).await?;
        let state = self.state();
        kept.iter().zip(first.0..).for_each(|(batch, at)| state.active.insert(LogPosition(at), batch));
        let is_due = state.active.size_bytes() >= self.settings.flush_size_bytes;
        drop((state, entering));
        let lines: usize = kept.iter().map(|batch| batch.lines.len()).sum();
        self.metrics.appended_lines.inc_by(lines as u64);
        self.recent.add(first, kept);
        if is_due {
            self.start_flush();
        }
        Ok(first)
    }

    /// Reads, away from the async threads.
    pub(super) async fn read(self: &Arc<Self>, query: Query) -> Result<Page, LinesError> {
        let _turn = self.reads.acquire().await.expect("the semaphore is never closed");
        let read = self.run_blocking("be read", move |store| {
            let view = store.view(&query);
            reading::read(&view, &store.cache, &query)
        });
        let (page, scanned_bytes) = read.await?.map_err(failed_file)?;
        self.metrics.scanned_bytes.inc_by(scanned_bytes);
        Ok(page)
    }

    fn view(&self, query: &Query) -> View {
        let span = reading::Span::of(query);
        let state = self.state();
        let may_hold = |file: &&Arc<LinesFile>| {
            let section = file.entry.section(query.group);
            section.is_some_and(|section| span.overlaps_times(section.first_ms, section.last_ms))
        };
        View {
            tails: state.tails().cloned().collect(),
            files: state.files.values().filter(may_hold).cloned().collect(),
            hidden: state.hidden.of(query.group),
        }
    }

    /// Batches as they were appended.
    pub(super) async fn appended(
        &self,
        from: LogPosition,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Batch)>, LinesError> {
        let recent = self.recent.read(from, bytes_max);
        if !recent.is_empty() {
            Ok(recent)
        } else {
            self.journal.read(from, bytes_max, &self.folder.key).await
        }
    }

    /// What is kept of the streams of a group, or of one.
    pub(super) fn kept(&self, group: GroupId, stream: Option<StreamId>) -> Kept {
        let range = match stream {
            None => (group, StreamId(0))..=(group, StreamId(u64::MAX)),
            Some(stream) => (group, stream)..=(group, stream),
        };
        let state = self.state();
        let mut by_stream: KeptOf = state.kept.range(range.clone()).map(|(of, kept)| (*of, *kept)).collect();
        for tail in state.tails() {
            let inner = tail.inner();
            inner
                .kept
                .range(range.clone())
                .for_each(|(of, kept)| by_stream.entry(*of).or_default().join(kept));
        }
        let mut all = Kept::default();
        by_stream.into_values().for_each(|kept| all.join(&kept.shown()));
        all
    }

    pub(super) async fn maintain(
        self: &Arc<Self>,
        now: Timestamp,
        needed_from: LogPosition,
    ) -> Result<(), LinesError> {
        self.flush_has_failed.store(false, Ordering::SeqCst);
        let flushed = self.flush_where_due(now).await;
        let flushed_up_to = self.state().flushed;
        let trimmed = self.journal.trim(needed_from.min(flushed_up_to)).await;
        let merged = self.merge_where_due().await;
        self.measure();
        flushed.and(trimmed).and(merged)
    }

    /// Lets what is under way end, and begins nothing more.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let _flushing = self.flushing.lock().await;
        let _merging = self.merging.lock().await;
    }

    /// Runs `work` away from the async threads, where there are threads at all.
    pub(super) async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        action: &'static str,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, LinesError> {
        if !self.journal.is_driven() {
            return Ok(work(self));
        }
        let store = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(failed(action))
    }

    /// Shows how much there is.
    pub(super) fn measure(&self) {
        let state = self.state();
        let behind = self.journal.end().0.saturating_sub(state.flushed.0);
        let file_bytes = state.files.values().map(|file| file.entry.size_bytes).sum();
        let unreadable = state.files.values().filter(|file| file.is_damaged()).count();
        self.metrics.tail_bytes.set(value(state.tail_bytes() as u64));
        self.metrics.journal_behind.set(value(behind));
        self.metrics.files.set(value(state.files.len() as u64));
        self.metrics.file_bytes.set(value(file_bytes));
        self.metrics.files_unreadable.set(value(unreadable as u64));
    }
}

/// The same batch, whose lines share the body's bytes.
fn with_text_of(batch: Batch, body: &Bytes) -> Batch {
    let mut at = body.len() - super::recent::text_bytes(&batch);
    let mut lines = batch.lines;
    for line in &mut lines {
        let end = at + line.message.len();
        line.message = body.slice(at..end);
        at = end;
    }
    Batch { lines, ..batch }
}

/// Makes the store's folder. Its name is made durable at each start: who made it may have died before.
fn make_folder(disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
    if !disk.is_dir(folder) {
        disk.create_dir_all(folder)?;
    }
    let whole = disk.canonicalize(folder)?;
    whole.parent().map_or(Ok(()), |above| disk.sync_directory(above))
}

/// Makes the files' folder where it is missing, and removes the files that a crash left over. The number that the next file
/// may have.
fn make_ready(files: &Folder, above: &Path, found: &Registered) -> Result<u64, FileError> {
    let disk = &*files.disk;
    let made = if disk.is_dir(&files.path) { Ok(()) } else { disk.create_dir_all(&files.path) };
    made.and_then(|()| disk.sync_directory(above)).map_err(FileError::of(&files.path, "be made"))?;
    let names = disk.names(&files.path).map_err(FileError::of(&files.path, "be listed"))?;
    let on_disk: Vec<u64> = names.iter().filter_map(|name| file::id_of(name.to_str()?)).collect();
    for id in on_disk.iter().filter(|id| !found.files.contains_key(id)) {
        let path = files.path.join(file::name(*id));
        tracing::info!(path = %path.display(), "a file of log lines that was not finished is removed");
        disk.remove_file(&path).map_err(FileError::of(&path, "be removed"))?;
    }
    for id in found.files.keys().filter(|id| !on_disk.contains(id)) {
        tracing::error!(path = %files.path.join(file::name(*id)).display(), "a file of log lines is missing");
    }
    let known = found.files.keys().chain(&on_disk).max();
    Ok(known.copied().unwrap_or_default().max(found.hidden.number) + 1)
}

fn state_of(folder: &Folder, found: Registered) -> State {
    let Registered { files, flushed, kept, hidden } = found;
    let opened = files.into_iter().map(|(id, entry)| (id, Arc::new(LinesFile::new(folder, id, entry))));
    State { files: opened.collect(), hidden: Arc::new(hidden), kept, flushed, ..State::default() }
}

/// An error of a file of lines, or of their registry.
pub(super) fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    action: &'static str,
) -> impl Fn(E) -> LinesError {
    move |source| LinesError::File { action, source: source.into() }
}

/// An error of a file of lines.
pub(super) fn failed_file(error: FileError) -> LinesError {
    if error.is_full() {
        return LinesError::Full(std::io::ErrorKind::StorageFull.into());
    }
    LinesError::File { action: error.action, source: error.into() }
}
