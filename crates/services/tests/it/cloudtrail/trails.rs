//! CreateTrail, UpdateTrail, DeleteTrail, GetTrail: shapes, the bucket's preflight, limits.

use std::sync::atomic::Ordering;

use cairn_services::service::{Access, Service};
use serde_json::{Value, json};

use super::{ACCOUNT, REGION, World, arn, made};

#[tokio::test]
async fn a_created_trail_answers_and_shows_the_members_of_the_real_service_in_order() {
    let world = World::new();
    let created = world.call("CreateTrail", json!({"Name": "audit", "S3BucketName": "logs"})).await.unwrap();
    assert_eq!(
        created.to_string(),
        r#"{"Name":"audit","S3BucketName":"logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":false,"TrailARN":"arn:aws:cloudtrail:us-east-1:111122223333:trail/audit","LogFileValidationEnabled":false,"IsOrganizationTrail":false}"#
    );
    let shown = world.call("GetTrail", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(
        shown.to_string(),
        r#"{"Trail":{"Name":"audit","S3BucketName":"logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":false,"HomeRegion":"us-east-1","TrailARN":"arn:aws:cloudtrail:us-east-1:111122223333:trail/audit","LogFileValidationEnabled":false,"HasCustomEventSelectors":false,"HasInsightSelectors":false,"IsOrganizationTrail":false}}"#
    );
    let full = json!({"Name": "full", "S3BucketName": "logs", "S3KeyPrefix": "p/q", "IsMultiRegionTrail": true,
        "EnableLogFileValidation": true, "TagsList": [{"Key": "team", "Value": "sec"}]});
    let created = world.call("CreateTrail", full).await.unwrap();
    assert_eq!(created["S3KeyPrefix"], "p/q");
    assert_eq!(created["IsMultiRegionTrail"], true);
    assert_eq!(created["LogFileValidationEnabled"], true);
    let tags = world.call("ListTags", json!({"ResourceIdList": [arn(REGION, "full")]})).await.unwrap();
    assert_eq!(tags["ResourceTagList"][0]["TagsList"], json!([{"Key": "team", "Value": "sec"}]));
}

#[tokio::test]
async fn markers_are_put_in_the_trails_name_before_it_exists() {
    let world = World::new();
    let create =
        json!({"Name": "audit", "S3BucketName": "logs", "S3KeyPrefix": "p", "EnableLogFileValidation": true});
    world.call("CreateTrail", create).await.unwrap();
    let put =
        |folder: &str| ("logs".to_owned(), format!("p/AWSLogs/{ACCOUNT}/{folder}/"), arn(REGION, "audit"));
    assert_eq!(*world.bucket.puts.lock().unwrap(), [put("CloudTrail"), put("CloudTrail-Digest")]);
}

#[tokio::test]
async fn a_bucket_that_denies_digests_refuses_validation_and_leaves_the_trail_as_it_was() {
    let world = World::new();
    let digests = format!("AWSLogs/{ACCOUNT}/CloudTrail-Digest/");
    world.bucket.denied.lock().unwrap().entry("logs".into()).or_default().insert(digests);
    let refused =
        "InsufficientS3BucketPolicyException: Incorrect S3 bucket policy is detected for bucket: logs";
    let with = json!({"Name": "audit", "S3BucketName": "logs", "EnableLogFileValidation": true});
    assert_eq!(world.call("CreateTrail", with).await.unwrap_err(), refused);
    // The marker that was put stays; the trail is not there.
    assert_eq!(world.bucket.keys(), [format!("logs/AWSLogs/{ACCOUNT}/CloudTrail/")]);
    assert!(world.call("GetTrail", json!({"Name": "audit"})).await.is_err());

    world.call("CreateTrail", json!({"Name": "audit", "S3BucketName": "logs"})).await.unwrap();
    let update = json!({"Name": "audit", "EnableLogFileValidation": true, "S3KeyPrefix": "other"});
    world.bucket.denied.lock().unwrap().get_mut("logs").unwrap().insert("other/".into());
    let before = world.call("GetTrail", json!({"Name": "audit"})).await.unwrap();
    assert_eq!(world.call("UpdateTrail", update).await.unwrap_err(), refused);
    assert_eq!(world.call("GetTrail", json!({"Name": "audit"})).await.unwrap(), before);

    world.bucket.denied.lock().unwrap().clear();
    let enable = json!({"Name": "audit", "EnableLogFileValidation": true});
    assert_eq!(world.call("UpdateTrail", enable).await.unwrap()["LogFileValidationEnabled"], true);
}

#[tokio::test]
async fn an_update_changes_what_was_sent_and_empty_texts_clear() {
    let world = World::with_trail().await;
    let update = |mut changes: Value| {
        changes["Name"] = json!(arn(REGION, "audit"));
        world.call("UpdateTrail", changes)
    };
    let with_prefix = update(json!({"S3KeyPrefix": "p", "IsMultiRegionTrail": true})).await.unwrap();
    assert_eq!(with_prefix["S3KeyPrefix"], "p");
    let cleared = json!({"S3KeyPrefix": "", "SnsTopicName": "", "KmsKeyId": "", "CloudWatchLogsLogGroupArn": "", "CloudWatchLogsRoleArn": ""});
    let without = update(cleared).await.unwrap();
    assert!(without.get("S3KeyPrefix").is_none() && without.get("SnsTopicARN").is_none());
    assert_eq!(without["IsMultiRegionTrail"], true);
    assert_eq!(
        update(json!({"IncludeGlobalServiceEvents": false})).await.unwrap_err(),
        "InvalidParameterCombinationException: Multi-Region trail must include global service events."
    );
}

#[tokio::test]
async fn a_region_holds_five_trails_with_shadows_counted() {
    let world = World::new();
    for (name, region, multi) in [
        ("one", "us-east-1", true),
        ("two", "us-east-1", false),
        ("three", "eu-west-1", true),
        ("four", "us-east-1", false),
        ("five", "us-east-1", false),
    ] {
        let create = json!({"Name": name, "S3BucketName": "logs", "IsMultiRegionTrail": multi});
        world.call_in(region, "CreateTrail", create).await.unwrap();
    }
    let create =
        |name: &str, multi: bool| json!({"Name": name, "S3BucketName": "logs", "IsMultiRegionTrail": multi});
    let full =
        format!("MaximumNumberOfTrailsExceededException: User: {ACCOUNT} already has 5 trails in us-east-1.");
    assert_eq!(world.call("CreateTrail", create("six", false)).await.unwrap_err(), full);
    // A multi-region trail made elsewhere would cast its shadow here too, and so would one that becomes multi-region.
    assert_eq!(world.call_in("eu-west-1", "CreateTrail", create("six", true)).await.unwrap_err(), full);
    world.call_in("eu-west-1", "CreateTrail", create("six", false)).await.unwrap();
    let widen = json!({"Name": "six", "IsMultiRegionTrail": true});
    assert_eq!(world.call_in("eu-west-1", "UpdateTrail", widen).await.unwrap_err(), full);
    // The name comes before the limit, and the limit before the bucket.
    let taken = world.call("CreateTrail", create("two", false)).await.unwrap_err();
    assert_eq!(
        taken,
        format!("TrailAlreadyExistsException: Trail two already exists for customer: {ACCOUNT}")
    );
    let nowhere = json!({"Name": "seven", "S3BucketName": "nowhere"});
    assert_eq!(world.call("CreateTrail", nowhere).await.unwrap_err(), full);
    world.call("DeleteTrail", json!({"Name": "two"})).await.unwrap();
    world.call("CreateTrail", create("seven", false)).await.unwrap();
}

#[tokio::test]
async fn trails_made_at_the_same_time_keep_to_the_limit_and_to_one_of_a_name() {
    let world = World::new();
    let create = |name: String| world.call("CreateTrail", json!({"Name": name, "S3BucketName": "logs"}));
    let (same, others) = futures::join!(
        futures::future::join_all((0..4).map(|_| create("same".into()))),
        futures::future::join_all((0..9).map(|n| create(format!("trail{n}")))),
    );
    assert!(same.iter().filter(|made| made.is_ok()).count() <= 1);
    assert_eq!(same.iter().chain(&others).filter(|made| made.is_ok()).count(), 5);
}

#[tokio::test]
async fn a_trail_made_anew_under_an_old_name_is_another_trail() {
    let world = World::with_trail().await;
    let incarnation = || async {
        let trail = cairn_trail::config::trail_key(&arn(REGION, "audit").parse().unwrap());
        let found = world.catalog.read(move |tx| cairn_trail::config::TRAILS.get(tx, trail.bytes()));
        found.await.unwrap().map(|trail| trail.incarnation)
    };
    assert_eq!(incarnation().await, Some(1));
    assert_eq!(world.call("DeleteTrail", json!({"Name": "audit"})).await.unwrap(), json!({}));
    assert_eq!(incarnation().await, None);
    world.call("CreateTrail", json!({"Name": "audit", "S3BucketName": "logs"})).await.unwrap();
    assert_eq!(incarnation().await, Some(2));
    assert_eq!(world.changes.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_call_names_its_trail_to_authorisation_and_shows_no_resources() {
    let world = World::new();
    let caller = world.caller(ACCOUNT, REGION);
    let audit = arn(REGION, "audit");
    let table = [
        ("CreateTrail", json!({"Name": "audit", "S3BucketName": "logs"}), audit.as_str()),
        ("StartLogging", json!({"Name": audit}), audit.as_str()),
        ("PutEventSelectors", json!({"TrailName": "audit"}), audit.as_str()),
        ("AddTags", json!({"ResourceId": audit}), audit.as_str()),
        ("ListTags", json!({"ResourceIdList": [audit]}), audit.as_str()),
        ("DescribeTrails", json!({}), "*"),
        ("LookupEvents", json!({}), "*"),
    ];
    for (operation, params, expected) in table {
        let target = world.service().target(&caller, &made(operation, params)).await.unwrap();
        assert_eq!(
            (target.action, target.resource_arn.as_str()),
            (format!("cloudtrail:{operation}"), expected)
        );
        assert!(target.resources.is_empty());
    }
}

#[tokio::test]
async fn reads_and_writes_are_told_apart_and_empty_replies_are_recorded_as_null() {
    let world = World::new();
    for operation in world.service().operations() {
        let read =
            ["Get", "Describe", "List", "Lookup"].iter().any(|begin| operation.name.starts_with(begin));
        assert_eq!(operation.access == Access::Read, read, "{}", operation.name);
        assert_eq!(world.service().recorded_reply(operation, &json!({})), Some(Value::Null));
        assert_eq!(world.service().recorded_reply(operation, &json!({"Name": "n"})), None);
    }
    let lake = world.call("CreateEventDataStore", json!({"Name": "store"})).await.unwrap_err();
    assert_eq!(lake, "UnsupportedOperationException: The requested operation is not supported.");
}
