//! The embedded blob store: one file per blob.
//!
//! A blob is written under `unfinished/`, synced, and renamed to `xx/<id>`, where `xx` are the first two digits of its
//! id; then the directory is synced. So a blob under its name is whole and durable, and what lies in `unfinished/` when
//! the store is opened belongs to nobody. All disk work runs away from the async threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Entropy;
use prometheus::{IntCounter, Registry};

use super::{BlobError, BlobId, BlobReader, BlobWriter, Blobs};
use crate::metrics;

/// How much is gathered before it is written, and how much is read at once.
const PIECE_BYTES: usize = 256 << 10;
/// The directory of blobs that are being written.
const UNFINISHED_DIR: &str = "unfinished";
/// Random bytes of an id.
const ID_BYTES: usize = 16;
/// Digits of an id that name its directory.
const FAN_OUT_DIGITS: usize = 2;

/// A store of blobs in a directory.
#[derive(Clone)]
pub struct FileBlobs {
    dir: Arc<PathBuf>,
    entropy: Arc<dyn Entropy>,
    metrics: BlobMetrics,
}

#[derive(Clone)]
struct BlobMetrics {
    finished: IntCounter,
    written_bytes: IntCounter,
    read_bytes: IntCounter,
    deleted: IntCounter,
}

impl FileBlobs {
    /// Opens the store in `dir`, which is made where it is missing, and removes what was left unfinished.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(dir: &Path, entropy: Arc<dyn Entropy>, registry: &Registry) -> Result<Self, BlobError> {
        let unfinished = dir.join(UNFINISHED_DIR);
        fs::create_dir_all(&unfinished).map_err(failed("make its directory"))?;
        for entry in fs::read_dir(&unfinished).map_err(failed("list unfinished blobs"))? {
            let path = entry.map_err(failed("list unfinished blobs"))?.path();
            fs::remove_file(path).map_err(failed("remove an unfinished blob"))?;
        }
        let whole = dir.canonicalize().map_err(failed("find its directory"))?;
        for made in [Some(dir), whole.parent()].into_iter().flatten() {
            sync_directory(made).map_err(failed("sync its directory"))?;
        }
        let metrics = BlobMetrics {
            finished: metrics::counter(registry, "cairn_blobs_finished_total", "Blobs made durable."),
            written_bytes: metrics::counter(
                registry,
                "cairn_blobs_written_bytes_total",
                "Bytes written to blobs.",
            ),
            read_bytes: metrics::counter(registry, "cairn_blobs_read_bytes_total", "Bytes read from blobs."),
            deleted: metrics::counter(registry, "cairn_blobs_deleted_total", "Blobs removed."),
        };
        Ok(Self { dir: Arc::new(dir.to_owned()), entropy, metrics })
    }

    /// The ids of all finished blobs, in order, for the sweep that finds those that no catalog row names. A blob is
    /// finished before its row is written, so only one that two sweeps well apart both found unnamed is garbage.
    pub fn ids(&self) -> impl Iterator<Item = Result<BlobId, BlobError>> + Send + use<> {
        let dir = Arc::clone(&self.dir);
        (0..=u8::MAX).flat_map(move |first| ids_in(&dir.join(format!("{first:02x}"))))
    }

    /// Where the blob lies; none where `id` is not an id, and must not become part of a path.
    fn path(&self, id: &BlobId) -> Option<PathBuf> {
        let valid = id.0.len() == 2 * ID_BYTES
            && id.0.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        valid.then(|| self.dir.join(&id.0[..FAN_OUT_DIGITS]).join(&id.0))
    }

    fn new_id(&self) -> BlobId {
        let mut bytes = [0; ID_BYTES];
        self.entropy.fill(&mut bytes);
        BlobId(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The ids in one fan-out directory, in order.
fn ids_in(dir: &Path) -> Vec<Result<BlobId, BlobError>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Err(failed("list its blobs")(error))],
    };
    let name = |entry: fs::DirEntry| BlobId(entry.file_name().to_string_lossy().into_owned());
    let mut ids: Vec<_> = entries.map(|entry| entry.map(name).map_err(failed("list its blobs"))).collect();
    ids.sort_by(|a, b| a.as_ref().ok().cmp(&b.as_ref().ok()));
    ids
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn create(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
        let id = self.new_id();
        let unfinished = self.dir.join(UNFINISHED_DIR).join(&id.0);
        Ok(Box::new(FileBlobWriter {
            store: self.clone(),
            id,
            unfinished,
            file: None,
            buffer: Vec::new(),
            sound: true,
        }))
    }

    async fn read(
        &self,
        id: &BlobId,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<Box<dyn BlobReader>, BlobError> {
        let path = self.path(id).ok_or_else(|| BlobError::Missing(id.clone()))?;
        let (file, size_bytes) = run_blocking("open a blob", move || {
            let file = File::open(path)?;
            let size_bytes = file.metadata()?.len();
            Ok((file, size_bytes))
        })
        .await
        .map_err(|error| missing(error, id))?;
        let end = offset_bytes.checked_add(length_bytes).filter(|end| *end <= size_bytes);
        let end = end.ok_or_else(|| {
            let text = format!("{length_bytes} bytes at {offset_bytes} lie outside of {size_bytes} bytes");
            failed("read a range of a blob")(io::Error::new(ErrorKind::InvalidInput, text))
        })?;
        let read_bytes = self.metrics.read_bytes.clone();
        Ok(Box::new(FileBlobReader { file: Arc::new(file), next: offset_bytes, end, read_bytes }))
    }

    async fn delete(&self, id: &BlobId) -> Result<(), BlobError> {
        let Some(path) = self.path(id) else { return Ok(()) };
        let removed = run_blocking("remove a blob", move || match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        });
        self.metrics.deleted.inc_by(u64::from(removed.await?));
        Ok(())
    }
}

fn missing(error: BlobError, id: &BlobId) -> BlobError {
    match error {
        BlobError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            BlobError::Missing(id.clone())
        }
        error => error,
    }
}

/// A file under `unfinished/`, removed when dropped unless it got its name.
struct UnfinishedFile {
    path: PathBuf,
    file: File,
    named: bool,
}

impl UnfinishedFile {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file, named: false })
    }

    /// Syncs the file and renames it to `path`, durably.
    fn name(mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let dir = path.parent().expect("a blob lies in a directory");
        if !dir.exists() {
            match fs::create_dir(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => sync_directory(dir.parent().expect("the store's own directory"))?,
            }
        }
        fs::rename(&self.path, path)?;
        self.named = true;
        sync_directory(dir)
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "an unfinished blob stays until the next start");
        }
    }
}

/// A blob being written; the file is made when the first piece's worth of bytes is there.
struct FileBlobWriter {
    store: FileBlobs,
    id: BlobId,
    unfinished: PathBuf,
    file: Option<UnfinishedFile>,
    buffer: Vec<u8>,
    /// Whether every byte so far arrived; not so after a failed write, or one whose caller stopped waiting.
    sound: bool,
}

impl FileBlobWriter {
    /// Writes the buffer and `piece` to the file, made where it is not there yet.
    async fn flush(&mut self, piece: Bytes) -> Result<UnfinishedFile, BlobError> {
        if !std::mem::replace(&mut self.sound, false) {
            return Err(failed("go on with a blob")(io::Error::other("an earlier write failed")));
        }
        let buffer = std::mem::take(&mut self.buffer);
        let path = self.unfinished.clone();
        let opened = self.file.take();
        let written_bytes = (buffer.len() + piece.len()) as u64;
        let file = run_blocking("write a blob", move || {
            let mut unfinished = match opened {
                Some(unfinished) => unfinished,
                None => UnfinishedFile::create(path)?,
            };
            unfinished.file.write_all(&buffer)?;
            unfinished.file.write_all(&piece)?;
            Ok(unfinished)
        })
        .await?;
        self.sound = true;
        self.store.metrics.written_bytes.inc_by(written_bytes);
        Ok(file)
    }
}

#[async_trait]
impl BlobWriter for FileBlobWriter {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        if self.sound && self.buffer.len() + piece.len() < PIECE_BYTES {
            self.buffer.extend_from_slice(&piece);
            return Ok(());
        }
        self.file = Some(self.flush(piece).await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobId, BlobError> {
        let file = self.flush(Bytes::new()).await?;
        let path = self.store.path(&self.id).expect("the store made the id");
        run_blocking("finish a blob", move || file.name(&path)).await?;
        self.store.metrics.finished.inc();
        Ok(self.id)
    }
}

/// A range of a blob being read.
struct FileBlobReader {
    file: Arc<File>,
    next: u64,
    end: u64,
    read_bytes: IntCounter,
}

#[async_trait]
impl BlobReader for FileBlobReader {
    async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        if self.next == self.end {
            return None;
        }
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let (file, at) = (Arc::clone(&self.file), self.next);
        let read = run_blocking("read a blob", move || {
            let mut piece = vec![0; left.min(PIECE_BYTES)];
            file.read_exact_at(&mut piece, at)?;
            Ok(Bytes::from(piece))
        })
        .await;
        match &read {
            Ok(piece) => self.next += piece.len() as u64,
            // There is nothing sensible after a failure.
            Err(_) => self.next = self.end,
        }
        self.read_bytes.inc_by(read.as_ref().map_or(0, |piece| piece.len() as u64));
        Some(read)
    }
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> BlobError {
    move |source| BlobError::Io { action, source }
}

/// Runs `work` away from the async threads.
async fn run_blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(io::Error::from).and_then(|outcome| outcome).map_err(failed(action))
}
