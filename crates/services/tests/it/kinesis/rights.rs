//! Policies of streams, what other services put, and subscriptions.

use bytes::Bytes;
use cairn_services::Service;
use cairn_services::sinks::{StreamRecord, StreamSink, as_service};
use serde_json::json;

use super::{ACCOUNT, Bench, arn, said, shard_id};
use crate::world::{self, call, refusal};

const RULE: &str = "arn:aws:events:us-east-1:111122223333:rule/r";

fn record(data: &'static str) -> StreamRecord {
    StreamRecord { partition_key: "k".into(), data: Bytes::from_static(data.as_bytes()) }
}

#[tokio::test]
async fn a_streams_policy_lets_others_in() {
    let bench = Bench::with_stream(1).await;
    let stranger = bench.root_of("444455556666");
    let put = || json!({"StreamARN": arn("s"), "PartitionKey": "k", "Data": "YQ=="});
    let refused = refusal(&bench.kinesis, &stranger, "PutRecord", put()).await;
    assert!(refused.starts_with("400 AccessDeniedException"), "{refused}");
    let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Resource": arn("s"),
        "Principal": {"AWS": "444455556666"}, "Action": "kinesis:PutRecord"}});
    let set = json!({"ResourceARN": arn("s"), "Policy": policy.to_string()});
    bench.send("PutResourcePolicy", set).await;
    world::send(&bench.kinesis, &stranger, "PutRecord", put()).await.unwrap();
    let read = bench.send("GetResourcePolicy", json!({"ResourceARN": arn("s")})).await;
    assert_eq!(read["Policy"], policy.to_string());
    bench.send("DeleteResourcePolicy", json!({"ResourceARN": arn("s")})).await;
    assert!(refusal(&bench.kinesis, &stranger, "PutRecord", put()).await.contains("AccessDenied"));
    let wrong = json!({"ResourceARN": arn("s"), "Policy": "{"});
    assert!(bench.refused("PutResourcePolicy", wrong).await.starts_with("400 InvalidArgumentException"));
}

#[tokio::test]
async fn a_service_puts_where_a_streams_policy_lets_it() {
    let bench = Bench::with_stream(1).await;
    let sender = as_service("events.amazonaws.com", RULE, &ACCOUNT.parse().unwrap());
    let code =
        async |stream: &str| StreamSink::check(&bench.kinesis, &sender, &arn(stream)).await.unwrap_err().code;
    assert_eq!(code("s").await, "AccessDeniedException");
    let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Resource": arn("s"),
        "Principal": {"Service": "events.amazonaws.com"}, "Action": "kinesis:PutRecord*",
        "Condition": {"ArnEquals": {"aws:SourceArn": RULE}}}});
    bench.send("PutResourcePolicy", json!({"ResourceARN": arn("s"), "Policy": policy.to_string()})).await;
    StreamSink::put(&bench.kinesis, &sender, &arn("s"), vec![record("a"), record("b")]).await.unwrap();
    assert_eq!(bench.said(0).await, ["a", "b"]);
    assert_eq!(code("missing").await, "AccessDeniedException", "what is not there is not told to all");
}

#[tokio::test]
async fn a_subscription_gives_records_as_they_come() {
    let bench = Bench::with_stream(1).await;
    let made =
        bench.send("RegisterStreamConsumer", json!({"StreamARN": arn("s"), "ConsumerName": "c"})).await;
    bench.put("k", "a").await;
    let subscribe = call(
        "kinesis",
        "SubscribeToShard",
        json!({"ConsumerARN": made["Consumer"]["ConsumerARN"], "ShardId": shard_id(0),
            "StartingPosition": {"Type": "TRIM_HORIZON"}}),
    );
    let reply = bench.kinesis.handle(&bench.root_of(ACCOUNT), subscribe).await.unwrap();
    let mut events = reply.events.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.name, said(&first.value)), ("SubscribeToShardEvent", vec!["a".to_owned()]));
    assert_eq!(first.value["ContinuationSequenceNumber"], first.value["Records"][0]["SequenceNumber"]);
    let placed = bench.put("k", "b").await;
    let second = events.next().await.unwrap().unwrap();
    assert_eq!(said(&second.value), ["b"]);
    assert_eq!(second.value["ContinuationSequenceNumber"], placed["SequenceNumber"]);
    let beat = events.next().await.unwrap().unwrap();
    assert_eq!((said(&beat.value).len(), &beat.value["MillisBehindLatest"]), (0, &json!(0)));
    let count = json!({"StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"});
    bench.send("UpdateShardCount", count).await;
    let last = events.next().await.unwrap().unwrap();
    assert_eq!(last.value["ChildShards"].as_array().unwrap().len(), 2);
    assert!(events.next().await.is_none());
}
