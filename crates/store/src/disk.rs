//! The file system as the event log needs it: the seam where the simulation puts a disk that fails and loses power.
//!
//! Production has [`SystemDisk`], which does nothing but ask `std::fs` and Linux: one virtual call beside a system call.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use std::fs::TryLockError;

use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek};
use rustix::io::Errno;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// One that is there, for reading.
    Read,
    /// One that is there, for reading and writing.
    Write,
    /// Made, or emptied where it is there; for reading and writing.
    Create,
}

/// Held locked for as long as it is kept.
pub trait DiskLock: Debug + Send + Sync {}

/// A file system.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Whether `path` is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// Makes a directory and those above it that are missing.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The whole path, without links.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Takes the lock of the file at `path`, which is made where it is missing.
    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, TryLockError>;

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. It stays readable where it is open.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory. Nothing where directories cost nothing.
    fn remove_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// The names in a directory, in no order.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at `offset`; perhaps less than `bytes` holds, and nothing at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`; perhaps not all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file, or makes it longer with zeros.
    fn set_len(&self, size_bytes: u64) -> io::Result<()>;

    /// The file's size.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Sets room aside, as zeros. [`ErrorKind::Unsupported`] where the file system cannot.
    fn reserve(&self, size_bytes: u64) -> io::Result<()>;

    /// The first offset from `at` on that is not known to be zero; none past the end.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>>;

    /// Makes what was written durable, with the file's size.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes everything about the file durable but its name.
    fn sync_all(&self) -> io::Result<()>;

    /// Says that what is cached of the durable content is not needed soon. Whether that is heeded changes no content.
    fn uncache(&self) -> io::Result<()> {
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills `bytes` from `offset` on; fewer only at the end of the file.
    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// The system's own file system.
#[derive(Clone, Copy, Debug)]
pub struct SystemDisk;

impl DiskLock for File {}

impl Disk for SystemDisk {
    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::Create => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(options.open(path)?))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, TryLockError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(TryLockError::Error)?;
        file.try_lock()?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        Self::set_len(self, size_bytes)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, size_bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(ErrorKind::Unsupported.into()),
            outcome => outcome.map_err(io::Error::from),
        }
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match seek(self, SeekFrom::Data(at)) {
            Ok(data) => Ok(Some(data.max(at))),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => Ok(Some(at)),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn uncache(&self) -> io::Result<()> {
        Ok(fadvise(self, 0, None, Advice::DontNeed)?)
    }
}
