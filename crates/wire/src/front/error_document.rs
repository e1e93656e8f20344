//! An error as each protocol writes it.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::Exchange;
use super::exchange::{CBOR_MEDIA_TYPE, json_bytes};
use crate::AwsError;
use crate::codec::{cbor, rest, xml};
use crate::model::{Kind, Protocol, Service, Shape};

/// The messages that SQS words otherwise in its older protocol.
const SQS_QUERY_MESSAGES: &[(&str, &str)] =
    &[("The specified queue does not exist.", "The specified queue does not exist for this wsdl version.")];

/// An error with all that its document shows.
pub(super) struct Document<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) error: &'a AwsError,
    /// The error's shape, where the model has one.
    pub(super) shape: Option<&'a Shape>,
    pub(super) request_id: &'a str,
    pub(super) host_id: &'a str,
    /// The request's path.
    pub(super) resource: &'a str,
}

impl Document<'_> {
    /// The handler's status; where that is the general 400 and the protocol, or the one that the service once spoke, uses
    /// others, the model's.
    pub(super) fn status(&self) -> u16 {
        let modelled = self.shape.and_then(|shape| shape.error_status).filter(|_| {
            self.error.status == 400
                && (self.is_query_compatible()
                    || matches!(
                        self.exchange.protocol,
                        Protocol::Query | Protocol::RestJson | Protocol::RestXml
                    ))
        });
        modelled.unwrap_or(self.error.status)
    }

    /// The document with its content type; some protocols say the code in headers too.
    pub(super) fn write(&self, headers: &mut HeaderMap) -> (Vec<u8>, &'static str) {
        match self.exchange.protocol {
            Protocol::RpcV2Cbor => {
                self.query_error_header(headers);
                let mut entries =
                    vec![("__type", &*self.error.code), (self.message_name(), &*self.error.message)];
                entries.extend(self.error.members.iter().map(|(name, text)| (&**name, &**text)));
                (cbor::encode_texts(&entries), CBOR_MEDIA_TYPE)
            }
            Protocol::Json => {
                self.query_error_header(headers);
                let mut object = Map::from_iter([("__type".to_owned(), Value::from(&*self.error.code))]);
                self.json_members(&mut object);
                (json_bytes(&object), self.exchange.json_content_type())
            }
            Protocol::RestJson => {
                rest::set(headers, "x-amzn-errortype", &self.error.code);
                let mut object = Map::new();
                self.json_members(&mut object);
                (json_bytes(&object), "application/json")
            }
            Protocol::Query => (self.query(), "text/xml"),
            Protocol::RestXml if self.exchange.is_s3() || self.exchange.service().is_none() => {
                (self.s3(), "application/xml")
            }
            Protocol::RestXml => (self.query(), "text/xml"),
            Protocol::Ec2 => (self.ec2(), "text/xml"),
        }
    }

    /// A service that once spoke awsQuery names the code that it had there.
    fn query_error_header(&self, headers: &mut HeaderMap) {
        let code = self.shape.and_then(|shape| shape.error_code.as_deref());
        if let (true, Some(code)) = (self.is_query_compatible(), code) {
            rest::set(headers, "x-amzn-query-error", &format!("{code};{}", self.fault()));
        }
    }

    fn is_query_compatible(&self) -> bool {
        self.exchange.service_model().is_some_and(|service| service.is_query_compatible)
    }

    fn is_sqs(&self) -> bool {
        self.exchange.service() == Some("sqs")
    }

    fn fault(&self) -> &'static str {
        let is_server = self.error.status >= 500 || self.shape.is_some_and(|shape| shape.is_fault);
        if is_server { "Receiver" } else { "Sender" }
    }

    /// What the model calls the message: `message` or `Message`.
    fn message_name(&self) -> &str {
        let members = self.shape.map_or(&[][..], Shape::members);
        members
            .iter()
            .find(|member| member.name.eq_ignore_ascii_case("message"))
            .map_or("message", |member| member.wire_name())
    }

    fn json_members(&self, object: &mut Map<String, Value>) {
        object.insert(self.message_name().to_owned(), Value::from(&*self.error.message));
        for (name, text) in &self.error.members {
            object.insert(name.to_string(), self.typed(name, text));
        }
    }

    /// A further member in the type that the model gives it.
    fn typed(&self, name: &str, text: &str) -> Value {
        let kind = |service: &'static Service| {
            let member = self.shape?.members().iter().find(|member| &*member.name == name)?;
            Some(&service.shape(member.shape).kind)
        };
        let typed = match self.exchange.service_model().and_then(kind) {
            Some(Kind::String) | None => None,
            Some(_) => serde_json::from_str(text).ok(),
        };
        typed.unwrap_or_else(|| Value::from(text))
    }

    fn query(&self) -> Vec<u8> {
        let mut text = Text::default();
        let namespace = self.exchange.namespace();
        text.open("ErrorResponse", namespace);
        text.open("Error", None);
        text.leaf("Type", self.fault());
        let modelled = self.shape.and_then(|shape| shape.error_code.as_deref());
        let code = modelled.filter(|_| self.is_query_compatible()).unwrap_or(&self.error.code);
        text.leaf("Code", code);
        let message = &self.error.message;
        let other = SQS_QUERY_MESSAGES.iter().find(|(own, _)| self.is_sqs() && own == message);
        text.leaf("Message", other.map_or(message, |(_, other)| other));
        self.members(&mut text);
        if self.is_sqs() {
            text.leaf("Detail", "");
        }
        text.close("Error");
        text.leaf("RequestId", self.request_id);
        text.close("ErrorResponse");
        text.0.into_bytes()
    }

    fn ec2(&self) -> Vec<u8> {
        let mut text = Text::declared();
        text.open("Response", None);
        text.open("Errors", None);
        text.open("Error", None);
        self.code_and_members(&mut text);
        text.close("Error");
        text.close("Errors");
        text.leaf("RequestID", self.request_id);
        text.close("Response");
        text.0.into_bytes()
    }

    fn s3(&self) -> Vec<u8> {
        let mut text = Text::declared();
        text.open("Error", None);
        if self.error.code == "InternalFailure" {
            text.leaf("Code", "InternalError");
            text.leaf("Message", "We encountered an internal error. Please try again.");
        } else {
            self.code_and_members(&mut text);
        }
        if self.error.members.is_empty() && !self.resource.is_empty() {
            text.leaf("Resource", self.resource);
        }
        text.leaf("RequestId", self.request_id);
        text.leaf("HostId", self.host_id);
        text.close("Error");
        text.0.into_bytes()
    }

    fn code_and_members(&self, text: &mut Text) {
        text.leaf("Code", &self.error.code);
        text.leaf("Message", &self.error.message);
        self.members(text);
    }

    fn members(&self, text: &mut Text) {
        for (name, value) in &self.error.members {
            text.leaf(name, value);
        }
    }
}

/// An XML document of leaves.
#[derive(Default)]
struct Text(String);

impl Text {
    fn declared() -> Self {
        Self(xml::DECLARATION.to_owned())
    }

    fn open(&mut self, name: &str, namespace: Option<&str>) {
        xml::open(&mut self.0, name, namespace);
    }

    fn close(&mut self, name: &str) {
        xml::close(&mut self.0, name);
    }

    /// Messages quote what clients sent. A reference to a control character would leave clients, whose parsers refuse
    /// it, with no error code at all.
    fn leaf(&mut self, name: &str, text: &str) {
        let unwritable =
            |c: char| c < ' ' && !matches!(c, '\n' | '\t') || matches!(c, '\u{fffe}' | '\u{ffff}');
        xml::leaf(&mut self.0, name, &text.replace(unwritable, "\u{fffd}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_write_is_replaced_in_errors() {
        let mut text = Text(String::new());
        text.leaf("Message", "Value 'a\0b\u{1}\u{ffff}' <é>\n");
        assert_eq!(text.0, "<Message>Value 'a\u{fffd}b\u{fffd}\u{fffd}' &lt;é&gt;\n</Message>");
    }
}
