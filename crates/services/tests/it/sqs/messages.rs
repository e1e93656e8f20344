//! Messages of standard queues.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Bench, redrive};

#[tokio::test]
async fn a_message_is_received_until_it_is_deleted() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({"VisibilityTimeout": "10"})).await;
    let sent = bench
        .send(
            "SendMessage",
            json!({"QueueUrl": url, "MessageBody": "message-1",
                "MessageAttributes": {"MyAttribute": {"DataType": "String", "StringValue": "foobar"}},
                "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}}),
        )
        .await;
    assert_eq!(sent["MD5OfMessageBody"], json!("3d6b824fd8c1520e9a047d21fee6fb1f"));
    assert_eq!(sent["MD5OfMessageAttributes"], json!("adb59cd4678ea5a855436b949cd07ab6"));
    assert!(sent["MD5OfMessageSystemAttributes"].is_string() && sent.get("SequenceNumber").is_none());
    bench.advance(1);
    let first = bench.take(&url).await.remove(0);
    assert_eq!(first["MessageId"], sent["MessageId"]);
    assert_eq!(first["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(
        first["Attributes"],
        json!({"AWSTraceHeader": "Root=1", "ApproximateFirstReceiveTimestamp": "1795281867000",
            "ApproximateReceiveCount": "1", "SenderId": "111122223333", "SentTimestamp": "1795281866000"})
    );
    assert!(bench.take(&url).await.is_empty());
    assert_eq!(bench.attribute(&url, "ApproximateNumberOfMessagesNotVisible").await, "1");
    bench.advance(10);
    let second = bench.take(&url).await.remove(0);
    assert_eq!(second["Attributes"]["ApproximateReceiveCount"], json!("2"));
    assert_ne!(first["ReceiptHandle"], second["ReceiptHandle"]);
    bench.delete(&url, &second).await;
    bench.delete(&url, &second).await;
    bench.advance(60);
    assert!(bench.take(&url).await.is_empty());
    let other = bench.queue("other", json!({})).await;
    for handle in [first["ReceiptHandle"].clone(), json!("garbage")] {
        let params = json!({"QueueUrl": other, "ReceiptHandle": handle});
        assert_eq!(
            bench.refused("DeleteMessage", params).await,
            "404 ReceiptHandleIsInvalid: The input receipt handle is invalid."
        );
    }
}

#[tokio::test]
async fn a_message_says_only_what_was_asked_for() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({"VisibilityTimeout": "0"})).await;
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    let attributes = json!({"Hello": text("There"), "General": text("Kenobi"), "Help.Me": text("Me")});
    bench
        .send("SendMessage", json!({"QueueUrl": url, "MessageBody": "msg", "MessageAttributes": attributes}))
        .await;
    for (names, md5) in [
        (json!([]), Value::Null),
        (json!(["All"]), json!("4c360f3fdafd970e05fae2f149d997f5")),
        (json!([".*"]), json!("4c360f3fdafd970e05fae2f149d997f5")),
        (json!(["Foo"]), Value::Null),
        (json!(["Hello", "General"]), json!("fca026605781cb4126a1e9044df24232")),
        (json!(["Hello", "Foo"]), json!("a311262e065454b75da111d535b8dacd")),
        (json!(["Hel.*"]), json!("83fee93c1bcd8b9a5a923ffacdc636c7")),
    ] {
        let ask = json!({"QueueUrl": url, "MessageAttributeNames": names});
        let message = bench.send("ReceiveMessage", ask).await["Messages"][0].clone();
        assert_eq!(message["MD5OfMessageAttributes"], md5, "{names}");
        assert_eq!(message.get("MessageAttributes").is_some(), md5.is_string(), "{names}");
        assert!(message.get("Attributes").is_none());
    }
    let ask = json!({"QueueUrl": url, "AttributeNames": ["SenderId", "SequenceNumber"]});
    let message = bench.send("ReceiveMessage", ask).await["Messages"][0].clone();
    assert_eq!(message["Attributes"], json!({"SenderId": "111122223333"}));
}

#[tokio::test]
async fn numbers_out_of_range_are_refused_in_awss_words() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    let refused = |member: &'static str, value: i64| {
        let (bench, url) = (&bench, &url);
        async move { bench.refused("ReceiveMessage", json!({"QueueUrl": url, member: value})).await }
    };
    assert_eq!(
        refused("MaxNumberOfMessages", 11).await,
        "400 InvalidParameterValueException: Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be \
         between 1 and 10, if provided."
    );
    assert_eq!(
        refused("WaitTimeSeconds", -1).await,
        "400 InvalidParameterValueException: Value -1 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and \
         <= 20, if provided."
    );
    assert!(refused("VisibilityTimeout", 43_201).await.contains("parameter VisibilityTimeout is invalid"));
    let empty = bench.refused("SendMessage", json!({"QueueUrl": url, "MessageBody": ""})).await;
    assert_eq!(
        empty,
        "400 MissingRequiredParameterException: The request must contain the parameter MessageBody."
    );
    let long = json!({"QueueUrl": url, "MessageBody": "x".repeat(1_048_577)});
    assert_eq!(
        bench.refused("SendMessage", long).await,
        "400 InvalidParameterValueException: One or more parameters are invalid. Reason: Message must be shorter than \
         1048576 bytes."
    );
    let late = json!({"QueueUrl": url, "MessageBody": "x", "DelaySeconds": 901});
    assert!(bench.refused("SendMessage", late).await.contains("parameter DelaySeconds is invalid"));
}

#[tokio::test]
async fn an_entry_of_a_batch_fails_alone() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({"MaximumMessageSize": "1024"})).await;
    let entries = json!([{"Id": "long", "MessageBody": "x".repeat(1025)}, {"Id": "ok", "MessageBody": "a"}]);
    let sent = bench.send("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(sent["Successful"][0]["Id"], json!("ok"));
    assert_eq!(
        sent["Failed"],
        json!([{"Id": "long", "SenderFault": true, "Code": "InvalidParameterValue",
            "Message": "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."}])
    );
    let message = bench.take(&url).await.remove(0);
    let entries = json!([
        {"Id": "1", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "2", "ReceiptHandle": "x", "VisibilityTimeout": 0},
    ]);
    let changed =
        bench.send("ChangeMessageVisibilityBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(changed["Successful"], json!([{"Id": "1"}]));
    assert_eq!(changed["Failed"][0]["Code"], json!("ReceiptHandleIsInvalid"));
    let message = bench.take(&url).await.remove(0);
    let entries = json!([{"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}]);
    let deleted = bench.send("DeleteMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
    assert_eq!(deleted, json!({"Successful": [{"Id": "1"}]}));
    let none = bench.refused("DeleteMessageBatch", json!({"QueueUrl": url})).await;
    assert!(none.starts_with("400 EmptyBatchRequest: There should be at least one"), "{none}");
    let large = json!([{"Id": "1", "MessageBody": "x".repeat(1_048_576)}, {"Id": "2", "MessageBody": "x"}]);
    assert_eq!(
        bench.refused("SendMessageBatch", json!({"QueueUrl": url, "Entries": large})).await,
        "400 BatchRequestTooLong: Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."
    );
}

#[tokio::test]
async fn visibility_is_changed_while_a_message_is_in_flight() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    bench.put(&url, "a").await;
    let message = bench.take(&url).await.remove(0);
    let change = |timeout: i64| json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": timeout});
    bench.send("ChangeMessageVisibility", change(100)).await;
    bench.advance(99);
    assert!(bench.take(&url).await.is_empty());
    bench.send("ChangeMessageVisibility", change(0)).await;
    assert_eq!(bench.bodies(&url).await, ["a"]);
    let beyond = bench.refused("ChangeMessageVisibility", change(43_201)).await;
    assert!(beyond.contains("for parameter VisibilityTimeout is invalid"), "{beyond}");
    let last = bench.take(&url).await;
    assert!(last.is_empty());
    bench.advance(30);
    let message = bench.take(&url).await.remove(0);
    bench.delete(&url, &message).await;
    let gone = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 1});
    let gone = bench.refused("ChangeMessageVisibility", gone).await;
    assert!(
        gone.starts_with("400 InvalidParameterValueException") && gone.ends_with("timeout change."),
        "{gone}"
    );
}

#[tokio::test]
async fn a_long_poll_ends_with_a_message_or_with_its_time() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    let poll = json!({"QueueUrl": url, "WaitTimeSeconds": 20});
    let began = bench.root().now;
    assert_eq!(bench.send("ReceiveMessage", poll.clone()).await, json!({}));
    assert_eq!(bench.root().now.since(began).as_secs(), 20);
    bench.send("SendMessage", json!({"QueueUrl": url, "MessageBody": "late", "DelaySeconds": 5})).await;
    assert_eq!(bench.attribute(&url, "ApproximateNumberOfMessagesDelayed").await, "1");
    let began = bench.root().now;
    let found = bench.send("ReceiveMessage", poll.clone()).await;
    assert_eq!(found["Messages"][0]["Body"], json!("late"));
    assert_eq!(bench.root().now.since(began).as_secs(), 5);
    // However long the send takes, nothing else ends this one.
    bench.world.is_clock_held.store(true, Ordering::Relaxed);
    let (found, _) = tokio::join!(bench.send("ReceiveMessage", poll), bench.put(&url, "now"));
    assert_eq!(found["Messages"][0]["Body"], json!("now"));
}

#[tokio::test]
async fn messages_received_too_often_become_dead_letters() {
    let bench = Bench::new().await;
    let dead = bench.queue("dead", json!({})).await;
    let url = bench.queue("q", json!({"VisibilityTimeout": "0", "RedrivePolicy": redrive("dead", 2)})).await;
    let sent = bench.put(&url, "a").await;
    for _ in 0..2 {
        assert_eq!(bench.bodies(&url).await, ["a"]);
    }
    assert!(bench.take(&url).await.is_empty());
    let letter = bench.take(&dead).await.remove(0);
    assert_eq!(letter["MessageId"], sent["MessageId"]);
    assert_eq!(letter["Attributes"]["DeadLetterQueueSourceArn"], json!(super::arn("q")));
}

#[tokio::test]
async fn messages_go_when_their_retention_period_is_over() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({"MessageRetentionPeriod": "60"})).await;
    bench.put(&url, "a").await;
    bench.advance(59);
    bench.sqs.maintain().await.unwrap();
    assert_eq!(bench.attribute(&url, "ApproximateNumberOfMessages").await, "1");
    bench.advance(1);
    assert!(bench.take(&url).await.is_empty(), "it is not received, though no stage ran");
    bench.sqs.maintain().await.unwrap();
    assert_eq!(bench.attribute(&url, "ApproximateNumberOfMessages").await, "0");
}

#[tokio::test]
async fn a_fair_queues_groups_are_shown_and_keep_no_order() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    bench.put_in_group(&url, "tenant", "a").await;
    bench.put_in_group(&url, "tenant", "b").await;
    let first = bench.send("ReceiveMessage", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await;
    assert_eq!(first["Messages"][0]["Attributes"]["MessageGroupId"], json!("tenant"));
    assert_eq!(bench.bodies(&url).await.len(), 1, "the other one does not wait for the first");
    let given = json!({"QueueUrl": url, "MessageBody": "a", "MessageDeduplicationId": "d"});
    let refused = bench.refused("SendMessage", given).await;
    assert!(refused.contains("Value d for parameter MessageDeduplicationId is invalid"), "{refused}");
}
