//! Bodies in aws-chunked framing: any bytes in any pieces, and a framing that was signed.
//!
//! The first byte chooses the mode, the second and third how long the pieces are; the rest is the raw body.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_wire::sigv4::{Claim, Limits, PayloadToSign, SignedPayload, SigningScope, plain_body, sign};
use cairn_wire::{Body, BodyError, BodySource};
use http::request::Parts;

use crate::request::head;
use crate::sigv4::{credentials, signed_at};

/// The payload of the seeds. In a signed framing nothing else can be accepted.
pub const PAYLOAD: &[u8] = b"hello, chunked world";
/// The modes, by the values of `x-amz-content-sha256`.
pub const MODES: [&str; 3] = [
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
];

/// A raw body in pieces.
struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl BodySource for Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.0.pop_front().map(Ok)
    }
}

/// The request that the framing belongs to, signed.
#[must_use]
pub fn request(mode: &'static str) -> Parts {
    let mut headers = format!(
        "host: localhost\nx-amz-content-sha256: {mode}\nx-amz-decoded-content-length: {}\n",
        PAYLOAD.len()
    );
    if mode.ends_with("TRAILER") {
        headers.push_str("x-amz-trailer: x-amz-checksum-crc32\n");
    }
    let mut parts = head(b"PUT", b"/b/k", headers.as_bytes()).expect("a head");
    let scope = SigningScope { region: "us-east-1", service: "s3", time: signed_at() };
    sign(&mut parts, &credentials(), &scope, PayloadToSign::Declared(mode)).expect("it names its host");
    parts
}

/// One body, whole and in pieces, of a request that is signed and, where the mode allows it, one that is not.
///
/// # Panics
/// Where the pieces matter, a payload is not as long as declared, or a signed one is not the one that was signed.
pub fn run(data: &[u8]) {
    let [mode, first, more, raw @ ..] = data else { return };
    let mode = MODES[usize::from(*mode) % MODES.len()];
    let parts = request(mode);
    let sizes = [usize::from(*first) + 1, usize::from(*more) + 1];
    let is_signed = mode != MODES[0];
    for signed in [true, false] {
        if is_signed && !signed {
            continue;
        }
        let whole = read(body(&parts, signed, vec![Bytes::copy_from_slice(raw)]));
        let cut = read(body(&parts, signed, pieces(raw, sizes)));
        assert_eq!(whole, cut, "where the body is cut matters");
        if let Ok(payload) = whole {
            assert_eq!(payload.len(), PAYLOAD.len());
            assert!(!is_signed || payload == PAYLOAD, "a payload that nobody signed was accepted");
        }
    }
}

fn pieces(raw: &[u8], sizes: [usize; 2]) -> Vec<Bytes> {
    let (mut pieces, mut rest) = (Vec::new(), raw);
    for size in sizes.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = after;
    }
    pieces
}

fn body(parts: &Parts, signed: bool, pieces: Vec<Bytes>) -> Body {
    let raw = Body::new(Pieces(pieces.into()), None);
    if !signed {
        return plain_body(parts, raw).expect("the declarations are sound");
    }
    let claim = Claim::parse(parts).expect("a sound claim").expect("a claim");
    let verified = claim
        .verify(parts, &credentials().secret, SignedPayload::Declared, claim.signed_at, &Limits::default())
        .expect("our signature");
    verified.body(raw).expect("the declarations are sound")
}

/// The payload, or the code that the body ends in; it must not go on well after that.
fn read(mut body: Body) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut payload = Vec::new();
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => payload.extend_from_slice(&piece),
                Err(error) => {
                    let after = body.next().await;
                    assert!(after.is_some_and(|after| after.is_err()), "a broken body ended well");
                    return Err(match error {
                        BodyError::Refused(error) => error.code.into_owned(),
                        other => other.to_string(),
                    });
                }
            }
        }
        Ok(payload)
    })
}
