//! The HTTP bindings of restJson and restXml: members in the path, the query, headers and the status.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{Decoded, Malformed, scalar, uri};
use crate::model::{Kind, Location, Member, Service, Shape, TimestampFormat};

/// The head of a REST request, taken apart.
pub(crate) struct Head<'a> {
    /// The operation's path and query template.
    pub(crate) template: &'a str,
    pub(crate) labels: &'a [(String, String)],
    pub(crate) query: &'a [(String, String)],
    pub(crate) headers: &'a HeaderMap,
}

/// The neutral form of the members that are not in the body.
pub(crate) fn decode(service: &Service, members: &[Member], head: &Head<'_>) -> Decoded<Map<String, Value>> {
    let mut decoded = Map::new();
    for member in members {
        let shape = service.shape(member.shape);
        let value = match member.location {
            Location::Body | Location::StatusCode => None,
            Location::Uri => label(shape, member, head)?,
            Location::Query => query(service, members, shape, member, head)?,
            Location::Header => header(service, shape, member, head.headers)?,
            Location::Headers => prefixed_headers(member, head.headers),
        };
        if let Some(value) = value {
            decoded.insert(member.name.to_string(), value);
        }
    }
    Ok(decoded)
}

fn read(shape: &Shape, member: &Member, text: &str, default: TimestampFormat) -> Decoded<Value> {
    scalar::read(shape, member, text, default).map_err(|message| Malformed::Parameter {
        name: member.wire_name().to_owned(),
        value: text.to_owned(),
        message,
    })
}

fn label(shape: &Shape, member: &Member, head: &Head<'_>) -> Decoded<Option<Value>> {
    let Some((_, raw)) = head.labels.iter().find(|(name, _)| name == member.wire_name()) else {
        return Ok(None);
    };
    let text = uri::decode_path(raw).ok_or_else(|| Malformed::Parameter {
        name: member.wire_name().to_owned(),
        value: raw.clone(),
        message: "the path is not UTF-8".to_owned(),
    })?;
    read(shape, member, &text, TimestampFormat::Iso8601).map(Some)
}

fn query(
    service: &Service,
    members: &[Member],
    shape: &Shape,
    member: &Member,
    head: &Head<'_>,
) -> Decoded<Option<Value>> {
    let mut values = head.query.iter().filter(|(name, _)| name == member.wire_name()).map(|(_, value)| value);
    match &shape.kind {
        Kind::List(item) => {
            let item_shape = service.shape(item.shape);
            let values: Vec<Value> = values
                .map(|text| read(item_shape, item, text, TimestampFormat::Iso8601))
                .collect::<Decoded<_>>()?;
            Ok((!values.is_empty()).then_some(Value::Array(values)))
        }
        // A map in the query is all that neither another member nor the route has.
        Kind::Map(_, item) => {
            let literals = head.template.split_once('?').map_or("", |(_, query)| query);
            let is_literal = |name: &str| {
                literals.split('&').any(|part| part.split('=').next().is_some_and(|own| own == name))
            };
            let is_other = |name: &str| {
                is_literal(name)
                    || members.iter().any(|other| {
                        other.location == Location::Query
                            && other.wire_name() == name
                            && !matches!(service.shape(other.shape).kind, Kind::Map(..))
                    })
            };
            let is_list = matches!(service.shape(item.shape).kind, Kind::List(_));
            let mut decoded = Map::new();
            for (name, value) in head.query.iter().filter(|(name, _)| !is_other(name)) {
                match decoded.get_mut(name) {
                    Some(Value::Array(values)) => values.push(Value::from(value.as_str())),
                    Some(_) => {}
                    None if is_list => {
                        decoded.insert(name.clone(), Value::Array(vec![Value::from(value.as_str())]));
                    }
                    None => {
                        decoded.insert(name.clone(), Value::from(value.as_str()));
                    }
                }
            }
            Ok((!decoded.is_empty()).then_some(Value::Object(decoded)))
        }
        _ => values.next().map(|text| read(shape, member, text, TimestampFormat::Iso8601)).transpose(),
    }
}

/// The text of a header's value. Clients send UTF-8 beyond ASCII, as boto3 does for S3's user metadata.
pub(crate) fn header_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).trim().to_owned()
}

fn header(service: &Service, shape: &Shape, member: &Member, headers: &HeaderMap) -> Decoded<Option<Value>> {
    let Some(value) = headers.get(member.wire_name()) else { return Ok(None) };
    let text = header_text(value);
    match &shape.kind {
        Kind::List(item) => {
            let item_shape = service.shape(item.shape);
            let texts: Vec<String> = headers
                .get_all(member.wire_name())
                .iter()
                .flat_map(|value| split_list(&header_text(value)))
                .collect();
            let values = texts.iter().map(|text| read(item_shape, item, text, TimestampFormat::Rfc822));
            values.collect::<Decoded<_>>().map(|values| Some(Value::Array(values)))
        }
        Kind::String if member.is_json_value => {
            let decoded = STANDARD.decode(&text).ok().and_then(|json| serde_json::from_slice(&json).ok());
            decoded.map(Some).ok_or_else(|| Malformed::Parameter {
                name: member.wire_name().to_owned(),
                value: text,
                message: "the header is not JSON in base64".to_owned(),
            })
        }
        // A date that is none is as if it were not there (RFC 9110, 13.1.3, of If-Modified-Since).
        Kind::Timestamp => Ok(read(shape, member, &text, TimestampFormat::Rfc822).ok()),
        _ => read(shape, member, &text, TimestampFormat::Rfc822).map(Some),
    }
}

/// The items of a list in a header: separated by commas, in double quotes where they have commas themselves.
fn split_list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in text.chars() {
        match character {
            _ if is_escaped => {
                item.push(character);
                is_escaped = false;
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => items.push(std::mem::take(&mut item).trim().to_owned()),
            other => item.push(other),
        }
    }
    items.push(item.trim().to_owned());
    items
}

fn prefixed_headers(member: &Member, headers: &HeaderMap) -> Option<Value> {
    let prefix = member.wire_name().to_ascii_lowercase();
    let mut decoded = Map::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(&prefix) {
            // A repeated header is one value with commas (RFC 9110, 5.3), which S3 does too.
            let text = header_text(value);
            let joined = match decoded.get(key) {
                Some(Value::String(first)) => format!("{first},{text}"),
                _ => text,
            };
            decoded.insert(key.to_owned(), Value::String(joined));
        }
    }
    (!decoded.is_empty()).then_some(Value::Object(decoded))
}

/// Writes the members of an output that are in headers.
pub(crate) fn encode_headers(
    service: &Service,
    members: &[Member],
    result: &Map<String, Value>,
    headers: &mut HeaderMap,
) {
    for member in members {
        let Some(value) = result.get(&*member.name).filter(|value| !value.is_null()) else { continue };
        match (member.location, value) {
            (Location::Header, Value::Array(values)) => {
                if let Kind::List(item) = &service.shape(member.shape).kind {
                    let shape = service.shape(item.shape);
                    let texts: Vec<String> = values
                        .iter()
                        .filter_map(|value| scalar::write(shape, item, value, TimestampFormat::Rfc822, false))
                        .map(|text| quoted_item(&text))
                        .collect();
                    set(headers, member.wire_name(), &texts.join(","));
                }
            }
            (Location::Header, value) => {
                let shape = service.shape(member.shape);
                let text = if member.is_json_value {
                    Some(STANDARD.encode(value.to_string()))
                } else {
                    scalar::write(shape, member, value, TimestampFormat::Rfc822, false)
                };
                if let Some(text) = text {
                    set(headers, member.wire_name(), &text);
                }
            }
            (Location::Headers, Value::Object(entries)) => {
                for (name, value) in entries {
                    if let Some(text) = value.as_str() {
                        set(headers, &format!("{}{name}", member.wire_name()), text);
                    }
                }
            }
            _ => {}
        }
    }
}

fn quoted_item(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\\\"")) } else { text.to_owned() }
}

/// Sets a header. Characters that no header may have (a client can put them into an object's metadata through a form)
/// are written as spaces; a name that no header may have is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let clean: Vec<u8> = value
        .bytes()
        .map(|byte| if (byte < b' ' && byte != b'\t') || byte == 0x7f { b' ' } else { byte })
        .collect();
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&clean)) {
        (Ok(name), Ok(value)) => {
            headers.insert(name, value);
        }
        _ => tracing::warn!(header = name, "a header of a reply cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_headers_are_split_at_commas_outside_quotes() {
        assert_eq!(split_list("a, b"), ["a", "b"]);
        assert_eq!(split_list(r#""a,b","c\"d",e"#), ["a,b", "c\"d", "e"]);
        assert_eq!(quoted_item("a,b"), "\"a,b\"");
    }

    #[test]
    fn a_header_value_cannot_break_out_of_its_line() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "x-amz-meta-a", "b\r\nset-cookie: c");
        assert_eq!(headers["x-amz-meta-a"], "b  set-cookie: c");
        set(&mut headers, "x-amz-meta-\n", "b");
        assert_eq!(headers.len(), 1);
    }
}
