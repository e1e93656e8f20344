//! IAM's refusals, in AWS's words.

use cairn_wire::AwsError;

pub(super) use crate::failure::Failure;

pub(super) fn already_exists(what: &str) -> Failure {
    taken(format!("{what} already exists."))
}

pub(super) fn taken(message: String) -> Failure {
    AwsError::with_status(409, "EntityAlreadyExists", message).into()
}

pub(super) fn no_such(message: String) -> Failure {
    AwsError::with_status(404, "NoSuchEntity", message).into()
}

pub(super) fn over_quota(quota: &str, limit: usize) -> Failure {
    over_limit(format!("Cannot exceed quota for {quota}: {limit}"))
}

pub(super) fn over_limit(message: String) -> Failure {
    AwsError::with_status(409, "LimitExceeded", message).into()
}

pub(super) fn conflict(message: &str) -> Failure {
    AwsError::with_status(409, "DeleteConflict", message).into()
}

/// What stands in the way of deleting an entity: `must delete access keys first`.
pub(super) fn must_first(what: &str) -> Failure {
    conflict(&format!("Cannot delete entity, must {what} first."))
}

pub(super) fn unmodifiable(role: &str) -> Failure {
    let message = format!(
        "Cannot perform the operation on the protected role '{role}' - this role is only modifiable by AWS"
    );
    AwsError::invalid("UnmodifiableEntity", message).into()
}

pub(super) fn malformed(message: impl Into<String>) -> Failure {
    AwsError::invalid("MalformedPolicyDocument", message).into()
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    AwsError::invalid("ValidationError", message).into()
}

pub(super) fn invalid_input(message: impl Into<String>) -> Failure {
    AwsError::invalid("InvalidInput", message).into()
}

/// The operation is in the model, but Cairn does not have it.
pub(super) fn not_an_action(operation: &str) -> Failure {
    let message = format!("The action {operation} is not valid for this web service.");
    AwsError::invalid("InvalidAction", message).into()
}
