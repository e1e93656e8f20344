//! What CloudWatch Logs keeps in the catalog: groups, streams, and what the store of lines still has to forget.
//!
//! Lines know groups and streams by numbers that are never used twice ([`GroupId`], [`StreamId`]): a group that is made
//! anew under an old name has nothing of its predecessor.

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::lines::{GroupId, StreamId};
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use super::arn::GroupName;
use super::metric_filters::remove_metric_filters;
use super::subscription_filters::remove_subscription_filters;

/// Groups by [`GroupName::row`].
pub(crate) const GROUPS: Table<Group> = Table::new("logs.group", 1);
/// The names of groups, by [`group_id_row`].
pub(crate) const GROUP_NAMES: Table<GroupName> = Table::new("logs.group_name", 1);
/// Streams by [`stream_row`]: those of a group lie together.
pub(crate) const STREAMS: Table<Stream> = Table::new("logs.stream", 1);
/// The names of streams, by [`stream_id_row`].
pub(crate) const STREAM_NAMES: Table<StreamName> = Table::new("logs.stream_name", 1);
/// What the store of lines has to forget, by [`forgotten_row`].
pub(super) const FORGOTTEN: Table<Forgotten> = Table::new("logs.forgotten", 1);
/// The number that the next group or stream gets.
const NEXT_ID: Table<u64> = Table::new("logs.next_id", 1);

/// A log group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    pub(crate) id: GroupId,
    pub(crate) created: Timestamp,
    pub(crate) class: GroupClass,
    /// For how many days lines are kept; for ever where nothing is said.
    #[serde(default)]
    pub(crate) retention_days: Option<u32>,
    /// The ARN of the KMS key that new lines are sealed under.
    #[serde(default)]
    pub(crate) kms_key_arn: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Whether it cannot be deleted.
    #[serde(default)]
    pub(crate) is_protected: bool,
    /// How many metric filters it has. Whoever puts or deletes one counts here, in the same transaction.
    #[serde(default)]
    pub(crate) metric_filters: u32,
}

/// What can be done with a group's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum GroupClass {
    #[default]
    Standard,
    InfrequentAccess,
    Delivery,
}

/// A log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
}

/// Whose a stream is, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamName {
    pub(crate) group: GroupId,
    pub(crate) name: String,
}

/// Lines of a stream, or of a whole group, that are to be forgotten: written with the deletion, removed once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgotten {
    pub(super) group: GroupId,
    pub(super) stream: Option<StreamId>,
}

pub(crate) fn group_id_row(id: GroupId) -> Key {
    Key::new().number(id.0)
}

pub(crate) fn stream_row(group: GroupId, name: &str) -> Key {
    group_id_row(group).text(name)
}

pub(crate) fn stream_id_row(id: StreamId) -> Key {
    Key::new().number(id.0)
}

/// Streams have their own numbers behind their group's; a whole group has none.
pub(super) fn forgotten_row(forgotten: Forgotten) -> Key {
    let row = group_id_row(forgotten.group);
    match forgotten.stream {
        Some(stream) => row.number(stream.0),
        None => row,
    }
}

/// A number for a group or stream.
pub(super) fn new_id(tx: &mut dyn Tx) -> Result<u64, CatalogError> {
    let row = Key::new();
    let id = NEXT_ID.get(tx, row.bytes())?.unwrap_or(1);
    NEXT_ID.put(tx, row.bytes(), &(id + 1))?;
    Ok(id)
}

/// Removes a group with its streams, and writes down that its lines are to be forgotten.
pub(super) fn remove_group(tx: &mut dyn Tx, group: &Group) -> Result<Forgotten, CatalogError> {
    let row = group_id_row(group.id);
    for (key, stream) in STREAMS.scan_prefix(tx, row.bytes())? {
        STREAMS.delete(tx, &key)?;
        STREAM_NAMES.delete(tx, stream_id_row(stream.id).bytes())?;
    }
    remove_metric_filters(tx, &group.name)?;
    remove_subscription_filters(tx, &group.name)?;
    GROUPS.delete(tx, group.name.row().bytes())?;
    GROUP_NAMES.delete(tx, row.bytes())?;
    owe_forgetting(tx, Forgotten { group: group.id, stream: None })
}

/// Removes a stream, and writes down that its lines are to be forgotten.
pub(super) fn remove_stream(
    tx: &mut dyn Tx,
    group: &Group,
    stream: &Stream,
) -> Result<Forgotten, CatalogError> {
    STREAMS.delete(tx, stream_row(group.id, &stream.name).bytes())?;
    STREAM_NAMES.delete(tx, stream_id_row(stream.id).bytes())?;
    owe_forgetting(tx, Forgotten { group: group.id, stream: Some(stream.id) })
}

fn owe_forgetting(tx: &mut dyn Tx, forgotten: Forgotten) -> Result<Forgotten, CatalogError> {
    FORGOTTEN.put(tx, forgotten_row(forgotten).bytes(), &forgotten)?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Group>(
            r#"{"name":{"region":"eu-west-1","account":"111122223333","name":"g"},"id":1,"created":1795281866042,"class":"INFREQUENT_ACCESS","retention_days":7,"kms_key_arn":"arn:aws:kms:eu-west-1:111122223333:key/k","tags":{"k":"v"},"is_protected":true,"metric_filters":2}"#,
        );
        check::<Stream>(r#"{"id":2,"name":"s","created":1}"#);
        check::<StreamName>(r#"{"group":1,"name":"s"}"#);
        check::<Forgotten>(r#"{"group":1,"stream":2}"#);
    }
}
