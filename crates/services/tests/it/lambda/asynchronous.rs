//! Events: taken durably, executed by the stage, tried again, and their outcomes sent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Clock;
use cairn_services::lambda::Lambda;
use cairn_services::sqs::Sqs;
use serde_json::{Value, json};

use super::{World, made, owner, rights, send};
use crate::world;

async fn invoke(lambda: &Lambda, event: &Value) {
    let params = json!({"FunctionName": "f", "InvocationType": "Event", "Payload": STANDARD.encode(event.to_string())});
    assert_eq!(send(lambda, "Invoke", params).await.unwrap(), json!({"StatusCode": 202}));
}

/// Lets the stage do all that is due now.
async fn settle(lambda: &Arc<Lambda>) {
    for _ in 0..4 {
        lambda.run_once().await.unwrap();
        lambda.idle().await;
    }
}

async fn queue(sqs: &Sqs, name: &str) -> (String, String) {
    let made = world::send(sqs, &owner(), "CreateQueue", json!({"QueueName": name})).await.unwrap();
    (made["QueueUrl"].as_str().unwrap().to_owned(), format!("arn:aws:sqs:us-east-1:111122223333:{name}"))
}

async fn messages(sqs: &Sqs, url: &str) -> Vec<Value> {
    let ask = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "VisibilityTimeout": 0});
    let reply = world::send(sqs, &owner(), "ReceiveMessage", ask).await.unwrap();
    reply["Messages"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_event_is_executed_once_its_turn_comes() {
    let world = World::new();
    let lambda = world.lambda().await;
    made(&lambda, json!({})).await;
    invoke(&lambda, &json!({"a": 1})).await;
    assert_eq!(world.runner.count(), 0, "the caller does not wait");
    settle(&lambda).await;
    settle(&lambda).await;
    let given = world.runner.given.lock().unwrap().clone();
    assert_eq!(given.len(), 1, "and it is done once");
    assert_eq!(given[0].2.payload, r#"{"a":1}"#);
}

#[tokio::test]
async fn an_event_survives_the_end_of_the_server() {
    let world = World::new();
    let lambda = world.lambda().await;
    made(&lambda, json!({})).await;
    invoke(&lambda, &json!({"a": 1})).await;
    drop(lambda);
    settle(&world.lambda().await).await;
    assert_eq!(world.runner.count(), 1);
}

#[tokio::test]
async fn a_failed_event_is_tried_after_one_and_after_two_minutes_and_then_told_of() {
    let world = World::new();
    let (lambda, sqs) = (world.lambda().await, world.sqs().await);
    let (failures, failures_arn) = queue(&sqs, "failures").await;
    let (dead, dead_arn) = queue(&sqs, "dead").await;
    made(&lambda, json!({"DeadLetterConfig": {"TargetArn": dead_arn}})).await;
    let config =
        json!({"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": failures_arn}}});
    send(&lambda, "PutFunctionEventInvokeConfig", config).await.unwrap();
    world.runner.fail(3);
    invoke(&lambda, &json!({"a": 1})).await;
    let clock = &world.world.clock;
    for (wait_s, count) in [(0, 1), (59, 1), (1, 2), (119, 2), (1, 3)] {
        clock.set(clock.now().plus(Duration::from_secs(wait_s)));
        settle(&lambda).await;
        assert_eq!(world.runner.count(), count, "after {wait_s} s more");
    }
    let told = messages(&sqs, &failures).await;
    assert_eq!(told.len(), 1);
    let record: Value = serde_json::from_str(told[0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(record["requestPayload"], json!({"a": 1}));
    assert_eq!(record["responsePayload"]["errorMessage"], "boom");
    let letters = messages(&sqs, &dead).await;
    assert_eq!(letters[0]["Body"], r#"{"a":1}"#);
    assert_eq!(letters[0]["MessageAttributes"]["ErrorMessage"]["StringValue"], "boom");
}

#[tokio::test]
async fn retries_and_age_are_what_was_asked_for() {
    let world = World::new();
    let (lambda, sqs) = (world.lambda().await, world.sqs().await);
    let (url, arn) = queue(&sqs, "failures").await;
    made(&lambda, json!({})).await;
    for (config, condition) in [
        (json!({"MaximumRetryAttempts": 0}), "RetriesExhausted"),
        (json!({"MaximumEventAgeInSeconds": 60}), "EventAgeExceeded"),
    ] {
        let mut params =
            json!({"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": arn}}});
        params.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        send(&lambda, "PutFunctionEventInvokeConfig", params).await.unwrap();
        world.runner.fail(1);
        world.world.clock.set(world.world.clock.now().plus(Duration::from_secs(1)));
        // The age counts from the call, whose caller is of another time here.
        let mut caller = owner();
        caller.now = world.world.clock.now().minus(Duration::from_secs(1));
        let call = json!({"FunctionName": "f", "InvocationType": "Event"});
        world::send(&*lambda, &caller, "Invoke", call).await.unwrap();
        settle(&lambda).await;
        let told = messages(&sqs, &url).await;
        let record: Value = serde_json::from_str(told.last().unwrap()["Body"].as_str().unwrap()).unwrap();
        assert_eq!(record["requestContext"]["condition"], condition);
        let receipt = told.last().unwrap()["ReceiptHandle"].clone();
        let delete = json!({"QueueUrl": url, "ReceiptHandle": receipt});
        world::send(&*sqs, &owner(), "DeleteMessage", delete).await.unwrap();
    }
}

#[tokio::test]
async fn a_success_is_told_of_by_the_role_or_not_at_all() {
    for (action, count) in [("sqs:SendMessage", 1), ("sqs:Other", 0)] {
        let world = World::with_rights(rights(action));
        let (lambda, sqs) = (world.lambda().await, world.sqs().await);
        let (url, arn) = queue(&sqs, "successes").await;
        made(&lambda, json!({})).await;
        let config = json!({"FunctionName": "f", "DestinationConfig": {"OnSuccess": {"Destination": arn}}});
        send(&lambda, "PutFunctionEventInvokeConfig", config).await.unwrap();
        invoke(&lambda, &json!({})).await;
        settle(&lambda).await;
        assert_eq!(messages(&sqs, &url).await.len(), count, "{action}");
    }
}

#[tokio::test]
async fn a_function_without_a_place_keeps_its_events() {
    let world = World::new();
    let lambda = world.lambda().await;
    made(&lambda, json!({})).await;
    let reserve = |count: u32| json!({"FunctionName": "f", "ReservedConcurrentExecutions": count});
    send(&lambda, "PutFunctionConcurrency", reserve(0)).await.unwrap();
    invoke(&lambda, &json!({})).await;
    settle(&lambda).await;
    assert_eq!(world.runner.count(), 0);
    send(&lambda, "PutFunctionConcurrency", reserve(1)).await.unwrap();
    settle(&lambda).await;
    assert_eq!(world.runner.count(), 1);
}
