//! API destinations: HTTP endpoints that rules send to, each with a connection and a limit of its own.

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use cairn_store::{CatalogError, Table};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Events;
use super::connections::{ConnectionState, NameInput};
use super::error::{Failure, exists, not_found, over_limit, validation};
use super::names::{Place, split};
use super::page::{PageInput, page};
use super::state::RuleTarget;
use super::target_check::Kind;
use crate::Caller;

/// The API destinations, by place and name.
const API_DESTINATIONS: Table<ApiDestination> = Table::new("events.api_destination", 1);
/// API destinations of an account in a region: AWS's quota.
const API_DESTINATIONS_MAX: usize = 3_000;
/// Calls in a second where nothing is said.
const RATE_PER_SECOND_DEFAULT: u32 = 300;

/// An API destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApiDestination {
    pub(super) name: String,
    pub(super) arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    pub(super) connection_arn: String,
    pub(super) endpoint: String,
    pub(super) method: String,
    rate_per_second: u32,
    created: Timestamp,
    modified: Timestamp,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApiDestinationInput {
    name: String,
    description: Option<String>,
    connection_arn: Option<String>,
    invocation_endpoint: Option<String>,
    http_method: Option<String>,
    invocation_rate_limit_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListApiDestinations {
    connection_arn: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

fn no_destination(verb: &str, name: &str) -> Failure {
    not_found(format!("Failed to {verb} the api-destination(s). An api-destination '{name}' does not exist."))
}

impl Events {
    async fn check_destination(&self, input: &ApiDestinationInput) -> Result<(), Failure> {
        if let Some(arn) = &input.connection_arn
            && self.connection_of(arn).await?.is_none()
        {
            let name = arn.split('/').nth(1).unwrap_or_default();
            return Err(not_found(format!("Connection '{name}' does not exist.")));
        }
        let is_url = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        match &input.invocation_endpoint {
            Some(url) if !is_url(url) => Err(validation("Parameter InvocationEndpoint is not valid.")),
            _ => Ok(()),
        }
    }

    pub(super) async fn create_api_destination(
        &self,
        caller: &Caller,
        input: ApiDestinationInput,
    ) -> Result<Value, Failure> {
        self.check_destination(&input).await?;
        let place = Place::of(caller);
        let made = ApiDestination {
            arn: place.arn(&format!("api-destination/{}/{}", input.name, self.new_id())),
            name: input.name,
            description: input.description,
            connection_arn: input.connection_arn.unwrap_or_default(),
            endpoint: input.invocation_endpoint.unwrap_or_default(),
            method: input.http_method.unwrap_or_default(),
            rate_per_second: input.invocation_rate_limit_per_second.unwrap_or(RATE_PER_SECOND_DEFAULT),
            created: caller.now,
            modified: caller.now,
        };
        let kept = made.clone();
        self.catalog
            .write(move |tx| {
                let row = place.row().text(&kept.name);
                if API_DESTINATIONS.get(tx, row.bytes())?.is_some() {
                    return Err(exists(format!("An api-destination '{}' already exists.", kept.name)));
                }
                let count = API_DESTINATIONS.count_prefix(tx, place.row().bytes(), API_DESTINATIONS_MAX)?;
                if count >= API_DESTINATIONS_MAX {
                    return Err(over_limit());
                }
                API_DESTINATIONS.put(tx, row.bytes(), &kept)?;
                Ok(())
            })
            .await?;
        Ok(Value::Object(self.stated_destination(&made).await?))
    }

    pub(super) async fn update_api_destination(
        &self,
        caller: &Caller,
        input: ApiDestinationInput,
    ) -> Result<Value, Failure> {
        self.check_destination(&input).await?;
        let (row, now) = (Place::of(caller).row().text(&input.name), caller.now);
        let destination = self
            .catalog
            .write(move |tx| {
                let found = API_DESTINATIONS.get(tx, row.bytes())?;
                let before = found.ok_or_else(|| no_destination("update", &input.name))?;
                let given = input.clone();
                let destination = ApiDestination {
                    description: given.description.or(before.description),
                    connection_arn: given.connection_arn.unwrap_or(before.connection_arn),
                    endpoint: given.invocation_endpoint.unwrap_or(before.endpoint),
                    method: given.http_method.unwrap_or(before.method),
                    rate_per_second: given.invocation_rate_limit_per_second.unwrap_or(before.rate_per_second),
                    modified: now,
                    ..before
                };
                API_DESTINATIONS.put(tx, row.bytes(), &destination)?;
                Ok::<_, Failure>(destination)
            })
            .await?;
        Ok(Value::Object(self.stated_destination(&destination).await?))
    }

    pub(super) async fn describe_api_destination(
        &self,
        caller: &Caller,
        input: NameInput,
    ) -> Result<Value, Failure> {
        let row = Place::of(caller).row().text(&input.name);
        let found = self.catalog.read(move |tx| API_DESTINATIONS.get(tx, row.bytes())).await?;
        let destination = found.ok_or_else(|| no_destination("describe", &input.name))?;
        let mut reply = self.destination_shown(&destination).await?;
        reply.extend(destination.description.map(|text| ("Description".to_owned(), text.into())));
        Ok(Value::Object(reply))
    }

    pub(super) async fn delete_api_destination(
        &self,
        caller: &Caller,
        input: NameInput,
    ) -> Result<Value, Failure> {
        let row = Place::of(caller).row().text(&input.name);
        self.catalog
            .write(move |tx| match API_DESTINATIONS.delete(tx, row.bytes())? {
                true => Ok(json!({})),
                false => Err(no_destination("delete", &input.name)),
            })
            .await
    }

    pub(super) async fn list_api_destinations(
        &self,
        caller: &Caller,
        input: ListApiDestinations,
    ) -> Result<Value, Failure> {
        let place = Place::of(caller);
        let all = self.catalog.read(move |tx| API_DESTINATIONS.scan_prefix(tx, place.row().bytes())).await?;
        let mut items = BTreeMap::new();
        for (_, destination) in all {
            if input.connection_arn.as_ref().is_none_or(|arn| *arn == destination.connection_arn) {
                let shown = Value::Object(self.destination_shown(&destination).await?);
                items.insert(destination.name, shown);
            }
        }
        page("ApiDestinations", items, &input.page)
    }

    async fn stated_destination(&self, destination: &ApiDestination) -> Result<Map<String, Value>, Failure> {
        let connection = self.connection_of(&destination.connection_arn).await?;
        let is_active = connection.is_some_and(|connection| connection.state == ConnectionState::Authorized);
        let mut shown = Map::new();
        shown.insert("ApiDestinationArn".into(), destination.arn.as_str().into());
        shown.insert("ApiDestinationState".into(), if is_active { "ACTIVE" } else { "INACTIVE" }.into());
        shown.insert("CreationTime".into(), destination.created.seconds().into());
        shown.insert("LastModifiedTime".into(), destination.modified.seconds().into());
        Ok(shown)
    }

    async fn destination_shown(&self, destination: &ApiDestination) -> Result<Map<String, Value>, Failure> {
        let mut shown = self.stated_destination(destination).await?;
        shown.insert("Name".into(), destination.name.as_str().into());
        shown.insert("ConnectionArn".into(), destination.connection_arn.as_str().into());
        shown.insert("InvocationEndpoint".into(), destination.endpoint.as_str().into());
        shown.insert("HttpMethod".into(), destination.method.as_str().into());
        shown.insert("InvocationRateLimitPerSecond".into(), destination.rate_per_second.into());
        Ok(shown)
    }

    /// The API destination of an ARN, if it is still that one.
    pub(super) async fn destination_of(&self, arn: &str) -> Result<Option<ApiDestination>, CatalogError> {
        let Some((place, rest)) = split(arn) else { return Ok(None) };
        let Some(name) = rest.strip_prefix("api-destination/").and_then(|path| path.split('/').next()) else {
            return Ok(None);
        };
        let row = place.row().text(name);
        let found = self.catalog.read(move |tx| API_DESTINATIONS.get(tx, row.bytes())).await?;
        Ok(found.filter(|destination| destination.arn == arn))
    }

    /// How many events a target may be sent in a second, where it has a limit.
    pub(super) async fn rate_of(&self, kind: Kind, target: &RuleTarget) -> Result<Option<u32>, AwsError> {
        if kind != Kind::ApiDestination {
            return Ok(None);
        }
        let found = self.destination_of(&target.arn).await.map_err(AwsError::internal)?;
        Ok(found.map(|destination| destination.rate_per_second))
    }

    /// The ARN of a connection or an API destination that a call names, for authorisation.
    pub(super) async fn named_arn(&self, caller: &Caller, path: &str, name: &str) -> Result<String, Failure> {
        let place = Place::of(caller);
        let row = place.row().text(name);
        let kind = path.to_owned();
        let known = self
            .catalog
            .read(move |tx| match kind.as_str() {
                "api-destination" => {
                    Ok::<_, CatalogError>(API_DESTINATIONS.get(tx, row.bytes())?.map(|found| found.arn))
                }
                "connection" => {
                    Ok(super::connections::CONNECTIONS.get(tx, row.bytes())?.map(|found| found.arn))
                }
                _ => Ok(None),
            })
            .await?;
        Ok(known.unwrap_or_else(|| place.arn(&format!("{path}/{name}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<ApiDestination>(
            r#"{"name":"d","arn":"a","description":"t","connection_arn":"c","endpoint":"https://example.com","method":"POST","rate_per_second":300,"created":1795281866042,"modified":1795281866042}"#,
        );
    }
}
