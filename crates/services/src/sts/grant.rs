//! What a caller passes for a new session: duration, session policies, tags. Checked once, for every operation that
//! makes credentials.
//!
//! Source: the STS API reference and the IAM user guide's pages on session tags and role chaining.

use std::time::Duration;

use cairn_core::policy::Document;
use cairn_core::{Session, Timestamp};
use cairn_wire::AwsError;
use serde::Deserialize;

/// The most characters of a session policy.
const POLICY_CHARS_MAX: usize = 2048;
/// The most managed policies that can be passed as session policies.
const POLICY_ARNS_MAX: usize = 10;
/// The most bytes that policies, their ARNs and tags may have together.
const PACKED_SIZE_BYTES_MAX: usize = 8 * 1024;
/// The shortest session, in seconds.
const SECONDS_MIN: i64 = 900;

/// What is passed alike to all operations that make a session.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Passed {
    #[serde(default)]
    pub(super) policy: Option<String>,
    #[serde(default)]
    pub(super) policy_arns: Vec<PolicyArn>,
    #[serde(default)]
    pub(super) duration_seconds: Option<i64>,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    #[serde(default)]
    pub(super) transitive_tag_keys: Vec<String>,
    #[serde(default)]
    pub(super) source_identity: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PolicyArn {
    #[serde(default)]
    arn: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

/// A session that may begin, and how full its policies and tags make it, in percent.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) session: Session,
    pub(super) packed_percent: Option<usize>,
}

impl Passed {
    /// The session that begins at `now` and lasts `seconds`, after `caller`'s own where that was one.
    pub(super) fn grant(
        self,
        now: Timestamp,
        seconds: i64,
        caller: Option<&Session>,
    ) -> Result<Granted, AwsError> {
        check_policies(&self)?;
        let (tags, transitive_tag_keys) = tags(&self, caller)?;
        let policy_arns: Vec<String> = self.policy_arns.into_iter().map(|policy| policy.arn).collect();
        let packed = packed_percent(self.policy.as_deref(), &policy_arns, &tags)?;
        let lasts = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let session = Session {
            created: now,
            expires: now.plus(lasts),
            mfa_authenticated: false,
            source_identity: source_identity(self.source_identity, caller)?,
            tags,
            transitive_tag_keys,
            web_identity: None,
            policy: self.policy,
            policy_arns,
        };
        Ok(Granted { session, packed_percent: packed })
    }

    /// How long the session lasts, in seconds.
    pub(super) fn seconds(&self, default: i64, max: i64, over: &str) -> Result<i64, AwsError> {
        let seconds = self.duration_seconds.unwrap_or(default);
        if seconds > max {
            return Err(invalid(over));
        }
        if seconds < SECONDS_MIN {
            return Err(invalid(&format!(
                "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
                 Member must have value greater than or equal to {SECONDS_MIN}"
            )));
        }
        Ok(seconds)
    }

    /// The condition keys of what is passed.
    pub(super) fn conditions(&self) -> Vec<(String, Vec<String>)> {
        let mut keys: Vec<(String, Vec<String>)> = self
            .tags
            .iter()
            .map(|tag| (format!("aws:RequestTag/{}", tag.key), vec![tag.value.clone()]))
            .collect();
        if !self.tags.is_empty() {
            keys.push(("aws:TagKeys".into(), self.tags.iter().map(|tag| tag.key.clone()).collect()));
        }
        if !self.transitive_tag_keys.is_empty() {
            keys.push(("sts:TransitiveTagKeys".into(), self.transitive_tag_keys.clone()));
        }
        if let Some(source_identity) = &self.source_identity {
            keys.push(("sts:SourceIdentity".into(), vec![source_identity.clone()]));
        }
        keys
    }
}

/// The source identity of the first session stays.
fn source_identity(passed: Option<String>, caller: Option<&Session>) -> Result<Option<String>, AwsError> {
    let inherited = caller.and_then(|session| session.source_identity.clone());
    match (passed, inherited) {
        (Some(passed), Some(inherited)) if passed != inherited => Err(AwsError::with_status(
            403,
            "AccessDenied",
            "The SourceIdentity of a session cannot be changed by a further role",
        )),
        (passed, inherited) => Ok(inherited.or(passed)),
    }
}

fn check_policies(passed: &Passed) -> Result<(), AwsError> {
    if passed.policy_arns.len() > POLICY_ARNS_MAX {
        return Err(invalid(&format!(
            "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length \
             less than or equal to {POLICY_ARNS_MAX}"
        )));
    }
    let Some(policy) = &passed.policy else { return Ok(()) };
    if policy.chars().count() > POLICY_CHARS_MAX {
        return Err(invalid(&format!(
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length \
             less than or equal to {POLICY_CHARS_MAX}"
        )));
    }
    let document = Document::parse(policy).map_err(|error| malformed(&error.to_string()))?;
    if document.statements.iter().any(|statement| statement.principals.is_some()) {
        return Err(malformed("Policy document should not specify a principal."));
    }
    Ok(())
}

/// A session's tags and the keys of those that further roles inherit.
type Tags = (Vec<(String, String)>, Vec<String>);

fn tags(passed: &Passed, caller: Option<&Session>) -> Result<Tags, AwsError> {
    let inherited_keys = caller.map_or(&[][..], |session| session.transitive_tag_keys.as_slice());
    let inherited = caller.map_or(&[][..], |session| session.tags.as_slice());
    let is_inherited = |key: &str| inherited_keys.iter().any(|inherited| inherited.eq_ignore_ascii_case(key));
    let mut tags: Vec<(String, String)> =
        inherited.iter().filter(|(key, _)| is_inherited(key)).cloned().collect();
    for tag in &passed.tags {
        if is_inherited(&tag.key) {
            return Err(invalid(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session.",
            ));
        }
        if tags.iter().any(|(key, _)| key.eq_ignore_ascii_case(&tag.key)) {
            return Err(invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
        }
        tags.push((tag.key.clone(), tag.value.clone()));
    }
    let mut transitive = inherited_keys.to_vec();
    for key in &passed.transitive_tag_keys {
        if !passed.tags.iter().any(|tag| tag.key.eq_ignore_ascii_case(key)) {
            return Err(invalid("The specified transitive tag key must be included in the requested tags."));
        }
        transitive.push(key.clone());
    }
    Ok((tags, transitive))
}

fn packed_percent(
    policy: Option<&str>,
    arns: &[String],
    tags: &[(String, String)],
) -> Result<Option<usize>, AwsError> {
    let tags_bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let arns_bytes: usize = arns.iter().map(String::len).sum();
    let bytes = policy.map_or(0, str::len) + arns_bytes + tags_bytes;
    if bytes == 0 {
        return Ok(None);
    }
    let percent = (bytes * 100).div_ceil(PACKED_SIZE_BYTES_MAX);
    if percent > 100 {
        return Err(AwsError::invalid(
            "PackedPolicyTooLarge",
            format!("Packed size of session tags and policies consumes {percent}% of allotted space."),
        ));
    }
    Ok(Some(percent))
}

pub(super) fn invalid(message: &str) -> AwsError {
    AwsError::invalid("ValidationError", message)
}

fn malformed(message: &str) -> AwsError {
    AwsError::invalid("MalformedPolicyDocument", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passed(value: serde_json::Value) -> Passed {
        serde_json::from_value(value).unwrap()
    }

    fn caller() -> Session {
        let begun = passed(json!({
            "Tags": [{"Key": "Team", "Value": "red"}, {"Key": "once", "Value": "1"}],
            "TransitiveTagKeys": ["team"],
            "SourceIdentity": "alice",
        }));
        begun.grant(Timestamp::from_seconds(0), 3600, None).unwrap().session
    }

    fn granted(value: serde_json::Value, caller: Option<&Session>) -> Result<Session, String> {
        let granted = passed(value).grant(Timestamp::from_seconds(100), 3600, caller);
        granted.map(|granted| granted.session).map_err(|error| format!("{}: {}", error.code, error.message))
    }

    #[test]
    fn a_further_role_inherits_transitive_tags_and_the_source_identity_and_changes_neither() {
        let first = caller();
        let next = granted(json!({"Tags": [{"Key": "more", "Value": "2"}]}), Some(&first)).unwrap();
        assert_eq!(next.tags, [("Team".into(), "red".into()), ("more".into(), "2".into())]);
        assert_eq!(next.transitive_tag_keys, ["team"]);
        assert_eq!(next.source_identity.as_deref(), Some("alice"));
        let conflict =
            granted(json!({"Tags": [{"Key": "TEAM", "Value": "blue"}]}), Some(&first)).unwrap_err();
        assert!(conflict.starts_with("ValidationError: One of the specified transitive"), "{conflict}");
        let changed = granted(json!({"SourceIdentity": "bob"}), Some(&first)).unwrap_err();
        assert!(changed.starts_with("AccessDenied: "), "{changed}");
        assert!(granted(json!({"SourceIdentity": "alice"}), Some(&first)).is_ok());
    }

    #[test]
    fn tags_and_policies_are_checked() {
        let twice = json!({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]});
        assert!(granted(twice, None).unwrap_err().contains("Duplicate tag keys"));
        let foreign = json!({"TransitiveTagKeys": ["x"]});
        assert!(granted(foreign, None).unwrap_err().contains("must be included in the requested tags"));
        let with_principal =
            r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}"#;
        assert_eq!(
            granted(json!({"Policy": with_principal}), None).unwrap_err(),
            "MalformedPolicyDocument: Policy document should not specify a principal."
        );
        assert!(granted(json!({"Policy": "{"}), None).unwrap_err().starts_with("MalformedPolicyDocument"));
        let arns: Vec<_> =
            (0..11).map(|at| json!({"arn": format!("arn:aws:iam::aws:policy/P{at}")})).collect();
        assert!(granted(json!({"PolicyArns": arns}), None).unwrap_err().contains("policyArns"));
        let many: Vec<_> =
            (0..50).map(|at| json!({"Key": format!("k{at}"), "Value": "v".repeat(200)})).collect();
        assert!(granted(json!({"Tags": many}), None).unwrap_err().starts_with("PackedPolicyTooLarge"));
    }

    #[test]
    fn the_packed_size_counts_what_was_passed() {
        let none = passed(json!({})).grant(Timestamp::from_seconds(0), 3600, None).unwrap();
        assert_eq!(none.packed_percent, None);
        let some = passed(json!({"Tags": [{"Key": "a", "Value": "1"}]}));
        assert_eq!(some.grant(Timestamp::from_seconds(0), 3600, None).unwrap().packed_percent, Some(1));
    }
}
