//! `POST /v1/events`: the door for producers that have records already.
//!
//! On the road: beside the services, with the same identification, authorisation and recording; the body goes to
//! [`cairn_trail::ingest`], piece by piece. It is no AWS API, so it has a signing name and an action of its own.
//! Invariants: no record is taken before the signature over all of the body has verified; nothing is answered before
//! it is durable; the call leaves one data event with its counts, whatever became of it.

mod body;
mod spool;

use cairn_services::authorise::authorise;
use cairn_services::{Access, EventKind, Operation, Resource, Target};
use cairn_store::space::SpaceWatch;
use cairn_trail::ingest::{IngestError, Intake, IntakeError, Report};
use cairn_wire::front::{Front, ReplyBody};
use cairn_wire::sigv4::PayloadMode;
use cairn_wire::{AwsError, Body, Call, RequestFacts};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::identify::{self, Claimed, Identified};
use super::sketch::Sketch;
use super::whole_body::body_error;
use super::{Arrival, Door, log_fault, no_room};
use body::{Decoder, Encoding};
use spool::{Source, Spool};

pub(super) use spool::MEMORY_BYTES_MAX as SPOOL_MEMORY_BYTES_MAX;

/// Where records are sent.
pub(super) const PATH: &str = "/v1/events";
/// The name that the call is signed for; its action is `cairn:PutEvents`, its event source `cairn.amazonaws.com`.
const SIGNING_NAME: &str = "cairn";
/// Calls at a time; further ones wait.
pub(super) const CALLS_MAX: usize = 8;

/// What the call's record says it is about: a channel that every account has, so that a trail can select the records
/// of these calls as it selects those of PutAuditEvents.
const RESOURCE_TYPE: &str = "AWS::CloudTrail::Channel";

/// The one operation.
const OPERATION: Operation =
    Operation { name: "PutEvents", event_name: "PutEvents", access: Access::Write, kind: EventKind::Data };

/// What became of a call: what was taken, and the error that ended it, where one did.
type Taken = (Report, Result<(), AwsError>);

/// Whether a request is for this door. S3's clients post to this path too: to the key of a bucket in the host's name.
pub(super) fn is_meant(parts: &Parts, front: &Front) -> bool {
    parts.uri.path() == PATH
        && parts.method == Method::POST
        && match identify::claim(parts, front).signing() {
            Some(signing) => signing.service == SIGNING_NAME,
            None => parts.uri.query().is_none(),
        }
}

impl Door {
    /// Takes the records of one call.
    pub(super) async fn answer_ingest(
        &self,
        parts: &Parts,
        body: Body,
        arrival: &Arrival,
    ) -> Response<ReplyBody> {
        if self.parts.space.is_short() {
            return respond(&Report::default(), Some(&self.no_room()), arrival);
        }
        let mut sketch = Sketch::of_request(parts, arrival, &self.parts.first_account);
        let claim = identify::claim(parts, &self.parts.front);
        let (report, outcome) = self.take_records(parts, body, claim, arrival, &mut sketch).await;
        let counts = json!({
            "accepted": report.accepted,
            "duplicates": report.duplicates,
            "refused": report.refused_count(),
        });
        sketch.name_own(SIGNING_NAME, &OPERATION, &arrival.request_id, counts);
        let error = outcome.err();
        if let Some(error) = &error {
            log_fault(error, &arrival.request_id);
        }
        let response = respond(&report, error.as_ref(), arrival);
        match self.record(sketch, error).await {
            Ok(()) => response,
            Err(unconfirmed) => respond(&report, Some(&unconfirmed), arrival),
        }
    }

    async fn take_records(
        &self,
        parts: &Parts,
        body: Body,
        claim: Claimed,
        arrival: &Arrival,
        sketch: &mut Sketch,
    ) -> Taken {
        let identified = claim.identify(&self.parts.iam, &self.parts.sessions, arrival.now).await;
        sketch.set_identity(&identified);
        // Neither the body of a stranger nor more bodies at a time than there is room for are read.
        let admitted = match &identified {
            Identified::Stranger { .. } => {
                sketch.set_unverified();
                identified.verify_whole(parts, b"", arrival.now).map_err(forbidden)
            }
            Identified::Anonymous => self.admit(parts, &identified, arrival, sketch).await,
            Identified::Holder { .. } => Ok(()),
        };
        if let Err(error) = admitted {
            return (Report::default(), Err(error));
        }
        let _place = self.ingest_places.acquire().await.expect("the semaphore is never closed");
        let counted = sketch.counted(body, &self.parts.space);
        let source = match self.verified(parts, counted, &identified, arrival).await {
            Ok(source) => source,
            Err(error) => {
                if error.status == 403 {
                    sketch.set_unverified();
                }
                return (Report::default(), Err(error));
            }
        };
        identified.note_use(&self.parts.iam, arrival.now);
        if let Err(error) = self.admit(parts, &identified, arrival, sketch).await {
            return (Report::default(), Err(error));
        }
        let account = identified.principal().account().cloned();
        let intake = self.parts.ingest.intake(account.unwrap_or_else(|| self.parts.first_account.clone()));
        pump(parts, source, intake, &self.parts.space).await
    }

    /// The body, once the signature over it has verified. A signature that covers the hash of the body says nothing
    /// before all of the body is there, so that is put aside until then.
    async fn verified(
        &self,
        parts: &Parts,
        mut body: Body,
        identified: &Identified,
        arrival: &Arrival,
    ) -> Result<Source, AwsError> {
        let Some(claim) = identified.proven() else { return Ok(Source::Stream(body)) };
        match claim.payload {
            PayloadMode::Unsigned if arrival.peer.tls.is_some() => {
                identified.verify_stream(parts, body, arrival.now).map(Source::Stream).map_err(forbidden)
            }
            PayloadMode::Unsigned => Err(AwsError::with_status(
                403,
                "AccessDenied",
                "UNSIGNED-PAYLOAD is taken over TLS only: sign the SHA-256 of the body.",
            )),
            PayloadMode::Sha256(_) | PayloadMode::Undeclared => {
                if matches!(claim.payload, PayloadMode::Sha256(_)) {
                    // The head can be verified before the body is read.
                    let nothing = Body::from_bytes(bytes::Bytes::new());
                    identified.verify_stream(parts, nothing, arrival.now).map_err(forbidden)?;
                }
                let name = self.parts.entropy.event_id();
                let room = std::sync::Arc::clone(&self.spool_memory);
                let mut spool = Spool::new(self.parts.spool.join(name.as_str()), room);
                while let Some(piece) = body.next().await {
                    spool.write(piece.map_err(body_error)?).await?;
                }
                let (source, hash) = spool.finish().await?;
                identified.verify_hashed(parts, &hash, arrival.now).map_err(forbidden)?;
                Ok(source)
            }
            PayloadMode::SignedChunks
            | PayloadMode::SignedChunksAndTrailer
            | PayloadMode::UnsignedChunksAndTrailer => Err(AwsError::invalid(
                "InvalidRequest",
                "The aws-chunked framing is not taken here: sign the SHA-256 of the body.",
            )),
        }
    }

    /// Asks the one seam of authorisation.
    async fn admit(
        &self,
        parts: &Parts,
        identified: &Identified,
        arrival: &Arrival,
        sketch: &mut Sketch,
    ) -> Result<(), AwsError> {
        let user_agent = parts.headers.get("user-agent").and_then(|value| value.to_str().ok());
        let call = Call {
            service: SIGNING_NAME.to_owned(),
            operation: OPERATION.name.to_owned(),
            params: Value::Null,
            body: None,
            request: RequestFacts { user_agent: user_agent.map(str::to_owned), ..RequestFacts::default() },
        };
        let caller = self.caller_with_rights(identified, &call, arrival, sketch).await?;
        let arn = format!("arn:aws:cloudtrail:{}:{}:channel/events", caller.region, caller.account);
        let target = Target {
            action: format!("{SIGNING_NAME}:{}", OPERATION.name),
            resource_arn: arn.clone(),
            resources: vec![Resource { kind: RESOURCE_TYPE, arn, account: Some(caller.account.clone()) }],
            policy: None,
            conditions: Vec::new(),
        };
        sketch.set_target(&caller, &target);
        authorise(&caller, &target).map_err(forbidden)
    }
}

/// A refusal of the caller has status 403 here, whatever AWS's services of different protocols make of it.
fn forbidden(error: AwsError) -> AwsError {
    if error.status >= 500 { error } else { AwsError::with_status(403, error.code, error.message) }
}

/// Moves the records of a body into the log.
async fn pump(parts: &Parts, mut source: Source, mut intake: Intake, space: &SpaceWatch) -> Taken {
    let moved = match Encoding::of(parts) {
        Ok(encoding) => move_all(Decoder::new(encoding), &mut source, &mut intake, space).await,
        Err(error) => Err(error),
    };
    // What was found before an error stays accepted, and the answer says how much that is.
    match intake.close().await {
        Ok(report) => (report, moved),
        Err(error) => (Report::default(), Err(unwritten(error))),
    }
}

/// Breaks off where the disk fills up: a small body may hold more records than the reserve has room for.
async fn move_all(
    mut decoder: Decoder,
    source: &mut Source,
    intake: &mut Intake,
    space: &SpaceWatch,
) -> Result<(), AwsError> {
    while let Some(piece) = source.next().await? {
        decoder.push(piece)?;
        while let Some(decoded) = decoder.decode()? {
            if space.is_short() {
                return Err(no_room());
            }
            intake.push(&decoded).await.map_err(intake_error)?;
        }
    }
    if let Some(decoded) = decoder.finish()? {
        intake.push(&decoded).await.map_err(intake_error)?;
    }
    intake.end().map_err(|error| intake_error(error.into()))
}

fn intake_error(error: IntakeError) -> AwsError {
    match error {
        IntakeError::Malformed(malformed) => {
            AwsError::invalid("MalformedBody", format!("{}.", capitalised(&malformed.to_string())))
        }
        IntakeError::Ingest(error) => unwritten(error),
    }
}

fn unwritten(error: IngestError) -> AwsError {
    tracing::error!(error = &error as &dyn std::error::Error, "records could not be taken");
    AwsError::with_status(
        503,
        "ServiceUnavailable",
        "The records could not be written and are not confirmed. Please send them again.",
    )
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

fn respond(report: &Report, error: Option<&AwsError>, arrival: &Arrival) -> Response<ReplyBody> {
    let refused = report.refused.iter().map(|refused| {
        let refusal = &refused.refusal;
        json!({
            "index": refused.index,
            "eventID": refusal.event_id,
            "code": refusal.code,
            "message": refusal.message,
        })
    });
    let mut answer = json!({
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "refused": refused.collect::<Vec<_>>(),
        "refusedOmitted": report.refused_omitted,
    });
    if let Some(error) = error {
        answer["code"] = json!(error.code);
        answer["message"] = json!(error.message);
    }
    let status = error.map_or(200, |error| error.status);
    let mut response = Response::new(ReplyBody::Whole(format!("{answer}\n").into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let id = HeaderValue::from_str(arrival.request_id.as_str()).expect("an id is plain text");
    headers.insert("x-amzn-requestid", id);
    if let Some(code) = error.and_then(|error| HeaderValue::from_str(&error.code).ok()) {
        headers.insert("x-amzn-errortype", code);
    }
    response
}
