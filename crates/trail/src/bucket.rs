//! Where log files and digests go: a bucket, as far as a delivery needs it.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, TrailArn};

/// In whose name a bucket is used: `cloudtrail.amazonaws.com`, for this trail and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBehalfOf {
    /// `aws:SourceArn`.
    pub trail: TrailArn,
    /// `aws:SourceAccount`.
    pub account: AccountId,
}

/// One object to put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPut {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The object's bytes; gzip for log files and digests, nothing for preflight markers.
    pub body: Bytes,
    /// User metadata without the `x-amz-meta-` prefix.
    pub metadata: Vec<(String, String)>,
    /// The KMS key to encrypt under, as the trail names it; none for the bucket's own encryption (SSE-S3).
    pub kms_key_id: Option<String>,
}

/// Why a bucket did not take an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct PutFailure {
    /// S3's error code, as GetTrailStatus shows it: `NoSuchBucket`, `AccessDenied`.
    pub code: String,
    /// What went wrong, for the log.
    pub message: String,
}

/// A store of buckets that deliveries go to. Objects are written with `Content-Type: application/json`,
/// `Content-Encoding: gzip`, SSE-S3 or SSE-KMS and the `bucket-owner-full-control` ACL, under the bucket's policy.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// Checks that `who` may read the bucket's ACL, as CloudTrail does before it writes.
    async fn check_acl(&self, bucket: &str, who: &OnBehalfOf) -> Result<(), PutFailure>;

    /// Whether an object was put under that key, for [`Bucket::put`] may fail after it took effect. Asks nobody's leave:
    /// it says nothing to anybody but the stage that put it. A bucket that is gone holds nothing.
    async fn holds(&self, bucket: &str, key: &str) -> Result<bool, PutFailure>;

    /// Checks that `who` can encrypt objects of the bucket under a KMS key; says the key's ARN. Nobody can where there
    /// is no KMS.
    async fn check_key(&self, _bucket: &str, key: &str, _who: &OnBehalfOf) -> Result<String, PutFailure> {
        let message = format!("Key '{key}' does not exist");
        Err(PutFailure { code: "KMS.NotFoundException".to_owned(), message })
    }

    /// Puts one object, durably; an object of the same key is replaced.
    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure>;
}
