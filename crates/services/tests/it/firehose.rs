//! Firehose over streams in memory, and buckets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::{AccountId, Clock};
use cairn_services::Caller;
use cairn_services::firehose::{Deps, Firehose};
use cairn_services::kinesis::Kinesis;
use cairn_services::s3::S3;
use cairn_services::sinks::{AsRole, FirehoseSink, Roles, Sender, SinkFailure, Switchboard, as_service};
use cairn_services::sts::TemporaryCredentials;
use cairn_store::Streams;
use cairn_store::blobs::FileBlobs;
use cairn_testkit::{fixed_sealer, memory_log, memory_streams};
use prometheus::Registry;
use serde_json::{Value, json};

use crate::world::{self, World, refusal};

const ACCOUNT: &str = "111122223333";
const ROLE: &str = "arn:aws:iam::111122223333:role/firehose";

/// Any role is its account's root.
struct AnyRole;

#[async_trait]
impl Roles for AnyRole {
    async fn assume(&self, role: &AsRole) -> Result<Caller, SinkFailure> {
        let account: AccountId = role.role_arn.split(':').nth(4).unwrap().parse().unwrap();
        Ok(world::root(&account))
    }

    async fn credentials(&self, role: &AsRole, _: Duration) -> Result<TemporaryCredentials, SinkFailure> {
        panic!("nobody asks for credentials of {}", role.role_arn)
    }
}

async fn firehose_of(
    world: &World,
    kinesis: Kinesis,
    streams: Arc<dyn Streams>,
    switchboard: Switchboard,
) -> Firehose {
    let deps = Deps {
        catalog: world.catalog.clone(),
        streams,
        kinesis,
        data_keys: Arc::new(world.kms(memory_log())),
        server_key: fixed_sealer().derived_key("firehose.records"),
        switchboard,
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    };
    Firehose::open(deps, &Registry::new()).await.unwrap()
}

/// One that delivers nowhere.
pub(crate) async fn firehose_alone(world: &World, kinesis: &Kinesis) -> Firehose {
    firehose_of(world, kinesis.clone(), memory_streams(), Switchboard::default()).await
}

struct Bench {
    world: World,
    streams: Arc<dyn Streams>,
    switchboard: Switchboard,
    s3: Arc<S3>,
    kinesis: Kinesis,
    firehose: Firehose,
    _blobs: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (world, streams, switchboard) = (World::new(), memory_streams(), Switchboard::default());
        let folder = tempfile::tempdir().unwrap();
        let blobs = FileBlobs::open(folder.path(), world.entropy.clone(), &Registry::new()).unwrap();
        let (clock, entropy, keys) = (world.clock.clone(), world.entropy.clone(), world.object_keys());
        let s3 = Arc::new(S3::new(world.catalog.clone(), Arc::new(blobs), clock, entropy, keys));
        switchboard.plug_roles(Arc::new(AnyRole));
        switchboard.plug_objects(s3.clone());
        let kinesis = world.kinesis_over(streams.clone()).await;
        let firehose = firehose_of(&world, kinesis.clone(), streams.clone(), switchboard.clone()).await;
        let bench = Self { world, streams, switchboard, s3, kinesis, firehose, _blobs: folder };
        world::send(&*bench.s3, &bench.root(), "CreateBucket", json!({"Bucket": "bucket"})).await.unwrap();
        bench
    }

    /// The same after a crash.
    async fn again(mut self) -> Self {
        let (kinesis, streams) = (self.kinesis.clone(), self.streams.clone());
        self.firehose = firehose_of(&self.world, kinesis, streams, self.switchboard.clone()).await;
        self
    }

    fn root(&self) -> Caller {
        Caller { now: self.world.clock.now(), ..world::root(&ACCOUNT.parse().unwrap()) }
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        let sent = world::send(&self.firehose, &self.root(), operation, params.clone()).await;
        sent.unwrap_or_else(|error| panic!("{operation} {params}: {error}"))
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        refusal(&self.firehose, &self.root(), operation, params).await
    }

    async fn create(&self, destination: Value) {
        let params = json!({"DeliveryStreamName": "d", "ExtendedS3DestinationConfiguration": destination});
        self.send("CreateDeliveryStream", params).await;
    }

    async fn put(&self, data: &str) {
        let record = json!({"Data": STANDARD.encode(data)});
        self.send("PutRecord", json!({"DeliveryStreamName": "d", "Record": record})).await;
    }

    async fn run(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
        self.firehose.run_once().await.unwrap();
    }

    /// The keys of the objects, and what they say.
    async fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let listed =
            world::send(&*self.s3, &self.root(), "ListObjectsV2", json!({"Bucket": "bucket"})).await.unwrap();
        let sender = Sender::Role(Arc::new(self.root()));
        let mut found = Vec::new();
        for object in listed["Contents"].as_array().into_iter().flatten() {
            let key = object["Key"].as_str().unwrap();
            let objects = self.switchboard.objects().unwrap();
            found.push((
                key.to_owned(),
                objects.get(&sender, "bucket", key, None, 4 << 20).await.unwrap().to_vec(),
            ));
        }
        found
    }

    async fn texts(&self) -> Vec<String> {
        self.objects().await.into_iter().map(|(_, body)| String::from_utf8(body).unwrap()).collect()
    }
}

fn destination(more: Value) -> Value {
    let mut destination = json!({"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::bucket",
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60}});
    destination.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    destination
}

#[tokio::test]
async fn records_become_objects_by_age_and_by_size() {
    let bench = Bench::new().await;
    bench.create(destination(json!({"Prefix": "p/"}))).await;
    bench.put("one\n").await;
    bench.put("two\n").await;
    bench.run(59).await;
    assert_eq!(bench.texts().await, [""; 0]);
    bench.run(1).await;
    let objects = bench.objects().await;
    let (key, body) = &objects[0];
    assert_eq!((objects.len(), body.as_slice()), (1, &b"one\ntwo\n"[..]));
    assert!(key.starts_with("p/2026/11/21/17/d-1-2026-11-21-17-"), "{key}");
    let large = "x".repeat(700 << 10);
    bench.put(&large).await;
    bench.put(&large).await;
    bench.run(1).await;
    assert_eq!(bench.texts().await.len(), 2);
    bench.run(120).await;
    assert_eq!(bench.texts().await.len(), 2, "nothing is delivered twice");
}

#[tokio::test]
async fn what_was_put_outlives_a_crash_and_a_sick_bucket_delays_its_own() {
    let bench = Bench::new().await;
    bench
        .create(destination(json!({"BucketARN": "arn:aws:s3:::missing", "CompressionFormat": "GZIP"})))
        .await;
    let healthy = json!({"DeliveryStreamName": "e", "S3DestinationConfiguration": destination(json!({}))});
    bench.send("CreateDeliveryStream", healthy).await;
    bench.put("kept").await;
    let record = json!([{"Data": "ZQ=="}, {"Data": "Zg=="}]);
    let put = bench.send("PutRecordBatch", json!({"DeliveryStreamName": "e", "Records": record})).await;
    assert_eq!((&put["FailedPutCount"], put["RequestResponses"].as_array().unwrap().len()), (&json!(0), 2));
    bench.run(60).await;
    assert_eq!(bench.texts().await, ["ef"]);
    let bench = bench.again().await;
    world::send(&*bench.s3, &bench.root(), "CreateBucket", json!({"Bucket": "missing"})).await.unwrap();
    bench.run(1).await;
    let listed =
        world::send(&*bench.s3, &bench.root(), "ListObjectsV2", json!({"Bucket": "missing"})).await.unwrap();
    let key = listed["Contents"][0]["Key"].as_str().unwrap();
    assert!(key.ends_with(".gz"), "{key}");
    let sender = Sender::Role(Arc::new(bench.root()));
    let packed = bench.switchboard.objects().unwrap().get(&sender, "missing", key, None, 999).await.unwrap();
    let mut plain = vec![0; 4];
    libdeflater::Decompressor::new().gzip_decompress(&packed, &mut plain).unwrap();
    assert_eq!(plain, b"kept");
}

#[tokio::test]
async fn a_stream_of_kinesis_is_read_from_then_on_with_its_shards() {
    let bench = Bench::new().await;
    let kinesis = async |operation: &str, params: Value| {
        world::send(&bench.kinesis, &bench.root(), operation, params).await.unwrap()
    };
    let put = async |data: &str| {
        let data = STANDARD.encode(data);
        kinesis("PutRecord", json!({"StreamName": "s", "PartitionKey": "k", "Data": data})).await
    };
    kinesis("CreateStream", json!({"StreamName": "s", "ShardCount": 1})).await;
    put("before").await;
    let arn = format!("arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s");
    let params = json!({"DeliveryStreamName": "d", "DeliveryStreamType": "KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration": {"KinesisStreamARN": arn, "RoleARN": ROLE},
        "ExtendedS3DestinationConfiguration": destination(json!({}))});
    bench.send("CreateDeliveryStream", params).await;
    put("a").await;
    let count = json!({"StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"});
    kinesis("UpdateShardCount", count).await;
    put("b").await;
    for _ in 0..4 {
        bench.run(60).await;
    }
    let mut texts = bench.texts().await;
    texts.sort();
    assert_eq!(texts.concat(), "ab");
    let record = json!({"DeliveryStreamName": "d", "Record": {"Data": "eA=="}});
    assert!(bench.refused("PutRecord", record).await.contains("not permitted on KinesisStreamAsSource"));
}

#[tokio::test]
async fn delivery_streams_are_described_changed_and_deleted() {
    let bench = Bench::new().await;
    bench.create(destination(json!({}))).await;
    let named = || json!({"DeliveryStreamName": "d"});
    let again = json!({"DeliveryStreamName": "d", "S3DestinationConfiguration": destination(json!({}))});
    assert!(bench.refused("CreateDeliveryStream", again).await.starts_with("400 ResourceInUseException"));
    let update = json!({"DeliveryStreamName": "d", "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": "q/!{timestamp:yyyy}/", "CompressionFormat": "GZIP"}});
    bench.send("UpdateDestination", update.clone()).await;
    assert!(bench.refused("UpdateDestination", update).await.starts_with("400 ConcurrentModification"));
    bench
        .send("TagDeliveryStream", json!({"DeliveryStreamName": "d", "Tags": [{"Key": "k", "Value": "v"}]}))
        .await;
    assert_eq!(
        bench.send("ListTagsForDeliveryStream", named()).await["Tags"],
        json!([{"Key": "k", "Value": "v"}])
    );
    bench.send("UntagDeliveryStream", json!({"DeliveryStreamName": "d", "TagKeys": ["k"]})).await;
    bench.send("StartDeliveryStreamEncryption", named()).await;
    let described = bench.send("DescribeDeliveryStream", named()).await["DeliveryStreamDescription"].clone();
    let destination_shown = &described["Destinations"][0]["ExtendedS3DestinationDescription"];
    assert_eq!(
        (&described["VersionId"], &described["DeliveryStreamStatus"], &destination_shown["Prefix"]),
        (&json!("2"), &json!("ACTIVE"), &json!("q/!{timestamp:yyyy}/"))
    );
    assert_eq!(described["DeliveryStreamEncryptionConfiguration"]["KeyType"], "AWS_OWNED_CMK");
    bench.send("StopDeliveryStreamEncryption", named()).await;
    assert_eq!(bench.send("ListDeliveryStreams", json!({})).await["DeliveryStreamNames"], json!(["d"]));
    bench.send("DeleteDeliveryStream", named()).await;
    assert!(
        bench.refused("DescribeDeliveryStream", named()).await.starts_with("400 ResourceNotFoundException")
    );
    assert!(bench.streams.names().is_empty());
    let wrong = [
        json!({"RedshiftDestinationConfiguration": {"RoleARN": ROLE}}),
        json!({"ExtendedS3DestinationConfiguration": destination(json!({"CompressionFormat": "Snappy"}))}),
        json!({"ExtendedS3DestinationConfiguration": destination(json!({"ProcessingConfiguration": {"Enabled": true}}))}),
        json!({"ExtendedS3DestinationConfiguration": destination(json!({"Prefix": "!{wrong}"}))}),
        json!({}),
    ];
    for mut params in wrong {
        params["DeliveryStreamName"] = "w".into();
        let refused = bench.refused("CreateDeliveryStream", params).await;
        assert!(refused.starts_with("400 InvalidArgumentException"), "{refused}");
    }
}

#[tokio::test]
async fn other_services_put_as_a_role_alone() {
    let bench = Bench::new().await;
    bench.create(destination(json!({}))).await;
    let arn = format!("arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/d");
    let service = as_service("logs.amazonaws.com", "arn:aws:logs:us-east-1:1:x", &ACCOUNT.parse().unwrap());
    let refused = FirehoseSink::check(&bench.firehose, &service, &arn).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    let role = Sender::Role(Arc::new(bench.root()));
    FirehoseSink::put(&bench.firehose, &role, &arn, vec![Bytes::from_static(b"x")]).await.unwrap();
    bench.run(60).await;
    assert_eq!(bench.texts().await, ["x"]);
}
