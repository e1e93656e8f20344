//! Speaks JSON lines on standard input and output, so that botocore can judge the codec: `compat/wire` drives it.

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::EventId;
use cairn_wire::model::Protocol;
use cairn_wire::{
    AwsError, Body, BodyNeed, Checks, Exchange, Front, FrontSettings, Payload, Rejection, Reply, ReplyBody,
    Signing,
};
use http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Question {
    Decode {
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        body: String,
        signing: Option<String>,
        #[serde(default)]
        check: bool,
    },
    Encode {
        service: String,
        operation: String,
        protocol: String,
        result: Value,
        body: Option<String>,
    },
    EncodeError {
        service: String,
        operation: String,
        protocol: String,
        code: String,
        message: String,
        status: u16,
    },
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let front = Front::new(FrontSettings {
        s3_hosts: vec!["s3.example.com".to_owned()],
        buffered_body_bytes_max: BODY_BYTES_MAX,
    });
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(question) => runtime.block_on(answer(&front, question)),
            Err(error) => json!({"failed": error.to_string()}),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

async fn answer(front: &Front, question: Question) -> Value {
    match question {
        Question::Decode { method, url, headers, body, signing, check } => {
            let mut request = Request::builder().method(method.as_str()).uri(url);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            match request.body(()) {
                Ok(request) => {
                    decode(front, &request.into_parts().0, bytes(&body), signing.as_deref(), check).await
                }
                Err(error) => json!({"failed": error.to_string()}),
            }
        }
        Question::Encode { service, operation, protocol, result, body } => {
            let Some(exchange) = Exchange::for_operation(&service, &operation, named(&protocol)) else {
                return json!({"failed": "no such operation"});
            };
            let body = body.map(|body| Body::from_bytes(bytes(&body)));
            response(exchange.encode(Reply { result, body, ..Reply::default() }, &request_id())).await
        }
        Question::EncodeError { service, operation, protocol, code, message, status } => {
            let Some(exchange) = Exchange::for_operation(&service, &operation, named(&protocol)) else {
                return json!({"failed": "no such operation"});
            };
            let error = AwsError::with_status(status, code, message);
            response(exchange.encode_error(&error, &request_id(), "/path")).await
        }
    }
}

fn named(protocol: &str) -> Option<Protocol> {
    Some(match protocol {
        "json" => Protocol::Json,
        "query" => Protocol::Query,
        "ec2" => Protocol::Ec2,
        "rest-json" => Protocol::RestJson,
        "rest-xml" => Protocol::RestXml,
        "smithy-rpc-v2-cbor" => Protocol::RpcV2Cbor,
        _ => return None,
    })
}

fn request_id() -> EventId {
    EventId::from_random([7; 16])
}

fn bytes(base64: &str) -> Bytes {
    STANDARD.decode(base64).map(Bytes::from).unwrap_or_default()
}

async fn decode(
    front: &Front,
    parts: &http::request::Parts,
    body: Bytes,
    signing: Option<&str>,
    check: bool,
) -> Value {
    let signing = signing.map(|service| Signing { service, region: "us-east-1" });
    let opening = match front.open(parts, signing) {
        Ok(opening) => opening,
        Err(rejection) => return rejected(&rejection),
    };
    let need = opening.body();
    let payload = match need {
        BodyNeed::Streaming => Payload::Stream(Body::from_bytes(body)),
        BodyNeed::Buffered { .. } => Payload::Whole(body),
    };
    match opening.decode(parts, payload) {
        Ok((call, _)) => {
            if check && let Err(error) = front.check(&call, Checks::All) {
                return json!({"error": error.code, "message": error.message, "status": error.status});
            }
            let body = match call.body {
                Some(body) => Some(STANDARD.encode(drain(body).await)),
                None => None,
            };
            json!({
                "service": call.service,
                "operation": call.operation,
                "params": call.params,
                "body": body,
                "streaming": need == BodyNeed::Streaming,
            })
        }
        Err(rejection) => rejected(&rejection),
    }
}

fn rejected(rejection: &Rejection) -> Value {
    json!({
        "error": rejection.error.code,
        "message": rejection.error.message,
        "status": rejection.error.status,
        "service": rejection.exchange.service(),
        "operation": rejection.exchange.operation(),
    })
}

async fn drain(mut body: Body) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        all.extend_from_slice(&piece);
    }
    all
}

async fn response(response: Response<ReplyBody>) -> Value {
    let (parts, body) = response.into_parts();
    let body = match body {
        ReplyBody::Whole(bytes) => bytes.to_vec(),
        ReplyBody::Stream(body) => drain(body).await,
    };
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    json!({"status": parts.status.as_u16(), "headers": headers, "body": STANDARD.encode(body)})
}
