//! Objects: put, get, conditions, ranges, checksums, copies, tags.

use std::time::Duration;

use cairn_wire::{Body, Call};
use serde_json::{Value, json};

use super::{Pieces, Shop, open, read, shown, stranger};
use crate::world::{call, root};

fn at(key: &str) -> Value {
    json!({"Bucket": "logs", "Key": key})
}

fn with(mut params: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object of members") };
    params.as_object_mut().unwrap().extend(more);
    params
}

#[tokio::test]
async fn an_object_comes_back_with_all_that_was_said_of_it() {
    let shop = Shop::with_bucket().await;
    let said = json!({
        "ContentType": "text/plain", "ContentEncoding": "aws-chunked,gzip", "CacheControl": "no-cache",
        "Metadata": {"color": "blue"}, "Tagging": "a=1&b=2", "ServerSideEncryption": "AES256",
    });
    let put = shop.put_with(with(at("a/b"), said), "hello world").await.unwrap();
    assert_eq!(put["ETag"], "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
    assert_eq!(put["ChecksumCRC64NVME"], "jSnVw/bqjr4=");
    assert!(put.get("VersionId").is_none());
    let (status, result, body) = shop.get(with(at("a/b"), json!({"ChecksumMode": "ENABLED"}))).await.unwrap();
    assert_eq!((status, body.as_str()), (None, "hello world"));
    assert_eq!(
        result,
        json!({
            "AcceptRanges": "bytes", "LastModified": 1_795_281_866, "ContentLength": 11,
            "ETag": "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"", "ChecksumCRC64NVME": "jSnVw/bqjr4=",
            "ChecksumType": "FULL_OBJECT", "CacheControl": "no-cache", "ContentEncoding": "gzip",
            "ContentType": "text/plain", "ServerSideEncryption": "AES256", "Metadata": {"color": "blue"},
            "TagCount": 2,
        })
    );
    let head = shop.send(call("s3", "HeadObject", at("a/b"))).await.unwrap();
    assert!(head.body.is_none());
    assert_eq!(head.result["ContentLength"], 11);
    let overridden = with(at("a/b"), json!({"ResponseContentType": "x/y", "ResponseExpires": 784_111_777}));
    let (_, result, _) = shop.get(overridden).await.unwrap();
    assert_eq!(
        (&result["ContentType"], &result["Expires"]),
        (&json!("x/y"), &json!("Sun, 06 Nov 1994 08:49:37 GMT"))
    );
    assert_eq!(shop.refused("GetObject", at("a/c")).await, "404 NoSuchKey");
    assert_eq!(shop.refused("HeadObject", at("a/c")).await, "404 NoSuchKey");
}

#[tokio::test]
async fn parts_of_an_object_are_read_by_range() {
    let shop = Shop::with_bucket().await;
    shop.put("a", "0123456789").await;
    let range = |header: &str| with(at("a"), json!({"Range": header}));
    let (status, result, body) = shop.get(range("bytes=2-4")).await.unwrap();
    assert_eq!((status, body.as_str()), (Some(206), "234"));
    assert_eq!((&result["ContentRange"], &result["ContentLength"]), (&json!("bytes 2-4/10"), &json!(3)));
    assert_eq!(shop.get(range("bytes=-3")).await.unwrap().2, "789");
    assert_eq!(shop.get(range("bytes=7-")).await.unwrap().2, "789");
    assert_eq!(shop.get(range("nonsense")).await.unwrap().0, None);
    assert_eq!(shop.refused("GetObject", range("bytes=10-")).await, "416 InvalidRange");
    let (status, _, body) = shop.get(with(at("a"), json!({"PartNumber": 1}))).await.unwrap();
    assert_eq!((status, body.as_str()), (Some(206), "0123456789"));
    let beyond = with(at("a"), json!({"PartNumber": 2}));
    assert_eq!(shop.refused("GetObject", beyond).await, "416 InvalidPartNumber");
    shop.put("empty", "").await;
    assert_eq!(shop.text("empty").await, "");
    let of_empty = with(at("empty"), json!({"Range": "bytes=0-"}));
    assert_eq!(shop.refused("GetObject", of_empty).await, "416 InvalidRange");
}

#[tokio::test]
async fn reads_and_writes_obey_their_conditions() {
    let shop = Shop::with_bucket().await;
    let etag = shop.put("a", "hello").await["ETag"].clone();
    let now = 1_795_281_866;
    for (conditions, expected) in [
        (json!({"IfMatch": etag}), "ok"),
        (json!({"IfMatch": "\"other\""}), "412 PreconditionFailed"),
        (json!({"IfNoneMatch": etag}), "304 NotModified"),
        (json!({"IfNoneMatch": "\"other\""}), "ok"),
        (json!({"IfModifiedSince": now}), "304 NotModified"),
        (json!({"IfModifiedSince": now - 1}), "ok"),
        (json!({"IfModifiedSince": now + 1000}), "ok"),
        (json!({"IfUnmodifiedSince": now}), "ok"),
        (json!({"IfUnmodifiedSince": now - 1}), "412 PreconditionFailed"),
        (json!({"IfMatch": etag, "IfUnmodifiedSince": now - 1}), "ok"),
    ] {
        let outcome = shop.send(call("s3", "GetObject", with(at("a"), conditions.clone()))).await;
        let outcome = outcome.map_or_else(|error| shown(&error), |_| "ok".to_owned());
        assert_eq!(outcome, expected, "{conditions}");
    }
    let put = async |conditions: Value| match shop.put_with(with(at("a"), conditions), "new").await {
        Ok(_) => "ok".to_owned(),
        Err(error) => shown(&error),
    };
    assert_eq!(put(json!({"IfNoneMatch": "*"})).await, "412 PreconditionFailed");
    assert_eq!(put(json!({"IfMatch": "\"other\""})).await, "412 PreconditionFailed");
    assert_eq!(put(json!({"IfMatch": etag})).await, "ok");
    assert_eq!(put(json!({"IfNoneMatch": "\"etag\""})).await, "501 NotImplemented");
    let absent = shop.put_with(with(at("b"), json!({"IfMatch": "*"})), "new").await;
    assert_eq!(shown(&absent.unwrap_err()), "404 NoSuchKey");
    shop.put_with(with(at("b"), json!({"IfNoneMatch": "*"})), "new").await.unwrap();
    let delete = with(at("b"), json!({"IfMatch": "\"other\""}));
    assert_eq!(shop.refused("DeleteObject", delete).await, "412 PreconditionFailed");
    assert_eq!(shop.blob_count(), 2);
}

#[tokio::test]
async fn a_checksum_is_verified_wherever_it_is_said() {
    let shop = Shop::with_bucket().await;
    let right = json!({"ChecksumCRC32": "DUoRhQ==", "ChecksumAlgorithm": "CRC32"});
    assert_eq!(
        shop.put_with(with(at("a"), right), "hello world").await.unwrap()["ChecksumCRC32"],
        "DUoRhQ=="
    );
    let put =
        async |more: Value| shown(&shop.put_with(with(at("b"), more), "hello world").await.unwrap_err());
    assert_eq!(put(json!({"ChecksumCRC32": "AAAAAA=="})).await, "400 BadDigest");
    assert_eq!(put(json!({"ChecksumCRC32": "short"})).await, "400 InvalidRequest");
    assert_eq!(put(json!({"ChecksumCRC32": "DUoRhQ==", "ChecksumSHA1": "x"})).await, "400 InvalidRequest");
    assert_eq!(put(json!({"ChecksumSHA512": "x"})).await, "501 NotImplemented");
    assert_eq!(put(json!({"ChecksumAlgorithm": "SHA256"})).await, "400 InvalidRequest");
    for (value, expected) in [("DUoRhQ==", "ok"), ("AAAAAA==", "400 BadDigest")] {
        let trailers = vec![("x-amz-checksum-crc32".to_owned(), value.to_owned())];
        let source = Pieces { pieces: vec!["hello ", "world"], breaks_off: false, trailers };
        let mut put = call("s3", "PutObject", at("trailing"));
        put.body = Some(Body::new(source, Some(11)));
        put.request.headers = vec![("x-amz-trailer".into(), "x-amz-checksum-crc32".into())];
        let outcome = shop.send(put).await;
        assert_eq!(outcome.map_or_else(|error| shown(&error), |_| "ok".to_owned()), expected);
    }
    assert_eq!(shop.text("trailing").await, "hello world");
    assert_eq!(shop.refused("GetObject", at("b")).await, "404 NoSuchKey");
    assert_eq!(shop.blob_count(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let shop = Shop::with_bucket().await;
    shop.put("a", "before").await;
    let source = Pieces { pieces: vec!["half"], breaks_off: true, trailers: Vec::new() };
    let put = Call { body: Some(Body::new(source, Some(8))), ..call("s3", "PutObject", at("a")) };
    assert_eq!(shown(&shop.send(put).await.unwrap_err()), "400 IncompleteBody");
    assert_eq!(shop.text("a").await, "before");
    assert_eq!(shop.blob_count(), 1);
    let huge = Call {
        body: Some(Body::new(
            Pieces { pieces: vec![], breaks_off: false, trailers: vec![] },
            Some(5 * 1024 * 1024 * 1024 + 1),
        )),
        ..call("s3", "PutObject", at("huge"))
    };
    assert_eq!(shown(&shop.send(huge).await.unwrap_err()), "400 EntityTooLarge");
    let long = json!({"Bucket": "logs", "Key": "k".repeat(1025)});
    assert_eq!(shown(&shop.put_with(long, "x").await.unwrap_err()), "400 KeyTooLongError");
}

#[tokio::test]
async fn a_reader_keeps_its_bytes_while_the_object_is_replaced_and_they_go_afterwards() {
    let shop = Shop::with_bucket().await;
    shop.put("a", "old").await;
    let reply = shop.send(call("s3", "GetObject", at("a"))).await.unwrap();
    shop.put("a", "new").await;
    assert_eq!(shop.blob_count(), 2);
    assert_eq!(read(reply.body.unwrap()).await, "old");
    assert_eq!(shop.s3.collect_garbage().await.unwrap(), 1);
    assert_eq!((shop.text("a").await.as_str(), shop.blob_count()), ("new", 1));
    shop.ok("DeleteObject", at("a")).await;
    assert_eq!(shop.blob_count(), 0);
}

#[tokio::test]
async fn what_a_crash_left_unnamed_goes_with_the_second_sweep_and_the_rest_stays() {
    let shop = Shop::with_bucket().await;
    shop.put("a", "kept").await;
    let blobs = super::blobs(&shop.world, shop.folder.path());
    let mut writer = cairn_store::Blobs::create(&blobs).await.unwrap();
    writer.write(bytes::Bytes::from_static(b"lost")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(shop.blob_count(), 2);
    let again = open(&shop.world, shop.folder.path());
    let ids = || blobs.ids().map(Result::unwrap).collect();
    assert_eq!(again.collect_orphans(ids()).await.unwrap(), 0);
    assert_eq!(again.collect_orphans(ids()).await.unwrap(), 1);
    assert_eq!((shop.text("a").await.as_str(), shop.blob_count()), ("kept", 1));
}

#[tokio::test]
async fn a_copy_takes_what_its_directives_say() {
    let shop = Shop::with_bucket().await;
    let said = json!({"ContentType": "text/plain", "Metadata": {"a": "1"}, "Tagging": "t=1"});
    let etag = shop.put_with(with(at("src key"), said), "hello").await.unwrap()["ETag"].clone();
    let source = json!({"CopySource": "logs/src%20key"});
    shop.world.clock.advance(Duration::from_secs(5));
    let copied = shop.ok("CopyObject", with(at("copy"), source.clone())).await;
    assert_eq!(copied["CopyObjectResult"]["ETag"], etag);
    assert_eq!(copied["CopyObjectResult"]["LastModified"], 1_795_281_871);
    let (_, result, body) = shop.get(at("copy")).await.unwrap();
    assert_eq!(body, "hello");
    assert_eq!((&result["Metadata"], &result["TagCount"]), (&json!({"a": "1"}), &json!(1)));
    let replaced = json!({
        "CopySource": "/logs/src%20key", "MetadataDirective": "REPLACE", "Metadata": {"b": "2"},
        "TaggingDirective": "REPLACE",
    });
    shop.ok("CopyObject", with(at("copy"), replaced)).await;
    let (_, result, _) = shop.get(at("copy")).await.unwrap();
    assert_eq!(result["Metadata"], json!({"b": "2"}));
    assert_eq!(result["ContentType"], "binary/octet-stream");
    assert!(result.get("TagCount").is_none());
    let onto_itself = with(at("src key"), source.clone());
    assert_eq!(shop.refused("CopyObject", onto_itself).await, "400 InvalidRequest");
    for (condition, value) in [
        ("CopySourceIfMatch", json!("\"other\"")),
        ("CopySourceIfNoneMatch", etag.clone()),
        ("CopySourceIfModifiedSince", json!(1_795_281_866)),
        ("CopySourceIfUnmodifiedSince", json!(1_795_281_865)),
    ] {
        let params = with(with(at("copy"), source.clone()), json!({condition: value}));
        assert_eq!(shop.refused("CopyObject", params).await, "412 PreconditionFailed", "{condition}");
    }
    let missing = with(at("copy"), json!({"CopySource": "logs/none"}));
    assert_eq!(shop.refused("CopyObject", missing).await, "404 NoSuchKey");
}

#[tokio::test]
async fn a_copy_needs_the_right_to_read_its_source() {
    let shop = Shop::with_bucket().await;
    shop.put("secret", "x").await;
    let other = root(&stranger());
    shop.send_as(&other, call("s3", "CreateBucket", json!({"Bucket": "theirs"}))).await.unwrap();
    let copy = json!({"Bucket": "theirs", "Key": "stolen", "CopySource": "logs/secret"});
    let refusal = shop.send_as(&other, call("s3", "CopyObject", copy)).await;
    assert_eq!(shown(&refusal.unwrap_err()), "403 AccessDenied");
}

#[tokio::test]
async fn objects_have_tags_an_acl_and_attributes() {
    let shop = Shop::with_bucket().await;
    shop.put("a", "hello").await;
    let tags = json!({"Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}});
    shop.ok("PutObjectTagging", with(at("a"), tags)).await;
    let kept = shop.ok("GetObjectTagging", at("a")).await;
    assert_eq!(kept, json!({"TagSet": [{"Key": "k", "Value": "v"}]}));
    shop.ok("DeleteObjectTagging", at("a")).await;
    assert_eq!(shop.ok("GetObjectTagging", at("a")).await, json!({"TagSet": []}));
    let acl = shop.ok("GetObjectAcl", at("a")).await;
    assert_eq!(acl["Grants"][0]["Permission"], "FULL_CONTROL");
    let attributes =
        with(at("a"), json!({"ObjectAttributes": ["ETag", "ObjectSize", "Checksum", "ObjectParts"]}));
    let shown = shop.ok("GetObjectAttributes", attributes).await;
    assert_eq!(shown["ETag"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(shown["ObjectSize"], 5);
    assert_eq!(shown["Checksum"]["ChecksumType"], "FULL_OBJECT");
    assert!(shown.get("ObjectParts").is_none());
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let shop = Shop::with_bucket().await;
    for key in ["a", "b", "c"] {
        shop.put(key, "x").await;
    }
    let delete = |keys: &[&str], quiet: bool| {
        let objects: Vec<Value> = keys.iter().map(|key| json!({"Key": key})).collect();
        json!({"Bucket": "logs", "Delete": {"Objects": objects, "Quiet": quiet}})
    };
    let deleted = shop.ok("DeleteObjects", delete(&["a", "none"], false)).await;
    assert_eq!(deleted, json!({"Deleted": [{"Key": "a"}, {"Key": "none"}]}));
    assert_eq!(shop.ok("DeleteObjects", delete(&["b"], true)).await, json!({}));
    let bad_version = json!({"Bucket": "logs", "Delete": {"Objects": [{"Key": "c", "VersionId": "x"}]}});
    assert_eq!(shop.ok("DeleteObjects", bad_version).await["Errors"][0]["Code"], "InvalidArgument");
    assert_eq!(shop.text("c").await, "x");
    let many: Vec<&str> = std::iter::repeat_n("k", 1001).collect();
    assert_eq!(shop.refused("DeleteObjects", delete(&many, false)).await, "400 MalformedXML");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_conditional_writes_at_once_exactly_one_wins() {
    let shop = std::sync::Arc::new(Shop::with_bucket().await);
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let shop = std::sync::Arc::clone(&shop);
            tokio::spawn(async move {
                let params = with(at("lock"), json!({"IfNoneMatch": "*"}));
                shop.put_with(params, &format!("writer {writer}")).await.map(|_| writer)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for writer in writers {
        match writer.await.unwrap() {
            Ok(winner) => winners.push(winner),
            Err(error) => assert_eq!(shown(&error), "412 PreconditionFailed"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(shop.text("lock").await, format!("writer {}", winners[0]));
    assert_eq!(shop.blob_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_sees_one_whole_object_however_often_it_is_replaced() {
    let shop = std::sync::Arc::new(Shop::with_bucket().await);
    shop.put("a", &"0".repeat(1000)).await;
    let writer = {
        let shop = std::sync::Arc::clone(&shop);
        tokio::spawn(async move {
            for round in 1..60 {
                shop.put("a", &(round % 10).to_string().repeat(1000)).await;
            }
        })
    };
    while !writer.is_finished() {
        let text = shop.text("a").await;
        assert_eq!(text, text[..1].repeat(1000));
    }
    writer.await.unwrap();
    shop.s3.collect_garbage().await.unwrap();
    assert_eq!(shop.blob_count(), 1);
}
