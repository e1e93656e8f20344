//! Log groups: made, listed, changed, deleted.

use std::collections::BTreeMap;

use cairn_core::AccountId;
use cairn_store::Tx;
use cairn_store::catalog::prefix_end;
use cairn_store::lines::GroupId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::encryption::{add_data_key, remove_data_keys};
use super::error::{Failure, already_exists, fail, group_not_found, invalid, limit_exceeded};
use super::page::{PAGE_ITEMS, after, page};
use super::state::{GROUP_NAMES, GROUPS, Group, GroupClass, group_id_row, new_id, remove_group};
use super::tags::checked_tags;
use crate::Caller;

/// Log groups of an account in a region.
const GROUPS_MAX: usize = 100_000;
/// How many groups are read at a time where names are looked for.
const SCAN_STEP: usize = 200;
/// Groups that ListLogGroups shows at a time where the caller asks for no number.
const LISTED_ITEMS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateGroup {
    log_group_name: String,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    log_group_class: Option<GroupClass>,
    #[serde(default)]
    deletion_protection_enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedGroup {
    pub(super) log_group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protect {
    log_group_identifier: String,
    deletion_protection_enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KmsAssociation {
    log_group_name: Option<String>,
    kms_key_id: Option<String>,
    resource_identifier: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeGroups {
    account_identifiers: Option<Vec<AccountId>>,
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
    log_group_class: Option<GroupClass>,
    log_group_identifiers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListGroups {
    log_group_name_pattern: Option<String>,
    log_group_class: Option<GroupClass>,
    account_identifiers: Option<Vec<AccountId>>,
    next_token: Option<String>,
    limit: Option<usize>,
    data_sources: Option<Vec<Value>>,
    field_index_names: Option<Vec<String>>,
    log_group_tags: Option<Vec<Value>>,
}

impl Logs {
    pub(super) async fn create_group(&self, caller: &Caller, input: CreateGroup) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        let data_key = match &input.kms_key_id {
            Some(key) => Some(self.new_data_key(&name, key).await?),
            None => None,
        };
        let mut group = Group {
            id: GroupId(0),
            created: caller.now,
            class: input.log_group_class.unwrap_or_default(),
            retention_days: None,
            kms_key_arn: data_key.as_ref().map(|key| key.key_arn.clone()),
            tags: checked_tags(input.tags)?,
            is_protected: input.deletion_protection_enabled,
            metric_filters: 0,
            name,
        };
        self.catalog
            .write(move |tx| {
                insert_group(tx, &mut group)?;
                if let Some(key) = &data_key {
                    add_data_key(tx, group.id, key, group.created)?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(json!({}))
    }

    /// A group without settings, made by a service; no fault where it is there.
    pub(super) async fn ensure_group(&self, name: GroupName) -> Result<(), Failure> {
        let created = self.clock.now();
        self.catalog
            .write(move |tx| {
                if GROUPS.get(tx, name.row().bytes())?.is_some() {
                    return Ok(());
                }
                let mut group = Group {
                    id: GroupId(0),
                    created,
                    class: GroupClass::default(),
                    retention_days: None,
                    kms_key_arn: None,
                    tags: checked_tags(Default::default())?,
                    is_protected: false,
                    metric_filters: 0,
                    name: name.clone(),
                };
                insert_group(tx, &mut group)
            })
            .await
    }

    pub(super) async fn delete_group(&self, caller: &Caller, input: NamedGroup) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        // Nothing is written to it any more once it is gone.
        let _alone = self.writers(&name).write().await;
        let group = self.group(&name).await?;
        let forgotten = self
            .catalog
            .write(move |tx| {
                let group = existing(tx, &name)?;
                if group.is_protected {
                    let message = "Log group has deletion protection enabled. Disable it before you delete.";
                    return Err(fail("ValidationException", message));
                }
                remove_data_keys(tx, group.id)?;
                Ok::<_, Failure>(remove_group(tx, &group)?)
            })
            .await?;
        self.views.forget_deleted(&group);
        self.filters.forget(&group.name);
        self.forget_lines(forgotten).await?;
        Ok(json!({}))
    }

    pub(super) async fn describe_groups(
        &self,
        caller: &Caller,
        input: DescribeGroups,
    ) -> Result<Value, Failure> {
        let DescribeGroups { log_group_name_prefix: prefix, log_group_name_pattern: pattern, .. } = input;
        if prefix.is_some() && pattern.is_some() {
            return Err(invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        let named = input.log_group_identifiers.map(|identifiers| {
            let names = identifiers.iter().filter_map(|text| GroupName::of_identifier(caller, text));
            names.collect::<Vec<_>>()
        });
        // Also by a pattern AWS leaves these out: the search goes another way there.
        let by_pattern = pattern.as_deref().is_some_and(|pattern| !pattern.is_empty());
        let accounts = input.account_identifiers;
        let class = input.log_group_class;
        let wanted = move |group: &Group| {
            pattern.as_ref().is_none_or(|pattern| group.name.name.contains(pattern.as_str()))
                && class.is_none_or(|class| group.class == class)
                && accounts.as_ref().is_none_or(|accounts| accounts.contains(&group.name.account))
                && named.as_ref().is_none_or(|named| named.contains(&group.name))
        };
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        let from = after(input.next_token.as_deref())?;
        let groups = self.groups(caller, prefix.unwrap_or_default(), from, limit + 1, wanted).await?;
        let items = groups.into_iter().map(|group| {
            let mut shown = self.shown(&group);
            if by_pattern {
                for member in ["storedBytes", "deletionProtectionEnabled"] {
                    shown.as_object_mut().and_then(|members| members.remove(member));
                }
            }
            (group.name.name, shown)
        });
        Ok(page("logGroups", items.collect(), limit))
    }

    pub(super) async fn list_groups(&self, caller: &Caller, input: ListGroups) -> Result<Value, Failure> {
        let further =
            [input.data_sources.is_some(), input.field_index_names.is_some(), input.log_group_tags.is_some()];
        if further.contains(&true) {
            return Err(invalid("dataSources, fieldIndexNames and logGroupTags are not supported."));
        }
        let (pattern, class, accounts) =
            (input.log_group_name_pattern, input.log_group_class, input.account_identifiers);
        let wanted = move |group: &Group| {
            pattern.as_ref().is_none_or(|pattern| matches_any(pattern, &group.name.name))
                && class.is_none_or(|class| group.class == class)
                && accounts.as_ref().is_none_or(|accounts| accounts.contains(&group.name.account))
        };
        let limit = input.limit.unwrap_or(LISTED_ITEMS);
        let from = after(input.next_token.as_deref())?;
        let groups = self.groups(caller, String::new(), from, limit + 1, wanted).await?;
        let items = groups.into_iter().map(|group| {
            let shown = json!({
                "logGroupName": group.name.name,
                "logGroupArn": group.name.to_string(),
                "logGroupClass": group.class,
            });
            (group.name.name, shown)
        });
        Ok(page("logGroups", items.collect(), limit))
    }

    pub(super) async fn protect_group(&self, caller: &Caller, input: Protect) -> Result<Value, Failure> {
        let name =
            GroupName::of_identifier(caller, &input.log_group_identifier).ok_or_else(group_not_found)?;
        self.change_group(&name, move |group| {
            group.is_protected = input.deletion_protection_enabled;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn associate_key(
        &self,
        caller: &Caller,
        input: KmsAssociation,
    ) -> Result<Value, Failure> {
        let name = named_in(caller, &input)?;
        let key = input.kms_key_id.ok_or_else(|| invalid("KMS key is required"))?;
        let group = self.group(&name).await?;
        let made = self.new_data_key(&name, &key).await?;
        let arn = made.key_arn.clone();
        let now = self.clock.now();
        self.catalog
            .write(move |tx| {
                let mut changed = existing(tx, &name)?;
                changed.kms_key_arn = Some(made.key_arn.clone());
                add_data_key(tx, changed.id, &made, now)?;
                Ok::<_, Failure>(GROUPS.put(tx, name.row().bytes(), &changed)?)
            })
            .await?;
        self.views.forget_group(&group);
        tracing::debug!(group = %group.name, key = arn, "a log group was given a key");
        Ok(json!({}))
    }

    pub(super) async fn disassociate_key(
        &self,
        caller: &Caller,
        input: KmsAssociation,
    ) -> Result<Value, Failure> {
        let name = named_in(caller, &input)?;
        self.change_group(&name, |group| {
            group.kms_key_arn = None;
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    /// Changes a group that is there.
    pub(super) async fn change_group(
        &self,
        name: &GroupName,
        mut change: impl FnMut(&mut Group) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let named = name.clone();
        let changed = self
            .catalog
            .write(move |tx| {
                let mut group = existing(tx, &named)?;
                change(&mut group)?;
                GROUPS.put(tx, named.row().bytes(), &group)?;
                Ok::<_, Failure>(group)
            })
            .await?;
        self.views.forget_group(&changed);
        Ok(())
    }

    /// Up to `limit` groups of the caller's whose names begin so, after a name, in the order of their names.
    async fn groups(
        &self,
        caller: &Caller,
        prefix: String,
        after: Option<String>,
        limit: usize,
        wanted: impl Fn(&Group) -> bool + Send + 'static,
    ) -> Result<Vec<Group>, Failure> {
        let place = GroupName::place(&caller.region, &caller.account);
        let found = self.catalog.read(move |tx| {
            let begin = place.clone().text_prefix(&prefix);
            let end = prefix_end(begin.bytes());
            let mut from = match &after {
                Some(name) => next_key(place.clone().text(name).bytes()),
                None => Vec::new(),
            };
            if from.as_slice() < begin.bytes() {
                from = begin.bytes().to_vec();
            }
            let mut found = Vec::new();
            while found.len() < limit {
                let rows = GROUPS.scan(tx, &from, end.as_deref(), SCAN_STEP)?;
                let Some((last, _)) = rows.last() else { break };
                from = next_key(last);
                found.extend(rows.into_iter().map(|(_, group)| group).filter(&wanted));
            }
            found.truncate(limit);
            Ok::<_, Failure>(found)
        });
        found.await
    }

    fn shown(&self, group: &Group) -> Value {
        let mut shown = json!({
            "logGroupName": group.name.name,
            "creationTime": group.created.millis(),
            "metricFilterCount": group.metric_filters,
            "arn": group.name.starred_arn(),
            "storedBytes": self.lines.kept_of_group(group.id).text_bytes,
            "logGroupClass": group.class,
            "logGroupArn": group.name.to_string(),
            "deletionProtectionEnabled": group.is_protected,
        });
        if let Some(days) = group.retention_days {
            shown["retentionInDays"] = days.into();
        }
        if let Some(key) = &group.kms_key_arn {
            shown["kmsKeyId"] = key.as_str().into();
        }
        shown
    }
}

/// The first key after `key`.
fn next_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The group of that name.
pub(crate) fn existing(tx: &mut dyn Tx, name: &GroupName) -> Result<Group, Failure> {
    GROUPS.get(tx, name.row().bytes())?.ok_or_else(group_not_found)
}

/// Makes a group, with a number of its own.
fn insert_group(tx: &mut dyn Tx, group: &mut Group) -> Result<(), Failure> {
    let row = group.name.row();
    if GROUPS.get(tx, row.bytes())?.is_some() {
        return Err(already_exists("The specified log group already exists"));
    }
    let place = GroupName::place(&group.name.region, &group.name.account);
    if GROUPS.count_prefix(tx, place.bytes(), GROUPS_MAX)? >= GROUPS_MAX {
        return Err(limit_exceeded());
    }
    group.id = GroupId(new_id(tx)?);
    GROUP_NAMES.put(tx, group_id_row(group.id).bytes(), &group.name)?;
    Ok(GROUPS.put(tx, row.bytes(), group)?)
}

/// Of the two ways to say it, one.
fn named_in(caller: &Caller, input: &KmsAssociation) -> Result<GroupName, Failure> {
    match (&input.log_group_name, &input.resource_identifier) {
        (Some(name), None) => Ok(GroupName::own(caller, name)),
        (None, Some(arn)) => GroupName::of_arn(arn).ok_or_else(|| {
            invalid("The results of queries cannot be encrypted with a KMS key of the caller's.")
        }),
        _ => Err(invalid("Exactly one of logGroupName and resourceIdentifier is required.")),
    }
}

/// Whether one of the pattern's parts is in the name, or begins it where the part begins with `^`.
fn matches_any(pattern: &str, name: &str) -> bool {
    pattern.split('|').any(|part| match part.strip_prefix('^') {
        Some(begin) => name.starts_with(begin),
        None => name.contains(part),
    })
}

#[cfg(test)]
mod tests {
    use super::matches_any;

    #[test]
    fn patterns_are_parts_of_names_or_their_beginnings() {
        assert!(matches_any("lambda", "/aws/lambda/f"));
        assert!(matches_any("^/aws|other", "/aws/lambda/f"));
        assert!(matches_any("^nothing|/f", "/aws/lambda/f"));
        assert!(!matches_any("^lambda|^other", "/aws/lambda/f"));
    }
}
