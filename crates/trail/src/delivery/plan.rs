//! Plans a reservation: reads the log forward in batches and notes which events go into which file.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_core::logfile::{FileOrigin, Folder, LogFileKey, stamp};
use cairn_core::record::{Facts, RecordError};
use cairn_core::{Record, Region, Timestamp};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};

use super::state::{PlannedFile, Reservation};
use crate::Trail;
use crate::takes::takes;
use crate::undecodable::Undecodable;

/// How many entries are read at a time.
pub(crate) const BATCH_ENTRIES_MAX: usize = 4096;

/// How many bytes are read at a time.
pub(crate) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many entries one reservation looks at, so that the cursor moves on even where a trail takes nothing.
const SCAN_ENTRIES_MAX: u64 = 1_000_000;

/// How many undecodable entries one reservation sets aside at most.
const UNDECODABLE_MAX: usize = 1000;

/// What a stretch of the log holds for a trail.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The first position that was not looked at.
    pub(crate) to: LogPosition,
    /// When the last entry was recorded.
    pub(crate) recorded_until: Timestamp,
    /// Entries that are no events.
    pub(crate) undecodable: Vec<(LogPosition, Undecodable)>,
    files: BTreeMap<(Folder, Region), Draft>,
    bytes: usize,
}

#[derive(Debug)]
struct Draft {
    oldest: Timestamp,
    newest: Timestamp,
    runs: Vec<(u64, u64)>,
}

/// Looks at the log from `from` up to `limit`, until the events for `trail` would pass `bytes_max`. At least one entry
/// is looked at where there is one.
pub(crate) async fn plan(
    log: &dyn EventLog,
    trail: &Trail,
    from: LogPosition,
    limit: LogPosition,
    bytes_max: usize,
) -> Result<Plan, LogError> {
    let limit = limit.min(LogPosition(from.0.saturating_add(SCAN_ENTRIES_MAX)));
    let mut plan = Plan { to: from, ..Plan::default() };
    while plan.to < limit {
        let wanted = usize::try_from(limit.0 - plan.to.0).unwrap_or(usize::MAX).min(BATCH_ENTRIES_MAX);
        let batch = log.read(plan.to, wanted, BATCH_BYTES_MAX).await?;
        if batch.is_empty() {
            break;
        }
        for (position, entry) in batch {
            if position >= limit || !plan.add(trail, position, &entry, bytes_max) {
                return Ok(plan);
            }
        }
    }
    Ok(plan)
}

impl Plan {
    /// Whether the plan has anything to deliver.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Adds an entry; false, and nothing changed, where there is no room for it.
    fn add(&mut self, trail: &Trail, position: LogPosition, entry: &Entry, bytes_max: usize) -> bool {
        match entry.kind {
            EntryKind::Event | EntryKind::Ingested => {}
            EntryKind::Intent | EntryKind::Journal => {
                self.to = LogPosition(position.0 + 1);
                return true;
            }
        }
        let record = Record::trusted(entry.payload.clone());
        match place(trail, &record) {
            Ok(None) => {}
            Ok(Some((folder, region, time))) => {
                if self.bytes > 0 && self.bytes + entry.payload.len() > bytes_max {
                    return false;
                }
                self.bytes += entry.payload.len();
                let new = || Draft { oldest: time, newest: time, runs: Vec::new() };
                self.files.entry((folder, region)).or_insert_with(new).add(position, time);
            }
            Err(error) => {
                if self.undecodable.len() >= UNDECODABLE_MAX {
                    return false;
                }
                self.undecodable.push((position, Undecodable::new(entry, &error)));
            }
        }
        self.to = LogPosition(position.0 + 1);
        self.recorded_until = self.recorded_until.max(entry.recorded_at);
        true
    }

    /// The reservation of this plan, which began at `from`, with the trail's present bucket and prefix.
    pub(crate) fn into_reservation(
        self,
        trail: &Trail,
        from: LogPosition,
        now: Timestamp,
        interval: Duration,
    ) -> Reservation {
        let to = self.to;
        let file = |((folder, region), draft): ((Folder, Region), Draft)| {
            let origin = FileOrigin {
                trail: &trail.arn,
                incarnation: trail.incarnation,
                folder,
                region: &region,
                from: from.0,
                to: to.0,
            };
            let key = LogFileKey {
                prefix: trail.key_prefix.clone(),
                organization: trail.organization_id.clone(),
                account: trail.account(),
                folder,
                unique: origin.unique_name(),
                region: region.clone(),
                stamp: stamp(now, interval),
            };
            let Draft { oldest, newest, runs } = draft;
            let object = key.to_string();
            PlannedFile { object, region, oldest_event_at: oldest, newest_event_at: newest, runs }
        };
        Reservation {
            from,
            to,
            reserved_at: now,
            recorded_until: self.recorded_until,
            bucket: trail.bucket.clone(),
            key_prefix: trail.key_prefix.clone(),
            files: self.files.into_iter().map(file).collect(),
        }
    }
}

impl Draft {
    fn add(&mut self, position: LogPosition, time: Timestamp) {
        self.oldest = self.oldest.min(time);
        self.newest = self.newest.max(time);
        match self.runs.last_mut() {
            Some((first, count)) if *first + *count == position.0 => *count += 1,
            _ => self.runs.push((position.0, 1)),
        }
    }
}

/// Where an event goes; none where the trail does not take it.
fn place(trail: &Trail, record: &Record) -> Result<Option<(Folder, Region, Timestamp)>, RecordError> {
    let facts: Facts<'_> = record.facts()?;
    let time = facts.time().ok_or(RecordError::Member { member: "eventTime" })?;
    let region = facts.region().ok_or(RecordError::Member { member: "awsRegion" })?;
    Ok(takes(trail, &facts).then(|| (Folder::of(facts.category()), region, time)))
}
