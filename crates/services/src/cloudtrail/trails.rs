//! CreateTrail, UpdateTrail, DeleteTrail.
//!
//! A trail is checked in three steps: the form of what was sent, the catalog (does the name exist, is there room),
//! the bucket. The catalog is asked again in the transaction that writes, since the bucket took its time.

use std::sync::Arc;

use cairn_core::{AccountId, Region, Timestamp, TrailArn};
use cairn_store::catalog::{CatalogError, Key, Tx};
use cairn_store::{LogPosition, Table};
use cairn_trail::Trail;
use cairn_trail::config::{STATUSES, TRAILS, account_prefix, find_trail, trail_key};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::Value;

use super::failure::{self, Failure};
use super::tags::Tag;
use super::{CloudTrail, TRAILS_PER_REGION_MAX, destinations, names, organization, preflight, reply, tags};
use crate::service::Caller;

/// The number of the last trail ever made, under one fixed key.
const INCARNATIONS: Table<u64> = Table::new("trail.incarnation", 1);

/// CreateTrail's and UpdateTrail's input. Absent members leave a trail as it is; empty texts clear.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TrailRequest {
    name: String,
    s3_bucket_name: Option<String>,
    s3_key_prefix: Option<String>,
    sns_topic_name: Option<String>,
    include_global_service_events: Option<bool>,
    is_multi_region_trail: Option<bool>,
    enable_log_file_validation: Option<bool>,
    cloud_watch_logs_log_group_arn: Option<String>,
    cloud_watch_logs_role_arn: Option<String>,
    kms_key_id: Option<String>,
    pub(super) is_organization_trail: Option<bool>,
    tags_list: Option<Vec<Tag>>,
}

/// The input of operations that only name a trail.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NameRequest {
    pub(super) name: String,
}

impl CloudTrail {
    pub(super) async fn create_trail(
        &self,
        caller: &Caller,
        request: TrailRequest,
    ) -> Result<Value, Failure> {
        names::check_trail_name(&request.name)?;
        let place = self.organization_of(caller, &request).await?;
        // The trail of an organization is its management account's, also where a delegated administrator makes it.
        let owner = place.as_ref().map_or_else(|| caller.account.clone(), |place| place.management.clone());
        let arn = TrailArn::new(&caller.region, &owner, &request.name);
        let mut trail = Trail::new(arn, 0, String::new(), caller.now);
        request.check_form(&trail)?;
        request.apply(&mut trail, caller.now, self.deps.log.end());
        trail.set_organization(place.map(|place| place.organization_id), caller.now);
        trail.tags = tags::new_tags(request.tags_list.clone().unwrap_or_default())?;
        check_combination(&trail)?;

        let wanted = trail.clone();
        self.deps.catalog.read(move |tx| check_room_for_new(tx, &wanted)).await?;
        trail.kms_key_id = self.check_destinations(&trail).await?;

        let (at, log) = (caller.now, Arc::clone(&self.deps.log));
        let made = self
            .deps
            .catalog
            .write(move |tx| {
                check_room_for_new(tx, &trail)?;
                let mut trail = trail.clone();
                trail.incarnation = next_incarnation(tx)?;
                organization::keep(tx, &trail, at, log.end())?;
                Ok::<_, Failure>(trail)
            })
            .await?;
        (self.deps.changed)();
        Ok(reply::configuration(&made))
    }

    pub(super) async fn update_trail(
        &self,
        caller: &Caller,
        request: TrailRequest,
    ) -> Result<Value, Failure> {
        let arn = names::meant_trail(&request.name, caller)?;
        let place = self.organization_of(caller, &request).await?;
        let (update, at, from) = (request.clone(), caller.now, From::of(caller));
        let (log, ends) = (Arc::clone(&self.deps.log), Arc::clone(&self.deps.log));
        let updated = move |tx: &mut dyn Tx| {
            let before = home_trail(tx, &arn, &from)?;
            let mut trail = before.clone();
            update.check_form(&trail)?;
            update.apply(&mut trail, at, ends.end());
            if let Some(place) = &place {
                organization::check_convertible(place, &trail)?;
                trail.set_organization(Some(place.organization_id.clone()), at);
            } else if update.is_organization_trail == Some(false) && trail.organization {
                organization::check_owner(&trail, &from)?;
                trail.set_organization(None, at);
            }
            check_combination(&trail)?;
            if trail.multi_region && !before.multi_region {
                check_room(tx, &trail)?;
            }
            Ok::<_, Failure>(trail)
        };
        let trail = self.deps.catalog.read(updated.clone()).await?;
        let key_arn = self.check_destinations(&trail).await?;
        let trail = self
            .deps
            .catalog
            .write(move |tx| {
                let mut trail = updated(tx)?;
                trail.kms_key_id.clone_from(&key_arn);
                organization::keep(tx, &trail, at, log.end())?;
                Ok::<_, Failure>(trail)
            })
            .await?;
        (self.deps.changed)();
        Ok(reply::configuration(&trail))
    }

    pub(super) async fn delete_trail(&self, caller: &Caller, request: NameRequest) -> Result<Value, Failure> {
        let arn = names::meant_trail(&request.name, caller)?;
        let from = From::of(caller);
        self.deps
            .catalog
            .write(move |tx| {
                let trail = home_trail(tx, &arn, &from)?;
                for part in organization::parts_of(tx, &trail)?.iter().chain([&trail]) {
                    TRAILS.delete(tx, part.key().bytes())?;
                    STATUSES.delete(tx, part.key().bytes())?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        (self.deps.changed)();
        Ok(reply::nothing())
    }

    /// Changes a trail in its home region, in one transaction.
    pub(super) async fn change_trail(
        &self,
        caller: &Caller,
        name: &str,
        mut change: impl FnMut(&mut Trail) -> Result<(), AwsError> + Send + 'static,
    ) -> Result<Trail, Failure> {
        let arn = names::meant_trail(name, caller)?;
        let (from, log) = (From::of(caller), Arc::clone(&self.deps.log));
        let trail = self
            .deps
            .catalog
            .write(move |tx| {
                let mut trail = home_trail(tx, &arn, &from)?;
                change(&mut trail)?;
                organization::keep(tx, &trail, from.at, log.end())?;
                Ok::<_, Failure>(trail)
            })
            .await?;
        (self.deps.changed)();
        Ok(trail)
    }

    /// A trail of the caller's, named as for a read.
    pub(super) async fn read_trail(&self, caller: &Caller, name: &str) -> Result<Trail, Failure> {
        let (arn, account) = (names::meant_trail(name, caller)?, caller.account.clone());
        self.deps.catalog.read(move |tx| existing_trail(tx, &arn, &account)).await
    }

    /// Tries the bucket, then looks for the other destinations, in the real service's order; the topic is told last, once
    /// nothing else is wrong. Says the ARN of the KMS key, where the trail names one.
    async fn check_destinations(&self, trail: &Trail) -> Result<Option<String>, AwsError> {
        preflight::check_bucket(self.deps.bucket.as_ref(), trail, preflight::folders(trail)).await?;
        preflight::check_topic(self.deps.topic.as_ref(), trail).await?;
        let key_arn = match &trail.kms_key_id {
            Some(key) => Some(preflight::check_key(self.deps.bucket.as_ref(), trail, key).await?),
            None => None,
        };
        preflight::check_log_group(self.deps.log_groups.as_ref(), trail).await?;
        preflight::validate_topic(self.deps.topic.as_ref(), trail).await?;
        Ok(key_arn)
    }
}

impl TrailRequest {
    /// Checks the form of what was sent, for a trail as it is before.
    fn check_form(&self, trail: &Trail) -> Result<(), AwsError> {
        if trail.bucket.is_empty() || self.s3_bucket_name.is_some() {
            destinations::check_bucket_name(self.s3_bucket_name.as_deref().unwrap_or_default())?;
        }
        destinations::check_key_prefix(self.s3_key_prefix.as_deref().unwrap_or_default())?;
        if let Some(topic) = set(&self.sns_topic_name) {
            destinations::check_topic(topic)?;
        }
        destinations::check_log_group(
            set(&self.cloud_watch_logs_log_group_arn),
            set(&self.cloud_watch_logs_role_arn),
        )?;
        if let Some(key) = set(&self.kms_key_id) {
            destinations::check_kms_key(key, &trail.home_region())?;
        }
        Ok(())
    }

    /// Makes of `trail` what was asked for.
    fn apply(&self, trail: &mut Trail, at: Timestamp, log_end: LogPosition) {
        if let Some(bucket) = &self.s3_bucket_name {
            trail.bucket.clone_from(bucket);
        }
        assign(&mut trail.key_prefix, &self.s3_key_prefix);
        assign(&mut trail.sns_topic, &self.sns_topic_name);
        if self.cloud_watch_logs_log_group_arn.is_some() || self.cloud_watch_logs_role_arn.is_some() {
            let group = set(&self.cloud_watch_logs_log_group_arn).map(str::to_owned);
            trail.set_log_group(group.zip(set(&self.cloud_watch_logs_role_arn).map(str::to_owned)), log_end);
        }
        assign(&mut trail.kms_key_id, &self.kms_key_id);
        if let Some(include) = self.include_global_service_events {
            trail.include_global_service_events = include;
        }
        if let Some(multi_region) = self.is_multi_region_trail {
            trail.multi_region = multi_region;
        }
        if let Some(validation) = self.enable_log_file_validation {
            trail.set_log_file_validation(validation, at);
        }
    }
}

/// A text that was sent and is not empty.
fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn assign(member: &mut Option<String>, sent: &Option<String>) {
    if sent.is_some() {
        *member = set(sent).map(str::to_owned);
    }
}

fn check_combination(trail: &Trail) -> Result<(), AwsError> {
    if trail.multi_region && !trail.include_global_service_events {
        return Err(failure::invalid_combination("Multi-Region trail must include global service events."));
    }
    Ok(())
}

/// Who changes a trail, where and when.
#[derive(Clone, Debug)]
pub(super) struct From {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) at: Timestamp,
}

impl From {
    pub(super) fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone(), at: caller.now }
    }
}

/// The trail `arn` as `account` sees it.
pub(super) fn existing_trail(tx: &mut dyn Tx, arn: &TrailArn, account: &AccountId) -> Result<Trail, Failure> {
    let found = find_trail(tx, arn, account)?;
    Ok(found.ok_or_else(|| failure::unknown_trail(arn.as_str(), account))?)
}

/// The trail `arn`, to be changed. Members see their organization's trails, and only its administrators change them.
pub(super) fn home_trail(tx: &mut dyn Tx, arn: &TrailArn, from: &From) -> Result<Trail, Failure> {
    let mut trail = existing_trail(tx, arn, &from.account)?;
    if trail.shadow.is_some() {
        organization::check_administrator(tx, &from.account)?;
        trail = existing_trail(tx, arn, &arn.account())?;
    }
    let home = trail.home_region();
    if home == from.region {
        return Ok(trail);
    }
    Err(AwsError::invalid(
        "InvalidHomeRegionException",
        format!("The home Region of trail {arn} is {home}. Call the operation in that Region."),
    )
    .into())
}

/// All trails of an account, by home region and name.
pub(super) fn trails_of(tx: &mut dyn Tx, account: &AccountId) -> Result<Vec<Trail>, CatalogError> {
    let pairs = TRAILS.scan_prefix(tx, account_prefix(account).bytes())?;
    Ok(pairs.into_iter().map(|(_, trail)| trail).filter(|trail| !trail.is_retired()).collect())
}

fn check_room_for_new(tx: &mut dyn Tx, trail: &Trail) -> Result<(), Failure> {
    if TRAILS.get(tx, trail_key(&trail.arn).bytes())?.is_some() {
        return Err(failure::trail_exists(trail.arn.name(), &trail.arn.account()).into());
    }
    check_room(tx, trail)
}

/// Checks that the trail's home region, and for a multi-region trail every region that has trails, takes one more.
/// The shadow of a multi-region trail counts in each region.
fn check_room(tx: &mut dyn Tx, trail: &Trail) -> Result<(), Failure> {
    let account = trail.arn.account();
    let others: Vec<_> =
        trails_of(tx, &account)?.into_iter().filter(|other| other.arn != trail.arn).collect();
    let mut regions = vec![trail.home_region()];
    if trail.multi_region {
        regions.extend(others.iter().map(Trail::home_region));
    }
    for region in regions {
        let count = others.iter().filter(|other| other.multi_region || other.home_region() == region).count();
        if count >= TRAILS_PER_REGION_MAX {
            return Err(AwsError::invalid(
                "MaximumNumberOfTrailsExceededException",
                format!("User: {account} already has {count} trails in {region}."),
            )
            .into());
        }
    }
    Ok(())
}

pub(super) fn next_incarnation(tx: &mut dyn Tx) -> Result<u64, CatalogError> {
    let key = Key::new().text("last");
    let next = INCARNATIONS.get(tx, key.bytes())?.unwrap_or(0) + 1;
    INCARNATIONS.put(tx, key.bytes(), &next)?;
    Ok(next)
}
