//! The checksums that S3's clients declare of a body, in a header or in its trailer.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::request::Parts;
use md5::{Digest as _, Md5};

use super::claim::single_header;
use crate::AwsError;

const PREFIX: &str = "x-amz-checksum-";

/// Headers that begin like a checksum and are none.
const NOT_CHECKSUMS: &[&str] = &["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"];

/// A running checksum.
enum Running {
    Crc(Box<crc_fast::Digest>, usize),
    Sha(digest::Context),
    Md5(Md5),
}

/// One checksum that a body must have.
pub(super) struct Checksum {
    header: String,
    running: Running,
    /// From the request's head; a trailer's is known at the end only.
    expected: Option<Vec<u8>>,
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checksum").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Running {
    fn of(header: &str) -> Option<Self> {
        let crc = |algorithm, bytes| Some(Self::Crc(Box::new(crc_fast::Digest::new(algorithm)), bytes));
        let sha = |algorithm| Some(Self::Sha(digest::Context::new(algorithm)));
        match header.strip_prefix(PREFIX)? {
            "crc32" => crc(CrcAlgorithm::Crc32IsoHdlc, 4),
            "crc32c" => crc(CrcAlgorithm::Crc32Iscsi, 4),
            "crc64nvme" => crc(CrcAlgorithm::Crc64Nvme, 8),
            "sha1" => sha(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            "sha256" => sha(&digest::SHA256),
            "sha512" => sha(&digest::SHA512),
            "md5" => Some(Self::Md5(Md5::new())),
            _ => None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc, _) => crc.update(bytes),
            Self::Sha(sha) => sha.update(bytes),
            Self::Md5(md5) => md5.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(crc, bytes) => crc.finalize().to_be_bytes()[8 - bytes..].to_vec(),
            Self::Sha(sha) => sha.finish().as_ref().to_vec(),
            Self::Md5(md5) => md5.finalize().to_vec(),
        }
    }

    fn length_bytes(&self) -> usize {
        match self {
            Self::Crc(_, bytes) => *bytes,
            Self::Sha(sha) => sha.algorithm().output_len(),
            Self::Md5(_) => 16,
        }
    }

    /// The bytes of a declared checksum, where they can be one of this kind.
    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text.trim()).ok().filter(|bytes| bytes.len() == self.length_bytes())
    }
}

impl Checksum {
    /// The checksums that a request declares in its head, and those of the trailers that it announces.
    ///
    /// # Errors
    /// For values that are no checksums, algorithms that are not known, and more than one of them.
    pub(super) fn declared(parts: &Parts, trailers: &[String]) -> Result<Vec<Self>, AwsError> {
        let mut checksums = Vec::new();
        // The head of CompleteMultipartUpload declares the checksum of the object, not that of its own body.
        if !is_complete_multipart_upload(parts) {
            for name in parts.headers.keys().map(http::HeaderName::as_str) {
                if name.starts_with(PREFIX) && !NOT_CHECKSUMS.contains(&name) {
                    let text = single_header(parts, name)?.unwrap_or("");
                    let running = Running::of(name).ok_or_else(|| unknown_algorithm(name))?;
                    let expected = running.decode(text).ok_or_else(|| invalid_value(name, "header"))?;
                    checksums.push(Self { header: name.to_owned(), running, expected: Some(expected) });
                }
            }
        }
        for name in trailers {
            let running = Running::of(name).ok_or_else(|| unknown_algorithm(name))?;
            checksums.push(Self { header: name.clone(), running, expected: None });
        }
        if checksums.len() > 1 {
            return Err(AwsError::invalid(
                "InvalidRequest",
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        if let Some(text) = single_header(parts, "content-md5")? {
            let running = Running::Md5(Md5::new());
            let expected = running.decode(text).ok_or_else(|| {
                AwsError::invalid("InvalidDigest", "The Content-MD5 you specified was invalid.")
                    .with_member("Content-MD5", text)
            })?;
            checksums.push(Self { header: "content-md5".into(), running, expected: Some(expected) });
        }
        Ok(checksums)
    }

    /// Takes in the next piece of the body.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.running.update(bytes);
    }

    /// Holds the body, which is complete, against what was declared in the head or in `trailers`.
    ///
    /// # Errors
    /// `BadDigest` where they differ.
    pub(super) fn check(self, trailers: &[(String, String)]) -> Result<(), AwsError> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => trailers
                .iter()
                .find(|(name, _)| *name == self.header)
                .and_then(|(_, value)| self.running.decode(value))
                .ok_or_else(|| invalid_value(&self.header, "trailing header"))?,
        };
        let computed = self.running.finish();
        if computed == expected {
            return Ok(());
        }
        Err(match self.header.strip_prefix(PREFIX) {
            Some(algorithm) => AwsError::invalid(
                "BadDigest",
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.to_ascii_uppercase()
                ),
            ),
            None => AwsError::invalid(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
            )
            .with_member("ExpectedDigest", STANDARD.encode(&expected))
            .with_member("CalculatedDigest", STANDARD.encode(&computed)),
        })
    }
}

fn is_complete_multipart_upload(parts: &Parts) -> bool {
    parts.method == http::Method::POST
        && parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("uploadId=")))
}

fn invalid_value(name: &str, place: &str) -> AwsError {
    AwsError::invalid("InvalidRequest", format!("Value for {name} {place} is invalid."))
}

fn unknown_algorithm(name: &str) -> AwsError {
    if name.starts_with("x-amz-checksum-xxhash") {
        return AwsError::with_status(
            501,
            "NotImplemented",
            "A header you provided implies functionality that is not implemented",
        )
        .with_member("Header", name);
    }
    AwsError::invalid(
        "InvalidRequest",
        "The algorithm type you specified in x-amz-checksum- header is invalid.",
    )
}
