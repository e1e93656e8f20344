//! FIFO queues: order, duplicates, receives that are tried again.

use serde_json::{Value, json};

use super::Bench;

#[tokio::test]
async fn a_group_waits_for_its_first_message() {
    let bench = Bench::new().await;
    let url = bench.fifo("q.fifo").await;
    for (group, body) in [("a", "1"), ("a", "2"), ("b", "3")] {
        bench.put_in_group(&url, group, body).await;
    }
    let one = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let first = bench.send("ReceiveMessage", one.clone()).await["Messages"][0].clone();
    assert_eq!(first["Body"], json!("1"));
    let attributes = &first["Attributes"];
    assert_eq!(attributes["MessageGroupId"], json!("a"));
    assert_eq!(attributes["MessageDeduplicationId"].as_str().unwrap().len(), 64);
    assert_eq!(attributes["SequenceNumber"].as_str().unwrap().len(), 20);
    assert_eq!(bench.bodies(&url).await, ["3"]);
    bench.delete(&url, &first).await;
    assert_eq!(bench.bodies(&url).await, ["2"]);
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_and_not_kept() {
    let bench = Bench::new().await;
    let url = bench.queue("q.fifo", json!({"FifoQueue": "true"})).await;
    let put = |group: &str, id: &str, body: &str| {
        let message = json!({"QueueUrl": url, "MessageBody": body, "MessageGroupId": group,
            "MessageDeduplicationId": id});
        bench.send("SendMessage", message)
    };
    let first = put("a", "1", "x").await;
    let second = put("b", "1", "y").await;
    assert_eq!(first["MessageId"], second["MessageId"]);
    assert_eq!(first["SequenceNumber"], second["SequenceNumber"]);
    let message = bench.take(&url).await.remove(0);
    bench.delete(&url, &message).await;
    put("a", "1", "x").await;
    assert!(bench.take(&url).await.is_empty(), "also after the first was deleted");
    bench.advance(5 * 60);
    put("a", "1", "x").await;
    assert_eq!(bench.bodies(&url).await, ["x"]);
    bench.send("PurgeQueue", json!({"QueueUrl": url})).await;
    put("a", "1", "x").await;
    assert_eq!(bench.bodies(&url).await, ["x"], "a purge forgets what was sent before it");
    let wide =
        bench.queue("wide.fifo", json!({"FifoQueue": "true", "DeduplicationScope": "messageGroup"})).await;
    for group in ["a", "b", "a"] {
        let message = json!({"QueueUrl": wide, "MessageBody": "x", "MessageGroupId": group,
            "MessageDeduplicationId": "1"});
        bench.send("SendMessage", message).await;
    }
    assert_eq!(bench.take(&wide).await.len(), 2);
}

#[tokio::test]
async fn what_a_fifo_queue_needs_is_asked_for() {
    let bench = Bench::new().await;
    let url = bench.queue("q.fifo", json!({"FifoQueue": "true"})).await;
    let refused = |more: Value| {
        let mut message = json!({"QueueUrl": url, "MessageBody": "x"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.refused("SendMessage", message)
    };
    assert_eq!(
        refused(json!({"MessageGroupId": "g"})).await,
        "400 InvalidParameterValueException: The queue should either have ContentBasedDeduplication enabled or \
         MessageDeduplicationId provided explicitly"
    );
    assert_eq!(
        refused(json!({"MessageDeduplicationId": "d"})).await,
        "400 MissingRequiredParameterException: The request must contain the parameter MessageGroupId."
    );
    assert_eq!(
        refused(json!({"MessageDeduplicationId": "d", "MessageGroupId": "g", "DelaySeconds": 2})).await,
        "400 InvalidParameterValueException: Value 2 for parameter DelaySeconds is invalid. Reason: The request include \
         parameter that is not valid for this queue type."
    );
    assert_eq!(
        refused(json!({"MessageDeduplicationId": "d", "MessageGroupId": "group 123"})).await,
        "400 InvalidParameterValueException: Value group 123 for parameter MessageGroupId is invalid. Reason: \
         MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."
    );
    let batch = json!({"QueueUrl": url, "Entries": [{"Id": "1", "MessageBody": "x"}]});
    assert_eq!(
        bench.refused("SendMessageBatch", batch).await,
        "400 InvalidParameterValueException: The request must contain the parameter MessageGroupId."
    );
}

#[tokio::test]
async fn a_receipt_of_a_group_is_good_only_while_its_message_is_hidden() {
    let bench = Bench::new().await;
    let url = bench.fifo("q.fifo").await;
    bench.put_in_group(&url, "g", "foobar").await;
    let message = bench.take(&url).await.remove(0);
    bench.advance(31);
    let refused = bench
        .refused("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}))
        .await;
    assert_eq!(
        refused,
        format!(
            "400 InvalidParameterValueException: Value {} for parameter ReceiptHandle is invalid. Reason: The receipt \
             handle has expired.",
            message["ReceiptHandle"].as_str().unwrap()
        )
    );
}

#[tokio::test]
async fn an_attempt_that_is_tried_again_is_given_the_same_messages() {
    let bench = Bench::new().await;
    let url = bench.fifo("q.fifo").await;
    bench.put_in_group(&url, "g", "a").await;
    let attempt = json!({"QueueUrl": url, "ReceiveRequestAttemptId": "1"});
    let first = bench.send("ReceiveMessage", attempt.clone()).await;
    assert_eq!(first["Messages"][0]["Body"], json!("a"));
    bench.advance(20);
    assert_eq!(bench.send("ReceiveMessage", attempt.clone()).await, first);
    bench.advance(20);
    let other = json!({"QueueUrl": url, "ReceiveRequestAttemptId": "2"});
    assert_eq!(bench.send("ReceiveMessage", other).await, json!({}), "it is hidden anew");
    bench.delete(&url, &first["Messages"][0]).await;
    assert_eq!(bench.send("ReceiveMessage", attempt).await, json!({}));
}
