//! For how long groups keep their lines: the setting, and the stage that keeps to it and forgets what was deleted.

use std::time::Duration;

use cairn_store::catalog::Key;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, fail, invalid, of_lines};
use super::groups::NamedGroup;
use super::state::{FORGOTTEN, Forgotten, GROUPS, Group, GroupClass, forgotten_row};
use crate::Caller;

/// The values that a retention policy can have, in days.
const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// What groups of the class DELIVERY have, whatever is asked for.
const DELIVERY_RETENTION_DAYS: u32 = 2;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRetention {
    log_group_name: String,
    retention_in_days: u32,
}

impl Group {
    /// How long a line is kept: for ever where there is no answer.
    pub(super) fn retention(&self) -> Option<Duration> {
        let days = match self.class {
            GroupClass::Delivery => Some(DELIVERY_RETENTION_DAYS),
            _ => self.retention_days,
        };
        days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600))
    }
}

impl Logs {
    pub(super) async fn put_retention(&self, caller: &Caller, input: PutRetention) -> Result<Value, Failure> {
        let days = input.retention_in_days;
        if !RETENTION_DAYS.contains(&days) {
            let allowed = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
            return Err(invalid(format!(
                "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member \
                 must satisfy enum value set: [{allowed}]"
            )));
        }
        let name = GroupName::own(caller, &input.log_group_name);
        self.change_group(&name, move |group| {
            if group.class == GroupClass::Delivery {
                let message = "The retention of log groups of the class DELIVERY cannot be changed.";
                return Err(fail("InvalidParameterException", message));
            }
            group.retention_days = Some(days);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn delete_retention(
        &self,
        caller: &Caller,
        input: NamedGroup,
    ) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        self.change_group(&name, |group| {
            group.retention_days = None;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    /// Lets lines go whose retention period is over, and whose group or stream was deleted.
    ///
    /// # Errors
    /// Where the catalog or the store of lines fails; what is due stays due.
    pub async fn maintain(&self) -> Result<(), cairn_wire::AwsError> {
        let forgotten = self.catalog.read(|tx| FORGOTTEN.scan_prefix(tx, Key::new().bytes()));
        for (_, forgotten) in forgotten.await.map_err(Failure::from)? {
            self.forget_lines(forgotten).await?;
        }
        let now = self.clock.now();
        let groups = self.catalog.read(|tx| GROUPS.scan_prefix(tx, Key::new().bytes()));
        for (_, group) in groups.await.map_err(Failure::from)? {
            let Some(retention) = group.retention() else { continue };
            let before = now.minus(retention);
            let kept = self.lines.kept_of_group(group.id);
            if kept.first_ms.is_some_and(|first| first < before.millis()) {
                self.lines.expire(group.id, before.millis()).await.map_err(of_lines)?;
            }
        }
        Ok(())
    }

    /// Has the store of lines forget what a deletion wrote down.
    pub(super) async fn forget_lines(&self, forgotten: Forgotten) -> Result<(), Failure> {
        self.lines.forget(forgotten.group, forgotten.stream).await.map_err(of_lines)?;
        self.catalog
            .write(move |tx| FORGOTTEN.delete(tx, forgotten_row(forgotten).bytes()))
            .await
            .map(|_| ())
            .map_err(Failure::from)
    }
}
