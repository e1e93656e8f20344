//! Digests and the keys of delivered objects: any bytes are refused, or read and written without a change of meaning.
//!
//! The input is lines: the signature of the first digest, then digests. Each line is also read as a key.

use cairn_core::digest::{
    Digest, DigestKey, DigestObject, Link, SIGNATURE_ALGORITHM, Verified, verify, verify_chain,
};
use cairn_core::logfile::{LogFileKey, sha256_hex};

/// The public key of the seeds, PKCS#1 DER. Its private key was forgotten when the seeds were made.
const PUBLIC_KEY: &[u8] = include_bytes!("../keys/digest.der");

/// Some lines.
///
/// # Panics
/// Where a digest or key is not written as it was read, or a digest is valid that its signer did not sign.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let signature = std::str::from_utf8(lines.next().unwrap_or_default()).ok();
    let mut chain = Vec::new();
    for (at, json) in lines.enumerate() {
        if let Ok(text) = std::str::from_utf8(json) {
            check_keys(text);
        }
        let Ok(digest) = Digest::parse(json) else { continue };
        let written = digest.to_json();
        assert_eq!(Digest::parse(&written).ok().as_ref(), Some(&digest), "a digest changed on its way");
        if at == 0 {
            check_signature(json, &digest, signature);
        }
        let link = Link {
            bucket: digest.digest_s3_bucket.clone(),
            object: digest.digest_s3_object.clone(),
            hash: sha256_hex(json),
            signature: signature.unwrap_or_default().to_owned(),
        };
        chain.push(Verified { digest, link });
    }
    let _ = verify_chain(&chain);
}

fn check_keys(text: &str) {
    if let Some(key) = DigestKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Some(key) = LogFileKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
}

fn check_signature(json: &[u8], digest: &Digest, signature: Option<&str>) {
    let found = DigestObject {
        bucket: &digest.digest_s3_bucket,
        object: &digest.digest_s3_object,
        json,
        signature,
        signature_algorithm: Some(SIGNATURE_ALGORITHM),
    };
    let Ok(verified) = verify(&found, |_| Some(PUBLIC_KEY.to_vec())) else { return };
    assert_eq!((&verified.digest, verified.link.hash), (digest, sha256_hex(json)));
    let mut changed = json.to_vec();
    // White space changes the bytes and not the meaning: the signature is over the bytes.
    changed.push(b' ');
    let changed = DigestObject { json: &changed, ..found };
    assert!(verify(&changed, |_| Some(PUBLIC_KEY.to_vec())).is_err(), "other bytes have the same signature");
    assert!(verify(&DigestObject { signature: None, ..found }, |_| Some(PUBLIC_KEY.to_vec())).is_err());
}
