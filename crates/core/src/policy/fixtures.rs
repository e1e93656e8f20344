//! Policies that AWS published: all of them must be read.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn read(path: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The guide writes placeholders such as `account-B-id` where a policy has an account, and once `aws:arn:`.
fn is_placeholder(error: &PolicyError) -> bool {
    matches!(error, PolicyError::Principal { .. } | PolicyError::Resource { .. })
}

#[test]
fn the_policies_of_the_user_guide_and_the_managed_ones_are_read() {
    let Some(path) = cairn_testkit::fixtures("awsdocs/cloudtrail_user_guide_json_examples.json") else {
        return;
    };
    let blocks = read(path);
    let mut read_count = 0;
    for block in blocks.as_array().unwrap().iter().filter(|block| block["kind"] == "policy") {
        match Document::parse(&block["json"].to_string()) {
            Ok(_) => read_count += 1,
            Err(error) => {
                assert!(is_placeholder(&error), "{} {}: {error:?}", block["page"], block["heading"])
            }
        }
    }
    assert_eq!(read_count, 39);
    for name in ["AWSCloudTrail_FullAccess", "AWSCloudTrail_ReadOnlyAccess"] {
        let Some(path) = cairn_testkit::fixtures(&format!("iam/{name}.json")) else { return };
        let document = read(path)["PolicyVersion"]["Document"].to_string();
        Document::parse(&document).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
