//! The client's side: signs requests of our own, in a header or in the query.

use std::time::Duration;

use cairn_core::Timestamp;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};

use super::Secret;
use super::canonical::{Canonical, encode, headers_to_sign, host};
use super::claim::PRESIGNED_SECONDS_MAX;
use super::key::{
    ALGORITHM, EMPTY_SHA256, SigningKey, TERMINATOR, UNSIGNED_PAYLOAD, sha256_hex, string_to_sign,
};

/// Who signs.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret: Secret,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub struct SigningScope<'a> {
    /// The region.
    pub region: &'a str,
    /// The service's signing name.
    pub service: &'a str,
    /// When it is signed.
    pub time: Timestamp,
}

/// What a signature says of the payload.
#[derive(Clone, Copy, Debug)]
pub enum PayloadToSign<'a> {
    /// Its hash, computed here.
    Bytes(&'a [u8]),
    /// Its hash, or one of S3's words in its place.
    Declared(&'a str),
    /// Nothing.
    Unsigned,
}

/// A request that cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Neither a `Host` header nor an authority in the URI.
    #[error("the request names no host")]
    NoHost,
    /// A credential that cannot stand in a header.
    #[error("a credential cannot stand in a header")]
    Header(#[source] http::header::InvalidHeaderValue),
    /// The URI cannot take the signature.
    #[error("the uri cannot take the signature")]
    Uri(#[source] http::Error),
    /// A presigned request's life that AWS does not allow.
    #[error("a presigned request lives 1 to {PRESIGNED_SECONDS_MAX} seconds")]
    Life,
}

impl SigningScope<'_> {
    fn date(&self) -> String {
        self.time.basic()[..8].to_owned()
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date(), self.region, self.service)
    }

    fn is_s3(&self) -> bool {
        self.service.starts_with("s3")
    }

    fn signature(&self, credentials: &Credentials, canonical_request: &[u8]) -> String {
        SigningKey::derive(&credentials.secret, &self.date(), self.region, self.service)
            .sign(&string_to_sign(&self.time.basic(), &self.text(), canonical_request))
    }
}

/// Signs a request in its headers: sets `host` where it is missing, `x-amz-date`, `x-amz-security-token`,
/// `x-amz-content-sha256` for S3, and `authorization`. The path and the query must be percent-encoded.
///
/// # Errors
/// Where the request names no host or a credential cannot stand in a header.
pub fn sign(
    parts: &mut Parts,
    credentials: &Credentials,
    scope: &SigningScope<'_>,
    payload: PayloadToSign<'_>,
) -> Result<(), SignError> {
    let payload_hash = match payload {
        PayloadToSign::Bytes(bytes) => sha256_hex(bytes),
        PayloadToSign::Declared(text) => text.to_owned(),
        PayloadToSign::Unsigned => UNSIGNED_PAYLOAD.into(),
    };
    let host_text = host(parts).to_vec();
    if host_text.is_empty() {
        return Err(SignError::NoHost);
    }
    parts.headers.insert("host", HeaderValue::from_bytes(&host_text).map_err(SignError::Header)?);
    set(parts, "x-amz-date", &scope.time.basic())?;
    if let Some(token) = &credentials.session_token {
        set(parts, "x-amz-security-token", token)?;
    }
    // Other services read the hash off the body, unless the request says that there is none.
    if scope.is_s3() || !matches!(payload, PayloadToSign::Bytes(_)) {
        set(parts, "x-amz-content-sha256", &payload_hash)?;
    }
    let names = headers_to_sign(&parts.headers);
    let request = Canonical::of(parts, &names, scope.is_s3()).standard(&payload_hash);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={}",
        credentials.access_key_id,
        scope.text(),
        names.join(";"),
        scope.signature(credentials, &request)
    );
    set(parts, "authorization", &authorization)
}

/// The URI of a request that is signed in its query, for `life` from the scope's time. Its headers are all covered,
/// so whoever sends it must send them too; the payload is not, except that other services than S3 expect none.
///
/// # Errors
/// Where the request names no host, or AWS does not allow the life.
pub fn presign(
    parts: &Parts,
    credentials: &Credentials,
    scope: &SigningScope<'_>,
    life: Duration,
) -> Result<Uri, SignError> {
    if !(1..=PRESIGNED_SECONDS_MAX).contains(&life.as_secs()) {
        return Err(SignError::Life);
    }
    if host(parts).is_empty() {
        return Err(SignError::NoHost);
    }
    let names = headers_to_sign(&parts.headers);
    let mut query = parts
        .uri
        .query()
        .filter(|query| !query.is_empty())
        .map_or(String::new(), |query| format!("{query}&"));
    let credential = format!("{}/{}", credentials.access_key_id, scope.text());
    query.push_str(&format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={}&X-Amz-SignedHeaders={}",
        encode(credential.as_bytes()),
        scope.time.basic(),
        life.as_secs(),
        encode(names.join(";").as_bytes())
    ));
    if let Some(token) = &credentials.session_token {
        query.push_str(&format!("&X-Amz-Security-Token={}", encode(token.as_bytes())));
    }
    let mut unsigned = parts.clone();
    unsigned.uri = with_query(&parts.uri, &query)?;
    let payload_hash = if scope.is_s3() { UNSIGNED_PAYLOAD } else { EMPTY_SHA256 };
    let request = Canonical::of(&unsigned, &names, scope.is_s3()).standard(payload_hash);
    let signature = scope.signature(credentials, &request);
    with_query(&parts.uri, &format!("{query}&X-Amz-Signature={signature}"))
}

fn set(parts: &mut Parts, name: &'static str, value: &str) -> Result<(), SignError> {
    let value = HeaderValue::from_str(value).map_err(SignError::Header)?;
    parts.headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

fn with_query(uri: &Uri, query: &str) -> Result<Uri, SignError> {
    let path = format!("{}?{query}", uri.path());
    let path: PathAndQuery =
        path.parse().map_err(|error: http::uri::InvalidUri| SignError::Uri(error.into()))?;
    let mut pieces = uri.clone().into_parts();
    pieces.path_and_query = Some(path);
    Uri::from_parts(pieces).map_err(|error| SignError::Uri(error.into()))
}
