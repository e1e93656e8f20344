//! The socket: accepts connections, with or without TLS, and hands each request to the door.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_wire::front::ReplyBody;
use cairn_wire::{Body, BodyError, BodySource};
use futures::StreamExt;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, ServerConfig};

use super::{Door, Peer, TlsFacts};

/// The most connections at a time; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send a request's head, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an HTTP/2 client is asked whether it is still there.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// The most requests at a time on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 32;
/// How long a client may pause inside a request's body.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take to end after the server was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls may take to be recorded after their connections were cut.
const RECORD_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A PEM file cannot be read.
    #[error("cannot read {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The certificate and key cannot be used.
    #[error("the certificate and key cannot be used")]
    Certificate(#[source] tokio_rustls::rustls::Error),
}

/// A bound socket.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// HTTP/2's name in TLS.
const HTTP2: &[u8] = b"h2";

type HttpBody = UnsyncBoxBody<Bytes, BodyError>;

impl Server {
    /// Binds `address`.
    pub async fn bind(address: SocketAddr, tls: Option<&TlsSettings>) -> Result<Self, ServerError> {
        let tls = tls.map(acceptor).transpose()?;
        let failed = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls })
    }

    /// The URL that clients on this machine reach the server by.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            let loopback =
                if address.is_ipv4() { [127, 0, 0, 1].into() } else { "::1".parse().expect("an address") };
            address.set_ip(loopback);
        }
        format!("{scheme}://{address}")
    }

    /// Serves until `stop` turns true, then lets requests under way end.
    pub async fn run(self, door: Arc<Door>, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let cut = watch::Sender::new(false);
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: trying again at once would spin.
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                    let pause = Duration::from_millis(100);
                    if tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
                        break;
                    }
                    continue;
                }
            };
            let (door, tls, watcher) = (Arc::clone(&door), self.tls.clone(), graceful.watcher());
            let mut is_cut = cut.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    () = connection(stream, address, tls, door, watcher) => {}
                    _ = is_cut.wait_for(|cut| *cut) => {}
                }
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests were still under way and were cut off");
        }
        // A body that was still coming ends in an error now, and its call is recorded with that.
        cut.send_replace(true);
        if tokio::time::timeout(RECORD_TIMEOUT, door.ended()).await.is_err() {
            tracing::error!("some calls did not end and could not be recorded");
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    door: Arc<Door>,
    watcher: Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "the connection went away at once");
        return;
    }
    let Some(acceptor) = tls else {
        let peer = Peer { address: address.ip(), tls: None };
        return serve(stream, false, peer, door, watcher).await;
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let session = stream.get_ref().1;
            let tls =
                session.protocol_version().zip(session.negotiated_cipher_suite()).map(|(version, suite)| {
                    TlsFacts { version: tls_version(version), cipher_suite: suite_name(suite.suite()) }
                });
            let is_http2 = session.alpn_protocol() == Some(HTTP2);
            serve(stream, is_http2, Peer { address: address.ip(), tls }, door, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "the TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "the TLS handshake took too long"),
    }
}

/// The protocol is what TLS agreed on. It is not guessed from the first bytes: that would wait for them for ever.
async fn serve<S>(stream: S, is_http2: bool, peer: Peer, door: Arc<Door>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let service = service_fn(move |request: Request<Incoming>| {
        begins.notify_one();
        let (door, peer) = (Arc::clone(&door), peer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let length_bytes = http_body::Body::size_hint(&body).exact();
            let permission = Permission::of(&parts, length_bytes);
            let received = Received { body, permission: permission.clone() };
            let mut reply = door.answer(parts, Body::new(received, length_bytes), peer).await;
            if permission.is_outstanding() {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(sendable(reply))
        }
    });
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .max_concurrent_streams(HTTP2_STREAMS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    match unless_silent(watcher.watch(connection), &begun).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%address, error, "a connection ended in an error"),
        None => tracing::debug!(%address, "a connection was closed that asked for nothing"),
    }
}

/// What `connection` comes to; none where nothing has begun within the time for a head. hyper's own limit for heads is
/// of HTTP/1 only: for the preface of an HTTP/2 client it waits without end.
async fn unless_silent<T>(connection: impl Future<Output = T>, begun: &Notify) -> Option<T> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return Some(ended),
        first = tokio::time::timeout(HEAD_TIMEOUT, begun.notified()) => {
            if first.is_err() {
                return None;
            }
        }
    }
    Some(connection.await)
}

/// Whether a client that waits for `100 Continue` was sent it, which hyper does when a body is first asked for and is
/// not empty. One that gets its reply without it must not use the connection again: botocore takes that reply's status
/// for the next one's too (`AWSConnection.response_class`), so that after an empty file the next part has no ETag.
#[derive(Clone)]
struct Permission {
    awaited: bool,
    is_empty: bool,
    given: Arc<AtomicBool>,
}

impl Permission {
    fn of(request: &Parts, length_bytes: Option<u64>) -> Self {
        let expects = request.headers.get(EXPECT).is_some_and(|value| {
            value.as_bytes().eq_ignore_ascii_case(b"100-continue") && request.version == Version::HTTP_11
        });
        Self { awaited: expects, is_empty: length_bytes == Some(0), given: Arc::default() }
    }

    fn give(&self) {
        self.given.store(!self.is_empty, Ordering::Relaxed);
    }

    fn is_outstanding(&self) -> bool {
        self.awaited && !self.given.load(Ordering::Relaxed)
    }
}

/// A request's body, as it comes from the socket.
struct Received {
    body: Incoming,
    permission: Permission,
}

#[async_trait]
impl BodySource for Received {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.permission.give();
        loop {
            let frame = match tokio::time::timeout(BODY_PAUSE_MAX, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Some(Err(BodyError::Incomplete(Some(error.into())))),
                Ok(None) => return None,
                Err(_) => return Some(Err(BodyError::Incomplete(None))),
            };
            // HTTP trailers carry nothing here: AWS's clients send theirs inside the aws-chunked body.
            if let Ok(data) = frame.into_data() {
                return Some(Ok(data));
            }
        }
    }
}

fn sendable(reply: Response<ReplyBody>) -> Response<HttpBody> {
    reply.map(|body| match body {
        ReplyBody::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        ReplyBody::Stream(body) => {
            let pieces = futures::stream::unfold(body, |mut body| async move {
                let piece = body.next().await?;
                Some((piece, body))
            });
            StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
        }
    })
}

fn tls_version(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// `ECDHE-RSA-AES128-GCM-SHA256` for TLS 1.2 and `TLS_AES_128_GCM_SHA256` for 1.3, as AWS's records name them.
fn suite_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name
            .trim_start_matches("TLS_")
            .replace("_WITH_AES_128_", "-AES128-")
            .replace("_WITH_AES_256_", "-AES256-")
            .replace('_', "-"),
    }
}

fn acceptor(settings: &TlsSettings) -> Result<TlsAcceptor, ServerError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerError::Pem { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(&settings.cert)
        .and_then(Iterator::collect)
        .map_err(unreadable(&settings.cert))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(unreadable(&settings.key))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(ServerError::Certificate)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_is_closed_in_time() {
        let begun = Notify::new();
        assert!(unless_silent(std::future::pending::<()>(), &begun).await.is_none());
        begun.notify_one();
        let later = async { tokio::time::timeout(HEAD_TIMEOUT * 5, std::future::pending::<()>()).await };
        assert!(unless_silent(later, &begun).await.is_some());
    }

    #[test]
    fn a_client_that_waits_in_vain_for_leave_to_send_must_close() {
        let permission = |expect: Option<&str>, length_bytes| {
            let request = expect
                .into_iter()
                .fold(Request::builder(), |request, expect| request.header("expect", expect));
            Permission::of(&request.body(()).unwrap().into_parts().0, Some(length_bytes))
        };
        for (expect, length_bytes, is_read, outstanding) in [
            (Some("100-continue"), 0, true, true),
            (Some("100-Continue"), 5, false, true),
            (Some("100-continue"), 5, true, false),
            (None, 0, true, false),
            (None, 5, false, false),
        ] {
            let permission = permission(expect, length_bytes);
            if is_read {
                permission.give();
            }
            assert_eq!(permission.is_outstanding(), outstanding, "{expect:?} {length_bytes} {is_read}");
        }
    }

    #[test]
    fn cipher_suites_are_named_as_records_name_them() {
        assert_eq!(
            suite_name(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
            "ECDHE-RSA-AES128-GCM-SHA256"
        );
        assert_eq!(suite_name(CipherSuite::TLS13_AES_256_GCM_SHA384), "TLS_AES_256_GCM_SHA384");
    }
}
