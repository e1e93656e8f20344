//! PutObject, and the placing of a new object that copies and deliveries share.

use cairn_core::Timestamp;
use cairn_wire::{Body, Call, Reply};
use serde_json::{Map, Value};

use super::S3;
use super::acl;
use super::attributes;
use super::checksum::{Algorithm, ChecksumKind, Claim};
use super::condition::WriteConditions;
use super::content::Stored;
use super::encryption::{Asked, Encryption};
use super::error::{Failure, invalid_request};
use super::lifecycle;
use super::name;
use super::notify::{Cause, Kind, Origin, debt};
use super::params::Params;
use super::state::{Attributes, Bucket, Checksum, Object};
use super::version::{self, NewVersion, Placed, RANDOM_LENGTH};
use crate::Caller;

pub(super) const RANDOM_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl S3 {
    pub(super) async fn put_object(&self, caller: &Caller, mut call: Call) -> Result<Reply, Failure> {
        let body = call.body.take().unwrap_or_else(|| Body::from_bytes(bytes::Bytes::new()));
        let params = Params(&call.params);
        name::check_key(params.key())?;
        let attributes = attributes::of_new_object(params, &caller.account, caller.now)?;
        let conditions = WriteConditions::of(params)?;
        let claim = Claim::of(params, &call.request.headers)?;
        check_announced(&claim, &call)?;
        check_held(params, &claim, &call)?;
        // Looked at before the body is taken in, so that a hopeless upload ends early; decided when it is placed.
        self.check_write(params.bucket(), params.key(), &conditions, &attributes).await?;
        let asked = Asked::of(params)?;
        let key = self.new_key(caller, params.bucket(), params.key(), asked).await?;
        let algorithm = claim.algorithm.unwrap_or(Algorithm::DEFAULT);
        let stored = self.store(body, &claim, algorithm, Some(&key.key)).await?;
        let object = simple_object(&stored, attributes, key.encryption);
        let cause = Cause { kind: Kind::Put, at: caller.now, origin: Origin::of(caller, &call) };
        let placed = self.place_object(params.bucket(), params.key(), object, conditions, cause).await?;
        Ok(Reply::of(&Value::Object(written(&placed))))
    }

    pub(super) async fn check_write(
        &self,
        bucket: &str,
        key: &str,
        conditions: &WriteConditions,
        attributes: &Attributes,
    ) -> Result<(), Failure> {
        let (bucket, key, conditions) = (bucket.to_owned(), key.to_owned(), conditions.clone());
        let (mut attributes, now) = (attributes.clone(), self.clock.now());
        self.catalog
            .read(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                attributes.settle(&bucket, now)?;
                let bucket = bucket.name;
                conditions.check(&key, version::latest(tx, &bucket, &key)?.as_ref())
            })
            .await
    }

    /// Makes an object the newest version of its key, where the conditions hold.
    pub(super) async fn place_object(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        conditions: WriteConditions,
        cause: Cause,
    ) -> Result<Placed, Failure> {
        let blob = object.blob.clone();
        let new = NewVersion {
            key: key.to_owned(),
            at: cause.at,
            random: self.random_id(),
            object: Some(object),
            pieces: None,
        };
        let (bucket, day) = (bucket.to_owned(), self.lifecycle.day());
        let placed = self
            .catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                conditions.check(&new.key, version::latest(tx, &bucket.name, &new.key)?.as_ref())?;
                let mut new = new.clone();
                if let Some(object) = &mut new.object {
                    object.attributes.settle(&bucket, cause.at)?;
                }
                let mut placed = version::place(tx, &bucket, &new)?;
                placed.expiration = lifecycle::expiration(tx, &bucket.name, &placed.version, day)?;
                let owed = debt::owe(tx, &bucket, &cause.of_version(&bucket, &placed.version))?;
                Ok::<_, Failure>((placed, owed))
            })
            .await;
        match placed {
            Ok((placed, owed)) => {
                self.events.announce(owed);
                self.remove_freed(placed.freed.clone()).await;
                Ok(placed)
            }
            Err(failure) => {
                self.remove_unnamed(blob).await;
                Err(failure)
            }
        }
    }

    /// Random characters for a version id.
    pub(super) fn random_id(&self) -> String {
        self.entropy.text(RANDOM_ALPHABET, RANDOM_LENGTH)
    }
}

impl Attributes {
    /// Makes of what a client asked for what the bucket makes of it: its default retention, its ACLs.
    ///
    /// # Errors
    /// Where the bucket does not take it.
    pub(super) fn settle(&mut self, bucket: &Bucket, now: Timestamp) -> Result<(), Failure> {
        self.hold.settle(bucket, now)?;
        acl::settle(bucket, self)
    }
}

/// Who asks for a retention must send a checksum: what is stored wrongly could not be put right.
fn check_held(params: Params<'_>, claim: &Claim, call: &Call) -> Result<(), Failure> {
    let held = params.has("ObjectLockMode") || params.has("ObjectLockLegalHoldStatus");
    let header = |wanted: &str| call.request.headers.iter().any(|(name, _)| name == wanted);
    if held && claim.value.is_none() && !header("x-amz-trailer") && !params.has("ContentMD5") {
        return Err(invalid_request(
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock \
             parameters",
        ));
    }
    Ok(())
}

/// An SDK that announces a checksum must send it, in a header or a trailer.
pub(super) fn check_announced(claim: &Claim, call: &Call) -> Result<(), Failure> {
    let trailing = call.request.headers.iter().any(|(name, _)| name == "x-amz-trailer");
    if claim.algorithm.is_some() && claim.value.is_none() && !trailing {
        return Err(invalid_request(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
             were found.",
        ));
    }
    Ok(())
}

/// An object that was put in one go.
pub(super) fn simple_object(stored: &Stored, attributes: Attributes, encryption: Encryption) -> Object {
    Object {
        size_bytes: stored.size_bytes,
        etag: stored.md5.clone(),
        checksum: Checksum {
            algorithm: stored.algorithm,
            kind: ChecksumKind::FullObject,
            value: stored.checksum.clone(),
        },
        blob: stored.blob.clone(),
        parts: None,
        attributes,
        encryption,
    }
}

/// What a write answers.
pub(super) fn written(placed: &Placed) -> Map<String, Value> {
    let mut reply = Map::new();
    if let Some(object) = &placed.version.object {
        reply.insert("ETag".into(), quoted(&object.etag).into());
        object.checksum.show(&mut reply);
        object.encryption.show(&mut reply);
    }
    // Of the null version PutObject says nothing, as recorded.
    if let Some(id) = &placed.version.id {
        reply.insert("VersionId".into(), id.as_str().into());
    }
    if let Some(expiration) = &placed.expiration {
        reply.insert("Expiration".into(), expiration.as_str().into());
    }
    reply
}

/// An ETag as it is shown.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}
