//! FIFO topics: once, numbered, in order, also when a queue fails in between.

use std::time::Duration;

use serde_json::{Value, json};

use super::Bench;

const FIFO: &str = "arn:aws:sns:us-east-1:111122223333:t.fifo";

async fn fifo(attributes: Value) -> Bench {
    let bench = Bench::new();
    let mut all = json!({"FifoTopic": "true"});
    all.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    bench.ok("CreateTopic", json!({"Name": "t.fifo", "Attributes": all})).await;
    bench
}

fn publish(message: &str, group: &str, id: Option<&str>) -> Value {
    json!({"TopicArn": FIFO, "Message": message, "MessageGroupId": group, "MessageDeduplicationId": id})
}

fn number(reply: &Value) -> u64 {
    reply["SequenceNumber"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn messages_are_numbered_and_a_duplicate_is_known_for_five_minutes() {
    let bench = fifo(json!({})).await;
    bench.queue(FIFO, "q.fifo", json!({"RawMessageDelivery": "true"})).await;
    bench.queue(FIFO, "plain", json!({"RawMessageDelivery": "true"})).await;
    let first = bench.ok("Publish", publish("1", "g", Some("a"))).await;
    let second = bench.ok("Publish", publish("2", "g", Some("b"))).await;
    assert_eq!(first["SequenceNumber"].as_str().unwrap().len(), 20);
    assert!(number(&first) < number(&second));
    // Another group is no other message.
    assert_eq!(bench.ok("Publish", publish("again", "h", Some("a"))).await, first);
    let got = bench.received("q.fifo");
    let seen: Vec<_> = got
        .iter()
        .map(|one| (one.body.as_str(), one.group.as_deref(), one.deduplication.as_deref()))
        .collect();
    assert_eq!(seen, [("1", Some("g"), Some("a")), ("2", Some("g"), Some("b"))]);
    // A standard queue knows groups, but no deduplication ids.
    assert!(bench.received("plain").iter().all(|one| one.group.is_some() && one.deduplication.is_none()));
    bench.world.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.ok("Publish", publish("1", "g", Some("a"))).await, first);
    bench.world.clock.advance(Duration::from_secs(1));
    bench.sns.expire().await.unwrap();
    let later = bench.ok("Publish", publish("1", "g", Some("a"))).await;
    assert!(number(&later) > number(&second));
    assert_eq!(bench.bodies("q.fifo"), ["1"]);
}

#[tokio::test]
async fn an_envelope_has_the_number_and_no_signature() {
    let bench = fifo(json!({})).await;
    bench.queue(FIFO, "q.fifo", json!({})).await;
    let sent = bench.ok("Publish", publish("1", "g", Some("a"))).await;
    let text: Value = serde_json::from_str(&bench.bodies("q.fifo")[0]).unwrap();
    let names: Vec<&String> = text.as_object().unwrap().keys().collect();
    let expected = "Type MessageId SequenceNumber TopicArn Message Timestamp UnsubscribeURL";
    assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
    assert_eq!(text["SequenceNumber"], sent["SequenceNumber"]);
}

#[tokio::test]
async fn what_says_the_order_is_required() {
    let bench = fifo(json!({})).await;
    let told = "400 InvalidParameter: Invalid parameter:";
    let without_group = json!({"TopicArn": FIFO, "Message": "m", "MessageDeduplicationId": "d"});
    assert_eq!(
        bench.refused("Publish", without_group).await,
        format!("{told} The MessageGroupId parameter is required for FIFO topics")
    );
    assert_eq!(
        bench.refused("Publish", publish("m", "g", None)).await,
        format!(
            "{told} The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
             explicitly"
        )
    );
    let set =
        json!({"TopicArn": FIFO, "AttributeName": "ContentBasedDeduplication", "AttributeValue": "true"});
    bench.ok("SetTopicAttributes", set).await;
    let first = bench.ok("Publish", publish("m", "g", None)).await;
    assert_eq!(bench.ok("Publish", publish("m", "g", None)).await, first);
    assert_ne!(bench.ok("Publish", publish("n", "g", None)).await, first);
}

#[tokio::test]
async fn duplicates_can_be_told_by_group() {
    let bench = fifo(json!({"FifoThroughputScope": "MessageGroup"})).await;
    let first = bench.ok("Publish", publish("m", "g", Some("a"))).await;
    assert_ne!(bench.ok("Publish", publish("m", "h", Some("a"))).await, first);
    assert_eq!(bench.ok("Publish", publish("m", "g", Some("a"))).await, first);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_knows_its_own_duplicates() {
    let bench = fifo(json!({})).await;
    bench.queue(FIFO, "q.fifo", json!({"RawMessageDelivery": "true"})).await;
    let entry = |id: &str, dedup: &str| json!({"Id": id, "Message": id, "MessageGroupId": "g", "MessageDeduplicationId": dedup});
    let entries = json!([entry("1", "a"), entry("2", "b"), entry("3", "a")]);
    let batch = json!({"TopicArn": FIFO, "PublishBatchRequestEntries": entries});
    let sent = bench.ok("PublishBatch", batch).await["Successful"].clone();
    assert!(number(&sent[0]) < number(&sent[1]));
    assert_eq!(sent[2]["MessageId"], sent[0]["MessageId"]);
    assert_eq!(bench.bodies("q.fifo"), ["1", "2"]);
}

#[tokio::test]
async fn later_messages_of_a_group_wait_behind_one_that_a_queue_did_not_take() {
    let bench = fifo(json!({})).await;
    bench.queue(FIFO, "q.fifo", json!({"RawMessageDelivery": "true"})).await;
    bench.fail("q.fifo", true);
    bench.ok("Publish", publish("1", "g", Some("a"))).await;
    bench.heal("q.fifo");
    bench.ok("Publish", publish("2", "g", Some("b"))).await;
    bench.ok("Publish", publish("3", "h", Some("c"))).await;
    // Group g waits for what is owed to it; group h does not.
    assert_eq!(bench.bodies("q.fifo"), ["3"]);
    assert_eq!(bench.paid("q.fifo", 2).await, ["1", "2"]);
}
