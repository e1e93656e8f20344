//! StartLogging, StopLogging, GetTrailStatus.

use std::sync::atomic::Ordering;

use cairn_core::Timestamp;
use cairn_store::LogPosition;
use cairn_trail::config::{STATUSES, TRAILS, trail_key};
use cairn_trail::{LoggingSpan, Trail, TrailStatus};
use serde_json::json;

use super::{REGION, World, arn};

async fn trail(world: &World) -> Trail {
    let key = trail_key(&arn(REGION, "audit").parse().unwrap());
    world.catalog.read(move |tx| TRAILS.get(tx, key.bytes())).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_new_trail_is_not_logging_and_its_status_has_the_six_texts() {
    let world = World::with_trail().await;
    let status = world.call("GetTrailStatus", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(
        status.to_string(),
        r#"{"IsLogging":false,"LatestDeliveryAttemptTime":"","LatestNotificationAttemptTime":"","LatestNotificationAttemptSucceeded":"","LatestDeliveryAttemptSucceeded":"","TimeLoggingStarted":"","TimeLoggingStopped":""}"#
    );
}

#[tokio::test]
async fn starting_and_stopping_keep_where_in_the_log_the_trail_was_logging() {
    let world = World::with_trail().await;
    let name = json!({"Name": arn(REGION, "audit")});
    world.log.0.store(10, Ordering::SeqCst);
    assert_eq!(world.call("StartLogging", name.clone()).await.unwrap(), json!({}));
    // A second start changes nothing.
    world.log.0.store(15, Ordering::SeqCst);
    world.set_time("2026-11-21T12:30:00Z");
    world.call("StartLogging", name.clone()).await.unwrap();
    world.log.0.store(20, Ordering::SeqCst);
    world.set_time("2026-11-21T13:00:00Z");
    assert_eq!(world.call("StopLogging", name.clone()).await.unwrap(), json!({}));
    // The trail takes the records of both calls, which are appended at the end of the log once they are answered.
    assert_eq!(
        trail(&world).await.logging_spans,
        [LoggingSpan { from: LogPosition(10), to: Some(LogPosition(21)) }]
    );
    let status = world.call("GetTrailStatus", name).await.unwrap();
    assert_eq!(status["IsLogging"], false);
    assert_eq!(status["StartLoggingTime"], json!(1_795_262_400));
    assert_eq!(status["StopLoggingTime"], json!(1_795_266_000));
    assert_eq!(status["TimeLoggingStarted"], "2026-11-21T12:00:00Z");
    assert_eq!(status["TimeLoggingStopped"], "2026-11-21T13:00:00Z");
}

#[tokio::test]
async fn a_digest_chain_lives_while_the_trail_is_logging_and_validated() {
    let world = World::with_trail().await;
    let name = json!({"Name": "audit"});
    let validate = |enabled: bool| json!({"Name": "audit", "EnableLogFileValidation": enabled});
    let chain = || async {
        let trail = trail(&world).await;
        (trail.chain_started_at.map(Timestamp::iso), trail.chain_stopped_at.map(Timestamp::iso))
    };
    world.call("UpdateTrail", validate(true)).await.unwrap();
    assert_eq!(chain().await, (None, None));
    world.call("StartLogging", name.clone()).await.unwrap();
    assert_eq!(chain().await, (Some("2026-11-21T12:00:00Z".into()), None));
    world.set_time("2026-11-21T13:00:00Z");
    world.call("UpdateTrail", validate(false)).await.unwrap();
    assert_eq!(chain().await, (Some("2026-11-21T12:00:00Z".into()), Some("2026-11-21T13:00:00Z".into())));
    world.set_time("2026-11-21T14:00:00Z");
    world.call("UpdateTrail", validate(true)).await.unwrap();
    assert_eq!(chain().await, (Some("2026-11-21T14:00:00Z".into()), None));
}

#[tokio::test]
async fn the_status_shows_what_the_stages_wrote() {
    let world = World::with_trail().await;
    let time = |millis| Some(Timestamp::from_millis(millis));
    let status = TrailStatus {
        latest_delivery_at: time(1_795_262_400_500),
        latest_delivery_error: Some("AccessDenied".into()),
        latest_delivery_attempt_at: time(1_795_262_460_000),
        latest_digest_delivery_at: time(1_795_262_400_000),
        latest_digest_delivery_error: Some("NoSuchBucket".into()),
        ..TrailStatus::default()
    };
    let key = trail_key(&arn(REGION, "audit").parse().unwrap());
    world.catalog.write(move |tx| STATUSES.put(tx, key.bytes(), &status)).await.unwrap();
    let shown = world.call("GetTrailStatus", json!({"Name": "audit"})).await.unwrap();
    let expected = json!({"IsLogging": false, "LatestDeliveryError": "AccessDenied", "LatestDeliveryTime": 1_795_262_400.5,
        "LatestDigestDeliveryTime": 1_795_262_400, "LatestDigestDeliveryError": "NoSuchBucket",
        "LatestDeliveryAttemptTime": "2026-11-21T12:01:00Z", "LatestNotificationAttemptTime": "",
        "LatestNotificationAttemptSucceeded": "", "LatestDeliveryAttemptSucceeded": "2026-11-21T12:00:00Z",
        "TimeLoggingStarted": "", "TimeLoggingStopped": ""});
    assert_eq!(shown, expected);
}
