//! The front door: every call of every service comes through here, and leaves an event behind.
//!
//! On the road: between the socket and the services. Steps, in this order: find the service and operation, verify the
//! signature, decode, check, authorise, handle, record, reply. Invariants: no reply leaves before its event is
//! durable; every call whose operation is known is recorded, also one that was denied or failed or whose client went
//! away, but for failed calls of nobody known past what [`strangers`] admits; in strict mode no mutating call is
//! handled before its intent is durable; a caller whose signature does not verify reaches no service.

mod identify;
mod ingest;
mod server;
mod sketch;
mod strangers;
mod underway;
mod whole_body;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cairn_core::record::build::CallEvent;
use cairn_core::{AccountId, Clock, Entropy, EventId, Principal, Timestamp};
use cairn_services::authorise::authorise;
use cairn_services::iam::Iam;
use cairn_services::lambda::{self, Lambda};
use cairn_services::sns::Signing;
use cairn_services::sts::Sessions;
use cairn_services::{Access, Caller, EventKind, Operation, Service};
use cairn_store::space::SpaceWatch;
use cairn_trail::{Ingest, Recorder};
use cairn_wire::front::{BodyNeed, Checks, Exchange, Front, Opening, Payload, Rejection, ReplyBody};
use cairn_wire::{AwsError, Body, Call, Reply};
use futures::FutureExt;
use http::Response;
use http::request::Parts;
use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};
use tokio::sync::Semaphore;

pub use server::{Server, TlsSettings};
use sketch::Sketch;
use strangers::Strangers;
use underway::Underway;
pub(crate) use underway::{client_gone, is_client_gone};
use whole_body::{Room, WholeBody};

use crate::failpoint;
use crate::settings::Recording;

/// The largest body that is read as a whole, in bytes: everything but the bodies of S3 objects. The largest that AWS's
/// clients send is a CompleteMultipartUpload of 10,000 parts, about 2 MB.
pub const BUFFERED_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where the server answers for itself. No bucket's name begins with an underscore.
const OWN_PATHS: &str = "/_cairn/";

/// Where the certificate is that vouches for topics' messages. No bucket's name has capitals.
const CERTIFICATE_PATHS: &str = "/SimpleNotificationService-";

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: std::net::IpAddr,
    /// What TLS agreed on; none without TLS.
    pub tls: Option<TlsFacts>,
}

/// What a record shows of a TLS session.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
}

/// What the door stands between.
pub struct DoorParts {
    /// The codec.
    pub front: Front,
    /// The services.
    pub services: Vec<Arc<dyn Service>>,
    /// Who has which key.
    pub iam: Arc<Iam>,
    /// Who holds temporary keys.
    pub sessions: Sessions,
    /// Where events go.
    pub recorder: Recorder,
    /// Whether intents come before mutating calls.
    pub recording: Recording,
    /// Where records of other producers go.
    pub ingest: Arc<Ingest>,
    /// The folder for bodies that are put aside until their signature is verified.
    pub spool: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids.
    pub entropy: Arc<dyn Entropy>,
    /// The account that calls of nobody's are recorded in.
    pub first_account: AccountId,
    /// Has the certificate that vouches for topics' messages.
    pub signing: Signing,
    /// Has the code of functions that links lead to.
    pub lambda: Arc<Lambda>,
    /// The room on the disk.
    pub space: Arc<SpaceWatch>,
    /// Where metrics are registered.
    pub registry: Registry,
}

/// The front door.
pub struct Door {
    parts: DoorParts,
    services: HashMap<&'static str, Arc<dyn Service>>,
    calls: IntCounterVec,
    unrecorded: IntCounterVec,
    room: Room,
    strangers: Strangers,
    underway: Underway,
    ingest_places: Semaphore,
    /// For bodies that are put aside until their signatures verify.
    spool_memory: Arc<Semaphore>,
}

/// One request's arrival.
#[derive(Clone, Debug)]
struct Arrival {
    now: Timestamp,
    request_id: EventId,
    event_id: EventId,
    peer: Peer,
}

/// A call's body, and whether its signature verifies over it.
struct Taken {
    payload: Payload,
    verified: Result<(), AwsError>,
    /// Keeps the body's place until the call is answered.
    _held: Option<WholeBody>,
}

/// What the handling of a call came to.
type Outcome = Result<Reply, AwsError>;

impl Door {
    /// A door to the given services.
    pub fn new(parts: DoorParts) -> Result<Self, prometheus::Error> {
        let calls = IntCounterVec::new(
            Opts::new("cairn_calls_total", "calls answered, by service, operation and error code"),
            &["service", "operation", "code"],
        )?;
        let unrecorded = IntCounterVec::new(
            Opts::new("cairn_unrecorded_requests_total", "requests that left no event, by error code"),
            &["code"],
        )?;
        parts.registry.register(Box::new(calls.clone()))?;
        parts.registry.register(Box::new(unrecorded.clone()))?;
        let services = parts.services.iter().map(|service| (service.model(), Arc::clone(service))).collect();
        Ok(Self {
            parts,
            services,
            calls,
            unrecorded,
            room: Room::default(),
            strangers: Strangers::default(),
            underway: Underway::default(),
            ingest_places: Semaphore::new(ingest::CALLS_MAX),
            spool_memory: Arc::new(Semaphore::new(ingest::SPOOL_MEMORY_BYTES_MAX)),
        })
    }

    /// Answers one request. Should the caller stop waiting, as hyper does when the client goes away, the call is carried
    /// out and recorded all the same.
    pub async fn answer(self: Arc<Self>, parts: Parts, body: Body, peer: Peer) -> Response<ReplyBody> {
        if let Some(token) = parts.uri.path().strip_prefix(lambda::CODE_PATH) {
            return self.answer_code(token).await;
        }
        if let Some(own) = parts.uri.path().strip_prefix(OWN_PATHS) {
            return self.answer_own(own);
        }
        if parts.method == http::Method::GET && parts.uri.path().starts_with(CERTIFICATE_PATHS) {
            return self.answer_certificate(&parts.uri.path()[1..]).await;
        }
        let door = Arc::clone(&self);
        self.underway.run(async move { door.answer_call(parts, body, peer).await }).await
    }

    /// Returns once no call is under way.
    pub async fn ended(&self) {
        self.underway.ended().await;
    }

    async fn answer_call(&self, parts: Parts, body: Body, peer: Peer) -> Response<ReplyBody> {
        let arrival = Arrival {
            now: self.parts.clock.now(),
            request_id: self.parts.entropy.event_id(),
            event_id: self.parts.entropy.event_id(),
            peer,
        };
        if ingest::is_meant(&parts, &self.parts.front) {
            return self.answer_ingest(&parts, body, &arrival).await;
        }
        if self.parts.space.is_short() {
            return self.refuse_without_record(&parts, &arrival);
        }
        let mut sketch = Sketch::of_request(&parts, &arrival, &self.parts.first_account);
        let (exchange, outcome) = self.perform(&parts, body, &arrival, &mut sketch).await;
        sketch.name_after(&exchange);
        self.find_operation(exchange.service(), exchange.operation(), &mut sketch);
        let encode_error = |error: &AwsError| {
            log_fault(error, &arrival.request_id);
            exchange.encode_error(error, &arrival.request_id, parts.uri.path())
        };
        let (response, error) = match outcome {
            Ok(reply) => (exchange.encode(reply, &arrival.request_id), None),
            Err(error) => (encode_error(&error), Some(error)),
        };
        sketch.set_sent(&response);
        match self.record(sketch, error).await {
            Ok(()) => response,
            Err(unconfirmed) => encode_error(&unconfirmed),
        }
    }

    /// Refuses a call in its protocol before anything of it is done: there is no room to record it.
    fn refuse_without_record(&self, parts: &Parts, arrival: &Arrival) -> Response<ReplyBody> {
        let claim = identify::claim(parts, &self.parts.front);
        let exchange = match self.parts.front.open(parts, claim.signing()) {
            Ok(opening) => opening.exchange().clone(),
            Err(rejection) => rejection.exchange,
        };
        exchange.encode_error(&self.no_room(), &arrival.request_id, parts.uri.path())
    }

    /// The error of a call that is refused unrecorded, which is counted.
    fn no_room(&self) -> AwsError {
        let error = no_room();
        self.unrecorded.with_label_values(&[error.code.as_ref()]).inc();
        error
    }

    /// Health and metrics: no API calls, and not recorded.
    fn answer_own(&self, path: &str) -> Response<ReplyBody> {
        let (status, text) = match path {
            "health" => (200, "ok\n".to_owned()),
            "metrics" => match TextEncoder::new().encode_to_string(&self.parts.registry.gather()) {
                Ok(text) => (200, text),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the metrics cannot be shown");
                    (500, "the metrics cannot be shown\n".to_owned())
                }
            },
            _ => (404, "there is /_cairn/health and /_cairn/metrics\n".to_owned()),
        };
        let mut reply = Response::new(ReplyBody::Whole(Bytes::from(text)));
        *reply.status_mut() = http::StatusCode::from_u16(status).expect("a status written here");
        reply
            .headers_mut()
            .insert("content-type", http::HeaderValue::from_static("text/plain; version=0.0.4"));
        reply
    }

    /// The certificate: as public as the health, and not recorded either.
    async fn answer_certificate(&self, file_name: &str) -> Response<ReplyBody> {
        let (status, text) = match self.parts.signing.certificate(file_name).await {
            Ok(Some(pem)) => (http::StatusCode::OK, pem),
            Ok(None) => (http::StatusCode::NOT_FOUND, "there is no such certificate\n".to_owned()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the certificate cannot be shown");
                (http::StatusCode::INTERNAL_SERVER_ERROR, "the certificate cannot be shown\n".to_owned())
            }
        };
        let mut reply = Response::new(ReplyBody::Whole(Bytes::from(text)));
        *reply.status_mut() = status;
        let kind = if status == http::StatusCode::OK { "application/x-pem-file" } else { "text/plain" };
        reply.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
        reply
    }

    /// The code of a function, for whoever was given the link.
    async fn answer_code(&self, token: &str) -> Response<ReplyBody> {
        let (status, kind, bytes) = match self.parts.lambda.linked_package(token).await {
            Ok(Some(package)) => (http::StatusCode::OK, "application/zip", package),
            Ok(None) => (http::StatusCode::FORBIDDEN, "text/plain", b"the link leads nowhere\n".to_vec()),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a function's code cannot be shown"
                );
                let text = b"the code cannot be shown\n".to_vec();
                (http::StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text)
            }
        };
        let mut reply = Response::new(ReplyBody::Whole(Bytes::from(bytes)));
        *reply.status_mut() = status;
        reply.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
        reply
    }

    /// Everything up to the handler's answer.
    async fn perform(
        &self,
        parts: &Parts,
        body: Body,
        arrival: &Arrival,
        sketch: &mut Sketch,
    ) -> (Exchange, Outcome) {
        let claim = identify::claim(parts, &self.parts.front);
        let opening = match self.parts.front.open(parts, claim.signing()) {
            Ok(opening) => opening,
            Err(rejection) => {
                let Rejection { error, exchange } = *rejection;
                return (exchange, Err(error));
            }
        };
        let opened = opening.exchange().clone();
        let identified = claim.identify(&self.parts.iam, &self.parts.sessions, arrival.now).await;
        sketch.set_identity(&identified);
        let Taken { payload, verified, _held } =
            match self.take_body(parts, &opening, body, &identified, arrival, sketch).await {
                Ok(taken) => taken,
                Err(error) => return (opened, Err(error)),
            };
        if verified.is_err() {
            sketch.set_unverified();
        }
        let decoded = opening.decode(parts, payload);
        if let Err(error) = verified {
            let exchange = match decoded {
                Ok((call, exchange)) => {
                    self.describe_refused(&call, &identified, arrival, sketch).await;
                    exchange
                }
                Err(rejection) => rejection.exchange,
            };
            return (exchange, Err(error));
        }
        match decoded {
            Ok((call, exchange)) => {
                let handled = self.dispatch(call, &exchange, &identified, arrival, sketch);
                let outcome = AssertUnwindSafe(handled).catch_unwind().await;
                (exchange, outcome.unwrap_or_else(|_| Err(AwsError::internal("a handler panicked"))))
            }
            Err(rejection) => {
                let Rejection { error, exchange } = *rejection;
                (exchange, Err(error))
            }
        }
    }

    /// Reads or wraps the body and verifies the signature over it. The outer error is of a body that cannot be read,
    /// the inner one of a caller who is not who they claim to be: their call is still decoded, to be recorded.
    async fn take_body(
        &self,
        parts: &Parts,
        opening: &Opening,
        body: Body,
        identified: &identify::Identified,
        arrival: &Arrival,
        sketch: &mut Sketch,
    ) -> Result<Taken, AwsError> {
        match opening.body() {
            BodyNeed::Buffered { limit_bytes } => {
                let whole = self.room.read(body, limit_bytes, opening.exchange()).await?;
                sketch.count_received(whole.bytes.len() as u64);
                let verified = identified.verify_whole(parts, &whole.bytes, arrival.now);
                Ok(Taken { payload: Payload::Whole(whole.bytes.clone()), verified, _held: Some(whole) })
            }
            BodyNeed::Streaming => {
                let counted = sketch.counted(body, &self.parts.space);
                match identified.verify_stream(parts, counted, arrival.now) {
                    Ok(body) => Ok(Taken { payload: Payload::Stream(body), verified: Ok(()), _held: None }),
                    Err(error) => {
                        let payload = Payload::Stream(Body::from_bytes(Bytes::new()));
                        Ok(Taken { payload, verified: Err(error), _held: None })
                    }
                }
            }
        }
    }

    /// Checks, authorises and handles a call of a known caller.
    async fn dispatch(
        &self,
        call: Call,
        exchange: &Exchange,
        identified: &identify::Identified,
        arrival: &Arrival,
        sketch: &mut Sketch,
    ) -> Outcome {
        let found = self.find_operation(Some(&call.service), Some(&call.operation), sketch);
        sketch.set_params(&call);
        let Some((service, operation)) = found else { return Err(exchange.unsupported()) };
        let checks = if service.checks_values() { Checks::Structure } else { Checks::All };
        self.parts.front.check(&call, checks)?;

        identified.note_use(&self.parts.iam, arrival.now);
        let mut caller = self.caller_with_rights(identified, &call, arrival, sketch).await?;
        let recognised = service.recognise(&mut caller, &call).await;
        sketch.set_recognised(&caller, recognised.is_ok());
        recognised?;
        let target = service.target(&caller, &call).await?;
        if caller.principal.account().is_none() {
            let owner = target.policy.as_ref().map(|policy| policy.owner.clone());
            caller.account = owner.unwrap_or(caller.account);
        }
        sketch.set_target(&caller, &target);
        if !service.authorises_itself(&call.operation) {
            authorise(&caller, &target)?;
        }
        for further in service.further_targets(&caller, &call).await? {
            authorise(&caller, &further)?;
        }
        let writes = operation.access == Access::Write;
        if writes {
            sketch.name_after(exchange);
            self.announce(sketch).await?;
        }
        let outcome = service.handle(&caller, call).await;
        if writes {
            failpoint::reach(failpoint::AFTER_HANDLER);
        }
        let reply = outcome?;
        sketch.set_reply(service.as_ref(), operation, &reply);
        sketch.set_concerned(service.also_concerned(operation.name, &target));
        Ok(reply)
    }

    /// Says in the sketch what can be known of a call whose caller is not who they claim to be. Data events need to
    /// name their objects, or no trail would take them.
    async fn describe_refused(
        &self,
        call: &Call,
        identified: &identify::Identified,
        arrival: &Arrival,
        sketch: &mut Sketch,
    ) {
        let found = self.find_operation(Some(&call.service), Some(&call.operation), sketch);
        sketch.set_params(call);
        let Some((service, operation)) = found else { return };
        if operation.kind == EventKind::Management || self.parts.front.check(call, Checks::Structure).is_err()
        {
            return;
        }
        let mut caller = self.caller(identified, call, arrival, sketch);
        caller.principal = Principal::Unknown { claimed_access_key_id: None };
        // Where the target cannot be found out, the record goes without.
        if let Ok(target) = service.target(&caller, call).await {
            let owner = target.policy.as_ref().map(|policy| policy.owner.clone());
            caller.account = owner.unwrap_or(caller.account);
            sketch.set_target(&caller, &target);
        }
    }

    /// The caller with what its policies allow. Only for a caller whose signature verified.
    async fn caller_with_rights(
        &self,
        identified: &identify::Identified,
        call: &Call,
        arrival: &Arrival,
        sketch: &Sketch,
    ) -> Result<Caller, AwsError> {
        let mut caller = self.caller(identified, call, arrival, sketch);
        let rights = self.parts.iam.rights_of(&caller.principal, caller.session.as_deref()).await;
        caller.rights = rights.map_err(AwsError::internal)?;
        Ok(caller)
    }

    /// The caller without any rights.
    fn caller(
        &self,
        identified: &identify::Identified,
        call: &Call,
        arrival: &Arrival,
        sketch: &Sketch,
    ) -> Caller {
        let principal = identified.principal();
        Caller {
            account: principal.account().cloned().unwrap_or_else(|| self.parts.first_account.clone()),
            principal,
            access_key_id: identified.access_key_id().map(str::to_owned),
            session: identified.session().cloned(),
            mfa_verified: false,
            region: sketch.region().clone(),
            now: arrival.now,
            request_id: arrival.request_id.clone(),
            source_ip: arrival.peer.address,
            secure_transport: arrival.peer.tls.is_some(),
            user_agent: call.request.user_agent.clone(),
            rights: Arc::default(),
        }
    }

    /// Finds the embedded service and its operation, and names them in the sketch.
    fn find_operation(
        &self,
        service: Option<&str>,
        operation: Option<&str>,
        sketch: &mut Sketch,
    ) -> Option<(&Arc<dyn Service>, &'static Operation)> {
        let service = self.services.get(service?)?;
        sketch.set_service(service);
        let operation = service.operations().iter().find(|known| Some(known.name) == operation)?;
        sketch.set_operation(operation);
        Some((service, operation))
    }

    /// Makes the intent of a mutating call durable, before anything of it happens.
    async fn announce(&self, sketch: &mut Sketch) -> Result<(), AwsError> {
        let strict = self.parts.recording == Recording::Strict;
        let Some(event) = sketch.event(None).filter(|_| strict) else { return Ok(()) };
        match self.parts.recorder.intend(event).await {
            Ok(intent) => sketch.set_intent(intent),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a call could not be announced");
                let message = "The request was not carried out. Please try again.";
                return Err(AwsError::with_status(503, "ServiceUnavailable", message));
            }
        }
        failpoint::reach(failpoint::AFTER_INTENT);
        Ok(())
    }

    /// Makes the call's event durable. The error is the caller's where that fails: they must not see a success.
    async fn record(&self, mut sketch: Sketch, error: Option<AwsError>) -> Result<(), AwsError> {
        let code = error.as_ref().map_or("", |error| error.code.as_ref()).to_owned();
        let admitted =
            error.is_none() || !sketch.is_a_strangers() || self.strangers.admit(self.parts.clock.now());
        let Some(event) = sketch.event(error.as_ref()).filter(|_| admitted) else {
            self.unrecorded.with_label_values(&[code.as_str()]).inc();
            return Ok(());
        };
        let service = event.event_source.trim_end_matches(".amazonaws.com").to_owned();
        self.calls.with_label_values(&[service.as_str(), event.event_name.as_str(), code.as_str()]).inc();
        let twin = sketch.twin(&event, error.is_some(), || self.parts.entropy.event_id());
        let event = CallEvent {
            shared_event_id: twin.as_ref().and_then(|twin| twin.shared_event_id.clone()),
            ..event
        };
        match self.parts.recorder.record(event, twin, sketch.take_intent()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a call could not be recorded");
                Err(AwsError::with_status(
                    503,
                    "ServiceUnavailable",
                    "The request could not be recorded and is not confirmed. Please try again.",
                ))
            }
        }
    }
}

/// The disk is nearly full.
fn no_room() -> AwsError {
    AwsError::with_status(503, "ServiceUnavailable", "Service is unable to handle request.")
}

fn log_fault(error: &AwsError, request_id: &EventId) {
    // 501 says that the caller asked for what is not built, which is in the record and no fault.
    if error.status >= 500 && error.status != 501 {
        let source = std::error::Error::source(error);
        tracing::error!(%request_id, code = %error.code, source, "a call failed by the server's fault");
    }
}
