//! Deployment packages: zip files, as strangers hand them in.
//!
//! On the road: looked through before a function is made of one, sealed into a blob, and unpacked when the function is
//! first started. Invariants: nothing is written outside the folder that is unpacked into; no more is written than
//! [`UNPACKED_SIZE_BYTES_MAX`], whatever the package says of itself; links and special files are refused.
//! Source: the format's specification, APPNOTE.TXT 6.3.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_store::blobs::BlobError;
use cairn_store::{BlobId, Blobs, SealError, Sealer};
use flate2::read::DeflateDecoder;

use super::state::Code;

/// The largest package that a call brings, in bytes.
pub(super) const SIZE_BYTES_MAX: usize = 52_428_800;
/// The largest package in a bucket, in bytes.
pub(super) const OBJECT_SIZE_BYTES_MAX: u64 = 262_144_000;
/// The most that a package holds, unpacked, in bytes.
const UNPACKED_SIZE_BYTES_MAX: u64 = 262_144_000;
/// The most files and folders of a package.
const ENTRIES_MAX: usize = 20_000;
/// What packages are sealed for.
const CONTEXT: &str = "lambda.code";

const END_SIGNATURE: u32 = 0x0605_4b50;
const ENTRY_SIGNATURE: u32 = 0x0201_4b50;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const END_SIZE_BYTES: usize = 22;
const ENTRY_SIZE_BYTES: usize = 46;
const LOCAL_SIZE_BYTES: usize = 30;
/// The longest comment behind a package's end.
const COMMENT_SIZE_BYTES_MAX: usize = 65_535;
/// The flag of entries that are encrypted.
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The kinds of files in the upper half of an entry's attributes, as Unix has them.
const KIND_MASK: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_FOLDER: u32 = 0o040_000;

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It is no zip file, or a kind that is not read.
    #[error("the package cannot be read: {0}")]
    Malformed(&'static str),
    /// It holds more than it may.
    #[error("the package is too large")]
    TooLarge,
    /// A file cannot be written.
    #[error("the package cannot be unpacked")]
    Io(#[from] io::Error),
    /// The blob cannot be read or written.
    #[error("the package cannot be kept or found")]
    Blob(#[from] BlobError),
    /// It does not open.
    #[error("the package cannot be opened")]
    Sealed(#[from] SealError),
}

/// A file or folder of a package.
struct Entry<'a> {
    /// Below the folder that it is unpacked into.
    path: PathBuf,
    is_folder: bool,
    is_executable: bool,
    method: u16,
    packed: &'a [u8],
    size_bytes: u64,
    crc: u32,
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<u32, PackageError> {
    let bytes = at.checked_add(length).and_then(|end| bytes.get(at..end));
    let bytes = bytes.ok_or(PackageError::Malformed("it ends early"))?;
    Ok(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
}

fn short(bytes: &[u8], at: usize) -> Result<usize, PackageError> {
    Ok(number(bytes, at, 2)? as usize)
}

/// Where the directory of a package begins, and how many entries it has.
fn directory(bytes: &[u8]) -> Result<(usize, usize), PackageError> {
    let last = bytes.len().checked_sub(END_SIZE_BYTES).ok_or(PackageError::Malformed("it has no end"))?;
    let first = last.saturating_sub(COMMENT_SIZE_BYTES_MAX);
    let end = (first..=last).rev().find(|at| number(bytes, *at, 4).is_ok_and(|found| found == END_SIGNATURE));
    let end = end.ok_or(PackageError::Malformed("it has no end"))?;
    let (entries, start) = (short(bytes, end + 10)?, number(bytes, end + 16, 4)?);
    if entries == 0xffff || start == u32::MAX {
        return Err(PackageError::Malformed("it is of the 64-bit kind"));
    }
    if entries > ENTRIES_MAX {
        return Err(PackageError::TooLarge);
    }
    Ok((start as usize, entries))
}

fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, PackageError> {
    let (mut at, count) = directory(bytes)?;
    let mut entries = Vec::with_capacity(count);
    let mut total_bytes = 0_u64;
    for _ in 0..count {
        if number(bytes, at, 4)? != ENTRY_SIGNATURE {
            return Err(PackageError::Malformed("its directory is broken"));
        }
        let flags = short(bytes, at + 8)?;
        if flags & usize::from(ENCRYPTED) != 0 {
            return Err(PackageError::Malformed("it is encrypted"));
        }
        let (name_bytes, extra_bytes, comment_bytes) =
            (short(bytes, at + 28)?, short(bytes, at + 30)?, short(bytes, at + 32)?);
        let name = bytes.get(at + ENTRY_SIZE_BYTES..at + ENTRY_SIZE_BYTES + name_bytes);
        let name = name.ok_or(PackageError::Malformed("it ends early"))?;
        let made_on_unix = short(bytes, at + 4)? >> 8 == 3;
        let mode = if made_on_unix { number(bytes, at + 38, 4)? >> 16 } else { 0 };
        let (packed_bytes, size_bytes) =
            (number(bytes, at + 20, 4)? as usize, u64::from(number(bytes, at + 24, 4)?));
        total_bytes += size_bytes;
        if total_bytes > UNPACKED_SIZE_BYTES_MAX {
            return Err(PackageError::TooLarge);
        }
        let local = number(bytes, at + 42, 4)? as usize;
        entries.push(Entry {
            path: path(name)?,
            is_folder: is_folder(name, mode)?,
            is_executable: mode & 0o111 != 0 || !made_on_unix,
            method: u16::try_from(short(bytes, at + 10)?).unwrap_or(u16::MAX),
            packed: packed(bytes, local, packed_bytes)?,
            size_bytes,
            crc: number(bytes, at + 16, 4)?,
        });
        at += ENTRY_SIZE_BYTES + name_bytes + extra_bytes + comment_bytes;
    }
    Ok(entries)
}

/// The bytes of an entry, behind its local head.
fn packed(bytes: &[u8], local: usize, size_bytes: usize) -> Result<&[u8], PackageError> {
    if number(bytes, local, 4)? != LOCAL_SIGNATURE {
        return Err(PackageError::Malformed("an entry is not where its directory says"));
    }
    let start = local + LOCAL_SIZE_BYTES + short(bytes, local + 26)? + short(bytes, local + 28)?;
    let end = start.checked_add(size_bytes);
    end.and_then(|end| bytes.get(start..end)).ok_or(PackageError::Malformed("it ends early"))
}

fn is_folder(name: &[u8], mode: u32) -> Result<bool, PackageError> {
    match mode & KIND_MASK {
        0 => Ok(name.ends_with(b"/")),
        KIND_FILE => Ok(false),
        KIND_FOLDER => Ok(true),
        _ => Err(PackageError::Malformed("it has links or special files")),
    }
}

/// The path of an entry, which must lie below the folder.
fn path(name: &[u8]) -> Result<PathBuf, PackageError> {
    let name = std::str::from_utf8(name).map_err(|_| PackageError::Malformed("a name is not UTF-8"))?;
    let outside = PackageError::Malformed("a name leads outside");
    if name.contains(['\\', '\0']) {
        return Err(outside);
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err(outside),
        }
    }
    Ok(path)
}

/// Looks through a package without unpacking it.
///
/// # Errors
/// What makes it unusable.
pub(super) fn check(bytes: &[u8]) -> Result<(), PackageError> {
    let entries = entries(bytes)?;
    if entries.iter().any(|entry| ![STORED, DEFLATED].contains(&entry.method)) {
        return Err(PackageError::Malformed("it is compressed otherwise than by deflate"));
    }
    if entries.iter().all(|entry| entry.is_folder) {
        return Err(PackageError::Malformed("it holds no file"));
    }
    Ok(())
}

/// Unpacks a package into a folder that is there and empty. Its files can be read and executed, not written.
///
/// # Errors
/// Where the package is not sound, or a file cannot be written.
pub fn unpack(bytes: &[u8], folder: &Path) -> Result<(), PackageError> {
    let mut left_bytes = UNPACKED_SIZE_BYTES_MAX;
    for entry in entries(bytes)? {
        let path = folder.join(&entry.path);
        if entry.is_folder {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if entry.is_executable { 0o555 } else { 0o444 };
        // Also where the entry before it was a folder of that name, or the same file.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        let written_bytes = write(&entry, &mut file, left_bytes)?;
        left_bytes -= written_bytes;
    }
    Ok(())
}

fn write(entry: &Entry<'_>, file: &mut fs::File, left_bytes: u64) -> Result<u64, PackageError> {
    if entry.size_bytes > left_bytes {
        return Err(PackageError::TooLarge);
    }
    let limit_bytes = entry.size_bytes + 1;
    let mut content = Vec::with_capacity(usize::try_from(entry.size_bytes).unwrap_or(0).min(1 << 20));
    match entry.method {
        STORED => entry.packed.take(limit_bytes).read_to_end(&mut content)?,
        DEFLATED => DeflateDecoder::new(entry.packed).take(limit_bytes).read_to_end(&mut content)?,
        _ => return Err(PackageError::Malformed("it is compressed otherwise than by deflate")),
    };
    let mut crc = flate2::Crc::new();
    crc.update(&content);
    if content.len() as u64 != entry.size_bytes || crc.sum() != entry.crc {
        return Err(PackageError::Malformed("a file is not what its directory says"));
    }
    file.write_all(&content)?;
    Ok(entry.size_bytes)
}

/// Where packages are kept, sealed. Clones share it.
#[derive(Clone)]
pub struct Packages {
    blobs: Arc<dyn Blobs>,
    sealer: Sealer,
}

/// A package as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Of its content: base64 of SHA-256.
    pub sha256: String,
    pub(super) blob: BlobId,
    pub(super) blob_size_bytes: u64,
}

impl From<&Code> for Package {
    fn from(code: &Code) -> Self {
        Self { sha256: code.sha256.clone(), blob: code.blob.clone(), blob_size_bytes: code.blob_size_bytes }
    }
}

impl Packages {
    /// Packages in blobs that hold nothing else.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, sealer: Sealer) -> Self {
        Self { blobs, sealer }
    }

    /// Keeps a package: durable on return.
    pub(super) async fn keep(&self, bytes: &Bytes) -> Result<Code, PackageError> {
        let sealed = Bytes::from(self.sealer.seal(CONTEXT, bytes));
        let blob_size_bytes = sealed.len() as u64;
        let mut writer = self.blobs.create().await?;
        writer.write(sealed).await?;
        let hash = digest::digest(&digest::SHA256, bytes);
        let sha256 = STANDARD.encode(hash);
        let blob = writer.finish().await?;
        Ok(Code { blob, blob_size_bytes, size_bytes: bytes.len() as u64, sha256 })
    }

    /// The content of a package.
    ///
    /// # Errors
    /// Where it cannot be read or opened.
    pub async fn read(&self, package: &Package) -> Result<Vec<u8>, PackageError> {
        let mut reader = self.blobs.read(&package.blob, 0, package.blob_size_bytes).await?;
        let mut sealed = Vec::with_capacity(usize::try_from(package.blob_size_bytes).unwrap_or(0));
        while let Some(piece) = reader.next().await {
            sealed.extend_from_slice(&piece?);
        }
        Ok(self.sealer.open(CONTEXT, &sealed)?)
    }

    /// Removes a blob that nothing names any more; one that stays is found at the next start.
    pub(super) async fn remove(&self, blob: &BlobId) {
        if let Err(error) = self.blobs.delete(blob).await {
            tracing::warn!(error = &error as &dyn std::error::Error, %blob, "a package could not be removed");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A zip file of entries: name, Unix mode, content; deflated where `method` says so.
    pub(crate) fn zip(files: &[(&str, u32, &[u8])], method: u16) -> Vec<u8> {
        let (mut bytes, mut listed) = (Vec::new(), Vec::new());
        for (name, mode, content) in files {
            let packed = if method == DEFLATED {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            } else {
                content.to_vec()
            };
            let mut crc = flate2::Crc::new();
            crc.update(content);
            let at = u32::try_from(bytes.len()).unwrap();
            let size = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
            let name_size = u16::try_from(name.len()).unwrap().to_le_bytes();
            let common = [
                &[20, 0, 0, 0][..],
                &method.to_le_bytes(),
                &[0; 4],
                &crc.sum().to_le_bytes(),
                &size(packed.len()),
                &size(content.len()),
                &name_size,
                &[0, 0],
            ]
            .concat();
            bytes.extend([&LOCAL_SIGNATURE.to_le_bytes()[..], &common, name.as_bytes(), &packed].concat());
            listed.extend(
                [
                    &ENTRY_SIGNATURE.to_le_bytes()[..],
                    &[20, 3],
                    &common,
                    &[0; 6],
                    &(mode << 16).to_le_bytes(),
                    &at.to_le_bytes(),
                    name.as_bytes(),
                ]
                .concat(),
            );
        }
        let (start, count) =
            (u32::try_from(bytes.len()).unwrap(), u16::try_from(files.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&listed);
        let listed_size = u32::try_from(listed.len()).unwrap().to_le_bytes();
        let end = [
            &END_SIGNATURE.to_le_bytes()[..],
            &[0; 4],
            &count,
            &count,
            &listed_size,
            &start.to_le_bytes(),
            &[0, 0],
        ];
        bytes.extend(end.concat());
        bytes
    }

    fn unpacked(bytes: &[u8]) -> Result<tempfile::TempDir, PackageError> {
        let folder = tempfile::tempdir().unwrap();
        check(bytes)?;
        unpack(bytes, folder.path())?;
        Ok(folder)
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        use std::os::unix::fs::PermissionsExt;
        for method in [STORED, DEFLATED] {
            let files: [(&str, u32, &[u8]); 4] = [
                ("bootstrap", 0o100_755, b"#!/bin/sh"),
                ("lib/", 0o040_755, b""),
                ("lib/a.py", 0o100_644, &[b'x'; 100_000]),
                ("./deep/er/b", 0, b"b"),
            ];
            let folder = unpacked(&zip(&files, method)).unwrap();
            let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
            assert_eq!(read("bootstrap"), b"#!/bin/sh");
            assert_eq!(read("lib/a.py"), [b'x'; 100_000]);
            assert_eq!(read("deep/er/b"), b"b");
            let mode = |name: &str| {
                std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o111
            };
            assert_eq!((mode("bootstrap") != 0, mode("lib/a.py") != 0), (true, false));
        }
    }

    #[test]
    fn what_leads_outside_or_is_no_file_is_refused() {
        for name in ["../x", "/etc/x", "a/../../x", "a\\b", "..", "a/\0"] {
            assert!(unpacked(&zip(&[(name, 0o100_644, b"x")], STORED)).is_err(), "{name:?}");
        }
        for mode in [0o120_777, 0o010_644, 0o060_644] {
            assert!(unpacked(&zip(&[("x", mode, b"/etc/passwd")], STORED)).is_err(), "{mode:o}");
        }
        assert!(unpacked(&zip(&[], STORED)).is_err(), "there is no file");
        assert!(unpacked(&zip(&[("a", 0o100_644, b"x"), ("a/b", 0o100_644, b"x")], STORED)).is_err());
        assert!(unpacked(&zip(&[("a", 0o100_644, b"x"), ("a", 0o100_644, b"y")], STORED)).is_err());
    }

    #[test]
    fn a_broken_package_is_refused_wherever_it_is_broken() {
        let whole = zip(&[("bootstrap", 0o100_755, b"some content"), ("b", 0o100_644, b"more")], DEFLATED);
        for end in 0..whole.len() {
            assert!(unpacked(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x55;
            // Must not panic or write outside; much of it is not looked at.
            drop(unpacked(&altered));
        }
    }

    #[test]
    fn no_more_is_written_than_a_package_may_hold() {
        let mut bomb = zip(&[("zeros", 0o100_644, &vec![0; 1 << 20])], DEFLATED);
        let listed = bomb.windows(4).position(|bytes| bytes == ENTRY_SIGNATURE.to_le_bytes()).unwrap();
        bomb[listed + 24..listed + 28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(unpacked(&bomb), Err(PackageError::TooLarge)));
        bomb[listed + 24..listed + 28].copy_from_slice(&10_u32.to_le_bytes());
        assert!(matches!(unpacked(&bomb), Err(PackageError::Malformed(_))), "more than it says");
    }
}
