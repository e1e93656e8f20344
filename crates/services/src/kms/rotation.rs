//! Rotation: new material takes over, old material goes on decrypting. What is due is done by [`Kms::maintain`].

use std::time::Duration;

use cairn_core::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kms;
use super::error::{Failure, fail, validation};
use super::find::{is_deleted, require_customer, require_enabled, require_kept};
use super::keys::{OneKey, by_id, remove};
use super::material::new_material;
use super::page::{PageInput, page};
use super::state::{KEYS, Key, Rotation, RotationType};
use crate::Caller;

/// Days between rotations where the call names none.
const PERIOD_DAYS_DEFAULT: u32 = 365;
/// The shortest and the longest period.
const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 90..=2560;
/// How often a key may be rotated on demand.
const ON_DEMAND_ROTATIONS_MAX: usize = 25;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EnableRotation {
    key_id: String,
    rotation_period_in_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRotations {
    key_id: String,
    include_key_material: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

impl Kms {
    pub(super) async fn enable_rotation(
        &self,
        caller: &Caller,
        input: EnableRotation,
    ) -> Result<Value, Failure> {
        let period_days = input.rotation_period_in_days.unwrap_or(PERIOD_DAYS_DEFAULT);
        if !PERIOD_DAYS.contains(&period_days) {
            return Err(validation("RotationPeriodInDays must be between 90 and 2560."));
        }
        let next = caller.now.plus(DAY * period_days);
        self.change(caller, by_id(&input.key_id)?, move |_, key| {
            require_customer(key)?;
            require_enabled(key)?;
            key.rotation = Some(Rotation { period_days, next });
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn disable_rotation(&self, caller: &Caller, input: OneKey) -> Result<Value, Failure> {
        self.change(caller, by_id(&input.key_id)?, |_, key| {
            require_customer(key)?;
            require_enabled(key)?;
            key.rotation = None;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn rotation_status(&self, caller: &Caller, input: OneKey) -> Result<Value, Failure> {
        let key = self.key(caller, by_id(&input.key_id)?).await?;
        require_kept(&key)?;
        let mut shown = json!({"KeyId": key.arn(), "KeyRotationEnabled": key.rotation.is_some()});
        if let Some(rotation) = key.rotation {
            shown["RotationPeriodInDays"] = rotation.period_days.into();
            shown["NextRotationDate"] = rotation.next.seconds().into();
        }
        Ok(shown)
    }

    pub(super) async fn rotate_on_demand(&self, caller: &Caller, input: OneKey) -> Result<Value, Failure> {
        let (sealer, now) = (self.sealer.clone(), caller.now);
        let key = self
            .change(caller, by_id(&input.key_id)?, move |_, key| {
                require_customer(key)?;
                require_enabled(key)?;
                let on_demand =
                    |made: &&super::state::Material| made.rotated_by == Some(RotationType::OnDemand);
                if key.materials.iter().filter(on_demand).count() >= ON_DEMAND_ROTATIONS_MAX {
                    return Err(fail("LimitExceededException", "The key was rotated on demand too often."));
                }
                key.materials.push(new_material(&sealer, &key.id, now, Some(RotationType::OnDemand)));
                Ok(())
            })
            .await?;
        Ok(json!({ "KeyId": key.arn() }))
    }

    pub(super) async fn list_rotations(
        &self,
        caller: &Caller,
        input: ListRotations,
    ) -> Result<Value, Failure> {
        let key = self.key(caller, by_id(&input.key_id)?).await?;
        let all = input.include_key_material.as_deref() == Some("ALL_KEY_MATERIAL");
        let wanted = key.materials.iter().enumerate().filter(|(_, made)| all || made.rotated_by.is_some());
        let shown = wanted.map(|(at, made)| {
            let mut entry = json!({
                "KeyId": key.arn(),
                "KeyMaterialId": made.id,
                "KeyMaterialState": if made.id == key.current().id { "CURRENT" } else { "NON_CURRENT" },
            });
            if let Some(kind) = made.rotated_by {
                entry["RotationDate"] = made.since.seconds().into();
                let name = if kind == RotationType::Automatic { "AUTOMATIC" } else { "ON_DEMAND" };
                entry["RotationType"] = name.into();
            }
            (format!("{at:06}"), entry)
        });
        page("Rotations", shown.collect(), &input.page)
    }

    /// Rotates the keys whose time has come, and destroys those whose waiting time is over. For a timer.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn maintain(&self) -> Result<(), cairn_wire::AwsError> {
        let (now, sealer) = (self.clock.now(), self.sealer.clone());
        let due = move |key: &Key| is_deleted(key, now) || is_rotation_due(key, now);
        let found = self.catalog.read(|tx| KEYS.scan_prefix(tx, &[])).await.map_err(Failure::from)?;
        if !found.iter().any(|(_, key)| due(key)) {
            return Ok(());
        }
        let destroyed = self
            .catalog
            .write(move |tx| {
                let mut destroyed = false;
                for (row, mut key) in KEYS.scan_prefix(tx, &[])? {
                    if is_deleted(&key, now) {
                        remove(tx, &key)?;
                        destroyed = true;
                    } else if is_rotation_due(&key, now) {
                        key.materials.push(new_material(
                            &sealer,
                            &key.id,
                            now,
                            Some(RotationType::Automatic),
                        ));
                        if let Some(rotation) = &mut key.rotation {
                            rotation.next = now.plus(DAY * rotation.period_days);
                        }
                        KEYS.put(tx, &row, &key)?;
                    }
                }
                Ok::<_, Failure>(destroyed)
            })
            .await?;
        if destroyed {
            // What is destroyed must not be found in a free page, should the root key ever leak.
            self.catalog.scrub().await.map_err(Failure::from)?;
        }
        Ok(())
    }
}

fn is_rotation_due(key: &Key, now: Timestamp) -> bool {
    require_enabled(key).is_ok() && key.rotation.is_some_and(|rotation| rotation.next <= now)
}
