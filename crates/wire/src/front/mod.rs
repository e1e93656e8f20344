//! The front of the codec: an HTTP request in, a [`Call`] and the [`Exchange`] that answers it out.
//!
//! On the road: the first step of every call, before and after the signature check. [`Front::open`] looks at the
//! head of a request only, so that the door knows how to read the body; [`Opening::decode`] makes the call of it;
//! [`Front::check`] holds the call against the model's constraints. Every refusal is a [`Rejection`], which knows the
//! protocol to answer in.

mod decode;
mod error_document;
mod exchange;
mod faults;
mod find;
mod head;
#[cfg(test)]
mod tests;
mod unpack;

use bytes::Bytes;
use http::request::Parts;

pub use exchange::{Exchange, ReplyBody};

use crate::model::{Models, Protocol, Service};
use crate::{AwsError, Body, Call, constraints};
use head::Head;

/// Lambda's operations whose bodies hold code.
const PACKAGE_OPERATIONS: [&str; 2] = ["CreateFunction", "UpdateFunctionCode"];
/// The most bytes of such a body: AWS's own limit, 50 MB in base64 and what is around it.
const PACKAGE_BODY_BYTES_MAX: usize = 70_167_211;

/// What the front has to know of its server.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// Host names under which `BUCKET.HOST` is S3's virtual-host style: `localhost`, `s3.example.com`.
    pub s3_hosts: Vec<String>,
    /// The most bytes that a body may have which is read as a whole.
    pub buffered_body_bytes_max: usize,
}

/// What a request's signature says it is for: two parts of the SigV4 credential scope.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The signing name of the service: `cloudtrail`, `s3`, `monitoring`.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
}

/// How strictly a call is held against its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// Required members only. For services whose handlers answer their own errors for values out of range.
    Structure,
    /// Required members, lengths, ranges, patterns and enums.
    All,
}

/// How the door has to read a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyNeed {
    /// As a whole; a longer body than the limit is answered with [`Exchange::too_large`].
    Buffered {
        /// The limit.
        limit_bytes: usize,
    },
    /// As a stream.
    Streaming,
}

/// A request's body as the door read it.
#[derive(Debug)]
pub enum Payload {
    /// All of it.
    Whole(Bytes),
    /// A stream, where [`Opening::body`] asked for one.
    Stream(Body),
}

/// A request that cannot become a call, and how to answer it.
#[derive(Debug)]
pub struct Rejection {
    /// The error to answer with.
    pub error: AwsError,
    /// The best guess of the protocol to answer in, and of the service and operation that were meant.
    pub exchange: Exchange,
}

impl Rejection {
    fn of(error: AwsError, exchange: Exchange) -> Box<Self> {
        Box::new(Self { error, exchange })
    }
}

/// The front.
#[derive(Debug)]
pub struct Front {
    settings: FrontSettings,
}

/// A request whose service and protocol are known, and often its operation; its body is still to be read.
#[derive(Debug)]
pub struct Opening {
    exchange: Exchange,
    head: Head,
    labels: Vec<(String, String)>,
    query_candidates: Vec<&'static Service>,
    need: BodyNeed,
}

impl Front {
    /// A front over the embedded models.
    #[must_use]
    pub fn new(settings: FrontSettings) -> Self {
        Self { settings }
    }

    /// Finds the service, the protocol and, where the head of the request names it, the operation.
    ///
    /// # Errors
    /// Where no service or operation fits the request.
    pub fn open(&self, parts: &Parts, signing: Option<Signing<'_>>) -> Result<Opening, Box<Rejection>> {
        let Some(head) = Head::of(parts) else {
            let exchange = Exchange::without_service(Protocol::RestXml, parts.method == http::Method::HEAD);
            let error = AwsError::invalid("InvalidURI", "Couldn't parse the specified URI.");
            return Err(Rejection::of(error, exchange));
        };
        let found = find::found(&self.settings, &head, signing)?;
        let is_streaming = found.exchange.is_s3()
            && found
                .exchange
                .service_model()
                .zip(found.exchange.operation_model())
                .is_some_and(|(service, operation)| service.streaming_input(operation).is_some());
        let need = if is_streaming {
            BodyNeed::Streaming
        } else {
            BodyNeed::Buffered { limit_bytes: self.buffered_limit(&found.exchange) }
        };
        let find::Found { exchange, labels, query_candidates } = found;
        Ok(Opening { exchange, head, labels, query_candidates, need })
    }

    /// The most bytes that a request's body may have: those that bring a package may be longer.
    fn buffered_limit(&self, exchange: &Exchange) -> usize {
        let brings_package = exchange.service() == Some("lambda")
            && exchange.operation().is_some_and(|operation| PACKAGE_OPERATIONS.contains(&operation));
        if brings_package { PACKAGE_BODY_BYTES_MAX } else { self.settings.buffered_body_bytes_max }
    }

    /// The bucket that a request's host names in S3's virtual-host style.
    #[must_use]
    pub fn virtual_bucket(&self, parts: &Parts) -> Option<String> {
        Head::of(parts)?.virtual_bucket(&self.settings.s3_hosts)
    }

    /// Holds `call` against the constraints of its model.
    ///
    /// # Errors
    /// `ValidationException` or what the call's protocol has in its place.
    pub fn check(&self, call: &Call, checks: Checks) -> Result<(), AwsError> {
        let Some(service) = Models::embedded().service(&call.service) else { return Ok(()) };
        let Some(operation) = service.operation(&call.operation) else { return Ok(()) };
        constraints::check(service, operation, call, checks)
    }
}

impl Opening {
    /// The exchange as far as it is known: to answer a request that is refused before its body was read.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// How the body has to be read.
    #[must_use]
    pub fn body(&self) -> BodyNeed {
        self.need
    }

    /// Makes the call of the request.
    ///
    /// # Errors
    /// Where the body or the parameters are not what the operation's model and protocol say.
    pub fn decode(self, parts: &Parts, payload: Payload) -> Result<(Call, Exchange), Box<Rejection>> {
        decode::call(self, parts, payload)
    }
}
