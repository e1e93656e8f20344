//! Lines that come in and are read.

use serde_json::{Value, json};

use super::{Bench, DAY_MS, messages};

fn get(further: Value) -> Value {
    let mut params = json!({"logGroupName": "g", "logStreamName": "s"});
    params.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn what_is_put_is_read_with_its_times() {
    let bench = Bench::with_stream().await;
    let put = bench.put("s", &[(1000, "one"), (1000, "two"), (0, "three")]).await;
    assert_eq!(put["nextSequenceToken"].as_str().unwrap().len(), 56);
    assert!(put.get("rejectedLogEventsInfo").is_none());
    let now = bench.now_ms();
    let page = bench.send("GetLogEvents", get(json!({}))).await;
    assert_eq!(
        page["events"],
        json!([
            {"timestamp": now - 1000, "message": "one", "ingestionTime": now},
            {"timestamp": now - 1000, "message": "two", "ingestionTime": now},
            {"timestamp": now, "message": "three", "ingestionTime": now},
        ])
    );
    let between = get(json!({"startTime": now - 1000, "endTime": now}));
    assert_eq!(
        messages(&bench.send("GetLogEvents", between).await),
        ["one", "two"],
        "the end is not included"
    );
}

#[tokio::test]
async fn pages_go_both_ways_and_end_by_repeating_their_token() {
    let bench = Bench::with_stream().await;
    bench.put("s", &[(5, "a"), (4, "b"), (3, "c"), (2, "d"), (1, "e")]).await;
    let first = bench.send("GetLogEvents", get(json!({"limit": 2}))).await;
    assert_eq!(messages(&first), ["d", "e"], "the latest come first");
    let back = |page: &Value| get(json!({"limit": 2, "nextToken": page["nextBackwardToken"]}));
    let forth = |page: &Value| get(json!({"limit": 2, "nextToken": page["nextForwardToken"]}));
    let second = bench.send("GetLogEvents", back(&first)).await;
    assert_eq!(messages(&second), ["b", "c"]);
    let third = bench.send("GetLogEvents", back(&second)).await;
    assert_eq!(messages(&third), ["a"]);
    let end = bench.send("GetLogEvents", back(&third)).await;
    assert!(messages(&end).is_empty());
    assert_eq!(end["nextBackwardToken"], third["nextBackwardToken"]);
    assert_eq!(messages(&bench.send("GetLogEvents", forth(&third)).await), ["b", "c"]);

    let tail = bench.send("GetLogEvents", forth(&first)).await;
    assert!(messages(&tail).is_empty());
    assert_eq!(tail["nextForwardToken"], first["nextForwardToken"]);
    bench.put("s", &[(0, "f")]).await;
    let later = bench.send("GetLogEvents", forth(&tail)).await;
    assert_eq!(messages(&later), ["f"], "what came later is found from the same token");

    let head = bench.send("GetLogEvents", get(json!({"limit": 4, "startFromHead": true}))).await;
    assert_eq!(messages(&head), ["a", "b", "c", "d"]);
    let rest = get(json!({"limit": 4, "nextToken": head["nextForwardToken"], "startFromHead": true}));
    assert_eq!(messages(&bench.send("GetLogEvents", rest).await), ["e", "f"]);
    let wrong = bench.refused("GetLogEvents", get(json!({"nextToken": "f/1/s"}))).await;
    assert_eq!(wrong, "400 InvalidParameterException: The specified nextToken is invalid.");
}

#[tokio::test]
async fn a_token_of_an_empty_stream_finds_its_first_line() {
    let bench = Bench::with_stream().await;
    for from_head in [true, false] {
        let empty = bench.send("GetLogEvents", get(json!({"startFromHead": from_head}))).await;
        let again = get(json!({"nextToken": empty["nextForwardToken"]}));
        let still = bench.send("GetLogEvents", again.clone()).await;
        assert_eq!(still["nextForwardToken"], empty["nextForwardToken"]);
        bench.put("s", &[(0, "first")]).await;
        assert_eq!(messages(&bench.send("GetLogEvents", again).await)[0], "first");
    }
}

#[tokio::test]
async fn lines_out_of_time_are_left_out_and_counted() {
    let bench = Bench::with_stream().await;
    bench.send("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 7})).await;
    let put = bench
        .put("s", &[(8 * DAY_MS, "expired"), (7 * DAY_MS + 1, "expired too"), (7 * DAY_MS, "taken")])
        .await;
    assert_eq!(put["rejectedLogEventsInfo"], json!({"expiredLogEventEndIndex": 2}));
    let put = bench.put("s", &[(0, "taken"), (-7_200_001, "too new")]).await;
    assert_eq!(put["rejectedLogEventsInfo"], json!({"tooNewLogEventStartIndex": 1}));
    let put = bench.put("s", &[(15 * DAY_MS, "too old")]).await;
    assert_eq!(
        put["rejectedLogEventsInfo"],
        json!({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 1})
    );
    assert_eq!(bench.messages("s").await, ["taken", "taken"]);
    let missing = json!({"logGroupName": "g", "logStreamName": "none",
        "logEvents": [{"timestamp": bench.now_ms(), "message": "m"}]});
    assert_eq!(
        bench.refused("PutLogEvents", missing).await,
        "400 ResourceNotFoundException: The specified log stream does not exist."
    );
}

#[tokio::test]
async fn streams_of_a_group_are_searched_in_the_order_of_time() {
    let bench = Bench::with_stream().await;
    bench.stream("t1").await;
    bench.stream("t2").await;
    bench.put("s", &[(30, "s early"), (10, "s late")]).await;
    bench.put("t1", &[(20, "t1")]).await;
    bench.put("t2", &[(5, "t2")]).await;
    let ask = |further: Value| {
        let mut params = json!({"logGroupIdentifier": super::group_arn("g")});
        params.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        params
    };
    let all = bench.send("FilterLogEvents", ask(json!({}))).await;
    assert_eq!(messages(&all), ["s early", "t1", "s late", "t2"]);
    assert_eq!(all["searchedLogStreams"], json!([]));
    let event = &all["events"][1];
    assert_eq!((&event["logStreamName"], event["eventId"].as_str().unwrap().len()), (&json!("t1"), 56));
    let some = ask(json!({"logStreamNames": ["s", "t2"], "startTime": bench.now_ms() - 10}));
    assert_eq!(messages(&bench.send("FilterLogEvents", some).await), ["s late", "t2"]);
    let end = ask(json!({"logStreamNamePrefix": "t", "endTime": bench.now_ms() - 20}));
    assert_eq!(messages(&bench.send("FilterLogEvents", end).await), ["t1"], "the end is included");
    let both = ask(json!({"logStreamNames": ["s"], "logStreamNamePrefix": "t"}));
    assert!(bench.refused("FilterLogEvents", both).await.contains("mutually exclusive"));
    let none = ask(json!({"logStreamNames": ["nobody"]}));
    assert!(bench.refused("FilterLogEvents", none).await.contains("log stream does not exist"));

    let (mut found, mut params) = (Vec::new(), ask(json!({"limit": 3})));
    loop {
        let page = bench.send("FilterLogEvents", params.clone()).await;
        found.extend(messages(&page));
        let Some(token) = page.get("nextToken") else { break };
        params["nextToken"] = token.clone();
    }
    assert_eq!(found, ["s early", "t1", "s late", "t2"]);
    let wrong = bench.refused("FilterLogEvents", ask(json!({"nextToken": "unknown"}))).await;
    assert_eq!(wrong, "400 InvalidParameterException: The specified nextToken is invalid.");
}

#[tokio::test]
async fn lines_are_found_by_filter_patterns() {
    let bench = Bench::with_stream().await;
    bench.put("s", &[(3, "GET / 200"), (2, "ERROR x"), (1, r#"{"code":404}"#)]).await;
    let ask = |pattern: &str| json!({"logGroupName": "g", "filterPattern": pattern});
    assert_eq!(messages(&bench.send("FilterLogEvents", ask("ERROR")).await), ["ERROR x"]);
    assert_eq!(messages(&bench.send("FilterLogEvents", ask("{ $.code >= 400 }")).await), [r#"{"code":404}"#]);
    assert_eq!(messages(&bench.send("FilterLogEvents", ask("")).await).len(), 3);
    let wrong = bench.refused("FilterLogEvents", ask("{ $.code = ")).await;
    assert!(wrong.starts_with("400 InvalidParameterException"), "{wrong}");
}
