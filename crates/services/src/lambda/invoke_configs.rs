//! How functions are invoked asynchronously: how often and for how long it is tried, and who is told of the outcome.

use cairn_core::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Lambda;
use super::error::{Failure, invalid, not_found};
use super::functions::find;
use super::name::{LATEST, Named};
use super::page::{PageInput, page};
use super::results::own_bus;
use super::state::{INVOKE_CONFIGS, InvokeConfig};
use crate::Caller;

/// What may be told of an outcome: the services in ARNs.
const DESTINATIONS: [&str; 5] =
    ["arn:aws:sqs:", "arn:aws:sns:", "arn:aws:lambda:", "arn:aws:events:", "arn:aws:s3:::"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InvokeConfigInput {
    function_name: String,
    qualifier: Option<String>,
    maximum_retry_attempts: Option<u32>,
    maximum_event_age_in_seconds: Option<u64>,
    destination_config: Option<DestinationsInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DestinationsInput {
    on_success: Option<DestinationInput>,
    on_failure: Option<DestinationInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DestinationInput {
    destination: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListInvokeConfigs {
    function_name: String,
    #[serde(flatten)]
    page: PageInput,
}

impl DestinationsInput {
    fn arn(given: Option<&DestinationInput>, named: &Named) -> Result<Option<String>, Failure> {
        let Some(arn) = given.and_then(|given| given.destination.clone()).filter(|arn| !arn.is_empty())
        else {
            return Ok(None);
        };
        let is_other_bus = arn.starts_with("arn:aws:events:")
            && arn != own_bus(&named.function.account, &named.function.region);
        if is_other_bus || !DESTINATIONS.iter().any(|prefix| arn.starts_with(prefix)) {
            return Err(invalid(format!(
                "The provided destination config DestinationConfig is invalid: {arn}"
            )));
        }
        if Named::of_arn(&arn).is_some_and(|other| other.function == named.function) {
            return Err(invalid(
                "You can't specify the function as a destination for itself. Please provide another destination.",
            ));
        }
        Ok(Some(arn))
    }
}

impl Lambda {
    /// Sets all of a configuration, or only what is given.
    pub(super) async fn put_invoke_config(
        &self,
        caller: &Caller,
        input: InvokeConfigInput,
        is_update: bool,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let qualifier = named.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
        let destinations = input.destination_config.as_ref();
        let on_success =
            DestinationsInput::arn(destinations.and_then(|given| given.on_success.as_ref()), &named)?;
        let on_failure =
            DestinationsInput::arn(destinations.and_then(|given| given.on_failure.as_ref()), &named)?;
        let (at, now, given) = (named.clone(), caller.now, qualifier.clone());
        let config = self
            .catalog
            .write(move |tx| {
                find(tx, &at)?;
                let row = at.function.row().text(&given);
                let before = INVOKE_CONFIGS.get(tx, row.bytes())?;
                let mut config = match before {
                    Some(before) if is_update => before,
                    None if is_update => return Err(no_config(&at)),
                    _ => empty(&given),
                };
                config.retries_max = input.maximum_retry_attempts.or(config.retries_max);
                config.age_s_max = input.maximum_event_age_in_seconds.or(config.age_s_max);
                if input.destination_config.is_some() {
                    config.on_success.clone_from(&on_success);
                    config.on_failure.clone_from(&on_failure);
                }
                config.last_modified = now;
                INVOKE_CONFIGS.put(tx, row.bytes(), &config)?;
                Ok::<_, Failure>(config)
            })
            .await?;
        Ok(shown(&named.function.at(&qualifier), &config))
    }

    pub(super) async fn get_invoke_config(
        &self,
        caller: &Caller,
        input: InvokeConfigInput,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let qualifier = named.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
        let (at, row) = (named.clone(), named.function.row().text(&qualifier));
        let config = self
            .catalog
            .read(move |tx| {
                find(tx, &at)?;
                INVOKE_CONFIGS.get(tx, row.bytes())?.ok_or_else(|| no_config(&at))
            })
            .await?;
        Ok(shown(&named.function.at(&qualifier), &config))
    }

    pub(super) async fn delete_invoke_config(
        &self,
        caller: &Caller,
        input: InvokeConfigInput,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let row = named.function.row().text(named.qualifier.as_deref().unwrap_or(LATEST));
        self.catalog
            .write(move |tx| {
                find(tx, &named)?;
                if INVOKE_CONFIGS.delete(tx, row.bytes())? { Ok(()) } else { Err(no_config(&named)) }
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_invoke_configs(
        &self,
        caller: &Caller,
        input: ListInvokeConfigs,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let at = named.clone();
        let configs = self
            .catalog
            .read(move |tx| {
                find(tx, &at)?;
                Ok::<_, Failure>(INVOKE_CONFIGS.scan_prefix(tx, at.function.row().bytes())?)
            })
            .await?;
        let items = configs.into_iter().map(|(_, config)| {
            let arn = named.function.at(&config.qualifier);
            (config.qualifier.clone(), shown(&arn, &config))
        });
        page("FunctionEventInvokeConfigs", items.collect(), &input.page)
    }
}

fn empty(qualifier: &str) -> InvokeConfig {
    InvokeConfig {
        qualifier: qualifier.to_owned(),
        retries_max: None,
        age_s_max: None,
        on_success: None,
        on_failure: None,
        last_modified: Timestamp::from_millis(0),
    }
}

fn no_config(named: &Named) -> Failure {
    let arn = named.function.at(named.qualifier.as_deref().unwrap_or(LATEST));
    not_found(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

fn shown(arn: &str, config: &InvokeConfig) -> Value {
    let destination =
        |arn: &Option<String>| arn.as_ref().map_or_else(|| json!({}), |arn| json!({"Destination": arn}));
    let mut shown = json!({
        "LastModified": config.last_modified.seconds(),
        "FunctionArn": arn,
        "DestinationConfig": {
            "OnSuccess": destination(&config.on_success),
            "OnFailure": destination(&config.on_failure),
        },
    });
    if let Some(retries) = config.retries_max {
        shown["MaximumRetryAttempts"] = retries.into();
    }
    if let Some(age_s) = config.age_s_max {
        shown["MaximumEventAgeInSeconds"] = age_s.into();
    }
    shown
}
