//! A file of lines, format version 1: blocks of lines, sorted by group and place, then an index of them. Never changed.
//!
//! ```text
//! file   = header block* index footer
//! header = "CAIRNLIN" version:u32 0:u32 id:u64 salt[16] 0:u32 crc:u32                          48 bytes
//! block  = sealed( zstd( see `block` ) )          index = sealed( zstd( see `index` ) )
//! footer = index_offset:u64 index_stored:u32 index_raw:u32 "LINESEND" 0:u32 crc:u32            32 bytes
//! ```
//! Numbers of header and footer are little-endian. What is sealed has its offset for a number and the file's id for a
//! context, so neither a part put elsewhere nor a file under another's name opens.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::block;
use super::cipher::{Cipher, SALT_BYTES, Salt, StoreKey};
use super::compression;
use super::index::{BlockEntry, Index};
use super::index_cache::IndexCache;
use super::registry::FileEntry;
use super::varint::Damaged;
use super::{Found, GroupId};
use crate::disk::{Access, Disk, DiskFile};

/// The version of the files that this program writes, and the newest it reads.
pub(super) const FILE_VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 48;
pub(super) const FOOTER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"CAIRNLIN";
const END_MAGIC: [u8; 8] = *b"LINESEND";
/// The largest index or block that is believed.
const PART_BYTES_MAX: usize = 1 << 30;
/// What files' names end with.
const EXTENSION: &str = "lines";

/// What is wrong with a file of lines.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("it has version {0}, newer than {FILE_VERSION}")]
    Version(u32),
    #[error("nothing more is done, the store is closing")]
    Closing,
}

/// Why a file of lines could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub(super) struct FileError {
    pub(super) path: PathBuf,
    pub(super) action: &'static str,
    #[source]
    pub(super) source: FileFault,
}

impl FileError {
    /// Makes an error of what is wrong with the file at `path`.
    pub(super) fn of<F: Into<FileFault>>(path: &Path, action: &'static str) -> impl Fn(F) -> Self {
        move |source| Self { path: path.to_owned(), action, source: source.into() }
    }

    /// Whether there was no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.source, FileFault::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }
}

/// The name of a file.
pub(super) fn name(id: u64) -> String {
    format!("{id:020}.{EXTENSION}")
}

/// The id of the file with that name.
pub(super) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    digits.parse().ok().filter(|_| digits.len() == 20)
}

pub(super) fn encode_header(id: u64, salt: &Salt) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.to_le_bytes());
    bytes[24..24 + SALT_BYTES].copy_from_slice(salt);
    close_with_crc(&mut bytes);
    bytes
}

fn decode_header(bytes: &[u8; HEADER_BYTES], id: u64) -> Result<Salt, FileFault> {
    if bytes[..8] != MAGIC || !has_crc(bytes) {
        return Err(Damaged.into());
    }
    match u32_at(bytes, 8) {
        FILE_VERSION if u64_at(bytes, 16) == id => Ok(*bytes[24..].first_chunk().ok_or(Damaged)?),
        version if version > FILE_VERSION => Err(FileFault::Version(version)),
        _ => Err(Damaged.into()),
    }
}

/// Where the index lies: its offset, its size as it is stored, and as it was.
pub(super) type IndexPlace = (u64, usize, usize);

pub(super) fn encode_footer((offset, stored, raw): IndexPlace) -> [u8; FOOTER_BYTES] {
    let short = |size: usize| u32::try_from(size).expect("an index is held far below 4 GiB").to_le_bytes();
    let mut bytes = [0; FOOTER_BYTES];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&short(stored));
    bytes[12..16].copy_from_slice(&short(raw));
    bytes[16..24].copy_from_slice(&END_MAGIC);
    close_with_crc(&mut bytes);
    bytes
}

fn decode_footer(bytes: &[u8; FOOTER_BYTES]) -> Result<IndexPlace, Damaged> {
    if bytes[16..24] != END_MAGIC || !has_crc(bytes) {
        return Err(Damaged);
    }
    let size = |at| usize::try_from(u32_at(bytes, at)).map_err(|_| Damaged);
    Ok((u64_at(bytes, 0), size(8)?, size(12)?))
}

fn close_with_crc<const N: usize>(bytes: &mut [u8; N]) {
    let crc = crc32fast::hash(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&crc.to_le_bytes());
}

fn has_crc<const N: usize>(bytes: &[u8; N]) -> bool {
    crc32fast::hash(&bytes[..N - 4]) == u32_at(bytes, N - 4)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("offsets lie inside the header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("offsets lie inside the header"))
}

/// Where files of lines lie, and what opens them.
#[derive(Clone)]
pub(super) struct Folder {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) key: StoreKey,
}

/// A file that the registry names. Removed once it is obsolete and nobody reads it any more.
pub(super) struct LinesFile {
    pub(super) id: u64,
    pub(super) entry: FileEntry,
    pub(super) path: PathBuf,
    folder: Folder,
    is_obsolete: AtomicBool,
    is_damaged: AtomicBool,
    forgotten: Mutex<KnownForgotten>,
}

/// The number up to which it was looked for forgotten streams, and what was found: of each group, how much text, and
/// whether it was all.
type KnownForgotten = (u64, BTreeMap<GroupId, (u64, bool)>);

impl LinesFile {
    pub(super) fn new(folder: &Folder, id: u64, entry: FileEntry) -> Self {
        let path = folder.path.join(name(id));
        let folder = folder.clone();
        let forgotten = Mutex::default();
        Self { id, entry, path, folder, is_obsolete: false.into(), is_damaged: false.into(), forgotten }
    }

    /// The registry names it no more.
    pub(super) fn is_replaced(&self) {
        self.is_obsolete.store(true, Ordering::SeqCst);
    }

    /// Whether a part of it could not be read: merges leave it alone, so that what is left of it stays.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::SeqCst)
    }

    /// What `look` finds that is forgotten of a group; it is asked once for a number. Nothing where it cannot tell.
    pub(super) fn forgotten_streams(
        &self,
        number: u64,
        group: GroupId,
        look: impl FnOnce() -> Option<(u64, bool)>,
    ) -> (u64, bool) {
        let mut known = self.forgotten.lock().expect("no panic while it is held");
        if known.0 != number {
            *known = (number, BTreeMap::new());
        }
        *known.1.entry(group).or_insert_with(|| look().unwrap_or_default())
    }

    /// Opens it, with its index.
    pub(super) fn open(&self, cache: &IndexCache) -> Result<OpenFile<'_>, FileError> {
        self.look_at("be opened", || {
            let file = self.folder.disk.open(&self.path, Access::Read)?;
            if let Some((salt, index)) = cache.get(self.id) {
                return Ok(OpenFile { of: self, cipher: self.folder.key.cipher(&salt), file, index });
            }
            let mut header = [0; HEADER_BYTES];
            read_exact(&*file, &mut header, 0)?;
            let salt = decode_header(&header, self.id)?;
            let size_bytes = file.size_bytes()?;
            let footer_at = size_bytes.checked_sub(FOOTER_BYTES as u64).ok_or(Damaged)?;
            let mut footer = [0; FOOTER_BYTES];
            read_exact(&*file, &mut footer, footer_at)?;
            let (offset, stored, raw) = decode_footer(&footer)?;
            if offset.checked_add(stored as u64) != Some(footer_at) {
                return Err(Damaged.into());
            }
            let cipher = self.folder.key.cipher(&salt);
            let index = read_part(&*file, &cipher, self.id, (offset, stored, raw))?;
            let index = Arc::new(Index::decode(&index)?);
            cache.put(self.id, salt, &index, raw);
            Ok(OpenFile { of: self, file, cipher, index })
        })
    }

    fn look_at<T>(
        &self,
        action: &'static str,
        look: impl FnOnce() -> Result<T, FileFault>,
    ) -> Result<T, FileError> {
        look().map_err(|source| {
            let is_missing =
                matches!(&source, FileFault::Io(error) if error.kind() == io::ErrorKind::NotFound);
            if is_missing || matches!(source, FileFault::Damaged(_) | FileFault::Version(_)) {
                self.is_damaged.store(true, Ordering::SeqCst);
            }
            FileError::of(&self.path, action)(source)
        })
    }
}

impl Drop for LinesFile {
    fn drop(&mut self) {
        if !self.is_obsolete.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.folder.disk.remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a file of lines stays until the next start");
        }
    }
}

/// A file being read.
pub(super) struct OpenFile<'a> {
    of: &'a LinesFile,
    file: Arc<dyn DiskFile>,
    cipher: Cipher,
    pub(super) index: Arc<Index>,
}

impl OpenFile<'_> {
    /// The lines of a block.
    pub(super) fn read(&self, block: &BlockEntry) -> Result<Vec<Found>, FileError> {
        self.of.look_at("be read", || {
            let place = (block.offset_bytes, block.stored_bytes, block.raw_bytes);
            let raw = Bytes::from(read_part(&*self.file, &self.cipher, self.of.id, place)?);
            let lines = block::lines_of(&raw)?;
            let ends = (lines.first().map(|line| line.id), lines.last().map(|line| line.id));
            if ends == (Some(block.first), Some(block.last)) { Ok(lines) } else { Err(Damaged.into()) }
        })
    }
}

/// Reads what is sealed and compressed.
fn read_part(
    file: &dyn DiskFile,
    cipher: &Cipher,
    id: u64,
    (offset, stored, raw): IndexPlace,
) -> Result<Vec<u8>, FileFault> {
    if stored > PART_BYTES_MAX || raw > PART_BYTES_MAX {
        return Err(Damaged.into());
    }
    let mut sealed = vec![0; stored];
    read_exact(file, &mut sealed, offset)?;
    let compressed = cipher.open(offset, &id.to_le_bytes(), &mut sealed)?;
    Ok(compression::decompress(compressed, raw)?)
}

fn read_exact(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> Result<(), FileFault> {
    let read = file.read_up_to(bytes, offset)?;
    if read == bytes.len() { Ok(()) } else { Err(Damaged.into()) }
}
