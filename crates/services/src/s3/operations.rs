//! The operations that S3 has: their names in records, kinds, IAM actions and what they act on.
//!
//! Source: the S3 user guide's page on CloudTrail events (which calls are data events); names as in recorded events;
//! the service authorization reference for the actions.

use crate::service::{Access, EventKind, Operation};

/// What an operation acts on, which decides what its record shows and whether it is a data event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The account: ListBuckets.
    Account,
    /// A bucket and its settings: management events.
    Bucket,
    /// The objects of a bucket: data events that name the bucket's objects as a prefix.
    Objects,
    /// One object: data events.
    Object,
}

/// An operation, with what authorisation needs to know of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) operation: Operation,
    pub(super) scope: Scope,
    /// The IAM action.
    pub(super) action: &'static str,
    /// The action where a version is named.
    pub(super) version_action: &'static str,
}

const READ: Access = Access::Read;
const WRITE: Access = Access::Write;
use Scope::{Account, Bucket, Object, Objects};

const fn entry(
    name: &'static str,
    event_name: &'static str,
    access: Access,
    scope: Scope,
    action: &'static str,
) -> Entry {
    let kind = match scope {
        Account | Bucket => EventKind::Management,
        Objects | Object => EventKind::Data,
    };
    Entry { operation: Operation { name, event_name, access, kind }, scope, action, version_action: action }
}

/// An operation whose record and action have its own name.
const fn plain(name: &'static str, access: Access, scope: Scope, action: &'static str) -> Entry {
    entry(name, name, access, scope, action)
}

const fn versioned(entry: Entry, version_action: &'static str) -> Entry {
    Entry { version_action, ..entry }
}

/// All operations.
pub(super) const ENTRIES: [Entry; 71] = [
    plain("ListBuckets", READ, Account, "s3:ListAllMyBuckets"),
    plain("CreateBucket", WRITE, Bucket, "s3:CreateBucket"),
    plain("DeleteBucket", WRITE, Bucket, "s3:DeleteBucket"),
    plain("HeadBucket", READ, Objects, "s3:ListBucket"),
    plain("GetBucketLocation", READ, Bucket, "s3:GetBucketLocation"),
    plain("PutBucketPolicy", WRITE, Bucket, "s3:PutBucketPolicy"),
    plain("GetBucketPolicy", READ, Bucket, "s3:GetBucketPolicy"),
    plain("DeleteBucketPolicy", WRITE, Bucket, "s3:DeleteBucketPolicy"),
    plain("GetBucketPolicyStatus", READ, Bucket, "s3:GetBucketPolicyStatus"),
    plain("GetBucketTagging", READ, Bucket, "s3:GetBucketTagging"),
    plain("PutBucketTagging", WRITE, Bucket, "s3:PutBucketTagging"),
    plain("DeleteBucketTagging", WRITE, Bucket, "s3:PutBucketTagging"),
    plain("GetBucketVersioning", READ, Bucket, "s3:GetBucketVersioning"),
    plain("PutBucketVersioning", WRITE, Bucket, "s3:PutBucketVersioning"),
    plain("GetBucketAcl", READ, Bucket, "s3:GetBucketAcl"),
    plain("PutBucketAcl", WRITE, Bucket, "s3:PutBucketAcl"),
    plain("GetBucketEncryption", READ, Bucket, "s3:GetEncryptionConfiguration"),
    plain("PutBucketEncryption", WRITE, Bucket, "s3:PutEncryptionConfiguration"),
    plain("DeleteBucketEncryption", WRITE, Bucket, "s3:PutEncryptionConfiguration"),
    entry(
        "GetPublicAccessBlock",
        "GetBucketPublicAccessBlock",
        READ,
        Bucket,
        "s3:GetBucketPublicAccessBlock",
    ),
    entry(
        "PutPublicAccessBlock",
        "PutBucketPublicAccessBlock",
        WRITE,
        Bucket,
        "s3:PutBucketPublicAccessBlock",
    ),
    entry(
        "DeletePublicAccessBlock",
        "DeleteBucketPublicAccessBlock",
        WRITE,
        Bucket,
        "s3:PutBucketPublicAccessBlock",
    ),
    plain("GetBucketOwnershipControls", READ, Bucket, "s3:GetBucketOwnershipControls"),
    plain("PutBucketOwnershipControls", WRITE, Bucket, "s3:PutBucketOwnershipControls"),
    plain("DeleteBucketOwnershipControls", WRITE, Bucket, "s3:PutBucketOwnershipControls"),
    plain("GetBucketCors", READ, Bucket, "s3:GetBucketCORS"),
    plain("DeleteBucketCors", WRITE, Bucket, "s3:PutBucketCORS"),
    plain("GetBucketWebsite", READ, Bucket, "s3:GetBucketWebsite"),
    plain("DeleteBucketWebsite", WRITE, Bucket, "s3:DeleteBucketWebsite"),
    entry(
        "GetBucketLifecycleConfiguration",
        "GetBucketLifecycle",
        READ,
        Bucket,
        "s3:GetLifecycleConfiguration",
    ),
    entry(
        "PutBucketLifecycleConfiguration",
        "PutBucketLifecycle",
        WRITE,
        Bucket,
        "s3:PutLifecycleConfiguration",
    ),
    plain("DeleteBucketLifecycle", WRITE, Bucket, "s3:PutLifecycleConfiguration"),
    plain("GetBucketReplication", READ, Bucket, "s3:GetReplicationConfiguration"),
    plain("DeleteBucketReplication", WRITE, Bucket, "s3:PutReplicationConfiguration"),
    plain("GetBucketLogging", READ, Bucket, "s3:GetBucketLogging"),
    entry(
        "GetBucketNotificationConfiguration",
        "GetBucketNotification",
        READ,
        Bucket,
        "s3:GetBucketNotification",
    ),
    entry(
        "PutBucketNotificationConfiguration",
        "PutBucketNotification",
        WRITE,
        Bucket,
        "s3:PutBucketNotification",
    ),
    entry(
        "GetBucketAccelerateConfiguration",
        "GetAccelerateConfiguration",
        READ,
        Bucket,
        "s3:GetAccelerateConfiguration",
    ),
    plain("GetBucketRequestPayment", READ, Bucket, "s3:GetBucketRequestPayment"),
    entry(
        "GetObjectLockConfiguration",
        "GetBucketObjectLockConfiguration",
        READ,
        Bucket,
        "s3:GetBucketObjectLockConfiguration",
    ),
    entry(
        "PutObjectLockConfiguration",
        "PutBucketObjectLockConfiguration",
        WRITE,
        Bucket,
        "s3:PutBucketObjectLockConfiguration",
    ),
    plain("ListObjects", READ, Objects, "s3:ListBucket"),
    entry("ListObjectsV2", "ListObjects", READ, Objects, "s3:ListBucket"),
    entry("ListObjectVersions", "ListBucketVersions", READ, Objects, "s3:ListBucketVersions"),
    plain("ListMultipartUploads", READ, Objects, "s3:ListBucketMultipartUploads"),
    versioned(plain("DeleteObjects", WRITE, Objects, "s3:DeleteObject"), "s3:DeleteObjectVersion"),
    plain("PutObject", WRITE, Object, "s3:PutObject"),
    versioned(plain("GetObject", READ, Object, "s3:GetObject"), "s3:GetObjectVersion"),
    versioned(plain("HeadObject", READ, Object, "s3:GetObject"), "s3:GetObjectVersion"),
    versioned(
        plain("GetObjectAttributes", READ, Object, "s3:GetObjectAttributes"),
        "s3:GetObjectVersionAttributes",
    ),
    versioned(plain("DeleteObject", WRITE, Object, "s3:DeleteObject"), "s3:DeleteObjectVersion"),
    plain("CopyObject", WRITE, Object, "s3:PutObject"),
    versioned(plain("GetObjectTagging", READ, Object, "s3:GetObjectTagging"), "s3:GetObjectVersionTagging"),
    versioned(plain("PutObjectTagging", WRITE, Object, "s3:PutObjectTagging"), "s3:PutObjectVersionTagging"),
    versioned(
        plain("DeleteObjectTagging", WRITE, Object, "s3:DeleteObjectTagging"),
        "s3:DeleteObjectVersionTagging",
    ),
    versioned(plain("GetObjectAcl", READ, Object, "s3:GetObjectAcl"), "s3:GetObjectVersionAcl"),
    versioned(plain("PutObjectAcl", WRITE, Object, "s3:PutObjectAcl"), "s3:PutObjectVersionAcl"),
    plain("GetObjectRetention", READ, Object, "s3:GetObjectRetention"),
    plain("PutObjectRetention", WRITE, Object, "s3:PutObjectRetention"),
    plain("GetObjectLegalHold", READ, Object, "s3:GetObjectLegalHold"),
    plain("PutObjectLegalHold", WRITE, Object, "s3:PutObjectLegalHold"),
    plain("CreateMultipartUpload", WRITE, Object, "s3:PutObject"),
    plain("UploadPart", WRITE, Object, "s3:PutObject"),
    plain("UploadPartCopy", WRITE, Object, "s3:PutObject"),
    plain("CompleteMultipartUpload", WRITE, Object, "s3:PutObject"),
    plain("AbortMultipartUpload", WRITE, Object, "s3:AbortMultipartUpload"),
    plain("ListParts", READ, Object, "s3:ListMultipartUploadParts"),
    // Older names of the same calls, which the model still has.
    plain("PutBucketLifecycle", WRITE, Bucket, "s3:PutLifecycleConfiguration"),
    plain("GetBucketLifecycle", READ, Bucket, "s3:GetLifecycleConfiguration"),
    plain("GetBucketNotification", READ, Bucket, "s3:GetBucketNotification"),
    plain("PutBucketNotification", WRITE, Bucket, "s3:PutBucketNotification"),
];

/// The operations alone.
pub(super) const OPERATIONS: [Operation; ENTRIES.len()] = {
    let mut operations = [ENTRIES[0].operation; ENTRIES.len()];
    let mut at = 0;
    while at < ENTRIES.len() {
        operations[at] = ENTRIES[at].operation;
        at += 1;
    }
    operations
};

/// The entry of an operation.
pub(super) fn find(operation: &str) -> Option<&'static Entry> {
    static ALL: [Entry; ENTRIES.len()] = ENTRIES;
    ALL.iter().find(|entry| entry.operation.name == operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_there_once_and_acts_as_s3() {
        for (at, entry) in ENTRIES.iter().enumerate() {
            let twin = ENTRIES[..at].iter().find(|other| other.operation.name == entry.operation.name);
            assert!(twin.is_none(), "{}", entry.operation.name);
            assert!(entry.action.starts_with("s3:") && entry.version_action.starts_with("s3:"));
        }
    }

    #[test]
    fn object_calls_are_data_events_and_settings_are_management_events() {
        let kind = |name: &str| find(name).unwrap().operation.kind;
        for data in
            ["HeadBucket", "ListObjectsV2", "DeleteObjects", "GetObject", "UploadPart", "GetObjectTagging"]
        {
            assert_eq!(kind(data), EventKind::Data, "{data}");
        }
        for management in
            ["CreateBucket", "PutBucketPolicy", "GetBucketAcl", "ListBuckets", "GetBucketLocation"]
        {
            assert_eq!(kind(management), EventKind::Management, "{management}");
        }
    }
}
