//! Retention, mode and encryption of streams.

use serde_json::{Value, json};

use super::error::{Failure, invalid};
use super::name::StreamName;
use super::streams::{StreamModeDetails, parse};
use super::{Shared, asker};
use crate::Caller;

/// How long records can be kept.
const RETENTION_MIN_H: i64 = 24;
const RETENTION_MAX_H: i64 = 8760;

/// Which way a retention period is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Shared {
    pub(super) async fn set_retention(
        &self,
        caller: &Caller,
        params: &Value,
        direction: Direction,
    ) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let hours = params.get("RetentionPeriodHours").and_then(Value::as_i64).unwrap_or_default();
        let (bound, is_over) = match direction {
            Direction::Up => (RETENTION_MAX_H, hours > RETENTION_MAX_H),
            Direction::Down => (RETENTION_MIN_H, hours < RETENTION_MIN_H),
        };
        let word = if direction == Direction::Up { "Maximum" } else { "Minimum" };
        if is_over {
            return Err(invalid(format!(
                "{word} allowed retention period is {bound} hours. Requested retention period ({hours} hours) is too {}.",
                if direction == Direction::Up { "long" } else { "short" }
            )));
        }
        self.change(&name, |stream| {
            let current = i64::from(stream.retention_h);
            let (is_wrong, than) = match direction {
                Direction::Up => (hours < current, "shorter"),
                Direction::Down => (hours > current, "longer"),
            };
            if is_wrong {
                return Err(invalid(format!(
                    "Requested retention period ({hours} hours) for stream {} can not be {than} than existing \
                     retention period ({current} hours). Use {}StreamRetentionPeriod API.",
                    stream.name.name,
                    if direction == Direction::Up { "Decrease" } else { "Increase" }
                )));
            }
            stream.retention_h = u32::try_from(hours).map_err(super::internal)?;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn set_mode(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let details = params.get("StreamModeDetails").unwrap_or(&Value::Null);
        let mode = parse::<StreamModeDetails>(details)?.mode();
        if self.stream(&name)?.mode != mode {
            self.check_room(caller, 0, mode)?;
        }
        self.change(&name, |stream| {
            stream.mode = mode;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn start_encryption(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        let key = key_of(params)?;
        let stream = self.stream(&name)?;
        let asked = super::Stream { kms_key: Some(key.clone()), ..super::Stream::clone(&stream) };
        // A key that cannot be used is refused now, and not when records come.
        self.sealing_key(&asker(caller, &stream), &asked).await?;
        self.change(&name, |stream| {
            stream.kms_key = Some(key);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn stop_encryption(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let name = StreamName::of_params(caller, params)?;
        key_of(params)?;
        self.change(&name, |stream| {
            stream.kms_key = None;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }
}

fn key_of(params: &Value) -> Result<String, Failure> {
    let text = |member: &str| params.get(member).and_then(Value::as_str).unwrap_or_default();
    if text("EncryptionType") != "KMS" {
        return Err(invalid("EncryptionType must be KMS."));
    }
    Ok(text("KeyId").to_owned())
}
