//! The embedded event log: a directory of segment files.
//!
//! On the road: the front door appends and waits for its position; every stage reads on from its cursor. One writer
//! thread owns the last segment; readers take recent entries from memory and older ones with `pread`, away from the
//! async threads. What is on disk is described in `frame`, how it is recovered in `segment`.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::frame::{Frame, FrameKind, PAYLOAD_BYTES_MAX, SEGMENT_HEADER_BYTES};
use super::metrics::LogMetrics;
use super::recent::Recent;
use super::segment::{self, FrameReader, Recovered, Segment, Step, failed};
use super::writer::{Append, Writer};
use super::{Entry, EventLog, LogError, LogPosition};
use crate::disk::{Disk, DiskFile, DiskLock, SystemDisk, TryLockError};
use crate::space::SpaceWatch;

/// The name of the file that one process holds locked.
const LOCK_FILE: &str = "lock";
/// How many appends may wait for the writer before callers wait to enter.
const QUEUE_APPENDS_MAX: usize = 4096;
/// How many bytes of payload may wait for the writer before callers wait to enter.
const QUEUE_SIZE_BYTES_MAX: usize = 32 << 20;
/// The smallest segment; a smaller setting is raised to it.
const SEGMENT_SIZE_BYTES_MIN: u64 = 1024;
/// How many ends of earlier reads are remembered; more than there are consumers.
const RESUME_POINTS_MAX: usize = 64;

/// The log's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The size of a segment file, set aside when it is made.
    pub segment_size_bytes: u64,
    /// The largest payload of an entry, at most 16 MiB.
    pub entry_size_bytes_max: usize,
    /// How much memory the newest entries may take.
    pub recent_size_bytes_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { segment_size_bytes: 64 << 20, entry_size_bytes_max: 2 << 20, recent_size_bytes_max: 4 << 20 }
    }
}

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    segments: RwLock<Vec<Arc<Segment>>>,
    recent: Mutex<Recent>,
    /// Where reads from disk ended: the next position, its segment's base, its offset.
    resume_points: Mutex<VecDeque<(u64, u64, u64)>>,
    end: watch::Sender<LogPosition>,
    start: AtomicU64,
    poisoned: AtomicBool,
}

impl Shared {
    /// The shared part of a log in `dir` of `disk` with `segments`, at least one, that ends at `end`.
    pub(super) fn new(
        (disk, dir): (&Arc<dyn Disk>, &Path),
        segments: Vec<Arc<Segment>>,
        end: u64,
        recent_size_bytes_max: usize,
    ) -> Self {
        Self {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            start: AtomicU64::new(segments[0].base),
            segments: RwLock::new(segments),
            recent: Mutex::new(Recent::new(end, recent_size_bytes_max)),
            resume_points: Mutex::default(),
            end: watch::Sender::new(LogPosition(end)),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Shows entries that are now durable; the log ends at `end`.
    pub(super) fn publish(&self, entries: impl Iterator<Item = Entry>, end: u64) {
        let mut recent = self.recent.lock().expect("no panic while the recent entries are held");
        entries.for_each(|entry| recent.push(entry));
        drop(recent);
        self.end.send_replace(LogPosition(end));
    }

    /// Adds the segment that is written from now on; returns how many there are.
    pub(super) fn add_segment(&self, segment: Arc<Segment>) -> i64 {
        let mut segments = self.segments.write().expect("no panic while the segments are held");
        segments.push(segment);
        i64::try_from(segments.len()).unwrap_or(i64::MAX)
    }

    /// No entry is taken from now on.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }

    /// One past the last durable entry.
    pub(super) fn end(&self) -> LogPosition {
        *self.end.borrow()
    }

    /// Whether no entry is taken any more.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    fn check_kept(&self, from: LogPosition) -> Result<(), LogError> {
        let start = LogPosition(self.start.load(Ordering::SeqCst));
        if from < start { Err(LogError::Trimmed { from, start }) } else { Ok(()) }
    }

    /// Where reading from `position` begins: segment, position, offset.
    fn place(&self, position: u64) -> Option<(Arc<Segment>, u64, u64)> {
        let segments = self.segments.read().expect("no panic while the segments are held");
        let after = segments.partition_point(|segment| segment.base <= position);
        let segment = Arc::clone(segments.get(after.checked_sub(1)?)?);
        drop(segments);
        let (near, offset) = segment.nearest(position);
        let points = self.resume_points.lock().expect("no panic while the resume points are held");
        let resumed = points.iter().find(|(resumed, base, _)| *resumed == position && *base == segment.base);
        let (near, offset) = resumed.map_or((near, offset), |(_, _, offset)| (position, *offset));
        Some((segment, near, offset))
    }

    fn remember(&self, position: u64, base: u64, offset: u64) {
        let mut points = self.resume_points.lock().expect("no panic while the resume points are held");
        if points.len() == RESUME_POINTS_MAX {
            points.pop_front();
        }
        points.push_back((position, base, offset));
    }

    /// Reads from disk. `end` was the durable end when the read began.
    fn read_files(
        &self,
        from: u64,
        end: u64,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next < end && found.len() < entries_max && (bytes < bytes_max || found.is_empty()) {
            self.check_kept(LogPosition(next))?;
            let Some((segment, mut position, offset)) = self.place(next) else { break };
            let file = match segment.open() {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.check_kept(LogPosition(next))?;
                    return Err(failed("open a segment")(error));
                }
                opened => opened.map_err(failed("open a segment"))?,
            };
            let mut reader = FrameReader::new(file, offset);
            while position < end && found.len() < entries_max && (bytes < bytes_max || found.is_empty()) {
                let (frame, payload) = match reader.next()? {
                    Step::Frame { frame, .. } if frame.position != position => {
                        return Err(segment.corrupt(reader.offset()));
                    }
                    Step::Frame { frame: Frame { kind: FrameKind::Seal, .. }, .. } => break,
                    Step::Frame { offset, frame, payload } => {
                        segment.note(position, offset);
                        (frame, payload)
                    }
                    Step::Stop => return Err(segment.corrupt(reader.offset())),
                };
                let FrameKind::Entry(kind) = frame.kind else { break };
                if position >= next {
                    bytes += payload.len();
                    let entry = Entry { kind, recorded_at: frame.recorded_at, payload };
                    found.push((LogPosition(position), entry));
                }
                position += 1;
            }
            if position == next && self.place(next).is_some_and(|(again, ..)| again.base == segment.base) {
                // A seal before the position that the directory promised.
                return Err(segment.corrupt(reader.offset()));
            }
            next = position;
            self.remember(position, segment.base, reader.offset());
        }
        Ok(found)
    }

    /// Removes the segments that hold only entries before `position`, oldest first.
    fn trim_files(&self, position: u64) -> Result<i64, LogError> {
        loop {
            let mut segments = self.segments.write().expect("no panic while the segments are held");
            let [oldest, second, ..] = segments.as_slice() else { break };
            if second.base > position {
                break;
            }
            let (oldest, start) = (Arc::clone(oldest), second.base);
            oldest.remove().map_err(failed("remove a trimmed segment"))?;
            segments.remove(0);
            self.start.store(start, Ordering::SeqCst);
        }
        segment::sync_directory(&*self.disk, &self.dir)?;
        let segments = self.segments.read().expect("no panic while the segments are held");
        Ok(i64::try_from(segments.len()).unwrap_or(i64::MAX))
    }
}

/// The embedded event log. An append whose caller stops waiting may still happen. Dropped, it finishes the appends that are queued and lets go of its directory.
pub struct SegmentLog {
    shared: Arc<Shared>,
    entry_size_bytes_max: usize,
    queue: Option<mpsc::Sender<Append>>,
    queue_bytes: Arc<Semaphore>,
    driver: Driver,
    metrics: LogMetrics,
    /// Told what is appended.
    space: Option<Arc<SpaceWatch>>,
    /// Locked for as long as it is open.
    _lock: Box<dyn DiskLock>,
}

/// Who lets the writer write.
enum Driver {
    /// A thread of its own; none once it was joined.
    Thread(Option<JoinHandle<()>>),
    /// Whoever holds the log, so that a simulation decides when.
    Holder(Mutex<(Writer, mpsc::Receiver<Append>)>),
}

impl SegmentLog {
    /// Opens the log in `dir`, which is made where it is missing, and recovers its end after a crash.
    ///
    /// # Errors
    /// [`LogError::Locked`] where another process has it open, [`LogError::Corrupt`] where entries are damaged that
    /// were acknowledged, [`LogError::Version`] where a newer program wrote it.
    pub fn open(dir: &Path, settings: LogSettings, registry: &Registry) -> Result<Self, LogError> {
        Self::open_on_disk(&(Arc::new(SystemDisk) as _), dir, settings, registry)
    }

    /// As [`SegmentLog::open`], on `disk`.
    ///
    /// # Errors
    /// As [`SegmentLog::open`].
    pub fn open_on_disk(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: LogSettings,
        registry: &Registry,
    ) -> Result<Self, LogError> {
        Self::open_named("log", disk, dir, settings, registry)
    }

    /// As [`SegmentLog::open_on_disk`], of a log that is not the event log: its metrics have its own name.
    pub(crate) fn open_named(
        name: &str,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: LogSettings,
        registry: &Registry,
    ) -> Result<Self, LogError> {
        Self::open_on(name, disk, dir, settings, registry, |writer, queued| {
            std::thread::Builder::new()
                .name(format!("{name}-writer"))
                .spawn(move || writer.run(queued))
                .map(|thread| Driver::Thread(Some(thread)))
                .map_err(failed("start its writer"))
        })
    }

    /// As [`SegmentLog::open`], on `disk` and without any thread: appends wait until [`SegmentLog::write_queued`], and
    /// reads are done by who asks for them. For simulations, where nothing may happen by itself.
    ///
    /// # Errors
    /// As [`SegmentLog::open`].
    pub fn open_undriven(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: LogSettings,
        registry: &Registry,
    ) -> Result<Self, LogError> {
        Self::open_on("log", disk, dir, settings, registry, |writer, queued| {
            Ok(Driver::Holder(Mutex::new((writer, queued))))
        })
    }

    fn open_on(
        name: &str,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: LogSettings,
        registry: &Registry,
        drive: impl FnOnce(Writer, mpsc::Receiver<Append>) -> Result<Driver, LogError>,
    ) -> Result<Self, LogError> {
        let settings = LogSettings {
            segment_size_bytes: settings.segment_size_bytes.max(SEGMENT_SIZE_BYTES_MIN),
            entry_size_bytes_max: settings.entry_size_bytes_max.min(PAYLOAD_BYTES_MAX),
            ..settings
        };
        make_directory(&**disk, dir)?;
        let lock = lock(&**disk, dir)?;
        let mut segments = segment::list(disk, dir)?;
        let (file, offset, room_end, end) = open_end((disk, dir), &mut segments, &settings)?;
        let segments: Vec<_> = segments.into_iter().map(Arc::new).collect();
        let last = Arc::clone(segments.last().expect("a log has a segment"));
        let metrics = LogMetrics::new(registry, name);
        metrics.segments.set(i64::try_from(segments.len()).unwrap_or(i64::MAX));
        let shared = Arc::new(Shared::new((disk, dir), segments, end, settings.recent_size_bytes_max));
        let entry_size_bytes_max = settings.entry_size_bytes_max;
        let writer =
            Writer::new(Arc::clone(&shared), settings, metrics.clone(), last, (file, offset, room_end, end));
        let (queue, queued) = mpsc::channel(QUEUE_APPENDS_MAX);
        let driver = drive(writer, queued)?;
        let queue_bytes = Arc::new(Semaphore::new(QUEUE_SIZE_BYTES_MAX));
        Ok(Self {
            shared,
            entry_size_bytes_max,
            queue: Some(queue),
            queue_bytes,
            driver,
            metrics,
            space: None,
            _lock: lock,
        })
    }

    /// Writes one group of the appends that wait, syncs it and answers them. Nothing where the log has a thread for it.
    pub fn write_queued(&self) {
        let Driver::Holder(writer) = &self.driver else { return };
        let mut writer = writer.lock().expect("no panic while the writer is held");
        let (writer, queued) = &mut *writer;
        if let Ok(first) = queued.try_recv() {
            writer.write_group(first, queued);
        }
    }

    /// How many segments there are, and the first position of the second.
    pub(crate) fn segments(&self) -> (usize, Option<LogPosition>) {
        let segments = self.shared.segments.read().expect("no panic while the segments are held");
        (segments.len(), segments.get(1).map(|second| LogPosition(second.base)))
    }

    /// The entry at `position`, where it is in memory.
    pub(crate) fn read_recent(&self, position: LogPosition) -> Option<Entry> {
        let recent = self.shared.recent.lock().expect("no panic while the recent entries are held");
        recent.read(position.0, 1, 0)?.pop().map(|(_, entry)| entry)
    }

    /// Whether an earlier write failed, so that nothing more is taken.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    /// Runs `work` away from the async threads, where the log has threads at all.
    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
        action: &'static str,
    ) -> Result<T, LogError> {
        match &self.driver {
            Driver::Thread(_) => {
                let joined = tokio::task::spawn_blocking(work).await;
                joined.map_err(|panicked| failed(action)(panicked.into()))?
            }
            Driver::Holder(_) => work(),
        }
    }

    /// The same log, which says to `space` how much it takes in.
    #[must_use]
    pub fn watched_by(mut self, space: Arc<SpaceWatch>) -> Self {
        self.space = Some(space);
        self
    }
}

/// Makes `dir` and what is missing above it, durably. Its own name is made durable at each start: who made it may have
/// died before.
fn make_directory(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let missing =
        dir.ancestors().take_while(|above| above.file_name().is_some() && !disk.is_dir(above)).count();
    if missing > 0 {
        disk.create_dir_all(dir).map_err(failed("make the log's directory"))?;
    }
    let whole = disk.canonicalize(dir).map_err(failed("find the log's directory"))?;
    whole.ancestors().skip(1).take(missing.max(1)).try_for_each(|above| segment::sync_directory(disk, above))
}

/// Takes the directory for this process.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, LogError> {
    disk.lock(&dir.join(LOCK_FILE)).map_err(|error| match error {
        TryLockError::WouldBlock => LogError::Locked,
        TryLockError::Error(source) => failed("lock its directory")(source),
    })
}

/// Checks that the segments follow one another, makes the last one ready to be written, and makes the first where there
/// is none. Returns the last one's file, the offset to go on at, up to where it has room, and the end of the log.
fn open_end(
    (disk, dir): (&Arc<dyn Disk>, &Path),
    segments: &mut Vec<Segment>,
    settings: &LogSettings,
) -> Result<(Arc<dyn DiskFile>, u64, u64, u64), LogError> {
    let Some(last) = segments.last() else {
        let first = Segment::new(disk, dir, 0);
        let file = first.create(settings.segment_size_bytes)?;
        segments.push(first);
        return Ok((file, SEGMENT_HEADER_BYTES as u64, settings.segment_size_bytes, 0));
    };
    let found = segment::recover(last)?;
    let Recovered { end, end_offset, .. } = found;
    if found.sealed {
        // The segment after it is lost: a seal is written only once that is there.
        return Err(last.corrupt(end_offset));
    }
    // The last segment's name may be seen and not be durable; that comes before the seal that says it is there.
    segment::sync_directory(&**disk, dir)?;
    if let [.., before, last] = segments.as_slice() {
        segment::seal_again(before, last.base, end == last.base)?;
    }
    for pair in segments.windows(2) {
        pair[0].check_sealed(pair[1].base)?;
    }
    if found.torn {
        tracing::warn!(segment = last.name(), end_offset, "cut a write that a crash had torn");
    }
    let file = last.open_to_write()?;
    let room_end = segment::make_durable(&*file, &found, settings.segment_size_bytes)?;
    Ok((file, end_offset, room_end, end))
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.queue = None;
        let Driver::Thread(writer) = &mut self.driver else { return };
        if writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the event log's writer panicked");
        }
    }
}

#[async_trait]
impl EventLog for SegmentLog {
    async fn append(&self, entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        if self.shared.is_poisoned() {
            return Err(LogError::Poisoned);
        }
        let limit_bytes = self.entry_size_bytes_max;
        let too_large = entries.iter().map(|entry| entry.payload.len()).find(|size| *size > limit_bytes);
        if let Some(size_bytes) = too_large {
            return Err(LogError::TooLarge { size_bytes, limit_bytes });
        }
        if entries.is_empty() {
            return Ok(self.end());
        }
        // A larger append than the queue holds waits until it has the queue for itself.
        let queued_bytes =
            entries.iter().map(|entry| entry.payload.len()).sum::<usize>().min(QUEUE_SIZE_BYTES_MAX);
        if let Some(space) = &self.space {
            space.take(queued_bytes as u64);
        }
        let queued_bytes = u32::try_from(queued_bytes).expect("QUEUE_SIZE_BYTES_MAX is below 4 GiB");
        let room = Arc::clone(&self.queue_bytes).acquire_many_owned(queued_bytes).await;
        let room = room.expect("the semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().expect("the queue is open until the log is dropped");
        // The queue closes and the answer is lost only where the writer panicked.
        queue.send(Append { entries, room: Some(room), answer }).await.map_err(|_| LogError::Poisoned)?;
        answered.await.unwrap_or(Err(LogError::Poisoned))
    }

    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        self.shared.check_kept(from)?;
        let end = self.end();
        if from >= end {
            return Ok(Vec::new());
        }
        let recent = {
            let recent = self.shared.recent.lock().expect("no panic while the recent entries are held");
            recent.read(from.0, entries_max, bytes_max)
        };
        if let Some(found) = recent {
            return Ok(found);
        }
        let shared = Arc::clone(&self.shared);
        let read = move || shared.read_files(from.0, end.0, entries_max.max(1), bytes_max);
        self.run_blocking(read, "read from a segment").await
    }

    fn end(&self) -> LogPosition {
        self.shared.end()
    }

    fn start(&self) -> LogPosition {
        LogPosition(self.shared.start.load(Ordering::SeqCst))
    }

    async fn wait_past(&self, position: LogPosition) {
        let mut end = self.shared.end.subscribe();
        end.wait_for(|end| *end > position).await.expect("the sender lives as long as the log");
    }

    async fn trim(&self, position: LogPosition) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let trim = move || shared.trim_files(position.0);
        let segments = self.run_blocking(trim, "trim its segments").await?;
        self.metrics.segments.set(segments);
        Ok(())
    }
}
