//! Posts messages to HTTP endpoints and calls API destinations, a connection each.
//!
//! Endpoints are anybody's choice who may subscribe, so that this is where the server could be made to talk to whom it
//! should not: link-local addresses, where clouds keep their instances' credentials, are never connected to, whatever
//! name they hide behind. Addresses of private networks are: there is where endpoints of a server of one's own are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONNECTION, HOST, RETRY_AFTER, USER_AGENT};
use ::http::uri::Authority;
use ::http::{HeaderValue, Request, Uri};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_services::events::{Http, HttpAnswer, HttpRequest};
use cairn_services::sns::delivery::{NotDelivered, Post, Posting};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{permanent, public_authorities, transient};

/// How long an endpoint may take, from the connection to the end of its answer: AWS's limit.
const POST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an API destination may take: AWS's limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection to one of a name's addresses may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 3;
/// The most of an answer's body that is read, in bytes: a token's is small, all others nobody looks at.
const ANSWER_SIZE_BYTES_MAX: usize = 64 * 1024;
/// As whom AWS calls.
const AGENT: &str = "Amazon Simple Notification Service Agent";

/// Posts over the net.
pub struct NetPost {
    tls: Arc<ClientConfig>,
}

/// An endpoint's URL, taken apart.
struct Endpoint {
    is_tls: bool,
    host: String,
    port: u16,
    /// `host:port` as it was written.
    named: String,
    path: String,
    /// `Basic …`, of the URL's user and password.
    authorization: Option<HeaderValue>,
}

impl NetPost {
    /// Believes the public authorities that the system knows.
    #[must_use]
    pub fn new() -> Self {
        let config =
            ClientConfig::builder().with_root_certificates(public_authorities()).with_no_client_auth();
        Self { tls: Arc::new(config) }
    }

    async fn exchange(&self, posting: &Posting) -> Result<u16, NotDelivered> {
        let endpoint = Endpoint::of(&posting.url)?;
        let request = endpoint.request(posting)?;
        self.send(&endpoint, request).await.map(|answer| answer.status)
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
    ) -> Result<HttpAnswer, NotDelivered> {
        let stream = connect(&endpoint.host, endpoint.port).await?;
        if endpoint.is_tls {
            let name = ServerName::try_from(endpoint.host.clone());
            let name = name.map_err(|_| permanent("InvalidEndpoint", "it names no host"))?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            let stream = connector.connect(name, stream).await.map_err(|error| transient("Tls", error))?;
            ask(stream, request).await
        } else {
            ask(stream, request).await
        }
    }
}

#[async_trait]
impl Post for NetPost {
    async fn post(&self, posting: &Posting) -> Result<u16, NotDelivered> {
        let answered = tokio::time::timeout(POST_TIMEOUT, self.exchange(posting)).await;
        answered.unwrap_or_else(|_| Err(transient("Timeout", "the endpoint takes too long")))
    }
}

#[async_trait]
impl Http for NetPost {
    async fn call(&self, request: &HttpRequest) -> Result<HttpAnswer, NotDelivered> {
        let calling = async {
            let endpoint = Endpoint::of(&request.url)?;
            let request = endpoint.call(request)?;
            self.send(&endpoint, request).await
        };
        let answered = tokio::time::timeout(CALL_TIMEOUT, calling).await;
        answered.unwrap_or_else(|_| Err(transient("Timeout", "the endpoint takes too long")))
    }
}

impl Endpoint {
    fn of(url: &str) -> Result<Self, NotDelivered> {
        let invalid = |reason: &str| permanent("InvalidEndpoint", reason);
        let uri: Uri = url.parse().map_err(|_| invalid("it is no URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid("it is neither http nor https")),
        };
        let authority: &Authority = uri.authority().ok_or_else(|| invalid("it names no host"))?;
        let (user, named) = match authority.as_str().rsplit_once('@') {
            Some((user, named)) => (Some(user), named),
            None => (None, authority.as_str()),
        };
        let authorization = user.map(|user| basic(user).ok_or_else(|| invalid("its user is malformed")));
        Ok(Self {
            is_tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            named: named.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            authorization: authorization.transpose()?,
        })
    }

    /// A request of an API destination's.
    fn call(&self, call: &HttpRequest) -> Result<Request<Full<Bytes>>, NotDelivered> {
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(self.path.as_str())
            .header(HOST, self.named.as_str())
            .header(CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in &call.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let body = Full::new(Bytes::from(call.body.clone()));
        // What is wrong with a header may be a secret: nothing of it is told.
        request.body(body).map_err(|_| permanent("InvalidRequest", "a header or the method is malformed"))
    }

    fn request(&self, posting: &Posting) -> Result<Request<Full<Bytes>>, NotDelivered> {
        let mut request = Request::post(self.path.as_str())
            .header(HOST, self.named.as_str())
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in &posting.headers {
            request = request.header(*name, value.as_str());
        }
        let body = Full::new(Bytes::from(posting.body.clone()));
        request.body(body).map_err(|error| permanent("InvalidRequest", error))
    }
}

/// `Basic …` of `user:password`, both percent-encoded.
fn basic(user: &str) -> Option<HeaderValue> {
    let plain = percent_encoding::percent_decode_str(user).collect::<Vec<u8>>();
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether nobody may make the server connect there.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        // fe80::/10, and fd00:ec2::/32 where AWS keeps the same.
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || matches!(address.segments(), [0xfd00, 0x0ec2, ..])
        }
    }
}

/// Connects to the first of a host's addresses that takes it and may be connected to.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, NotDelivered> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> =
        found.map_err(|error| transient("UnknownHost", error))?.take(ADDRESSES_MAX).collect();
    let mut failure = transient("UnknownHost", "the name has no address");
    for address in addresses {
        if is_forbidden(address.ip()) {
            failure = permanent("ForbiddenAddress", "link-local addresses are not connected to");
            continue;
        }
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = transient("Connection", error),
            Err(_) => failure = transient("Timeout", "the connection takes too long"),
        }
    }
    Err(failure)
}

/// Sends the request and reads the answer's status, and its body to the end or the limit.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<HttpAnswer, NotDelivered> {
    let broken = |error: hyper::Error| transient("Connection", error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        // The message was taken or refused, whatever becomes of the rest.
        let body = match Limited::new(response.into_body(), ANSWER_SIZE_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                tracing::debug!(error, "an endpoint's answer was not read to its end");
                Bytes::new()
            }
        };
        Ok(HttpAnswer { status, retry_after, body })
    };
    answer_over(connection, answer).await
}

/// The answer, while the connection does its work; it lives as long as its one answer.
pub async fn answer_over<A>(connection: impl Future, answer: impl Future<Output = A>) -> A {
    tokio::pin!(connection);
    tokio::pin!(answer);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = Endpoint::of("https://us%40er:p%3Ass@example.com:8443/a?b=c").unwrap();
        assert!(endpoint.is_tls);
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("example.com", 8443));
        assert_eq!((endpoint.named.as_str(), endpoint.path.as_str()), ("example.com:8443", "/a?b=c"));
        let expected = format!("Basic {}", STANDARD.encode("us@er:p:ss"));
        assert_eq!(endpoint.authorization.unwrap(), expected.as_str());
        let endpoint = Endpoint::of("http://[::1]/").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 80));
        for wrong in ["", "example.com", "ftp://example.com/", "http://"] {
            assert!(Endpoint::of(wrong).is_err_and(|failure| failure.is_permanent), "{wrong}");
        }
    }

    #[tokio::test]
    async fn where_clouds_keep_credentials_nobody_is_sent() {
        for forbidden in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(is_forbidden(forbidden.parse().unwrap()), "{forbidden}");
            let failure = connect(forbidden, 80).await.unwrap_err();
            assert_eq!((failure.is_permanent, failure.code.as_str()), (true, "ForbiddenAddress"));
        }
        for allowed in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "8.8.8.8"] {
            assert!(!is_forbidden(allowed.parse().unwrap()), "{allowed}");
        }
    }
}
