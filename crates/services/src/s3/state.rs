//! What S3 keeps in the catalog: buckets, versions of objects, uploads under way, and which blobs are named.
//!
//! Invariants: a blob is finished before the transaction that names it; a row of [`BLOB_USES`] exists exactly while
//! a version or an upload's part names the blob; a blob that is named no longer has a row in [`GARBAGE`] until it is
//! removed. Keys of [`VERSIONS`] sort by bucket, key, newest first, so ListObjects is one scan.

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{BlobId, Table};
use serde::{Deserialize, Serialize};

use super::acl::{CannedAcl, ObjectAcl, Ownership};
use super::checksum::{Algorithm, ChecksumKind};
use super::encryption::{DefaultKms, Encryption};
use super::notify::configuration::Notification;
use super::object_lock::{Hold, ObjectLock};
use super::storage_class::StorageClass;

/// All buckets of all accounts, keyed by name.
pub(super) const BUCKETS: Table<Bucket> = Table::new("s3.bucket", 1);
/// All versions of all objects, keyed by [`version_key`]. In version 1 their bytes were clear.
pub(super) const VERSIONS: Table<Version> = Table::new("s3.version", 2);
/// The pieces of objects made by multipart uploads, keyed by [`version_key`].
pub(super) const PIECES: Table<Vec<Piece>> = Table::new("s3.pieces", 1);
/// Multipart uploads under way, keyed by [`upload_key`]. In version 1 their bytes were clear.
pub(super) const UPLOADS: Table<Upload> = Table::new("s3.upload", 2);
/// Their parts, keyed by [`part_key`].
pub(super) const UPLOAD_PARTS: Table<Part> = Table::new("s3.upload_part", 1);
/// The blobs that are named, keyed by id.
pub(super) const BLOB_USES: Table<Mark> = Table::new("s3.blob", 1);
/// The blobs that are named no longer and not yet removed, keyed by id.
pub(super) const GARBAGE: Table<Mark> = Table::new("s3.garbage", 1);

/// A row that says all by being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) owner: AccountId,
    pub(super) region: Region,
    pub(super) created_at: Timestamp,
    pub(super) versioning: Versioning,
    pub(super) policy: Option<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) public_access_block: Option<PublicAccessBlock>,
    /// Whether its ownership controls were taken away, which leaves each object to its writer.
    #[serde(default)]
    pub(super) without_ownership_controls: bool,
    /// Which KMS key new objects get where their requests do not say; none for S3's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default_kms: Option<DefaultKms>,
    /// Whose the objects are.
    #[serde(default)]
    pub(super) object_ownership: Ownership,
    #[serde(default)]
    pub(super) acl: CannedAcl,
    /// Once there, it stays.
    #[serde(default)]
    pub(super) object_lock: Option<ObjectLock>,
    /// Who is told of what happens to its objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notifications: Vec<Notification>,
}

impl Bucket {
    /// Whose the objects are, as the bucket is set now.
    pub(super) fn ownership(&self) -> Ownership {
        if self.without_ownership_controls { Ownership::ObjectWriter } else { self.object_ownership }
    }
}

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Versioning {
    /// It never did.
    Never,
    /// It does.
    Enabled,
    /// It did.
    Suspended,
}

/// The four settings of a bucket's public access block, with AWS's member names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PublicAccessBlock {
    pub(super) block_public_acls: bool,
    pub(super) ignore_public_acls: bool,
    pub(super) block_public_policy: bool,
    pub(super) restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// What every new bucket has since April 2023.
    pub(super) const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) key: String,
    /// None for the null version.
    pub(super) id: Option<String>,
    /// Its place among the key's versions: higher is newer.
    pub(super) sequence: u64,
    /// Whole seconds, as S3 keeps it.
    pub(super) modified_at: Timestamp,
    /// None for a delete marker.
    pub(super) object: Option<Object>,
}

impl Version {
    /// The id as clients see it.
    pub(super) fn id_text(&self) -> &str {
        self.id.as_deref().unwrap_or(NULL_VERSION)
    }
}

/// The id of the null version.
pub(super) const NULL_VERSION: &str = "null";

/// An object's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) size_bytes: u64,
    /// Without quotes.
    pub(super) etag: String,
    pub(super) checksum: Checksum,
    /// Where the bytes are; none for an empty object and for one of several pieces.
    pub(super) blob: Option<BlobId>,
    /// How many parts made it, where it came from a multipart upload.
    pub(super) parts: Option<u32>,
    pub(super) attributes: Attributes,
    #[serde(default, skip_serializing_if = "Encryption::is_clear")]
    pub(super) encryption: Encryption,
}

/// What a client says of an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    /// System headers by their member names: `ContentType`, `CacheControl` …
    pub(super) headers: Vec<(String, String)>,
    /// User metadata without the `x-amz-meta-` prefix.
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tags: Vec<(String, String)>,
    /// What keeps the version from being deleted.
    #[serde(default, skip_serializing_if = "Hold::is_none")]
    pub(super) hold: Hold,
    /// Its ACL and owner, where they are not the bucket owner's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acl: Option<ObjectAcl>,
    #[serde(default, skip_serializing_if = "StorageClass::is_standard")]
    pub(super) storage_class: StorageClass,
}

/// A checksum, in base64 as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub(super) algorithm: Algorithm,
    pub(super) kind: ChecksumKind,
    pub(super) value: String,
}

/// One part of an object that a multipart upload made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) number: u32,
    pub(super) size_bytes: u64,
    pub(super) blob: Option<BlobId>,
    /// The part's own checksum, in base64, of the object's algorithm.
    pub(super) checksum: String,
}

/// A multipart upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) id: String,
    pub(super) initiated_at: Timestamp,
    /// The account and ARN of who began it.
    pub(super) initiator: (AccountId, String),
    /// The checksum that was asked for; without, CRC64NVME is computed.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) kind: ChecksumKind,
    pub(super) attributes: Attributes,
    #[serde(default, skip_serializing_if = "Encryption::is_clear")]
    pub(super) encryption: Encryption,
}

impl Upload {
    /// The checksum that its parts have.
    pub(super) fn part_algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::DEFAULT)
    }
}

/// A part of an upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) size_bytes: u64,
    pub(super) modified_at: Timestamp,
    /// The MD5 in hexadecimal.
    pub(super) etag: String,
    pub(super) blob: Option<BlobId>,
    pub(super) checksum: String,
}

pub(super) fn bucket_key(bucket: &str) -> Key {
    Key::new().text(bucket)
}

/// The prefix of all versions of `key`.
pub(super) fn object_prefix(bucket: &str, key: &str) -> Key {
    Key::new().text(bucket).text(key)
}

/// Newest first: the sequence is written inverted.
pub(super) fn version_key(bucket: &str, key: &str, sequence: u64) -> Key {
    object_prefix(bucket, key).number(!sequence)
}

pub(super) fn upload_key(bucket: &str, key: &str, upload_id: &str) -> Key {
    object_prefix(bucket, key).text(upload_id)
}

pub(super) fn part_key(bucket: &str, key: &str, upload_id: &str, number: u32) -> Key {
    upload_key(bucket, key, upload_id).number(u64::from(number))
}

pub(super) fn blob_key(blob: &BlobId) -> Key {
    Key::new().text(&blob.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them. A change that cannot read them needs a new version of the table.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Bucket>(
            r#"{"name":"logs","owner":"123456789012","region":"us-east-1","created_at":1795281866000,"versioning":"Enabled","policy":null,"tags":[["k","v"]],"public_access_block":{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true},"without_ownership_controls":false,"object_ownership":"BucketOwnerPreferred","acl":"log-delivery-write","object_lock":{"default_retention":{"mode":"GOVERNANCE","period":{"Days":7}}}}"#,
        );
        check::<Bucket>(
            r#"{"name":"logs","owner":"123456789012","region":"us-east-1","created_at":0,"versioning":"Never","policy":null,"tags":[],"public_access_block":null,"without_ownership_controls":false,"object_ownership":"BucketOwnerEnforced","acl":"private","object_lock":null,"notifications":[{"id":"i","destination":{"Queue":"arn:aws:sqs:us-east-1:123456789012:q"},"events":["s3:ObjectCreated:*"],"prefix":"a/"}]}"#,
        );
        check::<Version>(
            r#"{"key":"a/b","id":null,"sequence":7,"modified_at":1795281866000,"object":{"size_bytes":5,"etag":"5d41402abc4b2a76b9719d911017c592","checksum":{"algorithm":"CRC64NVME","kind":"FULL_OBJECT","value":"M3eFcAZSQlc="},"blob":"00112233445566778899aabbccddeeff","parts":null,"attributes":{"headers":[["ContentType","text/plain"]],"metadata":[["m","1"]],"tags":[]}}}"#,
        );
        check::<Encryption>(r#""Server""#);
        check::<Encryption>(
            r#"{"Kms":{"key_arn":"arn:aws:kms:us-east-1:123456789012:key/k","data_key_base64":"AQ==","context":{"aws:s3:arn":"arn:aws:s3:::logs/a"},"bucket_key":false}}"#,
        );
        check::<DefaultKms>(r#"{"key":"alias/logs","bucket_key":true}"#);
        check::<Version>(r#"{"key":"a","id":"x","sequence":8,"modified_at":0,"object":null}"#);
        check::<Attributes>(
            r#"{"headers":[],"metadata":[],"tags":[],"hold":{"retention":{"mode":"COMPLIANCE","until":1795281866000},"legal_hold":true},"acl":{"canned":"public-read","owner":"210987654321"}}"#,
        );
        check::<Attributes>(r#"{"headers":[],"metadata":[],"tags":[],"storage_class":"GLACIER_IR"}"#);
        check::<Vec<Piece>>(r#"[{"number":1,"size_bytes":3,"blob":null,"checksum":"AAAAAA=="}]"#);
        check::<Upload>(
            r#"{"key":"a","id":"u","initiated_at":1795281866000,"initiator":["123456789012","arn:aws:iam::123456789012:user/bob"],"algorithm":"SHA256","kind":"COMPOSITE","attributes":{"headers":[],"metadata":[],"tags":[["k","v"]]}}"#,
        );
        check::<Part>(
            r#"{"number":1,"size_bytes":3,"modified_at":0,"etag":"00","blob":"00112233445566778899aabbccddeeff","checksum":"AAAAAA=="}"#,
        );
        check::<Mark>("{}");
        let older = r#"{"name":"logs","owner":"123456789012","region":"us-east-1","created_at":0,"versioning":"Never","policy":null,"tags":[],"public_access_block":null}"#;
        let older: Bucket = serde_json::from_str(older).unwrap();
        assert_eq!((older.ownership(), older.acl), (Ownership::BucketOwnerEnforced, CannedAcl::Private));
        assert_eq!(older.object_lock, None);
    }
}
