//! Publishes: what subscribers get, who gets nothing, what is refused.

use cairn_services::sinks::{AttributeValue, Source, TopicMessage, TopicSink};
use serde_json::{Value, json};

use super::{Bench, TOPIC, owner};

fn publish(message: &str) -> Value {
    json!({"TopicArn": TOPIC, "Message": message})
}

#[tokio::test]
async fn a_queue_gets_the_envelope_or_the_message_alone() {
    let bench = Bench::with_topic().await;
    let enveloped = bench.queue(TOPIC, "enveloped", json!({})).await;
    bench.queue(TOPIC, "raw", json!({"RawMessageDelivery": "true"})).await;
    let attributes = json!({"n": {"DataType": "Number", "StringValue": "1.5"},
                            "b": {"DataType": "Binary", "BinaryValue": "AQI="}});
    let message = json!({"TopicArn": TOPIC, "Message": "hello", "Subject": "s", "MessageAttributes": attributes,
                         "MessageGroupId": "g"});
    let id = bench.ok("Publish", message).await["MessageId"].clone();

    let got = bench.received("enveloped").remove(0);
    assert!(got.attributes.is_empty());
    assert_eq!((got.group.as_deref(), got.deduplication), (Some("g"), None));
    let text: Value = serde_json::from_str(&got.body).unwrap();
    let names: Vec<&String> = text.as_object().unwrap().keys().collect();
    let expected = "Type MessageId TopicArn Subject Message Timestamp SignatureVersion Signature SigningCertURL \
                    UnsubscribeURL MessageAttributes";
    assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
    assert_eq!((&text["Type"], &text["MessageId"]), (&json!("Notification"), &id));
    assert_eq!((&text["Message"], &text["Subject"]), (&json!("hello"), &json!("s")));
    assert_eq!(text["MessageAttributes"]["b"], json!({"Type": "Binary", "Value": "AQI="}));
    let link = format!("http://127.0.0.1:4599/?Action=Unsubscribe&SubscriptionArn={enveloped}");
    assert_eq!(text["UnsubscribeURL"], link);

    let got = bench.received("raw").remove(0);
    assert_eq!(got.body, "hello");
    let shown: Vec<_> =
        got.attributes.iter().map(|one| (one.name.as_str(), one.data_type.as_str(), &one.value)).collect();
    let (number, bytes) = (AttributeValue::Text("1.5".into()), AttributeValue::Bytes(vec![1, 2]));
    assert_eq!(shown, [("n", "Number", &number), ("b", "Binary", &bytes)]);
}

#[tokio::test]
async fn a_filter_policy_keeps_away_what_its_subscription_does_not_want() {
    let bench = Bench::with_topic().await;
    let raw = |policy: &str, scope: &str| json!({"RawMessageDelivery": "true", "FilterPolicy": policy, "FilterPolicyScope": scope});
    bench.queue(TOPIC, "red", raw(r#"{"colour":["red"]}"#, "MessageAttributes")).await;
    bench.queue(TOPIC, "body", raw(r#"{"size":[{"numeric":[">",3]}]}"#, "MessageBody")).await;
    let coloured = |message: &str, colour: &str| {
        let attributes = json!({"colour": {"DataType": "String", "StringValue": colour}});
        json!({"TopicArn": TOPIC, "Message": message, "MessageAttributes": attributes})
    };
    bench.ok("Publish", coloured(r#"{"size":5}"#, "red")).await;
    bench.ok("Publish", coloured(r#"{"size":2}"#, "blue")).await;
    bench.ok("Publish", publish("no JSON")).await;
    assert_eq!(bench.bodies("red"), [r#"{"size":5}"#]);
    assert_eq!(bench.bodies("body"), [r#"{"size":5}"#]);
}

#[tokio::test]
async fn a_change_of_a_filter_counts_from_the_next_publish() {
    let bench = Bench::with_topic().await;
    let arn = bench.queue(TOPIC, "q", json!({"RawMessageDelivery": "true"})).await;
    bench.ok("Publish", publish("1")).await;
    let set = |policy: &str| json!({"SubscriptionArn": arn, "AttributeName": "FilterPolicy", "AttributeValue": policy});
    bench.ok("SetSubscriptionAttributes", set(r#"{"a":["b"]}"#)).await;
    bench.ok("Publish", publish("2")).await;
    bench.ok("SetSubscriptionAttributes", set("{}")).await;
    bench.ok("Publish", publish("3")).await;
    bench.ok("Unsubscribe", json!({"SubscriptionArn": arn})).await;
    bench.ok("Publish", publish("4")).await;
    assert_eq!(bench.bodies("q"), ["1", "3"]);
}

#[tokio::test]
async fn a_message_may_say_something_else_by_each_protocol() {
    let bench = Bench::with_topic().await;
    bench.queue(TOPIC, "q", json!({"RawMessageDelivery": "true"})).await;
    let structured = |message: Value| json!({"TopicArn": TOPIC, "Message": message.to_string(), "MessageStructure": "json"});
    bench.ok("Publish", structured(json!({"default": "d", "sqs": "s"}))).await;
    bench.ok("Publish", structured(json!({"default": "d", "sqs": 1}))).await;
    assert_eq!(bench.bodies("q"), ["s", "d"]);
    let none =
        "400 InvalidParameter: Invalid parameter: Message Structure - No default entry in JSON message body";
    assert_eq!(bench.refused("Publish", structured(json!({"sqs": "s"}))).await, none);
    let unparsed = json!({"TopicArn": TOPIC, "Message": "x", "MessageStructure": "json"});
    let told =
        "400 InvalidParameter: Invalid parameter: Message Structure - JSON message body failed to parse";
    assert_eq!(bench.refused("Publish", unparsed).await, told);
}

#[tokio::test]
async fn publishes_are_refused_in_awss_words() {
    let bench = Bench::with_topic().await;
    let with = |member: &str, value: Value| {
        let mut params = publish("m");
        params[member] = value;
        params
    };
    for (params, told) in [
        (publish(""), "Empty message"),
        (with("Subject", json!("")), "Subject"),
        (with("Subject", json!("a\nb")), "Subject"),
        (with("Subject", json!("a".repeat(101))), "Subject"),
        (with("Message", json!("a".repeat(256 * 1024 + 1))), "Message too long"),
        (
            with("MessageDeduplicationId", json!("d")),
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for \
             this topic type",
        ),
        (
            json!({"TopicArn": "random", "Message": "m"}),
            "TopicArn Reason: An ARN must have at least 6 elements, not 1",
        ),
        (json!({"TopicArn": "arn:aws:sns:eu-west-1:111122223333:news", "Message": "m"}), "TopicArn"),
        (
            json!({"TargetArn": "arn:aws:sns:us-east-1:111122223333:endpoint/APNS/a/1", "Message": "m"}),
            "TargetArn Reason: No endpoint found for the target arn specified",
        ),
        (
            json!({"PhoneNumber": "+4912345678", "Message": "m"}),
            "PhoneNumber Reason: text messages are not supported",
        ),
    ] {
        let expected = format!("400 InvalidParameter: Invalid parameter: {told}");
        assert_eq!(bench.refused("Publish", params).await, expected);
    }
    bench.ok("Publish", with("Message", json!("a".repeat(256 * 1024)))).await;
    let attribute = json!({"a": {"DataType": "String", "StringValue": "v"}});
    let mut long = with("Message", json!("a".repeat(256 * 1024 - 7)));
    long["MessageAttributes"] = attribute;
    assert!(bench.refused("Publish", long).await.ends_with("Message too long"));
}

#[tokio::test]
async fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let bench = Bench::with_topic().await;
    bench.queue(TOPIC, "q", json!({"RawMessageDelivery": "true"})).await;
    let entry = |id: &str, message: &str| json!({"Id": id, "Message": message});
    let batch = |entries: Vec<Value>| json!({"TopicArn": TOPIC, "PublishBatchRequestEntries": entries});
    let sent = bench.ok("PublishBatch", batch(vec![entry("a", "1"), entry("b", "2")])).await;
    let ids: Vec<&str> =
        sent["Successful"].as_array().unwrap().iter().map(|one| one["Id"].as_str().unwrap()).collect();
    assert_eq!((ids, &sent["Failed"]), (vec!["a", "b"], &json!([])));
    assert_eq!(bench.bodies("q"), ["1", "2"]);
    for (entries, told) in [
        (vec![], "EmptyBatchRequest: The batch request doesn't contain any entries."),
        (
            (0..11).map(|number| entry(&number.to_string(), "m")).collect(),
            "TooManyEntriesInBatchRequest: The batch request contains more entries than permissible.",
        ),
        (
            vec![entry("a", "1"), entry("a", "2")],
            "BatchEntryIdsNotDistinct: Two or more batch entries in the request have the same Id.",
        ),
        (
            vec![entry("a b", "1")],
            "InvalidBatchEntryId: The Id of a batch entry in a batch request doesn't abide by the specification.",
        ),
        (
            vec![entry("a", &"x".repeat(200 * 1024)), entry("b", &"x".repeat(100 * 1024))],
            "BatchRequestTooLong: The length of all the messages put together is more than the limit.",
        ),
        (vec![entry("a", "1"), entry("b", "")], "InvalidParameter: Invalid parameter: Empty message"),
    ] {
        assert_eq!(bench.refused("PublishBatch", batch(entries)).await, format!("400 {told}"));
    }
    assert!(bench.bodies("q").is_empty());
}

#[tokio::test]
async fn one_queue_that_refuses_keeps_nothing_from_the_others() {
    let bench = Bench::with_topic().await;
    for name in ["sick", "gone", "well"] {
        bench.queue(TOPIC, name, json!({"RawMessageDelivery": "true"})).await;
    }
    bench.fail("sick", true);
    bench.fail("gone", false);
    bench.by(&owner(), "Publish", publish("m")).await.unwrap();
    assert_eq!(bench.bodies("well"), ["m"]);
}

#[tokio::test]
async fn what_a_queue_did_not_take_comes_later_or_goes_to_the_dead_letters() {
    let bench = Bench::with_topic().await;
    let redrive = json!({"deadLetterTargetArn": super::queue_arn("dead")}).to_string();
    for name in ["sick", "gone"] {
        bench.queue(TOPIC, name, json!({"RawMessageDelivery": "true", "RedrivePolicy": redrive})).await;
    }
    bench.fail("sick", true);
    bench.fail("gone", false);
    bench.ok("Publish", publish("m")).await;
    bench.heal("sick");
    assert_eq!(bench.paid("dead", 1).await, ["m"]);
    assert!(!bench.paid("sick", 1).await.is_empty());
}

fn bucket() -> Source {
    Source {
        service: "s3.amazonaws.com".into(),
        arn: "arn:aws:s3:::logs".into(),
        account: "111122223333".parse().unwrap(),
    }
}

#[tokio::test]
async fn services_publish_where_the_topics_policy_lets_them() {
    let bench = Bench::with_topic().await;
    bench.queue(TOPIC, "q", json!({})).await;
    let refused = bench.sns.check(&bucket(), TOPIC).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.is_transient), ("AuthorizationError", false));
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "SNS:Publish", "Resource": TOPIC,
        "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs"}, "StringEquals": {"aws:SourceAccount": "111122223333"}}}});
    let set = json!({"TopicArn": TOPIC, "AttributeName": "Policy", "AttributeValue": policy.to_string()});
    bench.ok("SetTopicAttributes", set).await;
    bench.sns.check(&bucket(), TOPIC).await.unwrap();
    let message = TopicMessage { subject: Some("Amazon S3 Notification".into()), body: "m".into() };
    bench.sns.publish(&bucket(), TOPIC, message.clone()).await.unwrap();
    let text: Value = serde_json::from_str(&bench.bodies("q")[0]).unwrap();
    assert_eq!((&text["Subject"], &text["Message"]), (&json!("Amazon S3 Notification"), &json!("m")));
    let other = Source { arn: "arn:aws:s3:::other".into(), ..bucket() };
    assert_eq!(bench.sns.publish(&other, TOPIC, message).await.unwrap_err().code, "AuthorizationError");
    let missing = bench.sns.check(&bucket(), "arn:aws:sns:us-east-1:111122223333:none").await.unwrap_err();
    assert_eq!(missing.code, "NotFound");
    assert_eq!(bench.sns.is_fifo(TOPIC).await, Some(false));
    assert_eq!(bench.sns.is_fifo("arn:aws:sns:us-east-1:111122223333:none").await, None);
}

#[tokio::test]
async fn a_topics_key_is_needed_by_whoever_publishes() {
    let bench = Bench::with_topic().await;
    bench.queue(TOPIC, "q", json!({"RawMessageDelivery": "true"})).await;
    let kms = bench.world.kms(cairn_testkit::memory_log());
    let made = crate::world::send(&kms, &owner(), "CreateKey", json!({})).await.unwrap();
    let key = made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    let set =
        |value: &str| json!({"TopicArn": TOPIC, "AttributeName": "KmsMasterKeyId", "AttributeValue": value});
    bench.ok("SetTopicAttributes", set(&key)).await;
    let silent = super::user("111122223333", &["sns:Publish"]);
    let refused = bench.by(&silent, "Publish", publish("1")).await.unwrap_err();
    assert!(refused.starts_with("400 KMSAccessDenied"), "{refused}");
    let able = super::user("111122223333", &["sns:Publish", "kms:GenerateDataKey"]);
    bench.by(&able, "Publish", publish("2")).await.unwrap();
    crate::world::send(&kms, &owner(), "DisableKey", json!({"KeyId": key})).await.unwrap();
    // A publisher is not asked again within five minutes.
    bench.by(&able, "Publish", publish("3")).await.unwrap();
    bench.world.clock.advance(std::time::Duration::from_secs(300));
    let refused = bench.by(&able, "Publish", publish("4")).await.unwrap_err();
    assert!(refused.starts_with("400 KMSDisabled"), "{refused}");
    bench.ok("SetTopicAttributes", set("1234abcd-12ab-34cd-56ef-1234567890ab")).await;
    assert!(bench.refused("Publish", publish("5")).await.starts_with("400 KMSNotFound"));
    assert_eq!(bench.sns.check(&bucket(), TOPIC).await.unwrap_err().code, "AuthorizationError");
    assert_eq!(bench.bodies("q"), ["2", "3"]);
}

#[tokio::test]
async fn records_say_to_whom_and_not_what_was_published() {
    use cairn_services::Service;
    let bench = Bench::with_topic().await;
    let entries = json!([{"Id": "1", "Message": "m", "Subject": "s"}]);
    let batch = json!({"TopicArn": TOPIC, "PublishBatchRequestEntries": entries});
    let shown = |operation, params| bench.sns.recorded_request(&crate::world::call("sns", operation, params));
    let hidden = "HIDDEN_DUE_TO_SECURITY_REASONS";
    assert_eq!(
        shown("PublishBatch", batch),
        Some(
            json!({"topicArn": TOPIC, "publishBatchRequestEntries": [{"id": "1", "message": hidden, "subject": hidden}]})
        )
    );
    let attributes = json!({"a": {"DataType": "String", "StringValue": "v"}});
    let one = json!({"TopicArn": TOPIC, "Message": "m", "MessageAttributes": attributes, "MessageStructure": "json"});
    assert_eq!(
        shown("Publish", one),
        Some(
            json!({"topicArn": TOPIC, "message": hidden, "messageStructure": "json", "messageAttributes": hidden})
        )
    );
    let call = crate::world::call("sns", "Publish", publish("m"));
    let target = bench.sns.target(&owner(), &call).await.unwrap();
    assert_eq!((target.resources[0].kind, target.resources[0].arn.as_str()), ("AWS::SNS::Topic", TOPIC));
}
