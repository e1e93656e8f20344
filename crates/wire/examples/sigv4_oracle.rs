//! Verifies and signs requests that other clients describe, one JSON document a line, for the suites in `compat/`.
//!
//! In: `{"op": "verify" | "sign" | "presign", "method", "uri", "headers": [[name, value]], "body": base64, "secret",
//! "now": "20130524T000000Z", …}`. Out: `{"ok": true, …}` or `{"ok": false, "status", "code", "message"}`.

use std::collections::VecDeque;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_wire::sigv4::{
    Claim, Credentials, Limits, PayloadToSign, Secret, SignedPayload, SigningScope, plain_body, presign, sign,
};
use cairn_wire::{AwsError, Body, BodyError, BodySource};
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Question {
    op: String,
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// Whether the body is handed over whole; otherwise it is streamed, in pieces of `piece_bytes`.
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    piece_bytes: Option<usize>,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    region: String,
    #[serde(default)]
    service: String,
    now: String,
    #[serde(default)]
    life_seconds: u64,
    /// What stands for the payload, where it is not the body's hash.
    #[serde(default)]
    declared: Option<String>,
}

struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl BodySource for Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.0.pop_front().map(Ok)
    }
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for line in stdin().lock().lines() {
        let answer = match serde_json::from_str::<Question>(&line?) {
            Ok(question) => runtime.block_on(answer(&question)),
            Err(error) => Err(error.into()),
        };
        let answer = answer.unwrap_or_else(
            |error| json!({"ok": false, "code": "Unanswerable", "message": error.to_string()}),
        );
        let mut out = stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

async fn answer(question: &Question) -> Result<Value, Failure> {
    let mut request = http::Request::builder().method(question.method.as_str()).uri(question.uri.as_str());
    for (name, value) in &question.headers {
        request = request.header(name, value.as_bytes());
    }
    let (mut parts, ()) = request.body(())?.into_parts();
    let body = STANDARD.decode(&question.body)?;
    let time = Timestamp::parse_basic(&question.now).ok_or("now is not a time")?;
    let credentials = Credentials {
        access_key_id: question.access_key_id.clone(),
        secret: Secret::new(question.secret.as_str()),
        session_token: question.token.clone(),
    };
    let scope = SigningScope { region: &question.region, service: &question.service, time };
    match question.op.as_str() {
        "verify" => {
            Ok(verify(question, &parts, &body, &credentials.secret, time).await.unwrap_or_else(refusal))
        }
        "presign" => {
            let uri = presign(&parts, &credentials, &scope, Duration::from_secs(question.life_seconds))?;
            Ok(json!({"ok": true, "uri": uri.to_string()}))
        }
        "sign" => {
            let payload = match question.declared.as_deref() {
                Some(text) => PayloadToSign::Declared(text),
                None => PayloadToSign::Bytes(&body),
            };
            sign(&mut parts, &credentials, &scope, payload)?;
            let headers: Vec<(&str, String)> = parts
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            Ok(json!({"ok": true, "headers": headers}))
        }
        other => Err(format!("no operation {other}").into()),
    }
}

async fn verify(
    question: &Question,
    parts: &Parts,
    body: &[u8],
    secret: &Secret,
    now: Timestamp,
) -> Result<Value, AwsError> {
    let size = question.piece_bytes.unwrap_or(usize::MAX).clamp(1, body.len().max(1));
    let raw = Body::new(Pieces(body.chunks(size).map(Bytes::copy_from_slice).collect()), None);
    let Some(claim) = Claim::parse(parts)? else {
        return read(plain_body(parts, raw)?, json!({"ok": true, "signed": false})).await;
    };
    let payload = if question.whole { SignedPayload::Whole(body) } else { SignedPayload::Declared };
    let verified = claim.verify(parts, secret, payload, now, &Limits::default())?;
    let facts = json!({
        "ok": true,
        "signed": true,
        "access_key_id": claim.access_key_id,
        "region": claim.region.as_str(),
        "service": claim.service,
        "token": claim.security_token,
        "presigned": claim.presigned,
    });
    read(verified.body(raw)?, facts).await
}

async fn read(mut body: Body, mut facts: Value) -> Result<Value, AwsError> {
    let mut payload = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => payload.extend_from_slice(&piece),
            Err(BodyError::Refused(error)) => return Err(error),
            Err(error) => return Err(AwsError::internal(error)),
        }
    }
    facts["payload"] = json!(STANDARD.encode(payload));
    facts["trailers"] = json!(body.trailers());
    Ok(facts)
}

fn refusal(error: AwsError) -> Value {
    json!({"ok": false, "status": error.status, "code": error.code, "message": error.message})
}
