//! What ends a CloudWatch call: AWS's refusals in AWS's words.

use cairn_wire::AwsError;

pub(super) use crate::failure::Failure;

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

pub(super) fn invalid_value(message: impl Into<String>) -> Failure {
    fail("InvalidParameterValueException", message)
}

pub(super) fn invalid_combination(message: impl Into<String>) -> Failure {
    fail("InvalidParameterCombinationException", message)
}

pub(super) fn missing(name: impl std::fmt::Display) -> Failure {
    fail("MissingRequiredParameterException", format!("The parameter {name} is required."))
}

pub(super) fn validation(message: impl Into<String>) -> Failure {
    fail("ValidationError", message)
}
