//! Policies that IAM takes: of identities, and of a role's trust; and AWS's words for what it does not take.
//!
//! Size limits are the services' own. Source: the IAM user guide's pages on policy grammar; the messages as clients
//! received them from AWS.

use std::collections::HashSet;

use serde_json::Value;

use super::document::{Document, PolicyError, Statement, Version, is_service};

/// Why IAM does not take a policy: the message of its `MalformedPolicyDocument`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedPolicy(String);

/// The partitions that ARNs in policies name.
const PARTITIONS: [&str; 4] = ["aws", "aws-cn", "aws-us-gov", "*"];

const SYNTAX: &str = "Syntax errors in policy.";

/// Reads a policy for a user, group, role or session: inline, managed, or a boundary.
///
/// # Errors
/// AWS's words for the first thing that is wrong with it.
pub fn parse_identity_policy(text: &str) -> Result<Document, MalformedPolicy> {
    let document = Document::parse(text).map_err(|error| of_error(&error))?;
    if document.statements.iter().any(|statement| statement.principals.is_some()) {
        return Err(malformed("Policy document should not specify a principal."));
    }
    if document.version != Version::V2012 {
        return Err(malformed("Policy document must be version 2012-10-17 or greater."));
    }
    check_sids(&document)?;
    if document.statements.iter().any(|statement| statement.resources.is_none()) {
        return Err(malformed("Policy statement must contain resources."));
    }
    resources_of(text).iter().try_for_each(|resource| check_resource(resource))?;
    Ok(document)
}

/// The resources of a document that was parsed, as they are written.
fn resources_of(text: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let listed = |value: &Value| match value {
        Value::Array(list) => list.clone(),
        single => vec![single.clone()],
    };
    let statements = listed(&document["Statement"]);
    let elements =
        statements.iter().flat_map(|statement| [&statement["Resource"], &statement["NotResource"]]);
    elements.flat_map(listed).filter_map(|resource| resource.as_str().map(str::to_owned)).collect()
}

/// What the parts of an ARN may be.
fn check_resource(resource: &str) -> Result<(), MalformedPolicy> {
    if resource == "*" {
        return Ok(());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let [_, partition, vendor, ..] = parts[..] else {
        return Err(malformed("Resource vendor must be fully qualified and cannot contain regexes."));
    };
    if !PARTITIONS.contains(&partition) {
        let part = |at: usize| parts.get(at).copied().unwrap_or("*");
        let rest = (2..6).map(part).collect::<Vec<_>>().join(":");
        return Err(MalformedPolicy(format!(
            "Partition \"{partition}\" is not valid for resource \"arn:{partition}:{rest}\"."
        )));
    }
    let region = parts.get(3).copied().unwrap_or_default();
    match vendor {
        _ if matches!(region, "" | "*") => Ok(()),
        "iam" => Err(MalformedPolicy(format!("IAM resource {resource} cannot contain region information."))),
        "s3" => Err(MalformedPolicy(format!("Resource {resource} can not contain region information."))),
        _ => Ok(()),
    }
}

/// Reads the policy that says who may assume a role.
///
/// # Errors
/// AWS's words for the first thing that is wrong with it.
pub fn parse_trust_policy(text: &str) -> Result<Document, MalformedPolicy> {
    let document = Document::parse(text).map_err(|error| of_error(&error))?;
    if document.statements.iter().any(|statement| statement.principals.is_none()) {
        return Err(malformed("Missing required field Principal"));
    }
    if document.statements.iter().any(|statement| statement.resources.is_some()) {
        return Err(malformed("Has prohibited field Resource"));
    }
    check_sids(&document)?;
    if !document.statements.iter().all(has_only_sts_actions) {
        return Err(malformed("AssumeRole policy may only specify STS AssumeRole actions."));
    }
    Ok(document)
}

fn has_only_sts_actions(statement: &Statement) -> bool {
    let actions = &statement.actions;
    !actions.negated && actions.patterns.iter().all(|action| action.begins_ignoring_case("sts:"))
}

fn check_sids(document: &Document) -> Result<(), MalformedPolicy> {
    let mut seen = HashSet::new();
    let mut named = document.statements.iter().filter_map(|statement| statement.sid.as_deref());
    if named.all(|sid| sid.is_empty() || seen.insert(sid)) {
        Ok(())
    } else {
        Err(malformed("Statement IDs (SID) in a single policy must be unique."))
    }
}

fn of_error(error: &PolicyError) -> MalformedPolicy {
    match error {
        PolicyError::None { element: "Action" } => malformed("Policy statement must contain actions."),
        PolicyError::None { .. } => malformed("Policy statement must contain resources."),
        PolicyError::Principal { value } => {
            MalformedPolicy(format!("Invalid principal in policy: {value:?}"))
        }
        PolicyError::Resource { value } => {
            MalformedPolicy(format!("Resource {value} must be in ARN format or \"*\"."))
        }
        PolicyError::Action { value } => of_action(value),
        PolicyError::TooLarge { .. }
        | PolicyError::Json(_)
        | PolicyError::Element { .. }
        | PolicyError::Condition { .. } => malformed(SYNTAX),
    }
}

fn of_action(value: &str) -> MalformedPolicy {
    match value.split_once(':') {
        None => malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        Some((_, name)) if name.contains(':') => malformed("Actions/Condition can contain only one colon."),
        Some((vendor, _)) if !is_service(vendor) => MalformedPolicy(format!("Vendor {vendor} is not valid")),
        Some(_) => malformed(SYNTAX),
    }
}

fn malformed(message: &str) -> MalformedPolicy {
    MalformedPolicy(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parse: impl Fn(&str) -> Result<Document, MalformedPolicy>, statement: &str, expected: &str) {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let found = parse(&text).map_or_else(|error| error.to_string(), |_| "taken".to_owned());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn policies_of_identities_are_refused_in_awss_words() {
        for (statement, expected) in [
            (r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#, "taken"),
            (r#"{"Effect":"Deny","NotAction":"*","NotResource":["*"],"Sid":"A1"}"#, "taken"),
            (r#"{"Effect":"Allow","Action":"s3:*"}"#, "Policy statement must contain resources."),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":[]}"#,
                "Policy statement must contain resources.",
            ),
            (r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#, "Policy statement must contain actions."),
            (r#"{"Effect":"Allow","Resource":"*"}"#, "Policy statement must contain actions."),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#,
                "Policy document should not specify a principal.",
            ),
            (r#"{"Effect":"Permit","Action":"*","Resource":"*"}"#, "Syntax errors in policy."),
            (r#"{"Effect":"Allow","Action":"*","Resource":"*","Extra":1}"#, "Syntax errors in policy."),
            (
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"a:b":"c"}}}"#,
                "Syntax errors in policy.",
            ),
            (
                r#"{"Effect":"Allow","Action":"GetObject","Resource":"*"}"#,
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:Get:Object","Resource":"*"}"#,
                "Actions/Condition can contain only one colon.",
            ),
            (r#"{"Effect":"Allow","Action":"a_b:Get","Resource":"*"}"#, "Vendor a_b is not valid"),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"bucket"}"#,
                "Resource bucket must be in ARN format or \"*\".",
            ),
            (r#"{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b","arn:*:s3:::c/*"]}"#, "taken"),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws"}"#,
                "Resource vendor must be fully qualified and cannot contain regexes.",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:*","NotResource":"arn:moon:s3:::b"}"#,
                "Partition \"moon\" is not valid for resource \"arn:moon:s3:::b\".",
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:us-east-1::b"}"#,
                "Resource arn:aws:s3:us-east-1::b can not contain region information.",
            ),
            (
                r#"{"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam:us-east-1:111122223333:user/a"}"#,
                "IAM resource arn:aws:iam:us-east-1:111122223333:user/a cannot contain region information.",
            ),
            (
                r#"{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"A","Effect":"Deny","Action":"*","Resource":"*"}"#,
                "Statement IDs (SID) in a single policy must be unique.",
            ),
        ] {
            check(parse_identity_policy, statement, expected);
        }
        let old = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        let found = parse_identity_policy(old).unwrap_err().to_string();
        assert_eq!(found, "Policy document must be version 2012-10-17 or greater.");
        assert_eq!(parse_identity_policy("{").unwrap_err().to_string(), "Syntax errors in policy.");
    }

    #[test]
    fn trust_policies_name_principals_and_actions_of_sts_alone() {
        for (statement, expected) in [
            (
                r#"{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"sts:AssumeRole"}"#,
                "taken",
            ),
            (
                r#"{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["STS:AssumeRole","sts:TagSession"]}"#,
                "taken",
            ),
            (r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#, "Missing required field Principal"),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}"#,
                "Has prohibited field Resource",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"*"}"#,
                "AssumeRole policy may only specify STS AssumeRole actions.",
            ),
            (
                r#"{"Effect":"Allow","Principal":{"AWS":"alice"},"Action":"sts:AssumeRole"}"#,
                "Invalid principal in policy: \"alice\"",
            ),
        ] {
            check(parse_trust_policy, statement, expected);
        }
    }
}
