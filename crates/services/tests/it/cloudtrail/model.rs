//! Holds every answer of these tests to AWS's model: known members of the right types, errors that the operation has.

use cairn_wire::model::{Kind, Models, Service, Shape};
use serde_json::Value;

/// Errors that any operation may end in, though its model does not list them.
const COMMON_ERRORS: &[&str] = &["ThrottlingException", "UnsupportedOperationException"];

/// Errors that an operation ends in here, though its model does not list them: it lists none for the case.
const UNLISTED_ERRORS: &[(&str, &str)] = &[
    ("AddTags", "InvalidHomeRegionException"),
    ("RemoveTags", "InvalidHomeRegionException"),
    ("ListTrails", "InvalidNextTokenException"),
    ("UpdateTrail", "MaximumNumberOfTrailsExceededException"),
];

fn service() -> &'static Service {
    Models::embedded().service("cloudtrail").unwrap()
}

pub(crate) fn check_reply(operation: &str, result: &Value) {
    let operation = service().operation(operation).unwrap();
    match service().output(operation) {
        Some(output) => check_value(&operation.name, output, result),
        None => assert_eq!(result, &serde_json::json!({}), "{} has no output", operation.name),
    }
}

pub(crate) fn check_error(operation: &str, code: &str) {
    let listed =
        service().operation(operation).unwrap().errors.iter().any(|id| *service().shape(*id).name == *code);
    assert!(
        listed || COMMON_ERRORS.contains(&code) || UNLISTED_ERRORS.contains(&(operation, code)),
        "{operation} does not end in {code}"
    );
}

fn check_value(path: &str, shape: &Shape, value: &Value) {
    let fits = match &shape.kind {
        Kind::Structure { members, .. } => {
            for (name, value) in value.as_object().unwrap_or_else(|| panic!("{path} is a structure")) {
                let member = members.iter().find(|member| *member.name == **name);
                let member = member.unwrap_or_else(|| panic!("{path} has no member {name}"));
                check_value(&format!("{path}.{name}"), service().shape(member.shape), value);
            }
            true
        }
        Kind::List(element) => {
            for value in value.as_array().unwrap_or_else(|| panic!("{path} is a list")) {
                check_value(path, service().shape(element.shape), value);
            }
            true
        }
        Kind::String => {
            let text = value.as_str().unwrap_or_else(|| panic!("{path} is a text"));
            shape.values.is_empty() || shape.values.iter().any(|known| **known == *text)
        }
        Kind::Blob => value.is_string(),
        Kind::Boolean => value.is_boolean(),
        Kind::Integer | Kind::Long | Kind::Double | Kind::Timestamp => value.is_number(),
        Kind::Map(..) | Kind::Document => panic!("{path}: CloudTrail's replies have no maps"),
    };
    assert!(fits, "{path} is not {value}");
}
