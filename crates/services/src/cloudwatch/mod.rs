//! CloudWatch: metrics, alarms on them, and dashboards.
//!
//! On the road: a service like any other; metric filters add to metrics through [`MetricSink`], within the transactions
//! in which they count. New data wake a stage that evaluates alarms ([`AlarmStage`]); what a change of state owes to topics,
//! functions and the event bus is paid by another ([`ActionStage`]). Both take no input. Anomaly detection, metric
//! streams, insight rules, Metrics Insights and alarms on PromQL are not built.
//!
//! Invariants: data that were answered are durable; a state changes together with its history and with what it owes.
//!
//! [`MetricSink`]: crate::sinks::MetricSink

mod actions;
mod alarm;
mod bucket;
mod counters;
mod dashboards;
mod datum;
mod describe;
mod error;
mod evaluate;
mod manage;
mod message;
mod metric_data;
mod put;
mod put_alarm;
mod queries;
mod stage;
mod statistic;
mod statistics;
mod store;
mod tags;
mod target;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy, Timestamp};
use cairn_store::{Catalog, CatalogError};
use cairn_wire::{AwsError, Call, Reply};
use prometheus::Registry;
use serde_json::Value;

pub use self::actions::ActionStage;
use self::actions::Owing;
use self::counters::Counters;
use self::error::{Failure, fail};
pub use self::stage::AlarmStage;
use self::watch::Watch;
use crate::sinks::Switchboard;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

/// How often it is looked for data and history that are too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// What CloudWatch works with.
pub struct Deps {
    /// Where metrics and alarms are kept.
    pub catalog: Catalog,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for the ids of events.
    pub entropy: Arc<dyn Entropy>,
    /// Where alarms send to.
    pub switchboard: Switchboard,
}

/// The CloudWatch service.
pub struct CloudWatch {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    switchboard: Switchboard,
    watch: Watch,
    owing: Owing,
    counters: Counters,
}

impl CloudWatch {
    /// CloudWatch with what it works with.
    ///
    /// # Errors
    /// Where the counters cannot be made, which is a mistake in their names.
    pub fn new(deps: Deps, registry: &Registry) -> Result<Self, prometheus::Error> {
        let Deps { catalog, clock, entropy, switchboard } = deps;
        let (watch, owing, counters) = (Watch::new(), Owing::new(), Counters::new(registry)?);
        Ok(Self { catalog, clock, entropy, switchboard, watch, owing, counters })
    }

    /// Rolls up data that are too old for their resolution, and deletes what is too old altogether, history too. Says when
    /// to look again.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn retain(&self) -> Result<Timestamp, CatalogError> {
        loop {
            let now = self.clock.now();
            let more = self
                .catalog
                .write(move |tx| {
                    Ok::<_, CatalogError>(store::retain(tx, now)? | alarm::retain_history(tx, now)?)
                })
                .await?;
            if !more {
                return Ok(now.plus(RETENTION_INTERVAL));
            }
        }
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "DeleteAlarms" => self.delete_alarms(caller, call.input()?).await,
            "DeleteDashboards" => self.delete_dashboards(caller, call.input()?).await,
            "DescribeAlarmHistory" => self.describe_alarm_history(caller, call.input()?).await,
            "DescribeAlarms" => self.describe_alarms(caller, call.input()?).await,
            "DescribeAlarmsForMetric" => self.describe_alarms_for_metric(caller, call.input()?).await,
            "DisableAlarmActions" => self.enable_actions(caller, call.input()?, false).await,
            "EnableAlarmActions" => self.enable_actions(caller, call.input()?, true).await,
            "GetDashboard" => self.get_dashboard(caller, call.input()?).await,
            "GetMetricData" => self.get_metric_data(caller, call.input()?).await,
            "GetMetricStatistics" => self.get_metric_statistics(caller, call.input()?).await,
            "ListDashboards" => self.list_dashboards(caller, call.input()?).await,
            "ListMetrics" => self.list_metrics(caller, call.input()?).await,
            "ListTagsForResource" => self.list_tags(caller, call.input()?).await,
            "PutCompositeAlarm" => self.put_composite_alarm(caller, call.input()?).await,
            "PutDashboard" => self.put_dashboard(caller, call.input()?).await,
            "PutMetricAlarm" => self.put_metric_alarm(caller, call.input()?).await,
            "PutMetricData" => self.put_metric_data(caller, call.input()?).await,
            "SetAlarmState" => self.set_alarm_state(caller, call.input()?).await,
            "TagResource" => self.tag_resource(caller, call.input()?).await,
            "UntagResource" => self.untag_resource(caller, call.input()?).await,
            other => Err(fail("InvalidAction", format!("The operation {other} is not supported"))),
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const fn data(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Data }
}

const OPERATIONS: &[Operation] = &[
    operation("DeleteAlarms", Access::Write),
    operation("DeleteDashboards", Access::Write),
    operation("DescribeAlarmHistory", Access::Read),
    operation("DescribeAlarms", Access::Read),
    operation("DescribeAlarmsForMetric", Access::Read),
    operation("DisableAlarmActions", Access::Write),
    operation("EnableAlarmActions", Access::Write),
    operation("GetDashboard", Access::Read),
    data("GetMetricData", Access::Read),
    data("GetMetricStatistics", Access::Read),
    operation("ListDashboards", Access::Read),
    data("ListMetrics", Access::Read),
    operation("ListTagsForResource", Access::Read),
    operation("PutCompositeAlarm", Access::Write),
    operation("PutDashboard", Access::Write),
    operation("PutMetricAlarm", Access::Write),
    data("PutMetricData", Access::Write),
    operation("SetAlarmState", Access::Write),
    operation("TagResource", Access::Write),
    operation("UntagResource", Access::Write),
];

#[async_trait]
impl Service for CloudWatch {
    fn model(&self) -> &'static str {
        "cloudwatch"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        let first = target::targets(caller, call).into_iter().next();
        first.ok_or_else(|| AwsError::internal("a call is about nothing"))
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(target::targets(caller, call).split_off(1))
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }
}
