//! The resources that `LookupEvents` shows for an event and finds it by.
//!
//! A record names few of them in its own `resources`; the others stand in its request parameters and response
//! elements, under names that differ from service to service. The table in [`rules`] says which member is a resource
//! of which type. A resource is found by its ARN and by its plain name alike, so both are given.

mod arn;
mod rules;
mod strings;

use super::Facts;
use rules::Rule;
use strings::each_string;

/// Resources of one event at most; a call that lists more is found by the first ones.
pub const RESOURCES_MAX: usize = 100;
/// The length of a resource's name at most, in bytes: that of the longest ARN. Longer texts are no names.
pub const RESOURCE_NAME_BYTES_MAX: usize = 2048;
/// What stands in a record in the place of a value that must not be shown.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// A resource of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupResource {
    /// Its type, `AWS::S3::Bucket`, where known.
    pub kind: Option<String>,
    /// Its name or ARN.
    pub name: String,
}

/// The resources of an event: those of the record's `resources` first, then those of the request, then those of the
/// response; each once, [`RESOURCES_MAX`] at most.
#[must_use]
pub fn lookup_resources(facts: &Facts<'_>) -> Vec<LookupResource> {
    let mut found = Found::default();
    for resource in facts.resources.iter().flatten() {
        if let Some(arn) = resource.arn.as_deref() {
            found.add(resource.kind.as_deref().or_else(|| arn::kind(arn)), arn);
        }
    }
    let rules = rules::of(&facts.event_source);
    if !rules.is_empty() {
        for members in [facts.request_parameters, facts.response_elements].into_iter().flatten() {
            found.add_members(members, rules);
        }
    }
    found.0
}

/// The resources found so far.
#[derive(Default)]
struct Found(Vec<LookupResource>);

impl Found {
    /// Adds the resource `name` and, where that is an ARN, the plain name in it.
    fn add(&mut self, kind: Option<&str>, name: &str) {
        self.add_one(kind, name);
        if let Some(plain) = arn::plain_name(name, kind) {
            self.add_one(kind, plain);
        }
    }

    fn add_one(&mut self, kind: Option<&str>, name: &str) {
        let is_name = !name.is_empty() && name.len() <= RESOURCE_NAME_BYTES_MAX && name != HIDDEN;
        let is_new = || !self.0.iter().any(|found| found.kind.as_deref() == kind && found.name == name);
        if is_name && self.0.len() < RESOURCES_MAX && is_new() {
            self.0.push(LookupResource { kind: kind.map(str::to_owned), name: name.to_owned() });
        }
    }

    /// Adds what `rules` find among the members of a JSON text.
    fn add_members(&mut self, json: &str, rules: &[Rule]) {
        if memchr::memmem::find(json.as_bytes(), b"\"bucketName\"").is_some()
            && let (Some(bucket), Some(key)) = (text(json, "bucketName"), text(json, "key"))
        {
            self.add(Some("AWS::S3::Object"), &format!("arn:aws:s3:::{bucket}/{key}"));
        }
        each_string(json, &mut |path, text| {
            for rule in rules.iter().filter(|rule| rule.matches(path)) {
                self.add(Some(arn::kind(text).filter(|_| rule.arn_tells).unwrap_or(rule.kind)), text);
            }
        });
    }
}

/// The text that is the member `name` of the object `json`, the last where there are several.
fn text(json: &str, name: &str) -> Option<String> {
    let mut found = None;
    each_string(json, &mut |path, text| {
        if *path == [name] {
            found = Some(text.to_owned());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::super::Record;
    use super::*;

    /// The resources of a record with these members, one on a line.
    fn check(source: &str, members: &str, expected: &[&str]) {
        let json = format!(
            r#"{{"eventTime":"2023-07-10T12:00:23Z","eventID":"e","eventName":"X","awsRegion":"us-east-1","recipientAccountId":"123456789012","eventSource":"{source}",{members}}}"#
        );
        let record = Record::from_json(Bytes::from(json)).unwrap();
        let found: Vec<String> = lookup_resources(&record.facts().unwrap())
            .into_iter()
            .map(|resource| format!("{} {}", resource.kind.as_deref().unwrap_or("-"), resource.name))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_resources_of_the_record_are_found_by_arn_and_by_name() {
        check(
            "s3.amazonaws.com",
            r#""resources":[{"type":"AWS::S3::Object","ARNPrefix":"arn:aws:s3:::b/"},{"accountId":"1","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::b"}],"requestParameters":{"bucketName":"b","key":"a/k"}"#,
            &["AWS::S3::Bucket arn:aws:s3:::b", "AWS::S3::Bucket b", "AWS::S3::Object arn:aws:s3:::b/a/k"],
        );
        check(
            "ssm.amazonaws.com",
            r#""resources":[{"ARN":"arn:aws:ssm:us-east-1:123456789012:parameter/credentials/x"},{"ARN":"arn:aws:ssm:us-east-1:123456789012:association/56fc"}]"#,
            &[
                "AWS::SSM::Parameter arn:aws:ssm:us-east-1:123456789012:parameter/credentials/x",
                "AWS::SSM::Parameter /credentials/x",
                "- arn:aws:ssm:us-east-1:123456789012:association/56fc",
                "- 56fc",
            ],
        );
    }

    #[test]
    fn a_trail_is_found_by_its_names_and_its_bucket() {
        check(
            "cloudtrail.amazonaws.com",
            r#""requestParameters":{"name":"t","s3BucketName":"b"},"responseElements":{"name":"t","s3BucketName":"b","trailARN":"arn:aws:cloudtrail:us-east-1:123456789012:trail/t"}"#,
            &[
                "AWS::CloudTrail::Trail t",
                "AWS::S3::Bucket b",
                "AWS::CloudTrail::Trail arn:aws:cloudtrail:us-east-1:123456789012:trail/t",
            ],
        );
    }

    #[test]
    fn the_name_of_a_selector_is_no_trail() {
        check(
            "cloudtrail.amazonaws.com",
            r#""requestParameters":{"trailName":"t","advancedEventSelectors":[{"name":"only writes","fieldSelectors":[]}]},"responseElements":{"trailARN":"arn:aws:cloudtrail:us-east-1:123456789012:trail/t","advancedEventSelectors":[{"name":"only writes"}]}"#,
            &[
                "AWS::CloudTrail::Trail t",
                "AWS::CloudTrail::Trail arn:aws:cloudtrail:us-east-1:123456789012:trail/t",
            ],
        );
    }

    #[test]
    fn iam_resources_are_found_by_name_arn_and_id() {
        check(
            "iam.amazonaws.com",
            r#""requestParameters":{"userName":"bob"},"responseElements":{"accessKey":{"accessKeyId":"AKIA1","userName":"bob","status":"Active"}}"#,
            &["AWS::IAM::User bob", "AWS::IAM::AccessKey AKIA1"],
        );
        check(
            "iam.amazonaws.com",
            r#""requestParameters":{"roleName":"r","assumeRolePolicyDocument":"{}"},"responseElements":{"role":{"roleName":"r","roleId":"AROA1","arn":"arn:aws:iam::123456789012:role/path/r"}}"#,
            &[
                "AWS::IAM::Role r",
                "AWS::IAM::Role AROA1",
                "AWS::IAM::Role arn:aws:iam::123456789012:role/path/r",
            ],
        );
    }

    #[test]
    fn members_are_found_inside_lists_but_not_in_content() {
        check(
            "ec2.amazonaws.com",
            r#""requestParameters":{"instancesSet":{"items":[{"instanceId":"i-1"},{"instanceId":"i-2"},{"instanceId":"i-1"}]},"groupId":"HIDDEN_DUE_TO_SECURITY_REASONS","tagSet":{"items":[{"key":"vpcId","value":"vpc-1"}]}},"responseElements":{"vpcId":"vpc-2","ownerId":"123456789012","subnetId":""}"#,
            &["AWS::EC2::Instance i-1", "AWS::EC2::Instance i-2", "AWS::EC2::VPC vpc-2"],
        );
        check("unheard.amazonaws.com", r#""requestParameters":{"bucketName":"b"}"#, &[]);
        check(
            "s3.amazonaws.com",
            r#""requestParameters":null,"responseElements":null,"resources":null"#,
            &[],
        );
    }

    #[test]
    fn a_key_is_told_from_its_alias() {
        check(
            "kms.amazonaws.com",
            r#""requestParameters":{"keyId":"alias/app"},"responseElements":{"keyMetadata":{"arn":"arn:aws:kms:us-east-1:123456789012:key/1234","keyId":"1234"}}"#,
            &[
                "AWS::KMS::Alias alias/app",
                "AWS::KMS::Key arn:aws:kms:us-east-1:123456789012:key/1234",
                "AWS::KMS::Key 1234",
            ],
        );
    }

    #[test]
    fn there_is_an_end_to_the_resources_of_one_event() {
        let ids: Vec<String> = (0..500).map(|at| format!(r#"{{"instanceId":"i-{at}"}}"#)).collect();
        let members = format!(r#""requestParameters":{{"instancesSet":{{"items":[{}]}}}}"#, ids.join(","));
        let expected: Vec<String> =
            (0..RESOURCES_MAX).map(|at| format!("AWS::EC2::Instance i-{at}")).collect();
        check("ec2.amazonaws.com", &members, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        let long =
            format!(r#""requestParameters":{{"bucketName":"{}"}}"#, "b".repeat(RESOURCE_NAME_BYTES_MAX + 1));
        check("s3.amazonaws.com", &long, &[]);
    }

    /// The recorded events; none where they are not there.
    fn recorded_events() -> Vec<Bytes> {
        let Some(folder) = cairn_testkit::fixtures("events") else { return Vec::new() };
        let mut events = Vec::new();
        for kind in ["invictus", "stratus"] {
            for file in std::fs::read_dir(folder.join(kind)).unwrap() {
                let path = file.unwrap().path();
                let mut text = std::fs::read(&path).unwrap();
                if path.extension().is_some_and(|extension| extension == "gz") {
                    text = crate::logfile::gunzip(&text, 64 * 1024 * 1024).unwrap();
                }
                let value: Value = serde_json::from_slice(&text).unwrap();
                let records = value.get("Records").unwrap_or(&value).as_array().unwrap();
                events.extend(records.iter().map(|record| Bytes::from(record.to_string())));
            }
        }
        events
    }

    /// The numbers were counted apart from this program, with a script over the same files.
    #[test]
    fn resources_are_found_in_every_recorded_event_that_names_them() {
        let events = recorded_events();
        if events.is_empty() {
            return;
        }
        let mut counts = std::collections::BTreeMap::new();
        for event in events {
            let record = Record::trusted(event);
            let facts = record.facts().unwrap();
            let resources = lookup_resources(&facts);
            assert!(resources.len() <= RESOURCES_MAX);
            let arns = facts.resources.iter().flatten().filter_map(|resource| resource.arn.as_deref());
            for arn in arns {
                assert!(resources.iter().any(|resource| resource.name == arn), "{arn}");
            }
            let mut kinds: Vec<_> = resources.into_iter().filter_map(|resource| resource.kind).collect();
            kinds.sort();
            kinds.dedup();
            for kind in kinds {
                *counts.entry((facts.event_source.clone().into_owned(), kind)).or_insert(0) += 1;
            }
        }
        let count = |source: &str, kind: &str| counts[&(format!("{source}.amazonaws.com"), kind.to_owned())];
        assert_eq!(count("ec2", "AWS::EC2::VPC"), 74);
        assert_eq!(count("ec2", "AWS::EC2::Instance"), 35);
        assert_eq!(count("iam", "AWS::IAM::User"), 34);
        assert_eq!(count("iam", "AWS::IAM::Role"), 103);
        assert_eq!(count("s3", "AWS::S3::Bucket"), 171);
        assert_eq!(count("lambda", "AWS::Lambda::Function"), 14);
        assert_eq!(count("secretsmanager", "AWS::SecretsManager::Secret"), 122);
        assert_eq!(count("kms", "AWS::KMS::Key"), 198);
    }
}
