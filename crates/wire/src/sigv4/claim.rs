//! Reads what a request claims of its sender. Nothing in here is proven.

use std::time::Duration;

use cairn_core::{Region, Timestamp};
use http::header::HeaderName;
use http::request::Parts;

use super::canonical::decode_query;
use super::dialect::Dialect;
use super::key::{ALGORITHM, TERMINATOR, signatures_match};
use super::version_2::{self, Version2};
use super::{PayloadMode, Secret, query_auth};
use crate::AwsError;

/// The longest life of a presigned request, in seconds: a week.
pub(super) const PRESIGNED_SECONDS_MAX: u64 = 604_800;

/// The most bytes that an access key's id, a region or a service may have in a credential.
const CREDENTIAL_PART_BYTES_MAX: usize = 128;

const CREDENTIAL_FORM: &str = "the Credential is mal-formed; \
     expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
const S3_DATE_MISSING: &str = "AWS authentication requires a valid Date or x-amz-date header";
const ONE_MECHANISM: &str = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, \
     Signature query string parameter or the Authorization header should be specified";

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
    pub(super) date: String,
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: String,
    pub(super) life: Option<Duration>,
    pub(super) dialect: Dialect,
    /// Set where the claim is of version 2, which has no scope and no signed headers.
    pub(super) version_2: Option<Version2>,
}

/// The texts of a claim before they are checked, wherever they were written.
pub(super) struct RawClaim {
    pub(super) presigned: bool,
    pub(super) credential: String,
    pub(super) signed_headers: String,
    pub(super) signature: String,
    pub(super) date: Option<String>,
    pub(super) life: Option<Duration>,
    pub(super) security_token: Option<String>,
    pub(super) content_sha256: Option<String>,
}

struct Credential {
    access_key_id: String,
    date: String,
    region: Region,
    service: String,
}

impl Claim {
    /// Reads the claim of a request, from its `Authorization` header or its query; `None` where it is unsigned.
    ///
    /// # Errors
    /// AWS's codes for malformed claims, two claims in one request, and other kinds of signatures.
    pub fn parse(parts: &Parts) -> Result<Option<Self>, AwsError> {
        let query = parts.uri.query().unwrap_or("");
        let in_query = query_auth::is_signed(query);
        let Some(header) = single_header(parts, "authorization")? else {
            return match in_query {
                true if query_auth::is_only_version_2(query) => version_2::read(parts, query).map(Some),
                true => Self::check(parts, query_auth::read(parts, query)?).map(Some),
                false => Ok(None),
            };
        };
        if in_query {
            let error = match Dialect::of(parts, None) {
                Dialect::S3 => AwsError::invalid("InvalidArgument", ONE_MECHANISM),
                dialect => dialect.malformed(false, ONE_MECHANISM),
            };
            return Err(error);
        }
        Self::check(parts, read_header(parts, header)?).map(Some)
    }

    /// Says which bucket the request's host names, for signatures that cover the bucket but not the host.
    pub fn set_virtual_bucket(&mut self, bucket: Option<String>) {
        if let Some(version_2) = &mut self.version_2 {
            version_2.virtual_bucket = bucket;
        }
    }

    /// Whether the signature is of version 2.
    #[must_use]
    pub fn is_version_2(&self) -> bool {
        self.version_2.is_some()
    }

    /// Holds the session token against that of the access key: `None` for a long-term key, which has none.
    ///
    /// # Errors
    /// AWS's codes for a token that is missing, another's, or there where none belongs.
    pub fn check_token(&self, expected: Option<&Secret>) -> Result<(), AwsError> {
        let matches = match (self.security_token.as_deref(), expected) {
            (None, None) => true,
            (Some(token), Some(expected)) => signatures_match(expected.expose(), token),
            _ => false,
        };
        if matches { Ok(()) } else { Err(self.invalid_token()) }
    }

    /// The error for an access key that does not exist.
    #[must_use]
    pub fn unknown_access_key(&self) -> AwsError {
        self.dialect.unknown_access_key(Some(&self.access_key_id))
    }

    /// The error for a session token that is no longer valid.
    #[must_use]
    pub fn expired_token(&self) -> AwsError {
        self.dialect.expired_token()
    }

    /// The error for a session token that never was valid, or is missing, or belongs to another key.
    #[must_use]
    pub fn invalid_token(&self) -> AwsError {
        self.dialect.invalid_token()
    }

    /// `DATE/REGION/SERVICE/aws4_request`.
    pub(super) fn scope(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }

    fn check(parts: &Parts, raw: RawClaim) -> Result<Self, AwsError> {
        let guess = Dialect::of(parts, None);
        let credential = read_credential(guess, raw.presigned, &raw.credential)?;
        let dialect = Dialect::of(parts, Some(&credential.service));
        let signed_at = read_time(dialect, &raw)?;
        let day = &signed_at.basic()[..8];
        if day != credential.date {
            return Err(dialect.wrong_scope(
                raw.presigned,
                format!(
                    "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{day}\".",
                    credential.date
                ),
                format!(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                     '{}' != '{day}', from '{}'.",
                    credential.date,
                    signed_at.basic()
                ),
            ));
        }
        let signed_headers: Vec<String> = raw.signed_headers.split(';').map(str::to_owned).collect();
        // A name that is no header name could carry a line break into the canonical request.
        if !signed_headers.iter().all(|name| HeaderName::from_lowercase(name.as_bytes()).is_ok()) {
            return Err(dialect.malformed(
                raw.presigned,
                format!("SignedHeaders must be lower-case header names: '{}'.", raw.signed_headers),
            ));
        }
        let payload = payload_mode(dialect, raw.presigned, raw.content_sha256)?;
        Ok(Self {
            access_key_id: credential.access_key_id,
            region: credential.region,
            service: credential.service,
            signed_at,
            security_token: raw.security_token,
            presigned: raw.presigned,
            payload,
            date: credential.date,
            signed_headers,
            signature: raw.signature,
            life: raw.life,
            dialect,
            version_2: None,
        })
    }
}

/// A header's text, which must be there at most once.
pub(super) fn single_header<'a>(parts: &'a Parts, name: &str) -> Result<Option<&'a str>, AwsError> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        _ => Err(Dialect::of(parts, None)
            .malformed(false, format!("the header {name} must be given once, in ASCII."))),
    }
}

fn read_header(parts: &Parts, header: &str) -> Result<RawClaim, AwsError> {
    let dialect = Dialect::of(parts, None);
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm != ALGORITHM {
        return Err(match dialect {
            Dialect::S3 if algorithm != "AWS" && !algorithm.starts_with("AWS4-") => {
                AwsError::invalid("InvalidArgument", "Unsupported Authorization Type")
                    .with_member("ArgumentName", "Authorization")
                    .with_member("ArgumentValue", algorithm)
            }
            _ => dialect.unsupported_algorithm(algorithm),
        });
    }
    let [credential, signed_headers, signature] = header_fields(dialect, rest)?;
    let date = match single_header(parts, "x-amz-date")? {
        Some(date) => Some(date),
        None => single_header(parts, "date")?,
    };
    Ok(RawClaim {
        presigned: false,
        credential,
        signed_headers,
        signature,
        date: date.map(str::to_owned),
        life: None,
        security_token: single_header(parts, "x-amz-security-token")?.map(str::to_owned),
        content_sha256: single_header(parts, "x-amz-content-sha256")?.map(str::to_owned),
    })
}

/// The values of `Credential`, `SignedHeaders` and `Signature`, each of which must be there once.
fn header_fields(dialect: Dialect, text: &str) -> Result<[String; 3], AwsError> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut values: [Option<String>; 3] = [None, None, None];
    for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let slot = NAMES.iter().position(|known| *known == name).map(|at| &mut values[at]);
        match slot {
            Some(slot) if slot.is_none() && !value.is_empty() => *slot = Some(value.to_owned()),
            _ => {
                let text = match dialect {
                    Dialect::S3 => {
                        "the header is not a list of Credential, SignedHeaders and Signature.".into()
                    }
                    _ => format!(
                        "'{name}' not a valid key=value pair (missing equal-sign) in Authorization header."
                    ),
                };
                return Err(dialect.malformed(false, text));
            }
        }
    }
    match values {
        [Some(credential), Some(signed_headers), Some(signature)] => {
            Ok([credential, signed_headers, signature])
        }
        values => {
            let missing: Vec<String> = NAMES
                .iter()
                .zip(&values)
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
                .collect();
            Err(dialect.malformed(false, missing.join(" ")))
        }
    }
}

fn read_credential(dialect: Dialect, presigned: bool, text: &str) -> Result<Credential, AwsError> {
    let malformed = |why: &str| {
        let prefix = if presigned && dialect == Dialect::S3 {
            "Error parsing the X-Amz-Credential parameter; "
        } else {
            ""
        };
        dialect.malformed(presigned, format!("{prefix}{why}"))
    };
    // From the right, so that a key id with a slash in it is not taken for a scope.
    let parts: Vec<&str> = text.rsplitn(5, '/').collect();
    let &[terminator, service, region, date, access_key_id] = parts.as_slice() else {
        return Err(malformed(CREDENTIAL_FORM));
    };
    let is_name = |text: &str| {
        (1..=CREDENTIAL_PART_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        let why = format!(
            "incorrect date \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
        );
        return Err(malformed(&why));
    }
    if terminator != TERMINATOR {
        let s3 = format!("incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\".");
        let other = format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."
        );
        return Err(dialect.wrong_scope(presigned, s3, other));
    }
    let region: Result<Region, _> = region.parse();
    match region {
        Ok(region) if is_name(access_key_id) && is_name(service) => Ok(Credential {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region,
            service: service.to_owned(),
        }),
        _ => Err(malformed(CREDENTIAL_FORM)),
    }
}

fn read_time(dialect: Dialect, raw: &RawClaim) -> Result<Timestamp, AwsError> {
    let time = raw.date.as_deref().and_then(|text| {
        let http_date = if raw.presigned { None } else { parse_http_date(text) };
        Timestamp::parse_basic(text).or(http_date)
    });
    match (time, dialect, raw.date.as_deref()) {
        (Some(time), _, _) => Ok(time),
        (None, Dialect::S3, _) if raw.presigned => {
            Err(dialect
                .malformed(true, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))
        }
        (None, Dialect::S3, _) => Err(AwsError::with_status(403, "AccessDenied", S3_DATE_MISSING)),
        (None, _, None) => Err(dialect.malformed(
            false,
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        )),
        (None, _, Some(text)) => {
            Err(dialect.malformed(false, format!("Date must be in ISO-8601 'basic format'. Got '{text}'.")))
        }
    }
}

/// Reads `Fri, 21 Nov 2025 17:24:26 GMT`, which botocore writes with `-0000`.
fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (time, zone) = (words.next()?, words.next()?);
    let month = MONTHS.find(month).filter(|at| at % 3 == 0 && month.len() == 3)? / 3 + 1;
    if words.next().is_some() || !matches!(zone, "GMT" | "-0000" | "+0000") || year.len() != 4 {
        return None;
    }
    Timestamp::parse_iso(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))
}

/// What `x-amz-content-sha256` says of the payload.
///
/// # Errors
/// Where it says nothing known, or where S3 needs it and it is missing.
pub(super) fn payload_mode(
    dialect: Dialect,
    presigned: bool,
    content_sha256: Option<String>,
) -> Result<PayloadMode, AwsError> {
    const WRONG: &str = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.";
    let Some(text) = content_sha256 else {
        return match dialect {
            Dialect::S3 if presigned => Ok(PayloadMode::Unsigned),
            Dialect::S3 => Err(AwsError::invalid(
                "InvalidRequest",
                "Missing required header for this request: x-amz-content-sha256",
            )),
            _ => Ok(PayloadMode::Undeclared),
        };
    };
    match text.as_str() {
        "UNSIGNED-PAYLOAD" => Ok(PayloadMode::Unsigned),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(PayloadMode::SignedChunks),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(PayloadMode::SignedChunksAndTrailer),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(PayloadMode::UnsignedChunksAndTrailer),
        hash if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(PayloadMode::Sha256(text))
        }
        _ => Err(match dialect {
            Dialect::S3 => AwsError::invalid("InvalidArgument", WRONG)
                .with_member("ArgumentName", "x-amz-content-sha256")
                .with_member("ArgumentValue", text),
            _ => dialect.signature(WRONG),
        }),
    }
}

impl PayloadMode {
    /// What stands for the payload in the canonical request, unless the body's own hash does.
    pub(super) fn declared(&self) -> Option<&str> {
        match self {
            Self::Undeclared => None,
            Self::Sha256(hash) => Some(hash),
            Self::Unsigned => Some("UNSIGNED-PAYLOAD"),
            Self::SignedChunks => Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Self::SignedChunksAndTrailer => Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            Self::UnsignedChunksAndTrailer => Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        }
    }

    /// Whether the payload comes in aws-chunked framing.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        matches!(self, Self::SignedChunks | Self::SignedChunksAndTrailer | Self::UnsignedChunksAndTrailer)
    }
}

/// A query parameter's value as text; parameters of a signature are ASCII, so that nothing is lost.
pub(super) fn decoded_text(value: &str) -> String {
    String::from_utf8_lossy(&decode_query(value)).into_owned()
}
