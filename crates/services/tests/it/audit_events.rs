//! Channels and PutAuditEvents: who may send where, which events are taken, and AWS's codes for those that are not.
//!
//! Source: AWS's API reference of PutAuditEvents and of the channel operations, and the schema of integration events.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Principal;
use cairn_services::Service;
use cairn_services::cloudtrail_data::CloudTrailData;
use cairn_store::catalog::Pair;
use cairn_store::{EventLog, LogPosition, Tx};
use cairn_testkit::memory_log;
use cairn_trail::Ingest;
use serde_json::{Value, json};

use crate::cloudtrail::{ACCOUNT, Answer, REGION, World};

const OTHER: &str = "444455556666";

/// A control plane with a channel, and the service that takes its events.
struct Setup {
    world: World,
    service: CloudTrailData,
    log: Arc<dyn EventLog>,
    channel: String,
}

impl Setup {
    async fn new() -> Self {
        let world = World::new();
        let created = world.call("CreateChannel", new_channel("billing", REGION)).await.unwrap();
        let log = memory_log();
        let ingest = Arc::new(Ingest::open(log.clone(), world.clock.clone()).await.unwrap());
        let service = CloudTrailData::new(world.catalog.clone(), ingest);
        Self { service, log, channel: created["ChannelArn"].as_str().unwrap().to_owned(), world }
    }

    async fn put_as(&self, (account, region): (&str, &str), channel: &str, events: Value) -> Answer {
        let call = crate::world::call(
            "cloudtrail-data",
            "PutAuditEvents",
            json!({"channelArn": channel, "auditEvents": events}),
        );
        let reply = self.service.handle(&self.world.caller(account, region), call).await;
        reply.map(|reply| reply.result).map_err(|error| error.to_string())
    }

    async fn put(&self, events: Value) -> Answer {
        self.put_as((ACCOUNT, REGION), &self.channel, events).await
    }

    /// The records in the log.
    async fn records(&self) -> Vec<Value> {
        let entries = self.log.read(LogPosition(0), 1000, usize::MAX).await.unwrap();
        entries.iter().map(|(_, entry)| serde_json::from_slice(&entry.payload).unwrap()).collect()
    }

    /// The code that an event is refused with; none where it is taken.
    async fn refusal(&self, data: &Value) -> Option<String> {
        let answer = self.put(json!([{"id": "one", "eventData": data.to_string()}])).await.unwrap();
        answer["failed"].as_array().unwrap().first().map(|failed| {
            assert_eq!((&failed["id"], &answer["successful"]), (&json!("one"), &json!([])));
            failed["errorCode"].as_str().unwrap().to_owned()
        })
    }
}

fn new_channel(name: &str, region: &str) -> Value {
    let location = format!("arn:aws:cloudtrail:{region}:{ACCOUNT}:eventdatastore/event-history");
    json!({
        "Name": name,
        "Source": "Custom",
        "Destinations": [{"Type": "EVENT_DATA_STORE", "Location": location}],
    })
}

fn data() -> Value {
    json!({
        "version": "1.0",
        "userIdentity": {"type": "Employee", "principalId": "ann", "details": {"team": "billing"}},
        "eventSource": "billing.example.com",
        "eventName": "PayInvoice",
        "eventTime": "2026-11-21T11:59:00Z",
        "UID": "call-7",
        "recipientAccountId": ACCOUNT,
        "requestParameters": {"invoice": 7},
    })
}

fn event(id: &str) -> Value {
    json!({"id": id, "eventData": data().to_string()})
}

fn code(answer: &Answer) -> &str {
    answer.as_ref().unwrap_err().split(':').next().unwrap()
}

#[tokio::test]
async fn an_event_becomes_a_record_and_is_taken_once_however_often_it_is_sent() {
    let setup = Setup::new().await;
    let first = setup.put(json!([event("one"), event("two")])).await.unwrap();
    assert_eq!(first["failed"], json!([]));
    assert_eq!(
        setup.put(json!([event("two"), event("one")])).await.unwrap()["successful"][1],
        first["successful"][0]
    );
    let records = setup.records().await;
    assert_eq!(records.len(), 2);
    let record = &records[0];
    assert_eq!(record["eventID"], first["successful"][0]["eventID"]);
    assert_eq!(record["userIdentity"]["details"]["team"], "billing");
    assert_eq!(
        (&record["eventType"], &record["eventCategory"]),
        (&json!("ActivityLog"), &json!("ActivityAuditLog"))
    );
    assert_eq!((&record["awsRegion"], &record["requestID"]), (&json!(REGION), &json!("call-7")));
    assert_eq!(record["metadata"]["channelARN"], setup.channel.as_str());
}

#[tokio::test]
async fn only_the_channels_own_account_may_send_and_only_to_a_channel_that_is_there() {
    let setup = Setup::new().await;
    let events = || json!([event("one")]);
    let by_other = setup.put_as((OTHER, REGION), &setup.channel, events()).await;
    assert_eq!(code(&by_other), "ChannelInsufficientPermission");
    let elsewhere = setup.put_as((ACCOUNT, "eu-west-1"), &setup.channel, events()).await;
    assert_eq!(code(&elsewhere), "ChannelNotFound");
    let unknown = setup
        .channel
        .replace(setup.channel.rsplit('/').next().unwrap(), "0f0f0f0f-0000-4000-8000-000000000000");
    assert_eq!(code(&setup.put_as((ACCOUNT, REGION), &unknown, events()).await), "ChannelNotFound");
    for wrong in ["arn:aws:s3:::bucket", "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit", "arn:x"] {
        assert_eq!(code(&setup.put_as((ACCOUNT, REGION), wrong, events()).await), "InvalidChannelARN");
    }
    setup.world.call("DeleteChannel", json!({"Channel": setup.channel})).await.unwrap();
    assert_eq!(code(&setup.put(events()).await), "ChannelNotFound");
    assert_eq!(setup.records().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_permission_asked_for_is_that_of_the_channel() {
    let setup = Setup::new().await;
    let params = json!({"channelArn": setup.channel, "auditEvents": [event("one")]});
    let call = crate::world::call("cloudtrail-data", "PutAuditEvents", params);
    let caller = setup.world.caller(ACCOUNT, REGION);
    assert!(matches!(caller.principal, Principal::Root { .. }));
    let target = setup.service.target(&caller, &call).await.unwrap();
    assert_eq!(
        (target.action.as_str(), target.resource_arn),
        ("cloudtrail-data:PutAuditEvents", setup.channel.clone())
    );
    let recorded = setup.service.recorded_request(&call).unwrap();
    assert_eq!(
        recorded,
        json!({"channelArn": setup.channel, "auditEvents": [{"id": "one"}]}),
        "no event's data"
    );
}

#[tokio::test]
async fn a_call_with_an_id_twice_or_over_a_megabyte_is_refused_whole() {
    let setup = Setup::new().await;
    let twice = setup.put(json!([event("one"), event("two"), event("one")])).await;
    assert_eq!(code(&twice), "DuplicatedAuditEventId");
    let large = json!({"id": "large", "eventData": "x".repeat(1024 * 1024 + 1)});
    assert_eq!(code(&setup.put(json!([large])).await), "RequestEntityTooLargeException");
    assert_eq!(setup.records().await.len(), 0);
}

#[tokio::test]
async fn events_that_cannot_be_taken_are_named_beside_those_that_are() {
    let setup = Setup::new().await;
    let checksum = |text: &str| STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    let text = data().to_string();
    let answer = setup
        .put(json!([
            event("good"),
            {"id": "no JSON", "eventData": "{"},
            {"id": "sum", "eventData": text, "eventDataChecksum": checksum(&text)},
            {"id": "wrong sum", "eventData": text, "eventDataChecksum": checksum("other")},
        ]))
        .await
        .unwrap();
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&answer["successful"]), ["good", "sum"]);
    assert_eq!(ids(&answer["failed"]), ["no JSON", "wrong sum"]);
    let codes: Vec<_> = answer["failed"].as_array().unwrap().iter().map(|one| &one["errorCode"]).collect();
    assert_eq!(codes, ["InvalidData", "InvalidChecksum"]);
    assert_eq!(setup.records().await.len(), 2);
}

#[tokio::test]
async fn every_fault_of_an_event_has_its_code() {
    let setup = Setup::new().await;
    let with = |member: &str, value: Value| {
        let mut data = data();
        data[member] = value;
        data
    };
    let cases = [
        (with("version", Value::Null), "FieldNotFound"),
        (with("UID", json!("")), "FieldNotFound"),
        (with("userIdentity", json!({"type": "Employee"})), "FieldNotFound"),
        (with("eventTime", Value::Null), "FieldNotFound"),
        (with("eventTime", json!("yesterday")), "InvalidData"),
        (with("requestParameters", json!([7])), "InvalidData"),
        (with("eventSource", json!(7)), "InvalidData"),
        (with("recipientAccountId", json!(OTHER)), "InvalidRecipient"),
        (with("eventName", json!("x".repeat(1025))), "FieldTooLong"),
        (with("errorCode", json!("x".repeat(257))), "FieldTooLong"),
        (with("requestParameters", json!({"a": "x".repeat(100 * 1024)})), "FieldTooLong"),
        (with("additionalEventData", json!({"a": "x".repeat(28 * 1024)})), "FieldTooLong"),
    ];
    for (data, expected) in cases {
        assert_eq!(setup.refusal(&data).await.as_deref(), Some(expected), "{:.200}", data.to_string());
    }
    assert_eq!(setup.records().await.len(), 0);
    // The schema writes times without a zone.
    assert_eq!(setup.refusal(&with("eventTime", json!("2026-11-21T11:59:00"))).await, None);
    assert_eq!(setup.records().await[0]["eventTime"], "2026-11-21T11:59:00Z");
}

#[tokio::test]
async fn a_channel_is_made_shown_listed_renamed_and_removed() {
    let setup = Setup::new().await;
    let world = &setup.world;
    let twice = world.call("CreateChannel", new_channel("billing", REGION)).await;
    assert_eq!(code(&twice), "ChannelAlreadyExistsException");
    assert_eq!(
        code(&world.call("CreateChannel", new_channel("a!", REGION)).await),
        "InvalidParameterException"
    );
    let elsewhere = world.call("CreateChannel", new_channel("other", "eu-west-1")).await;
    assert_eq!(code(&elsewhere), "EventDataStoreNotFoundException");
    let mut partner = new_channel("other", REGION);
    partner["Source"] = json!("Okta");
    assert_eq!(code(&world.call("CreateChannel", partner).await), "InvalidSourceException");

    let named = json!({"Channel": setup.channel, "Name": "invoices"});
    assert_eq!(world.call("UpdateChannel", named).await.unwrap()["Name"], "invoices");
    let id = setup.channel.rsplit('/').next().unwrap();
    let shown = world.call("GetChannel", json!({"Channel": id})).await.unwrap();
    assert_eq!((&shown["Name"], &shown["Source"]), (&json!("invoices"), &json!("Custom")));
    let listed = world.call("ListChannels", json!({})).await.unwrap();
    assert_eq!(listed["Channels"], json!([{"ChannelArn": setup.channel, "Name": "invoices"}]));
    assert_eq!(world.call_in("eu-west-1", "ListChannels", json!({})).await.unwrap()["Channels"], json!([]));

    assert_eq!(
        code(&world.call("GetChannel", json!({"Channel": "arn:x"})).await),
        "ChannelARNInvalidException"
    );
    let other = world.caller(OTHER, REGION);
    let by_other = world.call_as(&other, "DeleteChannel", json!({"Channel": setup.channel})).await;
    assert_eq!(code(&by_other), "ChannelNotFoundException");
    world.call("DeleteChannel", json!({"Channel": setup.channel})).await.unwrap();
    assert_eq!(code(&world.call("GetChannel", json!({"Channel": id})).await), "ChannelNotFoundException");
}

#[tokio::test]
async fn channels_are_kept_and_read_as_ever() {
    const KEPT: &str = r#"{"v":1,"d":{"id":"07070707-0707-4707-8707-070707070707","name":"billing"}}"#;
    let setup = Setup::new().await;
    let rows = |tx: &mut dyn Tx| tx.scan("cloudtrail.channel", b"", None, 10, false);
    let found: Vec<Pair> = setup.world.catalog.read(rows).await.unwrap();
    let [(key, value)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(String::from_utf8_lossy(value), KEPT);
    for (row, outcome) in [
        (KEPT, None),
        (r#"{"v":2,"d":{"label":"billing"}}"#, Some("InternalFailure")),
        (r#"{"v":1,"d":{"id":"0707"#, Some("InternalFailure")),
    ] {
        let key = key.clone();
        let put = setup.world.catalog.write(move |tx| tx.put("cloudtrail.channel", &key, row.as_bytes()));
        put.await.unwrap();
        let answer = setup.put(json!([event("one")])).await;
        match outcome {
            None => assert_eq!(answer.unwrap()["failed"], json!([])),
            Some(expected) => assert_eq!(code(&answer), expected, "{row}"),
        }
    }
}
