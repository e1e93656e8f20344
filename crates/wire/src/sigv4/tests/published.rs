//! The worked examples of the S3 documentation: signatures that AWS computed, not we.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html> and its neighbours

use std::time::Duration;

use http::request::Parts;

use super::super::{PayloadToSign, SignedPayload, SigningScope, presign};
use super::{DAY, example, head, pieces, read, signed, time, verify};

const BUCKET: &str = "host: examplebucket.s3.amazonaws.com";

fn signature(parts: &Parts) -> String {
    let text = parts.headers["authorization"].to_str().unwrap();
    text.rsplit_once("Signature=").unwrap().1.to_owned()
}

#[test]
fn the_documented_requests_bear_the_documented_signatures() {
    let get = |uri: &str, headers: &[&str]| {
        let headers: Vec<&str> = [BUCKET].iter().chain(headers).copied().collect();
        signature(&signed(head("GET", uri, &headers), "s3", PayloadToSign::Bytes(b"")))
    };
    assert_eq!(
        get("/test.txt", &["range: bytes=0-9"]),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    assert_eq!(get("/?lifecycle", &[]), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    assert_eq!(
        get("/?max-keys=2&prefix=J", &[]),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
    let put = head(
        "PUT",
        "/test$file.text",
        &[BUCKET, "date: Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class: REDUCED_REDUNDANCY"],
    );
    let put = signed(put, "s3", PayloadToSign::Bytes(b"Welcome to Amazon S3."));
    assert_eq!(signature(&put), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    assert!(verify(&put, SignedPayload::Whole(b"Welcome to Amazon S3.")).is_ok());
}

#[test]
fn the_documented_presigned_url_is_made() {
    let scope = SigningScope { region: "us-east-1", service: "s3", time: time(DAY) };
    let parts = head("GET", "https://examplebucket.s3.amazonaws.com/test.txt", &[]);
    assert_eq!(
        presign(&parts, &example(), &scope, Duration::from_secs(86_400)).unwrap().to_string(),
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
         AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&\
         X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
         aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

fn upload(mode: &str, more: &[&str]) -> Parts {
    let mode_header = format!("x-amz-content-sha256: {mode}");
    let mut headers = vec![
        "host: s3.amazonaws.com",
        "content-encoding: aws-chunked",
        "x-amz-decoded-content-length: 66560",
        "x-amz-storage-class: REDUCED_REDUNDANCY",
        &mode_header,
    ];
    headers.extend(more);
    signed(head("PUT", "/examplebucket/chunkObject.txt", &headers), "s3", PayloadToSign::Declared(mode))
}

fn chunked(signatures: [&str; 3], end: &str) -> Vec<u8> {
    let a = |count| "a".repeat(count);
    format!(
        "10000;chunk-signature={}\r\n{}\r\n400;chunk-signature={}\r\n{}\r\n0;chunk-signature={}\r\n{end}\r\n",
        signatures[0],
        a(65_536),
        signatures[1],
        a(1024),
        signatures[2]
    )
    .into_bytes()
}

#[test]
fn the_documented_chunked_upload_is_verified() {
    let parts = upload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &["content-length: 66824"]);
    assert_eq!(signature(&parts), "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    let raw = chunked(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        "",
    );
    assert_eq!(raw.len(), 66_824);
    let body = verify(&parts, SignedPayload::Declared).unwrap().body(pieces(&raw, 8192)).unwrap();
    assert_eq!(body.length_bytes(), Some(66_560));
    assert_eq!(read(body).unwrap(), (vec![b'a'; 66_560], vec![]));
}

#[test]
fn the_documented_upload_with_a_trailer_is_verified() {
    let parts =
        upload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", &["x-amz-trailer: x-amz-checksum-crc32c"]);
    assert_eq!(signature(&parts), "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    // The second form is the documentation's own, with line feeds inside the trailer.
    for trailer in ["x-amz-checksum-crc32c:sOO8/Q==\r\n", "x-amz-checksum-crc32c:sOO8/Q==\n\r\n"] {
        let raw = chunked(
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
            &format!(
                "{trailer}x-amz-trailer-signature:\
                 d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
            ),
        );
        let body = verify(&parts, SignedPayload::Declared).unwrap().body(pieces(&raw, 1000)).unwrap();
        let (payload, trailers) = read(body).unwrap();
        assert_eq!(payload, vec![b'a'; 66_560]);
        assert_eq!(trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
    }
}
