//! DeleteObject and DeleteObjects.

use cairn_store::{BlobId, Tx};
use cairn_wire::{Call, Reply};
use serde_json::{Map, Value, json};

use super::S3;
use super::attributes;
use super::condition::etag_matches;
use super::error::{Failure, malformed_xml, no_such_key, not_implemented, precondition_failed};
use super::notify::debt::{self, Owed};
use super::notify::{Cause, Happening, Kind, Origin};
use super::params::Params;
use super::state::{Bucket, NULL_VERSION, Versioning};
use super::version::{self, NewVersion};
use crate::Caller;

/// Keys of one DeleteObjects.
pub(super) const DELETE_OBJECTS_MAX: usize = 1000;

/// One object to delete.
#[derive(Clone, Debug)]
struct Deletion {
    key: String,
    version_id: Option<String>,
    if_match: Option<String>,
    random: String,
    /// Whether the caller may lift a GOVERNANCE retention, and says so.
    bypass: bool,
    /// Whether it is told of where nothing was there: S3 does so of DeleteObjects, as recorded, not of DeleteObject.
    tells_absent: bool,
}

/// What a deletion did.
#[derive(Clone, Debug, Default)]
struct Deleted {
    /// Whether what is gone, or what was put on top, is a delete marker.
    marker: bool,
    /// The version that is gone or was put on top.
    version_id: Option<String>,
    freed: Vec<BlobId>,
    owed: Owed,
}

impl S3 {
    pub(super) async fn delete_object(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        attributes::check_settings(params)?;
        if ["IfMatchLastModifiedTime", "IfMatchSize"].iter().any(|member| params.has(member)) {
            return Err(not_implemented("x-amz-if-match-size"));
        }
        let deletion = Deletion {
            key: params.key().to_owned(),
            version_id: params.version_id().map(str::to_owned),
            if_match: params.text("IfMatch").map(str::to_owned),
            random: self.random_id(),
            bypass: params.flag("BypassGovernanceRetention"),
            tells_absent: false,
        };
        let bucket = params.bucket().to_owned();
        let cause = Cause { kind: Kind::Delete, at: caller.now, origin: Origin::of(caller, call) };
        let deleted = self
            .catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                delete(tx, &bucket, &deletion, &cause)
            })
            .await?;
        self.events.announce(deleted.owed);
        self.remove_freed(deleted.freed).await;
        let mut reply = Map::new();
        if deleted.marker {
            reply.insert("DeleteMarker".into(), true.into());
        }
        if let Some(id) = deleted.version_id {
            reply.insert("VersionId".into(), id.into());
        }
        Ok(Reply::of(&reply))
    }

    pub(super) async fn delete_objects(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        attributes::check_settings(params)?;
        let delete_part = params.part("Delete").ok_or_else(malformed_xml)?;
        let listed = delete_part.list("Objects");
        if listed.is_empty() || listed.len() > DELETE_OBJECTS_MAX {
            return Err(malformed_xml());
        }
        let permits = self.check_deletions_allowed(caller, call).await?;
        let (mut deletions, mut outcomes) = (Vec::new(), Vec::new());
        for (object, permit) in listed.iter().map(Params).zip(permits) {
            let deletion = Deletion {
                key: object.key().to_owned(),
                version_id: object.version_id().map(str::to_owned),
                if_match: object.text("ETag").map(str::to_owned),
                random: self.random_id(),
                bypass: params.flag("BypassGovernanceRetention"),
                tells_absent: true,
            };
            match permit {
                Ok(()) => deletions.push(deletion),
                Err(refusal) => outcomes.push((deletion, Err(refusal))),
            }
        }
        let bucket = params.bucket().to_owned();
        let cause = Cause { kind: Kind::Delete, at: caller.now, origin: Origin::of(caller, call) };
        let done = self
            .catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                let mut outcomes = Vec::with_capacity(deletions.len());
                for deletion in &deletions {
                    match delete(tx, &bucket, deletion, &cause) {
                        // A fault of the server's ends the whole transaction; what a client can mend ends its own key.
                        Err(failure) if failure.0.status >= 500 => return Err(failure),
                        outcome => outcomes.push((deletion.clone(), outcome)),
                    }
                }
                Ok(outcomes)
            })
            .await?;
        outcomes.extend(done);
        let (mut shown, mut errors, mut freed) = (Vec::new(), Vec::new(), Vec::new());
        let mut owed = Owed::default();
        for (deletion, outcome) in outcomes {
            match outcome {
                Ok(deleted) => {
                    if !delete_part.flag("Quiet") {
                        shown.push(shown_deletion(&deletion, &deleted));
                    }
                    freed.extend(deleted.freed);
                    owed = owed.and(deleted.owed);
                }
                Err(failure) => errors.push(shown_error(&deletion, &failure)),
            }
        }
        self.events.announce(owed);
        self.remove_freed(freed).await;
        let mut reply = Map::new();
        for (member, list) in [("Deleted", shown), ("Errors", errors)] {
            if !list.is_empty() {
                reply.insert(member.into(), list.into());
            }
        }
        Ok(Reply::of(&reply))
    }
}

fn delete(tx: &mut dyn Tx, bucket: &Bucket, deletion: &Deletion, cause: &Cause) -> Result<Deleted, Failure> {
    let key = deletion.key.as_str();
    if let Some(wanted) = &deletion.if_match {
        let newest = version::latest(tx, &bucket.name, key)?;
        let object = newest.and_then(|version| version.object).ok_or_else(|| no_such_key(key))?;
        if !etag_matches(wanted, &object.etag) {
            return Err(precondition_failed("If-Match"));
        }
    }
    let removed = |version_id| Happening { version_id, ..cause.of_key(key) };
    if let Some(id) = &deletion.version_id {
        let mut deleted = Deleted { version_id: Some(id.clone()), ..Deleted::default() };
        if let Some(version) = version::by_id(tx, &bucket.name, key, id)? {
            if let Some(object) = &version.object {
                object.attributes.hold.guard(cause.at, deletion.bypass)?;
            }
            deleted.marker = version.object.is_none();
            deleted.freed = version::remove(tx, &bucket.name, &version)?;
            deleted.owed = debt::owe(tx, bucket, &removed(Some(id.as_str())))?;
        }
        return Ok(deleted);
    }
    if bucket.versioning == Versioning::Never {
        let mut deleted = Deleted::default();
        let version = version::latest(tx, &bucket.name, key)?;
        if let Some(version) = &version {
            deleted.freed = version::remove(tx, &bucket.name, version)?;
        }
        if version.is_some() || deletion.tells_absent {
            deleted.owed = debt::owe(tx, bucket, &removed(None))?;
        }
        return Ok(deleted);
    }
    let marker = NewVersion {
        key: key.to_owned(),
        at: cause.at,
        random: deletion.random.clone(),
        object: None,
        pieces: None,
    };
    let placed = version::place(tx, bucket, &marker)?;
    let created = Cause { kind: Kind::DeleteMarkerCreated, ..cause.clone() };
    let owed = debt::owe(tx, bucket, &created.of_version(bucket, &placed.version))?;
    let version_id = placed.version.id.unwrap_or_else(|| NULL_VERSION.to_owned());
    Ok(Deleted { marker: true, version_id: Some(version_id), freed: placed.freed, owed })
}

fn shown_deletion(deletion: &Deletion, deleted: &Deleted) -> Value {
    let mut shown = json!({"Key": deletion.key});
    if let Some(id) = &deletion.version_id {
        shown["VersionId"] = id.as_str().into();
    }
    if deleted.marker {
        shown["DeleteMarker"] = true.into();
        if let Some(id) = &deleted.version_id {
            shown["DeleteMarkerVersionId"] = id.as_str().into();
        }
    }
    shown
}

fn shown_error(deletion: &Deletion, failure: &Failure) -> Value {
    let mut shown = json!({"Key": deletion.key, "Code": failure.0.code, "Message": failure.0.message});
    if let Some(id) = &deletion.version_id {
        shown["VersionId"] = id.as_str().into();
    }
    shown
}
