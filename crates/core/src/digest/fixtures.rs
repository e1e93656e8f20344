//! Digests against what others wrote: the AWS CLI's own test vectors and the samples of the AWS user guide.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Digest, DigestKey, fingerprint, string_to_sign};
use crate::logfile::LogFileKey;

fn fixture(name: &str) -> Option<Value> {
    let bytes = std::fs::read(cairn_testkit::fixtures(name)?).unwrap();
    Some(serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn the_aws_clis_own_vectors_hold() {
    let Some(vectors) = fixture("digest/awscli_vectors.json") else { return };
    let mut checked = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let expected = case["expect"].as_str();
        match case["kind"].as_str().unwrap() {
            "string_to_sign" => {
                let member = |name: &str| case["digest"][name].as_str();
                let text = string_to_sign(
                    member("digestEndTime").unwrap(),
                    member("digestS3Bucket").unwrap(),
                    member("digestS3Object").unwrap(),
                    case["digest_bytes"].as_str().unwrap().as_bytes(),
                    member("previousDigestSignature"),
                );
                assert_eq!(Some(text.as_str()), expected);
            }
            "digest_key" => {
                let key = DigestKey::parse(expected.unwrap()).unwrap();
                assert_eq!(Some(key.trail_name.as_str()), case["trail"].as_str());
                assert_eq!(Some(key.end.iso().as_str()), case["digest_end"].as_str());
            }
            _ => continue,
        }
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[test]
fn the_user_guides_samples_are_written_back_member_for_member() {
    let Some(samples) = fixture("awsdocs/cloudtrail_user_guide_json_examples.json") else { return };
    let of_kind = |kind: &str| {
        let blocks = samples.as_array().unwrap().iter();
        blocks.filter(|block| block["kind"] == kind).map(|block| block["json"].clone()).collect::<Vec<_>>()
    };
    let digests = of_kind("digest");
    assert_eq!(digests.len(), 2);
    for sample in digests {
        let text = sample.to_string();
        let digest = Digest::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(digest.to_json()).unwrap(), text);
        assert_eq!(DigestKey::parse(&digest.digest_s3_object).unwrap().end, digest.digest_end_time);
        for file in &digest.log_files {
            assert!(LogFileKey::parse(&file.s3_object).is_some(), "{}", file.s3_object);
        }
    }
    for key in of_kind("keys")[0]["publicKeyList"].as_array().unwrap() {
        let value = STANDARD.decode(key["Value"].as_str().unwrap()).unwrap();
        assert_eq!(Some(fingerprint(&value).as_str()), key["Fingerprint"].as_str());
    }
}
