//! Which files of lines there are, up to which place of the journal they hold it, what is kept of streams and what is
//! hidden: tables of the catalog, so that they change together, after a file is durable. A file that the registry does
//! not name is what a crash left over.

use std::collections::{BTreeMap, BTreeSet};

use cairn_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{Expiry, Forgotten, Hidden};
use super::{GroupId, Kept, StreamId};
use crate::catalog::{Catalog, CatalogError, Key, Table, Tx};
use crate::log::LogPosition;

const FILES: Table<FileEntry> = Table::new("lines.file", 1);
const FLUSHED: Table<LogPosition> = Table::new("lines.flushed", 1);
const STREAMS: Table<KeptRow> = Table::new("lines.stream", 1);
const FORGOTTEN: Table<Forgotten> = Table::new("lines.forgotten", 1);
const EXPIRED: Table<Vec<Expiry>> = Table::new("lines.expired", 1);

/// What the registry knows of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) size_bytes: u64,
    /// Where its lines have their places in the journal: from here, up to before there.
    pub(super) from: LogPosition,
    pub(super) until: LogPosition,
    /// It holds nothing of what was forgotten with this number or a smaller one.
    pub(super) clean_of: u64,
    /// By group.
    pub(super) sections: Vec<SectionEntry>,
}

/// What the registry knows of a group's part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SectionEntry {
    pub(super) group: GroupId,
    pub(super) text_bytes: u64,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
}

impl FileEntry {
    /// The part of `group`.
    pub(super) fn section(&self, group: GroupId) -> Option<&SectionEntry> {
        let at = self.sections.binary_search_by_key(&group, |section| section.group).ok()?;
        self.sections.get(at)
    }

    /// The bytes of its text.
    pub(super) fn text_bytes(&self) -> u64 {
        self.sections.iter().map(|section| section.text_bytes).sum()
    }
}

/// What is in files of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptRow {
    text_bytes: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    last_ingested_at: Option<Timestamp>,
}

/// What is in files, of each stream.
pub(super) type KeptOf = BTreeMap<(GroupId, StreamId), Kept>;

/// All that the registry holds.
#[derive(Debug, Default)]
pub(super) struct Registered {
    pub(super) files: BTreeMap<u64, FileEntry>,
    pub(super) flushed: LogPosition,
    pub(super) kept: KeptOf,
    pub(super) hidden: Hidden,
}

/// Files that take the place of others, and what changes with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) old: Vec<u64>,
    pub(super) new: Vec<(u64, FileEntry)>,
    /// Up to where the journal is in files from now on.
    pub(super) flushed: Option<LogPosition>,
    /// Of the streams for which it changes.
    pub(super) kept: KeptOf,
}

/// Why the registry could not be changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("file {id} is not in the registry")]
    Gone { id: u64 },
    #[error("a key of table {table} is not one")]
    Key { table: &'static str },
}

/// The registry's view on the catalog.
#[derive(Clone)]
pub(super) struct Registry(Catalog);

fn of_group(group: GroupId) -> Key {
    Key::new().number(group.0)
}

fn of_stream(group: GroupId, stream: StreamId) -> Key {
    of_group(group).number(stream.0)
}

/// The numbers that a key is made of.
fn numbers<const N: usize>(table: &'static str, key: &[u8]) -> Result<[u64; N], RegistryError> {
    let parts = key.as_chunks::<8>();
    let numbers: Vec<u64> = parts.0.iter().map(|part| u64::from_be_bytes(*part)).collect();
    numbers.try_into().ok().filter(|_| parts.1.is_empty()).ok_or(RegistryError::Key { table })
}

impl Registry {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self(catalog)
    }

    /// All of it.
    pub(super) async fn load(&self) -> Result<Registered, RegistryError> {
        self.0.read(|tx| load(tx)).await
    }

    /// Makes a change. All the files that go must be there: were a commit lost and a merge done again, its lines would
    /// be there twice.
    pub(super) async fn change(&self, change: Change) -> Result<(), RegistryError> {
        self.0
            .write(move |tx| {
                for id in &change.old {
                    if !FILES.delete(tx, Key::new().number(*id).bytes())? {
                        return Err(RegistryError::Gone { id: *id });
                    }
                }
                for (id, entry) in &change.new {
                    FILES.put(tx, Key::new().number(*id).bytes(), entry)?;
                }
                if let Some(position) = &change.flushed {
                    FLUSHED.put(tx, Key::new().bytes(), position)?;
                }
                put_kept(tx, &change.kept)
            })
            .await
    }

    /// Notes that a stream or group is forgotten.
    pub(super) async fn forget(
        &self,
        group: GroupId,
        stream: Option<StreamId>,
        forgotten: Forgotten,
    ) -> Result<(), RegistryError> {
        self.0
            .write(move |tx| {
                let Some(stream) = stream else {
                    for (key, _) in STREAMS.scan_prefix(tx, of_group(group).bytes())? {
                        STREAMS.delete(tx, &key)?;
                    }
                    for (key, _) in FORGOTTEN.scan_prefix(tx, of_group(group).bytes())? {
                        FORGOTTEN.delete(tx, &key)?;
                    }
                    EXPIRED.delete(tx, of_group(group).bytes())?;
                    FORGOTTEN.put(tx, of_group(group).bytes(), &forgotten)?;
                    return Ok(());
                };
                STREAMS.delete(tx, of_stream(group, stream).bytes())?;
                FORGOTTEN.put(tx, of_stream(group, stream).bytes(), &forgotten)?;
                Ok(())
            })
            .await
    }

    /// Notes what expired of a group.
    pub(super) async fn expire(
        &self,
        group: GroupId,
        expiries: Vec<Expiry>,
        kept: KeptOf,
    ) -> Result<(), RegistryError> {
        self.0
            .write(move |tx| {
                EXPIRED.put(tx, of_group(group).bytes(), &expiries)?;
                put_kept(tx, &kept)
            })
            .await
    }

    /// What no file and no tail has any more need not be hidden.
    pub(super) async fn reveal(
        &self,
        groups: BTreeSet<GroupId>,
        streams: BTreeSet<(GroupId, StreamId)>,
        expired: BTreeSet<GroupId>,
    ) -> Result<(), RegistryError> {
        self.0
            .write(move |tx| {
                for group in &groups {
                    FORGOTTEN.delete(tx, of_group(*group).bytes())?;
                }
                for (group, stream) in &streams {
                    FORGOTTEN.delete(tx, of_stream(*group, *stream).bytes())?;
                }
                for group in &expired {
                    EXPIRED.delete(tx, of_group(*group).bytes())?;
                }
                Ok(())
            })
            .await
    }
}

fn put_kept(tx: &mut dyn Tx, kept: &KeptOf) -> Result<(), RegistryError> {
    for ((group, stream), kept) in kept {
        let Kept { text_bytes, first_ms, last_ms, last_ingested_at } = *kept;
        let row = KeptRow { text_bytes, first_ms, last_ms, last_ingested_at };
        STREAMS.put(tx, of_stream(*group, *stream).bytes(), &row)?;
    }
    Ok(())
}

fn load(tx: &mut dyn Tx) -> Result<Registered, RegistryError> {
    let all = Key::new();
    let mut found =
        Registered { flushed: FLUSHED.get(tx, all.bytes())?.unwrap_or_default(), ..Registered::default() };
    for (key, entry) in FILES.scan_prefix(tx, all.bytes())? {
        let [id] = numbers("lines.file", &key)?;
        found.files.insert(id, entry);
    }
    for (key, row) in STREAMS.scan_prefix(tx, all.bytes())? {
        let [group, stream] = numbers("lines.stream", &key)?;
        let KeptRow { text_bytes, first_ms, last_ms, last_ingested_at } = row;
        let kept = Kept { text_bytes, first_ms, last_ms, last_ingested_at };
        found.kept.insert((GroupId(group), StreamId(stream)), kept);
    }
    let hidden = &mut found.hidden;
    for (key, forgotten) in FORGOTTEN.scan_prefix(tx, all.bytes())? {
        hidden.number = hidden.number.max(forgotten.number);
        if let Ok([group]) = numbers("lines.forgotten", &key) {
            hidden.groups.insert(GroupId(group), forgotten);
        } else {
            let [group, stream] = numbers("lines.forgotten", &key)?;
            hidden.streams.insert((GroupId(group), StreamId(stream)), forgotten);
        }
    }
    for (key, expiries) in EXPIRED.scan_prefix(tx, all.bytes())? {
        let [group] = numbers("lines.expired", &key)?;
        hidden.expired.insert(GroupId(group), expiries);
    }
    Ok(found)
}
