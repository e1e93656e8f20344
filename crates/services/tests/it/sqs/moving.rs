//! Message move tasks.

use serde_json::{Value, json};

use super::{Bench, arn, redrive};

/// A dead-letter queue with `letters` of the queue `source`.
async fn with_dead_letters(letters: usize) -> (Bench, String, String) {
    let bench = Bench::new().await;
    let dead = bench.queue("dead", json!({})).await;
    let source =
        bench.queue("source", json!({"VisibilityTimeout": "0", "RedrivePolicy": redrive("dead", 1)})).await;
    for at in 0..letters {
        bench.put(&source, &at.to_string()).await;
    }
    for _ in 0..2 {
        bench.take(&source).await;
    }
    assert_eq!(bench.attribute(&dead, "ApproximateNumberOfMessages").await, letters.to_string());
    (bench, source, dead)
}

async fn listed(bench: &Bench) -> Value {
    bench.send("ListMessageMoveTasks", json!({"SourceArn": arn("dead")})).await["Results"][0].clone()
}

#[tokio::test]
async fn letters_go_back_to_where_they_came_from() {
    let (bench, source, dead) = with_dead_letters(3).await;
    let started = bench.send("StartMessageMoveTask", json!({"SourceArn": arn("dead")})).await;
    assert_eq!(listed(&bench).await["Status"], json!("RUNNING"));
    assert_eq!(listed(&bench).await["TaskHandle"], started["TaskHandle"]);
    for _ in 0..2 {
        bench.sqs.run_move_tasks().await.unwrap();
    }
    assert_eq!(
        listed(&bench).await,
        json!({"SourceArn": arn("dead"), "ApproximateNumberOfMessagesMoved": 3,
            "ApproximateNumberOfMessagesToMove": 3, "StartedTimestamp": 1_795_281_866_000_i64, "Status": "COMPLETED"})
    );
    assert_eq!(bench.attribute(&dead, "ApproximateNumberOfMessages").await, "0");
    assert_eq!(bench.attribute(&source, "ApproximateNumberOfMessages").await, "3");
}

#[tokio::test]
async fn a_task_keeps_to_its_rate_until_it_is_cancelled() {
    let (bench, _, _) = with_dead_letters(5).await;
    let other = bench.queue("other", json!({})).await;
    let start =
        json!({"SourceArn": arn("dead"), "DestinationArn": arn("other"), "MaxNumberOfMessagesPerSecond": 1});
    let started = bench.send("StartMessageMoveTask", start.clone()).await;
    let again = bench.refused("StartMessageMoveTask", start).await;
    assert!(
        again.starts_with("400 InvalidParameterValueException: There is already a task running."),
        "{again}"
    );
    for moved in 1..=2 {
        let due = bench.sqs.run_move_tasks().await.unwrap();
        bench.sqs.run_move_tasks().await.unwrap();
        assert_eq!(listed(&bench).await["ApproximateNumberOfMessagesMoved"], json!(moved));
        assert_eq!(due.since(bench.root().now).as_secs(), 1);
        bench.advance(1);
    }
    let handle = json!({"TaskHandle": started["TaskHandle"]});
    let cancelled = bench.send("CancelMessageMoveTask", handle.clone()).await;
    assert_eq!(cancelled["ApproximateNumberOfMessagesMoved"], json!(2));
    bench.sqs.run_move_tasks().await.unwrap();
    let task = listed(&bench).await;
    assert_eq!((&task["Status"], task.get("TaskHandle")), (&json!("CANCELLED"), None));
    assert_eq!(bench.attribute(&other, "ApproximateNumberOfMessages").await, "2");
    let again = bench.refused("CancelMessageMoveTask", handle).await;
    assert_eq!(again, "400 InvalidParameterValueException: Only active tasks can be cancelled.");
}

#[tokio::test]
async fn a_task_fails_with_its_destination() {
    let (bench, _, _) = with_dead_letters(3).await;
    let other = bench.queue("other", json!({})).await;
    let start =
        json!({"SourceArn": arn("dead"), "DestinationArn": arn("other"), "MaxNumberOfMessagesPerSecond": 1});
    bench.send("StartMessageMoveTask", start).await;
    bench.sqs.run_move_tasks().await.unwrap();
    bench.send("DeleteQueue", json!({"QueueUrl": other})).await;
    bench.advance(1);
    bench.sqs.run_move_tasks().await.unwrap();
    let task = listed(&bench).await;
    assert_eq!(task["Status"], json!("FAILED"));
    assert_eq!(task["FailureReason"], json!("AWS.SimpleQueueService.NonExistentQueue"));
}

#[tokio::test]
async fn what_cannot_be_moved_or_cancelled_is_refused_in_awss_words() {
    let (bench, _, _) = with_dead_letters(1).await;
    let start = |source: &str| bench.refused("StartMessageMoveTask", json!({"SourceArn": source}));
    assert_eq!(
        start(&arn("source")).await,
        "400 InvalidParameterValueException: Source queue must be configured as a Dead Letter Queue."
    );
    assert_eq!(
        start(&arn("missing")).await,
        "404 ResourceNotFoundException: The resource that you specified for the SourceArn parameter doesn't exist."
    );
    let missing = json!({"SourceArn": arn("dead"), "DestinationArn": arn("missing")});
    assert_eq!(
        bench.refused("StartMessageMoveTask", missing).await,
        "404 ResourceNotFoundException: The resource that you specified for the DestinationArn parameter doesn't exist."
    );
    let cancel = |handle: &str| bench.refused("CancelMessageMoveTask", json!({"TaskHandle": handle}));
    let handle = |source: &str| {
        let text = json!({"taskId": "10f57157-fc3e-4206-a7a4-8a5fa5d9e8a3", "sourceArn": source}).to_string();
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
    };
    assert_eq!(
        cancel("foobared").await,
        "400 InvalidParameterValueException: Value for parameter TaskHandle is invalid."
    );
    assert_eq!(
        cancel(&handle(&arn("missing"))).await,
        "404 ResourceNotFoundException: The resource that you specified for the SourceArn parameter doesn't exist."
    );
    assert_eq!(cancel(&handle(&arn("dead"))).await, "404 ResourceNotFoundException: Task does not exist.");
}
