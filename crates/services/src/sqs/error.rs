//! What ends an SQS call: AWS's refusals in AWS's words. The codes are the shapes of the model; `wire` says the codes that
//! they had in the older protocol.

use cairn_store::queues::QueueError;
use cairn_wire::AwsError;

pub(super) use crate::failure::Failure;

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

pub(super) fn invalid_parameter(message: impl Into<String>) -> Failure {
    fail("InvalidParameterValueException", message)
}

/// `Value X for parameter P is invalid. Reason: …`
pub(super) fn invalid_value(value: &str, parameter: &str, reason: &str) -> Failure {
    invalid_parameter(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
}

pub(super) fn missing_parameter(parameter: &str) -> Failure {
    let message = format!("The request must contain the parameter {parameter}.");
    fail("MissingRequiredParameterException", message)
}

pub(super) fn invalid_attribute(name: &str) -> Failure {
    fail("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

pub(super) fn unknown_attribute(name: &str) -> Failure {
    fail("InvalidAttributeName", format!("Unknown Attribute {name}."))
}

pub(super) fn no_queue() -> Failure {
    fail("QueueDoesNotExist", "The specified queue does not exist.")
}

pub(super) fn over_limit(message: impl Into<String>) -> Failure {
    AwsError::with_status(403, "OverLimit", message).into()
}

pub(super) fn not_found(message: impl Into<String>) -> Failure {
    AwsError::with_status(404, "ResourceNotFoundException", message).into()
}

pub(super) fn invalid_receipt_handle() -> Failure {
    AwsError::with_status(404, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.").into()
}

pub(super) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    AwsError::internal(source).into()
}

/// The engine's faults as SQS tells them.
pub(super) fn of_engine(error: QueueError) -> Failure {
    match error {
        QueueError::Missing(_) => no_queue(),
        QueueError::InFlight => over_limit("The maximum number of in flight messages is reached."),
        QueueError::Full(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "messages were refused");
            AwsError::with_status(503, "ServiceUnavailable", "Service is unable to handle request.").into()
        }
        QueueError::Journal(_) => internal(error),
    }
}
