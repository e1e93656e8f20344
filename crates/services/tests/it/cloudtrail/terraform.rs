//! The sequences of calls that the Terraform provider makes for `aws_cloudtrail`.

use serde_json::{Value, json};

use super::{REGION, World, arn};

/// The provider's read: DescribeTrails by ARN, then what the trail says it has.
async fn read(world: &World) -> Value {
    let id = arn(REGION, "tf-trail");
    let described = world.call("DescribeTrails", json!({"trailNameList": [id]})).await.unwrap();
    let trail = described["trailList"][0].clone();
    let logging = world.call("GetTrailStatus", json!({"Name": id})).await.unwrap()["IsLogging"].clone();
    let tags = world.call("ListTags", json!({"ResourceIdList": [id]})).await.unwrap();
    let mut state =
        json!({"trail": trail, "logging": logging, "tags": tags["ResourceTagList"][0]["TagsList"]});
    if trail["HasCustomEventSelectors"] == true {
        state["selectors"] = world.call("GetEventSelectors", json!({"TrailName": id})).await.unwrap();
    }
    if trail["HasInsightSelectors"] == true {
        state["insights"] = world.call("GetInsightSelectors", json!({"TrailName": id})).await.unwrap();
    }
    state
}

#[tokio::test]
async fn apply_read_update_and_destroy_see_what_they_wrote() {
    let world = World::new();
    let id = arn(REGION, "tf-trail");
    let create = json!({"IncludeGlobalServiceEvents": true, "Name": "tf-trail", "S3BucketName": "logs",
        "S3KeyPrefix": "tf", "EnableLogFileValidation": true, "TagsList": [{"Key": "env", "Value": "test"}]});
    assert_eq!(world.call("CreateTrail", create).await.unwrap()["TrailARN"], id);
    world.call("StartLogging", json!({"Name": id})).await.unwrap();
    let basic = json!([{"ReadWriteType": "All", "IncludeManagementEvents": true,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::data/"]}]}]);
    world.call("PutEventSelectors", json!({"TrailName": id, "EventSelectors": basic})).await.unwrap();
    let insights = json!([{"InsightType": "ApiCallRateInsight"}]);
    world.call("PutInsightSelectors", json!({"TrailName": id, "InsightSelectors": insights})).await.unwrap();

    let state = read(&world).await;
    assert_eq!(state["logging"], true);
    assert_eq!(state["tags"], json!([{"Key": "env", "Value": "test"}]));
    assert_eq!(state["insights"]["InsightSelectors"], insights);
    assert_eq!(state["selectors"]["EventSelectors"][0]["DataResources"], basic[0]["DataResources"]);
    let trail = json!({"Name": "tf-trail", "S3BucketName": "logs", "S3KeyPrefix": "tf", "IncludeGlobalServiceEvents": true,
        "IsMultiRegionTrail": false, "HomeRegion": REGION, "TrailARN": id, "LogFileValidationEnabled": true,
        "HasCustomEventSelectors": true, "HasInsightSelectors": true, "IsOrganizationTrail": false});
    assert_eq!(state["trail"], trail);

    // From basic to advanced selectors: the default first, then the advanced ones.
    let default = json!([{"ReadWriteType": "All", "IncludeManagementEvents": true, "DataResources": []}]);
    world.call("PutEventSelectors", json!({"TrailName": id, "EventSelectors": default})).await.unwrap();
    let advanced =
        json!([{"Name": "all", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]);
    world
        .call("PutEventSelectors", json!({"TrailName": id, "AdvancedEventSelectors": advanced}))
        .await
        .unwrap();
    // No insights, no prefix, no topic, no log group, no key, no logging, other tags.
    world.call("PutInsightSelectors", json!({"TrailName": id, "InsightSelectors": []})).await.unwrap();
    let update = json!({"Name": id, "S3KeyPrefix": "", "SnsTopicName": "", "CloudWatchLogsLogGroupArn": "",
        "CloudWatchLogsRoleArn": "", "KmsKeyId": "", "IsMultiRegionTrail": true});
    world.call("UpdateTrail", update).await.unwrap();
    world.call("StopLogging", json!({"Name": id})).await.unwrap();
    world
        .call("RemoveTags", json!({"ResourceId": id, "TagsList": [{"Key": "env", "Value": "test"}]}))
        .await
        .unwrap();
    world
        .call("AddTags", json!({"ResourceId": id, "TagsList": [{"Key": "team", "Value": "sec"}]}))
        .await
        .unwrap();

    let state = read(&world).await;
    assert_eq!(
        (&state["logging"], &state["tags"]),
        (&json!(false), &json!([{"Key": "team", "Value": "sec"}]))
    );
    assert_eq!(state["selectors"]["AdvancedEventSelectors"], advanced);
    assert!(state.get("insights").is_none() && state["trail"].get("S3KeyPrefix").is_none());
    assert_eq!(state["trail"]["IsMultiRegionTrail"], true);
    assert_eq!(read(&world).await, state, "a second plan sees no difference");

    world.call("DeleteTrail", json!({"Name": id})).await.unwrap();
    let gone = world.call("DeleteTrail", json!({"Name": id})).await.unwrap_err();
    assert!(gone.starts_with("TrailNotFoundException: "), "{gone}");
    let described = world.call("DescribeTrails", json!({"trailNameList": [id]})).await.unwrap();
    assert_eq!(described, json!({"trailList": []}));
}
