//! What other services send to queues.

use cairn_services::sinks::{QueueMessage, QueueSink, Source};
use serde_json::json;

use super::{ACCOUNT, Bench, arn};

fn topic() -> Source {
    Source {
        service: "sns.amazonaws.com".into(),
        arn: format!("arn:aws:sns:us-east-1:{ACCOUNT}:t"),
        account: ACCOUNT.parse().unwrap(),
    }
}

fn message(body: &str) -> QueueMessage {
    QueueMessage { body: body.into(), ..QueueMessage::default() }
}

async fn open_to_topics(bench: &Bench, url: &str, name: &str) {
    let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:SendMessage",
        "Principal": {"Service": "sns.amazonaws.com"}, "Resource": arn(name),
        "Condition": {"ArnLike": {"aws:SourceArn": topic().arn}}}});
    let set = json!({"QueueUrl": url, "Attributes": {"Policy": policy.to_string()}});
    bench.send("SetQueueAttributes", set).await;
}

#[tokio::test]
async fn a_service_sends_where_a_queues_policy_lets_it() {
    let bench = Bench::new().await;
    let (open, closed) = (bench.queue("open", json!({})).await, bench.queue("closed", json!({})).await);
    open_to_topics(&bench, &open, "open").await;
    bench.sqs.check(&topic(), &arn("open")).await.unwrap();
    let denied = bench.sqs.check(&topic(), &arn("closed")).await.unwrap_err();
    assert_eq!((denied.code.as_str(), denied.is_transient), ("AccessDenied", false));
    let other = Source { arn: format!("arn:aws:sns:us-east-1:{ACCOUNT}:other"), ..topic() };
    assert_eq!(bench.sqs.check(&other, &arn("open")).await.unwrap_err().code, "AccessDenied");
    let sent = bench
        .sqs
        .send(vec![
            (topic(), arn("open"), message("a")),
            (topic(), arn("closed"), message("b")),
            (topic(), arn("missing"), message("c")),
            (topic(), arn("open"), message("")),
            (topic(), arn("open"), message("d")),
        ])
        .await;
    let codes: Vec<_> =
        sent.iter().map(|sent| sent.as_ref().map_err(|failure| failure.code.as_str())).collect();
    assert_eq!(
        codes,
        [
            Ok(&()),
            Err("AccessDenied"),
            Err("AWS.SimpleQueueService.NonExistentQueue"),
            Err("MissingParameter"),
            Ok(&())
        ]
    );
    let mut bodies = bench.bodies(&open).await;
    bodies.sort();
    assert_eq!(bodies, ["a", "d"]);
    assert!(bench.take(&closed).await.is_empty());
    assert_eq!(bench.sqs.is_fifo(&arn("open")).await, Some(false));
    assert_eq!(bench.sqs.is_fifo(&arn("missing")).await, None);
}

#[tokio::test]
async fn a_service_sends_in_groups_to_a_fifo_queue() {
    let bench = Bench::new().await;
    let url = bench.fifo("q.fifo").await;
    open_to_topics(&bench, &url, "q.fifo").await;
    let grouped = |body: &str| QueueMessage { group: Some("g".into()), ..message(body) };
    let sent = bench
        .sqs
        .send(vec![(topic(), arn("q.fifo"), grouped("a")), (topic(), arn("q.fifo"), grouped("a"))])
        .await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(bench.bodies(&url).await, ["a"]);
    assert_eq!(bench.sqs.is_fifo(&arn("q.fifo")).await, Some(true));
}
