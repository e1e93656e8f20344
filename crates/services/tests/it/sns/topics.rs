//! Topics: made, found again, changed, listed, deleted; their policies.

use serde_json::json;

use super::{Bench, TOPIC, owner, user};

#[tokio::test]
async fn a_topic_is_made_once_and_found_again_as_it_is_asked_for() {
    let bench = Bench::new();
    let tags = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]);
    let made = json!({"Name": "news", "Attributes": {"DisplayName": "N"}, "Tags": tags});
    assert_eq!(bench.ok("CreateTopic", made.clone()).await, json!({"TopicArn": TOPIC}));
    for same in [made, json!({"Name": "news"}), json!({"Name": "news", "Tags": [{"Key": "b", "Value": "2"}]})]
    {
        assert_eq!(bench.ok("CreateTopic", same).await, json!({"TopicArn": TOPIC}));
    }
    let other = json!({"Name": "news", "Attributes": {"DisplayName": "other"}});
    assert_eq!(
        bench.refused("CreateTopic", other).await,
        "400 InvalidParameter: Invalid parameter: Attributes Reason: Topic already exists with different attributes"
    );
    let more = json!({"Name": "news", "Tags": [{"Key": "c", "Value": "3"}]});
    assert_eq!(
        bench.refused("CreateTopic", more).await,
        "400 InvalidParameter: Invalid parameter: Tags Reason: Topic already exists with different tags"
    );
}

#[tokio::test]
async fn names_are_checked_as_aws_checks_them() {
    let bench = Bench::new();
    let name = "400 InvalidParameter: Invalid parameter: Topic Name";
    for wrong in ["", "a b", "a:b", "a.fifo", &"a".repeat(257)] {
        assert_eq!(bench.refused("CreateTopic", json!({"Name": wrong})).await, name, "{wrong}");
    }
    let fifo = json!({"Name": "a", "Attributes": {"FifoTopic": "true"}});
    assert!(bench.refused("CreateTopic", fifo).await.contains("Fifo Topic names must end with .fifo"));
    bench.ok("CreateTopic", json!({"Name": "a.fifo", "Attributes": {"FifoTopic": "true"}})).await;
    bench.ok("CreateTopic", json!({"Name": "a".repeat(256), "Attributes": {"FifoTopic": "false"}})).await;
}

#[tokio::test]
async fn a_topic_is_not_there_before_it_is_made_and_after_it_is_deleted() {
    let bench = Bench::new();
    let missing = "404 NotFound: Topic does not exist";
    let named = json!({"TopicArn": TOPIC});
    assert_eq!(bench.refused("GetTopicAttributes", named.clone()).await, missing);
    bench.ok("CreateTopic", json!({"Name": "news"})).await;
    bench.queue(TOPIC, "q", json!({})).await;
    bench.ok("DeleteTopic", named.clone()).await;
    bench.ok("DeleteTopic", named.clone()).await;
    for operation in ["GetTopicAttributes", "ListSubscriptionsByTopic"] {
        assert_eq!(bench.refused(operation, named.clone()).await, missing);
    }
    let message = json!({"TopicArn": TOPIC, "Message": "m"});
    assert_eq!(bench.refused("Publish", message).await, missing);
    assert_eq!(bench.ok("ListSubscriptions", json!({})).await, json!({"Subscriptions": []}));
    let tags = json!({"ResourceArn": TOPIC});
    let told = "404 ResourceNotFound: Resource does not exist";
    assert_eq!(bench.refused("ListTagsForResource", tags).await, told);
}

#[tokio::test]
async fn attributes_are_shown_as_they_were_set() {
    let bench = Bench::with_topic().await;
    let set =
        |name: &str, value: &str| json!({"TopicArn": TOPIC, "AttributeName": name, "AttributeValue": value});
    bench.ok("SetTopicAttributes", set("DisplayName", "N")).await;
    bench.ok("SetTopicAttributes", set("SQSSuccessFeedbackSampleRate", "10")).await;
    bench.queue(TOPIC, "q", json!({})).await;
    let shown = bench.ok("GetTopicAttributes", json!({"TopicArn": TOPIC})).await["Attributes"].clone();
    let effective = r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}"#;
    let policy = r#"{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"arn:aws:sns:us-east-1:111122223333:news","Condition":{"StringEquals":{"AWS:SourceOwner":"111122223333"}}}]}"#;
    let expected = json!({
        "DisplayName": "N", "EffectiveDeliveryPolicy": effective, "Owner": "111122223333", "Policy": policy,
        "SQSSuccessFeedbackSampleRate": "10", "SubscriptionsConfirmed": "1", "SubscriptionsDeleted": "0",
        "SubscriptionsPending": "0", "TopicArn": TOPIC});
    assert_eq!(shown, expected);
    let name = "400 InvalidParameter: Invalid parameter: AttributeName";
    for wrong in ["FifoTopic", "Made"] {
        assert_eq!(bench.refused("SetTopicAttributes", set(wrong, "true")).await, name);
    }
}

#[tokio::test]
async fn lists_come_in_pages_of_a_hundred() {
    let bench = Bench::new();
    for number in 0..205 {
        bench.ok("CreateTopic", json!({"Name": format!("t{number:03}")})).await;
    }
    let (mut seen, mut token) = (Vec::new(), json!(null));
    loop {
        let page = bench.ok("ListTopics", json!({"NextToken": token})).await;
        let topics = page["Topics"].as_array().unwrap();
        assert!(topics.len() <= 100);
        seen.extend(topics.iter().map(|topic| topic["TopicArn"].as_str().unwrap().to_owned()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    let expected: Vec<String> =
        (0..205).map(|number| format!("arn:aws:sns:us-east-1:111122223333:t{number:03}")).collect();
    assert_eq!(seen, expected);
    let wrong = bench.refused("ListTopics", json!({"NextToken": "?"})).await;
    assert_eq!(wrong, "400 InvalidParameter: Invalid parameter: NextToken");
}

#[tokio::test]
async fn tags_are_added_replaced_and_removed() {
    let bench = Bench::with_topic().await;
    let tag = |key: &str, value: &str| json!({"ResourceArn": TOPIC, "Tags": [{"Key": key, "Value": value}]});
    bench.ok("TagResource", tag("a", "1")).await;
    bench.ok("TagResource", tag("b", "2")).await;
    bench.ok("TagResource", tag("a", "3")).await;
    let listed = |tags| json!({"Tags": tags});
    let both = listed(json!([{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]));
    assert_eq!(bench.ok("ListTagsForResource", json!({"ResourceArn": TOPIC})).await, both);
    bench.ok("UntagResource", json!({"ResourceArn": TOPIC, "TagKeys": ["a", "z"]})).await;
    let rest = listed(json!([{"Key": "b", "Value": "2"}]));
    assert_eq!(bench.ok("ListTagsForResource", json!({"ResourceArn": TOPIC})).await, rest);
    let twice =
        json!({"ResourceArn": TOPIC, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "1"}]});
    let told = "400 InvalidParameter: Invalid parameter: Duplicated keys are not allowed.";
    assert_eq!(bench.refused("TagResource", twice).await, told);
}

#[tokio::test]
async fn who_may_publish_the_topics_policy_and_the_callers_own_say() {
    let bench = Bench::with_topic().await;
    let message = || json!({"TopicArn": TOPIC, "Message": "m"});
    let none = "403 AuthorizationError: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: \
                SNS:Publish on resource: arn:aws:sns:us-east-1:111122223333:news because no identity-based policy \
                allows the SNS:Publish action";
    let silent = user("111122223333", &["sns:GetTopicAttributes"]);
    assert_eq!(bench.by(&silent, "Publish", message()).await.unwrap_err(), none);
    bench.by(&user("111122223333", &["sns:Publish"]), "Publish", message()).await.unwrap();

    let stranger = user("444455556666", &["sns:*"]);
    let refused = bench.by(&stranger, "Publish", message()).await.unwrap_err();
    assert!(refused.ends_with("because no resource-based policy allows the SNS:Publish action"), "{refused}");
    let given = json!({"TopicArn": TOPIC, "Label": "them", "AWSAccountId": ["444455556666"], "ActionName": ["Publish"]});
    bench.ok("AddPermission", given.clone()).await;
    bench.by(&stranger, "Publish", message()).await.unwrap();
    let again = "400 InvalidParameter: Invalid parameter: Statement already exists";
    assert_eq!(bench.refused("AddPermission", given).await, again);
    bench.ok("RemovePermission", json!({"TopicArn": TOPIC, "Label": "them"})).await;
    bench.by(&stranger, "Publish", message()).await.unwrap_err();
    // Without any statement left, the owner's own policies decide.
    bench.ok("RemovePermission", json!({"TopicArn": TOPIC, "Label": "__default_statement_ID"})).await;
    bench.by(&owner(), "Publish", message()).await.unwrap();
    bench.by(&stranger, "Publish", message()).await.unwrap_err();
    let unknown =
        json!({"TopicArn": TOPIC, "Label": "l", "AWSAccountId": ["444455556666"], "ActionName": ["Fly"]});
    let scope = "400 InvalidParameter: Invalid parameter: Policy statement action out of service scope!";
    assert_eq!(bench.refused("AddPermission", unknown).await, scope);
}

#[tokio::test]
async fn a_policy_can_say_which_endpoints_may_be_subscribed() {
    let bench = Bench::with_topic().await;
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "sns:Subscribe", "Resource": TOPIC,
        "Condition": {"StringEquals": {"sns:Protocol": "sqs"}, "StringLike": {"sns:Endpoint": "arn:aws:sqs:*:444455556666:*"}}}});
    let set = json!({"TopicArn": TOPIC, "AttributeName": "Policy", "AttributeValue": policy.to_string()});
    bench.ok("SetTopicAttributes", set).await;
    let other = user("444455556666", &["sns:*"]);
    let subscribe = |protocol: &str, endpoint: &str| json!({"TopicArn": TOPIC, "Protocol": protocol, "Endpoint": endpoint});
    let own = "arn:aws:sqs:us-east-1:444455556666:q";
    let made = bench.by(&other, "Subscribe", subscribe("sqs", own)).await.unwrap();
    assert!(made["SubscriptionArn"].as_str().unwrap().starts_with(TOPIC), "{made}");
    for (protocol, endpoint) in
        [("sqs", "arn:aws:sqs:us-east-1:111122223333:q"), ("http", "http://example.com/")]
    {
        let refused = bench.by(&other, "Subscribe", subscribe(protocol, endpoint)).await.unwrap_err();
        assert!(refused.starts_with("403 AuthorizationError"), "{refused}");
    }
}
