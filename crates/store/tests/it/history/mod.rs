//! The event history: lookups against a model, crashes, retention, the file format.

mod files;
mod golden;
mod model;
mod model_run;
mod pages;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::{Clock, Timestamp};
use cairn_store::history::{
    Attribute, History, HistoryEvent, Lookup, LookupPage, SegmentHistory, SegmentSettings,
};
use cairn_store::{Catalog, LogPosition};
use cairn_testkit::TestClock;

/// The time at which the tests' clocks start.
fn start() -> Timestamp {
    Timestamp::parse_iso("2026-11-20T17:24:26Z").unwrap()
}

/// Settings small enough that a few dozen events make several segments and merges.
fn small() -> SegmentSettings {
    SegmentSettings {
        tail_events_max: 12,
        tail_age_max: Duration::from_secs(60),
        // Row groups of two rows or more are copied as they are.
        row_group_rows_max: 16,
        merge_segments: 3,
        segment_rows_max: 100,
        ..SegmentSettings::default()
    }
}

async fn open(
    directory: &Path,
    catalog: &Catalog,
    clock: &Arc<TestClock>,
    settings: SegmentSettings,
) -> SegmentHistory {
    let clock: Arc<dyn Clock> = clock.clone();
    SegmentHistory::open(directory, catalog.clone(), clock, settings).await.unwrap()
}

/// An event at `position` with a few attributes that follow from it.
fn event(position: u64, time: Timestamp) -> HistoryEvent {
    HistoryEvent {
        position: LogPosition(position),
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        time,
        insight: false,
        attributes: vec![
            (Attribute::EventId, format!("event-{position}")),
            (
                Attribute::EventName,
                if position.is_multiple_of(3) { "CreateUser" } else { "GetUser" }.to_owned(),
            ),
            (Attribute::ResourceType, "AWS::IAM::User".to_owned()),
            (Attribute::ResourceName, format!("user-{}", position % 5)),
        ],
        json: Bytes::from(format!(r#"{{"eventID":"event-{position}"}}"#)),
    }
}

/// A lookup of all events of [`event`]'s account and region.
fn everything() -> Lookup {
    Lookup {
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        insight: false,
        attribute: None,
        start: None,
        end: None,
        limit: 50,
        after: None,
    }
}

/// The positions of a page, in the order shown.
fn positions(page: &LookupPage) -> Vec<u64> {
    page.events.iter().map(|event| event.position.0).collect()
}

/// All that a lookup finds, page by page.
async fn all_pages(history: &dyn History, mut query: Lookup) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    loop {
        let page = history.lookup(query.clone()).await.unwrap();
        events.extend(page.events);
        query.after = page.next;
        if query.after.is_none() {
            return events;
        }
    }
}
