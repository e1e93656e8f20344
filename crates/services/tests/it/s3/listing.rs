//! Listings, held against a model over a sorted map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::Shop;

/// What the listings should show: keys with their versions, newest first; true is an object, false a delete marker.
type Model = BTreeMap<String, Vec<bool>>;

/// The group of a key.
fn group(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = key.strip_prefix(prefix)?;
    let at = (!delimiter.is_empty()).then(|| rest.find(delimiter)).flatten()?;
    Some(format!("{prefix}{}", &rest[..at + delimiter.len()]))
}

/// All that a listing should show of `keys` behind `after`: keys and groups in byte order.
fn expected<'a>(
    keys: impl Iterator<Item = &'a String>,
    prefix: &str,
    delimiter: &str,
    after: &str,
) -> Vec<String> {
    let shown: BTreeSet<String> = keys
        .filter(|key| key.starts_with(prefix))
        .map(|key| group(key, prefix, delimiter).unwrap_or_else(|| key.clone()))
        .filter(|shown| shown.as_str() > after)
        .collect();
    shown.into_iter().collect()
}

fn texts<'a>(reply: &'a Value, list: &str, member: &str) -> Vec<&'a str> {
    let entries = reply.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    entries.iter().map(|entry| entry[member].as_str().unwrap()).collect()
}

fn shown(reply: &Value) -> Vec<String> {
    let mut shown: Vec<String> = texts(reply, "Contents", "Key").into_iter().map(str::to_owned).collect();
    shown.extend(texts(reply, "CommonPrefixes", "Prefix").into_iter().map(str::to_owned));
    shown.sort();
    shown
}

/// Keys that share prefixes, hold delimiters, and have bytes at both ends of the order.
fn key() -> impl Strategy<Value = String> {
    let piece = select(vec!["a", "b", "ab", "/", "//", "é", "\u{0}", "\u{10ffff}", "~", " "]);
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

async fn fill(history: &[(String, bool)]) -> (Shop, Model) {
    let shop = Shop::with_versions().await;
    let mut model = Model::new();
    for (key, put) in history {
        if *put {
            shop.put(key, "").await;
        } else {
            shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": key})).await;
        }
        model.entry(key.clone()).or_default().insert(0, *put);
    }
    (shop, model)
}

async fn check_objects(shop: &Shop, model: &Model, prefix: &str, delimiter: &str, after: &str, page: usize) {
    let live = || model.iter().filter(|(_, versions)| versions[0]).map(|(key, _)| key);
    let wanted = expected(live(), prefix, delimiter, after);
    let query = json!({"Bucket": "logs", "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": page});
    let mut found = Vec::new();
    let mut params = query.clone();
    params["StartAfter"] = after.into();
    loop {
        let reply = shop.ok("ListObjectsV2", params.clone()).await;
        let on_page = shown(&reply);
        assert!(on_page.len() <= page && reply["KeyCount"] == on_page.len());
        found.extend(on_page);
        if reply["IsTruncated"] == false {
            break;
        }
        params["ContinuationToken"] = reply["NextContinuationToken"].clone();
    }
    assert_eq!(found, wanted, "version 2: {query} after {after:?}");
    let (mut found, mut marker) = (Vec::new(), after.to_owned());
    loop {
        let mut params = query.clone();
        params["Marker"] = marker.as_str().into();
        let reply = shop.ok("ListObjects", params).await;
        found.extend(shown(&reply));
        if reply["IsTruncated"] == false {
            break;
        }
        marker = reply["NextMarker"].as_str().map_or_else(|| found.last().unwrap().clone(), str::to_owned);
    }
    assert_eq!(found, wanted, "version 1: {query} after {after:?}");
}

async fn check_versions(shop: &Shop, model: &Model, prefix: &str, delimiter: &str, page: usize) {
    let wanted = expected(model.keys(), prefix, delimiter, "");
    let mut params = json!({"Bucket": "logs", "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": page});
    let (mut names, mut count) = (BTreeSet::new(), 0);
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let reply = shop.ok("ListObjectVersions", params.clone()).await;
        for list in ["Versions", "DeleteMarkers"] {
            for entry in reply.get(list).and_then(Value::as_array).into_iter().flatten() {
                let key = entry["Key"].as_str().unwrap().to_owned();
                if entry["IsLatest"] == true {
                    *newest.entry(key.clone()).or_default() += 1;
                    assert_eq!(list == "Versions", model[&key][0]);
                }
                names.insert(key);
                count += 1;
            }
        }
        names.extend(texts(&reply, "CommonPrefixes", "Prefix").into_iter().map(str::to_owned));
        if reply["IsTruncated"] == false {
            break;
        }
        params["KeyMarker"] = reply["NextKeyMarker"].clone();
        params["VersionIdMarker"] = reply.get("NextVersionIdMarker").cloned().unwrap_or(Value::Null);
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), wanted, "{params}");
    let ungrouped =
        || model.iter().filter(|(key, _)| key.starts_with(prefix) && group(key, prefix, delimiter).is_none());
    assert_eq!(count, ungrouped().map(|(_, versions)| versions.len()).sum::<usize>(), "{params}");
    assert!(newest.values().all(|times| *times == 1) && newest.len() == ungrouped().count());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn pages_of_every_listing_put_together_are_the_bucket(
        history in prop::collection::vec((key(), prop::bool::weighted(0.8)), 0..25),
        prefix in prop_oneof![Just(String::new()), key()],
        delimiter in select(vec!["", "/", "//", "a", "\u{0}", "é"]),
        after in prop_oneof![Just(String::new()), key()],
        page in 1_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (shop, model) = fill(&history).await;
            check_objects(&shop, &model, &prefix, delimiter, &after, page).await;
            check_versions(&shop, &model, &prefix, delimiter, page).await;
        });
    }
}

#[tokio::test]
async fn replies_echo_the_query_as_recorded_from_aws() {
    let shop = Shop::with_bucket().await;
    for key in ["test/bar/foo/123", "test/foo/bar/123", "test/foo/bar/456"] {
        shop.put(key, "test content").await;
    }
    let query = |more: Value| {
        let mut params =
            json!({"Bucket": "logs", "Prefix": "test/", "Delimiter": "/", "EncodingType": "url"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let listed = shop.ok("ListObjectsV2", query(json!({}))).await;
    assert_eq!(
        listed,
        json!({
            "IsTruncated": false, "Name": "logs", "Prefix": "test/", "Delimiter": "/", "MaxKeys": 1000,
            "EncodingType": "url", "CommonPrefixes": [{"Prefix": "test/bar/"}, {"Prefix": "test/foo/"}],
            "KeyCount": 2,
        })
    );
    let first = shop.ok("ListObjects", query(json!({"MaxKeys": 1}))).await;
    assert_eq!((&first["NextMarker"], &first["Marker"]), (&json!("test/bar/"), &json!("")));
    let none = shop.ok("ListObjectsV2", query(json!({"MaxKeys": 0}))).await;
    assert_eq!((&none["IsTruncated"], &none["KeyCount"]), (&json!(false), &json!(0)));
    let plain = shop.ok("ListObjects", json!({"Bucket": "logs", "MaxKeys": 1})).await;
    assert_eq!(plain["IsTruncated"], true);
    assert!(plain.get("NextMarker").is_none() && plain.get("EncodingType").is_none());
    let entry = &plain["Contents"][0];
    assert_eq!(entry["Owner"]["ID"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&entry["Size"], &entry["StorageClass"], &entry["ChecksumAlgorithm"]),
        (&json!(12), &json!("STANDARD"), &json!(["CRC64NVME"]))
    );
    assert_eq!(shop.refused("ListObjectsV2", query(json!({"MaxKeys": -1}))).await, "400 InvalidArgument");
    let token = query(json!({"ContinuationToken": "?"}));
    assert_eq!(shop.refused("ListObjectsV2", token).await, "400 InvalidArgument");
    shop.put("sp ace/ü", "x").await;
    let encoded = shop.ok("ListObjectsV2", query(json!({"Prefix": "sp ", "Delimiter": ""}))).await;
    assert_eq!(
        (&encoded["Prefix"], &encoded["Contents"][0]["Key"]),
        (&json!("sp+"), &json!("sp+ace/%C3%BC"))
    );
}

#[tokio::test]
async fn a_listing_seeks_past_a_group_however_many_keys_it_has() {
    let shop = Shop::with_bucket().await;
    for number in 0..300 {
        shop.put(&format!("many/{number:04}"), "").await;
    }
    shop.put("zzz", "").await;
    let listed = shop.ok("ListObjectsV2", json!({"Bucket": "logs", "Delimiter": "/"})).await;
    assert_eq!(shown(&listed), ["many/", "zzz"]);
    let behind = json!({"Bucket": "logs", "Delimiter": "/", "StartAfter": "many/0200"});
    assert_eq!(shown(&shop.ok("ListObjectsV2", behind).await), ["zzz"]);
}
