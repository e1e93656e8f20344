//! Every refusal of the control plane with its code and text.

use serde_json::{Value, json};

use super::World;

/// Calls each operation with its params and compares what it ends in.
async fn check(world: &World, table: Vec<(&str, Value, &str)>) {
    for (operation, params, expected) in table {
        let found = world.call(operation, params.clone()).await;
        assert_eq!(found, Err(expected.to_owned()), "{operation} {params}");
    }
}

#[tokio::test]
async fn trail_names_are_refused_with_the_texts_of_the_real_service() {
    let world = World::with_trail().await;
    let create = |name: &str, bucket: &str| json!({"Name": name, "S3BucketName": bucket});
    check(
        &world,
        vec![
            (
                "CreateTrail",
                create("ab", "logs"),
                "InvalidTrailNameException: Trail name too short. Minimum allowed length: 3 characters. Specified name length: 2 characters.",
            ),
            ("CreateTrail", create("-abc", "B"), "InvalidTrailNameException: Trail name must starts with a letter or number."),
            ("CreateTrail", create("abc-", "logs"), "InvalidTrailNameException: Trail name must ends with a letter or number."),
            (
                "StartLogging",
                json!({"Name": "a b c"}),
                "InvalidTrailNameException: Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_).",
            ),
            (
                "CreateTrail",
                create("audit", "nowhere"),
                "TrailAlreadyExistsException: Trail audit already exists for customer: 111122223333",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn buckets_prefixes_and_combinations_are_refused_with_the_texts_of_the_real_service() {
    let world = World::with_trail().await;
    let create = |name: &str, bucket: &str| json!({"Name": name, "S3BucketName": bucket});
    let long = "p".repeat(201);
    check(
        &world,
        vec![
            ("CreateTrail", create("other", "nowhere"), "S3BucketDoesNotExistException: S3 bucket nowhere does not exist!"),
            (
                "CreateTrail",
                create("other", "closed"),
                "InsufficientS3BucketPolicyException: Incorrect S3 bucket policy is detected for bucket: closed",
            ),
            (
                "CreateTrail",
                create("other", "Logs"),
                "InvalidS3BucketNameException: Bucket name can only contain lowercase letters, numbers, periods (.), and hyphens (-).",
            ),
            (
                "UpdateTrail",
                json!({"Name": "audit", "S3BucketName": ""}),
                "InvalidS3BucketNameException: Bucket name too short. Minimum allowed length: 3 characters. Specified name length: 0 characters.",
            ),
            (
                "UpdateTrail",
                json!({"Name": "audit", "S3KeyPrefix": long}),
                "InvalidS3PrefixException: S3 prefix too long. Maximum allowed length: 200 characters. Specified prefix length: 201 characters.",
            ),
            (
                "CreateTrail",
                json!({"Name": "other", "S3BucketName": "logs", "IsMultiRegionTrail": true, "IncludeGlobalServiceEvents": false}),
                "InvalidParameterCombinationException: Multi-Region trail must include global service events.",
            ),
            (
                "CreateTrail",
                json!({"Name": "other", "S3BucketName": "logs", "IsOrganizationTrail": true}),
                "OrganizationsNotInUseException: Your account is not a member of an organization.",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn unknown_trails_are_named_by_arn_and_by_short_name_in_get_trail() {
    let world = World::new();
    let missing = "arn:aws:cloudtrail:us-east-1:111122223333:trail/missing";
    let unknown = format!("TrailNotFoundException: Unknown trail: {missing} for the user: 111122223333");
    for operation in ["DeleteTrail", "StartLogging", "StopLogging", "GetTrailStatus", "UpdateTrail"] {
        for name in ["missing", missing] {
            assert_eq!(
                world.call(operation, json!({"Name": name})).await,
                Err(unknown.clone()),
                "{operation}"
            );
        }
    }
    for operation in ["GetEventSelectors", "GetInsightSelectors"] {
        assert_eq!(
            world.call(operation, json!({"TrailName": "missing"})).await,
            Err(unknown.clone()),
            "{operation}"
        );
    }
    let put = json!({"TrailName": "missing", "EventSelectors": [{}]});
    assert_eq!(world.call("PutEventSelectors", put).await, Err(unknown.clone()));
    for name in ["missing", missing] {
        assert_eq!(
            world.call("GetTrail", json!({"Name": name})).await,
            Err("TrailNotFoundException: Unknown trail: missing for the user: 111122223333".to_owned())
        );
    }
    let foreign = "arn:aws:cloudtrail:us-east-1:999999999999:trail/audit";
    assert_eq!(
        world.call("GetTrailStatus", json!({"Name": foreign})).await,
        Err(format!("TrailNotFoundException: Unknown trail: {foreign} for the user: 111122223333"))
    );
    let malformed = world.call("GetTrailStatus", json!({"Name": "arn:aws:s3:::bucket"})).await.unwrap_err();
    assert!(malformed.starts_with("CloudTrailARNInvalidException: "), "{malformed}");
}

#[tokio::test]
async fn topics_and_keys_are_refused_in_the_order_of_the_real_service() {
    let world = World::with_trail().await;
    let update = |member: &str, value: &str| json!({"Name": "audit", member: value});
    let key = "arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012";
    let elsewhere = key.replace("us-east-1", "eu-west-1");
    let unusable = format!(
        "InsufficientEncryptionPolicyException: Insufficient permissions to access S3 bucket logs or KMS key {key}."
    );
    let not_found = format!("KmsKeyNotFoundException: KMS key not found: {elsewhere}");
    let topic =
        "InsufficientSnsTopicPolicyException: SNS Topic does not exist or the topic policy is incorrect!";
    check(
        &world,
        vec![
            ("UpdateTrail", update("SnsTopicName", "topic"), topic),
            ("UpdateTrail", update("SnsTopicName", "arn:aws:sns:us-east-1:111122223333:topic"), topic),
            (
                "UpdateTrail",
                update("SnsTopicName", "topic.fifo"),
                "InvalidSnsTopicNameException: The SNS topic name or ARN is not valid: topic.fifo",
            ),
            // A malformed topic is refused before the bucket is tried, a missing one after it.
            (
                "CreateTrail",
                json!({"Name": "other", "S3BucketName": "nowhere", "SnsTopicName": "a b"}),
                "InvalidSnsTopicNameException: The SNS topic name or ARN is not valid: a b",
            ),
            (
                "CreateTrail",
                json!({"Name": "other", "S3BucketName": "nowhere", "SnsTopicName": "topic"}),
                "S3BucketDoesNotExistException: S3 bucket nowhere does not exist!",
            ),
            ("UpdateTrail", update("KmsKeyId", key), &unusable),
            (
                "UpdateTrail",
                update("KmsKeyId", "alias/audit"),
                "InsufficientEncryptionPolicyException: Insufficient permissions to access S3 bucket logs or KMS key alias/audit.",
            ),
            ("UpdateTrail", update("KmsKeyId", "nonsense"), "KmsKeyNotFoundException: KMS key not found: nonsense"),
            ("UpdateTrail", update("KmsKeyId", &elsewhere), &not_found),
        ],
    )
    .await;
}

#[tokio::test]
async fn log_groups_and_roles_are_refused_with_the_texts_of_the_real_service() {
    let world = World::with_trail().await;
    let logs = |group: Option<&str>, role: Option<&str>| json!({"Name": "audit", "CloudWatchLogsLogGroupArn": group, "CloudWatchLogsRoleArn": role});
    let group = "arn:aws:logs:us-east-1:111122223333:log-group:trail:*";
    let role = "arn:aws:iam::111122223333:role/trail";
    let both = "You must specify a log group and a role ARN.";
    let no_role = format!("InvalidCloudWatchLogsRoleArnException: {both}");
    let no_group = format!("InvalidCloudWatchLogsLogGroupArnException: {both}");
    check(
        &world,
        vec![
            ("UpdateTrail", logs(Some(group), None), &no_role),
            ("UpdateTrail", logs(None, Some(role)), &no_group),
            (
                "UpdateTrail",
                logs(Some("trail"), Some(role)),
                "InvalidCloudWatchLogsLogGroupArnException: CloudTrail cannot validate the specified log group ARN.",
            ),
            (
                "UpdateTrail",
                logs(Some(group), Some("trail")),
                "InvalidCloudWatchLogsRoleArnException: CloudTrail cannot validate the specified role ARN.",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn event_selectors_are_refused_with_the_texts_of_the_real_service() {
    let world = World::with_trail().await;
    let put = |mut selectors: Value| {
        selectors["TrailName"] = json!("audit");
        selectors
    };
    check(
        &world,
        vec![
            (
                "PutEventSelectors",
                put(json!({"EventSelectors": [{}], "AdvancedEventSelectors": [{"FieldSelectors": []}]})),
                "InvalidEventSelectorsException: You can select events by using either EventSelectors or AdvancedEventSelectors, but not both.",
            ),
            (
                "PutEventSelectors",
                put(json!({"EventSelectors": []})),
                "InvalidEventSelectorsException: Specify a valid number of selectors (1 to 5) for your trail",
            ),
            (
                "PutEventSelectors",
                put(json!({"AdvancedEventSelectors": []})),
                "InvalidEventSelectorsException: Specify between 1 and 500 selectors for your trail.",
            ),
            (
                "PutEventSelectors",
                put(json!({"EventSelectors": [{"ReadWriteType": "Some"}]})),
                "InvalidEventSelectorsException: Value Some for ReadWriteType is invalid.",
            ),
            (
                "PutEventSelectors",
                put(json!({"AdvancedEventSelectors": [{"FieldSelectors": [{"Field": "readOnly", "Equals": ["true"]}]}]})),
                "InvalidEventSelectorsException: The following fields are required: [eventCategory].",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn insight_selectors_are_refused_with_the_texts_of_the_real_service() {
    let world = World::with_trail().await;
    let insights = |selectors: Value| json!({"TrailName": "audit", "InsightSelectors": selectors});
    check(
        &world,
        vec![
            (
                "GetInsightSelectors",
                json!({"TrailName": "audit"}),
                "InsightNotEnabledException: Trail arn:aws:cloudtrail:us-east-1:111122223333:trail/audit does not have Insights enabled. Edit the trail settings to enable Insights, and then try the operation again.",
            ),
            (
                "PutInsightSelectors",
                insights(json!([{"InsightType": "Guess"}])),
                "InvalidInsightSelectorsException: Value Guess for InsightType is invalid.",
            ),
            (
                "PutInsightSelectors",
                insights(json!([{"InsightType": "ApiCallRateInsight", "EventCategories": ["Data"]}])),
                "InvalidInsightSelectorsException: The trail does not log the data events that ApiCallRateInsight needs.",
            ),
            (
                "PutInsightSelectors",
                json!({"TrailName": "audit", "EventDataStore": "store", "InsightSelectors": []}),
                "InvalidParameterCombinationException: Specify either TrailName or EventDataStore, but not both.",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn lookups_are_refused_with_the_codes_of_the_real_service() {
    let world = World::new();
    let attribute = |key: &str, value: &str| json!({"AttributeKey": key, "AttributeValue": value});
    let by = |attributes: Vec<Value>| json!({"LookupAttributes": attributes});
    let table = [
        (json!({"MaxResults": 0}), "InvalidMaxResultsException"),
        (json!({"MaxResults": 51}), "InvalidMaxResultsException"),
        (json!({"MaxResults": -1}), "InvalidMaxResultsException"),
        (
            by(vec![attribute("EventName", "CreateUser"), attribute("Username", "root")]),
            "InvalidLookupAttributesException",
        ),
        (by(vec![attribute("ReadOnly", "True")]), "InvalidLookupAttributesException"),
        (by(vec![attribute("ReadOnly", "other")]), "InvalidLookupAttributesException"),
        (by(vec![attribute("Nonsense", "x")]), "InvalidLookupAttributesException"),
        (by(vec![attribute("EventName", "")]), "InvalidLookupAttributesException"),
        (json!({"StartTime": 1_763_700_000, "EndTime": 1_763_600_000}), "InvalidTimeRangeException"),
        (json!({"StartTime": 2_100_000_000}), "InvalidTimeRangeException"),
        (json!({"NextToken": "broken"}), "InvalidNextTokenException"),
        (json!({"EventCategory": "invalid"}), "InvalidEventCategoryException"),
    ];
    for (params, code) in table {
        let found = world.call("LookupEvents", params.clone()).await.unwrap_err();
        assert!(found.starts_with(&format!("{code}: ")), "{params} ended in {found}");
    }
    assert_eq!(
        world.call("LookupEvents", by(vec![attribute("ResourceType", "Other")])).await.unwrap(),
        json!({"Events": []})
    );
}
