//! Segment files: making, finding, scanning and recovering them. Synchronous; called by the writer thread and from
//! blocking reads.
//!
//! Invariants: a segment file appears under its name only with a durable header (it is renamed into place); only the
//! last segment may lack a seal, or the one before it while the last is empty; a sealed segment has one after it; what
//! lies past a torn write of the last segment was never acknowledged; an append lies in one segment, wholly or, after
//! recovery, not at all.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::LogError;
use super::frame::{
    self, FRAME_HEADER_BYTES, Frame, FrameKind, Header, PAYLOAD_BYTES_MAX, SEGMENT_HEADER_BYTES,
};
use crate::disk::{Access, Disk, DiskFile};

/// The part of a segment that is read at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// How far apart the points of a segment's index are.
const INDEX_STEP_BYTES: u64 = 256 << 10;
/// The ending of segment files.
const SEGMENT_SUFFIX: &str = ".log";
/// The ending of segment files in the making; left over, they are removed.
const UNFINISHED_SUFFIX: &str = ".log.new";
/// Digits of a base position in a file name, so that names sort as positions do.
const NAME_DIGITS: usize = 20;
/// The last base position that a segment may have. No log gets there; counting on from a name beyond it would overflow.
const BASE_MAX: u64 = i64::MAX.cast_unsigned();

/// One segment file.
#[derive(Debug)]
pub(super) struct Segment {
    /// The position of its first entry.
    pub(super) base: u64,
    /// Where it is.
    pub(super) path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Some entries' positions and offsets, ascending; always holds the first entry's.
    index: Mutex<Vec<(u64, u64)>>,
}

impl Segment {
    /// The segment with base position `base` in `dir` of `disk`.
    pub(super) fn new(disk: &Arc<dyn Disk>, dir: &Path, base: u64) -> Self {
        let path = dir.join(format!("{base:0NAME_DIGITS$}{SEGMENT_SUFFIX}"));
        let disk = Arc::clone(disk);
        Self { base, path, disk, index: Mutex::new(vec![(base, SEGMENT_HEADER_BYTES as u64)]) }
    }

    /// The file's name, for messages.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The error for damage at `offset_bytes`.
    pub(super) fn corrupt(&self, offset_bytes: u64) -> LogError {
        LogError::Corrupt { segment: self.name(), offset_bytes }
    }

    /// Remembers that the entry at `position` begins at `offset`, where the index lacks a point near it.
    pub(super) fn note(&self, position: u64, offset: u64) {
        let mut index = self.index.lock().expect("no panic while the index is held");
        if index.last().is_some_and(|(_, last)| offset >= last + INDEX_STEP_BYTES) {
            index.push((position, offset));
        }
    }

    /// Forgets the points of entries from `position` on, which are no longer there.
    fn forget_from(&self, position: u64) {
        let mut index = self.index.lock().expect("no panic while the index is held");
        index.retain(|(known, _)| *known < position || *known == self.base);
    }

    /// The last known point at or before `position`.
    pub(super) fn nearest(&self, position: u64) -> (u64, u64) {
        let index = self.index.lock().expect("no panic while the index is held");
        let after = index.partition_point(|(known, _)| *known <= position);
        index[after.saturating_sub(1)]
    }

    /// Opens the file for reading.
    pub(super) fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path, Access::Read)
    }

    /// Opens the file for writing.
    pub(super) fn open_to_write(&self) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.open(&self.path, Access::Write).map_err(failed("open a segment"))
    }

    /// Removes the file; its room is given back once nobody has it open.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.disk.remove_file(&self.path)
    }

    /// Makes the file, with room for `size_bytes`, and makes it durable.
    ///
    /// # Errors
    /// [`LogError::Full`] where there is no room for it; then nothing is left of it.
    pub(super) fn create(&self, size_bytes: u64) -> Result<Arc<dyn DiskFile>, LogError> {
        let unfinished = self.path.with_extension(&UNFINISHED_SUFFIX[1..]);
        let file = self.create_unfinished(&unfinished, size_bytes).inspect_err(|error| {
            if matches!(error, LogError::Full(_))
                && let Err(error) = self.disk.remove_file(&unfinished)
                && error.kind() != ErrorKind::NotFound
            {
                // The next start removes it.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an unfinished segment cannot be removed"
                );
            }
        })?;
        self.disk.rename(&unfinished, &self.path).map_err(failed("name a new segment"))?;
        let dir = self.path.parent().expect("a segment lies in a directory");
        sync_directory(&*self.disk, dir)?;
        Ok(file)
    }

    fn create_unfinished(&self, unfinished: &Path, size_bytes: u64) -> Result<Arc<dyn DiskFile>, LogError> {
        let file = self.disk.open(unfinished, Access::Create).map_err(full_or_failed("create a segment"))?;
        extend(&*file, size_bytes)?;
        file.write_all_at(&frame::encode_header(self.base), 0)
            .map_err(full_or_failed("write a segment's header"))?;
        file.sync_all().map_err(full_or_failed("sync a new segment"))?;
        Ok(file)
    }

    /// Checks the header of an existing file.
    pub(super) fn check_header(&self, file: &dyn DiskFile) -> Result<(), LogError> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_up_to(&mut bytes, 0).map_err(failed("read a segment's header"))?;
        match frame::decode_header(&bytes[..read]) {
            Header::Base(base) if base == self.base => Ok(()),
            Header::Newer(found) => {
                Err(LogError::Version { segment: self.name(), found, known: frame::FORMAT_VERSION })
            }
            Header::Base(_) | Header::Damaged => Err(self.corrupt(0)),
        }
    }

    /// Checks the ends of a segment that another follows: its header, and a seal that leads to `next_base`. Returns the
    /// seal's offset.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] where they are not so.
    pub(super) fn check_sealed(&self, next_base: u64) -> Result<u64, LogError> {
        let file = self.open().map_err(failed("open a segment"))?;
        self.check_header(&*file)?;
        let size_bytes = size_of(&*file)?;
        let at = size_bytes.saturating_sub(FRAME_HEADER_BYTES as u64).max(SEGMENT_HEADER_BYTES as u64);
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let read = file.read_up_to(&mut bytes, at).map_err(failed("read a segment's seal"))?;
        let seal = Frame::decode(&bytes[..read]).filter(|seal| seal.is_sound(&bytes[..read]));
        match seal {
            Some(seal) if seal.kind == FrameKind::Seal && seal.position == next_base => Ok(at),
            _ => Err(self.corrupt(at)),
        }
    }
}

/// Where a scan stopped.
#[derive(Debug)]
pub(super) enum Step {
    /// A sound frame at `offset`; the payload shares the chunk that was read.
    Frame {
        /// Where it begins.
        offset: u64,
        /// The frame.
        frame: Frame,
        /// Its payload.
        payload: Bytes,
    },
    /// No sound frame at the reader's offset: the end, a torn write or damage.
    Stop,
}

/// Reads a segment's frames one after the other.
pub(super) struct FrameReader {
    file: Arc<dyn DiskFile>,
    offset: u64,
    chunk: Bytes,
    chunk_offset: u64,
}

impl FrameReader {
    /// Reads `file` from `offset` on, which must be where a frame begins.
    pub(super) fn new(file: Arc<dyn DiskFile>, offset: u64) -> Self {
        Self { file, offset, chunk: Bytes::new(), chunk_offset: offset }
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Result<Step, LogError> {
        let Some(frame) = Frame::decode(self.window(FRAME_HEADER_BYTES)?) else { return Ok(Step::Stop) };
        let size_bytes = frame.size_bytes();
        let bytes = self.window(size_bytes)?;
        if bytes.len() < size_bytes || !frame.is_sound(&bytes[..size_bytes]) {
            return Ok(Step::Stop);
        }
        let start = usize::try_from(self.offset - self.chunk_offset).expect("the frame lies in the chunk");
        let payload = self.chunk.slice(start + FRAME_HEADER_BYTES..start + size_bytes);
        let offset = self.offset;
        self.offset += size_bytes as u64;
        Ok(Step::Frame { offset, frame, payload })
    }

    /// The bytes from the reader's offset on: at least `wanted`, fewer only at the end of the file.
    fn window(&mut self, wanted: usize) -> Result<&[u8], LogError> {
        let start = usize::try_from(self.offset - self.chunk_offset).unwrap_or(usize::MAX);
        if start.checked_add(wanted).is_none_or(|end| end > self.chunk.len()) {
            let mut bytes = vec![0; wanted.max(CHUNK_BYTES)];
            let read =
                self.file.read_up_to(&mut bytes, self.offset).map_err(failed("read from a segment"))?;
            bytes.truncate(read);
            self.chunk = Bytes::from(bytes);
            self.chunk_offset = self.offset;
        }
        let start = usize::try_from(self.offset - self.chunk_offset).expect("the chunk begins at or before");
        Ok(&self.chunk[start..])
    }
}

/// What recovery found in the last segment.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The position after its last whole append.
    pub(super) end: u64,
    /// The offset after its last whole append or seal.
    pub(super) end_offset: u64,
    /// Whether the segment is full: its last frame is a seal.
    pub(super) sealed: bool,
    /// Where the last write began: what is from there on was perhaps seen by a process that died before it was durable.
    pub(super) write_offset: u64,
    /// Whether bytes of a torn write follow: of a torn frame, or of an append that is not whole.
    pub(super) torn: bool,
}

/// Finds the end of the last segment.
///
/// # Errors
/// [`LogError::Corrupt`] where the damage cannot be a torn write: an entry after it was written when it was durable.
pub(super) fn recover(segment: &Segment) -> Result<Recovered, LogError> {
    let file = segment.open().map_err(failed("open a segment"))?;
    segment.check_header(&*file)?;
    let mut reader = FrameReader::new(Arc::clone(&file), SEGMENT_HEADER_BYTES as u64);
    // Up to where appends are whole, and the position that the next frame must have.
    let (mut end, mut end_offset, mut next) = (segment.base, reader.offset(), segment.base);
    // The write that an append which goes on belongs to: an append is never cut into two.
    let mut write = None;
    let mut write_offset = end_offset;
    loop {
        let at = reader.offset();
        match reader.next()? {
            Step::Frame { frame, .. }
                if frame.position != next || write.is_some_and(|write| write != frame.group_start()) =>
            {
                return Err(segment.corrupt(at));
            }
            Step::Frame { frame: Frame { kind: FrameKind::Seal, .. }, .. } => {
                let end_offset = reader.offset();
                return Ok(Recovered { end, end_offset, sealed: true, write_offset, torn: false });
            }
            Step::Frame { offset, frame, .. } => {
                segment.note(next, offset);
                if frame.group_start() == next {
                    write_offset = offset;
                }
                next += 1;
                write = frame.append_goes_on.then(|| frame.group_start());
                if !frame.append_goes_on {
                    (end, end_offset) = (next, reader.offset());
                }
            }
            Step::Stop => {
                let torn = is_torn(segment, &*file, at, next)? || next > end;
                segment.forget_from(end);
                let write_offset = write_offset.min(end_offset);
                return Ok(Recovered { end, end_offset, sealed: false, write_offset, torn });
            }
        }
    }
}

/// Whether a torn write (true) or nothing (false) follows `offset`, where the entry `expected` should begin.
fn is_torn(segment: &Segment, file: &dyn DiskFile, offset: u64, expected: u64) -> Result<bool, LogError> {
    let size_bytes = size_of(file)?;
    let mut torn = false;
    let mut at = offset;
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Some(data) = file.next_data(at).map_err(failed("look for data in a segment"))? {
        at = data;
        let read = file.read_up_to(&mut bytes, at).map_err(failed("read a segment's end"))?;
        if read == 0 {
            break;
        }
        let chunk = &bytes[..read];
        if chunk.iter().any(|byte| *byte != 0) {
            torn = true;
            for (start, window) in chunk.windows(FRAME_HEADER_BYTES).enumerate() {
                let Some(frame) = Frame::decode(window) else { continue };
                let lies_in_torn_write = frame.group_start() <= expected && frame.position >= expected;
                let frame_at = at + start as u64;
                if !lies_in_torn_write && is_sound_at(file, &frame, frame_at, size_bytes)? {
                    return Err(segment.corrupt(offset));
                }
            }
        }
        // Windows that straddle two chunks are looked at with the second.
        let overlap = if read == bytes.len() { FRAME_HEADER_BYTES - 1 } else { 0 };
        at += (read - overlap) as u64;
    }
    Ok(torn)
}

fn is_sound_at(file: &dyn DiskFile, frame: &Frame, at: u64, size_bytes: u64) -> Result<bool, LogError> {
    if frame.payload_bytes > PAYLOAD_BYTES_MAX || at + frame.size_bytes() as u64 > size_bytes {
        return Ok(false);
    }
    let mut bytes = vec![0; frame.size_bytes()];
    let read = file.read_up_to(&mut bytes, at).map_err(failed("read a segment's end"))?;
    Ok(frame.is_sound(&bytes[..read]))
}

/// Seals `segment` again, which the one with `next_base` follows: its seal may be seen and not be durable. Where that one
/// is still `unused`, a crash may have kept the writer from sealing this one at all.
///
/// # Errors
/// [`LogError::Corrupt`] where `segment` does not end just before `next_base`.
pub(super) fn seal_again(segment: &Segment, next_base: u64, unused: bool) -> Result<(), LogError> {
    let at = match segment.check_sealed(next_base) {
        Ok(at) => at,
        Err(LogError::Corrupt { .. }) if unused => {
            let found = recover(segment)?;
            if found.end != next_base {
                return Err(segment.corrupt(found.end_offset));
            }
            found.end_offset - if found.sealed { FRAME_HEADER_BYTES as u64 } else { 0 }
        }
        Err(error) => return Err(error),
    };
    seal(&*segment.open_to_write()?, at, next_base)
}

/// Writes the seal at `offset`, cuts the room that the segment did not use, and makes both durable.
pub(super) fn seal(file: &dyn DiskFile, offset: u64, next_base: u64) -> Result<(), LogError> {
    let mut seal = Vec::with_capacity(FRAME_HEADER_BYTES);
    frame::encode_seal(&mut seal, next_base);
    file.write_all_at(&seal, offset).map_err(failed("seal a segment"))?;
    file.set_len(offset + seal.len() as u64).map_err(failed("cut a sealed segment"))?;
    file.sync_all().map_err(failed("sync a sealed segment"))
}

/// The segments in `dir`, in order. Unfinished ones are removed.
pub(super) fn list(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<Segment>, LogError> {
    let mut bases = Vec::new();
    for name in disk.names(dir).map_err(failed("list the segments"))? {
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(UNFINISHED_SUFFIX) {
            disk.remove_file(&dir.join(name)).map_err(failed("remove an unfinished segment"))?;
        } else if let Some(digits) = name.strip_suffix(SEGMENT_SUFFIX) {
            let base =
                digits.parse::<u64>().ok().filter(|base| digits.len() == NAME_DIGITS && *base <= BASE_MAX);
            bases.push(base.ok_or_else(|| LogError::Corrupt { segment: name.to_owned(), offset_bytes: 0 })?);
        }
    }
    bases.sort_unstable();
    Ok(bases.into_iter().map(|base| Segment::new(disk, dir, base)).collect())
}

/// Makes what recovery `found` in the last segment's `file` durable, cuts what follows it, and gives it room for
/// `size_bytes` again, all zeros. Returns up to where there is room: on a full disk no further than what is there, for
/// that must be readable all the same.
///
/// All of it is done at each start, whatever the file looks like. A process may have died, or been refused by the disk,
/// between a write and its sync: then the kernel shows bytes that a loss of power takes back, and after a sync that
/// failed another one does not write them ("fsyncgate", LWN 752063). Only the last write can be one of these.
pub(super) fn make_durable(file: &dyn DiskFile, found: &Recovered, size_bytes: u64) -> Result<u64, LogError> {
    let (begin, end) = (found.write_offset, found.end_offset);
    let mut bytes = vec![0; usize::try_from(end - begin).expect("a write is held far below")];
    let read = file.read_up_to(&mut bytes, begin).map_err(failed("read the last write"))?;
    file.write_all_at(&bytes[..read], begin).map_err(failed("repeat the last write"))?;
    file.set_len(end).map_err(failed("cut a torn write"))?;
    let room_end = match extend(file, size_bytes.max(end)) {
        Ok(()) => size_bytes.max(end),
        Err(LogError::Full(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "there is no room for the event log");
            end
        }
        Err(error) => return Err(error),
    };
    file.sync_all().map_err(failed("sync a recovered segment"))?;
    Ok(room_end)
}

/// Makes the names in `dir` durable.
pub(super) fn sync_directory(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    disk.sync_directory(dir).map_err(failed("sync the log's directory"))
}

/// The size of `file`.
pub(super) fn size_of(file: &dyn DiskFile) -> Result<u64, LogError> {
    file.size_bytes().map_err(failed("measure a segment"))
}

/// Wraps an I/O error with what was tried.
pub(super) fn failed(action: &'static str) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io { action, source }
}

/// Gives `file`, which is being written, room for `size_bytes`.
///
/// # Errors
/// [`LogError::Full`] where there is none: the file stays as it is, but for its size.
pub(super) fn extend(file: &dyn DiskFile, size_bytes: u64) -> Result<(), LogError> {
    reserve(file, size_bytes).map_err(full_or_failed("reserve room for a segment"))
}

/// What an error means before anything of a segment counts: no room, or a failure of `action`.
fn full_or_failed(action: &'static str) -> impl FnOnce(io::Error) -> LogError {
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => LogError::Full(source),
        _ => failed(action)(source),
    }
}

/// Sets room aside, so that a sync has no file size to write. A file system that cannot do it works, but slower.
fn reserve(file: &dyn DiskFile, size_bytes: u64) -> io::Result<()> {
    match file.reserve(size_bytes) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            tracing::debug!("the file system cannot reserve room for log segments");
            Ok(())
        }
        outcome => outcome,
    }
}
