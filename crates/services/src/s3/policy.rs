//! Bucket policies: what may be put, and whether one makes its bucket public.
//!
//! Source: the S3 user guide's pages on bucket policies and on the meaning of "public".

use cairn_core::policy::Document;
use cairn_wire::{Call, Reply};
use serde_json::{Value, json};

use super::S3;
use super::error::{Failure, access_denied, fail};
use super::params::Params;
use crate::Caller;

/// Largest policy, in bytes.
const POLICY_SIZE_BYTES_MAX: usize = 20 * 1024;

/// Condition keys that narrow a policy to known callers; with fixed values they make it not public.
const NARROWING_KEYS: [&str; 13] = [
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceorgid",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceip",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

impl S3 {
    pub(super) async fn put_policy(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let text = params.required("Policy").to_owned();
        let name = params.bucket();
        let document = check(&text, name)?;
        let public = is_public(&document);
        let same_account = caller.account.clone();
        self.change_bucket(name, move |bucket| {
            let blocked = bucket.public_access_block.is_some_and(|block| block.block_public_policy);
            if public && blocked {
                return Err(access_denied_by_block(same_account == bucket.owner));
            }
            bucket.policy = Some(text.clone());
            Ok(())
        })
        .await
    }

    pub(super) async fn read_policy(&self, call: &Call) -> Result<Reply, Failure> {
        let bucket = self.bucket(Params(&call.params).bucket()).await?;
        let policy = bucket.policy.ok_or_else(|| {
            fail(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
                .with("BucketName", bucket.name)
        })?;
        if call.operation == "GetBucketPolicyStatus" {
            let document = serde_json::from_str(&policy).unwrap_or(Value::Null);
            return Ok(Reply::of(&json!({"PolicyStatus": {"IsPublic": is_public(&document)}})));
        }
        Ok(Reply::of(&json!({"Policy": policy})))
    }

    pub(super) async fn delete_policy(&self, call: &Call) -> Result<Reply, Failure> {
        self.change_bucket(Params(&call.params).bucket(), |bucket| {
            bucket.policy = None;
            Ok(())
        })
        .await
    }
}

fn access_denied_by_block(own: bool) -> Failure {
    if own {
        return fail(
            403,
            "AccessDenied",
            "User is not authorized to perform: s3:PutBucketPolicy because public policies are prevented by the \
             BlockPublicPolicy setting in S3 Block Public Access.",
        );
    }
    access_denied()
}

fn malformed(message: impl Into<String>) -> Failure {
    fail(400, "MalformedPolicy", message)
}

/// Checks a policy for a bucket; returns its document.
pub(super) fn check(text: &str, bucket: &str) -> Result<Value, Failure> {
    if text.len() > POLICY_SIZE_BYTES_MAX {
        return Err(malformed(format!(
            "Normalized policy document exceeds the maximum allowed size of {POLICY_SIZE_BYTES_MAX} bytes."
        )));
    }
    let not_json = || malformed("Policies must be valid JSON and the first byte must be '{'");
    if !text.starts_with('{') {
        return Err(not_json());
    }
    let document: Value = serde_json::from_str(text).map_err(|_| not_json())?;
    match document.get("Version") {
        None => {}
        Some(Value::String(version)) if matches!(version.as_str(), "2012-10-17" | "2008-10-17") => {}
        Some(_) => return Err(malformed("The policy must contain a valid version string")),
    }
    let statements = statements(&document);
    if document.get("Statement").is_none() {
        return Err(malformed("Missing required field Statement"));
    }
    if statements.is_empty() {
        return Err(malformed("Could not parse the policy: Statement is empty!"));
    }
    for statement in statements {
        check_statement(statement, bucket)?;
    }
    // What the evaluator cannot read would lock everybody out later.
    Document::parse(text).map_err(|error| malformed(format!("Could not parse the policy: {error}")))?;
    Ok(document)
}

fn statements(document: &Value) -> Vec<&Value> {
    match document.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => Vec::new(),
    }
}

fn check_statement(statement: &Value, bucket: &str) -> Result<(), Failure> {
    let either = |name: &str, not: &str| statement.get(name).or_else(|| statement.get(not));
    match statement.get("Effect").and_then(Value::as_str) {
        Some("Allow" | "Deny") => {}
        Some(other) => return Err(malformed(format!("Invalid effect: {other}"))),
        None => return Err(malformed("Missing required field Effect")),
    }
    let principal =
        either("Principal", "NotPrincipal").ok_or_else(|| malformed("Missing required field Principal"))?;
    check_principal(principal)?;
    let actions =
        texts(either("Action", "NotAction").ok_or_else(|| malformed("Missing required field Action"))?);
    if actions.is_empty() || actions.iter().any(|action| !is_action(action)) {
        return Err(malformed("Policy has invalid action"));
    }
    let resources =
        texts(either("Resource", "NotResource").ok_or_else(|| malformed("Missing required field Resource"))?);
    if resources.is_empty() || resources.iter().any(|resource| !belongs_to(resource, bucket)) {
        return Err(malformed("Policy has invalid resource"));
    }
    match statement.get("Condition") {
        None | Some(Value::Object(_)) => Ok(()),
        Some(_) => Err(malformed("Policy has an invalid condition")),
    }
}

fn check_principal(principal: &Value) -> Result<(), Failure> {
    let invalid = || malformed("Invalid principal in policy");
    match principal {
        Value::String(text) if text == "*" => Ok(()),
        Value::Object(kinds) if !kinds.is_empty() => kinds.iter().try_for_each(|(kind, names)| {
            let names = texts(names);
            let known = matches!(kind.as_str(), "AWS" | "Service" | "CanonicalUser" | "Federated");
            let valid = |name: &&str| match kind.as_str() {
                "AWS" => {
                    *name == "*" || name.starts_with("arn:") || name.len() == 12 || name.starts_with("AIDA")
                }
                _ => !name.is_empty(),
            };
            if known && !names.is_empty() && names.iter().all(valid) { Ok(()) } else { Err(invalid()) }
        }),
        _ => Err(invalid()),
    }
}

fn is_action(action: &str) -> bool {
    action == "*" || action.get(..3).is_some_and(|service| service.eq_ignore_ascii_case("s3:"))
}

/// Whether a resource pattern lies within the bucket: its name is spelt out, or matched by wildcards.
fn belongs_to(resource: &str, bucket: &str) -> bool {
    let mut parts = resource.splitn(6, ':');
    let head: Vec<&str> = parts.by_ref().take(5).collect();
    let [arn, _partition, "s3", "", ""] = head[..] else { return false };
    let name = parts.next().unwrap_or_default().split('/').next().unwrap_or_default();
    arn == "arn" && (name == bucket || wildcard_matches(name, bucket))
}

/// Whether `pattern` with `*` and `?` matches `text`.
fn wildcard_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at_pattern, mut at_text, mut star) = (0, 0, None);
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match star {
                Some((from_pattern, from_text)) => {
                    at_pattern = from_pattern + 1;
                    at_text = from_text + 1;
                    star = Some((from_pattern, from_text + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

/// A text or a list of texts.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a policy lets just anybody in.
pub(super) fn is_public(document: &Value) -> bool {
    statements(document).into_iter().any(|statement| {
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && names_anybody(statement)
            && !is_narrowed(statement)
    })
}

fn names_anybody(statement: &Value) -> bool {
    if statement.get("NotPrincipal").is_some() {
        return true;
    }
    match statement.get("Principal") {
        Some(Value::String(text)) => text == "*",
        Some(Value::Object(kinds)) => kinds.values().any(|names| texts(names).contains(&"*")),
        _ => false,
    }
}

fn is_narrowed(statement: &Value) -> bool {
    let operators = statement.get("Condition").and_then(Value::as_object);
    operators.into_iter().flatten().any(|(operator, keys)| {
        let operator = operator.to_ascii_lowercase();
        let positive = !operator.contains("not") && !operator.ends_with("ifexists") && operator != "null";
        positive
            && keys.as_object().into_iter().flatten().any(|(key, values)| {
                let values = texts(values);
                NARROWING_KEYS.contains(&key.to_ascii_lowercase().as_str())
                    && !values.is_empty()
                    && values.iter().all(|value| is_fixed(key, value))
            })
    })
}

/// Whether a condition's value stands for somebody in particular.
fn is_fixed(key: &str, value: &str) -> bool {
    if key.eq_ignore_ascii_case("aws:SourceIp") {
        // Wider than a /8 (IPv4) or a /32 (IPv6) counts as everybody.
        let bits = value.split_once('/').map_or(Some(128), |(_, bits)| bits.parse::<u8>().ok());
        let widest = if value.contains(':') { 32 } else { 8 };
        return bits.is_some_and(|bits| bits >= widest);
    }
    let account_of_arn = value.split(':').nth(4);
    match account_of_arn {
        Some(account) => {
            !account.contains(['*', '?', '$']) && !account.is_empty() || !value.contains(['*', '?', '$'])
        }
        None => !value.contains(['*', '?', '$']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(policy: &Value) -> String {
        check(&policy.to_string(), "logs").unwrap_err().0.message
    }

    fn statement(changes: &Value) -> Value {
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Action": "s3:GetBucketAcl",
            "Resource": "arn:aws:s3:::logs",
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                statement.as_object_mut().unwrap().remove(name);
            } else {
                statement[name] = value.clone();
            }
        }
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }

    #[test]
    fn a_policy_is_checked_when_it_is_put() {
        assert!(check(&statement(&json!({})).to_string(), "logs").is_ok());
        assert!(
            check(
                &statement(&json!({"Resource": ["arn:aws:s3:::logs/*", "arn:aws:s3:::l*"]})).to_string(),
                "logs"
            )
            .is_ok()
        );
        assert_eq!(check("[]", "logs").unwrap_err().0.code, "MalformedPolicy");
        assert_eq!(refusal(&json!({"Version": "2012-10-17"})), "Missing required field Statement");
        assert_eq!(refusal(&json!({"Statement": []})), "Could not parse the policy: Statement is empty!");
        assert_eq!(
            refusal(&json!({"Version": "2020-01-01", "Statement": []})),
            "The policy must contain a valid version string"
        );
        assert_eq!(refusal(&statement(&json!({"Principal": null}))), "Missing required field Principal");
        assert_eq!(refusal(&statement(&json!({"Principal": {"AWS": "bob"}}))), "Invalid principal in policy");
        assert_eq!(refusal(&statement(&json!({"Effect": "Maybe"}))), "Invalid effect: Maybe");
        assert_eq!(refusal(&statement(&json!({"Action": "ec2:RunInstances"}))), "Policy has invalid action");
        assert_eq!(
            refusal(&statement(&json!({"Resource": "arn:aws:s3:::other/*"}))),
            "Policy has invalid resource"
        );
        assert!(refusal(&statement(&json!({"Sid": "x".repeat(20 * 1024)}))).contains("20480 bytes"));
    }

    #[test]
    fn a_policy_is_public_where_it_lets_anybody_in() {
        let public = |changes: Value| is_public(&statement(&changes));
        assert!(!public(json!({})));
        assert!(public(json!({"Principal": "*"})));
        assert!(public(json!({"Principal": {"AWS": ["*"]}})));
        assert!(!public(json!({"Principal": "*", "Effect": "Deny"})));
        let narrowed = |operator: &str, key: &str, value: &str| {
            !public(json!({"Principal": "*", "Condition": {operator: {key: value}}}))
        };
        assert!(narrowed("StringEquals", "aws:SourceAccount", "123456789012"));
        assert!(narrowed("ArnLike", "aws:SourceArn", "arn:aws:cloudtrail:*:123456789012:trail/*"));
        assert!(narrowed("IpAddress", "aws:SourceIp", "10.0.0.0/8"));
        assert!(!narrowed("IpAddress", "aws:SourceIp", "0.0.0.0/0"));
        assert!(!narrowed("StringLike", "aws:PrincipalArn", "*"));
        assert!(!narrowed("StringNotEquals", "aws:SourceAccount", "123456789012"));
        assert!(!narrowed("StringEquals", "s3:x-amz-acl", "private"));
    }
}
