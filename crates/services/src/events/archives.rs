//! Archives: the events of a bus, kept for as long as it is wanted.
//!
//! On the road: an event that an archive's pattern takes is kept before it is acknowledged. Archives lie in the store of
//! log lines, a group each: that store appends durably, seals, compresses, reads a stretch of time without the rest, and
//! lets go of what is old. Their groups' numbers have the highest bit, which those of log groups never have.

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_core::event_pattern::EventPattern;
use cairn_store::lines::{Batch, GroupId, Line, LinesError, Query, StreamId};
use cairn_store::{CatalogError, Table, Tx};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

use super::Events;
use super::buses;
use super::error::{Failure, exists, not_found, over_limit, validation};
use super::event::{Arrival, Head};
use super::names::{BusArn, Place, split};
use super::page::{PageInput, page};
use super::rules::parsed_pattern;
use crate::Caller;

/// The archives, by place and name.
pub(super) const ARCHIVES: Table<Archive> = Table::new("events.archive", 1);
/// The number of the next archive.
const NEXT_NUMBER: Table<u64> = Table::new("events.archive_number", 1);
/// What tells archives from log groups.
const GROUP_BIT: u64 = 1 << 63;
/// Archives of an account in a region.
const ARCHIVES_MAX: usize = 100;
/// How far the events of an archive are counted, and how many at once.
const COUNTED_MAX: u64 = 1_000_000;
const COUNTED_AT_ONCE: usize = 10_000;
const COUNTED_SIZE_BYTES: usize = 16 << 20;
/// How often old events are let go of.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archive {
    pub(super) name: String,
    pub(super) bus: BusArn,
    /// Its group is made of it.
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    /// 0 for ever.
    retention_days: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
    created: Timestamp,
}

impl Archive {
    pub(super) fn arn(&self) -> String {
        self.bus.place().arn(&format!("archive/{}", self.name))
    }

    pub(super) fn group(&self) -> GroupId {
        GroupId(GROUP_BIT | self.number)
    }

    fn row(&self) -> cairn_store::catalog::Key {
        self.bus.place().row().text(&self.name)
    }
}

/// An archive as an event sees it.
pub(super) struct ArchiveView {
    pub(super) group: GroupId,
    pattern: Option<EventPattern>,
}

impl ArchiveView {
    pub(super) fn takes(&self, event: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(event))
    }
}

/// The archives of a bus, ready to match. One whose pattern cannot be read takes everything.
pub(super) fn views_of(tx: &mut dyn Tx, bus: &BusArn) -> Result<Vec<ArchiveView>, CatalogError> {
    let all = ARCHIVES.scan_prefix(tx, bus.place().row().bytes())?;
    let own = all.into_iter().map(|(_, archive)| archive).filter(|archive| archive.bus == *bus);
    let view = |archive: Archive| ArchiveView {
        group: archive.group(),
        pattern: archive.pattern.as_deref().and_then(|text| parsed_pattern(text).ok()),
    };
    Ok(own.map(view).collect())
}

pub(super) fn no_archive(name: &str) -> Failure {
    not_found(format!("Archive {name} does not exist."))
}

/// The archive that an ARN names.
pub(super) fn of_arn(tx: &mut dyn Tx, arn: &str) -> Result<Option<Archive>, CatalogError> {
    let Some((place, rest)) = split(arn) else { return Ok(None) };
    let Some(name) = rest.strip_prefix("archive/") else { return Ok(None) };
    ARCHIVES.get(tx, place.row().text(name).bytes())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateArchive {
    archive_name: String,
    event_source_arn: String,
    #[serde(flatten)]
    settings: ArchiveSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateArchive {
    archive_name: String,
    #[serde(flatten)]
    settings: ArchiveSettings,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveSettings {
    description: Option<String>,
    event_pattern: Option<String>,
    retention_days: Option<u32>,
    kms_key_identifier: Option<String>,
}

impl ArchiveSettings {
    fn check(&self) -> Result<(), Failure> {
        self.event_pattern.as_deref().map(parsed_pattern).transpose().map(drop)
    }

    /// What is not said stays as it was.
    fn apply(&self, archive: &mut Archive) {
        let said = |value: &Option<String>, kept: &mut Option<String>| {
            if value.is_some() {
                kept.clone_from(value);
            }
        };
        said(&self.description, &mut archive.description);
        said(&self.event_pattern, &mut archive.pattern);
        said(&self.kms_key_identifier, &mut archive.kms_key);
        archive.retention_days = self.retention_days.unwrap_or(archive.retention_days);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ArchiveName {
    archive_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListArchives {
    event_source_arn: Option<String>,
    state: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

/// All archives are.
const STATE: &str = "ENABLED";

impl Events {
    pub(super) async fn create_archive(
        &self,
        caller: &Caller,
        input: CreateArchive,
    ) -> Result<Value, Failure> {
        input.settings.check()?;
        let bus =
            input.event_source_arn.parse::<BusArn>().ok().filter(|bus| bus.place() == Place::of(caller));
        let bus = bus.ok_or_else(|| {
            validation("Parameter EventSourceArn is not valid. Reason: Must contain an event bus ARN of the account.")
        })?;
        let (own, now) = (bus.clone(), caller.now);
        let archive = self
            .catalog
            .write(move |tx| {
                buses::found(tx, &own)?;
                let mut archive = Archive {
                    name: input.archive_name.clone(),
                    bus: own.clone(),
                    number: 0,
                    description: None,
                    pattern: None,
                    retention_days: 0,
                    kms_key: None,
                    created: now,
                };
                input.settings.apply(&mut archive);
                let row = archive.row();
                if ARCHIVES.get(tx, row.bytes())?.is_some() {
                    return Err(exists(format!("Archive {} already exists.", archive.name)));
                }
                if ARCHIVES.count_prefix(tx, own.place().row().bytes(), ARCHIVES_MAX)? >= ARCHIVES_MAX {
                    return Err(over_limit());
                }
                archive.number = NEXT_NUMBER.get(tx, &[])?.unwrap_or_default();
                NEXT_NUMBER.put(tx, &[], &(archive.number + 1))?;
                ARCHIVES.put(tx, row.bytes(), &archive)?;
                Ok(archive)
            })
            .await?;
        self.views.forget(&bus);
        Ok(made(&archive))
    }

    pub(super) async fn update_archive(
        &self,
        caller: &Caller,
        input: UpdateArchive,
    ) -> Result<Value, Failure> {
        input.settings.check()?;
        let row = Place::of(caller).row().text(&input.archive_name);
        let archive = self
            .catalog
            .write(move |tx| {
                let mut archive =
                    ARCHIVES.get(tx, row.bytes())?.ok_or_else(|| no_archive(&input.archive_name))?;
                input.settings.apply(&mut archive);
                ARCHIVES.put(tx, row.bytes(), &archive)?;
                Ok::<_, Failure>(archive)
            })
            .await?;
        self.views.forget(&archive.bus);
        Ok(made(&archive))
    }

    pub(super) async fn describe_archive(
        &self,
        caller: &Caller,
        input: ArchiveName,
    ) -> Result<Value, Failure> {
        let row = Place::of(caller).row().text(&input.archive_name);
        let found = self.catalog.read(move |tx| ARCHIVES.get(tx, row.bytes())).await?;
        let archive = found.ok_or_else(|| no_archive(&input.archive_name))?;
        let mut reply = self.archive_shown(&archive).await?;
        reply.insert("ArchiveArn".into(), archive.arn().into());
        let optional = [
            ("Description", &archive.description),
            ("EventPattern", &archive.pattern),
            ("KmsKeyIdentifier", &archive.kms_key),
        ];
        for (name, value) in optional {
            reply.extend(value.as_ref().map(|text| (name.to_owned(), text.as_str().into())));
        }
        Ok(Value::Object(reply))
    }

    pub(super) async fn list_archives(&self, caller: &Caller, input: ListArchives) -> Result<Value, Failure> {
        let place = Place::of(caller);
        let all = self.catalog.read(move |tx| ARCHIVES.scan_prefix(tx, place.row().bytes())).await?;
        let mut items = Vec::new();
        for (_, archive) in all {
            let is_of_source =
                input.event_source_arn.as_ref().is_none_or(|arn| *arn == archive.bus.to_string());
            if is_of_source && input.state.as_deref().is_none_or(|state| state == STATE) {
                items.push((archive.name.clone(), Value::Object(self.archive_shown(&archive).await?)));
            }
        }
        page("Archives", items, &input.page)
    }

    pub(super) async fn delete_archive(&self, caller: &Caller, input: ArchiveName) -> Result<Value, Failure> {
        let row = Place::of(caller).row().text(&input.archive_name);
        let archive = self
            .catalog
            .write(move |tx| {
                let archive =
                    ARCHIVES.get(tx, row.bytes())?.ok_or_else(|| no_archive(&input.archive_name))?;
                ARCHIVES.delete(tx, row.bytes())?;
                Ok::<_, Failure>(archive)
            })
            .await?;
        self.views.forget(&archive.bus);
        self.lines.forget(archive.group(), None).await.map_err(of_lines)?;
        Ok(json!({}))
    }

    async fn archive_shown(&self, archive: &Archive) -> Result<Map<String, Value>, Failure> {
        let kept = self.lines.kept_of_group(archive.group());
        let shown = json!({
            "ArchiveName": archive.name,
            "EventSourceArn": archive.bus.to_string(),
            "State": STATE,
            "RetentionDays": archive.retention_days,
            "SizeBytes": kept.text_bytes,
            "EventCount": self.count_archived(archive.group()).await?,
            "CreationTime": archive.created.seconds(),
        });
        match shown {
            Value::Object(shown) => Ok(shown),
            _ => Ok(Map::new()),
        }
    }

    /// How many events an archive has, counted so far.
    async fn count_archived(&self, group: GroupId) -> Result<u64, Failure> {
        let (mut count, mut after) = (0, None);
        while count < COUNTED_MAX {
            let page = self.lines.read(Query {
                group,
                streams: None,
                times_ms: i64::MIN..i64::MAX,
                after,
                backwards: false,
                wanted: None,
                lines_max: COUNTED_AT_ONCE,
                found_bytes_max: COUNTED_SIZE_BYTES,
                scanned_bytes_max: COUNTED_SIZE_BYTES as u64,
            });
            let page = page.await.map_err(of_lines)?;
            count += page.lines.len() as u64;
            if page.is_complete || page.looked_up_to.is_none() {
                break;
            }
            after = page.looked_up_to;
        }
        Ok(count)
    }

    /// Keeps events in archives: durable on return.
    pub(super) async fn keep(&self, kept: Vec<(GroupId, &Arrival)>, now: Timestamp) -> Result<(), Failure> {
        if kept.is_empty() {
            return Ok(());
        }
        let batch = |(group, arrival): (GroupId, &Arrival)| {
            let at = Head::of(&arrival.text).and_then(|head| head.at()).unwrap_or(now);
            let line =
                Line { timestamp_ms: at.millis(), message: Bytes::copy_from_slice(arrival.text.as_bytes()) };
            Batch { group, stream: StreamId(group.0), ingested_at: now, lines: vec![line] }
        };
        let batches = kept.into_iter().map(batch).collect();
        self.lines.append(batches).await.map(drop).map_err(of_lines)
    }

    /// Lets go of what archives have kept for long enough; says when to look again.
    ///
    /// # Errors
    /// Where the catalog or the archives fail.
    pub async fn expire_archives(&self) -> Result<Timestamp, AwsError> {
        let now = self.clock.now();
        let all = self.catalog.read(|tx| ARCHIVES.scan_prefix(tx, &[])).await.map_err(AwsError::internal)?;
        for (_, archive) in all {
            if archive.retention_days > 0 {
                let oldest = now.minus(DAY.saturating_mul(archive.retention_days));
                self.lines.expire(archive.group(), oldest.millis()).await.map_err(AwsError::internal)?;
            }
        }
        Ok(now.plus(EXPIRY_INTERVAL))
    }
}

fn made(archive: &Archive) -> Value {
    json!({"ArchiveArn": archive.arn(), "State": STATE, "CreationTime": archive.created.seconds()})
}

pub(super) fn of_lines(error: LinesError) -> Failure {
    AwsError::internal(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Archive>(
            r#"{"name":"a","bus":"arn:aws:events:us-east-1:111122223333:event-bus/default","number":3,"description":"d","pattern":"{}","retention_days":7,"kms_key":"k","created":1795281866042}"#,
        );
    }
}
