//! What ends a call of Lambda: AWS's refusals in AWS's words.

use cairn_store::blobs::BlobError;
use cairn_store::queues::QueueError;
use cairn_wire::AwsError;

use super::name::Named;
pub(super) use crate::failure::Failure;
use crate::sinks::SinkFailure;

/// Lambda's errors say whose fault they are.
fn refused(status: u16, code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::with_status(status, code, message).with_member("Type", "User").into()
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    refused(400, "InvalidParameterValueException", message)
}

pub(super) fn validation(message: impl Into<String>) -> Failure {
    AwsError::invalid("ValidationException", message).into()
}

pub(super) fn conflict(message: impl Into<String>) -> Failure {
    refused(409, "ResourceConflictException", message)
}

pub(super) fn not_found(message: impl Into<String>) -> Failure {
    refused(404, "ResourceNotFoundException", message)
}

pub(super) fn no_function(named: &Named) -> Failure {
    not_found(format!("Function not found: {}", named.arn()))
}

pub(super) fn no_alias(arn: &str) -> Failure {
    not_found(format!("Alias not found: {arn}"))
}

pub(super) fn stale_revision() -> Failure {
    refused(
        412,
        "PreconditionFailedException",
        "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the \
         latest RevisionId for your resource.",
    )
}

pub(super) fn throttled(reason: &'static str) -> Failure {
    AwsError::with_status(429, "TooManyRequestsException", "Rate Exceeded.")
        .with_member("Reason", reason)
        .with_member("Type", "User")
        .into()
}

pub(super) fn too_large(size_bytes: usize, size_bytes_max: usize) -> Failure {
    let message = format!(
        "{size_bytes} byte payload is too large for the RequestResponse or Event invocation type (limit {size_bytes_max} \
         bytes)"
    );
    refused(413, "RequestTooLargeException", message)
}

/// The server runs no functions.
pub(super) fn disabled() -> Failure {
    AwsError::invalid(
        "UnsupportedOperationException",
        "This server does not run functions: it was started without --enable-lambda.",
    )
    .into()
}

pub(super) fn unsupported(what: &str) -> Failure {
    invalid(format!("{what} is not supported by this server."))
}

pub(super) fn of_blobs(error: BlobError) -> Failure {
    AwsError::internal(error).into()
}

pub(super) fn of_engine(error: QueueError) -> Failure {
    match error {
        QueueError::Full(source) => {
            tracing::error!(error = &source as &dyn std::error::Error, "no room for an invocation");
            AwsError::with_status(503, "ServiceException", "There is no room to keep the invocation.").into()
        }
        other => AwsError::internal(other).into(),
    }
}

pub(super) fn of_sink(failure: SinkFailure) -> Failure {
    AwsError::internal(failure).into()
}
