//! Kinesis's errors, in its words.

use cairn_store::streams::StreamError;
use cairn_wire::AwsError;

use super::name::StreamName;
pub(super) use crate::failure::Failure;

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    fail("InvalidArgumentException", message)
}

pub(super) fn no_stream(name: &StreamName) -> Failure {
    let message = format!("Stream {} under account {} not found.", name.name, name.account);
    fail("ResourceNotFoundException", message)
}

pub(super) fn no_shard(shard_id: &str, name: &StreamName) -> Failure {
    let message =
        format!("Shard {shard_id} in stream {} under account {} does not exist", name.name, name.account);
    fail("ResourceNotFoundException", message)
}

pub(super) fn no_consumer(consumer: &str) -> Failure {
    fail("ResourceNotFoundException", format!("Consumer {consumer} not found."))
}

pub(super) fn over_limit(message: impl Into<String>) -> Failure {
    fail("LimitExceededException", message)
}

pub(super) fn too_fast(shard_id: &str, name: &StreamName) -> Failure {
    let (stream, account) = (&name.name, &name.account);
    let message = format!("Rate exceeded for shard {shard_id} in stream {stream} under account {account}.");
    fail("ProvisionedThroughputExceededException", message)
}

/// The store's faults as Kinesis tells them.
pub(super) fn of_store(error: StreamError) -> Failure {
    match error {
        StreamError::TooMany { limit } => {
            over_limit(format!("This server has {limit} streams and shards, the most that it takes."))
        }
        StreamError::Full(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "records were refused");
            AwsError::with_status(500, "InternalFailure", "There is no room for more records.").into()
        }
        error => AwsError::internal(error).into(),
    }
}

/// KMS's errors as Kinesis tells them.
pub(super) fn of_kms(error: AwsError) -> Failure {
    let code = match error.code.as_ref() {
        _ if error.status >= 500 => return error.into(),
        "AccessDeniedException" => "KMSAccessDeniedException",
        "DisabledException" => "KMSDisabledException",
        "KMSInvalidStateException" => "KMSInvalidStateException",
        "ThrottlingException" => "KMSThrottlingException",
        _ => "KMSNotFoundException",
    };
    AwsError::invalid(code, error.message).into()
}
