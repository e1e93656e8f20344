//! The Lambda Runtime API, as one environment's runtime talks to it: it asks for the next event and says what became of
//! it.
//!
//! Each environment has a listener of its own on the loopback, and answers for its own events alone. Source: the
//! developer guide's "Using the Lambda runtime API".

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cairn_services::lambda::Invocation;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// The version in paths.
const BASE: &str = "/2018-06-01/runtime/";
/// The largest answer, in bytes, with what JSON adds to the six megabytes.
const ANSWER_SIZE_BYTES_MAX: usize = 6_291_556;
/// The largest report of an error, in bytes.
const ERROR_SIZE_BYTES_MAX: usize = 1 << 20;
/// Connections of one runtime.
const CONNECTIONS_MAX: usize = 16;

/// What a runtime said.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// It asked for an event for the first time.
    Ready,
    /// It cannot begin: the report.
    InitError(Bytes),
    /// The answer to the event that it has.
    Answer(Bytes),
    /// What went wrong with the event that it has.
    Error(Bytes),
    /// An answer that is too large.
    TooLarge,
}

/// An event, and when its time is over, in milliseconds since 1970.
pub(super) struct Handed {
    pub(super) invocation: Invocation,
    pub(super) deadline_ms: i64,
}

/// One environment's end of the API.
pub(super) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::Sender<Handed>,
    pub(super) said: mpsc::Receiver<Said>,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
}

/// What the handlers share.
struct Desk {
    events: tokio::sync::Mutex<mpsc::Receiver<Handed>>,
    said: mpsc::Sender<Said>,
    /// The event that the runtime works on.
    current: Mutex<Option<String>>,
    is_ready: watch::Sender<bool>,
}

impl RuntimeApi {
    pub(super) async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (events, taken) = mpsc::channel(1);
        let (say, said) = mpsc::channel(4);
        let desk = Arc::new(Desk {
            events: tokio::sync::Mutex::new(taken),
            said: say,
            current: Mutex::default(),
            is_ready: watch::Sender::new(false),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&desk)));
        Ok(Self { address, events, said, desk, server })
    }

    /// `127.0.0.1:40123`.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Hands an event to the runtime, which takes it when it asks.
    pub(super) async fn hand(&self, event: Handed) -> bool {
        *self.desk.current() = Some(event.invocation.request_id.clone());
        self.events.send(event).await.is_ok()
    }

    /// Takes the event back: what is said of it from now on is refused.
    pub(super) fn forget(&self) {
        *self.desk.current() = None;
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().strip_prefix(BASE).unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => {
                let body = Limited::new(request.into_body(), ANSWER_SIZE_BYTES_MAX).collect().await;
                let said = body.map_or(Said::TooLarge, |body| Said::Answer(body.to_bytes()));
                self.settle(id, said).await
            }
            (&Method::POST, ["invocation", id, "error"]) => {
                let body = Limited::new(request.into_body(), ERROR_SIZE_BYTES_MAX).collect().await;
                let report = body.map(|body| body.to_bytes()).unwrap_or_default();
                self.settle(id, Said::Error(report)).await
            }
            (&Method::POST, ["init", "error"]) => {
                let body = Limited::new(request.into_body(), ERROR_SIZE_BYTES_MAX).collect().await;
                let report = body.map(|body| body.to_bytes()).unwrap_or_default();
                self.say(Said::InitError(report)).await;
                accepted()
            }
            _ => refused(StatusCode::NOT_FOUND, "InvalidPath", "there is no such path"),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        if !self.is_ready.send_replace(true) {
            self.say(Said::Ready).await;
        }
        // Should the runtime go away meanwhile, no event is taken.
        let Some(Handed { invocation, deadline_ms }) = self.events.lock().await.recv().await else {
            return refused(StatusCode::GONE, "Ended", "the environment has ended");
        };
        let mut response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", &invocation.request_id)
            .header("lambda-runtime-deadline-ms", deadline_ms)
            .header("lambda-runtime-invoked-function-arn", &invocation.invoked_arn);
        if let Some(trace) = &invocation.trace {
            response = response.header("lambda-runtime-trace-id", trace);
        }
        if let Some(context) = &invocation.client_context {
            response = response.header("lambda-runtime-client-context", context);
        }
        response.body(Full::new(invocation.payload)).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "an event cannot be handed over");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "InvalidEvent", "the event cannot be handed over")
        })
    }

    async fn settle(&self, id: &str, said: Said) -> Response<Full<Bytes>> {
        if self.current().take_if(|current| current == id).is_none() {
            return refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
        }
        if matches!(said, Said::TooLarge) {
            self.say(said).await;
            return refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                "Exceeded maximum allowed payload size",
            );
        }
        self.say(said).await;
        accepted()
    }

    /// What nobody listens to any more is of no interest.
    async fn say(&self, said: Said) {
        if self.said.send(said).await.is_err() {
            tracing::debug!("a runtime speaks that nobody listens to");
        }
    }
}

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"status":"OK"}"#)));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    let text = serde_json::json!({"errorMessage": message, "errorType": kind}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a runtime cannot be heard");
                // Files may be short for a moment.
                let _ = tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
                continue;
            }
        };
        let desk = Arc::clone(&desk);
        connections.spawn(async move {
            let answer = service_fn(|request| {
                let desk = Arc::clone(&desk);
                async move { Ok::<_, Infallible>(desk.answer(request).await) }
            });
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a runtime's connection broke off");
            }
            drop(place);
        });
    }
}
