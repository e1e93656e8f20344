//! Presigned URLs of S3 in Signature Version 2, which botocore (so `aws s3 presign`, and boto3's
//! `generate_presigned_url`) still makes for us-east-1 and the other old regions where nobody asks for version 4.
//!
//! Source: the S3 API reference, "Signing and authenticating REST requests (AWS signature version 2)".
//!
//! Invariants: the signature covers neither the host nor, at AWS, every parameter. So the bucket is the one that the
//! front finds, never one that the host suggests here; and a parameter that the signature need not cover is one that
//! cannot change which operation is called.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use http::request::Parts;

use super::body::BodyPlan;
use super::claim::decoded_text;
use super::dialect::Dialect;
use super::key::signatures_match;
use super::query_auth::pairs;
use super::{Claim, PayloadMode, Secret};
use crate::AwsError;

const PARAMETERS_NEEDED: &str =
    "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters";

/// Version 2 knows no regions: its URLs act where the oldest one is.
const REGION: &str = "us-east-1";

/// Parameters of the signature itself, and copies of headers that botocore leaves in the URL.
const OF_THE_SIGNATURE: [&str; 5] = ["AWSAccessKeyId", "Signature", "Expires", "content-type", "content-md5"];

/// Parameters that only say which part of a listing is wanted.
const OF_LISTINGS: [&str; 15] = [
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "encoding-type",
    "list-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "key-marker",
    "version-id-marker",
    "upload-id-marker",
    "max-uploads",
    "max-parts",
    "part-number-marker",
];

/// Reads the claim of a URL that [`super::query_auth`] found to be of this version.
pub(super) fn read(parts: &Parts, query: &str) -> Result<Claim, AwsError> {
    let dialect = Dialect::of(parts, None);
    if dialect != Dialect::S3 {
        return Err(dialect.unsupported_algorithm("AWS"));
    }
    let value = |name: &str| {
        let mut values = pairs(query).filter(|(other, _)| *other == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) if !value.is_empty() => Ok(decoded_text(value)),
            _ => Err(AwsError::with_status(403, "AccessDenied", PARAMETERS_NEEDED)),
        }
    };
    let (access_key_id, signature, expires) =
        (value("AWSAccessKeyId")?, value("Signature")?, value("Expires")?);
    let seconds: i64 = expires.parse().map_err(|_| {
        AwsError::with_status(
            403,
            "AccessDenied",
            format!("Invalid date (should be seconds since epoch): {expires}"),
        )
    })?;
    let expires_at = Timestamp::from_seconds(seconds.clamp(0, i64::from(u32::MAX)));
    Ok(Claim {
        access_key_id,
        region: REGION.parse().expect("a region name"),
        service: "s3".to_owned(),
        signed_at: expires_at,
        security_token: None,
        presigned: true,
        payload: PayloadMode::Unsigned,
        date: String::new(),
        signed_headers: Vec::new(),
        signature,
        life: None,
        dialect,
        version_2: Some(Version2 { expires, virtual_bucket: None }),
    })
}

/// What a claim of this version has of its own.
#[derive(Clone, Debug)]
pub(super) struct Version2 {
    /// The text of `Expires`, as it is signed.
    expires: String,
    /// The bucket that the host names.
    pub(super) virtual_bucket: Option<String>,
}

impl Version2 {
    /// Proves the claim.
    pub(super) fn verify(
        &self,
        claim: &Claim,
        parts: &Parts,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<BodyPlan, AwsError> {
        let text = self.string_to_sign(parts);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
        let ours = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        if !signatures_match(&ours, &claim.signature) {
            return Err(Dialect::S3
                .mismatch()
                .with_member("AWSAccessKeyId", &claim.access_key_id)
                .with_member("StringToSign", text)
                .with_member("SignatureProvided", &claim.signature));
        }
        if now > claim.signed_at {
            return Err(AwsError::with_status(403, "AccessDenied", "Request has expired")
                .with_member("Expires", claim.signed_at.iso())
                .with_member("ServerTime", now.iso()));
        }
        BodyPlan::of(parts, &PayloadMode::Unsigned, None)
    }

    fn string_to_sign(&self, parts: &Parts) -> String {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        format!(
            "{}\n{}\n{}\n{}\n{}{}",
            parts.method,
            header("content-md5"),
            header("content-type"),
            self.expires,
            amz_headers(parts),
            self.resource(parts)
        )
    }

    /// The bucket and key, and the parameters that the signature covers.
    fn resource(&self, parts: &Parts) -> String {
        let mut covered: Vec<(String, String)> = pairs(parts.uri.query().unwrap_or(""))
            .map(|(name, value)| (decoded_text(name), value))
            .filter(|(name, value)| is_covered(parts, name, &decoded_text(value)))
            .map(|(name, value)| {
                let pair =
                    if value.is_empty() { name.clone() } else { format!("{name}={}", decoded_text(value)) };
                (name, pair)
            })
            .collect();
        covered.sort();
        let bucket = self.virtual_bucket.as_ref().map_or(String::new(), |bucket| format!("/{bucket}"));
        let path = format!("{bucket}{}", parts.uri.path());
        let covered: Vec<String> = covered.into_iter().map(|(_, pair)| pair).collect();
        if covered.is_empty() { path } else { format!("{path}?{}", covered.join("&")) }
    }
}

/// A parameter that need not be covered cannot change what is done; a header in the query only counts as the header.
fn is_covered(parts: &Parts, name: &str, value: &str) -> bool {
    let is_sent = parts.headers.get(name).is_some_and(|header| header.as_bytes() == value.as_bytes());
    let is_header = name.starts_with("x-amz-") && is_sent;
    !is_header && !OF_THE_SIGNATURE.contains(&name) && !OF_LISTINGS.contains(&name)
}

/// `name:value` lines of all `x-amz-*` headers, by name.
fn amz_headers(parts: &Parts) -> String {
    let mut names: Vec<&str> = parts.headers.keys().map(http::HeaderName::as_str).collect();
    names.retain(|name| name.starts_with("x-amz-"));
    names.sort_unstable();
    let line = |name: &str| {
        let values = parts.headers.get_all(name).iter();
        let values: Vec<&str> = values.map(|value| value.to_str().unwrap_or("").trim()).collect();
        format!("{name}:{}\n", values.join(","))
    };
    names.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Limits, SignedPayload};
    use super::*;

    const NOW: i64 = 1_175_139_620;

    /// The example of the S3 API reference: GET of johnsmith's photos/puppy.jpg, in path style.
    const EXAMPLE: &str = "/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&\
         Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";

    fn outcome(uri: &str, headers: &[(&str, &str)], bucket: Option<&str>, now: i64) -> String {
        let mut request = http::Request::builder().uri(uri).header("host", "johnsmith.s3.amazonaws.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let verified = Claim::parse(&parts).map(Option::unwrap).and_then(|mut claim| {
            claim.set_virtual_bucket(bucket.map(str::to_owned));
            let now = Timestamp::from_seconds(now);
            claim.verify(&parts, &secret, SignedPayload::Declared, now, &Limits::default())
        });
        verified.err().map_or("accepted".into(), |error| format!("{} {}", error.code, error.message))
    }

    #[test]
    fn the_example_of_the_reference_is_accepted_until_it_expires() {
        assert_eq!(outcome(EXAMPLE, &[], Some("johnsmith"), NOW), "accepted");
        let path_style = EXAMPLE.replacen('/', "/johnsmith/", 1);
        assert_eq!(outcome(&path_style, &[], None, NOW), "accepted");
        let late = NOW + i64::try_from(Duration::from_secs(1).as_secs()).unwrap();
        assert_eq!(outcome(EXAMPLE, &[], Some("johnsmith"), late), "AccessDenied Request has expired");
    }

    #[test]
    fn nothing_that_changes_the_call_can_be_added_or_taken_away() {
        let refused = |uri: &str, headers: &[(&str, &str)], bucket| {
            let outcome = outcome(uri, headers, bucket, NOW);
            assert!(outcome.starts_with("SignatureDoesNotMatch"), "{uri} {headers:?}: {outcome}");
        };
        let bucket = Some("johnsmith");
        refused(EXAMPLE, &[], Some("other"));
        refused(EXAMPLE, &[], None);
        refused(EXAMPLE, &[("x-amz-acl", "private")], bucket);
        refused(EXAMPLE, &[("content-type", "text/plain")], bucket);
        for more in ["acl", "attributes", "versionId=1", "x-amz-acl=private", "x-amz-signature=1"] {
            refused(&format!("{EXAMPLE}&{more}"), &[], bucket);
        }
        let both_versions = outcome(&format!("{EXAMPLE}&X-Amz-Signature=1"), &[], bucket, NOW);
        assert!(both_versions.starts_with("AuthorizationQueryParametersError"), "{both_versions}");
        refused(&EXAMPLE.replace("puppy", "kitty"), &[], bucket);
        refused(&EXAMPLE.replace("1175139620", "1175139621"), &[], bucket);
    }

    #[test]
    fn a_url_that_lacks_a_parameter_or_has_it_twice_is_refused() {
        for uri in [
            "/b/k?AWSAccessKeyId=A&Signature=s",
            "/b/k?AWSAccessKeyId=A&Signature=s&Expires=1&Expires=2",
            "/b/k?AWSAccessKeyId=A&Signature=s&Expires=soon",
        ] {
            assert!(outcome(uri, &[], None, NOW).starts_with("AccessDenied"), "{uri}");
        }
    }
}
