//! Alarms deleted, set to a state by hand, and their actions enabled and disabled.

use cairn_core::alarm::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::CloudWatch;
use super::alarm::{ALARMS, Alarm, NewState, alarm_row, change, note};
use super::describe::{missing_alarm, shown_alarm};
use super::error::{Failure, fail, validation};
use super::put_alarm::{composites, parents_of};
use crate::Caller;

/// Alarms of one call.
const NAMES_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedAlarms {
    alarm_names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAlarmState {
    alarm_name: String,
    state_value: String,
    state_reason: String,
    state_reason_data: Option<String>,
}

impl NamedAlarms {
    fn checked(self) -> Result<Vec<String>, Failure> {
        if self.alarm_names.len() > NAMES_MAX {
            return Err(validation(format!("AlarmNames must not have more than {NAMES_MAX} members.")));
        }
        Ok(self.alarm_names)
    }
}

impl CloudWatch {
    /// Names that there is no alarm of are passed over, as AWS does.
    pub(super) async fn delete_alarms(&self, caller: &Caller, input: NamedAlarms) -> Result<Value, Failure> {
        let names = input.checked()?;
        let (account, region, now) = (caller.account.clone(), caller.region.clone(), caller.now);
        let deleted = self
            .catalog
            .write(move |tx| {
                let mut found = Vec::new();
                for name in &names {
                    let row = alarm_row(&account, &region, name);
                    found.extend(ALARMS.get(tx, &row)?.map(|alarm| (row, alarm)));
                }
                let all = composites(tx, &account, &region)?;
                found.iter().try_for_each(|(_, alarm)| check_no_parent_stays(&all, alarm, &names))?;
                for (row, alarm) in &found {
                    ALARMS.delete(tx, row)?;
                    let data =
                        json!({ "version": "1.0", "type": "Delete", "deletedAlarm": shown_alarm(alarm) });
                    let summary = format!("Alarm \"{}\" deleted", alarm.name);
                    note(tx, alarm, now, ("ConfigurationUpdate", summary), &data)?;
                }
                Ok::<_, Failure>(found.into_iter().map(|(row, _)| row).collect::<Vec<_>>())
            })
            .await?;
        deleted.iter().for_each(|row| self.watch.forget(row));
        Ok(json!({}))
    }

    pub(super) async fn set_alarm_state(
        &self,
        caller: &Caller,
        input: SetAlarmState,
    ) -> Result<Value, Failure> {
        let state = State::of_name(&input.state_value)
            .ok_or_else(|| validation("The parameter StateValue must be OK, ALARM or INSUFFICIENT_DATA."))?;
        if let Some(data) = &input.state_reason_data
            && serde_json::from_str::<Value>(data).is_err()
        {
            return Err(fail("InvalidFormat", "TextToParse was not valid JSON"));
        }
        let row = alarm_row(&caller.account, &caller.region, &input.alarm_name);
        let (watch, at, event_id) = (self.watch.clone(), caller.now, self.entropy.event_id().to_string());
        self.catalog
            .write(move |tx| {
                let mut alarm = ALARMS.get(tx, &row)?.ok_or_else(|| missing_alarm(&input.alarm_name))?;
                let new = NewState {
                    state,
                    reason: input.state_reason.clone(),
                    reason_data: input.state_reason_data.clone(),
                    at,
                    event_id: event_id.clone(),
                };
                change(tx, &mut alarm, new, true)?;
                ALARMS.put(tx, &row, &alarm)?;
                watch.touch_parents(&row);
                Ok::<_, Failure>(())
            })
            .await?;
        self.watch.wake();
        self.owing.announce();
        Ok(json!({}))
    }

    pub(super) async fn enable_actions(
        &self,
        caller: &Caller,
        input: NamedAlarms,
        are_enabled: bool,
    ) -> Result<Value, Failure> {
        let names = input.checked()?;
        let (account, region, now) = (caller.account.clone(), caller.region.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                for name in &names {
                    let row = alarm_row(&account, &region, name);
                    let Some(mut alarm) = ALARMS.get(tx, &row)? else { continue };
                    if alarm.actions_enabled == are_enabled {
                        continue;
                    }
                    alarm.actions_enabled = are_enabled;
                    alarm.configured_at = now;
                    ALARMS.put(tx, &row, &alarm)?;
                    let data =
                        json!({ "version": "1.0", "type": "Update", "updatedAlarm": shown_alarm(&alarm) });
                    let summary = format!("Alarm \"{name}\" updated");
                    note(tx, &alarm, now, ("ConfigurationUpdate", summary), &data)?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(json!({}))
    }
}

/// An alarm that a composite one looks at goes only with it.
fn check_no_parent_stays(composites: &[Alarm], alarm: &Alarm, going: &[String]) -> Result<(), Failure> {
    let staying: Vec<&str> = parents_of(composites, alarm)
        .map(|parent| parent.name.as_str())
        .filter(|name| !going.iter().any(|own| own == name))
        .collect();
    if staying.is_empty() {
        return Ok(());
    }
    Err(validation(format!(
        "Alarm [{}] could not be deleted as there are composite alarm(s) depending on it: [{}]",
        alarm.name,
        staying.join(", ")
    )))
}
