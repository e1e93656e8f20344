//! The JSON of a model, as `models/generate.py` writes it, made into a [`Service`].

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::service::{
    Kind, Location, Member, Operation, Protocol, Service, Shape, ShapeId, TimestampFormat, XmlNamespace,
};

#[derive(Deserialize)]
struct RawService {
    metadata: RawMetadata,
    operations: Ordered<RawOperation>,
    shapes: Ordered<RawShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    api_version: Box<str>,
    endpoint_prefix: Box<str>,
    protocol: Box<str>,
    #[serde(default)]
    protocols: Vec<Box<str>>,
    json_version: Option<Box<str>>,
    target_prefix: Option<Box<str>>,
    xml_namespace: Option<RawNamespace>,
    aws_query_compatible: Option<Value>,
}

#[derive(Deserialize)]
struct RawOperation {
    http: RawHttp,
    input: Option<RawSide>,
    output: Option<RawSide>,
    #[serde(default)]
    errors: Vec<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttp {
    method: Box<str>,
    request_uri: Box<str>,
    response_code: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSide {
    shape: Box<str>,
    location_name: Option<Box<str>>,
    result_wrapper: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawNamespace {
    Uri(Box<str>),
    Full { prefix: Option<Box<str>>, uri: Box<str> },
}

#[derive(Deserialize)]
struct RawShape {
    #[serde(rename = "type")]
    kind: Box<str>,
    #[serde(default)]
    members: Ordered<RawMember>,
    member: Option<RawMember>,
    key: Option<RawMember>,
    value: Option<RawMember>,
    #[serde(default)]
    required: Vec<Box<str>>,
    #[serde(default, rename = "enum")]
    values: Vec<Box<str>>,
    min: Option<f64>,
    max: Option<f64>,
    pattern: Option<Box<str>>,
    error: Option<RawError>,
    #[serde(default)]
    exception: bool,
    #[serde(default)]
    fault: bool,
    payload: Option<Box<str>>,
    #[serde(default)]
    document: bool,
    #[serde(default)]
    union: bool,
    #[serde(flatten)]
    traits: RawTraits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawError {
    code: Option<Box<str>>,
    http_status_code: Option<u16>,
}

#[derive(Deserialize)]
struct RawMember {
    shape: Box<str>,
    #[serde(flatten)]
    traits: RawTraits,
}

/// The traits that a reference may have of its own or takes over from its shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTraits {
    location: Option<Box<str>>,
    location_name: Option<Box<str>>,
    query_name: Option<Box<str>>,
    timestamp_format: Option<Box<str>>,
    xml_namespace: Option<RawNamespace>,
    #[serde(default)]
    flattened: bool,
    #[serde(default)]
    streaming: bool,
    #[serde(default)]
    eventstream: bool,
    #[serde(default)]
    xml_attribute: bool,
    #[serde(default)]
    jsonvalue: bool,
    #[serde(default)]
    sensitive: bool,
}

/// A JSON object in its order.
struct Ordered<T>(Vec<(Box<str>, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// What is wrong with a model.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelError {
    #[error("the model is not JSON of the expected form")]
    Json(#[from] serde_json::Error),
    #[error("shape {0} is not in the model")]
    NoSuchShape(Box<str>),
    #[error("{0} is not a known {1}")]
    Unknown(Box<str>, &'static str),
}

/// The service `name` from its JSON.
pub(super) fn service(name: &str, json: &[u8]) -> Result<Service, ModelError> {
    let raw: RawService = serde_json::from_slice(json)?;
    let builder = Builder {
        ids: raw
            .shapes
            .0
            .iter()
            .zip(0..)
            .map(|((name, _), at): (_, u32)| (name.clone(), ShapeId(at)))
            .collect(),
        shapes: &raw.shapes.0,
    };
    let shapes =
        builder.shapes.iter().map(|(name, shape)| builder.shape(name, shape)).collect::<Result<_, _>>()?;
    let operations = raw
        .operations
        .0
        .into_iter()
        .map(|(name, raw)| builder.operation(name, raw))
        .collect::<Result<Vec<_>, _>>()?;
    let metadata = raw.metadata;
    let mut protocols = vec![protocol(&metadata.protocol)?];
    for name in &metadata.protocols {
        let protocol = protocol(name)?;
        if !protocols.contains(&protocol) {
            protocols.push(protocol);
        }
    }
    Ok(Service {
        name: name.into(),
        protocols,
        api_version: metadata.api_version,
        endpoint_prefix: metadata.endpoint_prefix,
        json_version: metadata.json_version,
        target_prefix: metadata.target_prefix,
        xml_namespace: metadata.xml_namespace.map(|namespace| namespace_of(&namespace).uri),
        is_query_compatible: metadata.aws_query_compatible.is_some(),
        operations_by_name: operations
            .iter()
            .zip(0..)
            .map(|(operation, at)| (operation.name.clone(), at))
            .collect(),
        operations,
        shapes,
        routes: OnceLock::new(),
    })
}

struct Builder<'a> {
    ids: HashMap<Box<str>, ShapeId>,
    shapes: &'a [(Box<str>, RawShape)],
}

impl Builder<'_> {
    fn id(&self, name: &str) -> Result<ShapeId, ModelError> {
        self.ids.get(name).copied().ok_or_else(|| ModelError::NoSuchShape(name.into()))
    }

    fn operation(&self, name: Box<str>, raw: RawOperation) -> Result<Operation, ModelError> {
        let side = |side: &Option<RawSide>| side.as_ref().map(|side| self.id(&side.shape)).transpose();
        Ok(Operation {
            name,
            method: raw.http.method,
            uri: raw.http.request_uri,
            status: raw.http.response_code.unwrap_or(200),
            input: side(&raw.input)?,
            output: side(&raw.output)?,
            input_root: raw.input.and_then(|input| input.location_name),
            result_wrapper: raw.output.and_then(|output| output.result_wrapper),
            errors: raw.errors.iter().map(|name| self.id(name)).collect::<Result<_, _>>()?,
        })
    }

    fn shape(&self, name: &str, raw: &RawShape) -> Result<Shape, ModelError> {
        let is_error = raw.exception || raw.error.is_some();
        let error_code = raw.error.as_ref().and_then(|error| error.code.clone());
        Ok(Shape {
            name: name.into(),
            kind: self.kind(raw)?,
            location_name: raw.traits.location_name.clone(),
            values: raw.values.clone(),
            min: raw.min,
            max: raw.max,
            pattern: raw.pattern.clone(),
            compiled: OnceLock::new(),
            error_code: is_error.then(|| error_code.unwrap_or_else(|| name.into())),
            error_status: raw.error.as_ref().and_then(|error| error.http_status_code),
            is_fault: raw.fault,
        })
    }

    fn kind(&self, raw: &RawShape) -> Result<Kind, ModelError> {
        let part = |part: &Option<RawMember>, what| {
            let part = part.as_ref().ok_or(ModelError::Unknown(what, "part of a list or map"))?;
            self.member("", part, false).map(Box::new)
        };
        Ok(match &*raw.kind {
            "structure" if raw.document => Kind::Document,
            "structure" => Kind::Structure {
                members: raw
                    .members
                    .0
                    .iter()
                    .map(|(name, member)| self.member(name, member, raw.required.contains(name)))
                    .collect::<Result<_, _>>()?,
                payload: raw
                    .payload
                    .as_ref()
                    .and_then(|payload| raw.members.0.iter().position(|(name, _)| name == payload)),
                is_union: raw.union,
            },
            "list" => Kind::List(part(&raw.member, "member".into())?),
            "map" => Kind::Map(part(&raw.key, "key".into())?, part(&raw.value, "value".into())?),
            "string" | "character" => Kind::String,
            "blob" => Kind::Blob,
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "long" => Kind::Long,
            "float" | "double" => Kind::Double,
            "timestamp" => Kind::Timestamp,
            other => return Err(ModelError::Unknown(other.into(), "type of shape")),
        })
    }

    fn member(&self, name: &str, raw: &RawMember, is_required: bool) -> Result<Member, ModelError> {
        let shape = self.id(&raw.shape)?;
        let own = &raw.traits;
        let of_shape = &self.shapes[shape.0 as usize].1.traits;
        let location = own.location.as_ref().or(of_shape.location.as_ref());
        let format = own.timestamp_format.as_ref().or(of_shape.timestamp_format.as_ref());
        Ok(Member {
            name: name.into(),
            shape,
            is_required,
            location: location.map_or(Ok(Location::Body), |name| location_of(name))?,
            location_name: own.location_name.clone().or_else(|| of_shape.location_name.clone()),
            query_name: own.query_name.clone().or_else(|| of_shape.query_name.clone()),
            is_flattened: own.flattened || of_shape.flattened,
            is_streaming: own.streaming || of_shape.streaming,
            is_event_stream: own.eventstream || of_shape.eventstream,
            is_xml_attribute: own.xml_attribute || of_shape.xml_attribute,
            is_json_value: own.jsonvalue || of_shape.jsonvalue,
            timestamp_format: format.map(|name| timestamp_format(name)).transpose()?,
            xml_namespace: own
                .xml_namespace
                .as_ref()
                .or(of_shape.xml_namespace.as_ref())
                .map(|raw| Box::new(namespace_of(raw))),
            is_sensitive: own.sensitive || of_shape.sensitive,
        })
    }
}

fn namespace_of(raw: &RawNamespace) -> XmlNamespace {
    match raw {
        RawNamespace::Uri(uri) => XmlNamespace { prefix: None, uri: uri.clone() },
        RawNamespace::Full { prefix, uri } => XmlNamespace { prefix: prefix.clone(), uri: uri.clone() },
    }
}

fn protocol(name: &str) -> Result<Protocol, ModelError> {
    Ok(match name {
        "json" => Protocol::Json,
        "query" => Protocol::Query,
        "ec2" => Protocol::Ec2,
        "rest-json" => Protocol::RestJson,
        "rest-xml" => Protocol::RestXml,
        "smithy-rpc-v2-cbor" => Protocol::RpcV2Cbor,
        _ => return Err(ModelError::Unknown(name.into(), "protocol")),
    })
}

fn location_of(name: &str) -> Result<Location, ModelError> {
    Ok(match name {
        "uri" => Location::Uri,
        "querystring" => Location::Query,
        "header" => Location::Header,
        "headers" => Location::Headers,
        "statusCode" => Location::StatusCode,
        _ => return Err(ModelError::Unknown(name.into(), "location")),
    })
}

fn timestamp_format(name: &str) -> Result<TimestampFormat, ModelError> {
    Ok(match name {
        "iso8601" => TimestampFormat::Iso8601,
        "unixTimestamp" => TimestampFormat::Unix,
        "rfc822" => TimestampFormat::Rfc822,
        _ => return Err(ModelError::Unknown(name.into(), "timestamp format")),
    })
}
