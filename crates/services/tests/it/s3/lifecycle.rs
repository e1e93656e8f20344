//! Lifecycle rules: what can be put, what comes back, and what the stage does by the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_services::Service;
use cairn_services::s3::{LifecycleStage, S3};
use cairn_store::{EventLog, LogPosition};
use prometheus::Registry;
use serde_json::{Value, json};

use super::notifications::{Destinations, QUEUE, reopen};
use super::{Shop, open};
use crate::world::call;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A shop whose rules are executed.
struct Ruled {
    shop: Shop,
    log: Arc<dyn EventLog>,
    stage: LifecycleStage,
}

impl Ruled {
    /// Over the bucket `logs`, with versions or without.
    async fn new(versioned: bool) -> Self {
        let shop = if versioned { Shop::with_versions().await } else { Shop::with_bucket().await };
        let log = cairn_testkit::memory_log();
        let stage = stage(&shop, Arc::clone(&log));
        Self { shop, log, stage }
    }

    /// Puts one rule without a filter.
    async fn rule(&self, members: Value) {
        let mut rule = json!({"ID": "the rule", "Filter": {}, "Status": "Enabled"});
        rule.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.shop.ok("PutBucketLifecycleConfiguration", rules(json!([rule]))).await;
    }

    /// Lets days pass, and the stage run until it has nothing more to do.
    async fn days(&self, days: u32) {
        self.shop.world.clock.advance(DAY * days);
        self.run().await;
    }

    async fn run(&self) {
        loop {
            self.stage.run_once().await.unwrap();
            if self.stage.next_due() > self.shop.world.clock.now() {
                return;
            }
        }
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.shop.ok("ListObjectsV2", json!({"Bucket": "logs"})).await;
        let contents = listed.get("Contents").and_then(Value::as_array).cloned().unwrap_or_default();
        contents.iter().map(|entry| entry["Key"].as_str().unwrap().to_owned()).collect()
    }

    /// `key class`, or `key marker`, of all versions.
    async fn versions(&self) -> Vec<String> {
        let listed = self.shop.ok("ListObjectVersions", json!({"Bucket": "logs"})).await;
        let entries =
            |member: &str| listed.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        let class = |entry: &Value| entry["StorageClass"].as_str().unwrap_or("marker").to_owned();
        let shown = |entry: &Value| format!("{} {}", entry["Key"].as_str().unwrap(), class(entry));
        entries("Versions").iter().chain(&entries("DeleteMarkers")).map(shown).collect()
    }

    /// The records, as `name key` with their rule, and the eventIDs.
    async fn records(&self) -> BTreeMap<String, String> {
        let read = self.log.read(LogPosition(0), usize::MAX, usize::MAX).await.unwrap();
        let parsed = read.iter().map(|(_, entry)| serde_json::from_slice::<Value>(&entry.payload).unwrap());
        let shown = parsed.map(|event| {
            assert_eq!(event["userIdentity"], json!({"type": "AWSService", "invokedBy": "s3.amazonaws.com"}));
            assert_eq!(event["eventCategory"], "Data");
            let parameters = &event["requestParameters"];
            let rule = &event["additionalEventData"]["lifecycleRuleId"];
            let text = format!("{} {} by {rule}", event["eventName"], parameters["key"]);
            (event["eventID"].as_str().unwrap().to_owned(), text.replace('"', ""))
        });
        let all: Vec<(String, String)> = shown.collect();
        let count = all.len();
        let all: BTreeMap<String, String> = all.into_iter().collect();
        assert_eq!(all.len(), count, "no eventID is there twice");
        all
    }

    async fn record_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.records().await.into_values().collect();
        texts.sort();
        texts
    }
}

fn stage(shop: &Shop, log: Arc<dyn EventLog>) -> LifecycleStage {
    let s3: S3 = open(&shop.world, shop.folder.path());
    LifecycleStage::new(Arc::new(s3), log, &Registry::new()).unwrap()
}

fn rules(rules: Value) -> Value {
    json!({"Bucket": "logs", "LifecycleConfiguration": {"Rules": rules}})
}

#[tokio::test]
async fn rules_come_back_as_they_were_put_and_go_with_their_bucket() {
    let shop = Shop::with_bucket().await;
    let read = || async {
        shop.send(call("s3", "GetBucketLifecycleConfiguration", json!({"Bucket": "logs"}))).await
    };
    let missing = read().await.unwrap_err();
    assert_eq!((missing.status, &*missing.code), (404, "NoSuchLifecycleConfiguration"));
    assert_eq!(missing.message, "The lifecycle configuration does not exist");
    let put = json!([
        {"ID": "all", "Filter": {}, "Status": "Disabled", "Expiration": {"Days": 400}},
        {"ID": "some", "Filter": {"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 1}},
         "Status": "Enabled", "Expiration": {"Date": 1_893_456_000},
         "Transitions": [{"Date": 1_861_920_000, "StorageClass": "GLACIER"}]},
    ]);
    let answer = shop.ok("PutBucketLifecycleConfiguration", rules(put.clone())).await;
    assert_eq!(answer, json!({"TransitionDefaultMinimumObjectSize": "all_storage_classes_128K"}));
    let shown = read().await.unwrap().result;
    assert_eq!(
        (&shown["Rules"], shown["TransitionDefaultMinimumObjectSize"].as_str()),
        (&put, Some("all_storage_classes_128K"))
    );

    // The older form, without an ID: one is made.
    let mut older = rules(json!([{"Prefix": "", "Status": "Enabled", "Expiration": {"Days": 1}}]));
    older["TransitionDefaultMinimumObjectSize"] = "varies_by_storage_class".into();
    shop.ok("PutBucketLifecycle", older).await;
    let shown = shop.ok("GetBucketLifecycle", json!({"Bucket": "logs"})).await;
    assert_eq!(shown["TransitionDefaultMinimumObjectSize"], "varies_by_storage_class");
    assert_eq!(shown["Rules"][0]["ID"].as_str().unwrap().len(), 48);
    assert_eq!(shown["Rules"][0]["Prefix"], "");

    shop.ok("DeleteBucketLifecycle", json!({"Bucket": "logs"})).await;
    shop.ok("DeleteBucketLifecycle", json!({"Bucket": "logs"})).await;
    let read_again = || shop.refused("GetBucketLifecycleConfiguration", json!({"Bucket": "logs"}));
    assert_eq!(read_again().await, "404 NoSuchLifecycleConfiguration");
    shop.ok("PutBucketLifecycleConfiguration", rules(put)).await;
    shop.ok("DeleteBucket", json!({"Bucket": "logs"})).await;
    shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
    assert_eq!(read_again().await, "404 NoSuchLifecycleConfiguration");
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table of refusals")]
async fn rules_that_cannot_be_are_refused_with_s3s_words() {
    let shop = Shop::with_bucket().await;
    let refused = |rules_put: Value| {
        let call = call("s3", "PutBucketLifecycleConfiguration", rules(rules_put));
        async { shop.send(call).await.expect_err("the rules are to be refused").to_string() }
    };
    let with = |members: Value| {
        let mut rule = json!({"ID": "r", "Filter": {"Prefix": "p/"}, "Status": "Enabled"});
        rule.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!([rule])
    };
    let expires = json!({"Days": 1});
    let malformed = "MalformedXML: The XML you provided was not well-formed or did not validate against our published schema";
    let to = |days: i64, class: &str| json!({"Days": days, "StorageClass": class});
    let older = |days: i64, class: &str| json!({"NoncurrentDays": days, "StorageClass": class});
    let many: Vec<Value> = (0..1001)
        .map(|at| json!({"ID": format!("{at}"), "Filter": {}, "Status": "Enabled", "Expiration": expires}))
        .collect();
    let midnight = 1_893_456_000;
    let table = [
        (json!([]), malformed),
        (
            many.into(),
            "InvalidRequest: The number of lifecycle rules must not exceed the allowed limit of 1000 rules.",
        ),
        (json!([{"ID": "r", "Status": "Enabled", "Expiration": expires}]), malformed),
        (with(json!({"Prefix": "", "Expiration": expires})), malformed),
        (with(json!({"Status": "enabled", "Expiration": expires})), malformed),
        (with(json!({})), "InvalidRequest: At least one action needs to be specified in a rule"),
        (
            with(json!({"ID": "x".repeat(256), "Expiration": expires})),
            "InvalidArgument: ID length should not exceed allowed limit of 255",
        ),
        (
            json!([with(json!({"Expiration": expires}))[0], with(json!({"Expiration": expires}))[0]]),
            "InvalidArgument: Rule ID must be unique. Found same ID for more than one rule",
        ),
        (
            json!([with(json!({"Expiration": expires}))[0], {"ID": "o", "Prefix": "", "Status": "Enabled", "Expiration": expires}]),
            "InvalidRequest: Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.",
        ),
        (
            json!([{"ID": "o", "Prefix": "", "Status": "Enabled", "Expiration": expires}, with(json!({"Expiration": expires}))[0]]),
            "InvalidRequest: Filter element can only be used in Lifecycle V2.",
        ),
        (with(json!({"Expiration": {}})), malformed),
        (with(json!({"Expiration": {"Days": 1, "Date": midnight}})), malformed),
        (with(json!({"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": true}})), malformed),
        (
            with(json!({"Expiration": {"Days": 0}})),
            "InvalidArgument: 'Days' for Expiration action must be a positive integer",
        ),
        (
            with(json!({"Expiration": {"Date": midnight + 1}})),
            "InvalidArgument: 'Date' must be at midnight GMT",
        ),
        (
            with(json!({"Expiration": {"Date": 1_893_456_000.5}})),
            "InvalidArgument: 'Date' must be at midnight GMT",
        ),
        (
            with(json!({"Filter": {"Prefix": "p", "ObjectSizeGreaterThan": 1}, "Expiration": expires})),
            malformed,
        ),
        (with(json!({"Filter": {"And": {"Prefix": "p"}}, "Expiration": expires})), malformed),
        (
            with(
                json!({"Filter": {"And": {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}}, "Expiration": expires}),
            ),
            "InvalidRequest: Duplicate Tag Keys are not allowed.",
        ),
        (
            with(json!({"Filter": {"ObjectSizeLessThan": 0}, "Expiration": expires})),
            "InvalidRequest: 'ObjectSizeLessThan' should be between 1 and 1099511627776000.",
        ),
        (
            with(
                json!({"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}, "Expiration": expires}),
            ),
            "InvalidRequest: 'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        ),
        (
            with(
                json!({"Filter": {"Tag": {"Key": "a", "Value": "1"}}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}),
            ),
            "InvalidRequest: AbortIncompleteMultipartUpload cannot be specified with Tags.",
        ),
        (
            with(
                json!({"Filter": {"ObjectSizeLessThan": 9}, "Expiration": {"ExpiredObjectDeleteMarker": false}}),
            ),
            "InvalidRequest: ExpiredObjectDeleteMarker cannot be specified with Object Size.",
        ),
        (
            with(json!({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}})),
            "InvalidArgument: 'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
        ),
        (with(json!({"NoncurrentVersionExpiration": {}})), malformed),
        (with(json!({"NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 1}})), malformed),
        (
            with(json!({"NoncurrentVersionExpiration": {"NoncurrentDays": 0}})),
            "InvalidArgument: 'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
        ),
        (
            json!([{"ID": "o", "Prefix": "", "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}}]),
            "InvalidRequest: NewerNoncurrentVersions element can only be used in Lifecycle V2.",
        ),
        (
            with(json!({"Transitions": [to(29, "ONEZONE_IA")]})),
            "InvalidArgument: 'Days' in Transition action must be greater than or equal to 30 for storageClass 'ONEZONE_IA'",
        ),
        (with(json!({"Transitions": [to(1, "STANDARD")]})), malformed),
        (with(json!({"Transitions": [{"StorageClass": "GLACIER"}]})), malformed),
        (
            with(json!({"Transitions": [to(1, "GLACIER"), to(2, "GLACIER")]})),
            "InvalidRequest: 'StorageClass' must be different for 'Transition' actions in same 'Rule' with filter '(prefix=p/)'",
        ),
        (
            with(
                json!({"Transitions": [to(1, "GLACIER"), {"Date": midnight, "StorageClass": "DEEP_ARCHIVE"}]}),
            ),
            "InvalidRequest: Found mixed 'Date' and 'Days' based Transition actions in lifecycle rule for filter '(prefix=p/)'",
        ),
        (
            with(json!({"Transitions": [to(1, "GLACIER")], "Expiration": {"Date": midnight}})),
            "InvalidRequest: Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for filter '(prefix=p/)'",
        ),
        (
            with(json!({"Transitions": [to(5, "GLACIER")], "Expiration": {"Days": 5}})),
            "InvalidArgument: 'Days' in the Expiration action for filter '(prefix=p/)' must be greater than 'Days' in the Transition action",
        ),
        (
            with(
                json!({"NoncurrentVersionTransitions": [older(5, "GLACIER")], "NoncurrentVersionExpiration": {"NoncurrentDays": 5}}),
            ),
            "InvalidArgument: 'NoncurrentDays' in the NoncurrentVersionExpiration action for filter '(prefix=p/)' must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition action",
        ),
    ];
    for (put, expected) in table {
        assert_eq!(refused(put.clone()).await, expected, "{put}");
    }
    let mut size = rules(with(json!({"Expiration": expires})));
    size["TransitionDefaultMinimumObjectSize"] = "tiny".into();
    let wrong = shop.send(call("s3", "PutBucketLifecycleConfiguration", size)).await.unwrap_err();
    assert_eq!(wrong.to_string(), "InvalidRequest: Invalid TransitionDefaultMinimumObjectSize found: tiny");
    assert_eq!(
        shop.refused("GetBucketLifecycleConfiguration", json!({"Bucket": "logs"})).await,
        "404 NoSuchLifecycleConfiguration",
        "nothing was kept"
    );
}

#[tokio::test]
async fn objects_expire_after_their_days_and_each_leaves_a_record() {
    let ruled = Ruled::new(false).await;
    for key in ["a/1", "a/2", "b/1"] {
        ruled.shop.put(key, "text").await;
    }
    ruled.rule(json!({"Filter": {"Prefix": "a/"}, "Expiration": {"Days": 2}})).await;
    ruled.days(1).await;
    assert_eq!(ruled.keys().await, ["a/1", "a/2", "b/1"]);
    ruled.shop.put("a/3", "younger").await;
    ruled.days(2).await;
    assert_eq!(ruled.keys().await, ["a/3", "b/1"]);
    assert_eq!(ruled.shop.blob_count(), 2, "the bytes are gone");
    let expected = ["DeleteObject a/1 by the rule", "DeleteObject a/2 by the rule"];
    assert_eq!(ruled.record_texts().await, expected);
    ruled.days(1).await;
    assert_eq!(ruled.keys().await, ["b/1"]);
    assert_eq!(ruled.records().await.len(), 3);
}

#[tokio::test]
async fn with_versions_a_marker_is_put_on_top_and_all_ends_with_the_marker_itself() {
    let ruled = Ruled::new(true).await;
    ruled.shop.put("k", "one").await;
    ruled.shop.put("k", "two").await;
    ruled
        .rule(json!({"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 2}}))
        .await;
    ruled.days(2).await;
    assert_eq!(ruled.keys().await, Vec::<String>::new());
    assert_eq!(ruled.versions().await, ["k STANDARD", "k STANDARD", "k marker"]);
    ruled.days(1).await;
    assert_eq!(
        ruled.versions().await,
        ["k STANDARD", "k marker"],
        "the older one went by its successor's age"
    );
    ruled.days(2).await;
    assert_eq!(ruled.versions().await, ["k marker"]);
    ruled.days(1).await;
    assert_eq!(ruled.versions().await, Vec::<String>::new());
    assert_eq!(ruled.shop.blob_count(), 0);
    assert_eq!(ruled.records().await.len(), 4);
}

#[tokio::test]
async fn some_newer_versions_are_kept_whatever_their_age() {
    let ruled = Ruled::new(true).await;
    for at in 0..5 {
        ruled.shop.put("k", &format!("{at}")).await;
    }
    ruled
        .rule(json!({"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}}))
        .await;
    ruled.days(10).await;
    assert_eq!(ruled.versions().await.len(), 3, "the current one and two more");
    assert_eq!(ruled.shop.text("k").await, "4");
}

#[tokio::test]
async fn a_version_that_is_held_stays_until_its_hold_ends() {
    let ruled = Ruled::new(true).await;
    let lock = json!({"Bucket": "logs", "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 10}}}});
    ruled.shop.ok("PutObjectLockConfiguration", lock).await;
    ruled.shop.put("k", "held").await;
    ruled.shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "k"})).await;
    ruled.rule(json!({"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})).await;
    ruled.days(9).await;
    assert_eq!(ruled.versions().await, ["k STANDARD", "k marker"]);
    assert!(ruled.records().await.is_empty());
    ruled.days(2).await;
    assert_eq!(ruled.versions().await, ["k marker"]);
}

#[tokio::test]
async fn objects_move_to_other_classes_and_are_read_all_the_same() {
    let ruled = Ruled::new(false).await;
    let large = "x".repeat(128 * 1024);
    ruled.shop.put("large", &large).await;
    ruled.shop.put("small", "x").await;
    ruled
        .rule(json!({"Transitions": [
            {"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"},
        ]}))
        .await;
    ruled.days(31).await;
    assert_eq!(ruled.versions().await, ["large STANDARD_IA", "small STANDARD"]);
    ruled.days(31).await;
    assert_eq!(ruled.versions().await, ["large GLACIER", "small STANDARD"]);
    let head = ruled.shop.ok("HeadObject", json!({"Bucket": "logs", "Key": "large"})).await;
    assert_eq!(head["StorageClass"], "GLACIER");
    let head = ruled.shop.ok("HeadObject", json!({"Bucket": "logs", "Key": "small"})).await;
    assert_eq!(head.get("StorageClass"), None);
    assert_eq!(ruled.shop.text("large").await, large);
    let moved = "TransitionObject large by the rule";
    assert_eq!(ruled.record_texts().await, [moved, moved]);
}

#[tokio::test]
async fn a_class_that_is_asked_for_is_kept_and_shown_and_a_copy_asks_for_itself() {
    let shop = Shop::with_bucket().await;
    let put = json!({"Bucket": "logs", "Key": "k", "StorageClass": "STANDARD_IA"});
    shop.put_with(put, "x").await.unwrap();
    let listed = shop.ok("ListObjectsV2", json!({"Bucket": "logs"})).await;
    assert_eq!(listed["Contents"][0]["StorageClass"], "STANDARD_IA");
    shop.ok("CopyObject", json!({"Bucket": "logs", "Key": "copy", "CopySource": "logs/k"})).await;
    let head = shop.ok("HeadObject", json!({"Bucket": "logs", "Key": "copy"})).await;
    assert_eq!(head.get("StorageClass"), None);
    let wrong = json!({"Bucket": "logs", "Key": "k", "StorageClass": "ICE"});
    assert_eq!(shop.put_with(wrong, "x").await.unwrap_err().code, "InvalidStorageClass");
}

#[tokio::test]
async fn uploads_that_nobody_completes_are_given_up() {
    let ruled = Ruled::new(false).await;
    ruled.rule(json!({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}})).await;
    let begun = ruled.shop.ok("CreateMultipartUpload", json!({"Bucket": "logs", "Key": "k"})).await;
    assert_eq!(begun["AbortRuleId"], "the rule");
    let now = ruled.shop.world.clock.now();
    let at = Timestamp::from_seconds(begun["AbortDate"].as_i64().unwrap());
    assert_eq!(at, now.floor(DAY).plus(DAY * 4));
    let parts = json!({"Bucket": "logs", "Key": "k", "UploadId": begun["UploadId"]});
    assert_eq!(ruled.shop.ok("ListParts", parts).await["AbortDate"], begun["AbortDate"]);
    let uploads = || async {
        let listed = ruled.shop.ok("ListMultipartUploads", json!({"Bucket": "logs"})).await;
        listed.get("Uploads").and_then(Value::as_array).map_or(0, Vec::len)
    };
    ruled.days(3).await;
    assert_eq!(uploads().await, 1);
    ruled.days(1).await;
    assert_eq!(uploads().await, 0);
    assert_eq!(ruled.record_texts().await, ["AbortMultipartUpload k by the rule"]);
}

#[tokio::test]
async fn replies_say_when_an_object_expires() {
    let ruled = Ruled::new(true).await;
    ruled.rule(json!({"Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}})).await;
    let put = json!({"Bucket": "logs", "Key": "k", "Tagging": "k=v"});
    let written = ruled.shop.put_with(put, "x").await.unwrap();
    // The clock shows 2026-11-21T17:24:26Z.
    let expected = r#"expiry-date="Mon, 23 Nov 2026 00:00:00 GMT", rule-id="the rule""#;
    assert_eq!(written["Expiration"], expected);
    let named = json!({"Bucket": "logs", "Key": "k"});
    assert_eq!(ruled.shop.ok("HeadObject", named.clone()).await["Expiration"], expected);
    let mut version = named.clone();
    version["VersionId"] = written["VersionId"].clone();
    assert_eq!(ruled.shop.ok("HeadObject", version).await.get("Expiration"), None);
    ruled.shop.ok("DeleteObjectTagging", named.clone()).await;
    assert_eq!(ruled.shop.ok("HeadObject", named).await.get("Expiration"), None);
}

#[tokio::test]
async fn many_objects_and_versions_over_many_pages_are_all_looked_at() {
    let ruled = Ruled::new(true).await;
    for at in 0..700 {
        ruled.shop.put(&format!("k{at:04}"), "").await;
    }
    for _ in 0..650 {
        ruled.shop.put("many", "").await;
    }
    ruled.rule(json!({"Filter": {"Prefix": "k"}, "Expiration": {"Days": 1}})).await;
    let both = json!([
        {"ID": "k", "Filter": {"Prefix": "k"}, "Status": "Enabled", "Expiration": {"Days": 1}},
        {"ID": "many", "Filter": {"Prefix": "many"}, "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 3}},
    ]);
    ruled.shop.ok("PutBucketLifecycleConfiguration", rules(both)).await;
    ruled.days(2).await;
    assert_eq!(ruled.keys().await, ["many"]);
    let versions = ruled.shop.ok("ListObjectVersions", json!({"Bucket": "logs", "Prefix": "many"})).await;
    assert_eq!(versions["Versions"].as_array().unwrap().len(), 4);
    assert_eq!(ruled.records().await.len(), 700 + 646);
}

#[tokio::test]
async fn a_restart_between_an_action_and_its_record_makes_the_record_once() {
    let ruled = Ruled::new(false).await;
    ruled.shop.put("a", "x").await;
    ruled.rule(json!({"Expiration": {"Days": 1}})).await;
    ruled.days(2).await;
    assert_eq!(ruled.records().await.len(), 1);
    // The same record is owed again, as after a crash behind the append.
    let read = ruled.log.read(LogPosition(0), 1, usize::MAX).await.unwrap();
    let json = String::from_utf8(read[0].1.payload.to_vec()).unwrap();
    let id = serde_json::from_str::<Value>(&json).unwrap()["eventID"].as_str().unwrap().to_owned();
    owe(&ruled, &id, &json).await;
    assert_eq!(
        ruled.stage.needed_from().await.unwrap(),
        LogPosition(0),
        "the log is kept until it is settled"
    );
    let restarted = stage(&ruled.shop, Arc::clone(&ruled.log));
    restarted.run_once().await.unwrap();
    assert_eq!(ruled.records().await.len(), 1);
    assert_eq!(restarted.needed_from().await.unwrap(), ruled.log.end());
    // One that is not there is appended.
    owe(&ruled, "another", &json.replace(&id, "another")).await;
    stage(&ruled.shop, Arc::clone(&ruled.log)).run_once().await.unwrap();
    assert_eq!(ruled.records().await.len(), 2);
}

/// Writes a row as the transaction of an action does.
async fn owe(ruled: &Ruled, id: &str, json: &str) {
    let row = cairn_store::catalog::Key::new().number(0).text(id);
    let value = json!({"v": 1, "d": {"event_id": id, "json": json}}).to_string();
    let work = ruled
        .shop
        .world
        .catalog
        .write(move |tx| tx.put("s3.lifecycle_record", row.bytes(), value.as_bytes()));
    work.await.unwrap();
}

#[tokio::test]
async fn rules_that_are_taken_away_or_disabled_do_nothing() {
    let ruled = Ruled::new(false).await;
    ruled.shop.put("a", "x").await;
    ruled.rule(json!({"Expiration": {"Days": 1}})).await;
    ruled.shop.ok("DeleteBucketLifecycle", json!({"Bucket": "logs"})).await;
    ruled.days(3).await;
    ruled.rule(json!({"Expiration": {"Days": 1}, "Status": "Disabled"})).await;
    ruled.run().await;
    assert_eq!(ruled.keys().await, ["a"]);
    // Enabled, it is executed at once: the object is old enough.
    ruled.rule(json!({"Expiration": {"Days": 1}})).await;
    ruled.run().await;
    assert_eq!(ruled.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_rules_do_is_told_to_whom_the_bucket_notifies() {
    let ruled = Ruled::new(true).await;
    let destinations = Arc::new(Destinations::default());
    let reopened = || reopen(&ruled.shop.world, ruled.shop.folder.path(), destinations.sinks());
    let events = json!(["s3:LifecycleExpiration:*", "s3:LifecycleTransition"]);
    let put = json!({"Bucket": "logs", "NotificationConfiguration": {
        "QueueConfigurations": [{"QueueArn": QUEUE, "Events": events}]}});
    let put = call("s3", "PutBucketNotificationConfiguration", put);
    reopened().handle(&ruled.shop.caller(), put).await.unwrap();
    destinations.taken(QUEUE);
    ruled.shop.put("large", &"x".repeat(128 * 1024)).await;
    ruled
        .rule(json!({
            "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}], "Expiration": {"Days": 2},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        }))
        .await;
    let events = reopened().event_stage(&Registry::new()).unwrap();
    for _ in 0..6 {
        ruled.days(1).await;
        events.run_once().await.unwrap();
    }
    let told = destinations.events(QUEUE);
    let names: Vec<&str> = told.iter().map(|event| event["eventName"].as_str().unwrap()).collect();
    let removed = "LifecycleExpiration:Delete";
    assert_eq!(names, ["LifecycleTransition", "LifecycleExpiration:DeleteMarkerCreated", removed, removed]);
    let class = &told[0]["lifecycleEventData"]["transitionEventData"]["destinationStorageClass"];
    assert_eq!((class.as_str(), told[0]["eventVersion"].as_str()), (Some("GLACIER"), Some("2.3")));
    assert!(told.iter().all(|event| event["userIdentity"]["principalId"] == "AWS:s3.amazonaws.com"));
}
