//! The control plane of CloudTrail: trails, logging, selectors, tags, the event history and the public keys.
//!
//! On the road: a service behind the front door. It writes trails into the catalog, which the stages of
//! `cairn_trail` read, and reads what they and the history stored. It starts no work of its own: after a change it
//! only says so ([`Deps::changed`]), and the wiring wakes the stages.
//!
//! Invariants: a refused call changes nothing; what a trail is and since where in the log it is logging change in one
//! transaction. Messages are those of the real service where they are known.

pub(crate) mod channels;
mod describe;
mod destinations;
mod failure;
mod insights;
mod keys;
mod log_groups;
mod logging;
mod lookup;
mod names;
pub(crate) mod organization;
mod preflight;
mod reply;
mod selectors;
mod tags;
mod topics;
mod trails;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::TrailArn;
use cairn_store::catalog::Catalog;
use cairn_store::{EventLog, History};
use cairn_trail::{Bucket, SigningKeys, Topic};
use cairn_wire::{AwsError, Call, Reply};
use serde_json::Value;

use crate::service::{Access, Caller, EventKind, Operation, Service, Target};
use crate::sinks::pass_role;
use failure::Failure;
pub use log_groups::LogGroups;
use lookup::Throttle;
pub use topics::Topics;

/// In whose name trails deliver, announce and assume roles.
const PRINCIPAL: &str = "cloudtrail.amazonaws.com";
/// Trails in a region, shadows of multi-region trails included.
pub const TRAILS_PER_REGION_MAX: usize = 5;
/// Trails on one page of ListTrails.
pub const TRAILS_PER_PAGE_MAX: usize = 100;
/// Tags of one trail.
pub const TAGS_PER_TRAIL_MAX: usize = 50;
/// ARNs in one ListTags.
pub const TAGGED_RESOURCES_PER_CALL_MAX: usize = 20;
/// Events on one page of LookupEvents.
pub const LOOKUP_EVENTS_PER_PAGE_MAX: usize = 50;
/// How long the event history reaches back, in days.
pub const HISTORY_DAYS: u64 = 90;

/// What may differ between installations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How many LookupEvents calls a second an account may make in a region; the real service allows 2. None: any
    /// number.
    pub lookup_requests_per_second_max: Option<u32>,
}

/// What the control plane works with.
pub struct Deps {
    /// Where trails are kept.
    pub catalog: Catalog,
    /// The event log, for the positions at which trails start and stop logging.
    pub log: Arc<dyn EventLog>,
    /// The event history that LookupEvents searches.
    pub history: Arc<dyn History>,
    /// The buckets that trails deliver to.
    pub bucket: Arc<dyn Bucket>,
    /// The topics that trails announce their log files on.
    pub topic: Arc<dyn Topic>,
    /// The log groups that trails send their events to.
    pub log_groups: Arc<dyn cairn_trail::LogGroups>,
    /// The keys that digests are signed with.
    pub keys: SigningKeys,
    /// Called after every change of a trail: wakes the stages.
    pub changed: Arc<dyn Fn() + Send + Sync>,
    /// What may differ between installations.
    pub settings: Settings,
}

/// The control plane of CloudTrail.
pub struct CloudTrail {
    deps: Deps,
    throttle: Throttle,
}

impl CloudTrail {
    /// The control plane on `deps`.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        let throttle = Throttle::new(deps.settings.lookup_requests_per_second_max);
        Self { deps, throttle }
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "AddTags" => self.add_tags(caller, call.input()?).await,
            "CreateChannel" => self.create_channel(caller, call.input()?).await,
            "CreateTrail" => self.create_trail(caller, call.input()?).await,
            "DeleteChannel" => self.delete_channel(caller, call.input()?).await,
            "DeleteTrail" => self.delete_trail(caller, call.input()?).await,
            "DeregisterOrganizationDelegatedAdmin" => {
                self.deregister_administrator(caller, call.input()?).await
            }
            "DescribeTrails" => self.describe_trails(caller, call.input()?).await,
            "GetChannel" => self.channel(caller, call.input()?).await,
            "GetEventSelectors" => self.event_selectors(caller, call.input()?).await,
            "GetInsightSelectors" => self.insight_selectors(caller, call.input()?).await,
            "GetTrail" => self.trail(caller, call.input()?).await,
            "GetTrailStatus" => self.trail_status(caller, call.input()?).await,
            "ListChannels" => self.list_channels(caller, call.input()?).await,
            "ListPublicKeys" => self.public_keys(caller, call.input()?).await,
            "ListTags" => self.tags(caller, call.input()?).await,
            "ListTrails" => self.trails(caller, call.input()?).await,
            "LookupEvents" => self.lookup_events(caller, call.input()?).await,
            "PutEventSelectors" => self.put_event_selectors(caller, call.input()?).await,
            "PutInsightSelectors" => self.put_insight_selectors(caller, call.input()?).await,
            "RegisterOrganizationDelegatedAdmin" => self.register_administrator(caller, call.input()?).await,
            "RemoveTags" => self.remove_tags(caller, call.input()?).await,
            "StartLogging" => self.start_logging(caller, call.input()?).await,
            "StopLogging" => self.stop_logging(caller, call.input()?).await,
            "UpdateChannel" => self.update_channel(caller, call.input()?).await,
            "UpdateTrail" => self.update_trail(caller, call.input()?).await,
            _ => Err(failure::unsupported().into()),
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const OPERATIONS: &[Operation] = &[
    operation("AddTags", Access::Write),
    operation("CreateChannel", Access::Write),
    operation("CreateTrail", Access::Write),
    operation("DeleteChannel", Access::Write),
    operation("DeleteTrail", Access::Write),
    operation("DeregisterOrganizationDelegatedAdmin", Access::Write),
    operation("DescribeTrails", Access::Read),
    operation("GetChannel", Access::Read),
    operation("GetEventSelectors", Access::Read),
    operation("GetInsightSelectors", Access::Read),
    operation("GetTrail", Access::Read),
    operation("GetTrailStatus", Access::Read),
    operation("ListChannels", Access::Read),
    operation("ListPublicKeys", Access::Read),
    operation("ListTags", Access::Read),
    operation("ListTrails", Access::Read),
    operation("LookupEvents", Access::Read),
    operation("PutEventSelectors", Access::Write),
    operation("PutInsightSelectors", Access::Write),
    operation("RegisterOrganizationDelegatedAdmin", Access::Write),
    operation("RemoveTags", Access::Write),
    operation("StartLogging", Access::Write),
    operation("StopLogging", Access::Write),
    operation("UpdateChannel", Access::Write),
    operation("UpdateTrail", Access::Write),
];

#[async_trait]
impl Service for CloudTrail {
    fn model(&self) -> &'static str {
        "cloudtrail"
    }

    fn checks_values(&self) -> bool {
        true
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(Target {
            action: format!("cloudtrail:{}", call.operation),
            resource_arn: resource_arn(caller, call),
            // Records of CloudTrail's own calls show no resources.
            resources: Vec::new(),
            policy: None,
            conditions: Vec::new(),
        })
    }

    /// Each further resource whose tags are asked for, and the role that is handed over.
    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        let first = self.target(caller, call).await?;
        let further = listed_resources(call).iter().skip(1).filter_map(Value::as_str);
        let further = further.map(|arn| Target { resource_arn: arn.to_owned(), ..first.clone() });
        let role = call.params["CloudWatchLogsRoleArn"].as_str().filter(|role| !role.is_empty());
        Ok(further.chain(role.map(|role| pass_role(role, PRINCIPAL))).collect())
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let result = self.answer(caller, &call).await?;
        Ok(Reply { result, ..Reply::default() })
    }

    fn recorded_reply(&self, _operation: &Operation, result: &Value) -> Option<Value> {
        // A reply without members is null in the record, as of StartLogging and DeleteTrail.
        result.as_object().is_some_and(serde_json::Map::is_empty).then_some(Value::Null)
    }
}

/// The trail or channel that a call names, well-formed or not; the first one of several; `*` where it names none. A
/// channel that is to be made has no id yet.
fn resource_arn(caller: &Caller, call: &Call) -> String {
    let params = &call.params;
    if call.operation == "CreateChannel" {
        return format!("arn:aws:cloudtrail:{}:{}:channel/*", caller.region, caller.account);
    }
    if let Some(channel) = params["Channel"].as_str() {
        return channel.to_owned();
    }
    let named = ["Name", "TrailName", "ResourceId"].into_iter().find_map(|member| params[member].as_str());
    match named.or_else(|| listed_resources(call).first()?.as_str()) {
        None => "*".to_owned(),
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        Some(name) => TrailArn::new(&caller.region, &caller.account, name).to_string(),
    }
}

/// What ListTags asks about.
fn listed_resources(call: &Call) -> &[Value] {
    call.params["ResourceIdList"].as_array().map_or(&[], Vec::as_slice)
}
