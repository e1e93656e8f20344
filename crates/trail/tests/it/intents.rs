//! Intents: whatever is cut short, every call that may have run has one event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::record::Category;
use cairn_core::record::build::CallEvent;
use cairn_core::{Clock, EventId, Timestamp};
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog, LogError, LogPosition};
use cairn_testkit::{TestClock, memory_catalog, memory_log};
use cairn_trail::intents::{self, IntentMark};
use cairn_trail::record::OpenIntent;
use cairn_trail::{Recorder, StageError};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What outlives a crash.
struct World {
    log: Arc<Faulty>,
    catalog: Catalog,
    clock: Arc<TestClock>,
}

/// A log whose appends break after some entries, where it is told so.
struct Faulty {
    log: Arc<dyn EventLog>,
    /// How many entries of an append are kept before it fails; all, without failure, where it is `SOUND`.
    kept: AtomicUsize,
}

const SOUND: usize = usize::MAX;

#[async_trait]
impl EventLog for Faulty {
    async fn append(&self, mut entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        let kept = self.kept.load(Ordering::SeqCst);
        entries.truncate(kept);
        let appended = self.log.append(entries).await;
        if kept == SOUND { appended } else { Err(LogError::Poisoned) }
    }
    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        self.log.read(from, entries_max, bytes_max).await
    }
    fn end(&self) -> LogPosition {
        self.log.end()
    }
    fn start(&self) -> LogPosition {
        self.log.start()
    }
    async fn wait_past(&self, position: LogPosition) {
        self.log.wait_past(position).await;
    }
    async fn trim(&self, position: LogPosition) -> Result<(), LogError> {
        self.log.trim(position).await
    }
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(TestClock::new(Timestamp::parse_iso("2024-10-01T00:00:00Z").unwrap()));
        let log = Arc::new(Faulty { log: memory_log(), kept: AtomicUsize::new(SOUND) });
        Self { log, catalog: memory_catalog(), clock }
    }

    fn recorder(&self) -> Recorder {
        Recorder::new(self.log.clone(), self.clock.clone())
    }

    fn keep_only(&self, entries: usize) {
        self.log.kept.store(entries, Ordering::SeqCst);
    }

    /// What a start does; how many events were missing.
    async fn recover(&self) -> Result<u64, StageError> {
        let unsettled = intents::unsettled(&*self.log, &self.catalog).await?;
        intents::settle(&*self.log, &*self.clock, unsettled).await
    }

    async fn append(&self, kind: EntryKind, payload: Bytes) {
        self.log.append(vec![Entry { kind, recorded_at: self.clock.now(), payload }]).await.unwrap();
    }

    /// All events that the log has, parsed, with their positions.
    async fn events(&self) -> BTreeMap<u64, Value> {
        let entries = self.log.read(self.log.start(), usize::MAX, usize::MAX).await.unwrap().into_iter();
        let events = entries.filter(|(_, entry)| entry.kind == EntryKind::Event);
        events.map(|(at, entry)| (at.0, serde_json::from_slice(&entry.payload).unwrap())).collect()
    }
}

fn event(number: u8) -> CallEvent {
    CallEvent {
        user_identity: json!({"type": "Root", "accountId": "123456789012"}),
        time: Timestamp::from_seconds(1_700_000_000),
        event_source: "s3.amazonaws.com".into(),
        event_name: "CreateBucket".into(),
        region: "us-east-1".parse().unwrap(),
        source_ip_address: "127.0.0.1".into(),
        user_agent: Some("aws-cli".into()),
        error: None,
        request_parameters: json!({"bucketName": format!("b{number}")}),
        response_elements: Value::Null,
        additional_event_data: Some(json!({"bytesTransferredIn": 0})),
        request_id: Some("REQ".into()),
        event_id: EventId::from_random([number; 16]),
        read_only: false,
        resources: Vec::new(),
        category: Category::Management,
        recipient: "123456789012".parse().unwrap(),
        shared_event_id: None,
        tls_details: None,
    }
}

fn is_unknown(event: &Value) -> bool {
    event["additionalEventData"]["recordingOutcome"] == "unknown"
}

fn id(number: u8) -> String {
    event(number).event_id.to_string()
}

fn ids<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    events.into_iter().map(|event| event["eventID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_call_that_a_crash_cut_short_has_one_event_that_says_so() {
    let world = World::new();
    let recorder = world.recorder();
    let done = recorder.intend(event(1)).await.unwrap();
    let _cut_short = recorder.intend(event(2)).await.unwrap();
    let answered = CallEvent { response_elements: json!({"location": "/b1"}), ..event(1) };
    recorder.record(answered, None, Some(done)).await.unwrap();

    assert_eq!(world.recover().await.unwrap(), 1);
    let events: Vec<_> = world.events().await.into_values().collect();
    let [done, cut_short] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(done["responseElements"]["location"], "/b1");
    assert!(!is_unknown(done));
    assert_eq!(cut_short["eventID"], id(2));
    assert_eq!(cut_short["responseElements"], Value::Null);
    let reason = "the server stopped before the outcome of the call was recorded";
    let data = json!({"bytesTransferredIn": 0, "recordingOutcome": "unknown", "reason": reason});
    assert_eq!(cut_short["additionalEventData"], data);
    assert_eq!(world.recover().await.unwrap(), 0);
    assert_eq!(world.events().await.len(), 2);
}

#[tokio::test]
async fn a_record_that_a_producer_sent_under_the_same_id_settles_nothing() {
    let world = World::new();
    let _cut_short = world.recorder().intend(event(1)).await.unwrap();
    world.append(EntryKind::Ingested, event(1).into_record().json().clone()).await;
    assert_eq!(world.recover().await.unwrap(), 1);
}

#[tokio::test]
async fn recovery_that_is_cut_short_anywhere_is_finished_by_the_next_one() {
    for kept in 0..=5 {
        let world = World::new();
        for number in 1..=5 {
            let _cut_short = world.recorder().intend(event(number)).await.unwrap();
        }
        world.keep_only(kept);
        world.recover().await.unwrap_err();
        world.keep_only(SOUND);
        assert_eq!(world.recover().await.unwrap(), 5 - kept as u64);
        let expected: Vec<_> = (1..=5).map(id).collect();
        assert_eq!(ids(world.events().await.values()), expected, "after {kept}");
    }
}

#[tokio::test]
async fn a_record_that_the_log_could_not_take_follows_when_it_can() {
    let world = World::new();
    let recorder = world.recorder();
    let mark = IntentMark::new(recorder.clone(), world.catalog.clone());
    let intent = recorder.intend(event(1)).await.unwrap();
    world.keep_only(0);
    recorder.record(event(1), None, Some(intent)).await.unwrap_err();
    recorder.record(event(2), None, None).await.unwrap_err();
    recorder.intend(event(3)).await.unwrap_err();
    mark.advance().await.unwrap_err();
    assert_eq!(recorder.needed_from(), LogPosition(0));
    world.keep_only(SOUND);
    assert_eq!(mark.advance().await.unwrap(), LogPosition(2));
    let events: Vec<_> = world.events().await.into_values().collect();
    assert_eq!(ids(&events), [id(1)]);
    assert!(!is_unknown(&events[0]));
}

#[tokio::test]
async fn an_intent_that_cannot_be_read_is_set_aside_and_stops_nothing() {
    let world = World::new();
    for payload in ["?", r#"{"v":2,"what":"comes later"}"#] {
        world.append(EntryKind::Intent, Bytes::from_static(payload.as_bytes())).await;
    }
    let _cut_short = world.recorder().intend(event(1)).await.unwrap();
    let found = intents::unsettled(&*world.log, &world.catalog).await.unwrap();
    assert_eq!((found.events.len(), found.undecodable), (1, 2));
    let set_aside =
        world.catalog.read(|tx| tx.scan("trail.undecodable", b"", None, 10, false)).await.unwrap();
    let texts: Vec<_> = set_aside.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("the intent is not what was written"), "{}", texts[0]);
    assert!(texts[1].contains("the intent has version 2, newer than 1"), "{}", texts[1]);
}

const INTENT_V1: &str = include_str!("golden/intent-v1.json");

#[tokio::test]
async fn intents_and_their_mark_are_written_as_ever() {
    let world = World::new();
    let recorder = world.recorder();
    let mark = IntentMark::new(recorder.clone(), world.catalog.clone());
    world.append(EntryKind::Event, Bytes::from_static(b"{}")).await;
    let _open = recorder.intend(event(7)).await.unwrap();
    let written = world.log.read(LogPosition(1), 1, usize::MAX).await.unwrap().remove(0).1.payload;
    if std::env::var_os("CAIRN_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/intent-v1.json");
        std::fs::write(path, &written).unwrap();
    }
    assert_eq!(written, INTENT_V1);
    assert_eq!(mark.advance().await.unwrap(), LogPosition(1));
    let kept = world.catalog.read(|tx| tx.get("trail.intent_cursor", b"")).await;
    let kept: Result<_, CatalogError> = kept;
    assert_eq!(kept.unwrap().unwrap(), br#"{"v":1,"d":1}"#);
}

#[tokio::test]
async fn a_golden_intent_becomes_the_event_that_it_holds() {
    let world = World::new();
    world.append(EntryKind::Intent, Bytes::from_static(INTENT_V1.as_bytes())).await;
    assert_eq!(world.recover().await.unwrap(), 1);
    let entry = world.log.read(LogPosition(1), 1, usize::MAX).await.unwrap().remove(0).1;
    let record =
        event(7).with_unknown_outcome("the server stopped before the outcome of the call was recorded");
    assert_eq!(&entry.payload, record.into_record().json());
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Begin,
    /// The nth of the open calls ends.
    End(usize),
    /// The same, while the log takes nothing.
    EndRefused(usize),
    /// The mark moves, and the log is trimmed as far as it may be.
    Trim,
    /// The program is started anew; recovery is cut short after some entries, and finished by another.
    Crash(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Begin),
        3 => (0..4_usize).prop_map(Happening::End),
        1 => (0..4_usize).prop_map(Happening::EndRefused),
        2 => Just(Happening::Trim),
        1 => (0..4_usize).prop_map(Happening::Crash),
    ]
}

/// Lets it all happen, then crashes once more. Gives the outcomes of every eventID's events: unknown or not.
async fn live(happenings: &[Happening]) -> BTreeMap<String, Vec<bool>> {
    let world = World::new();
    let (mut recorder, mut number) = (world.recorder(), 0);
    let mut mark = IntentMark::new(recorder.clone(), world.catalog.clone());
    let mut open: Vec<(u8, OpenIntent)> = Vec::new();
    let mut seen = BTreeMap::new();
    for happening in happenings.iter().chain([&Happening::Crash(1)]) {
        match *happening {
            Happening::Begin => {
                number += 1;
                open.push((number, recorder.intend(event(number)).await.unwrap()));
            }
            Happening::End(which) | Happening::EndRefused(which) if which < open.len() => {
                let (number, intent) = open.remove(which);
                let refused = matches!(happening, Happening::EndRefused(_));
                world.keep_only(if refused { 0 } else { SOUND });
                assert_eq!(recorder.record(event(number), None, Some(intent)).await.is_err(), refused);
                world.keep_only(SOUND);
            }
            Happening::End(_) | Happening::EndRefused(_) => {}
            Happening::Trim => {
                seen.extend(world.events().await);
                let needed = mark.advance().await.unwrap();
                seen.extend(world.events().await);
                world.log.trim(needed).await.unwrap();
            }
            Happening::Crash(kept) => {
                open.clear();
                world.keep_only(kept);
                let _cut_short = world.recover().await;
                world.keep_only(SOUND);
                world.recover().await.unwrap();
                recorder = world.recorder();
                mark = IntentMark::new(recorder.clone(), world.catalog.clone());
            }
        }
    }
    seen.extend(world.events().await);
    let mut outcomes: BTreeMap<String, Vec<bool>> = (1..=number).map(|number| (id(number), vec![])).collect();
    for event in seen.values() {
        outcomes.get_mut(&ids([event])[0]).unwrap().push(is_unknown(event));
    }
    outcomes
}

proptest! {
    #[test]
    fn every_call_that_began_has_one_event_whatever_happens(
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (id, outcomes) in runtime.block_on(live(&happenings)) {
            prop_assert_eq!(outcomes.len(), 1, "{}", id);
        }
    }
}

#[tokio::test]
async fn a_call_that_concerns_two_accounts_leaves_both_records_or_neither_until_both_can_follow() {
    let world = World::new();
    let recorder = world.recorder();
    let twin = || Some(CallEvent { recipient: "444455556666".parse().unwrap(), ..event(2) });
    recorder.record(event(1), twin(), None).await.unwrap();
    let events: Vec<_> = world.events().await.into_values().collect();
    assert_eq!(ids(&events), [id(1), id(2)]);
    assert_eq!(events[1]["recipientAccountId"], "444455556666");

    let world = World::new();
    let recorder = world.recorder();
    let mark = IntentMark::new(recorder.clone(), world.catalog.clone());
    let intent = recorder.intend(event(1)).await.unwrap();
    world.keep_only(0);
    recorder.record(event(1), twin(), Some(intent)).await.unwrap_err();
    assert!(world.events().await.is_empty());
    world.keep_only(SOUND);
    mark.advance().await.unwrap();
    assert_eq!(ids(world.events().await.values()), [id(1), id(2)]);
}
