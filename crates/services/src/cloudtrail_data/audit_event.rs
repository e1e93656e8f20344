//! One event of PutAuditEvents, and the record that it becomes.
//!
//! Source: the user guide's page "CloudTrail Lake integrations event schema"; the error codes are those that the API
//! reference lists for ResultErrorEntry.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::record::build::{
    ADDITIONAL_DATA_SIZE_BYTES_MAX, ELEMENTS_SIZE_BYTES_MAX, EVENT_VERSION, TEXT_SIZE_BYTES_MAX,
};
use cairn_core::{EventId, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::cloudtrail::channels::ChannelArn;
use crate::service::Caller;

/// Bytes of errorCode and errorMessage.
const ERROR_SIZE_BYTES_MAX: usize = 256;

/// An event as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvent {
    pub(super) id: String,
    pub(super) event_data: String,
    event_data_checksum: Option<String>,
}

/// Why an event is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
}

fn fault(code: &'static str, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into() }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    version: Option<Value>,
    user_identity: Option<Identity>,
    user_agent: Option<String>,
    event_source: Option<String>,
    event_name: Option<String>,
    event_time: Option<String>,
    #[serde(rename = "UID")]
    uid: Option<String>,
    #[serde(borrow)]
    request_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    response_elements: Option<&'a RawValue>,
    error_code: Option<String>,
    error_message: Option<String>,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    recipient_account_id: Option<String>,
    #[serde(borrow)]
    additional_event_data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    r#type: Option<String>,
    principal_id: Option<String>,
    details: Option<Value>,
}

impl AuditEvent {
    /// The event's id and its record.
    pub(super) fn record(&self, caller: &Caller, channel: &ChannelArn) -> Result<(EventId, Bytes), Fault> {
        if let Some(expected) = &self.event_data_checksum {
            let computed = STANDARD.encode(digest(&SHA256, self.event_data.as_bytes()));
            if *expected != computed {
                return Err(fault("InvalidChecksum", "The checksum is not the base64 SHA-256 of eventData."));
            }
        }
        let data: EventData<'_> = serde_json::from_str(&self.event_data).map_err(|error| {
            let mut message = format!("eventData is not the JSON of an event: {error}");
            message.truncate(message.floor_char_boundary(TEXT_SIZE_BYTES_MAX));
            fault("InvalidData", message)
        })?;
        let seed = format!("{channel}\0{}", self.id);
        let hash = digest(&SHA256, seed.as_bytes());
        let first = hash.as_ref().first_chunk::<16>().expect("a SHA-256 has 32 bytes");
        let event_id = EventId::from_random(*first);
        let event = data.members(caller, channel, &event_id)?;
        let json = serde_json::to_vec(&event).expect("a JSON map serialises");
        Ok((event_id, Bytes::from(json)))
    }
}

impl EventData<'_> {
    fn members(
        self,
        caller: &Caller,
        channel: &ChannelArn,
        event_id: &EventId,
    ) -> Result<Map<String, Value>, Fault> {
        let identity = self.user_identity.ok_or_else(|| missing("userIdentity"))?;
        let time = required(self.event_time, "eventTime")?;
        let recipient = required(self.recipient_account_id, "recipientAccountId")?;
        if recipient != channel.account.as_str() {
            let message = "recipientAccountId must be the account that owns the channel.";
            return Err(fault("InvalidRecipient", message));
        }
        self.version.filter(|version| !version.is_null()).ok_or_else(|| missing("version"))?;
        let mut user = Map::new();
        user.insert("type".into(), json!(required(identity.r#type, "userIdentity.type")?));
        user.insert(
            "principalId".into(),
            json!(required(identity.principal_id, "userIdentity.principalId")?),
        );
        user.insert("accountId".into(), json!(recipient));
        user.extend(identity.details.map(|details| ("details".to_owned(), details)));

        let mut event = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                event.insert(name.to_owned(), value);
            }
        };
        put("eventVersion", Some(json!(EVENT_VERSION)));
        put("userIdentity", Some(Value::Object(user)));
        put("eventTime", Some(json!(utc(&time)?)));
        put("eventSource", Some(required(self.event_source, "eventSource")?.into()));
        put("eventName", Some(required(self.event_name, "eventName")?.into()));
        put("awsRegion", Some(json!(channel.region)));
        put("sourceIPAddress", optional(self.source_ip_address, "sourceIPAddress", TEXT_SIZE_BYTES_MAX)?);
        put("userAgent", optional(self.user_agent, "userAgent", TEXT_SIZE_BYTES_MAX)?);
        put("errorCode", optional(self.error_code, "errorCode", ERROR_SIZE_BYTES_MAX)?);
        put("errorMessage", optional(self.error_message, "errorMessage", ERROR_SIZE_BYTES_MAX)?);
        put(
            "requestParameters",
            object(self.request_parameters, "requestParameters", ELEMENTS_SIZE_BYTES_MAX)?,
        );
        put("responseElements", object(self.response_elements, "responseElements", ELEMENTS_SIZE_BYTES_MAX)?);
        let additional = self.additional_event_data;
        put(
            "additionalEventData",
            object(additional, "additionalEventData", ADDITIONAL_DATA_SIZE_BYTES_MAX)?,
        );
        put("requestID", Some(required(self.uid, "UID")?.into()));
        put("eventID", Some(json!(event_id)));
        put("eventType", Some(json!("ActivityLog")));
        put("recipientAccountId", Some(json!(recipient)));
        put("eventCategory", Some(json!("ActivityAuditLog")));
        let metadata = json!({"ingestionTime": caller.now.iso(), "channelARN": channel.to_string()});
        put("metadata", Some(metadata));
        Ok(event)
    }
}

fn missing(member: &str) -> Fault {
    fault("FieldNotFound", format!("The required field {member} is missing or empty."))
}

fn required(text: Option<String>, member: &str) -> Result<String, Fault> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| missing(member))?;
    if text.len() > TEXT_SIZE_BYTES_MAX { Err(too_long(member, TEXT_SIZE_BYTES_MAX)) } else { Ok(text) }
}

fn optional(text: Option<String>, member: &str, size_bytes_max: usize) -> Result<Option<Value>, Fault> {
    match text {
        Some(text) if text.len() > size_bytes_max => Err(too_long(member, size_bytes_max)),
        text => Ok(text.map(Value::String)),
    }
}

/// A member that is a JSON object.
fn object(raw: Option<&RawValue>, member: &str, size_bytes_max: usize) -> Result<Option<Value>, Fault> {
    let Some(raw) = raw else { return Ok(None) };
    if raw.get().len() > size_bytes_max {
        return Err(too_long(member, size_bytes_max));
    }
    match serde_json::from_str(raw.get()) {
        Ok(value @ (Value::Object(_) | Value::Null)) => Ok(Some(value)),
        _ => Err(fault("InvalidData", format!("The field {member} must be a JSON object."))),
    }
}

fn too_long(member: &str, size_bytes_max: usize) -> Fault {
    fault("FieldTooLong", format!("The field {member} is longer than {size_bytes_max} bytes."))
}

/// The schema's `yyyy-MM-DDTHH:mm:ss`, with or without `Z`, as records have it.
fn utc(text: &str) -> Result<String, Fault> {
    let text = format!("{}Z", text.strip_suffix('Z').unwrap_or(text));
    let time = Timestamp::parse_iso(&text);
    time.map(Timestamp::iso).ok_or_else(|| {
        fault("InvalidData", "The field eventTime must have the form yyyy-MM-DDTHH:mm:ss, in UTC.")
    })
}
