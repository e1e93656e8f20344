//! Holds a call's params against the constraints of its model: required members, lengths, ranges, enums, patterns.
//!
//! On the road: after decoding, before the handler. The texts are those of AWS's own validation, as its services show
//! them: `1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have
//! value less than or equal to 50`. S3 has no such validation; of it only what is missing is refused.

use serde_json::Value;

use crate::model::{Kind, Location, Member, Operation, Protocol, Service, Shape};
use crate::{AwsError, Call, Checks};

/// A message names no more violations than these.
const VIOLATIONS_MAX: usize = 10;
/// A message quotes no more of a value than this.
const QUOTED_CHARS_MAX: usize = 256;
/// Characters of the name of a log group or stream.
const LOG_NAME_CHARS_MAX: usize = 512;

/// Checks `call`, which is one of `operation`.
pub(crate) fn check(
    service: &Service,
    operation: &Operation,
    call: &Call,
    checks: Checks,
) -> Result<(), AwsError> {
    let Some(input) = service.input(operation) else { return Ok(()) };
    if &*service.name == "s3" {
        return s3(service, input, &call.params);
    }
    if &*service.name == "sqs" {
        return sqs(input, &call.params);
    }
    if &*service.name == "logs" {
        logs(&call.params)?;
    }
    let mut checker = Checker { service, checks, violations: Vec::new() };
    checker.members(input, &call.params, "");
    if checker.violations.is_empty() { Ok(()) } else { Err(failed(service, operation, &checker.violations)) }
}

fn failed(service: &Service, operation: &Operation, violations: &[String]) -> AwsError {
    let plural = if violations.len() == 1 { "error" } else { "errors" };
    let message = format!("{} validation {plural} detected: {}", violations.len(), violations.join("; "));
    let code = match service.protocols[0] {
        // Of its operations only those on deliveries, which are younger, have AWS's newer code.
        Protocol::Json if &*service.name == "logs" && !operation.name.contains("Deliver") => {
            "InvalidParameterException"
        }
        // Clients of a service that once spoke awsQuery know the code that it had there.
        _ if service.is_query_compatible => "ValidationError",
        Protocol::Query | Protocol::Ec2 => "ValidationError",
        Protocol::RestXml => "InvalidInput",
        Protocol::Json | Protocol::RestJson | Protocol::RpcV2Cbor => "ValidationException",
    };
    AwsError::invalid(code, message)
}

/// SQS's error for what is missing. An empty batch has an error of its own, which the service gives.
fn sqs(input: &Shape, params: &Value) -> Result<(), AwsError> {
    let is_missing = |member: &&Member| {
        let value = params.get(&*member.name).filter(|value| !value.is_null());
        member.is_required && value.is_none() && &*member.name != "Entries"
    };
    match input.members().iter().find(is_missing) {
        Some(member) => Err(AwsError::invalid(
            "MissingRequiredParameterException",
            format!("The request must contain the parameter {}.", member.name),
        )),
        None => Ok(()),
    }
}

/// The error of CloudWatch Logs for names that are too long, which it looks at before all else.
fn logs(params: &Value) -> Result<(), AwsError> {
    let is_too_long = |member: &str| {
        let name = params.get(member).and_then(Value::as_str).unwrap_or_default();
        name.chars().count() > LOG_NAME_CHARS_MAX
    };
    if ["logGroupName", "logStreamName"].into_iter().any(is_too_long) {
        return Err(AwsError::invalid(
            "InvalidParameterException",
            format!(
                "Invalid LogGroup or LogStream, both must have length less than or equal to {LOG_NAME_CHARS_MAX}."
            ),
        ));
    }
    Ok(())
}

/// S3's errors for what is missing, by where it is missing.
fn s3(service: &Service, input: &Shape, params: &Value) -> Result<(), AwsError> {
    for member in input.members() {
        let value = params.get(&*member.name).filter(|value| !value.is_null());
        let is_payload = input.payload().is_some_and(|payload| payload.name == member.name);
        match value {
            None if member.is_required && is_payload => {
                return Err(AwsError::invalid("MissingRequestBodyError", "Request Body is empty"));
            }
            None if member.is_required && !member.is_streaming => {
                return Err(AwsError::invalid("InvalidArgument", "A required argument is missing.")
                    .with_member("ArgumentName", member.wire_name())
                    .with_member("ArgumentValue", "null"));
            }
            Some(value) if member.location == Location::Body => {
                let mut checker = Checker { service, checks: Checks::Structure, violations: Vec::new() };
                checker.value(member, value, "");
                if !checker.violations.is_empty() {
                    return Err(AwsError::invalid(
                        "MalformedXML",
                        "The XML you provided was not well-formed or did not validate against our published schema",
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

struct Checker<'a> {
    service: &'a Service,
    checks: Checks,
    violations: Vec<String>,
}

impl Checker<'_> {
    fn members(&mut self, shape: &Shape, value: &Value, path: &str) {
        for member in shape.members() {
            if self.violations.len() >= VIOLATIONS_MAX {
                return;
            }
            let path = join(path, &first_lower(&member.name));
            match value.get(&*member.name).filter(|value| !value.is_null()) {
                Some(value) => self.value(member, value, &path),
                None if member.is_required && !member.is_streaming => {
                    self.violations.push(format!(
                        "Value null at '{path}' failed to satisfy constraint: Member must not be null"
                    ));
                }
                None => {}
            }
        }
    }

    fn value(&mut self, member: &Member, value: &Value, path: &str) {
        let shape = self.service.shape(member.shape);
        if self.checks == Checks::All {
            for constraint in broken(shape, value) {
                self.violate(member, value, path, &constraint);
            }
        }
        match (&shape.kind, value) {
            (Kind::Structure { .. }, Value::Object(_)) => self.members(shape, value, path),
            (Kind::List(item), Value::Array(values)) => self.list(member, item, value, values, path),
            (Kind::Map(key, item), Value::Object(entries)) => {
                let (key_shape, item_shape) = (self.service.shape(key.shape), self.service.shape(item.shape));
                for (name, entry) in entries {
                    if self.violations.len() >= VIOLATIONS_MAX {
                        return;
                    }
                    if is_structured(item_shape) {
                        self.value(item, entry, &format!("{path}.{name}.member"));
                    } else if self.checks == Checks::All {
                        let name = Value::from(name.as_str());
                        self.violate_inner(member, value, path, "Map keys", &broken(key_shape, &name));
                        self.violate_inner(member, value, path, "Map value", &broken(item_shape, entry));
                    }
                }
            }
            _ => {}
        }
    }

    fn list(&mut self, member: &Member, item: &Member, value: &Value, values: &[Value], path: &str) {
        let shape = self.service.shape(item.shape);
        for (entry, number) in values.iter().zip(1..) {
            if self.violations.len() >= VIOLATIONS_MAX {
                return;
            }
            if is_structured(shape) {
                self.value(item, entry, &format!("{path}.{number}.member"));
            } else if self.checks == Checks::All {
                let constraints = broken(shape, entry);
                self.violate_inner(member, value, path, "Member", &constraints);
                if !constraints.is_empty() {
                    return;
                }
            }
        }
    }

    fn violate_inner(&mut self, member: &Member, value: &Value, path: &str, what: &str, inner: &[String]) {
        if !inner.is_empty() {
            let constraint = format!("{what} must satisfy constraint: [{}]", inner.join(", "));
            self.violate(member, value, path, &constraint);
        }
    }

    fn violate(&mut self, member: &Member, value: &Value, path: &str, constraint: &str) {
        let quoted = if member.is_sensitive { String::new() } else { format!(" '{}'", shown(value)) };
        self.violations.push(format!("Value{quoted} at '{path}' failed to satisfy constraint: {constraint}"));
    }
}

fn is_structured(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::Structure { .. } | Kind::List(_) | Kind::Map(..))
}

/// The constraints that a value breaks by itself.
fn broken(shape: &Shape, value: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    match (&shape.kind, value) {
        (Kind::String, Value::String(text)) => {
            if shape.min.is_some() || shape.max.is_some() {
                length(shape, text.chars().count(), &mut broken);
            }
            if !shape.values.is_empty() && !shape.values.iter().any(|value| **value == **text) {
                broken.push(format!("Member must satisfy enum value set: [{}]", shape.values.join(", ")));
            }
            if !shape.matches_pattern(text) {
                let pattern = shape.pattern.as_deref().unwrap_or("");
                broken.push(format!("Member must satisfy regular expression pattern: {pattern}"));
            }
        }
        // Four characters of base64 are three bytes, less one for each `=`.
        (Kind::Blob, Value::String(text)) => {
            let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
            length(shape, (text.len() / 4 * 3).saturating_sub(padding), &mut broken);
        }
        (Kind::List(_), Value::Array(values)) => length(shape, values.len(), &mut broken),
        (Kind::Map(..), Value::Object(entries)) => length(shape, entries.len(), &mut broken),
        (Kind::Integer | Kind::Long | Kind::Double, Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(0.0);
            if let Some(max) = shape.max.filter(|max| number > *max) {
                broken.push(format!("Member must have value less than or equal to {max}"));
            }
            if let Some(min) = shape.min.filter(|min| number < *min) {
                broken.push(format!("Member must have value greater than or equal to {min}"));
            }
        }
        _ => {}
    }
    broken
}

fn length(shape: &Shape, length: usize, broken: &mut Vec<String>) {
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
    let length = length as f64;
    if let Some(max) = shape.max.filter(|max| length > *max) {
        broken.push(format!("Member must have length less than or equal to {max}"));
    }
    if let Some(min) = shape.min.filter(|min| length < *min) {
        broken.push(format!("Member must have length greater than or equal to {min}"));
    }
}

/// A value as AWS's messages quote it: lists in brackets, texts bare.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    };
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn first_lower(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::RequestFacts;
    use crate::model::Models;

    fn verdict(service: &str, operation: &str, params: Value, checks: Checks) -> String {
        let service = Models::embedded().service(service).unwrap();
        let call = Call {
            service: service.name.to_string(),
            operation: operation.to_owned(),
            params,
            body: None,
            request: RequestFacts::default(),
        };
        match check(service, service.operation(operation).unwrap(), &call, checks) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn log_groups_have_a_code_of_their_own_and_a_text_for_long_names() {
        let all = |operation, params| verdict("logs", operation, params, Checks::All);
        assert_eq!(
            all("FilterLogEvents", json!({"logGroupName": "g", "limit": 10_001})),
            "InvalidParameterException: 1 validation error detected: Value '10001' at 'limit' failed to satisfy \
             constraint: Member must have value less than or equal to 10000"
        );
        assert_eq!(
            all("CreateLogGroup", json!({"logGroupName": "g".repeat(513)})),
            "InvalidParameterException: Invalid LogGroup or LogStream, both must have length less than or equal to 512."
        );
        let format = json!({"name": "d", "outputFormat": "foobar"});
        assert!(all("PutDeliveryDestination", format).starts_with("ValidationException: "));
    }

    #[test]
    fn violations_are_told_in_aws_words() {
        let all = |service, operation, params| verdict(service, operation, params, Checks::All);
        assert_eq!(
            all("cloudtrail", "LookupEvents", json!({"MaxResults": 51})),
            "ValidationException: 1 validation error detected: Value '51' at 'maxResults' failed to satisfy \
             constraint: Member must have value less than or equal to 50"
        );
        assert_eq!(
            all("cloudtrail", "CreateTrail", json!({"Name": "t"})),
            "ValidationException: 1 validation error detected: Value null at 's3BucketName' failed to satisfy \
             constraint: Member must not be null"
        );
        assert_eq!(
            all("iam", "CreateUser", json!({"UserName": "a b", "Tags": [{"Key": "k"}]})),
            "ValidationError: 2 validation errors detected: Value 'a b' at 'userName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+; Value null at \
             'tags.1.member.value' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(all("iam", "CreateAccessKey", json!({"UserName": "ab"})), "ok");
        assert_eq!(
            all("dynamodb", "CreateTable", json!({"TableName": "t", "BillingMode": "x"})).lines().next(),
            Some(
                "ValidationException: 1 validation error detected: Value 'x' at 'billingMode' failed to satisfy \
                 constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]"
            )
        );
    }

    #[test]
    fn services_that_validate_themselves_are_only_held_to_required_members() {
        assert_eq!(verdict("cloudtrail", "LookupEvents", json!({"MaxResults": 51}), Checks::Structure), "ok");
    }

    #[test]
    fn s3_names_what_is_missing_in_its_own_way() {
        let check = |operation, params| verdict("s3", operation, params, Checks::All);
        assert_eq!(
            check("PutBucketTagging", json!({"Bucket": "b"})),
            "MissingRequestBodyError: Request Body is empty"
        );
        assert_eq!(
            check("PutBucketTagging", json!({"Bucket": "b", "Tagging": {"TagSet": [{"Key": "k"}]}})),
            "MalformedXML: The XML you provided was not well-formed or did not validate against our published schema"
        );
        assert_eq!(check("PutObject", json!({"Bucket": "b", "Key": "k"})), "ok");
    }
}
