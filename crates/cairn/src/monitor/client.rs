//! Calls a server as any client of AWS does: signed, over awsJson and awsQuery.
//!
//! Invariants: every step has a time limit, every answer a size limit; nothing of the credentials gets into an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Clock;
use cairn_wire::sigv4::{Credentials, PayloadToSign, SigningScope, sign};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::outgoing::{answer_over, public_authorities};

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const ANSWER_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a form leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server refused.
    #[error("{operation} was refused: {code}: {message}")]
    Refused {
        /// The call.
        operation: String,
        /// AWS's code.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// There was no answer, or none that can be read.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// The call.
        operation: String,
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// Whether the server refused with one of these codes, or a code that ends so.
    pub(super) fn is(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Refused { code, .. } if codes.contains(&code.as_str()))
    }

    /// Whether a message of the server's has this in it.
    pub(super) fn says(&self, text: &str) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains(text))
    }
}

/// A service that is called over awsJson.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonService {
    signing_name: &'static str,
    version: &'static str,
    target: &'static str,
}

/// CloudTrail.
pub(super) const CLOUDTRAIL: JsonService = JsonService {
    signing_name: "cloudtrail",
    version: "1.1",
    target: "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101",
};
/// CloudWatch Logs.
pub(super) const LOGS: JsonService =
    JsonService { signing_name: "logs", version: "1.1", target: "Logs_20140328" };
/// CloudWatch.
pub(super) const CLOUDWATCH: JsonService =
    JsonService { signing_name: "monitoring", version: "1.0", target: "GraniteServiceVersion20100801" };

/// A service that is called over awsQuery.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryService {
    signing_name: &'static str,
    version: &'static str,
    /// Where it is signed for, if everywhere for one region.
    region: Option<&'static str>,
}

/// IAM.
pub(super) const IAM: QueryService =
    QueryService { signing_name: "iam", version: "2010-05-08", region: Some("us-east-1") };
/// SNS.
pub(super) const SNS: QueryService =
    QueryService { signing_name: "sns", version: "2010-03-31", region: None };

/// Who calls, and where.
pub(super) struct Client {
    pub(super) endpoint: Uri,
    pub(super) region: String,
    pub(super) credentials: Credentials,
    pub(super) clock: Arc<dyn Clock>,
}

impl Client {
    /// Calls an operation of awsJson.
    pub(super) async fn json(
        &self,
        service: JsonService,
        operation: &str,
        input: &Value,
    ) -> Result<Value, CallError> {
        let target = format!("{}.{operation}", service.target);
        let request = Request::post("/")
            .header(CONTENT_TYPE, format!("application/x-amz-json-{}", service.version))
            .header("x-amz-target", target);
        let scope = (service.signing_name, self.region.as_str());
        let (status, body) = self.call(operation, request, input.to_string(), scope).await?;
        let answer: Value = match body.as_ref() {
            b"" => Value::Null,
            body => serde_json::from_slice(body).map_err(|error| failed(operation, error))?,
        };
        if status.is_success() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or_default();
        let message = answer["message"].as_str().or_else(|| answer["Message"].as_str()).unwrap_or_default();
        Err(CallError::Refused {
            operation: operation.to_owned(),
            code: code.rsplit('#').next().unwrap_or(code).to_owned(),
            message: message.to_owned(),
        })
    }

    /// Calls an operation of awsQuery; gives the answer's XML.
    pub(super) async fn query(
        &self,
        service: QueryService,
        operation: &str,
        input: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let form: Vec<String> = [("Action", operation), ("Version", service.version)]
            .iter()
            .chain(input)
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, FORM)))
            .collect();
        let request =
            Request::post("/").header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8");
        let scope = (service.signing_name, service.region.unwrap_or(&self.region));
        let (status, body) = self.call(operation, request, form.join("&"), scope).await?;
        let answer = String::from_utf8(body.into()).map_err(|error| failed(operation, error))?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(CallError::Refused {
            operation: operation.to_owned(),
            code: element(&answer, "Code").unwrap_or_else(|| status.to_string()),
            message: element(&answer, "Message").unwrap_or_default(),
        })
    }

    async fn call(
        &self,
        operation: &str,
        request: http::request::Builder,
        body: String,
        (service, region): (&str, &str),
    ) -> Result<(StatusCode, Bytes), CallError> {
        let authority =
            self.endpoint.authority().ok_or_else(|| failed(operation, "the endpoint names no host"))?;
        let request = request
            .header(HOST, authority.as_str())
            .header(USER_AGENT, concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(|error| failed(operation, error))?;
        let (mut parts, ()) = request.into_parts();
        let scope = SigningScope { region, service, time: self.clock.now() };
        let body = Bytes::from(body);
        sign(&mut parts, &self.credentials, &scope, PayloadToSign::Bytes(&body))
            .map_err(|error| failed(operation, error))?;
        let request = Request::from_parts(parts, Full::new(body));
        let answered = tokio::time::timeout(CALL_TIMEOUT, self.exchange(request)).await;
        let answered = answered.unwrap_or_else(|_| Err("the server takes too long".to_owned()));
        answered.map_err(|reason| failed(operation, reason))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let host = self.endpoint.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_tls = self.endpoint.scheme_str() == Some("https");
        let port = self.endpoint.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(|error| format!("no connection to {host}:{port}: {error}"))?;
        if !is_tls {
            return ask(stream, request).await;
        }
        let config =
            ClientConfig::builder().with_root_certificates(public_authorities()).with_no_client_auth();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::new(config));
        ask(connector.connect(name, stream).await.map_err(|error| error.to_string())?, request).await
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_SIZE_BYTES_MAX).collect().await;
        body.map(|body| (status, body.to_bytes())).map_err(|error| error.to_string())
    };
    answer_over(connection, answer).await
}

fn failed(operation: &str, reason: impl std::fmt::Display) -> CallError {
    CallError::Failed { operation: operation.to_owned(), reason: reason.to_string() }
}

/// The text of the first element of that name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#xa;", "\n");
    Some(plain.replace("&amp;", "&"))
}
