//! What keeps objects from being deleted, seen and given away: object lock, ACLs, ownership, permission key by key.

use std::time::Duration;

use cairn_core::Principal;
use cairn_services::Caller;
use serde_json::{Value, json};

use super::{Shop, shown, stranger};
use crate::world::{call, caller, root};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PROTECTED: &str = "Access Denied because object protected by object lock.";

async fn locked(default: Value) -> Shop {
    let shop = Shop::new();
    shop.ok("CreateBucket", json!({"Bucket": "logs", "ObjectLockEnabledForBucket": true})).await;
    let rule = json!({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}});
    shop.ok("PutObjectLockConfiguration", json!({"Bucket": "logs", "ObjectLockConfiguration": rule})).await;
    shop
}

fn version(put: &Value) -> Value {
    json!({"Bucket": "logs", "Key": "a", "VersionId": put["VersionId"]})
}

fn with(mut params: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        params[name] = value.clone();
    }
    params
}

fn user(policy_name: &str) -> Caller {
    caller(Principal::IamUser {
        account: super::account(),
        user_id: "AIDAEXAMPLE".into(),
        user_name: policy_name.into(),
        path: "/".into(),
    })
}

/// Lets somebody do something in `logs`, or forbids it.
async fn put_policy(shop: &Shop, statements: Value) {
    let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    shop.ok("PutBucketPolicy", json!({"Bucket": "logs", "Policy": policy})).await;
}

#[tokio::test]
async fn a_locked_version_is_deleted_by_nobody_before_its_time() {
    let shop = locked(json!({"Mode": "COMPLIANCE", "Days": 30})).await;
    let put = shop.put("a", "x").await;
    let bypassing = with(version(&put), json!({"BypassGovernanceRetention": true}));
    let refused = shop.send(call("s3", "DeleteObject", bypassing)).await.unwrap_err();
    assert_eq!((refused.status, refused.message.as_str()), (403, PROTECTED));
    let batch =
        json!({"Bucket": "logs", "Delete": {"Objects": [{"Key": "a", "VersionId": put["VersionId"]}]}});
    assert_eq!(shop.ok("DeleteObjects", batch).await["Errors"][0]["Code"], "AccessDenied");
    // A delete marker takes nothing away.
    assert_eq!(shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "a"})).await["DeleteMarker"], true);
    assert_eq!(shop.get(version(&put)).await.unwrap().2, "x");
    shop.world.clock.advance(30 * DAY);
    shop.ok("DeleteObject", version(&put)).await;
    assert_eq!(shop.refused("GetObject", version(&put)).await, "404 NoSuchVersion");
}

#[tokio::test]
async fn who_may_and_says_so_lifts_a_governance_retention() {
    let shop = locked(json!({"Mode": "GOVERNANCE", "Years": 1})).await;
    let put = shop.put("a", "x").await;
    let head = shop.ok("HeadObject", version(&put)).await;
    assert_eq!(head["ObjectLockMode"], "GOVERNANCE");
    assert_eq!(shop.refused("DeleteObject", version(&put)).await, "403 AccessDenied");
    put_policy(
        &shop,
        json!([{"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::123456789012:user/ops"},
                "Action": "s3:BypassGovernanceRetention", "Resource": "arn:aws:s3:::logs/*"}]),
    )
    .await;
    let bypassing = with(version(&put), json!({"BypassGovernanceRetention": true}));
    let ops = Caller { now: shop.caller().now, ..user("ops") };
    let refused = shop.send_as(&ops, call("s3", "DeleteObject", bypassing.clone())).await.unwrap_err();
    assert!(refused.message.contains("s3:BypassGovernanceRetention"), "{}", refused.message);
    shop.ok("DeleteObject", bypassing).await;
}

#[tokio::test]
async fn retentions_and_legal_holds_are_set_read_and_lifted() {
    let shop = locked(json!({"Mode": "GOVERNANCE", "Days": 1})).await;
    let now = shop.caller().now.seconds();
    let held = json!({
        "Bucket": "logs", "Key": "a", "ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": now + 60,
        "ObjectLockLegalHoldStatus": "ON", "ContentMD5": "nUdGwEcCEm/UIe2iZ7nRDQ==",
    });
    let without_checksum = with(held.clone(), json!({"ContentMD5": null}));
    assert_eq!(shown(&shop.put_with(without_checksum, "x").await.unwrap_err()), "400 InvalidRequest");
    let held = with(held, json!({"ContentMD5": null, "ChecksumCRC32": "jNwWgw=="}));
    let put = shop.put_with(held, "x").await.unwrap();
    let read = shop.ok("GetObjectRetention", version(&put)).await;
    assert_eq!(read["Retention"], json!({"Mode": "COMPLIANCE", "RetainUntilDate": now + 60}));
    let retain = |mode: &str, until: i64| {
        with(version(&put), json!({"Retention": {"Mode": mode, "RetainUntilDate": until}}))
    };
    assert_eq!(shop.refused("PutObjectRetention", retain("COMPLIANCE", now + 30)).await, "403 AccessDenied");
    assert_eq!(
        shop.refused("PutObjectRetention", retain("COMPLIANCE", now - 1)).await,
        "400 InvalidArgument"
    );
    shop.ok("PutObjectRetention", retain("COMPLIANCE", now + 90)).await;
    shop.world.clock.advance(Duration::from_secs(100));
    assert_eq!(shop.refused("DeleteObject", version(&put)).await, "403 AccessDenied", "the legal hold is on");
    assert_eq!(shop.ok("GetObjectLegalHold", version(&put)).await["LegalHold"]["Status"], "ON");
    shop.ok("PutObjectLegalHold", with(version(&put), json!({"LegalHold": {"Status": "OFF"}}))).await;
    shop.ok("DeleteObject", version(&put)).await;
}

#[tokio::test]
async fn a_bucket_keeps_its_lock_and_its_versions() {
    let shop = locked(json!({"Mode": "GOVERNANCE", "Days": 7})).await;
    let read = shop.ok("GetObjectLockConfiguration", json!({"Bucket": "logs"})).await;
    assert_eq!(
        read["ObjectLockConfiguration"],
        json!({"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 7}}})
    );
    let suspended = json!({"Bucket": "logs", "VersioningConfiguration": {"Status": "Suspended"}});
    assert_eq!(shop.refused("PutBucketVersioning", suspended).await, "409 InvalidBucketState");

    let plain = Shop::with_bucket().await;
    let enable = json!({"Bucket": "logs", "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}});
    assert_eq!(plain.refused("PutObjectLockConfiguration", enable.clone()).await, "409 InvalidBucketState");
    plain.put("a", "x").await;
    let object = json!({"Bucket": "logs", "Key": "a"});
    for operation in ["GetObjectRetention", "GetObjectLegalHold"] {
        assert_eq!(plain.refused(operation, object.clone()).await, "400 InvalidRequest");
    }
    let held = with(object.clone(), json!({"ObjectLockLegalHoldStatus": "ON", "ChecksumCRC32": "jNwWgw=="}));
    assert_eq!(shown(&plain.put_with(held, "x").await.unwrap_err()), "400 InvalidRequest");
    plain.set_versioning("Enabled").await;
    plain.ok("PutObjectLockConfiguration", enable).await;
    assert_eq!(plain.refused("GetObjectRetention", object).await, "404 NoSuchObjectLockConfiguration");
}

#[tokio::test]
async fn uploads_and_copies_get_the_default_retention_and_not_their_sources() {
    let shop = locked(json!({"Mode": "GOVERNANCE", "Days": 7})).await;
    let upload = shop.ok("CreateMultipartUpload", json!({"Bucket": "logs", "Key": "a"})).await;
    let part = json!({"Bucket": "logs", "Key": "a", "UploadId": upload["UploadId"], "PartNumber": 1});
    let body = cairn_wire::Body::from_bytes("x".into());
    let sent = cairn_wire::Call { body: Some(body), ..call("s3", "UploadPart", part) };
    let etag = shop.send(sent).await.unwrap().result["ETag"].clone();
    shop.world.clock.advance(DAY);
    let complete = json!({"Bucket": "logs", "Key": "a", "UploadId": upload["UploadId"],
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]}});
    shop.ok("CompleteMultipartUpload", complete).await;
    let until = (shop.caller().now.plus(7 * DAY)).seconds();
    let head = shop.ok("HeadObject", json!({"Bucket": "logs", "Key": "a"})).await;
    assert_eq!(head["ObjectLockRetainUntilDate"], until);

    shop.ok("CreateBucket", json!({"Bucket": "free"})).await;
    shop.ok("CopyObject", json!({"Bucket": "free", "Key": "a", "CopySource": "logs/a"})).await;
    let copy = shop.ok("HeadObject", json!({"Bucket": "free", "Key": "a"})).await;
    assert_eq!(copy.get("ObjectLockMode"), None);
}

#[tokio::test]
async fn each_key_of_a_batch_is_permitted_or_refused_by_itself() {
    let shop = Shop::with_bucket().await;
    for key in ["kept/a", "free/b"] {
        shop.put(key, "x").await;
    }
    put_policy(
        &shop,
        json!([{"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::logs/kept/*"}]),
    )
    .await;
    let batch = json!({"Bucket": "logs", "Delete": {"Objects": [{"Key": "kept/a"}, {"Key": "free/b"}]}});
    let answer = shop.ok("DeleteObjects", batch).await;
    assert_eq!(answer["Deleted"], json!([{"Key": "free/b"}]));
    assert_eq!(answer["Errors"][0]["Key"], "kept/a");
    assert_eq!(answer["Errors"][0]["Code"], "AccessDenied");
    assert_eq!(shop.text("kept/a").await, "x");
}

#[tokio::test]
async fn whether_a_key_is_there_is_told_to_who_may_list() {
    let shop = Shop::with_bucket().await;
    let missing = json!({"Bucket": "logs", "Key": "none"});
    assert_eq!(shop.refused("GetObject", missing.clone()).await, "404 NoSuchKey");
    put_policy(
        &shop,
        json!([{"Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::logs/*"}]),
    )
    .await;
    let foreign = root(&stranger());
    for operation in ["GetObject", "HeadObject"] {
        let refused = shop.send_as(&foreign, call("s3", operation, missing.clone())).await.unwrap_err();
        assert_eq!(shown(&refused), "403 AccessDenied");
        assert!(refused.message.contains("s3:ListBucket"), "{}", refused.message);
    }
}

/// A bucket that takes ACLs, and lets the stranger write.
async fn with_acls(ownership: &str) -> Shop {
    let shop = Shop::with_bucket().await;
    shop.ok("DeletePublicAccessBlock", json!({"Bucket": "logs"})).await;
    let controls = json!({"Rules": [{"ObjectOwnership": ownership}]});
    shop.ok("PutBucketOwnershipControls", json!({"Bucket": "logs", "OwnershipControls": controls})).await;
    put_policy(
        &shop,
        json!([{"Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": ["s3:PutObject", "s3:PutObjectAcl"],
                "Resource": "arn:aws:s3:::logs/*"}]),
    )
    .await;
    shop
}

async fn put_as(shop: &Shop, caller: &Caller, key: &str, acl: &str) -> Result<(), String> {
    let params = json!({"Bucket": "logs", "Key": key, "ACL": acl});
    let body = cairn_wire::Body::from_bytes("x".into());
    let sent = cairn_wire::Call { body: Some(body), ..call("s3", "PutObject", params) };
    shop.send_as(caller, sent).await.map(drop).map_err(|error| shown(&error))
}

async fn may_get(shop: &Shop, caller: &Caller, key: &str) -> bool {
    shop.send_as(caller, call("s3", "GetObject", json!({"Bucket": "logs", "Key": key}))).await.is_ok()
}

#[tokio::test]
async fn an_object_is_its_writers_until_the_bucket_owner_is_given_control() {
    let shop = with_acls("ObjectWriter").await;
    let (owner, writer) = (shop.caller(), root(&stranger()));
    for acl in ["private", "bucket-owner-read", "bucket-owner-full-control"] {
        put_as(&shop, &writer, acl, acl).await.unwrap();
        assert!(may_get(&shop, &writer, acl).await, "{acl}");
        assert_eq!(may_get(&shop, &owner, acl).await, acl != "private", "{acl}");
    }
    let read_acl = json!({"Bucket": "logs", "Key": "bucket-owner-full-control"});
    let grants = shop.ok("GetObjectAcl", read_acl).await["Grants"].clone();
    assert_eq!(grants.as_array().map(Vec::len), Some(2));
    // What is in one's bucket can always be thrown out of it.
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "private"})).await;

    let preferring = with_acls("BucketOwnerPreferred").await;
    put_as(&preferring, &writer, "given", "bucket-owner-full-control").await.unwrap();
    assert!(may_get(&preferring, &preferring.caller(), "given").await);
    assert!(!may_get(&preferring, &writer, "given").await, "it is the bucket owner's now");
}

#[tokio::test]
async fn public_acls_work_where_nothing_blocks_or_ignores_them() {
    let shop = with_acls("BucketOwnerPreferred").await;
    let (owner, nobody) = (shop.caller(), caller(Principal::Anonymous));
    put_as(&shop, &owner, "open", "public-read").await.unwrap();
    put_as(&shop, &owner, "known", "authenticated-read").await.unwrap();
    assert!(may_get(&shop, &nobody, "open").await);
    assert!(!may_get(&shop, &nobody, "known").await);
    assert!(may_get(&shop, &root(&stranger()), "known").await);
    let block = |member: &str| json!({"Bucket": "logs", "PublicAccessBlockConfiguration": {member: true}});
    shop.ok("PutPublicAccessBlock", block("BlockPublicAcls")).await;
    assert_eq!(put_as(&shop, &owner, "more", "public-read").await, Err("403 AccessDenied".into()));
    let acl = json!({"Bucket": "logs", "ACL": "public-read"});
    assert_eq!(shop.refused("PutBucketAcl", acl.clone()).await, "403 AccessDenied");
    shop.ok("PutPublicAccessBlock", block("IgnorePublicAcls")).await;
    assert!(!may_get(&shop, &nobody, "open").await);
    shop.ok("DeletePublicAccessBlock", json!({"Bucket": "logs"})).await;
    shop.ok("PutBucketAcl", acl).await;
    let list = call("s3", "ListObjectsV2", json!({"Bucket": "logs"}));
    assert!(shop.send_as(&nobody, list).await.is_ok());
    let enforced = json!({"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]});
    let enforce = json!({"Bucket": "logs", "OwnershipControls": enforced});
    let refused = shop.refused("PutBucketOwnershipControls", enforce.clone()).await;
    assert_eq!(refused, "400 InvalidBucketAclWithObjectOwnership");
    shop.ok("PutBucketAcl", json!({"Bucket": "logs", "ACL": "private"})).await;
    shop.ok("PutBucketOwnershipControls", enforce).await;
    assert!(!may_get(&shop, &nobody, "open").await, "without ACLs nothing of them counts");
    assert_eq!(
        put_as(&shop, &owner, "more", "public-read").await,
        Err("400 AccessControlListNotSupported".into())
    );
}
