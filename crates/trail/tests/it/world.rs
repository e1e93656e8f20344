//! A small world to deliver in: a clock, the doubles, trails, the two stages, and a strict look at the outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::digest::{DigestKey, DigestObject, Verified, verify, verify_chain};
use cairn_core::logfile::{LogFileKey, gunzip, sha256_hex};
use cairn_core::{Clock, Region, Timestamp, TrailArn};
use cairn_store::{Catalog, CatalogError, Entry, EntryKind, EventLog};
use cairn_testkit::{TestClock, fixed_sealer};
use cairn_trail::config::{STATUSES, TRAILS, trail_key};
use cairn_trail::{
    DeliverySettings, DeliveryStage, DigestSettings, DigestStage, KeySettings, SigningKeys, Trail,
    TrailStatus,
};
use prometheus::Registry;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::doubles::{MemoryBucket, MemoryCatalog, MemoryLog, Points};

pub const ACCOUNT: &str = "123456789012";
pub const HOME: &str = "eu-west-1";
pub const DELIVERY_S: u64 = 300;
pub const DIGEST_S: u64 = 3600;

pub fn start() -> Timestamp {
    Timestamp::parse_iso("2026-11-20T10:00:00Z").unwrap()
}

pub fn arn(name: &str) -> TrailArn {
    format!("arn:aws:cloudtrail:{HOME}:{ACCOUNT}:trail/{name}").parse().unwrap()
}

pub fn trail(name: &str) -> Trail {
    let new = Trail::new(arn(name), 1, "logs".to_owned(), start());
    Trail { multi_region: true, log_file_validation: true, ..new }
}

pub fn event(number: u64, region: &str, source: &str, at: Timestamp) -> String {
    format!(
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"Root","accountId":"{ACCOUNT}"}},"eventTime":"{}","eventSource":"{source}.amazonaws.com","eventName":"DoThing","awsRegion":"{region}","requestParameters":{{"n":{number}}},"responseElements":null,"eventID":"00000000-0000-4000-8000-{number:012}","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{ACCOUNT}","eventCategory":"Management"}}"#,
        at.iso()
    )
}

/// Everything outside the stages; survives when they stop.
pub struct World {
    pub clock: Arc<TestClock>,
    pub log: MemoryLog,
    pub rows: MemoryCatalog,
    pub bucket: MemoryBucket,
    pub points: Arc<Points>,
    pub settings: DeliverySettings,
    pub digest_interval: Duration,
    events: u64,
}

/// The stages of one process.
pub struct Process {
    pub delivery: DeliveryStage,
    pub digests: DigestStage,
}

impl World {
    pub fn new() -> Self {
        Self::on(MemoryCatalog::default())
    }

    /// A world whose catalog has these rows: for instance signing keys, which take a while to make.
    pub fn on(catalog: MemoryCatalog) -> Self {
        let points = Arc::new(Points::default());
        Self {
            clock: Arc::new(TestClock::new(start())),
            log: MemoryLog { points: Arc::clone(&points), ..MemoryLog::default() },
            rows: MemoryCatalog { points: Arc::clone(&points), rows: catalog.rows },
            bucket: MemoryBucket { points: Arc::clone(&points), ..MemoryBucket::default() },
            points,
            settings: DeliverySettings::default(),
            digest_interval: Duration::from_secs(DIGEST_S),
            events: 0,
        }
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.rows.clone())
    }

    /// The catalog for the test's own use, which passes no points.
    fn quiet_catalog(&self) -> Catalog {
        Catalog::new(MemoryCatalog { rows: Arc::clone(&self.rows.rows), points: Arc::default() })
    }

    pub fn keys(&self) -> SigningKeys {
        SigningKeys::new(self.catalog(), self.clock.clone(), KeySettings::default(), fixed_sealer())
    }

    pub fn process(&self) -> Process {
        let (registry, settings) = (Registry::new(), self.settings.clone());
        let (log, bucket) = (Arc::new(self.log.clone()), Arc::new(self.bucket.clone()));
        let digest_settings = DigestSettings { digest_interval: self.digest_interval };
        Process {
            delivery: DeliveryStage::new(
                log,
                self.catalog(),
                bucket.clone(),
                self.clock.clone(),
                settings,
                &registry,
            )
            .unwrap(),
            digests: DigestStage::new(
                self.catalog(),
                bucket,
                self.keys(),
                self.clock.clone(),
                &digest_settings,
                &registry,
            )
            .unwrap(),
        }
    }

    /// Makes or changes a trail, as the control plane does.
    pub async fn put(&self, trail: &Trail) {
        let trail = trail.clone();
        let key = trail_key(&trail.arn);
        self.quiet_catalog().write(move |tx| TRAILS.put(tx, key.bytes(), &trail)).await.unwrap();
    }

    /// Makes a trail that is logging from now on.
    pub async fn put_logging(&self, mut trail: Trail) -> Trail {
        trail.start_logging(self.clock.now(), self.log.end());
        self.put(&trail).await;
        trail
    }

    pub async fn change(&self, arn: &TrailArn, change: impl FnOnce(&mut Trail)) {
        let key = trail_key(arn);
        let found = self.quiet_catalog().read(move |tx| TRAILS.get(tx, key.bytes())).await;
        let mut trail = found.unwrap().unwrap();
        change(&mut trail);
        self.put(&trail).await;
    }

    pub async fn delete(&self, arn: &TrailArn) {
        let (key, catalog) = (trail_key(arn), self.quiet_catalog());
        let work = catalog.write(move |tx| {
            STATUSES.delete(tx, key.bytes())?;
            TRAILS.delete(tx, key.bytes())
        });
        work.await.unwrap();
    }

    pub async fn status(&self, arn: &TrailArn) -> TrailStatus {
        let key = trail_key(arn);
        let found = self.quiet_catalog().read(move |tx| STATUSES.get(tx, key.bytes())).await;
        let found: Result<_, CatalogError> = found;
        found.unwrap().unwrap_or_default()
    }

    /// Records events, one for each region given.
    pub async fn record(&mut self, regions: &[&str]) {
        for region in regions {
            self.record_from(region, "ec2").await;
        }
    }

    pub async fn record_from(&mut self, region: &str, source: &str) {
        self.events += 1;
        let json = event(self.events, region, source, self.clock.now());
        self.append(Bytes::from(json)).await;
    }

    pub async fn append(&self, payload: Bytes) {
        let entry = Entry { kind: EntryKind::Event, recorded_at: self.clock.now(), payload };
        self.log.append(vec![entry]).await.unwrap();
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Runs delivery and then digests, once each.
    pub async fn run(&self, process: &Process) {
        process.delivery.run_once().await.unwrap();
        process.digests.run_once().await.unwrap();
    }

    /// Advances the clock in steps of the delivery interval and runs at each.
    pub async fn run_for(&self, process: &Process, seconds: u64) {
        let step = self.settings.delivery_interval.as_secs();
        for _ in 0..seconds.div_ceil(step) {
            self.advance(step);
            self.run(process).await;
        }
    }

    /// The keys of the log files in a bucket.
    pub fn files(&self, bucket: &str) -> Vec<String> {
        self.keys_in(bucket).into_iter().filter(|key| LogFileKey::parse(key).is_some()).collect()
    }

    /// The keys of the digests in a bucket.
    pub fn digests(&self, bucket: &str) -> Vec<String> {
        self.keys_in(bucket).into_iter().filter(|key| DigestKey::parse(key).is_some()).collect()
    }

    fn keys_in(&self, bucket: &str) -> Vec<String> {
        let objects = self.bucket.objects.lock().unwrap();
        objects.keys().filter(|(of, _)| of == bucket).map(|(_, key)| key.clone()).collect()
    }

    pub fn content(&self, bucket: &str, key: &str) -> Vec<u8> {
        let objects = self.bucket.objects.lock().unwrap();
        gunzip(&objects[&(bucket.to_owned(), key.to_owned())].body, 1 << 30).unwrap()
    }

    /// The records of all log files in a bucket, as text, sorted.
    pub fn records(&self, bucket: &str) -> Vec<String> {
        let mut records: Vec<String> =
            self.files(bucket).iter().flat_map(|key| records_of(&self.content(bucket, key))).collect();
        records.sort();
        records
    }

    /// Checks every digest in a bucket strictly, by itself and in its chain, and that the digests list every log file
    /// once with its hash. Answers the chains by trail and region, oldest first.
    pub async fn verify(&self, bucket: &str) -> BTreeMap<String, Vec<Verified>> {
        let mut chains: BTreeMap<String, Vec<Verified>> = BTreeMap::new();
        for key in self.digests(bucket) {
            let verified = self.verify_one(bucket, &key).await;
            let parts = DigestKey::parse(&key).unwrap();
            let owner =
                if parts.account.as_str() == ACCOUNT { String::new() } else { format!("{} ", parts.account) };
            let name = format!("{owner}{} {}", parts.trail_name, parts.region);
            chains.entry(name).or_default().push(verified);
        }
        let mut listed = BTreeSet::new();
        for chain in chains.values() {
            for file in chain.iter().flat_map(|found| &found.digest.log_files) {
                assert_eq!(sha256_hex(&self.content(&file.s3_bucket, &file.s3_object)), file.hash_value);
                assert!(listed.insert(file.s3_object.clone()), "{} is listed twice", file.s3_object);
            }
        }
        chains
    }

    async fn verify_one(&self, bucket: &str, key: &str) -> Verified {
        let end = DigestKey::parse(key).unwrap().end;
        let region: Region = DigestKey::parse(key).unwrap().region;
        // The range in which the AWS CLI asks for keys when it looks at this digest alone.
        let until = end.plus(Duration::from_secs(2 * 3600));
        let keys = SigningKeys::new(
            self.quiet_catalog(),
            self.clock.clone(),
            KeySettings::default(),
            fixed_sealer(),
        );
        let public = keys.public_keys(&region, Some(end), Some(until)).await.unwrap();
        let json = self.content(bucket, key);
        let object = self.bucket.objects.lock().unwrap()[&(bucket.to_owned(), key.to_owned())].clone();
        let metadata: BTreeMap<_, _> = object.metadata.into_iter().collect();
        let found = DigestObject {
            bucket,
            object: key,
            json: &json,
            signature: metadata.get("signature").map(String::as_str),
            signature_algorithm: metadata.get("signature-algorithm").map(String::as_str),
        };
        let key_of =
            |named: &str| public.iter().find(|key| key.fingerprint == named).map(|key| key.pkcs1_der.clone());
        verify(&found, key_of).unwrap_or_else(|flaw| panic!("{key}: {flaw}"))
    }

    /// As [`World::verify`], and no chain has a flaw, and every log file is listed.
    pub async fn verify_whole(&self, bucket: &str) -> BTreeMap<String, Vec<Verified>> {
        let chains = self.verify(bucket).await;
        for (name, chain) in &chains {
            assert_eq!(verify_chain(chain), [], "{name}");
        }
        let listed = chains.values().flatten().map(|found| found.digest.log_files.len()).sum::<usize>();
        assert_eq!(listed, self.files(bucket).len(), "every log file is listed");
        chains
    }

    /// Lets the stages stop at the `point`th point from now.
    pub fn stop_at(&self, point: u64) {
        let passed = self.points.passed.load(Ordering::SeqCst);
        self.points.stop_at.store(i64::try_from(passed + point).unwrap(), Ordering::SeqCst);
    }
}

/// The records of a log file's content, byte for byte.
pub fn records_of(content: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct LogFile<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    let file: LogFile<'_> = serde_json::from_slice(content).unwrap();
    file.records.into_iter().map(|record| record.get().to_owned()).collect()
}
