//! Functions: made, shown, changed and deleted; their tags, their reserved concurrency, the account's limits.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_store::queues::QueueKey;
use cairn_store::{BlobId, CatalogError, Tx};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Lambda;
use super::configuration::{Settings, fresh};
use super::error::{
    Failure, conflict, disabled, invalid, no_function, not_found, of_blobs, of_engine, stale_revision,
    unsupported,
};
use super::name::{FunctionName, LATEST, Named, place_row};
use super::package::{self, OBJECT_SIZE_BYTES_MAX, PackageError};
use super::page::{PageInput, page};
use super::state::{ALIASES, Alias, Code, Config, FUNCTIONS, Function, INVOKE_CONFIGS, POLICIES, VERSIONS};
use crate::Caller;
use crate::sinks::{Sender, SinkFailure};

/// Tags of a function.
const TAGS_MAX: usize = 50;
/// The code of all functions of an account, in bytes, as GetAccountSettings says.
const TOTAL_CODE_SIZE_BYTES_MAX: u64 = 80_530_636_800;
/// Random hexadecimal digits that tell a function's queue from that of an earlier one of the same name.
const QUEUE_DIGITS: usize = 12;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateFunction {
    function_name: String,
    code: CodeInput,
    #[serde(default)]
    publish: bool,
    package_type: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    architectures: Option<Vec<String>>,
    code_signing_config_arn: Option<String>,
    publish_to: Option<Value>,
    tenancy_config: Option<Value>,
    #[serde(flatten)]
    settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CodeInput {
    zip_file: Option<String>,
    #[serde(rename = "S3Bucket")]
    bucket: Option<String>,
    #[serde(rename = "S3Key")]
    key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    object_version: Option<String>,
    image_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateCode {
    function_name: String,
    #[serde(flatten)]
    code: CodeInput,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    dry_run: bool,
    revision_id: Option<String>,
    architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateConfiguration {
    function_name: String,
    revision_id: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

/// A function, perhaps at a version or an alias.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OnFunction {
    pub(super) function_name: String,
    pub(super) qualifier: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListFunctions {
    function_version: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutConcurrency {
    function_name: String,
    reserved_concurrent_executions: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OnTags {
    resource: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

/// A function at one version, as a caller named it.
pub(super) struct Found {
    pub(super) function: Function,
    pub(super) config: Config,
    /// The alias, where it was named by one.
    pub(super) alias: Option<Alias>,
}

impl CreateFunction {
    fn check(&self, caller: &Caller, named: &Named) -> Result<(), Failure> {
        if named.function.account != caller.account || named.qualifier.is_some() {
            return Err(invalid("Functions are made in the caller's own account, and without a qualifier."));
        }
        for (is_asked_for, what) in [
            (self.package_type.as_deref() == Some("Image"), "PackageType Image"),
            (self.code_signing_config_arn.is_some(), "CodeSigningConfigArn"),
            (self.publish_to.is_some(), "PublishTo"),
            (self.tenancy_config.is_some(), "TenancyConfig"),
        ] {
            if is_asked_for {
                return Err(unsupported(what));
            }
        }
        if self.settings.runtime.is_none() || self.settings.handler.is_none() {
            return Err(invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
        check_tags(&self.tags)
    }
}

/// The function that is named.
pub(super) fn function(tx: &mut dyn Tx, named: &Named) -> Result<Function, Failure> {
    FUNCTIONS.get(tx, named.function.row().bytes())?.ok_or_else(|| no_function(named))
}

/// A version of a function by its number; the latest by its name.
pub(super) fn version(
    tx: &mut dyn Tx,
    function: &Function,
    version: &str,
) -> Result<Option<Config>, CatalogError> {
    if version == LATEST {
        return Ok(Some(function.latest.clone()));
    }
    let Ok(number) = version.parse::<u64>() else { return Ok(None) };
    VERSIONS.get(tx, function.full_name().row().number(number).bytes())
}

/// What is named, at the version that its qualifier stands for.
pub(super) fn find(tx: &mut dyn Tx, named: &Named) -> Result<Found, Failure> {
    let function = function(tx, named)?;
    let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
    if let Some(config) = version(tx, &function, qualifier)? {
        return Ok(Found { function, config, alias: None });
    }
    let alias = ALIASES.get(tx, named.function.row().text(qualifier).bytes())?;
    let alias = alias.ok_or_else(|| no_function(named))?;
    let config = version(tx, &function, &alias.version)?.ok_or_else(|| no_function(named))?;
    Ok(Found { function, config, alias: Some(alias) })
}

impl Lambda {
    pub(super) async fn create_function(
        &self,
        caller: &Caller,
        input: CreateFunction,
    ) -> Result<Value, Failure> {
        if self.runner.is_none() {
            return Err(disabled());
        }
        let named = Named::parse(&input.function_name, None, caller)?;
        let name = named.function.clone();
        input.check(caller, &named)?;
        let taken = named.clone();
        let is_taken =
            self.catalog.read(move |tx| FUNCTIONS.get(tx, taken.function.row().bytes())).await?.is_some();
        if is_taken {
            return Err(already_there(&name));
        }
        let bytes = self.package(caller, &input.code).await?;
        let architectures = input.architectures.unwrap_or_else(|| vec!["x86_64".to_owned()]);
        let no_code =
            Code { blob: BlobId(String::new()), blob_size_bytes: 0, size_bytes: 0, sha256: String::new() };
        let config = fresh(no_code, architectures, caller.now, &*self.entropy);
        let mut config = self.configured(caller, &name, &input.settings, config).await?;
        config.code = self.packages.keep(&bytes).await.map_err(of_package)?;
        let suffix = self.entropy.text(b"0123456789abcdef", QUEUE_DIGITS);
        let function = Function {
            region: name.region.clone(),
            account: name.account.clone(),
            name: name.name.clone(),
            latest: config.clone(),
            next_version: 1,
            reserved: None,
            tags: input.tags,
            queue: format!("{}{}#{suffix}", super::queue::EVENTS_PREFIX, name.arn()),
        };
        self.engine.create(&QueueKey(function.queue.clone())).await.map_err(of_engine)?;
        let kept = function.clone();
        let made = self
            .catalog
            .write(move |tx| {
                let key = kept.full_name().row();
                if FUNCTIONS.get(tx, key.bytes())?.is_some() {
                    return Err(already_there(&kept.full_name()));
                }
                Ok(FUNCTIONS.put(tx, key.bytes(), &kept)?)
            })
            .await;
        if let Err(failure) = made {
            self.packages.remove(&config.code.blob).await;
            self.engine.remove(&QueueKey(function.queue)).await.map_err(of_engine)?;
            return Err(failure);
        }
        if input.publish {
            let published = self.publish(&named, None).await?;
            return Ok(self.shown(caller, &name, &name.at(&published.version), &published).await);
        }
        Ok(self.shown(caller, &name, &name.arn(), &config).await)
    }

    /// The package that a call brings or names, looked through.
    async fn package(&self, caller: &Caller, input: &CodeInput) -> Result<Bytes, Failure> {
        let bytes = match input {
            CodeInput { image_uri: Some(_), .. } => return Err(unsupported("ImageUri")),
            CodeInput { zip_file: Some(text), bucket: None, .. } => {
                let bytes = STANDARD.decode(text).map_err(|_| unreadable_package())?;
                if bytes.len() > package::SIZE_BYTES_MAX {
                    return Err(AwsError::with_status(
                        413,
                        "RequestEntityTooLargeException",
                        "Request must be smaller than 70167211 bytes for the operation",
                    )
                    .into());
                }
                Bytes::from(bytes)
            }
            CodeInput { bucket: Some(bucket), key: Some(key), object_version, .. } => {
                let objects = self.switchboard.objects().map_err(|failure| of_object(&failure))?;
                let as_caller = Sender::Role(std::sync::Arc::new(caller.clone()));
                let version = object_version.as_deref();
                let read = objects.get(&as_caller, bucket, key, version, OBJECT_SIZE_BYTES_MAX).await;
                read.map_err(|failure| of_object(&failure))?
            }
            _ => return Err(invalid("Please provide a source for function code.")),
        };
        package::check(&bytes).map_err(of_package)?;
        Ok(bytes)
    }

    pub(super) async fn get_function(&self, caller: &Caller, input: OnFunction) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let at = named.clone();
        let found = self.catalog.read(move |tx| find(tx, &at)).await?;
        let mut shown = json!({
            "Configuration": self.shown(caller, &named.function, &named.arn(), &found.config).await,
            "Code": {"RepositoryType": "S3", "Location": self.location(&found.config, caller.now)},
        });
        if !found.function.tags.is_empty() {
            shown["Tags"] = json!(found.function.tags);
        }
        if let Some(reserved) = found.function.reserved {
            shown["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
        }
        Ok(shown)
    }

    pub(super) async fn get_configuration(
        &self,
        caller: &Caller,
        input: OnFunction,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let at = named.clone();
        let found = self.catalog.read(move |tx| find(tx, &at)).await?;
        Ok(self.shown(caller, &named.function, &named.arn(), &found.config).await)
    }

    pub(super) async fn list_functions(
        &self,
        caller: &Caller,
        input: ListFunctions,
    ) -> Result<Value, Failure> {
        let place = place_row(&caller.region, &caller.account);
        let all = input.function_version.as_deref() == Some("ALL");
        let configs = self
            .catalog
            .read(move |tx| {
                let mut configs = Vec::new();
                for (_, function) in FUNCTIONS.scan_prefix(tx, place.bytes())? {
                    let name = function.full_name();
                    configs.push((name.clone(), function.latest));
                    if all {
                        let versions = VERSIONS.scan_prefix(tx, name.row().bytes())?;
                        configs.extend(versions.into_iter().map(|(_, config)| (name.clone(), config)));
                    }
                }
                Ok::<_, CatalogError>(configs)
            })
            .await?;
        let mut items = Vec::with_capacity(configs.len());
        for (at, (name, config)) in configs.iter().enumerate() {
            let arn = if all { name.at(&config.version) } else { name.arn() };
            items.push((format!("{at:08}"), self.shown(caller, name, &arn, config).await));
        }
        page("Functions", items, &input.page)
    }

    pub(super) async fn update_code(&self, caller: &Caller, input: UpdateCode) -> Result<Value, Failure> {
        if self.runner.is_none() {
            return Err(disabled());
        }
        let named = Named::parse(&input.function_name, None, caller)?;
        let bytes = self.package(caller, &input.code).await?;
        if input.dry_run {
            let at = named.clone();
            let function = self.catalog.read(move |tx| function(tx, &at)).await?;
            check_revision(input.revision_id.as_deref(), &function.latest.revision)?;
            return Ok(self.shown(caller, &named.function, &named.function.arn(), &function.latest).await);
        }
        let code = self.packages.keep(&bytes).await.map_err(of_package)?;
        let kept = code.clone();
        let architectures = input.architectures.clone();
        let changed = self
            .change(caller, &named, input.revision_id, move |config| {
                config.code = kept.clone();
                if let Some(architectures) = &architectures {
                    config.architectures.clone_from(architectures);
                }
            })
            .await;
        let (before, config) = match changed {
            Ok(changed) => changed,
            Err(failure) => {
                self.packages.remove(&code.blob).await;
                return Err(failure);
            }
        };
        self.remove_unnamed(&named.function, [before.code.blob]).await?;
        self.shown_or_published(caller, &named, input.publish, config).await
    }

    pub(super) async fn update_configuration(
        &self,
        caller: &Caller,
        input: UpdateConfiguration,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let at = named.clone();
        let before = self.catalog.read(move |tx| function(tx, &at)).await?.latest;
        check_revision(input.revision_id.as_deref(), &before.revision)?;
        let revision = before.revision.clone();
        let wanted = self.configured(caller, &named.function, &input.settings, before).await?;
        let (_, config) = self
            .change(caller, &named, Some(revision), move |config| {
                *config = Config { code: config.code.clone(), ..wanted.clone() };
            })
            .await?;
        Ok(self.shown(caller, &named.function, &named.function.arn(), &config).await)
    }

    /// Changes the latest version; returns it as it was and as it is.
    async fn change(
        &self,
        caller: &Caller,
        named: &Named,
        revision: Option<String>,
        change: impl Fn(&mut Config) + Send + 'static,
    ) -> Result<(Config, Config), Failure> {
        let (at, now) = (named.clone(), caller.now);
        let next_revision = self.entropy.event_id().to_string();
        let changed = self
            .catalog
            .write(move |tx| {
                let mut function = function(tx, &at)?;
                check_revision(revision.as_deref(), &function.latest.revision)?;
                let before = function.latest.clone();
                change(&mut function.latest);
                function.latest.last_modified = now;
                function.latest.revision.clone_from(&next_revision);
                FUNCTIONS.put(tx, at.function.row().bytes(), &function)?;
                Ok::<_, Failure>((before, function.latest))
            })
            .await?;
        self.retire(&named.function.arn());
        Ok(changed)
    }

    async fn shown_or_published(
        &self,
        caller: &Caller,
        named: &Named,
        publish: bool,
        config: Config,
    ) -> Result<Value, Failure> {
        let name = &named.function;
        if publish {
            let published = self.publish(named, None).await?;
            return Ok(self.shown(caller, name, &name.at(&published.version), &published).await);
        }
        Ok(self.shown(caller, name, &name.arn(), &config).await)
    }

    pub(super) async fn delete_function(&self, caller: &Caller, input: OnFunction) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        if let Some(qualifier) = &named.qualifier {
            return self.delete_version(&named, qualifier).await;
        }
        let at = named.clone();
        let (function, blobs) = self
            .catalog
            .write(move |tx| {
                let function = function(tx, &at)?;
                let row = at.function.row();
                let mut blobs = vec![function.latest.code.blob.clone()];
                for (key, config) in VERSIONS.scan_prefix(tx, row.bytes())? {
                    VERSIONS.delete(tx, &key)?;
                    blobs.push(config.code.blob);
                }
                for (key, _) in ALIASES.scan_prefix(tx, row.bytes())? {
                    ALIASES.delete(tx, &key)?;
                }
                for (key, _) in POLICIES.scan_prefix(tx, row.bytes())? {
                    POLICIES.delete(tx, &key)?;
                }
                for (key, _) in INVOKE_CONFIGS.scan_prefix(tx, row.bytes())? {
                    INVOKE_CONFIGS.delete(tx, &key)?;
                }
                FUNCTIONS.delete(tx, row.bytes())?;
                Ok::<_, Failure>((function, blobs))
            })
            .await?;
        self.retire(&named.function.arn());
        self.engine.remove(&QueueKey(function.queue)).await.map_err(of_engine)?;
        self.remove_unnamed(&named.function, blobs).await?;
        Ok(json!({"StatusCode": 204}))
    }

    /// Removes those of the blobs that no version of the function has any more.
    pub(super) async fn remove_unnamed(
        &self,
        name: &FunctionName,
        blobs: impl IntoIterator<Item = BlobId>,
    ) -> Result<(), Failure> {
        let row = name.row();
        let named: Vec<BlobId> = self
            .catalog
            .read(move |tx| {
                let latest = FUNCTIONS.get(tx, row.bytes())?.map(|function| function.latest.code.blob);
                let versions = VERSIONS.scan_prefix(tx, row.bytes())?;
                Ok::<_, CatalogError>(
                    latest
                        .into_iter()
                        .chain(versions.into_iter().map(|(_, config)| config.code.blob))
                        .collect(),
                )
            })
            .await?;
        for blob in blobs {
            if !named.contains(&blob) {
                self.packages.remove(&blob).await;
            }
        }
        Ok(())
    }

    pub(super) async fn put_concurrency(
        &self,
        caller: &Caller,
        input: PutConcurrency,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let reserved = input.reserved_concurrent_executions;
        self.change_function(named, move |function| function.reserved = Some(reserved)).await?;
        Ok(json!({"ReservedConcurrentExecutions": reserved}))
    }

    pub(super) async fn get_concurrency(&self, caller: &Caller, input: OnFunction) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let function = self.catalog.read(move |tx| function(tx, &named)).await?;
        Ok(function
            .reserved
            .map_or_else(|| json!({}), |reserved| json!({"ReservedConcurrentExecutions": reserved})))
    }

    pub(super) async fn delete_concurrency(
        &self,
        caller: &Caller,
        input: OnFunction,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        self.change_function(named, |function| function.reserved = None).await?;
        Ok(json!({}))
    }

    pub(super) async fn account_settings(&self, caller: &Caller) -> Result<Value, Failure> {
        let place = place_row(&caller.region, &caller.account);
        let functions = self.catalog.read(move |tx| FUNCTIONS.scan_prefix(tx, place.bytes())).await?;
        let size_bytes: u64 = functions.iter().map(|(_, function)| function.latest.code.size_bytes).sum();
        let concurrent = self.slots.total_max();
        let reserved: usize =
            functions.iter().filter_map(|(_, function)| function.reserved).map(|count| count as usize).sum();
        Ok(json!({
            "AccountLimit": {
                "TotalCodeSize": TOTAL_CODE_SIZE_BYTES_MAX,
                "CodeSizeUnzipped": OBJECT_SIZE_BYTES_MAX,
                "CodeSizeZipped": package::SIZE_BYTES_MAX,
                "ConcurrentExecutions": concurrent,
                "UnreservedConcurrentExecutions": concurrent.saturating_sub(reserved),
            },
            "AccountUsage": {"TotalCodeSize": size_bytes, "FunctionCount": functions.len()},
        }))
    }

    pub(super) async fn list_tags(&self, input: OnTags) -> Result<Value, Failure> {
        let named = tagged(&input.resource)?;
        let function = self.catalog.read(move |tx| function(tx, &named)).await?;
        Ok(json!({"Tags": function.tags}))
    }

    pub(super) async fn tag(&self, input: OnTags) -> Result<Value, Failure> {
        let named = tagged(&input.resource)?;
        let mut tags = self
            .catalog
            .read({
                let named = named.clone();
                move |tx| function(tx, &named)
            })
            .await?
            .tags;
        tags.extend(input.tags.clone());
        check_tags(&tags)?;
        self.change_function(named, move |function| function.tags.extend(input.tags.clone())).await?;
        Ok(json!({}))
    }

    pub(super) async fn untag(&self, input: OnTags) -> Result<Value, Failure> {
        let named = tagged(&input.resource)?;
        self.change_function(named, move |function| {
            function.tags.retain(|key, _| !input.tag_keys.contains(key));
        })
        .await?;
        Ok(json!({}))
    }

    async fn change_function(
        &self,
        named: Named,
        change: impl Fn(&mut Function) + Send + 'static,
    ) -> Result<(), Failure> {
        self.catalog
            .write(move |tx| {
                let mut function = function(tx, &named)?;
                change(&mut function);
                Ok(FUNCTIONS.put(tx, named.function.row().bytes(), &function)?)
            })
            .await
    }

    /// Functions are not signed.
    pub(super) async fn code_signing(&self, caller: &Caller, input: OnFunction) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, None, caller)?;
        let name = named.function.name.clone();
        self.catalog.read(move |tx| function(tx, &named).map(drop)).await?;
        Ok(json!({"CodeSigningConfigArn": "", "FunctionName": name}))
    }
}

pub(super) fn check_revision(given: Option<&str>, current: &str) -> Result<(), Failure> {
    if given.is_some_and(|given| given != current) { Err(stale_revision()) } else { Ok(()) }
}

fn already_there(name: &FunctionName) -> Failure {
    conflict(format!("Function already exist: {}", name.name))
}

fn tagged(resource: &str) -> Result<Named, Failure> {
    let named = Named::of_arn(resource).filter(|named| named.qualifier.is_none());
    named.ok_or_else(|| not_found(format!("Resource not found: {resource}")))
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("Number of tags exceeds resource tag limit of {TAGS_MAX}.")));
    }
    if let Some(key) = tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid(format!("The tag key {key} begins with a prefix that only AWS may use.")));
    }
    Ok(())
}

fn unreadable_package() -> Failure {
    invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
}

fn of_package(error: PackageError) -> Failure {
    match error {
        PackageError::TooLarge => {
            invalid(format!("Unzipped size must be smaller than {OBJECT_SIZE_BYTES_MAX} bytes"))
        }
        PackageError::Malformed(why) => {
            tracing::debug!(why, "a package is refused");
            unreadable_package()
        }
        PackageError::Blob(error) => of_blobs(error),
        error => AwsError::internal(error).into(),
    }
}

fn of_object(failure: &SinkFailure) -> Failure {
    invalid(format!(
        "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}",
        failure.code, failure.message
    ))
}
