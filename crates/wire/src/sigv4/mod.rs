//! Signature Version 4, and S3's presigned URLs of version 2: who claims to have sent a request, whether that is true, and whether the body is theirs.
//!
//! On the road: the front door calls [`Claim::parse`] on every request, finds the secret of the access key, calls
//! [`Claim::verify`], and reads the payload through [`Verified::body`]. Unsigned requests read theirs through
//! [`plain_body`]. [`sign`] and [`presign`] do the client's side, for our own outgoing calls.
//!
//! A payload that is streamed is handed over as [`SignedPayload::Declared`] and read through [`Verified::body`]; one
//! that is read before is handed over as [`SignedPayload::Whole`] and is proven when [`Claim::verify`] returns.
//!
//! Invariants: nothing of a claim is trusted before it is verified; signatures are compared in constant time; a
//! secret is never shown; no more than a line of a body is ever kept. The service of the scope
//! chooses the API that is called, so a key that was scoped for one never reaches another; every region is served.

mod body;
mod canonical;
mod checksum;
mod chunked;
mod claim;
mod dialect;
mod key;
mod query_auth;
mod secret;
mod sign;
#[cfg(test)]
mod tests;
mod verify;
mod version_2;

use std::time::Duration;

use http::request::Parts;

pub use body::plain_body;
pub use chunked::{CHUNK_LINE_BYTES_MAX, CHUNK_SIZE_BYTES_MAX, TRAILERS_MAX};
pub use claim::Claim;
pub use secret::Secret;
pub use sign::{Credentials, PayloadToSign, SignError, SigningScope, presign, sign};
pub use verify::Verified;

use crate::AwsError;
use dialect::Dialect;

/// What a signature says of the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadMode {
    /// No `x-amz-content-sha256`: the signature covers the hash of the body as it came.
    Undeclared,
    /// The hash that the body must have, in hex.
    Sha256(String),
    /// `UNSIGNED-PAYLOAD`, and presigned S3 requests: the signature does not cover the body.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk is signed.
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: each chunk and the trailer are signed.
    SignedChunksAndTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks without signatures, and a checksum in the trailer.
    UnsignedChunksAndTrailer,
}

/// The payload, as far as it is there when the signature is verified.
#[derive(Clone, Copy, Debug)]
pub enum SignedPayload<'a> {
    /// All of it. Refused for a payload in aws-chunked framing, which only [`Verified::body`] takes off.
    Whole(&'a [u8]),
    /// All of it was received and kept elsewhere: its SHA-256, in hex, as the receiver computed it. Refused for a
    /// payload in aws-chunked framing.
    Hashed(&'a str),
    /// Nothing yet: what `x-amz-content-sha256` declares is taken into the signature, and [`Verified::body`] holds the
    /// body to it.
    Declared,
}

/// The windows in which signatures hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How far a signed S3 request's time may be off ours, either way.
    pub clock_skew_s3: Duration,
    /// How far another service's signed request's time may be off ours, either way.
    pub clock_skew: Duration,
    /// The longest life of a presigned request; a longer one is cut to it.
    pub presigned_life_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clock_skew_s3: Duration::from_secs(15 * 60),
            clock_skew: Duration::from_secs(5 * 60),
            presigned_life_max: Duration::from_secs(claim::PRESIGNED_SECONDS_MAX),
        }
    }
}

/// The error for an access key that does not exist, as `service` (a signing name) words it. Where there is a claim,
/// [`Claim::unknown_access_key`] knows more.
#[must_use]
pub fn unknown_access_key(service: &str) -> AwsError {
    Dialect::of_service(service).unknown_access_key(None)
}

/// The error for an unsigned request to an API that wants a signature, as `service` words it.
#[must_use]
pub fn missing_authentication(parts: &Parts, service: &str) -> AwsError {
    Dialect::of(parts, Some(service)).missing_authentication()
}
