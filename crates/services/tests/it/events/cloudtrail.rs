//! What CloudTrail recorded, on default buses.

use std::sync::Arc;

use bytes::Bytes;
use cairn_core::Clock;
use cairn_services::events::CloudTrailEvents;
use cairn_store::{Entry, EntryKind, EventLog};
use cairn_testkit::memory_log;
use serde_json::{Value, json};

use super::{Bench, body, queue_arn};

async fn record(bench: &Bench, log: &Arc<dyn EventLog>, change: impl FnOnce(&mut Value)) -> String {
    let mut event = json!({
        "eventVersion": "1.11", "userIdentity": {"type": "Root", "accountId": "111122223333"},
        "eventTime": "2026-11-21T10:00:00Z", "eventSource": "s3.amazonaws.com", "eventName": "PutBucketPolicy",
        "awsRegion": "us-east-1", "requestParameters": {"bucketName": "b"}, "responseElements": null,
        "eventID": bench.world.clock.now().millis().to_string(), "readOnly": false, "eventType": "AwsApiCall",
        "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management",
    });
    change(&mut event);
    let text = event.to_string();
    let (recorded_at, payload) = (bench.world.clock.now(), Bytes::from(text.clone()));
    log.append(vec![Entry { kind: EntryKind::Event, recorded_at, payload }]).await.unwrap();
    bench.world.clock.advance(std::time::Duration::from_millis(1));
    text
}

#[tokio::test]
async fn recorded_calls_come_to_the_default_bus_byte_for_byte() {
    let (bench, log) = (Bench::new(), memory_log());
    let stage = CloudTrailEvents::new(bench.events.clone(), log.clone());
    stage.run_once().await.unwrap();
    let pattern = json!({"detail-type": ["AWS API Call via CloudTrail"]}).to_string();
    bench.ok("PutRule", json!({"Name": "writes", "EventPattern": pattern})).await;
    bench.target("writes", json!({"Id": "1", "Arn": queue_arn("writes")})).await;
    let state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS";
    bench.ok("PutRule", json!({"Name": "all", "EventPattern": pattern, "State": state})).await;
    bench.target("all", json!({"Id": "1", "Arn": queue_arn("all")})).await;

    let text = record(&bench, &log, |_| {}).await;
    record(&bench, &log, |event| event["readOnly"] = json!(true)).await;
    record(&bench, &log, |event| event["recipientAccountId"] = json!("444455556666")).await;
    record(&bench, &log, |event| event["awsRegion"] = json!("eu-west-1")).await;
    record(&bench, &log, |event| event["eventType"] = json!("AwsConsoleSignIn")).await;
    record(&bench, &log, |event| {
        event["eventCategory"] = json!("Data");
        event["managementEvent"] = json!(false);
    })
    .await;
    stage.run_once().await.unwrap();
    bench.pay().await;
    let writes = bench.received("writes");
    assert_eq!(writes.len(), 1);
    assert!(writes[0].body.ends_with(&format!("\"detail\":{text}}}")), "{}", writes[0].body);
    let event = body(&writes[0]);
    assert_eq!(
        (event["source"].as_str(), event["time"].as_str()),
        (Some("aws.s3"), Some("2026-11-21T10:00:00Z"))
    );
    assert_eq!(bench.received("all").len(), 2, "reads too");
}

#[tokio::test]
async fn what_is_read_again_after_a_crash_is_owed_once() {
    let (bench, log) = (Bench::new(), memory_log());
    let stage = CloudTrailEvents::new(bench.events.clone(), log.clone());
    stage.run_once().await.unwrap();
    bench.rule("r", "aws.s3", "q").await;
    for _ in 0..5 {
        record(&bench, &log, |_| {}).await;
        stage.run_once().await.unwrap();
    }
    assert!(stage.needed_from().await.unwrap() < log.end(), "the cursor is written once a second");
    let bench = bench.restarted();
    let stage = CloudTrailEvents::new(bench.events.clone(), log.clone());
    stage.run_once().await.unwrap();
    bench.pay().await;
    assert_eq!(bench.received("q").len(), 5);
    bench.world.clock.advance(std::time::Duration::from_secs(2));
    record(&bench, &log, |_| {}).await;
    stage.run_once().await.unwrap();
    assert_eq!(stage.needed_from().await.unwrap(), log.end());
}
