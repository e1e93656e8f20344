//! A Lambda elsewhere: AWS's own, or another server that speaks as it does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Clock;
use cairn_services::lambda::{Remote, RemoteAnswer, RemoteCall};
use cairn_services::sinks::SinkFailure;
use cairn_wire::sigv4::{Credentials, PayloadToSign, Secret, SigningScope, sign};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::outgoing::{answer_over, connect, public_authorities};

/// The longest that a function elsewhere is waited for: the longest that one may run.
const TIMEOUT: Duration = Duration::from_secs(905);
/// The largest answer, in bytes.
const ANSWER_SIZE_BYTES_MAX: usize = 7 << 20;
/// Whose calls they are signed as.
const ACCESS_KEY_ID: &str = "CAIRN_LAMBDA_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "CAIRN_LAMBDA_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "CAIRN_LAMBDA_SESSION_TOKEN";

/// Why a Lambda elsewhere cannot be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// Its address is none.
    #[error("--lambda-endpoint is written http://HOST:PORT or https://HOST:PORT")]
    Endpoint,
    /// There is nothing to sign with.
    #[error("--lambda-endpoint needs {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} in the environment")]
    Credentials,
}

/// Calls it.
pub(crate) struct RemoteLambda {
    endpoint: Uri,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    tls: Arc<ClientConfig>,
}

impl RemoteLambda {
    /// The Lambda at `endpoint`, with the credentials of the environment.
    pub(crate) fn new(endpoint: &str, clock: Arc<dyn Clock>) -> Result<Self, RemoteError> {
        let endpoint: Uri = endpoint.trim_end_matches('/').parse().map_err(|_| RemoteError::Endpoint)?;
        let is_known =
            matches!(endpoint.scheme_str(), Some("http" | "https")) && endpoint.authority().is_some();
        if !is_known {
            return Err(RemoteError::Endpoint);
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(access_key_id), Some(secret)) = (variable(ACCESS_KEY_ID), variable(SECRET_ACCESS_KEY))
        else {
            return Err(RemoteError::Credentials);
        };
        let credentials = Credentials {
            access_key_id,
            secret: Secret::new(secret),
            session_token: variable(SESSION_TOKEN),
        };
        let tls = ClientConfig::builder().with_root_certificates(public_authorities()).with_no_client_auth();
        Ok(Self { endpoint, credentials, clock, tls: Arc::new(tls) })
    }

    fn request(&self, call: &RemoteCall) -> Result<Request<Full<Bytes>>, SinkFailure> {
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        let function = utf8_percent_encode(&call.function, NON_ALPHANUMERIC);
        let request = Request::post(format!("/2015-03-31/functions/{function}/invocations"))
            .header(HOST, authority)
            .header(USER_AGENT, concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("x-amz-invocation-type", &call.invocation_type)
            .header("x-amz-log-type", if call.wants_log { "Tail" } else { "None" })
            .body(())
            .map_err(|error| failed(false, "InvalidRequest", &error))?;
        let (mut parts, ()) = request.into_parts();
        let scope = SigningScope { region: call.region.as_str(), service: "lambda", time: self.clock.now() };
        sign(&mut parts, &self.credentials, &scope, PayloadToSign::Bytes(&call.payload))
            .map_err(|error| failed(false, "InvalidRequest", &error))?;
        Ok(Request::from_parts(parts, Full::new(call.payload.clone())))
    }

    async fn exchange(&self, call: &RemoteCall) -> Result<RemoteAnswer, SinkFailure> {
        let request = self.request(call)?;
        let is_tls = self.endpoint.scheme_str() == Some("https");
        let host = self.endpoint.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.endpoint.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = connect(&host, port).await.map_err(|failure| SinkFailure {
            is_transient: true,
            code: failure.code,
            message: failure.reason,
        })?;
        if is_tls {
            let name =
                ServerName::try_from(host).map_err(|error| failed(false, "InvalidEndpoint", &error))?;
            let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
            ask(stream.map_err(|error| failed(true, "Tls", &error))?, request).await
        } else {
            ask(stream, request).await
        }
    }
}

#[async_trait]
impl Remote for RemoteLambda {
    async fn invoke(&self, call: RemoteCall) -> Result<RemoteAnswer, SinkFailure> {
        match tokio::time::timeout(TIMEOUT, self.exchange(&call)).await {
            Ok(answer) => answer,
            Err(error) => Err(failed(true, "Timeout", &error)),
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<RemoteAnswer, SinkFailure> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(true, "Connection", &error))?;
    let answer = async {
        let response =
            sender.send_request(request).await.map_err(|error| failed(true, "Connection", &error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_SIZE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| failed(true, "Connection", &error))?.to_bytes();
        answer_of(&Response::from_parts(head, body))
    };
    answer_over(connection, answer).await
}

fn answer_of(response: &Response<Bytes>) -> Result<RemoteAnswer, SinkFailure> {
    let status = response.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(RemoteAnswer {
            status,
            function_error: text(response.headers(), "x-amz-function-error"),
            log_result: text(response.headers(), "x-amz-log-result"),
            executed_version: text(response.headers(), "x-amz-executed-version"),
            payload: response.body().clone(),
        });
    }
    let kind = text(response.headers(), "x-amzn-errortype");
    let code = kind.and_then(|kind| kind.split(':').next().map(str::to_owned));
    let told: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let message = [&told["Message"], &told["message"]].into_iter().find_map(Value::as_str);
    Err(SinkFailure {
        is_transient: status >= 500 || status == 429,
        code: code.unwrap_or_else(|| format!("Http{status}")),
        message: message.unwrap_or_default().to_owned(),
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn failed(is_transient: bool, code: &str, reason: &dyn std::fmt::Display) -> SinkFailure {
    SinkFailure { is_transient, code: code.to_owned(), message: reason.to_string() }
}
