//! Destinations: what other accounts' subscription filters send to, a stream of this account under an access policy.

use std::collections::BTreeMap;
use std::fmt;

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{Table, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, invalid, not_found};
use super::page::{PAGE_ITEMS, after, page};
use super::tags::{Tags, checked_tags};
use crate::Caller;
use crate::sinks::{AsRole, Sender, SinkFailure, Source};

/// Destinations by [`DestinationName::row`].
const DESTINATIONS: Table<Destination> = Table::new("logs.destination", 1);
/// The session of a destination's role.
const SESSION_NAME: &str = "CloudWatchLogs";

/// `arn:aws:logs:REGION:ACCOUNT:destination:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DestinationName {
    pub(crate) region: Region,
    pub(crate) account: AccountId,
    pub(crate) name: String,
}

impl DestinationName {
    pub(super) fn own(caller: &Caller, name: &str) -> Self {
        Self { region: caller.region.clone(), account: caller.account.clone(), name: name.to_owned() }
    }

    /// The destination that an ARN names.
    pub(crate) fn of_arn(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", "aws", "logs", region, account, "destination", name] = parts[..] else { return None };
        Some(Self { region: region.parse().ok()?, account: account.parse().ok()?, name: name.to_owned() })
    }

    fn row(&self) -> Key {
        GroupName::place(&self.region, &self.account).text(&self.name)
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:logs:{}:{}:destination:{}", self.region, self.account, self.name)
    }
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destination {
    pub(crate) name: DestinationName,
    /// The Kinesis or Firehose stream behind it.
    pub(crate) target_arn: String,
    /// The role that writes to it.
    pub(crate) role_arn: String,
    /// Who may subscribe; only its own account where there is none.
    #[serde(default)]
    pub(crate) access_policy: Option<String>,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

impl Destination {
    fn shown(&self) -> Value {
        let mut shown = json!({
            "destinationName": self.name.name,
            "targetArn": self.target_arn,
            "roleArn": self.role_arn,
            "arn": self.name.to_string(),
            "creationTime": self.created.millis(),
        });
        if let Some(policy) = &self.access_policy {
            shown["accessPolicy"] = policy.as_str().into();
        }
        shown
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutDestination {
    destination_name: String,
    target_arn: String,
    role_arn: String,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutDestinationPolicy {
    destination_name: String,
    access_policy: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedDestination {
    destination_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeDestinations {
    // AWS spells this one so.
    #[serde(rename = "DestinationNamePrefix")]
    prefix: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

impl Logs {
    pub(super) async fn put_destination(
        &self,
        caller: &Caller,
        input: PutDestination,
    ) -> Result<Value, Failure> {
        let name = DestinationName::own(caller, &input.destination_name);
        let mut destination = Destination {
            name,
            target_arn: input.target_arn,
            role_arn: input.role_arn,
            access_policy: None,
            created: caller.now,
            tags: checked_tags(input.tags)?,
        };
        if let Err(failure) = self.check_destination(&destination).await {
            tracing::debug!(destination = %destination.name, %failure, "a destination cannot be reached");
            return Err(invalid(
                "Could not deliver test message to specified Destination. Check if the Destination is valid.",
            ));
        }
        let written = self
            .catalog
            .write(move |tx| {
                let row = destination.name.row();
                if let Some(known) = DESTINATIONS.get(tx, row.bytes())? {
                    destination.access_policy = known.access_policy;
                    destination.created = known.created;
                    destination.tags = known.tags.into_iter().chain(destination.tags.clone()).collect();
                }
                DESTINATIONS.put(tx, row.bytes(), &destination)?;
                Ok::<_, Failure>(destination.clone())
            })
            .await?;
        Ok(json!({ "destination": written.shown() }))
    }

    pub(super) async fn put_destination_policy(
        &self,
        caller: &Caller,
        input: PutDestinationPolicy,
    ) -> Result<Value, Failure> {
        // AWS takes principals that are none, too. A policy that cannot be read lets nobody in.
        if !serde_json::from_str(&input.access_policy).is_ok_and(|policy: Value| policy.is_object()) {
            return Err(invalid("The access policy is not a JSON object."));
        }
        let name = DestinationName::own(caller, &input.destination_name);
        self.change_destination(&name, move |destination| {
            destination.access_policy = Some(input.access_policy.clone());
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn delete_destination(
        &self,
        caller: &Caller,
        input: NamedDestination,
    ) -> Result<Value, Failure> {
        let row = DestinationName::own(caller, &input.destination_name).row();
        let was_there = self.catalog.write(move |tx| DESTINATIONS.delete(tx, row.bytes())).await?;
        if was_there { Ok(json!({})) } else { Err(destination_not_found()) }
    }

    pub(super) async fn describe_destinations(
        &self,
        caller: &Caller,
        input: DescribeDestinations,
    ) -> Result<Value, Failure> {
        let after = after(input.next_token.as_deref())?;
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        let place = GroupName::place(&caller.region, &caller.account);
        let prefix = place.text_prefix(&input.prefix.unwrap_or_default());
        let rows = self.catalog.read(move |tx| DESTINATIONS.scan_prefix(tx, prefix.bytes())).await?;
        let items = rows
            .into_iter()
            .map(|(_, destination)| (destination.name.name.clone(), destination.shown()))
            .filter(|(name, _)| after.as_ref().is_none_or(|after| name > after))
            .take(limit + 1);
        Ok(page("destinations", items.collect(), limit))
    }

    /// The destination of that name.
    pub(crate) async fn destination(&self, name: &DestinationName) -> Result<Destination, Failure> {
        let row = name.row();
        let found = self.catalog.read(move |tx| DESTINATIONS.get(tx, row.bytes())).await?;
        found.ok_or_else(destination_not_found)
    }

    /// In whose name a destination's stream is written to.
    pub(crate) async fn destination_sender(&self, destination: &Destination) -> Result<Sender, SinkFailure> {
        let role = AsRole {
            role_arn: destination.role_arn.clone(),
            session_name: SESSION_NAME.to_owned(),
            source: Source {
                service: "logs.amazonaws.com".to_owned(),
                arn: destination.name.to_string(),
                account: destination.name.account.clone(),
            },
            region: destination.name.region.clone(),
        };
        Ok(Sender::Role(self.switchboard.roles()?.assume(&role).await?.into()))
    }

    async fn check_destination(&self, destination: &Destination) -> Result<(), SinkFailure> {
        let sender = self.destination_sender(destination).await?;
        let target = destination.target_arn.as_str();
        match target.split(':').nth(2) {
            Some("firehose") => self.switchboard.firehoses()?.check(&sender, target).await,
            _ => self.switchboard.streams()?.check(&sender, target).await,
        }
    }

    pub(super) async fn change_destination(
        &self,
        name: &DestinationName,
        mut change: impl FnMut(&mut Destination) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let row = name.row();
        self.catalog
            .write(move |tx: &mut dyn Tx| {
                let mut destination = DESTINATIONS.get(tx, row.bytes())?.ok_or_else(destination_not_found)?;
                change(&mut destination)?;
                Ok(DESTINATIONS.put(tx, row.bytes(), &destination)?)
            })
            .await
    }
}

fn destination_not_found() -> Failure {
    not_found("The specified destination does not exist.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn destinations_are_written_and_read_as_in_their_first_version() {
        check::<Destination>(
            r#"{"name":{"region":"eu-west-1","account":"111122223333","name":"d"},"target_arn":"arn:aws:kinesis:eu-west-1:111122223333:stream/s","role_arn":"arn:aws:iam::111122223333:role/r","access_policy":"{}","created":1795281866042,"tags":{"k":"v"}}"#,
        );
    }
}
