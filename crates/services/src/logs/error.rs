//! What ends a call of CloudWatch Logs: AWS's refusals in AWS's words.

use cairn_store::lines::LinesError;
use cairn_wire::AwsError;

pub(super) use crate::failure::Failure;

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    fail("InvalidParameterException", message)
}

pub(super) fn not_found(message: impl Into<String>) -> Failure {
    fail("ResourceNotFoundException", message)
}

pub(super) fn group_not_found() -> Failure {
    not_found("The specified log group does not exist.")
}

pub(super) fn stream_not_found() -> Failure {
    not_found("The specified log stream does not exist.")
}

pub(super) fn already_exists(message: &str) -> Failure {
    fail("ResourceAlreadyExistsException", message)
}

pub(super) fn limit_exceeded() -> Failure {
    fail("LimitExceededException", "Resource limit exceeded.")
}

pub(super) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    AwsError::internal(source).into()
}

/// The store of lines as its clients see it: no room is said, all else is a fault of the server's.
pub(super) fn of_lines(error: LinesError) -> Failure {
    match error {
        LinesError::Full(_) => AwsError::with_status(
            503,
            "ServiceUnavailableException",
            "The service cannot complete the request.",
        )
        .into(),
        other => internal(other),
    }
}
