//! Objects that other services put and read inside the server: under the bucket's policy, as a service or as a role
//! that it assumed. Not through the front door, and recorded nowhere.
//!
//! On the road: Firehose and exports of log groups put here, Lambda reads the code of functions. Invariant: such a put
//! is a put like any other: encrypted as the bucket says, and its event is owed in the transaction that makes it.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Principal;
use cairn_wire::{AwsError, Body};

use super::S3;
use super::checksum::{Algorithm, Claim};
use super::condition::WriteConditions;
use super::encryption::{Asked, NewKey};
use super::error::{Failure, access_denied, fail};
use super::name;
use super::notify::{Cause, Kind, Origin};
use super::put::simple_object;
use super::state::{Attributes, Bucket};
use super::target::policy_of;
use crate::Caller;
use crate::kms::{Asker, EncryptionContext};
use crate::sinks::{NewObject, ObjectSink, Sender, SentTo, SinkFailure};

/// The content type of an object of which nothing is said.
const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";
/// The ACL that such puts ask for.
const ACL: &str = "bucket-owner-full-control";

impl S3 {
    /// Whoever acts: the role, or the service in the bucket's region.
    fn acting(&self, sender: &Sender, bucket: &Bucket) -> Caller {
        match sender {
            Sender::Role(caller) => Caller { now: self.clock.now(), ..Caller::clone(caller) },
            Sender::Service(source) => {
                let place = (source.account.clone(), bucket.region.clone());
                Caller::of_service(&source.service, place, self.clock.now(), self.entropy.event_id())
            }
        }
    }

    fn check_sender(
        &self,
        sender: &Sender,
        action: &str,
        resource: &str,
        bucket: &Bucket,
        further: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let acting = self.acting(sender, bucket);
        let policy = policy_of(&acting, &bucket.name, Some(bucket.clone()), None);
        let to = SentTo {
            action,
            arn: resource,
            owner: &bucket.owner,
            region: &bucket.region,
            policy: policy.as_ref().and_then(|policy| policy.document.as_deref()),
        };
        let mut keys = vec![("s3:ResourceAccount", bucket.owner.as_str())];
        keys.extend(further);
        sender.check(&to, self.clock.now(), &keys).map_err(|error| match sender {
            // In the words of S3, which has none of its own for roles.
            Sender::Service(_) => access_denied(),
            Sender::Role(_) => error.into(),
        })
    }

    fn sender_asker(&self, sender: &Sender, bucket: &Bucket) -> Asker {
        let caller = Caller { region: bucket.region.clone(), ..self.acting(sender, bucket) };
        match sender {
            Sender::Service(source) => Asker::for_source("s3", caller, source),
            Sender::Role(_) => Asker { caller, service: "s3", conditions: Vec::new() },
        }
    }

    async fn sender_key(
        &self,
        sender: &Sender,
        bucket: &Bucket,
        object: &NewObject,
    ) -> Result<NewKey, Failure> {
        let asked = match &object.kms_key_id {
            None => Asked::of_bucket(bucket),
            Some(key) => {
                Asked::Kms { key: Some(key.clone()), context: EncryptionContext::new(), bucket_key: false }
            }
        };
        self.key_of(self.sender_asker(sender, bucket), bucket, &object.key, asked).await
    }

    async fn put_for(&self, sender: &Sender, object: NewObject) -> Result<(), Failure> {
        name::check_key(&object.key)?;
        let bucket = self.bucket(&object.bucket).await?;
        let resource = format!("arn:aws:s3:::{}/{}", object.bucket, object.key);
        let mut keys = vec![("s3:x-amz-acl", ACL)];
        if let Some(key) = &object.kms_key_id {
            keys.extend([
                ("s3:x-amz-server-side-encryption", "aws:kms"),
                ("s3:x-amz-server-side-encryption-aws-kms-key-id", key.as_str()),
            ]);
        }
        self.check_sender(sender, "s3:PutObject", &resource, &bucket, &keys)?;
        let key = self.sender_key(sender, &bucket, &object).await?;
        let content_type = object.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT);
        let encoding = object.content_encoding.map(|encoding| ("ContentEncoding".to_owned(), encoding));
        let headers = encoding.into_iter().chain([("ContentType".to_owned(), content_type.to_owned())]);
        let attributes = Attributes { headers: headers.collect(), ..Attributes::default() };
        let claim = Claim { algorithm: None, value: None };
        let body = Body::from_bytes(object.body);
        let stored = self.store(body, &claim, Algorithm::DEFAULT, Some(&key.key)).await?;
        let new = simple_object(&stored, attributes, key.encryption);
        let acting = self.acting(sender, &bucket);
        let origin = match &acting.principal {
            Principal::Service { name } => Origin::of_service(name, acting.request_id),
            _ => Origin::of_caller(&acting),
        };
        let cause = Cause { kind: Kind::Put, at: self.clock.now(), origin };
        self.place_object(&object.bucket, &object.key, new, WriteConditions::default(), cause).await?;
        Ok(())
    }

    async fn get_for(
        &self,
        sender: &Sender,
        (name, key): (&str, &str),
        version_id: Option<&str>,
        size_bytes_max: u64,
    ) -> Result<Bytes, Failure> {
        let bucket = self.bucket(name).await?;
        let resource = format!("arn:aws:s3:::{name}/{key}");
        match version_id {
            None => self.check_sender(sender, "s3:GetObject", &resource, &bucket, &[])?,
            Some(id) => {
                let keys = [("s3:VersionId", id)];
                self.check_sender(sender, "s3:GetObjectVersion", &resource, &bucket, &keys)?;
            }
        }
        let opened = self.open(name, key, version_id).await?;
        let size_bytes = opened.found.object.size_bytes;
        if size_bytes > size_bytes_max {
            let message = format!("the object has {size_bytes} bytes, and at most {size_bytes_max} are read");
            return Err(fail(400, "EntityTooLarge", message));
        }
        let asker = self.sender_asker(sender, &bucket);
        let data_key = self.key_as(&asker, &opened.found.object.encryption).await?;
        let mut body = self.body_of(opened, 0, size_bytes, data_key);
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes.into())
    }
}

#[async_trait]
impl ObjectSink for S3 {
    async fn put(&self, sender: &Sender, object: NewObject) -> Result<(), SinkFailure> {
        self.put_for(sender, object).await.map_err(told)
    }

    async fn get(
        &self,
        sender: &Sender,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        size_bytes_max: u64,
    ) -> Result<Bytes, SinkFailure> {
        self.get_for(sender, (bucket, key), version_id, size_bytes_max).await.map_err(told)
    }
}

fn told(failure: Failure) -> SinkFailure {
    let error = AwsError::from(failure);
    if error.status >= 500 {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, source, "another service's object failed inside the store");
    }
    error.into()
}
