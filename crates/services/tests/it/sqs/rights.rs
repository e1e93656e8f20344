//! Who may do what: queue policies, permissions by label, keys of KMS.

use std::sync::Arc;

use cairn_core::Principal;
use cairn_core::policy::{Document, NamedPolicy, Rights};
use cairn_services::Caller;
use cairn_services::kms::Kms;
use serde_json::{Value, json};

use super::{Bench, arn};
use crate::world::{self, refusal};

const OTHER: &str = "444455556666";

/// A user of another account who may do everything as far as that account is concerned.
fn stranger(bench: &Bench) -> Caller {
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    let policy = NamedPolicy { name: "all".into(), document: Arc::new(Document::parse(text).unwrap()) };
    let principal = Principal::IamUser {
        account: OTHER.parse().unwrap(),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    };
    let rights = Rights { identity: vec![policy], ..Rights::default() };
    Caller { rights: Arc::new(rights), now: bench.root().now, ..world::caller(principal) }
}

#[tokio::test]
async fn another_account_may_do_what_the_queues_policy_says() {
    let bench = Bench::new().await;
    let (url, alice) = (bench.queue("q", json!({})).await, stranger(&bench));
    let message = json!({"QueueUrl": url, "MessageBody": "a"});
    assert_eq!(
        refusal(&bench.sqs, &alice, "SendMessage", message.clone()).await,
        format!(
            "403 AccessDeniedException: User: arn:aws:iam::{OTHER}:user/alice is not authorized to perform: \
             sqs:sendmessage on resource: {} because no resource-based policy allows the sqs:sendmessage action",
            arn("q")
        )
    );
    let add = json!({"QueueUrl": url, "Label": "l", "AWSAccountIds": [OTHER], "Actions": ["SendMessage"]});
    bench.send("AddPermission", add).await;
    world::send(&bench.sqs, &alice, "SendMessage", message.clone()).await.unwrap();
    let found = world::send(
        &bench.sqs,
        &bench.root(),
        "ReceiveMessage",
        json!({"QueueUrl": url, "AttributeNames": ["SenderId"]}),
    )
    .await
    .unwrap();
    assert_eq!(found["Messages"][0]["Attributes"]["SenderId"], json!("AIDAEXAMPLE"));
    let other = refusal(&bench.sqs, &alice, "ReceiveMessage", json!({"QueueUrl": url})).await;
    assert!(other.starts_with("403 AccessDeniedException"), "{other}");
    let open = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:*",
        "Resource": arn("q"), "Condition": {"StringEquals": {"aws:PrincipalAccount": OTHER}}}});
    let set = json!({"QueueUrl": url, "Attributes": {"Policy": open.to_string()}});
    bench.send("SetQueueAttributes", set).await;
    world::send(&bench.sqs, &alice, "ReceiveMessage", json!({"QueueUrl": url})).await.unwrap();
    let owners = refusal(&bench.sqs, &alice, "DeleteQueue", json!({"QueueUrl": url})).await;
    assert!(owners.starts_with("403 AccessDeniedException"), "some things are the owner's alone: {owners}");
}

#[tokio::test]
async fn permissions_come_and_go_by_label() {
    let bench = Bench::new().await;
    let url = bench.queue("q", json!({})).await;
    let add = |label: &str, accounts: Value| json!({"QueueUrl": url, "Label": label, "AWSAccountIds": accounts, "Actions": ["ReceiveMessage"]});
    bench.send("AddPermission", add("l", json!(["668614515564", "111122223333"]))).await;
    let policy: Value = serde_json::from_str(&bench.attribute(&url, "Policy").await).unwrap();
    assert_eq!(
        policy,
        json!({"Version": "2008-10-17", "Id": format!("{}/SQSDefaultPolicy", arn("q")), "Statement": [{
            "Sid": "l", "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam::668614515564:root", "arn:aws:iam::111122223333:root"]},
            "Action": "SQS:ReceiveMessage", "Resource": arn("q")}]})
    );
    assert_eq!(
        bench.refused("AddPermission", add("l", json!(["111122223333"]))).await,
        "400 InvalidParameterValueException: Value l for parameter Label is invalid. Reason: Already exists."
    );
    bench.send("AddPermission", add("m", json!(["111122223333"]))).await;
    for label in ["l", "m"] {
        bench.send("RemovePermission", json!({"QueueUrl": url, "Label": label})).await;
    }
    assert_eq!(bench.attribute(&url, "Policy").await, "");
    assert_eq!(
        bench.refused("RemovePermission", json!({"QueueUrl": url, "Label": "l"})).await,
        "400 InvalidParameterValueException: Value l for parameter Label is invalid. Reason: can't find label."
    );
}

#[tokio::test]
async fn a_queue_under_a_key_of_kms_needs_the_key_to_send_and_to_receive() {
    let bench = Bench::new().await;
    let kms: Kms = bench.world.kms(cairn_testkit::memory_log());
    let made = world::send(&kms, &bench.root(), "CreateKey", json!({})).await.unwrap();
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let url = bench
        .queue(
            "q",
            json!({"KmsMasterKeyId": key, "KmsDataKeyReusePeriodSeconds": "60", "VisibilityTimeout": "0"}),
        )
        .await;
    bench.put(&url, "secret").await;
    assert_eq!(bench.bodies(&url).await, ["secret"]);
    world::send(&kms, &bench.root(), "DisableKey", json!({"KeyId": key})).await.unwrap();
    bench.put(&url, "still under the data key").await;
    assert_eq!(bench.bodies(&url).await.len(), 2);
    bench.advance(60);
    let send = bench.refused("SendMessage", json!({"QueueUrl": url, "MessageBody": "b"})).await;
    assert!(send.starts_with("400 KmsDisabled"), "{send}");
    let receive = bench.refused("ReceiveMessage", json!({"QueueUrl": url})).await;
    assert!(receive.starts_with("400 KmsDisabled"), "{receive}");
    world::send(&kms, &bench.root(), "EnableKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(bench.bodies(&url).await.len(), 2, "what could not be opened was put back");
    let missing = bench.queue("m", json!({"KmsMasterKeyId": "testKeyId"})).await;
    let refused = bench.refused("SendMessage", json!({"QueueUrl": missing, "MessageBody": "b"})).await;
    assert!(refused.starts_with("400 KmsNotFound"), "{refused}");
}
