//! The content of a file on a simulated disk: as processes see it, and as it is durable.

use std::io;
use std::sync::Arc;

use cairn_store::disk::DiskFile;

use super::{Begun, SimDisk, dead, eio};
use crate::Chance;

/// The block that is known to be zero as a whole.
const BLOCK_BYTES: usize = 512;

/// A change that a sync makes durable.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Size(size) => bytes.resize(*size, 0),
        }
    }
}

/// A file's content.
#[derive(Default)]
pub(super) struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Inode {
    pub(super) fn size_bytes(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn set_len(&mut self, size: usize) {
        self.change(Change::Size(size));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    /// Any part of what was not synced becomes durable; the rest never will.
    fn write_back_some(&mut self, chance: &mut Chance) {
        let per_mille = chance.pick(&[0, 200, 500, 800, 1000]);
        let piece_bytes = chance.pick(&[1, 7, 64, BLOCK_BYTES, 4096]);
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Size(_) if chance.strikes(per_mille) => change.apply(&mut self.durable),
                Change::Size(_) => {}
                Change::Write(offset, written) => {
                    // Tiny pieces of a large write would say nothing more, and take long.
                    let piece_bytes = piece_bytes.max(written.len() / 32);
                    for (at, piece) in written.chunks(piece_bytes).enumerate() {
                        if chance.strikes(per_mille) {
                            let piece = Change::Write(offset + at * piece_bytes, piece.to_vec());
                            piece.apply(&mut self.durable);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn lose_power(&mut self, chance: &mut Chance) {
        self.write_back_some(chance);
        self.seen = self.durable.clone();
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimDisk,
    inode: u64,
    writable: bool,
}

impl SimFile {
    pub(super) fn opened(disk: &SimDisk, inode: u64, writable: bool) -> Arc<dyn DiskFile> {
        Arc::new(Self { disk: disk.clone(), inode, writable })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inode, &mut Chance) -> T) -> T {
        let platter = &mut *self.disk.machine.platter();
        let inode = platter.inodes.get_mut(&self.inode).expect("a living process keeps its files");
        work(inode, &mut platter.chance)
    }

    fn strikes(&self, kind: &'static str) -> bool {
        self.disk.machine.faults.strikes(kind)
    }

    fn check_room(&self, size: usize) -> io::Result<()> {
        let platter = self.disk.machine.platter();
        let growth = (size as u64).saturating_sub(platter.inodes[&self.inode].size_bytes());
        platter.check_room(growth)
    }

    fn resize(&self, size_bytes: u64, shrinks: bool) -> io::Result<()> {
        assert!(self.writable, "a file that is read only is written");
        let lives = self.disk.begin_whole("disk write EIO")?;
        let size = usize::try_from(size_bytes).expect("a simulated file is small");
        self.check_room(size)?;
        self.with(|inode, _| {
            if shrinks || size > inode.seen.len() {
                inode.set_len(size);
            }
        });
        SimDisk::end(lives, Ok(()))
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.begin()? {
            Begun::Dies => {
                if self.with(|_, chance| chance.strikes(500)) {
                    self.with(|inode, _| inode.sync());
                }
                Err(dead())
            }
            Begun::Lives if self.strikes("disk sync EIO") => {
                self.with(Inode::write_back_some);
                Err(eio())
            }
            Begun::Lives => {
                self.with(|inode, _| inode.sync());
                Ok(())
            }
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if matches!(self.disk.begin()?, Begun::Dies) {
            return Err(dead());
        }
        if self.strikes("disk read EIO") {
            return Err(eio());
        }
        let is_short = bytes.len() > 1 && self.strikes("disk read short");
        Ok(self.with(|inode, chance| {
            let wanted = if is_short { 1 + chance.below(bytes.len() - 1) } else { bytes.len() };
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.seen.len());
            let read = wanted.min(inode.seen.len() - start);
            bytes[..read].copy_from_slice(&inode.seen[start..start + read]);
            read
        }))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        assert!(self.writable, "a file that is read only is written");
        let begun = self.disk.begin()?;
        let offset = usize::try_from(offset).expect("a simulated file is small");
        self.check_room(offset + bytes.len())?;
        let fails = self.strikes("disk write EIO");
        let is_short = bytes.len() > 1 && self.strikes("disk write short");
        let dies = matches!(begun, Begun::Dies);
        let written = self.with(|inode, chance| {
            let written = match (fails || dies, is_short) {
                (true, _) => chance.below(bytes.len() + 1),
                (_, true) => 1 + chance.below(bytes.len() - 1),
                _ => bytes.len(),
            };
            inode.change(Change::Write(offset, bytes[..written].to_vec()));
            written
        });
        match (dies, fails) {
            (true, _) => Err(dead()),
            (_, true) => Err(eio()),
            _ => Ok(written),
        }
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.resize(size_bytes, true)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        if matches!(self.disk.begin()?, Begun::Dies) {
            return Err(dead());
        }
        Ok(self.with(|inode, _| inode.size_bytes()))
    }

    fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        self.resize(size_bytes, false)
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        if matches!(self.disk.begin()?, Begun::Dies) {
            return Err(dead());
        }
        Ok(self.with(|inode, _| {
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(inode.seen.len());
            let data = at + inode.seen[at..].iter().position(|byte| *byte != 0)?;
            Some(at.max(data / BLOCK_BYTES * BLOCK_BYTES) as u64)
        }))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}
