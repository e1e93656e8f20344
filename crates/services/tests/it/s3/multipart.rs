//! Multipart uploads.

use bytes::Bytes;
use cairn_wire::{AwsError, Body, Call};
use serde_json::{Value, json};

use super::{Shop, shown};
use crate::world::call;

const MIB: usize = 1024 * 1024;

async fn begin(shop: &Shop, more: Value) -> String {
    let mut params = json!({"Bucket": "logs", "Key": "big"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    shop.ok("CreateMultipartUpload", params).await["UploadId"].as_str().unwrap().to_owned()
}

fn named(upload: &str, more: Value) -> Value {
    let mut params = json!({"Bucket": "logs", "Key": "big", "UploadId": upload});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

async fn upload(shop: &Shop, upload: &str, number: u32, bytes: Vec<u8>) -> Result<Value, AwsError> {
    let params = named(upload, json!({"PartNumber": number}));
    let body = Some(Body::from_bytes(Bytes::from(bytes)));
    Ok(shop.send(Call { body, ..call("s3", "UploadPart", params) }).await?.result)
}

fn parts(etags: &[(u32, &Value)]) -> Value {
    let parts: Vec<Value> =
        etags.iter().map(|(number, etag)| json!({"PartNumber": number, "ETag": etag})).collect();
    json!({"MultipartUpload": {"Parts": parts}})
}

#[tokio::test]
async fn parts_become_one_object_and_unused_ones_go() {
    let shop = Shop::with_bucket().await;
    let id = begin(&shop, json!({"ContentType": "text/plain", "Metadata": {"a": "1"}})).await;
    let part = vec![b'x'; 5 * MIB];
    let replaced = upload(&shop, &id, 1, b"replaced".to_vec()).await.unwrap();
    let first = upload(&shop, &id, 1, part.clone()).await.unwrap()["ETag"].clone();
    upload(&shop, &id, 2, b"unused".to_vec()).await.unwrap();
    let last = upload(&shop, &id, 7, b"end".to_vec()).await.unwrap()["ETag"].clone();
    let listed = shop.ok("ListParts", named(&id, json!({"MaxParts": 2}))).await;
    assert_eq!(
        (&listed["IsTruncated"], &listed["NextPartNumberMarker"], &listed["Parts"][0]["Size"]),
        (&json!(true), &json!(2), &json!(5 * MIB))
    );
    let rest = shop.ok("ListParts", named(&id, json!({"PartNumberMarker": 2}))).await;
    assert_eq!(rest["Parts"][0]["PartNumber"], 7);
    assert_eq!(shop.refused("GetObject", json!({"Bucket": "logs", "Key": "big"})).await, "404 NoSuchKey");
    for (wrong, code) in [
        (parts(&[(7, &last), (1, &first)]), "400 InvalidPartOrder"),
        (parts(&[(1, &replaced["ETag"]), (7, &last)]), "400 InvalidPart"),
        (parts(&[(1, &first), (9, &last)]), "400 InvalidPart"),
        (parts(&[]), "400 MalformedXML"),
    ] {
        assert_eq!(shop.refused("CompleteMultipartUpload", named(&id, wrong)).await, code);
    }
    let done = shop.ok("CompleteMultipartUpload", named(&id, parts(&[(1, &first), (7, &last)]))).await;
    assert!(done["ETag"].as_str().unwrap().ends_with("-2\""));
    assert_eq!(done["ChecksumType"], "FULL_OBJECT");
    assert_eq!(shop.blob_count(), 2);
    let (_, result, text) = shop.get(json!({"Bucket": "logs", "Key": "big"})).await.unwrap();
    assert_eq!(text.len(), 5 * MIB + 3);
    assert_eq!((&result["ContentType"], &result["Metadata"]), (&json!("text/plain"), &json!({"a": "1"})));
    let across = json!({"Bucket": "logs", "Key": "big", "Range": format!("bytes={}-", 5 * MIB - 2)});
    assert_eq!(shop.get(across).await.unwrap().2, "xxend");
    let (status, result, text) =
        shop.get(json!({"Bucket": "logs", "Key": "big", "PartNumber": 2})).await.unwrap();
    assert_eq!((status, text.as_str(), &result["PartsCount"]), (Some(206), "end", &json!(2)));
    let whole = shop
        .put_with(
            json!({"Bucket": "logs", "Key": "whole"}),
            &String::from_utf8([part, b"end".to_vec()].concat()).unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(whole["ChecksumCRC64NVME"], done["ChecksumCRC64NVME"]);
    assert_eq!(shop.refused("ListParts", named(&id, json!({}))).await, "404 NoSuchUpload");
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "big"})).await;
    assert_eq!(shop.blob_count(), 1);
}

#[tokio::test]
async fn an_upload_with_a_checksum_has_a_composite_one() {
    let shop = Shop::with_bucket().await;
    let id = begin(&shop, json!({"ChecksumAlgorithm": "SHA256"})).await;
    let part = upload(&shop, &id, 1, vec![0; 5 * MIB]).await.unwrap();
    assert!(part["ChecksumSHA256"].is_string());
    let crc = named(&id, json!({"PartNumber": 2, "ChecksumCRC32": "DUoRhQ=="}));
    let mismatch = Call {
        body: Some(Body::from_bytes(Bytes::from_static(b"hello world"))),
        ..call("s3", "UploadPart", crc)
    };
    assert_eq!(shown(&shop.send(mismatch).await.unwrap_err()), "400 InvalidRequest");
    let last = upload(&shop, &id, 2, vec![0; 10]).await.unwrap();
    let done = shop
        .ok("CompleteMultipartUpload", named(&id, parts(&[(1, &part["ETag"]), (2, &last["ETag"])])))
        .await;
    assert_eq!(done["ChecksumType"], "COMPOSITE");
    assert!(done["ChecksumSHA256"].as_str().unwrap().ends_with("-2"));
    let attributes =
        json!({"Bucket": "logs", "Key": "big", "ObjectAttributes": ["ObjectParts"], "MaxParts": 1});
    let attributes = shop.ok("GetObjectAttributes", attributes).await;
    assert_eq!(attributes["ObjectParts"]["TotalPartsCount"], 2);
    assert_eq!(attributes["ObjectParts"]["IsTruncated"], true);
    assert_eq!(attributes["ObjectParts"]["Parts"][0]["ChecksumSHA256"], part["ChecksumSHA256"]);
    let refused = json!({
        "Bucket": "logs", "Key": "k", "ChecksumAlgorithm": "SHA1", "ChecksumType": "FULL_OBJECT",
    });
    assert_eq!(shop.refused("CreateMultipartUpload", refused).await, "400 InvalidRequest");
}

#[tokio::test]
async fn a_small_part_before_the_last_is_refused() {
    let shop = Shop::with_bucket().await;
    let id = begin(&shop, json!({})).await;
    let first = upload(&shop, &id, 1, b"small".to_vec()).await.unwrap()["ETag"].clone();
    let last = upload(&shop, &id, 2, b"last".to_vec()).await.unwrap()["ETag"].clone();
    let both = named(&id, parts(&[(1, &first), (2, &last)]));
    assert_eq!(shop.refused("CompleteMultipartUpload", both).await, "400 EntityTooSmall");
    assert_eq!(shown(&upload(&shop, &id, 0, vec![]).await.unwrap_err()), "400 InvalidArgument");
    assert_eq!(shown(&upload(&shop, &id, 10_001, vec![]).await.unwrap_err()), "400 InvalidArgument");
    assert_eq!(shown(&upload(&shop, "none", 1, vec![]).await.unwrap_err()), "404 NoSuchUpload");
    shop.ok("AbortMultipartUpload", named(&id, json!({}))).await;
    assert_eq!(shop.blob_count(), 0);
    assert_eq!(shop.refused("AbortMultipartUpload", named(&id, json!({}))).await, "404 NoSuchUpload");
}

#[tokio::test]
async fn a_part_can_be_copied_from_an_object() {
    let shop = Shop::with_bucket().await;
    shop.put("source", "0123456789").await;
    let id = begin(&shop, json!({})).await;
    let range = |range: &str| {
        named(&id, json!({"PartNumber": 1, "CopySource": "logs/source", "CopySourceRange": range}))
    };
    let copied = shop.ok("UploadPartCopy", range("bytes=2-5")).await;
    assert_eq!(shop.refused("UploadPartCopy", range("bytes=2-10")).await, "400 InvalidArgument");
    assert_eq!(shop.refused("UploadPartCopy", range("bytes=2-")).await, "400 InvalidArgument");
    let etag = copied["CopyPartResult"]["ETag"].clone();
    shop.ok("CompleteMultipartUpload", named(&id, parts(&[(1, &etag)]))).await;
    assert_eq!(shop.text("big").await, "2345");
}

#[tokio::test]
async fn uploads_are_listed_by_key_and_time_and_go_with_their_bucket() {
    let shop = Shop::with_bucket().await;
    let mut ids = Vec::new();
    for key in ["b", "a/1", "b", "a/2", "c"] {
        shop.world.clock.advance(std::time::Duration::from_secs(1));
        ids.push(begin(&shop, json!({"Key": key})).await);
    }
    let list = |more: Value| {
        let mut params = json!({"Bucket": "logs"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let mut found = Vec::new();
    let mut params = list(json!({"Delimiter": "/", "MaxUploads": 1}));
    loop {
        let page = shop.ok("ListMultipartUploads", params.clone()).await;
        let uploads = page.get("Uploads").and_then(Value::as_array).cloned().unwrap_or_default();
        found.extend(uploads.iter().map(|upload| upload["UploadId"].as_str().unwrap().to_owned()));
        found.extend(
            page.get("CommonPrefixes").map(|groups| groups[0]["Prefix"].as_str().unwrap().to_owned()),
        );
        if page["IsTruncated"] == false {
            break;
        }
        params["KeyMarker"] = page["NextKeyMarker"].clone();
        params["UploadIdMarker"] = page["NextUploadIdMarker"].clone();
    }
    assert_eq!(found, ["a/", &ids[0], &ids[2], &ids[4]]);
    let params = json!({"Bucket": "logs", "Key": "b", "UploadId": ids[0], "PartNumber": 1});
    let body = Some(Body::from_bytes(Bytes::from_static(b"x")));
    shop.send(Call { body, ..call("s3", "UploadPart", params) }).await.unwrap();
    assert_eq!(shop.blob_count(), 1);
    shop.ok("DeleteBucket", json!({"Bucket": "logs"})).await;
    assert_eq!(shop.blob_count(), 0);
}
