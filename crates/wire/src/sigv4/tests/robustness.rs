//! Hostile input: nothing panics, and nothing forged is accepted.

use proptest::prelude::*;

use super::super::{Claim, Limits, PayloadToSign, Secret, SignedPayload, plain_body};
use super::{head, pieces, read, signed, time};

fn header_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,120}",
        "AWS4-HMAC-SHA256 (Credential=[A-Z0-9/a-z_-]{0,60}|SignedHeaders=[a-z;:-]{0,30}|Signature=[0-9a-f]{0,70}|[,= ]){0,8}",
    ]
}

proptest! {
    #[test]
    fn parsing_never_panics(
        authorization in proptest::option::of(header_text()),
        query in "(X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)=[A-Za-z0-9%/;-]{0,40}&?){0,7}[!$-;=@-_a-~]{0,40}",
        date in "[ -~]{0,40}",
        sha256 in "[ -~]{0,70}",
    ) {
        let mut request = http::Request::builder().uri(format!("/b/k?{query}")).header("host", "localhost");
        if let Some(text) = authorization {
            request = request.header("authorization", text);
        }
        let request = request.header("x-amz-date", date).header("x-amz-content-sha256", sha256).body(());
        prop_assume!(request.is_ok());
        let (parts, ()) = request.unwrap().into_parts();
        if let Ok(Some(claim)) = Claim::parse(&parts) {
            let verified = claim.verify(
                &parts, &Secret::new("secret"), SignedPayload::Declared, claim.signed_at, &Limits::default(),
            );
            prop_assert!(verified.is_err());
        }
    }

    #[test]
    fn reading_a_framed_body_never_panics(
        raw in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "([0-9a-f]{1,17}(;chunk-signature=[0-9a-f]{64})?\r\n[a-z]{0,10}\r\n){0,5}(x-amz-checksum-crc32:AAAAAA==\r\n)?\r\n"
                .prop_map(String::into_bytes),
        ],
        size in 1_usize..50,
    ) {
        let parts = head("PUT", "/b/k", &[
            "host: localhost",
            "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length: 7",
            "x-amz-trailer: x-amz-checksum-crc32",
        ]);
        if let Ok((payload, _)) = read(plain_body(&parts, pieces(&raw, size)).unwrap()) {
            prop_assert_eq!(payload.len(), 7);
        }
    }

    #[test]
    fn a_flipped_character_of_a_signature_is_refused(at in 0_usize..64, to in "[0-9a-f]") {
        let mut parts = signed(head("GET", "/b", &["host: localhost"]), "s3", PayloadToSign::Bytes(b""));
        let mut text = parts.headers["authorization"].to_str().unwrap().to_owned();
        let at = text.len() - 64 + at;
        prop_assume!(text[at..=at] != to);
        text.replace_range(at..=at, &to);
        parts.headers.insert("authorization", text.parse().unwrap());
        let claim = Claim::parse(&parts).unwrap().unwrap();
        let verified = claim.verify(
            &parts, &super::example().secret, SignedPayload::Whole(b""), time(super::DAY), &Limits::default(),
        );
        prop_assert!(verified.is_err());
    }
}
