//! Connections over HTTP/1.1 that are kept and used again.
//!
//! Invariants: every wait has a limit; a connection that failed is never used again; buffers are small, since they count
//! for each file that is read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::endpoint::Endpoint;

/// Connections to one endpoint that are kept although nobody uses them.
const IDLE_MAX: usize = 64;
/// What a connection's buffer may grow to, in bytes.
const BUFFER_SIZE_BYTES_MAX: usize = 64 * 1024;

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("no connection to {host}")]
    Connect {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is no name for tls")]
    Name(String),
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
    #[error("nothing came within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the answer has more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("the answer's body failed")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

type Sender = SendRequest<Full<Bytes>>;

/// The connections of a client.
pub(super) struct Connections {
    tls: TlsConnector,
    connect_timeout: Duration,
    idle: Mutex<HashMap<Endpoint, Vec<Sender>>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(tls: TlsConnector, connect_timeout: Duration) -> Self {
        Self { tls, connect_timeout, idle: Mutex::default() }
    }

    /// Sends a request; the answer's head must come within `timeout`.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, TransportError> {
        let endpoint = endpoint.at_root();
        let mut sender = self.sender(&endpoint).await?;
        let answer = match within(timeout, sender.try_send_request(request)).await? {
            Ok(answer) => answer,
            // A kept connection that the server has closed meanwhile: nothing of the request has left.
            Err(mut refused) => {
                let Some(request) = refused.take_message() else { return Err(refused.into_error().into()) };
                sender = self.open(&endpoint).await?;
                within(timeout, sender.send_request(request)).await??
            }
        };
        // It is ready again when the body was read to its end; until then, and where it was not, nobody takes it.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(endpoint).or_default();
        kept.retain(|sender| !sender.is_closed());
        if kept.len() < IDLE_MAX {
            kept.push(sender);
        }
        Ok(answer)
    }

    /// A connection that is kept and ready, the one used last first, or a new one.
    async fn sender(&self, endpoint: &Endpoint) -> Result<Sender, TransportError> {
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle.get_mut(endpoint);
            kept.and_then(|kept| {
                let at = kept.iter().rposition(SendRequest::is_ready)?;
                Some(kept.remove(at))
            })
        };
        match kept {
            Some(sender) => Ok(sender),
            None => self.open(endpoint).await,
        }
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Sender, TransportError> {
        within(self.connect_timeout, self.connect(endpoint)).await?
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Sender, TransportError> {
        let failed = |source| TransportError::Connect { host: endpoint.authority.to_string(), source };
        let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if !endpoint.is_tls {
            return handshake(stream).await;
        }
        let host = endpoint.host().to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| TransportError::Name(host))?;
        handshake(self.tls.connect(name, stream).await.map_err(failed)?).await
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Sender, TransportError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_SIZE_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // It ends with its last sender; why, the sender says.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// All of an answer's body, which has at most `limit_bytes`; each part must come within `timeout`.
pub(super) async fn read_all(
    body: Incoming,
    limit_bytes: usize,
    timeout: Duration,
) -> Result<Bytes, TransportError> {
    match within(timeout, Limited::new(body, limit_bytes).collect()).await? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(TransportError::TooLarge { limit_bytes }),
        Err(error) => Err(TransportError::Body(error)),
    }
}

/// The next part of an answer's body; none at its end.
pub(super) async fn read_part(
    body: &mut Incoming,
    timeout: Duration,
) -> Option<Result<Bytes, TransportError>> {
    loop {
        let frame = match within(timeout, body.frame()).await {
            Ok(frame) => frame?,
            Err(error) => return Some(Err(error)),
        };
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(bytes)) => return Some(Ok(bytes)),
            // Trailers say nothing that is needed.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error.into())),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, TransportError> {
    tokio::time::timeout(limit, work).await.map_err(|_| TransportError::Timeout(limit))
}
