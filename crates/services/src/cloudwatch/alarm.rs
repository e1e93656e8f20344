//! What is kept of alarms: the alarms, what happened to them, and what is owed for it.
//!
//! Invariant: a state, its line of history and what is owed for it change in one transaction ([`change`]).

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_core::alarm::{Comparison, Criteria, MissingData, State};
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::queries::{MetricDataQuery, NamedMetric};
use super::store::place_row;
use super::watch::AlarmKey;

/// Alarms by region, account and name.
pub(super) const ALARMS: Table<Alarm> = Table::new("cloudwatch.alarm", 1);
/// What happened, in its order.
const HISTORY: Table<HistoryItem> = Table::new("cloudwatch.alarm_history", 1);
/// The numbers of what happened to the alarms of an account in a region, and to one alarm.
const OF_PLACE: &str = "cloudwatch.alarm_history_of_place";
const OF_ALARM: &str = "cloudwatch.alarm_history_of_alarm";
const HISTORY_OF_PLACE: Table<()> = Table::new(OF_PLACE, 1);
const HISTORY_OF_ALARM: Table<()> = Table::new(OF_ALARM, 1);
/// What is owed, by destination, in its order.
const OWED: Table<Owed> = Table::new("cloudwatch.alarm_action_owed", 1);
/// The next number of history and of debts.
const NEXT_NUMBER: Table<u64> = Table::new("cloudwatch.alarm_next_number", 1);

/// How long history is kept, as AWS keeps it.
const HISTORY_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Lines of history that are deleted in a transaction.
const HISTORY_AT_ONCE: usize = 500;
/// Characters of a line's data.
const HISTORY_DATA_CHARS_MAX: usize = 4095;

/// An alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Alarm {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) actions_enabled: bool,
    pub(super) ok_actions: Vec<String>,
    pub(super) alarm_actions: Vec<String>,
    pub(super) insufficient_data_actions: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) configured_at: Timestamp,
    pub(super) state: State,
    pub(super) reason: String,
    /// JSON text.
    pub(super) reason_data: Option<String>,
    pub(super) updated_at: Timestamp,
    pub(super) transitioned_at: Timestamp,
    pub(super) kind: Kind,
}

/// What an alarm looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    Metric(MetricAlarm),
    Composite(CompositeAlarm),
}

/// An alarm on metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MetricAlarm {
    pub(super) source: Source,
    pub(super) evaluation_periods: u32,
    pub(super) datapoints_to_alarm: Option<u32>,
    pub(super) threshold: f64,
    pub(super) comparison: Comparison,
    pub(super) missing_data: Option<MissingData>,
    /// `evaluate` or `ignore`.
    pub(super) low_sample_count: Option<String>,
}

/// Where a metric alarm's points come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Source {
    One { metric: NamedMetric, statistic: String, is_extended: bool, period_s: i64, unit: Option<String> },
    Queries(Vec<MetricDataQuery>),
}

/// An alarm on alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct CompositeAlarm {
    pub(super) rule: String,
    pub(super) suppressor: Option<Suppressor>,
    pub(super) suppressed: Option<Suppressed>,
}

/// An alarm that, while it is in ALARM, keeps another's actions from being done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Suppressor {
    /// Name or ARN, as it was given.
    pub(super) alarm: String,
    pub(super) wait_s: u64,
    pub(super) extension_s: u64,
}

/// Why actions are not done now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Suppressed {
    /// `WaitPeriod`, `Alarm`, `ExtensionPeriod`.
    pub(super) by: String,
    /// Until when, of the periods.
    pub(super) until: Option<Timestamp>,
    /// The state before the one whose actions wait.
    pub(super) from: State,
}

/// A line of history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HistoryItem {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) alarm: String,
    pub(super) is_composite: bool,
    pub(super) at: Timestamp,
    pub(super) kind: String,
    pub(super) summary: String,
    pub(super) data: String,
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Owed {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) alarm: String,
    pub(super) is_composite: bool,
    /// The ARN of a topic or a function; none for the event.
    pub(super) action: Option<String>,
    /// Of the event: one event however often it is sent.
    pub(super) id: String,
    pub(super) subject: String,
    /// JSON text.
    pub(super) body: String,
    pub(super) since: Timestamp,
    pub(super) state: State,
}

/// What an event's debt has in the place of a destination.
pub(super) const BUS: &str = "bus";

/// The row of an alarm.
pub(super) fn alarm_row(account: &AccountId, region: &Region, name: &str) -> AlarmKey {
    place_row(account, region).text(name).bytes().to_vec()
}

impl Alarm {
    pub(super) fn row(&self) -> AlarmKey {
        alarm_row(&self.account, &self.region, &self.name)
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:cloudwatch:{}:{}:alarm:{}", self.region, self.account, self.name)
    }

    pub(super) fn is_composite(&self) -> bool {
        matches!(self.kind, Kind::Composite(_))
    }

    /// The actions of a state.
    pub(super) fn actions_of(&self, state: State) -> &[String] {
        match state {
            State::Ok => &self.ok_actions,
            State::Alarm => &self.alarm_actions,
            State::InsufficientData => &self.insufficient_data_actions,
        }
    }

    /// The reason's data as JSON.
    pub(super) fn reason_json(&self) -> Value {
        self.reason_data.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    }
}

impl MetricAlarm {
    pub(super) fn criteria(&self) -> Criteria {
        let periods = self.evaluation_periods as usize;
        Criteria {
            comparison: self.comparison,
            threshold: self.threshold,
            evaluation_periods: periods,
            datapoints_to_alarm: self.datapoints_to_alarm.map_or(periods, |points| points as usize),
            missing_data: self.missing_data.unwrap_or_default(),
        }
    }

    /// The period of what returns data.
    pub(super) fn period_s(&self) -> i64 {
        match &self.source {
            Source::One { period_s, .. } => *period_s,
            Source::Queries(queries) => {
                let returned = queries.iter().find(|query| query.return_data.unwrap_or(true));
                let own = returned
                    .and_then(|query| query.metric_stat.as_ref().map(|stat| stat.period).or(query.period));
                let longest =
                    queries.iter().filter_map(|query| Some(query.metric_stat.as_ref()?.period)).max();
                own.or(longest).unwrap_or(60)
            }
        }
    }
}

fn next_number(tx: &mut dyn Tx) -> Result<u64, CatalogError> {
    let number = NEXT_NUMBER.get(tx, &[])?.unwrap_or_default();
    NEXT_NUMBER.put(tx, &[], &(number + 1))?;
    Ok(number)
}

/// Writes a line of history.
pub(super) fn note(
    tx: &mut dyn Tx,
    alarm: &Alarm,
    at: Timestamp,
    (kind, summary): (&str, String),
    data: &Value,
) -> Result<(), CatalogError> {
    let mut data = data.to_string();
    if data.chars().count() > HISTORY_DATA_CHARS_MAX {
        data = data.chars().take(HISTORY_DATA_CHARS_MAX).collect();
    }
    let item = HistoryItem {
        account: alarm.account.clone(),
        region: alarm.region.clone(),
        alarm: alarm.name.clone(),
        is_composite: alarm.is_composite(),
        at,
        kind: kind.to_owned(),
        summary,
        data,
    };
    write_note(tx, &item)
}

pub(super) fn write_note(tx: &mut dyn Tx, item: &HistoryItem) -> Result<(), CatalogError> {
    let number = next_number(tx)?;
    HISTORY.put(tx, Key::new().number(number).bytes(), item)?;
    let place = place_row(&item.account, &item.region);
    HISTORY_OF_PLACE.put(tx, place.clone().number(number).bytes(), &())?;
    HISTORY_OF_ALARM.put(tx, place.text(&item.alarm).number(number).bytes(), &())
}

/// Up to `limit` lines with their numbers, of one alarm or of all in the place; before or after the number `from`.
pub(super) fn history(
    tx: &mut dyn Tx,
    (account, region): (&AccountId, &Region),
    alarm: Option<&str>,
    (from, is_newest_first): (Option<u64>, bool),
    limit: usize,
) -> Result<Vec<(u64, HistoryItem)>, CatalogError> {
    let place = place_row(account, region);
    let (table, prefix) = match alarm {
        Some(name) => (OF_ALARM, place.text(name)),
        None => (OF_PLACE, place),
    };
    let end = prefix_end(prefix.bytes());
    let (first, last) = match from {
        None => (prefix.bytes().to_vec(), end),
        Some(number) if is_newest_first => {
            (prefix.bytes().to_vec(), Some(prefix.clone().number(number).bytes().to_vec()))
        }
        Some(number) => (prefix.clone().number(number.saturating_add(1)).bytes().to_vec(), end),
    };
    let mut found = Vec::new();
    for (row, _) in tx.scan(table, &first, last.as_deref(), limit, is_newest_first)? {
        let number = row.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let item = HISTORY.get(tx, Key::new().number(number).bytes())?;
        found.extend(item.map(|item| (number, item)));
    }
    Ok(found)
}

/// Deletes some history that is too old. Says whether there may be more.
pub(super) fn retain_history(tx: &mut dyn Tx, now: Timestamp) -> Result<bool, CatalogError> {
    let first = HISTORY.scan(tx, &[], None, HISTORY_AT_ONCE)?;
    let (all, mut deleted) = (first.len(), 0);
    for (row, item) in first {
        if item.at >= now.minus(HISTORY_KEPT) {
            break;
        }
        let number = row.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let place = place_row(&item.account, &item.region);
        HISTORY.delete(tx, &row)?;
        HISTORY_OF_PLACE.delete(tx, place.clone().number(number).bytes())?;
        HISTORY_OF_ALARM.delete(tx, place.text(&item.alarm).number(number).bytes())?;
        deleted += 1;
    }
    Ok(deleted == all && all == HISTORY_AT_ONCE)
}

/// A state that an alarm is to be in.
#[derive(Clone, Debug)]
pub(super) struct NewState {
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) reason_data: Option<String>,
    pub(super) at: Timestamp,
    /// The event's id.
    pub(super) event_id: String,
}

/// Puts an alarm into a state, with its history and what is owed for it: the event always, the actions where they are
/// enabled and `acts`. The alarm is written by the caller.
pub(super) fn change(
    tx: &mut dyn Tx,
    alarm: &mut Alarm,
    new: NewState,
    acts: bool,
) -> Result<(), CatalogError> {
    let before = alarm.clone();
    let NewState { state, reason, reason_data, at, event_id } = new;
    (alarm.state, alarm.reason, alarm.reason_data) = (state, reason, reason_data);
    alarm.updated_at = at;
    if before.state == state {
        return Ok(());
    }
    alarm.transitioned_at = at;
    let summary = format!("Alarm updated from {} to {}", before.state.name(), state.name());
    let data = json!({ "version": "1.0", "oldState": shown_state(&before), "newState": shown_state(alarm) });
    note(tx, alarm, at, ("StateUpdate", summary), &data)?;
    let event = super::message::event_detail(alarm, &before);
    owe(tx, alarm, None, &event_id, event)?;
    if acts {
        owe_actions(tx, alarm, &before, &event_id)?;
    }
    Ok(())
}

/// Owes the actions of the alarm's state, where they are enabled.
pub(super) fn owe_actions(
    tx: &mut dyn Tx,
    alarm: &Alarm,
    before: &Alarm,
    event_id: &str,
) -> Result<(), CatalogError> {
    if !alarm.actions_enabled {
        return Ok(());
    }
    for action in alarm.actions_of(alarm.state) {
        let body = if super::actions::is_function(action) {
            super::message::for_function(alarm, before)
        } else {
            super::message::for_topic(alarm, before.state)
        };
        owe(tx, alarm, Some(action), event_id, body)?;
    }
    Ok(())
}

fn owe(
    tx: &mut dyn Tx,
    alarm: &Alarm,
    action: Option<&str>,
    id: &str,
    body: Value,
) -> Result<(), CatalogError> {
    let owed = Owed {
        account: alarm.account.clone(),
        region: alarm.region.clone(),
        alarm: alarm.name.clone(),
        is_composite: alarm.is_composite(),
        action: action.map(str::to_owned),
        id: id.to_owned(),
        subject: super::message::subject(alarm),
        body: body.to_string(),
        since: alarm.updated_at,
        state: alarm.state,
    };
    let number = next_number(tx)?;
    OWED.put(tx, Key::new().text(action.unwrap_or(BUS)).number(number).bytes(), &owed)
}

fn shown_state(alarm: &Alarm) -> Value {
    let mut shown = json!({ "stateValue": alarm.state.name(), "stateReason": alarm.reason });
    if alarm.reason_data.is_some() {
        shown["stateReasonData"] = alarm.reason_json();
    }
    shown
}

/// Something owed, with its row.
pub(super) type OwedRow = (Vec<u8>, Owed);

/// Up to `each` debts of each destination, of up to `destinations` of them.
pub(super) fn owed(
    tx: &mut dyn Tx,
    destinations: usize,
    each: usize,
) -> Result<Vec<(String, Vec<OwedRow>)>, CatalogError> {
    let (mut found, mut from) = (Vec::new(), Vec::new());
    while found.len() < destinations {
        let Some((_, first)) = OWED.scan(tx, &from, None, 1)?.pop() else { break };
        let destination = first.action.unwrap_or_else(|| BUS.to_owned());
        let prefix = Key::new().text(&destination);
        let end = prefix_end(prefix.bytes()).unwrap_or_default();
        found.push((destination, OWED.scan(tx, prefix.bytes(), Some(&end), each)?));
        from = end;
    }
    Ok(found)
}

/// Strikes a debt out, and says in the alarm's history how it went.
pub(super) fn settle(
    tx: &mut dyn Tx,
    row: &[u8],
    owed: &Owed,
    at: Timestamp,
    error: Option<&str>,
) -> Result<(), CatalogError> {
    OWED.delete(tx, row)?;
    let Some(action) = &owed.action else { return Ok(()) };
    let summary = match error {
        None => format!("Successfully executed action {action}"),
        Some(_) => format!("Failed to execute action {action}"),
    };
    let mut data = json!({
        "actionState": if error.is_none() { "Succeeded" } else { "Failed" },
        "notificationResource": action,
        "stateUpdateTimestamp": owed.since.millis(),
        "publishedMessage": owed.body,
    });
    if let Some(error) = error {
        data["error"] = error.into();
    }
    write_note(
        tx,
        &HistoryItem {
            account: owed.account.clone(),
            region: owed.region.clone(),
            alarm: owed.alarm.clone(),
            is_composite: owed.is_composite,
            at,
            kind: "Action".to_owned(),
            summary,
            data: data.to_string().chars().take(HISTORY_DATA_CHARS_MAX).collect(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn rows_are_read_as_they_were_once_written() {
        check::<Alarm>(
            r#"{"account":"111122223333","region":"us-east-1","name":"a","description":null,"actions_enabled":true,"ok_actions":[],"alarm_actions":["arn:aws:sns:us-east-1:111122223333:t"],"insufficient_data_actions":[],"tags":{"k":"v"},"configured_at":1,"state":"OK","reason":"r","reason_data":null,"updated_at":2,"transitioned_at":3,"kind":{"Metric":{"source":{"One":{"metric":{"Namespace":"n","MetricName":"m","Dimensions":[{"Name":"d","Value":"v"}]},"statistic":"Sum","is_extended":false,"period_s":300,"unit":null}},"evaluation_periods":1,"datapoints_to_alarm":null,"threshold":1.0,"comparison":"GreaterThanOrEqualToThreshold","missing_data":"notBreaching","low_sample_count":null}}}"#,
        );
        check::<Kind>(
            r#"{"Metric":{"source":{"Queries":[{"Id":"e","Expression":"m*2"},{"Id":"m","MetricStat":{"Metric":{"Namespace":"n","MetricName":"m","Dimensions":[]},"Period":60,"Stat":"Sum"},"ReturnData":false}]},"evaluation_periods":2,"datapoints_to_alarm":1,"threshold":0.5,"comparison":"LessThanThreshold","missing_data":null,"low_sample_count":"ignore"}}"#,
        );
        check::<Kind>(
            r#"{"Composite":{"rule":"ALARM(a)","suppressor":{"alarm":"s","wait_s":10,"extension_s":20},"suppressed":{"by":"WaitPeriod","until":5,"from":"OK"}}}"#,
        );
        check::<HistoryItem>(
            r#"{"account":"111122223333","region":"us-east-1","alarm":"a","is_composite":false,"at":1,"kind":"StateUpdate","summary":"s","data":"{}"}"#,
        );
        check::<Owed>(
            r#"{"account":"111122223333","region":"us-east-1","alarm":"a","is_composite":false,"action":null,"id":"i","subject":"s","body":"{}","since":1,"state":"ALARM"}"#,
        );
    }
}
