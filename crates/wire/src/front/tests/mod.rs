//! The front from bytes to bytes. Agreement with AWS's clients over every operation is `compat/wire`'s matter; here is
//! what those clients do not send, and what they do not look at.

mod hostile;
mod replies;
mod requests;

use bytes::Bytes;
use cairn_core::EventId;
use http::Request;
use http::request::Parts;

use super::*;

const LIMIT_BYTES: usize = 1024 * 1024;

fn front() -> Front {
    Front::new(FrontSettings {
        s3_hosts: vec!["localhost".into(), "s3.example.com".into()],
        buffered_body_bytes_max: LIMIT_BYTES,
    })
}

fn request_id() -> EventId {
    "0123abcd-4567-4890-abcd-ef0123456789".parse().unwrap()
}

/// A request in a few lines of text: `METHOD target`, headers, an empty line, the body. Signed for `service`, unless
/// that is empty.
struct Sent {
    parts: Parts,
    body: Bytes,
    service: String,
}

impl Sent {
    fn new(service: &str, text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        Self { parts, body: Bytes::copy_from_slice(body.as_bytes()), service: service.to_owned() }
    }

    fn call(&self) -> Result<(Call, Exchange), Box<Rejection>> {
        let signing = Signing { service: &self.service, region: "eu-west-1" };
        let opening = front().open(&self.parts, (!self.service.is_empty()).then_some(signing))?;
        let payload = match opening.body() {
            BodyNeed::Buffered { .. } => Payload::Whole(self.body.clone()),
            BodyNeed::Streaming => Payload::Stream(Body::from_bytes(self.body.clone())),
        };
        opening.decode(&self.parts, payload)
    }
}

/// Status, headers and body as text.
fn text(response: http::Response<ReplyBody>) -> String {
    let (parts, body) = response.into_parts();
    let mut text = format!("{}\n", parts.status.as_u16());
    for (name, value) in &parts.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    match body {
        ReplyBody::Whole(bytes) => text.push_str(&format!("\n{}", String::from_utf8_lossy(&bytes))),
        ReplyBody::Stream(body) => text.push_str(&format!("\nstream of {:?}", body.length_bytes())),
    }
    text
}
