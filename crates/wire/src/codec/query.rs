//! awsQuery and EC2's dialect of it: form fields in, XML out.

use serde_json::{Map, Value};

use super::form::Field;
use super::{Decoded, Malformed, scalar, xml};
use crate::model::{Kind, Member, Operation, Protocol, Service, Shape, TimestampFormat};

/// Reads form fields by the rules of one of the two dialects.
pub(crate) struct Reader<'a> {
    pub(crate) service: &'a Service,
    pub(crate) protocol: Protocol,
}

impl Reader<'_> {
    /// The neutral form of an input structure.
    pub(crate) fn members(&self, members: &[Member], field: &Field) -> Decoded<Map<String, Value>> {
        let mut decoded = Map::new();
        for member in members {
            if let Some(value) = self.member(member, field)? {
                decoded.insert(member.name.to_string(), value);
            }
        }
        Ok(decoded)
    }

    fn name(&self, member: &Member) -> String {
        if self.protocol == Protocol::Query {
            return member.query_name().to_owned();
        }
        if let Some(name) = &member.query_name {
            return name.to_string();
        }
        match &member.location_name {
            Some(name) => {
                let mut characters = name.chars();
                characters
                    .next()
                    .map(|first| first.to_ascii_uppercase())
                    .into_iter()
                    .chain(characters)
                    .collect()
            }
            None => member.name.to_string(),
        }
    }

    fn member(&self, member: &Member, parent: &Field) -> Decoded<Option<Value>> {
        let shape = self.service.shape(member.shape);
        let name = self.name(member);
        // A flattened list whose items have a name goes by the items' name.
        let flattened_name = match &shape.kind {
            Kind::List(item) if member.is_flattened && self.protocol == Protocol::Query => {
                item.location_name.as_deref()
            }
            _ => None,
        };
        let field = flattened_name.and_then(|name| parent.child(name)).or_else(|| parent.child(&name));
        field.map(|field| self.value(shape, member, &name, field)).transpose().map(Option::flatten)
    }

    /// `None` where a field is only there because another of a longer name is.
    fn value(&self, shape: &Shape, member: &Member, name: &str, field: &Field) -> Decoded<Option<Value>> {
        match &shape.kind {
            Kind::Structure { members, .. } => {
                self.members(members, field).map(|members| Some(Value::Object(members)))
            }
            Kind::List(item) => self.list(member, item, name, field).map(Some),
            Kind::Map(key, value) => self.map(member, key, value, name, field).map(Some),
            _ => match &field.value {
                None if field.has_children() => {
                    Err(Malformed::body(format!("{name} is not a structure, a list or a map")))
                }
                None => Ok(None),
                Some(text) => {
                    scalar::read(shape, member, text, TimestampFormat::Iso8601).map(Some).map_err(|message| {
                        Malformed::Parameter { name: name.to_owned(), value: text.clone(), message }
                    })
                }
            },
        }
    }

    fn list(&self, member: &Member, item: &Member, name: &str, field: &Field) -> Decoded<Value> {
        let is_flat = member.is_flattened || self.protocol == Protocol::Ec2;
        let items = if is_flat {
            field.numbered()
        } else {
            // The model's name for items first; `member` is what many clients send all the same.
            let own = item.location_name.as_deref().unwrap_or("member");
            field.child(own).or_else(|| field.child("member")).map(Field::numbered).unwrap_or_default()
        };
        let shape = self.service.shape(item.shape);
        let values = items.into_iter().filter_map(|field| self.value(shape, item, name, field).transpose());
        values.collect::<Decoded<_>>().map(Value::Array)
    }

    fn map(
        &self,
        member: &Member,
        key: &Member,
        value: &Member,
        name: &str,
        field: &Field,
    ) -> Decoded<Value> {
        let entries = if member.is_flattened {
            field.numbered()
        } else {
            field.child("entry").map(Field::numbered).unwrap_or_default()
        };
        let key_name = key.location_name.as_deref().unwrap_or("key");
        let value_name = value.location_name.as_deref().unwrap_or("value");
        let shape = self.service.shape(value.shape);
        let mut decoded = Map::new();
        for entry in entries {
            let key = entry.child(key_name).and_then(|field| field.value.clone());
            let key = key.ok_or_else(|| Malformed::body(format!("an entry of {name} has no {key_name}")))?;
            if let Some(field) = entry.child(value_name)
                && let Some(value) = self.value(shape, value, name, field)?
            {
                decoded.insert(key, value);
            }
        }
        Ok(Value::Object(decoded))
    }
}

/// The reply document of an operation.
pub(crate) fn encode(
    service: &Service,
    protocol: Protocol,
    operation: &Operation,
    result: &Map<String, Value>,
    request_id: &str,
) -> String {
    let mut writer = xml::Writer::new(service, protocol == Protocol::Ec2);
    let root = format!("{}Response", operation.name);
    let members = service.output(operation).map_or(&[][..], Shape::members);
    if protocol == Protocol::Ec2 {
        let namespace = format!("http://ec2.amazonaws.com/doc/{}/", service.api_version);
        writer.declaration();
        writer.open(&root, Some(&namespace));
        writer.leaf("requestId", request_id);
        writer.members(members, result);
    } else {
        writer.use_query_names();
        writer.open(&root, service.xml_namespace.as_deref());
        match &operation.result_wrapper {
            Some(wrapper) => {
                writer.open(wrapper, None);
                writer.members(members, result);
                writer.close(wrapper);
            }
            None => writer.members(members, result),
        }
        writer.open("ResponseMetadata", None);
        writer.leaf("RequestId", request_id);
        writer.close("ResponseMetadata");
    }
    writer.close(&root);
    writer.finish()
}
