//! Versions, null versions and delete markers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Shop, shown};

fn at(key: &str) -> Value {
    json!({"Bucket": "logs", "Key": key})
}

fn version(key: &str, id: &Value) -> Value {
    json!({"Bucket": "logs", "Key": key, "VersionId": id})
}

#[tokio::test]
async fn every_version_is_kept_and_a_delete_marker_hides_them() {
    let shop = Shop::with_versions().await;
    let first = shop.put("a", "1").await["VersionId"].clone();
    let second = shop.put("a", "2").await["VersionId"].clone();
    assert_eq!(shop.text("a").await, "2");
    assert_eq!(shop.get(version("a", &first)).await.unwrap().2, "1");
    let deleted = shop.ok("DeleteObject", at("a")).await;
    assert_eq!(deleted["DeleteMarker"], true);
    assert_eq!(shop.refused("GetObject", at("a")).await, "404 NoSuchKey");
    let marker = deleted["VersionId"].clone();
    assert_eq!(shop.refused("GetObject", version("a", &marker)).await, "405 MethodNotAllowed");
    assert_eq!(shop.get(version("a", &second)).await.unwrap().2, "2");
    let undone = shop.ok("DeleteObject", version("a", &marker)).await;
    assert_eq!(undone, json!({"DeleteMarker": true, "VersionId": marker}));
    assert_eq!(shop.text("a").await, "2");
    shop.ok("DeleteObject", version("a", &second)).await;
    assert_eq!((shop.text("a").await.as_str(), shop.blob_count()), ("1", 1));
    assert_eq!(shop.refused("GetObject", version("a", &second)).await, "404 NoSuchVersion");
    assert_eq!(shop.refused("GetObject", version("a", &json!("x"))).await, "400 InvalidArgument");
}

#[tokio::test]
async fn a_suspended_bucket_has_one_null_version_among_its_others() {
    let shop = Shop::with_bucket().await;
    shop.put("a", "null 1").await;
    shop.set_versioning("Enabled").await;
    let kept = shop.put("a", "kept").await["VersionId"].clone();
    assert_eq!(shop.get(version("a", &json!("null"))).await.unwrap().2, "null 1");
    shop.set_versioning("Suspended").await;
    assert_eq!(shop.put("a", "null 2").await.get("VersionId"), None);
    shop.put("a", "null 3").await;
    assert_eq!(shop.text("a").await, "null 3");
    assert_eq!(shop.get(version("a", &kept)).await.unwrap().2, "kept");
    assert_eq!(shop.blob_count(), 2);
    let deleted = shop.ok("DeleteObject", at("a")).await;
    assert_eq!(deleted, json!({"DeleteMarker": true, "VersionId": "null"}));
    let listed = shop.ok("ListObjectVersions", json!({"Bucket": "logs"})).await;
    assert_eq!(listed["Versions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["DeleteMarkers"][0]["IsLatest"], true);
    assert_eq!(shop.ok("GetBucketVersioning", json!({"Bucket": "logs"})).await["Status"], "Suspended");
}

#[tokio::test]
async fn versions_are_ordered_even_when_the_clock_steps_back() {
    let shop = Shop::with_versions().await;
    shop.put("a", "1").await;
    shop.world.clock.set(cairn_core::Timestamp::from_seconds(1_000_000_000));
    shop.put("a", "2").await;
    shop.world.clock.advance(Duration::from_secs(1));
    shop.put("a", "3").await;
    assert_eq!(shop.text("a").await, "3");
}

#[tokio::test]
async fn a_listing_of_versions_goes_on_behind_a_marker_whose_version_is_gone() {
    let shop = Shop::with_versions().await;
    let mut ids: Vec<Value> = Vec::new();
    for body in ["1", "2", "3", "4", "5"] {
        ids.insert(0, shop.put("key", body).await["VersionId"].clone());
    }
    let first = shop.ok("ListObjectVersions", json!({"Bucket": "logs", "MaxKeys": 3})).await;
    assert_eq!(
        (&first["NextKeyMarker"], &first["NextVersionIdMarker"], &first["IsTruncated"]),
        (&json!("key"), &ids[2], &json!(true))
    );
    assert_eq!(first["Versions"][0]["IsLatest"], true);
    let next = || json!({"Bucket": "logs", "KeyMarker": "key", "VersionIdMarker": ids[2], "MaxKeys": 3});
    let listed = |page: &Value| -> Vec<(Value, Value)> {
        let versions = page["Versions"].as_array().unwrap().iter();
        versions.map(|version| (version["VersionId"].clone(), version["IsLatest"].clone())).collect()
    };
    let second = shop.ok("ListObjectVersions", next()).await;
    assert_eq!(listed(&second), [(ids[3].clone(), json!(false)), (ids[4].clone(), json!(false))]);
    for id in &ids[..3] {
        shop.ok("DeleteObject", version("key", id)).await;
    }
    let after_delete = shop.ok("ListObjectVersions", next()).await;
    assert_eq!(listed(&after_delete), [(ids[3].clone(), json!(true)), (ids[4].clone(), json!(false))]);
    let only_version = json!({"Bucket": "logs", "VersionIdMarker": ids[2]});
    assert_eq!(shop.refused("ListObjectVersions", only_version).await, "400 InvalidArgument");
}

#[tokio::test]
async fn a_copy_can_bring_back_an_old_version() {
    let shop = Shop::with_versions().await;
    let old = shop.put("a", "old").await["VersionId"].clone();
    shop.put("a", "new").await;
    let source = format!("logs/a?versionId={}", old.as_str().unwrap());
    let copied = shop.ok("CopyObject", json!({"Bucket": "logs", "Key": "a", "CopySource": source})).await;
    assert_eq!(copied["CopySourceVersionId"], old);
    assert_eq!(shop.text("a").await, "old");
    let bucket = shop.send(crate::world::call("s3", "DeleteBucket", json!({"Bucket": "logs"}))).await;
    assert_eq!(shown(&bucket.unwrap_err()), "409 BucketNotEmpty");
}
