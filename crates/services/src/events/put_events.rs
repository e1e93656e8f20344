//! PutEvents and TestEventPattern: events as callers give them.

use cairn_core::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Events;
use super::error::{Failure, validation};
use super::event::{Arrival, Envelope, VERSION};
use super::names::{BusArn, Place};
use super::rules::parsed_pattern;
use crate::Caller;

/// Bytes of all entries of a call.
const ENTRIES_SIZE_BYTES_MAX: usize = 256 * 1024;
/// Bytes that the time of an entry counts.
const TIME_SIZE_BYTES: usize = 14;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutEvents {
    entries: Vec<Entry>,
    endpoint_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    time: Option<f64>,
    source: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
    trace_header: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TestEventPattern {
    event_pattern: String,
    event: String,
}

/// Why an entry is not taken.
struct Unfit {
    code: &'static str,
    message: String,
}

impl Entry {
    fn size_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let resources: usize = self.resources.iter().map(String::len).sum();
        let time = if self.time.is_some() { TIME_SIZE_BYTES } else { 0 };
        time + text(&self.source) + text(&self.detail_type) + text(&self.detail) + resources
    }

    fn arrival(self, caller: &Caller, id: String) -> Result<Arrival, Unfit> {
        let source = required("Source", self.source.as_deref())?;
        let detail_type = required("DetailType", self.detail_type.as_deref())?;
        let detail = required("Detail", self.detail.as_deref())?;
        let malformed = || Unfit { code: "MalformedDetail", message: "Detail is malformed.".to_owned() };
        let detail: &RawValue = serde_json::from_str(detail).map_err(|_| malformed())?;
        if !detail.get().starts_with('{') {
            return Err(malformed());
        }
        if source.starts_with("aws.") {
            let message = "Not authorized for the source.".to_owned();
            return Err(Unfit { code: "NotAuthorizedForSourceException", message });
        }
        let bus = BusArn::meant(caller, self.event_bus_name.as_deref())
            .map_err(|_| invalid("EventBusName", "Provided Arn is not in correct format."))?;
        let envelope = Envelope {
            version: VERSION,
            id: &id,
            detail_type,
            source,
            account: caller.account.as_str(),
            time: self.time.map_or(caller.now, |seconds| Timestamp::from_seconds(seconds as i64)).iso(),
            region: caller.region.as_str(),
            resources: &self.resources,
            detail,
        };
        let text = envelope.text();
        Ok(Arrival { trace_header: self.trace_header, ..Arrival::new(bus, id, text) })
    }
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Unfit> {
    value
        .filter(|text| !text.is_empty())
        .ok_or_else(|| invalid(name, &format!("{name} is a required argument.")))
}

fn invalid(name: &str, reason: &str) -> Unfit {
    Unfit { code: "InvalidArgument", message: format!("Parameter {name} is not valid. Reason: {reason}") }
}

impl Events {
    pub(super) async fn put_events(&self, caller: &Caller, input: PutEvents) -> Result<Value, Failure> {
        if input.endpoint_id.is_some() {
            return Err(validation("EndpointId is not supported: this server has no global endpoints."));
        }
        if input.entries.iter().map(Entry::size_bytes).sum::<usize>() > ENTRIES_SIZE_BYTES_MAX {
            return Err(validation("Total size of the entries in the request is over the limit."));
        }
        let (mut arrivals, mut told, mut failed) = (Vec::new(), Vec::new(), 0);
        for entry in input.entries {
            match entry.arrival(caller, self.new_id()) {
                Ok(arrival) => {
                    told.push(json!({ "EventId": arrival.id }));
                    arrivals.push(arrival);
                }
                Err(Unfit { code, message }) => {
                    failed += 1;
                    told.push(json!({ "ErrorCode": code, "ErrorMessage": message }));
                }
            }
        }
        self.accept(arrivals).await?;
        Ok(json!({ "FailedEntryCount": failed, "Entries": told }))
    }

    pub(super) fn test_pattern(input: &TestEventPattern) -> Result<Value, Failure> {
        let pattern = parsed_pattern(&input.event_pattern)?;
        let malformed = || validation("Parameter Event is not valid.");
        let event: Value = serde_json::from_str(&input.event).map_err(|_| malformed())?;
        let required = ["id", "detail-type", "source", "account", "time", "region"];
        if required.iter().any(|name| event.get(name).is_none()) {
            return Err(malformed());
        }
        Ok(json!({ "Result": pattern.matches(&input.event) }))
    }

    /// The buses that the entries of a call name, each once.
    pub(super) fn buses_named(caller: &Caller, params: &Value) -> Vec<BusArn> {
        let entries = params.get("Entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut buses: Vec<BusArn> = Vec::new();
        for entry in entries {
            let named = entry.get("EventBusName").and_then(Value::as_str);
            let bus = BusArn::meant(caller, named).unwrap_or_else(|_| BusArn::default_of(&Place::of(caller)));
            if !buses.contains(&bus) {
                buses.push(bus);
            }
        }
        buses
    }
}
