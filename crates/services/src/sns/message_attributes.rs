//! Attributes of messages: read from a call, checked as AWS checks them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::filter_policy::MessageAttribute;
use serde_json::{Map, Value};

use super::error::{Failure, fail};
use crate::sinks::{Attribute, AttributeValue};

/// Bytes of an attribute's name, one more than it may have.
const NAME_SIZE_BYTES_LIMIT: usize = 256;

/// The attributes of a message, in the order given.
///
/// # Errors
/// AWS's, of the first that is wrong.
pub(super) fn read(given: &Map<String, Value>) -> Result<Vec<Attribute>, Failure> {
    given.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &Value) -> Result<Attribute, Failure> {
    check_name(name)?;
    let text = |member: &str| value.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let data_type = text("DataType").unwrap_or_default();
    let kind = data_type.split('.').next().unwrap_or_default();
    let (string, binary) = (text("StringValue"), text("BinaryValue"));
    if !["Binary", "Number", "String"].contains(&kind) {
        return Err(refused(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes \
             is Binary, Number, and String."
        )));
    }
    let field = if kind == "Binary" { "Binary" } else { "String" };
    let wrong_field = || {
        let text =
            format!("The message attribute '{name}' with type '{data_type}' must use field '{field}'.");
        refused(text)
    };
    let empty = || {
        refused(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
             '{data_type}'."
        ))
    };
    let value = match (kind, string, binary) {
        ("Binary", None, Some(bytes)) => AttributeValue::Bytes(STANDARD.decode(bytes).map_err(|_| empty())?),
        ("Binary", Some(_), _) | (_, _, Some(_)) => return Err(wrong_field()),
        (_, None, None) => return Err(empty()),
        ("Number", Some(number), None) if !is_number(number) => {
            return Err(refused(format!("Could not cast message attribute '{name}' value to number.")));
        }
        (_, Some(text), None) => AttributeValue::Text(text.to_owned()),
    };
    Ok(Attribute { name: name.to_owned(), data_type: data_type.to_owned(), value })
}

fn is_number(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    plain && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() >= NAME_SIZE_BYTES_LIMIT {
        let text =
            format!("Length of message attribute name must be less than {NAME_SIZE_BYTES_LIMIT} bytes.");
        return Err(refused(text));
    }
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
        return Err(refused(format!(
            "Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. Can only include \
             alphanumeric characters, hyphens, underscores, or dots.",
            u32::from(odd)
        )));
    }
    if name.starts_with('.') {
        return Err(refused("Invalid message attribute name starting with character '.' was found."));
    }
    if name.ends_with('.') {
        return Err(refused("Invalid message attribute name ending with character '.' was found."));
    }
    if name.contains("..") {
        return Err(refused("Message attribute name can not have successive '.' character."));
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> Failure {
    fail("ParameterValueInvalid", message)
}

/// How much of a message's size its attributes are, in bytes: names, types and values.
pub(super) fn size_bytes(attributes: &[Attribute]) -> usize {
    let value = |attribute: &Attribute| match &attribute.value {
        AttributeValue::Text(text) => text.len(),
        AttributeValue::Bytes(bytes) => bytes.len(),
    };
    attributes.iter().map(|one| one.name.len() + one.data_type.len() + value(one)).sum()
}

/// Attributes as filter policies look at them.
pub(super) fn as_filtered(attributes: &[Attribute]) -> Vec<MessageAttribute<'_>> {
    let mut seen = Vec::with_capacity(attributes.len());
    for Attribute { name, data_type, value } in attributes {
        let text = match value {
            AttributeValue::Text(text) => Some(text.as_str()),
            AttributeValue::Bytes(_) => None,
        };
        seen.push(MessageAttribute { name, data_type, text });
    }
    seen
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;
    use serde_json::json;

    use super::*;

    fn check(name: &str, value: Value, expected: &str) {
        let given = Map::from_iter([(name.to_owned(), value)]);
        let told = match read(&given) {
            Ok(_) => "ok".to_owned(),
            Err(failure) => AwsError::from(failure).message,
        };
        assert_eq!(told, expected, "{given:?}");
    }

    #[test]
    fn attributes_are_refused_in_awss_words() {
        let string = |value: &str| json!({"DataType": "String", "StringValue": value});
        check("attr1", string("v"), "ok");
        check("a-b_c.d", string("v"), "ok");
        check("attr1", json!({"DataType": "String.Array", "StringValue": "[\"a\"]"}), "ok");
        let empty = |kind: &str| {
            format!(
                "The message attribute 'attr1' must contain non-empty message attribute value for message attribute \
                 type '{kind}'."
            )
        };
        check("attr1", string(""), &empty("String"));
        check("attr1", json!({"DataType": "Binary", "BinaryValue": ""}), &empty("Binary"));
        check("attr1", json!({"DataType": "Number"}), &empty("Number"));
        let field = |kind: &str, field: &str| {
            format!("The message attribute 'attr1' with type '{kind}' must use field '{field}'.")
        };
        check("attr1", json!({"DataType": "Number", "BinaryValue": "AQ=="}), &field("Number", "String"));
        check("attr1", json!({"DataType": "Binary", "StringValue": "v"}), &field("Binary", "Binary"));
        let prefixes = "The message attribute 'attr1' has an invalid message attribute type, the set of supported type \
                        prefixes is Binary, Number, and String.";
        check("attr1", json!({"DataType": "StringX", "StringValue": "v"}), prefixes);
        check(
            "attr1",
            json!({"DataType": "Number", "StringValue": "one"}),
            "Could not cast message attribute 'attr1' value to number.",
        );
        check(
            "a^b",
            string("v"),
            "Invalid non-alphanumeric character '#x5E' was found in the message attribute name. Can only include \
             alphanumeric characters, hyphens, underscores, or dots.",
        );
        check(".a", string("v"), "Invalid message attribute name starting with character '.' was found.");
        check("a.", string("v"), "Invalid message attribute name ending with character '.' was found.");
        check("a..b", string("v"), "Message attribute name can not have successive '.' character.");
        let long = "a".repeat(256);
        check(&long, string("v"), "Length of message attribute name must be less than 256 bytes.");
    }

    #[test]
    fn the_size_of_attributes_is_that_of_names_types_and_values() {
        let given = json!({"ab": {"DataType": "Binary", "BinaryValue": "AQID"}});
        assert_eq!(size_bytes(&read(given.as_object().unwrap()).unwrap()), 2 + 6 + 3);
    }
}
