//! Published versions and aliases.

use std::collections::BTreeMap;

use cairn_store::{CatalogError, Tx};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Lambda;
use super::error::{Failure, conflict, invalid, no_alias, no_function, not_found};
use super::functions::{check_revision, function, version};
use super::name::{LATEST, Named};
use super::page::{PageInput, page};
use super::state::{ALIASES, Alias, Config, FUNCTIONS, Function, INVOKE_CONFIGS, POLICIES, VERSIONS};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PublishVersion {
    function_name: String,
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OnVersions {
    function_name: String,
    function_version: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AliasInput {
    function_name: String,
    name: String,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<Routing>,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Routing {
    #[serde(default)]
    additional_version_weights: BTreeMap<String, f64>,
}

/// What is wanted of the version that is published.
pub(super) struct Wanted {
    sha256: Option<String>,
    description: Option<String>,
    revision: Option<String>,
}

impl Lambda {
    pub(super) async fn publish_version(
        &self,
        caller: &Caller,
        input: PublishVersion,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let wanted =
            Wanted { sha256: input.code_sha256, description: input.description, revision: input.revision_id };
        let config = self.publish(&named, Some(wanted)).await?;
        let name = &named.function;
        Ok(self.shown(caller, name, &name.at(&config.version), &config).await)
    }

    /// Publishes the latest version, unless it is the one that was published last.
    pub(super) async fn publish(&self, named: &Named, wanted: Option<Wanted>) -> Result<Config, Failure> {
        let (named, revision) = (named.clone(), self.entropy.event_id().to_string());
        self.catalog
            .write(move |tx| {
                let mut function = function(tx, &named)?;
                if let Some(wanted) = &wanted {
                    check_revision(wanted.revision.as_deref(), &function.latest.revision)?;
                    check_code(wanted.sha256.as_deref(), &function.latest)?;
                }
                let last = last_version(tx, &function)?;
                if let Some(last) = last.filter(|last| last.is_same_as(&function.latest)) {
                    return Ok(last);
                }
                let description = wanted.as_ref().and_then(|wanted| wanted.description.clone());
                let published = Config {
                    version: function.next_version.to_string(),
                    description: description.unwrap_or_else(|| function.latest.description.clone()),
                    revision: revision.clone(),
                    ..function.latest.clone()
                };
                let row = named.function.row();
                VERSIONS.put(tx, row.clone().number(function.next_version).bytes(), &published)?;
                function.next_version += 1;
                FUNCTIONS.put(tx, row.bytes(), &function)?;
                Ok::<_, Failure>(published)
            })
            .await
    }

    pub(super) async fn list_versions(&self, caller: &Caller, input: OnVersions) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let at = named.clone();
        let configs = self
            .catalog
            .read(move |tx| {
                let function = function(tx, &at)?;
                let versions = VERSIONS.scan_prefix(tx, at.function.row().bytes())?;
                let mut configs = vec![function.latest];
                configs.extend(versions.into_iter().map(|(_, config)| config));
                Ok::<_, Failure>(configs)
            })
            .await?;
        let mut items = Vec::with_capacity(configs.len());
        for (at, config) in configs.iter().enumerate() {
            let arn = named.function.at(&config.version);
            items.push((format!("{at:08}"), self.shown(caller, &named.function, &arn, config).await));
        }
        page("Versions", items, &input.page)
    }

    pub(super) async fn delete_version(&self, named: &Named, qualifier: &str) -> Result<Value, Failure> {
        if qualifier == LATEST {
            return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
        }
        let (at, number) = (named.clone(), qualifier.to_owned());
        let blob = self
            .catalog
            .write(move |tx| {
                let function = function(tx, &at)?;
                let row = at.function.row();
                let aliases = ALIASES.scan_prefix(tx, row.bytes())?;
                if aliases.iter().any(|(_, alias)| alias.name == number) {
                    return Err(invalid("Deletion of aliases is not currently supported."));
                }
                let using: Vec<&str> = aliases
                    .iter()
                    .map(|(_, alias)| alias)
                    .filter(|alias| {
                        alias.version == number
                            || alias.other.as_ref().is_some_and(|(other, _)| *other == number)
                    })
                    .map(|alias| alias.name.as_str())
                    .collect();
                if !using.is_empty() {
                    return Err(conflict(format!(
                        "Version was not able to be deleted: it is referenced by alias {}",
                        using.join(", ")
                    )));
                }
                let Some(config) = version(tx, &function, &number)? else { return Ok(None) };
                let number = number.parse().map_err(|_| no_function(&at))?;
                VERSIONS.delete(tx, row.clone().number(number).bytes())?;
                POLICIES.delete(tx, row.clone().text(&config.version).bytes())?;
                INVOKE_CONFIGS.delete(tx, row.text(&config.version).bytes())?;
                Ok::<_, Failure>(Some(config.code.blob))
            })
            .await?;
        self.remove_unnamed(&named.function, blob).await?;
        Ok(json!({"StatusCode": 204}))
    }

    pub(super) async fn create_alias(&self, caller: &Caller, input: AliasInput) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        if input.name.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(super::error::validation(format!(
                "1 validation error detected: Value '{}' at 'name' failed to satisfy constraint: Member must satisfy regular \
                 expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
                input.name
            )));
        }
        let revision = self.entropy.event_id().to_string();
        let (at, name) = (named.clone(), input.name.clone());
        let alias = self
            .catalog
            .write(move |tx| {
                let function = function(tx, &at)?;
                let row = at.function.row().text(&input.name);
                if ALIASES.get(tx, row.bytes())?.is_some() {
                    let arn = at.function.at(&input.name);
                    return Err(conflict(format!("Alias already exists: {arn}")));
                }
                let alias = Alias {
                    name: input.name.clone(),
                    version: input.function_version.clone().unwrap_or_else(|| LATEST.to_owned()),
                    description: input.description.clone().unwrap_or_default(),
                    other: input.routing_config.as_ref().map(other).transpose()?.flatten(),
                    revision: revision.clone(),
                };
                check_alias(tx, &at, &function, &alias)?;
                ALIASES.put(tx, row.bytes(), &alias)?;
                Ok::<_, Failure>(alias)
            })
            .await?;
        Ok(shown_alias(&named.function.at(&name), &alias))
    }

    pub(super) async fn update_alias(&self, caller: &Caller, input: AliasInput) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let revision = self.entropy.event_id().to_string();
        let (at, arn) = (named.clone(), named.function.at(&input.name));
        let missing = arn.clone();
        let alias = self
            .catalog
            .write(move |tx| {
                let function = function(tx, &at)?;
                let row = at.function.row().text(&input.name);
                let mut alias = ALIASES.get(tx, row.bytes())?.ok_or_else(|| no_alias(&missing))?;
                check_revision(input.revision_id.as_deref(), &alias.revision)?;
                if let Some(version) = &input.function_version {
                    alias.version.clone_from(version);
                }
                if let Some(description) = &input.description {
                    alias.description.clone_from(description);
                }
                if let Some(routing) = &input.routing_config {
                    alias.other = other(routing)?;
                }
                alias.revision.clone_from(&revision);
                check_alias(tx, &at, &function, &alias)?;
                ALIASES.put(tx, row.bytes(), &alias)?;
                Ok::<_, Failure>(alias)
            })
            .await?;
        Ok(shown_alias(&arn, &alias))
    }

    pub(super) async fn get_alias(&self, caller: &Caller, input: AliasInput) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let arn = named.function.at(&input.name);
        let missing = arn.clone();
        let alias = self
            .catalog
            .read(move |tx| {
                function(tx, &named)?;
                ALIASES
                    .get(tx, named.function.row().text(&input.name).bytes())?
                    .ok_or_else(|| no_alias(&missing))
            })
            .await?;
        Ok(shown_alias(&arn, &alias))
    }

    pub(super) async fn delete_alias(&self, caller: &Caller, input: AliasInput) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        self.catalog
            .write(move |tx| {
                function(tx, &named)?;
                let row = named.function.row().text(&input.name);
                ALIASES.delete(tx, row.bytes())?;
                POLICIES.delete(tx, row.bytes())?;
                INVOKE_CONFIGS.delete(tx, row.bytes())?;
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_aliases(&self, caller: &Caller, input: OnVersions) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let at = named.clone();
        let aliases = self
            .catalog
            .read(move |tx| {
                function(tx, &at)?;
                Ok::<_, Failure>(ALIASES.scan_prefix(tx, at.function.row().bytes())?)
            })
            .await?;
        let items = aliases
            .into_iter()
            .map(|(_, alias)| alias)
            .filter(|alias| input.function_version.as_ref().is_none_or(|version| alias.version == *version))
            .map(|alias| (alias.name.clone(), shown_alias(&named.function.at(&alias.name), &alias)));
        page("Aliases", items.collect(), &input.page)
    }
}

fn check_code(given: Option<&str>, latest: &Config) -> Result<(), Failure> {
    match given.filter(|given| !given.is_empty() && *given != latest.code.sha256) {
        Some(given) => Err(invalid(format!(
            "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({}). Please try again with the \
             CodeSHA256 in $LATEST.",
            latest.code.sha256
        ))),
        None => Ok(()),
    }
}

fn last_version(tx: &mut dyn Tx, function: &Function) -> Result<Option<Config>, CatalogError> {
    version(tx, function, &(function.next_version - 1).to_string())
}

/// The second version of an alias, by weight.
fn other(routing: &Routing) -> Result<Option<(String, f64)>, Failure> {
    let mut weights = routing.additional_version_weights.iter();
    let first = weights.next().map(|(version, weight)| (version.clone(), *weight));
    if weights.next().is_some() {
        return Err(invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"));
    }
    Ok(first)
}

fn check_alias(tx: &mut dyn Tx, named: &Named, function: &Function, alias: &Alias) -> Result<(), Failure> {
    let versions = std::iter::once(&alias.version).chain(alias.other.iter().map(|(version, _)| version));
    for number in versions {
        if version(tx, function, number)?.is_none() {
            return Err(not_found(format!("Function not found: {}", named.function.at(number))));
        }
    }
    match &alias.other {
        Some((other, _)) if other == LATEST || alias.version == LATEST => {
            Err(invalid("$LATEST is not supported for an alias pointing to more than 1 version"))
        }
        Some((other, _)) if *other == alias.version => Err(invalid(format!(
            "Invalid function version {other}. Function version {other} is already included in routing configuration."
        ))),
        _ => Ok(()),
    }
}

fn shown_alias(arn: &str, alias: &Alias) -> Value {
    let mut shown = json!({
        "AliasArn": arn,
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    });
    if let Some((version, weight)) = &alias.other {
        shown["RoutingConfig"] = json!({"AdditionalVersionWeights": {version.as_str(): weight}});
    }
    shown
}
