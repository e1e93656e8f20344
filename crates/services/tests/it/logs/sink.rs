//! What other services write to log groups.

use cairn_services::sinks::{LogLine, LogSink, Sender, as_service};
use serde_json::json;

use super::{ACCOUNT, Bench, DAY_MS, group_arn};

fn rule() -> Sender {
    let arn = format!("arn:aws:events:us-east-1:{ACCOUNT}:rule/r");
    as_service("events.amazonaws.com", &arn, &ACCOUNT.parse().unwrap())
}

async fn open_to_rules(bench: &Bench) {
    let statement = json!({"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": format!("{}:*", group_arn("g"))});
    let document = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    bench.send("PutResourcePolicy", json!({"policyName": "rules", "policyDocument": document})).await;
}

fn line(timestamp_ms: i64, message: &str) -> LogLine {
    LogLine { timestamp_ms, message: message.to_owned() }
}

#[tokio::test]
async fn a_service_writes_where_a_resource_policy_lets_it_and_makes_its_stream() {
    let bench = Bench::with_stream().await;
    let (logs, arn, now) = (&bench.logs, group_arn("g"), bench.now_ms());
    let starred = format!("{arn}:*");
    let denied = logs.check(&rule(), &starred, "r").await.unwrap_err();
    assert_eq!((denied.code.as_str(), denied.is_transient), ("AccessDeniedException", false));
    assert!(logs.put(&rule(), &arn, "r", vec![line(now, "m")]).await.is_err());
    open_to_rules(&bench).await;
    logs.check(&rule(), &starred, "r").await.unwrap();
    logs.put(&rule(), &arn, "r", vec![line(now, "b"), line(now - 2, "a"), line(now - 15 * DAY_MS, "old")])
        .await
        .unwrap();
    logs.put(&rule(), &starred, "r", vec![line(now, "c")]).await.unwrap();
    assert_eq!(bench.messages("r").await, ["a", "b", "c"]);
    let missing = logs.check(&rule(), &group_arn("none"), "r").await.unwrap_err();
    assert_eq!(missing.code, "ResourceNotFoundException");
}

#[tokio::test]
async fn more_lines_than_a_batch_takes_are_split() {
    let bench = Bench::with_stream().await;
    open_to_rules(&bench).await;
    let text = "x".repeat(300 * 1024);
    let mut lines: Vec<LogLine> = (0..10).map(|n| line(bench.now_ms() - n, &text)).collect();
    lines.push(line(bench.now_ms(), &"y".repeat(1024 * 1024)));
    bench.logs.put(&rule(), &group_arn("g"), "r", lines).await.unwrap();
    let batches = bench.lines.appended(cairn_store::LogPosition(0), usize::MAX).await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(|(_, batch)| batch.lines.len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1], "and what no batch takes is left out");
    let many = (0..10_001).map(|_| line(bench.now_ms(), "m")).collect();
    bench.logs.put(&rule(), &group_arn("g"), "many", many).await.unwrap();
    let batches = bench.lines.appended(cairn_store::LogPosition(4), usize::MAX).await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(|(_, batch)| batch.lines.len()).collect();
    assert_eq!(sizes, [10_000, 1]);
}
