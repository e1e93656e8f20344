//! Event selectors and insight selectors: what is answered, kept and shown.

use serde_json::{Value, json};

use super::{REGION, World, arn};

fn field(name: &str, value: &str) -> Value {
    json!({"Field": name, "Equals": [value]})
}

#[tokio::test]
async fn a_new_trail_has_the_default_selector() {
    let world = World::with_trail().await;
    let shown = world.call("GetEventSelectors", json!({"TrailName": "audit"})).await.unwrap();
    assert_eq!(
        shown.to_string(),
        r#"{"TrailARN":"arn:aws:cloudtrail:us-east-1:111122223333:trail/audit","EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[],"ExcludeManagementEventSources":[]}]}"#
    );
}

#[tokio::test]
async fn the_two_kinds_of_selectors_replace_each_other() {
    let world = World::with_trail().await;
    let custom = || async {
        world.call("GetTrail", json!({"Name": "audit"})).await.unwrap()["Trail"]["HasCustomEventSelectors"]
            .clone()
    };
    let basic = json!([{"ReadWriteType": "WriteOnly", "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::b-1/"]}]}]);
    let put = world
        .call("PutEventSelectors", json!({"TrailName": "audit", "EventSelectors": basic}))
        .await
        .unwrap();
    let full = json!([{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": true,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::b-1/"]}], "ExcludeManagementEventSources": []}]);
    assert_eq!(put, json!({"TrailARN": arn(REGION, "audit"), "EventSelectors": full}));
    assert_eq!(custom().await, true);

    // As sent in the answer to Put, sorted by field in the answer to Get.
    let sent = json!([{"Name": "objects", "FieldSelectors": [field("eventCategory", "Data"),
        field("resources.type", "AWS::S3::Object"), {"Field": "resources.ARN", "StartsWith": ["arn:aws:s3:::b-1/"]}]}]);
    let put = json!({"TrailName": "audit", "AdvancedEventSelectors": sent});
    let put = world.call("PutEventSelectors", put).await.unwrap();
    assert_eq!(
        put.to_string(),
        json!({"TrailARN": arn(REGION, "audit"), "AdvancedEventSelectors": sent}).to_string()
    );
    let sorted = json!([{"Name": "objects", "FieldSelectors": [field("eventCategory", "Data"),
        {"Field": "resources.ARN", "StartsWith": ["arn:aws:s3:::b-1/"]}, field("resources.type", "AWS::S3::Object")]}]);
    let get = world.call("GetEventSelectors", json!({"TrailName": "audit"})).await.unwrap();
    assert_eq!(
        get.to_string(),
        json!({"TrailARN": arn(REGION, "audit"), "AdvancedEventSelectors": sorted}).to_string()
    );

    // The default put back is no custom selector.
    let put = json!({"TrailName": "audit", "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true}]});
    world.call("PutEventSelectors", put).await.unwrap();
    assert_eq!(custom().await, false);
}

#[tokio::test]
async fn a_refused_selector_leaves_the_trails_selection_as_it_was() {
    let world = World::with_trail().await;
    let get = || world.call("GetEventSelectors", json!({"TrailName": "audit"}));
    let before = get().await.unwrap();
    let bad = json!([{"FieldSelectors": [field("eventCategory", "Data"), field("resources.type", "AWS::IAM::Role")]}]);
    let refused =
        world.call("PutEventSelectors", json!({"TrailName": "audit", "AdvancedEventSelectors": bad})).await;
    assert_eq!(
        refused.unwrap_err(),
        "InvalidEventSelectorsException: The resources.type field value is not valid."
    );
    assert_eq!(get().await.unwrap(), before);
}

#[tokio::test]
async fn insight_selectors_are_kept_and_an_empty_list_removes_them() {
    let world = World::with_trail().await;
    let selectors = json!([{"InsightType": "ApiErrorRateInsight"},
        {"InsightType": "ApiCallRateInsight", "EventCategories": ["Management"]}]);
    let put = |selectors: &Value| {
        world.call("PutInsightSelectors", json!({"TrailName": "audit", "InsightSelectors": selectors}))
    };
    let expected = json!({"TrailARN": arn(REGION, "audit"), "InsightSelectors": selectors});
    assert_eq!(put(&selectors).await.unwrap(), expected);
    assert_eq!(world.call("GetInsightSelectors", json!({"TrailName": "audit"})).await.unwrap(), expected);
    let has = || async {
        world.call("GetTrail", json!({"Name": "audit"})).await.unwrap()["Trail"]["HasInsightSelectors"]
            .clone()
    };
    assert_eq!(has().await, true);
    assert!(world.bucket.keys().iter().any(|key| key.ends_with("/CloudTrail-Insight/")));
    assert_eq!(
        put(&json!([])).await.unwrap(),
        json!({"TrailARN": arn(REGION, "audit"), "InsightSelectors": []})
    );
    assert_eq!(has().await, false);
}

#[tokio::test]
async fn insights_need_the_events_they_watch() {
    let world = World::with_trail().await;
    let put = json!({"TrailName": "audit", "EventSelectors": [{"ReadWriteType": "ReadOnly"}]});
    world.call("PutEventSelectors", put).await.unwrap();
    let insight = |kind: &str| json!({"TrailName": "audit", "InsightSelectors": [{"InsightType": kind}]});
    assert_eq!(
        world.call("PutInsightSelectors", insight("ApiCallRateInsight")).await.unwrap_err(),
        "InvalidInsightSelectorsException: The trail does not log the management events that ApiCallRateInsight needs."
    );
    world.call("PutInsightSelectors", insight("ApiErrorRateInsight")).await.unwrap();
}
