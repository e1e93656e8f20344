//! What temporary credentials may not be used for, whatever policies say.
//!
//! Source: the IAM user guide, "Compare STS credentials".

use cairn_core::Principal;
use cairn_wire::AwsError;

use crate::Caller;

/// Holds a call to what its kind of session may do.
///
/// # Errors
/// AWS's refusals.
pub(crate) fn check(caller: &Caller, action: &str) -> Result<(), AwsError> {
    let Some(session) = &caller.session else { return Ok(()) };
    let (service, operation) = action.split_once(':').unwrap_or((action, ""));
    match (&caller.principal, service) {
        (Principal::AssumedRole { .. }, "sts") => {
            without(operation, &["GetFederationToken", "GetSessionToken"])
        }
        (Principal::FederatedUser { .. }, "iam") => Err(invalid_token()),
        (Principal::FederatedUser { .. }, "sts") if operation != "GetCallerIdentity" => {
            Err(refused(operation))
        }
        (Principal::IamUser { .. } | Principal::Root { .. }, "iam") if !session.mfa_authenticated => {
            Err(invalid_token())
        }
        (Principal::IamUser { .. } | Principal::Root { .. }, "sts") => match operation {
            "AssumeRole" | "GetCallerIdentity" | "TagSession" | "SetSourceIdentity" => Ok(()),
            _ => Err(refused(operation)),
        },
        _ => Ok(()),
    }
}

fn without(operation: &str, refused_ones: &[&str]) -> Result<(), AwsError> {
    if refused_ones.contains(&operation) { Err(refused(operation)) } else { Ok(()) }
}

fn refused(operation: &str) -> AwsError {
    AwsError::with_status(403, "AccessDenied", format!("Cannot call {operation} with session credentials"))
}

fn invalid_token() -> AwsError {
    let message = "The security token included in the request is invalid";
    AwsError::with_status(403, "InvalidClientTokenId", message)
}
