//! Writes what a trail delivers in a simulated day into a folder, for foreign validators to judge: the objects with
//! their metadata, the public keys, and the trail. On the real stores, with a clock of its own.
//!
//! `make_trail FOLDER` writes `FOLDER/objects/<number>` and `FOLDER/trail.json`.
//!
//! The day has two regions, a key prefix, empty hours, a restart, a key rotation, an hour without logging (so the home
//! region has two chains), and over a thousand log files.
#![allow(clippy::unwrap_used, reason = "an example for tests may fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::{Clock, Timestamp, TrailArn};
use cairn_store::catalog::sqlite;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog};
use cairn_testkit::{TestClock, fixed_sealer};
use cairn_trail::bucket::{Bucket, BucketPut, OnBehalfOf, PutFailure};
use cairn_trail::config::{TRAILS, trail_key};
use cairn_trail::{
    DeliverySettings, DeliveryStage, DigestSettings, DigestStage, KeySettings, SigningKeys, Trail,
};
use prometheus::Registry;
use serde_json::json;

const ACCOUNT: &str = "123456789012";
const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
const PREFIX: &str = "deep/prefix";
const STEP: Duration = Duration::from_secs(300);
const STEPS_PER_HOUR: u32 = 12;

/// What was put, by bucket and key.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, BucketPut>>);

#[async_trait]
impl Bucket for Shelf {
    async fn check_acl(&self, _bucket: &str, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        Ok(())
    }

    async fn holds(&self, _bucket: &str, key: &str) -> Result<bool, PutFailure> {
        Ok(self.0.lock().unwrap().contains_key(key))
    }

    async fn put(&self, put: BucketPut, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.0.lock().unwrap().insert(put.key.clone(), put);
        Ok(())
    }
}

struct Day {
    clock: Arc<TestClock>,
    log: Arc<SegmentLog>,
    catalog: Catalog,
    shelf: Arc<Shelf>,
    arn: TrailArn,
    events: u64,
}

impl Day {
    fn begin(folder: &Path) -> Self {
        let start = Timestamp::parse_iso("2026-11-20T10:00:07Z").unwrap();
        let log = SegmentLog::open(&folder.join("log"), LogSettings::default(), &Registry::new()).unwrap();
        Self {
            clock: Arc::new(TestClock::new(start)),
            log: Arc::new(log),
            catalog: sqlite::open(&folder.join("catalog.sqlite")).unwrap(),
            shelf: Arc::default(),
            arn: format!("arn:aws:cloudtrail:{}:{ACCOUNT}:trail/audit", REGIONS[0]).parse().unwrap(),
            events: 0,
        }
    }

    fn keys(&self) -> SigningKeys {
        SigningKeys::new(self.catalog.clone(), self.clock.clone(), KeySettings::default(), fixed_sealer())
    }

    /// The stages of one process; made anew for a restart.
    fn stages(&self) -> (DeliveryStage, DigestStage) {
        let registry = Registry::new();
        // One event to a file: many files with few events.
        let settings = DeliverySettings { reservation_bytes_max: 1, ..DeliverySettings::default() };
        let (log, clock) = (self.log.clone(), self.clock.clone());
        let delivery = DeliveryStage::new(
            log,
            self.catalog.clone(),
            self.shelf.clone(),
            clock.clone(),
            settings,
            &registry,
        );
        let settings = DigestSettings::default();
        let digests = DigestStage::new(
            self.catalog.clone(),
            self.shelf.clone(),
            self.keys(),
            clock,
            &settings,
            &registry,
        );
        (delivery.unwrap(), digests.unwrap())
    }

    async fn change(&self, change: impl FnOnce(&mut Trail)) {
        let key = trail_key(&self.arn);
        let found: Result<_, CatalogError> = self.catalog.read(move |tx| TRAILS.get(tx, key.bytes())).await;
        let mut trail = found.unwrap().unwrap_or_else(|| self.trail());
        change(&mut trail);
        let key = trail_key(&self.arn);
        self.catalog.write(move |tx| TRAILS.put(tx, key.bytes(), &trail)).await.unwrap();
    }

    fn trail(&self) -> Trail {
        let new = Trail::new(self.arn.clone(), 1, "logs".to_owned(), self.clock.now());
        let key_prefix = Some(PREFIX.to_owned());
        Trail { key_prefix, multi_region: true, log_file_validation: true, ..new }
    }

    async fn record(&mut self, region: &str, count: usize) {
        for _ in 0..count {
            self.events += 1;
            let (number, time) = (self.events, self.clock.now().iso());
            let json = format!(
                r#"{{"eventVersion":"1.11","userIdentity":{{"type":"Root","accountId":"{ACCOUNT}"}},"eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"{region}","requestParameters":{{"n":{number}}},"responseElements":null,"eventID":"00000000-0000-4000-8000-{number:012}","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{ACCOUNT}","eventCategory":"Management"}}"#
            );
            let entry =
                Entry { kind: EntryKind::Event, recorded_at: self.clock.now(), payload: Bytes::from(json) };
            self.log.append(vec![entry]).await.unwrap();
        }
    }

    async fn run_hours(&self, stages: &(DeliveryStage, DigestStage), hours: u32) {
        for _ in 0..hours * STEPS_PER_HOUR {
            self.clock.advance(STEP);
            stages.0.run_once().await.unwrap();
            stages.1.run_once().await.unwrap();
        }
    }

    async fn live(&mut self) {
        let (clock, log) = (self.clock.clone(), self.log.clone());
        self.change(|trail| trail.start_logging(clock.now(), log.end())).await;
        let stages = self.stages();
        self.record(REGIONS[0], 1000).await;
        self.run_hours(&stages, 2).await;
        self.record(REGIONS[1], 3).await;
        self.run_hours(&stages, 3).await;
        drop(stages);
        let stages = self.stages();
        self.keys().rotate_now(&REGIONS[0].parse().unwrap()).await.unwrap();
        self.record(REGIONS[0], 5).await;
        self.run_hours(&stages, 2).await;
        self.change(|trail| trail.stop_logging(clock.now(), log.end())).await;
        self.run_hours(&stages, 3).await;
        self.change(|trail| trail.start_logging(clock.now(), log.end())).await;
        self.record(REGIONS[0], 2).await;
        self.run_hours(&stages, 2).await;
    }

    async fn write(&self, folder: &Path) {
        let shelf = self.shelf.0.lock().unwrap().clone();
        std::fs::create_dir_all(folder.join("objects")).unwrap();
        let mut objects = Vec::new();
        for (number, (key, put)) in shelf.into_iter().enumerate() {
            std::fs::write(folder.join("objects").join(number.to_string()), &put.body).unwrap();
            let metadata: BTreeMap<_, _> = put.metadata.into_iter().collect();
            objects.push(json!({"Bucket": put.bucket, "Key": key, "File": number, "Metadata": metadata}));
        }
        let mut keys = serde_json::Map::new();
        for region in REGIONS {
            let (from, until) = (Some(Timestamp::EPOCH), Some(Timestamp::LATEST));
            let found = self.keys().public_keys(&region.parse().unwrap(), from, until).await.unwrap();
            let shown = |key: &cairn_trail::PublicKey| {
                json!({
                    "Value": STANDARD.encode(&key.pkcs1_der),
                    "Fingerprint": key.fingerprint,
                    "ValidityStartTime": key.valid_from.seconds(),
                    "ValidityEndTime": key.valid_until.seconds(),
                })
            };
            keys.insert(region.to_owned(), found.iter().map(shown).collect());
        }
        let end = self.clock.now().iso();
        let trail = json!({
            "TrailARN": self.arn.to_string(),
            "S3BucketName": "logs",
            "S3KeyPrefix": PREFIX,
            "End": end,
            "Keys": keys,
            "Objects": objects,
        });
        std::fs::write(folder.join("trail.json"), serde_json::to_vec_pretty(&trail).unwrap()).unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: make_trail FOLDER"));
    let stores = tempfile::tempdir().unwrap();
    let mut day = Day::begin(stores.path());
    day.live().await;
    day.write(&folder).await;
}
