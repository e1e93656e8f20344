//! The model: a plain list of events, what happens to a history, and how a lookup is answered from the list.

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::LogPosition;
use cairn_store::history::{Attribute, HistoryEvent, Lookup};
use proptest::prelude::*;

use super::start;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Events are taken in; each position may be left out before it.
    Ingest(Vec<Draft>),
    /// A batch is taken in again, from so many positions back.
    Again(u64),
    Flush,
    Maintain,
    /// The history is dropped and opened anew; the stage reads the log again from the durable position.
    Reopen,
    /// Time passes.
    Hours(u16),
    /// A lookup, page by page, with events taken in after each page.
    Lookup(LookupDraft, Vec<Draft>),
}

/// An event without its position.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    skipped: u64,
    partition: u8,
    minutes_ago: i64,
    attributes: Vec<(Attribute, String)>,
    json_size_bytes: usize,
}

/// A lookup without the values of its times.
#[derive(Clone, Debug)]
pub(super) struct LookupDraft {
    partition: u8,
    attribute: Option<(Attribute, String)>,
    start_minutes_ago: Option<i64>,
    end_minutes_ago: Option<i64>,
    limit: usize,
}

/// How far back events go: a little past the retention of 90 days.
const MINUTES_AGO_MAX: i64 = 100 * 24 * 60;

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = || prop::collection::vec(draft(), 0..16);
    let step = prop_oneof![
        6 => batch().prop_map(Step::Ingest),
        1 => (0_u64..30).prop_map(Step::Again),
        1 => Just(Step::Flush),
        3 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => (0_u16..1500).prop_map(Step::Hours),
        5 => (lookup(), batch()).prop_map(|(lookup, batch)| Step::Lookup(lookup, batch)),
    ];
    prop::collection::vec(step, 1..40)
}

fn draft() -> impl Strategy<Value = Draft> {
    let minutes = prop_oneof![3 => 0_i64..6, 1 => 0..MINUTES_AGO_MAX];
    (0_u64..3, 0_u8..6, minutes, attributes(), 0_usize..400).prop_map(
        |(skipped, partition, minutes_ago, attributes, json_size_bytes)| Draft {
            skipped,
            partition,
            minutes_ago,
            attributes,
            json_size_bytes,
        },
    )
}

const SCALARS: [Attribute; 6] = [
    Attribute::EventId,
    Attribute::EventName,
    Attribute::ReadOnly,
    Attribute::Username,
    Attribute::EventSource,
    Attribute::AccessKeyId,
];

fn attributes() -> impl Strategy<Value = Vec<(Attribute, String)>> {
    let scalars = prop::collection::vec(prop::option::weighted(0.8, value()), SCALARS.len());
    let resources = prop::collection::vec((any::<bool>(), value()), 0..5);
    (scalars, resources).prop_map(|(scalars, resources)| {
        let scalars = SCALARS.into_iter().zip(scalars).filter_map(|(key, value)| Some((key, value?)));
        let kind = |is_type| if is_type { Attribute::ResourceType } else { Attribute::ResourceName };
        scalars.chain(resources.into_iter().map(|(is_type, value)| (kind(is_type), value))).collect()
    })
}

/// Some ids that are UUIDs.
const UUID: &str = "[a-c]{8}-0000-4000-8000-00000000000[0-2]";

fn value() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[ab]", 1 => "[a-c]{2}", 1 => "\\PC{1,8}", 2 => UUID]
}

fn lookup() -> impl Strategy<Value = LookupDraft> {
    let keys = [&SCALARS[..], &[Attribute::ResourceType, Attribute::ResourceName]].concat();
    let attribute = prop::option::weighted(0.8, (prop::sample::select(keys), value()));
    let minutes = || prop::option::weighted(0.3, prop_oneof![0_i64..6, 0..MINUTES_AGO_MAX]);
    (0_u8..6, attribute, minutes(), minutes(), 1_usize..8).prop_map(
        |(partition, attribute, start_minutes_ago, end_minutes_ago, limit)| LookupDraft {
            partition,
            attribute,
            start_minutes_ago,
            end_minutes_ago,
            limit,
        },
    )
}

/// Most of the draws fall to one partition, so that it fills up.
fn partition(number: u8) -> (&'static str, &'static str, bool) {
    match number {
        0 => ("111111111111", "us-east-1", false),
        1 => ("222222222222", "eu-west-1", false),
        2 => ("222222222222", "us-east-1", true),
        _ => ("222222222222", "us-east-1", false),
    }
}

fn ago(minutes: i64) -> Timestamp {
    Timestamp::from_millis(start().millis() - minutes * 60_000)
}

/// The event log as a list.
#[derive(Default)]
pub(super) struct Model {
    pub(super) events: Vec<HistoryEvent>,
    pub(super) end: u64,
}

impl Model {
    /// Gives the drafts their positions and notes them.
    pub(super) fn append(&mut self, drafts: &[Draft]) -> (Vec<HistoryEvent>, LogPosition) {
        let first = self.events.len();
        for draft in drafts {
            let position = self.end + draft.skipped;
            let (account, region, insight) = partition(draft.partition);
            self.events.push(HistoryEvent {
                position: LogPosition(position),
                account: account.parse().unwrap(),
                region: region.parse().unwrap(),
                time: ago(draft.minutes_ago),
                insight,
                attributes: draft.attributes.clone(),
                json: Bytes::from(json(position, draft)),
            });
            self.end = position + 1;
        }
        (self.events[first..].to_vec(), LogPosition(self.end))
    }

    /// The events from `position` on.
    pub(super) fn since(&self, position: LogPosition) -> Vec<HistoryEvent> {
        self.events.iter().filter(|event| event.position >= position).cloned().collect()
    }

    /// What the lookup must find, over all its pages.
    pub(super) fn answer(&self, query: &Lookup, kept_from: Timestamp) -> Vec<HistoryEvent> {
        let wanted = |event: &&HistoryEvent| {
            (&event.account, &event.region, event.insight) == (&query.account, &query.region, query.insight)
                && event.time >= kept_from
                && query.start.is_none_or(|start| event.time >= start)
                && query.end.is_none_or(|end| event.time <= end)
                && query.attribute.as_ref().is_none_or(|wanted| event.attributes.contains(wanted))
        };
        let mut found: Vec<_> = self.events.iter().filter(wanted).cloned().collect();
        found.sort_by_key(|event| std::cmp::Reverse((event.time, event.position)));
        found
    }
}

impl LookupDraft {
    pub(super) fn query(&self) -> Lookup {
        let (account, region, insight) = partition(self.partition);
        Lookup {
            account: account.parse().unwrap(),
            region: region.parse().unwrap(),
            insight,
            attribute: self.attribute.clone(),
            start: self.start_minutes_ago.map(ago),
            end: self.end_minutes_ago.map(ago),
            limit: self.limit,
            after: None,
        }
    }
}

/// Any bytes will do; most have the event's id between quotation marks, as JSON has it.
fn json(position: u64, draft: &Draft) -> String {
    let filler = "x".repeat(draft.json_size_bytes);
    let id = draft.attributes.iter().find(|(attribute, _)| *attribute == Attribute::EventId);
    match id.filter(|_| !draft.json_size_bytes.is_multiple_of(4)) {
        Some((_, id)) => format!("{position}-\"{id}\"{filler}"),
        None => format!("{position}-{filler}"),
    }
}
