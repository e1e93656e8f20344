//! How each family of services words the refusal of a signature.
//!
//! S3 has codes of its own; the query services (IAM, STS, SNS) and the JSON ones share texts but neither codes nor
//! statuses. The texts are AWS's own, because clients and people search for them.

use http::request::Parts;

use crate::AwsError;

/// A family of services that words signature errors alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// S3 and its relatives.
    S3,
    /// awsQuery and ec2: XML, status 403.
    Query,
    /// awsJson and rpcv2Cbor: status 400.
    JsonRpc,
    /// restJson, such as Lambda: JSON, status 403.
    Rest,
}

/// Signing names whose services speak awsQuery, for requests that show no protocol themselves.
const QUERY_SERVICES: &[&str] = &[
    "autoscaling",
    "cloudformation",
    "cloudsearch",
    "ec2",
    "elasticache",
    "elasticbeanstalk",
    "elasticloadbalancing",
    "iam",
    "monitoring",
    "rds",
    "redshift",
    "ses",
    "sns",
    "sqs",
    "sts",
];

/// Signing names whose services speak restJson, for errors that are worded without a request at hand.
const REST_SERVICES: &[&str] = &["apigateway", "backup", "batch", "eks", "glacier", "lambda", "scheduler"];

const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const EXPIRED_TOKEN: &str = "The security token included in the request is expired";
const S3_MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your key and signing method.";
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your \
     AWS Secret Access Key and signing method. Consult the service documentation for details.";

impl Dialect {
    /// The dialect of a request, from its signing name where that is known and from its looks otherwise.
    pub(super) fn of(parts: &Parts, service: Option<&str>) -> Self {
        if service.is_some_and(is_s3) {
            return Self::S3;
        }
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let content_type = text("content-type");
        if parts.headers.contains_key("x-amz-target")
            || parts.headers.contains_key("smithy-protocol")
            || content_type.starts_with("application/x-amz-json")
        {
            return Self::JsonRpc;
        }
        let has_action =
            parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("Action=")));
        if has_action || content_type.starts_with("application/x-www-form-urlencoded") {
            return Self::Query;
        }
        match service {
            Some(service) if QUERY_SERVICES.contains(&service) => Self::Query,
            Some(_) => Self::Rest,
            None => Self::S3,
        }
    }

    /// The dialect of a service, where no request is at hand.
    pub(super) fn of_service(service: &str) -> Self {
        if is_s3(service) {
            Self::S3
        } else if QUERY_SERVICES.contains(&service) {
            Self::Query
        } else if REST_SERVICES.contains(&service) {
            Self::Rest
        } else {
            Self::JsonRpc
        }
    }

    pub(super) fn unknown_access_key(self, access_key_id: Option<&str>) -> AwsError {
        match self {
            Self::S3 => {
                let text = "The AWS Access Key Id you provided does not exist in our records.";
                let error = AwsError::with_status(403, "InvalidAccessKeyId", text);
                match access_key_id {
                    Some(id) => error.with_member("AWSAccessKeyId", id),
                    None => error,
                }
            }
            Self::Query => AwsError::with_status(403, "InvalidClientTokenId", INVALID_TOKEN),
            Self::JsonRpc => AwsError::with_status(400, "UnrecognizedClientException", INVALID_TOKEN),
            Self::Rest => AwsError::with_status(403, "UnrecognizedClientException", INVALID_TOKEN),
        }
    }

    pub(super) fn expired_token(self) -> AwsError {
        match self {
            Self::S3 => AwsError::invalid("ExpiredToken", "The provided token has expired."),
            Self::Query => AwsError::with_status(403, "ExpiredToken", EXPIRED_TOKEN),
            Self::JsonRpc => AwsError::with_status(400, "ExpiredTokenException", EXPIRED_TOKEN),
            Self::Rest => AwsError::with_status(403, "ExpiredTokenException", EXPIRED_TOKEN),
        }
    }

    pub(super) fn invalid_token(self) -> AwsError {
        match self {
            Self::S3 => {
                AwsError::invalid("InvalidToken", "The provided token is malformed or otherwise invalid.")
            }
            _ => self.unknown_access_key(None),
        }
    }

    pub(super) fn missing_authentication(self) -> AwsError {
        match self {
            Self::S3 => AwsError::with_status(403, "AccessDenied", "Access Denied"),
            Self::Query => AwsError::with_status(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ),
            Self::JsonRpc => AwsError::with_status(
                400,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            Self::Rest => AwsError::with_status(
                403,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
        }
    }

    /// The signature is well-formed and wrong.
    pub(super) fn mismatch(self) -> AwsError {
        self.signature(if self == Self::S3 { S3_MISMATCH } else { MISMATCH })
    }

    /// The signature is well-formed and refused for `text`.
    pub(super) fn signature(self, text: impl Into<String>) -> AwsError {
        match self {
            Self::S3 | Self::Query => AwsError::with_status(403, "SignatureDoesNotMatch", text),
            Self::JsonRpc => AwsError::with_status(400, "InvalidSignatureException", text),
            Self::Rest => AwsError::with_status(403, "InvalidSignatureException", text),
        }
    }

    /// The claim is not well-formed.
    pub(super) fn malformed(self, presigned: bool, text: impl Into<String>) -> AwsError {
        let text = text.into();
        match self {
            Self::S3 if presigned => AwsError::invalid("AuthorizationQueryParametersError", text),
            Self::S3 => AwsError::invalid(
                "AuthorizationHeaderMalformed",
                format!("The authorization header is malformed; {text}"),
            ),
            Self::Query => AwsError::invalid("IncompleteSignature", text),
            Self::JsonRpc => AwsError::with_status(400, "IncompleteSignatureException", text),
            Self::Rest => AwsError::with_status(403, "IncompleteSignatureException", text),
        }
    }

    /// The scope is well-formed and names something else than the request does: `s3` and `other` are the texts.
    pub(super) fn wrong_scope(self, presigned: bool, s3: String, other: String) -> AwsError {
        match self {
            Self::S3 => self.malformed(presigned, s3),
            _ => self.signature(other),
        }
    }

    /// Another kind of signature than AWS4-HMAC-SHA256.
    pub(super) fn unsupported_algorithm(self, algorithm: &str) -> AwsError {
        match self {
            Self::S3 => AwsError::invalid(
                "InvalidRequest",
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ),
            _ => self.malformed(false, format!("Unsupported AWS 'algorithm': '{algorithm}'.")),
        }
    }
}

fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3express" | "s3-outposts" | "s3-object-lambda")
}
