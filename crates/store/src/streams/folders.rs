//! The embedded streams: a folder for each, with a segment log in it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use prometheus::Registry;

use super::metrics::StreamMetrics;
use super::{Stored, StreamError, StreamKey, Streams};
use crate::disk::{Access, Disk};
use crate::log::{Entry, EntryKind, EventLog, LogError, LogPosition, LogSettings, SegmentLog};
use crate::space::SpaceWatch;

/// The name of a stream's writer.
const JOURNAL_NAME: &str = "streams_log";
/// The file by which a stream is known to be gone while its other files go.
const TOMBSTONE: &str = "removed";
/// How often a read is tried anew whose beginning is trimmed meanwhile.
const READ_ROUNDS_MAX: usize = 8;

/// The streams' settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// The size of a segment, which is set aside for each stream at once.
    pub segment_size_bytes: u64,
    /// The largest record.
    pub record_size_bytes_max: usize,
    /// How much memory the newest records of a stream may take.
    pub recent_size_bytes_max: usize,
    /// The most streams.
    pub streams_max: usize,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            segment_size_bytes: 4 << 20,
            record_size_bytes_max: 2 << 20,
            recent_size_bytes_max: 512 << 10,
            streams_max: 1024,
        }
    }
}

/// Streams in a folder.
pub struct FolderStreams {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    settings: StreamSettings,
    space: Option<Arc<SpaceWatch>>,
    metrics: StreamMetrics,
    /// Whether each stream has a thread that writes; none does in simulations.
    is_driven: bool,
    logs: RwLock<BTreeMap<StreamKey, Arc<SegmentLog>>>,
    /// Held while a stream is made or removed.
    changing: tokio::sync::Mutex<()>,
}

impl FolderStreams {
    /// Opens the streams in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// Where another process has them open, where a journal is damaged inside, or a newer program wrote it.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: StreamSettings,
        space: Option<Arc<SpaceWatch>>,
        registry: &Registry,
    ) -> Result<Self, StreamError> {
        Self::open_all(disk, dir, settings, space, registry, true)
    }

    /// As [`FolderStreams::open`], without any thread: whoever appends writes. For simulations, where nothing may happen
    /// by itself.
    ///
    /// # Errors
    /// As [`FolderStreams::open`].
    pub fn open_undriven(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: StreamSettings,
        registry: &Registry,
    ) -> Result<Self, StreamError> {
        Self::open_all(disk, dir, settings, None, registry, false)
    }

    fn open_all(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: StreamSettings,
        space: Option<Arc<SpaceWatch>>,
        registry: &Registry,
        is_driven: bool,
    ) -> Result<Self, StreamError> {
        disk.create_dir_all(dir).map_err(folder("be made"))?;
        // Its own name is made durable at each start: who made it may have died before.
        if let Some(above) = dir.parent() {
            disk.sync_directory(above).map_err(folder("be kept"))?;
        }
        let streams = Self {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            settings,
            space,
            metrics: StreamMetrics::new(registry),
            is_driven,
            logs: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
        };
        for name in disk.names(dir).map_err(folder("be listed"))? {
            let key = name.into_string().ok().and_then(StreamKey::new);
            let Some(key) = key.filter(|key| disk.is_dir(&streams.path(key))) else { continue };
            let names = disk.names(&streams.path(&key)).map_err(folder("be listed"))?;
            if names.iter().any(|name| name == TOMBSTONE) {
                streams.remove_files(&key)?;
            } else if !names.is_empty() {
                streams.add(&key, streams.open_log(&key)?);
            }
        }
        Ok(streams)
    }

    fn path(&self, stream: &StreamKey) -> PathBuf {
        self.dir.join(stream.as_str())
    }

    fn open_log(&self, stream: &StreamKey) -> Result<SegmentLog, StreamError> {
        let settings = LogSettings {
            segment_size_bytes: self.settings.segment_size_bytes,
            entry_size_bytes_max: self.settings.record_size_bytes_max,
            recent_size_bytes_max: self.settings.recent_size_bytes_max,
        };
        // What logs count has their name; streams are too many for names of their own.
        let (registry, path) = (Registry::new(), self.path(stream));
        let opened = if self.is_driven {
            SegmentLog::open_named(JOURNAL_NAME, &self.disk, &path, settings, &registry)
        } else {
            SegmentLog::open_undriven(&self.disk, &path, settings, &registry)
        };
        let log = opened.map_err(|source| failed(stream, source))?;
        Ok(match &self.space {
            Some(space) => log.watched_by(Arc::clone(space)),
            None => log,
        })
    }

    fn add(&self, stream: &StreamKey, log: SegmentLog) {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        logs.insert(stream.clone(), Arc::new(log));
        self.count(logs.len());
    }

    fn count(&self, streams: usize) {
        self.metrics.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    fn log(&self, stream: &StreamKey) -> Result<Arc<SegmentLog>, StreamError> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(stream).cloned().ok_or_else(|| StreamError::Missing(stream.clone()))
    }

    /// The names of files may be lost in any order, so a tombstone says first that they do not count any more.
    fn remove_files(&self, stream: &StreamKey) -> Result<(), StreamError> {
        let path = self.path(stream);
        let tombstone = path.join(TOMBSTONE);
        self.disk.open(&tombstone, Access::Create).map_err(folder("take a tombstone"))?;
        self.disk.sync_directory(&path).map_err(folder("be synced"))?;
        let names = self.disk.names(&path).map_err(folder("be listed"))?;
        for name in names.iter().filter(|name| *name != TOMBSTONE) {
            self.disk.remove_file(&path.join(name)).map_err(folder("lose a file"))?;
        }
        self.disk.sync_directory(&path).map_err(folder("be synced"))?;
        self.disk.remove_file(&tombstone).map_err(folder("lose a tombstone"))?;
        self.disk.sync_directory(&path).map_err(folder("be synced"))?;
        self.disk.remove_directory(&path).map_err(folder("lose a folder"))
    }
}

fn folder(action: &'static str) -> impl Fn(std::io::Error) -> StreamError {
    move |source| StreamError::Folder { action, source }
}

fn failed(stream: &StreamKey, source: LogError) -> StreamError {
    match source {
        LogError::Full(source) => StreamError::Full(source),
        source => StreamError::Journal { stream: stream.clone(), source },
    }
}

/// Appends; where the log has no thread, whoever waits lets it write.
async fn write(log: &SegmentLog, entries: Vec<Entry>) -> Result<LogPosition, LogError> {
    let mut append = log.append(entries);
    poll_fn(|context| {
        if let Poll::Ready(first) = append.as_mut().poll(context) {
            return Poll::Ready(first);
        }
        log.write_queued();
        append.as_mut().poll(context)
    })
    .await
}

#[async_trait]
impl Streams for FolderStreams {
    async fn create(&self, stream: &StreamKey) -> Result<(), StreamError> {
        let _changing = self.changing.lock().await;
        let streams = {
            let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
            if logs.contains_key(stream) {
                return Ok(());
            }
            logs.len()
        };
        if streams >= self.settings.streams_max {
            return Err(StreamError::TooMany { limit: self.settings.streams_max });
        }
        self.add(stream, self.open_log(stream)?);
        Ok(())
    }

    async fn remove(&self, stream: &StreamKey) -> Result<(), StreamError> {
        let _changing = self.changing.lock().await;
        let log = {
            let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            let log = logs.remove(stream);
            self.count(logs.len());
            log
        };
        if log.is_none() { Ok(()) } else { self.remove_files(stream) }
    }

    fn names(&self) -> Vec<StreamKey> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    async fn append(
        &self,
        stream: &StreamKey,
        records: Vec<Bytes>,
        now: Timestamp,
    ) -> Result<u64, StreamError> {
        let log = self.log(stream)?;
        let (count, size_bytes) = (records.len(), records.iter().map(Bytes::len).sum::<usize>());
        let entry = |payload| Entry { kind: EntryKind::Journal, recorded_at: now, payload };
        let timer = self.metrics.append_seconds.start_timer();
        match write(&log, records.into_iter().map(entry).collect()).await {
            Ok(first) => {
                timer.observe_duration();
                self.metrics.records.inc_by(count as u64);
                self.metrics.bytes.inc_by(size_bytes as u64);
                Ok(first.0)
            }
            Err(error) => {
                self.metrics.failures.inc();
                Err(failed(stream, error))
            }
        }
    }

    async fn read(
        &self,
        stream: &StreamKey,
        from: u64,
        records_max: usize,
        size_bytes_max: usize,
    ) -> Result<Vec<Stored>, StreamError> {
        let log = self.log(stream)?;
        let mut tries = 0;
        let page = loop {
            tries += 1;
            match log.read(LogPosition(from).max(log.start()), records_max, size_bytes_max).await {
                Err(LogError::Trimmed { .. }) if tries < READ_ROUNDS_MAX => {}
                page => break page.map_err(|source| failed(stream, source))?,
            }
        };
        let stored = |(position, entry): (LogPosition, Entry)| Stored {
            position: position.0,
            arrived_at: entry.recorded_at,
            payload: entry.payload,
        };
        Ok(page.into_iter().map(stored).collect())
    }

    fn bounds(&self, stream: &StreamKey) -> Result<(u64, u64), StreamError> {
        let log = self.log(stream)?;
        Ok((log.start().0, log.end().0))
    }

    async fn position_at(&self, stream: &StreamKey, time: Timestamp) -> Result<u64, StreamError> {
        let (mut low, mut high) = self.bounds(stream)?;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(stream, middle, 1, 0).await?.first() {
                // Trimmed meanwhile: what is there begins later.
                Some(record) if record.position > middle => low = record.position.min(high),
                Some(record) if record.arrived_at < time => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn wait_for(&self, stream: &StreamKey, position: u64) {
        if let Ok(log) = self.log(stream) {
            log.wait_past(LogPosition(position)).await;
        }
    }

    async fn trim(&self, stream: &StreamKey, position: u64) -> Result<(), StreamError> {
        let log = self.log(stream)?;
        log.trim(LogPosition(position)).await.map_err(|source| failed(stream, source))
    }
}
