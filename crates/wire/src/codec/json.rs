//! JSON bodies: awsJson and restJson.

use serde_json::{Map, Value};

use super::{Decoded, Malformed, scalar, timestamp};
use crate::model::{Kind, Location, Member, Service, Shape, TimestampFormat};

/// The JSON object of a body; an empty body is an empty object.
pub(crate) fn parse(body: &[u8]) -> Decoded<Value> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    // serde_json refuses more than 128 levels, so a hostile body cannot exhaust the stack.
    serde_json::from_slice(body).map_err(|error| Malformed::body(error.to_string()))
}

/// The neutral form of a JSON value of a shape. Members that the model does not have are left out, as AWS does.
pub(crate) fn decode(
    service: &Service,
    shape: &Shape,
    member: Option<&Member>,
    value: Value,
) -> Decoded<Value> {
    match (&shape.kind, value) {
        (Kind::Document, value) => Ok(value),
        (Kind::Structure { members, .. }, Value::Object(object)) => {
            decode_members(service, members, object).map(Value::Object)
        }
        (Kind::List(item), Value::Array(values)) => {
            let shape = service.shape(item.shape);
            let values = values.into_iter().map(|value| nullable(service, shape, item, value));
            values.collect::<Decoded<_>>().map(Value::Array)
        }
        (Kind::Map(_, item), Value::Object(object)) => {
            let shape = service.shape(item.shape);
            let entries =
                object.into_iter().map(|(key, value)| Ok((key, nullable(service, shape, item, value)?)));
            entries.collect::<Decoded<_>>().map(Value::Object)
        }
        (Kind::String, value) if member.is_some_and(|member| member.is_json_value) => Ok(value),
        (Kind::String, Value::String(text)) => Ok(Value::String(text)),
        (Kind::Boolean, Value::Bool(value)) => Ok(Value::Bool(value)),
        (Kind::Integer | Kind::Long, Value::Number(number)) => integer(&number).ok_or_else(|| {
            Malformed::body(format!("NUMBER_VALUE {number} can not be converted to {}", expected(shape)))
        }),
        (Kind::Double, Value::Number(number)) => Ok(Value::Number(number)),
        (Kind::Double, Value::String(text)) if matches!(&*text, "NaN" | "Infinity" | "-Infinity") => {
            Ok(Value::String(text))
        }
        (Kind::Timestamp, Value::Number(number)) => timestamp::from_number(&number)
            .map(timestamp::to_value)
            .ok_or_else(|| Malformed::body("NUMBER_VALUE is out of the range of timestamps")),
        (Kind::Timestamp, Value::String(text)) => {
            let format = member.and_then(|member| member.timestamp_format).unwrap_or(TimestampFormat::Unix);
            timestamp::read(&text, format)
                .filter(|_| format != TimestampFormat::Unix)
                .map(timestamp::to_value)
                .ok_or_else(|| {
                    Malformed::body("STRING_VALUE can not be converted to milliseconds since epoch")
                })
        }
        (Kind::Blob, Value::String(text)) => {
            let empty = Member::anonymous();
            scalar::read(shape, &empty, &text, TimestampFormat::Unix).map_err(Malformed::Body)
        }
        (_, value) => Err(mismatch(shape, &value)),
    }
}

/// The body's members of a structure.
pub(crate) fn decode_members(
    service: &Service,
    members: &[Member],
    mut object: Map<String, Value>,
) -> Decoded<Map<String, Value>> {
    let mut decoded = Map::new();
    for member in members.iter().filter(|member| member.location == Location::Body) {
        match object.swap_remove(member.wire_name()) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let value = decode(service, service.shape(member.shape), Some(member), value)?;
                decoded.insert(member.name.to_string(), value);
            }
        }
    }
    Ok(decoded)
}

fn nullable(service: &Service, shape: &Shape, member: &Member, value: Value) -> Decoded<Value> {
    if value.is_null() { Ok(value) } else { decode(service, shape, Some(member), value) }
}

/// A whole number, also one that is written with a fraction of zero.
fn integer(number: &serde_json::Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(Value::Number(number.clone()));
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15)?;
    #[expect(clippy::cast_possible_truncation, reason = "held to 9e15 and without fraction")]
    Some(Value::from(float as i64))
}

/// What AWS's own deserialiser says of a value of the wrong type.
fn mismatch(shape: &Shape, value: &Value) -> Malformed {
    let found = match value {
        Value::Object(_) => return Malformed::body("Start of structure or map found where not expected."),
        Value::Array(_) => return Malformed::body("Start of list found where not expected"),
        Value::String(_) => "STRING_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Null => "NULL_VALUE",
    };
    match shape.kind {
        Kind::List(_) => Malformed::body("Expected list or null"),
        Kind::Structure { .. } | Kind::Map(..) => Malformed::body("Expected structure or map or null"),
        _ => Malformed::body(format!("{found} can not be converted to {}", expected(shape))),
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape.kind {
        Kind::String => "a String",
        Kind::Boolean => "a Boolean",
        Kind::Integer => "an Integer",
        Kind::Long => "a Long",
        Kind::Double => "a Double",
        Kind::Timestamp => "milliseconds since epoch",
        Kind::Blob => "a Blob",
        Kind::Structure { .. } | Kind::List(_) | Kind::Map(..) | Kind::Document => "a structure",
    }
}

/// The JSON of a neutral value. Members that the model does not have, and nulls, are left out.
pub(crate) fn encode(service: &Service, shape: &Shape, member: Option<&Member>, value: &Value) -> Value {
    match (&shape.kind, value) {
        (Kind::Structure { members, .. }, Value::Object(object)) => {
            Value::Object(encode_members(service, members, object))
        }
        (Kind::List(item), Value::Array(values)) => {
            let shape = service.shape(item.shape);
            Value::Array(values.iter().map(|value| encode(service, shape, Some(item), value)).collect())
        }
        (Kind::Map(_, item), Value::Object(object)) => {
            let shape = service.shape(item.shape);
            let entries =
                object.iter().map(|(key, value)| (key.clone(), encode(service, shape, Some(item), value)));
            Value::Object(entries.collect())
        }
        (Kind::Timestamp, Value::Number(number)) => match member.and_then(|member| member.timestamp_format) {
            None | Some(TimestampFormat::Unix) => value.clone(),
            Some(format) => match timestamp::from_number(number) {
                Some(ms) => Value::String(timestamp::write(ms, format, false)),
                None => Value::Null,
            },
        },
        (_, value) => value.clone(),
    }
}

/// The JSON object of a structure's members that are in the body.
pub(crate) fn encode_members(
    service: &Service,
    members: &[Member],
    object: &Map<String, Value>,
) -> Map<String, Value> {
    members
        .iter()
        .filter(|member| member.location == Location::Body)
        .filter_map(|member| {
            let value = object.get(&*member.name).filter(|value| !value.is_null())?;
            let value = encode(service, service.shape(member.shape), Some(member), value);
            Some((member.wire_name().to_owned(), value))
        })
        .collect()
}
