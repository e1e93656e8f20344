//! The topic of a trail: when it is tried, in whose name, what it is told, and how the status shows it.

use std::sync::Mutex;

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_services::service::Service;
use cairn_services::sinks::{SinkFailure, Source, TopicMessage, TopicSink};
use cairn_trail::TrailStatus;
use cairn_trail::config::{STATUSES, trail_key};
use serde_json::json;

use super::{ACCOUNT, REGION, World, arn, made};

const FILES: &str = "arn:aws:sns:us-east-1:111122223333:files";
const REFUSED: &str =
    "InsufficientSnsTopicPolicyException: SNS Topic does not exist or the topic policy is incorrect!";

/// Topics by the ends of their names: `files` takes messages, `closed` none, `sick` fails, others are not there.
#[derive(Default)]
pub(crate) struct TestTopics {
    /// Topic, text and trail of each message.
    published: Mutex<Vec<(String, String, String)>>,
}

#[async_trait]
impl TopicSink for TestTopics {
    async fn check(&self, source: &Source, topic_arn: &str) -> Result<(), SinkFailure> {
        assert_eq!((source.service.as_str(), source.account.as_str()), ("cloudtrail.amazonaws.com", ACCOUNT));
        let failure = |is_transient, code: &str| SinkFailure {
            is_transient,
            code: code.to_owned(),
            message: "simulated".to_owned(),
        };
        match topic_arn.rsplit(':').next().unwrap() {
            "files" => Ok(()),
            "closed" => Err(failure(false, "AuthorizationError")),
            "sick" => Err(failure(true, "Whatever")),
            _ => Err(failure(false, "NotFound")),
        }
    }

    async fn publish(
        &self,
        source: &Source,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure> {
        self.check(source, topic_arn).await?;
        assert_eq!(message.subject, None);
        self.published.lock().unwrap().push((topic_arn.to_owned(), message.body, source.arn.clone()));
        Ok(())
    }

    async fn is_fifo(&self, topic_arn: &str) -> Option<bool> {
        Some(topic_arn.ends_with(".fifo"))
    }
}

#[tokio::test]
async fn a_trail_with_a_topic_tells_it_so_each_time_that_it_is_made_or_changed() {
    let world = World::new();
    let create = json!({"Name": "audit", "S3BucketName": "logs", "SnsTopicName": "files"});
    let made = world.call("CreateTrail", create).await.unwrap();
    assert_eq!((&made["SnsTopicName"], &made["SnsTopicARN"]), (&json!("files"), &json!(FILES)));
    let validated =
        (FILES.to_owned(), "CloudTrail validation message.".to_owned(), arn("us-east-1", "audit"));
    assert_eq!(world.topics.published.lock().unwrap().first(), Some(&validated));

    // By its ARN, and by a change of something else.
    world.call("UpdateTrail", json!({"Name": "audit", "SnsTopicName": FILES})).await.unwrap();
    world.call("UpdateTrail", json!({"Name": "audit", "S3KeyPrefix": "p"})).await.unwrap();
    assert_eq!(*world.topics.published.lock().unwrap(), vec![validated; 3]);
    let shown = world.call("GetTrail", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(shown["Trail"]["SnsTopicARN"], json!(FILES));

    // Cleared, it is told of nothing.
    let cleared = world.call("UpdateTrail", json!({"Name": "audit", "SnsTopicName": ""})).await.unwrap();
    assert_eq!((cleared.get("SnsTopicName"), cleared.get("SnsTopicARN")), (None, None));
    world.call("UpdateTrail", json!({"Name": "audit", "S3KeyPrefix": ""})).await.unwrap();
    assert_eq!(world.topics.published.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_topic_that_takes_no_message_leaves_the_trail_as_it_was() {
    let world = World::with_trail().await;
    for topic in ["closed", "missing", "arn:aws:sns:eu-west-1:999999999999:closed"] {
        let update = json!({"Name": "audit", "S3KeyPrefix": "new", "SnsTopicName": topic});
        assert_eq!(world.call("UpdateTrail", update).await, Err(REFUSED.to_owned()), "{topic}");
    }
    let sick = made("UpdateTrail", json!({"Name": "audit", "SnsTopicName": "sick"}));
    let sick = world.service().handle(&world.caller(ACCOUNT, REGION), sick).await.unwrap_err();
    assert!(sick.status == 500 && !sick.message.contains("simulated"), "{sick}");
    let shown = world.call("GetTrail", json!({"Name": "audit"})).await.unwrap();
    assert_eq!((shown["Trail"].get("S3KeyPrefix"), shown["Trail"].get("SnsTopicName")), (None, None));
    // What else is wrong is found before the topic is told.
    let key = "arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012";
    let update = json!({"Name": "audit", "SnsTopicName": "files", "KmsKeyId": key});
    assert!(world.call("UpdateTrail", update).await.unwrap_err().starts_with("InsufficientEncryption"));
    assert!(world.topics.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_status_shows_the_last_notification_and_why_it_failed() {
    let world = World::with_trail().await;
    let before = world.call("GetTrailStatus", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(before.get("LatestNotificationTime"), None);
    assert_eq!(before.get("LatestNotificationError"), None);
    assert_eq!(before["LatestNotificationAttemptTime"], json!(""));
    assert_eq!(before["LatestNotificationAttemptSucceeded"], json!(""));
    let status = TrailStatus {
        latest_notification_at: Some(Timestamp::from_seconds(1_795_000_000)),
        latest_notification_attempt_at: Some(Timestamp::from_seconds(1_795_000_060)),
        latest_notification_error: Some("AuthorizationError".to_owned()),
        ..TrailStatus::default()
    };
    let key = trail_key(&arn("us-east-1", "audit").parse().unwrap());
    world.catalog.write(move |tx| STATUSES.put(tx, key.bytes(), &status)).await.unwrap();
    let after = world.call("GetTrailStatus", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(after["LatestNotificationTime"], json!(1_795_000_000));
    assert_eq!(after["LatestNotificationError"], json!("AuthorizationError"));
    assert_eq!(after["LatestNotificationAttemptTime"], json!("2026-11-18T11:07:40Z"));
    assert_eq!(after["LatestNotificationAttemptSucceeded"], json!("2026-11-18T11:06:40Z"));
}
