//! Queues themselves.

use cairn_testkit::memory_queues;
use serde_json::json;

use super::{Bench, redrive};

#[tokio::test]
async fn a_queue_is_made_once_and_again_only_as_it_is() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({"DelaySeconds": "1"})).await;
    assert_eq!(url, "http://localhost/111122223333/q");
    assert_eq!(bench.queue("q", json!({})).await, url);
    let other = json!({"QueueName": "q", "Attributes": {"DelaySeconds": "2"}});
    assert_eq!(
        bench.refused("CreateQueue", other).await,
        "400 QueueNameExists: A queue already exists with the same name and a different value for attribute DelaySeconds"
    );
    assert_eq!(bench.send("GetQueueUrl", json!({"QueueName": "q"})).await["QueueUrl"], json!(url));
    bench.send("DeleteQueue", json!({"QueueUrl": url})).await;
    let gone = "400 QueueDoesNotExist: The specified queue does not exist.";
    assert_eq!(bench.refused("GetQueueAttributes", json!({"QueueUrl": url})).await, gone);
    assert_eq!(bench.refused("DeleteQueue", json!({"QueueUrl": url})).await, gone);
    let again = bench.refused("CreateQueue", json!({"QueueName": "q"})).await;
    assert!(again.starts_with("400 QueueDeletedRecently: You must wait 60 seconds"), "{again}");
    bench.advance(60);
    bench.queue("q", json!({})).await;
}

#[tokio::test]
async fn queues_and_their_messages_are_there_after_a_restart() {
    let mut bench = Bench::new().await;
    let engine = memory_queues();
    bench.sqs = bench.world.sqs_over(engine.clone()).await;
    let url = bench.queue("q", json!({"VisibilityTimeout": "7"})).await;
    bench.put(&url, "kept").await;
    let orphan = cairn_store::queues::QueueKey("arn:aws:sqs:us-east-1:111122223333:lost#1".into());
    let others = cairn_store::queues::QueueKey("sns/deliveries".into());
    engine.create(&orphan).await.unwrap();
    engine.create(&others).await.unwrap();
    bench.sqs = bench.world.sqs_over(engine.clone()).await;
    assert_eq!(bench.attribute(&url, "VisibilityTimeout").await, "7");
    assert_eq!(bench.bodies(&url).await, ["kept"]);
    assert!(!engine.names().contains(&orphan) && engine.names().contains(&others));
}

#[tokio::test]
async fn attributes_are_set_and_shown() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    let none = bench.send("GetQueueAttributes", json!({"QueueUrl": url})).await;
    assert_eq!(none, json!({}));
    bench.advance(5);
    let set = json!({"QueueUrl": url, "Attributes": {"DelaySeconds": "420", "MaximumMessageSize": "2048"}});
    bench.send("SetQueueAttributes", set).await;
    let all = bench.send("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]})).await;
    assert_eq!(
        all["Attributes"],
        json!({
            "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0",
            "ApproximateNumberOfMessagesNotVisible": "0", "CreatedTimestamp": "1795281866",
            "LastModifiedTimestamp": "1795281871", "QueueArn": "arn:aws:sqs:us-east-1:111122223333:q",
            "DelaySeconds": "420", "MaximumMessageSize": "2048", "MessageRetentionPeriod": "345600",
            "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true", "VisibilityTimeout": "30",
        })
    );
    let unknown = json!({"QueueUrl": url, "AttributeNames": ["Foo"]});
    assert_eq!(
        bench.refused("GetQueueAttributes", unknown).await,
        "400 InvalidAttributeName: Unknown Attribute Foo."
    );
    let fifo = bench.fifo("q.fifo").await;
    assert_eq!(
        bench
            .refused("SetQueueAttributes", json!({"QueueUrl": fifo, "Attributes": {"FifoQueue": "false"}}))
            .await,
        "400 InvalidAttributeValue: Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not \
         supported."
    );
    assert_eq!(bench.attribute(&fifo, "DeduplicationScope").await, "queue");
    assert_eq!(bench.attribute(&fifo, "FifoThroughputLimit").await, "perQueue");
}

#[tokio::test]
async fn queues_are_listed_by_prefix_and_page() {
    let bench = Bench::new().await;
    assert_eq!(bench.send("ListQueues", json!({})).await, json!({}));
    for name in ["a-1", "a-2", "a-3", "b"] {
        bench.queue(name, json!({})).await;
    }
    let all = bench.send("ListQueues", json!({"QueueNamePrefix": "a-"})).await;
    assert_eq!(all["QueueUrls"].as_array().unwrap().len(), 3);
    let first = bench.send("ListQueues", json!({"MaxResults": 2})).await;
    assert_eq!(first["QueueUrls"].as_array().unwrap().len(), 2);
    let rest = bench.send("ListQueues", json!({"MaxResults": 1000, "NextToken": first["NextToken"]})).await;
    assert_eq!(
        rest,
        json!({"QueueUrls": ["http://localhost/111122223333/a-3", "http://localhost/111122223333/b"]})
    );
    let other = bench.root_of("444455556666");
    let none = crate::world::send(&bench.sqs, &other, "ListQueues", json!({})).await.unwrap();
    assert_eq!(none, json!({}));
}

#[tokio::test]
async fn tags_come_and_go() {
    let bench = Bench::new().await;
    let made = json!({"QueueName": "q", "tags": {"tag1": "value1"}});
    let url = bench.send("CreateQueue", made).await["QueueUrl"].clone();
    let tag = json!({"QueueUrl": url, "Tags": {"tag2": "value2", "tag3": ""}});
    bench.send("TagQueue", tag).await;
    let shown = bench.send("ListQueueTags", json!({"QueueUrl": url})).await;
    assert_eq!(shown, json!({"Tags": {"tag1": "value1", "tag2": "value2", "tag3": ""}}));
    bench.send("UntagQueue", json!({"QueueUrl": url, "TagKeys": ["tag1", "tag2", "tag3", "x"]})).await;
    assert_eq!(bench.send("ListQueueTags", json!({"QueueUrl": url})).await, json!({}));
}

#[tokio::test]
async fn a_purge_empties_a_queue_at_most_once_a_minute() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    bench.put(&url, "a").await;
    bench.send("PurgeQueue", json!({"QueueUrl": url})).await;
    assert!(bench.bodies(&url).await.is_empty());
    assert_eq!(
        bench.refused("PurgeQueue", json!({"QueueUrl": url})).await,
        "403 PurgeQueueInProgress: Only one PurgeQueue operation on q is allowed every 60 seconds."
    );
    bench.advance(60);
    bench.send("PurgeQueue", json!({"QueueUrl": url})).await;
}

#[tokio::test]
async fn dead_letter_queues_know_their_sources_and_may_refuse_them() {
    let bench = Bench::new().await;
    let dead = bench.queue("dead", json!({})).await;
    let sources = |found: serde_json::Value| found["queueUrls"].as_array().unwrap().len();
    let list = json!({"QueueUrl": dead});
    assert_eq!(sources(bench.send("ListDeadLetterSourceQueues", list.clone()).await), 0);
    let source = bench.queue("source", json!({"RedrivePolicy": redrive("dead", 3)})).await;
    assert_eq!(sources(bench.send("ListDeadLetterSourceQueues", list.clone()).await), 1);
    let missing = json!({"QueueName": "x", "Attributes": {"RedrivePolicy": redrive("missing", 3)}});
    let refused = bench.refused("CreateQueue", missing).await;
    assert!(refused.ends_with("Reason: Dead letter target does not exist."), "{refused}");
    let none = json!({"QueueUrl": source, "Attributes": {"RedrivePolicy": ""}});
    bench.send("SetQueueAttributes", none).await;
    assert_eq!(sources(bench.send("ListDeadLetterSourceQueues", list).await), 0);
    let closed = json!({"RedriveAllowPolicy": json!({"redrivePermission": "denyAll"}).to_string()});
    bench.send("SetQueueAttributes", json!({"QueueUrl": dead, "Attributes": closed})).await;
    let again = json!({"QueueUrl": source, "Attributes": {"RedrivePolicy": redrive("dead", 3)}});
    let refused = bench.refused("SetQueueAttributes", again).await;
    assert!(refused.starts_with("400 InvalidParameterValueException: Value"), "{refused}");
}
