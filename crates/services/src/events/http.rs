//! How API destinations are called: what this service needs of the network. The binary has it; tests hand in their own.

use async_trait::async_trait;
use bytes::Bytes;

use crate::sns::delivery::NotDelivered;

/// A request to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `POST`.
    pub method: String,
    /// With its query.
    pub url: String,
    /// Names and values, without those that every request has.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What an endpoint answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// 200.
    pub status: u16,
    /// The header Retry-After.
    pub retry_after: Option<String>,
    /// The body, up to a limit.
    pub body: Bytes,
}

/// HTTP endpoints.
#[async_trait]
pub trait Http: Send + Sync + 'static {
    /// Calls an endpoint. Follows no redirects, and ends in time.
    async fn call(&self, request: &HttpRequest) -> Result<HttpAnswer, NotDelivered>;
}
