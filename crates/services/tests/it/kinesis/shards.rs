//! Listing, splitting and merging shards.

use serde_json::{Value, json};

use super::{Bench, said, shard_id};

#[tokio::test]
async fn a_split_shard_is_read_to_its_end_and_then_its_children() {
    let bench = Bench::with_stream(1).await;
    bench.put("k", "before").await;
    bench.advance(5);
    let half = "170141183460469231731687303715884105728";
    let split = json!({"StreamName": "s", "ShardToSplit": shard_id(0), "NewStartingHashKey": half});
    bench.send("SplitShard", split.clone()).await;
    assert!(bench.refused("SplitShard", split).await.contains("is already closed"));
    let put = bench.put("k", "after").await;
    assert_ne!(put["ShardId"], shard_id(0));
    let page = bench.page(&bench.iterator(0, "TRIM_HORIZON").await).await;
    assert_eq!((said(&page), page.get("NextShardIterator")), (vec!["before".to_owned()], None));
    let children = page["ChildShards"].as_array().unwrap();
    assert_eq!(
        children.iter().map(|child| &child["ShardId"]).collect::<Vec<_>>(),
        [&shard_id(1), &shard_id(2)]
    );
    assert_eq!(children[0]["ParentShards"], json!([shard_id(0)]));
    let listed = bench.send("ListShards", json!({"StreamName": "s"})).await;
    let (parent, child) = (&listed["Shards"][0], &listed["Shards"][2]);
    assert!(parent["SequenceNumberRange"]["EndingSequenceNumber"].is_string());
    assert_eq!(
        (&child["ParentShardId"], &child["HashKeyRange"]["StartingHashKey"]),
        (&json!(shard_id(0)), &json!(half))
    );
    let both = [bench.said(1).await, bench.said(2).await].concat();
    assert_eq!(both, ["after"]);
    let merge = json!({"StreamName": "s", "ShardToMerge": shard_id(2), "AdjacentShardToMerge": shard_id(1)});
    bench.send("MergeShards", merge).await;
    assert_eq!(bench.shards(json!({"Type": "AT_LATEST"})).await, ["03"]);
    let again = Bench { kinesis: bench.world.kinesis_over(bench.store.clone()).await, ..bench };
    assert_eq!(again.put("k", "merged").await["ShardId"], shard_id(3));
    assert_eq!(again.said(0).await, ["before"]);
}

#[tokio::test]
async fn shards_are_listed_by_page_and_by_filter() {
    let bench = Bench::with_stream(2).await;
    let all: [&str; 2] = ["00", "01"];
    for kind in ["AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST"] {
        assert_eq!(bench.shards(json!({ "Type": kind })).await, all, "{kind}");
    }
    bench.put("k", "x").await;
    bench.advance(3600);
    let count = json!({"StreamName": "s", "TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING"});
    let updated = bench.send("UpdateShardCount", count).await;
    assert_eq!((&updated["CurrentShardCount"], &updated["TargetShardCount"]), (&json!(2), &json!(3)));
    assert_eq!(bench.shards(json!({"Type": "AT_TRIM_HORIZON"})).await, all);
    assert_eq!(bench.shards(json!({"Type": "AT_LATEST"})).await.len(), 3);
    assert_eq!(bench.shards(json!({"Type": "AT_TIMESTAMP", "Timestamp": 1_795_281_870})).await, all);
    assert_eq!(bench.shards(json!({"Type": "AFTER_SHARD_ID", "ShardId": shard_id(1)})).await[0], "02");
    let all = bench.shards(json!({"Type": "FROM_TRIM_HORIZON"})).await;
    let mut paged: Vec<String> = Vec::new();
    let mut params = json!({"StreamName": "s", "MaxResults": 3});
    loop {
        let page = bench.send("ListShards", params).await;
        let ids = page["Shards"].as_array().unwrap().iter();
        paged.extend(ids.map(|shard| shard["ShardId"].as_str().unwrap()[18..].to_owned()));
        let Some(token) = page["NextToken"].as_str() else { break };
        params = json!({"NextToken": token, "MaxResults": 3});
    }
    assert_eq!(paged, all);
    let described = bench.send("DescribeStream", json!({"StreamName": "s", "Limit": 2})).await;
    assert_eq!(described["StreamDescription"]["HasMoreShards"], true);
    let token = json!({"NextToken": "x", "StreamName": "s"});
    assert!(bench.refused("ListShards", token).await.contains("cannot be provided together"));
    bench.advance(24 * 3600 + 1);
    bench.kinesis.maintain().await.unwrap();
    assert_eq!(
        bench.shards(json!({"Type": "FROM_TRIM_HORIZON"})).await.len(),
        3,
        "closed shards go in the end"
    );
    assert_eq!(bench.store.names().len(), 3);
}

#[tokio::test]
async fn shards_that_cannot_be_changed_so_are_refused() {
    let bench = Bench::with_stream(3).await;
    let split =
        |key: &str| json!({"StreamName": "s", "ShardToSplit": shard_id(0), "NewStartingHashKey": key});
    for key in ["0", "113427455640312821154458202477256070486"] {
        let refused = bench.refused("SplitShard", split(key)).await;
        assert!(refused.starts_with("400 InvalidArgumentException: NewStartingHashKey"), "{refused}");
    }
    let merge = json!({"StreamName": "s", "ShardToMerge": shard_id(0), "AdjacentShardToMerge": shard_id(2)});
    assert!(bench.refused("MergeShards", merge).await.contains("are not an adjacent pair"));
    let count =
        |count: u32| json!({"StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"});
    for wrong in [7, 1] {
        let refused = bench.refused("UpdateShardCount", count(wrong)).await;
        assert!(refused.starts_with("400 LimitExceededException"), "{refused}");
    }
    let missing = json!({"StreamName": "s", "ShardId": shard_id(9), "ShardIteratorType": "LATEST"});
    let expected = "400 ResourceNotFoundException: Shard shardId-000000000009 in stream s under account 111122223333 \
                    does not exist";
    assert_eq!(bench.refused("GetShardIterator", missing).await, expected);
    let many = bench.refused("CreateStream", json!({"StreamName": "t", "ShardCount": 498})).await;
    assert!(
        many.starts_with("400 LimitExceededException: This request would exceed the shard limit"),
        "{many}"
    );
    let own: Vec<Value> = Vec::new();
    assert_eq!(
        bench.send("ListStreamConsumers", json!({"StreamARN": super::arn("s")})).await["Consumers"],
        json!(own)
    );
}
