//! The certificate of the key: self-signed, since no authority vouches for a server of one's own.
//!
//! Written by hand: rcgen brings some twenty crates, for these few lines of DER. RFC 5280.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use cairn_core::digest::{RsaSigner, SignError, Signer};

use super::der::{
    GENERALIZED_TIME, OCTET_STRING, SEQUENCE, SET, UTC_TIME, UTF8_STRING, bits, integer, sequence, value,
};

/// Whom AWS's certificates name: clients that look at the name look for this one.
const COMMON_NAME: &str = "sns.amazonaws.com";
const COMMON_NAME_OID: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const RSA_ENCRYPTION_OID: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const SHA256_WITH_RSA_OID: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const KEY_USAGE_OID: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0f];
const SUBJECT_ALTERNATIVE_NAME_OID: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
const NULL: &[u8] = &[0x05, 0x00];
const TRUE: &[u8] = &[0x01, 0x01, 0xff];
/// Key usage: digital signatures alone, as a bit string.
const DIGITAL_SIGNATURE: &[u8] = &[0x03, 0x02, 0x07, 0x80];
/// The version of certificates with extensions.
const VERSION_3: &[u8] = &[0x02];
const LINE_LENGTH: usize = 64;
/// Times before this year have two digits for it.
const GENERALIZED_FROM: &str = "2050";

/// The DER of a certificate for the signer's key, valid between two times.
pub(super) fn self_signed(
    signer: &RsaSigner,
    serial: &[u8; 16],
    validity: (Timestamp, Timestamp),
) -> Result<Vec<u8>, SignError> {
    let algorithm = sequence(&[SHA256_WITH_RSA_OID, NULL]);
    let attribute = sequence(&[COMMON_NAME_OID, &value(UTF8_STRING, COMMON_NAME.as_bytes())]);
    let name = sequence(&[&value(SET, &attribute)]);
    let validity = sequence(&[&time(validity.0), &time(validity.1)]);
    let key = sequence(&[&sequence(&[RSA_ENCRYPTION_OID, NULL]), &bits(signer.public_key_der())]);
    let usage = sequence(&[KEY_USAGE_OID, TRUE, &value(OCTET_STRING, DIGITAL_SIGNATURE)]);
    // [2]: a DNS name.
    let names = value(SEQUENCE, &value(0x82, COMMON_NAME.as_bytes()));
    let alternative = sequence(&[SUBJECT_ALTERNATIVE_NAME_OID, &value(OCTET_STRING, &names)]);
    let certificate = sequence(&[
        // [0], explicit: the version; [3], explicit: the extensions.
        &value(0xa0, &integer(VERSION_3)),
        &integer(serial),
        &algorithm,
        &name,
        &validity,
        &name,
        &key,
        &value(0xa3, &sequence(&[&usage, &alternative])),
    ]);
    let signature = signer.sign(&certificate)?;
    Ok(sequence(&[&certificate, &algorithm, &bits(&signature)]))
}

/// A certificate's text.
pub(super) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(LINE_LENGTH)
        .map(|line| std::str::from_utf8(line).unwrap_or_default())
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn time(at: Timestamp) -> Vec<u8> {
    // 2026-11-21T17:24:26Z
    let text: String = at.iso().chars().filter(|sign| sign.is_ascii_digit() || *sign == 'Z').collect();
    if text.as_str() < GENERALIZED_FROM {
        value(UTC_TIME, &text.as_bytes()[2..])
    } else {
        value(GENERALIZED_TIME, text.as_bytes())
    }
}
