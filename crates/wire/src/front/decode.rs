//! A request with its body made into a call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value};

use super::find::by_version;
use super::head::Head;
use super::unpack::unpacked;
use super::{Exchange, Opening, Payload, Rejection};
use crate::codec::form::Field;
use crate::codec::{Malformed, cbor, json, query, rest, uri, xml};
use crate::model::{Kind, Location, Member, Operation, Protocol, Service, Shape};
use crate::{AwsError, Body, Call};

/// Content types of awsJson. Some clients leave the version out.
const JSON_MEDIA_TYPES: &[&str] =
    &["application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json"];

/// What stops a request on its way to a call.
enum Refusal {
    Malformed(Malformed),
    Error(AwsError),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<AwsError> for Refusal {
    fn from(error: AwsError) -> Self {
        Self::Error(error)
    }
}

type Params = Map<String, Value>;

pub(super) fn call(
    opening: Opening,
    parts: &Parts,
    payload: Payload,
) -> Result<(Call, Exchange), Box<Rejection>> {
    let facts = opening.head.facts(parts);
    let mut exchange = opening.exchange.clone();
    match decoded(&mut exchange, &opening, payload) {
        Ok((params, body)) => {
            let (service, operation) = (exchange.service(), exchange.operation());
            let call = Call {
                service: service.unwrap_or_default().to_owned(),
                operation: operation.unwrap_or_default().to_owned(),
                params: Value::Object(params),
                body,
                request: facts,
            };
            Ok((call, exchange))
        }
        Err(refusal) => {
            let error = match refusal {
                Refusal::Malformed(malformed) => exchange.malformed(&malformed),
                Refusal::Error(error) => error,
            };
            Err(Rejection::of(error, exchange))
        }
    }
}

fn decoded(
    exchange: &mut Exchange,
    opening: &Opening,
    payload: Payload,
) -> Result<(Params, Option<Body>), Refusal> {
    let head = &opening.head;
    let payload = unpacked(exchange, opening, payload)?;
    if matches!(exchange.protocol, Protocol::Query | Protocol::Ec2) {
        let params = from_form(exchange, &opening.query_candidates, head, &whole(payload)?)?;
        return Ok((params, None));
    }
    let Some(service) = exchange.service_model() else {
        return Err(exchange.unknown_operation().into());
    };
    let Some(operation) = exchange.operation_model() else {
        return Err(exchange.unknown_operation().into());
    };
    match exchange.protocol {
        Protocol::RpcV2Cbor => {
            check_media_type(exchange, head, |media_type| media_type == "application/cbor")?;
            let members = service.input(operation).map_or(&[][..], Shape::members);
            let params = object_members(service, members, cbor::parse(&whole(payload)?)?)?;
            Ok((params, None))
        }
        Protocol::Json => {
            check_media_type(exchange, head, |media_type| JSON_MEDIA_TYPES.contains(&media_type))?;
            let members = service.input(operation).map_or(&[][..], Shape::members);
            let params = json_members(service, members, &whole(payload)?)?;
            Ok((params, None))
        }
        _ => from_rest(exchange, service, operation, opening, payload),
    }
}

/// Of an operation that has no use for a stream, a stream is empty.
fn whole(payload: Payload) -> Result<Bytes, Refusal> {
    match payload {
        Payload::Whole(bytes) => Ok(bytes),
        Payload::Stream(_) => {
            Err(AwsError::internal("a stream was given for a body that is read as a whole").into())
        }
    }
}

fn check_media_type(
    exchange: &Exchange,
    head: &Head,
    is_right: impl FnOnce(&str) -> bool,
) -> Result<(), AwsError> {
    match head.media_type() {
        Some(media_type) if !media_type.is_empty() && !is_right(&media_type) => {
            Err(exchange.wrong_media_type(&media_type))
        }
        _ => Ok(()),
    }
}

fn json_members(service: &Service, members: &[Member], body: &[u8]) -> Result<Params, Malformed> {
    object_members(service, members, json::parse(body)?)
}

fn object_members(service: &Service, members: &[Member], value: Value) -> Result<Params, Malformed> {
    match value {
        Value::Object(object) => json::decode_members(service, members, object),
        Value::Null => Ok(Params::new()),
        _ => Err(Malformed::body("the body is not an object")),
    }
}

/// awsQuery: finds the operation too, which is in the form.
fn from_form(
    exchange: &mut Exchange,
    candidates: &[&'static Service],
    head: &Head,
    body: &[u8],
) -> Result<Params, Refusal> {
    let is_form =
        head.media_type().is_none_or(|media_type| media_type == "application/x-www-form-urlencoded");
    let mut fields = head.query.clone();
    if is_form {
        let not_utf8 = || Malformed::body("the form is not UTF-8");
        let text = std::str::from_utf8(body).map_err(|_| not_utf8())?;
        fields.extend(uri::pairs(text.trim_end()).ok_or_else(not_utf8)?);
    }
    let field =
        |name: &str| fields.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let action = field("Action").unwrap_or("");
    let service = by_version(candidates, field("Version"), action);
    *exchange = exchange.clone().with_service(service);
    let Some(operation) = service.operation(action) else {
        *exchange = exchange.clone().with_unknown_operation(action);
        return Err(exchange.unknown_operation().into());
    };
    *exchange = exchange.clone().with_operation(operation);
    let members = service.input(operation).map_or(&[][..], Shape::members);
    let reader = query::Reader { service, protocol: exchange.protocol };
    let mut params = reader.members(members, &Field::tree(fields)?)?;
    if &*service.name == "sqs" {
        adopt_queue(members, head, &mut params);
    }
    Ok(params)
}

/// A form that is sent to the URL of an SQS queue is about that queue.
fn adopt_queue(members: &[Member], head: &Head, params: &mut Params) {
    const QUEUE_URL: &str = "QueueUrl";
    let takes_one = members.iter().any(|member| &*member.name == QUEUE_URL);
    let is_named = head.segments.iter().any(|segment| !segment.is_empty());
    if takes_one && is_named && !params.contains_key(QUEUE_URL) {
        params
            .insert(QUEUE_URL.to_owned(), format!("http://{}/{}", head.host, head.segments.join("/")).into());
    }
}

/// A request of restJson or restXml.
struct Rest<'a> {
    exchange: &'a Exchange,
    service: &'static Service,
    input: &'static Shape,
    head: &'a Head,
}

fn from_rest(
    exchange: &Exchange,
    service: &'static Service,
    operation: &Operation,
    opening: &Opening,
    payload: Payload,
) -> Result<(Params, Option<Body>), Refusal> {
    let Some(input) = service.input(operation) else { return Ok((Params::new(), None)) };
    let head = &opening.head;
    let bound = rest::Head {
        template: &operation.uri,
        labels: &opening.labels,
        query: &head.query,
        headers: &head.headers,
    };
    let mut params = rest::decode(service, input.members(), &bound)?;
    if service.streaming_input(operation).is_some() {
        let body = match payload {
            Payload::Whole(bytes) => Body::from_bytes(bytes),
            Payload::Stream(body) => body,
        };
        return Ok((params, Some(body)));
    }
    let body = whole(payload)?;
    let rest = Rest { exchange, service, input, head };
    if let Some(member) = input.payload() {
        if let Some(value) = rest.payload(member, &body)? {
            params.insert(member.name.to_string(), value);
        }
    } else if input.members().iter().any(|member| member.location == Location::Body) {
        params.extend(rest.members(&body)?);
    }
    Ok((params, None))
}

impl Rest<'_> {
    /// The member that is the whole body.
    fn payload(&self, member: &Member, body: &[u8]) -> Result<Option<Value>, Refusal> {
        if body.is_empty() {
            return Ok(None);
        }
        let shape = self.service.shape(member.shape);
        Ok(match &shape.kind {
            _ if member.is_event_stream => return Err(self.exchange.unsupported().into()),
            Kind::Blob => Some(Value::String(STANDARD.encode(body))),
            Kind::String => {
                let text = std::str::from_utf8(body).map_err(|_| Malformed::body("the body is not UTF-8"))?;
                Some(Value::from(text))
            }
            _ if self.exchange.protocol == Protocol::RestJson => {
                self.check_json()?;
                match json::parse(body)? {
                    Value::Null => None,
                    value => Some(json::decode(self.service, shape, Some(member), value)?),
                }
            }
            _ if body.trim_ascii().is_empty() => None,
            _ => {
                let root = xml::parse(body)?;
                if let Some(name) = member.location_name.as_deref().filter(|name| *name != root.name()) {
                    return Err(Malformed::body(format!("the root element is not {name}")).into());
                }
                Some(xml::decode(self.service, shape, member, &root)?)
            }
        })
    }

    /// The members that are in the body, of an input without payload.
    fn members(&self, body: &[u8]) -> Result<Params, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Params::new());
        }
        if self.exchange.protocol == Protocol::RestJson {
            self.check_json()?;
            return Ok(json_members(self.service, self.input.members(), body)?);
        }
        Ok(xml::decode_members(self.service, self.input.members(), &xml::parse(body)?)?)
    }

    /// A body that is JSON says so, unless the content type is a member of the operation and so means something else.
    fn check_json(&self) -> Result<(), AwsError> {
        let is_member = |member: &Member| {
            member.location == Location::Header && member.wire_name().eq_ignore_ascii_case("content-type")
        };
        if self.input.members().iter().any(is_member) {
            return Ok(());
        }
        check_media_type(self.exchange, self.head, |media_type| {
            media_type.starts_with("application/") && media_type.contains("json")
        })
    }
}
