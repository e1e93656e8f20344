//! AddTags, RemoveTags, ListTags.

use serde_json::{Value, json};

use super::{REGION, World, arn};

async fn listed(world: &World) -> Value {
    let answer = world.call("ListTags", json!({"ResourceIdList": [arn(REGION, "audit")]})).await.unwrap();
    assert_eq!(answer["ResourceTagList"][0]["ResourceId"], arn(REGION, "audit"));
    answer["ResourceTagList"][0]["TagsList"].clone()
}

#[tokio::test]
async fn tags_are_added_overwritten_and_removed() {
    let world = World::with_trail().await;
    assert_eq!(listed(&world).await, json!([]));
    let change = |tags: Value| json!({"ResourceId": arn(REGION, "audit"), "TagsList": tags});
    let add = change(json!([{"Key": "team", "Value": "sec"}, {"Key": "bare"}]));
    assert_eq!(world.call("AddTags", add).await.unwrap(), json!({}));
    world.call("AddTags", change(json!([{"Key": "team", "Value": "ops"}]))).await.unwrap();
    assert_eq!(listed(&world).await, json!([{"Key": "team", "Value": "ops"}, {"Key": "bare"}]));
    let remove = change(json!([{"Key": "bare"}, {"Key": "never-there"}]));
    assert_eq!(world.call("RemoveTags", remove).await.unwrap(), json!({}));
    assert_eq!(listed(&world).await, json!([{"Key": "team", "Value": "ops"}]));
}

#[tokio::test]
async fn tags_are_refused_over_their_limits() {
    let world = World::with_trail().await;
    let many = |from: usize, to: usize| {
        (from..to).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect::<Vec<_>>()
    };
    let add = |tags: Vec<Value>| json!({"ResourceId": arn(REGION, "audit"), "TagsList": tags});
    world.call("AddTags", add(many(0, 50))).await.unwrap();
    let limit = "TagsLimitExceededException: The number of tags per resource has exceeded the limit of 50.";
    assert_eq!(world.call("AddTags", add(many(50, 51))).await.unwrap_err(), limit);
    assert_eq!(listed(&world).await.as_array().unwrap().len(), 50);
    let table = [
        json!([{"Key": ""}]),
        json!([{"Key": "k".repeat(129)}]),
        json!([{"Key": "k", "Value": "v".repeat(257)}]),
        json!([{"Key": "k"}, {"Key": "k"}]),
        json!([{"Key": "aws:mine"}]),
    ];
    for tags in table {
        let create = json!({"Name": "other", "S3BucketName": "logs", "TagsList": tags});
        let refused = world.call("CreateTrail", create).await.unwrap_err();
        assert!(refused.starts_with("InvalidTagParameterException: "), "{tags}: {refused}");
    }
    let create = json!({"Name": "other", "S3BucketName": "logs", "TagsList": many(0, 51)});
    assert_eq!(world.call("CreateTrail", create).await.unwrap_err(), limit);
}

#[tokio::test]
async fn what_has_no_tags_is_told_apart() {
    let world = World::with_trail().await;
    let store =
        "arn:aws:cloudtrail:us-east-1:111122223333:eventdatastore/12345678-1234-1234-1234-123456789012";
    let table = [
        ("audit".to_owned(), "CloudTrailARNInvalidException"),
        ("arn:aws:s3:::bucket".to_owned(), "CloudTrailARNInvalidException"),
        (arn(REGION, "missing"), "ResourceNotFoundException"),
        ("arn:aws:cloudtrail:us-east-1:999999999999:trail/audit".to_owned(), "ResourceNotFoundException"),
        (store.to_owned(), "EventDataStoreNotFoundException"),
        (store.replace("eventdatastore", "channel"), "ResourceNotFoundException"),
        (store.replace("eventdatastore", "nonsense"), "ResourceTypeNotSupportedException"),
    ];
    for (id, code) in table {
        for (operation, params) in [
            ("ListTags", json!({"ResourceIdList": [id]})),
            ("AddTags", json!({"ResourceId": id, "TagsList": [{"Key": "k"}]})),
            ("RemoveTags", json!({"ResourceId": id, "TagsList": [{"Key": "k"}]})),
        ] {
            let refused = world.call(operation, params).await.unwrap_err();
            assert!(refused.starts_with(&format!("{code}: ")), "{operation} {id}: {refused}");
        }
    }
}
