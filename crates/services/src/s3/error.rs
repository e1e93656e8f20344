//! S3's errors: code, HTTP status, message and the further members that its error document shows.
//!
//! Source: the error table of the S3 API reference; messages as the service answers them.

use std::borrow::Cow;

use cairn_store::CatalogError;
use cairn_store::blobs::BlobError;
use cairn_wire::{AwsError, BodyError};

/// Why an operation failed: the error that the client will see. A type of its own so that `?` takes the store's
/// errors inside transactions.
#[derive(Debug)]
pub(super) struct Failure(pub(super) AwsError);

impl From<Failure> for AwsError {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self(error)
    }
}

impl From<CatalogError> for Failure {
    fn from(source: CatalogError) -> Self {
        Self(internal(source))
    }
}

impl From<BlobError> for Failure {
    fn from(source: BlobError) -> Self {
        Self(internal(source))
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Incomplete(_) => fail(
                400,
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
            ),
            BodyError::Refused(refusal) => Self(refusal),
            BodyError::Storage(source) => Self(internal(source)),
        }
    }
}

/// `InternalError`, with `source` for the log.
fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AwsError {
    let mut error = AwsError::internal(source);
    error.code = "InternalError".into();
    error.message = "We encountered an internal error. Please try again.".into();
    error
}

/// Any error.
pub(super) fn fail(status: u16, code: &'static str, message: impl Into<String>) -> Failure {
    Failure(AwsError::with_status(status, code, message))
}

impl Failure {
    /// The same failure with a further member in its document.
    pub(super) fn with(self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self(self.0.with_member(name, value))
    }
}

pub(super) fn no_such_bucket(bucket: &str) -> Failure {
    fail(404, "NoSuchBucket", "The specified bucket does not exist").with("BucketName", bucket)
}

pub(super) fn no_such_key(key: &str) -> Failure {
    fail(404, "NoSuchKey", "The specified key does not exist.").with("Key", key)
}

pub(super) fn no_such_version(key: &str, version_id: &str) -> Failure {
    fail(404, "NoSuchVersion", "The specified version does not exist.")
        .with("Key", key)
        .with("VersionId", version_id)
}

pub(super) fn no_such_upload(upload_id: &str) -> Failure {
    fail(
        404,
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
         completed.",
    )
    .with("UploadId", upload_id)
}

pub(super) fn access_denied() -> Failure {
    fail(403, "AccessDenied", "Access Denied")
}

pub(super) fn invalid_argument(message: &str, name: &str, value: &str) -> Failure {
    fail(400, "InvalidArgument", message).with("ArgumentName", name).with("ArgumentValue", value)
}

pub(super) fn invalid_request(message: impl Into<String>) -> Failure {
    fail(400, "InvalidRequest", message)
}

/// A header or setting that is known and not built.
pub(super) fn not_implemented(header: &str) -> Failure {
    fail(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        .with("Header", header)
}

pub(super) fn precondition_failed(condition: &str) -> Failure {
    fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        .with("Condition", condition)
}

pub(super) fn not_modified() -> Failure {
    fail(304, "NotModified", "Not Modified")
}

pub(super) fn method_not_allowed(method: &str) -> Failure {
    fail(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        .with("Method", method)
        .with("ResourceType", "DeleteMarker")
}

pub(super) fn malformed_xml() -> Failure {
    fail(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

pub(super) fn entity_too_large(size_bytes: u64, size_bytes_max: u64) -> Failure {
    fail(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        .with("ProposedSize", size_bytes.to_string())
        .with("MaxSizeAllowed", size_bytes_max.to_string())
}

pub(super) fn acl_not_supported() -> Failure {
    fail(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

pub(super) fn bad_digest(algorithm: &str) -> Failure {
    fail(400, "BadDigest", format!("The {algorithm} you specified did not match the calculated checksum."))
}
