//! LookupEvents and ListPublicKeys.

use cairn_services::cloudtrail::Settings;
use cairn_store::history::Attribute;
use serde_json::{Value, json};

use super::World;

const EVENT: &str = r#"{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","accessKeyId":"AKIA1","userName":"alice"},"eventTime":"2026-11-21T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"CreateBucket","awsRegion":"us-east-1","requestParameters":{"b":1,  "a":"\u00e9"},"eventID":"e-1","readOnly":false,"recipientAccountId":"111122223333"}"#;

fn ids(answer: &Value) -> Vec<String> {
    let events = answer["Events"].as_array().unwrap();
    events.iter().map(|event| event["EventId"].as_str().unwrap().to_owned()).collect()
}

/// A plain event `id` of a minute of the hour before noon.
fn add(world: &World, id: &str, minute: u32, insight: bool) {
    let time = format!("2026-11-21T11:{minute:02}:00Z");
    let json =
        format!(r#"{{"eventTime":"{time}","eventID":"{id}","awsRegion":"us-east-1","eventName":"Look"}}"#);
    world.history.add(insight, &time, &[(Attribute::EventId, id), (Attribute::EventName, "Look")], &json);
}

#[tokio::test]
async fn an_event_is_shown_with_its_record_byte_for_byte() {
    let world = World::new();
    let attributes = [
        (Attribute::EventId, "e-1"),
        (Attribute::EventName, "CreateBucket"),
        (Attribute::ReadOnly, "false"),
        (Attribute::Username, "alice"),
        (Attribute::EventSource, "s3.amazonaws.com"),
        (Attribute::AccessKeyId, "AKIA1"),
        (Attribute::ResourceType, "AWS::S3::Bucket"),
        (Attribute::ResourceName, "logs"),
        (Attribute::ResourceName, "untyped"),
    ];
    world.history.add(false, "2026-11-21T10:00:00Z", &attributes, EVENT);
    let answer = world.call("LookupEvents", json!({})).await.unwrap();
    let expected = json!({"Events": [{"EventId": "e-1", "EventName": "CreateBucket", "ReadOnly": "false",
        "AccessKeyId": "AKIA1", "EventTime": 1_795_255_200, "EventSource": "s3.amazonaws.com", "Username": "alice",
        "Resources": [{"ResourceType": "AWS::S3::Bucket", "ResourceName": "logs"}, {"ResourceName": "untyped"}],
        "CloudTrailEvent": EVENT}]});
    assert_eq!(answer.to_string(), expected.to_string());
}

#[tokio::test]
async fn absent_members_are_left_out() {
    let world = World::new();
    add(&world, "bare", 1, false);
    let event = world.call("LookupEvents", json!({})).await.unwrap()["Events"][0].clone();
    let members: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["EventId", "EventName", "EventTime", "Resources", "CloudTrailEvent"]);
}

#[tokio::test]
async fn pages_follow_one_another_and_do_not_see_later_events() {
    let world = World::new();
    for minute in 0..7 {
        add(&world, &format!("e{minute}"), minute, false);
    }
    let query = |token: Option<&Value>| json!({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "Look"}], "MaxResults": 3, "NextToken": token});
    let first = world.call("LookupEvents", query(None)).await.unwrap();
    assert_eq!(ids(&first), ["e6", "e5", "e4"]);
    add(&world, "late", 2, false);
    let second = world.call("LookupEvents", query(Some(&first["NextToken"]))).await.unwrap();
    assert_eq!(ids(&second), ["e3", "e2", "e1"]);
    let third = world.call("LookupEvents", query(Some(&second["NextToken"]))).await.unwrap();
    assert_eq!(ids(&third), ["e0"]);
    assert!(third.get("NextToken").is_none());
}

#[tokio::test]
async fn a_token_is_good_for_its_own_query_only() {
    let world = World::new();
    for minute in 0..3 {
        add(&world, &format!("e{minute}"), minute, false);
    }
    let first = world.call("LookupEvents", json!({"MaxResults": 1})).await.unwrap();
    let token = first["NextToken"].as_str().unwrap();
    world.call("LookupEvents", json!({"MaxResults": 2, "NextToken": token})).await.unwrap();
    let mut tampered = token.to_owned();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    let others = [
        json!({"NextToken": token, "StartTime": 1_790_000_000}),
        json!({"NextToken": token, "EventCategory": "insight"}),
        json!({"NextToken": token, "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "Look"}]}),
        json!({"NextToken": tampered}),
        json!({"NextToken": &token[1..]}),
        json!({"NextToken": ""}),
    ];
    for params in others {
        let refused = world.call("LookupEvents", params.clone()).await.unwrap_err();
        assert!(refused.starts_with("InvalidNextTokenException: "), "{params}: {refused}");
    }
    let elsewhere =
        world.call_in("eu-west-1", "LookupEvents", json!({"NextToken": token})).await.unwrap_err();
    assert!(elsewhere.starts_with("InvalidNextTokenException: "), "{elsewhere}");
}

#[tokio::test]
async fn insights_events_are_searched_apart() {
    let world = World::new();
    add(&world, "call", 1, false);
    add(&world, "insight", 2, true);
    assert_eq!(ids(&world.call("LookupEvents", json!({})).await.unwrap()), ["call"]);
    let insight = json!({"EventCategory": "insight"});
    assert_eq!(ids(&world.call("LookupEvents", insight).await.unwrap()), ["insight"]);
    let by_user = json!({"EventCategory": "insight", "LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "root"}]});
    let refused = world.call("LookupEvents", by_user).await.unwrap_err();
    assert!(refused.starts_with("InvalidLookupAttributesException: "), "{refused}");
}

#[tokio::test]
async fn a_lookup_reaches_back_ninety_days() {
    let world = World::new();
    let asked = || world.history.last.lock().unwrap().clone().unwrap();
    world.call("LookupEvents", json!({})).await.unwrap();
    assert_eq!(asked().start.unwrap().iso(), "2026-08-23T12:00:00Z");
    assert_eq!((asked().end, asked().limit), (None, 50));
    world.call("LookupEvents", json!({"StartTime": 0, "EndTime": 1_795_255_200.5})).await.unwrap();
    assert_eq!(asked().start.unwrap().iso(), "2026-08-23T12:00:00Z");
    assert_eq!(asked().end.unwrap().iso_millis(), "2026-11-21T10:00:00.500Z");
}

#[tokio::test]
async fn the_rate_of_lookups_can_be_held_per_account_and_region() {
    let world = World::with(Settings { lookup_requests_per_second_max: Some(2) });
    let look = |region: &'static str| world.call_in(region, "LookupEvents", json!({}));
    assert!(look("us-east-1").await.is_ok() && look("us-east-1").await.is_ok());
    assert_eq!(look("us-east-1").await.unwrap_err(), "ThrottlingException: Rate exceeded");
    assert!(look("eu-west-1").await.is_ok());
    world.set_time("2026-11-21T12:00:01Z");
    assert!(look("us-east-1").await.is_ok());
}

#[tokio::test]
async fn public_keys_are_the_current_one_or_those_of_a_time_range() {
    let world = World::new();
    let list = |region: &'static str, params: Value| async {
        let answer = world.call_in(region, "ListPublicKeys", params).await.unwrap();
        answer["PublicKeyList"].as_array().unwrap().clone()
    };
    // The real service takes any NextToken and ignores it.
    let first = list("us-east-1", json!({"NextToken": "anything"})).await;
    assert_eq!(first.len(), 1);
    assert!(
        first[0]["Fingerprint"].as_str().unwrap().len() == 32
            && first[0]["Value"].as_str().unwrap().len() > 300
    );
    assert_ne!(list("eu-west-1", json!({})).await, first);
    world.set_time("2026-12-15T12:00:00Z");
    let second = list("us-east-1", json!({})).await;
    assert!(second.len() == 1 && second != first, "another key took over");
    let both = [first[0].clone(), second[0].clone()];
    assert_eq!(list("us-east-1", json!({"StartTime": 1_795_262_400})).await, both);
    assert_eq!(list("us-east-1", json!({"StartTime": 1_795_262_400, "EndTime": 1_795_269_600})).await, first);
    assert!(list("us-east-1", json!({"StartTime": 0, "EndTime": 1})).await.is_empty());
    let backwards = json!({"StartTime": 1_795_262_400, "EndTime": 1_795_255_200});
    let refused = world.call("ListPublicKeys", backwards).await.unwrap_err();
    assert!(refused.starts_with("InvalidTimeRangeException: "), "{refused}");
}
