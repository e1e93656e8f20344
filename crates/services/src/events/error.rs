//! What ends an EventBridge call: AWS's refusals in AWS's words.

use cairn_store::queues::QueueError;
use cairn_wire::AwsError;

pub(super) use crate::failure::Failure;

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

pub(super) fn validation(message: impl Into<String>) -> Failure {
    fail("ValidationException", message)
}

pub(super) fn not_found(message: impl Into<String>) -> Failure {
    fail("ResourceNotFoundException", message)
}

pub(super) fn no_bus(name: &str) -> Failure {
    not_found(format!("Event bus {name} does not exist."))
}

pub(super) fn no_rule(name: &str, bus: &str) -> Failure {
    not_found(format!("Rule {name} does not exist on EventBus {bus}."))
}

pub(super) fn exists(message: impl Into<String>) -> Failure {
    fail("ResourceAlreadyExistsException", message)
}

pub(super) fn over_limit() -> Failure {
    fail("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
}

pub(super) fn of_engine(error: QueueError) -> Failure {
    AwsError::internal(error).into()
}
