//! Groups and streams as calls look them up: read once, kept until something of them changes.
//!
//! Invariant: what was read before a change is not kept after it. Whoever changes a group or deletes a stream calls
//! [`Views::forget_group`] or [`Views::forget_stream`] after the commit and before the reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_store::lines::{GroupId, StreamId};
use cairn_store::{Catalog, CatalogError};

use super::arn::GroupName;
use super::state::{
    GROUP_NAMES, GROUPS, Group, STREAM_NAMES, STREAMS, group_id_row, stream_id_row, stream_row,
};

/// Groups that are kept; beyond it all are read anew.
const GROUPS_MAX: usize = 20_000;
/// Streams that are kept; beyond it all are read anew.
const STREAMS_MAX: usize = 100_000;

/// What was read.
#[derive(Default)]
pub(super) struct Views(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    groups: HashMap<GroupName, Arc<Group>>,
    names: HashMap<GroupId, GroupName>,
    streams: HashMap<GroupId, HashMap<String, StreamId>>,
    stream_names: HashMap<StreamId, Arc<str>>,
    /// How often something changed.
    changes: u64,
}

impl Views {
    /// The group of that name; none where there is none.
    pub(super) async fn group(
        &self,
        catalog: &Catalog,
        name: &GroupName,
    ) -> Result<Option<Arc<Group>>, CatalogError> {
        let changes = {
            let kept = self.lock();
            if let Some(group) = kept.groups.get(name) {
                return Ok(Some(Arc::clone(group)));
            }
            kept.changes
        };
        let row = name.row();
        let Some(group) = catalog.read(move |tx| GROUPS.get(tx, row.bytes())).await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut kept = self.lock();
        if kept.changes == changes {
            if kept.groups.len() >= GROUPS_MAX {
                kept.groups.clear();
                kept.names.clear();
            }
            kept.names.insert(group.id, name.clone());
            kept.groups.insert(name.clone(), Arc::clone(&group));
        }
        Ok(Some(group))
    }

    /// The group of that number; none where it was deleted.
    pub(super) async fn group_of(
        &self,
        catalog: &Catalog,
        id: GroupId,
    ) -> Result<Option<Arc<Group>>, CatalogError> {
        let known = self.lock().names.get(&id).cloned();
        let name = match known {
            Some(name) => Some(name),
            None => catalog.read(move |tx| GROUP_NAMES.get(tx, group_id_row(id).bytes())).await?,
        };
        let Some(name) = name else { return Ok(None) };
        // Under the name there may be a successor.
        Ok(self.group(catalog, &name).await?.filter(|group| group.id == id))
    }

    /// The stream of that name in the group; none where there is none.
    pub(super) async fn stream(
        &self,
        catalog: &Catalog,
        group: GroupId,
        name: &str,
    ) -> Result<Option<StreamId>, CatalogError> {
        let changes = {
            let kept = self.lock();
            if let Some(id) = kept.streams.get(&group).and_then(|streams| streams.get(name)) {
                return Ok(Some(*id));
            }
            kept.changes
        };
        let row = stream_row(group, name);
        let Some(stream) = catalog.read(move |tx| STREAMS.get(tx, row.bytes())).await? else {
            return Ok(None);
        };
        let mut kept = self.lock();
        if kept.changes == changes {
            kept.remember_stream(group, stream.id, &stream.name);
        }
        Ok(Some(stream.id))
    }

    /// The name of the stream of that number; none where it was deleted.
    pub(super) async fn stream_name(
        &self,
        catalog: &Catalog,
        id: StreamId,
    ) -> Result<Option<Arc<str>>, CatalogError> {
        let changes = {
            let kept = self.lock();
            if let Some(name) = kept.stream_names.get(&id) {
                return Ok(Some(Arc::clone(name)));
            }
            kept.changes
        };
        let read = catalog.read(move |tx| STREAM_NAMES.get(tx, stream_id_row(id).bytes())).await?;
        let Some(found) = read else { return Ok(None) };
        let mut kept = self.lock();
        if kept.changes == changes {
            kept.remember_stream(found.group, id, &found.name);
        }
        Ok(Some(found.name.into()))
    }

    /// Forgets a group as it was.
    pub(super) fn forget_group(&self, group: &Group) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.groups.remove(&group.name);
        kept.names.remove(&group.id);
    }

    /// Forgets a group that was deleted, with its streams.
    pub(super) fn forget_deleted(&self, group: &Group) {
        self.forget_group(group);
        let mut kept = self.lock();
        for id in kept.streams.remove(&group.id).unwrap_or_default().into_values() {
            kept.stream_names.remove(&id);
        }
    }

    /// Forgets a stream that was deleted.
    pub(super) fn forget_stream(&self, group: GroupId, name: &str) {
        let mut kept = self.lock();
        kept.changes += 1;
        if let Some(id) = kept.streams.get_mut(&group).and_then(|streams| streams.remove(name)) {
            kept.stream_names.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while the views are held")
    }
}

impl Kept {
    fn remember_stream(&mut self, group: GroupId, id: StreamId, name: &str) {
        if self.stream_names.len() >= STREAMS_MAX {
            self.streams.clear();
            self.stream_names.clear();
        }
        self.streams.entry(group).or_default().insert(name.to_owned(), id);
        self.stream_names.insert(id, name.into());
    }
}
