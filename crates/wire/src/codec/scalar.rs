//! Values that are one text in XML, forms, paths and headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::timestamp;
use crate::model::{Kind, Member, Shape, TimestampFormat};

/// The neutral form of `text`, a value of a scalar shape; the message of what is wrong with it otherwise.
pub(crate) fn read(
    shape: &Shape,
    member: &Member,
    text: &str,
    default: TimestampFormat,
) -> Result<Value, String> {
    match &shape.kind {
        Kind::String => Ok(Value::from(text)),
        Kind::Boolean => match text.trim() {
            "true" | "True" | "TRUE" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "0" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is not a boolean")),
        },
        Kind::Integer | Kind::Long => {
            text.trim().parse::<i64>().map(Value::from).map_err(|_| format!("{text:?} is not an integer"))
        }
        Kind::Double => double(text.trim()).ok_or_else(|| format!("{text:?} is not a number")),
        Kind::Timestamp => timestamp::read(text, member.timestamp_format.unwrap_or(default))
            .map(timestamp::to_value)
            .ok_or_else(|| format!("{text:?} is not a timestamp")),
        Kind::Blob => {
            let text: String = text.split_ascii_whitespace().collect();
            STANDARD
                .decode(&text)
                .map(|_| Value::from(text))
                .map_err(|_| "a blob is not base64 text".to_owned())
        }
        Kind::Structure { .. } | Kind::List(_) | Kind::Map(..) | Kind::Document => {
            Err("text found where a structure, a list or a map was expected".to_owned())
        }
    }
}

/// A floating-point number; those that JSON cannot write stay text.
fn double(text: &str) -> Option<Value> {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Some(Value::from(text));
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // A number without fraction stays one, so that 1 is not read back as 1.0.
    text.parse::<i64>().ok().map(Value::from).or_else(|| Number::from_f64(number).map(Value::Number))
}

/// The text of a neutral scalar. `None` for values that have no text.
pub(crate) fn write(
    shape: &Shape,
    member: &Member,
    value: &Value,
    default: TimestampFormat,
    with_millis: bool,
) -> Option<String> {
    match (&shape.kind, value) {
        (Kind::Timestamp, Value::Number(number)) => {
            let ms = timestamp::from_number(number)?;
            Some(timestamp::write(ms, member.timestamp_format.unwrap_or(default), with_millis))
        }
        (_, Value::String(text)) => Some(text.clone()),
        (_, Value::Bool(value)) => Some(value.to_string()),
        (_, Value::Number(number)) => Some(number.to_string()),
        (_, Value::Null | Value::Array(_) | Value::Object(_)) => None,
    }
}
