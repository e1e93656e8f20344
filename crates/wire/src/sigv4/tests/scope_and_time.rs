//! The window of a signature, and the scope of its credential.

use std::time::Duration;

use cairn_core::Timestamp;
use http::Uri;
use http::request::Parts;

use super::super::{Claim, Limits, PayloadToSign, SignedPayload, SigningScope, presign};
use super::{DAY, MINUTE, code, example, head, signed, time};
use crate::AwsError;

const JSON: &[&str] = &[
    "host: cloudtrail.us-east-1.amazonaws.com",
    "x-amz-target: T.LookupEvents",
    "content-type: application/x-amz-json-1.1",
];

fn at(parts: &Parts, now: Timestamp) -> Result<(), AwsError> {
    let claim = Claim::parse(parts)?.unwrap();
    claim.verify(parts, &example().secret, SignedPayload::Whole(b""), now, &Limits::default()).map(drop)
}

fn s3_get() -> Parts {
    signed(head("GET", "/b/k", &["host: localhost"]), "s3", PayloadToSign::Bytes(b""))
}

#[test]
fn a_signed_header_holds_for_15_minutes_at_s3_and_for_5_elsewhere_either_way() {
    let signed_at = time(DAY);
    let second = Duration::from_secs(1);
    let json = signed(head("POST", "/", JSON), "cloudtrail", PayloadToSign::Bytes(b""));
    for (parts, window, expected) in [
        (&s3_get(), 15 * MINUTE, "403 RequestTimeTooSkewed"),
        (&json, 5 * MINUTE, "400 InvalidSignatureException"),
    ] {
        for now in [signed_at.plus(window), signed_at.minus(window), signed_at] {
            assert_eq!(code(at(parts, now)), "accepted");
        }
        for now in [signed_at.plus(window + second), signed_at.minus(window + second)] {
            assert_eq!(code(at(parts, now)), expected);
        }
    }
    assert_eq!(
        at(&json, signed_at.plus(6 * MINUTE)).unwrap_err().message,
        "Signature expired: 20130524T000000Z is now earlier than 20130524T000100Z (20130524T000600Z - 5 min.)"
    );
}

fn presigned(uri: &str, service: &str, life: Duration) -> Parts {
    let scope = SigningScope { region: "us-east-1", service, time: time(DAY) };
    let parts = head("GET", uri, &["host: localhost"]);
    let uri = presign(&parts, &example(), &scope, life).unwrap();
    head("GET", &uri.to_string(), &["host: localhost"])
}

#[test]
fn a_presigned_request_holds_for_its_own_life_and_not_for_the_window() {
    let signed_at = time(DAY);
    for service in ["s3", "sts"] {
        let week = presigned("/b/k", service, Duration::from_secs(604_800));
        let short = presigned("/b/k", service, Duration::from_secs(60));
        assert_eq!(code(at(&week, signed_at.plus(Duration::from_secs(604_800)))), "accepted");
        assert_eq!(code(at(&short, signed_at.plus(MINUTE))), "accepted");
        let late = at(&short, signed_at.plus(MINUTE + Duration::from_secs(1))).unwrap_err();
        let early = at(&short, signed_at.minus(16 * MINUTE)).unwrap_err();
        if service == "s3" {
            assert_eq!((late.code.as_ref(), late.message.as_str()), ("AccessDenied", "Request has expired"));
            assert_eq!(early.message, "Request is not valid yet");
        } else {
            assert_eq!(late.code, "SignatureDoesNotMatch");
            assert_eq!(early.code, "SignatureDoesNotMatch");
        }
    }
}

#[test]
fn the_life_of_a_presigned_request_is_1_second_to_a_week() {
    let parts = presigned("/b/k", "s3", MINUTE);
    for life in ["0", "-1", "604801", "x", "", "99999999999999999999"] {
        let uri = parts.uri.to_string().replace("X-Amz-Expires=60", &format!("X-Amz-Expires={life}"));
        let changed = head("GET", &uri, &["host: localhost"]);
        assert_eq!(code(Claim::parse(&changed)), "400 AuthorizationQueryParametersError", "{life}");
    }
    let longer: Uri = parts.uri.to_string().replace("Expires=60", "Expires=6000").parse().unwrap();
    let longer = head("GET", &longer.to_string(), &["host: localhost"]);
    assert_eq!(code(at(&longer, time(DAY))), "403 SignatureDoesNotMatch");
    let without = parts.uri.to_string().replace("&X-Amz-Expires=60", "");
    let without = head("GET", &without, &["host: localhost"]);
    assert_eq!(code(Claim::parse(&without)), "400 AuthorizationQueryParametersError");
}

#[test]
fn a_scope_of_another_date_region_service_or_terminator_is_refused() {
    let parts = s3_get();
    let with = |from: &str, to: &str| {
        let mut changed = parts.clone();
        let text = changed.headers["authorization"].to_str().unwrap().replacen(from, to, 1);
        changed.headers.insert("authorization", text.parse().unwrap());
        changed
    };
    let malformed = "400 AuthorizationHeaderMalformed";
    assert_eq!(code(Claim::parse(&with("/20130524/", "/20130525/"))), malformed);
    assert_eq!(code(Claim::parse(&with("/20130524/", "/2013-5-4/"))), malformed);
    assert_eq!(code(Claim::parse(&with("aws4_request", "aws5_request"))), malformed);
    assert_eq!(code(Claim::parse(&with("/us-east-1/", "/US_EAST/"))), malformed);
    assert_eq!(code(Claim::parse(&with("/us-east-1/s3/", "/us-east-1/"))), malformed);
    // Well-formed, and signed for something else.
    assert_eq!(code(at(&with("/us-east-1/", "/eu-west-1/"), time(DAY))), "403 SignatureDoesNotMatch");
    assert_eq!(code(at(&with("/s3/", "/s3express/"), time(DAY))), "403 SignatureDoesNotMatch");
}

#[test]
fn the_time_may_stand_in_the_date_header() {
    for date in ["Fri, 24 May 2013 00:00:00 GMT", "Fri, 24 May 2013 00:00:00 -0000", "20130524T000000Z"] {
        let mut parts = s3_get();
        parts.headers.remove("x-amz-date");
        parts.headers.insert("date", date.parse().unwrap());
        assert_eq!(Claim::parse(&parts).unwrap().unwrap().signed_at, time(DAY), "{date}");
    }
    for date in ["", "Fri, 24 Foo 2013 00:00:00 GMT", "Fri, 24 May 2013 00:00:00 CET", "20130524T000000"] {
        let mut parts = s3_get();
        parts.headers.insert("x-amz-date", date.parse().unwrap());
        assert_eq!(code(Claim::parse(&parts)), "403 AccessDenied", "{date}");
    }
}
