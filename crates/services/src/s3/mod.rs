//! The embedded S3: buckets and objects over the catalog and the blob store.
//!
//! On the road: calls come decoded from the front door, deliveries come from the trail's stages through
//! [`cairn_trail::Bucket`]. Names and metadata are in the catalog, bytes in blobs.
//!
//! Invariants: nothing of a body is visible before its verified end; a blob is durable before the transaction that
//! names it, and goes only after the one that drops it; what is not built is refused, never ignored. Bucket names are
//! global over accounts, and a bucket can be reached through every region.

mod acl;
mod attributes;
mod bucket;
mod builtin;
mod checksum;
mod cipher;
mod complete;
mod condition;
mod content;
mod control;
mod copy;
mod delete;
mod delivery;
mod encryption;
mod error;
mod garbage;
mod get;
mod lifecycle;
mod list;
mod list_versions;
mod multipart;
mod name;
pub(crate) mod notify;
mod object_lock;
mod object_settings;
mod object_sink;
mod operations;
mod params;
mod parts;
mod policy;
mod put;
mod recorded;
mod settings;
mod state;
mod storage_class;
mod target;
mod version;
mod walk;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy};
use cairn_store::{BlobId, Blobs, Catalog};
use cairn_wire::{AwsError, Call, Reply};
use serde_json::Value;

pub use self::control::S3Control;
pub use self::encryption::ObjectKeys;
use self::error::{Failure, fail};
use self::garbage::Pins;
use self::lifecycle::Lifecycle;
pub use self::lifecycle::{LifecycleError, LifecycleStage, RecordError};
use self::notify::Events;
pub use self::notify::{EventStage, Sinks};
use self::params::Params;
use crate::service::{Caller, Operation, Service, Target};

/// The embedded S3.
pub struct S3 {
    catalog: Catalog,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    keys: ObjectKeys,
    pins: Arc<Pins>,
    /// Blobs that the last sweep found without a name.
    suspects: Mutex<HashSet<BlobId>>,
    events: Events,
    lifecycle: Lifecycle,
}

impl S3 {
    /// S3 over a catalog and over blobs that nobody else uses. Their bytes are encrypted under `keys`.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        keys: ObjectKeys,
    ) -> Self {
        Self {
            catalog,
            blobs,
            clock,
            entropy,
            keys,
            pins: Arc::default(),
            suspects: Mutex::default(),
            events: Events::new(Sinks::default()),
            lifecycle: Lifecycle::default(),
        }
    }

    /// The same S3, whose lifecycle rules count days of this length: for tests of what takes days.
    #[must_use]
    pub fn with_lifecycle_day(mut self, day: Duration) -> Self {
        self.lifecycle = Lifecycle::with_day(day);
        self
    }

    /// The same S3, whose buckets can send events to `sinks`.
    #[must_use]
    pub fn notifying(mut self, sinks: Sinks) -> Self {
        self.events = Events::new(sinks);
        self
    }

    async fn answer(&self, caller: &Caller, call: Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        if builtin::is_builtin(params.bucket()) && call.operation != "CreateBucket" {
            builtin::check_access(caller, &call)?;
        } else {
            self.check_expected_owner(params.bucket(), params.text("ExpectedBucketOwner")).await?;
        }
        match call.operation.as_str() {
            "PutObject" => self.put_object(caller, call).await,
            "UploadPart" => self.upload_part(caller, call).await,
            "CopyObject"
            | "CreateMultipartUpload"
            | "UploadPartCopy"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload"
            | "DeleteObject"
            | "DeleteObjects"
            | "PutObjectTagging"
            | "DeleteObjectTagging"
            | "PutObjectAcl"
            | "PutObjectRetention"
            | "PutObjectLegalHold" => self.change_objects(caller, &call).await,
            "GetObject"
            | "HeadObject"
            | "GetObjectAttributes"
            | "GetObjectTagging"
            | "GetObjectAcl"
            | "GetObjectRetention"
            | "GetObjectLegalHold"
            | "ListObjects"
            | "ListObjectsV2"
            | "ListObjectVersions"
            | "ListMultipartUploads"
            | "ListParts" => self.read_objects(caller, &call).await,
            _ => self.answer_for_bucket(caller, &call).await,
        }
    }

    async fn change_objects(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CopyObject" => self.copy_object(caller, call).await,
            "CreateMultipartUpload" => self.create_upload(caller, call).await,
            "UploadPartCopy" => self.upload_part_copy(caller, call).await,
            "CompleteMultipartUpload" => self.complete_upload(caller, call).await,
            "AbortMultipartUpload" => self.abort_upload(call).await,
            "DeleteObject" => self.delete_object(caller, call).await,
            "DeleteObjects" => self.delete_objects(caller, call).await,
            "PutObjectTagging" | "DeleteObjectTagging" => self.set_object_tagging(caller, call).await,
            "PutObjectAcl" => self.set_object_acl(caller, call).await,
            "PutObjectRetention" | "PutObjectLegalHold" => self.set_hold(caller, call).await,
            other => Err(unsupported(other)),
        }
    }

    async fn read_objects(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let answer = match call.operation.as_str() {
            "GetObject" => self.get_object(caller, call).await,
            "HeadObject" => self.head_object(caller, call).await,
            "GetObjectAttributes" => self.object_attributes(call).await,
            "GetObjectTagging" => self.object_tagging(call).await,
            "GetObjectAcl" => self.object_acl(call).await,
            "GetObjectRetention" | "GetObjectLegalHold" => self.read_hold(call).await,
            "ListObjects" => self.list_objects(call).await,
            "ListObjectsV2" => self.list_objects_v2(call).await,
            "ListObjectVersions" => self.list_object_versions(call).await,
            "ListMultipartUploads" => self.list_uploads(call).await,
            "ListParts" => self.list_parts(call).await,
            other => Err(unsupported(other)),
        };
        match answer {
            Err(failure) if failure.0.code == "NoSuchKey" => {
                // Whether a key is there is known to those only who may list the bucket.
                self.check_listing_allowed(caller, Params(&call.params).bucket()).await?;
                Err(failure)
            }
            answer => answer,
        }
    }

    async fn answer_for_bucket(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let entry = operations::find(&call.operation).ok_or_else(|| unsupported(&call.operation))?;
        match call.operation.as_str() {
            "ListBuckets" => self.list_buckets(caller, call).await,
            "CreateBucket" => self.create_bucket(caller, call).await,
            "DeleteBucket" => self.delete_bucket(call).await,
            "HeadBucket" => self.head_bucket(caller, call).await,
            "GetBucketLocation" => self.bucket_location(caller, call).await,
            "PutBucketPolicy" => self.put_policy(caller, call).await,
            "GetBucketPolicy" | "GetBucketPolicyStatus" => self.read_policy(call).await,
            "DeleteBucketPolicy" => self.delete_policy(call).await,
            "PutObjectLockConfiguration" => self.set_object_lock(call).await,
            "PutBucketNotificationConfiguration" | "PutBucketNotification" => {
                self.put_notifications(caller, call).await
            }
            "GetBucketNotificationConfiguration" | "GetBucketNotification" => {
                self.read_notifications(call).await
            }
            "PutBucketLifecycleConfiguration" | "PutBucketLifecycle" => self.put_lifecycle(call).await,
            "GetBucketLifecycleConfiguration" | "GetBucketLifecycle" => self.read_lifecycle(call).await,
            "DeleteBucketLifecycle" => self.delete_lifecycle(call).await,
            _ if entry.operation.access == crate::Access::Read => self.read_setting(call).await,
            _ => self.write_setting(call).await,
        }
    }
}

/// The door asks for known operations only; one that is not built is refused all the same.
fn unsupported(operation: &str) -> Failure {
    fail(501, "NotImplemented", format!("The operation {operation} is not implemented."))
}

#[async_trait]
impl Service for S3 {
    fn model(&self) -> &'static str {
        "s3"
    }

    fn checks_values(&self) -> bool {
        true
    }

    fn operations(&self) -> &'static [Operation] {
        static OPERATIONS: [Operation; operations::ENTRIES.len()] = operations::OPERATIONS;
        &OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.find_target(caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(self.find_further_targets(caller, call).await?)
    }

    /// DeleteObjects answers for each key whether it may be deleted.
    fn authorises_itself(&self, operation: &str) -> bool {
        operation == "DeleteObjects"
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(self.answer(caller, call).await?)
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        Some(recorded::request(call))
    }

    fn recorded_reply(&self, operation: &Operation, result: &Value) -> Option<Value> {
        Some(recorded::reply(operation, result))
    }
}
