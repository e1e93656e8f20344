//! The order of events in the history, the window that a lookup sees of it, and what makes two events of one kind
//! comparable: the partition.

use std::sync::Arc;

use cairn_core::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::schema::SCALARS;
use super::{Attribute, HistoryEvent, Lookup};
use crate::log::LogPosition;

/// Whose events, of which region, and of which of the two kinds: what one lookup looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct PartitionKey {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) insight: bool,
}

impl PartitionKey {
    pub(super) fn of(event: &HistoryEvent) -> Self {
        Self { account: event.account.clone(), region: event.region.clone(), insight: event.insight }
    }

    /// How the key of `event` compares with this one.
    pub(super) fn cmp_of(&self, event: &HistoryEvent) -> std::cmp::Ordering {
        self.account
            .cmp(&event.account)
            .then_with(|| self.region.cmp(&event.region))
            .then_with(|| self.insight.cmp(&event.insight))
    }

    pub(super) fn of_lookup(query: &Lookup) -> Self {
        Self { account: query.account.clone(), region: query.region.clone(), insight: query.insight }
    }
}

/// The place of an event in its partition: by time, and among events of one time by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) time: Timestamp,
    pub(super) position: LogPosition,
}

impl Place {
    pub(super) fn of(event: &HistoryEvent) -> Self {
        Self { time: event.time, position: event.position }
    }
}

/// The part of a partition that a page of a lookup may show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Nothing older.
    pub(super) oldest: Timestamp,
    /// Nothing newer.
    pub(super) newest: Timestamp,
    /// Nothing at or after this place: where the page before ended.
    pub(super) before: Option<Place>,
    /// Nothing with a position at or past this.
    pub(super) horizon: LogPosition,
}

impl Window {
    /// The window of `query`, where events before `kept_from` are no longer kept and positions from `horizon` on are
    /// not yet there.
    pub(super) fn new(query: &Lookup, kept_from: Timestamp, horizon: LogPosition) -> Self {
        let before = query.after.map(|mark| Place { time: mark.time, position: mark.position });
        let end = query.end.unwrap_or(Timestamp::from_millis(i64::MAX));
        Self {
            oldest: query.start.map_or(kept_from, |start| start.max(kept_from)),
            newest: before.map_or(end, |place| place.time.min(end)),
            before,
            horizon,
        }
    }

    pub(super) fn admits(&self, place: Place) -> bool {
        (self.oldest..=self.newest).contains(&place.time)
            && place.position < self.horizon
            && self.before.is_none_or(|before| place < before)
    }

    /// Whether events between the two times may be in the window.
    pub(super) fn overlaps(&self, oldest: Timestamp, newest: Timestamp) -> bool {
        newest >= self.oldest && oldest <= self.newest
    }
}

/// The events in the form in which they are kept. Their JSON is copied into one buffer, so that it does not hold on to
/// those that it was read in.
pub(super) fn normalised(events: Vec<HistoryEvent>) -> Vec<Arc<HistoryEvent>> {
    let mut json = Vec::with_capacity(events.iter().map(|event| event.json.len()).sum());
    events.iter().for_each(|event| json.extend_from_slice(&event.json));
    let mut rest = bytes::Bytes::from(json);
    let keep = |mut event: HistoryEvent| {
        if !is_in_order(&event.attributes) {
            put_in_order(&mut event);
        }
        event.json = rest.split_to(event.json.len());
        Arc::new(event)
    };
    events.into_iter().map(keep).collect()
}

/// Whether the attributes are as [`put_in_order`] leaves them.
fn is_in_order(attributes: &[(Attribute, String)]) -> bool {
    let resources = attributes.iter().position(|(attribute, _)| is_of_resource(*attribute));
    let (single, resources) = attributes.split_at(resources.unwrap_or(attributes.len()));
    let mut wanted = SCALARS.into_iter();
    single.iter().all(|(attribute, _)| wanted.any(|wanted| wanted == *attribute))
        && resources.iter().all(|(attribute, _)| is_of_resource(*attribute))
        && attributes.iter().all(|(_, value)| !value.is_empty())
}

fn is_of_resource(attribute: Attribute) -> bool {
    matches!(attribute, Attribute::ResourceType | Attribute::ResourceName)
}

/// Puts the attributes of `event` into the one order in which they are kept, so that an event reads the same from
/// memory and from a file: each single one once, then the resources as pairs of type and name. Empty values are no
/// values.
fn put_in_order(event: &mut HistoryEvent) {
    let mut attributes = Vec::with_capacity(event.attributes.len());
    for wanted in SCALARS {
        if let Some(value) = event.attribute(wanted).filter(|value| !value.is_empty()) {
            attributes.push((wanted, value.to_owned()));
        }
    }
    for (kind, name) in event.resources() {
        attributes.extend(kind.map(|kind| (Attribute::ResourceType, kind.to_owned())));
        attributes.extend(name.map(|name| (Attribute::ResourceName, name.to_owned())));
    }
    event.attributes = attributes;
}

/// About how much memory `event` takes, in bytes.
pub(super) fn size_bytes(event: &HistoryEvent) -> usize {
    const EVENT_OVERHEAD_BYTES: usize = 256;
    const ATTRIBUTE_OVERHEAD_BYTES: usize = 48;
    let attributes: usize =
        event.attributes.iter().map(|(_, value)| value.len() + ATTRIBUTE_OVERHEAD_BYTES).sum();
    EVENT_OVERHEAD_BYTES + attributes + event.json.len()
}
