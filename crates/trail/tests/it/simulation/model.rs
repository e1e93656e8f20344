//! What should be: the events that were tried, and what each trail was told to take; written apart from the stages.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_core::record::Category;
use cairn_core::record::build::CallEvent;
use cairn_core::selector::{BasicSelector, DataResource, DataResourceType, EventSelection, ReadWriteType};
use cairn_core::{EventId, Region, Timestamp, TrailArn};
use cairn_testkit::Chance;
use serde_json::{Value, json};

pub const HOME: &str = "eu-west-1";
pub const REGIONS: [&str; 2] = [HOME, "us-east-1"];
pub const ACCOUNTS: [&str; 2] = ["111111111111", "222222222222"];

/// What there is to know of an event that was tried.
#[derive(Clone, Debug)]
pub struct Fact {
    pub account: &'static str,
    pub region: &'static str,
    pub global: bool,
    pub data: bool,
    pub read_only: bool,
    pub ingested: bool,
    /// Its caller was told that it is durable.
    pub acked: bool,
    /// Its intent was told to be durable: its call may have run.
    pub intended: bool,
    /// The body of a record that is ingested.
    pub json: Option<Bytes>,
}

/// All events that were tried, by their eventID.
pub type Facts = BTreeMap<String, Fact>;

pub fn new_fact(rng: &mut Chance, ingested: bool) -> Fact {
    let data = rng.strikes(250);
    Fact {
        account: rng.pick(&ACCOUNTS),
        region: rng.pick(&REGIONS),
        global: !data && rng.strikes(200),
        data,
        read_only: rng.strikes(300),
        ingested,
        acked: false,
        intended: false,
        json: None,
    }
}

pub fn call_event(fact: &Fact, id: EventId, time: Timestamp, padding: usize) -> CallEvent {
    let (source, name) = match (fact.data, fact.global) {
        (true, _) => ("s3.amazonaws.com", if fact.read_only { "GetObject" } else { "PutObject" }),
        (_, true) => ("iam.amazonaws.com", "CreateUser"),
        _ => ("ec2.amazonaws.com", "RunInstances"),
    };
    let resource = json!({"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::data/key"});
    CallEvent {
        user_identity: json!({"type": "Root", "accountId": fact.account}),
        time,
        event_source: source.into(),
        event_name: name.into(),
        region: fact.region.parse().unwrap(),
        source_ip_address: "127.0.0.1".into(),
        user_agent: None,
        error: None,
        request_parameters: json!({"padding": "x".repeat(padding)}),
        response_elements: Value::Null,
        additional_event_data: None,
        request_id: None,
        event_id: id,
        read_only: fact.read_only,
        resources: if fact.data { vec![resource] } else { Vec::new() },
        category: if fact.data { Category::Data } else { Category::Management },
        recipient: fact.account.parse().unwrap(),
        shared_event_id: None,
        tls_details: None,
    }
}

/// What a trail takes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub multi_region: bool,
    pub global: bool,
    pub reads: bool,
    pub data: bool,
}

impl Config {
    pub fn any(rng: &mut Chance) -> Self {
        Self {
            multi_region: rng.strikes(700),
            global: rng.strikes(700),
            reads: rng.strikes(700),
            data: rng.strikes(400),
        }
    }

    pub fn selection(self) -> EventSelection {
        let kind = DataResourceType::S3Object;
        let data = DataResource { kind, values: vec!["arn:aws:s3".to_owned()] };
        EventSelection::Basic(vec![BasicSelector {
            read_write_type: if self.reads { ReadWriteType::All } else { ReadWriteType::WriteOnly },
            include_management_events: true,
            data_resources: if self.data { vec![data] } else { Vec::new() },
            exclude_management_event_sources: Vec::new(),
        }])
    }

    fn takes(self, fact: &Fact) -> bool {
        let of_region = self.multi_region || fact.region == HOME && (self.global || !fact.global);
        of_region && (self.reads || !fact.read_only) && (self.data || !fact.data)
    }
}

/// One incarnation of a trail.
#[derive(Clone, Debug)]
pub struct SimTrail {
    pub arn: TrailArn,
    pub account: &'static str,
    pub incarnation: u64,
    /// What it took, each from the log's end on that there was then.
    pub configs: Vec<(u64, Config)>,
    /// The stretches of the log in which it was logging.
    pub spans: Vec<(u64, Option<u64>)>,
    /// The buckets that it had; the last one is the present one.
    pub buckets: Vec<String>,
    pub validated: bool,
    /// The topic that its files are announced on.
    pub topic: Option<String>,
    /// The log group that its events are sent to.
    pub group: Option<String>,
    /// Validation was turned on or off after it was made.
    pub toggled: bool,
    /// How many chains it may have begun.
    pub chains: usize,
    pub deleted: bool,
}

/// What a trail has to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Once,
    Never,
    /// It was changed before the event was delivered, or deleted.
    Perhaps,
}

impl SimTrail {
    pub fn due(&self, position: u64, fact: &Fact) -> Due {
        let inside =
            self.spans.iter().any(|(from, to)| *from <= position && to.is_none_or(|to| position < to));
        if fact.account != self.account || !inside {
            return Due::Never;
        }
        let at = self.configs.iter().rposition(|(from, _)| *from <= position).unwrap();
        let takes: Vec<bool> = self.configs[at..].iter().map(|(_, config)| config.takes(fact)).collect();
        match (takes.contains(&true), takes.contains(&false)) {
            (true, false) if !self.deleted => Due::Once,
            (true, _) => Due::Perhaps,
            _ => Due::Never,
        }
    }

    pub fn home(&self) -> Region {
        self.arn.region()
    }
}
