//! The schedule: what a seed lets happen next.

use std::time::Duration;

use cairn_core::{Clock, TrailArn};
use cairn_store::Catalog;
use cairn_trail::Trail;
use cairn_trail::config::{STATUSES, TRAILS, trail_key};

use super::super::world::trail;
use super::model::{ACCOUNTS, Config, HOME, SimTrail};
use super::run::Simulation;

const STEPS: usize = 260;
const TRAILS_MAX: usize = 4;

impl Simulation {
    /// Everything that happens before it all settles.
    pub async fn run(&mut self) {
        self.boot();
        self.make_trail().await;
        self.make_trail().await;
        if self.rng.strikes(650) {
            self.zombie();
        }
        let steps = STEPS / 2 + self.rng.below(STEPS);
        for _ in 0..steps {
            if !self.gates.are_empty() && self.rng.strikes(720) {
                let released = self.gates.release(&mut self.rng, self.stalled);
                self.note(released);
            } else {
                if self.rng.strikes(100) {
                    let last = usize::try_from(self.processes).unwrap() + 1;
                    self.stalled = self.rng.below(last) as u64;
                }
                self.act().await;
            }
            self.rest().await;
            if self.is_dead() {
                self.crash();
            }
        }
        self.settle().await;
    }

    async fn act(&mut self) {
        let down = self.booted.lock().unwrap().is_none();
        let what = match self.rng.below(100) {
            _ if down && self.rng.strikes(300) => {
                self.crash();
                self.boot();
                "start"
            }
            0..=19 => {
                self.call();
                "call"
            }
            20..=27 => {
                self.ingest();
                "ingest"
            }
            28..=49 => {
                self.run_stage(0);
                "delivery runs"
            }
            50..=60 => {
                self.run_stage(1);
                "digests run"
            }
            61..=64 => {
                self.run_stage(5);
                "streams run"
            }
            65..=69 => {
                self.run_stage(2);
                "history runs"
            }
            70..=72 => {
                self.run_stage(3);
                "the log is trimmed"
            }
            73..=77 => {
                self.run_stage(4);
                "notifications run"
            }
            78..=81 => self.tick(),
            82 => {
                self.doom();
                "the process is doomed"
            }
            83 => {
                self.start_second();
                "a second server is started"
            }
            84..=85 => {
                self.crash();
                self.boot();
                "crash and start"
            }
            86 => {
                self.zombie();
                "a zombie comes or goes"
            }
            87..=91 => {
                self.run_zombie();
                "the zombie runs"
            }
            92..=93 => self.outage(),
            _ => self.change_trail().await,
        };
        self.note(what.to_owned());
    }

    fn tick(&mut self) -> &'static str {
        let minutes = [1, 5, 5, 6, 20, 61];
        let span = Duration::from_secs(60 * self.rng.pick(&minutes));
        match self.rng.below(20) {
            0 => {
                self.faults.count("clock jump backwards");
                self.clock.set(self.clock.now().minus(span * 3));
            }
            1 => {
                self.faults.count("clock jump forwards");
                self.clock.advance(span * 3);
            }
            _ => self.clock.advance(span),
        }
        self.latest = self.latest.max(self.clock.now());
        "the clock moves"
    }

    fn outage(&mut self) -> &'static str {
        if self.rng.strikes(300) {
            let room = self.rng.pick(&[0, 500, 5000, u64::MAX / 2, u64::MAX / 2]);
            self.machine.leave_room(room);
            return "the disk fills up or is emptied";
        }
        let trail = &self.trails[self.rng.below(self.trails.len())];
        if let Some(topic) = trail.topic.clone().filter(|_| self.rng.strikes(300)) {
            let mut state = self.topics.lock().unwrap();
            if state.refusing.remove(&topic) {
                return "a topic comes back";
            }
            state.refusing.insert(topic);
            return "a topic refuses";
        }
        if let Some(group) = trail.group.clone().filter(|_| self.rng.strikes(300)) {
            let mut state = self.groups.lock().unwrap();
            if state.refusing.remove(&group) {
                return "a log group comes back";
            }
            state.refusing.insert(group);
            return "a log group refuses";
        }
        let bucket = trail.buckets.last().unwrap().clone();
        let mut state = self.bucket.lock().unwrap();
        if state.refusing.remove(&bucket) {
            return "a bucket comes back";
        }
        state.refusing.insert(bucket);
        "a bucket refuses"
    }

    /// The catalog as the control plane has it: its transactions are a step each.
    fn control(&self) -> Catalog {
        Catalog::new(self.rows.clone())
    }

    fn log_end(&self) -> u64 {
        self.log.lock().unwrap().entries.len() as u64
    }

    async fn keep(&self, trail: Trail) {
        let key = trail_key(&trail.arn);
        self.control().write(move |tx| TRAILS.put(tx, key.bytes(), &trail)).await.unwrap();
    }

    async fn make_trail(&mut self) {
        let incarnation = self.trails.len() as u64 + 1;
        let account = self.rng.pick(&ACCOUNTS);
        let gone = self.trails.iter().find(|trail| trail.deleted && trail.account == account);
        let name = gone.map_or(format!("trail-{incarnation}"), |trail| trail.arn.name().to_owned());
        let taken = self.trails.iter().any(|trail| !trail.deleted && trail.arn.name() == name);
        let name = if taken { format!("trail-{incarnation}") } else { name };
        let arn: TrailArn = format!("arn:aws:cloudtrail:{HOME}:{account}:trail/{name}").parse().unwrap();
        let (end, now, config) = (self.log_end(), self.clock.now(), Config::any(&mut self.rng));
        let model = SimTrail {
            arn: arn.clone(),
            account,
            incarnation,
            configs: vec![(0, config)],
            spans: vec![(end, None)],
            buckets: vec![format!("bucket-{incarnation}-0")],
            validated: self.rng.strikes(800),
            topic: self.rng.strikes(700).then(|| topic_arn(account, incarnation)),
            group: self.rng.strikes(600).then(|| group_arn(account, incarnation)),
            toggled: false,
            chains: 1,
            deleted: false,
        };
        let mut made = Trail { arn, incarnation, bucket: model.buckets[0].clone(), ..trail("any") };
        configure(&mut made, config);
        // By its short name or by its ARN.
        made.sns_topic = model.topic.clone();
        if self.rng.strikes(500) && made.sns_topic.is_some() {
            made.sns_topic = Some(format!("files-{incarnation}"));
        }
        made.set_log_file_validation(model.validated, now);
        let role = format!("arn:aws:iam::{account}:role/writer");
        made.set_log_group(model.group.clone().map(|group| (group, role)), cairn_store::LogPosition(end));
        made.start_logging(now, cairn_store::LogPosition(end));
        self.trails.push(model);
        self.keep(made).await;
    }

    async fn change_trail(&mut self) -> &'static str {
        let at = self.rng.below(self.trails.len());
        if self.trails[at].deleted || self.rng.strikes(100) {
            if self.trails.iter().filter(|trail| !trail.deleted).count() < TRAILS_MAX && self.trails.len() < 6
            {
                self.make_trail().await;
            }
            return "a trail is made";
        }
        let key = trail_key(&self.trails[at].arn);
        let found = self.control().read(move |tx| TRAILS.get(tx, key.bytes())).await;
        let mut live = found.unwrap().unwrap();
        let (end, now) = (self.log_end(), self.clock.now());
        let position = cairn_store::LogPosition(end);
        let (what, config) = (self.rng.below(10), Config::any(&mut self.rng));
        let model = &mut self.trails[at];
        let said = match what {
            0..=1 => {
                configure(&mut live, config);
                model.configs.push((end, config));
                "a trail is updated"
            }
            2..=3 => {
                live.bucket = format!("bucket-{}-{}", model.incarnation, model.buckets.len());
                model.buckets.push(live.bucket.clone());
                "a trail is moved"
            }
            4..=7 if live.logging => {
                live.stop_logging(now, position);
                model.spans.last_mut().unwrap().1 = Some(end);
                "a trail is stopped"
            }
            4..=7 => {
                live.start_logging(now, position);
                model.spans.push((end, None));
                model.chains += 1;
                "a trail is started"
            }
            8 => {
                live.set_log_file_validation(!live.log_file_validation, now);
                model.validated = live.log_file_validation;
                model.toggled = true;
                model.chains += 1;
                "validation is turned on or off"
            }
            _ => {
                model.deleted = true;
                let (key, catalog) = (trail_key(&model.arn), Catalog::new(self.rows.clone()));
                let gone = catalog.write(move |tx| {
                    STATUSES.delete(tx, key.bytes())?;
                    TRAILS.delete(tx, key.bytes())
                });
                gone.await.unwrap();
                return "a trail is deleted";
            }
        };
        self.keep(live).await;
        said
    }
}

fn topic_arn(account: &str, incarnation: u64) -> String {
    format!("arn:aws:sns:{HOME}:{account}:files-{incarnation}")
}

fn group_arn(account: &str, incarnation: u64) -> String {
    format!("arn:aws:logs:{HOME}:{account}:log-group:trails-{incarnation}:*")
}

fn configure(trail: &mut Trail, config: Config) {
    trail.multi_region = config.multi_region;
    trail.include_global_service_events = config.global;
    trail.selection = config.selection();
}
