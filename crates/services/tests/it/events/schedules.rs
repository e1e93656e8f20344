//! Rules that fire by the clock.

use std::time::Duration;

use cairn_core::Clock;
use serde_json::json;

use super::{Bench, body, queue_arn};

async fn scheduled(bench: &Bench, expression: &str) {
    bench.ok("PutRule", json!({"Name": "r", "ScheduleExpression": expression})).await;
    bench.target("r", json!({"Id": "1", "Arn": queue_arn("q")})).await;
}

#[tokio::test]
async fn a_rule_fires_at_its_times_and_once_after_a_pause() {
    let bench = Bench::new();
    let began = bench.world.clock.now();
    scheduled(&bench, "rate(5 minutes)").await;
    let next = bench.events.fire_schedules().await.unwrap();
    assert!(next > began);
    bench.pay().await;
    assert!(bench.received("q").is_empty());

    bench.world.clock.advance(Duration::from_secs(300));
    bench.events.fire_schedules().await.unwrap();
    bench.pay().await;
    let received = bench.received("q");
    let event = body(&received[0]);
    let time = began.plus(Duration::from_secs(300)).iso();
    assert_eq!(
        (event["detail-type"].as_str(), event["source"].as_str(), event["time"].as_str()),
        (Some("Scheduled Event"), Some("aws.events"), Some(time.as_str()))
    );
    assert_eq!(event["resources"], json!(["arn:aws:events:us-east-1:111122223333:rule/r"]));
    assert_eq!(event["detail"], json!({}));

    // The server was down for an hour.
    bench.world.clock.advance(Duration::from_secs(3700));
    let bench = bench.restarted();
    for _ in 0..3 {
        bench.events.fire_schedules().await.unwrap();
    }
    bench.pay().await;
    assert_eq!(bench.received("q").len(), 1);
}

#[tokio::test]
async fn a_rule_that_is_off_or_gone_does_not_fire() {
    let bench = Bench::new();
    scheduled(&bench, "cron(* * * * ? *)").await;
    bench.ok("DisableRule", json!({"Name": "r"})).await;
    bench.world.clock.advance(Duration::from_secs(120));
    bench.events.fire_schedules().await.unwrap();
    bench.pay().await;
    assert!(bench.received("q").is_empty());
    bench.ok("EnableRule", json!({"Name": "r"})).await;
    bench.world.clock.advance(Duration::from_secs(60));
    bench.events.fire_schedules().await.unwrap();
    bench.pay().await;
    assert_eq!(bench.received("q").len(), 1);
    bench.ok("RemoveTargets", json!({"Rule": "r", "Ids": ["1"]})).await;
    bench.ok("DeleteRule", json!({"Name": "r"})).await;
    bench.world.clock.advance(Duration::from_secs(60));
    bench.events.fire_schedules().await.unwrap();
    assert!(bench.engine.names().is_empty());
    assert_eq!(
        bench.refused("PutRule", json!({"Name": "r", "ScheduleExpression": "rate(0 minutes)"})).await,
        "400 ValidationException: Parameter ScheduleExpression is not valid."
    );
    bench.ok("CreateEventBus", json!({"Name": "b"})).await;
    let elsewhere = json!({"Name": "r", "ScheduleExpression": "rate(1 day)", "EventBusName": "b"});
    assert_eq!(
        bench.refused("PutRule", elsewhere).await,
        "400 ValidationException: ScheduleExpression is supported only on the default event bus."
    );
}
