//! Putting and reading records.

use serde_json::{Value, json};

use super::{Bench, arn, said, shard_id};

#[tokio::test]
async fn records_are_read_in_their_order_by_every_kind_of_iterator() {
    let bench = Bench::with_stream(1).await;
    let latest = bench.iterator(0, "LATEST").await;
    let mut placed = Vec::new();
    for text in ["a", "b", "c"] {
        placed.push(bench.put("k", text).await);
        bench.advance(10);
    }
    assert_eq!(placed[0]["ShardId"], shard_id(0));
    assert_eq!(placed[0]["EncryptionType"], "NONE");
    let numbers: Vec<&str> = placed.iter().map(|placed| placed["SequenceNumber"].as_str().unwrap()).collect();
    assert!(numbers[0].len() == 56 && numbers[0] < numbers[1] && numbers[1] < numbers[2], "{numbers:?}");
    assert_eq!(said(&bench.page(&latest).await), ["a", "b", "c"]);
    bench.advance(1);
    let from = async |start: Value| said(&bench.page(&bench.iterator_with(0, start).await).await);
    let at = |kind: &str, number: &str| json!({"ShardIteratorType": kind, "StartingSequenceNumber": number});
    assert_eq!(from(at("AT_SEQUENCE_NUMBER", numbers[1])).await, ["b", "c"]);
    assert_eq!(from(at("AFTER_SEQUENCE_NUMBER", numbers[1])).await, ["c"]);
    let time = |seconds: f64| json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds});
    assert_eq!(from(time(1_795_281_876.0)).await, ["b", "c"]);
    assert_eq!(from(time(1_795_281_876.5)).await, ["c"]);
    assert_eq!(from(json!({"ShardIteratorType": "LATEST"})).await, [""; 0]);
    bench.advance(1);
    let page = bench.page(&bench.iterator(0, "TRIM_HORIZON").await).await;
    let first = &page["Records"][0];
    assert_eq!(
        (&first["PartitionKey"], &first["SequenceNumber"], &first["ApproximateArrivalTimestamp"]),
        (&json!("k"), &placed[0]["SequenceNumber"], &json!(1_795_281_866))
    );
    assert_eq!(page["MillisBehindLatest"], 0);
    assert_eq!(said(&bench.page(page["NextShardIterator"].as_str().unwrap()).await), [""; 0]);
}

#[tokio::test]
async fn a_page_ends_at_its_limit_and_says_how_far_behind_it_is() {
    let bench = Bench::with_stream(1).await;
    for text in ["a", "b", "c"] {
        bench.put("k", text).await;
        bench.advance(1);
    }
    let iterator = bench.iterator(0, "TRIM_HORIZON").await;
    let page = bench.send("GetRecords", json!({"ShardIterator": iterator, "Limit": 2})).await;
    assert_eq!((said(&page), &page["MillisBehindLatest"]), (vec!["a".into(), "b".into()], &json!(2000)));
    assert_eq!(said(&bench.page(page["NextShardIterator"].as_str().unwrap()).await), ["c"]);
}

#[tokio::test]
async fn iterators_expire_and_cannot_be_made_up() {
    let bench = Bench::with_stream(1).await;
    let iterator = bench.iterator(0, "LATEST").await;
    bench.advance(300);
    bench.page(&iterator).await;
    bench.advance(1);
    let refused = bench.refused("GetRecords", json!({ "ShardIterator": iterator })).await;
    assert!(refused.starts_with("400 ExpiredIteratorException: Iterator expired."), "{refused}");
    for made_up in ["x", "AAAA", &iterator[4..]] {
        let refused = bench.refused("GetRecords", json!({ "ShardIterator": made_up })).await;
        assert_eq!(refused, "400 InvalidArgumentException: Invalid ShardIterator.");
    }
    let fresh = bench.iterator(0, "LATEST").await;
    bench.send("DeleteStream", json!({"StreamName": "s"})).await;
    bench.send("CreateStream", json!({"StreamName": "s", "ShardCount": 1})).await;
    let refused = bench.refused("GetRecords", json!({ "ShardIterator": fresh })).await;
    assert_eq!(refused, "400 ResourceNotFoundException: Stream s under account 111122223333 not found.");
    let start = json!({"StreamName": "s", "ShardId": shard_id(0), "ShardIteratorType": "AT_SEQUENCE_NUMBER",
        "StartingSequenceNumber": "49590338271490256608559692538361571095921575989136588898"});
    let refused = bench.refused("GetShardIterator", start).await;
    assert!(refused.contains("is invalid because it did not come from this stream"), "{refused}");
    let future = json!({"StreamName": "s", "ShardId": shard_id(0), "ShardIteratorType": "AT_TIMESTAMP",
        "Timestamp": 1_995_281_866});
    assert!(bench.refused("GetShardIterator", future).await.contains("cannot be greater than"));
}

#[tokio::test]
async fn records_of_one_call_go_to_their_shards_and_each_has_its_result() {
    let bench = Bench::with_stream(2).await;
    let half = "170141183460469231731687303715884105728";
    let records = json!([
        {"PartitionKey": "a", "ExplicitHashKey": "0", "Data": "YQ=="},
        {"PartitionKey": "b", "ExplicitHashKey": half, "Data": "Yg=="},
        {"PartitionKey": "c", "ExplicitHashKey": "340282366920938463463374607431768211456", "Data": "Yw=="},
        {"PartitionKey": "d", "ExplicitHashKey": "1", "Data": ""},
    ]);
    let put = bench.send("PutRecords", json!({"StreamARN": arn("s"), "Records": records})).await;
    assert_eq!(put["FailedRecordCount"], 1);
    let shards: Vec<&Value> = put["Records"].as_array().unwrap().iter().map(|put| &put["ShardId"]).collect();
    assert_eq!(shards, [&json!(shard_id(0)), &json!(shard_id(1)), &Value::Null, &json!(shard_id(0))]);
    assert_eq!(put["Records"][2]["ErrorCode"], "InvalidArgumentException");
    assert_eq!(bench.said(0).await, ["a", ""]);
    assert_eq!(bench.said(1).await, ["b"]);
}

#[tokio::test]
async fn a_provisioned_shard_takes_a_thousand_records_a_second() {
    let bench = Bench::with_stream(1).await;
    let records: Vec<Value> = (0..500).map(|_| json!({"PartitionKey": "k", "Data": "YQ=="})).collect();
    let put = async || {
        let put = bench.send("PutRecords", json!({"StreamName": "s", "Records": records})).await;
        let last = put["Records"][499]["ErrorCode"].as_str().unwrap_or("").to_owned();
        (put["FailedRecordCount"].as_u64().unwrap(), last)
    };
    assert_eq!(put().await, (0, String::new()));
    bench.put("k", "one").await;
    assert_eq!(put().await, (1, "ProvisionedThroughputExceededException".into()));
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "YQ=="});
    let refused = bench.refused("PutRecord", one).await;
    let expected = "400 ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000000 in stream \
                    s under account 111122223333.";
    assert_eq!(refused, expected);
    bench.advance(1);
    assert_eq!(put().await.0, 0);
    let mode = json!({"StreamARN": arn("s"), "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    bench.send("UpdateStreamMode", mode).await;
    assert_eq!((put().await.0, put().await.0), (0, 0));
    assert_eq!(bench.said(0).await.len(), 1000 + 500 + 1000);
}

#[tokio::test]
async fn records_go_when_their_retention_is_over() {
    let bench = Bench::with_stream(1).await;
    let long = "x".repeat(10_000);
    for _ in 0..5 {
        bench.put("k", &long).await;
    }
    bench.advance(3600);
    bench.put("k", "late").await;
    bench.advance(23 * 3600);
    assert_eq!(bench.said(0).await.len(), 6);
    bench.advance(1);
    assert_eq!(bench.said(0).await, ["late"], "also before they are let go of");
    let key = bench.store.names().remove(0);
    assert_eq!(bench.store.bounds(&key).unwrap().0, 0);
    bench.kinesis.maintain().await.unwrap();
    assert!(bench.store.bounds(&key).unwrap().0 > 2);
    assert_eq!(bench.said(0).await, ["late"]);
}

#[tokio::test]
async fn what_is_in_the_store_is_sealed_and_found_again() {
    let bench = Bench::with_stream(1).await;
    bench.put("a partition key", "a secret text").await;
    let key = bench.store.names().remove(0);
    let kept = bench.store.read(&key, 0, 9, 9999).await.unwrap().remove(0).payload;
    let text = String::from_utf8_lossy(&kept).into_owned();
    assert!(!text.contains("secret") && !text.contains("partition"), "{text}");
    let again = Bench { kinesis: bench.world.kinesis_over(bench.store.clone()).await, ..bench };
    assert_eq!(again.said(0).await, ["a secret text"]);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let bench = Bench::with_stream(1).await;
    let data = "A".repeat(4 * ((1 << 20) / 3 + 1));
    let refused =
        bench.refused("PutRecord", json!({"StreamName": "s", "PartitionKey": "k", "Data": data})).await;
    assert!(refused.starts_with("400 InvalidArgumentException: Record size"), "{refused}");
    let record = json!({"PartitionKey": "k", "Data": "A".repeat(1 << 20)});
    let records = vec![record; 7];
    let refused = bench.refused("PutRecords", json!({"StreamName": "s", "Records": records})).await;
    assert_eq!(refused, "400 InvalidArgumentException: Records size exceeds 5 MB limit");
}
