//! Holds a body to what its request signed and declared of it, while it streams through.
//!
//! Nothing is buffered: a piece that comes in goes out. The stream ends in an error where the body is not what it
//! should be, and goes on answering an error after that, so that a broken body never seems complete.

use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Bytes;
use http::request::Parts;

use super::PayloadMode;
use super::checksum::Checksum;
use super::chunked::{ChunkChain, ChunkDecoder, incomplete, malformed_trailer};
use super::claim::{payload_mode, single_header};
use super::dialect::Dialect;
use super::verify::check_hash;
use crate::{AwsError, Body, BodyError, BodySource};

/// What a body must be.
pub(super) struct BodyPlan {
    dialect: Dialect,
    decoder: Option<ChunkDecoder>,
    length_bytes: Option<u64>,
    hash: Option<(String, digest::Context)>,
    checksums: Vec<Checksum>,
}

impl std::fmt::Debug for BodyPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyPlan")
            .field("chunked", &self.decoder.is_some())
            .field("length_bytes", &self.length_bytes)
            .field("checksums", &self.checksums)
            .finish_non_exhaustive()
    }
}

/// The payload of an unsigned request, held to the lengths and checksums that it declares.
///
/// # Errors
/// AWS's codes for declarations that cannot be met, such as a malformed `Content-MD5`.
pub fn plain_body(parts: &Parts, raw: Body) -> Result<Body, AwsError> {
    let content_sha256 = single_header(parts, "x-amz-content-sha256")?.map(str::to_owned);
    let mode = match content_sha256 {
        Some(text) => payload_mode(Dialect::S3, false, Some(text))?,
        None => PayloadMode::Unsigned,
    };
    if matches!(mode, PayloadMode::SignedChunks | PayloadMode::SignedChunksAndTrailer) {
        return Err(AwsError::invalid(
            "InvalidRequest",
            "The value of x-amz-content-sha256 header is invalid.",
        ));
    }
    Ok(HeldBody::body(BodyPlan::of(parts, &mode, None)?, raw))
}

impl BodyPlan {
    /// The plan of an S3 request, signed or not.
    pub(super) fn of(parts: &Parts, mode: &PayloadMode, chain: Option<ChunkChain>) -> Result<Self, AwsError> {
        // Unsigned botocore requests have the framing without the header that says so.
        let chunked = mode.is_chunked() || *mode == PayloadMode::Unsigned && is_aws_chunked(parts);
        let trailers = if chunked { announced_trailers(parts, mode)? } else { Vec::new() };
        let checksums = Checksum::declared(parts, &trailers)?;
        let (length_bytes, decoder) = if chunked {
            let length_bytes = decoded_length(parts)?;
            (Some(length_bytes), Some(ChunkDecoder::new(length_bytes, chain, trailers)))
        } else {
            (number(parts, "content-length")?, None)
        };
        Ok(Self { dialect: Dialect::S3, decoder, length_bytes, hash: expected_hash(mode), checksums })
    }

    /// The plan of another service's request: its body has its declared hash.
    pub(super) fn hash_only(dialect: Dialect, mode: &PayloadMode) -> Self {
        Self { dialect, decoder: None, length_bytes: None, hash: expected_hash(mode), checksums: Vec::new() }
    }

    /// Holds a body that is all there against the plan, which after that asks no more than the length.
    pub(super) fn check_whole(&mut self, bytes: &[u8]) -> Result<(), AwsError> {
        self.update(bytes);
        self.finish(bytes.len() as u64)
    }

    fn update(&mut self, piece: &[u8]) {
        if let Some((_, context)) = &mut self.hash {
            context.update(piece);
        }
        for checksum in &mut self.checksums {
            checksum.update(piece);
        }
    }

    /// Holds the complete body against the plan.
    fn finish(&mut self, received_bytes: u64) -> Result<(), AwsError> {
        if let Some(decoder) = &self.decoder {
            decoder.finish()?;
        }
        if self.length_bytes.is_some_and(|length_bytes| length_bytes != received_bytes) {
            return Err(incomplete());
        }
        if let Some((declared, context)) = self.hash.take() {
            check_hash(self.dialect, &declared, &hex::encode(context.finish()))?;
        }
        let trailers = self.decoder.as_ref().map_or(&[][..], ChunkDecoder::trailers);
        for checksum in std::mem::take(&mut self.checksums) {
            checksum.check(trailers)?;
        }
        Ok(())
    }
}

/// A body that is held to its plan.
pub(super) struct HeldBody {
    raw: Body,
    plan: BodyPlan,
    input: Bytes,
    received_bytes: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Complete,
    Broken,
}

impl HeldBody {
    /// The payload of `raw`.
    pub(super) fn body(plan: BodyPlan, raw: Body) -> Body {
        let length_bytes = plan.length_bytes.or(raw.length_bytes());
        let held = Self { raw, plan, input: Bytes::new(), received_bytes: 0, state: State::Open };
        Body::new(held, length_bytes)
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(piece) = self.decode().map_err(BodyError::Refused)? {
                self.received_bytes += piece.len() as u64;
                self.plan.update(&piece);
                return Ok(Some(piece));
            }
            match self.raw.next().await {
                Some(piece) => self.input = piece?,
                None => {
                    self.plan.finish(self.received_bytes).map_err(BodyError::Refused)?;
                    return Ok(None);
                }
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Bytes>, AwsError> {
        match &mut self.plan.decoder {
            Some(decoder) => decoder.step(&mut self.input),
            None => Ok(Some(std::mem::take(&mut self.input)).filter(|piece| !piece.is_empty())),
        }
    }
}

#[async_trait]
impl BodySource for HeldBody {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.state {
            State::Complete => return None,
            State::Broken => return Some(Err(BodyError::Incomplete(None))),
            State::Open => {}
        }
        match self.advance().await {
            Ok(Some(piece)) => Some(Ok(piece)),
            Ok(None) => {
                self.state = State::Complete;
                None
            }
            Err(error) => {
                self.state = State::Broken;
                Some(Err(error))
            }
        }
    }

    fn trailers(&self) -> &[(String, String)] {
        match &self.plan.decoder {
            Some(decoder) => decoder.trailers(),
            None => self.raw.trailers(),
        }
    }
}

fn expected_hash(mode: &PayloadMode) -> Option<(String, digest::Context)> {
    match mode {
        PayloadMode::Sha256(hash) => Some((hash.clone(), digest::Context::new(&digest::SHA256))),
        _ => None,
    }
}

/// Whether `Content-Encoding` names aws-chunked, which is framing and must not be stored with an object.
fn is_aws_chunked(parts: &Parts) -> bool {
    let values = parts.headers.get_all("content-encoding");
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("aws-chunked"))
}

/// The names in `x-amz-trailer`, which a payload with a trailer must have and another must not.
fn announced_trailers(parts: &Parts, mode: &PayloadMode) -> Result<Vec<String>, AwsError> {
    let values = parts.headers.get_all("x-amz-trailer");
    let names: Vec<String> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    let fits = match mode {
        PayloadMode::SignedChunksAndTrailer | PayloadMode::UnsignedChunksAndTrailer => !names.is_empty(),
        PayloadMode::SignedChunks => names.is_empty(),
        _ => true,
    };
    if fits { Ok(names) } else { Err(malformed_trailer()) }
}

fn decoded_length(parts: &Parts) -> Result<u64, AwsError> {
    number(parts, "x-amz-decoded-content-length")?.ok_or_else(|| {
        AwsError::with_status(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    })
}

fn number(parts: &Parts, name: &str) -> Result<Option<u64>, AwsError> {
    let Some(text) = single_header(parts, name)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(Some(number)),
        _ => Err(AwsError::invalid("InvalidArgument", format!("The value of {name} is not a number."))
            .with_member("ArgumentName", name)
            .with_member("ArgumentValue", text)),
    }
}
