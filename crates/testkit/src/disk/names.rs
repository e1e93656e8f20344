//! The names on a simulated disk: as processes see them, and as they are durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::Chance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(u64),
}

/// A change that a sync of its directory makes durable.
#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    fn directory(&self) -> &Path {
        let (Self::Put(path, _) | Self::Remove(path) | Self::Rename(path, _)) = self;
        path.parent().expect("the root does not change")
    }

    fn apply(self, nodes: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Put(path, node) => drop(nodes.insert(path, node)),
            Self::Remove(path) => drop(nodes.remove(&path)),
            Self::Rename(from, to) => {
                if let Some(node) = nodes.remove(&from) {
                    nodes.insert(to, node);
                }
            }
        }
    }
}

/// All names.
#[derive(Default)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    unsynced: Vec<Change>,
}

impl Names {
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.seen.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.as_path(), *inode)),
            Node::Directory => None,
        })
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        path.parent().is_none() || self.seen.get(path) == Some(&Node::Directory)
    }

    pub(super) fn file(&self, path: &Path) -> Option<u64> {
        match self.seen.get(path) {
            Some(Node::File(inode)) => Some(*inode),
            _ => None,
        }
    }

    pub(super) fn make_directory(&mut self, path: &Path) {
        if !self.is_directory(path) {
            self.change(Change::Put(path.to_owned(), Node::Directory));
        }
    }

    pub(super) fn add_file(&mut self, path: &Path, inode: u64) -> io::Result<()> {
        if !path.parent().is_some_and(|directory| self.is_directory(directory)) {
            return Err(ErrorKind::NotFound.into());
        }
        self.change(Change::Put(path.to_owned(), Node::File(inode)));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path).ok_or(ErrorKind::NotFound)?;
        self.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent(), "nobody moves files between directories");
        self.file(from).ok_or(ErrorKind::NotFound)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(super) fn names_in(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        if !self.is_directory(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = self.seen.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).collect())
    }

    pub(super) fn sync(&mut self, directory: &Path) -> io::Result<()> {
        if !self.is_directory(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        for change in self.unsynced.extract_if(.., |change| change.directory() == directory) {
            change.apply(&mut self.durable);
        }
        Ok(())
    }

    /// In each directory, what was not synced is lost from some change on.
    pub(super) fn lose_power(&mut self, chance: &mut Chance) {
        let mut kept: BTreeMap<PathBuf, bool> = BTreeMap::new();
        let per_mille = chance.pick(&[0, 300, 700, 1000]);
        for change in std::mem::take(&mut self.unsynced) {
            let keeps = kept.entry(change.directory().to_owned()).or_insert(true);
            *keeps = *keeps && chance.strikes(per_mille);
            if *keeps {
                change.apply(&mut self.durable);
            }
        }
        let durable = &self.durable;
        let is_reachable = |path: &Path| {
            path.ancestors()
                .skip(1)
                .all(|above| above.parent().is_none() || durable.get(above) == Some(&Node::Directory))
        };
        let reachable = durable.iter().filter(|(path, _)| is_reachable(path));
        self.seen = reachable.map(|(path, node)| (path.clone(), *node)).collect();
        self.durable = self.seen.clone();
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.seen);
        self.unsynced.push(change);
    }
}
