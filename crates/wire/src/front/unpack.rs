//! Bodies of calls that clients compressed: agents of logs and metrics do, and SDKs by Smithy's `requestCompression`.
//!
//! On the road: between the signature, which is over what was sent, and the codec. Of the protocols whose body is the call
//! alone; in REST, `Content-Encoding` says something about an object. Held to the limit of what is read as a whole.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::{BodyNeed, Exchange, Opening, Payload};
use crate::AwsError;
use crate::model::Protocol;

/// The body as it was before it was compressed.
///
/// # Errors
/// A body that is not what its header says, or that would be too large.
pub(super) fn unpacked(
    exchange: &Exchange,
    opening: &Opening,
    payload: Payload,
) -> Result<Payload, AwsError> {
    let is_rest = matches!(exchange.protocol, Protocol::RestJson | Protocol::RestXml);
    let encoding = opening.head.header("content-encoding").unwrap_or_default();
    let (Payload::Whole(packed), BodyNeed::Buffered { limit_bytes }) = (&payload, opening.need) else {
        return Ok(payload);
    };
    if is_rest || !encoding.trim().eq_ignore_ascii_case("gzip") {
        return Ok(payload);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(&packed[..]).take(most).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() > limit_bytes => Err(exchange.too_large()),
        Ok(_) => Ok(Payload::Whole(Bytes::from(bytes))),
        Err(_) => Err(AwsError::invalid(
            "SerializationException",
            "The request body is not what its encoding says.",
        )),
    }
}
