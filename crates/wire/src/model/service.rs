//! One service of the models: its operations and shapes, with members' traits already merged with those of the
//! shapes that they refer to, as botocore merges them.

use std::collections::HashMap;
use std::sync::OnceLock;

use regex_lite::Regex;

use super::route::Route;

/// How a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// awsJson 1.0 and 1.1: the operation in `X-Amz-Target`, all members in a JSON body.
    Json,
    /// awsQuery: form fields in, XML out.
    Query,
    /// EC2's dialect of awsQuery.
    Ec2,
    /// restJson1: members in path, query, headers and a JSON body.
    RestJson,
    /// restXml: members in path, query, headers and an XML body.
    RestXml,
    /// Smithy's rpcv2Cbor.
    RpcV2Cbor,
}

/// The index of a shape in its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShapeId(pub(super) u32);

/// One service.
#[derive(Debug)]
pub struct Service {
    /// The name of botocore's data folder.
    pub name: Box<str>,
    /// The protocols that the service can be spoken to in, the model's first one first.
    pub protocols: Vec<Protocol>,
    /// `2013-11-01`.
    pub api_version: Box<str>,
    /// The first part of the service's host names: `monitoring`.
    pub endpoint_prefix: Box<str>,
    /// `1.0` or `1.1`, for awsJson.
    pub json_version: Option<Box<str>>,
    /// What stands before the operation in `X-Amz-Target`.
    pub target_prefix: Option<Box<str>>,
    /// The namespace of XML replies.
    pub xml_namespace: Option<Box<str>>,
    /// Whether errors over JSON and CBOR also name the code that they had over awsQuery.
    pub is_query_compatible: bool,
    pub(super) operations: Vec<Operation>,
    pub(super) operations_by_name: HashMap<Box<str>, usize>,
    pub(super) shapes: Vec<Shape>,
    pub(super) routes: OnceLock<Vec<Route>>,
}

/// One operation.
#[derive(Debug)]
pub struct Operation {
    /// Its name.
    pub name: Box<str>,
    /// The HTTP method of REST protocols.
    pub method: Box<str>,
    /// The path and query template of REST protocols: `/{Bucket}/{Key+}?uploads`.
    pub uri: Box<str>,
    /// The HTTP status of success.
    pub status: u16,
    /// The input structure.
    pub input: Option<ShapeId>,
    /// The name of the root element of the input, for restXml.
    pub input_root: Option<Box<str>>,
    /// The output structure.
    pub output: Option<ShapeId>,
    /// The element that awsQuery wraps the output in.
    pub result_wrapper: Option<Box<str>>,
    /// The errors that the model lists.
    pub errors: Vec<ShapeId>,
}

/// Where a member of a REST input or output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the body.
    Body,
    /// In the path.
    Uri,
    /// In the query.
    Query,
    /// In a header.
    Header,
    /// In all headers that begin with its name.
    Headers,
    /// It is the HTTP status.
    StatusCode,
}

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `2026-11-20T17:24:26Z`.
    Iso8601,
    /// Seconds of the epoch.
    Unix,
    /// `Fri, 20 Nov 2026 17:24:26 GMT`.
    Rfc822,
}

/// An XML namespace with its prefix.
#[derive(Clone, Debug)]
pub struct XmlNamespace {
    /// The prefix, where it has one: `xsi`.
    pub prefix: Option<Box<str>>,
    /// The URI.
    pub uri: Box<str>,
}

/// A reference to a shape: a member of a structure, the member of a list, the key or the value of a map.
#[derive(Clone, Debug)]
pub struct Member {
    /// The member's name; empty in lists and maps.
    pub name: Box<str>,
    /// Its shape.
    pub shape: ShapeId,
    /// Whether it must be there.
    pub is_required: bool,
    /// Where it is.
    pub location: Location,
    /// Its name on the wire, where that differs: the model's `locationName`.
    pub location_name: Option<Box<str>>,
    /// Its name in EC2's requests, and in awsQuery of a service that speaks other protocols too, where that differs.
    pub query_name: Option<Box<str>>,
    /// Whether a list or map has no element of its own.
    pub is_flattened: bool,
    /// Whether it is a stream of bytes.
    pub is_streaming: bool,
    /// Whether it is a stream of events.
    pub is_event_stream: bool,
    /// Whether it is an attribute of its structure's element.
    pub is_xml_attribute: bool,
    /// Whether it is JSON text: in headers base64 of it.
    pub is_json_value: bool,
    /// How it is written, where it is a timestamp with a format of its own.
    pub timestamp_format: Option<TimestampFormat>,
    /// The namespace that its element declares.
    pub xml_namespace: Option<Box<XmlNamespace>>,
    /// Whether records must not show it.
    pub is_sensitive: bool,
}

impl Member {
    /// A reference without name and traits.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "".into(),
            shape: ShapeId(0),
            is_required: false,
            location: Location::Body,
            location_name: None,
            query_name: None,
            is_flattened: false,
            is_streaming: false,
            is_event_stream: false,
            is_xml_attribute: false,
            is_json_value: false,
            timestamp_format: None,
            xml_namespace: None,
            is_sensitive: false,
        }
    }

    /// The name in JSON, XML, headers and queries.
    #[must_use]
    pub fn wire_name(&self) -> &str {
        self.location_name.as_deref().unwrap_or(&self.name)
    }

    /// The name in awsQuery's forms and documents.
    #[must_use]
    pub fn query_name(&self) -> &str {
        self.query_name.as_deref().unwrap_or_else(|| self.wire_name())
    }
}

/// What a shape is.
#[derive(Debug)]
pub enum Kind {
    /// Named members.
    Structure {
        /// In the model's order.
        members: Vec<Member>,
        /// The index of the member that is the whole body.
        payload: Option<usize>,
        /// Whether exactly one member must be set.
        is_union: bool,
    },
    /// A list.
    List(Box<Member>),
    /// A map.
    Map(Box<Member>, Box<Member>),
    /// Any JSON.
    Document,
    /// Text.
    String,
    /// Bytes.
    Blob,
    /// True or false.
    Boolean,
    /// A number without fraction, of 32 bits.
    Integer,
    /// A number without fraction, of 64 bits.
    Long,
    /// A number, also `double` and `bigdecimal`.
    Double,
    /// A point in time.
    Timestamp,
}

/// A shape with its constraints.
#[derive(Debug)]
pub struct Shape {
    /// Its name.
    pub name: Box<str>,
    /// What it is.
    pub kind: Kind,
    /// The name that the shape itself gives its elements.
    pub location_name: Option<Box<str>>,
    /// The values it may have; empty for any.
    pub values: Vec<Box<str>>,
    /// The least length or value.
    pub min: Option<f64>,
    /// The greatest length or value.
    pub max: Option<f64>,
    /// The pattern that its text must match.
    pub pattern: Option<Box<str>>,
    pub(super) compiled: OnceLock<Option<Regex>>,
    /// The error's code on the wire, of error shapes.
    pub error_code: Option<Box<str>>,
    /// The error's HTTP status, of error shapes.
    pub error_status: Option<u16>,
    /// Whether it is an error of the server's making.
    pub is_fault: bool,
}

/// A pattern whose program would be larger is not checked.
const PATTERN_PROGRAM_BYTES_MAX: usize = 256 * 1024;

impl Shape {
    /// Whether the whole of `text` matches the shape's pattern. A pattern that the regular expressions here do not
    /// know (look-around) or that would take too much memory matches everything.
    #[must_use]
    pub fn matches_pattern(&self, text: &str) -> bool {
        let Some(pattern) = self.pattern.as_deref() else { return true };
        let compiled = self.compiled.get_or_init(|| {
            regex_lite::RegexBuilder::new(&format!("^(?:{pattern})$"))
                .size_limit(PATTERN_PROGRAM_BYTES_MAX)
                .build()
                .ok()
        });
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    /// The members of a structure; none of any other shape.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Structure { members, .. } => members,
            _ => &[],
        }
    }

    /// The member that is the whole body, of a structure that has one.
    #[must_use]
    pub fn payload(&self) -> Option<&Member> {
        match &self.kind {
            Kind::Structure { members, payload, .. } => payload.map(|at| &members[at]),
            _ => None,
        }
    }
}

impl Service {
    /// The service's operations.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation of a name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations_by_name.get(name).map(|&at| &self.operations[at])
    }

    /// The shape of an id of this service.
    #[must_use]
    pub fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0 as usize]
    }

    /// The input of an operation.
    #[must_use]
    pub fn input(&self, operation: &Operation) -> Option<&Shape> {
        operation.input.map(|id| self.shape(id))
    }

    /// The output of an operation.
    #[must_use]
    pub fn output(&self, operation: &Operation) -> Option<&Shape> {
        operation.output.map(|id| self.shape(id))
    }

    /// The member that is the streaming body of an operation's input.
    #[must_use]
    pub fn streaming_input(&self, operation: &Operation) -> Option<&Member> {
        self.streaming(operation.input)
    }

    /// The member that is the streaming body of an operation's output.
    #[must_use]
    pub fn streaming_output(&self, operation: &Operation) -> Option<&Member> {
        self.streaming(operation.output)
    }

    /// The error shape of a code, which may be the shape's name or its code on the wire. The operation's own errors
    /// come first.
    #[must_use]
    pub fn error(&self, operation: Option<&Operation>, code: &str) -> Option<&Shape> {
        let is_it = |shape: &&Shape| {
            &*shape.name == code || shape.error_code.as_deref().is_some_and(|own| own == code)
        };
        operation
            .into_iter()
            .flat_map(|operation| operation.errors.iter().map(|&id| self.shape(id)))
            .find(is_it)
            .or_else(|| self.shapes.iter().filter(|shape| shape.error_code.is_some()).find(is_it))
    }

    /// Whether the service speaks `protocol`.
    #[must_use]
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }

    /// The protocol of a service that speaks one that has paths.
    #[must_use]
    pub fn rest_protocol(&self) -> Option<Protocol> {
        self.protocols
            .iter()
            .copied()
            .find(|protocol| matches!(protocol, Protocol::RestJson | Protocol::RestXml))
    }

    /// The protocol of a service that speaks awsQuery or EC2's dialect of it.
    #[must_use]
    pub fn query_protocol(&self) -> Option<Protocol> {
        self.protocols.iter().copied().find(|protocol| matches!(protocol, Protocol::Query | Protocol::Ec2))
    }

    /// The routes of a service of a REST protocol.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        self.routes.get_or_init(|| super::route::routes(self))
    }

    fn streaming(&self, shape: Option<ShapeId>) -> Option<&Member> {
        self.shape(shape?)
            .payload()
            .filter(|member| member.is_streaming && matches!(self.shape(member.shape).kind, Kind::Blob))
    }
}
