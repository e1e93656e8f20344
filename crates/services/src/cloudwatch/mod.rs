//! CloudWatch: metrics.
//!
//! On the road: a service like any other; metric filters add to metrics through [`MetricSink`], within the transactions
//! in which they count. Anomaly detection, metric streams, insight rules and Metrics Insights are not built.
//!
//! Invariant: data that were answered are durable.
//!
//! [`MetricSink`]: crate::sinks::MetricSink

mod bucket;
mod counters;
mod datum;
mod error;
mod metric_data;
mod put;
mod queries;
mod statistic;
mod statistics;
mod store;
mod target;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Timestamp};
use cairn_store::{Catalog, CatalogError};
use cairn_wire::{AwsError, Call, Reply};
use prometheus::Registry;
use serde_json::Value;

use self::counters::Counters;
use self::error::{Failure, fail};
use self::watch::Watch;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

/// How often it is looked for data that are too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// What CloudWatch works with.
pub struct Deps {
    /// Where metrics and alarms are kept.
    pub catalog: Catalog,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The CloudWatch service.
pub struct CloudWatch {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    watch: Watch,
    counters: Counters,
}

impl CloudWatch {
    /// CloudWatch with what it works with.
    ///
    /// # Errors
    /// Where the counters cannot be made, which is a mistake in their names.
    pub fn new(deps: Deps, registry: &Registry) -> Result<Self, prometheus::Error> {
        let Deps { catalog, clock } = deps;
        Ok(Self { catalog, clock, watch: Watch::new(), counters: Counters::new(registry)? })
    }

    /// Rolls up data that are too old for their resolution, and deletes what is too old altogether. Says when to look again.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn retain(&self) -> Result<Timestamp, CatalogError> {
        loop {
            let now = self.clock.now();
            if !self.catalog.write(move |tx| store::retain(tx, now)).await? {
                return Ok(now.plus(RETENTION_INTERVAL));
            }
        }
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "GetMetricData" => self.get_metric_data(caller, call.input()?).await,
            "GetMetricStatistics" => self.get_metric_statistics(caller, call.input()?).await,
            "ListMetrics" => self.list_metrics(caller, call.input()?).await,
            "PutMetricData" => self.put_metric_data(caller, call.input()?).await,
            other => Err(fail("InvalidAction", format!("The operation {other} is not supported"))),
        }
    }
}

const fn data(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Data }
}

const OPERATIONS: &[Operation] = &[
    data("GetMetricData", Access::Read),
    data("GetMetricStatistics", Access::Read),
    data("ListMetrics", Access::Read),
    data("PutMetricData", Access::Write),
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
