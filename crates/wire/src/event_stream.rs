//! Replies that go on: events one after the other in one body, `application/vnd.amazon.eventstream`.
//!
//! On the road: a handler gives [`Events`], which the exchange writes in the caller's protocol, a frame each. A frame:
//! its length, its headers' length, the CRC-32 of both; the headers; the payload; the CRC-32 of all before. Numbers are
//! big-endian. The first frame is `initial-response` with the reply's other members, as RPC protocols want it.
//! Source: Smithy's event stream specification, and botocore's `eventstream.py`, which the tests read with.

use async_trait::async_trait;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use serde_json::{Map, Value};

use crate::codec::{cbor, json};
use crate::model::{Protocol, Service, Shape};
use crate::{AwsError, BodyError, BodySource};

/// The media type of such a body.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";
/// The type of a header's value that is a text.
const TEXT: u8 = 7;
/// Bytes of a frame around its headers and payload: three numbers before, one after.
const FRAME_OVERHEAD_BYTES: usize = 16;

/// One event of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The member of the stream's shape: `sessionUpdate`.
    pub name: &'static str,
    /// The event, an object of the model's member names.
    pub value: Value,
}

/// Where the events of a reply come from.
#[async_trait]
pub trait Events: Send {
    /// The next event; none at the end. An error is the stream's last word: the client sees it as the exception of that
    /// code.
    async fn next(&mut self) -> Option<Result<Event, AwsError>>;
}

/// Events as they are written.
pub(crate) struct Frames {
    pub(crate) service: &'static Service,
    pub(crate) protocol: Protocol,
    pub(crate) content_type: &'static str,
    /// The stream's shape, whose members are the events.
    pub(crate) stream: &'static Shape,
    /// The frame that comes before all events.
    pub(crate) first: Option<Bytes>,
    /// None after the end.
    pub(crate) events: Option<Box<dyn Events>>,
}

#[async_trait]
impl BodySource for Frames {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        match self.events.as_mut()?.next().await {
            Some(Ok(event)) => Some(Ok(self.event(&event))),
            Some(Err(error)) => {
                self.events = None;
                Some(Ok(self.exception(&error)))
            }
            None => {
                self.events = None;
                None
            }
        }
    }
}

impl Frames {
    fn event(&self, event: &Event) -> Bytes {
        let member = self.stream.members().iter().find(|member| &*member.name == event.name);
        let members = member.map_or(&[][..], |member| self.service.shape(member.shape).members());
        let empty = Map::new();
        let value = event.value.as_object().unwrap_or(&empty);
        frame(
            &[(":message-type", "event"), (":event-type", event.name), (":content-type", self.content_type)],
            &payload(self.service, self.protocol, members, value),
        )
    }

    fn exception(&self, error: &AwsError) -> Bytes {
        let names = |member: &&crate::model::Member| *self.service.shape(member.shape).name == *error.code;
        let Some(member) = self.stream.members().iter().find(names) else {
            return frame(
                &[
                    (":message-type", "error"),
                    (":error-code", &error.code),
                    (":error-message", &error.message),
                ],
                &[],
            );
        };
        let shape = self.service.shape(member.shape);
        let text = shape.members().iter().find(|member| member.name.eq_ignore_ascii_case("message"));
        let value = text.map(|member| (member.name.to_string(), Value::from(error.message.as_str())));
        frame(
            &[
                (":message-type", "exception"),
                (":exception-type", &member.name),
                (":content-type", self.content_type),
            ],
            &payload(self.service, self.protocol, shape.members(), &value.into_iter().collect()),
        )
    }
}

/// The frame before all events: the members of the output that are no stream.
pub(crate) fn initial_response(content_type: &str, payload: &[u8]) -> Bytes {
    frame(
        &[(":message-type", "event"), (":event-type", "initial-response"), (":content-type", content_type)],
        payload,
    )
}

pub(crate) fn payload(
    service: &Service,
    protocol: Protocol,
    members: &[crate::model::Member],
    value: &Map<String, Value>,
) -> Vec<u8> {
    match protocol {
        Protocol::RpcV2Cbor => cbor::encode(service, members, value),
        _ => serde_json::to_vec(&json::encode_members(service, members, value))
            .expect("JSON values have text keys only"),
    }
}

/// A frame of text headers and a payload. What of a header's value is over its limit of 65,535 bytes is cut.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let mut block = Vec::new();
    for (name, value) in headers {
        let value = &value.as_bytes()[..value.floor_char_boundary(usize::from(u16::MAX))];
        block.push(u8::try_from(name.len()).expect("names of headers are short"));
        block.extend_from_slice(name.as_bytes());
        block.push(TEXT);
        block.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        block.extend_from_slice(value);
    }
    let length = FRAME_OVERHEAD_BYTES + block.len() + payload.len();
    let number = |length: usize| u32::try_from(length).expect("an event is far below 4 GiB").to_be_bytes();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&number(length));
    out.extend_from_slice(&number(block.len()));
    out.extend_from_slice(&crc(&out));
    out.extend_from_slice(&block);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc(&out));
    Bytes::from(out)
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes);
    u32::try_from(sum).expect("a CRC-32 has 32 bits").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_laid_out_as_the_specification_says() {
        // botocore's test vector `empty_message`, and one whose sums botocore's parser agreed with.
        assert_eq!(hex::encode(frame(&[], b"")), "000000100000000005c248eb7d98c8ff");
        assert_eq!(
            hex::encode(frame(&[], b"{'foo':'bar'}")),
            "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936"
        );
    }

    #[test]
    fn headers_are_texts_with_their_lengths() {
        let framed = frame(&[(":a", "bc")], b"");
        assert_eq!(&framed[12..20], b"\x02:a\x07\x00\x02bc");
        assert_eq!(framed.len(), 24);
    }
}
