//! How operations end when they do not succeed: the errors of the control plane with their texts.

use cairn_core::AccountId;
use cairn_store::catalog::CatalogError;
use cairn_store::history::HistoryError;
use cairn_wire::AwsError;

/// An AWS error on its way out of a transaction.
#[derive(Debug)]
pub(super) struct Failure(AwsError);

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self(error)
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self(AwsError::internal(error))
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        Self(AwsError::internal(error))
    }
}

impl From<Failure> for AwsError {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

/// `UnsupportedOperationException`.
pub(super) fn unsupported() -> AwsError {
    AwsError::invalid("UnsupportedOperationException", "The requested operation is not supported.")
}

/// `TrailNotFoundException`. `trail` is the ARN for all operations but GetTrail, which shows the short name.
pub(super) fn unknown_trail(trail: &str, account: &AccountId) -> AwsError {
    AwsError::invalid("TrailNotFoundException", format!("Unknown trail: {trail} for the user: {account}"))
}

/// `TrailAlreadyExistsException`.
pub(super) fn trail_exists(name: &str, account: &AccountId) -> AwsError {
    AwsError::invalid(
        "TrailAlreadyExistsException",
        format!("Trail {name} already exists for customer: {account}"),
    )
}

/// `InvalidParameterCombinationException`.
pub(super) fn invalid_combination(message: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidParameterCombinationException", message)
}

/// `InvalidParameterException`.
pub(super) fn invalid_parameter(message: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidParameterException", message)
}

/// `InvalidNextTokenException`.
pub(super) fn invalid_next_token() -> AwsError {
    AwsError::invalid("InvalidNextTokenException", "Invalid NextToken.")
}

/// `InvalidTimeRangeException`.
pub(super) fn invalid_time_range(message: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidTimeRangeException", message)
}
