//! Buckets, their policies and settings.

use serde_json::{Value, json};

use super::{Shop, shown, stranger};
use crate::world::{call, root};

#[tokio::test]
async fn a_bucket_is_made_found_listed_and_deleted() {
    let shop = Shop::new();
    let made = shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
    assert_eq!(made["Location"], "/logs");
    assert_eq!(shop.ok("HeadBucket", json!({"Bucket": "logs"})).await["BucketRegion"], "us-east-1");
    assert_eq!(shop.ok("GetBucketLocation", json!({"Bucket": "logs"})).await, json!({}));
    let listed = shop.ok("ListBuckets", json!({})).await;
    assert_eq!(listed["Buckets"][0]["Name"], "logs");
    assert_eq!(listed["Buckets"][0]["CreationDate"], 1_795_281_866);
    shop.put("a", "1").await;
    assert_eq!(shop.refused("DeleteBucket", json!({"Bucket": "logs"})).await, "409 BucketNotEmpty");
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "a"})).await;
    shop.ok("DeleteBucket", json!({"Bucket": "logs"})).await;
    for operation in ["HeadBucket", "GetBucketPolicy", "ListObjectsV2", "DeleteBucket", "GetBucketAcl"] {
        assert_eq!(
            shop.refused(operation, json!({"Bucket": "logs"})).await,
            "404 NoSuchBucket",
            "{operation}"
        );
    }
    assert_eq!(shop.refused("GetObject", json!({"Bucket": "logs", "Key": "a"})).await, "404 NoSuchBucket");
}

#[tokio::test]
async fn a_bucket_name_is_taken_for_all_accounts() {
    let shop = Shop::with_bucket().await;
    // us-east-1 answers its owner's repetition with success; other regions do not.
    shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
    let other = root(&stranger());
    let refusal = shop.send_as(&other, call("s3", "CreateBucket", json!({"Bucket": "logs"}))).await;
    assert_eq!(shown(&refusal.unwrap_err()), "409 BucketAlreadyExists");
    let mut abroad = shop.caller();
    abroad.region = "eu-west-1".parse().unwrap();
    let create = |name: &str, constraint: &str| {
        let configuration = json!({"LocationConstraint": constraint});
        call("s3", "CreateBucket", json!({"Bucket": name, "CreateBucketConfiguration": configuration}))
    };
    shop.send_as(&abroad, create("abroad", "eu-west-1")).await.unwrap();
    let again = shop.send_as(&abroad, create("abroad", "eu-west-1")).await;
    assert_eq!(shown(&again.unwrap_err()), "409 BucketAlreadyOwnedByYou");
    let location = shop.ok("GetBucketLocation", json!({"Bucket": "abroad"})).await;
    assert_eq!(location, json!({"LocationConstraint": "eu-west-1"}));
    let unspecified = shop.send_as(&abroad, call("s3", "CreateBucket", json!({"Bucket": "third"}))).await;
    assert_eq!(shown(&unspecified.unwrap_err()), "400 IllegalLocationConstraintException");
    assert_eq!(shop.refused("CreateBucket", json!({"Bucket": "Logs"})).await, "400 InvalidBucketName");
    let reserved = json!({"Bucket": "awscloudtrail-policy-us-east-1"});
    assert_eq!(shop.refused("CreateBucket", reserved).await, "409 BucketAlreadyExists");
    let listed = shop.send_as(&other, call("s3", "ListBuckets", json!({}))).await.unwrap().result;
    assert_eq!(listed["Buckets"], json!([]));
}

#[tokio::test]
async fn buckets_are_listed_in_pages() {
    let shop = Shop::new();
    for name in ["bbb", "aaa", "ccc"] {
        shop.ok("CreateBucket", json!({"Bucket": name})).await;
    }
    let first = shop.ok("ListBuckets", json!({"MaxBuckets": 2})).await;
    assert_eq!(first["Buckets"].as_array().unwrap().len(), 2);
    let token = first["ContinuationToken"].clone();
    let second = shop.ok("ListBuckets", json!({"MaxBuckets": 2, "ContinuationToken": token})).await;
    assert_eq!(second["Buckets"][0]["Name"], "ccc");
    assert!(second.get("ContinuationToken").is_none());
}

fn policy(statement: &Value) -> Value {
    let document = json!({"Version": "2012-10-17", "Statement": [statement]});
    json!({"Bucket": "logs", "Policy": document.to_string()})
}

#[tokio::test]
async fn a_bucket_policy_is_kept_as_it_was_put_and_lets_other_accounts_in() {
    let shop = Shop::with_bucket().await;
    assert_eq!(shop.refused("GetBucketPolicy", json!({"Bucket": "logs"})).await, "404 NoSuchBucketPolicy");
    let statement = json!({
        "Effect": "Allow",
        "Principal": {"AWS": "210987654321"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::logs/*",
    });
    shop.put("a", "1").await;
    let get = || call("s3", "GetObject", json!({"Bucket": "logs", "Key": "a"}));
    let other = root(&stranger());
    let before = shop.send_as(&other, get()).await;
    assert_eq!(shown(&before.unwrap_err()), "403 AccessDenied");
    shop.ok("PutBucketPolicy", policy(&statement)).await;
    shop.send_as(&other, get()).await.unwrap();
    let kept = shop.ok("GetBucketPolicy", json!({"Bucket": "logs"})).await;
    assert_eq!(kept["Policy"], policy(&statement)["Policy"]);
    let status = shop.ok("GetBucketPolicyStatus", json!({"Bucket": "logs"})).await;
    assert_eq!(status["PolicyStatus"]["IsPublic"], false);
    shop.ok("DeleteBucketPolicy", json!({"Bucket": "logs"})).await;
    assert_eq!(shop.refused("GetBucketPolicy", json!({"Bucket": "logs"})).await, "404 NoSuchBucketPolicy");
    let text = json!({"Bucket": "logs", "Policy": "not json"});
    assert_eq!(shop.refused("PutBucketPolicy", text).await, "400 MalformedPolicy");
}

#[tokio::test]
async fn a_public_policy_needs_the_public_access_block_to_be_gone() {
    let shop = Shop::with_bucket().await;
    let public = json!({
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::logs/*",
    });
    assert_eq!(shop.refused("PutBucketPolicy", policy(&public)).await, "403 AccessDenied");
    let bucket = || json!({"Bucket": "logs"});
    let block = shop.ok("GetPublicAccessBlock", bucket()).await;
    assert_eq!(block["PublicAccessBlockConfiguration"]["BlockPublicPolicy"], true);
    shop.ok("DeletePublicAccessBlock", bucket()).await;
    let code = shop.refused("GetPublicAccessBlock", bucket()).await;
    assert_eq!(code, "404 NoSuchPublicAccessBlockConfiguration");
    shop.ok("PutBucketPolicy", policy(&public)).await;
    assert_eq!(shop.ok("GetBucketPolicyStatus", bucket()).await["PolicyStatus"]["IsPublic"], true);
    shop.put("a", "1").await;
    let get = || call("s3", "GetObject", json!({"Bucket": "logs", "Key": "a"}));
    shop.send_as(&root(&stranger()), get()).await.unwrap();
    let restrict =
        json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {"RestrictPublicBuckets": true}});
    shop.ok("PutPublicAccessBlock", restrict).await;
    let refusal = shop.send_as(&root(&stranger()), get()).await;
    assert_eq!(shown(&refusal.unwrap_err()), "403 AccessDenied");
    shop.send(get()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_set_has_awss_codes_and_what_is_not_built_is_refused() {
    let shop = Shop::with_bucket().await;
    for (operation, code) in [
        ("GetBucketTagging", "404 NoSuchTagSet"),
        ("GetBucketCors", "404 NoSuchCORSConfiguration"),
        ("GetBucketWebsite", "404 NoSuchWebsiteConfiguration"),
        ("GetBucketLifecycleConfiguration", "404 NoSuchLifecycleConfiguration"),
        ("GetBucketLifecycle", "404 NoSuchLifecycleConfiguration"),
        ("GetBucketReplication", "404 ReplicationConfigurationNotFoundError"),
        ("GetObjectLockConfiguration", "404 ObjectLockConfigurationNotFoundError"),
    ] {
        assert_eq!(shop.refused(operation, json!({"Bucket": "logs"})).await, code, "{operation}");
    }
    for operation in [
        "GetBucketVersioning",
        "GetBucketLogging",
        "GetBucketNotificationConfiguration",
        "GetBucketAccelerateConfiguration",
        "DeleteBucketCors",
        "DeleteBucketLifecycle",
    ] {
        assert_eq!(shop.ok(operation, json!({"Bucket": "logs"})).await, json!({}), "{operation}");
    }
    let acl = shop.ok("GetBucketAcl", json!({"Bucket": "logs"})).await;
    assert_eq!(acl["Grants"][0]["Permission"], "FULL_CONTROL");
    let refused = json!({"Bucket": "logs", "ACL": "public-read"});
    assert_eq!(shop.refused("PutBucketAcl", refused).await, "400 AccessControlListNotSupported");
    shop.ok("PutBucketAcl", json!({"Bucket": "logs", "ACL": "private"})).await;
    let encryption = |algorithm: &str| {
        let rule = json!({"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}});
        json!({"Bucket": "logs", "ServerSideEncryptionConfiguration": {"Rules": [rule]}})
    };
    shop.ok("PutBucketEncryption", encryption("AES256")).await;
    assert_eq!(shop.refused("PutBucketEncryption", encryption("aws:kms:dsse")).await, "501 NotImplemented");
    let tags = json!({"Bucket": "logs", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}});
    shop.ok("PutBucketTagging", tags).await;
    let kept = shop.ok("GetBucketTagging", json!({"Bucket": "logs"})).await;
    assert_eq!(kept, json!({"TagSet": [{"Key": "k", "Value": "v"}]}));
    let owner = json!({"Bucket": "logs", "ExpectedBucketOwner": "210987654321"});
    assert_eq!(shop.refused("GetBucketTagging", owner).await, "403 AccessDenied");
}

#[tokio::test]
async fn the_policy_templates_are_read_by_everybody_and_written_by_nobody() {
    let shop = Shop::new();
    let bucket = "awscloudtrail-policy-apiso-northsouth-3r";
    let key = "policy/S3/AWSCloudTrail-S3BucketPolicy-2014-12-17.json";
    let (_, result, body) = shop.get(json!({"Bucket": bucket, "Key": key})).await.unwrap();
    assert_eq!(result["ContentLength"], body.len());
    for placeholder in ["<BucketName>", "<CustomerAccountID>", "<Prefix>/", "cloudtrail.amazonaws.com"] {
        assert!(body.contains(placeholder), "{placeholder}");
    }
    // With its placeholders filled in it is a policy that a bucket takes.
    let filled = body.replace("<BucketName>", "logs").replace("<CustomerAccountID>", "123456789012");
    shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
    let filled = filled.replace("<Prefix>/", "");
    shop.ok("PutBucketPolicy", json!({"Bucket": "logs", "Policy": filled})).await;
    let sns = "policy/SNS/AWSCloudTrail-SnsTopicPolicy-2014-12-17.json";
    assert!(shop.get(json!({"Bucket": bucket, "Key": sns})).await.unwrap().2.contains("<SNSTopicName>"));
    assert_eq!(shop.refused("GetObject", json!({"Bucket": bucket, "Key": "x"})).await, "404 NoSuchKey");
    let write = shop.put_with(json!({"Bucket": bucket, "Key": key}), "mine").await;
    assert_eq!(shown(&write.unwrap_err()), "403 AccessDenied");
    assert_eq!(shop.refused("DeleteBucket", json!({"Bucket": bucket})).await, "403 AccessDenied");
}
