//! What ends a KMS call: AWS's refusals in AWS's words.

use cairn_wire::AwsError;

pub(super) use crate::failure::Failure;

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
