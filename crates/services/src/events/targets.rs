//! The targets of rules: put, listed and removed. Each is looked at by itself, so that a call may be done in part.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Events;
use super::error::{Failure, over_limit};
use super::names::BusArn;
use super::owed;
use super::page::{PageInput, page};
use super::rules::found;
use super::state::{Rule, RuleTarget};
use super::target_check;
use crate::Caller;

/// Targets of a rule.
const TARGETS_PER_RULE_MAX: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutTargets {
    rule: String,
    event_bus_name: Option<String>,
    targets: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveTargets {
    rule: String,
    event_bus_name: Option<String>,
    ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTargets {
    rule: String,
    event_bus_name: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

impl Events {
    pub(super) async fn put_targets(&self, caller: &Caller, input: PutTargets) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let targets: Vec<RuleTarget> =
            input.targets.iter().map(target_check::checked).collect::<Result<_, _>>()?;
        let added = targets.clone();
        let rule = self
            .change_rule(&bus, &input.rule, move |rule| {
                for target in &added {
                    match rule.targets.iter_mut().find(|known| known.id == target.id) {
                        Some(known) => known.clone_from(target),
                        None => rule.targets.push(target.clone()),
                    }
                }
                if rule.targets.len() > TARGETS_PER_RULE_MAX {
                    return Err(over_limit());
                }
                Ok(rule.clone())
            })
            .await?;
        for target in &targets {
            let key = owed::queue_key(&rule.bus, &rule.name, &target.id);
            self.queues.create(&key).await.map_err(super::error::of_engine)?;
        }
        Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
    }

    pub(super) async fn remove_targets(
        &self,
        caller: &Caller,
        input: RemoveTargets,
    ) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let ids = input.ids.clone();
        let rule = self
            .change_rule(&bus, &input.rule, move |rule| {
                rule.targets.retain(|target| !ids.contains(&target.id));
                Ok(rule.clone())
            })
            .await?;
        self.forget_debts(&rule, &input.ids).await?;
        Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
    }

    pub(super) async fn list_targets(&self, caller: &Caller, input: ListTargets) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let mut rule: Rule = self.catalog.read(move |tx| found(tx, &bus, &input.rule)).await?;
        rule.targets.sort_by(|left, right| left.id.cmp(&right.id));
        let items = rule.targets.iter().map(|target| (target.id.clone(), json!(target)));
        page("Targets", items, &input.page)
    }

    /// Lets go of what is owed to targets that are no more.
    pub(super) async fn forget_debts(&self, rule: &Rule, ids: &[String]) -> Result<(), Failure> {
        for id in ids {
            let key = owed::queue_key(&rule.bus, &rule.name, id);
            match self.queues.remove(&key).await {
                Ok(()) | Err(cairn_store::queues::QueueError::Missing(_)) => {}
                Err(error) => return Err(super::error::of_engine(error)),
            }
        }
        Ok(())
    }
}
