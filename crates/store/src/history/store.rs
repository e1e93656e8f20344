//! The state of the embedded history and all that changes it: events come in, tails become files, files become one.
//!
//! Each change of what lookups see is one short step under the lock of [`State`]; the long work before it is done
//! under one of the locks `filling`, `writing` and `merging`. A fresh tail is filled while the one before it is written;
//! it waits where it is full before that is done, so there are never more than the two. What was not yet in a file is read again from the event log
//! after a restart.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use cairn_core::{Clock, Timestamp};
use tokio::sync::Mutex;

use super::lookup::{Footers, SegmentSearch};
use super::merge::{merge, next_merge};
use super::metrics::Metrics;
use super::order::{PartitionKey, Place, Window, normalised};
use super::registry::{Registry, SegmentEntry};
use super::segment::Segment;
use super::segment_writer::{SegmentWriter, WriteError};
use super::settings::SegmentSettings;
use super::tail::Tail;
use super::{HistoryError, HistoryEvent, HistorySize, Lookup, LookupPage, Mark};
use crate::catalog::Catalog;
use crate::log::LogPosition;

const SEGMENT_EXTENSION: &str = "parquet";
const TEMPORARY_EXTENSION: &str = "tmp";

/// The history behind its handle.
pub(super) struct Store {
    directory: PathBuf,
    registry: Registry,
    clock: Arc<dyn Clock>,
    settings: SegmentSettings,
    next_id: AtomicU64,
    unreadable: usize,
    footers: Arc<Footers>,
    pub(super) metrics: Metrics,
    state: RwLock<State>,
    /// Held while the tail is filled; taken before `writing`.
    filling: Mutex<()>,
    /// Held while a tail is frozen or written.
    writing: Mutex<()>,
    /// Held while segments are merged or dropped.
    merging: Mutex<()>,
}

/// What lookups see; changed only in short steps.
struct State {
    fresh: Tail,
    frozen: Option<Arc<Frozen>>,
    segments: Vec<Arc<Segment>>,
    /// The position up to which the log was taken in.
    taken: LogPosition,
    /// The position up to which it is in segment files.
    durable: LogPosition,
    /// Since when the former is past the latter.
    behind_since: Option<Timestamp>,
}

/// A tail that is being written.
struct Frozen {
    id: u64,
    tail: Tail,
    up_to: LogPosition,
    /// What came later waits since then at most.
    frozen_at: Timestamp,
}

impl Store {
    pub(super) async fn open(
        directory: &Path,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        settings: SegmentSettings,
    ) -> Result<Self, HistoryError> {
        let registry = Registry::new(catalog);
        let (entries, durable) = registry.load().await.map_err(failed("read its registry"))?;
        let registered = entries.len();
        let next_id = entries.last().map_or(0, |(id, _)| id + 1);
        let path = directory.to_owned();
        let segments = blocking("open its segments", move || -> std::io::Result<_> {
            create_directory(&path)?;
            remove_orphans(&path, &entries.iter().map(|(id, _)| *id).collect())?;
            Ok(open_segments(&path, &entries))
        })
        .await?;
        let unreadable = registered - segments.len();
        let state = State {
            fresh: Tail::default(),
            frozen: None,
            segments,
            taken: durable,
            durable,
            behind_since: None,
        };
        let store = Self {
            directory: directory.to_owned(),
            registry,
            clock,
            settings,
            next_id: AtomicU64::new(next_id),
            unreadable,
            footers: Arc::default(),
            metrics: Metrics::new(),
            state: RwLock::new(state),
            filling: Mutex::default(),
            writing: Mutex::default(),
            merging: Mutex::default(),
        };
        store.metrics.note(&store.size());
        Ok(store)
    }

    pub(super) fn size(&self) -> HistorySize {
        let state = self.state.read().expect("no panic while the state is held");
        let frozen = state.frozen.as_ref().map(|frozen| &frozen.tail);
        let tails = || std::iter::once(&state.fresh).chain(frozen);
        HistorySize {
            segments: state.segments.len(),
            segment_events: state.segments.iter().map(|segment| segment.rows()).sum(),
            segment_size_bytes: state.segments.iter().map(|segment| segment.size_bytes()).sum(),
            segments_unreadable: self.unreadable,
            tail_events: tails().map(Tail::events).sum(),
            tail_size_bytes: tails().map(Tail::size_bytes).sum(),
        }
    }

    /// Writes all that is in memory to a segment file.
    pub(super) async fn flush(&self) -> Result<(), HistoryError> {
        let _writing = self.writing.lock().await;
        self.write_frozen().await?;
        self.freeze();
        self.write_frozen().await?;
        self.advance().await
    }
}

/// What the trait asks for.
impl Store {
    pub(super) fn durable_position(&self) -> LogPosition {
        self.state.read().expect("no panic while the state is held").durable
    }

    pub(super) async fn ingest(
        &self,
        events: Vec<HistoryEvent>,
        up_to: LogPosition,
    ) -> Result<(), HistoryError> {
        let _filling = self.filling.lock().await;
        if self.fresh_is_full() {
            let _writing = self.writing.lock().await;
            self.write_frozen().await?;
            if self.fresh_is_full() {
                self.freeze();
            }
        }
        let now = self.clock.now();
        let kept_from = self.kept_from(now);
        let events = normalised(events.into_iter().filter(|event| event.time >= kept_from).collect());
        let mut state = self.state.write().expect("no panic while the state is held");
        for event in events {
            if event.position >= state.taken {
                state.fresh.insert(event);
            }
        }
        if up_to > state.taken {
            state.taken = up_to;
            state.behind_since.get_or_insert(now);
        }
        drop(state);
        self.metrics.note(&self.size());
        Ok(())
    }

    pub(super) async fn maintain(&self, now: Timestamp) -> Result<(), HistoryError> {
        if self.tail_is_old(now) {
            self.flush().await?;
        } else if self.tail_is_full() {
            self.write_full().await?;
        }
        let _merging = self.merging.lock().await;
        self.drop_expired(now).await?;
        self.merge_once(now).await?;
        self.metrics.note(&self.size());
        Ok(())
    }

    pub(super) async fn lookup(&self, query: Lookup) -> Result<LookupPage, HistoryError> {
        let sought = query.attribute.as_ref();
        if query.limit == 0 || sought.is_some_and(|(_, value)| value.is_empty()) {
            return Ok(LookupPage::default());
        }
        let window = Window::new(&query, self.kept_from(self.clock.now()), LogPosition::default());
        let mut search = SegmentSearch {
            partition: PartitionKey::of_lookup(&query),
            window,
            attribute: query.attribute,
            limit: query.limit.saturating_add(1),
        };
        let Snapshot { horizon, fresh, segments } = self.snapshot(&mut search, query.after);
        let footers = Arc::clone(&self.footers);
        let (fresh, stored) = blocking("search its segments", move || {
            let stored = search.run(&segments, &footers, &fresh)?;
            Ok::<_, super::segment::ReadError>((fresh, stored))
        })
        .await?;
        let mut events: Vec<HistoryEvent> =
            fresh.iter().map(|event| (**event).clone()).chain(stored).collect();
        events.sort_unstable_by_key(|event| std::cmp::Reverse(Place::of(event)));
        let more = events.len() > query.limit;
        events.truncate(query.limit);
        let next = events.last().filter(|_| more).map(|last| Mark {
            horizon,
            time: last.time,
            position: last.position,
        });
        Ok(LookupPage { events, next })
    }
}

/// Writing: one at a time, under the lock `writing`.
impl Store {
    /// Writes the frozen tail, and the fresh one where it is full.
    async fn write_full(&self) -> Result<(), HistoryError> {
        let _writing = self.writing.lock().await;
        self.write_frozen().await?;
        if self.fresh_is_full() {
            self.freeze();
            self.write_frozen().await?;
        }
        self.advance().await
    }

    /// Writes the frozen tail, where there is one. Its number and content stay the same from attempt to attempt, so that
    /// a commit whose answer was lost does no harm.
    async fn write_frozen(&self) -> Result<(), HistoryError> {
        let frozen = self.state.read().expect("no panic while the state is held").frozen.clone();
        let Some(frozen) = frozen else { return Ok(()) };
        let path = self.path(frozen.id);
        let (settings, tail) = (self.settings.clone(), Arc::clone(&frozen));
        let segment = blocking("write a segment", move || {
            write_segment(&path, &tail.tail, &settings)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Segment::open(tail.id, &path, None)?)
        })
        .await?;
        let entry = (frozen.id, SegmentEntry::of(&segment));
        let committed = self.registry.advance(frozen.up_to, Some(entry)).await;
        committed.map_err(failed("register a segment"))?;
        let mut state = self.state.write().expect("no panic while the state is held");
        state.segments.push(Arc::new(segment));
        state.frozen = None;
        state.durable = frozen.up_to;
        state.behind_since = (state.taken > frozen.up_to).then_some(frozen.frozen_at);
        Ok(())
    }

    /// Sets the fresh tail aside to be written, where none is yet and it holds anything.
    fn freeze(&self) {
        let frozen_at = self.clock.now();
        let mut state = self.state.write().expect("no panic while the state is held");
        if state.frozen.is_none() && state.fresh.events() > 0 {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let tail = std::mem::take(&mut state.fresh);
            state.frozen = Some(Arc::new(Frozen { id, tail, up_to: state.taken, frozen_at }));
        }
    }

    /// Moves the durable position over the part of the log that had nothing for the history, where nothing is in memory.
    async fn advance(&self) -> Result<(), HistoryError> {
        let (taken, durable) = {
            let state = self.state.read().expect("no panic while the state is held");
            if state.frozen.is_some() || state.fresh.events() > 0 {
                return Ok(());
            }
            (state.taken, state.durable)
        };
        if taken > durable {
            self.registry.advance(taken, None).await.map_err(failed("register its position"))?;
        }
        let mut state = self.state.write().expect("no panic while the state is held");
        state.durable = taken;
        // More may have come meanwhile.
        if state.taken == taken {
            state.behind_since = None;
        }
        Ok(())
    }

    fn fresh_is_full(&self) -> bool {
        let fresh = &self.state.read().expect("no panic while the state is held").fresh;
        fresh.events() >= self.settings.tail_events_max
            || fresh.size_bytes() >= self.settings.tail_size_bytes_max
    }

    fn tail_is_full(&self) -> bool {
        let frozen = self.state.read().expect("no panic while the state is held").frozen.is_some();
        frozen || self.fresh_is_full()
    }

    fn tail_is_old(&self, now: Timestamp) -> bool {
        let state = self.state.read().expect("no panic while the state is held");
        state.behind_since.is_some_and(|since| now.since(since) >= self.settings.tail_age_max)
    }

    fn path(&self, id: u64) -> PathBuf {
        segment_path(&self.directory, id)
    }

    fn kept_from(&self, now: Timestamp) -> Timestamp {
        now.minus(self.settings.retention)
    }
}

/// Merging and dropping: one at a time, under the lock `merging`.
impl Store {
    /// Drops the segments whose newest event is past the retention.
    async fn drop_expired(&self, now: Timestamp) -> Result<(), HistoryError> {
        let kept_from = self.kept_from(now);
        let expired: Vec<_> =
            self.segments().into_iter().filter(|segment| segment.newest() < kept_from).collect();
        if expired.is_empty() {
            return Ok(());
        }
        self.replace(expired, None).await
    }

    /// Merges one group of small segments, where one is due. One at a time, so that a call ends soon.
    async fn merge_once(&self, now: Timestamp) -> Result<(), HistoryError> {
        let Some(group) = next_merge(&self.segments(), &self.settings) else { return Ok(()) };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (path, kept_from) = (self.path(id), self.kept_from(now));
        let (settings, inputs) = (self.settings.clone(), group.clone());
        let merged = blocking("merge segments", move || {
            let rows = merge(&inputs, &path, kept_from, &settings)?;
            let segment = (rows > 0).then(|| Segment::open(id, &path, None)).transpose()?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(segment)
        })
        .await?;
        self.replace(group, merged).await
    }

    /// Puts `new` in the place of `old`, in the registry, for lookups, and on disk.
    async fn replace(&self, old: Vec<Arc<Segment>>, new: Option<Segment>) -> Result<(), HistoryError> {
        let ids: Vec<u64> = old.iter().map(|segment| segment.id()).collect();
        let entry = new.as_ref().map(|segment| (segment.id(), SegmentEntry::of(segment)));
        let committed = self.registry.replace(ids.clone(), entry).await;
        committed.map_err(failed("register merged or expired segments"))?;
        {
            let mut state = self.state.write().expect("no panic while the state is held");
            state.segments.retain(|segment| !ids.contains(&segment.id()));
            state.segments.extend(new.map(Arc::new));
        }
        blocking("remove segment files", move || {
            old.iter().try_for_each(|segment| std::fs::remove_file(segment.path()))
        })
        .await
    }

    fn segments(&self) -> Vec<Arc<Segment>> {
        self.state.read().expect("no panic while the state is held").segments.clone()
    }
}

/// What a lookup found in memory, and where else it has to look, all of one moment.
struct Snapshot {
    horizon: LogPosition,
    fresh: Vec<Arc<HistoryEvent>>,
    segments: Vec<Arc<Segment>>,
}

impl Store {
    fn snapshot(&self, search: &mut SegmentSearch, after: Option<Mark>) -> Snapshot {
        let state = self.state.read().expect("no panic while the state is held");
        let horizon = after.map_or(state.taken, |mark| mark.horizon);
        search.window.horizon = horizon;
        let frozen = state.frozen.as_ref().map(|frozen| &frozen.tail);
        let mut fresh: Vec<_> = std::iter::once(&state.fresh)
            .chain(frozen)
            .flat_map(|tail| {
                tail.search(&search.partition, &search.window, search.attribute.as_ref(), search.limit)
            })
            .collect();
        fresh.sort_unstable_by_key(|event| std::cmp::Reverse(Place::of(event)));
        fresh.truncate(search.limit);
        Snapshot { horizon, fresh, segments: state.segments.clone() }
    }
}

fn write_segment(path: &Path, tail: &Tail, settings: &SegmentSettings) -> Result<(), WriteError> {
    let mut writer = SegmentWriter::create(path, settings)?;
    for event in tail.rows() {
        writer.push(Arc::clone(event))?;
    }
    writer.finish()
}

fn segment_path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:020}.{SEGMENT_EXTENSION}"))
}

/// Makes the directory and its name durable.
fn create_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    match directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes the files of the history that `registered` does not name: what a crash left between a file and its entry,
/// or between the end of an entry and the end of its file.
fn remove_orphans(directory: &Path, registered: &HashSet<u64>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        let orphan = match path.extension().and_then(|extension| extension.to_str()) {
            Some(TEMPORARY_EXTENSION) => id.is_some(),
            Some(SEGMENT_EXTENSION) => id.is_some_and(|id| !registered.contains(&id)),
            _ => false,
        };
        if orphan {
            tracing::info!(path = %path.display(), "removing a segment file that was never registered or is no longer");
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Opens the registered segments. One that cannot be opened is set aside: the rest of the history stays readable, the
/// entry and the file stay as they are.
fn open_segments(directory: &Path, entries: &[(u64, SegmentEntry)]) -> Vec<Arc<Segment>> {
    let open = |(id, entry): &(u64, SegmentEntry)| {
        let path = segment_path(directory, *id);
        match Segment::open(*id, &path, Some(entry.size_bytes)) {
            Ok(segment) => Some(Arc::new(segment)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(segment = id, events = entry.rows, error, "a history segment cannot be read");
                None
            }
        }
    };
    entries.iter().filter_map(open).collect()
}

pub(super) fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    action: &'static str,
) -> impl Fn(E) -> HistoryError {
    move |source| HistoryError { action, source: source.into() }
}

/// Runs blocking `work` off the threads that serve requests.
async fn blocking<T, E>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, HistoryError>
where
    T: Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(failed(action))?.map_err(failed(action))
}
