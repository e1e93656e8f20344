//! The errors of requests that do not become calls, in the words of each protocol.
//!
//! AWS documents them on the "Common errors" page of each service's API reference and on S3's "Error responses" page.

use super::Exchange;
use crate::AwsError;
use crate::codec::Malformed;
use crate::model::Protocol;

impl Exchange {
    /// The error for an operation that the model has and this server has not.
    #[must_use]
    pub fn unsupported(&self) -> AwsError {
        let operation = self.operation().unwrap_or("The requested operation");
        match self.protocol {
            Protocol::RestXml if self.is_s3() => AwsError::with_status(
                501,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
            ),
            Protocol::Query | Protocol::Ec2 => self.unknown_operation(),
            _ => AwsError::invalid("UnsupportedOperationException", format!("{operation} is not supported.")),
        }
    }

    /// The error for an operation that the model does not have.
    pub(super) fn unknown_operation(&self) -> AwsError {
        let operation = self.operation().unwrap_or_default();
        match self.protocol {
            Protocol::RestXml if self.is_s3() => AwsError::with_status(
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ),
            Protocol::Query | Protocol::Ec2 if operation.is_empty() => {
                AwsError::invalid("MissingAction", "The request must contain the parameter Action")
            }
            Protocol::Query if self.service() == Some("sqs") => AwsError::invalid(
                "InvalidAction",
                format!("The action {operation} is not valid for this endpoint."),
            ),
            Protocol::Query | Protocol::Ec2 => {
                let version =
                    self.service_model().map_or("NO_VERSION_SPECIFIED", |service| &service.api_version);
                AwsError::invalid(
                    "InvalidAction",
                    format!("Could not find operation {operation} for version {version}"),
                )
            }
            Protocol::Json | Protocol::RpcV2Cbor => {
                AwsError::invalid("UnknownOperationException", "The requested operation is not known.")
            }
            Protocol::RestJson | Protocol::RestXml => AwsError::with_status(
                404,
                "UnknownOperationException",
                "The requested operation is not known.",
            ),
        }
    }

    /// The error for a body of more bytes than the limit.
    #[must_use]
    pub fn too_large(&self) -> AwsError {
        if self.is_s3() {
            AwsError::invalid("MaxMessageLengthExceeded", "Your request was too big.")
        } else {
            AwsError::with_status(413, "RequestEntityTooLarge", "The request body is too large.")
        }
    }

    pub(super) fn wrong_media_type(&self, media_type: &str) -> AwsError {
        AwsError::with_status(
            415,
            "UnsupportedMediaTypeException",
            format!("The content type {media_type} is not that of the protocol."),
        )
    }

    /// The signature is good for another service than the one that the request names.
    pub(super) fn wrong_scope(service: &str) -> AwsError {
        AwsError::with_status(
            403,
            "InvalidSignatureException",
            format!("Credential should be scoped to correct service: '{service}'. "),
        )
    }

    pub(super) fn malformed(&self, malformed: &Malformed) -> AwsError {
        match malformed {
            Malformed::Body(_) if self.is_s3() => AwsError::invalid(
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema",
            ),
            Malformed::Parameter { name, value, message } if self.is_s3() => {
                AwsError::invalid("InvalidArgument", format!("Provided argument is not valid: {message}"))
                    .with_member("ArgumentName", name.clone())
                    .with_member("ArgumentValue", value.clone())
            }
            Malformed::Body(_) | Malformed::Parameter { .. } => {
                let code = match self.protocol {
                    Protocol::Query | Protocol::Ec2 => "MalformedInput",
                    Protocol::RestXml => "InvalidInput",
                    Protocol::Json | Protocol::RestJson | Protocol::RpcV2Cbor => "SerializationException",
                };
                // What the parser says of a body is its own wording, and not for clients.
                let message = match malformed {
                    Malformed::Parameter { message, .. } => message.clone(),
                    Malformed::Body(_) => "The request body is not well-formed.".to_owned(),
                };
                AwsError::invalid(code, message)
            }
        }
    }
}
