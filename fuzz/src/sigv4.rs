//! Signatures: what a stranger claims is read or refused and never believed; what we sign is believed, and nothing
//! else is.
//!
//! The input is a head: `METHOD URI`, and headers.

use std::time::Duration;

use cairn_core::Timestamp;
use cairn_wire::sigv4::{
    Claim, Credentials, Limits, PayloadToSign, Secret, SignedPayload, SigningScope, presign, sign,
};
use http::request::Parts;

use crate::request::head_with_line;

/// What the requests of the seeds are signed with: AWS's published example, and no secret.
#[must_use]
pub fn credentials() -> Credentials {
    Credentials {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    }
}

/// When they are signed.
#[must_use]
pub fn signed_at() -> Timestamp {
    Timestamp::parse_iso("2013-05-24T00:00:00Z").expect("a time")
}

/// One head, as it came and as we would sign it.
///
/// # Panics
/// Where a claim without the secret is believed, a signature of our own is not, or a changed one is.
pub fn run(data: &[u8]) {
    let Some(parts) = head_with_line(data) else { return };
    match Claim::parse(&parts) {
        Ok(Some(mut claim)) => {
            claim.set_virtual_bucket(Some("bucket".into()));
            let other = Secret::new("a secret that signed nothing");
            for payload in [SignedPayload::Declared, SignedPayload::Whole(b"body")] {
                let verified = claim.verify(&parts, &other, payload, claim.signed_at, &Limits::default());
                assert!(verified.is_err(), "a signature of nobody's was believed");
            }
            let _ = claim.check_token(None);
        }
        Ok(None) => {
            for service in ["s3", "cloudtrail"] {
                check_signed(parts.clone(), service);
                check_presigned(&parts, service);
            }
        }
        Err(error) => assert!((400..500).contains(&error.status), "{error}"),
    }
}

fn scope(service: &str) -> SigningScope<'_> {
    SigningScope { region: "us-east-1", service, time: signed_at() }
}

/// Whether the claim of `parts` holds; none where it cannot be read, or what it says besides the signature is refused.
fn holds(parts: &Parts, payload: SignedPayload<'_>) -> Option<bool> {
    let claim = Claim::parse(parts).ok()??;
    match claim.verify(parts, &credentials().secret, payload, signed_at(), &Limits::default()) {
        Ok(_) => Some(true),
        Err(error) => (error.code == "SignatureDoesNotMatch").then_some(false),
    }
}

fn check_signed(mut parts: Parts, service: &str) {
    if sign(&mut parts, &credentials(), &scope(service), PayloadToSign::Declared("UNSIGNED-PAYLOAD")).is_err()
    {
        return;
    }
    let believed = holds(&parts, SignedPayload::Declared);
    assert_ne!(believed, Some(false), "a signature of our own was not believed: {parts:?}");
    if believed == Some(true) {
        let text = parts.headers["authorization"].to_str().expect("we wrote it").to_owned();
        let last = if text.ends_with('0') { "1" } else { "0" };
        let changed = text[..text.len() - 1].to_owned() + last;
        parts.headers.insert("authorization", changed.parse().expect("still a header"));
        assert_ne!(holds(&parts, SignedPayload::Declared), Some(true), "a changed signature was believed");
    }
}

fn check_presigned(parts: &Parts, service: &str) {
    let mut parts = parts.clone();
    // What it declares of the body would contradict that the URL says nothing of it.
    parts.headers.remove("x-amz-content-sha256");
    let Ok(uri) = presign(&parts, &credentials(), &scope(service), Duration::from_secs(60)) else { return };
    parts.uri = uri;
    assert_ne!(
        holds(&parts, SignedPayload::Whole(b"")),
        Some(false),
        "a URL that we signed was not believed: {parts:?}"
    );
    parts.method = if parts.method == "GET" { http::Method::PUT } else { http::Method::GET };
    assert_ne!(holds(&parts, SignedPayload::Whole(b"")), Some(true), "a URL was believed for another method");
}
