//! Log groups of trails: what is checked before a trail has one, and what its status says of it.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::LogPosition;
use cairn_trail::config::{STATUSES, TRAILS, trail_key};
use cairn_trail::{LogGroupFailure, LogGroups, LogPlace, TrailStatus};
use serde_json::json;

use super::{World, arn};

const GROUP: &str = "arn:aws:logs:us-east-1:111122223333:log-group:trails:*";
const ROLE: &str = "arn:aws:iam::111122223333:role/writer";

/// Log groups that take everything, unless told what to refuse with.
#[derive(Default)]
pub(crate) struct TestLogGroups {
    pub(crate) refusal: Mutex<Option<LogGroupFailure>>,
    pub(crate) checked: Mutex<Vec<LogPlace>>,
}

#[async_trait]
impl LogGroups for TestLogGroups {
    async fn check(&self, place: &LogPlace) -> Result<(), LogGroupFailure> {
        self.checked.lock().unwrap().push(place.clone());
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn put(&self, _place: &LogPlace, _lines: Vec<(Timestamp, Bytes)>) -> Result<(), LogGroupFailure> {
        unreachable!("the control plane sends no events")
    }
}

fn with_group() -> serde_json::Value {
    json!({"Name": "audit", "CloudWatchLogsLogGroupArn": GROUP, "CloudWatchLogsRoleArn": ROLE})
}

#[tokio::test]
async fn a_trail_gets_a_log_group_that_its_role_may_write_to_and_loses_it_again() {
    let world = World::with_trail().await;
    world.log.0.store(7, std::sync::atomic::Ordering::SeqCst);
    let made = world.call("UpdateTrail", with_group()).await.unwrap();
    assert_eq!(
        (&made["CloudWatchLogsLogGroupArn"], &made["CloudWatchLogsRoleArn"]),
        (&json!(GROUP), &json!(ROLE))
    );
    let place = world.log_groups.checked.lock().unwrap().pop().unwrap();
    assert_eq!(place.stream, "111122223333_CloudTrail_us-east-1");
    assert_eq!((place.group_arn.as_str(), place.role_arn.as_str()), (GROUP, ROLE));
    let key = trail_key(&arn("us-east-1", "audit").parse().unwrap());
    let since = {
        let key = key.clone();
        move |tx: &mut dyn cairn_store::Tx| {
            Ok::<_, cairn_store::CatalogError>(TRAILS.get(tx, key.bytes())?.unwrap().log_group_since)
        }
    };
    assert_eq!(world.catalog.read(since.clone()).await.unwrap(), Some(LogPosition(7)));

    world.log.0.store(9, std::sync::atomic::Ordering::SeqCst);
    let other = json!({"Name": "audit", "CloudWatchLogsLogGroupArn": GROUP.replace("trails", "others"), "CloudWatchLogsRoleArn": ROLE});
    world.call("UpdateTrail", other).await.unwrap();
    assert_eq!(
        world.catalog.read(since.clone()).await.unwrap(),
        Some(LogPosition(7)),
        "nothing is left out between them"
    );

    let none = json!({"Name": "audit", "CloudWatchLogsLogGroupArn": "", "CloudWatchLogsRoleArn": ""});
    let cleared = world.call("UpdateTrail", none).await.unwrap();
    assert!(cleared.get("CloudWatchLogsLogGroupArn").is_none());
    assert_eq!(world.catalog.read(since).await.unwrap(), None);
}

/// Terraform tries again where it reads `Access denied.`: its role may be a second old.
#[tokio::test]
async fn what_stands_in_the_way_of_a_log_group_is_told_in_awss_words_and_nothing_changes() {
    const OF_GROUP: &str = "InvalidCloudWatchLogsLogGroupArnException: ";
    const OF_ROLE: &str = "InvalidCloudWatchLogsRoleArnException: ";
    let world = World::with_trail().await;
    let cases = [
        (
            "AccessDenied",
            true,
            format!("{OF_ROLE}Access denied. Check the trust relationships for your role."),
        ),
        (
            "AccessDeniedException",
            false,
            format!("{OF_GROUP}Access denied. Verify in IAM that the role has adequate permissions."),
        ),
        (
            "ResourceNotFoundException",
            false,
            format!("{OF_GROUP}CloudTrail cannot validate the specified log group ARN."),
        ),
    ];
    for (code, is_of_role, expected) in cases {
        let failure = LogGroupFailure { code: code.to_owned(), is_of_role, message: String::new() };
        *world.log_groups.refusal.lock().unwrap() = Some(failure);
        assert_eq!(world.call("UpdateTrail", with_group()).await, Err(expected));
    }
    let shown = world.call("GetTrail", json!({"Name": "audit"})).await.unwrap();
    assert!(shown["Trail"].get("CloudWatchLogsLogGroupArn").is_none());
}

#[tokio::test]
async fn the_status_says_when_events_reached_the_log_group_and_why_they_did_not() {
    let world = World::with_trail().await;
    let key = trail_key(&arn("us-east-1", "audit").parse().unwrap());
    let status = TrailStatus {
        latest_logs_delivery_at: Some(Timestamp::from_millis(1_795_262_400_500)),
        latest_logs_delivery_error: Some("ResourceNotFoundException".to_owned()),
        ..TrailStatus::default()
    };
    world.catalog.write(move |tx| STATUSES.put(tx, key.bytes(), &status)).await.unwrap();
    let shown = world.call("GetTrailStatus", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(shown["LatestCloudWatchLogsDeliveryTime"], json!(1_795_262_400.5));
    assert_eq!(shown["LatestCloudWatchLogsDeliveryError"], json!("ResourceNotFoundException"));
}
