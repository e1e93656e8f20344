//! Resource policies.

use cairn_core::Principal;
use cairn_core::policy::Rights;
use cairn_services::{Caller, authorise};
use serde_json::{Value, json};

use super::{ACCOUNT, Bench, group_arn};
use crate::world;

fn document(statement: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[tokio::test]
async fn policies_are_kept_by_name_and_no_more_than_ten() {
    let bench = Bench::with_stream().await;
    let allow = json!({"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
        "Action": "logs:PutLogEvents", "Resource": "*"});
    for n in 0..10 {
        let put = json!({"policyName": format!("p{n}"), "policyDocument": document(&allow)});
        let put = bench.send("PutResourcePolicy", put).await;
        assert_eq!(put["resourcePolicy"]["policyName"], format!("p{n}"));
        assert_eq!(put["resourcePolicy"]["lastUpdatedTime"], bench.now_ms());
    }
    let eleventh = json!({"policyName": "p10", "policyDocument": document(&allow)});
    assert!(bench.refused("PutResourcePolicy", eleventh).await.starts_with("400 LimitExceededException"));
    let broken = json!({"policyName": "p0", "policyDocument": "{"});
    assert!(bench.refused("PutResourcePolicy", broken).await.starts_with("400 InvalidParameterException"));
    bench.send("DeleteResourcePolicy", json!({"policyName": "p0"})).await;
    let gone = bench.refused("DeleteResourcePolicy", json!({"policyName": "p0"})).await;
    assert_eq!(gone, "400 ResourceNotFoundException: Policy with name [p0] does not exist.");
    let page = bench.send("DescribeResourcePolicies", json!({"limit": 5})).await;
    assert_eq!(page["resourcePolicies"].as_array().unwrap().len(), 5);
    let rest = json!({"limit": 5, "nextToken": page["nextToken"]});
    let rest = bench.send("DescribeResourcePolicies", rest).await;
    assert_eq!(rest["resourcePolicies"].as_array().unwrap().len(), 4);
    assert!(rest.get("nextToken").is_none());
}

#[tokio::test]
async fn a_policy_of_a_group_has_revisions() {
    let bench = Bench::with_stream().await;
    let statement = json!({"Effect": "Allow", "Principal": {"Service": "delivery.logs.amazonaws.com"},
        "Action": "logs:PutLogEvents", "Resource": format!("{}:*", group_arn("g"))});
    let put = json!({"resourceArn": group_arn("g"), "policyDocument": document(&statement)});
    let first = bench.send("PutResourcePolicy", put.clone()).await;
    let second = bench.send("PutResourcePolicy", put.clone()).await;
    assert_ne!(first["revisionId"], second["revisionId"]);
    let mut late = put;
    late["expectedRevisionId"] = first["revisionId"].clone();
    assert!(bench.refused("PutResourcePolicy", late).await.contains("revision"));
    let shown = bench.send("DescribeResourcePolicies", json!({"policyScope": "RESOURCE"})).await;
    assert_eq!(shown["resourcePolicies"][0]["resourceArn"], group_arn("g"));
    assert_eq!(bench.send("DescribeResourcePolicies", json!({})).await["resourcePolicies"], json!([]));
}

#[tokio::test]
async fn a_resource_policy_denies_and_allows_callers_of_the_account() {
    let bench = Bench::with_stream().await;
    let alice = Principal::IamUser {
        account: ACCOUNT.parse().unwrap(),
        user_id: "AIDAEXAMPLEALICE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    };
    let arn = alice.arn().unwrap();
    let nobody = Caller { rights: std::sync::Arc::new(Rights::default()), ..world::caller(alice) };
    let call = world::call("logs", "GetLogEvents", json!({"logGroupName": "g", "logStreamName": "s"}));
    let is_allowed = || async {
        let target = cairn_services::Service::target(&bench.logs, &nobody, &call).await.unwrap();
        authorise(&nobody, &target).is_ok()
    };
    assert!(!is_allowed().await);
    let mut statement = json!({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "logs:GetLogEvents",
        "Resource": format!("{}:log-stream:s", group_arn("g"))});
    let put = |statement: &Value| json!({"policyName": "p", "policyDocument": document(statement)});
    bench.send("PutResourcePolicy", put(&statement)).await;
    assert!(is_allowed().await);
    statement["Effect"] = "Deny".into();
    bench.send("PutResourcePolicy", put(&statement)).await;
    assert!(!is_allowed().await);
}
