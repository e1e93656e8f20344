//! EventBridge: buses that events come to, rules that take them, targets that get them.
//!
//! On the road: a service like any other; S3, CloudWatch and the event log put events on default buses through
//! [`BusSink`] and [`CloudTrailEvents`]. What a rule's targets are owed is durable before an event is acknowledged
//! ([`owed`]); it is paid by a stage that takes no input ([`delivery`]). Partner event sources, global endpoints, schema
//! registries and pipes are not built.
//!
//! Invariants: what was acknowledged reaches each target at least once, or its dead-letter queue, or is counted as given
//! up; a sick target delays only itself; a detail's bytes are those that were given.
//!
//! [`BusSink`]: crate::sinks::BusSink

mod access;
mod api_destinations;
mod archives;
mod buses;
mod cloudtrail;
mod connections;
pub mod delivery;
mod error;
mod event;
mod http;
mod metrics;
mod names;
mod owed;
mod page;
mod permissions;
mod put_events;
mod recorded;
mod replays;
mod route;
mod rules;
mod schedules;
mod sink;
mod state;
mod tags;
mod target_check;
mod targets;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{AccountId, Clock, Entropy};
use cairn_store::lines::Lines;
use cairn_store::{Catalog, Queues, Sealer};
use cairn_wire::{AwsError, Call, Reply};
use prometheus::Registry;
use serde_json::Value;
use tokio::sync::watch;

pub use cloudtrail::{CloudTrailError, CloudTrailEvents};
pub use http::{Http, HttpAnswer, HttpRequest};

use self::delivery::call::Tokens;
use self::delivery::lanes::Lanes;
use self::error::{Failure, fail};
use self::metrics::Metrics;
use self::state::RuleState;
use self::views::Views;
use crate::sinks::Switchboard;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

/// In whose name targets are sent to.
const SERVICE_PRINCIPAL: &str = "events.amazonaws.com";

/// What EventBridge works with.
pub struct Deps {
    /// Where buses and rules are kept.
    pub catalog: Catalog,
    /// Where it is kept what targets are owed.
    pub queues: Arc<dyn Queues>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids and delays.
    pub entropy: Arc<dyn Entropy>,
    /// Seals events that are owed.
    pub sealer: Sealer,
    /// Where archives lie.
    pub lines: Arc<dyn Lines>,
    /// API destinations.
    pub http: Arc<dyn Http>,
    /// All other targets.
    pub switchboard: Switchboard,
}

/// The EventBridge service.
pub struct Events {
    catalog: Catalog,
    queues: Arc<dyn Queues>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    lines: Arc<dyn Lines>,
    http: Arc<dyn Http>,
    switchboard: Switchboard,
    tokens: Tokens,
    /// Grows whenever a schedule, a replay or a connection was put.
    work_put: watch::Sender<u64>,
    views: Views,
    lanes: Lanes,
    metrics: Metrics,
}

impl Events {
    /// EventBridge with what it works with.
    ///
    /// # Errors
    /// Where its metrics are there already.
    pub fn new(deps: Deps, registry: &Registry) -> Result<Self, prometheus::Error> {
        let Deps { catalog, queues, clock, entropy, sealer, lines, http, switchboard } = deps;
        let lanes = Lanes::of(queues.names(), clock.now());
        Ok(Self {
            catalog,
            queues,
            clock,
            entropy,
            sealer,
            lines,
            http,
            switchboard,
            tokens: Tokens::default(),
            work_put: watch::Sender::new(0),
            views: Views::default(),
            lanes,
            metrics: Metrics::new(registry)?,
        })
    }

    /// A UUID.
    fn new_id(&self) -> String {
        self.entropy.event_id().to_string()
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "CreateEventBus" => self.create_bus(caller, call.input()?).await,
            "DeleteEventBus" => self.delete_bus(caller, call.input()?).await,
            "DeleteRule" => self.delete_rule(caller, call.input()?).await,
            "DescribeEventBus" => self.describe_bus(caller, call.input()?).await,
            "DescribeRule" => self.describe_rule(caller, call.input()?).await,
            "DisableRule" => self.switch_rule(caller, call.input()?, RuleState::Disabled).await,
            "EnableRule" => self.switch_rule(caller, call.input()?, RuleState::Enabled).await,
            "ListEventBuses" => self.list_buses(caller, call.input()?).await,
            "ListRuleNamesByTarget" => self.list_rule_names(caller, call.input()?).await,
            "ListRules" => self.list_rules(caller, call.input()?).await,
            "ListTagsForResource" => self.list_tags(caller, call.input()?).await,
            "ListTargetsByRule" => self.list_targets(caller, call.input()?).await,
            "PutEvents" => self.put_events(caller, call.input()?).await,
            "PutPermission" => self.put_permission(caller, call.input()?).await,
            "PutRule" => self.put_rule(caller, call.input()?).await,
            "PutTargets" => self.put_targets(caller, call.input()?).await,
            "RemovePermission" => self.remove_permission(caller, call.input()?).await,
            "RemoveTargets" => self.remove_targets(caller, call.input()?).await,
            "TagResource" => self.tag(caller, call.input()?).await,
            "TestEventPattern" => Self::test_pattern(&call.input()?),
            "UntagResource" => self.untag(caller, call.input()?).await,
            "UpdateEventBus" => self.update_bus(caller, call.input()?).await,
            _ => self.answer_of_the_rest(caller, call).await,
        }
    }

    /// Archives, replays, connections and API destinations.
    async fn answer_of_the_rest(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "CancelReplay" => self.cancel_replay(caller, call.input()?).await,
            "CreateApiDestination" => self.create_api_destination(caller, call.input()?).await,
            "CreateArchive" => self.create_archive(caller, call.input()?).await,
            "CreateConnection" => self.create_connection(caller, call.input()?).await,
            "DeauthorizeConnection" => self.deauthorize_connection(caller, call.input()?).await,
            "DeleteApiDestination" => self.delete_api_destination(caller, call.input()?).await,
            "DeleteArchive" => self.delete_archive(caller, call.input()?).await,
            "DeleteConnection" => self.delete_connection(caller, call.input()?).await,
            "DescribeApiDestination" => self.describe_api_destination(caller, call.input()?).await,
            "DescribeArchive" => self.describe_archive(caller, call.input()?).await,
            "DescribeConnection" => self.describe_connection(caller, call.input()?).await,
            "DescribeReplay" => self.describe_replay(caller, call.input()?).await,
            "ListApiDestinations" => self.list_api_destinations(caller, call.input()?).await,
            "ListArchives" => self.list_archives(caller, call.input()?).await,
            "ListConnections" => self.list_connections(caller, call.input()?).await,
            "ListReplays" => self.list_replays(caller, call.input()?).await,
            "StartReplay" => self.start_replay(caller, call.input()?).await,
            "UpdateApiDestination" => self.update_api_destination(caller, call.input()?).await,
            "UpdateArchive" => self.update_archive(caller, call.input()?).await,
            "UpdateConnection" => self.update_connection(caller, call.input()?).await,
            other => Err(fail("InvalidAction", format!("The operation {other} is not supported"))),
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const OPERATIONS: &[Operation] = &[
    operation("CancelReplay", Access::Write),
    operation("CreateApiDestination", Access::Write),
    operation("CreateArchive", Access::Write),
    operation("CreateConnection", Access::Write),
    operation("CreateEventBus", Access::Write),
    operation("DeauthorizeConnection", Access::Write),
    operation("DeleteApiDestination", Access::Write),
    operation("DeleteArchive", Access::Write),
    operation("DeleteConnection", Access::Write),
    operation("DeleteEventBus", Access::Write),
    operation("DeleteRule", Access::Write),
    operation("DescribeApiDestination", Access::Read),
    operation("DescribeArchive", Access::Read),
    operation("DescribeConnection", Access::Read),
    operation("DescribeEventBus", Access::Read),
    operation("DescribeReplay", Access::Read),
    operation("DescribeRule", Access::Read),
    operation("DisableRule", Access::Write),
    operation("EnableRule", Access::Write),
    operation("ListApiDestinations", Access::Read),
    operation("ListArchives", Access::Read),
    operation("ListConnections", Access::Read),
    operation("ListEventBuses", Access::Read),
    operation("ListReplays", Access::Read),
    operation("ListRuleNamesByTarget", Access::Read),
    operation("ListRules", Access::Read),
    operation("ListTagsForResource", Access::Read),
    operation("ListTargetsByRule", Access::Read),
    Operation { name: "PutEvents", event_name: "PutEvents", access: Access::Write, kind: EventKind::Data },
    operation("PutPermission", Access::Write),
    operation("PutRule", Access::Write),
    operation("PutTargets", Access::Write),
    operation("RemovePermission", Access::Write),
    operation("RemoveTargets", Access::Write),
    operation("StartReplay", Access::Write),
    operation("TagResource", Access::Write),
    operation("TestEventPattern", Access::Read),
    operation("UntagResource", Access::Write),
    operation("UpdateApiDestination", Access::Write),
    operation("UpdateArchive", Access::Write),
    operation("UpdateConnection", Access::Write),
    operation("UpdateEventBus", Access::Write),
];

#[async_trait]
impl Service for Events {
    fn model(&self) -> &'static str {
        "events"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.find_target(caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(self.find_further_targets(caller, call).await?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        recorded::request(call)
    }

    fn also_concerned(&self, _operation: &str, target: &Target) -> Option<AccountId> {
        target.policy.as_ref().map(|policy| policy.owner.clone())
    }
}
