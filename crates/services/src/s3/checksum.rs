//! The checksums of S3: CRC32, CRC32C, CRC64NVME, SHA-1 and SHA-256, over an object or over the checksums of its parts.
//!
//! Source: the S3 user guide's page on checking object integrity.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha1::Digest as _;

use super::error::{Failure, bad_digest, fail, invalid_request, not_implemented};
use super::params::Params;
use super::state::Checksum;

/// A checksum algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Algorithm {
    #[serde(rename = "CRC32")]
    Crc32,
    #[serde(rename = "CRC32C")]
    Crc32c,
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    #[serde(rename = "SHA1")]
    Sha1,
    #[serde(rename = "SHA256")]
    Sha256,
}

/// What a checksum of an object in parts is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChecksumKind {
    /// All bytes.
    #[serde(rename = "FULL_OBJECT")]
    FullObject,
    /// The parts' checksums.
    #[serde(rename = "COMPOSITE")]
    Composite,
}

impl ChecksumKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// Algorithms that AWS has and that are not built.
const NOT_BUILT: [(&str, &str); 5] = [
    ("ChecksumSHA512", "x-amz-checksum-sha512"),
    ("ChecksumMD5", "x-amz-checksum-md5"),
    ("ChecksumXXHASH64", "x-amz-checksum-xxhash64"),
    ("ChecksumXXHASH3", "x-amz-checksum-xxhash3"),
    ("ChecksumXXHASH128", "x-amz-checksum-xxhash128"),
];

impl Algorithm {
    /// What S3 computes where the client asked for none.
    pub(super) const DEFAULT: Self = Self::Crc64Nvme;

    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// `CRC32`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// `ChecksumCRC32`.
    pub(super) fn member(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// `x-amz-checksum-crc32`.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The algorithm of that name.
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| match name.to_ascii_uppercase().as_str() {
            "SHA512" | "MD5" | "XXHASH64" | "XXHASH3" | "XXHASH128" => not_implemented("x-amz-checksum-algorithm"),
            _ => invalid_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"),
        })
    }

    fn size_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// The kind of a multipart upload's checksum: what was asked for, else the algorithm's default.
    pub(super) fn kind(self, asked: Option<&str>) -> Result<ChecksumKind, Failure> {
        let kind = match asked {
            Some("FULL_OBJECT") => ChecksumKind::FullObject,
            Some("COMPOSITE") => ChecksumKind::Composite,
            _ if self == Self::Crc64Nvme => ChecksumKind::FullObject,
            _ => ChecksumKind::Composite,
        };
        let fits = match kind {
            ChecksumKind::FullObject => self.crc().is_some(),
            ChecksumKind::Composite => self != Self::Crc64Nvme,
        };
        if fits {
            return Ok(kind);
        }
        Err(invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            self.name().to_ascii_lowercase()
        )))
    }
}

/// A checksum being computed.
pub(super) enum Hasher {
    Crc(Algorithm, crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(digest::Context),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match (algorithm, algorithm.crc()) {
            (_, Some(crc)) => Self::Crc(algorithm, crc_fast::Digest::new(crc)),
            (Algorithm::Sha1, None) => Self::Sha1(sha1::Sha1::new()),
            (_, None) => Self::Sha256(digest::Context::new(&digest::SHA256)),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, crc) => crc.update(bytes),
            Self::Sha1(sha) => sha.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    /// The checksum in base64.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Crc(algorithm, crc) => crc_text(algorithm, crc.finalize()),
            Self::Sha1(sha) => BASE64.encode(sha.finalize()),
            Self::Sha256(sha) => BASE64.encode(sha.finish()),
        }
    }
}

fn crc_text(algorithm: Algorithm, value: u64) -> String {
    let bytes = value.to_be_bytes();
    BASE64.encode(&bytes[bytes.len() - algorithm.size_bytes()..])
}

/// What the client says that its bytes' checksum is.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The algorithm it named, if any.
    pub(super) algorithm: Option<Algorithm>,
    /// The value, where it came before the body.
    pub(super) value: Option<String>,
}

impl Claim {
    /// From the members `ChecksumCRC32` … and the `x-amz-trailer` header of a streaming upload.
    pub(super) fn of(params: Params<'_>, headers: &[(String, String)]) -> Result<Self, Failure> {
        if let Some((_, header)) = NOT_BUILT.iter().find(|(member, _)| params.has(member)) {
            return Err(not_implemented(header));
        }
        let mut given = Algorithm::ALL
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, params.text(algorithm.member())?)));
        if let Some((algorithm, value)) = given.next() {
            if given.next().is_some() {
                return Err(invalid_request(
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
            let whole_value = value.split('-').next().unwrap_or_default();
            let decoded = BASE64.decode(whole_value).ok();
            if decoded.is_none_or(|bytes| bytes.len() != algorithm.size_bytes()) {
                return Err(invalid_request(format!("Value for {} header is invalid.", algorithm.header())));
            }
            return Ok(Self { algorithm: Some(algorithm), value: Some(value.to_owned()) });
        }
        let trailer = headers.iter().find(|(name, _)| name == "x-amz-trailer").map(|(_, value)| value.trim());
        let algorithm = match trailer {
            None => params.text("ChecksumAlgorithm").map(Algorithm::named).transpose()?,
            Some(name) => Algorithm::ALL.into_iter().find(|algorithm| algorithm.header() == name),
        };
        Ok(Self { algorithm, value: None })
    }

    /// Compares what was computed with what the client said, before or after the body.
    pub(super) fn verify(
        &self,
        computed: &str,
        algorithm: Algorithm,
        trailers: &[(String, String)],
    ) -> Result<(), Failure> {
        let trailing = trailers.iter().find(|(name, _)| name == algorithm.header()).map(|(_, value)| value);
        match self.value.as_ref().or(trailing) {
            Some(claimed) if claimed != computed => Err(bad_digest(algorithm.name())),
            _ => Ok(()),
        }
    }
}

/// The checksum of an object whose parts, in order, have these checksums and sizes.
pub(super) fn of_parts(
    algorithm: Algorithm,
    kind: ChecksumKind,
    parts: &[(&str, u64)],
) -> Result<String, Failure> {
    let decode = |text: &str| {
        BASE64.decode(text).map_err(|_| fail(500, "InternalError", "A stored checksum cannot be read."))
    };
    if kind == ChecksumKind::Composite {
        let mut hasher = Hasher::new(algorithm);
        for (checksum, _) in parts {
            hasher.update(&decode(checksum)?);
        }
        return Ok(format!("{}-{}", hasher.finish(), parts.len()));
    }
    let crc = algorithm.crc().ok_or_else(|| invalid_request("Full object checksums need a CRC."))?;
    let mut whole = Hasher::new(algorithm).finish();
    let mut value = number(&decode(&whole)?);
    for (checksum, size_bytes) in parts {
        value = crc_fast::checksum_combine(crc, value, number(&decode(checksum)?), *size_bytes);
        whole = crc_text(algorithm, value);
    }
    Ok(whole)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Checksum {
    /// Puts `ChecksumCRC32` … and `ChecksumType` into a reply.
    pub(super) fn show(&self, reply: &mut Map<String, Value>) {
        reply.insert(self.algorithm.member().into(), self.value.as_str().into());
        reply.insert("ChecksumType".into(), self.kind.name().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn checksums_have_the_check_values_of_their_definitions() {
        let shown = |algorithm| hex::encode(BASE64.decode(checksum(algorithm, b"123456789")).unwrap());
        assert_eq!(shown(Algorithm::Crc32), "cbf43926");
        assert_eq!(shown(Algorithm::Crc32c), "e3069283");
        assert_eq!(shown(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(shown(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            shown(Algorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
    }

    #[test]
    fn a_full_object_checksum_of_parts_is_that_of_all_bytes() {
        let (first, second): (&[u8], &[u8]) = (b"12345", b"6789");
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts = [checksum(algorithm, first), checksum(algorithm, second)];
            let parts = [(parts[0].as_str(), 5), (parts[1].as_str(), 4)];
            let whole = of_parts(algorithm, ChecksumKind::FullObject, &parts).unwrap();
            assert_eq!(whole, checksum(algorithm, b"123456789"));
        }
    }

    #[test]
    fn a_composite_checksum_counts_its_parts() {
        // Recorded from S3 for two parts of 5,242,881 bytes with this SHA-256.
        let part = "DjU70AB1bON8k0n0fVHv2PJQVWcA/jWsITp6ti20Tbs=";
        let parts = [(part, 5_242_881), (part, 5_242_881)];
        let composite = of_parts(Algorithm::Sha256, ChecksumKind::Composite, &parts).unwrap();
        assert_eq!(composite, "2Wjxbc3N6c1y3Eqve6x8X+xPy4qXhB1vAMgge0qeZJM=-2");
    }
}
