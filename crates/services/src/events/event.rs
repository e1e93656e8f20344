//! An event as it comes to a bus.
//!
//! Invariant: the detail's bytes stay as they were given, from the record or the call to the target.

use std::sync::Arc;

use cairn_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names::BusArn;
use super::state::Rule;

/// An event that comes to a bus.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The bus.
    pub(super) bus: BusArn,
    /// Its id.
    pub(super) id: String,
    /// The whole event as JSON text.
    pub(super) text: Arc<str>,
    /// Whether only rules take it that ask for management events that only read.
    pub(super) is_read: bool,
    /// An event with the same text is the same event, if it comes again soon.
    pub(super) deduplication: Option<String>,
    /// The buses that it has been on before this one.
    pub(super) via: Vec<BusArn>,
    /// Of a replay: the rules that it is for, by ARN; all where the list is empty. It is not archived again.
    pub(super) replayed_to: Option<Vec<String>>,
    /// X-Ray's trace header.
    pub(super) trace_header: Option<String>,
}

impl Arrival {
    /// An event that somebody just made.
    pub(super) fn new(bus: BusArn, id: String, text: String) -> Self {
        Self {
            bus,
            id,
            text: text.into(),
            is_read: false,
            deduplication: None,
            via: Vec::new(),
            replayed_to: None,
            trace_header: None,
        }
    }

    /// Whether a rule that takes it gets it.
    pub(super) fn is_for(&self, rule: &Rule) -> bool {
        self.replayed_to.as_ref().is_none_or(|only| only.is_empty() || only.contains(&rule.arn()))
    }
}

/// The members of an event, in AWS's order.
#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    pub(super) version: &'static str,
    pub(super) id: &'a str,
    #[serde(rename = "detail-type")]
    pub(super) detail_type: &'a str,
    pub(super) source: &'a str,
    pub(super) account: &'a str,
    pub(super) time: String,
    pub(super) region: &'a str,
    pub(super) resources: &'a [String],
    pub(super) detail: &'a RawValue,
}

impl Envelope<'_> {
    /// The event's text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("an envelope's members are all JSON")
    }
}

/// The version of all events.
pub(super) const VERSION: &str = "0";

/// What is read of an event again.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) time: String,
}

impl Head {
    pub(super) fn of(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// When the event was.
    pub(super) fn at(&self) -> Option<Timestamp> {
        Timestamp::parse_iso(&self.time)
    }
}

/// The text of an event that is replayed: with the member `replay-name` before its end.
pub(super) fn replayed(text: &str, replay: &str) -> String {
    let name = serde_json::to_string(replay).expect("a text is JSON");
    match text.trim_end().strip_suffix('}') {
        Some(open) => format!("{open},\"replay-name\":{name}}}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_details_bytes_are_not_printed_anew() {
        let detail: Box<RawValue> = serde_json::from_str(r#"{ "a":1.0,  "b":1e2 }"#).unwrap();
        let envelope = Envelope {
            version: VERSION,
            id: "i",
            detail_type: "t",
            source: "s",
            account: "111122223333",
            time: Timestamp::from_seconds(0).iso(),
            region: "us-east-1",
            resources: &[],
            detail: &detail,
        };
        let text = envelope.text();
        assert_eq!(
            text,
            r#"{"version":"0","id":"i","detail-type":"t","source":"s","account":"111122223333","time":"1970-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail":{ "a":1.0,  "b":1e2 }}"#
        );
        assert!(replayed(&text, "again").ends_with(r#"{ "a":1.0,  "b":1e2 },"replay-name":"again"}"#));
        assert_eq!(Head::of(&text).and_then(|head| head.at()), Some(Timestamp::from_seconds(0)));
    }
}
