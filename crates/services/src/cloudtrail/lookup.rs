//! LookupEvents: the event history of the caller's account and region, newest first.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::history::{Attribute, HistoryEvent, Lookup, Mark};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::failure::{self, Failure};
use super::keys::timestamp;
use super::{CloudTrail, HISTORY_DAYS, LOOKUP_EVENTS_PER_PAGE_MAX, reply};
use crate::service::Caller;

/// Characters of an attribute's value.
const ATTRIBUTE_VALUE_LENGTH: std::ops::RangeInclusive<usize> = 1..=2000;
/// Bytes of the checksum in a token.
const CHECKSUM_SIZE_BYTES: usize = 16;
/// Accounts and regions whose rate is remembered at a time.
const THROTTLED_CALLERS_MAX: usize = 10_000;

/// LookupEvents' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LookupRequest {
    lookup_attributes: Option<Vec<LookupAttribute>>,
    start_time: Option<f64>,
    end_time: Option<f64>,
    event_category: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LookupAttribute {
    attribute_key: String,
    attribute_value: String,
}

impl CloudTrail {
    pub(super) async fn lookup_events(
        &self,
        caller: &Caller,
        request: LookupRequest,
    ) -> Result<Value, Failure> {
        self.throttle.admit(caller)?;
        let lookup = request.checked(caller)?;
        let query = query_text(caller, &request);
        let page = self.deps.history.lookup(lookup).await?;
        let events = page.events.iter().map(shown).collect::<Result<Vec<_>, AwsError>>()?;
        let mut answer = json!({"Events": events});
        if let Some(mark) = page.next {
            answer["NextToken"] = json!(token(&query, mark));
        }
        Ok(answer)
    }
}

impl LookupRequest {
    fn checked(&self, caller: &Caller) -> Result<Lookup, AwsError> {
        let limit = match usize::try_from(self.max_results.unwrap_or(LOOKUP_EVENTS_PER_PAGE_MAX as i64)) {
            Ok(limit) if (1..=LOOKUP_EVENTS_PER_PAGE_MAX).contains(&limit) => limit,
            _ => {
                return Err(AwsError::invalid(
                    "InvalidMaxResultsException",
                    "MaxResults must be a number from 1 to 50.",
                ));
            }
        };
        let insight = match self.event_category.as_deref() {
            None => false,
            Some("insight") => true,
            Some(other) => {
                return Err(AwsError::invalid(
                    "InvalidEventCategoryException",
                    format!("The event category is not valid: {other}"),
                ));
            }
        };
        let attribute = self.attribute(insight)?;
        let (start, end) = (self.start_time.map(timestamp), self.end_time.map(timestamp));
        if start.is_some_and(|start| start > caller.now) {
            return Err(failure::invalid_time_range("The start time must not be in the future."));
        }
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Err(failure::invalid_time_range("The start time must not be after the end time."));
        }
        let after = match &self.next_token {
            None => None,
            Some(text) => {
                Some(mark(&query_text(caller, self), text).ok_or_else(failure::invalid_next_token)?)
            }
        };
        let oldest = caller.now.minus(Duration::from_secs(HISTORY_DAYS * 24 * 60 * 60));
        Ok(Lookup {
            account: caller.account.clone(),
            region: caller.region.clone(),
            insight,
            attribute,
            start: Some(start.map_or(oldest, |start| start.max(oldest))),
            end,
            limit,
            after,
        })
    }

    /// The one attribute that is searched by.
    fn attribute(&self, insight: bool) -> Result<Option<(Attribute, String)>, AwsError> {
        let refused = |message: &str| Err(AwsError::invalid("InvalidLookupAttributesException", message));
        let sent = match self.lookup_attributes.as_deref() {
            None | Some([]) => return Ok(None),
            Some([only]) => only,
            Some(_) => return refused("You can specify only one lookup attribute."),
        };
        let Some(attribute) = attribute_named(&sent.attribute_key) else {
            return refused("The lookup attribute key is not valid.");
        };
        if insight && !matches!(attribute, Attribute::EventId | Attribute::EventName | Attribute::EventSource)
        {
            return refused("Insights events can be looked up by EventId, EventName and EventSource.");
        }
        let value = &sent.attribute_value;
        if !ATTRIBUTE_VALUE_LENGTH.contains(&value.chars().count()) {
            return refused("The lookup attribute value must have 1 to 2000 characters.");
        }
        if attribute == Attribute::ReadOnly && !matches!(value.as_str(), "true" | "false") {
            return refused("The value of the ReadOnly lookup attribute must be true or false.");
        }
        Ok(Some((attribute, value.clone())))
    }
}

fn attribute_named(name: &str) -> Option<Attribute> {
    Some(match name {
        "EventId" => Attribute::EventId,
        "EventName" => Attribute::EventName,
        "ReadOnly" => Attribute::ReadOnly,
        "Username" => Attribute::Username,
        "ResourceType" => Attribute::ResourceType,
        "ResourceName" => Attribute::ResourceName,
        "EventSource" => Attribute::EventSource,
        "AccessKeyId" => Attribute::AccessKeyId,
        _ => return None,
    })
}

/// An event as LookupEvents shows it: what it is found by, and the record's text byte for byte.
fn shown(event: &HistoryEvent) -> Result<Value, AwsError> {
    let text = std::str::from_utf8(&event.json).map_err(AwsError::internal)?;
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let found_by = |attribute| event.attribute(attribute).map(|value| json!(value));
    put("EventId", found_by(Attribute::EventId));
    put("EventName", found_by(Attribute::EventName));
    put("ReadOnly", found_by(Attribute::ReadOnly));
    put("AccessKeyId", found_by(Attribute::AccessKeyId));
    put("EventTime", Some(reply::seconds(event.time)));
    put("EventSource", found_by(Attribute::EventSource));
    put("Username", found_by(Attribute::Username));
    put("Resources", Some(resources(event)));
    put("CloudTrailEvent", Some(json!(text)));
    Ok(Value::Object(members))
}

fn resources(event: &HistoryEvent) -> Value {
    let shown = |(kind, name): (Option<&str>, Option<&str>)| {
        let members = [("ResourceType", kind), ("ResourceName", name)];
        let present =
            members.into_iter().filter_map(|(member, value)| Some((member.to_owned(), json!(value?))));
        Value::Object(present.collect())
    };
    event.resources().into_iter().map(shown).collect()
}

/// What a token is bound to: who asks, where, and all that says which events are meant.
fn query_text(caller: &Caller, request: &LookupRequest) -> String {
    let attributes: Vec<_> = request
        .lookup_attributes
        .iter()
        .flatten()
        .map(|attribute| (&attribute.attribute_key, &attribute.attribute_value))
        .collect();
    json!([
        caller.account,
        caller.region,
        attributes,
        request.start_time,
        request.end_time,
        request.event_category,
    ])
    .to_string()
}

/// A token is the mark after its checksum with the query. It hides nothing and needs no secret: a forged one could
/// only begin a page of the caller's own events elsewhere.
fn token(query: &str, mark: Mark) -> String {
    let mark = serde_json::to_vec(&mark).expect("a mark serialises to JSON");
    let mut bytes = checksum(query, &mark);
    bytes.extend(mark);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The mark in a token that was made for this query; none where it was made for another, or tampered with.
fn mark(query: &str, token: &str) -> Option<Mark> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (claimed, mark) = bytes.split_at_checked(CHECKSUM_SIZE_BYTES)?;
    if claimed != checksum(query, mark) {
        return None;
    }
    serde_json::from_slice(mark).ok()
}

fn checksum(query: &str, mark: &[u8]) -> Vec<u8> {
    let text = [b"LookupEvents\n".as_slice(), query.as_bytes(), b"\n", mark].concat();
    digest(&SHA256, &text).as_ref()[..CHECKSUM_SIZE_BYTES].to_vec()
}

/// Holds an account's calls in a region to a rate, counted by whole seconds.
pub(super) struct Throttle {
    per_second_max: Option<u32>,
    counts: Mutex<HashMap<(AccountId, Region), (i64, u32)>>,
}

impl Throttle {
    pub(super) fn new(per_second_max: Option<u32>) -> Self {
        Self { per_second_max, counts: Mutex::default() }
    }

    fn admit(&self, caller: &Caller) -> Result<(), AwsError> {
        let Some(max) = self.per_second_max else { return Ok(()) };
        let second = Timestamp::seconds(caller.now);
        let mut counts = self.counts.lock().expect("no panic while the counts are held");
        if counts.len() >= THROTTLED_CALLERS_MAX {
            counts.retain(|_, (counted, _)| *counted == second);
        }
        let count = counts.entry((caller.account.clone(), caller.region.clone())).or_insert((second, 0));
        if count.0 != second {
            *count = (second, 0);
        }
        if count.1 >= max {
            return Err(AwsError::invalid("ThrottlingException", "Rate exceeded"));
        }
        count.1 += 1;
        Ok(())
    }
}
