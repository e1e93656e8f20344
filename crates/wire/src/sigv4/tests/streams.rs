//! Streamed bodies: every split of the pieces, and every way to tamper with them.

use http::request::Parts;

use super::super::chunked::ChunkChain;
use super::super::key::{SigningKey, sha256_hex};
use super::super::{Claim, PayloadToSign, SignedPayload, plain_body};
use super::{DAY, code, example, head, pieces, read, signed, time, verify};
use crate::Body;

const PAYLOAD: [&[u8]; 3] = [b"hello, ", b"chunked ", b"world"];
const WHOLE: &[u8] = b"hello, chunked world";
/// Of `WHOLE`, by python's zlib and base64.
const CRC32: &str = "x-amz-checksum-crc32:XT19kg==";

fn request(mode: &str, headers: &[&str]) -> Parts {
    let mode_header = format!("x-amz-content-sha256: {mode}");
    let length = format!("x-amz-decoded-content-length: {}", WHOLE.len());
    let mut all = vec!["host: localhost", "content-encoding: aws-chunked", &mode_header, &length];
    all.extend(headers);
    head("PUT", "/b/k", &all)
}

fn signed_request(mode: &str, headers: &[&str]) -> Parts {
    signed(request(mode, headers), "s3", PayloadToSign::Declared(mode))
}

/// The lines of a signed framing: one per chunk, then one per line of the trailer.
fn signed_frames(parts: &Parts, trailer: Option<&str>) -> Vec<Vec<u8>> {
    let claim = Claim::parse(parts).unwrap().unwrap();
    let key = SigningKey::derive(&example().secret, &DAY[..8], "us-east-1", "s3");
    let mut chain = ChunkChain::new(key, time(DAY).basic(), claim.scope(), claim.signature.clone());
    let mut frames = Vec::new();
    for chunk in PAYLOAD.iter().chain([&&b""[..]]) {
        let signature = chain.sign_chunk(&sha256_hex(chunk)).to_owned();
        let mut frame = format!("{:x};chunk-signature={signature}\r\n", chunk.len()).into_bytes();
        frame.extend_from_slice(chunk);
        if !chunk.is_empty() {
            frame.extend_from_slice(b"\r\n");
        }
        frames.push(frame);
    }
    if let Some(trailer) = trailer {
        frames.push(format!("{trailer}\r\n").into_bytes());
        let signature = chain.sign_trailer(&format!("{trailer}\n"));
        frames.push(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
    }
    frames.push(b"\r\n".to_vec());
    frames
}

fn unsigned_frames(trailer: &str) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = PAYLOAD
        .iter()
        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    frames.extend([b"0\r\n".to_vec(), format!("{trailer}\r\n").into_bytes(), b"\r\n".to_vec()]);
    frames
}

fn outcome(parts: &Parts, raw: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let verified = verify(parts, SignedPayload::Declared).map_err(|error| error.code.into_owned())?;
    read(verified.body(pieces(raw, size)).unwrap()).map(|(payload, _)| payload)
}

/// Every framing, with the request it belongs to.
fn framings() -> Vec<(Parts, Vec<Vec<u8>>)> {
    let plain = signed_request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &[]);
    let trailer = ["x-amz-trailer: x-amz-checksum-crc32"];
    let with_trailer = signed_request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", &trailer);
    let unsigned = signed_request("STREAMING-UNSIGNED-PAYLOAD-TRAILER", &trailer);
    vec![
        (plain.clone(), signed_frames(&plain, None)),
        (with_trailer.clone(), signed_frames(&with_trailer, Some(CRC32))),
        (unsigned, unsigned_frames(CRC32)),
    ]
}

#[test]
fn every_split_of_the_pieces_reads_the_same_payload() {
    for (parts, frames) in framings() {
        let raw = frames.concat();
        for size in 1..=raw.len() {
            assert_eq!(outcome(&parts, &raw, size).as_deref(), Ok(WHOLE), "pieces of {size}");
        }
    }
}

#[test]
fn every_changed_byte_is_refused() {
    for (parts, frames) in framings() {
        let raw = frames.concat();
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            let around = String::from_utf8_lossy(&raw[at.saturating_sub(3)..(at + 3).min(raw.len())]);
            assert!(outcome(&parts, &changed, 11).is_err(), "byte {at} was changed unseen: {around:?}");
        }
    }
}

#[test]
fn every_cut_is_refused() {
    for (parts, frames) in framings() {
        let raw = frames.concat();
        for length in 0..raw.len() {
            assert!(outcome(&parts, &raw[..length], 7).is_err(), "cut at {length} of {}", raw.len());
        }
    }
}

#[test]
fn swapped_doubled_and_missing_frames_are_refused() {
    for (parts, frames) in framings() {
        for first in 0..frames.len() {
            let mut missing = frames.clone();
            missing.remove(first);
            assert!(outcome(&parts, &missing.concat(), 9).is_err(), "without frame {first}");
            let mut doubled = frames.clone();
            doubled.insert(first, frames[first].clone());
            // A closing line break too many is what some clients send.
            if first + 1 < frames.len() {
                assert!(outcome(&parts, &doubled.concat(), 9).is_err(), "frame {first} doubled");
            }
            for second in first + 1..frames.len() {
                let mut swapped = frames.clone();
                swapped.swap(first, second);
                assert!(
                    outcome(&parts, &swapped.concat(), 9).is_err(),
                    "frames {first} and {second} swapped"
                );
            }
        }
        let more = [frames.concat(), b"more".to_vec()].concat();
        assert_eq!(outcome(&parts, &more, 9), Err("InvalidRequest".into()));
    }
}

#[test]
fn chunks_signed_for_another_request_are_refused() {
    let here = signed_request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &[]);
    let there = signed_request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &["x-amz-acl: private"]);
    let raw = signed_frames(&there, None).concat();
    assert_eq!(outcome(&here, &raw, 100), Err("SignatureDoesNotMatch".into()));
}

#[test]
fn unsigned_chunks_do_not_pass_for_signed_ones() {
    let parts = signed_request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &[]);
    let raw = unsigned_frames("").concat();
    assert_eq!(outcome(&parts, &raw, 100), Err("InvalidRequest".into()));
}

#[test]
fn the_declared_length_binds() {
    for (declared, expected) in [("19", "IncompleteBody"), ("21", "IncompleteBody")] {
        let mut parts = request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &[]);
        parts.headers.insert("x-amz-decoded-content-length", declared.parse().unwrap());
        let parts = signed(parts, "s3", PayloadToSign::Declared("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
        let raw = signed_frames(&parts, None).concat();
        assert_eq!(outcome(&parts, &raw, 5), Err(expected.into()));
    }
    let mut parts = request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &[]);
    parts.headers.remove("x-amz-decoded-content-length");
    let parts = signed(parts, "s3", PayloadToSign::Declared("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
    assert_eq!(code(verify(&parts, SignedPayload::Declared)), "411 MissingContentLength");
}

#[test]
fn a_trailer_must_be_announced_and_there_and_right() {
    let mode = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let announced = signed_request(mode, &["x-amz-trailer: x-amz-checksum-crc32"]);
    let run = |trailer: &str| outcome(&announced, &unsigned_frames(trailer).concat(), 6);
    assert_eq!(run(CRC32).as_deref(), Ok(WHOLE));
    assert_eq!(run("x-amz-checksum-crc32:AAAAAA=="), Err("BadDigest".into()));
    assert_eq!(run("x-amz-checksum-crc32:AAAA"), Err("InvalidRequest".into()));
    assert_eq!(run("x-amz-checksum-crc32c:AAAAAA=="), Err("MalformedTrailerError".into()));
    assert_eq!(run("no colon"), Err("MalformedTrailerError".into()));
    assert_eq!(run(&format!("{CRC32}\r\n{CRC32}")), Err("MalformedTrailerError".into()));
    let without = [b"14\r\n", WHOLE, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(outcome(&announced, &without, 6), Err("MalformedTrailerError".into()));
    let silent = signed_request(mode, &[]);
    assert_eq!(code(verify(&silent, SignedPayload::Declared)), "400 MalformedTrailerError");
    let other = signed_request(mode, &["x-amz-trailer: x-other"]);
    assert_eq!(code(verify(&other, SignedPayload::Declared)), "400 InvalidRequest");
}

#[test]
fn lines_and_chunks_have_limits() {
    let parts =
        signed_request("STREAMING-UNSIGNED-PAYLOAD-TRAILER", &["x-amz-trailer: x-amz-checksum-crc32"]);
    for raw in ["a".repeat(5000), "ffffffffffffffff\r\n".into(), "-1\r\n".into(), "+1\r\na\r\n".into()] {
        assert_eq!(outcome(&parts, raw.as_bytes(), 100), Err("InvalidRequest".into()), "{}", &raw[..2]);
    }
}

fn plain(headers: &[&str], raw: &[u8]) -> Result<Vec<u8>, String> {
    let all: Vec<&str> = ["host: localhost"].iter().chain(headers).copied().collect();
    let body: Result<Body, _> = plain_body(&head("PUT", "/b/k", &all), pieces(raw, 4));
    read(body.map_err(|error| error.code.into_owned())?).map(|(payload, _)| payload)
}

#[test]
fn unsigned_requests_are_held_to_their_checksums_too() {
    let right = Ok(WHOLE.to_vec());
    for header in CHECKSUMS {
        assert_eq!(plain(&[header], WHOLE), right, "{header}");
        assert_eq!(plain(&[header], b"hello, chunked World"), Err("BadDigest".into()), "{header}");
        let (name, _) = header.split_once(':').unwrap();
        let code = if name == "content-md5" { "InvalidDigest" } else { "InvalidRequest" };
        assert_eq!(plain(&[&format!("{name}: AAAAA")], WHOLE), Err(code.into()), "{header}");
    }
    assert_eq!(plain(&["content-length: 20"], WHOLE), right);
    assert_eq!(plain(&["content-length: 21"], WHOLE), Err("IncompleteBody".into()));
    assert_eq!(plain(&["x-amz-checksum-xxhash64: AAAAAAAAAAA="], WHOLE), Err("NotImplemented".into()));
    assert_eq!(plain(&["x-amz-checksum-crc99: AAAA"], WHOLE), Err("InvalidRequest".into()));
    assert_eq!(plain(&[CHECKSUMS[0], CHECKSUMS[1]], WHOLE), Err("InvalidRequest".into()));
    let framed = [
        "content-encoding: gzip, aws-chunked",
        "x-amz-decoded-content-length: 20",
        "x-amz-trailer: x-amz-checksum-crc32",
    ];
    assert_eq!(plain(&framed, &unsigned_frames(CRC32).concat()), right);
    assert_eq!(
        plain(&["x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD"], WHOLE),
        Err("InvalidRequest".into())
    );
}

#[test]
fn a_streamed_body_has_the_hash_that_was_signed() {
    let parts = signed(head("PUT", "/b/k", &["host: localhost"]), "s3", PayloadToSign::Bytes(WHOLE));
    assert_eq!(outcome(&parts, WHOLE, 3).as_deref(), Ok(WHOLE));
    assert_eq!(outcome(&parts, b"hello, chunked w0rld", 3), Err("XAmzContentSHA256Mismatch".into()));
    assert_eq!(outcome(&parts, b"", 3), Err("XAmzContentSHA256Mismatch".into()));
}

#[test]
fn the_checksum_of_a_completed_upload_is_not_that_of_its_request() {
    let parts = head("POST", "/b/k?uploadId=1", &["host: localhost", "x-amz-checksum-crc32: AAAAAA=="]);
    assert_eq!(
        read(plain_body(&parts, pieces(WHOLE, 9)).unwrap()).map(|(payload, _)| payload),
        Ok(WHOLE.to_vec())
    );
}

/// Of `WHOLE`, by python's hashlib, zlib and a table-driven CRC.
const CHECKSUMS: [&str; 8] = [
    "x-amz-checksum-crc32: XT19kg==",
    "x-amz-checksum-crc32c: Y219dg==",
    "x-amz-checksum-crc64nvme: YRDes7SbV4g=",
    "x-amz-checksum-sha1: SrBjPMGn7yNk2l1EnSak3fQsvx8=",
    "x-amz-checksum-sha256: DQrk9JUIQiBnz8DtMDpyeJVOwD3Foht3YlvpaG58Vm8=",
    "x-amz-checksum-sha512: huzZ/0xdHioTe9miEW0TANSQx/e5X3eNPNIf0Xu2GtH4TKSf1O2OE6NsXAKxz/4ipIiHaRkeXxIkDnl+qrC2cw==",
    "x-amz-checksum-md5: DKUvxWSdTXANBpFR0qdexw==",
    "content-md5: DKUvxWSdTXANBpFR0qdexw==",
];
