//! The codec: any head and body, of every protocol.
//!
//! The first byte chooses a service and with it a protocol; its highest bit says whether the head is written out
//! (`METHOD URI` and headers) or made for the operation that the next two bytes choose, with the lines of the input as
//! further headers, or `?` and a query.

use bytes::Bytes;
use cairn_core::EventId;
use cairn_wire::model::{Models, Operation, Service};
use cairn_wire::{
    Body, BodyNeed, Call, Checks, Exchange, Front, FrontSettings, Payload, Rejection, Reply, Signing,
};
use http::request::Parts;

use crate::request::{head, head_with_line, lines_and_rest};

/// The protocols, each by a service that speaks it; none is an unsigned request.
pub const SERVICES: [(Option<&str>, Wire); 10] = [
    (Some("cloudtrail"), Wire::Json),
    (Some("dynamodb"), Wire::Json),
    (Some("monitoring"), Wire::Cbor),
    (Some("iam"), Wire::Form),
    (Some("sts"), Wire::Form),
    (Some("ec2"), Wire::Form),
    (Some("lambda"), Wire::Rest),
    (Some("s3"), Wire::Rest),
    (Some("route53"), Wire::Rest),
    (None, Wire::Rest),
];

/// Where a request says what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// In the header `x-amz-target`.
    Json,
    /// In the path of rpcv2Cbor.
    Cbor,
    /// In a form.
    Form,
    /// In method and path.
    Rest,
}

const WRITTEN_OUT: u8 = 0x80;
const BUFFERED_BODY_BYTES_MAX: usize = 1 << 20;

/// One request, decoded, checked and answered.
///
/// # Panics
/// Where decoding it twice makes two things of it, a call has no operation of its service, or an answer is no answer.
pub fn run(data: &[u8]) {
    let [choice, low, high, rest @ ..] = data else { return };
    let (service, wire) = SERVICES[usize::from(choice & !WRITTEN_OUT) % SERVICES.len()];
    let (lines, body) = lines_and_rest(rest);
    let parts = if choice & WRITTEN_OUT != 0 {
        head_with_line(lines)
    } else {
        made_head(service.unwrap_or("s3"), wire, u16::from_le_bytes([*low, *high]), lines)
    };
    let Some(parts) = parts else { return };
    let front = Front::new(FrontSettings {
        s3_hosts: vec!["localhost".into(), "s3.example.com".into()],
        buffered_body_bytes_max: BUFFERED_BODY_BYTES_MAX,
    });
    let signing = service.map(|service| Signing { service, region: "eu-west-1" });
    let request_id: EventId = "0123abcd-4567-4890-abcd-ef0123456789".parse().expect("a UUID");
    match (call(&front, &parts, signing, body), call(&front, &parts, signing, body)) {
        (Ok((call, exchange)), Ok((again, _))) => {
            assert_eq!(call.params, again.params, "decoded twice, two calls");
            let model = Models::embedded().service(&call.service).expect("a call is of a service");
            assert!(model.operation(&call.operation).is_some(), "{} {}", call.service, call.operation);
            for checks in [Checks::Structure, Checks::All] {
                if let Err(error) = front.check(&call, checks) {
                    let response = exchange.encode_error(&error, &request_id, parts.uri.path());
                    assert!(response.status().is_client_error(), "{error}");
                }
            }
            let response = exchange.encode(Reply::empty(), &request_id);
            assert!(!response.status().is_server_error(), "{} {}", call.service, call.operation);
        }
        (Err(rejection), Err(again)) => {
            let Rejection { error, exchange } = *rejection;
            assert_eq!((&error.code, error.status), (&again.error.code, again.error.status));
            assert!((400..600).contains(&error.status), "{error}");
            let response = exchange.encode_error(&error, &request_id, parts.uri.path());
            assert!(!response.status().is_success(), "{error}");
        }
        (first, second) => panic!("decoded twice: {first:?}, {second:?}"),
    }
}

fn call(
    front: &Front,
    parts: &Parts,
    signing: Option<Signing<'_>>,
    body: &[u8],
) -> Result<(Call, Exchange), Box<Rejection>> {
    let opening = front.open(parts, signing)?;
    let body = Bytes::copy_from_slice(body);
    let payload = match opening.body() {
        BodyNeed::Buffered { .. } => Payload::Whole(body),
        BodyNeed::Streaming => Payload::Stream(Body::from_bytes(body)),
    };
    opening.decode(parts, payload)
}

/// A head for the operation that `choice` chooses.
fn made_head(service: &str, wire: Wire, choice: u16, lines: &[u8]) -> Option<Parts> {
    let service = Models::embedded().service(service).or_else(|| signed_as(service))?;
    let operation = &service.operations()[usize::from(choice) % service.operations().len()];
    let (mut query, mut headers) = (Vec::new(), Vec::new());
    for line in lines.split(|byte| *byte == b'\n') {
        match line.strip_prefix(b"?") {
            Some(text) => query.extend_from_slice(text),
            None => headers.extend([line, b"\n"].concat()),
        }
    }
    let (method, mut uri) = match wire {
        Wire::Json => {
            let target = format!("x-amz-target: {}.{}\n", service.target_prefix.as_deref()?, operation.name);
            headers.extend_from_slice(target.as_bytes());
            ("POST", "/".to_owned())
        }
        Wire::Cbor => {
            headers.extend_from_slice(b"smithy-protocol: rpc-v2-cbor\n");
            let prefix = service.target_prefix.as_deref()?;
            ("POST", format!("/service/{prefix}/operation/{}", operation.name))
        }
        Wire::Form => {
            headers.extend_from_slice(b"content-type: application/x-www-form-urlencoded\n");
            ("POST", format!("/?Action={}&Version={}", operation.name, service.api_version))
        }
        Wire::Rest => (&*operation.method, filled(operation)),
    };
    if !query.is_empty() {
        uri.push(if uri.contains('?') { '&' } else { '?' });
    }
    head(method.as_bytes(), &[uri.as_bytes(), &query].concat(), &headers)
}

fn signed_as(name: &str) -> Option<&'static Service> {
    Models::embedded().by_signing_name(name).first().copied()
}

/// The operation's URI with something for each label.
fn filled(operation: &Operation) -> String {
    let mut uri = String::new();
    let mut rest = &*operation.uri;
    while let Some((before, after)) = rest.split_once('{') {
        let (_, after) = after.split_once('}').unwrap_or(("", ""));
        uri.push_str(before);
        uri.push_str("label");
        rest = after;
    }
    uri + rest
}
