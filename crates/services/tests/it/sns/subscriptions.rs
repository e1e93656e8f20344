//! Subscriptions: made, confirmed, changed, listed, ended; how long they may stay unconfirmed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, TOPIC, anonymous, owner, queue_arn, user};

const HTTP: &str = "http://example.com/hook";

fn subscribe(protocol: &str, endpoint: &str) -> Value {
    json!({"TopicArn": TOPIC, "Protocol": protocol, "Endpoint": endpoint, "ReturnSubscriptionArn": true})
}

async fn shown(bench: &Bench, arn: &str) -> Value {
    bench.ok("GetSubscriptionAttributes", json!({"SubscriptionArn": arn})).await["Attributes"].clone()
}

#[tokio::test]
async fn a_queue_of_the_callers_own_account_is_subscribed_at_once() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({"RawMessageDelivery": "true"})).await;
    let expected = json!({
        "ConfirmationWasAuthenticated": "true", "Endpoint": queue_arn("q"), "Owner": "111122223333",
        "PendingConfirmation": "false", "Protocol": "sqs", "RawMessageDelivery": "true", "SubscriptionArn": arn,
        "SubscriptionPrincipal": "arn:aws:iam::111122223333:root", "TopicArn": TOPIC});
    assert_eq!(shown(&bench, &arn).await, expected);
    let listed = json!({"Subscriptions": [{
        "SubscriptionArn": arn, "Owner": "111122223333", "Protocol": "sqs", "Endpoint": queue_arn("q"),
        "TopicArn": TOPIC}]});
    assert_eq!(bench.ok("ListSubscriptions", json!({})).await, listed);
    assert_eq!(bench.ok("ListSubscriptionsByTopic", json!({"TopicArn": TOPIC})).await, listed);
}

#[tokio::test]
async fn an_endpoint_is_subscribed_once() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({"RawMessageDelivery": "true"})).await;
    for attributes in [json!({"RawMessageDelivery": "true"}), json!({})] {
        assert_eq!(bench.queue(TOPIC, "q", attributes).await, arn);
    }
    let mut other = subscribe("sqs", &queue_arn("q"));
    other["Attributes"] = json!({"RawMessageDelivery": "false"});
    assert_eq!(
        bench.refused("Subscribe", other).await,
        "400 InvalidParameter: Invalid parameter: Attributes Reason: Subscription already exists with different \
         attributes"
    );
}

#[tokio::test]
async fn endpoints_are_checked_as_aws_checks_them() {
    let bench = Bench::with_topic().await;
    bench.ok("CreateTopic", json!({"Name": "t.fifo", "Attributes": {"FifoTopic": "true"}})).await;
    let long = "arn:aws:sns:us-east-1:111122223333:t.fifo";
    for (topic, protocol, endpoint, told) in [
        (TOPIC, "pigeon", "x", "Amazon SNS does not support this protocol string: pigeon"),
        (TOPIC, "lambda", "x", "Lambda endpoint ARN"),
        (TOPIC, "sqs", "http://localhost/1/q", "SQS endpoint ARN"),
        (TOPIC, "sqs", "", "Endpoint"),
        (TOPIC, "http", "https://example.com", "Endpoint must match the specified protocol"),
        (TOPIC, "https", "https://", "Endpoint must match the specified protocol"),
        (TOPIC, "email", "nobody", "Email address"),
        (TOPIC, "email", "a@b\r\nBcc: c@d", "Email address"),
        (
            TOPIC,
            "sqs",
            "arn:aws:sqs:us-east-1:111122223333:q.fifo",
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        ),
        (long, "http", HTTP, "Protocol Reason: FIFO topics do not support the protocol http"),
    ] {
        let params = json!({"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint});
        let expected = format!("400 InvalidParameter: Invalid parameter: {told}");
        assert_eq!(bench.refused("Subscribe", params).await, expected, "{protocol} {endpoint}");
    }
}

#[tokio::test]
async fn attributes_are_refused_in_awss_words() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({})).await;
    for (name, value, told) in [
        ("Made", "up", "AttributeName"),
        ("RawMessageDelivery", "x", "RawMessageDelivery: Invalid value [x]. Must be true or false."),
        (
            "FilterPolicyScope",
            "RandomValue",
            "FilterPolicyScope: Invalid value [RandomValue]. Please use either MessageBody or MessageAttributes",
        ),
        (
            "RedrivePolicy",
            r#"{"deadLetterTargetArn":"x"}"#,
            "RedrivePolicy: deadLetterTargetArn is an invalid arn",
        ),
        (
            "FilterPolicy",
            r#"{"a":{"b":["c"]}}"#,
            "Filter policy scope MessageAttributes does not support nested filter policy",
        ),
    ] {
        let set = json!({"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": value});
        let expected = format!("400 InvalidParameter: Invalid parameter: {told}");
        assert_eq!(bench.refused("SetSubscriptionAttributes", set).await, expected);
    }
    let mut wrong = subscribe("sqs", &queue_arn("other"));
    wrong["Attributes"] = json!({"RawMessageDelivery": "wrongvalue"});
    assert_eq!(
        bench.refused("Subscribe", wrong).await,
        "400 InvalidParameter: Invalid parameter: Attributes Reason: RawMessageDelivery: Invalid value [wrongvalue]. \
         Must be true or false."
    );
    let mut email = subscribe("email", "a@example.com");
    email["Attributes"] = json!({"RawMessageDelivery": "true"});
    assert!(
        bench.refused("Subscribe", email).await.contains("Delivery protocol [email] does not support raw")
    );
}

#[tokio::test]
async fn a_scope_is_shown_with_a_policy_and_kept_without() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({})).await;
    let set = |name: &str, value: &str| json!({"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": value});
    bench.ok("SetSubscriptionAttributes", set("FilterPolicyScope", "MessageBody")).await;
    assert!(shown(&bench, &arn).await.get("FilterPolicyScope").is_none());
    bench.ok("SetSubscriptionAttributes", set("FilterPolicy", r#"{"a":{"b":["c"]}}"#)).await;
    let now = shown(&bench, &arn).await;
    assert_eq!(
        (&now["FilterPolicyScope"], &now["FilterPolicy"]),
        (&json!("MessageBody"), &json!(r#"{"a":{"b":["c"]}}"#))
    );
    let back =
        bench.refused("SetSubscriptionAttributes", set("FilterPolicyScope", "MessageAttributes")).await;
    assert!(back.contains("does not support nested filter policy"), "{back}");
    bench.ok("SetSubscriptionAttributes", set("FilterPolicy", "")).await;
    assert!(shown(&bench, &arn).await.get("FilterPolicy").is_none());
}

#[tokio::test]
async fn whoever_is_asked_is_pending_until_the_time_is_over() {
    let bench = Bench::with_topic().await;
    let pending = json!({"TopicArn": TOPIC, "Protocol": "http", "Endpoint": HTTP});
    assert_eq!(bench.ok("Subscribe", pending).await, json!({"SubscriptionArn": "pending confirmation"}));
    let arn = bench.ok("Subscribe", subscribe("http", HTTP)).await["SubscriptionArn"].clone();
    let now = shown(&bench, arn.as_str().unwrap()).await;
    assert_eq!(
        (&now["PendingConfirmation"], &now["ConfirmationWasAuthenticated"]),
        (&json!("true"), &json!("false"))
    );
    let listed = bench.ok("ListSubscriptions", json!({})).await;
    assert_eq!(listed["Subscriptions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["Subscriptions"][0]["SubscriptionArn"], "PendingConfirmation");
    bench.world.clock.advance(Duration::from_secs(2 * 24 * 3600 - 1));
    bench.sns.expire().await.unwrap();
    shown(&bench, arn.as_str().unwrap()).await;
    bench.world.clock.advance(Duration::from_secs(1));
    bench.sns.expire().await.unwrap();
    let gone = bench.refused("GetSubscriptionAttributes", json!({"SubscriptionArn": arn})).await;
    assert_eq!(gone, "404 NotFound: Subscription does not exist");
    let counts = bench.ok("GetTopicAttributes", json!({"TopicArn": TOPIC})).await["Attributes"].clone();
    assert_eq!(
        (&counts["SubscriptionsPending"], &counts["SubscriptionsDeleted"]),
        (&json!("0"), &json!("1"))
    );
}

#[tokio::test]
async fn a_token_is_good_for_its_own_topic_alone() {
    let bench = Bench::with_topic().await;
    bench.ok("Subscribe", subscribe("http", HTTP)).await;
    let token = "400 InvalidParameter: Invalid parameter: Token";
    let confirm = |topic: &str, token: &str| json!({"TopicArn": topic, "Token": token});
    assert_eq!(
        bench.by(&anonymous(), "ConfirmSubscription", confirm(TOPIC, "00ff")).await.unwrap_err(),
        token
    );
    let other = "arn:aws:sns:us-east-1:111122223333:other";
    assert_eq!(
        bench.by(&anonymous(), "ConfirmSubscription", confirm(other, "00ff")).await.unwrap_err(),
        token
    );
    let wrong = bench.by(&anonymous(), "ConfirmSubscription", confirm("arn:aws:sns:x:1:t", "00ff")).await;
    assert_eq!(wrong.unwrap_err(), "400 InvalidParameter: Invalid parameter: Topic");
    let signed = json!({"TopicArn": TOPIC, "Token": "00ff", "AuthenticateOnUnsubscribe": "true"});
    let refused = bench.by(&anonymous(), "ConfirmSubscription", signed).await.unwrap_err();
    assert!(refused.starts_with("403 AuthorizationError"), "{refused}");
}

#[tokio::test]
async fn a_subscription_is_ended_by_its_owner_and_its_topics() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({})).await;
    let ended = json!({"SubscriptionArn": arn});
    let silent = user("111122223333", &[]);
    let refused = bench.by(&silent, "Unsubscribe", ended.clone()).await.unwrap_err();
    assert!(refused.starts_with("403 AuthorizationError"), "{refused}");
    for _ in 0..2 {
        assert_eq!(bench.by(&owner(), "Unsubscribe", ended.clone()).await.unwrap(), json!({}));
    }
    let gone = "404 NotFound: Subscription does not exist";
    assert_eq!(bench.refused("GetSubscriptionAttributes", ended).await, gone);
    let part = "400 InvalidParameter: Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, \
                not 1";
    assert_eq!(bench.refused("Unsubscribe", json!({"SubscriptionArn": "PendingConfirmation"})).await, part);
}

#[tokio::test]
async fn others_see_and_change_no_subscription() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({})).await;
    let other = user("444455556666", &["sns:*"]);
    for (operation, params) in [
        ("GetSubscriptionAttributes", json!({"SubscriptionArn": arn})),
        (
            "SetSubscriptionAttributes",
            json!({"SubscriptionArn": arn, "AttributeName": "RawMessageDelivery", "AttributeValue": "true"}),
        ),
    ] {
        let refused = bench.by(&other, operation, params).await.unwrap_err();
        assert!(refused.starts_with("403 AuthorizationError"), "{refused}");
    }
    assert_eq!(bench.by(&other, "ListSubscriptions", json!({})).await.unwrap(), json!({"Subscriptions": []}));
}
