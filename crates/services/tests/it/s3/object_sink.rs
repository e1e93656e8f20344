//! Objects that other services put and read.

use std::sync::Arc;

use bytes::Bytes;
use cairn_services::sinks::{NewObject, ObjectSink, Sender, as_service};
use serde_json::json;

use super::{Shop, account};
use crate::world::root;

const STREAM: &str = "arn:aws:firehose:us-east-1:123456789012:deliverystream/d";

fn firehose() -> Sender {
    as_service("firehose.amazonaws.com", STREAM, &account())
}

fn object(key: &str) -> NewObject {
    NewObject {
        bucket: "logs".into(),
        key: key.into(),
        body: Bytes::from_static(b"lines"),
        content_encoding: Some("gzip".into()),
        ..NewObject::default()
    }
}

async fn read(shop: &Shop, sender: &Sender, key: &str, size_bytes_max: u64) -> Result<Bytes, String> {
    let read = ObjectSink::get(&shop.s3, sender, "logs", key, None, size_bytes_max).await;
    read.map_err(|failure| failure.code)
}

async fn put(shop: &Shop, sender: &Sender, object: NewObject) -> Result<(), String> {
    ObjectSink::put(&shop.s3, sender, object).await.map_err(|failure| failure.code)
}

#[tokio::test]
async fn a_service_puts_and_reads_what_the_buckets_policy_lets_it() {
    let shop = Shop::with_bucket().await;
    assert_eq!(put(&shop, &firehose(), object("a")).await, Err("AccessDenied".into()));
    assert_eq!(shop.blob_count(), 0);
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "firehose.amazonaws.com"}, "Action": "s3:*Object",
        "Resource": "arn:aws:s3:::logs/a*", "Condition": {"ArnEquals": {"aws:SourceArn": STREAM}}}});
    shop.ok("PutBucketPolicy", json!({"Bucket": "logs", "Policy": policy.to_string()})).await;
    put(&shop, &firehose(), object("a")).await.unwrap();
    assert_eq!(put(&shop, &firehose(), object("b")).await, Err("AccessDenied".into()));
    let other = as_service("firehose.amazonaws.com", &format!("{STREAM}2"), &account());
    assert_eq!(put(&shop, &other, object("a")).await, Err("AccessDenied".into()));
    let nowhere = NewObject { bucket: "none".into(), ..object("a") };
    assert_eq!(put(&shop, &firehose(), nowhere).await, Err("NoSuchBucket".into()));
    let (_, result, body) = shop.get(json!({"Bucket": "logs", "Key": "a"})).await.unwrap();
    assert_eq!(body, "lines");
    assert_eq!(
        (&result["ContentType"], &result["ContentEncoding"], &result["ServerSideEncryption"]),
        (&json!("application/octet-stream"), &json!("gzip"), &json!("AES256"))
    );
    assert_eq!(read(&shop, &firehose(), "a", 5).await.unwrap(), "lines");
    assert_eq!(read(&shop, &firehose(), "a", 4).await, Err("EntityTooLarge".into()));
    assert_eq!(read(&shop, &firehose(), "b", 4).await, Err("AccessDenied".into()));
}

#[tokio::test]
async fn a_role_puts_what_its_own_policies_allow() {
    let shop = Shop::with_bucket().await;
    let role = Sender::Role(Arc::new(shop.caller()));
    put(&shop, &role, object("a")).await.unwrap();
    assert_eq!(read(&shop, &role, "a", 5).await.unwrap(), "lines");
    assert_eq!(read(&shop, &role, "b", 5).await, Err("NoSuchKey".into()));
    let foreign = Sender::Role(Arc::new(root(&"210987654321".parse().unwrap())));
    assert_eq!(put(&shop, &foreign, object("a")).await, Err("AccessDenied".into()));
}
