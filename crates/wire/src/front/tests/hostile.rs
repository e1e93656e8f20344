//! What no client sends by good will. Each is answered with an error of the request's protocol; nothing panics.

use proptest::prelude::*;

use super::*;

fn outcome(service: &str, request: &str, body: &[u8]) -> String {
    let mut sent = Sent::new(service, request);
    sent.body = Bytes::copy_from_slice(body);
    match sent.call() {
        Ok((call, exchange)) => {
            // The reply to whatever came in can be written.
            let _ = exchange.encode(crate::Reply::empty(), &request_id());
            format!("{} {}", call.operation, call.params)
        }
        Err(rejection) => {
            let response = rejection.exchange.encode_error(&rejection.error, &request_id(), "/");
            assert_eq!(response.status().as_u16(), rejection.error.status);
            rejection.error.code.into_owned()
        }
    }
}

const JSON: &str =
    "POST /\ncontent-type: application/x-amz-json-1.1\nx-amz-target: CloudTrail_20131101.PutEventSelectors";
const FORM: &str = "POST /\ncontent-type: application/x-www-form-urlencoded";

const CBOR: &str =
    "POST /service/GraniteServiceVersion20100801/operation/PutMetricData\nsmithy-protocol: rpc-v2-cbor";

#[test]
fn malformed_cbor_is_a_serialization_exception() {
    for body in [
        &b"\x01"[..],
        b"\xa1",
        b"\xa1\x01\x02",
        b"\xbf",
        b"\x9f\xff",
        b"\xa0\xa0",
        b"\xff",
        b"\xa1\x69Namespace\x01",
    ] {
        assert_eq!(outcome("monitoring", CBOR, body), "SerializationException", "{body:?}");
    }
    assert_eq!(outcome("monitoring", CBOR, b"\xa1\x69Namespace\x61n"), "PutMetricData {\"Namespace\":\"n\"}");
    assert_eq!(
        outcome("monitoring", &CBOR.replace("PutMetricData", "NoSuch"), b""),
        "UnknownOperationException"
    );
    assert_eq!(outcome("iam", CBOR, b""), "MissingAction");
}

#[test]
fn malformed_json_is_a_serialization_exception() {
    for body in [
        &b"{"[..],
        b"[]",
        b"1",
        b"\"x\"",
        b"{\"TrailName\":1}",
        b"{\"TrailName\":[]}",
        b"{\"TrailName\":{}}",
        b"{\"EventSelectors\":{}}",
        b"{\"EventSelectors\":[1]}",
        b"{\"EventSelectors\":[{\"IncludeManagementEvents\":\"true\"}]}",
        b"{\"TrailName\":\"\xff\xfe\"}",
        b"{\"TrailName\":\"\\ud800\"}",
        b"{\"a\":1}x",
        b"\xef\xbb\xbf{}",
        b"{\"TrailName\":\"x\"",
    ] {
        assert_eq!(outcome("cloudtrail", JSON, body), "SerializationException", "{body:?}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(outcome("cloudtrail", JSON, deep.as_bytes()), "SerializationException");
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    assert_eq!(outcome("cloudtrail", JSON, deep.as_bytes()), "SerializationException");
}

#[test]
fn numbers_beyond_their_types_are_refused() {
    let lookup = JSON.replace("PutEventSelectors", "LookupEvents");
    for body in
        ["{\"StartTime\":1e300}", "{\"StartTime\":\"x\"}", "{\"MaxResults\":1.5}", "{\"MaxResults\":\"5\"}"]
    {
        assert_eq!(outcome("cloudtrail", &lookup, body.as_bytes()), "SerializationException", "{body}");
    }
    // One with a fraction of zero is whole.
    assert_eq!(outcome("cloudtrail", &lookup, b"{\"MaxResults\":5.0}"), "LookupEvents {\"MaxResults\":5}");
}

#[test]
fn malformed_forms_are_refused() {
    let prefix = "Action=CreateUser&Version=2010-05-08&";
    for body in ["UserName=%ff", "UserName=\u{fffd}%fe", "UserName.x=1", "PermissionsBoundary.a.b=1"] {
        let code = outcome("iam", FORM, format!("{prefix}{body}").as_bytes());
        assert!(code == "MalformedInput" || code.starts_with("CreateUser"), "{body}: {code}");
    }
    assert_eq!(outcome("iam", FORM, &[0xff, 0xfe]), "MalformedInput");
    let deep = format!("{prefix}Tags{}=1", ".member".repeat(10_000));
    assert_eq!(outcome("iam", FORM, deep.as_bytes()), "MalformedInput");
    // A gap in a list, and an index that no memory could hold, cost nothing.
    let sparse = format!("{prefix}Tags.member.18446744073709551615.Key=z&Tags.member.7.Key=a");
    assert_eq!(
        outcome("iam", FORM, sparse.as_bytes()),
        "CreateUser {\"Tags\":[{\"Key\":\"a\"},{\"Key\":\"z\"}]}"
    );
}

#[test]
fn malformed_xml_is_malformed_xml() {
    for body in [
        &b"<"[..],
        b"<Delete>",
        b"<Delete></Object></Delete>",
        b"<Delete><Object><Key>a</Object></Key></Delete>",
        b"<Delete>&undefined;</Delete>",
        b"<!DOCTYPE d [<!ENTITY a \"aaaa\">]><Delete>&a;</Delete>",
        b"<Delete>\xff</Delete>",
        b"<Delete/><Delete/>",
        b"<Delete><Quiet>maybe</Quiet></Delete>",
        b"{}",
    ] {
        assert_eq!(
            outcome("s3", "POST /b?delete", body),
            "MalformedXML",
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    let deep = format!("<Delete>{}", "<a>".repeat(100_000));
    assert_eq!(outcome("s3", "POST /b?delete", deep.as_bytes()), "MalformedXML");
}

#[test]
fn odd_request_lines_are_refused() {
    assert_eq!(outcome("s3", "GET /b/%ff", b""), "InvalidArgument");
    assert_eq!(outcome("s3", "GET /b?prefix=%ff", b""), "InvalidURI");
    assert_eq!(outcome("s3", "OPTIONS *", b""), "MethodNotAllowed");
    assert_eq!(outcome("s3", "GET //", b""), "MethodNotAllowed");
    assert_eq!(outcome("s3", "BREW /b", b""), "MethodNotAllowed");
    assert_eq!(outcome("lambda", "GET /no/such/path", b""), "UnknownOperationException");
    assert_eq!(outcome("", "GET /b/k\nhost: ", b""), "GetObject {\"Bucket\":\"b\",\"Key\":\"k\"}");
}

#[test]
fn a_broken_signing_name_or_target_is_refused() {
    for target in ["", ".", "..", "CloudTrail_20131101.", ".ListTrails", "\u{7f}", "a.b.c.d.e"] {
        let Ok(value) = http::HeaderValue::from_bytes(target.as_bytes()) else { continue };
        let mut sent = Sent::new("cloudtrail", "POST /\n\n{}");
        sent.parts.headers.insert("x-amz-target", value);
        assert_eq!(sent.call().unwrap_err().error.code, "UnknownOperationException", "{target:?}");
    }
}

fn heads() -> impl Strategy<Value = (&'static str, String)> {
    prop_oneof![
        Just(("cloudtrail", JSON.to_owned())),
        Just(("dynamodb", "POST /\nx-amz-target: DynamoDB_20120810.PutItem".to_owned())),
        Just(("iam", FORM.to_owned())),
        Just(("ec2", FORM.to_owned())),
        Just(("monitoring", CBOR.to_owned())),
        Just(("s3", "POST /b?delete".to_owned())),
        Just(("s3", "PUT /b?lifecycle".to_owned())),
        Just(("s3", "PUT /b?acl".to_owned())),
        Just(("route53", "POST /2013-04-01/hostedzone".to_owned())),
        Just(("lambda", "POST /2015-03-31/functions".to_owned())),
        "[A-Z]{3,6}".prop_flat_map(|method| {
            let target = "/[a-zA-Z0-9%./+-]{0,40}(\\?[a-zA-Z0-9%&=.+-]{0,40})?";
            target.prop_map(move |target| ("s3", format!("{method} {target}")))
        }),
    ]
}

/// Bodies that are near enough to real ones to get past the first check.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\":,a-z0-9.eE+-]{0,200}".prop_map(String::into_bytes),
        "(</?[A-Za-z:]{0,8}( [a-z]=\"[a-z&;]{0,4}\")?/?>|&[a-z#0-9]{0,4};|[a-z ]){0,40}"
            .prop_map(String::into_bytes),
        "(Action=(CreateUser|RunInstances)&)?([A-Za-z.0-9]{0,20}(=[a-z%0-9+]{0,6})?&){0,20}"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_request_makes_the_codec_panic((service, head) in heads(), body in bodies()) {
        if head.lines().next().and_then(|line| line.split_once(' ')).is_some_and(|(_, uri)| uri.parse::<http::Uri>().is_ok()) {
            outcome(service, &head, &body);
        }
    }

    #[test]
    fn no_header_makes_the_codec_panic(name in "(x-amz-[a-z-]{1,20}|content-[a-z]{1,10}|host|range|if-match)", value in proptest::collection::vec(0x20u8..=0xff, 0..40)) {
        let mut sent = Sent::new("", "PUT /b/k");
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), http::HeaderValue::from_bytes(&value)) {
            sent.parts.headers.insert(name, value);
        }
        let _ = sent.call();
    }
}
