//! The claim of a presigned request, which stands in its query.

use std::time::Duration;

use http::request::Parts;

use super::claim::{PRESIGNED_SECONDS_MAX, RawClaim, decoded_text, single_header};
use super::dialect::Dialect;
use super::key::ALGORITHM;
use crate::AwsError;

const PARAMETERS_NEEDED: &str = "Query-string authentication version 4 requires the X-Amz-Algorithm, \
     X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";

/// Whether a query carries a signature of version 4 or of version 2.
pub(super) fn is_signed(query: &str) -> bool {
    has(query, "X-Amz-Algorithm") || has(query, "X-Amz-Signature") || is_version_2(query)
}

fn is_version_2(query: &str) -> bool {
    has(query, "AWSAccessKeyId") && has(query, "Signature")
}

/// Whether a query's signature is of version 2 and nothing in it is of version 4.
pub(super) fn is_only_version_2(query: &str) -> bool {
    is_version_2(query) && !has(query, "X-Amz-Algorithm") && !has(query, "X-Amz-Signature")
}

fn has(query: &str, name: &str) -> bool {
    pairs(query).any(|(other, _)| other == name)
}

pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Reads the parameters of the signature.
pub(super) fn read(parts: &Parts, query: &str) -> Result<RawClaim, AwsError> {
    let dialect = Dialect::of(parts, None);
    let value = |name: &str| -> Result<Option<String>, AwsError> {
        let mut values = pairs(query).filter(|(other, _)| *other == name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => Ok(Some(decoded_text(value))),
            _ => Err(dialect.malformed(true, format!("{name} must be given once."))),
        }
    };
    let missing = |name: &str| {
        dialect.malformed(
            true,
            match dialect {
                Dialect::S3 => PARAMETERS_NEEDED.to_owned(),
                _ => format!("AWS query-string parameters must include '{name}'."),
            },
        )
    };
    let needed = |name: &str| value(name)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(name));
    let algorithm = needed("X-Amz-Algorithm")?;
    if algorithm != ALGORITHM {
        return Err(match dialect {
            Dialect::S3 => dialect.malformed(true, format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"")),
            _ => dialect.unsupported_algorithm(&algorithm),
        });
    }
    let credential = needed("X-Amz-Credential")?;
    let life = match value("X-Amz-Expires")? {
        Some(text) => Some(read_life(dialect, &text)?),
        // Only S3 insists on it; elsewhere the window of signed headers holds in its place.
        None if credential.ends_with("/s3/aws4_request") || dialect == Dialect::S3 => {
            return Err(missing("X-Amz-Expires"));
        }
        None => None,
    };
    let security_token = match value("X-Amz-Security-Token")? {
        Some(token) => Some(token),
        None => single_header(parts, "x-amz-security-token")?.map(str::to_owned),
    };
    let content_sha256 = match value("X-Amz-Content-Sha256")? {
        Some(hash) => Some(hash),
        None => single_header(parts, "x-amz-content-sha256")?.map(str::to_owned),
    };
    Ok(RawClaim {
        presigned: true,
        credential,
        signed_headers: needed("X-Amz-SignedHeaders")?,
        signature: needed("X-Amz-Signature")?,
        date: Some(needed("X-Amz-Date")?),
        life,
        security_token,
        content_sha256,
    })
}

fn read_life(dialect: Dialect, text: &str) -> Result<Duration, AwsError> {
    let why = match text.parse::<i64>() {
        Err(_) => "X-Amz-Expires should be a number",
        Ok(seconds) if seconds < 1 => "X-Amz-Expires must be non-negative",
        Ok(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds <= PRESIGNED_SECONDS_MAX => return Ok(Duration::from_secs(seconds)),
            _ => {
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
                 less than 604800 seconds"
            }
        },
    };
    Err(dialect.malformed(true, why))
}
