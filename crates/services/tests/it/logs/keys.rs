//! Groups with a KMS key.

use cairn_core::Timestamp;
use cairn_services::kms::Kms;
use cairn_store::LogPosition;
use cairn_testkit::memory_log;
use serde_json::{Value, json};

use super::{ACCOUNT, Bench, group_arn};
use crate::world;

struct Key {
    kms: Kms,
    arn: String,
}

impl Key {
    /// A key that CloudWatch Logs may use for the group `g`.
    async fn new(bench: &Bench) -> Self {
        let kms = bench.world.kms(memory_log());
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Allow", "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
             "Action": ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
             "Resource": "*", "Condition": {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": group_arn("g")}}},
        ]});
        let made = json!({"Policy": policy.to_string()});
        let made = world::send(&kms, &bench.root(), "CreateKey", made).await.unwrap();
        Self { arn: made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned(), kms }
    }

    async fn set(&self, bench: &Bench, operation: &str) {
        let params = json!({"KeyId": self.arn});
        world::send(&self.kms, &bench.root(), operation, params).await.unwrap();
    }
}

async fn stored(bench: &Bench) -> Vec<u8> {
    let batches = bench.lines.appended(LogPosition(0), usize::MAX).await.unwrap();
    let lines = batches.into_iter().flat_map(|(_, batch)| batch.lines);
    lines.flat_map(|line| line.message.to_vec()).collect()
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn put(bench: &Bench, text: &str) -> Value {
    json!({"logGroupName": "g", "logStreamName": "s",
        "logEvents": [{"timestamp": bench.now_ms(), "message": text}]})
}

#[tokio::test]
async fn lines_of_a_group_with_a_key_are_stored_sealed_and_read_in_clear() {
    let bench = Bench::with_stream().await;
    let key = Key::new(&bench).await;
    bench.put("s", &[(2, "plain before")]).await;
    bench.send("AssociateKmsKey", json!({"logGroupName": "g", "kmsKeyId": key.arn})).await;
    let shown = bench.send("DescribeLogGroups", json!({})).await;
    assert_eq!(shown["logGroups"][0]["kmsKeyId"], key.arn);
    bench.put("s", &[(1, "secret text")]).await;
    assert!(holds(&stored(&bench).await, "plain before"));
    assert!(!holds(&stored(&bench).await, "secret"));
    bench.send("DisassociateKmsKey", json!({"logGroupName": "g"})).await;
    bench.put("s", &[(0, "plain after")]).await;
    assert_eq!(bench.messages("s").await, ["plain before", "secret text", "plain after"]);
}

#[tokio::test]
async fn a_disabled_key_refuses_writes_and_reads_of_what_it_sealed() {
    let bench = Bench::with_stream().await;
    let key = Key::new(&bench).await;
    bench.put("s", &[(10_000, "plain")]).await;
    let sealed_from = bench.now_ms();
    bench.send("AssociateKmsKey", json!({"logGroupName": "g", "kmsKeyId": key.arn})).await;
    bench.put("s", &[(0, "secret")]).await;
    key.set(&bench, "DisableKey").await;
    let refused = bench.refused("PutLogEvents", put(&bench, "more")).await;
    assert!(
        refused.starts_with("400 AccessDeniedException: The specified KMS key does not exist"),
        "{refused}"
    );
    let read = json!({"logGroupName": "g", "logStreamName": "s"});
    let refused = bench.refused("GetLogEvents", read.clone()).await;
    assert!(refused.starts_with("400 AccessDeniedException"), "{refused}");
    let mut before = read.clone();
    before["endTime"] = sealed_from.into();
    assert_eq!(super::messages(&bench.send("GetLogEvents", before).await), ["plain"]);
    key.set(&bench, "EnableKey").await;
    assert_eq!(super::messages(&bench.send("GetLogEvents", read).await), ["plain", "secret"]);
}

#[tokio::test]
async fn a_key_whose_policy_does_not_name_the_group_is_refused() {
    let bench = Bench::with_stream().await;
    let key = Key::new(&bench).await;
    let refused =
        bench.refused("CreateLogGroup", json!({"logGroupName": "other", "kmsKeyId": key.arn})).await;
    assert_eq!(
        refused,
        format!(
            "400 AccessDeniedException: The specified KMS key does not exist or is not allowed to be used with Arn '{}'",
            group_arn("other")
        )
    );
    let missing = format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555");
    let refused = bench.refused("AssociateKmsKey", json!({"logGroupName": "g", "kmsKeyId": missing})).await;
    assert!(refused.contains("does not exist or is not allowed"), "{refused}");
}

#[tokio::test]
async fn what_a_data_key_sealed_is_read_after_the_next_one_and_by_another_server() {
    let bench = Bench::with_stream().await;
    let key = Key::new(&bench).await;
    bench.send("AssociateKmsKey", json!({"logGroupName": "g", "kmsKeyId": key.arn})).await;
    bench.put("s", &[(0, "first")]).await;
    bench.advance(31 * 24 * 3600);
    bench.put("s", &[(0, "second")]).await;
    let other = Bench { logs: super::logs_of(&bench.world, bench.lines.clone()), ..bench };
    assert_eq!(other.messages("s").await, ["first", "second"]);
    assert!(other.now_ms() > Timestamp::EPOCH.millis());
}
