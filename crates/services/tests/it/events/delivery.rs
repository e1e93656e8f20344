//! What becomes of events: who gets them, when targets fail, when the server is killed.

use std::time::Duration;

use cairn_core::Clock;
use cairn_services::sinks::{AttributeValue, QueueMessage};
use serde_json::json;

use super::{Bench, body, queue_arn};

#[tokio::test]
async fn targets_get_what_their_rules_take() {
    let bench = Bench::new();
    bench.rule("one", "a", "q1").await;
    bench.rule("two", "b", "q2").await;
    let id = bench.put("a", json!({"x": 1})).await;
    bench.put("c", json!({})).await;
    bench.pay().await;
    let received = bench.received("q1");
    assert_eq!(received.len(), 1);
    assert_eq!(
        received[0].body,
        format!(
            r#"{{"version":"0","id":"{id}","detail-type":"test","source":"a","account":"111122223333","time":"{}","region":"us-east-1","resources":[],"detail":{{"x":1}}}}"#,
            bench.world.clock.now().iso()
        )
    );
    assert!(bench.received("q2").is_empty());
    bench.pay().await;
    assert!(bench.received("q1").is_empty(), "what was taken is not sent again");
}

#[tokio::test]
async fn entries_are_refused_one_by_one() {
    let bench = Bench::new();
    let entries = json!([
        {"Source": "a", "DetailType": "t", "Detail": "{}"},
        {"DetailType": "t", "Detail": "{}"},
        {"Source": "a", "DetailType": "t", "Detail": "no"},
        {"Source": "aws.s3", "DetailType": "t", "Detail": "{}"},
        {"Source": "a", "DetailType": "t", "Detail": "{}", "EventBusName": "nowhere"},
    ]);
    let reply = bench.ok("PutEvents", json!({ "Entries": entries })).await;
    assert_eq!(reply["FailedEntryCount"], 3);
    let code = |at: usize| reply["Entries"][at]["ErrorCode"].as_str();
    assert_eq!((code(0), code(4)), (None, None));
    assert_eq!(
        (code(1), code(2), code(3)),
        (Some("InvalidArgument"), Some("MalformedDetail"), Some("NotAuthorizedForSourceException"))
    );
    assert_eq!(
        reply["Entries"][1]["ErrorMessage"],
        "Parameter Source is not valid. Reason: Source is a required argument."
    );
}

#[tokio::test]
async fn a_sick_target_delays_only_itself_and_gets_all_in_the_end() {
    let bench = Bench::new();
    bench.rule("sick", "a", "sick").await;
    bench.rule("well", "a", "well").await;
    bench.fail("sick", true, "InternalFailure");
    for at in 0..40 {
        bench.put("a", json!({ "at": at })).await;
    }
    for _ in 0..10 {
        bench.pay().await;
    }
    assert_eq!(bench.received("well").len(), 40);
    bench.world.clock.advance(Duration::from_secs(3600));
    bench.heal("sick");
    let mut received = Vec::new();
    for _ in 0..40 {
        received.extend(
            bench.waited_for("sick").await.iter().map(|message| body(message)["detail"]["at"].clone()),
        );
        if received.len() >= 40 {
            break;
        }
    }
    received.sort_by_key(|at| at.as_u64());
    assert_eq!(received, (0..40).map(|at| json!(at)).collect::<Vec<_>>());
}

fn attribute<'a>(message: &'a QueueMessage, name: &str) -> Option<&'a str> {
    let found = message.attributes.iter().find(|attribute| attribute.name == name)?;
    match &found.value {
        AttributeValue::Text(text) => Some(text),
        AttributeValue::Bytes(_) => None,
    }
}

#[tokio::test]
async fn what_is_given_up_goes_to_the_dead_letter_queue() {
    let bench = Bench::new();
    bench.rule("r", "a", "q").await;
    let target = json!({"Id": "1", "Arn": queue_arn("q"), "DeadLetterConfig": {"Arn": queue_arn("dead")},
                        "RetryPolicy": {"MaximumRetryAttempts": 2}});
    bench.target("r", target).await;
    bench.fail("q", true, "InternalFailure");
    let id = bench.put("a", json!({})).await;
    let dead = bench.waited_for("dead").await;
    assert_eq!(body(&dead[0])["id"], id.as_str());
    let names = ["RULE_ARN", "TARGET_ARN", "ERROR_CODE", "RETRY_ATTEMPTS", "EXHAUSTED_RETRY_CONDITION"];
    let arn = queue_arn("q");
    assert_eq!(
        names.map(|name| attribute(&dead[0], name)),
        [
            Some("arn:aws:events:us-east-1:111122223333:rule/r"),
            Some(arn.as_str()),
            Some("SERVICE_UNAVAILABLE"),
            Some("2"),
            Some("MaximumRetryAttempts")
        ]
    );
    // Without a permission it is not tried again.
    bench.fail("q", false, "AccessDenied");
    bench.put("a", json!({})).await;
    bench.pay().await;
    let dead = bench.received("dead");
    assert_eq!(attribute(&dead[0], "ERROR_CODE"), Some("NO_PERMISSIONS"));
    assert_eq!(attribute(&dead[0], "RETRY_ATTEMPTS"), Some("0"));
    assert_eq!(attribute(&dead[0], "EXHAUSTED_RETRY_CONDITION"), None);
}

#[tokio::test]
async fn what_was_acknowledged_is_sent_after_a_crash() {
    let bench = Bench::new();
    bench.rule("r", "a", "q").await;
    bench.put("a", json!({})).await;
    let bench = bench.restarted();
    assert_eq!(bench.waited_for("q").await.len(), 1);
    bench.put("a", json!({})).await;
    bench.ok("RemoveTargets", json!({"Rule": "r", "Ids": ["1"]})).await;
    let bench = bench.restarted();
    bench.pay().await;
    assert!(bench.received("q").is_empty(), "what was owed to a target that is gone is let go");
    assert!(bench.engine.names().is_empty());
}

#[tokio::test]
async fn events_go_from_bus_to_bus_and_never_in_circles() {
    let bench = Bench::new();
    let bus = |name: &str| format!("arn:aws:events:us-east-1:111122223333:event-bus/{name}");
    bench.ok("CreateEventBus", json!({"Name": "other"})).await;
    let pattern = r#"{"source":["a"]}"#;
    for (here, there) in [("default", "other"), ("other", "default")] {
        bench.ok("PutRule", json!({"Name": "on", "EventPattern": pattern, "EventBusName": here})).await;
        let targets = json!([{"Id": "bus", "Arn": bus(there)}, {"Id": "queue", "Arn": queue_arn(here)}]);
        bench.ok("PutTargets", json!({"Rule": "on", "EventBusName": here, "Targets": targets})).await;
        let policy = json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
            "Action": "events:PutEvents", "Resource": bus(there)}});
        bench.ok("PutPermission", json!({"EventBusName": there, "Policy": policy.to_string()})).await;
    }
    let id = bench.put("a", json!({})).await;
    for _ in 0..5 {
        bench.pay().await;
    }
    for here in ["default", "other"] {
        let received = bench.received(here);
        assert_eq!(received.len(), 1, "{here}");
        assert_eq!(body(&received[0])["id"], id.as_str());
    }
}
