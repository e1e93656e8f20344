//! What is counted of CloudWatch's own work.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

#[derive(Clone)]
pub(super) struct Counters {
    /// Data that were put.
    pub(super) data: IntCounter,
    /// Data of services that were left out for want of metrics.
    pub(super) refused: IntCounter,
    /// Alarms that there are.
    pub(super) alarms: IntGauge,
    /// Evaluations of alarms.
    pub(super) evaluations: IntCounter,
    /// Evaluations that failed.
    pub(super) evaluation_failures: IntCounter,
    /// Changes of state, by the new state.
    pub(super) changes: IntCounterVec,
    /// Actions that are owed.
    pub(super) actions_owed: IntGauge,
    /// Actions by outcome: `done`, `failed`, `given_up`.
    pub(super) actions: IntCounterVec,
}

impl Counters {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = Self {
            data: IntCounter::new("cairn_cloudwatch_data_total", "metric data that were put")?,
            refused: IntCounter::new(
                "cairn_cloudwatch_data_refused_total",
                "metric data of services that were left out, since the account has too many metrics",
            )?,
            alarms: IntGauge::new("cairn_cloudwatch_alarms", "alarms that there are")?,
            evaluations: IntCounter::new("cairn_cloudwatch_evaluations_total", "evaluations of alarms")?,
            evaluation_failures: IntCounter::new(
                "cairn_cloudwatch_evaluation_failures_total",
                "evaluations of alarms that failed",
            )?,
            changes: IntCounterVec::new(
                Opts::new("cairn_cloudwatch_state_changes_total", "changes of alarms' states"),
                &["state"],
            )?,
            actions_owed: IntGauge::new("cairn_cloudwatch_actions_owed", "actions of alarms that are owed")?,
            actions: IntCounterVec::new(
                Opts::new("cairn_cloudwatch_actions_total", "attempts at actions of alarms"),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(counters.data.clone()))?;
        registry.register(Box::new(counters.refused.clone()))?;
        registry.register(Box::new(counters.alarms.clone()))?;
        registry.register(Box::new(counters.evaluations.clone()))?;
        registry.register(Box::new(counters.evaluation_failures.clone()))?;
        registry.register(Box::new(counters.changes.clone()))?;
        registry.register(Box::new(counters.actions_owed.clone()))?;
        registry.register(Box::new(counters.actions.clone()))?;
        Ok(counters)
    }
}
