//! Digests: the hourly, signed lists of delivered log files, each chained to the one before.
//!
//! On the road: the digest stage builds and signs them here; `validate` and the AWS CLI read them back. Invariant: the
//! bytes that are signed are the bytes that are put; nothing re-prints a digest.
//!
//! Source: the AWS user guide's pages on digest file structure and custom validation, and the AWS CLI's
//! `customizations/cloudtrail/validation.py`, which is the judge of every byte here.

#[cfg(test)]
mod fixtures;
mod key;
mod sign;
mod verify;

use serde::{Deserialize, Serialize};

use crate::logfile::sha256_hex;
use crate::{AccountId, Timestamp};

pub use key::DigestKey;
pub use sign::{RsaSigner, SIGNATURE_ALGORITHM, SignError, Signer, fingerprint, signature_is_valid};
pub use verify::{ChainFlaw, DigestFlaw, DigestObject, Verified, verify, verify_chain};

/// The name of the hash in `hashAlgorithm` and `previousDigestHashAlgorithm`.
pub const HASH_ALGORITHM: &str = "SHA-256";

/// The metadata that holds a digest's signature, without the `x-amz-meta-` prefix.
pub const METADATA_SIGNATURE: &str = "signature";

/// The metadata that names the signature's algorithm, without the `x-amz-meta-` prefix.
pub const METADATA_SIGNATURE_ALGORITHM: &str = "signature-algorithm";

/// A digest's content, members in AWS's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the members are AWS's, documented on the digest file structure page")]
pub struct Digest {
    pub aws_account_id: AccountId,
    #[serde(with = "iso")]
    pub digest_start_time: Timestamp,
    #[serde(with = "iso")]
    pub digest_end_time: Timestamp,
    pub digest_s3_bucket: String,
    pub digest_s3_object: String,
    pub digest_public_key_fingerprint: String,
    pub digest_signature_algorithm: String,
    #[serde(with = "iso_or_null")]
    pub newest_event_time: Option<Timestamp>,
    #[serde(with = "iso_or_null")]
    pub oldest_event_time: Option<Timestamp>,
    pub previous_digest_s3_bucket: Option<String>,
    pub previous_digest_s3_object: Option<String>,
    pub previous_digest_hash_value: Option<String>,
    pub previous_digest_hash_algorithm: Option<String>,
    pub previous_digest_signature: Option<String>,
    pub log_files: Vec<DigestedFile>,
}

/// A log file as a digest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the members are AWS's, documented on the digest file structure page")]
pub struct DigestedFile {
    pub s3_bucket: String,
    pub s3_object: String,
    pub hash_value: String,
    pub hash_algorithm: String,
    #[serde(with = "iso")]
    pub newest_event_time: Timestamp,
    #[serde(with = "iso")]
    pub oldest_event_time: Timestamp,
}

/// What a digest's successor says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The bucket it is in.
    pub bucket: String,
    /// Its key.
    pub object: String,
    /// Hexadecimal SHA-256 of its uncompressed bytes.
    pub hash: String,
    /// Its signature, hexadecimal.
    pub signature: String,
}

/// A digest as it is put: its JSON and the signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDigest {
    /// The uncompressed bytes.
    pub json: Vec<u8>,
    /// What the successor will say of it.
    pub link: Link,
}

/// Where and of what time a digest is; what stays the same however it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestFrame {
    /// The account of the trail.
    pub account: AccountId,
    /// The beginning of its window, inclusive.
    pub start: Timestamp,
    /// The end of its window, exclusive.
    pub end: Timestamp,
    /// The bucket it goes to.
    pub bucket: String,
    /// Its key: a [`DigestKey`].
    pub object: String,
    /// The digest before it in the chain; none for a starting digest.
    pub previous: Option<Link>,
}

impl Digest {
    /// The digest of `files` in `frame`, to be signed with the key that `fingerprint` names.
    #[must_use]
    pub fn new(frame: DigestFrame, files: Vec<DigestedFile>, fingerprint: &str) -> Self {
        let DigestFrame { account, start, end, bucket, object, previous } = frame;
        let newest_event_time = files.iter().map(|file| file.newest_event_time).max();
        let oldest_event_time = files.iter().map(|file| file.oldest_event_time).min();
        let mut digest = Self {
            aws_account_id: account,
            digest_start_time: start,
            digest_end_time: end,
            digest_s3_bucket: bucket,
            digest_s3_object: object,
            digest_public_key_fingerprint: fingerprint.to_owned(),
            digest_signature_algorithm: SIGNATURE_ALGORITHM.to_owned(),
            newest_event_time,
            oldest_event_time,
            previous_digest_s3_bucket: None,
            previous_digest_s3_object: None,
            previous_digest_hash_value: None,
            previous_digest_hash_algorithm: None,
            previous_digest_signature: None,
            log_files: files,
        };
        if let Some(link) = previous {
            digest.previous_digest_s3_bucket = Some(link.bucket);
            digest.previous_digest_s3_object = Some(link.object);
            digest.previous_digest_hash_value = Some(link.hash);
            digest.previous_digest_hash_algorithm = Some(HASH_ALGORITHM.to_owned());
            digest.previous_digest_signature = Some(link.signature);
        }
        digest
    }

    /// The digest's JSON, as it is signed and put.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a digest has only texts, lists and null")
    }

    /// Reads a digest's JSON.
    ///
    /// # Errors
    /// Where it is not JSON, or a member is missing or malformed.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The digest's JSON with its signature.
    ///
    /// # Errors
    /// Where the key cannot sign.
    pub fn sign(self, signer: &dyn Signer) -> Result<SignedDigest, SignError> {
        let json = self.to_json();
        let text = string_to_sign(
            &self.digest_end_time.iso(),
            &self.digest_s3_bucket,
            &self.digest_s3_object,
            &json,
            self.previous_digest_signature.as_deref(),
        );
        let signature = hex::encode(signer.sign(text.as_bytes())?);
        let link = Link {
            bucket: self.digest_s3_bucket,
            object: self.digest_s3_object,
            hash: sha256_hex(&json),
            signature,
        };
        Ok(SignedDigest { json, link })
    }
}

/// The text that a digest's signature is over. `json` is the digest's uncompressed bytes.
#[must_use]
pub fn string_to_sign(
    end_time: &str,
    bucket: &str,
    object: &str,
    json: &[u8],
    previous_signature: Option<&str>,
) -> String {
    let previous = previous_signature.unwrap_or("null");
    format!("{end_time}\n{bucket}/{object}\n{}\n{previous}", sha256_hex(json))
}

/// Times as AWS writes them in digests: to the second, and in no other form.
mod iso {
    use serde::de::{Deserialize, Deserializer, Error, Unexpected};
    use serde::ser::Serializer;

    use crate::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&time.iso())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        read(&String::deserialize(from)?)
    }

    pub(super) fn read<E: Error>(text: &str) -> Result<Timestamp, E> {
        let time = Timestamp::parse_iso(text).filter(|time| time.iso() == text);
        time.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &"a time like 2015-08-17T15:01:31Z"))
    }
}

/// The same, where there may be none.
mod iso_or_null {
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    use crate::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::iso::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| super::iso::read(&text)).transpose()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn frame(start: &str, end: &str, previous: Option<Link>) -> DigestFrame {
        let end = Timestamp::parse_iso(end).unwrap();
        let account: AccountId = "111122223333".parse().unwrap();
        let object = DigestKey {
            prefix: None,
            organization: None,
            account: account.clone(),
            region: "us-east-2".parse().unwrap(),
            trail_name: "t".to_owned(),
            home_region: "us-east-2".parse().unwrap(),
            end,
        };
        DigestFrame {
            account,
            start: Timestamp::parse_iso(start).unwrap(),
            end,
            bucket: "b".to_owned(),
            object: object.to_string(),
            previous,
        }
    }

    pub(crate) fn file(name: &str, oldest: &str, newest: &str) -> DigestedFile {
        DigestedFile {
            s3_bucket: "b".to_owned(),
            s3_object: name.to_owned(),
            hash_value: sha256_hex(name.as_bytes()),
            hash_algorithm: HASH_ALGORITHM.to_owned(),
            newest_event_time: Timestamp::parse_iso(newest).unwrap(),
            oldest_event_time: Timestamp::parse_iso(oldest).unwrap(),
        }
    }

    #[test]
    fn an_empty_starting_digest_has_null_for_everything_that_is_not_there() {
        let digest = Digest::new(frame("2015-08-17T14:01:31Z", "2015-08-17T15:01:31Z", None), vec![], "f0");
        assert_eq!(
            String::from_utf8(digest.to_json()).unwrap(),
            concat!(
                r#"{"awsAccountId":"111122223333","digestStartTime":"2015-08-17T14:01:31Z","digestEndTime":"2015-08-17T15:01:31Z","#,
                r#""digestS3Bucket":"b","digestS3Object":"AWSLogs/111122223333/CloudTrail-Digest/us-east-2/2015/08/17/111122223333_CloudTrail-Digest_us-east-2_t_us-east-2_20150817T150131Z.json.gz","#,
                r#""digestPublicKeyFingerprint":"f0","digestSignatureAlgorithm":"SHA256withRSA","newestEventTime":null,"oldestEventTime":null,"#,
                r#""previousDigestS3Bucket":null,"previousDigestS3Object":null,"previousDigestHashValue":null,"previousDigestHashAlgorithm":null,"#,
                r#""previousDigestSignature":null,"logFiles":[]}"#
            )
        );
    }

    #[test]
    fn a_digest_spans_the_event_times_of_its_files_and_names_its_predecessor() {
        let previous =
            Link { bucket: "b0".into(), object: "k0".into(), hash: "h0".into(), signature: "5160".into() };
        let files = vec![
            file("one", "2015-08-17T14:42:27Z", "2015-08-17T14:52:27Z"),
            file("two", "2015-08-17T14:40:00Z", "2015-08-17T14:41:00Z"),
        ];
        let framed = frame("2015-08-17T14:01:31Z", "2015-08-17T15:01:31Z", Some(previous));
        let digest = Digest::new(framed, files, "f0");
        assert_eq!(digest.newest_event_time.map(Timestamp::iso).as_deref(), Some("2015-08-17T14:52:27Z"));
        assert_eq!(digest.oldest_event_time.map(Timestamp::iso).as_deref(), Some("2015-08-17T14:40:00Z"));
        let text = String::from_utf8(digest.to_json()).unwrap();
        assert!(
            text.contains(
                r#""previousDigestS3Bucket":"b0","previousDigestS3Object":"k0","previousDigestHashValue":"h0","previousDigestHashAlgorithm":"SHA-256","previousDigestSignature":"5160","logFiles":[{"s3Bucket":"b","s3Object":"one","hashValue":"#
            ),
            "{text}"
        );
        assert_eq!(Digest::parse(text.as_bytes()).unwrap(), digest);
    }

    #[test]
    fn the_string_to_sign_is_the_one_of_the_aws_cli() {
        assert_eq!(
            string_to_sign("a", "b", "c", b"abc", None),
            "a\nb/c\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nnull"
        );
        assert!(string_to_sign("a", "b", "c", b"abc", Some("5160")).ends_with("\n5160"));
    }

    #[test]
    fn times_in_any_other_form_are_refused() {
        let digest = Digest::new(frame("2015-08-17T14:01:31Z", "2015-08-17T15:01:31Z", None), vec![], "f0");
        let text = String::from_utf8(digest.to_json()).unwrap();
        for other in ["2015-08-17T15:01:31.000Z", "2015-08-17 15:01:31", "15:01"] {
            let changed = text.replace(r#"EndTime":"2015-08-17T15:01:31Z"#, &format!(r#"EndTime":"{other}"#));
            assert!(Digest::parse(changed.as_bytes()).is_err(), "{other}");
        }
        assert!(Digest::parse(text.replace(r#","logFiles":[]"#, "").as_bytes()).is_err());
    }
}
