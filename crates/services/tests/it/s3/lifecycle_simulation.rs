//! Rules against a plain model, from a seed: objects come, are replaced and deleted, rules change, days pass, the stage
//! runs, stops within any transaction's page and is started anew. What is left must be what the model says, and every
//! action must have one record.
//!
//! `CAIRN_SEED=n cargo test -p cairn-services --test it lifecycle_simulation` runs one seed again.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_services::s3::LifecycleStage;
use cairn_store::{EventLog, LogPosition};
use cairn_testkit::Chance;
use prometheus::Registry;
use serde_json::{Value, json};

use super::{Shop, open};

const SEEDS: u64 = 24;
const STEPS: usize = 48;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KEYS: [&str; 4] = ["a/1", "a/2", "b/1", "c"];
const LARGE: usize = 128 * 1024;
/// The classes that rules of the simulation use, in the order of the waterfall.
const CLASSES: [&str; 4] = ["STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE"];

/// A version as the model has it; newer ones come first.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    id: String,
    created_at: Timestamp,
    marker: bool,
    large: bool,
    tagged: bool,
    class: &'static str,
}

struct Model {
    versioned: bool,
    keys: BTreeMap<&'static str, Vec<Version>>,
    rules: Vec<Value>,
    /// The midnight and the rules of the last pass.
    passed: Option<(Timestamp, u64)>,
    revision: u64,
    actions: usize,
}

/// Midnight at or after `days` days from `since`.
fn reached(since: Timestamp, days: i64, now: Timestamp) -> bool {
    let whole = since.plus(DAY * u32::try_from(days).unwrap());
    let midnight = whole.floor(DAY);
    let at = if midnight < whole { midnight.plus(DAY) } else { midnight };
    at <= now
}

enum Wanted {
    Nothing,
    Delete,
    Mark,
    Move(&'static str),
}

impl Model {
    fn applies(rule: &Value, key: &str, version: &Version) -> bool {
        let filter = &rule["Filter"];
        let sizes = filter.get("ObjectSizeGreaterThan").is_none() || version.large;
        rule["Status"] == "Enabled"
            && key.starts_with(filter["Prefix"].as_str().unwrap_or_default())
            && (filter.get("Tag").is_none() || version.tagged)
            && sizes
    }

    /// What the rules want of the version at `at` of `versions`, read straight from the user guide.
    fn wanted(&self, key: &str, versions: &[Version], at: usize, now: Timestamp) -> Wanted {
        let version = &versions[at];
        let rules: Vec<&Value> = self.rules.iter().filter(|rule| Self::applies(rule, key, version)).collect();
        let any = |holds: &dyn Fn(&Value) -> bool| rules.iter().any(|rule| holds(rule));
        let after =
            |since: Timestamp, days: &Value| days.as_i64().is_some_and(|days| reached(since, days, now));
        if at == 0 && version.marker {
            let cleaned = any(&|rule| {
                let expiration = &rule["Expiration"];
                expiration["ExpiredObjectDeleteMarker"] == true
                    || after(version.created_at, &expiration["Days"])
            });
            return if versions.len() == 1 && cleaned { Wanted::Delete } else { Wanted::Nothing };
        }
        let since = if at == 0 { version.created_at } else { versions[at - 1].created_at };
        let (list, days) = if at == 0 {
            ("Transitions", "Days")
        } else {
            ("NoncurrentVersionTransitions", "NoncurrentDays")
        };
        let rank = |class: &str| CLASSES.iter().position(|other| *other == class).unwrap();
        let mut to = version.class;
        for rule in rules.iter().filter(|_| !version.marker) {
            for transition in rule[list].as_array().into_iter().flatten() {
                let class = CLASSES[rank(transition["StorageClass"].as_str().unwrap())];
                let fits = version.large || rule["Filter"].get("ObjectSizeGreaterThan").is_some();
                if fits && after(since, &transition[days]) && rank(class) > rank(to) {
                    to = class;
                }
            }
        }
        let moves = to != version.class;
        if at > 0 {
            let gone = any(&|rule| {
                let expiration = &rule["NoncurrentVersionExpiration"];
                let kept = expiration["NewerNoncurrentVersions"].as_u64().unwrap_or(0);
                after(since, &expiration["NoncurrentDays"]) && (at - 1) as u64 >= kept
            });
            return match (gone, moves) {
                (true, _) => Wanted::Delete,
                (false, true) => Wanted::Move(to),
                (false, false) => Wanted::Nothing,
            };
        }
        let expired = any(&|rule| after(version.created_at, &rule["Expiration"]["Days"]));
        match (expired, moves) {
            (true, _) if !self.versioned => Wanted::Delete,
            (_, true) => Wanted::Move(to),
            (true, false) => Wanted::Mark,
            (false, false) => Wanted::Nothing,
        }
    }

    /// One pass, where one is due.
    fn pass(&mut self, now: Timestamp) {
        let due = (now.floor(DAY), self.revision);
        if self.rules.is_empty() || self.passed == Some(due) {
            return;
        }
        self.passed = Some(due);
        for key in KEYS {
            let before = self.keys.remove(key).unwrap_or_default();
            let mut after = Vec::new();
            for (at, version) in before.iter().enumerate() {
                let wanted = self.wanted(key, &before, at, now);
                self.actions += usize::from(!matches!(wanted, Wanted::Nothing));
                match wanted {
                    Wanted::Delete => {}
                    Wanted::Nothing => after.push(version.clone()),
                    Wanted::Move(class) => after.push(Version { class, ..version.clone() }),
                    Wanted::Mark => {
                        let created_at = now.floor(Duration::from_secs(1));
                        let id = String::from("made by a rule");
                        after.push(Version {
                            id,
                            created_at,
                            marker: true,
                            large: false,
                            tagged: false,
                            class: CLASSES[0],
                        });
                        after.push(version.clone());
                    }
                }
            }
            self.keys.insert(key, after);
        }
    }

    fn shown(&self) -> Vec<String> {
        let of_key = |(key, versions): (&&str, &Vec<Version>)| {
            let lines = versions.iter().map(|version| {
                let class = if version.marker { "marker" } else { version.class };
                format!("{key} {class} {}", version.created_at.iso())
            });
            lines.collect::<Vec<_>>()
        };
        self.keys.iter().flat_map(of_key).collect()
    }
}

/// A rule of a few that make sense together.
fn any_rule(rng: &mut Chance, at: usize) -> Value {
    let filters = [
        json!({}),
        json!({"Prefix": "a/"}),
        json!({"Prefix": "b"}),
        json!({"Tag": {"Key": "k", "Value": "v"}}),
        json!({"ObjectSizeGreaterThan": 10}),
    ];
    let mut rule = json!({"ID": format!("r{at}"), "Status": "Enabled", "Filter": rng.pick(&[0, 1, 2, 3, 4])});
    rule["Filter"] = filters[usize::try_from(rule["Filter"].as_u64().unwrap()).unwrap()].clone();
    let plain = rule["Filter"].get("Tag").is_none() && rule["Filter"].get("ObjectSizeGreaterThan").is_none();
    let days = 1 + rng.below(4);
    match rng.below(5) {
        0 => rule["Expiration"] = json!({"Days": days}),
        1 => rule["NoncurrentVersionExpiration"] = json!({"NoncurrentDays": days}),
        2 => {
            rule["NoncurrentVersionExpiration"] =
                json!({"NoncurrentDays": days, "NewerNoncurrentVersions": 1 + rng.below(2)});
        }
        3 => {
            rule["Transitions"] = json!([
                {"Days": days, "StorageClass": "GLACIER"}, {"Days": days + 2, "StorageClass": "DEEP_ARCHIVE"},
            ]);
            rule["NoncurrentVersionTransitions"] =
                json!([{"NoncurrentDays": days, "StorageClass": "DEEP_ARCHIVE"}]);
        }
        _ if plain => rule["Expiration"] = json!({"ExpiredObjectDeleteMarker": true}),
        _ => rule["Expiration"] = json!({"Days": days}),
    }
    if rng.strikes(150) {
        rule["Status"] = "Disabled".into();
    }
    rule
}

struct Run {
    shop: Shop,
    log: Arc<dyn EventLog>,
    stage: LifecycleStage,
    model: Model,
    rng: Chance,
}

fn stage(shop: &Shop, log: &Arc<dyn EventLog>) -> LifecycleStage {
    let s3 = Arc::new(open(&shop.world, shop.folder.path()));
    LifecycleStage::new(s3, Arc::clone(log), &Registry::new()).unwrap()
}

impl Run {
    async fn new(seed: u64) -> Self {
        let mut rng = Chance(seed);
        let versioned = rng.strikes(700);
        let shop = if versioned { Shop::with_versions().await } else { Shop::with_bucket().await };
        let log = cairn_testkit::memory_log();
        let stage = stage(&shop, &log);
        let model = Model {
            versioned,
            keys: BTreeMap::new(),
            rules: Vec::new(),
            passed: None,
            revision: 0,
            actions: 0,
        };
        Self { shop, log, stage, model, rng }
    }

    async fn put(&mut self) {
        let (key, large, tagged) = (self.rng.pick(&KEYS), self.rng.strikes(300), self.rng.strikes(500));
        let mut params = json!({"Bucket": "logs", "Key": key});
        if tagged {
            params["Tagging"] = "k=v".into();
        }
        let written = self.shop.put_with(params, &"x".repeat(if large { LARGE } else { 1 })).await.unwrap();
        let created_at = self.shop.world.clock.now().floor(Duration::from_secs(1));
        let id = written["VersionId"].as_str().unwrap_or_default().to_owned();
        let new = Version { id, created_at, marker: false, large, tagged, class: CLASSES[0] };
        let versions = self.model.keys.entry(key).or_default();
        if !self.model.versioned {
            versions.clear();
        }
        versions.insert(0, new);
    }

    async fn delete(&mut self) {
        let key = self.rng.pick(&KEYS);
        let versions = self.model.keys.entry(key).or_default();
        let own: Vec<usize> =
            (0..versions.len()).filter(|at| !versions[*at].id.starts_with("made")).collect();
        if self.model.versioned && self.rng.strikes(400) && !own.is_empty() {
            let gone = versions.remove(own[self.rng.below(own.len())]);
            let params = json!({"Bucket": "logs", "Key": key, "VersionId": gone.id});
            self.shop.ok("DeleteObject", params).await;
            return;
        }
        let deleted = self.shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": key})).await;
        if !self.model.versioned {
            versions.clear();
            return;
        }
        let created_at = self.shop.world.clock.now().floor(Duration::from_secs(1));
        let id = deleted["VersionId"].as_str().unwrap().to_owned();
        let marker = Version { id, created_at, marker: true, large: false, tagged: false, class: CLASSES[0] };
        versions.insert(0, marker);
    }

    async fn change_rules(&mut self) {
        self.model.revision += 1;
        if self.rng.strikes(150) {
            self.model.rules.clear();
            self.shop.ok("DeleteBucketLifecycle", json!({"Bucket": "logs"})).await;
            return;
        }
        let count = 2 + self.rng.below(3);
        self.model.rules = (0..count).map(|at| any_rule(&mut self.rng, at)).collect();
        let configuration = json!({"Bucket": "logs", "LifecycleConfiguration": {"Rules": self.model.rules}});
        self.shop.ok("PutBucketLifecycleConfiguration", configuration).await;
    }

    /// Runs the stage until it has nothing to do; it may be stopped in between, and started anew.
    async fn execute(&mut self) {
        let now = self.shop.world.clock.now();
        self.model.pass(now);
        loop {
            if self.rng.strikes(300) {
                let polls = self.rng.below(6);
                let mut run = Box::pin(self.stage.run_once());
                for _ in 0..polls {
                    if futures::poll!(run.as_mut()).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(run);
                self.stage = stage(&self.shop, &self.log);
            }
            self.stage.run_once().await.unwrap();
            if self.stage.next_due() > now {
                return;
            }
        }
    }

    async fn check(&self, seed: u64) {
        let listed = self.shop.ok("ListObjectVersions", json!({"Bucket": "logs"})).await;
        let entries =
            |member: &str| listed.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        let line = |entry: &Value| {
            let class = entry["StorageClass"].as_str().unwrap_or("marker");
            let at = Timestamp::from_seconds(entry["LastModified"].as_i64().unwrap()).iso();
            format!("{} {class} {at}", entry["Key"].as_str().unwrap())
        };
        let mut found: Vec<String> =
            entries("Versions").iter().chain(&entries("DeleteMarkers")).map(line).collect();
        let mut expected = self.model.shown();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "seed {seed}, rules {:#?}", self.model.rules);
        let read = self.log.read(LogPosition(0), usize::MAX, usize::MAX).await.unwrap();
        let ids: std::collections::BTreeSet<String> = read
            .iter()
            .map(|(_, entry)| serde_json::from_slice::<Value>(&entry.payload).unwrap()["eventID"].to_string())
            .collect();
        assert_eq!(
            (read.len(), ids.len()),
            (self.model.actions, self.model.actions),
            "seed {seed}: a record each"
        );
    }
}

async fn run(seed: u64) -> usize {
    let mut run = Run::new(seed).await;
    run.change_rules().await;
    for _ in 0..STEPS {
        match run.rng.below(100) {
            0..=44 => run.put().await,
            45..=59 => run.delete().await,
            60..=64 => run.change_rules().await,
            _ => {
                // Never backwards: creation times are those of the clock.
                let hours = u32::try_from(run.rng.below(40)).unwrap();
                run.shop.world.clock.advance(HOUR * hours + Duration::from_secs(7));
                run.execute().await;
                run.check(seed).await;
            }
        }
        run.shop.world.clock.advance(Duration::from_secs(1));
    }
    run.model.actions
}

#[tokio::test]
async fn what_is_left_is_what_a_plain_model_says_whatever_stops_the_stage() {
    let seeds = match env::var("CAIRN_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=SEEDS).collect(),
    };
    let mut actions = 0;
    for seed in seeds {
        actions += run(seed).await;
    }
    println!("{actions} actions");
    assert!(actions > 0);
}
