//! What the library needs of the outside: a queue of messages and a store of objects.
//!
//! On the road: the processor calls these; [`aws::Client`](crate::aws::Client) implements both over HTTP. Implement them yourself to use another
//! client, such as the official SDK, or to test.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::message::Message;

/// Why a call to the outside failed.
#[derive(Debug)]
pub struct AccessError {
    operation: &'static str,
    code: Option<String>,
    message: String,
    is_retryable: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl AccessError {
    /// An answer that will be the same next time: `code` is the service's, such as `NoSuchKey`.
    #[must_use]
    pub fn refused(operation: &'static str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            operation,
            code: Some(code.into()),
            message: message.into(),
            is_retryable: false,
            source: None,
        }
    }

    /// A failure that may go by itself: of the network, of a busy service.
    #[must_use]
    pub fn passing(operation: &'static str, message: impl Into<String>) -> Self {
        Self { operation, code: None, message: message.into(), is_retryable: true, source: None }
    }

    /// The same, with the service's code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The call that failed: `GetObject`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The service's code, where it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: ", self.operation)?;
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl Error for AccessError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// What to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveRequest {
    /// The most messages, 1 to 10.
    pub messages_max: usize,
    /// How long to wait for the first one.
    pub wait: Duration,
    /// For how long what is received stays hidden from other consumers.
    pub visibility_timeout: Duration,
}

impl ReceiveRequest {
    /// Up to so many messages, waited for so long, hidden for so long.
    #[must_use]
    pub fn new(messages_max: usize, wait: Duration, visibility_timeout: Duration) -> Self {
        Self { messages_max, wait, visibility_timeout }
    }
}

/// A queue of messages.
#[async_trait]
pub trait MessageSource: Send + Sync + 'static {
    /// Receives messages; none where none come within the wait.
    async fn receive(&self, request: ReceiveRequest) -> Result<Vec<Message>, AccessError>;

    /// Hides a message that is being worked on for `visibility_timeout` from now on.
    async fn extend(&self, receipt_handle: &str, visibility_timeout: Duration) -> Result<(), AccessError>;

    /// Deletes up to 10 messages; says of each, in their order, what became of it.
    async fn delete(&self, receipt_handles: &[String]) -> Result<Vec<Result<(), AccessError>>, AccessError>;
}

/// Which object to get, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetRequest<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a str,
    /// The first byte that is wanted.
    pub offset: u64,
    /// The object must still have this ETag.
    pub etag: Option<&'a str>,
}

impl<'a> GetRequest<'a> {
    /// All of an object.
    #[must_use]
    pub fn new(bucket: &'a str, key: &'a str) -> Self {
        Self { bucket, key, offset: 0, etag: None }
    }
}

/// An object on its way.
#[non_exhaustive]
pub struct Object {
    /// Its ETag.
    pub etag: Option<String>,
    /// When it was written: the HTTP date of `Last-Modified`.
    pub last_modified: Option<String>,
    /// Its metadata, without the `x-amz-meta-` of the names, which are in small letters.
    pub metadata: BTreeMap<String, String>,
    /// Its bytes. A stream that ends without an error has given all of them.
    pub body: BoxStream<'static, Result<Bytes, AccessError>>,
}

impl Object {
    /// An object of which only the bytes are known.
    #[must_use]
    pub fn new(body: BoxStream<'static, Result<Bytes, AccessError>>) -> Self {
        Self { etag: None, last_modified: None, metadata: BTreeMap::new(), body }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("etag", &self.etag).finish_non_exhaustive()
    }
}

/// Which keys to list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListRequest<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// What the keys begin with.
    pub prefix: &'a str,
    /// The key after which the list begins.
    pub start_after: &'a str,
}

impl<'a> ListRequest<'a> {
    /// The keys that begin with `prefix`, after `start_after`.
    #[must_use]
    pub fn new(bucket: &'a str, prefix: &'a str, start_after: &'a str) -> Self {
        Self { bucket, prefix, start_after }
    }
}

/// A store of objects.
#[async_trait]
pub trait ObjectSource: Send + Sync + 'static {
    /// Gets an object from a place on.
    async fn get(&self, request: GetRequest<'_>) -> Result<Object, AccessError>;

    /// Lists keys in their order: as many as come in one answer, none where there are no more. Only a
    /// [`DigestCheck`](crate::DigestCheck) asks for it.
    async fn list(&self, request: ListRequest<'_>) -> Result<Vec<String>, AccessError> {
        let _ = request;
        Err(AccessError::refused("ListObjectsV2", "NotImplemented", "this object source lists no keys"))
    }
}
