//! What the tests of signatures share: AWS's published credentials, requests, and the reading of bodies.

mod fixtures;
mod published;
mod robustness;
mod scope_and_time;
mod streams;
mod traps;

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use http::request::Parts;

use super::{Claim, Credentials, Limits, PayloadToSign, Secret, SignedPayload, SigningScope, Verified};
use crate::{AwsError, Body, BodyError, BodySource};

const DAY: &str = "20130524T000000Z";
const MINUTE: Duration = Duration::from_secs(60);

fn time(text: &str) -> Timestamp {
    Timestamp::parse_basic(text).unwrap()
}

/// The credentials of AWS's S3 examples.
fn example() -> Credentials {
    Credentials {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    }
}

/// The head of a request: `method`, `uri`, and headers as `name: value`.
fn head(method: &str, uri: &str, headers: &[&str]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(uri);
    for header in headers {
        let (name, value) = header.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    request.body(()).unwrap().into_parts().0
}

/// A signed request to `service` in us-east-1.
fn signed(mut parts: Parts, service: &str, payload: PayloadToSign<'_>) -> Parts {
    let scope = SigningScope { region: "us-east-1", service, time: time(DAY) };
    super::sign(&mut parts, &example(), &scope, payload).unwrap();
    parts
}

/// Parses and verifies at the moment of the signature.
fn verify(parts: &Parts, payload: SignedPayload<'_>) -> Result<Verified, AwsError> {
    let claim = Claim::parse(parts)?.expect("a signed request");
    claim.verify(parts, &example().secret, payload, claim.signed_at, &Limits::default())
}

fn code<T>(result: Result<T, AwsError>) -> String {
    match result {
        Ok(_) => "accepted".into(),
        Err(error) => format!("{} {}", error.status, error.code),
    }
}

/// A raw body that comes in these pieces.
struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl BodySource for Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.0.pop_front().map(Ok)
    }
}

/// A body in pieces of `size` bytes.
fn pieces(raw: &[u8], size: usize) -> Body {
    Body::new(Pieces(raw.chunks(size).map(Bytes::copy_from_slice).collect()), None)
}

/// A payload and its trailers.
type Read = (Vec<u8>, Vec<(String, String)>);

/// The payload and the trailers, or the code that the body ends in.
fn read(mut body: Body) -> Result<Read, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut payload = Vec::new();
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => payload.extend_from_slice(&piece),
                Err(error) => {
                    assert!(body.next().await.is_some_and(|next| next.is_err()), "a broken body ended well");
                    return Err(match error {
                        BodyError::Refused(error) => error.code.into_owned(),
                        other => other.to_string(),
                    });
                }
            }
        }
        Ok((payload, body.trailers().to_vec()))
    })
}
