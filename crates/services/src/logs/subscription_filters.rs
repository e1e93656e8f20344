//! Subscription filters: lines that come into a group are sent on to a stream or a function.
//!
//! On the road: rows of the catalog, read by the stage that looks at each line that arrives ([`filter_stage`]).
//! Source: the user guide's pages "Log group-level subscription filters" and "Cross-account log data sharing".
//!
//! [`filter_stage`]: super::filter_stage

mod envelope;
mod reach;

use cairn_core::Timestamp;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::destinations::DestinationName;
use super::error::{Failure, fail, group_not_found, invalid, limit_exceeded, not_found};
use super::filter_views::{REGEX_FILTERS_MAX, parsed, regex_filters};
use super::groups::existing;
use super::metric_filters::{NamedFilter, filter_row, refuse_system_fields};
use super::page::{PAGE_ITEMS, after, page};
use super::state::new_id;
use crate::Caller;

pub(super) use envelope::{Envelope, SentLine};
pub(super) use reach::{Parcel, Vendor};

/// Subscription filters by their group's row and their name.
pub(super) const SUBSCRIPTION_FILTERS: Table<SubscriptionFilter> = Table::new("logs.subscription_filter", 1);

/// Subscription filters of a group.
const FILTERS_MAX: usize = 2;

/// A subscription filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionFilter {
    /// Never used twice.
    pub(super) id: u64,
    pub(super) group: GroupName,
    pub(super) name: String,
    pub(super) pattern: String,
    pub(super) destination_arn: String,
    /// The role that writes to a stream.
    #[serde(default)]
    pub(super) role_arn: Option<String>,
    pub(super) distribution: Distribution,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) applies_to_transformed: bool,
}

/// Over which shards of a stream the lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Distribution {
    /// Those of one log stream over one.
    #[default]
    ByLogStream,
    Random,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutSubscriptionFilter {
    log_group_name: String,
    filter_name: String,
    filter_pattern: String,
    destination_arn: String,
    role_arn: Option<String>,
    #[serde(default)]
    distribution: Distribution,
    #[serde(default)]
    apply_on_transformed_logs: bool,
    field_selection_criteria: Option<String>,
    #[serde(default)]
    emit_system_fields: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeSubscriptionFilters {
    log_group_name: String,
    filter_name_prefix: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

impl SubscriptionFilter {
    fn shown(&self) -> Value {
        let mut shown = json!({
            "filterName": self.name,
            "logGroupName": self.group.name,
            "filterPattern": self.pattern,
            "destinationArn": self.destination_arn,
            "distribution": self.distribution,
            "applyOnTransformedLogs": self.applies_to_transformed,
            "creationTime": self.created.millis(),
        });
        if let Some(role) = &self.role_arn {
            shown["roleArn"] = role.as_str().into();
        }
        shown
    }

    /// What the destination is, where it can be one.
    fn vendor(&self) -> Result<Vendor, Failure> {
        let parts: Vec<&str> = self.destination_arn.splitn(6, ':').collect();
        let ["arn", "aws", service, _, account, _] = parts[..] else {
            return Err(invalid("Invalid destinationArn."));
        };
        let vendor = match service {
            "lambda" => Vendor::Lambda,
            "kinesis" => Vendor::Kinesis,
            "firehose" => Vendor::Firehose,
            "logs" if DestinationName::of_arn(&self.destination_arn).is_some() => Vendor::Destination,
            _ => return Err(invalid(format!("The vendor {service} is not supported as a destination."))),
        };
        let needs_role = matches!(vendor, Vendor::Kinesis | Vendor::Firehose);
        let is_own = account == self.group.account.as_str();
        if vendor == Vendor::Lambda && !is_own {
            return Err(fail(
                "AccessDeniedException",
                "Cross-account lambda invocation passing is not allowed. You must use DestinationPolicies to create \
                 cross account lambda triggers.",
            ));
        }
        match (needs_role, &self.role_arn) {
            (true, None) => {
                Err(invalid(format!("destinationArn for vendor {service} cannot be used without roleArn")))
            }
            (false, Some(_)) if vendor == Vendor::Lambda => {
                Err(invalid(format!("destinationArn for vendor {service} cannot be used with roleArn")))
            }
            (true, Some(_)) if !is_own => Err(fail(
                "AccessDeniedException",
                "Cross-account stream passing is not allowed. You must use a destination of the other account.",
            )),
            _ => Ok(vendor),
        }
    }
}

impl Logs {
    pub(super) async fn put_subscription_filter(
        &self,
        caller: &Caller,
        input: PutSubscriptionFilter,
    ) -> Result<Value, Failure> {
        refuse_system_fields(input.field_selection_criteria.as_ref(), &input.emit_system_fields)?;
        let pattern = parsed(&input.filter_pattern)?;
        let filter = SubscriptionFilter {
            id: 0,
            group: GroupName::own(caller, &input.log_group_name),
            name: input.filter_name,
            pattern: input.filter_pattern,
            destination_arn: input.destination_arn,
            role_arn: input.role_arn,
            distribution: input.distribution,
            created: caller.now,
            applies_to_transformed: input.apply_on_transformed_logs,
        };
        let vendor = filter.vendor()?;
        self.group(&filter.group).await?;
        // The limit is looked at first, so that nothing is sent for a filter that is refused.
        let (wanted, has_regex) = (filter.clone(), pattern.has_regex());
        self.catalog.read(move |tx| check_limits(tx, &wanted, has_regex)).await?;
        self.test_destination(&filter, vendor).await?;
        let group = filter.group.clone();
        self.catalog.write(move |tx| insert(tx, filter.clone(), has_regex)).await?;
        self.filters.forget(&group);
        Ok(json!({}))
    }

    pub(super) async fn delete_subscription_filter(
        &self,
        caller: &Caller,
        input: NamedFilter,
    ) -> Result<Value, Failure> {
        let name = GroupName::own(caller, &input.log_group_name);
        let row = filter_row(&name, &input.filter_name);
        let named = name.clone();
        let deleted = self.catalog.write(move |tx| {
            existing(tx, &named)?;
            if !SUBSCRIPTION_FILTERS.delete(tx, row.bytes())? {
                return Err(not_found("The specified subscription filter does not exist."));
            }
            Ok::<_, Failure>(())
        });
        deleted.await?;
        self.filters.forget(&name);
        Ok(json!({}))
    }

    pub(super) async fn describe_subscription_filters(
        &self,
        caller: &Caller,
        input: DescribeSubscriptionFilters,
    ) -> Result<Value, Failure> {
        let after = after(input.next_token.as_deref())?;
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        let name = GroupName::own(caller, &input.log_group_name);
        self.views.group(&self.catalog, &name).await?.ok_or_else(group_not_found)?;
        let prefix = name.row();
        let found = self.catalog.read(move |tx| SUBSCRIPTION_FILTERS.scan_prefix(tx, prefix.bytes())).await?;
        let begins = input.filter_name_prefix.unwrap_or_default();
        let items = found
            .into_iter()
            .map(|(_, filter)| (filter.name.clone(), filter.shown()))
            .filter(|(name, _)| name.starts_with(&begins) && after.as_ref().is_none_or(|after| name > after))
            .take(limit + 1);
        Ok(page("subscriptionFilters", items.collect(), limit))
    }
}

fn check_limits(tx: &mut dyn Tx, filter: &SubscriptionFilter, has_regex: bool) -> Result<(), Failure> {
    let known = SUBSCRIPTION_FILTERS.scan_prefix(tx, filter.group.row().bytes())?;
    let others = known.iter().filter(|(_, known)| known.name != filter.name).count();
    let regexes = if has_regex { regex_filters(tx, &filter.group, &filter.name)? } else { 0 };
    if others >= FILTERS_MAX || regexes >= REGEX_FILTERS_MAX { Err(limit_exceeded()) } else { Ok(()) }
}

/// Writes a filter down, in place of the one of its name where there is one.
fn insert(tx: &mut dyn Tx, mut filter: SubscriptionFilter, has_regex: bool) -> Result<(), Failure> {
    existing(tx, &filter.group)?;
    check_limits(tx, &filter, has_regex)?;
    let row = filter_row(&filter.group, &filter.name);
    match SUBSCRIPTION_FILTERS.get(tx, row.bytes())? {
        Some(known) => (filter.id, filter.created) = (known.id, known.created),
        None => filter.id = new_id(tx)?,
    }
    Ok(SUBSCRIPTION_FILTERS.put(tx, row.bytes(), &filter)?)
}

/// Removes the filters of a group that is deleted.
pub(super) fn remove_subscription_filters(tx: &mut dyn Tx, group: &GroupName) -> Result<(), CatalogError> {
    for (row, _) in SUBSCRIPTION_FILTERS.scan_prefix(tx, group.row().bytes())? {
        SUBSCRIPTION_FILTERS.delete(tx, &row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn subscription_filters_are_written_and_read_as_in_their_first_version() {
        check::<SubscriptionFilter>(
            r#"{"id":3,"group":{"region":"eu-west-1","account":"111122223333","name":"g"},"name":"f","pattern":"","destination_arn":"arn:aws:kinesis:eu-west-1:111122223333:stream/s","role_arn":"arn:aws:iam::111122223333:role/r","distribution":"Random","created":1795281866042,"applies_to_transformed":false}"#,
        );
    }
}
