//! A call, its reply and its error, in the words of the service model and of no protocol.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::event_stream::Events;

/// One decoded call, whatever protocol it came in.
#[derive(Debug)]
pub struct Call {
    /// The model's name of the service, as botocore's data folder has it: `cloudtrail`, `s3`, `iam`, `sts`.
    pub service: String,
    /// The operation's name in the model: `CreateTrail`.
    pub operation: String,
    /// The input, an object of the model's member names. Blobs are base64 text, timestamps are numbers of epoch
    /// seconds (whole ones as integers), streaming payloads are not in here but in `body`.
    pub params: Value,
    /// The streaming payload member, where the operation has one.
    pub body: Option<Body>,
    /// What an event record shows of the request itself.
    pub request: RequestFacts,
}

impl Call {
    /// The params as the handler's own type.
    ///
    /// # Errors
    /// `ValidationException` where the params do not fit the type; the model's checks ran before, so that is rare.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, AwsError> {
        T::deserialize(&self.params)
            .map_err(|error| AwsError::invalid("ValidationException", error.to_string()))
    }
}

/// The parts of a request that records show and that S3 keeps: no protocol, only names and values.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// The host that the client named, with its port.
    pub host: String,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// The query's names and values, decoded, in the request's order, without those of the signature.
    pub query: Vec<(String, String)>,
    /// Headers in lower case: `x-amz-*`, `x-amzn-trace-id` and `content-*`, `cache-control`, `expires`, `if-*`, `range`.
    pub headers: Vec<(String, String)>,
}

/// A streaming payload: pieces of bytes, then perhaps trailers.
///
/// What a client signed of its body (payload hash, chunk signatures, the length it declared) is verified as the
/// pieces come; the stream ends in an error where they do not match, so a reader must not make anything visible
/// before [`Body::next`] has returned `None`.
pub struct Body {
    // Never locked: the mutex only lets a call be looked at from several threads, which no source has to support.
    source: Mutex<Box<dyn BodySource>>,
    length_bytes: Option<u64>,
    trailers: Vec<(String, String)>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("length_bytes", &self.length_bytes).finish_non_exhaustive()
    }
}

/// Where the pieces of a [`Body`] come from.
#[async_trait]
pub trait BodySource: Send {
    /// The next piece, `None` at the verified end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>>;

    /// The trailers, in lower case; complete once `next` has returned `None`.
    fn trailers(&self) -> &[(String, String)] {
        &[]
    }
}

/// Why a payload broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client went away or sent fewer bytes than it declared.
    #[error("the request body ended early")]
    Incomplete(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// The bytes are not what the client signed or declared.
    #[error("{0}")]
    Refused(AwsError),
    /// A stored body could not be read.
    #[error("a stored body could not be read")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl Body {
    /// A body from its source; `length_bytes` where it is known before.
    #[must_use]
    pub fn new(source: impl BodySource + 'static, length_bytes: Option<u64>) -> Self {
        Self { source: Mutex::new(Box::new(source)), length_bytes, trailers: Vec::new() }
    }

    /// A body that is all there.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        let length_bytes = Some(bytes.len() as u64);
        Self::new(Whole(Some(bytes)), length_bytes)
    }

    /// The decoded length in bytes, where it is known before the end.
    #[must_use]
    pub fn length_bytes(&self) -> Option<u64> {
        self.length_bytes
    }

    /// The next piece, `None` at the verified end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let source = self.source.get_mut().expect("the mutex is never locked, so never poisoned");
        let piece = source.next().await;
        if piece.is_none() {
            self.trailers = source.trailers().to_vec();
        }
        piece
    }

    /// The trailers, in lower case; complete once [`Body::next`] has returned `None`.
    #[must_use]
    pub fn trailers(&self) -> &[(String, String)] {
        &self.trailers
    }
}

struct Whole(Option<Bytes>);

#[async_trait]
impl BodySource for Whole {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.0.take().filter(|bytes| !bytes.is_empty()).map(Ok)
    }
}

/// What a handler answers.
#[derive(Default)]
pub struct Reply {
    /// The output, an object of the model's member names, in the same conventions as [`Call::params`].
    pub result: Value,
    /// The streaming payload member, where the operation's output has one.
    pub body: Option<Body>,
    /// The stream of events, where the operation's output has one.
    pub events: Option<Box<dyn Events>>,
    /// An HTTP status other than the model's, such as 206 for a part of an object.
    pub status: Option<u16>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, body, events, status } = self;
        let events = events.is_some();
        f.debug_struct("Reply")
            .field("result", result)
            .field("body", body)
            .field("events", &events)
            .field("status", status)
            .finish()
    }
}

impl Reply {
    /// A reply of `result`, which serialises to an object of the model's member names.
    ///
    /// # Panics
    /// Where `result` does not serialise to JSON, which no reply type does.
    #[must_use]
    pub fn of(result: &impl Serialize) -> Self {
        Self {
            result: serde_json::to_value(result).expect("reply types serialise to JSON"),
            ..Self::default()
        }
    }

    /// A reply without members.
    #[must_use]
    pub fn empty() -> Self {
        Self { result: Value::Object(Map::new()), ..Self::default() }
    }
}

/// An error as AWS's clients see it. The source is for the log and never leaves the server.
#[derive(Debug)]
pub struct AwsError {
    /// AWS's error code: `TrailNotFoundException`, `NoSuchKey`.
    pub code: Cow<'static, str>,
    /// The text that the client sees.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
    /// Further members of the error document: S3's `BucketName`, `Key`, `ArgumentName1`.
    pub members: Vec<(Cow<'static, str>, String)>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl AwsError {
    /// An error of the client's making, HTTP 400.
    #[must_use]
    pub fn invalid(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::with_status(400, code, message)
    }

    /// An error with its HTTP status.
    #[must_use]
    pub fn with_status(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status, members: Vec::new(), source: None }
    }

    /// A fault of the server's making, HTTP 500. `source` goes to the log only.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: Cow::Borrowed("InternalFailure"),
            message: "The request processing has failed because of an unknown error, exception or failure."
                .into(),
            status: 500,
            members: Vec::new(),
            source: Some(source.into()),
        }
    }

    /// The same error with a further member in its document.
    #[must_use]
    pub fn with_member(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.members.push((name.into(), value.into()));
        self
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Error for AwsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
