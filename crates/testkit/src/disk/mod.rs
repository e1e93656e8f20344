//! A disk in memory that fails, fills up and loses power, as chance has it.
//!
//! It does what Linux promises and no more. Written bytes are seen by every process at once, and outlive a process that
//! is killed; a loss of power leaves of what was not synced any part, in any order, torn anywhere. A sync that fails
//! has written any part, and forgets the rest: to sync again does not bring it back ("fsyncgate", LWN 752063), though
//! it is seen until the power goes. A name is durable once its directory is synced; before that, the changes of names
//! in a directory are lost from some point on.
//!
//! A process has its own [`SimDisk`] of the one [`Machine`]. It can be made to die at the nth operation from now.

mod file;
mod names;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_store::disk::{Access, Disk, DiskFile, DiskLock, TryLockError};

use self::file::Inode;
use self::names::Names;
use crate::Chance;

/// What can go wrong with a disk.
pub trait DiskFaults: Send + Sync {
    /// Whether a fault of this kind strikes now. Kinds: see [`FAULTS`].
    fn strikes(&self, kind: &'static str) -> bool;
}

/// The kinds of faults.
pub const FAULTS: [&str; 6] = [
    "disk read EIO",
    "disk read short",
    "disk write EIO",
    "disk write short",
    "disk sync EIO",
    "disk name EIO",
];

/// EIO.
const EIO: i32 = 5;
/// ENOSPC.
const ENOSPC: i32 = 28;

fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// What the disk holds, and who uses it.
struct Platter {
    chance: Chance,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: Names,
    locks: BTreeMap<PathBuf, u64>,
    capacity_bytes: u64,
}

impl Platter {
    fn used_bytes(&self) -> u64 {
        self.names.files().map(|(_, inode)| self.inodes[&inode].size_bytes()).sum()
    }

    /// Fails where a file cannot grow by so much.
    fn check_room(&self, growth_bytes: u64) -> io::Result<()> {
        if growth_bytes > 0 && self.used_bytes() + growth_bytes > self.capacity_bytes {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }
}

/// A computer's disk, which outlives processes.
#[derive(Clone)]
pub struct Machine {
    platter: Arc<Mutex<Platter>>,
    faults: Arc<dyn DiskFaults>,
}

impl Machine {
    /// An empty disk with one directory, `/`.
    #[must_use]
    pub fn new(seed: u64, faults: Arc<dyn DiskFaults>) -> Self {
        let platter = Platter {
            chance: Chance(seed),
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: Names::default(),
            locks: BTreeMap::new(),
            capacity_bytes: u64::MAX,
        };
        Self { platter: Arc::new(Mutex::new(platter)), faults }
    }

    /// Makes a directory in `/`, durably.
    pub fn make_directory(&self, path: &Path) {
        let mut platter = self.platter();
        platter.names.make_directory(path);
        platter.names.sync(Path::new("/")).expect("the root is there");
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().expect("no panic while the disk is held")
    }

    /// The disk as the process with this number has it, until `dead` is true.
    #[must_use]
    pub fn process(&self, process: u64, dead: &Arc<AtomicBool>) -> SimDisk {
        let life = Life { dead: Arc::clone(dead), operations_left: AtomicI64::new(i64::MAX) };
        SimDisk { machine: self.clone(), process, life: Arc::new(life) }
    }

    /// The process is dead: it has nothing locked. Everything written stays.
    pub fn release(&self, process: u64) {
        self.platter().locks.retain(|_, holder| *holder != process);
    }

    /// The power goes: what was not synced is lost, in part. No process is left.
    pub fn lose_power(&self) {
        let platter = &mut *self.platter();
        platter.names.lose_power(&mut platter.chance);
        platter.locks.clear();
        let names = &platter.names;
        platter.inodes.retain(|inode, _| names.files().any(|(_, named)| named == *inode));
        for inode in platter.inodes.values_mut() {
            inode.lose_power(&mut platter.chance);
        }
    }

    /// From now on files can grow by so many bytes in all.
    pub fn leave_room(&self, bytes: u64) {
        let mut platter = self.platter();
        platter.capacity_bytes = platter.used_bytes().saturating_add(bytes);
    }

    /// The files below `directory`, with their sizes.
    #[must_use]
    pub fn files(&self, directory: &Path) -> Vec<(PathBuf, u64)> {
        let platter = self.platter();
        let below = platter.names.files().filter(|(path, _)| path.starts_with(directory));
        below.map(|(path, inode)| (path.to_owned(), platter.inodes[&inode].size_bytes())).collect()
    }
}

/// How long a process lives.
#[derive(Debug)]
struct Life {
    dead: Arc<AtomicBool>,
    operations_left: AtomicI64,
}

/// A [`Machine`]'s disk as one process has it.
#[derive(Clone)]
pub struct SimDisk {
    machine: Machine,
    process: u64,
    life: Arc<Life>,
}

/// What comes of an operation that is about to begin.
enum Begun {
    Lives,
    /// The process dies within it.
    Dies,
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl SimDisk {
    /// The process will die within the operation so many from now; the first is 1.
    pub fn die_within(&self, operations: i64) {
        self.life.operations_left.store(operations, Ordering::SeqCst);
    }

    fn begin(&self) -> io::Result<Begun> {
        if self.life.dead.load(Ordering::SeqCst) {
            return Err(dead());
        }
        if self.life.operations_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.life.dead.store(true, Ordering::SeqCst);
            return Ok(Begun::Dies);
        }
        Ok(Begun::Lives)
    }

    /// Begins an operation that has no parts: whether a process that dies did it first is chance.
    fn begin_whole(&self, fault: &'static str) -> io::Result<bool> {
        let begun = self.begin()?;
        if self.machine.faults.strikes(fault) {
            return Err(eio());
        }
        match begun {
            Begun::Lives => Ok(true),
            Begun::Dies if self.machine.platter().chance.strikes(500) => Ok(false),
            Begun::Dies => Err(dead()),
        }
    }

    /// Ends one: a process that died within it sees no answer.
    fn end<T>(lives: bool, outcome: io::Result<T>) -> io::Result<T> {
        if lives { outcome } else { outcome.and(Err(dead())) }
    }

    fn change_names(&self, change: impl FnOnce(&mut Platter) -> io::Result<()>) -> io::Result<()> {
        let lives = self.begin_whole("disk name EIO")?;
        Self::end(lives, change(&mut self.machine.platter()))
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SimDisk of process {}", self.process)
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut platter = self.disk.machine.platter();
        if platter.locks.get(&self.path) == Some(&self.disk.process) {
            platter.locks.remove(&self.path);
        }
    }
}

impl Disk for SimDisk {
    fn is_dir(&self, path: &Path) -> bool {
        self.machine.platter().names.is_directory(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change_names(|platter| {
            let mut above: Vec<&Path> = path.ancestors().collect();
            above.reverse();
            above.into_iter().for_each(|directory| platter.names.make_directory(directory));
            Ok(())
        })
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let lives = self.begin_whole("disk name EIO")?;
        let platter = &mut *self.machine.platter();
        let inode = match (platter.names.file(path), access) {
            (Some(inode), Access::Create) => {
                platter.inodes.get_mut(&inode).expect("it has a name").set_len(0);
                inode
            }
            (Some(inode), _) => inode,
            (None, Access::Create) => {
                platter.next_inode += 1;
                let inode = platter.next_inode;
                platter.names.add_file(path, inode)?;
                platter.inodes.insert(inode, Inode::default());
                inode
            }
            (None, _) => return Err(ErrorKind::NotFound.into()),
        };
        Self::end(lives, Ok(file::SimFile::opened(self, inode, access != Access::Read)))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, TryLockError> {
        self.begin().map_err(TryLockError::Error)?;
        let mut platter = self.machine.platter();
        if platter.locks.contains_key(path) {
            return Err(TryLockError::WouldBlock);
        }
        platter.locks.insert(path.to_owned(), self.process);
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_names(|platter| platter.names.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change_names(|platter| platter.names.remove(path))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.begin_whole("disk name EIO")?;
        self.machine.platter().names.names_in(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.change_names(|platter| platter.names.sync(directory))
    }
}
