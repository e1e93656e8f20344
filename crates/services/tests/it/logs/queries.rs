//! Logs Insights: queries that run by themselves.

use serde_json::{Value, json};

use super::Bench;

/// What a query has come to once it has ended.
async fn ended(bench: &Bench, id: &Value) -> Value {
    for _ in 0..10_000 {
        let shown = bench.send("GetQueryResults", json!({"queryId": id})).await;
        if shown["status"] != "Running" {
            return shown;
        }
        tokio::task::yield_now().await;
    }
    panic!("the query does not end");
}

fn query(bench: &Bench, text: &str) -> Value {
    let now = bench.now_ms() / 1000;
    json!({"logGroupName": "g", "startTime": now - 3600, "endTime": now, "queryString": text})
}

#[tokio::test]
async fn a_query_gives_the_latest_lines_first_and_pointers_to_them() {
    let bench = Bench::with_stream().await;
    bench.put("s", &[(9000, r#"{"code":200}"#), (5000, r#"{"code":404,"path":"/x"}"#), (1000, "text")]).await;
    let id = bench.send("StartQuery", query(&bench, "fields @message, code | filter ispresent(code)")).await
        ["queryId"]
        .clone();
    let shown = ended(&bench, &id).await;
    assert_eq!(shown["status"], "Complete");
    assert_eq!(shown["statistics"]["recordsMatched"], 2);
    assert_eq!(shown["statistics"]["recordsScanned"], 3);
    let rows = shown["results"].as_array().unwrap();
    assert_eq!(rows[0][1], json!({"field": "code", "value": "404"}));
    assert_eq!(rows[1][0]["value"], r#"{"code":200}"#);
    assert_eq!(rows[0][2]["field"], "@ptr");
    let record = bench.send("GetLogRecord", json!({"logRecordPointer": rows[0][2]["value"]})).await;
    assert_eq!(
        (&record["logRecord"]["path"], &record["logRecord"]["@logStream"]),
        (&json!("/x"), &json!("s"))
    );
    let wrong = bench.refused("GetLogRecord", json!({"logRecordPointer": "AAAA"})).await;
    assert!(wrong.starts_with("400 InvalidParameterException"), "{wrong}");
    let listed = bench.send("DescribeQueries", json!({"logGroupName": "g", "status": "Complete"})).await;
    assert_eq!(listed["queries"][0]["queryId"], id);
    assert!(listed["queries"][0]["queryString"].as_str().unwrap().starts_with("SOURCE \"g\" START="));
}

#[tokio::test]
async fn queries_are_refused_and_stopped() {
    let bench = Bench::with_stream().await;
    let malformed = bench.refused("StartQuery", query(&bench, "fields @message | anomaly")).await;
    assert!(malformed.starts_with("400 MalformedQueryException"), "{malformed}");
    let mut missing = query(&bench, "fields @message");
    missing["logGroupName"] = "none".into();
    assert_eq!(
        bench.refused("StartQuery", missing).await,
        "400 ResourceNotFoundException: Log group 'none' does not exist for account ID '111122223333'"
    );
    let id = bench.send("StartQuery", query(&bench, "stats count(*)")).await["queryId"].clone();
    assert_eq!(bench.send("StopQuery", json!({"queryId": id})).await, json!({"success": true}));
    assert_eq!(ended(&bench, &id).await["status"], "Cancelled");
    assert!(bench.refused("StopQuery", json!({"queryId": id})).await.contains("not running"));
    let unknown = bench.refused("GetQueryResults", json!({"queryId": "none"})).await;
    assert!(unknown.starts_with("400 ResourceNotFoundException"), "{unknown}");
}
