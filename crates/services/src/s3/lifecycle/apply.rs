//! Does what is due for the versions of a key, and for an upload, in one transaction with its records and events.
//!
//! Invariant: nothing is done that is not due as the key is now, whoever changed it since it was looked at; every action
//! leaves its record in the same transaction. A version that is held stays.

use std::sync::Arc;

use cairn_core::{Entropy, Timestamp};
use cairn_store::catalog::prefix_end;
use cairn_store::{BlobId, LogPosition, Tx};

use super::due::{Action, Calendar, Due, Facts, Place, abort, due};
use super::record::{self, Done};
use super::rules::{CONFIGURATIONS, Configuration};
use crate::s3::error::Failure;
use crate::s3::garbage::discard;
use crate::s3::multipart::{UploadName, drop_parts};
use crate::s3::notify::debt::{self, Owed};
use crate::s3::notify::{Cause, Happening, Kind, Origin};
use crate::s3::put::RANDOM_ALPHABET;
use crate::s3::state::{
    BUCKETS, Bucket, NULL_VERSION, Object, UPLOADS, VERSIONS, Version, bucket_key, object_prefix, version_key,
};
use crate::s3::storage_class::StorageClass;
use crate::s3::version::{self, NewVersion, RANDOM_LENGTH};

/// How many versions are read at once.
const VERSIONS_PAGE: usize = 100;
/// In whose name rules act.
pub(super) const SERVICE: &str = "s3.amazonaws.com";

/// What acting takes besides the transaction.
#[derive(Clone)]
pub(super) struct Acting {
    pub(super) calendar: Calendar,
    pub(super) entropy: Arc<dyn Entropy>,
    /// The end of the event log before the transaction: its records come after it.
    pub(super) log_end: LogPosition,
}

/// What a transaction did.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) actions: usize,
    pub(super) freed: Vec<BlobId>,
    pub(super) owed: Owed,
}

/// A version as rules look at it.
pub(super) fn facts(version: &Version, place: Place) -> Facts<'_> {
    let object = version.object.as_ref();
    Facts {
        key: &version.key,
        size_bytes: object.map_or(0, |object| object.size_bytes),
        tags: object.map_or(&[], |object| &object.attributes.tags),
        class: object.map_or(StorageClass::Standard, |object| object.attributes.storage_class),
        is_marker: object.is_none(),
        created_at: version.modified_at,
        place,
    }
}

/// The bucket and its rules; none where either is gone.
pub(super) fn ruled_bucket(
    tx: &mut dyn Tx,
    bucket: &str,
) -> Result<Option<(Bucket, Configuration)>, Failure> {
    let row = bucket_key(bucket);
    let Some(bucket) = BUCKETS.get(tx, row.bytes())? else { return Ok(None) };
    Ok(CONFIGURATIONS.get(tx, row.bytes())?.map(|configuration| (bucket, configuration)))
}

/// Does what is due for the versions of `key`, at most `actions_max` things.
pub(super) fn apply_to_key(
    tx: &mut dyn Tx,
    (bucket, configuration): (&Bucket, &Configuration),
    key: &str,
    acting: &Acting,
    actions_max: usize,
    applied: &mut Applied,
) -> Result<(), Failure> {
    for (version, due) in due_versions(tx, bucket, configuration, key, acting, actions_max)? {
        let work = Work { bucket, acting, rule: due.rule, applied };
        match due.action {
            Action::Expire => work.expire(tx, &version)?,
            Action::Remove => work.remove(tx, &version)?,
            Action::Transition(class) => work.transition(tx, version, class)?,
        }
    }
    Ok(())
}

/// The versions of a key for which something is due, the newest first.
fn due_versions<'a>(
    tx: &mut dyn Tx,
    bucket: &Bucket,
    configuration: &'a Configuration,
    key: &str,
    acting: &Acting,
    count_max: usize,
) -> Result<Vec<(Version, Due<'a>)>, Failure> {
    let prefix = object_prefix(&bucket.name, key);
    let end = prefix_end(prefix.bytes());
    let (mut from, mut successor, mut newer) = (prefix.bytes().to_vec(), None, 0);
    let mut found = Vec::new();
    loop {
        let page = VERSIONS.scan(tx, &from, end.as_deref(), VERSIONS_PAGE)?;
        let is_only = page.len() == 1;
        let is_last = page.len() < VERSIONS_PAGE;
        for (row, version) in page {
            let place = match successor {
                None => Place::Current { is_only },
                Some(since) => Place::Noncurrent { since, newer },
            };
            newer += u32::from(successor.is_some());
            successor = Some(version.modified_at);
            from = [row.as_slice(), &[0]].concat();
            let due = due(configuration, bucket.versioning, &facts(&version, place), acting.calendar);
            let Some(due) = due.filter(|due| may_go(&version, due.action, acting.calendar.now)) else {
                continue;
            };
            found.push((version, due));
            if found.len() == count_max {
                return Ok(found);
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// A version that is held does not go for good; a marker may be put on top of it, and its class may change.
fn may_go(version: &Version, action: Action, now: Timestamp) -> bool {
    let held = |object: &Object| object.attributes.hold.guard(now, false).is_err();
    action != Action::Remove || !version.object.as_ref().is_some_and(held)
}

/// One action under way.
struct Work<'a> {
    bucket: &'a Bucket,
    acting: &'a Acting,
    rule: &'a str,
    applied: &'a mut Applied,
}

impl Work<'_> {
    fn cause(&self, kind: Kind) -> Cause {
        let origin = Origin::of_service(SERVICE, self.acting.entropy.event_id());
        Cause { kind, at: self.acting.calendar.now, origin }
    }

    fn done(self, tx: &mut dyn Tx, done: &Done<'_>, owed: Owed) -> Result<(), Failure> {
        record::owe(tx, self.bucket, self.acting, self.rule, done)?;
        self.applied.actions += 1;
        self.applied.owed = self.applied.owed.and(owed);
        Ok(())
    }

    /// As DeleteObject without a version does it.
    fn expire(self, tx: &mut dyn Tx, version: &Version) -> Result<(), Failure> {
        if self.bucket.versioning == crate::s3::state::Versioning::Never {
            return self.remove(tx, version);
        }
        let marker = NewVersion {
            key: version.key.clone(),
            at: self.acting.calendar.now,
            random: self.acting.entropy.text(RANDOM_ALPHABET, RANDOM_LENGTH),
            object: None,
            pieces: None,
        };
        let placed = version::place(tx, self.bucket, &marker)?;
        self.applied.freed.extend(placed.freed);
        let cause = self.cause(Kind::LifecycleDeleteMarkerCreated);
        let owed = debt::owe(tx, self.bucket, &cause.of_version(self.bucket, &placed.version))?;
        let made = placed.version.id.as_deref().unwrap_or(NULL_VERSION);
        self.done(tx, &Done::Marked { key: &version.key, marker: made }, owed)
    }

    fn remove(self, tx: &mut dyn Tx, version: &Version) -> Result<(), Failure> {
        self.applied.freed.extend(version::remove(tx, &self.bucket.name, version)?);
        let has_versions = self.bucket.versioning != crate::s3::state::Versioning::Never;
        let version_id = has_versions.then(|| version.id_text());
        let cause = self.cause(Kind::LifecycleDelete);
        let removed = Happening { version_id, ..cause.of_key(&version.key) };
        let owed = debt::owe(tx, self.bucket, &removed)?;
        let is_marker = version.object.is_none();
        self.done(tx, &Done::Removed { key: &version.key, version_id, is_marker }, owed)
    }

    fn transition(self, tx: &mut dyn Tx, mut version: Version, to: StorageClass) -> Result<(), Failure> {
        let Some(object) = &mut version.object else { return Ok(()) };
        object.attributes.storage_class = to;
        let row = version_key(&self.bucket.name, &version.key, version.sequence);
        VERSIONS.put(tx, row.bytes(), &version)?;
        let cause = self.cause(Kind::LifecycleTransition);
        let moved = cause.of_version(self.bucket, &version);
        let owed = debt::owe(tx, self.bucket, &moved)?;
        self.done(tx, &Done::Moved { key: &version.key, version_id: moved.version_id, to }, owed)
    }
}

/// Gives up an upload, where that is due.
pub(super) fn apply_to_upload(
    tx: &mut dyn Tx,
    (bucket, configuration): (&Bucket, &Configuration),
    at: &UploadName,
    acting: &Acting,
    applied: &mut Applied,
) -> Result<(), Failure> {
    let Some(upload) = UPLOADS.get(tx, at.row().bytes())? else { return Ok(()) };
    let due = abort(configuration, &upload.key, upload.initiated_at, acting.calendar);
    let Some((_, rule)) = due.filter(|(due_at, _)| *due_at <= acting.calendar.now) else { return Ok(()) };
    UPLOADS.delete(tx, at.row().bytes())?;
    let blobs = drop_parts(tx, &at.row())?;
    discard(tx, &blobs)?;
    applied.freed.extend(blobs);
    let work = Work { bucket, acting, rule, applied };
    work.done(tx, &Done::Aborted { key: &upload.key, upload_id: &upload.id }, Owed::default())
}
