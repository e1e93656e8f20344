//! What ends a call of an embedded service: a refusal that the client sees, or a fault of the server's that it does not.
//! A type of its own, so that `?` takes both out of a catalog transaction.

use cairn_store::{CatalogError, SealError};
use cairn_wire::AwsError;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("refused")]
    Refused(#[from] AwsError),
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
    #[error("a secret cannot be opened")]
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
