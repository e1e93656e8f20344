//! What ends an IAM transaction: a refusal that the client sees, or a fault of the catalog that it does not.

use cairn_store::CatalogError;
use cairn_wire::AwsError;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("refused")]
    Refused(#[from] AwsError),
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
}

impl From<Failure> for AwsError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Catalog(error) => Self::internal(error),
        }
    }
}

pub(super) fn already_exists(what: &str) -> Failure {
    AwsError::with_status(409, "EntityAlreadyExists", format!("{what} already exists.")).into()
}

pub(super) fn no_such_user(name: &str) -> Failure {
    no_such(format!("The user with name {name} cannot be found."))
}

pub(super) fn no_such(message: String) -> Failure {
    AwsError::with_status(404, "NoSuchEntity", message).into()
}

pub(super) fn over_quota(quota: &str, limit: usize) -> Failure {
    AwsError::with_status(409, "LimitExceeded", format!("Cannot exceed quota for {quota}: {limit}")).into()
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    AwsError::invalid("ValidationError", message).into()
}

pub(super) fn invalid_input(message: impl Into<String>) -> Failure {
    AwsError::invalid("InvalidInput", message).into()
}
