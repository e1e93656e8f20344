//! KMS: what keys do, who may use them, and what is left of them.

use std::sync::Arc;
use std::time::Duration;

use cairn_core::policy::{NamedPolicy, Rights};
use cairn_core::{AccountId, Principal};
use cairn_services::Caller;
use cairn_services::kms::{Asker, DataKeys, EncryptionContext, Kms};
use cairn_store::log::EventLog;
use cairn_testkit::memory_log;
use serde_json::{Value, json};

use super::world::{World, caller, refusal, root, send};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Bench {
    world: World,
    kms: Kms,
    log: Arc<dyn EventLog>,
}

impl Bench {
    fn new() -> Self {
        let (world, log) = (World::new(), memory_log());
        let kms = world.kms(Arc::clone(&log));
        Self { world, kms, log }
    }

    async fn send(&self, caller: &Caller, operation: &str, params: Value) -> Value {
        send(&self.kms, caller, operation, params).await.unwrap()
    }

    async fn refused(&self, caller: &Caller, operation: &str, params: Value) -> String {
        refusal(&self.kms, caller, operation, params).await
    }

    async fn key(&self, caller: &Caller) -> String {
        self.send(caller, "CreateKey", json!({})).await["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    async fn encrypted(&self, caller: &Caller, key: &str) -> Value {
        let params = json!({"KeyId": key, "Plaintext": "c2VjcmV0", "EncryptionContext": {"a": "b"}});
        self.send(caller, "Encrypt", params).await["CiphertextBlob"].clone()
    }
}

fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

/// A user whose own policy allows these actions on everything.
fn user(account: &str, actions: &[&str]) -> Caller {
    let principal = Principal::IamUser {
        account: account.parse().unwrap(),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    };
    let policy = |actions: &[&str]| {
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let document = json!({"Version": "2012-10-17", "Statement": [statement]});
        let document = cairn_core::policy::Document::parse(&document.to_string()).unwrap();
        NamedPolicy { name: "own".into(), document: Arc::new(document) }
    };
    let identity = if actions.is_empty() { Vec::new() } else { vec![policy(actions)] };
    let rights = Rights { identity, unrestricted: false, ..Rights::unrestricted() };
    Caller { rights: Arc::new(rights), ..caller(principal) }
}

const DENIED: &str = "400 AccessDeniedException";

#[tokio::test]
async fn what_a_key_encrypts_it_decrypts_with_its_context_alone_and_after_rotations() {
    let (bench, root) = (Bench::new(), root(&account()));
    let key = bench.key(&root).await;
    let blob = bench.encrypted(&root, &key).await;
    bench.send(&root, "RotateKeyOnDemand", json!({"KeyId": key})).await;
    let opened =
        bench.send(&root, "Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}})).await;
    assert_eq!((&opened["Plaintext"], opened["KeyId"].as_str()), (&json!("c2VjcmV0"), Some(key.as_str())));
    let wrong = bench.refused(&root, "Decrypt", json!({"CiphertextBlob": blob})).await;
    assert_eq!(wrong, "400 InvalidCiphertextException: ");
    let other = bench.key(&root).await;
    let params = json!({"CiphertextBlob": blob, "KeyId": other, "EncryptionContext": {"a": "b"}});
    assert!(bench.refused(&root, "Decrypt", params).await.starts_with("400 IncorrectKeyException"));
    let params =
        json!({"CiphertextBlob": blob, "SourceEncryptionContext": {"a": "b"}, "DestinationKeyId": other});
    let moved = bench.send(&root, "ReEncrypt", params).await;
    let opened = bench.send(&root, "Decrypt", json!({"CiphertextBlob": moved["CiphertextBlob"]})).await;
    assert_eq!(opened["KeyId"], json!(other));
    let dry = json!({"CiphertextBlob": moved["CiphertextBlob"], "DryRun": true});
    assert!(bench.refused(&root, "Decrypt", dry).await.starts_with("412 DryRunOperationException"));
    let rotations = bench.send(&root, "ListKeyRotations", json!({"KeyId": key})).await;
    assert_eq!(rotations["Rotations"].as_array().unwrap().len(), 1);
    let data = bench.send(&root, "GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})).await;
    let opened = bench.send(&root, "Decrypt", json!({"CiphertextBlob": data["CiphertextBlob"]})).await;
    assert_eq!(opened["Plaintext"], data["Plaintext"]);
}

#[tokio::test]
async fn keys_are_reached_by_alias_and_by_arn_from_other_accounts() {
    let (bench, owner) = (Bench::new(), root(&account()));
    let key = bench.key(&owner).await;
    bench.send(&owner, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})).await;
    let again =
        bench.refused(&owner, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})).await;
    assert!(
        again.starts_with(
            "400 AlreadyExistsException: An alias with the name arn:aws:kms:us-east-1:111122223333:alias/a"
        ),
        "{again}"
    );
    for name in ["alias/a", "arn:aws:kms:us-east-1:111122223333:alias/a", key.rsplit('/').next().unwrap()] {
        let shown = bench.send(&owner, "DescribeKey", json!({"KeyId": name})).await;
        assert_eq!(shown["KeyMetadata"]["Arn"], json!(key), "{name}");
    }
    let missing = bench.refused(&owner, "DescribeKey", json!({"KeyId": "alias/none"})).await;
    assert_eq!(
        missing,
        "400 NotFoundException: Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found."
    );
    let managed = bench.send(&owner, "DescribeKey", json!({"KeyId": "alias/aws/s3"})).await;
    assert_eq!(managed["KeyMetadata"]["KeyManager"], json!("AWS"));
    assert!(
        bench
            .refused(&owner, "Encrypt", json!({"KeyId": "alias/aws/s3", "Plaintext": "YQ=="}))
            .await
            .starts_with(DENIED)
    );

    let stranger = user("444455556666", &["kms:*"]);
    let encrypt = json!({"KeyId": key, "Plaintext": "YQ=="});
    assert!(bench.refused(&stranger, "Encrypt", encrypt.clone()).await.starts_with(DENIED));
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kms:Encrypt", "Resource": "*"},
    ]});
    bench.send(&owner, "PutKeyPolicy", json!({"KeyId": key, "Policy": policy.to_string()})).await;
    bench.send(&stranger, "Encrypt", encrypt.clone()).await;
    let powerless = user("444455556666", &["s3:*"]);
    assert!(bench.refused(&powerless, "Encrypt", encrypt).await.starts_with(DENIED), "both sides must allow");
}

#[tokio::test]
async fn an_identity_policy_counts_only_where_the_key_policy_leaves_it_to_the_account() {
    let (bench, owner) = (Bench::new(), root(&account()));
    let key = bench.key(&owner).await;
    let alice = user("111122223333", &["kms:*"]);
    bench.send(&alice, "DescribeKey", json!({"KeyId": key})).await;
    let none = user("111122223333", &[]);
    assert!(bench.refused(&none, "DescribeKey", json!({"KeyId": key})).await.starts_with(DENIED));
    let only_alice = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"}, "Action": ["kms:Put*", "kms:Decrypt"], "Resource": "*"},
    ]});
    let put = json!({"KeyId": key, "Policy": only_alice.to_string()});
    let lockout = bench.refused(&owner, "PutKeyPolicy", put.clone()).await;
    assert_eq!(
        lockout,
        "400 MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy in the future."
    );
    bench.send(&alice, "PutKeyPolicy", put).await;
    assert!(
        bench.refused(&owner, "DescribeKey", json!({"KeyId": key})).await.starts_with(DENIED),
        "not even root"
    );
    assert!(bench.refused(&alice, "DescribeKey", json!({"KeyId": key})).await.starts_with(DENIED));
    bench.send(&none, "PutKeyPolicy", json!({"KeyId": key, "Policy": only_alice.to_string()})).await;
    let nonsense = bench.refused(&alice, "PutKeyPolicy", json!({"KeyId": key, "Policy": "{"})).await;
    assert!(nonsense.starts_with("400 MalformedPolicyDocumentException"), "{nonsense}");
}

#[tokio::test]
async fn a_grant_allows_its_operations_for_its_context_until_it_is_revoked_or_retired() {
    let (bench, owner) = (Bench::new(), root(&account()));
    let key = bench.key(&owner).await;
    let blob = bench.encrypted(&owner, &key).await;
    let alice = user("111122223333", &[]);
    let decrypt = json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}});
    assert!(bench.refused(&alice, "Decrypt", decrypt.clone()).await.starts_with(DENIED));
    let grant = |constraint: Value| {
        json!({
            "KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:user/alice",
            "RetiringPrincipal": "arn:aws:iam::111122223333:user/alice",
            "Operations": ["Decrypt"], "Constraints": constraint, "Name": constraint.to_string(),
        })
    };
    bench.send(&owner, "CreateGrant", grant(json!({"EncryptionContextEquals": {"a": "c"}}))).await;
    assert!(bench.refused(&alice, "Decrypt", decrypt.clone()).await.starts_with(DENIED));
    let subset = grant(json!({"EncryptionContextSubset": {"a": "b"}}));
    let made = bench.send(&owner, "CreateGrant", subset.clone()).await;
    assert_eq!(bench.send(&owner, "CreateGrant", subset.clone()).await["GrantId"], made["GrantId"]);
    bench.send(&alice, "Decrypt", decrypt.clone()).await;
    assert!(
        bench
            .refused(&alice, "Encrypt", json!({"KeyId": key, "Plaintext": "YQ=="}))
            .await
            .starts_with(DENIED)
    );
    let listed = bench.send(&owner, "ListGrants", json!({"KeyId": key})).await;
    assert_eq!(listed["Grants"].as_array().unwrap().len(), 2);
    let retirable = json!({"RetiringPrincipal": "arn:aws:iam::111122223333:user/alice"});
    assert_eq!(
        bench.send(&owner, "ListRetirableGrants", retirable).await["Grants"].as_array().unwrap().len(),
        2
    );
    bench.send(&alice, "RetireGrant", json!({"GrantToken": made["GrantToken"]})).await;
    assert!(bench.refused(&alice, "Decrypt", decrypt.clone()).await.starts_with(DENIED));
    let made = bench.send(&owner, "CreateGrant", subset).await;
    bench.send(&owner, "RevokeGrant", json!({"KeyId": key, "GrantId": made["GrantId"]})).await;
    assert!(bench.refused(&alice, "Decrypt", decrypt).await.starts_with(DENIED));
    let token = json!({"CiphertextBlob": blob, "GrantTokens": ["?"]});
    assert!(bench.refused(&owner, "Decrypt", token).await.starts_with("400 InvalidGrantTokenException"));
}

#[tokio::test]
async fn a_disabled_key_does_nothing_and_a_deleted_one_is_gone_after_its_window() {
    let (bench, mut owner) = (Bench::new(), root(&account()));
    let key = bench.key(&owner).await;
    let blob = bench.encrypted(&owner, &key).await;
    let decrypt = json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}});
    bench.send(&owner, "DisableKey", json!({"KeyId": key})).await;
    assert_eq!(
        bench.refused(&owner, "Decrypt", decrypt.clone()).await,
        format!("400 DisabledException: {key} is disabled.")
    );
    let schedule = |days: u32| json!({"KeyId": key, "PendingWindowInDays": days});
    assert!(
        bench
            .refused(&owner, "ScheduleKeyDeletion", schedule(6))
            .await
            .starts_with("400 ValidationException")
    );
    bench.send(&owner, "ScheduleKeyDeletion", schedule(7)).await;
    assert_eq!(
        bench.refused(&owner, "Decrypt", decrypt.clone()).await,
        format!("400 KMSInvalidStateException: {key} is pending deletion.")
    );
    bench.send(&owner, "CancelKeyDeletion", json!({"KeyId": key})).await;
    bench.send(&owner, "EnableKey", json!({"KeyId": key})).await;
    bench.send(&owner, "Decrypt", decrypt.clone()).await;
    bench.send(&owner, "ScheduleKeyDeletion", schedule(7)).await;
    bench.world.clock.advance(DAY * 7);
    owner.now = owner.now.plus(DAY * 7);
    let gone = format!("400 NotFoundException: Key '{key}' does not exist");
    assert_eq!(bench.refused(&owner, "Decrypt", decrypt.clone()).await, gone);
    bench.kms.maintain().await.unwrap();
    owner.now = owner.now.plus(Duration::ZERO);
    assert_eq!(bench.refused(&owner, "DescribeKey", json!({"KeyId": key})).await, gone);
}

#[tokio::test]
async fn rotation_comes_with_time() {
    let (bench, owner) = (Bench::new(), root(&account()));
    let key = bench.key(&owner).await;
    bench.send(&owner, "EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90})).await;
    let status = bench.send(&owner, "GetKeyRotationStatus", json!({"KeyId": key})).await;
    assert_eq!((&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]), (&json!(true), &json!(90)));
    bench.world.clock.advance(DAY * 90);
    bench.kms.maintain().await.unwrap();
    bench.kms.maintain().await.unwrap();
    let rotations = bench.send(&owner, "ListKeyRotations", json!({"KeyId": key})).await;
    let kinds: Vec<&str> = rotations["Rotations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["RotationType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["AUTOMATIC"]);
}

#[tokio::test]
async fn services_get_data_keys_under_the_key_policy_and_leave_events() {
    let (bench, owner) = (Bench::new(), root(&account()));
    let key = bench.key(&owner).await;
    let service = Principal::Service { name: "cloudtrail.amazonaws.com".into() };
    let trail = "arn:aws:cloudtrail:us-east-1:111122223333:trail/t";
    let asker = Asker {
        caller: Caller { account: account(), ..caller(service) },
        service: "s3",
        conditions: vec![("aws:SourceArn".to_owned(), vec![trail.to_owned()])],
    };
    let context = EncryptionContext::from([("aws:cloudtrail:arn".to_owned(), trail.to_owned())]);
    assert!(bench.kms.generate(&asker, &key, &context).await.is_err());
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "kms:GenerateDataKey*", "Resource": "*",
         "Condition": {"StringEquals": {"aws:SourceArn": trail}, "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": "arn:aws:cloudtrail:*:111122223333:trail/*"}}},
    ]});
    bench.send(&owner, "PutKeyPolicy", json!({"KeyId": key, "Policy": policy.to_string()})).await;
    let made = bench.kms.generate(&asker, &key, &context).await.unwrap();
    let reader =
        Asker { caller: user("111122223333", &["kms:Decrypt"]), service: "s3", conditions: Vec::new() };
    assert_eq!(bench.kms.decrypt(&reader, &made.blob, &context).await.unwrap(), made.plaintext);
    let stranger = Asker { caller: user("111122223333", &["s3:*"]), service: "s3", conditions: Vec::new() };
    assert_eq!(
        bench.kms.decrypt(&stranger, &made.blob, &context).await.unwrap_err().code,
        "AccessDeniedException"
    );
    let entries = bench.log.read(bench.log.start(), 10, usize::MAX).await.unwrap();
    let events: Vec<Value> =
        entries.iter().map(|(_, entry)| serde_json::from_slice(&entry.payload).unwrap()).collect();
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            format!("{} {} {}", event["eventName"], event["userIdentity"]["invokedBy"], event["errorCode"])
        })
        .collect();
    assert_eq!(
        told,
        [
            r#""GenerateDataKey" "cloudtrail.amazonaws.com" "AccessDenied""#,
            r#""GenerateDataKey" "cloudtrail.amazonaws.com" null"#,
            r#""Decrypt" "AWS Internal" null"#,
            r#""Decrypt" "AWS Internal" "AccessDenied""#,
        ]
    );
    assert_eq!(events[1]["resources"][0]["ARN"], json!(key));
}
