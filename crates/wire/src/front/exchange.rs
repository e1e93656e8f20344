//! One request and its answer: knows the protocol, so that the reply is written as the caller expects it.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::EventId;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};

use super::error_document;
use crate::codec::{cbor, json, query, rest, xml};
use crate::event_stream::{self, Events};
use crate::model::{Kind, Location, Member, Models, Operation, Protocol, Service, Shape};
use crate::{AwsError, Body, Reply};

/// The body of an answer, for the door to hand to its HTTP library.
#[derive(Debug)]
pub enum ReplyBody {
    /// All there.
    Whole(Bytes),
    /// A stream; its length is in the `content-length` header where it is known.
    Stream(Body),
}

/// Knows the service, the operation and the protocol of a request.
#[derive(Clone, Debug)]
pub struct Exchange {
    service: Option<&'static Service>,
    operation: Option<&'static Operation>,
    /// What the client called the operation, where the model does not have it.
    unknown_operation: Option<String>,
    pub(super) protocol: Protocol,
    is_head: bool,
}

/// The root elements of S3's replies that are not named as their shapes are.
const S3_ROOTS: &[(&str, &str)] = &[
    ("CompleteMultipartUpload", "CompleteMultipartUploadResult"),
    ("CreateMultipartUpload", "InitiateMultipartUploadResult"),
    ("DeleteObjects", "DeleteResult"),
    ("GetBucketAccelerateConfiguration", "AccelerateConfiguration"),
    ("GetBucketAcl", "AccessControlPolicy"),
    ("GetBucketCors", "CORSConfiguration"),
    ("GetBucketLifecycleConfiguration", "LifecycleConfiguration"),
    ("GetBucketLogging", "BucketLoggingStatus"),
    ("GetBucketNotificationConfiguration", "NotificationConfiguration"),
    ("GetBucketRequestPayment", "RequestPaymentConfiguration"),
    ("GetBucketTagging", "Tagging"),
    ("GetBucketVersioning", "VersioningConfiguration"),
    ("GetBucketWebsite", "WebsiteConfiguration"),
    ("GetObjectAcl", "AccessControlPolicy"),
    ("GetObjectAttributes", "GetObjectAttributesResponse"),
    ("GetObjectTagging", "Tagging"),
    ("ListBuckets", "ListAllMyBucketsResult"),
    ("ListMultipartUploads", "ListMultipartUploadsResult"),
    ("ListObjectVersions", "ListVersionsResult"),
    ("ListObjects", "ListBucketResult"),
    ("ListObjectsV2", "ListBucketResult"),
    ("ListParts", "ListPartsResult"),
];

pub(super) const CBOR_MEDIA_TYPE: &str = "application/cbor";

/// What a REST output becomes.
struct RestBody {
    bytes: Vec<u8>,
    content_type: &'static str,
}

impl Exchange {
    pub(super) fn new(service: &'static Service, protocol: Protocol, is_head: bool) -> Self {
        Self { service: Some(service), operation: None, unknown_operation: None, protocol, is_head }
    }

    pub(super) fn without_service(protocol: Protocol, is_head: bool) -> Self {
        Self { service: None, operation: None, unknown_operation: None, protocol, is_head }
    }

    /// The exchange of an operation, for those who have no request: tests, and replies that are made elsewhere.
    #[must_use]
    pub fn for_operation(service: &str, operation: &str, protocol: Option<Protocol>) -> Option<Self> {
        let service = Models::embedded().service(service)?;
        let protocol = protocol.or(service.protocols.first().copied())?;
        Some(Self::new(service, protocol, false).with_operation(service.operation(operation)?))
    }

    pub(super) fn with_service(mut self, service: &'static Service) -> Self {
        self.service = Some(service);
        self
    }

    pub(super) fn with_operation(mut self, operation: &'static Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    pub(super) fn with_unknown_operation(mut self, name: &str) -> Self {
        self.unknown_operation = (!name.is_empty()).then(|| name.to_owned());
        self
    }

    pub(super) fn service_model(&self) -> Option<&'static Service> {
        self.service
    }

    pub(super) fn operation_model(&self) -> Option<&'static Operation> {
        self.operation
    }

    pub(super) fn is_s3(&self) -> bool {
        self.service.is_some_and(|service| &*service.name == "s3")
    }

    /// The model's name of the service, where it is known.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.service.map(|service| &*service.name)
    }

    /// The operation's name, where it is known; also of one that the model does not have, as the client wrote it.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.operation.map(|operation| &*operation.name).or(self.unknown_operation.as_deref())
    }

    /// Whether the model has the operation: what it has not is answered, but is no API call.
    #[must_use]
    pub fn knows_operation(&self) -> bool {
        self.operation.is_some()
    }

    /// The request's id as the service writes it, in the reply and in the record: a UUID, of S3 16 characters.
    #[must_use]
    pub fn request_id_text(&self, request_id: &EventId) -> String {
        if !self.is_s3() {
            return request_id.to_string();
        }
        Self::s3_request_id_text(request_id)
    }

    /// S3's request id, `x-amz-request-id`: 16 characters.
    #[must_use]
    pub fn s3_request_id_text(request_id: &EventId) -> String {
        request_id.as_str().chars().filter(|c| *c != '-').take(16).collect::<String>().to_ascii_uppercase()
    }

    /// S3's second request id, `x-amz-id-2`; follows from the first.
    #[must_use]
    pub fn host_id_text(request_id: &EventId) -> String {
        STANDARD.encode(digest::digest(&digest::SHA384, request_id.as_str().as_bytes()))
    }

    /// The reply in the caller's protocol.
    #[must_use]
    pub fn encode(&self, reply: Reply, request_id: &EventId) -> Response<ReplyBody> {
        let (Some(service), Some(operation)) = (self.service, self.operation) else {
            let error = AwsError::internal("a reply to a request without operation");
            return self.encode_error(&error, request_id, "");
        };
        let Reply { result, body, events, status } = reply;
        let result = match result {
            Value::Object(result) => result,
            _ => Map::new(),
        };
        let mut headers = self.id_headers(request_id);
        let members = service.output(operation).map_or(&[][..], Shape::members);
        let mut status = status.unwrap_or(status_of(operation, members, &result));
        let whole = match self.protocol {
            Protocol::RpcV2Cbor => {
                RestBody { bytes: cbor::encode(service, members, &result), content_type: CBOR_MEDIA_TYPE }
            }
            Protocol::Json => RestBody {
                bytes: json_bytes(&json::encode_members(service, members, &result)),
                content_type: self.json_content_type(),
            },
            Protocol::Query | Protocol::Ec2 => {
                let id = request_id.as_str();
                let document = query::encode(service, self.protocol, operation, &result, id);
                RestBody { bytes: document.into_bytes(), content_type: "text/xml" }
            }
            Protocol::RestJson | Protocol::RestXml => {
                rest::encode_headers(service, members, &result, &mut headers);
                status = status_member(members, &result).unwrap_or(status);
                self.rest_body(service, operation, &result)
            }
        };
        if let Some(events) = events {
            return self.respond_events(status, headers, whole, events);
        }
        match body {
            Some(body) => self.respond_stream(status, headers, body),
            None => self.respond(status, headers, whole),
        }
    }

    /// The reply goes on: `whole` is what the first frame says, in the protocols that have one.
    fn respond_events(
        &self,
        status: u16,
        mut headers: HeaderMap,
        whole: RestBody,
        events: Box<dyn Events>,
    ) -> Response<ReplyBody> {
        let members =
            self.service.zip(self.operation).and_then(|(service, operation)| service.output(operation));
        let stream = members.and_then(|output| output.members().iter().find(|member| member.is_event_stream));
        let (Some(service), Some(stream)) = (self.service, stream) else {
            tracing::error!(operation = self.operation(), "a reply has events, and the model has none");
            return self.respond(status, headers, whole);
        };
        let is_rest = matches!(self.protocol, Protocol::RestJson | Protocol::RestXml);
        rest::set(&mut headers, CONTENT_TYPE.as_str(), event_stream::MEDIA_TYPE);
        let frames = event_stream::Frames {
            service,
            protocol: self.protocol,
            content_type: if is_rest { "application/json" } else { whole.content_type },
            stream: service.shape(stream.shape),
            first: (!is_rest).then(|| event_stream::initial_response(whole.content_type, &whole.bytes)),
            events: Some(events),
        };
        self.respond_stream(status, headers, Body::new(frames, None))
    }

    /// The error in the caller's protocol. `resource` is what S3 shows as the error's `Resource`: the request's path.
    #[must_use]
    pub fn encode_error(
        &self,
        error: &AwsError,
        request_id: &EventId,
        resource: &str,
    ) -> Response<ReplyBody> {
        let mut headers = self.id_headers(request_id);
        let shape = self.service.and_then(|service| service.error(self.operation, &error.code));
        let document = error_document::Document {
            exchange: self,
            error,
            shape,
            request_id: &self.request_id_text(request_id),
            host_id: &Self::host_id_text(request_id),
            resource,
        };
        let status = document.status();
        let (bytes, content_type) = document.write(&mut headers);
        self.respond(status, headers, RestBody { bytes, content_type })
    }

    pub(super) fn json_content_type(&self) -> &'static str {
        match self.service.and_then(|service| service.json_version.as_deref()) {
            Some("1.0") => "application/x-amz-json-1.0",
            _ => "application/x-amz-json-1.1",
        }
    }

    fn id_headers(&self, request_id: &EventId) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let id = self.request_id_text(request_id);
        if self.is_s3() {
            rest::set(&mut headers, "x-amz-request-id", &id);
            rest::set(&mut headers, "x-amz-id-2", &Self::host_id_text(request_id));
        } else {
            rest::set(&mut headers, "x-amzn-requestid", &id);
        }
        if self.protocol == Protocol::RpcV2Cbor {
            rest::set(&mut headers, "smithy-protocol", "rpc-v2-cbor");
        }
        headers
    }

    fn rest_body(&self, service: &Service, operation: &Operation, result: &Map<String, Value>) -> RestBody {
        let Some(output) = service.output(operation) else {
            return RestBody { bytes: Vec::new(), content_type: "" };
        };
        if let Some(payload) = output.payload() {
            return self.payload(service, operation, payload, result);
        }
        let members = output.members();
        if !members.iter().any(|member| member.location == Location::Body) {
            return RestBody { bytes: Vec::new(), content_type: "" };
        }
        if self.protocol == Protocol::RestJson {
            let bytes = json_bytes(&json::encode_members(service, members, result));
            return RestBody { bytes, content_type: "application/json" };
        }
        let mut writer = xml::Writer::new(service, self.is_s3());
        writer.declaration();
        if self.is_s3() && &*operation.name == "GetBucketLocation" {
            // The one S3 document that is a text and not a structure; us-east-1 is the empty text.
            writer.open("LocationConstraint", self.namespace());
            writer.text(result.get("LocationConstraint").and_then(Value::as_str).unwrap_or(""));
            writer.close("LocationConstraint");
        } else {
            let own = S3_ROOTS.iter().find(|(name, _)| self.is_s3() && *name == &*operation.name);
            let root = own.map_or(output.location_name.as_deref().unwrap_or(&output.name), |(_, root)| root);
            writer.open(root, self.namespace());
            writer.members(members, result);
            writer.close(root);
        }
        RestBody { bytes: writer.finish().into_bytes(), content_type: self.xml_content_type() }
    }

    fn payload(
        &self,
        service: &Service,
        operation: &Operation,
        payload: &Member,
        result: &Map<String, Value>,
    ) -> RestBody {
        let shape = service.shape(payload.shape);
        let value = result.get(&*payload.name).filter(|value| !value.is_null());
        if payload.is_event_stream {
            tracing::error!(operation = &*operation.name, "event streams are not written");
        }
        match (&shape.kind, value) {
            (Kind::Blob, value) => {
                let text = value.and_then(Value::as_str).unwrap_or("");
                let bytes = STANDARD.decode(text).unwrap_or_else(|error| {
                    tracing::error!(operation = &*operation.name, %error, "a blob of a reply is not base64 text");
                    Vec::new()
                });
                let content_type =
                    if self.is_s3() { "binary/octet-stream" } else { "application/octet-stream" };
                RestBody { bytes, content_type }
            }
            (Kind::String, Some(Value::String(text))) => {
                let content_type = if self.is_s3() { "application/json" } else { "text/plain" };
                RestBody { bytes: text.clone().into_bytes(), content_type }
            }
            (_, None) => RestBody { bytes: Vec::new(), content_type: "" },
            (_, Some(value)) if self.protocol == Protocol::RestJson => {
                let value = json::encode(service, shape, Some(payload), value);
                RestBody { bytes: json_bytes(&value), content_type: "application/json" }
            }
            (_, Some(value)) => {
                let mut writer = xml::Writer::new(service, self.is_s3());
                writer.declaration();
                let root = payload.location_name.as_deref().unwrap_or(&shape.name);
                if payload.xml_namespace.is_some() {
                    writer.element(root, payload, value);
                } else {
                    writer.open(root, self.namespace());
                    writer.members(shape.members(), value.as_object().unwrap_or(&Map::new()));
                    writer.close(root);
                }
                RestBody { bytes: writer.finish().into_bytes(), content_type: self.xml_content_type() }
            }
        }
    }

    pub(super) fn namespace(&self) -> Option<&'static str> {
        if self.is_s3() {
            return Some("http://s3.amazonaws.com/doc/2006-03-01/");
        }
        self.service.and_then(|service| service.xml_namespace.as_deref())
    }

    pub(super) fn xml_content_type(&self) -> &'static str {
        if self.is_s3() { "application/xml" } else { "text/xml" }
    }

    fn respond_stream(&self, status: u16, mut headers: HeaderMap, body: Body) -> Response<ReplyBody> {
        if let Some(length) = body.length_bytes() {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if !headers.contains_key(CONTENT_TYPE) {
            rest::set(&mut headers, CONTENT_TYPE.as_str(), "binary/octet-stream");
        }
        if self.is_head || has_no_body(status) {
            return response(status, headers, ReplyBody::Whole(Bytes::new()));
        }
        response(status, headers, ReplyBody::Stream(body))
    }

    fn respond(&self, status: u16, mut headers: HeaderMap, body: RestBody) -> Response<ReplyBody> {
        if has_no_body(status) {
            headers.remove(CONTENT_LENGTH);
            return response(status, headers, ReplyBody::Whole(Bytes::new()));
        }
        if !body.content_type.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            rest::set(&mut headers, CONTENT_TYPE.as_str(), body.content_type);
        }
        if self.is_head {
            return response(status, headers, ReplyBody::Whole(Bytes::new()));
        }
        headers.insert(CONTENT_LENGTH, body.bytes.len().into());
        response(status, headers, ReplyBody::Whole(Bytes::from(body.bytes)))
    }
}

/// Replies of these kinds have no body in HTTP (RFC 9110, 15.3.5 and 15.4.5).
fn has_no_body(status: u16) -> bool {
    status == 204 || status == 304
}

fn response(status: u16, headers: HeaderMap, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

/// The model's status. Some models say 204 of operations that do answer members, which HTTP does not allow.
fn status_of(operation: &Operation, members: &[Member], result: &Map<String, Value>) -> u16 {
    let has_body = members.iter().any(|member| {
        member.location == Location::Body && result.get(&*member.name).is_some_and(|v| !v.is_null())
    });
    if operation.status == 204 && has_body { 200 } else { operation.status }
}

fn status_member(members: &[Member], result: &Map<String, Value>) -> Option<u16> {
    let member = members.iter().find(|member| member.location == Location::StatusCode)?;
    u16::try_from(result.get(&*member.name)?.as_u64()?).ok()
}

pub(super) fn json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON values have text keys only")
}
