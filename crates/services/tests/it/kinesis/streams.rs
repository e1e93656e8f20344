//! Streams, their settings, tags and consumers.

use serde_json::{Value, json};

use super::{Bench, arn, shard_id};

#[tokio::test]
async fn a_stream_is_made_described_listed_and_deleted() {
    let bench = Bench::new().await;
    let missing = bench.refused("DescribeStream", json!({"StreamName": "s"})).await;
    assert_eq!(missing, "400 ResourceNotFoundException: Stream s under account 111122223333 not found.");
    bench.send("CreateStream", json!({"StreamName": "s", "ShardCount": 2, "Tags": {"k": "v"}})).await;
    let again = bench.refused("CreateStream", json!({"StreamName": "s", "ShardCount": 2})).await;
    assert_eq!(again, "400 ResourceInUseException: Stream s under account 111122223333 already exists.");
    let described = bench.send("DescribeStream", json!({"StreamName": "s"})).await;
    let stream = &described["StreamDescription"];
    assert_eq!(
        (
            &stream["StreamStatus"],
            &stream["StreamARN"],
            &stream["RetentionPeriodHours"],
            &stream["EncryptionType"]
        ),
        (&json!("ACTIVE"), &json!(arn("s")), &json!(24), &json!("NONE"))
    );
    assert_eq!(stream["Shards"][1]["ShardId"], shard_id(1));
    assert_eq!(
        stream["Shards"][1]["HashKeyRange"],
        json!({"StartingHashKey": "170141183460469231731687303715884105728",
            "EndingHashKey": "340282366920938463463374607431768211455"})
    );
    bench
        .send("CreateStream", json!({"StreamName": "t", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}))
        .await;
    let summary = bench.send("DescribeStreamSummary", json!({"StreamARN": arn("t")})).await;
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!((&summary["OpenShardCount"], &summary["ConsumerCount"]), (&json!(4), &json!(0)));
    let listed = bench.send("ListStreams", json!({"Limit": 1})).await;
    assert_eq!((&listed["StreamNames"], &listed["HasMoreStreams"]), (&json!(["s"]), &json!(true)));
    let listed = bench.send("ListStreams", json!({"NextToken": listed["NextToken"]})).await;
    assert_eq!((&listed["StreamNames"], &listed["HasMoreStreams"]), (&json!(["t"]), &json!(false)));
    let limits = bench.send("DescribeLimits", json!({})).await;
    assert_eq!((&limits["OpenShardCount"], &limits["OnDemandStreamCount"]), (&json!(6), &json!(1)));
    bench.send("DeleteStream", json!({"StreamName": "t"})).await;
    assert_eq!(bench.store.names().len(), 2);
    assert!(bench.refused("DeleteStream", json!({"StreamName": "t"})).await.contains("not found"));
    assert!(bench.refused("DescribeStream", json!({})).await.starts_with("400 InvalidArgumentException"));
}

#[tokio::test]
async fn retention_goes_up_and_down_within_its_bounds() {
    let bench = Bench::with_stream(1).await;
    let set = |hours: i64| json!({"StreamName": "s", "RetentionPeriodHours": hours});
    bench.send("IncreaseStreamRetentionPeriod", set(8760)).await;
    assert!(bench.refused("IncreaseStreamRetentionPeriod", set(8761)).await.contains("is too long"));
    assert!(bench.refused("IncreaseStreamRetentionPeriod", set(48)).await.contains("can not be shorter"));
    bench.send("DecreaseStreamRetentionPeriod", set(48)).await;
    assert!(bench.refused("DecreaseStreamRetentionPeriod", set(23)).await.contains("is too short"));
    assert!(bench.refused("DecreaseStreamRetentionPeriod", set(72)).await.contains("can not be longer"));
    let described = bench.send("DescribeStreamSummary", json!({"StreamName": "s"})).await;
    assert_eq!(described["StreamDescriptionSummary"]["RetentionPeriodHours"], 48);
}

#[tokio::test]
async fn tags_are_the_same_by_either_way() {
    let bench = Bench::with_stream(1).await;
    bench.send("AddTagsToStream", json!({"StreamName": "s", "Tags": {"a": "1", "b": "2"}})).await;
    bench.send("TagResource", json!({"ResourceARN": arn("s"), "Tags": {"c": "3"}})).await;
    bench.send("RemoveTagsFromStream", json!({"StreamName": "s", "TagKeys": ["a"]})).await;
    let tags = json!([{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}]);
    assert_eq!(bench.send("ListTagsForResource", json!({"ResourceARN": arn("s")})).await["Tags"], tags);
    let page = bench.send("ListTagsForStream", json!({"StreamName": "s", "Limit": 1})).await;
    assert_eq!((&page["Tags"], &page["HasMoreTags"]), (&json!([tags[0]]), &json!(true)));
    let many: serde_json::Map<String, Value> = (0..49).map(|key| (format!("k{key}"), "v".into())).collect();
    let refused = bench.refused("TagResource", json!({"ResourceARN": arn("s"), "Tags": many})).await;
    assert!(refused.starts_with("400 InvalidArgumentException"), "{refused}");
    bench.send("UntagResource", json!({"ResourceARN": arn("s"), "TagKeys": ["b", "c"]})).await;
    assert_eq!(bench.send("ListTagsForStream", json!({"StreamName": "s"})).await["Tags"], json!([]));
}

#[tokio::test]
async fn records_are_encrypted_under_a_key_of_kms() {
    let bench = Bench::with_stream(1).await;
    let start = |key: &str| json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": key});
    let refused = bench.refused("StartStreamEncryption", start("alias/none")).await;
    assert!(refused.starts_with("400 KMSNotFoundException"), "{refused}");
    bench.put("k", "clear").await;
    bench.send("StartStreamEncryption", start("alias/aws/kinesis")).await;
    assert_eq!(bench.put("k", "sealed").await["EncryptionType"], "KMS");
    let described = bench.send("DescribeStream", json!({"StreamName": "s"})).await;
    assert_eq!(described["StreamDescription"]["KeyId"], "alias/aws/kinesis");
    assert_eq!(bench.said(0).await, ["clear", "sealed"]);
    bench.send("StopStreamEncryption", start("alias/aws/kinesis")).await;
    assert_eq!(bench.put("k", "after").await["EncryptionType"], "NONE");
    assert_eq!(bench.said(0).await, ["clear", "sealed", "after"]);
}

#[tokio::test]
async fn consumers_are_registered_and_keep_their_stream() {
    let bench = Bench::with_stream(1).await;
    let name = |name: &str| json!({"StreamARN": arn("s"), "ConsumerName": name});
    let made = bench.send("RegisterStreamConsumer", name("c")).await;
    let consumer_arn = made["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned();
    assert_eq!(consumer_arn, format!("{}/consumer/c:1795281866", arn("s")));
    assert!(
        bench.refused("RegisterStreamConsumer", name("c")).await.starts_with("400 ResourceInUseException")
    );
    bench.send("RegisterStreamConsumer", name("d")).await;
    let by_name = bench.send("DescribeStreamConsumer", name("c")).await;
    let by_arn = bench.send("DescribeStreamConsumer", json!({ "ConsumerARN": consumer_arn })).await;
    assert_eq!(by_name, by_arn);
    assert_eq!(by_arn["ConsumerDescription"]["StreamARN"], arn("s"));
    let page = bench.send("ListStreamConsumers", json!({"StreamARN": arn("s"), "MaxResults": 1})).await;
    let next = json!({"StreamARN": arn("s"), "NextToken": page["NextToken"]});
    assert_eq!(bench.send("ListStreamConsumers", next).await["Consumers"][0]["ConsumerName"], "d");
    bench.send("TagResource", json!({"ResourceARN": consumer_arn, "Tags": {"k": "v"}})).await;
    let tags = bench.send("ListTagsForResource", json!({ "ResourceARN": consumer_arn })).await;
    assert_eq!(tags["Tags"][0]["Key"], "k");
    assert!(bench.refused("DeleteStream", json!({"StreamName": "s"})).await.starts_with("400 ResourceInUse"));
    bench.send("DeregisterStreamConsumer", json!({ "ConsumerARN": consumer_arn })).await;
    assert!(bench.refused("DescribeStreamConsumer", name("c")).await.starts_with("400 ResourceNotFound"));
    bench.send("DeleteStream", json!({"StreamName": "s", "EnforceConsumerDeletion": true})).await;
}
