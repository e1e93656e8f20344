//! A strict verifier of digests: one by one, and as a chain in both directions.
//!
//! The AWS CLI compares neither `previousDigestHashValue` nor `previousDigestSignature` with the real predecessor, so it
//! does not see a digest that was rewritten and signed again with the same key. [`verify_chain`] does.

use super::{
    Digest, DigestKey, HASH_ALGORITHM, Link, SIGNATURE_ALGORITHM, fingerprint, sha256_hex,
    signature_is_valid, string_to_sign,
};

/// A digest as it was found in a bucket.
#[derive(Clone, Copy, Debug)]
pub struct DigestObject<'a> {
    /// The bucket it was found in.
    pub bucket: &'a str,
    /// The key it was found under.
    pub object: &'a str,
    /// Its uncompressed bytes.
    pub json: &'a [u8],
    /// Its metadata `signature`.
    pub signature: Option<&'a str>,
    /// Its metadata `signature-algorithm`.
    pub signature_algorithm: Option<&'a str>,
}

/// What is wrong with a digest by itself.
#[derive(Debug, thiserror::Error)]
pub enum DigestFlaw {
    /// Not the JSON of a digest.
    #[error("invalid format")]
    Format(#[source] serde_json::Error),
    /// It says that it is somewhere else.
    #[error("has been moved from its original location s3://{bucket}/{object}")]
    Moved {
        /// The bucket it names.
        bucket: String,
        /// The key it names.
        object: String,
    },
    /// Its key is not the one that follows from its content.
    #[error("the key does not fit the digest's account and end time")]
    Key,
    /// Its window is empty or runs backwards.
    #[error("the digest ends before it starts")]
    Window,
    /// Some, but not all, of the five members on its predecessor are null, or the hash is not SHA-256.
    #[error("the members on the previous digest contradict each other")]
    Previous,
    /// It, or its metadata, names another algorithm, or a log file's hash is of another kind.
    #[error("an algorithm is not {SIGNATURE_ALGORITHM} or {HASH_ALGORITHM}")]
    Algorithm,
    /// Nobody knows the key that it names.
    #[error("public key not found for fingerprint {fingerprint}")]
    UnknownKey {
        /// The fingerprint it names.
        fingerprint: String,
    },
    /// The signature is missing, malformed or wrong.
    #[error("signature verification failed")]
    Signature,
}

/// A digest that is sound by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The digest.
    pub digest: Digest,
    /// What its successor must say of it.
    pub link: Link,
}

/// Checks one digest by itself. `public_key` answers the PKCS#1 DER of a key by its fingerprint; pin the keys to be
/// independent of the server.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(
    found: &DigestObject<'_>,
    public_key: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Verified, DigestFlaw> {
    let digest = Digest::parse(found.json).map_err(DigestFlaw::Format)?;
    if digest.digest_s3_bucket != found.bucket || digest.digest_s3_object != found.object {
        return Err(DigestFlaw::Moved { bucket: digest.digest_s3_bucket, object: digest.digest_s3_object });
    }
    let key = DigestKey::parse(found.object).ok_or(DigestFlaw::Key)?;
    if key.account != digest.aws_account_id || key.end != digest.digest_end_time {
        return Err(DigestFlaw::Key);
    }
    if digest.digest_start_time >= digest.digest_end_time {
        return Err(DigestFlaw::Window);
    }
    if !previous_is_consistent(&digest) {
        return Err(DigestFlaw::Previous);
    }
    let signed_as = [Some(digest.digest_signature_algorithm.as_str()), found.signature_algorithm];
    if signed_as != [Some(SIGNATURE_ALGORITHM); 2]
        || digest.log_files.iter().any(|file| file.hash_algorithm != HASH_ALGORITHM)
    {
        return Err(DigestFlaw::Algorithm);
    }
    let signature = verified_signature(found, &digest, public_key)?;
    let link = Link {
        bucket: found.bucket.to_owned(),
        object: found.object.to_owned(),
        hash: sha256_hex(found.json),
        signature,
    };
    Ok(Verified { digest, link })
}

fn previous_is_consistent(digest: &Digest) -> bool {
    let members = [
        &digest.previous_digest_s3_bucket,
        &digest.previous_digest_s3_object,
        &digest.previous_digest_hash_value,
        &digest.previous_digest_hash_algorithm,
        &digest.previous_digest_signature,
    ];
    let algorithm = digest.previous_digest_hash_algorithm.as_deref();
    members.iter().all(|member| member.is_none())
        || members.iter().all(|member| member.is_some()) && algorithm == Some(HASH_ALGORITHM)
}

fn verified_signature(
    found: &DigestObject<'_>,
    digest: &Digest,
    public_key: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<String, DigestFlaw> {
    let named = &digest.digest_public_key_fingerprint;
    // A key is only what its fingerprint says: a list of keys can be forged as well.
    let key = public_key(named).filter(|key| fingerprint(key) == *named);
    let key = key.ok_or_else(|| DigestFlaw::UnknownKey { fingerprint: named.clone() })?;
    let text = string_to_sign(
        &digest.digest_end_time.iso(),
        found.bucket,
        found.object,
        found.json,
        digest.previous_digest_signature.as_deref(),
    );
    let signature = found.signature.ok_or(DigestFlaw::Signature)?;
    let bytes = hex::decode(signature).map_err(|_| DigestFlaw::Signature)?;
    if signature_is_valid(&key, text.as_bytes(), &bytes) {
        Ok(signature.to_owned())
    } else {
        Err(DigestFlaw::Signature)
    }
}

/// What is wrong between two digests, or with where a chain begins. Digests are named by their keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFlaw {
    /// It names a predecessor that is not there.
    #[error("{object} names the previous digest {previous}, which is missing")]
    Missing {
        /// The digest.
        object: String,
        /// The predecessor it names.
        previous: String,
    },
    /// A member that repeats something of its predecessor does not.
    #[error("{object} has a {member} that is not its predecessor's")]
    Link {
        /// The digest.
        object: String,
        /// The member.
        member: &'static str,
    },
    /// It does not begin where its predecessor ends.
    #[error("{object} does not begin where its predecessor ends")]
    Window {
        /// The digest.
        object: String,
    },
    /// A chain begins anew here although there are earlier digests: validation or logging was off, or somebody
    /// removed what was between.
    #[error("{object} begins a new chain")]
    Restart {
        /// The digest.
        object: String,
    },
    /// No later digest names this one: a later one names the same predecessor, so one of the two is planted.
    #[error("{object} is outside the chain")]
    Outside {
        /// The digest.
        object: String,
    },
}

/// Checks digests of one trail and region against each other. `digests` are sorted by their end, oldest first; the
/// first one's predecessor may be older than the range that was looked at.
#[must_use]
pub fn verify_chain(digests: &[Verified]) -> Vec<ChainFlaw> {
    let mut flaws = Vec::new();
    for (at, found) in digests.iter().enumerate().skip(1) {
        let object = &found.link.object;
        let Some(previous) = &found.digest.previous_digest_s3_object else {
            flaws.push(ChainFlaw::Restart { object: object.clone() });
            continue;
        };
        let bucket = found.digest.previous_digest_s3_bucket.as_ref();
        let names =
            |earlier: &Verified| earlier.link.object == *previous && Some(&earlier.link.bucket) == bucket;
        let Some(named_at) = digests[..at].iter().rposition(names) else {
            flaws.push(ChainFlaw::Missing { object: object.clone(), previous: previous.clone() });
            continue;
        };
        flaws.extend(
            digests[named_at + 1..at]
                .iter()
                .map(|skipped| ChainFlaw::Outside { object: skipped.link.object.clone() }),
        );
        flaws.extend(compare(&digests[named_at], found));
    }
    flaws
}

fn compare(earlier: &Verified, later: &Verified) -> Vec<ChainFlaw> {
    let object = &later.link.object;
    let members = [
        ("previousDigestHashValue", &later.digest.previous_digest_hash_value, &earlier.link.hash),
        ("previousDigestSignature", &later.digest.previous_digest_signature, &earlier.link.signature),
    ];
    let differing = members.into_iter().filter(|(_, said, real)| said.as_ref() != Some(*real));
    let mut flaws: Vec<ChainFlaw> =
        differing.map(|(member, _, _)| ChainFlaw::Link { object: object.clone(), member }).collect();
    if later.digest.digest_start_time != earlier.digest.digest_end_time {
        flaws.push(ChainFlaw::Window { object: object.clone() });
    }
    flaws
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    use super::super::tests::{file, frame};
    use super::super::{RsaSigner, SignedDigest, Signer};
    use super::*;

    fn new_signer() -> RsaSigner {
        let der: Pkcs8V1Der<'static> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        RsaSigner::from_pkcs8(der.as_ref()).unwrap()
    }

    fn sign(signer: &RsaSigner, hour: u32, previous: Option<Link>) -> SignedDigest {
        let (start, end) =
            (format!("2015-08-17T{hour:02}:00:00Z"), format!("2015-08-17T{:02}:00:00Z", hour + 1));
        let name = format!("file-{hour}");
        let files = vec![file(&name, &start, &start)];
        Digest::new(frame(&start, &end, previous), files, signer.fingerprint()).sign(signer).unwrap()
    }

    fn chain(signer: &RsaSigner, hours: std::ops::Range<u32>) -> Vec<SignedDigest> {
        let mut digests: Vec<SignedDigest> = Vec::new();
        for hour in hours {
            let previous = digests.last().map(|digest| digest.link.clone());
            digests.push(sign(signer, hour, previous));
        }
        digests
    }

    fn check(signer: &RsaSigner, signed: &SignedDigest, change: impl Fn(&mut DigestObject<'_>)) -> String {
        let mut found = DigestObject {
            bucket: &signed.link.bucket,
            object: &signed.link.object,
            json: &signed.json,
            signature: Some(&signed.link.signature),
            signature_algorithm: Some(SIGNATURE_ALGORITHM),
        };
        change(&mut found);
        let key = |named: &str| (named == signer.fingerprint()).then(|| signer.public_key_der().to_vec());
        verify(&found, key).map_or_else(|flaw| flaw.to_string(), |_| "valid".to_owned())
    }

    fn verified(digests: &[SignedDigest]) -> Vec<Verified> {
        let read = |signed: &SignedDigest| Verified {
            digest: Digest::parse(&signed.json).unwrap(),
            link: signed.link.clone(),
        };
        digests.iter().map(read).collect()
    }

    #[test]
    fn a_digest_is_valid_only_in_its_place_with_its_bytes_and_its_signature() {
        let signer = new_signer();
        let signed = sign(&signer, 3, None);
        assert_eq!(check(&signer, &signed, |_| ()), "valid");
        assert!(check(&signer, &signed, |found| found.bucket = "c").starts_with("has been moved"));
        assert_eq!(check(&signer, &signed, |found| found.json = b"{}"), "invalid format");
        assert_eq!(check(&signer, &signed, |found| found.signature = None), "signature verification failed");
        assert_eq!(
            check(&signer, &signed, |found| found.signature = Some("zz")),
            "signature verification failed"
        );
        assert!(
            check(&signer, &signed, |found| found.signature_algorithm = Some("MD5"))
                .starts_with("an algorithm")
        );
        let text = String::from_utf8(signed.json.clone()).unwrap();
        let changed = SignedDigest { json: text.replace("file-3", "file-4").into_bytes(), ..signed.clone() };
        assert_eq!(check(&signer, &changed, |_| ()), "signature verification failed");
        let early = SignedDigest {
            json: text.replace("T03:00", "T02:00").replace("T04:00", "T05:00").into_bytes(),
            ..signed.clone()
        };
        assert_eq!(check(&signer, &early, |_| ()), "the key does not fit the digest's account and end time");
        let half = text.replace(r#"previousDigestS3Bucket":null"#, r#"previousDigestS3Bucket":"b""#);
        let half = SignedDigest { json: half.into_bytes(), ..signed.clone() };
        assert_eq!(check(&signer, &half, |_| ()), "the members on the previous digest contradict each other");
        let other = new_signer();
        assert!(check(&other, &signed, |_| ()).starts_with("public key not found"));
    }

    #[test]
    fn a_forged_list_of_keys_does_not_help() {
        let (signer, forger) = (new_signer(), new_signer());
        let signed = sign(&forger, 3, None);
        let text =
            String::from_utf8(signed.json).unwrap().replace(forger.fingerprint(), signer.fingerprint());
        let digest = Digest::parse(text.as_bytes()).unwrap().sign(&forger).unwrap();
        let found = DigestObject {
            bucket: &digest.link.bucket,
            object: &digest.link.object,
            json: &digest.json,
            signature: Some(&digest.link.signature),
            signature_algorithm: Some(SIGNATURE_ALGORITHM),
        };
        let flaw = verify(&found, |_| Some(forger.public_key_der().to_vec())).unwrap_err();
        assert!(matches!(flaw, DigestFlaw::UnknownKey { .. }), "{flaw}");
    }

    #[test]
    fn an_untouched_chain_has_no_flaw() {
        let digests = chain(&new_signer(), 1..6);
        assert_eq!(verify_chain(&verified(&digests)), []);
        assert_eq!(verify_chain(&verified(&digests[2..])), [], "its beginning may lie before the range");
    }

    #[test]
    fn what_the_aws_cli_does_not_notice_is_named() {
        let signer = new_signer();
        let digests = chain(&signer, 1..6);
        let object = |at: usize| digests[at].link.object.clone();

        let mut gap = digests.clone();
        gap.remove(2);
        assert_eq!(
            verify_chain(&verified(&gap)),
            [ChainFlaw::Missing { object: object(3), previous: object(2) }]
        );

        let mut rewritten = digests.clone();
        let mut content = Digest::parse(&digests[2].json).unwrap();
        content.log_files.clear();
        rewritten[2] = content.sign(&signer).unwrap();
        let members = ["previousDigestHashValue", "previousDigestSignature"];
        assert_eq!(
            verify_chain(&verified(&rewritten)),
            members.map(|member| ChainFlaw::Link { object: object(3), member })
        );

        let mut restarted = digests[..3].to_vec();
        restarted.push(sign(&signer, 4, None));
        assert_eq!(verify_chain(&verified(&restarted)), [ChainFlaw::Restart { object: object(3) }]);

        let mut skipping = digests[..3].to_vec();
        skipping.push(sign(&signer, 4, Some(digests[1].link.clone())));
        assert_eq!(
            verify_chain(&verified(&skipping)),
            [ChainFlaw::Outside { object: object(2) }, ChainFlaw::Window { object: object(3) }]
        );
    }
}
