//! One signed call, and what its failure means.

use std::time::Duration;

use bytes::Bytes;
use cairn_wire::sigv4::{PayloadToSign, SigningScope, sign};
use http::header::{CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::Client;
use super::connection::{TransportError, read_all};
use super::endpoint::Endpoint;
use crate::access::AccessError;

/// The largest answer that is not an object: ten messages have at most 2.5 MB, their JSON a bit more.
const ANSWER_SIZE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is said of ourselves.
const PROGRAM: &str = concat!("cairn-processing/", env!("CARGO_PKG_VERSION"));
/// Codes of answers that may be different the next time, whatever their status.
const PASSING_CODES: [&str; 12] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "KmsThrottled",
    "SlowDown",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ExpiredToken",
    "ExpiredTokenException",
];

/// A call.
pub(super) struct Call<'a> {
    pub(super) operation: &'static str,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) endpoint: &'a Endpoint,
    pub(super) method: Method,
    /// The path and query, percent-encoded.
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
}

impl Client {
    /// Makes a call; the answer is whatever the server said.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Response<Incoming>, AccessError> {
        let operation = call.operation;
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
            AccessError::refused(operation, "InvalidRequest", "the request cannot be made").with_source(error)
        };
        let credentials = self.settings.credentials.credentials().await.map_err(|error| {
            AccessError::passing(operation, "there are no credentials").with_source(error)
        })?;
        let mut builder = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", call.endpoint.path, call.path))
            .header(HOST, call.endpoint.authority.as_str())
            .header(USER_AGENT, PROGRAM);
        for (name, value) in call.headers {
            builder = builder.header(name, value);
        }
        let request = builder.body(()).map_err(|error| unusable(error.into()))?;
        let (mut parts, ()) = request.into_parts();
        let scope =
            SigningScope { region: call.region, service: call.service, time: self.settings.clock.now() };
        sign(&mut parts, &credentials.for_signing(), &scope, PayloadToSign::Bytes(&call.body))
            .map_err(|error| unusable(error.into()))?;
        let request = Request::from_parts(parts, Full::new(call.body));
        self.connections.send(call.endpoint, request, call.timeout).await.map_err(transport(operation))
    }

    /// Makes a call of awsJson; gives the answer's members.
    pub(super) async fn call_json<T: for<'a> Deserialize<'a>>(
        &self,
        call: JsonCall<'_>,
        input: &Value,
    ) -> Result<T, AccessError> {
        let JsonCall { operation, service, version, target, endpoint, region, wait } = call;
        let timeout = self.settings.read_timeout.saturating_add(wait);
        let call = Call {
            operation,
            service,
            region,
            endpoint,
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![
                (CONTENT_TYPE, format!("application/x-amz-json-{version}")),
                (HeaderName::from_static("x-amz-target"), format!("{target}.{operation}")),
            ],
            body: input.to_string().into(),
            timeout,
        };
        let answer = self.call(call).await?;
        let status = answer.status();
        let body = read_all(answer.into_body(), ANSWER_SIZE_BYTES_MAX, timeout).await;
        let body = body.map_err(transport(operation))?;
        if !status.is_success() {
            return Err(json_error(operation, status, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| AccessError::passing(operation, "the answer cannot be read").with_source(error))
    }

    /// The error that an answer of S3 is.
    pub(super) async fn xml_error(&self, operation: &'static str, answer: Response<Incoming>) -> AccessError {
        let status = answer.status();
        let body = read_all(answer.into_body(), ANSWER_SIZE_BYTES_MAX, self.settings.read_timeout).await;
        let text = body.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
        let code = element(&text, "Code").unwrap_or_else(|| status.as_u16().to_string());
        let message = element(&text, "Message").unwrap_or_else(|| format!("the answer is {status}"));
        judged(operation, status, code, message)
    }

    pub(super) async fn read_text(
        &self,
        operation: &'static str,
        answer: Response<Incoming>,
    ) -> Result<String, AccessError> {
        let body = read_all(answer.into_body(), ANSWER_SIZE_BYTES_MAX, self.settings.read_timeout).await;
        let body = body.map_err(transport(operation))?;
        String::from_utf8(body.into())
            .map_err(|error| AccessError::passing(operation, "the answer is not UTF-8").with_source(error))
    }
}

/// Which call of awsJson.
pub(super) struct JsonCall<'a> {
    pub(super) operation: &'static str,
    pub(super) service: &'a str,
    /// `1.0` or `1.1`.
    pub(super) version: &'a str,
    /// What comes before the operation in `X-Amz-Target`.
    pub(super) target: &'a str,
    pub(super) endpoint: &'a Endpoint,
    pub(super) region: &'a str,
    /// How long the server may take on purpose.
    pub(super) wait: Duration,
}

/// Whatever goes wrong on the way may go by.
pub(super) fn transport(operation: &'static str) -> impl FnOnce(TransportError) -> AccessError {
    move |error| AccessError::passing(operation, "no answer came").with_source(error)
}

#[derive(Deserialize)]
struct JsonError {
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

fn json_error(operation: &'static str, status: StatusCode, body: &[u8]) -> AccessError {
    let error = serde_json::from_slice(body).unwrap_or(JsonError { kind: None, message: None });
    // `com.amazonaws.sqs#QueueDoesNotExist`
    let code = error.kind.map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned());
    let code = code.unwrap_or_else(|| status.as_u16().to_string());
    judged(operation, status, code, error.message.unwrap_or_else(|| format!("the answer is {status}")))
}

fn judged(operation: &'static str, status: StatusCode, code: String, message: String) -> AccessError {
    let is_passing = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || PASSING_CODES.contains(&code.as_str());
    if is_passing {
        AccessError::passing(operation, message).with_code(code)
    } else {
        AccessError::refused(operation, code, message)
    }
}

/// The text of the first element of this name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).into_iter().next()
}

/// The texts of all elements of this name, in their order.
pub(super) fn elements(xml: &str, name: &str) -> Vec<String> {
    use quick_xml::events::Event;

    let mut reader = quick_xml::Reader::from_str(xml);
    let mut texts = Vec::new();
    let mut open: Option<String> = None;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) if start.name().as_ref() == name => open = Some(String::new()),
            Ok(Event::Text(text)) => {
                if let Some(open) = &mut open {
                    open.push_str(&text);
                }
            }
            Ok(Event::GeneralRef(reference)) => {
                if let Some(open) = &mut open {
                    let character = reference.resolve_char_ref().ok().flatten();
                    match (character, quick_xml::escape::resolve_predefined_entity(&reference)) {
                        (Some(character), _) => open.push(character),
                        (None, Some(text)) => open.push_str(text),
                        (None, None) => {}
                    }
                }
            }
            Ok(Event::End(end)) if end.name().as_ref() == name => texts.extend(open.take()),
            Ok(Event::Eof) | Err(_) => return texts,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_with_their_references() {
        let xml = "<?xml version=\"1.0\"?><R xmlns=\"u\"><C><Key>a&amp;b&#x20;c</Key></C><C><Key>d</Key></C><Key/></R>";
        assert_eq!(elements(xml, "Key"), ["a&b c", "d"]);
        assert_eq!(element(xml, "Code"), None);
        assert_eq!(element("<a><Code>x", "Code"), None);
    }

    #[test]
    fn what_may_go_by_is_told_from_what_will_not() {
        let judge = |status: u16, body: &str| {
            let error = json_error("ReceiveMessage", StatusCode::from_u16(status).unwrap(), body.as_bytes());
            (error.code().unwrap().to_owned(), error.is_retryable())
        };
        for (status, body, code, is_retryable) in [
            (
                400,
                r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"m"}"#,
                "QueueDoesNotExist",
                false,
            ),
            (400, r#"{"__type":"RequestThrottled"}"#, "RequestThrottled", true),
            (
                403,
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#,
                "ExpiredTokenException",
                true,
            ),
            (403, r#"{"__type":"AccessDeniedException","Message":"m"}"#, "AccessDeniedException", false),
            (500, "oops", "500", true),
            (503, "", "503", true),
            (429, "{}", "429", true),
            (404, "[]", "404", false),
        ] {
            assert_eq!(judge(status, body), (code.to_owned(), is_retryable), "{status} {body}");
        }
    }
}
