//! What records and policies see of calls.

use cairn_services::{Resource, Service};
use cairn_wire::{Call, RequestFacts};
use serde_json::{Value, json};

use super::Shop;
use crate::world::call;

fn recorded(operation: &str, params: Value, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let request = RequestFacts {
        host: "logs.s3.amazonaws.com".into(),
        query: pairs(query),
        headers: pairs(headers),
        ..RequestFacts::default()
    };
    Shop::new().s3.recorded_request(&Call { request, ..call("s3", operation, params) }).unwrap()
}

#[tokio::test]
async fn a_query_cannot_disguise_what_was_asked_for() {
    let got = recorded(
        "GetObject",
        json!({"Bucket": "logs", "Key": "secret"}),
        &[("key", "innocent"), ("bucketName", "other"), ("Host", "elsewhere")],
        &[],
    );
    assert_eq!(got, json!({"bucketName": "logs", "Host": "logs.s3.amazonaws.com", "key": "secret"}));
}

#[tokio::test]
async fn request_parameters_are_those_that_aws_records() {
    let created = recorded(
        "CreateBucket",
        json!({"Bucket": "logs", "ACL": "private"}),
        &[],
        &[("x-amz-acl", "private"), ("x-amz-date", "20230710T120000Z"), ("content-length", "0")],
    );
    assert_eq!(
        created,
        json!({"bucketName": "logs", "Host": "logs.s3.amazonaws.com", "x-amz-acl": "private"})
    );
    let policy = json!({"Bucket": "logs", "Policy": r#"{"Version":"2012-10-17"}"#});
    assert_eq!(
        recorded("PutBucketPolicy", policy, &[("policy", "")], &[]),
        json!({
            "bucketName": "logs", "Host": "logs.s3.amazonaws.com", "bucketPolicy": {"Version": "2012-10-17"},
            "policy": "",
        })
    );
    let tagging = json!({"Bucket": "logs", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}});
    assert_eq!(
        recorded("PutBucketTagging", tagging, &[("tagging", "")], &[])["Tagging"],
        json!({
            "xmlns": "http://s3.amazonaws.com/doc/2006-03-01/", "TagSet": {"Tag": {"Key": "k", "Value": "v"}},
        })
    );
    let listed = recorded(
        "ListObjectsV2",
        json!({"Bucket": "logs", "Prefix": ""}),
        &[("list-type", "2"), ("prefix", ""), ("encoding-type", "url")],
        &[],
    );
    assert_eq!(
        listed,
        json!({
            "bucketName": "logs", "Host": "logs.s3.amazonaws.com", "list-type": "2", "prefix": "",
            "encoding-type": "url",
        })
    );
    let secret = recorded(
        "GetObject",
        json!({"Bucket": "logs", "Key": "a"}),
        &[],
        &[("x-amz-server-side-encryption-customer-key", "c2VjcmV0")],
    );
    assert_eq!(secret["key"], "a");
    assert!(!secret.to_string().contains("c2VjcmV0"));
}

#[tokio::test]
async fn response_elements_are_null_for_buckets_and_headers_for_objects() {
    let shop = Shop::new();
    let operation =
        |name: &str| shop.s3.operations().iter().find(|operation| operation.name == name).unwrap();
    let reply = |name: &str, result: Value| shop.s3.recorded_reply(operation(name), &result).unwrap();
    assert_eq!(reply("CreateBucket", json!({"Location": "/logs"})), Value::Null);
    assert_eq!(
        reply("PutObject", json!({"ETag": "\"x\"", "ServerSideEncryption": "AES256", "VersionId": "v"})),
        json!({"x-amz-server-side-encryption": "AES256", "x-amz-version-id": "v"})
    );
}

#[tokio::test]
async fn a_call_on_objects_shows_the_object_and_its_bucket() {
    let shop = Shop::with_bucket().await;
    let target = async |operation: &str, params: Value| {
        shop.s3.target(&shop.caller(), &call("s3", operation, params)).await.unwrap()
    };
    let object = |arn: &str| Resource { kind: "AWS::S3::Object", arn: arn.into(), account: None };
    let bucket = Resource {
        kind: "AWS::S3::Bucket",
        arn: "arn:aws:s3:::logs".into(),
        account: Some(super::account()),
    };
    let get = target("GetObject", json!({"Bucket": "logs", "Key": "a/b", "VersionId": "null"})).await;
    assert_eq!(
        (get.action.as_str(), get.resource_arn.as_str()),
        ("s3:GetObjectVersion", "arn:aws:s3:::logs/a/b")
    );
    assert_eq!(get.resources, [object("arn:aws:s3:::logs/a/b"), bucket.clone()]);
    assert!(get.conditions.contains(&("s3:VersionId".into(), vec!["null".into()])));
    let list = target("ListObjectsV2", json!({"Bucket": "logs", "Prefix": "a", "MaxKeys": 5})).await;
    assert_eq!((list.action.as_str(), list.resource_arn.as_str()), ("s3:ListBucket", "arn:aws:s3:::logs"));
    assert_eq!(list.resources, [object("arn:aws:s3:::logs/"), bucket.clone()]);
    assert!(list.conditions.contains(&("s3:max-keys".into(), vec!["5".into()])));
    assert_eq!(target("GetBucketAcl", json!({"Bucket": "logs"})).await.resources, [bucket]);
}
