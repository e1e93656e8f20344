//! What buckets and keys may be called.
//!
//! Source: the S3 user guide's page on bucket naming rules.

use std::net::Ipv4Addr;

use super::error::{Failure, fail};

/// Longest key, in bytes of UTF-8.
const KEY_SIZE_BYTES_MAX: usize = 1024;
/// Beginnings that AWS keeps for itself.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
/// Endings that AWS keeps for itself.
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Whether a bucket may be called so.
pub(super) fn check_bucket(name: &str) -> Result<(), Failure> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let valid = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| alphanumeric(*byte) || matches!(byte, b'.' | b'-'))
        && alphanumeric(bytes[0])
        && alphanumeric(bytes[bytes.len() - 1])
        && !name.contains("..")
        && name.parse::<Ipv4Addr>().is_err()
        && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    if valid {
        return Ok(());
    }
    Err(fail(400, "InvalidBucketName", "The specified bucket is not valid.").with("BucketName", name))
}

/// Whether an object may be called so.
pub(super) fn check_key(key: &str) -> Result<(), Failure> {
    if key.len() <= KEY_SIZE_BYTES_MAX {
        return Ok(());
    }
    Err(fail(400, "KeyTooLongError", "Your key is too long")
        .with("Size", key.len().to_string())
        .with("MaxSizeAllowed", KEY_SIZE_BYTES_MAX.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_awss_rules() {
        for good in
            ["abc", "my.bucket-1", "1-2.3", "a23456789012345678901234567890123456789012345678901234567890123"]
        {
            assert!(check_bucket(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            "a..b",
            ".abc",
            "192.168.5.4",
            "xn--abc",
            "abc-s3alias",
            "a234567890123456789012345678901234567890123456789012345678901234",
            "abcé",
        ] {
            assert!(check_bucket(bad).is_err(), "{bad}");
        }
    }
}
