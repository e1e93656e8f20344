//! Policy documents as IAM takes them and gives them back.
//!
//! Source: the messages and the order of the checks are those recorded from AWS (`MalformedPolicyDocument`).

use std::collections::HashSet;

use cairn_core::policy::{Document, PolicyError, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::{Failure, malformed};

/// All but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A document as replies show it: percent-encoded.
pub(super) fn shown(document: &str) -> Value {
    Value::String(utf8_percent_encode(document, ENCODED).to_string())
}

/// The characters that count against the limits: "IAM does not count white space".
pub(super) fn counted_chars(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Checks a policy for a user, group or role: without principals, with resources.
pub(super) fn check_identity_policy(text: &str) -> Result<Document, Failure> {
    let document = parse(text)?;
    if document.version != Version::V2012 {
        return Err(malformed("Policy document must be version 2012-10-17 or greater."));
    }
    check_sids(&document)?;
    if document.statements.iter().any(|statement| statement.principals.is_some()) {
        return Err(malformed("Policy document should not specify a principal."));
    }
    for statement in statements(text)? {
        let resources = texts(&statement, &["Resource", "NotResource"]);
        if resources.is_empty() {
            return Err(malformed("Policy statement must contain resources."));
        }
        check_actions(&statement)?;
        for resource in resources {
            check_resource(resource)?;
        }
    }
    Ok(document)
}

/// Checks a role's trust policy: with principals, without resources, about STS.
pub(super) fn check_trust_policy(text: &str) -> Result<Document, Failure> {
    let document = parse(text)?;
    check_sids(&document)?;
    if document.statements.iter().any(|statement| statement.principals.is_none()) {
        return Err(malformed("Missing required field Principal"));
    }
    for statement in statements(text)? {
        if !texts(&statement, &["Resource", "NotResource"]).is_empty() {
            return Err(malformed("Has prohibited field Resource"));
        }
        check_actions(&statement)?;
        if texts(&statement, &["Action"]).iter().any(|action| !action.to_lowercase().starts_with("sts:")) {
            return Err(malformed("AssumeRole policy may only specify STS AssumeRole actions."));
        }
    }
    Ok(document)
}

/// The statements of a document that was parsed, as they are written.
pub(super) fn statements(text: &str) -> Result<Vec<Value>, Failure> {
    let mut document: Value =
        serde_json::from_str(text).map_err(|_| malformed("Syntax errors in policy."))?;
    Ok(match document["Statement"].take() {
        Value::Array(list) => list,
        single => vec![single],
    })
}

/// The texts of those of a statement's elements that are there.
pub(super) fn texts<'a>(statement: &'a Value, elements: &[&str]) -> Vec<&'a str> {
    let found = elements.iter().filter_map(|element| statement.get(element));
    found
        .flat_map(|element| match element {
            Value::Array(list) => list.iter().collect(),
            single => vec![single],
        })
        .filter_map(Value::as_str)
        .collect()
}

fn parse(text: &str) -> Result<Document, Failure> {
    Document::parse(text).map_err(|error| match &error {
        PolicyError::TooLarge { .. } => malformed("Policy document is too large."),
        PolicyError::Json(_) => malformed("Syntax errors in policy."),
        PolicyError::Resource { value } => {
            malformed(format!("Resource {value} must be in ARN format or \"*\"."))
        }
        PolicyError::Action { .. } => {
            malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        }
        PolicyError::Principal { value } => {
            malformed(format!("Invalid principal in policy: \"AWS\":\"{value}\""))
        }
        PolicyError::Element { element, problem } if element == "Action" && problem.ends_with("missing") => {
            malformed("Policy statement must contain actions.")
        }
        PolicyError::Element { .. } | PolicyError::Condition { .. } => malformed("Syntax errors in policy."),
    })
}

fn check_sids(document: &Document) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    let sids = document.statements.iter().filter_map(|statement| statement.sid.as_deref());
    if sids.filter(|sid| !sid.is_empty()).all(|sid| seen.insert(sid)) {
        return Ok(());
    }
    Err(malformed("Statement IDs (SID) in a single policy must be unique."))
}

fn check_actions(statement: &Value) -> Result<(), Failure> {
    for action in texts(statement, &["Action", "NotAction"]) {
        let Some((vendor, name)) = action.split_once(':') else { continue };
        if name.contains(':') {
            return Err(malformed("Actions/Condition can contain only one colon."));
        }
        if !vendor.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.*".contains(&b)) {
            return Err(malformed(format!("Vendor {vendor} is not valid")));
        }
    }
    Ok(())
}

fn check_resource(resource: &str) -> Result<(), Failure> {
    if resource == "*" {
        return Ok(());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    if parts.len() < 3 {
        return Err(malformed("Resource vendor must be fully qualified and cannot contain regexes."));
    }
    let partition = parts[1];
    if !["aws", "aws-cn", "aws-us-gov", "*"].contains(&partition) {
        let rest: Vec<&str> = (2..6).map(|at| parts.get(at).copied().unwrap_or("*")).collect();
        let rest = rest.join(":");
        return Err(malformed(format!(
            "Partition \"{partition}\" is not valid for resource \"arn:{partition}:{rest}\"."
        )));
    }
    let region = parts.get(3).copied().unwrap_or_default();
    match (parts[2], region) {
        (_, "" | "*") => Ok(()),
        ("iam", _) => Err(malformed(format!("IAM resource {resource} cannot contain region information."))),
        ("s3", _) => Err(malformed(format!("Resource {resource} can not contain region information."))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;

    use super::*;

    /// `ok`, or the message of the refusal.
    fn check(found: Result<Document, Failure>, expected: &str) {
        let found = match found {
            Ok(_) => "ok".to_owned(),
            Err(failure) => AwsError::from(failure).message,
        };
        assert_eq!(found, expected);
    }

    fn identity(statement: &str, expected: &str) {
        check(
            check_identity_policy(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)),
            expected,
        );
    }

    #[test]
    fn identity_policies_are_refused_in_awss_words() {
        identity(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#, "ok");
        identity(r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b"}"#, "ok");
        identity("[]", "Syntax errors in policy.");
        identity(r#"{"Effect":"Allow","Resource":"*"}"#, "Policy statement must contain actions.");
        identity(r#"{"Effect":"Allow","Action":"s3:*"}"#, "Policy statement must contain resources.");
        identity(
            r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}"#,
            "Policy document should not specify a principal.",
        );
        identity(
            r#"{"Effect":"Allow","Action":"GetObject","Resource":"*"}"#,
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        );
        identity(
            r#"{"Effect":"Allow","Action":"s3:a:b","Resource":"*"}"#,
            "Actions/Condition can contain only one colon.",
        );
        identity(r#"{"Effect":"Allow","Action":"s3$:a","Resource":"*"}"#, "Vendor s3$ is not valid");
        identity(
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"bucket"}"#,
            "Resource bucket must be in ARN format or \"*\".",
        );
        identity(
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:us-east-1::b"}"#,
            "Resource arn:aws:s3:us-east-1::b can not contain region information.",
        );
        identity(
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:moon:s3:::b"}"#,
            "Partition \"moon\" is not valid for resource \"arn:moon:s3:::b\".",
        );
        identity(
            r#"[{"Sid":"a","Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"a","Effect":"Deny","Action":"s3:*","Resource":"*"}]"#,
            "Statement IDs (SID) in a single policy must be unique.",
        );
        check(
            check_identity_policy(r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#),
            "Policy document must be version 2012-10-17 or greater.",
        );
        check(check_identity_policy("no JSON"), "Syntax errors in policy.");
    }

    #[test]
    fn trust_policies_are_refused_in_awss_words() {
        let trust = |statement: &str, expected: &str| {
            check(check_trust_policy(&format!(r#"{{"Statement":{statement}}}"#)), expected);
        };
        let service = r#""Principal":{"Service":"cloudtrail.amazonaws.com"}"#;
        trust(&format!(r#"{{"Effect":"Allow",{service},"Action":"sts:AssumeRole"}}"#), "ok");
        trust(
            &format!(r#"{{"Effect":"Allow",{service},"Action":"sts:AssumeRole","Resource":"*"}}"#),
            "Has prohibited field Resource",
        );
        trust(r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#, "Missing required field Principal");
        trust(
            &format!(r#"{{"Effect":"Allow",{service},"Action":"s3:GetObject"}}"#),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        );
        trust(
            r#"{"Effect":"Allow","Principal":{"AWS":"nobody"},"Action":"sts:AssumeRole"}"#,
            "Invalid principal in policy: \"AWS\":\"nobody\"",
        );
    }

    #[test]
    fn white_space_counts_nothing_and_replies_encode_everything_reserved() {
        assert_eq!(counted_chars("{ \"a\" :\n 1 }"), 7);
        assert_eq!(shown("{\"a b\": \"ü-_.~\"}"), "%7B%22a%20b%22%3A%20%22%C3%BC-_.~%22%7D");
    }
}
