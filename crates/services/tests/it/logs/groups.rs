//! Groups and streams, and how long lines are kept.

use serde_json::json;

use super::{ACCOUNT, Bench, DAY_MS, group_arn};

#[tokio::test]
async fn a_group_is_shown_with_all_that_was_set() {
    let bench = Bench::new();
    let made =
        json!({"logGroupName": "/app/web", "tags": {"team": "red"}, "deletionProtectionEnabled": true});
    bench.send("CreateLogGroup", made.clone()).await;
    assert_eq!(
        bench.refused("CreateLogGroup", made).await,
        "400 ResourceAlreadyExistsException: The specified log group already exists"
    );
    bench.send("PutRetentionPolicy", json!({"logGroupName": "/app/web", "retentionInDays": 7})).await;
    let shown = bench.send("DescribeLogGroups", json!({"logGroupNamePrefix": "/app"})).await;
    assert_eq!(
        shown["logGroups"],
        json!([{
            "logGroupName": "/app/web",
            "creationTime": bench.now_ms(),
            "retentionInDays": 7,
            "metricFilterCount": 0,
            "arn": format!("{}:*", group_arn("/app/web")),
            "storedBytes": 0,
            "logGroupClass": "STANDARD",
            "logGroupArn": group_arn("/app/web"),
            "deletionProtectionEnabled": true,
        }])
    );
    let named = json!({"logGroupName": "/app/web"});
    let protected = bench.refused("DeleteLogGroup", named.clone()).await;
    assert!(protected.starts_with("400 ValidationException"), "{protected}");
    let unprotect = json!({"logGroupIdentifier": group_arn("/app/web"), "deletionProtectionEnabled": false});
    bench.send("PutLogGroupDeletionProtection", unprotect).await;
    bench.send("DeleteRetentionPolicy", named.clone()).await;
    let shown = bench.send("DescribeLogGroups", json!({})).await;
    assert!(shown["logGroups"][0].get("retentionInDays").is_none());
    bench.send("DeleteLogGroup", named.clone()).await;
    assert_eq!(
        bench.refused("DeleteLogGroup", named).await,
        "400 ResourceNotFoundException: The specified log group does not exist."
    );
}

#[tokio::test]
async fn groups_are_listed_in_pages_by_prefix_and_by_parts_of_their_names() {
    let bench = Bench::new();
    for name in ["b", "a/2", "a/1", "a/3", "c"] {
        bench.send("CreateLogGroup", json!({"logGroupName": name})).await;
    }
    let mut seen = Vec::new();
    let mut ask = json!({"logGroupNamePrefix": "a/", "limit": 2});
    loop {
        let page = bench.send("DescribeLogGroups", ask.clone()).await;
        let groups = page["logGroups"].as_array().unwrap();
        seen.extend(groups.iter().map(|group| group["logGroupName"].as_str().unwrap().to_owned()));
        let Some(token) = page.get("nextToken") else { break };
        ask["nextToken"] = token.clone();
    }
    assert_eq!(seen, ["a/1", "a/2", "a/3"]);
    let count = |page: serde_json::Value| page["logGroups"].as_array().unwrap().len();
    assert_eq!(count(bench.send("DescribeLogGroups", json!({"logGroupNamePattern": "/"})).await), 3);
    assert_eq!(count(bench.send("ListLogGroups", json!({"logGroupNamePattern": "^a/1|^c"})).await), 2);
    assert_eq!(
        count(bench.send("DescribeLogGroups", json!({"accountIdentifiers": ["444455556666"]})).await),
        0
    );
    let refused = bench
        .refused("DescribeLogGroups", json!({"logGroupNamePattern": "a", "logGroupNamePrefix": "a"}))
        .await;
    assert!(refused.contains("mutually exclusive"), "{refused}");
}

#[tokio::test]
async fn tags_are_the_same_by_the_old_operations_and_the_new() {
    let bench = Bench::new();
    bench.send("CreateLogGroup", json!({"logGroupName": "g", "tags": {"a": "1"}})).await;
    bench.send("TagLogGroup", json!({"logGroupName": "g", "tags": {"b": "2"}})).await;
    bench.send("TagResource", json!({"resourceArn": group_arn("g"), "tags": {"c": "3"}})).await;
    bench.send("UntagResource", json!({"resourceArn": group_arn("g"), "tagKeys": ["a"]})).await;
    let expected = json!({"tags": {"b": "2", "c": "3"}});
    assert_eq!(bench.send("ListTagsLogGroup", json!({"logGroupName": "g"})).await, expected);
    assert_eq!(bench.send("ListTagsForResource", json!({"resourceArn": group_arn("g")})).await, expected);
    let many: serde_json::Map<_, _> = (0..50).map(|n| (format!("k{n}"), json!("v"))).collect();
    let refused = bench.refused("TagResource", json!({"resourceArn": group_arn("g"), "tags": many})).await;
    assert!(refused.starts_with("400 TooManyTagsException"), "{refused}");
}

#[tokio::test]
async fn streams_are_listed_by_name_or_by_their_last_line() {
    let bench = Bench::with_stream().await;
    for name in ["one", "two"] {
        bench.stream(name).await;
    }
    bench.put("two", &[(9000, "early")]).await;
    bench.put("one", &[(500, "late")]).await;
    let names = |page: &serde_json::Value| {
        let streams = page["logStreams"].as_array().unwrap();
        streams.iter().map(|stream| stream["logStreamName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ask = |further: serde_json::Value| {
        let mut params = json!({"logGroupName": "g"});
        params.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        params
    };
    assert_eq!(names(&bench.send("DescribeLogStreams", ask(json!({}))).await), ["one", "s", "two"]);
    let late_first = ask(json!({"orderBy": "LastEventTime", "descending": true, "limit": 2}));
    let page = bench.send("DescribeLogStreams", late_first.clone()).await;
    assert_eq!(names(&page), ["one", "two"]);
    let mut next = late_first;
    next["nextToken"] = page["nextToken"].clone();
    assert_eq!(names(&bench.send("DescribeLogStreams", next).await), ["s"]);
    let shown = &page["logStreams"][0];
    assert_eq!(shown["lastEventTimestamp"], bench.now_ms() - 500);
    assert_eq!(shown["lastIngestionTime"], bench.now_ms());
    assert_eq!(shown["arn"], format!("arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g:log-stream:one"));
    assert_eq!(shown["uploadSequenceToken"].as_str().unwrap().len(), 56);
    let refused = bench
        .refused("DescribeLogStreams", ask(json!({"orderBy": "LastEventTime", "logStreamNamePrefix": "o"})))
        .await;
    assert!(refused.contains("Cannot order by LastEventTime with a logStreamNamePrefix."), "{refused}");
    let named = json!({"logGroupName": "g", "logStreamName": "one"});
    assert!(bench.refused("CreateLogStream", named.clone()).await.contains("already exists"));
    bench.send("DeleteLogStream", named.clone()).await;
    assert!(bench.refused("DeleteLogStream", named).await.contains("log stream does not exist"));
}

#[tokio::test]
async fn what_is_deleted_does_not_come_back_under_its_name() {
    let bench = Bench::with_stream().await;
    bench.put("s", &[(0, "before")]).await;
    bench.send("DeleteLogStream", json!({"logGroupName": "g", "logStreamName": "s"})).await;
    bench.stream("s").await;
    assert!(bench.messages("s").await.is_empty());
    bench.put("s", &[(0, "again")]).await;
    bench.send("DeleteLogGroup", json!({"logGroupName": "g"})).await;
    let gone =
        json!({"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]});
    assert!(bench.refused("PutLogEvents", gone).await.contains("log group does not exist"));
    bench.send("CreateLogGroup", json!({"logGroupName": "g"})).await;
    bench.stream("s").await;
    assert!(bench.messages("s").await.is_empty());
}

#[tokio::test]
async fn lines_go_when_their_retention_period_is_over() {
    let bench = Bench::with_stream().await;
    bench.put("s", &[(5 * DAY_MS, "old")]).await;
    bench.put("s", &[(0, "new")]).await;
    let values =
        bench.refused("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 2})).await;
    assert!(values.contains("[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731,"), "{values}");
    bench.send("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 3})).await;
    bench.logs.maintain().await.unwrap();
    assert_eq!(bench.messages("s").await, ["new"]);
    bench.advance(3 * 24 * 3600 + 1);
    bench.logs.maintain().await.unwrap();
    assert!(bench.messages("s").await.is_empty());
}
