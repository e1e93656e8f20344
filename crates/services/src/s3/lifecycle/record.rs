//! The records of what rules did: data events of S3 itself, whose `userIdentity` is the service.
//!
//! AWS shows lifecycle actions in server access logs only; here each one is in the event log. The record is written with
//! its action, in the catalog, and a stage appends it: once, for its eventID is fixed and after a restart the log is
//! searched for it.

use std::collections::HashSet;

use cairn_core::record::Category;
use cairn_core::record::build::CallEvent;
use cairn_store::catalog::Key;
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog, LogError, LogPosition, Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::apply::{Acting, SERVICE};
use crate::s3::error::Failure;
use crate::s3::state::Bucket;
use crate::s3::storage_class::StorageClass;

/// Records that are yet to be appended to the event log, by the end of the log before and their eventIDs.
const RECORDS: Table<OwedRecord> = Table::new("s3.lifecycle_record", 1);
/// Records that are appended together.
const PAGE: usize = 256;
/// Entries and bytes read from the log at once to search for records.
const READ_ENTRIES_MAX: usize = 4096;
const READ_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A record that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OwedRecord {
    event_id: String,
    /// The record's text.
    json: String,
}

/// What was done.
pub(super) enum Done<'a> {
    /// A delete marker was put on top.
    Marked { key: &'a str, marker: &'a str },
    /// A version went for good.
    Removed { key: &'a str, version_id: Option<&'a str>, is_marker: bool },
    /// A version's class changed.
    Moved { key: &'a str, version_id: Option<&'a str>, to: StorageClass },
    /// An upload was given up.
    Aborted { key: &'a str, upload_id: &'a str },
}

impl Done<'_> {
    fn event_name(&self) -> &'static str {
        match self {
            Self::Marked { .. } | Self::Removed { .. } => "DeleteObject",
            Self::Moved { .. } => "TransitionObject",
            Self::Aborted { .. } => "AbortMultipartUpload",
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Marked { key, .. }
            | Self::Removed { key, .. }
            | Self::Moved { key, .. }
            | Self::Aborted { key, .. } => key,
        }
    }

    fn request_parameters(&self, bucket: &str) -> Value {
        let mut shown = Map::new();
        shown.insert("bucketName".into(), bucket.into());
        shown.insert("key".into(), self.key().into());
        match self {
            Self::Removed { version_id: Some(id), .. } | Self::Moved { version_id: Some(id), .. } => {
                shown.insert("versionId".into(), (*id).into());
            }
            Self::Aborted { upload_id, .. } => {
                shown.insert("uploadId".into(), (*upload_id).into());
            }
            _ => {}
        }
        if let Self::Moved { to, .. } = self {
            shown.insert("x-amz-storage-class".into(), to.name().into());
        }
        Value::Object(shown)
    }

    fn response_elements(&self) -> Value {
        match self {
            Self::Marked { marker, .. } => json!({"x-amz-version-id": marker, "x-amz-delete-marker": "true"}),
            Self::Removed { version_id: Some(id), is_marker: true, .. } => {
                json!({"x-amz-version-id": id, "x-amz-delete-marker": "true"})
            }
            Self::Removed { version_id: Some(id), .. } => json!({"x-amz-version-id": id}),
            _ => Value::Null,
        }
    }
}

/// Writes down the record of an action, in the transaction of the action.
pub(super) fn owe(
    tx: &mut dyn Tx,
    bucket: &Bucket,
    acting: &Acting,
    rule: &str,
    done: &Done<'_>,
) -> Result<(), Failure> {
    let event_id = acting.entropy.event_id();
    let arn = format!("arn:aws:s3:::{}", bucket.name);
    let event = CallEvent {
        user_identity: json!({"type": "AWSService", "invokedBy": SERVICE}),
        time: acting.calendar.now,
        event_source: SERVICE.to_owned(),
        event_name: done.event_name().to_owned(),
        region: bucket.region.clone(),
        source_ip_address: SERVICE.to_owned(),
        user_agent: Some(SERVICE.to_owned()),
        error: None,
        request_parameters: done.request_parameters(&bucket.name),
        response_elements: done.response_elements(),
        additional_event_data: Some(json!({"lifecycleRuleId": rule})),
        request_id: None,
        event_id: event_id.clone(),
        read_only: false,
        resources: vec![
            json!({"type": "AWS::S3::Object", "ARN": format!("{arn}/{}", done.key())}),
            json!({"accountId": bucket.owner, "type": "AWS::S3::Bucket", "ARN": arn}),
        ],
        category: Category::Data,
        recipient: bucket.owner.clone(),
        shared_event_id: None,
        tls_details: None,
    };
    let json = String::from_utf8_lossy(event.into_record().json()).into_owned();
    let row = Key::new().number(acting.log_end.0).text(event_id.as_str());
    Ok(RECORDS.put(tx, row.bytes(), &OwedRecord { event_id: event_id.to_string(), json })?)
}

/// Why records could not be appended; they are tried again.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The catalog failed.
    #[error("the records of lifecycle actions cannot be read or settled")]
    Catalog(#[from] CatalogError),
    /// The event log failed.
    #[error("the records of lifecycle actions cannot be appended")]
    Log(#[from] LogError),
}

/// Appends the records that are owed.
pub(super) struct Records {
    catalog: Catalog,
    log: std::sync::Arc<dyn EventLog>,
    /// Those among the owed ones that are in the log; none before it was searched.
    appended: tokio::sync::Mutex<Option<HashSet<String>>>,
}

impl Records {
    pub(super) fn new(catalog: Catalog, log: std::sync::Arc<dyn EventLog>) -> Self {
        Self { catalog, log, appended: tokio::sync::Mutex::default() }
    }

    pub(super) fn log_end(&self) -> LogPosition {
        self.log.end()
    }

    /// From which position on the log is needed to know which records it has.
    pub(super) async fn needed_from(&self) -> Result<LogPosition, CatalogError> {
        let end = self.log.end();
        let first = self.catalog.read(|tx| RECORDS.scan(tx, b"", None, 1)).await?;
        Ok(first.first().map_or(end, |(row, _)| position_of(row)))
    }

    /// Appends what is owed, and settles it.
    pub(super) async fn append(&self, now: cairn_core::Timestamp) -> Result<u64, RecordError> {
        let mut appended = self.appended.lock().await;
        let mut count = 0;
        loop {
            let page = self.catalog.read(|tx| RECORDS.scan(tx, b"", None, PAGE)).await?;
            let Some((first, _)) = page.first() else {
                *appended = Some(HashSet::new());
                return Ok(count);
            };
            if appended.is_none() {
                *appended = Some(search(self.log.as_ref(), position_of(first)).await?);
            }
            let known = appended.get_or_insert_default();
            let new: Vec<_> = page.iter().filter(|(_, owed)| !known.contains(&owed.event_id)).collect();
            if !new.is_empty() {
                let entries = new.iter().map(|(_, owed)| Entry {
                    kind: EntryKind::Event,
                    recorded_at: now,
                    payload: owed.json.clone().into(),
                });
                self.log.append(entries.collect()).await?;
                count += new.len() as u64;
                known.extend(new.iter().map(|(_, owed)| owed.event_id.clone()));
            }
            let rows: Vec<Vec<u8>> = page.into_iter().map(|(row, _)| row).collect();
            self.catalog
                .write(move |tx| rows.iter().try_for_each(|row| RECORDS.delete(tx, row).map(|_| ())))
                .await?;
        }
    }
}

fn position_of(row: &[u8]) -> LogPosition {
    LogPosition(row.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// The eventIDs of the records of lifecycle actions that `log` has from `from` on.
async fn search(log: &dyn EventLog, from: LogPosition) -> Result<HashSet<String>, LogError> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "eventID")]
        event_id: String,
    }
    let (mut position, end) = (from.max(log.start()), log.end());
    let mut found = HashSet::new();
    while position < end {
        let entries = log.read(position, READ_ENTRIES_MAX, READ_SIZE_BYTES_MAX).await?;
        let Some((last, _)) = entries.last() else { break };
        position = LogPosition(last.0 + 1);
        let texts = entries.iter().filter(|(_, entry)| entry.kind == EntryKind::Event);
        let ours =
            texts.filter(|(_, entry)| String::from_utf8_lossy(&entry.payload).contains("lifecycleRuleId"));
        let events = ours.filter_map(|(_, entry)| serde_json::from_slice::<Event>(&entry.payload).ok());
        found.extend(events.map(|event| event.event_id));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like on disk: this text must stay readable for ever.
    #[test]
    fn an_owed_record_is_written_as_ever() {
        let golden = r#"{"event_id":"e","json":"{}"}"#;
        let owed: OwedRecord = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&owed).unwrap(), golden);
    }
}
