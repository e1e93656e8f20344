//! The one thread that writes the log: it gathers what is queued, writes it, syncs once, and answers.
//!
//! Invariants: nobody is answered with a position, and no reader sees an entry, before the entry is durable; after a
//! failed write or sync nothing is written any more, for the state of the file is then unknown (after a failed fsync
//! Linux marks the lost pages clean: "PostgreSQL's fsync surprise", LWN 752063). An append is one piece of one write
//! into one segment, and has its room before its first byte is written: it is refused whole, seen whole, and recovery
//! finds it whole or drops it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::embedded::{LogSettings, Shared};
use super::frame::{self, FRAME_HEADER_BYTES, Place, SEGMENT_HEADER_BYTES};
use super::metrics::LogMetrics;
use super::segment::{self, Segment, failed};
use super::{Entry, LogError, LogPosition};
use crate::disk::DiskFile;

/// Bytes after which no further append joins a group.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// One call of append on its way to the writer.
pub(super) struct Append {
    pub(super) entries: Vec<Entry>,
    /// Its share of the queue's bytes, given back when it is answered.
    pub(super) room: Option<OwnedSemaphorePermit>,
    pub(super) answer: oneshot::Sender<Result<LogPosition, LogError>>,
}

/// An append whose entries are in the buffer or on disk, or that was refused.
struct Pending {
    first: u64,
    end: u64,
    _room: Option<OwnedSemaphorePermit>,
    answer: oneshot::Sender<Result<LogPosition, LogError>>,
}

/// The writer's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    settings: LogSettings,
    metrics: LogMetrics,
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// The file of the segment before.
    sealed: Option<Arc<dyn DiskFile>>,
    /// Where the next write goes.
    offset: u64,
    /// Up to where the file has room set aside.
    room_end: u64,
    /// The position of the next entry to be put into the buffer.
    end: u64,
    /// Frames not yet written.
    buffer: Vec<u8>,
    /// The entries of those frames, with their offsets in the buffer.
    unsynced: Vec<(usize, Entry)>,
}

impl Writer {
    /// A writer that goes on in `segment`: in its file, at the offset, up to where it has room, with the position.
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: LogSettings,
        metrics: LogMetrics,
        segment: Arc<Segment>,
        (file, offset, room_end, end): (Arc<dyn DiskFile>, u64, u64, u64),
    ) -> Self {
        let (buffer, unsynced) = (Vec::new(), Vec::new());
        Self {
            shared,
            settings,
            metrics,
            segment,
            file,
            sealed: None,
            offset,
            room_end,
            end,
            buffer,
            unsynced,
        }
    }

    /// Writes what comes through `queue` until it closes.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        while let Some(first) = queue.blocking_recv() {
            self.write_group(first, &mut queue);
        }
    }

    /// Writes `first` and what waits in `queue` until the group is full, syncs once, and answers. After a failure
    /// everything is refused.
    pub(super) fn write_group(&mut self, first: Append, queue: &mut mpsc::Receiver<Append>) {
        if self.shared.is_poisoned() {
            return answer(first.answer, Err(LogError::Poisoned));
        }
        let mut pending = Vec::new();
        let mut written = self.add(first, &mut pending);
        while written.is_ok() && self.buffer.len() < GROUP_BYTES_MAX {
            let Ok(next) = queue.try_recv() else { break };
            written = self.add(next, &mut pending);
        }
        self.metrics.queue_depth.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
        match written.and_then(|()| self.flush()) {
            Ok(()) => answer_durable(&mut pending, self.end),
            // Everything that came before was flushed, and nothing was written since: the log is sound.
            Err(LogError::Full(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "there is no room for the event log"
                );
                answer_durable(&mut pending, self.end);
                for refused in pending {
                    answer(refused.answer, Err(LogError::Full(error.kind().into())));
                }
            }
            Err(error) => {
                let durable = self.end - self.unsynced.len() as u64;
                self.stop(error, durable, pending);
            }
        }
    }

    /// Puts the entries of one append into the buffer; writes out what was there before where the segment is full.
    fn add(&mut self, append: Append, pending: &mut Vec<Pending>) -> Result<(), LogError> {
        let first = self.end;
        let end = first + append.entries.len() as u64;
        pending.push(Pending { first, end, _room: append.room, answer: append.answer });
        let frames_bytes: usize =
            append.entries.iter().map(|entry| FRAME_HEADER_BYTES + entry.payload.len()).sum();
        self.make_room(frames_bytes)?;
        for entry in append.entries {
            let group_index =
                u32::try_from(self.unsynced.len()).expect("the queue's bytes are held far below");
            let append_goes_on = self.end + 1 < end;
            let place = Place { position: self.end, group_index, append_goes_on };
            let start = self.buffer.len();
            frame::encode_entry(&mut self.buffer, place, entry.kind, entry.recorded_at, &entry.payload);
            self.unsynced.push((start, entry));
            self.end += 1;
        }
        Ok(())
    }

    /// Sees to it that frames of so many bytes, and a seal, have room behind the buffer in this segment, or in the next,
    /// which is as large as it must be.
    fn make_room(&mut self, frames_bytes: usize) -> Result<(), LogError> {
        let end =
            |writer: &Self| writer.offset + (writer.buffer.len() + frames_bytes + FRAME_HEADER_BYTES) as u64;
        if end(self) <= self.room_end {
            return Ok(());
        }
        self.flush()?;
        if self.offset > SEGMENT_HEADER_BYTES as u64 {
            let size_bytes = (SEGMENT_HEADER_BYTES + frames_bytes + FRAME_HEADER_BYTES) as u64;
            return self.begin_next_segment(size_bytes.max(self.settings.segment_size_bytes));
        }
        segment::extend(&*self.file, end(self))?;
        self.room_end = end(self);
        Ok(())
    }

    /// Makes the buffer durable and shows its entries to readers.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.buffer, self.offset).map_err(failed("write to a segment"))?;
        let timer = self.metrics.sync_seconds.start_timer();
        self.file.sync_data().map_err(failed("sync a segment"))?;
        timer.observe_duration();
        self.metrics.syncs.inc();
        self.metrics.appended_bytes.inc_by(self.buffer.len() as u64);
        self.metrics.appended_entries.inc_by(self.unsynced.len() as u64);
        self.metrics.group_entries.observe(self.unsynced.len() as f64);
        let first = self.end - self.unsynced.len() as u64;
        for ((start, _), position) in self.unsynced.iter().zip(first..) {
            self.segment.note(position, self.offset + *start as u64);
        }
        self.shared.publish(self.unsynced.drain(..).map(|(_, entry)| entry), self.end);
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        // One large append must not leave its buffer behind for good.
        self.buffer.shrink_to(2 * GROUP_BYTES_MAX);
        Ok(())
    }

    /// Makes the next segment, then seals this one: so a seal without a segment after it is damage. The buffer must be
    /// empty.
    fn begin_next_segment(&mut self, size_bytes: u64) -> Result<(), LogError> {
        let next = Arc::new(Segment::new(&self.shared.disk, &self.shared.dir, self.end));
        let file = next.create(size_bytes)?;
        segment::seal(&*self.file, self.offset, self.end)?;
        self.metrics.syncs.inc_by(2);
        let sealed = std::mem::replace(&mut self.file, file);
        // Consumers read the newest entries, once. So the log gives back the memory that its cache took instead of
        // taking ever more, which costs several times what writing does.
        if let Some(Err(error)) = self.sealed.replace(sealed).map(|older| older.uncache()) {
            tracing::debug!(%error, "a segment stays cached");
        }
        self.offset = SEGMENT_HEADER_BYTES as u64;
        self.room_end = size_bytes;
        self.segment = Arc::clone(&next);
        self.metrics.segments.set(self.shared.add_segment(next));
        Ok(())
    }

    /// Refuses everything from now on.
    fn stop(&self, error: LogError, durable: u64, mut pending: Vec<Pending>) {
        tracing::error!(error = &error as &dyn std::error::Error, "the event log takes no further entry");
        self.shared.poison();
        answer_durable(&mut pending, durable);
        let mut error = Some(error);
        for failed in pending {
            let reason = error.take().unwrap_or(LogError::Poisoned);
            answer(failed.answer, Err(reason));
        }
    }
}

/// Answers the appends whose entries all lie before `durable`.
fn answer_durable(pending: &mut Vec<Pending>, durable: u64) {
    for done in pending.extract_if(.., |append| append.end <= durable) {
        answer(done.answer, Ok(LogPosition(done.first)));
    }
}

fn answer(to: oneshot::Sender<Result<LogPosition, LogError>>, result: Result<LogPosition, LogError>) {
    if to.send(result).is_err() {
        tracing::debug!("an append was answered after its caller had gone");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::path::Path;

    use bytes::Bytes;
    use cairn_core::Timestamp;
    use prometheus::Registry;

    use super::*;
    use crate::disk::{Disk, SystemDisk};
    use crate::log::EntryKind;

    type Answers = Vec<Result<LogPosition, LogError>>;

    /// Runs a writer on `file` with three appends queued, the second of `second_entries` entries, and a late one.
    fn written_to(file: File, second_entries: usize) -> (Arc<Shared>, Answers) {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        let segment = Arc::new(Segment::new(&disk, dir.path(), 0));
        let shared = Arc::new(Shared::new((&disk, dir.path()), vec![Arc::clone(&segment)], 0, 1 << 20));
        let metrics = LogMetrics::new(&Registry::new(), "log");
        let settings = LogSettings::default();
        let place: (Arc<dyn DiskFile>, _, _, _) =
            (Arc::new(file), SEGMENT_HEADER_BYTES as u64, settings.segment_size_bytes, 0);
        let writer = Writer::new(Arc::clone(&shared), settings, metrics, segment, place);
        (shared, written_by(writer, &[1, second_entries, 1]))
    }

    /// Runs a writer with appends of so many entries of 1 KiB queued.
    fn written_by(writer: Writer, appends: &[usize]) -> Answers {
        let (queue, queued) = mpsc::channel(8);
        let payload = Bytes::from(vec![b'x'; 1024]);
        let entry = Entry { kind: EntryKind::Event, recorded_at: Timestamp::EPOCH, payload };
        let answers: Vec<_> = appends
            .iter()
            .map(|entries| {
                let (answer, answered) = oneshot::channel();
                let append = Append { entries: vec![entry.clone(); *entries], room: None, answer };
                assert!(queue.try_send(append).is_ok());
                answered
            })
            .collect();
        drop(queue);
        writer.run(queued);
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
    }

    fn check_all_failed(file: File, tried: &str) {
        let (shared, answers) = written_to(file, 2);
        assert_eq!(shared.end(), LogPosition(0));
        assert!(shared.is_poisoned());
        let [first, rest @ ..] = answers.as_slice() else { panic!("no answers") };
        assert!(matches!(first, Err(LogError::Io { action, .. }) if *action == tried), "{first:?}");
        assert!(rest.iter().all(|answer| matches!(answer, Err(LogError::Poisoned))), "{rest:?}");
    }

    fn device(path: &str) -> File {
        OpenOptions::new().read(true).write(true).open(Path::new(path)).unwrap()
    }

    #[test]
    fn a_failed_write_answers_nobody_with_a_position() {
        check_all_failed(device("/dev/full"), "write to a segment");
    }

    #[test]
    fn a_log_without_room_for_a_segment_refuses_and_stays_sound() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        let segment = Arc::new(Segment::new(&disk, dir.path(), 0));
        let shared = Arc::new(Shared::new((&disk, dir.path()), vec![Arc::clone(&segment)], 0, 1 << 20));
        let metrics = LogMetrics::new(&Registry::new(), "log");
        // No disk has room for a segment of this size; this one is full but for two entries of the test's. The first
        // of the two that come together would have room, but goes with the second.
        let settings = LogSettings { segment_size_bytes: 15 << 40, ..LogSettings::default() };
        let offset = settings.segment_size_bytes - 2600;
        let place: (Arc<dyn DiskFile>, _, _, _) =
            (Arc::new(tempfile::tempfile().unwrap()), offset, settings.segment_size_bytes, 0);
        let writer = Writer::new(Arc::clone(&shared), settings, metrics, segment, place);
        let answers: Vec<_> = written_by(writer, &[1, 2, 1, 1]);
        let [Ok(LogPosition(0)), Err(LogError::Full(_)), Ok(LogPosition(1)), Err(LogError::Full(_))] =
            answers.as_slice()
        else {
            panic!("{answers:?}")
        };
        assert_eq!(shared.end(), LogPosition(2));
        assert!(!shared.is_poisoned());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failed_sync_answers_nobody_with_a_position() {
        // It takes every write and refuses to sync.
        check_all_failed(device("/dev/null"), "sync a segment");
    }

    #[test]
    fn a_large_append_is_one_write_and_one_sync_with_what_was_queued_before() {
        let (shared, answers) = written_to(tempfile::tempfile().unwrap(), 5000);
        let first: Vec<u64> = answers.into_iter().map(|answer| answer.unwrap().0).collect();
        assert_eq!(first, [0, 1, 5001]);
        assert_eq!(shared.end(), LogPosition(5002));
        assert!(!shared.is_poisoned());
    }

    #[test]
    fn an_append_larger_than_a_segment_gets_one_of_its_own_size() {
        let dir = tempfile::tempdir().unwrap();
        let settings = LogSettings { segment_size_bytes: 4096, ..LogSettings::default() };
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        let segment = Arc::new(Segment::new(&disk, dir.path(), 0));
        let file = segment.create(settings.segment_size_bytes).unwrap();
        let shared = Arc::new(Shared::new((&disk, dir.path()), vec![Arc::clone(&segment)], 0, 1 << 20));
        let place = (file, SEGMENT_HEADER_BYTES as u64, settings.segment_size_bytes, 0);
        let metrics = LogMetrics::new(&Registry::new(), "log");
        let writer = Writer::new(Arc::clone(&shared), settings, metrics, segment, place);
        // The first finds an empty segment and widens it, the second gets the next, the last one of the usual size.
        let answers: Vec<_> = written_by(writer, &[5, 6, 1]);
        let first: Vec<u64> = answers.into_iter().map(|answer| answer.unwrap().0).collect();
        assert_eq!(first, [0, 5, 11]);
        let frames = |entries: u64| 32 + entries * (32 + 1024) + 32;
        let mut sizes: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
            .collect();
        sizes.sort();
        assert_eq!(sizes.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [frames(5), frames(6), 4096]);
    }
}
