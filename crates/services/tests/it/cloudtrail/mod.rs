//! The control plane of CloudTrail on a real catalog, with doubles for the log, the history, the buckets and the keys.

mod log_groups;
mod logging;
mod lookup;
mod messages;
mod model;
mod recorded;
mod selectors;
mod shadows;
mod tags;
mod terraform;
mod topics;
mod trails;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, Clock, EventId, Principal, Region, Timestamp};
use cairn_services::cloudtrail::{CloudTrail, Deps, Settings, Topics};
use cairn_services::service::{Caller, Service};
use cairn_store::History;
use cairn_store::catalog::{Catalog, sqlite};
use cairn_store::history::{Attribute, HistoryError, HistoryEvent, Lookup, LookupPage, Mark};
use cairn_store::log::{Entry, EventLog, LogError, LogPosition};
use cairn_testkit::{TestClock, fixed_sealer};
use cairn_trail::bucket::OnBehalfOf;
use cairn_trail::{Bucket, BucketPut, KeySettings, PutFailure, SigningKeys};
use cairn_wire::{Call, RequestFacts};
use serde_json::Value;

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "us-east-1";

/// A control plane and what lies behind it. The bucket `logs` takes everything, `closed` nothing, others are not there.
pub(crate) struct World {
    service: CloudTrail,
    pub(crate) catalog: Catalog,
    pub(crate) bucket: Arc<TestBucket>,
    pub(crate) topics: Arc<topics::TestTopics>,
    pub(crate) log_groups: Arc<log_groups::TestLogGroups>,
    pub(crate) log: Arc<TestLog>,
    pub(crate) history: Arc<TestHistory>,
    pub(crate) changes: Arc<AtomicUsize>,
    pub(crate) clock: Arc<TestClock>,
    _folder: tempfile::TempDir,
}

/// What a call ended in: the reply, or `Code: message`.
pub(crate) type Answer = Result<Value, String>;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = sqlite::open(&folder.path().join("catalog.db")).unwrap();
        let (bucket, log, history) =
            (Arc::<TestBucket>::default(), Arc::<TestLog>::default(), Arc::<TestHistory>::default());
        let topics = Arc::<topics::TestTopics>::default();
        let log_groups = Arc::<log_groups::TestLogGroups>::default();
        let clock = Arc::new(TestClock::new(Timestamp::parse_iso("2026-11-21T12:00:00Z").unwrap()));
        let changes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&changes);
        let service = CloudTrail::new(Deps {
            catalog: catalog.clone(),
            log: log.clone(),
            history: history.clone(),
            bucket: bucket.clone(),
            topic: Arc::new(Topics::new(topics.clone())),
            log_groups: log_groups.clone(),
            keys: SigningKeys::new(catalog.clone(), clock.clone(), KeySettings::default(), fixed_sealer()),
            changed: Arc::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            }),
            settings,
        });
        Self { service, catalog, bucket, topics, log_groups, log, history, changes, clock, _folder: folder }
    }

    /// A world with the trail `audit`, which delivers to `logs`.
    pub(crate) async fn with_trail() -> Self {
        let world = Self::new();
        world
            .call("CreateTrail", serde_json::json!({"Name": "audit", "S3BucketName": "logs"}))
            .await
            .unwrap();
        world
    }

    pub(crate) async fn call(&self, operation: &str, params: Value) -> Answer {
        self.call_in(REGION, operation, params).await
    }

    pub(crate) async fn call_in(&self, region: &str, operation: &str, params: Value) -> Answer {
        self.call_as(&self.caller(ACCOUNT, region), operation, params).await
    }

    pub(crate) async fn call_as(&self, caller: &Caller, operation: &str, params: Value) -> Answer {
        match self.service.handle(caller, made(operation, params)).await {
            Ok(reply) => {
                model::check_reply(operation, &reply.result);
                Ok(reply.result)
            }
            Err(error) => {
                model::check_error(operation, &error.code);
                Err(error.to_string())
            }
        }
    }

    pub(crate) fn service(&self) -> &CloudTrail {
        &self.service
    }

    pub(crate) fn caller(&self, account: &str, region: &str) -> Caller {
        let account: AccountId = account.parse().unwrap();
        Caller {
            principal: Principal::Root { account: account.clone(), alias: None },
            access_key_id: Some("AKIAEXAMPLE".into()),
            session: None,
            mfa_verified: false,
            account,
            region: region.parse::<Region>().unwrap(),
            now: self.clock.now(),
            request_id: EventId::from_random([7; 16]),
            source_ip: [127, 0, 0, 1].into(),
            secure_transport: false,
            user_agent: None,
            rights: std::sync::Arc::new(cairn_core::policy::Rights::unrestricted()),
        }
    }

    pub(crate) fn set_time(&self, iso: &str) {
        self.clock.set(Timestamp::parse_iso(iso).unwrap());
    }
}

/// A call as the front door hands it over.
pub(crate) fn made(operation: &str, params: Value) -> Call {
    Call {
        service: "cloudtrail".into(),
        operation: operation.into(),
        params,
        body: None,
        request: RequestFacts::default(),
    }
}

/// `TrailArn` of a trail of the test account.
pub(crate) fn arn(region: &str, name: &str) -> String {
    format!("arn:aws:cloudtrail:{region}:{ACCOUNT}:trail/{name}")
}

/// Buckets that remember what was put.
#[derive(Default)]
pub(crate) struct TestBucket {
    /// Keys by bucket, with whose trail put them.
    pub(crate) puts: Mutex<Vec<(String, String, String)>>,
    /// Further buckets that take everything.
    pub(crate) open: Mutex<BTreeSet<String>>,
    /// Beginnings of keys, per bucket, that its policy denies.
    pub(crate) denied: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl TestBucket {
    pub(crate) fn keys(&self) -> Vec<String> {
        self.puts.lock().unwrap().iter().map(|(bucket, key, _)| format!("{bucket}/{key}")).collect()
    }

    fn check(&self, bucket: &str, key: &str) -> Result<(), PutFailure> {
        let failure = |code: &str| PutFailure { code: code.into(), message: String::new() };
        let denied = self.denied.lock().unwrap();
        match bucket {
            "closed" => Err(failure("AccessDenied")),
            "logs"
                if denied
                    .get(bucket)
                    .is_some_and(|begin| begin.iter().any(|begin| key.starts_with(begin))) =>
            {
                Err(failure("AccessDenied"))
            }
            "logs" => Ok(()),
            other if self.open.lock().unwrap().contains(other) => Ok(()),
            _ => Err(failure("NoSuchBucket")),
        }
    }
}

#[async_trait]
impl Bucket for TestBucket {
    async fn check_acl(&self, bucket: &str, _who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.check(bucket, "\u{10ffff}")
    }

    async fn holds(&self, _bucket: &str, _key: &str) -> Result<bool, PutFailure> {
        unreachable!("the control plane delivers nothing")
    }

    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.check(&put.bucket, &put.key)?;
        assert!(put.body.is_empty(), "the control plane puts markers only");
        self.puts.lock().unwrap().push((put.bucket, put.key, who.trail.to_string()));
        Ok(())
    }
}

/// A log that only has an end.
#[derive(Default)]
pub(crate) struct TestLog(pub(crate) AtomicU64);

#[async_trait]
impl EventLog for TestLog {
    async fn append(&self, _entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        unreachable!("the control plane does not write events")
    }
    async fn read(&self, _: LogPosition, _: usize, _: usize) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        unreachable!("the control plane does not read events")
    }
    fn end(&self) -> LogPosition {
        LogPosition(self.0.load(Ordering::SeqCst))
    }
    fn start(&self) -> LogPosition {
        LogPosition(0)
    }
    async fn wait_past(&self, _position: LogPosition) {}
    async fn trim(&self, _position: LogPosition) -> Result<(), LogError> {
        Ok(())
    }
}

/// A history of a few events.
#[derive(Default)]
pub(crate) struct TestHistory {
    pub(crate) events: Mutex<Vec<HistoryEvent>>,
    pub(crate) last: Mutex<Option<Lookup>>,
}

impl TestHistory {
    /// Adds the event `json`, found by `attributes`.
    pub(crate) fn add(&self, insight: bool, time: &str, attributes: &[(Attribute, &str)], json: &str) {
        let mut events = self.events.lock().unwrap();
        let position = LogPosition(events.len() as u64);
        events.push(HistoryEvent {
            position,
            account: ACCOUNT.parse().unwrap(),
            region: REGION.parse().unwrap(),
            time: Timestamp::parse_iso(time).unwrap(),
            insight,
            attributes: attributes
                .iter()
                .map(|(attribute, value)| (*attribute, (*value).to_owned()))
                .collect(),
            json: Bytes::copy_from_slice(json.as_bytes()),
        });
    }
}

#[async_trait]
impl History for TestHistory {
    async fn durable_position(&self) -> Result<LogPosition, HistoryError> {
        Ok(LogPosition(0))
    }
    async fn ingest(&self, _: Vec<HistoryEvent>, _: LogPosition) -> Result<(), HistoryError> {
        unreachable!("the control plane does not fill the history")
    }
    async fn maintain(&self, _now: Timestamp) -> Result<(), HistoryError> {
        Ok(())
    }
    async fn lookup(&self, query: Lookup) -> Result<LookupPage, HistoryError> {
        *self.last.lock().unwrap() = Some(query.clone());
        let events = self.events.lock().unwrap();
        let horizon = query.after.map_or(LogPosition(events.len() as u64), |mark| mark.horizon);
        let mut found: Vec<_> = events
            .iter()
            .filter(|event| event.account == query.account && event.region == query.region)
            .filter(|event| event.insight == query.insight && event.position < horizon)
            .filter(|event| query.attribute.as_ref().is_none_or(|wanted| event.attributes.contains(wanted)))
            .filter(|event| query.start.is_none_or(|start| event.time >= start))
            .filter(|event| query.end.is_none_or(|end| event.time <= end))
            .filter(|event| {
                query.after.is_none_or(|mark| (event.time, event.position) < (mark.time, mark.position))
            })
            .cloned()
            .collect();
        found.sort_by_key(|event| std::cmp::Reverse((event.time, event.position)));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more);
        let next = next.map(|last| Mark { horizon, time: last.time, position: last.position });
        Ok(LookupPage { events: found, next })
    }
}
