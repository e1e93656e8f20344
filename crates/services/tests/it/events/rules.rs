//! Buses, rules and targets: made, shown, changed, refused.

use serde_json::json;

use super::{Bench, queue_arn, stranger};

#[tokio::test]
async fn every_account_has_a_default_bus_and_those_that_it_makes() {
    let bench = Bench::new();
    let arn = "arn:aws:events:us-east-1:111122223333:event-bus/default";
    assert_eq!(bench.ok("DescribeEventBus", json!({})).await, json!({"Name": "default", "Arn": arn}));
    let made = bench.ok("CreateEventBus", json!({"Name": "orders", "Description": "d"})).await;
    let arn = "arn:aws:events:us-east-1:111122223333:event-bus/orders";
    assert_eq!(made, json!({"EventBusArn": arn, "Description": "d"}));
    assert_eq!(
        bench.refused("CreateEventBus", json!({"Name": "orders"})).await,
        "400 ResourceAlreadyExistsException: Event bus orders already exists."
    );
    let listed = bench.ok("ListEventBuses", json!({"Limit": 1})).await;
    assert_eq!(listed["EventBuses"][0]["Name"], "default");
    let token = listed["NextToken"].clone();
    let listed = bench.ok("ListEventBuses", json!({"NextToken": token})).await;
    assert_eq!((listed["EventBuses"][0]["Name"].as_str(), listed.get("NextToken")), (Some("orders"), None));
    bench.ok("DeleteEventBus", json!({"Name": "orders"})).await;
    bench.ok("DeleteEventBus", json!({"Name": "orders"})).await;
    assert_eq!(
        bench.refused("DescribeEventBus", json!({"Name": "orders"})).await,
        "400 ResourceNotFoundException: Event bus orders does not exist."
    );
    assert_eq!(
        bench.refused("DeleteEventBus", json!({"Name": "default"})).await,
        "400 ValidationException: Cannot delete event bus default."
    );
}

#[tokio::test]
async fn a_rule_is_put_shown_switched_and_deleted() {
    let bench = Bench::new();
    let pattern = r#"{"source":["a"]}"#;
    let tags = json!([{"Key": "k", "Value": "v"}]);
    let put = bench.ok("PutRule", json!({"Name": "r", "EventPattern": pattern, "Tags": tags})).await;
    let arn = "arn:aws:events:us-east-1:111122223333:rule/r";
    assert_eq!(put, json!({ "RuleArn": arn }));
    bench.ok("DisableRule", json!({"Name": "r"})).await;
    let shown = bench.ok("DescribeRule", json!({"Name": "r"})).await;
    assert_eq!(
        shown,
        json!({"Name": "r", "Arn": arn, "EventPattern": pattern, "State": "DISABLED",
               "EventBusName": "default", "CreatedBy": "111122223333"})
    );
    bench.ok("EnableRule", json!({"Name": "r"})).await;
    assert_eq!(bench.ok("ListRules", json!({"NamePrefix": "r"})).await["Rules"][0]["State"], "ENABLED");
    assert_eq!(bench.ok("ListTagsForResource", json!({"ResourceARN": arn})).await, json!({ "Tags": tags }));
    bench.target("r", json!({"Id": "1", "Arn": queue_arn("q")})).await;
    let named = bench.ok("ListRuleNamesByTarget", json!({"TargetArn": queue_arn("q")})).await;
    assert_eq!(named, json!({"RuleNames": ["r"]}));
    assert_eq!(
        bench.refused("DeleteRule", json!({"Name": "r"})).await,
        "400 ValidationException: Rule can't be deleted since it has targets."
    );
    let targets = bench.ok("ListTargetsByRule", json!({"Rule": "r"})).await;
    assert_eq!(targets, json!({"Targets": [{"Id": "1", "Arn": queue_arn("q")}]}));
    bench.ok("RemoveTargets", json!({"Rule": "r", "Ids": ["1"]})).await;
    bench.ok("DeleteRule", json!({"Name": "r"})).await;
    assert_eq!(
        bench.refused("DescribeRule", json!({"Name": "r"})).await,
        "400 ResourceNotFoundException: Rule r does not exist on EventBus default."
    );
}

#[tokio::test]
async fn what_no_rule_can_be_is_refused_in_awss_words() {
    let bench = Bench::new();
    assert_eq!(
        bench.refused("PutRule", json!({"Name": "r"})).await,
        "400 ValidationException: Parameter(s) EventPattern or ScheduleExpression must be specified."
    );
    assert_eq!(
        bench.refused("PutRule", json!({"Name": "r", "EventPattern": r#"{"a":"b"}"#})).await,
        "400 InvalidEventPatternException: Event pattern is not valid. Reason: \"a\" must be an object or an array"
    );
    let ids: Vec<_> = (0..6).map(|id| json!({"Id": id.to_string(), "Arn": queue_arn("q")})).collect();
    bench.ok("PutRule", json!({"Name": "r", "EventPattern": "{\"source\":[\"a\"]}"})).await;
    assert_eq!(
        bench.refused("PutTargets", json!({"Rule": "r", "Targets": ids})).await,
        "400 LimitExceededException: The requested resource exceeds the maximum number allowed."
    );
    assert_eq!(
        bench
            .refused("PutTargets", json!({"Rule": "r", "Targets": [{"Id": "1", "Arn": queue_arn("q.fifo")}]}))
            .await,
        "400 ValidationException: Parameter(s) SqsParameters must be specified for target: 1."
    );
}

#[tokio::test]
async fn others_put_events_where_the_buss_policy_lets_them() {
    let bench = Bench::new();
    bench.rule("r", "theirs", "q").await;
    let bus = "arn:aws:events:us-east-1:111122223333:event-bus/default";
    let entry = json!({"Source": "theirs", "DetailType": "t", "Detail": "{}", "EventBusName": bus});
    let put = json!({ "Entries": [entry] });
    let refusal = bench.by(&stranger(), "PutEvents", put.clone()).await.unwrap_err();
    assert!(refusal.starts_with("400 AccessDeniedException: "), "{refusal}");
    let permission = json!({"StatementId": "s", "Principal": "444455556666", "Action": "events:PutEvents"});
    bench.ok("PutPermission", permission).await;
    bench.by(&stranger(), "PutEvents", put.clone()).await.unwrap();
    bench.pay().await;
    let received = bench.received("q");
    assert_eq!(super::body(&received[0])["account"], "444455556666");
    bench.ok("RemovePermission", json!({"StatementId": "s"})).await;
    bench.by(&stranger(), "PutEvents", put).await.unwrap_err();
    assert_eq!(
        bench.refused("RemovePermission", json!({"StatementId": "s"})).await,
        "400 ResourceNotFoundException: EventBus does not have a policy."
    );
}
