//! What is known of a call so far, from its first byte to its answer: the draft of its event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::record::Category;
use cairn_core::record::build::CallEvent;
use cairn_core::{AccountId, EventId, Principal, Region, Session};
use cairn_services::{Access, Caller, EventKind, Operation, Service, Target};
use cairn_store::space::SpaceWatch;
use cairn_trail::record::OpenIntent;
use cairn_wire::front::{Exchange, ReplyBody};
use cairn_wire::{AwsError, Body, BodyError, BodySource, Call, Reply, recorded};
use http::Response;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::identify::Identified;
use super::{Arrival, Peer, no_room};

/// The region of calls that name none.
const DEFAULT_REGION: &str = "us-east-1";
/// Beginnings of the names of operations that change nothing, for services that Cairn does not have.
const READING: [&str; 8] = ["Get", "List", "Describe", "Head", "Lookup", "Search", "BatchGet", "Select"];

/// The draft of a call's event.
pub struct Sketch {
    arrival: Arrival,
    host: Option<String>,
    user_agent: Option<String>,
    query_signed: bool,
    signature_version: &'static str,
    principal: Principal,
    access_key_id: Option<String>,
    session: Option<Arc<Session>>,
    recipient: AccountId,
    /// Another account whose record the call gets too, where it succeeds.
    concerned: Option<AccountId>,
    signed_region: Option<Region>,
    fallback_region: Region,
    service: Option<String>,
    operation: Option<String>,
    request_id: String,
    embedded: Option<Arc<dyn Service>>,
    known: Option<&'static Operation>,
    request_parameters: Value,
    response_elements: Value,
    resources: Vec<Value>,
    received_bytes: Arc<AtomicU64>,
    sent_bytes: u64,
    intent: Option<OpenIntent>,
}

impl Sketch {
    /// What the head of a request tells.
    pub(super) fn of_request(parts: &Parts, arrival: &Arrival, first_account: &AccountId) -> Self {
        let in_query = |name| parts.uri.query().is_some_and(|query| query.contains(name));
        let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        Self {
            arrival: arrival.clone(),
            host: header("host").or_else(|| parts.uri.host()).map(str::to_owned),
            user_agent: header("user-agent").map(str::to_owned),
            query_signed: in_query("X-Amz-Signature=") || in_query("AWSAccessKeyId="),
            signature_version: if in_query("AWSAccessKeyId=") { "SigV2" } else { "SigV4" },
            principal: Principal::Anonymous,
            access_key_id: None,
            session: None,
            recipient: first_account.clone(),
            concerned: None,
            signed_region: None,
            fallback_region: DEFAULT_REGION.parse().expect("a region name"),
            service: None,
            operation: None,
            request_id: String::new(),
            embedded: None,
            known: None,
            request_parameters: Value::Null,
            response_elements: Value::Null,
            resources: Vec::new(),
            received_bytes: Arc::default(),
            sent_bytes: 0,
            intent: None,
        }
    }

    /// Who the request says it is from.
    pub(super) fn set_identity(&mut self, identified: &Identified) {
        self.principal = identified.principal();
        self.access_key_id = identified.access_key_id().map(str::to_owned);
        self.session = identified.session().cloned();
        self.signed_region = identified.region();
        if let Some(account) = self.principal.account() {
            self.recipient = account.clone();
        }
    }

    /// The signature did not verify: all that is known of the caller is the key that was claimed.
    pub(super) fn set_unverified(&mut self) {
        self.principal = Principal::Unknown { claimed_access_key_id: self.access_key_id.take() };
        self.session = None;
    }

    /// What the call itself proved of its caller, or that it did not.
    pub(super) fn set_recognised(&mut self, caller: &Caller, proven: bool) {
        self.recipient = caller.account.clone();
        if self.principal == Principal::Anonymous {
            self.principal = match &caller.principal {
                Principal::Anonymous if !proven => Principal::Unknown { claimed_access_key_id: None },
                principal => principal.clone(),
            };
        }
    }

    /// The account that the call also concerns.
    pub(super) fn set_concerned(&mut self, account: Option<AccountId>) {
        self.concerned = account.filter(|account| *account != self.recipient);
    }

    /// The same event as the record of the other account that a successful call concerns shows it. The two share an
    /// id; who called is to the other account no more than an id and its account.
    pub(super) fn twin(
        &self,
        event: &CallEvent,
        failed: bool,
        id: impl Fn() -> EventId,
    ) -> Option<CallEvent> {
        let recipient = self.concerned.clone().filter(|_| !failed)?;
        Some(CallEvent {
            user_identity: self.principal.foreign_identity(),
            event_id: id(),
            recipient,
            shared_event_id: Some(id()),
            ..event.clone()
        })
    }

    /// Whether nobody known called, or nobody who proved it.
    pub(super) fn is_a_strangers(&self) -> bool {
        matches!(self.principal, Principal::Anonymous | Principal::Unknown { .. })
    }

    /// The region that the call was made in.
    pub(super) fn region(&self) -> &Region {
        self.signed_region.as_ref().unwrap_or(&self.fallback_region)
    }

    /// Counts bytes that were received.
    pub(super) fn count_received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The same body, its bytes counted as they are read. It breaks off where the disk fills up meanwhile.
    pub(super) fn counted(&self, body: Body, space: &Arc<SpaceWatch>) -> Body {
        let length_bytes = body.length_bytes();
        let (total, space) = (Arc::clone(&self.received_bytes), Arc::clone(space));
        Body::new(Counted { body, total, space }, length_bytes)
    }

    /// The call's parameters as its record shows them.
    pub(super) fn set_params(&mut self, call: &Call) {
        self.request_parameters = self
            .embedded
            .as_ref()
            .and_then(|service| service.recorded_request(call))
            .unwrap_or_else(|| recorded::recorded_input(&call.service, &call.operation, &call.params));
    }

    /// The service, whose calls act and are recorded in one region where it has no regions.
    pub(super) fn set_service(&mut self, service: &Arc<dyn Service>) {
        if let Some(region) = service.global_region() {
            self.signed_region = Some(region.parse().expect("a service names a region"));
        }
        self.embedded = Some(Arc::clone(service));
    }

    /// The operation, where the service has it.
    pub(super) fn set_operation(&mut self, operation: &'static Operation) {
        self.known = Some(operation);
    }

    /// What the call is about.
    pub(super) fn set_target(&mut self, caller: &Caller, target: &Target) {
        self.recipient = caller.account.clone();
        let element = |resource: &cairn_services::Resource| {
            let mut element = Map::new();
            if let Some(account) = &resource.account {
                element.insert("accountId".into(), json!(account));
            }
            element.insert("type".into(), json!(resource.kind));
            element.insert(arn_member(resource).into(), json!(resource.arn));
            Value::Object(element)
        };
        self.resources = target.resources.iter().map(element).collect();
    }

    /// What the service answered.
    pub(super) fn set_reply(&mut self, service: &dyn Service, operation: &Operation, reply: &Reply) {
        if operation.access == Access::Read {
            self.response_elements = service.recorded_read(operation, &reply.result).unwrap_or_default();
        } else {
            self.response_elements = service
                .recorded_reply(operation, &reply.result)
                .unwrap_or_else(|| recorded::recorded_output(service.model(), operation.name, &reply.result));
        }
    }

    /// How many bytes of body the answer has.
    pub(super) fn set_sent(&mut self, response: &Response<ReplyBody>) {
        let declared = || response.headers().get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        self.sent_bytes = match response.body() {
            ReplyBody::Whole(bytes) => bytes.len() as u64,
            ReplyBody::Stream(_) => declared().unwrap_or(0),
        };
    }

    /// Takes the names of service and operation, and the request's id as the reply has it, from the exchange.
    pub(super) fn name_after(&mut self, exchange: &Exchange) {
        if exchange.knows_operation() {
            self.service = exchange.service().map(str::to_owned);
            self.operation = exchange.operation().map(str::to_owned);
            self.request_id = exchange.request_id_text(&self.arrival.request_id);
        }
    }

    /// Names a call of Cairn's own API, which no model describes.
    pub(super) fn name_own(
        &mut self,
        service: &str,
        operation: &'static Operation,
        request_id: &cairn_core::EventId,
        request_parameters: Value,
    ) {
        self.service = Some(service.to_owned());
        self.operation = Some(operation.name.to_owned());
        self.known = Some(operation);
        self.request_id = request_id.to_string();
        self.request_parameters = request_parameters;
    }

    /// The call was announced by `intent`, which its event will settle.
    pub(super) fn set_intent(&mut self, intent: OpenIntent) {
        self.intent = Some(intent);
    }

    /// The intent that announced the call.
    pub(super) fn take_intent(&mut self) -> Option<OpenIntent> {
        self.intent.take()
    }

    /// The event as far as it is known; none where the request named no operation.
    pub(super) fn event(&self, error: Option<&AwsError>) -> Option<CallEvent> {
        let service = self.service.as_deref()?;
        let operation = self.operation.as_deref()?;
        let event_name = self
            .known
            .map_or_else(|| recorded::event_name(service, operation), |known| known.event_name)
            .to_owned();
        let read_only = self.known.map_or_else(
            || READING.iter().any(|prefix| operation.starts_with(prefix)),
            |known| known.access == Access::Read,
        );
        let data = self.known.is_some_and(|known| known.kind == EventKind::Data);
        let region = self.region().clone();
        let s3_data = (service == "s3").then(|| self.s3_data());
        // S3's records have the user agent in brackets, all of them.
        let user_agent = self.user_agent.as_ref().map(|text| match service {
            "s3" => format!("[{text}]"),
            _ => text.clone(),
        });
        Some(CallEvent {
            user_identity: self
                .principal
                .user_identity(self.access_key_id.as_deref(), self.session.as_deref()),
            time: self.arrival.now,
            event_source: recorded::event_source(service),
            event_name,
            region,
            source_ip_address: self.arrival.peer.address.to_canonical().to_string(),
            error: error.map(|error| (self.error_code(error), error.message.clone())),
            additional_event_data: s3_data,
            request_id: Some(self.request_id.clone()),
            event_id: self.arrival.event_id.clone(),
            read_only,
            category: if data { Category::Data } else { Category::Management },
            tls_details: tls_details(&self.arrival.peer, self.host.as_deref()),
            user_agent,
            request_parameters: self.request_parameters.clone(),
            response_elements: self.response_elements.clone(),
            resources: self.resources.clone(),
            recipient: self.recipient.clone(),
            shared_event_id: None,
        })
    }

    fn error_code(&self, error: &AwsError) -> String {
        let recorded = self.embedded.as_ref().and_then(|service| service.recorded_error_code(error));
        // Refusals of authorisation have one code in records, whatever clients of JSON services see.
        let shown = if error.code == "AccessDeniedException" { "AccessDenied" } else { &*error.code };
        recorded.unwrap_or_else(|| shown.to_owned())
    }

    /// What S3's records add, as in delivered log files.
    fn s3_data(&self) -> Value {
        let mut data = Map::new();
        if self.principal != Principal::Anonymous {
            data.insert("SignatureVersion".into(), json!(self.signature_version));
        }
        if let Some(tls) = &self.arrival.peer.tls {
            data.insert("CipherSuite".into(), json!(tls.cipher_suite));
        }
        data.insert("bytesTransferredIn".into(), json!(self.received_bytes.load(Ordering::Relaxed)));
        if self.principal != Principal::Anonymous {
            let method = if self.query_signed { "QueryString" } else { "AuthHeader" };
            data.insert("AuthenticationMethod".into(), json!(method));
        }
        data.insert("x-amz-id-2".into(), json!(Exchange::host_id_text(&self.arrival.request_id)));
        data.insert("bytesTransferredOut".into(), json!(self.sent_bytes));
        Value::Object(data)
    }
}

/// What a resource's ARN is called: S3's calls on a whole bucket's objects name them by a prefix, the bucket's ARN and
/// a slash. No object has an empty key, so the two are never mixed up.
fn arn_member(resource: &cairn_services::Resource) -> &'static str {
    let bucket_alone = |arn: &str| arn.split_once('/').is_some_and(|(_, key)| key.is_empty());
    if resource.kind == "AWS::S3::Object" && bucket_alone(&resource.arn) { "ARNPrefix" } else { "ARN" }
}

fn tls_details(peer: &Peer, host: Option<&str>) -> Option<Value> {
    let mut details = Map::new();
    if let Some(tls) = &peer.tls {
        details.insert("tlsVersion".into(), json!(tls.version));
        details.insert("cipherSuite".into(), json!(tls.cipher_suite));
    }
    if let Some(host) = host {
        details.insert("clientProvidedHostHeader".into(), json!(host));
    }
    (!details.is_empty()).then_some(Value::Object(details))
}

struct Counted {
    body: Body,
    total: Arc<AtomicU64>,
    space: Arc<SpaceWatch>,
}

#[async_trait]
impl BodySource for Counted {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let piece = self.body.next().await;
        if let Some(Ok(bytes)) = &piece {
            self.total.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.space.take(bytes.len() as u64);
            if self.space.is_short() {
                return Some(Err(BodyError::Refused(no_room())));
            }
        }
        piece
    }

    fn trailers(&self) -> &[(String, String)] {
        self.body.trailers()
    }
}
