//! XML bodies: restXml requests, and the replies of restXml and awsQuery.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::{Decoded, Malformed, scalar};
use crate::model::{Kind, Location, Member, Service, Shape, TimestampFormat, XmlNamespace};

/// The deepest nesting of elements that a request may have; no model needs more than a third of it.
const XML_DEPTH_MAX: usize = 64;

/// An element without its namespace prefix.
#[derive(Debug, Default)]
pub(crate) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

/// The root element of a document.
pub(crate) fn parse(body: &[u8]) -> Decoded<Element> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::body("the document is not UTF-8"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|error| Malformed::body(error.to_string()))?;
        match event {
            Event::Start(start) => {
                if open.len() >= XML_DEPTH_MAX {
                    return Err(Malformed::body(format!("elements are nested deeper than {XML_DEPTH_MAX}")));
                }
                open.push(element(&start)?);
            }
            Event::Empty(start) => end(&mut open, &mut root, element(&start)?)?,
            Event::End(_) => {
                let element =
                    open.pop().ok_or_else(|| Malformed::body("an element ends that did not begin"))?;
                end(&mut open, &mut root, element)?;
            }
            Event::Text(text) => append(&mut open, &text.xml10_content())?,
            Event::CData(text) => append(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let resolved =
                    reference.resolve_char_ref().map_err(|error| Malformed::body(error.to_string()))?;
                let name = reference.xml10_content();
                match (resolved, quick_xml::escape::resolve_predefined_entity(&name)) {
                    (Some(character), _) => append(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    (None, Some(text)) => append(&mut open, text)?,
                    (None, None) => return Err(Malformed::body(format!("the entity {name:?} is not known"))),
                }
            }
            // Entities of a document type are a way to make a small document large; no AWS request has one.
            Event::DocType(_) => return Err(Malformed::body("document types are not accepted")),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    root.filter(|_| open.is_empty()).ok_or_else(|| Malformed::body("the document ends early"))
}

fn element(start: &BytesStart<'_>) -> Decoded<Element> {
    let mut element = Element { name: start.local_name().as_ref().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| Malformed::body(error.to_string()))?;
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| Malformed::body(error.to_string()))?;
        element.attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(element)
}

fn end(open: &mut [Element], root: &mut Option<Element>, element: Element) -> Decoded<()> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err(Malformed::body("the document has more than one root element")),
    }
    Ok(())
}

fn append(open: &mut [Element], text: &str) -> Decoded<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Malformed::body("there is text outside the root element")),
    }
    Ok(())
}

impl Element {
    /// The name without prefix.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let local = |name: &str| name.rsplit(':').next().map(str::to_owned);
        let found = self.attributes.iter().find(|(own, _)| own == name);
        let found = found.or_else(|| {
            self.attributes.iter().find(|(own, _)| !own.starts_with("xmlns") && local(own) == local(name))
        });
        found.map(|(_, value)| &**value)
    }
}

/// The neutral form of an element of a shape.
pub(crate) fn decode(service: &Service, shape: &Shape, member: &Member, element: &Element) -> Decoded<Value> {
    match &shape.kind {
        Kind::Structure { members, .. } => decode_members(service, members, element).map(Value::Object),
        Kind::List(item) => {
            decode_list(service, item, element.children.iter().collect::<Vec<_>>().as_slice())
        }
        Kind::Map(key, value) => {
            decode_map(service, key, value, element.children.iter().collect::<Vec<_>>().as_slice())
        }
        _ => scalar::read(shape, member, &element.text, TimestampFormat::Iso8601).map_err(Malformed::Body),
    }
}

/// The members of a structure that are in the body.
pub(crate) fn decode_members(
    service: &Service,
    members: &[Member],
    element: &Element,
) -> Decoded<Map<String, Value>> {
    let mut decoded = Map::new();
    for member in members.iter().filter(|member| member.location == Location::Body) {
        if let Some(value) = decode_member(service, member, element)? {
            decoded.insert(member.name.to_string(), value);
        }
    }
    Ok(decoded)
}

fn decode_member(service: &Service, member: &Member, parent: &Element) -> Decoded<Option<Value>> {
    let shape = service.shape(member.shape);
    let name = member.wire_name();
    if member.is_xml_attribute {
        return Ok(parent.attribute(name).map(Value::from));
    }
    if member.is_flattened {
        match &shape.kind {
            Kind::List(item) => {
                let item_name = item.location_name.as_deref().unwrap_or(name);
                let elements: Vec<&Element> = parent
                    .children
                    .iter()
                    .filter(|child| child.name == name || child.name == item_name)
                    .collect();
                return (!elements.is_empty()).then(|| decode_list(service, item, &elements)).transpose();
            }
            Kind::Map(key, value) => {
                let elements: Vec<&Element> = parent.named(name).collect();
                return (!elements.is_empty())
                    .then(|| decode_map(service, key, value, &elements))
                    .transpose();
            }
            _ => {}
        }
    }
    parent.named(name).next().map(|element| decode(service, shape, member, element)).transpose()
}

fn decode_list(service: &Service, item: &Member, elements: &[&Element]) -> Decoded<Value> {
    let shape = service.shape(item.shape);
    let values = elements.iter().map(|element| decode(service, shape, item, element));
    values.collect::<Decoded<_>>().map(Value::Array)
}

fn decode_map(service: &Service, key: &Member, value: &Member, entries: &[&Element]) -> Decoded<Value> {
    let key_name = key.location_name.as_deref().unwrap_or("key");
    let value_name = value.location_name.as_deref().unwrap_or("value");
    let shape = service.shape(value.shape);
    let mut decoded = Map::new();
    for entry in entries {
        let key = entry.named(key_name).next().ok_or_else(|| Malformed::body("an entry has no key"))?;
        let element =
            entry.named(value_name).next().ok_or_else(|| Malformed::body("an entry has no value"))?;
        decoded.insert(key.text.clone(), decode(service, shape, value, element)?);
    }
    Ok(Value::Object(decoded))
}

/// Writes elements of neutral values.
pub(crate) struct Writer<'a> {
    service: &'a Service,
    /// Whether timestamps have three digits of a second's fraction, as S3's have.
    with_millis: bool,
    /// Whether members go by their names in awsQuery.
    uses_query_names: bool,
    text: String,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(service: &'a Service, with_millis: bool) -> Self {
        Self { service, with_millis, uses_query_names: false, text: String::new() }
    }

    /// From now on members go by their names in awsQuery.
    pub(crate) fn use_query_names(&mut self) {
        self.uses_query_names = true;
    }

    fn name<'m>(&self, member: &'m Member) -> &'m str {
        if self.uses_query_names { member.query_name() } else { member.wire_name() }
    }

    /// The document.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    pub(crate) fn declaration(&mut self) {
        self.text.push_str(DECLARATION);
    }

    pub(crate) fn open(&mut self, name: &str, namespace: Option<&str>) {
        open(&mut self.text, name, namespace);
    }

    pub(crate) fn close(&mut self, name: &str) {
        close(&mut self.text, name);
    }

    pub(crate) fn leaf(&mut self, name: &str, text: &str) {
        leaf(&mut self.text, name, text);
    }

    pub(crate) fn text(&mut self, text: &str) {
        escape(&mut self.text, text);
    }

    /// The elements of a structure's members that are in the body.
    pub(crate) fn members(&mut self, members: &[Member], object: &Map<String, Value>) {
        for member in members.iter().filter(|member| member.location == Location::Body) {
            if member.is_xml_attribute {
                continue;
            }
            match object.get(&*member.name) {
                None | Some(Value::Null) => {}
                Some(value) => self.member(member, value),
            }
        }
    }

    fn member(&mut self, member: &Member, value: &Value) {
        let shape = self.service.shape(member.shape);
        if member.is_flattened {
            match (&shape.kind, value) {
                (Kind::List(item), Value::Array(values)) => {
                    let name = item.location_name.as_deref().unwrap_or(self.name(member));
                    for value in values {
                        self.element(name, item, value);
                    }
                    return;
                }
                (Kind::Map(key, item), Value::Object(entries)) => {
                    for (name, value) in entries {
                        self.entry(self.name(member), (key, name), (item, value));
                    }
                    return;
                }
                _ => {}
            }
        }
        self.element(self.name(member), member, value);
    }

    /// The element `name` of a value.
    pub(crate) fn element(&mut self, name: &str, member: &Member, value: &Value) {
        let service = self.service;
        let shape = service.shape(member.shape);
        self.text.push('<');
        self.text.push_str(name);
        self.attributes_of(shape, member.xml_namespace.as_deref(), value);
        self.text.push('>');
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Object(object)) => self.members(members, object),
            (Kind::List(item), Value::Array(values)) => {
                let name = item.location_name.as_deref().unwrap_or("member");
                for value in values {
                    self.element(name, item, value);
                }
            }
            (Kind::Map(key, item), Value::Object(entries)) => {
                for (name, value) in entries {
                    self.entry("entry", (key, name), (item, value));
                }
            }
            _ => {
                let text = scalar::write(shape, member, value, TimestampFormat::Iso8601, self.with_millis);
                escape(&mut self.text, text.as_deref().unwrap_or(""));
            }
        }
        self.close(name);
    }

    fn attributes_of(&mut self, shape: &Shape, namespace: Option<&XmlNamespace>, value: &Value) {
        match namespace {
            Some(XmlNamespace { prefix: Some(prefix), uri }) => {
                attribute(&mut self.text, &format!("xmlns:{prefix}"), uri);
            }
            Some(XmlNamespace { prefix: None, uri }) => attribute(&mut self.text, "xmlns", uri),
            None => {}
        }
        for member in shape.members().iter().filter(|member| member.is_xml_attribute) {
            if let Some(text) = value.get(&*member.name).and_then(Value::as_str) {
                attribute(&mut self.text, member.wire_name(), text);
            }
        }
    }

    fn entry(&mut self, element: &str, (key, name): (&Member, &str), (item, value): (&Member, &Value)) {
        self.open(element, None);
        self.leaf(key.location_name.as_deref().unwrap_or("key"), name);
        self.element(item.location_name.as_deref().unwrap_or("value"), item, value);
        self.close(element);
    }
}

/// What an XML document begins with.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes the start of an element.
pub(crate) fn open(out: &mut String, name: &str, namespace: Option<&str>) {
    out.push('<');
    out.push_str(name);
    if let Some(uri) = namespace {
        attribute(out, "xmlns", uri);
    }
    out.push('>');
}

/// Writes the end of an element.
pub(crate) fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Writes an element of text.
pub(crate) fn leaf(out: &mut String, name: &str, text: &str) {
    open(out, name, None);
    escape(out, text);
    close(out, name);
}

fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape(out, value);
    out.push('"');
}

/// Escapes text so that it is the same text in content and in attributes. Control characters that XML 1.0 does not
/// have are written as references, as S3 writes the keys of a listing.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            control if control < ' ' || matches!(control, '\u{fffe}' | '\u{ffff}') => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#x{:x};", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: &str) {
        let found = match parse(document.as_bytes()) {
            Ok(root) => format!("{} {:?} {}", root.name, root.text, root.children.len()),
            Err(Malformed::Body(message)) => format!("error: {message}"),
            Err(other) => format!("{other:?}"),
        };
        assert!(found.starts_with(expected), "{document:.200}: {found}");
    }

    #[test]
    fn documents_are_read_and_hostile_ones_refused() {
        check("<a>x&lt;&#65;&#x42;<![CDATA[<&]]></a>", r#"a "x<AB<&" 0"#);
        check("<?xml version='1.0'?>\n<s3:a xmlns:s3='u'><b/><b/></s3:a>\n", r#"a "" 2"#);
        check("", "error: the document ends early");
        check("<a><b></a>", "error: ");
        check("<a>", "error: the document ends early");
        check("<a/><b/>", "error: the document has more than one root element");
        check("x<a/>", "error: there is text outside");
        check("<!DOCTYPE a [<!ENTITY b 'bb'>]><a>&b;</a>", "error: document types");
        check("<a>&b;</a>", "error: the entity \"b\" is not known");
        check("<a>&#x0;</a>", "error: ");
        check(&"<a>".repeat(100_000), "error: elements are nested deeper than 64");
        check(&format!("<a {}/>", "b='' ".repeat(2)), "error: ");
    }

    #[test]
    fn text_is_escaped() {
        let mut text = String::new();
        escape(&mut text, "a<b>&\"'\r\u{1}é\n");
        assert_eq!(text, "a&lt;b&gt;&amp;&quot;'&#xd;&#x1;é\n");
    }
}
