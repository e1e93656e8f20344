//! Exports into buckets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_services::sinks::{NewObject, ObjectSink, Sender, SinkFailure, Switchboard};
use cairn_testkit::memory_lines;
use serde_json::{Value, json};

use super::{Bench, logs_sending};
use crate::world::World;

/// The bucket `b`; it can be told to fail.
#[derive(Default)]
struct BucketDouble {
    objects: Mutex<BTreeMap<String, Bytes>>,
    failure: Mutex<Option<SinkFailure>>,
}

#[async_trait]
impl ObjectSink for BucketDouble {
    async fn put(&self, sender: &Sender, object: NewObject) -> Result<(), SinkFailure> {
        let Sender::Service(source) = sender else { panic!("exports have no role") };
        assert_eq!(source.service, "logs.us-east-1.amazonaws.com");
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        if object.bucket != "b" {
            return Err(SinkFailure {
                is_transient: false,
                code: "NoSuchBucket".into(),
                message: "The specified bucket does not exist".into(),
            });
        }
        self.objects.lock().unwrap().insert(object.key, object.body);
        Ok(())
    }

    async fn get(&self, _: &Sender, _: &str, _: &str, _: Option<&str>, _: u64) -> Result<Bytes, SinkFailure> {
        panic!("exports read nothing")
    }
}

fn bench() -> (Bench, Arc<BucketDouble>) {
    let (world, lines, bucket) = (World::new(), memory_lines(), Arc::new(BucketDouble::default()));
    let switchboard = Switchboard::default();
    switchboard.plug_objects(Arc::clone(&bucket) as _);
    let logs = logs_sending(&world, Arc::clone(&lines), switchboard);
    (Bench { world, lines, logs }, bucket)
}

async fn filled() -> (Bench, Arc<BucketDouble>) {
    let (bench, bucket) = bench();
    bench.send("CreateLogGroup", json!({"logGroupName": "g"})).await;
    for stream in ["a/1", "b"] {
        bench.stream(stream).await;
    }
    bench.put("a/1", &[(5000, "too early"), (42, "one"), (0, "two")]).await;
    bench.put("b", &[(1, "three")]).await;
    (bench, bucket)
}

fn task(bench: &Bench, bucket: &str) -> Value {
    json!({"logGroupName": "g", "from": bench.now_ms() - 1000, "to": bench.now_ms(), "destination": bucket,
        "destinationPrefix": "out"})
}

async fn shown(bench: &Bench, id: &Value) -> Value {
    bench.send("DescribeExportTasks", json!({"taskId": id})).await["exportTasks"][0].clone()
}

#[tokio::test]
async fn the_lines_of_a_time_become_an_object_for_each_stream() {
    let (bench, bucket) = filled().await;
    let id = bench.send("CreateExportTask", task(&bench, "b")).await["taskId"].clone();
    assert_eq!(shown(&bench, &id).await["status"], json!({"code": "PENDING"}));
    let second = bench.refused("CreateExportTask", task(&bench, "b")).await;
    assert!(second.starts_with("400 LimitExceededException"), "one at a time: {second}");
    bench.logs.run_exports().await.unwrap();
    assert_eq!(shown(&bench, &id).await["status"]["code"], "COMPLETED");
    assert_eq!(shown(&bench, &id).await["executionInfo"]["completionTime"], bench.now_ms());
    let objects = bucket.objects.lock().unwrap().clone();
    let id = id.as_str().unwrap();
    let folder = |stream: &str| format!("out/{id}/{stream}/000000.gz");
    let keys: BTreeSet<String> = objects.keys().cloned().collect();
    assert_eq!(keys, [folder("a-1"), folder("b"), "out/aws-logs-write-test".to_owned()].into());
    let text = cairn_core::logfile::gunzip(&objects[&folder("a-1")], 1000).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "2026-11-21T17:24:25.958Z one\n2026-11-21T17:24:26.000Z two\n"
    );
}

#[tokio::test]
async fn a_sick_bucket_is_tried_again_and_one_that_refuses_fails_the_task() {
    let (bench, bucket) = filled().await;
    let id = bench.send("CreateExportTask", task(&bench, "b")).await["taskId"].clone();
    let failing = |is_transient| SinkFailure { is_transient, code: "C".into(), message: "sick".into() };
    *bucket.failure.lock().unwrap() = Some(failing(true));
    let due = bench.logs.run_exports().await.unwrap();
    assert_eq!(shown(&bench, &id).await["status"]["code"], "RUNNING");
    assert!(due.millis() > bench.now_ms());
    *bucket.failure.lock().unwrap() = None;
    bench.world.clock.set(due);
    bench.logs.run_exports().await.unwrap();
    assert_eq!(shown(&bench, &id).await["status"]["code"], "COMPLETED");

    bench.put("b", &[(0, "four")]).await;
    let id = bench.send("CreateExportTask", task(&bench, "b")).await["taskId"].clone();
    *bucket.failure.lock().unwrap() = Some(failing(false));
    bench.logs.run_exports().await.unwrap();
    assert_eq!(shown(&bench, &id).await["status"], json!({"code": "FAILED", "message": "sick"}));
}

#[tokio::test]
async fn tasks_are_refused_and_cancelled_in_awss_words() {
    let (bench, bucket) = filled().await;
    assert_eq!(
        bench.refused("CreateExportTask", task(&bench, "other")).await,
        "400 InvalidParameterException: The given bucket does not exist. Please make sure the bucket is valid."
    );
    let denied = SinkFailure { is_transient: false, code: "AccessDenied".into(), message: "no".into() };
    *bucket.failure.lock().unwrap() = Some(denied);
    let refused = bench.refused("CreateExportTask", task(&bench, "b")).await;
    assert!(refused.contains("PutObject call on the given bucket failed."), "{refused}");
    *bucket.failure.lock().unwrap() = None;
    let mut missing = task(&bench, "b");
    missing["logGroupName"] = "none".into();
    assert!(bench.refused("CreateExportTask", missing).await.contains("log group does not exist"));
    assert_eq!(
        bench.refused("CancelExportTask", json!({"taskId": "none"})).await,
        "400 ResourceNotFoundException: The specified export task does not exist."
    );
    let id = bench.send("CreateExportTask", task(&bench, "b")).await["taskId"].clone();
    bench.send("CancelExportTask", json!({"taskId": id})).await;
    bench.logs.run_exports().await.unwrap();
    assert_eq!(shown(&bench, &id).await["status"]["code"], "CANCELLED");
    assert!(
        bench.refused("CancelExportTask", json!({"taskId": id})).await.contains("InvalidOperationException")
    );
    assert_eq!(bucket.objects.lock().unwrap().len(), 1, "the marker alone");
}
