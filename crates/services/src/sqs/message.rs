//! What a message says beside its body: its attributes, how it is checked, measured and digested.
//!
//! The digests are those of the developer guide, "Calculating the MD5 message digest for message attributes".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{Failure, fail, invalid_parameter};
use crate::sinks::{Attribute, AttributeValue};

/// The most attributes of a message.
const ATTRIBUTES_MAX: usize = 10;
/// The longest name and the longest type of an attribute.
const ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
/// The one system attribute that senders give.
const TRACE_HEADER: &str = "AWSTraceHeader";

/// An attribute as calls and replies have it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AttributeInput {
    data_type: Option<String>,
    string_value: Option<String>,
    binary_value: Option<String>,
}

/// What is kept of a message with its body, sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The sender's unique id.
    pub(super) sender: String,
    /// In the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attributes: Vec<KeptAttribute>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deduplication: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace_header: Option<String>,
}

/// An attribute as it is kept: bytes as base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptAttribute {
    pub(super) name: String,
    pub(super) data_type: String,
    pub(super) value: String,
}

impl KeptAttribute {
    fn is_binary(&self) -> bool {
        self.data_type.starts_with("Binary")
    }

    fn bytes(&self) -> Vec<u8> {
        match self.is_binary() {
            // It was encoded here or checked when it came.
            true => STANDARD.decode(&self.value).unwrap_or_default(),
            false => self.value.clone().into_bytes(),
        }
    }

    fn size_bytes(&self) -> usize {
        let value = if self.is_binary() { self.bytes().len() } else { self.value.len() };
        self.name.len() + self.data_type.len() + value
    }

    /// As a reply has it.
    pub(super) fn shown(&self) -> Value {
        let member = if self.is_binary() { "BinaryValue" } else { "StringValue" };
        json!({ "DataType": self.data_type, member: self.value })
    }
}

impl From<Attribute> for KeptAttribute {
    fn from(attribute: Attribute) -> Self {
        let value = match attribute.value {
            AttributeValue::Text(text) => text,
            AttributeValue::Bytes(bytes) => STANDARD.encode(bytes),
        };
        Self { name: attribute.name, data_type: attribute.data_type, value }
    }
}

/// Reads the message attributes of a call.
pub(super) fn parse_attributes(given: &Map<String, Value>) -> Result<Vec<KeptAttribute>, Failure> {
    if given.len() > ATTRIBUTES_MAX {
        return Err(invalid_parameter(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            given.len()
        )));
    }
    let mut attributes = given
        .iter()
        .map(|(name, value)| {
            check_attribute_name(name)?;
            parse_value(name, value, "user")
        })
        .collect::<Result<Vec<_>, _>>()?;
    attributes.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(attributes)
}

/// Reads the system attributes of a call: AWSTraceHeader.
pub(super) fn parse_trace_header(given: &Map<String, Value>) -> Result<Option<KeptAttribute>, Failure> {
    if let Some(other) = given.keys().find(|name| *name != TRACE_HEADER) {
        return Err(invalid_parameter(format!("Message system attribute name '{other}' is invalid.")));
    }
    let Some(value) = given.get(TRACE_HEADER) else { return Ok(None) };
    let header = parse_value(TRACE_HEADER, value, "system")?;
    if header.data_type != "String" {
        return Err(invalid_parameter(format!(
            "The type of message (system) attribute '{TRACE_HEADER}' is invalid. You must use only the following \
             supported type prefixes: String."
        )));
    }
    Ok(Some(header))
}

fn check_attribute_name(name: &str) -> Result<(), Failure> {
    let is_made_of =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if name.is_empty() || !is_made_of {
        return Err(invalid_parameter(format!(
            "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.) characters."
        )));
    }
    let lower = name.to_ascii_lowercase();
    let is_reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    let is_dotted = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if is_reserved || is_dotted || name.len() > ATTRIBUTE_NAME_CHARS_MAX {
        return Err(invalid_parameter(format!("Message (user) attribute name '{name}' is invalid.")));
    }
    Ok(())
}

fn parse_value(name: &str, value: &Value, kind: &str) -> Result<KeptAttribute, Failure> {
    let input: AttributeInput =
        serde_json::from_value(value.clone()).map_err(|error| invalid_parameter(error.to_string()))?;
    let data_type = input.data_type.filter(|text| !text.is_empty()).ok_or_else(|| {
        let message = format!("Message ({kind}) attribute '{name}' must contain a non-empty attribute type.");
        invalid_parameter(message)
    })?;
    let base = data_type.split('.').next().unwrap_or_default();
    if !["String", "Number", "Binary"].contains(&base) || data_type.len() > ATTRIBUTE_NAME_CHARS_MAX {
        return Err(invalid_parameter(format!(
            "The type of message ({kind}) attribute '{name}' is invalid. You must use only the following supported type \
             prefixes: Binary, Number, String."
        )));
    }
    let given = if base == "Binary" { input.binary_value } else { input.string_value };
    let value = given.filter(|text| !text.is_empty()).ok_or_else(|| {
        invalid_parameter(format!(
            "Message ({kind}) attribute '{name}' must contain a non-empty value of type '{base}'."
        ))
    })?;
    match base {
        "Binary" if STANDARD.decode(&value).is_err() => {
            return Err(invalid_parameter(format!(
                "Message ({kind}) attribute '{name}' has a value that is not base64."
            )));
        }
        "Number" if value.trim().parse::<f64>().is_err() => {
            return Err(invalid_parameter(format!(
                "Can't cast the value of message ({kind}) attribute '{name}' to a number."
            )));
        }
        "String" => check_characters(&value)?,
        _ => {}
    }
    Ok(KeptAttribute { name: name.to_owned(), data_type, value })
}

/// Refuses characters that XML 1.0 does not have: the older protocol could not deliver them.
pub(super) fn check_characters(text: &str) -> Result<(), Failure> {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if text.chars().all(is_allowed) {
        return Ok(());
    }
    Err(fail(
        "InvalidMessageContents",
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | \
         #x10000 to #x10FFFF",
    ))
}

/// The size that the limits are about: body and message attributes.
pub(super) fn size_bytes(body: &str, attributes: &[KeptAttribute]) -> usize {
    body.len() + attributes.iter().map(KeptAttribute::size_bytes).sum::<usize>()
}

/// The MD5 of a body in hex.
pub(super) fn body_md5(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// The MD5 of attributes, which come in the order of their names; none where there are none.
pub(super) fn attributes_md5<'a>(attributes: impl IntoIterator<Item = &'a KeptAttribute>) -> Option<String> {
    let mut md5 = Md5::new();
    let mut is_empty = true;
    let part = |md5: &mut Md5, bytes: &[u8]| {
        md5.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        md5.update(bytes);
    };
    for attribute in attributes {
        is_empty = false;
        part(&mut md5, attribute.name.as_bytes());
        part(&mut md5, attribute.data_type.as_bytes());
        md5.update([if attribute.is_binary() { 2 } else { 1 }]);
        part(&mut md5, &attribute.bytes());
    }
    (!is_empty).then(|| hex::encode(md5.finalize()))
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;

    use super::*;

    fn parse(given: Value) -> Result<Vec<KeptAttribute>, String> {
        let Value::Object(given) = given else { panic!("attributes are an object") };
        parse_attributes(&given).map_err(|failure| AwsError::from(failure).message)
    }

    /// Digests as AWS answered them.
    #[test]
    fn digests_are_those_of_aws() {
        let text = |value: &str| json!({"DataType": "String", "StringValue": value});
        let check = |given: Value, expected: &str| {
            assert_eq!(attributes_md5(&parse(given).unwrap()).as_deref(), Some(expected));
        };
        check(
            json!({"Hello": text("There"), "General": text("Kenobi"), "Help.Me": text("Me")}),
            "4c360f3fdafd970e05fae2f149d997f5",
        );
        check(json!({"Hello": text("There")}), "a311262e065454b75da111d535b8dacd");
        let bytes = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01";
        check(
            json!({"attr1": {"DataType": "Binary", "BinaryValue": STANDARD.encode(bytes)}}),
            "8cbe4db156db8a94db8b801b7addb984",
        );
        assert_eq!(attributes_md5(&[]), None);
        assert_eq!(body_md5(b"message-1"), "3d6b824fd8c1520e9a047d21fee6fb1f");
    }

    #[test]
    fn attributes_that_aws_refuses_are_refused() {
        let check = |given: Value, expected: &str| {
            let error = parse(given.clone()).expect_err("the attribute is to be refused");
            assert!(error.contains(expected), "{given}: {error}");
        };
        check(
            json!({"ErrorDetails": {"DataType": "String", "StringValue": ""}}),
            "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'.",
        );
        check(json!({"a": {"DataType": "Text", "StringValue": "b"}}), "supported type prefixes");
        check(json!({"a": {"DataType": "Number", "StringValue": "b"}}), "to a number");
        check(json!({"a b": {"DataType": "String", "StringValue": "b"}}), "is invalid");
        check(json!({"AWS.a": {"DataType": "String", "StringValue": "b"}}), "is invalid");
        check(json!({"a..b": {"DataType": "String", "StringValue": "b"}}), "is invalid");
        let many: Map<String, Value> =
            (0..11).map(|at| (format!("a{at}"), json!({"DataType": "String", "StringValue": "b"}))).collect();
        check(Value::Object(many), "Number of message attributes [11] exceeds the allowed maximum [10].");
        assert!(parse(json!({"a": {"DataType": "Number.int", "StringValue": "-1.5e3"}})).is_ok());
    }

    #[test]
    fn characters_that_xml_has_not_are_refused() {
        assert!(check_characters("a\t\r\n\u{10ffff}").is_ok());
        for text in ["\0", "\u{b}", "\u{fffe}"] {
            assert!(check_characters(text).is_err(), "{text:?}");
        }
    }
}
