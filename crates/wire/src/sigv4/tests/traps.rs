//! What other servers got wrong: headers left out, bodies not compared, other mechanisms, and every dialect's words.

use http::request::Parts;

use super::super::{
    Claim, PayloadMode, PayloadToSign, Secret, SignedPayload, missing_authentication, unknown_access_key,
};
use super::{code, head, signed, verify};

const HOST: &str = "host: localhost:4566";

fn put(headers: &[&str], payload: &[u8]) -> Parts {
    let headers: Vec<&str> = [HOST].iter().chain(headers).copied().collect();
    signed(head("PUT", "/b/k", &headers), "s3", PayloadToSign::Bytes(payload))
}

#[test]
fn a_changed_method_path_query_header_or_host_is_refused() {
    let parts =
        signed(head("GET", "/b/k?acl&x=1", &[HOST, "range: bytes=0-9"]), "s3", PayloadToSign::Bytes(b""));
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b""))), "accepted");
    let changes: [fn(&mut Parts); 7] = [
        |parts| parts.method = http::Method::DELETE,
        |parts| parts.uri = "/b/K?acl&x=1".parse().unwrap(),
        |parts| parts.uri = "/b//k?acl&x=1".parse().unwrap(),
        |parts| parts.uri = "/b/k?acl&x=2".parse().unwrap(),
        |parts| parts.uri = "/b/k?acl&x=1&y".parse().unwrap(),
        |parts| drop(parts.headers.insert("range", "bytes=0-8".parse().unwrap())),
        |parts| drop(parts.headers.insert("host", "localhost:4567".parse().unwrap())),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut changed = parts.clone();
        change(&mut changed);
        assert_eq!(code(verify(&changed, SignedPayload::Whole(b""))), "403 SignatureDoesNotMatch", "{at}");
    }
}

#[test]
fn an_amz_header_that_is_not_signed_is_refused_and_others_are_not() {
    let mut parts = put(&[], b"");
    parts.headers.insert("x-amz-acl", "public-read".parse().unwrap());
    let error = verify(&parts, SignedPayload::Whole(b"")).unwrap_err();
    assert_eq!(error.code, "AccessDenied");
    assert_eq!(error.message, "There were headers present in the request which were not signed");
    assert_eq!(error.members, [("HeadersNotSigned".into(), "x-amz-acl".to_owned())]);
    let mut parts = put(&[], b"");
    parts.headers.insert("content-type", "text/plain".parse().unwrap());
    parts.headers.insert("x-amzn-trace-id", "Root=1".parse().unwrap());
    parts.headers.insert("user-agent", "a proxy".parse().unwrap());
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b""))), "accepted");
    // The host must be among them, whoever left it out.
    let mut parts = put(&[], b"");
    let text = parts.headers["authorization"].to_str().unwrap().replace("=host;", "=");
    parts.headers.insert("authorization", text.parse().unwrap());
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b""))), "403 AccessDenied");
}

#[test]
fn a_body_that_is_not_the_declared_one_is_refused() {
    let parts = put(&[], b"right");
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b"right"))), "accepted");
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b"wrong"))), "400 XAmzContentSHA256Mismatch");
    let json = ["host: localhost", "x-amz-target: T.A", "content-type: application/x-amz-json-1.1"];
    let json = signed(head("POST", "/", &json), "cloudtrail", PayloadToSign::Bytes(b"{}"));
    assert_eq!(code(verify(&json, SignedPayload::Whole(b"{}"))), "accepted");
    assert_eq!(code(verify(&json, SignedPayload::Whole(b"[]"))), "400 InvalidSignatureException");
    assert_eq!(code(verify(&json, SignedPayload::Declared)), "400 InvalidSignatureException");
    let unsigned = signed(head("PUT", "/b/k", &[HOST]), "s3", PayloadToSign::Unsigned);
    assert_eq!(code(verify(&unsigned, SignedPayload::Whole(b"anything"))), "accepted");
    let framed = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let framed = signed(head("PUT", "/b/k", &[HOST]), "s3", PayloadToSign::Declared(framed));
    assert_eq!(code(verify(&framed, SignedPayload::Whole(b"not framed"))), "400 InvalidRequest");
}

#[test]
fn a_whole_body_is_held_to_its_checksums_too() {
    // Of b"right", by md5sum.
    let parts = put(&["content-md5: CMUTXMa6zs5Sgn6cBFfx3w=="], b"right");
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b"right"))), "400 BadDigest");
    let parts = put(&["content-md5: fE8pQHiTwzSmy3qHvwRcDQ=="], b"right");
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b"right"))), "accepted");
    let parts = put(&["content-length: 4"], b"right");
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b"right"))), "400 IncompleteBody");
}

#[test]
fn a_session_token_must_be_that_of_its_key() {
    let mut parts = put(&[], b"");
    let claim = Claim::parse(&parts).unwrap().unwrap();
    assert!(claim.check_token(None).is_ok());
    assert_eq!(code(claim.check_token(Some(&Secret::new("token")))), "400 InvalidToken");
    parts.headers.insert("x-amz-security-token", "token".parse().unwrap());
    let claim = Claim::parse(&parts).unwrap().unwrap();
    assert!(claim.check_token(Some(&Secret::new("token"))).is_ok());
    assert_eq!(code(claim.check_token(Some(&Secret::new("other")))), "400 InvalidToken");
    assert_eq!(code(claim.check_token(None)), "400 InvalidToken");
    // It is a header that the signature must cover.
    assert_eq!(code(verify(&parts, SignedPayload::Whole(b""))), "403 AccessDenied");
}

#[test]
fn s3_wants_the_payload_declared() {
    let mut parts = put(&[], b"");
    parts.headers.remove("x-amz-content-sha256");
    assert_eq!(code(Claim::parse(&parts)), "400 InvalidRequest");
    parts.headers.insert("x-amz-content-sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD".parse().unwrap());
    assert_eq!(code(Claim::parse(&parts)), "400 InvalidArgument");
    parts.headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    assert_eq!(Claim::parse(&parts).unwrap().unwrap().payload, PayloadMode::Unsigned);
}

#[test]
fn an_authorization_header_is_read_with_and_without_spaces() {
    let parts = put(&[], b"");
    let text = parts.headers["authorization"].to_str().unwrap();
    for text in [text.replace(", ", ","), text.replace(", ", " ,  ")] {
        let mut changed = parts.clone();
        changed.headers.insert("authorization", text.parse().unwrap());
        assert_eq!(code(verify(&changed, SignedPayload::Whole(b""))), "accepted", "{text}");
    }
}

#[test]
fn malformed_claims_are_refused_in_the_words_of_their_service() {
    let credential = "Credential=AKID/20130524/us-east-1/s3/aws4_request";
    for (text, s3, json) in [
        ("AWS4-HMAC-SHA256", "400 AuthorizationHeaderMalformed", "400 IncompleteSignatureException"),
        (credential, "400 InvalidArgument", "400 IncompleteSignatureException"),
        (
            &format!("AWS4-HMAC-SHA256 {credential}, Signature=00"),
            "400 AuthorizationHeaderMalformed",
            "400 IncompleteSignatureException",
        ),
        (
            &format!("AWS4-HMAC-SHA256 {credential}, {credential}, SignedHeaders=host, Signature=00"),
            "400 AuthorizationHeaderMalformed",
            "400 IncompleteSignatureException",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=00",
            "400 AuthorizationHeaderMalformed",
            "400 IncompleteSignatureException",
        ),
        ("AWS AKID:c2lnbmF0dXJl", "400 InvalidRequest", "400 IncompleteSignatureException"),
        (
            &format!("AWS4-ECDSA-P256-SHA256 {credential}, SignedHeaders=host, Signature=00"),
            "400 InvalidRequest",
            "400 IncompleteSignatureException",
        ),
        ("Bearer token", "400 InvalidArgument", "400 IncompleteSignatureException"),
    ] {
        let header = format!("authorization: {text}");
        assert_eq!(code(Claim::parse(&head("GET", "/b", &[HOST, &header]))), s3, "{text}");
        let parts = head("POST", "/", &[HOST, &header, "x-amz-target: T.A"]);
        assert_eq!(code(Claim::parse(&parts)), json, "{text}");
        let parts = head("POST", "/?Action=GetUser", &[HOST, &header]);
        assert_eq!(code(Claim::parse(&parts)), "400 IncompleteSignature", "{text}");
    }
}

#[test]
fn only_one_mechanism_may_be_used_and_version_2_is_s3s_alone() {
    let parts = put(&[], b"");
    let both = format!("authorization: {}", parts.headers["authorization"].to_str().unwrap());
    let both = head("GET", "/b?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[HOST, &both]);
    assert_eq!(code(Claim::parse(&both)), "400 InvalidArgument");
    let old = head("GET", "/b/k?AWSAccessKeyId=AKID&Expires=1&Signature=c2ln", &[HOST]);
    assert!(Claim::parse(&old).unwrap().unwrap().is_version_2());
    let old = head("POST", "/?AWSAccessKeyId=AKID&Expires=1&Signature=c2ln", &[HOST, "x-amz-target: T.A"]);
    assert_eq!(code(Claim::parse(&old)), "400 IncompleteSignatureException");
    let few = head("GET", "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[HOST]);
    assert_eq!(code(Claim::parse(&few)), "400 AuthorizationQueryParametersError");
    let asymmetric = head("GET", "/b/k?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", &[HOST]);
    assert_eq!(code(Claim::parse(&asymmetric)), "400 AuthorizationQueryParametersError");
    assert!(Claim::parse(&head("GET", "/b/k?list-type=2", &[HOST])).unwrap().is_none());
}

#[test]
fn a_line_break_in_signed_headers_cannot_reach_the_canonical_request() {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&\
         X-Amz-Date=20130524T000000Z&X-Amz-Expires=60&X-Amz-Signature=00&X-Amz-SignedHeaders=host%0Ax";
    let parts = head("GET", &format!("/b/k?{query}"), &[HOST]);
    assert_eq!(code(Claim::parse(&parts)), "400 AuthorizationQueryParametersError");
}

#[test]
fn a_plus_in_a_query_is_a_space_and_not_a_plus() {
    let plus = signed(head("GET", "/b?prefix=a%2Bb", &[HOST]), "s3", PayloadToSign::Bytes(b""));
    let mut changed = plus.clone();
    changed.uri = "/b?prefix=a+b".parse().unwrap();
    assert_eq!(code(verify(&changed, SignedPayload::Whole(b""))), "403 SignatureDoesNotMatch");
    let space = signed(head("GET", "/b?prefix=a%20b", &[HOST]), "s3", PayloadToSign::Bytes(b""));
    let mut same = space.clone();
    same.uri = "/b?prefix=a+b".parse().unwrap();
    assert_eq!(code(verify(&same, SignedPayload::Whole(b""))), "accepted");
}

#[test]
fn every_service_words_unknown_keys_and_missing_signatures_in_its_way() {
    for (service, unknown) in [
        ("s3", "403 InvalidAccessKeyId"),
        ("iam", "403 InvalidClientTokenId"),
        ("cloudtrail", "400 UnrecognizedClientException"),
        ("lambda", "403 UnrecognizedClientException"),
    ] {
        assert_eq!(code::<()>(Err(unknown_access_key(service))), unknown);
    }
    let missing = |parts: &Parts, service: &str| code::<()>(Err(missing_authentication(parts, service)));
    let form = head("POST", "/", &[HOST, "content-type: application/x-www-form-urlencoded; charset=utf-8"]);
    assert_eq!(missing(&form, "sqs"), "403 MissingAuthenticationToken");
    let json = head("POST", "/", &[HOST, "content-type: application/x-amz-json-1.0"]);
    assert_eq!(missing(&json, "sqs"), "400 MissingAuthenticationTokenException");
    assert_eq!(missing(&head("GET", "/b", &[HOST]), "s3"), "403 AccessDenied");
    assert_eq!(
        missing(&head("GET", "/2015-03-31/functions", &[HOST]), "lambda"),
        "403 MissingAuthenticationTokenException"
    );
}

#[test]
fn http2_requests_are_verified_by_their_authority() {
    let parts = put(&[], b"");
    let mut moved = parts.clone();
    moved.headers.remove("host");
    moved.uri = "https://localhost:4566/b/k".parse().unwrap();
    assert_eq!(code(verify(&moved, SignedPayload::Whole(b""))), "accepted");
}
