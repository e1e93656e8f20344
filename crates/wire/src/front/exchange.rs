//! One request and its answer: knows the protocol, so that the reply is written as the caller expects it.

use bytes::Bytes;
use cairn_core::EventId;
use http::Response;

use crate::{AwsError, Body, Reply};

/// The body of an answer, for the door to hand to its HTTP library.
#[derive(Debug)]
pub enum ReplyBody {
    /// All there.
    Whole(Bytes),
    /// A stream; its length is in the `content-length` header where it is known.
    Stream(Body),
}

/// Knows the service, the operation and the protocol of a request.
#[derive(Clone, Debug)]
pub struct Exchange {}

impl Exchange {
    pub(crate) fn unknown() -> Self {
        Self {}
    }

    /// The model's name of the service, where it is known.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        None
    }

    /// The operation's name, where it is known; also of one that the model does not have, as the client wrote it.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        None
    }

    /// The error for an operation that the model has and this server has not.
    #[must_use]
    pub fn unsupported(&self) -> AwsError {
        AwsError::invalid("UnsupportedOperationException", "The requested operation is not supported.")
    }

    /// The error for a body of more bytes than the limit.
    #[must_use]
    pub fn too_large(&self) -> AwsError {
        AwsError::with_status(413, "RequestEntityTooLarge", "The request body is too large.")
    }

    /// The reply in the caller's protocol.
    #[must_use]
    pub fn encode(&self, _reply: Reply, _request_id: &EventId) -> Response<ReplyBody> {
        Response::new(ReplyBody::Whole(Bytes::new()))
    }

    /// The error in the caller's protocol. `resource` is what S3 shows as the error's `Resource`: the request's path.
    #[must_use]
    pub fn encode_error(
        &self,
        _error: &AwsError,
        _request_id: &EventId,
        _resource: &str,
    ) -> Response<ReplyBody> {
        Response::new(ReplyBody::Whole(Bytes::new()))
    }
}
