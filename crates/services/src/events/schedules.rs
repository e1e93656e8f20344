//! Rules that fire by the clock, and the stage that fires them.
//!
//! On the road: a rule's next time is written with the rule. The stage looks at the times that have come, owes the event
//! to the rule's targets, and writes the next time. Invariants: a time that came while the server was down is made up for
//! once, not once for each; an event that is owed again after a crash has the same id, and is the same message.

use aws_lc_rs::digest::{SHA256, digest};
use cairn_core::schedule::Schedule;
use cairn_core::{EventId, Timestamp};
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Table, Tx};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

use super::Events;
use super::error::{Failure, validation};
use super::event::{Arrival, Envelope, VERSION};
use super::names::BusArn;
use super::owed;
use super::state::{RULES, Rule, RuleState, rule_row};

/// The next time of each rule that has a schedule and is on, by the rule's row.
const NEXT: Table<Scheduled> = Table::new("events.schedule", 1);
/// The same, by time and the rule's row.
const BY_TIME: Table<RuleName> = Table::new("events.schedule_by_time", 1);
/// Rules that one run fires.
const RULES_PER_RUN: usize = 1_000;
/// The longest between two runs.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// When a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scheduled {
    next: Timestamp,
    /// Since when its rate is counted.
    since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RuleName {
    bus: BusArn,
    name: String,
}

impl RuleName {
    fn of(rule: &Rule) -> Self {
        Self { bus: rule.bus.clone(), name: rule.name.clone() }
    }

    fn row(&self) -> Key {
        rule_row(&self.bus, &self.name)
    }

    fn row_at(&self, at: Timestamp) -> Key {
        Key::new().number(at_ms(at)).text(&self.bus.to_string()).text(&self.name)
    }
}

fn at_ms(at: Timestamp) -> u64 {
    u64::try_from(at.millis()).unwrap_or_default()
}

/// The schedule, where it is one.
pub(super) fn parsed(text: &str) -> Result<Schedule, Failure> {
    Schedule::parse(text).map_err(|_| validation("Parameter ScheduleExpression is not valid."))
}

/// Writes down when a rule fires next, as it is now.
pub(super) fn set(tx: &mut dyn Tx, rule: &Rule, now: Timestamp) -> Result<(), CatalogError> {
    unset(tx, rule)?;
    let schedule = rule.schedule.as_deref().filter(|_| rule.state != RuleState::Disabled);
    let next = schedule.and_then(|text| Schedule::parse(text).ok()?.next_after(now, now));
    let Some(next) = next else { return Ok(()) };
    put(tx, &RuleName::of(rule), Scheduled { next, since: now })
}

/// Forgets a rule's times.
pub(super) fn unset(tx: &mut dyn Tx, rule: &Rule) -> Result<(), CatalogError> {
    forget(tx, &RuleName::of(rule))
}

fn forget(tx: &mut dyn Tx, name: &RuleName) -> Result<(), CatalogError> {
    let row = name.row();
    if let Some(before) = NEXT.get(tx, row.bytes())? {
        BY_TIME.delete(tx, name.row_at(before.next).bytes())?;
        NEXT.delete(tx, row.bytes())?;
    }
    Ok(())
}

fn put(tx: &mut dyn Tx, name: &RuleName, scheduled: Scheduled) -> Result<(), CatalogError> {
    NEXT.put(tx, name.row().bytes(), &scheduled)?;
    BY_TIME.put(tx, name.row_at(scheduled.next).bytes(), name)
}

/// A rule whose time has come.
struct Due {
    name: RuleName,
    at: Timestamp,
    rule: Option<Rule>,
}

/// The event of a rule at a time: the same whenever it is made.
fn arrival(rule: &Rule, at: Timestamp) -> Arrival {
    let arn = rule.arn();
    let hash = digest(&SHA256, format!("{arn} {}", at.millis()).as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    let id = EventId::from_random(bytes).to_string();
    let nothing: &RawValue = serde_json::from_str("{}").expect("this is JSON");
    let envelope = Envelope {
        version: VERSION,
        id: &id,
        detail_type: "Scheduled Event",
        source: "aws.events",
        account: rule.bus.account.as_str(),
        time: at.iso(),
        region: rule.bus.region.as_str(),
        resources: std::slice::from_ref(&arn),
        detail: nothing,
    };
    let text = envelope.text();
    Arrival { deduplication: Some(id.clone()), ..Arrival::new(rule.bus.clone(), id, text) }
}

impl Events {
    /// Fires the rules whose time has come; says when the next one comes.
    ///
    /// # Errors
    /// Where the catalog or the queues fail.
    pub async fn fire_schedules(&self) -> Result<Timestamp, AwsError> {
        let now = self.clock.now();
        let due = self.catalog.read(move |tx| due(tx, now)).await.map_err(AwsError::internal)?;
        let mut messages = Vec::new();
        for Due { at, rule, .. } in &due {
            let Some(rule) = rule else { continue };
            let arrival = arrival(rule, *at);
            self.metrics.matched.inc();
            let queues = rule.targets.iter().map(|target| owed::queue_key(&rule.bus, &rule.name, &target.id));
            messages.extend(queues.map(|queue| owed::message(&self.sealer, queue, &arrival, now)));
        }
        self.owe(messages).await?;
        let was_full = due.len() >= RULES_PER_RUN;
        let names: Vec<RuleName> = due.into_iter().map(|due| due.name).collect();
        let next = self.catalog.write(move |tx| go_on(tx, &names, now)).await.map_err(AwsError::internal)?;
        if was_full {
            return Ok(now);
        }
        let latest = now.plus(PAUSE_MAX);
        Ok(next.map_or(latest, |next| next.min(latest)))
    }

    /// A count that grows whenever a schedule, a replay or a connection was put.
    #[must_use]
    pub fn changes(&self) -> u64 {
        *self.work_put.borrow()
    }

    /// Returns once the count is past `seen`.
    pub async fn wait_past_changes(&self, seen: u64) {
        // The sender is here, so it does not go away.
        let _ = self.work_put.subscribe().wait_for(|changes| *changes > seen).await;
    }

    pub(super) fn put_work(&self) {
        self.work_put.send_modify(|changes| *changes += 1);
    }
}

fn due(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Due>, CatalogError> {
    let until = Key::new().number(at_ms(now) + 1);
    let mut due = Vec::new();
    for (_, name) in BY_TIME.scan(tx, &[], Some(until.bytes()), RULES_PER_RUN)? {
        let row = name.row();
        let Some(scheduled) = NEXT.get(tx, row.bytes())? else { continue };
        let rule = RULES.get(tx, row.bytes())?.filter(|rule| rule.state != RuleState::Disabled);
        due.push(Due { name, at: scheduled.next, rule });
    }
    Ok(due)
}

/// Writes the next times of rules that have fired; gives the first of all times.
fn go_on(tx: &mut dyn Tx, fired: &[RuleName], now: Timestamp) -> Result<Option<Timestamp>, CatalogError> {
    for name in fired {
        let row = name.row();
        // What was put meanwhile has its time already.
        let Some(before) = NEXT.get(tx, row.bytes())?.filter(|scheduled| scheduled.next <= now) else {
            continue;
        };
        forget(tx, name)?;
        let rule = RULES.get(tx, row.bytes())?;
        let schedule = rule.and_then(|rule| Schedule::parse(rule.schedule.as_deref()?).ok());
        if let Some(next) = schedule.and_then(|schedule| schedule.next_after(now, before.since)) {
            put(tx, name, Scheduled { next, since: before.since })?;
        }
    }
    let first = BY_TIME.scan(tx, &[], prefix_end(&[]).as_deref(), 1)?.pop();
    match first {
        Some((_, name)) => Ok(NEXT.get(tx, name.row().bytes())?.map(|scheduled| scheduled.next)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Scheduled>(r#"{"next":1795281866042,"since":1795281866000}"#);
        check::<RuleName>(r#"{"bus":"arn:aws:events:us-east-1:111122223333:event-bus/default","name":"r"}"#);
    }
}
