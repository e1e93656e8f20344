//! The strict look at what is left of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

use cairn_core::digest::{ChainFlaw, DigestKey, DigestObject, Verified, verify, verify_chain};
use cairn_core::logfile::{LogFileKey, gunzip, sha256_hex};
use cairn_store::history::{Attribute, Lookup};
use cairn_store::{EntryKind, History};

use super::super::world::records_of;
use super::log::{LOG_DIRECTORY, SEGMENT_SIZE_BYTES};
use super::model::{ACCOUNTS, Due, REGIONS, SimTrail};
use super::run::{RESERVATION_BYTES_MAX, Simulation};

/// What lies around the records of a log file.
const FRAME_BYTES: usize = 100;
/// The largest batch: its append may have a segment of its own size.
const APPEND_BYTES_MAX: u64 = 20_000;

/// Public keys in DER by their fingerprints.
pub type PublicKeys = BTreeMap<String, Vec<u8>>;

/// An object: its bucket and key.
type Place = (String, String);

impl Simulation {
    /// Notes whatever is not as it should be.
    pub async fn check(&mut self, keys: &PublicKeys) {
        let changed = std::mem::take(&mut self.bucket.lock().unwrap().changed);
        self.problems.extend(changed.into_iter().map(|key| format!("{key} changed when it was put again")));
        let problems = std::mem::take(&mut self.log.lock().unwrap().problems);
        self.problems.extend(problems);
        let problems = std::mem::take(&mut self.topics.lock().unwrap().problems);
        self.problems.extend(problems);
        self.check_limits();
        let events = self.check_log();
        self.check_history(&events).await;
        for trail in self.trails.clone() {
            let files = self.check_files(&trail, &events);
            self.check_digests(&trail, &files, keys);
            self.check_announced(&trail, &files, &events);
            self.check_streamed(&trail, &events);
        }
    }

    /// What everybody has read is let go of, and nothing else.
    fn check_limits(&mut self) {
        let Some(process) = self.booted.lock().unwrap().clone() else { return };
        let (needed, start) = (process.needed.load(Ordering::SeqCst), process.log.start().0);
        if start > needed {
            self.problems.push(format!("the log begins at {start}, and is needed from {needed}"));
        }
        let needed_bytes: usize = {
            let log = self.log.lock().unwrap();
            let needed = usize::try_from(needed).unwrap();
            log.entries[needed..].iter().map(|entry| entry.payload.len() + FRAME_BYTES).sum()
        };
        let files = self.machine.files(Path::new(LOG_DIRECTORY));
        let kept_bytes: u64 = files.iter().map(|(_, size)| size).sum();
        if kept_bytes > needed_bytes as u64 + 2 * SEGMENT_SIZE_BYTES + APPEND_BYTES_MAX {
            self.problems.push(format!("the log keeps {kept_bytes} bytes, and needs {needed_bytes}"));
        }
        if let Some((path, _)) =
            files.iter().find(|(path, _)| path.extension().is_some_and(|end| end == "new"))
        {
            self.problems.push(format!("{} is left behind", path.display()));
        }
    }

    /// The log's events by their ids, with their positions.
    fn check_log(&mut self) -> BTreeMap<String, u64> {
        let (log, facts) = (self.log.lock().unwrap(), self.facts.lock().unwrap());
        let mut events: BTreeMap<String, u64> = BTreeMap::new();
        let mut intents = Vec::new();
        for (at, entry) in log.entries.iter().enumerate() {
            let parsed: serde_json::Value = serde_json::from_slice(&entry.payload).unwrap();
            let id = parsed["eventID"].as_str().unwrap().to_owned();
            let is_known = facts.get(&id).is_some_and(|fact| {
                fact.ingested == (entry.kind == EntryKind::Ingested)
                    && fact.json.as_ref().is_none_or(|json| *json == entry.payload)
            });
            if !is_known {
                self.problems.push(format!("the log has {id}, which nobody recorded"));
            }
            if entry.kind == EntryKind::Intent {
                intents.push(id);
            } else if let Some(before) = events.insert(id.clone(), at as u64) {
                let fact = facts.get(&id);
                self.problems.push(format!("the log has {id} at {before} and at {at}: {fact:?}"));
            }
        }
        for (id, fact) in facts.iter().filter(|(id, _)| !events.contains_key(*id)) {
            if fact.acked || fact.intended {
                self.problems.push(format!("the log has lost {id}: {fact:?}"));
            }
        }
        let unsettled = intents.into_iter().filter(|id| !events.contains_key(id));
        self.problems.extend(unsettled.map(|id| format!("nothing settled the intent of {id}")));
        events
    }

    async fn check_history(&mut self, events: &BTreeMap<String, u64>) {
        let Some(process) = self.booted.lock().unwrap().clone() else {
            self.problems.push("the server does not start".to_owned());
            return;
        };
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (account, region) in ACCOUNTS.iter().flat_map(|account| REGIONS.map(|region| (account, region))) {
            let query = Lookup {
                account: account.parse().unwrap(),
                region: region.parse().unwrap(),
                insight: false,
                attribute: None,
                start: None,
                end: None,
                limit: 100_000,
                after: None,
            };
            for event in process.history.lookup(query).await.unwrap().events {
                *found.entry(event.attribute(Attribute::EventId).unwrap().to_owned()).or_default() += 1;
            }
        }
        let facts = self.facts.lock().unwrap();
        for (id, position) in events {
            let (times, due) = (found.remove(id).unwrap_or(0), usize::from(!facts[id].data));
            if times != due {
                self.problems.push(format!("the history has {id} at {position} {times} times, not {due}"));
            }
        }
        self.problems.extend(found.into_keys().map(|id| format!("the history invented {id}")));
    }

    /// The trail's log files, with the hash of each.
    fn check_files(&mut self, trail: &SimTrail, events: &BTreeMap<String, u64>) -> BTreeMap<Place, String> {
        let (bucket, log, facts) =
            (self.bucket.lock().unwrap(), self.log.lock().unwrap(), self.facts.lock().unwrap());
        let mut files = BTreeMap::new();
        let mut delivered: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((of, key), object) in &bucket.objects {
            if !trail.buckets.contains(of) || LogFileKey::parse(key).is_none() {
                continue;
            }
            let content = gunzip(&object.body, 1 << 30).unwrap();
            files.insert((of.clone(), key.clone()), sha256_hex(&content));
            let records = records_of(&content);
            if records.len() > 1 && content.len() > RESERVATION_BYTES_MAX + FRAME_BYTES {
                self.problems.push(format!("{key} has {} bytes", content.len()));
            }
            for record in records {
                let parsed: serde_json::Value = serde_json::from_str(&record).unwrap();
                let id = parsed["eventID"].as_str().unwrap().to_owned();
                let logged = events.get(&id).map(|at| &log.entries[usize::try_from(*at).unwrap()].payload);
                if logged.is_none_or(|logged| *logged != record.as_bytes()) {
                    self.problems.push(format!("{key} has {id}, which is not what was logged"));
                }
                delivered.entry(id).or_default().push(of.clone());
            }
        }
        for (id, position) in events {
            let places = delivered.remove(id).unwrap_or_default();
            let (due, distinct) = (trail.due(*position, &facts[id]), places.iter().collect::<BTreeSet<_>>());
            // A trail that is moved while a put's outcome is unknown leaves a file where it was.
            let once = places.len() <= 1 || distinct.len() == places.len();
            let is_right = match due {
                Due::Once => !places.is_empty() && once,
                Due::Perhaps => once,
                Due::Never => places.is_empty(),
            };
            if !is_right {
                self.problems
                    .push(format!("{} has {id} at {position} in {places:?}, due {due:?}", trail.arn));
            }
        }
        files
    }

    /// The topic was told of every file that was committed, and of no other trail's. A trail that was moved may have left
    /// a file uncommitted where it was; its events are in a file that is announced.
    fn check_announced(
        &mut self,
        trail: &SimTrail,
        files: &BTreeMap<Place, String>,
        events: &BTreeMap<String, u64>,
    ) {
        let Some(topic) = &trail.topic else { return };
        let announced = self.topics.lock().unwrap().announced.remove(topic).unwrap_or_default();
        let strange = announced.iter().filter(|place| !files.contains_key(*place));
        self.problems.extend(strange.map(|place| format!("{topic} is told of {place:?}")));
        if trail.deleted {
            return;
        }
        if trail.buckets.len() == 1 {
            let missing = files.keys().filter(|place| !announced.contains(*place));
            self.problems.extend(missing.map(|(_, key)| format!("{topic} was never told of {key}")));
        }
        let (bucket, facts) = (self.bucket.lock().unwrap(), self.facts.lock().unwrap());
        let contents = announced.iter().filter_map(|place| bucket.objects.get(place));
        let records = contents.flat_map(|object| records_of(&gunzip(&object.body, 1 << 30).unwrap()));
        let told: BTreeSet<String> = records
            .map(|record| serde_json::from_str::<serde_json::Value>(&record).unwrap()["eventID"].to_string())
            .collect();
        for (id, position) in events {
            if trail.due(*position, &facts[id]) == Due::Once && !told.contains(&format!("\"{id}\"")) {
                self.problems.push(format!("{topic} was told of no file with {id}"));
            }
        }
    }

    /// The log group has every event that it should have, as it was logged, first times in the log's order.
    fn check_streamed(&mut self, trail: &SimTrail, events: &BTreeMap<String, u64>) {
        let Some(group) = &trail.group else { return };
        let lines = self.groups.lock().unwrap().lines.remove(group).unwrap_or_default();
        let (log, facts) = (self.log.lock().unwrap(), self.facts.lock().unwrap());
        let (mut seen, mut last_due) = (BTreeSet::new(), 0);
        for (_, line) in lines {
            let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let id = parsed["eventID"].as_str().unwrap().to_owned();
            let Some(&position) = events.get(&id) else {
                self.problems.push(format!("{group} has {id}, which is not in the log"));
                continue;
            };
            if log.entries[usize::try_from(position).unwrap()].payload != line {
                self.problems.push(format!("{group} has {id}, which is not what was logged"));
            }
            let due = trail.due(position, &facts[&id]);
            if due == Due::Never {
                self.problems.push(format!("{group} has {id} at {position}, which is none of the trail's"));
            }
            if seen.insert(id.clone()) && due == Due::Once {
                if position < last_due {
                    self.problems.push(format!("{group} has {id} at {position} only after {last_due}"));
                }
                last_due = position;
            }
        }
        for (id, position) in events {
            if trail.due(*position, &facts[id]) == Due::Once && !seen.contains(id) {
                self.problems.push(format!("{group} never had {id} at {position}"));
            }
        }
    }

    fn check_digests(&mut self, trail: &SimTrail, files: &BTreeMap<Place, String>, keys: &PublicKeys) {
        let mut chains: BTreeMap<String, Vec<Verified>> = BTreeMap::new();
        let (mut listed, mut problems) = (BTreeSet::new(), Vec::new());
        {
            let bucket = self.bucket.lock().unwrap();
            let of_trail = bucket.objects.iter().filter(|((of, _), _)| trail.buckets.contains(of));
            for ((of, key), object) in of_trail {
                let Some(parts) = DigestKey::parse(key) else { continue };
                let json = gunzip(&object.body, 1 << 30).unwrap();
                let metadata: BTreeMap<&str, &str> =
                    object.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let found = DigestObject {
                    bucket: of,
                    object: key,
                    json: &json,
                    signature: metadata.get("signature").copied(),
                    signature_algorithm: metadata.get("signature-algorithm").copied(),
                };
                match verify(&found, |named| keys.get(named).cloned()) {
                    Ok(verified) => chains.entry(parts.region.to_string()).or_default().push(verified),
                    Err(flaw) => problems.push(format!("{key}: {flaw}")),
                }
            }
        }
        for (region, mut chain) in chains {
            chain.sort_by_key(|found| found.digest.digest_end_time);
            drop_left_behind(trail, &mut chain);
            let flaws = verify_chain(&chain);
            let (restarts, flaws): (Vec<_>, Vec<_>) =
                flaws.into_iter().partition(|flaw| matches!(flaw, ChainFlaw::Restart { .. }));
            problems.extend(flaws.into_iter().map(|flaw| format!("{} {region}: {flaw}", trail.arn)));
            if restarts.len() >= trail.chains {
                problems.push(format!("{} {region} began {} chains", trail.arn, restarts.len() + 1));
            }
            for file in chain.into_iter().flat_map(|found| found.digest.log_files) {
                let place = (file.s3_bucket, file.s3_object);
                if files.get(&place) != Some(&file.hash_value) {
                    problems.push(format!("{place:?} is not the file that its digest lists"));
                }
                if !listed.insert(place.clone()) {
                    problems.push(format!("{place:?} is in two digests"));
                }
            }
        }
        if trail.validated && !trail.toggled && !trail.deleted {
            let here = files.keys().filter(|(of, _)| Some(of) == trail.buckets.last());
            let missing = here.filter(|place| !listed.contains(*place));
            problems.extend(missing.map(|(_, key)| format!("no digest of {} has {key}", trail.home())));
        }
        self.problems.extend(problems);
    }
}

/// A trail that is moved while a put's outcome is unknown may leave a digest where it was, which is made anew for its
/// new bucket.
fn drop_left_behind(trail: &SimTrail, chain: &mut Vec<Verified>) {
    let rank = |found: &Verified| trail.buckets.iter().position(|bucket| *bucket == found.link.bucket);
    let mut newest: BTreeMap<_, _> = BTreeMap::new();
    for found in &*chain {
        let kept = newest.entry(found.digest.digest_end_time).or_insert(rank(found));
        *kept = (*kept).max(rank(found));
    }
    chain.retain(|found| newest[&found.digest.digest_end_time] == rank(found));
}
