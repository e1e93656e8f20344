//! Proves a claim: its time, the headers it must cover, its signature, the payload's hash.

use std::time::Duration;

use cairn_core::Timestamp;
use http::request::Parts;

use super::body::{BodyPlan, HeldBody};
use super::canonical::Canonical;
use super::chunked::ChunkChain;
use super::dialect::Dialect;
use super::key::{SigningKey, sha256_hex, signatures_match, string_to_sign};
use super::{Claim, Limits, PayloadMode, Secret, SignedPayload};
use crate::{AwsError, Body};

/// A request whose signature is proven.
#[derive(Debug)]
pub struct Verified {
    claim: Claim,
    plan: BodyPlan,
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
    /// None so far: declarations that cannot be met are refused by [`Claim::verify`].
    pub fn body(self, raw: Body) -> Result<Body, AwsError> {
        Ok(HeldBody::body(self.plan, raw))
    }
}

impl Claim {
    /// Proves the claim.
    ///
    /// # Errors
    /// AWS's codes for a signature that does not match, is out of its time, or leaves out headers that it must cover;
    /// for a whole payload that does not have the declared hash, length or checksums; and for declarations of the body that cannot be met, such as
    /// a malformed `Content-MD5`.
    pub fn verify(
        &self,
        parts: &Parts,
        secret: &Secret,
        payload: SignedPayload<'_>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Verified, AwsError> {
        if let Some(version_2) = &self.version_2 {
            let plan = version_2.verify(self, parts, secret, now)?;
            return Ok(Verified { claim: self.clone(), plan });
        }
        self.check_time(now, limits)?;
        self.check_signed_headers(parts)?;
        let payload_hash = self.payload_hash(payload)?;
        let key = SigningKey::derive(secret, &self.date, self.region.as_str(), &self.service);
        self.check_signature(parts, &key, &payload_hash)?;
        let chain = match self.payload {
            PayloadMode::SignedChunks | PayloadMode::SignedChunksAndTrailer => {
                Some(ChunkChain::new(key, self.signed_at.basic(), self.scope(), self.signature.clone()))
            }
            _ => None,
        };
        let mut plan = match self.dialect {
            Dialect::S3 => BodyPlan::of(parts, &self.payload, chain)?,
            dialect => BodyPlan::hash_only(dialect, &self.payload),
        };
        match (payload, &self.payload) {
            (SignedPayload::Whole(bytes), _) => plan.check_whole(bytes)?,
            (SignedPayload::Hashed(computed), PayloadMode::Sha256(declared)) => {
                check_hash(self.dialect, declared, computed)?;
            }
            _ => {}
        }
        Ok(Verified { claim: self.clone(), plan })
    }

    /// What stands for the payload in the canonical request.
    fn payload_hash(&self, payload: SignedPayload<'_>) -> Result<String, AwsError> {
        match (payload, self.payload.declared()) {
            (SignedPayload::Whole(bytes), None) => Ok(sha256_hex(bytes)),
            // Framing is taken off by `Verified::body` only: a whole body that says it is framed would pass unread.
            (SignedPayload::Hashed(computed), None) => Ok(computed.to_owned()),
            (SignedPayload::Whole(_) | SignedPayload::Hashed(_), Some(_)) if self.payload.is_chunked() => {
                Err(AwsError::invalid(
                    "InvalidRequest",
                    "The value of x-amz-content-sha256 header is invalid.",
                ))
            }
            (_, Some(declared)) => Ok(declared.to_owned()),
            (SignedPayload::Declared, None) => Err(self.dialect.signature(
                "A request whose payload is streamed must declare its hash in x-amz-content-sha256.",
            )),
        }
    }

    fn check_signature(&self, parts: &Parts, key: &SigningKey, payload_hash: &str) -> Result<(), AwsError> {
        let canonical = Canonical::of(parts, &self.signed_headers, self.dialect == Dialect::S3);
        let (time, scope) = (self.signed_at.basic(), self.scope());
        let matches = canonical.requests(payload_hash).any(|request| {
            signatures_match(&key.sign(&string_to_sign(&time, &scope, &request)), &self.signature)
        });
        if matches {
            return Ok(());
        }
        let error = self.dialect.mismatch();
        if self.dialect != Dialect::S3 {
            return Err(error);
        }
        // S3 shows both texts, which is how people find what their client or proxy changed.
        let request = canonical.standard(payload_hash);
        Err(error
            .with_member("AWSAccessKeyId", &self.access_key_id)
            .with_member("StringToSign", string_to_sign(&time, &scope, &request))
            .with_member("SignatureProvided", &self.signature)
            .with_member("CanonicalRequest", String::from_utf8_lossy(&request)))
    }

    /// The host, and every `x-amz-*` header that is there, must be signed.
    fn check_signed_headers(&self, parts: &Parts) -> Result<(), AwsError> {
        let is_signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        if !is_signed("host") && !is_signed(":authority") {
            return Err(match self.dialect {
                Dialect::S3 => not_signed("host"),
                dialect => dialect
                    .signature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."),
            });
        }
        let unsigned: Vec<&str> = parts
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-") && !is_signed(name))
            .collect();
        match (unsigned.first(), self.dialect) {
            (None, _) => Ok(()),
            (Some(_), Dialect::S3) => Err(not_signed(&unsigned.join(", "))),
            (Some(name), dialect) => {
                Err(dialect.signature(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
            }
        }
    }

    fn check_time(&self, now: Timestamp, limits: &Limits) -> Result<(), AwsError> {
        let s3 = self.dialect == Dialect::S3;
        let skew = if s3 { limits.clock_skew_s3 } else { limits.clock_skew };
        let life = self.life.map(|life| life.min(limits.presigned_life_max));
        let too_early = self.signed_at > now.plus(skew);
        let too_late = now > self.signed_at.plus(life.unwrap_or(skew));
        if !too_early && !too_late {
            return Ok(());
        }
        if s3 {
            return Err(match life {
                Some(_) if too_early => {
                    AwsError::with_status(403, "AccessDenied", "Request is not valid yet")
                        .with_member("RequestTime", self.signed_at.iso())
                        .with_member("ServerTime", now.iso())
                }
                Some(life) => AwsError::with_status(403, "AccessDenied", "Request has expired")
                    .with_member("X-Amz-Expires", life.as_secs().to_string())
                    .with_member("Expires", self.signed_at.plus(life).iso())
                    .with_member("ServerTime", now.iso()),
                None => self.too_skewed(now, skew),
            });
        }
        let (signed_at, minutes) = (self.signed_at.basic(), skew.as_secs() / 60);
        let server = now.basic();
        Err(self.dialect.signature(if too_early {
            let latest = now.plus(skew).basic();
            format!("Signature not yet current: {signed_at} is still later than {latest} ({server} + {minutes} min.)")
        } else if let Some(life) = life {
            let end = self.signed_at.plus(life).basic();
            format!("Signature expired: {end} is now earlier than {server} ({signed_at} + {} s.)", life.as_secs())
        } else {
            let earliest = now.minus(skew).basic();
            format!("Signature expired: {signed_at} is now earlier than {earliest} ({server} - {minutes} min.)")
        }))
    }

    fn too_skewed(&self, now: Timestamp, skew: Duration) -> AwsError {
        let text = "The difference between the request time and the current time is too large.";
        AwsError::with_status(403, "RequestTimeTooSkewed", text)
            .with_member("RequestTime", self.signed_at.basic())
            .with_member("ServerTime", now.iso())
            .with_member("MaxAllowedSkewMilliseconds", skew.as_millis().to_string())
    }
}

/// A body whose hash is not the declared one.
pub(super) fn check_hash(dialect: Dialect, declared: &str, computed: &str) -> Result<(), AwsError> {
    if declared.eq_ignore_ascii_case(computed) {
        return Ok(());
    }
    Err(match dialect {
        Dialect::S3 => AwsError::invalid(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
        .with_member("ClientComputedContentSHA256", declared)
        .with_member("S3ComputedContentSHA256", computed),
        dialect => dialect.mismatch(),
    })
}

fn not_signed(names: &str) -> AwsError {
    AwsError::with_status(
        403,
        "AccessDenied",
        "There were headers present in the request which were not signed",
    )
    .with_member("HeadersNotSigned", names)
}
