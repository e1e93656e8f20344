//! DescribeTrails and ListTrails from several regions and accounts; changes outside the home region.

use serde_json::{Value, json};

use super::{ACCOUNT, World, arn};

/// Two single-region trails and one multi-region trail each in two regions.
async fn world() -> World {
    let world = World::new();
    for (region, name, multi) in [
        ("eu-west-1", "eu-all", true),
        ("eu-west-1", "same", false),
        ("us-east-1", "us-all", true),
        ("us-east-1", "same", false),
    ] {
        let create = json!({"Name": name, "S3BucketName": "logs", "IsMultiRegionTrail": multi});
        world.call_in(region, "CreateTrail", create).await.unwrap();
    }
    world
}

fn shown(answer: &Value) -> Vec<String> {
    let trails = answer["trailList"].as_array().unwrap();
    trails
        .iter()
        .map(|trail| format!("{} {}", trail["HomeRegion"].as_str().unwrap(), trail["Name"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn described_trails_depend_on_the_region_the_names_and_the_shadows() {
    let world = world().await;
    let eu_same = arn("eu-west-1", "same");
    let foreign = "arn:aws:cloudtrail:us-east-1:999999999999:trail/same";
    let table = [
        ("us-east-1", json!({}), vec!["eu-west-1 eu-all", "us-east-1 same", "us-east-1 us-all"]),
        (
            "us-east-1",
            json!({"includeShadowTrails": true}),
            vec!["eu-west-1 eu-all", "us-east-1 same", "us-east-1 us-all"],
        ),
        (
            "us-east-1",
            json!({"includeShadowTrails": null}),
            vec!["eu-west-1 eu-all", "us-east-1 same", "us-east-1 us-all"],
        ),
        ("us-east-1", json!({"includeShadowTrails": false}), vec!["us-east-1 same", "us-east-1 us-all"]),
        ("ap-south-1", json!({"trailNameList": []}), vec!["eu-west-1 eu-all", "us-east-1 us-all"]),
        ("ap-south-1", json!({"includeShadowTrails": false}), vec![]),
        ("us-east-1", json!({"trailNameList": ["same"]}), vec!["us-east-1 same"]),
        // A short name finds no shadow, an ARN finds any trail, unknown ones are skipped, each shows once.
        ("us-east-1", json!({"trailNameList": ["eu-all", "missing"]}), vec![]),
        (
            "us-east-1",
            json!({"trailNameList": [eu_same, "us-all", eu_same, foreign]}),
            vec!["eu-west-1 same", "us-east-1 us-all"],
        ),
    ];
    for (region, params, expected) in table {
        let answer = world.call_in(region, "DescribeTrails", params.clone()).await.unwrap();
        assert_eq!(shown(&answer), expected, "{params} from {region}");
    }
    let bad = world.call("DescribeTrails", json!({"trailNameList": ["a"]})).await.unwrap_err();
    assert!(bad.starts_with("InvalidTrailNameException: "), "{bad}");
    let bad =
        world.call("DescribeTrails", json!({"trailNameList": ["arn:aws:iam::1:user"]})).await.unwrap_err();
    assert!(bad.starts_with("CloudTrailARNInvalidException: "), "{bad}");
}

#[tokio::test]
async fn shadows_are_read_by_arn_and_changed_at_home_only() {
    let world = world().await;
    let eu_all = arn("eu-west-1", "eu-all");
    for operation in ["GetTrail", "GetTrailStatus"] {
        world.call(operation, json!({"Name": eu_all})).await.unwrap();
        let by_name = world.call(operation, json!({"Name": "eu-all"})).await.unwrap_err();
        assert!(by_name.starts_with("TrailNotFoundException: "), "{by_name}");
    }
    world.call("GetEventSelectors", json!({"TrailName": eu_all})).await.unwrap();
    let changes = [
        ("UpdateTrail", json!({"Name": eu_all, "S3KeyPrefix": "p"})),
        ("DeleteTrail", json!({"Name": eu_all})),
        ("StartLogging", json!({"Name": eu_all})),
        ("StopLogging", json!({"Name": eu_all})),
        ("PutEventSelectors", json!({"TrailName": eu_all, "EventSelectors": [{}]})),
        ("PutInsightSelectors", json!({"TrailName": eu_all, "InsightSelectors": []})),
        ("AddTags", json!({"ResourceId": eu_all, "TagsList": [{"Key": "k"}]})),
    ];
    for (operation, params) in changes {
        let refused = world.call(operation, params).await.unwrap_err();
        assert!(refused.starts_with("InvalidHomeRegionException: "), "{operation}: {refused}");
    }
}

#[tokio::test]
async fn list_trails_shows_all_trails_of_the_account_in_pages() {
    let world = world().await;
    let answer = world.call_in("ap-south-1", "ListTrails", json!({})).await.unwrap();
    let names: Vec<_> =
        answer["Trails"].as_array().unwrap().iter().map(|trail| trail["TrailARN"].clone()).collect();
    let expected = [
        arn("eu-west-1", "eu-all"),
        arn("eu-west-1", "same"),
        arn("us-east-1", "same"),
        arn("us-east-1", "us-all"),
    ];
    assert_eq!(names, expected);
    assert_eq!(
        answer["Trails"][0],
        json!({"TrailARN": expected[0], "Name": "eu-all", "HomeRegion": "eu-west-1"})
    );
    assert!(answer.get("NextToken").is_none());
    let other = world.caller("999999999999", "us-east-1");
    assert_eq!(world.call_as(&other, "ListTrails", json!({})).await.unwrap(), json!({"Trails": []}));
    let refused = world.call("ListTrails", json!({"NextToken": "nonsense"})).await.unwrap_err();
    assert!(refused.starts_with("InvalidNextTokenException: "), "{refused}");
}

#[tokio::test]
async fn list_trails_goes_on_where_the_page_before_ended() {
    let world = World::new();
    for number in 0..103 {
        let create = json!({"Name": format!("trail{number}"), "S3BucketName": "logs"});
        world.call_in(&format!("region-{number:03}"), "CreateTrail", create).await.unwrap();
    }
    let first = world.call("ListTrails", json!({})).await.unwrap();
    assert_eq!(first["Trails"].as_array().unwrap().len(), 100);
    let second = world.call("ListTrails", json!({"NextToken": first["NextToken"]})).await.unwrap();
    let names: Vec<_> =
        second["Trails"].as_array().unwrap().iter().map(|trail| trail["Name"].clone()).collect();
    assert_eq!(names, ["trail100", "trail101", "trail102"]);
    assert!(second.get("NextToken").is_none());
    let other = world.caller("999999999999", "us-east-1");
    let refused =
        world.call_as(&other, "ListTrails", json!({"NextToken": first["NextToken"]})).await.unwrap_err();
    assert!(refused.starts_with("InvalidNextTokenException: "), "{refused} for {ACCOUNT}'s token");
}
