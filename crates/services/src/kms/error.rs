//! What ends a KMS call: AWS's refusals in AWS's words, and faults that clients do not see.

use cairn_store::{CatalogError, SealError};
use cairn_wire::AwsError;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("refused")]
    Refused(#[from] AwsError),
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
    #[error("key material cannot be opened")]
    Sealed(#[from] SealError),
}

impl From<Failure> for AwsError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Catalog(error) => Self::internal(error),
            Failure::Sealed(error) => Self::internal(error),
        }
    }
}

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

pub(super) fn key_not_found(arn: &str) -> Failure {
    fail("NotFoundException", format!("Key '{arn}' does not exist"))
}

pub(super) fn alias_not_found(arn: &str) -> Failure {
    fail("NotFoundException", format!("Alias {arn} is not found."))
}

pub(super) fn invalid_key_id(given: &str) -> Failure {
    fail("NotFoundException", format!("Invalid keyId '{given}'"))
}

pub(super) fn validation(message: impl Into<String>) -> Failure {
    fail("ValidationException", message)
}

pub(super) fn unsupported(what: impl Into<String>) -> Failure {
    fail("UnsupportedOperationException", what)
}

/// AWS says no more about it.
pub(super) fn invalid_ciphertext() -> Failure {
    fail("InvalidCiphertextException", "")
}

pub(super) fn malformed_policy(message: impl Into<String>) -> Failure {
    fail("MalformedPolicyDocumentException", message)
}

pub(super) fn dry_run() -> Failure {
    AwsError::with_status(
        412,
        "DryRunOperationException",
        "The request would have succeeded, but the DryRun option is set.",
    )
    .into()
}
