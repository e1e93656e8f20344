//! Signature Version 4: who claims to have sent a request, whether that is true, and whether the body is theirs.
//!
//! On the road: the front door calls [`Claim::parse`] on every request, finds the secret of the access key, calls
//! [`Claim::verify`], and reads the payload through [`Verified::body`]. Unsigned requests read theirs through
//! [`plain_body`]. [`sign`] and [`presign`] do the client's side, for our own outgoing calls.
//!
//! For S3, hand the payload over as [`SignedPayload::Declared`] and read it through [`Verified::body`], collecting it
//! under a limit where the operation wants it whole; every other service's payload is read first and handed over as
//! [`SignedPayload::Whole`].

mod secret;

use std::time::Duration;

use cairn_core::{Region, Timestamp};
use http::request::Parts;

pub use secret::Secret;

use crate::{AwsError, Body};

/// What a request claims of its sender. Nothing in it is proven before [`Claim::verify`].
#[derive(Clone, Debug)]
pub struct Claim {
    /// The access key's id.
    pub access_key_id: String,
    /// The region of the credential scope.
    pub region: Region,
    /// The service of the credential scope, in its signing name: `s3`, `cloudtrail`, `monitoring`.
    pub service: String,
    /// When the request was signed.
    pub signed_at: Timestamp,
    /// The session token that came with temporary credentials.
    pub security_token: Option<String>,
    /// Whether the signature is in the query.
    pub presigned: bool,
    /// What the signature says of the payload.
    pub payload: PayloadMode,
}

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
    /// All of it.
    Whole(&'a [u8]),
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
    /// The longest life of a presigned request.
    pub presigned_life_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clock_skew_s3: Duration::from_secs(15 * 60),
            clock_skew: Duration::from_secs(5 * 60),
            presigned_life_max: Duration::from_secs(604_800),
        }
    }
}

/// A request whose signature is proven.
#[derive(Debug)]
pub struct Verified {
    claim: Claim,
}

impl Claim {
    /// Reads the claim of a request, from its `Authorization` header or its query; `None` where it is unsigned.
    ///
    /// # Errors
    /// AWS's codes for malformed claims, two claims in one request, and other kinds of signatures.
    pub fn parse(_parts: &Parts) -> Result<Option<Self>, AwsError> {
        Err(AwsError::internal("signatures are not verified yet"))
    }

    /// Holds the scope against the API that was called: its signing names (`["s3"]`), and the region that serves it
    /// where only one does.
    ///
    /// # Errors
    /// AWS's codes for a credential that is scoped to another service or region.
    pub fn check_scope(&self, _signing_names: &[&str], _region: Option<&Region>) -> Result<(), AwsError> {
        Err(AwsError::internal("signatures are not verified yet"))
    }

    /// Proves the claim.
    ///
    /// # Errors
    /// AWS's codes for a signature that does not match, is out of its time, or leaves out headers that it must cover,
    /// and for a whole payload that is not the declared one.
    pub fn verify(
        &self,
        _parts: &Parts,
        _secret: &Secret,
        _payload: SignedPayload<'_>,
        _now: Timestamp,
        _limits: &Limits,
    ) -> Result<Verified, AwsError> {
        Err(AwsError::internal("signatures are not verified yet"))
    }

    /// The error for an access key that does not exist.
    #[must_use]
    pub fn unknown_access_key(&self) -> AwsError {
        unknown_access_key(&self.service)
    }

    /// The error for a session token that is no longer valid.
    #[must_use]
    pub fn expired_token(&self) -> AwsError {
        AwsError::with_status(403, "ExpiredToken", "The security token included in the request is expired")
    }

    /// The error for a session token that never was valid, or is missing, or belongs to another key.
    #[must_use]
    pub fn invalid_token(&self) -> AwsError {
        unknown_access_key(&self.service)
    }
}

impl Verified {
    /// The claim that is proven.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The payload, held to everything that the client signed or declared of it: the hash, the chunk and trailer
    /// signatures, lengths, checksums. It ends in an error where they do not match.
    ///
    /// # Errors
    /// AWS's codes for declarations that cannot be met, such as a malformed `Content-MD5`.
    pub fn body(self, _raw: Body) -> Result<Body, AwsError> {
        Err(AwsError::internal("signatures are not verified yet"))
    }
}

/// The payload of an unsigned request, held to the lengths and checksums that it declares.
///
/// # Errors
/// AWS's codes for declarations that cannot be met, such as a malformed `Content-MD5`.
pub fn plain_body(_parts: &Parts, _raw: Body) -> Result<Body, AwsError> {
    Err(AwsError::internal("signatures are not verified yet"))
}

/// The error for an access key that does not exist, as `service` (a signing name) words it.
#[must_use]
pub fn unknown_access_key(service: &str) -> AwsError {
    AwsError::with_status(
        403,
        "InvalidClientTokenId",
        format!("The security token included in the request is invalid. {service}"),
    )
}

/// The error for an unsigned request to an API that wants a signature, as `service` words it.
#[must_use]
pub fn missing_authentication(_parts: &Parts, _service: &str) -> AwsError {
    AwsError::with_status(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
}
