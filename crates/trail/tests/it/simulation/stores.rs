//! The catalog and the buckets of the simulation: doubles whose operations pass gates and fail.
//!
//! The catalog is a double for speed: what SQLite does at a loss of power is SQLite's to test, and a transaction of ours
//! is seen by the stages as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::CatalogError;
use cairn_store::catalog::{CatalogBackend, Work};
use cairn_trail::bucket::{Bucket, BucketPut, OnBehalfOf, PutFailure};
use cairn_trail::{LogGroupFailure, LogGroups, LogPlace, Topic, TopicFailure};

use super::super::doubles::{MemoryCatalog, Object};
use super::gates::{Door, Faults};

#[derive(Clone)]
pub struct SimCatalog {
    pub rows: MemoryCatalog,
    pub door: Door,
    pub faults: Arc<Faults>,
}

impl SimCatalog {
    fn fail(&self, kind: &'static str, errno: i32) -> Result<(), CatalogError> {
        if self.faults.strike(kind) {
            let source = Box::new(io::Error::from_raw_os_error(errno));
            return Err(CatalogError::Database { action: "simulate", source });
        }
        Ok(())
    }
}

#[async_trait]
impl CatalogBackend for SimCatalog {
    async fn write(&self, work: Work) -> Result<(), CatalogError> {
        self.door.pass("catalog write").await;
        self.fail("catalog EIO", 5)?;
        self.fail("catalog ENOSPC", 28)?;
        self.rows.write(work).await?;
        self.fail("catalog EIO after the commit", 5)?;
        self.door.pass("catalog write done").await;
        Ok(())
    }

    async fn read(&self, work: Work) -> Result<(), CatalogError> {
        self.door.pass("catalog read").await;
        self.fail("catalog read EIO", 5)?;
        self.rows.read(work).await
    }
}

/// What all processes see of the buckets.
#[derive(Default)]
pub struct BucketState {
    pub objects: BTreeMap<(String, String), Object>,
    /// The buckets that refuse everything now.
    pub refusing: BTreeSet<String>,
    /// Objects that were put again with other bytes.
    pub changed: Vec<String>,
}

#[derive(Clone)]
pub struct SimBucket {
    pub state: Arc<Mutex<BucketState>>,
    pub door: Door,
    pub faults: Arc<Faults>,
}

const CODES: [&str; 5] =
    ["AccessDenied", "NoSuchBucket", "SlowDown", "InternalError", "KMS.DisabledException"];

#[async_trait]
impl Bucket for SimBucket {
    async fn check_acl(&self, _bucket: &str, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        Ok(())
    }

    async fn holds(&self, bucket: &str, key: &str) -> Result<bool, PutFailure> {
        self.door.pass(&format!("look into {bucket}")).await;
        Ok(self.state.lock().unwrap().objects.contains_key(&(bucket.to_owned(), key.to_owned())))
    }

    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure> {
        assert_eq!(who.account, who.trail.account());
        let failure = |code: &str| PutFailure { code: code.to_owned(), message: "simulated".to_owned() };
        self.door.pass(&format!("put to {}", put.bucket)).await;
        if self.state.lock().unwrap().refusing.contains(&put.bucket) {
            self.faults.count("put refused in an outage");
            return Err(failure("AccessDenied"));
        }
        if self.faults.strike("put refused") {
            let code = self.faults.rng.lock().unwrap().pick(&CODES);
            return Err(failure(code));
        }
        {
            let object = Object { body: put.body, metadata: put.metadata };
            let mut state = self.state.lock().unwrap();
            let before = state.objects.insert((put.bucket, put.key.clone()), object.clone());
            if before.is_some_and(|before| before != object) {
                state.changed.push(put.key);
            }
        }
        if self.faults.strike("put timed out after its effect") {
            return Err(failure("RequestTimeout"));
        }
        self.door.pass("put done").await;
        Ok(())
    }
}

/// What all processes see of the topics.
#[derive(Default)]
pub struct TopicState {
    /// What each topic was told of: buckets and keys.
    pub announced: BTreeMap<String, BTreeSet<(String, String)>>,
    /// The topics that refuse everything now.
    pub refusing: BTreeSet<String>,
    pub problems: Vec<String>,
}

#[derive(Clone)]
pub struct SimTopic {
    pub state: Arc<Mutex<TopicState>>,
    pub bucket: Arc<Mutex<BucketState>>,
    pub rows: MemoryCatalog,
    pub door: Door,
    pub faults: Arc<Faults>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Announced {
    s3_bucket: String,
    s3_object_key: Vec<String>,
}

impl SimTopic {
    /// Nothing is announced that is not there, or not committed.
    fn check_announced(&self, topic: &str, place: &(String, String)) -> Option<String> {
        let (_, key) = place;
        if !self.bucket.lock().unwrap().objects.contains_key(place) {
            return Some(format!("{topic} is told of {place:?}, which is not there"));
        }
        let rows = self.rows.rows.lock().unwrap();
        let mut reserved = rows.iter().filter(|((table, _), _)| *table == "trail.reservation");
        let named = format!("\"object\":\"{key}\"");
        let is_open = reserved.any(|(_, row)| String::from_utf8_lossy(row).contains(&named));
        is_open.then(|| format!("{topic} is told of {key} before its commit"))
    }
}

#[async_trait]
impl Topic for SimTopic {
    async fn check(&self, _topic_arn: &str, _who: &OnBehalfOf) -> Result<(), TopicFailure> {
        Ok(())
    }

    async fn publish(&self, topic: &str, message: String, who: &OnBehalfOf) -> Result<(), TopicFailure> {
        assert_eq!(who.account, who.trail.account());
        let failure = |code: &str| TopicFailure { code: code.to_owned(), message: "simulated".to_owned() };
        self.door.pass("publish").await;
        if self.state.lock().unwrap().refusing.contains(topic) {
            self.faults.count("publication refused in an outage");
            return Err(failure("AuthorizationError"));
        }
        if self.faults.strike("publication refused") {
            return Err(failure("InternalError"));
        }
        let announced: Announced = serde_json::from_str(&message).unwrap();
        for key in announced.s3_object_key {
            let place = (announced.s3_bucket.clone(), key);
            let problem = self.check_announced(topic, &place);
            let mut state = self.state.lock().unwrap();
            state.problems.extend(problem);
            if !state.announced.entry(topic.to_owned()).or_default().insert(place) {
                self.faults.count("announced again");
            }
        }
        if self.faults.strike("publication timed out after its effect") {
            return Err(failure("InternalError"));
        }
        self.door.pass("publish done").await;
        Ok(())
    }
}

/// What all processes see of the log groups.
#[derive(Default)]
pub struct GroupState {
    /// The lines of each group, as they came.
    pub lines: BTreeMap<String, Vec<(Timestamp, Bytes)>>,
    /// The groups that refuse everything now.
    pub refusing: BTreeSet<String>,
}

#[derive(Clone)]
pub struct SimGroups {
    pub state: Arc<Mutex<GroupState>>,
    pub door: Door,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl LogGroups for SimGroups {
    async fn check(&self, _place: &LogPlace) -> Result<(), LogGroupFailure> {
        Ok(())
    }

    async fn put(&self, place: &LogPlace, lines: Vec<(Timestamp, Bytes)>) -> Result<(), LogGroupFailure> {
        let failure = |code: &str| LogGroupFailure {
            code: code.to_owned(),
            is_of_role: false,
            message: "simulated".to_owned(),
        };
        self.door.pass("put of lines").await;
        if self.state.lock().unwrap().refusing.contains(&place.group_arn) {
            self.faults.count("lines refused in an outage");
            return Err(failure("AccessDeniedException"));
        }
        if self.faults.strike("put of lines refused") {
            return Err(failure("InternalError"));
        }
        assert!(lines.is_sorted_by_key(|(at, _)| *at), "lines of one put are in order");
        self.state.lock().unwrap().lines.entry(place.group_arn.clone()).or_default().extend(lines);
        if self.faults.strike("put of lines timed out after its effect") {
            return Err(failure("InternalError"));
        }
        self.door.pass("put of lines done").await;
        Ok(())
    }
}
