//! CloudTrail's deliveries into a bucket.

use bytes::Bytes;
use cairn_trail::bucket::OnBehalfOf;
use cairn_trail::{Bucket, BucketPut};
use serde_json::{Value, json};

use super::{Shop, account};

fn trail() -> OnBehalfOf {
    OnBehalfOf {
        trail: "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit".parse().unwrap(),
        account: account(),
    }
}

fn log_file(key: &str) -> BucketPut {
    BucketPut {
        bucket: "logs".into(),
        key: key.into(),
        body: Bytes::from_static(b"gzip"),
        metadata: vec![("signature".into(), "00ff".into())],
        kms_key_id: None,
    }
}

async fn set_policy(shop: &Shop, condition: Value) {
    let service = json!({"Service": "cloudtrail.amazonaws.com"});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": service, "Action": "s3:GetBucketAcl", "Resource": "arn:aws:s3:::logs",
         "Condition": condition},
        {"Effect": "Allow", "Principal": service, "Action": "s3:PutObject",
         "Resource": "arn:aws:s3:::logs/AWSLogs/123456789012/*",
         "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}},
    ]});
    shop.ok("PutBucketPolicy", json!({"Bucket": "logs", "Policy": policy.to_string()})).await;
}

#[tokio::test]
async fn a_delivery_is_an_object_as_cloudtrail_writes_it() {
    let shop = Shop::with_bucket().await;
    set_policy(
        &shop,
        json!({"StringEquals": {"aws:SourceArn": "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit"}}),
    )
    .await;
    shop.s3.check_acl("logs", &trail()).await.unwrap();
    let key = "AWSLogs/123456789012/CloudTrail/a.json.gz";
    shop.s3.put(log_file(key), &trail()).await.unwrap();
    shop.s3.put(log_file(key), &trail()).await.unwrap();
    let (_, result, body) = shop.get(json!({"Bucket": "logs", "Key": key})).await.unwrap();
    assert_eq!(body, "gzip");
    assert_eq!(
        (
            &result["ContentType"],
            &result["ContentEncoding"],
            &result["ServerSideEncryption"],
            &result["Metadata"]
        ),
        (&json!("application/json"), &json!("gzip"), &json!("AES256"), &json!({"signature": "00ff"}))
    );
    let marker = BucketPut { body: Bytes::new(), ..log_file("AWSLogs/123456789012/CloudTrail/") };
    shop.s3.put(marker, &trail()).await.unwrap();
    assert_eq!(shop.text("AWSLogs/123456789012/CloudTrail/").await, "");
    assert_eq!(shop.blob_count(), 1);
}

#[tokio::test]
async fn a_delivery_obeys_the_buckets_policy() {
    let shop = Shop::with_bucket().await;
    let code = async |bucket: &str| shop.s3.check_acl(bucket, &trail()).await.unwrap_err().code;
    assert_eq!(code("none").await, "NoSuchBucket");
    assert_eq!(code("logs").await, "AccessDenied");
    set_policy(&shop, json!({"StringEquals": {"aws:SourceAccount": "210987654321"}})).await;
    assert_eq!(code("logs").await, "AccessDenied");
    let outside = shop.s3.put(log_file("elsewhere/a.json.gz"), &trail()).await.unwrap_err();
    assert_eq!(outside.code, "AccessDenied");
    let missing = BucketPut { bucket: "none".into(), ..log_file("a") };
    assert_eq!(shop.s3.put(missing, &trail()).await.unwrap_err().code, "NoSuchBucket");
    assert_eq!(shop.blob_count(), 0);
}
